/** The WebAssembly of each layer computes what plain loops compute, for sizes of any remainder. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";

import { build } from "esbuild";

// versions before 21 need it
if (Number(process.versions.node.split(".")[0]) < 21)
  setFlagsFromString("--experimental-wasm-relaxed-simd");

const folder = mkdtempSync(join(tmpdir(), "sonjit-kernels-"));
after(() => rmSync(folder, { recursive: true }));
await build({
  entryPoints: ["src/assembler.ts", "src/kernels.ts"],
  absWorkingDir: fileURLToPath(new URL("../", import.meta.url)),
  bundle: true,
  format: "esm",
  outdir: folder,
  outExtension: { ".js": ".mjs" },
});
const load = (name) => import(pathToFileURL(join(folder, `${name}.mjs`)));
const { moduleOf } = await load("assembler");
const kernels = await load("kernels");

let seed = 1;
const random = () => ((seed = (seed * 48271) % 2147483647) / 2147483647) * 4 - 2;
const floats = (length) => Float32Array.from({ length }, random);
const six = (value) => Math.min(Math.max(value, 0), 6);
const [RELU6, START] = [3, 64];

/** Run a layer on arrays, which follow each other in memory; `code` gets their addresses. */
async function run(arrays, code) {
  const memory = new WebAssembly.Memory({ initial: 32 });
  let end = START;
  const addresses = arrays.map((values) => {
    new values.constructor(memory.buffer, end, values.length).set(values);
    const at = end;
    end += 16 * Math.ceil(values.byteLength / 16);
    return at;
  });
  const module = moduleOf([code(...addresses)]);
  const { instance } = await WebAssembly.instantiate(module, { own: { memory } });
  instance.exports.run();
  return new Float32Array(memory.buffer, addresses.at(-1), arrays.at(-1).length);
}

function assertNear(found, expected) {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries())
    assert.ok(
      Math.abs(found[i] - value) < 1e-4 * (1 + Math.abs(value)),
      `${i}: ${found[i]}, ${value}`,
    );
}

/** Return a map with margins, and the places of its pixels. */
function withMargins(map, side, channels, before, behind) {
  const outer = side + before + behind;
  const values = new Float32Array(outer * outer * channels);
  const places = Int32Array.from(
    { length: side * side },
    (_, k) => 4 * channels * ((Math.floor(k / side) + before) * outer + (k % side) + before),
  );
  for (const [k, place] of places.entries())
    values.set(map.subarray(k * channels, (k + 1) * channels), place / 4);
  return { values, places, outer };
}

for (const [side, depth, width, activation, isSum] of [
  [1, 40, 8, 0, false],
  [2, 3, 16, RELU6, false],
  [7, 24, 40, 0, true],
  [11, 16, 64, RELU6, false],
  [30, 40, 64, RELU6, false],
])
  test(`pointwise ${side} x ${side} x ${depth}, ${width} columns`, async () => {
    const count = side * side;
    const [map, weights, bias, other] = [
      floats(count * depth),
      floats(width * depth),
      floats(width),
      floats(count * width),
    ];
    const expected = Array.from({ length: count * width }, (_, i) => {
      const [pixel, n] = [Math.floor(i / width), i % width];
      let sum = bias[n] + (isSum ? other[i] : 0);
      for (let k = 0; k < depth; k++) sum += map[pixel * depth + k] * weights[n * depth + k];
      return activation ? six(sum) : sum;
    });
    const packed = kernels.packPointwise(weights, bias);
    const layer = { activation, count, depth, width };
    const found = await run(
      [map, packed, other, new Float32Array(count * width)],
      (input, at, added, output) =>
        kernels.pointwise({
          ...{ ...layer, input, weights: at, output },
          ...{ added: isSum ? added : 0, places: 0 },
        }),
    );
    assertNear(found, expected);
    const { values, places } = withMargins(Float32Array.from(expected), side, width, 1, 2);
    const placed = await run(
      [map, packed, other, places, new Float32Array(values.length)],
      (input, at, added, to, output) =>
        kernels.pointwise({ ...layer, input, weights: at, output, added: 0, places: to }),
    );
    if (!isSum) assertNear(placed, values); // margins stay zero
  });

for (const [side, channels, kernel, stride, activation] of [
  [7, 8, 5, 1, RELU6],
  [10, 4, 3, 1, 0],
  [14, 12, 5, 2, RELU6],
  [2, 4, 3, 2, 0],
])
  test(`depthwise ${side} x ${side} x ${channels}, window ${kernel}, stride ${stride}`, async () => {
    const out = Math.ceil(side / stride);
    const missing = Math.max((out - 1) * stride + kernel - side, 0);
    const before = missing >> 1;
    const [map, weights, bias] = [
      floats(side * side * channels),
      floats(kernel * kernel * channels),
      floats(channels),
    ];
    const { values, outer } = withMargins(map, side, channels, before, missing - before);
    const expected = Array.from({ length: out * out * channels }, (_, i) => {
      const [pixel, c] = [Math.floor(i / channels), i % channels];
      const [y, x] = [Math.floor(pixel / out) * stride, (pixel % out) * stride];
      let sum = bias[c];
      for (let k = 0; k < kernel * kernel; k++) {
        const at = (y + Math.floor(k / kernel)) * outer + x + (k % kernel);
        sum += values[at * channels + c] * weights[k * channels + c];
      }
      return activation ? six(sum) : sum;
    });
    const packed = kernels.packDepthwise(weights, bias);
    const sizes = { activation, channels, kernel, stride, side: out, inputSide: outer };
    const found = await run(
      [values, packed, new Float32Array(expected.length)],
      (input, at, output) => kernels.depthwise({ ...sizes, input, weights: at, output }),
    );
    assertNear(found, expected);
  });

test("the first convolution and the mean", async () => {
  const [side, width] = [6, 24];
  const outer = 2 * side + 1;
  const [image, weights, bias] = [floats(3 * outer * outer), floats(27 * width), floats(width)];
  const expected = Array.from({ length: side * side * width }, (_, i) => {
    const [pixel, n] = [Math.floor(i / width), i % width];
    const [y, x] = [2 * Math.floor(pixel / side), 2 * (pixel % side)];
    let sum = bias[n];
    for (let k = 0; k < 27; k++)
      sum += image[3 * ((y + Math.floor(k / 9)) * outer + x) + (k % 9)] * weights[27 * n + k];
    return sum;
  });
  const places = Int32Array.from({ length: side * side }, (_, k) => 4 * width * k);
  const packed = kernels.packFirst(weights, bias);
  const map = await run(
    [image, packed, places, new Float32Array(expected.length)],
    (input, at, to, output) =>
      kernels.first({
        ...{ input, weights: at, output, places: to },
        ...{ activation: 0, width, side, inputSide: outer },
      }),
  );
  assertNear(map, expected);
  const layer = { count: side * side, depth: width };
  const found = await run([map.slice(), new Float32Array(width)], (input, output) =>
    kernels.mean({ ...layer, input, output }),
  );
  const mean = (n) =>
    expected.filter((_, i) => i % width === n).reduce((sum, value) => sum + value, 0) / side ** 2;
  assertNear(
    found,
    Array.from({ length: width }, (_, n) => mean(n)),
  );
});
