#!/usr/bin/env node
/**
 * Copies the files that the module loads at run time into a folder of a web app: the worker, the
 * runtime, and the networks of the installed packages `sonjit-web-models-KIND`, or only those of
 * some kinds.
 *
 *     npx sonjit-web public/sonjit-web hands face
 */

import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// `pack.js` writes the names of the kinds.
const { kinds: KINDS } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
const DIST = fileURLToPath(new URL("dist/", import.meta.url));

/**
 * Return the folders of the networks of a package and of its dependencies; none if it is not
 * installed.
 */
function foldersOf(name, importer) {
  let manifest;
  try {
    manifest = createRequire(importer).resolve(`${name}/package.json`);
  } catch {
    return [];
  }
  const { dependencies = {} } = JSON.parse(readFileSync(manifest, "utf8"));
  return [
    join(dirname(manifest), "models"),
    ...Object.keys(dependencies).flatMap((each) => foldersOf(each, manifest)),
  ];
}

/** Return what npm installs for a package of networks: a file next to that of `sonjit-web`, or its name. */
function sourceOf(name) {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(
    readFileSync("package.json", "utf8"),
  );
  const own = { ...devDependencies, ...dependencies }["sonjit-web"] ?? "";
  return own.startsWith("file:") ? own.slice(5).replace(/sonjit-web-(?=[^/]*$)/, `${name}-`) : name;
}

function fail(message) {
  console.error(message);
  process.exit(2);
}

const [target, ...wanted] = process.argv.slice(2);
if (!target) fail("sonjit-web FOLDER [KIND ...]: name a folder of the web app");
const unknown = wanted.find((kind) => !KINDS.includes(kind));
if (unknown) fail(`unknown kind ${unknown}: choose from ${KINDS.join(", ")}`);
const found = KINDS.map((kind) => [
  kind,
  foldersOf(`sonjit-web-models-${kind}`, resolve("package.json")),
]);
const missing =
  found.find(([kind, folders]) => wanted.includes(kind) && !folders.length)?.[0] ??
  (found.some(([, folders]) => folders.length) ? null : "hands");
if (missing)
  fail(`no networks of ${missing}: npm install ${sourceOf(`sonjit-web-models-${missing}`)}`);
mkdirSync(target, { recursive: true });
cpSync(join(DIST, "wasm"), join(target, "wasm"), { recursive: true });
copyFileSync(join(DIST, "sonjit-web-worker.js"), join(target, "sonjit-web-worker.js"));
const copied = found.filter(
  ([kind, folders]) => folders.length && (!wanted.length || wanted.includes(kind)),
);
for (const [, folders] of copied)
  for (const folder of folders) cpSync(folder, join(target, "models"), { recursive: true });
const files = readdirSync(target, { recursive: true }).map((name) => statSync(join(target, name)));
const size = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0) / 1e6;
const kinds = copied.map(([kind]) => kind);
console.log(`${target}: ${kinds.join(", ")}, ${size.toFixed(1)} MB`);
if (!wanted.length && kinds.length > 1)
  console.log(
    `to copy fewer files, delete ${target} and name kinds: npx sonjit-web ${target} ${kinds[0]}`,
  );
