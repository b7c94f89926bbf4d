/** The import rules of the page's modules: no circles, and only the entry points know the parts of an app. */

import { readFileSync, readdirSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../../src/sonjit/server/page/", import.meta.url));
const STATIC = /^(?:import|export)\b[^"']*?from\s*["'](\.[^"']+)["']/gm;
const ENTRY = /(^|\/)(app|api)\.js$/;
const CLIENT = /^(sonjit-client|tfjs)\.js$/; // what other sites' pages load
const OF_CLIENT = /^(connection|endpoints|masks|encoder)\.js$/;

const modules = readdirSync(PAGE, { recursive: true }).map(String).filter((name) => name.endsWith(".js"));
const imports = new Map(modules.map((name) => [name, importsOf(name)]));
const wrong = [];

/** @param {string} name */
function importsOf(name) {
  const found = readFileSync(resolve(PAGE, name), "utf8").matchAll(STATIC);
  return [...found].map(([, path]) => relative(PAGE, resolve(PAGE, dirname(name), path)));
}

for (const [name, parts] of imports) {
  for (const part of parts) {
    const isOfStudio = part.startsWith("annotate/");
    if (!imports.has(part)) wrong.push(`${name} imports ${part}, which is not there`);
    if (ENTRY.test(part)) wrong.push(`${name} imports ${part}, an entry point`);
    if (isOfStudio && !name.startsWith("annotate/")) wrong.push(`${name} imports ${part}: shared modules know no app's`);
    if (CLIENT.test(part) && !CLIENT.test(name)) wrong.push(`${name} imports ${part}: only clients of other sites do`);
    if (CLIENT.test(name) && !CLIENT.test(part) && !OF_CLIENT.test(part)) wrong.push(`${name} imports ${part}: clients stay small`);
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
