/**
 * The import rules of src: no circles, not even of types, the module knows nothing of the pages,
 * and only the entry points know the parts of a page.
 */

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("src/", import.meta.url));
const PAGE = "page/";
const STATIC = /^(?:import|export)\b[^"']*?from\s*["'](\.[^"']+)["']/gm;
const ENTRY = /^page\/(.*\/)?(app|api)\.tsx?$/;
const CLIENT = /^page\/sonjit-client\.ts$/; // what other sites' pages load
const OF_CLIENT = /^(page\/(connection|endpoints)|tfjs|masks)\.ts$/;

const modules = readdirSync(ROOT, { recursive: true }).filter((name) => /\.tsx?$/.test(name));
const imports = new Map(modules.map((name) => [name, importsOf(name)]));
const done = new Set();
const wrong = [];

function importsOf(name) {
  const found = readFileSync(join(ROOT, name), "utf8").matchAll(STATIC);
  const paths = [...found].map(([, path]) => relative(ROOT, resolve(ROOT, dirname(name), path)));
  const code = paths.filter((path) => !path.endsWith(".json"));
  return code.map((path) => (existsSync(join(ROOT, path)) ? path : source(path)));
}

/** Return the path of a module that others import as .js. */
function source(path) {
  const [plain, markup] = [".ts", ".tsx"].map((ending) => path.replace(/\.js$/, ending));
  return existsSync(join(ROOT, markup)) ? markup : plain;
}

for (const [from, parts] of imports) {
  for (const to of parts) {
    const isOfPage = to.startsWith(PAGE);
    if (!imports.has(to)) wrong.push(`${from} imports ${to}, which is not there`);
    if (ENTRY.test(to)) wrong.push(`${from} imports ${to}, an entry point`);
    if (isOfPage && !from.startsWith(PAGE))
      wrong.push(`${from} imports ${to}: the module knows no page`);
    if (to.startsWith("page/annotate/") && !from.startsWith("page/annotate/")) {
      wrong.push(`${from} imports ${to}: shared modules know no app's`);
    }
    if (CLIENT.test(to)) wrong.push(`${from} imports ${to}: only clients of other sites do`);
    if (CLIENT.test(from) && !OF_CLIENT.test(to))
      wrong.push(`${from} imports ${to}: clients stay small`);
  }
}

/** Report the modules on a way from one back to itself. */
function findCircles(name, way) {
  if (way.includes(name)) {
    wrong.push(`a circle: ${[...way.slice(way.indexOf(name)), name].join(" → ")}`);
    return;
  }
  if (done.has(name)) return;
  for (const part of imports.get(name) ?? []) findCircles(part, [...way, name]);
  done.add(name);
}
for (const name of modules) findCircles(name, []);

for (const line of wrong) console.error(line);
const count = [...imports.values()].flat().length;
console.log(`${modules.length} modules, ${count} imports, ${wrong.length} broken rules`);
process.exitCode = wrong.length ? 1 : 0;
