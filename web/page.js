/**
 * Bundles the pages of the server into src/sonjit/server/page, readable and with the names of
 * src/page.
 *
 *     node page.js                 writes the files, which belong to the repository
 *     node page.js --check         fails if they are out of date
 *     node page.js --modules OUT   writes every module of a page for tests, as OUT/page/NAME.js
 */

import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUT = join(HERE, "../src/sonjit/server/page");
const SOURCES = "src/page";
const SHARED = "tfjs"; // a module of src that pages of other sites share
const PAGES = ["app", "api", "annotate/app"]; // their HTML files load them
const WORKERS = ["encoder", "sw"];
const CLIENTS = ["sonjit-client", "frames"]; // pages of other sites import them

const [mode, folder] = process.argv.slice(2);
const isModules = mode === "--modules";
const modules = readdirSync(join(HERE, SOURCES), { recursive: true }).filter((name) =>
  name.endsWith(".ts"),
);
const all = [...modules.map((name) => `page/${name}`), `${SHARED}.ts`];
const shipped = [...PAGES, ...WORKERS, ...CLIENTS].map((name) => `page/${name}.ts`);

const { outputFiles } = await build({
  absWorkingDir: HERE,
  entryPoints: (isModules ? all : shipped).map((name) => `src/${name}`),
  outbase: isModules ? "src" : SOURCES,
  outdir: isModules ? folder : OUT,
  bundle: true,
  splitting: isModules, // tests share the state of a module
  format: "esm",
  target: "es2022",
  charset: "utf8",
  banner: isModules
    ? {}
    : { js: "// Made by `npm --prefix web run page` from web/src/page. Change it there." },
  write: mode !== "--check",
  logLevel: "warning",
});

if (mode === "--check") {
  const wrong = outputFiles
    .filter(({ path, text }) => textOf(path) !== text)
    .map(({ path }) => relative(OUT, path));
  const known = new Set(outputFiles.map(({ path }) => relative(OUT, path)));
  const extra = readdirSync(OUT, { recursive: true }).filter(
    (name) => name.endsWith(".js") && !known.has(name),
  );
  for (const name of wrong)
    console.error(`src/sonjit/server/page/${name} is out of date. Run: npm --prefix web run page`);
  for (const name of extra)
    console.error(`src/sonjit/server/page/${name} has no source in web/src/page. Delete it`);
  process.exitCode = wrong.length || extra.length ? 1 : 0;
}

/** Return the text of a file; null if it is missing. */
function textOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
