/**
 * The module answers the shared cases of `src/sonjit/spec/cases` as Python does:
 *
 *     node --test test/
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

const WEB = fileURLToPath(new URL("../", import.meta.url));
const NAMES = [
  "events",
  "gestures",
  "motions/recognizer",
  "options",
  "page/avatar/bones",
  "page/avatar/pose",
  "repetitions",
  "smoothing",
];
const folder = mkdtempSync(join(tmpdir(), "sonjit-cases-"));
after(() => rmSync(folder, { recursive: true }));
await build({
  entryPoints: NAMES.map((name) => `src/${name}.ts`),
  absWorkingDir: WEB,
  bundle: true,
  format: "esm",
  outdir: folder,
  outExtension: { ".js": ".mjs" },
});
const load = (name) => import(pathToFileURL(join(folder, `${name}.mjs`)));
const { EventTracker, limitsFromText } = await load("events");
const { GestureSmoother } = await load("gestures");
const { MotionRecognizer } = await load("motions/recognizer");
const { kindOf } = await load("options");
const { PARENTS } = await load("page/avatar/bones");
const { turnsOf } = await load("page/avatar/pose");
const { RepetitionCounter } = await load("repetitions");
const { OneEuro } = await load("smoothing");

const specOf = (name) =>
  JSON.parse(readFileSync(join(WEB, `../src/sonjit/spec/cases/${name}.json`), "utf8"));
const numbers = (values) => values.map((value) => value ?? NaN);

/** Run a test for each case of a file. */
function testCases(name, run, part = "cases") {
  for (const one of specOf(name)[part]) test(`${name}: ${one.name ?? one.text}`, () => run(one));
}

/** Compare nested lists; numbers to a tolerance, null and NaN are unknown. */
function assertNear(found, expected, tolerance, path = "") {
  if (Array.isArray(expected)) {
    assert.equal(found?.length, expected.length, `${path}: ${JSON.stringify(found)}`);
    expected.forEach((value, i) => assertNear(found[i], value, tolerance, `${path}[${i}]`));
  } else if (typeof expected === "number") {
    assert.ok(Math.abs(found - expected) <= tolerance, `${path}: ${found}, not ${expected}`);
  } else if (expected === null)
    assert.ok(found === null || Number.isNaN(found), `${path}: ${found}`);
  else assert.equal(found, expected, path);
}

testCases("smoothing", ({ frames, scale, expected }) => {
  const filter = new OneEuro();
  const rows = frames.map(([time, ...values]) => [
    ...filter.filter(Float32Array.from(numbers(values)), time, scale),
  ]);
  assertNear(rows, expected, 2e-3);
});

testCases("repetitions", ({ low, high, fps, times, values, expected }) => {
  const counter = new RepetitionCounter(low, high);
  numbers(values).forEach((value, i) => counter.update(value, times?.[i] ?? i / fps));
  const { count, last } = counter;
  assert.equal(count, expected.count);
  assertNear(last && [last.begin, last.end, last.lowest], expected.last, 1e-3);
});

testCases("gestures", ({ frames, expected }) => {
  const smoother = new GestureSmoother();
  const rows = frames.map(([time, name, score]) =>
    smoother.update("1 Right", name === null ? null : { name, score }, time),
  );
  assertNear(
    rows.map((gesture) => [gesture?.name ?? null, gesture?.score ?? null]),
    expected,
    1e-3,
  );
});

/** Return a hand with a gesture, a body whose left elbow has an angle in degrees, or a face. */
function instanceOf({ id = 1, side = "Right", gesture = null, elbow, face }) {
  const instance = { id, handedness: null, gesture: null };
  if (elbow !== undefined) {
    const points = Array.from({ length: 33 }, (_, k) => [0.1 * k, 0.05 * k * k, 0.02 * k]);
    const angle = elbow === null ? NaN : (elbow * Math.PI) / 180;
    [points[13], points[11]] = [
      [0, 0, 0],
      [0.3, 0, 0],
    ];
    points[15] = [0.3 * Math.cos(angle), 0.3 * Math.sin(angle), 0];
    const keypoints = {
      values: Float32Array.from(points.flat()),
      score: Float32Array.from(points, () => 1),
    };
    return { ...instance, kind: "body", keypoints, keypoints3D: keypoints };
  }
  const keypoints = { values: new Float32Array(3 * (face ? 478 : 21)) };
  if (face) return { ...instance, kind: "face", keypoints };
  const [name, score] = gesture ?? [];
  return {
    ...instance,
    kind: "hand",
    handedness: side,
    gesture: gesture && { name, score },
    keypoints,
    keypoints3D: keypoints,
  };
}

