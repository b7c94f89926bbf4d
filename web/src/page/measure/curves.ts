/** The result of a job: measures over time, repetitions, events, and the keypoints of each frame. */

import type { AvatarFrame } from "../avatar/scene.js";
import { addressOf, call, responseOf, ServerError, thisServer } from "../endpoints.js";
import type { Job } from "../jobs.js";
import { sideOf, unitOf, withoutSide, type Side } from "../measure-names.js";
import { text } from "../common.js";
import { nameOf } from "../painter.js";

/** of `curves.json`, see docs/http-api.md */
type Answer = {
  name: string;
  width: number | null;
  height: number | null;
  times: (number | null)[];
  sources: (string | null)[];
  offsets: number[];
  pictures: ([offset: number, size: number] | null)[];
  instances: {
    kind: string;
    id: number | null;
    handedness: string | null;
    measures: Record<string, Values>;
  }[];
  repetitions: {
    id: number;
    joint: string;
    begin: number;
    end: number;
    lowest: Record<string, { value: number; error?: number | null; time: number }>;
  }[];
  events: {
    name: string;
    type: string;
    begin: number;
    end: number;
    id: number;
    handedness: string | null;
  }[];
  uncounted: {
    id: number;
    measure: string;
    time: number;
    value: number | null;
    texts: Record<string, string>;
  }[];
  summaries: {
    id: number;
    measure: string | null;
    texts: Record<string, string>;
    sides?: Record<string, string>;
  }[];
};
export type Values = (number | null)[];
/** A person, hand or face with its values of each frame by measure. */
export type Tracked = Answer["instances"][number] & { label: string };
export type Repetition = Answer["repetitions"][number];
/** `label`: of the line; `measure`: its complete name */
export type Series = { tracked: Tracked; measure: string; side: Side; values: Values };

/** `times`: seconds, or numbers of images from 1; `isVideo`: which of both */
export type Curves = Omit<Answer, "times" | "instances"> & {
  job: Job;
  times: number[];
  isVideo: boolean;
  instances: Tracked[];
};

/** Load the curves of a finished job. */
export async function loadCurves(job: Job): Promise<Curves> {
  const path = job.downloads?.["curves.json"];
  if (!path) throw new ServerError("not_found", text("result.old"));
  const answer = await call<Answer>(new URL(path, thisServer));
  const isVideo = answer.times.every((time) => time !== null) && answer.times.length > 1;
  return {
    ...answer,
    job,
    isVideo,
    times: answer.times.map((time, index) => (isVideo ? Number(time) : index + 1)),
    instances: answer.instances.map((one) => ({
      ...one,
      // in the language of the page, which may change
      get label() {
        return labelOf(one);
      },
    })),
  };
}

function labelOf({ kind, id, handedness }: Answer["instances"][number]) {
  const name = nameOf(kind, { handedness });
  return id === null ? name : `${name} #${id}`;
}

/** Load the job of a result. */
export const loadJob = (id: string) => call<Job>(addressOf(`/v1/jobs/${encodeURIComponent(id)}`));

/** Return the measures without their sides, those that a summary names first. */
export function measuresOf(curves: Curves): string[] {
  const names = new Set<string>();
  for (const { measure } of curves.summaries) if (measure) names.add(withoutSide(measure));
  const all = curves.instances.flatMap(({ measures }) => Object.keys(measures));
  const rank = (name: string) =>
    Number(!name.endsWith("_angle_rad")) + 2 * Number(name.includes("_2d_"));
  for (const name of all.map(withoutSide).sort((a, b) => rank(a) - rank(b))) names.add(name);
  return [...names];
}

/** Return the lines of a measure: both sides, of all instances that have it. */
export const seriesOf = ({ instances }: Curves, wanted: string): Series[] =>
  instances.flatMap((tracked) =>
    Object.entries(tracked.measures)
      .filter(([measure]) => withoutSide(measure) === wanted)
      .map(([measure, values]) => ({
        tracked,
        measure,
        values,
        side: sideOf(measure, tracked.handedness),
      })),
  );

