/** The import rules of the page and of web/src: no circles, not even of types, and only the entry points know the parts of an app. */

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PAGE = "src/sonjit/server/page/";
const STATIC = /^(?:import|export)\b[^"']*?from\s*["'](\.[^"']+)["']/gm;
const ENTRY = /(^|\/)(app|api)\.js$/;
const CLIENT = /^(sonjit-client|tfjs)\.js$/; // what other sites' pages load
const OF_CLIENT = /^(connection|endpoints|masks|encoder)\.js$/;

const modules = [PAGE, "web/src/"].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true }).map((name) => folder + name).filter((name) => /\.[jt]s$/.test(name)));
const imports = new Map(modules.map((name) => [name, importsOf(name)]));
const wrong = [];

/** @param {string} name */
function importsOf(name) {
  const found = readFileSync(join(ROOT, name), "utf8").matchAll(STATIC);
  const paths = [...found].map(([, path]) => relative(ROOT, resolve(ROOT, dirname(name), path))).filter((path) => !path.endsWith(".json"));
  return paths.map((path) => (existsSync(join(ROOT, path)) ? path : path.replace(/\.js$/, ".ts")));
}

for (const [name, parts] of imports) {
  for (const part of parts) {
    if (!imports.has(part)) wrong.push(`${name} imports ${part}, which is not there`);
    if (ENTRY.test(part)) wrong.push(`${name} imports ${part}, an entry point`);
    if (!name.startsWith(PAGE)) continue;
    const [from, to] = [name.slice(PAGE.length), part.slice(PAGE.length)];
    if (to.startsWith("annotate/") && !from.startsWith("annotate/")) wrong.push(`${name} imports ${part}: shared modules know no app's`);
    if (CLIENT.test(to) && !CLIENT.test(from)) wrong.push(`${name} imports ${part}: only clients of other sites do`);
    if (CLIENT.test(from) && !CLIENT.test(to) && !OF_CLIENT.test(to)) wrong.push(`${name} imports ${part}: clients stay small`);
  }
}

/** The modules on a way from one back to itself. @param {string} name @param {string[]} way */
function circle(name, way) {
  if (way.includes(name)) {
    wrong.push(`a circle: ${[...way.slice(way.indexOf(name)), name].join(" → ")}`);
    return;
  }
  if (done.has(name)) return;
  for (const part of imports.get(name) ?? []) circle(part, [...way, name]);
  done.add(name);
}
const done = new Set();
for (const name of modules) circle(name, []);

for (const line of wrong) console.error(line);
console.log(`${modules.length} modules, ${[...imports.values()].flat().length} imports, ${wrong.length} broken rules`);
process.exitCode = wrong.length ? 1 : 0;