/** Yield the frames of the runs, [number, content]. `at` sets the clock. */
function* framesOf({ runs, fps }) {
  let clock = 0;
  for (const [count, { at, time, instances = [], motions = [] }] of runs) {
    clock = at ?? clock;
    for (let i = 0; i < count; i++, clock += 1 / fps)
      yield {
        time: time === undefined ? clock : time === "nan" ? NaN : Infinity,
        instances,
        motions,
      };
  }
}

testCases("events", (one) => {
  const kinds = kindOf(one.kind).instances;
  const tracker = new EventTracker((one.limits ?? []).map((text) => limitsFromText(text, kinds)));
  const rows = [];
  const add = (index, events) => {
    for (const { name, type, phase, id, handedness, begin, end, value } of events)
      rows.push([index, name, type, phase, id, handedness, begin, end, value]);
  };
  [...framesOf(one)].forEach(({ time, instances, motions }, index) => {
    const moved = motions.map(([name, phase, strength]) => ({
      name,
      phase,
      id: 1,
      handedness: "Right",
      time,
      strength,
      moved: [0, 0],
      count: 0,
    }));
    add(index, tracker.update(instances.map(instanceOf), moved, time));
  });
  add(-1, tracker.finish());
  assertNear(rows, one.expected, 2e-3);
});

testCases(
  "events",
  ({ text, kind, measure, limits, error }) => {
    const read = () => limitsFromText(text, kindOf(kind).instances);
    if (error) {
      assert.throws(read, ({ message }) => message.replaceAll('"', "'").includes(error));
      return;
    }
    const found = read();
    assertNear([found.measure, found.begin, found.end], [measure, ...limits], 1e-4);
  },
  "limits",
);

const SHAPES = specOf("motions").shapes;
const [PX, CENTRE_PX, LENGTH_M] = [100, [320, 240], 0.18];

/** Return a value of a path at a time, between its rows. */
function between(path, time, column) {
  const next = path.findIndex(([begin]) => begin > time);
  if (next === 0) return path[0][column];
  if (next < 0) return path.at(-1)[column];
  const [from, to] = [path[next - 1], path[next]];
  return from[column] + ((to[column] - from[column]) * (time - from[0])) / (to[0] - from[0]);
}

/** Return a hand on its path at a time, or null where it is lost. */
function handAt({ id, side: handedness, path, lost = [], unknown = [] }, time) {
  if (lost.some(([begin, end]) => begin <= time && time < end)) return null;
  const mirror = handedness === "Left" ? -1 : 1;
  const shape = SHAPES[path.findLast(([begin]) => begin <= time)[3]].map(([x, y, z]) => [
    mirror * x,
    y,
    z,
  ]);
  const [x, y, size, turn] = [1, 2, 4, 5].map((column) => between(path, time, column));
  const [cos, sin] = [Math.cos((turn * Math.PI) / 180), Math.sin((turn * Math.PI) / 180)];
  const points = shape.map(([u, v, w]) =>
    [
      PX * (size * (u * cos - v * sin) + x) + CENTRE_PX[0],
      PX * (size * (u * sin + v * cos) + y) + CENTRE_PX[1],
      PX * size * w,
    ].map(Math.fround),
  );
  for (const [begin, end, keypoint] of unknown)
    if (begin <= time && time < end) points[keypoint] = [NaN, NaN, NaN];
  const metres = shape.map((point) => point.map((value) => Math.fround(LENGTH_M * value)));
  return { id, handedness, points, metres };
}

testCases("motions", ({ custom, fps, seconds, times, hands, expected }) => {
  const examples = custom
    ? [{ name: custom.name, reach: custom.reach, steps: custom.steps.flat() }]
    : [];
  const recognizer = new MotionRecognizer(examples);
  const frames = times ?? Array.from({ length: Math.round(fps * seconds) + 1 }, (_, k) => k / fps);
  const steps = frames.flatMap((time) =>
    recognizer.update(
      hands.map((hand) => handAt(hand, time)).filter((hand) => hand !== null),
      time,
    ),
  );
  steps.push(...recognizer.finish(frames.at(-1)));
  const rows = steps
    .filter(({ phase }) => phase !== "progress")
    .map(({ name, phase, handedness, time, strength, moved, count }) => [
      name,
      phase,
      handedness,
      time,
      strength,
      ...moved,
      count,
    ]);
  assertNear(rows, expected, 5e-3);
});

testCases("characters", ({ body, hidden, left, right, expected }) => {
  const presence = body.map((_, k) => (hidden.includes(k) ? 0.1 : 1));
  const found = turnsOf({ points: body, presence }, { left, right });
  const rows = [...PARENTS.keys()].map((bone) => {
    const { x, y, z, w } = found.get(bone) ?? { x: 0, y: 0, z: 0, w: 1 };
    return [x, y, z, w].map((value) => (w < 0 ? -value : value));
  });
  const wanted = [...PARENTS.keys()].map((bone) => expected[bone] ?? [0, 0, 0, 1]);
  assertNear(rows, wanted, 3e-3);
});