/** Return the length of a video, the number of frames, and in how many of them something was seen. */
export function extentText({ times, isVideo, instances }: Curves) {
  const frames: Map<string, Set<number>> = new Map();
  for (const { kind, handedness, measures } of instances) {
    const name = kind === "body" ? text("one.holistic") : nameOf(kind, { handedness });
    const seen = frames.get(name) ?? new Set();
    frames.set(name, seen);
    for (const values of Object.values(measures))
      values.forEach((value, index) => value !== null && seen.add(index));
  }
  const found = [...frames]
    .filter(([, { size }]) => size)
    .map(([name, { size }]) => text("job.found", { name, count: size }));
  const length = isVideo ? [text("job.length", { seconds: times.at(-1)!.toFixed(1) })] : [];
  const counts = [...length, text("job.frames", { frames: times.length }), ...found];
  return counts.join(", ");
}

/** Return the lowest and the highest value, and the index of each; null without values. */
export function extremesOf(values: Values) {
  let [low, high] = [-1, -1];
  values.forEach((value, index) => {
    if (value === null) return;
    if (low < 0 || value < values[low]!) low = index;
    if (high < 0 || value > values[high]!) high = index;
  });
  return low < 0 ? null : { low, high };
}

/** Return the index of the frame that is shown at a time. */
export function indexAt(times: number[], time: number) {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle]! <= time + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

export const isAngle = (name: string) => unitOf(name).unit === "°";

const BLOCK = 16; // frames that are read at once
const BLOCKS = 24; // blocks that are kept

/** Reads the keypoints of frames from the table of a job, in blocks. */
export class FrameReader {
  #curves;
  #blocks: Map<number, { loading: Promise<AvatarFrame[]>; frames?: AvatarFrame[] }> = new Map();

  constructor(curves: Curves) {
    this.#curves = curves;
  }

  /** Return the results of a frame; undefined if they are not loaded. */
  loaded(index: number): AvatarFrame | null | undefined {
    const frames = this.#blocks.get(Math.floor(index / BLOCK))?.frames;
    if (frames) void this.#prepare(index + BLOCK / 2);
    return frames && (frames[index % BLOCK] ?? null);
  }

  /** Return the results of a frame. */
  async read(index: number): Promise<AvatarFrame | null> {
    const frames = await this.#prepare(index);
    void this.#prepare(index + BLOCK / 2);
    return frames[index % BLOCK] ?? null;
  }

  /** Load the block of a frame if it is missing. */
  #prepare(index: number): Promise<AvatarFrame[]> {
    const number = Math.floor(index / BLOCK);
    const block = this.#blocks.get(number) ?? { loading: this.#load(number) };
    this.#blocks.delete(number);
    this.#blocks.set(number, block); // the latest is the last
    block.loading.then(
      (frames) => (block.frames = frames),
      () => this.#blocks.delete(number), // the next request tries again
    );
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > BLOCKS) this.#blocks.delete(oldest!);
    return block.loading;
  }

  async #load(number: number): Promise<AvatarFrame[]> {
    const { offsets, job } = this.#curves;
    const path = job.downloads?.["jsonl"];
    const first = offsets[number * BLOCK];
    const end = offsets[Math.min((number + 1) * BLOCK, offsets.length - 1)];
    if (path === undefined || first === undefined || end === undefined || end <= first) return [];
    const lines = await textOf(new URL(path, thisServer), first, end);
    return lines
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as AvatarFrame);
  }
}

const partOf = (address: URL, first: number, end: number) =>
  responseOf(address, null, { headers: { Range: `bytes=${first}-${end - 1}` } });

const textOf = async (address: URL, first: number, end: number) =>
  (await partOf(address, first, end)).text();

/** Return the drawing of an image from the archive of a job. */
export async function pictureOf({ pictures, job }: Curves, index: number): Promise<Blob | null> {
  const [path, part] = [job.downloads?.["drawn"], pictures[index]];
  if (!path || !part) return null;
  const [offset, size] = part;
  return (await partOf(new URL(path, thisServer), offset, offset + size)).blob();
}
