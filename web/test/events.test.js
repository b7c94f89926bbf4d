/** Events and gestures of a detector's results: parts of people, resets, other sizes, and the end. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

const folder = mkdtempSync(join(tmpdir(), "sonjit-events-"));
after(() => rmSync(folder, { recursive: true }));
await build({
  entryPoints: ["src/events.ts", "src/motions/recognizer.ts"],
  absWorkingDir: fileURLToPath(new URL("../", import.meta.url)),
  bundle: true,
  format: "esm",
  outdir: folder,
  outExtension: { ".js": ".mjs" },
});
const load = (name) => import(pathToFileURL(join(folder, `${name}.mjs`)));
const { withEvents } = await load("events");
const { motionsOf } = await load("motions/recognizer");

const IMAGE = { width: 64, height: 48 };
const hand = (handedness, name) => ({
  id: 1,
  handedness,
  gesture: { name, score: 0.9 },
  keypoints: { values: new Float32Array(63) },
  keypoints3D: { values: new Float32Array(63) },
});

/** Return a detector that always finds the same, with events. */
function always(found, motions, kind = "hand") {
  const detector = {
    track: async () => ({ found, motions }),
    detect: async () => ({ found }),
    reset() {},
    finish: () => ({ motions: [], events: [] }),
  };
  return withEvents(detector, { instances: [kind], events: [] });
}

const names = (events) =>
  events.map(({ name, phase, handedness }) => `${name} ${phase} ${handedness}`);

test("the hands of people have events", async () => {
  const points = { values: new Float32Array(99), score: new Float32Array(33) };
  const body = { keypoints: points, keypoints3D: points };
  const person = { id: 1, body, face: null, leftHand: null, rightHand: hand("Right", "Fist") };
  const detector = always([person], [], "body");
  const events = [];
  for (let k = 0; k < 10; k++) events.push(...(await detector.track(IMAGE, k / 20)).events);
  assert.deepEqual(names(events), ["Fist begin Right"]);
  assert.deepEqual(names(detector.finish().events), ["Fist end Right"]);
  assert.deepEqual(detector.finish(), { motions: [], events: [] });
});

test("a reset and another size end events, which the next image reports", async () => {
  const detector = always([hand("Left", "Fist")]);
  const follow = async (image) => {
    const events = [];
    for (let k = 0; k < 10; k++) events.push(...(await detector.track(image, null)).events);
    return names(events);
  };
  assert.deepEqual(await follow(IMAGE), ["Fist begin Left"]);
  detector.reset();
  assert.deepEqual(await follow(IMAGE), ["Fist end Left", "Fist begin Left"]);
  const other = { width: 48, height: 64 };
  assert.deepEqual(await follow(other), ["Fist end Left", "Fist begin Left"]);
});

test("motions whose arrays do not fit each other are refused", () => {
  const arrays = { names: ["a"], steps: Array(48).fill(0), lengths: [3], of: [0], reaches: [1] };
  const file = new Map(
    Object.entries(arrays).map(([name, values]) => [`motion_${name}`, { values }]),
  );
  assert.throws(() => motionsOf(file), /its motions do not fit each other/);
});
