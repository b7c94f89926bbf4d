/**
 * Packs for npm `sonjit-web`, without networks, and the networks of each kind as
 * `sonjit-web-models-KIND`.
 *
 *     node pack.js [OUT [dist [KIND ...]]]
 */

import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { FILES } from "./networks.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const PARTS = { holistic: ["hands", "face", "body"] }; // its package has only what theirs lack
const [out = join(HERE, "build"), dist = join(HERE, "dist"), ...kinds] = process.argv.slice(2);
const {
  private: _,
  scripts,
  devDependencies,
  ...manifest
} = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
const { version, license } = manifest;
const nameOf = (kind) => `sonjit-web-models-${kind}`;
const networkOf = (name) => join(dist, "models", name);

/** Pack a folder with these files, {name: source}; `add` writes more. */
function pack(manifest, files, add = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), "sonjit-"));
  const all = { LICENSE: join(HERE, "../LICENSE"), NOTICE: join(HERE, "../NOTICE"), ...files };
  for (const [name, source] of Object.entries(all))
    cpSync(source, join(folder, name), { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, null, 2));
  add(folder);
  execFileSync("npm", ["pack", "--silent", "--pack-destination", resolve(out)], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
  });
  rmSync(folder, { recursive: true });
}

mkdirSync(out, { recursive: true });
pack(
  { ...manifest, kinds: Object.keys(FILES) }, // for copy.js
  { dist, "copy.js": join(HERE, "copy.js"), "README.md": join(HERE, "README.md") },
  (folder) => {
    rmSync(join(folder, "dist/models"), { recursive: true });
    execFileSync("npx", ["tsc", "--project", ".", "--outDir", join(folder, "types")], {
      cwd: HERE,
    });
    execFileSync("node", ["types.js", join(folder, "types"), join(folder, "dist")], { cwd: HERE });
  },
);
for (const kind of kinds.length ? kinds : Object.keys(FILES)) {
  const parts = PARTS[kind] ?? [];
  const networks = FILES[kind].filter(
    (name) => existsSync(networkOf(name)) && !parts.some((part) => FILES[part].includes(name)),
  );
  if (!networks.length) continue;
  const dependencies = Object.fromEntries(parts.map((part) => [nameOf(part), version]));
  const description = `Networks of sonjit-web for ${kind}`;
  pack(
    { name: nameOf(kind), version, description, license, dependencies },
    Object.fromEntries(networks.map((name) => [`models/${name}`, networkOf(name)])),
  );
}
