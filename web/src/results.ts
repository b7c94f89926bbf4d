/** Results in the shape of tfjs-models, with `id`, `box` and z besides, as a Sonjit server answers them. */

import { keypoints as bodyNames } from "../../src/sonjit/results/skeletons/body_blazepose33.json";
import { keypoints as sixNames } from "../../src/sonjit/results/skeletons/face_blazeface6.json";
import { keypoints as meshNames } from "../../src/sonjit/results/skeletons/face_mediapipe468.json";
import { keypoints as refinedNames } from "../../src/sonjit/results/skeletons/face_mediapipe478.json";
import { keypoints as handNames } from "../../src/sonjit/results/skeletons/hand_mediapipe21.json";
import type { Event } from "./events.js";
import type { Person } from "./holistic.js";
import type { MotionEvent } from "./motions/events.js";

export interface NamedPoint {
  x: number;
  y: number;
  /** Orders keypoints by depth, smaller is nearer; of refined hands in the scale of x and y. Missing where nothing is known of it. */
  z?: number;
  /** Missing where it has none. */
  name?: string;
  /** Expected distance of x and y from the right position in pixels; only of refined hands. */
  errorPx?: number;
}

export interface Box {
  xMin: number;
  yMin: number;
  xMax: number;
  yMax: number;
  width: number;
  height: number;
}

/** How much each pixel is an instance's, 0..1, over a whole image. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** The same as an 8-bit grey PNG in base64. */
export interface Segmentation {
  readonly width: number;
  readonly height: number;
  readonly png: string;
}

/** What all kinds have. */
export interface Found {
  /** Stable while the instance is tracked; null for stills. */
  readonly id: number | null;
  readonly keypoints: NamedPoint[];
  readonly box: Box;
  /** Of faces where it is asked for: rows of the (4, 4) matrix from the canonical face to the camera, in centimetres. */
  readonly transform?: number[][];
  /** Of bodies where it is asked for; the page gets it as `segmentation`. */
  readonly mask?: Mask;
}

/** Keypoints in numbers, as the worker has and sends them: objects would have to be made, and copied, for every image. */
export interface Points {
  /** (K, 3). */
  readonly values: Float32Array;
  /** (K,) each, where there are some. */
  readonly score?: Float32Array;
  readonly presence?: Float32Array;
  readonly errorPx?: Float32Array;
}

/** Keypoints of the image and in metres. */
export interface HandPoints<P> {
  readonly keypoints: P;
  readonly keypoints3D: P;
}

const PARTS = ["body", "leftHand", "rightHand", "face"] as const;

/** What the worker has for what a page gets. */
export type InWorker<R> = R extends null
  ? null
  : {
      [K in keyof R]: K extends "keypoints" | "keypoints3D"
        ? Points
        : K extends "published"
          ? HandPoints<Points>
          : K extends (typeof PARTS)[number] ? InWorker<R[K]> : R[K];
    };

/** What a detector gives for each instance. */
export type Result = InWorker<Found> | InWorker<Person>;

/** What it gives for an image. */
export type Results = Result[] & {
  /** Of streams where hands have gestures. */
  motions?: readonly MotionEvent[];
  /** Of streams with gestures or limits of measures. */
  events?: readonly Event[];
  /** Number of instances found in an image on its own, also those beyond `max_instances`. */
  total?: number;
  /** Whether its search processed all proposals or found enough confident instances; false where its budget ended before. */
  complete?: boolean;
};

const NAMES = new Map([handNames, bodyNames, meshNames, refinedNames, sixNames].map((names) => [names.length, names]));

/** A result as pages have it. */
export function unpacked(result: Result): Found | Person {
  const all = { ...result } as unknown as Record<string, unknown>;
  for (const name of PARTS) if (all[name]) all[name] = unpacked(all[name] as Result);
  if (all.published) {
    const { keypoints, keypoints3D } = all.published as HandPoints<Points>;
    all.published = { keypoints: namedPoints(keypoints), keypoints3D: namedPoints(keypoints3D) };
  }
  for (const name of ["keypoints", "keypoints3D"]) if (all[name]) all[name] = namedPoints(all[name] as Points);
  return all as unknown as Found | Person;
}

function namedPoints({ values, score, presence, errorPx }: Points): NamedPoint[] {
  return NAMES.get(values.length / 3)!.map((name, k) => {
    const point: NamedPoint & { score?: number; presence?: number } = { x: values[3 * k]!, y: values[3 * k + 1]! };
    if (!Number.isNaN(values[3 * k + 2])) point.z = values[3 * k + 2]!;
    if (name) point.name = name;
    if (score) point.score = score[k]!;
    if (presence) point.presence = presence[k]!;
    if (errorPx) point.errorPx = errorPx[k]!;
    return point;
  });
}

export function boxOf([xMin, yMin, xMax, yMax]: readonly [number, number, number, number]): Box {
  return { xMin, yMin, xMax, yMax, width: xMax - xMin, height: yMax - yMin };
}

/** The result as a page takes it, with x mirrored in an image of that width where one is given. */
export async function finalResult<R extends Result | null>(result: R, mirrorWidth: number | null): Promise<R> {
  if (result === null) return result;
  if (!("body" in result)) return (await withSegmentation(mirrorWidth === null ? result : flipped(result, mirrorWidth))) as R;
  const parts = await Promise.all(PARTS.map(async (name) => [name, await finalResult(result[name], mirrorWidth)]));
  return { ...result, ...Object.fromEntries(parts) };
}

/** Signs of a transform between the mirror images of both its spaces. */
const MIRRORED_TRANSFORM = [[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]];

/** The same instance with x mirrored in an image of that width; labels stay the person's own. */
function flipped<R extends InWorker<Found>>(result: R, width: number): R {
  const { xMin, xMax } = result.box;
  return {
    ...result,
    keypoints: mirroredPoints(result.keypoints, width),
    ...("keypoints3D" in result ? { keypoints3D: mirroredPoints(result.keypoints3D as Points, 0) } : {}),
    ...("published" in result ? { published: mirroredHand(result.published as HandPoints<Points>, width) } : {}),
    ...(result.transform ? { transform: result.transform.map((row, i) => row.map((value, j) => value * MIRRORED_TRANSFORM[i]![j]!)) } : {}),
    ...(result.mask ? { mask: mirrored(result.mask) } : {}),
    box: { ...result.box, xMin: width - xMax, xMax: width - xMin },
  };
}

/** The same keypoints of a hand seen in a mirror, in an image of that width. */
export function mirroredHand({ keypoints, keypoints3D }: HandPoints<Points>, width: number): HandPoints<Points> {
  return { keypoints: mirroredPoints(keypoints, width), keypoints3D: mirroredPoints(keypoints3D, 0) };
}

/** The same points seen in a mirror, in an image of that width. */
function mirroredPoints(points: Points, width: number): Points {
  return { ...points, values: points.values.map((value, i) => (i % 3 === 0 ? width - value : value)) };
}

function mirrored({ width, height, data }: Mask): Mask {
  const turned = data.slice();
  for (let y = 0; y < height; y++) turned.subarray(y * width, (y + 1) * width).reverse();
  return { width, height, data: turned };
}

/** The result with its mask as a file. */
async function withSegmentation<R extends InWorker<Found>>(result: R): Promise<R> {
  const { mask, ...rest } = result;
  if (!mask) return result;
  const { width, height } = mask;
  const pixels = new ImageData(width, height);
  mask.data.forEach((share, i) => pixels.data.set([255 * share, 255 * share, 255 * share, 255], 4 * i));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  const png = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { ...rest, segmentation: { width, height, png } satisfies Segmentation } as unknown as R;
}
