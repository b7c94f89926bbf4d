#!/usr/bin/env node
/**
 * Copies the files that the module loads at run time into a folder of a web app: the worker, the runtime and the networks of some kinds.
 *
 *     npx sonjit-web public/sonjit-web hands face
 */

import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("dist/", import.meta.url));
const kinds = JSON.parse(readFileSync(join(DIST, "kinds.json"), "utf8"));
const [target, ...wanted] = process.argv.slice(2);
const unknown = wanted.find((kind) => !(kind in kinds));
if (!target || unknown) {
  console.error(unknown ? `unknown kind ${unknown}: choose from ${Object.keys(kinds).join(", ")}` : "sonjit-web FOLDER [KIND ...]: name a folder of the web app");
  process.exit(2);
}
mkdirSync(join(target, "models"), { recursive: true });
cpSync(join(DIST, "wasm"), join(target, "wasm"), { recursive: true });
copyFileSync(join(DIST, "sonjit-web-worker.js"), join(target, "sonjit-web-worker.js"));
for (const name of new Set((wanted.length ? wanted : Object.keys(kinds)).flatMap((kind) => kinds[kind]))) {
  if (existsSync(join(DIST, "models", name))) copyFileSync(join(DIST, "models", name), join(target, "models", name));
}
