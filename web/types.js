/**
 * Bundles the declarations of each entry point into one file, without the data that they do not
 * show. `node types.js TYPES dist`
 */

import { rmSync } from "node:fs";

import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";

const ENTRIES = {
  "sonjit-web": "index",
  "tasks-vision": "tasks-vision",
  ...Object.fromEntries(
    ["hands", "face_mesh", "pose", "holistic"].map((name) => [name, `solutions/${name}`]),
  ),
};

const [types, out] = process.argv.slice(2);
for (const [name, source] of Object.entries(ENTRIES)) {
  const bundle = await rollup({
    input: `${types}/web/src/${source}.d.ts`,
    plugins: [dts()],
    external: /\.json$/,
  });
  await bundle.write({ file: `${out}/${name}.d.ts`, format: "es" });
}
rmSync(types, { recursive: true });
