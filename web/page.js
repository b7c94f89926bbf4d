/**
 * Bundles the pages of the server into src/sonjit/server/page: minified, one file per page, with
 * the names of src/page.
 *
 *     node page.js                 writes the files, which belong to the repository
 *     node page.js --check         fails if they are out of date
 *     node page.js --modules OUT   writes modules for tests: those of pages as OUT/page/NAME.js
 */

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUT = join(HERE, "../src/sonjit/server/page");
const SOURCES = "src/page";
// modules of src that tests load
const TESTED = [
  "kinds",
  "local",
  "search/bodies",
  "search/network",
  "solutions/hands",
  "tasks/landmarkers",
  "tfjs",
];
const PAGES = ["app", "api", "annotate/app"]; // their HTML files load them
const SINGLE = ["encoder", "sw", "sonjit-client", "frames"]; // workers, and clients of other sites
// pages load them when they need them
const LATE = ["avatar/scene", "chart"];
const BANNER = "// Made by `npm --prefix web run page` from web/src/page. Change it there.";

const [mode, folder] = process.argv.slice(2);

if (mode === "--modules") {
  const modules = readdirSync(join(HERE, SOURCES), { recursive: true }).filter((name) =>
    /\.tsx?$/.test(name),
  );
  const names = [...modules.map((name) => `page/${name}`), ...TESTED.map((name) => `${name}.ts`)];
  // Tests share the state of a module.
  await bundle(names, { splitting: true, outbase: "src", outdir: folder, write: true });
} else {
  const inPage = (names) => names.map((name) => `page/${name}.ts`);
  const builds = [
    await bundle(inPage(PAGES), { minify: true, plugins: [late()] }),
    await bundle(inPage([...SINGLE, ...LATE]), { minify: true }),
  ];
  const files = builds.flatMap(({ outputFiles }) => outputFiles);
  if (mode === "--check") check(files);
  else for (const { path, text } of files) writeFileSync(path, text);
}

/** Bundle modules of src with esbuild. */
function bundle(names, options = {}) {
  return build({
    absWorkingDir: HERE,
    entryPoints: names.map((name) => `src/${name}`),
    outbase: SOURCES,
    outdir: OUT,
    bundle: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    charset: "utf8",
    banner: options.write ? {} : { js: BANNER },
    legalComments: "none", // NOTICE has the licences
    write: false,
    logLevel: "warning",
    ...options,
  });
}

/** Leave the imports of late files to the pages, which lie above them. */
function late() {
  return {
    name: "late",
    setup: ({ onResolve }) =>
      onResolve({ filter: /\.js$/ }, ({ kind, path, resolveDir }) => {
        if (kind !== "dynamic-import") return null;
        const name = relative(join(HERE, SOURCES), join(resolveDir, path));
        return LATE.includes(name.replace(/\.js$/, ""))
          ? { path: `./${name}`, external: true }
          : null;
      }),
  };
}

/** Report the files of the repository that a build would change or does not make. */
function check(files) {
  const wrong = files
    .filter(({ path, text }) => textOf(path) !== text)
    .map(({ path }) => relative(OUT, path));
  const known = new Set(files.map(({ path }) => relative(OUT, path)));
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
