/** Results in the shape of tfjs-models, with additional fields such as `id`, `box` and z, as those of a Sonjit server. */

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
  /** Ordinal depth, smaller is nearer; in the scale of x and y for refined hands. Missing if it is unknown. */
  z?: number;
  /** Missing for keypoints without a name. */
  name?: string;
  /** Expected distance of x and y from the right position in pixels; only for refined hands. */
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

/** Probability of the instance per pixel of an image, 0..1. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** A mask as an 8-bit grey PNG in base64. */
export interface Segmentation {
  readonly width: number;
  readonly height: number;
  readonly png: string;
}

/** Fields of the results of all kinds. */
export interface Found {
  /** Track id, stable while the instance is tracked; null for stills. */
  readonly id: number | null;
  readonly keypoints: NamedPoint[];
  readonly box: Box;
  /** Rows of the matrix (4, 4) from the canonical face to the camera, in centimetres; only for faces with `transform`. */
  readonly transform?: number[][];
  /** Only for bodies with `segmentation`; the page gets it as `segmentation`. */
  readonly mask?: Mask;
}

/** Keypoints as arrays. The worker uses and sends arrays, because objects would have to be created and copied for every image. */
export interface Points {
  /** (K, 3). */
  readonly values: Float32Array;
  /** (K,) each; missing if unknown. */
  readonly score?: Float32Array;
  readonly presence?: Float32Array;
  readonly errorPx?: Float32Array;
}

/** Keypoints in pixels and in metres. */
export interface HandPoints<P> {
  readonly keypoints: P;
  readonly keypoints3D: P;
}

const PARTS = ["body", "leftHand", "rightHand", "face"] as const;

/** A result as the worker has it, with keypoints as arrays. */
export type InWorker<R> = R extends null
  ? null
  : {
      [K in keyof R]: K extends "keypoints" | "keypoints3D"
        ? Points
        : K extends "published"
          ? HandPoints<Points>
          : K extends (typeof PARTS)[number] ? InWorker<R[K]> : R[K];
    };

/** Result of a detector for one instance. */
export type Result = InWorker<Found> | InWorker<Person>;

/** Results of a detector for one image. */
export type Results = Result[] & {
  /** Only in streams with `gestures`. */
  motions?: readonly MotionEvent[];
  /** Only in streams with `gestures` or `events`. */
  events?: readonly Event[];
  /** Number of instances found, including those beyond `max_instances`. */
  total?: number;
  /** True if the search processed all proposals or found enough confident instances; false if its budget ended before. */
  complete?: boolean;
};

const NAMES = new Map([handNames, bodyNames, meshNames, refinedNames, sixNames].map((names) => [names.length, names]));

/** Return a result as pages get it, with named keypoints as objects. */
export function withNamedKeypoints(result: Result): Found | Person {
  const all = { ...result } as unknown as Record<string, unknown>;
  for (const name of PARTS) if (all[name]) all[name] = withNamedKeypoints(all[name] as Result);
  if (all.published) {
    const { keypoints, keypoints3D } = all.published as HandPoints<Points>;
    all.published = { keypoints: namedKeypoints(keypoints), keypoints3D: namedKeypoints(keypoints3D) };
  }
  for (const name of ["keypoints", "keypoints3D"]) if (all[name]) all[name] = namedKeypoints(all[name] as Points);
  return all as unknown as Found | Person;
}

function namedKeypoints({ values, score, presence, errorPx }: Points): NamedPoint[] {
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

/** Return a result for the page: x is mirroredMask in an image of this width unless it is null, and the mask is a PNG file. */
export async function finalResult<R extends Result | null>(result: R, mirrorWidth: number | null): Promise<R> {
  if (result === null) return result;
  if (!("body" in result)) return (await withSegmentation(mirrorWidth === null ? result : flipped(result, mirrorWidth))) as R;
  const parts = await Promise.all(PARTS.map(async (name) => [name, await finalResult(result[name], mirrorWidth)]));
  return { ...result, ...Object.fromEntries(parts) };
}

/** Signs of a transform between the mirror images of both its spaces. */
const MIRRORED_TRANSFORM = [[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]];

/** Return the instance with x mirroredMask in an image of this width. Labels keep the person's own left and right. */
function flipped<R extends InWorker<Found>>(result: R, width: number): R {
  const { xMin, xMax } = result.box;
  return {
    ...result,
    keypoints: mirroredPoints(result.keypoints, width),
    ...("keypoints3D" in result ? { keypoints3D: mirroredPoints(result.keypoints3D as Points, 0) } : {}),
    ...("published" in result ? { published: mirroredHand(result.published as HandPoints<Points>, width) } : {}),
    ...(result.transform ? { transform: result.transform.map((row, i) => row.map((value, j) => value * MIRRORED_TRANSFORM[i]![j]!)) } : {}),
    ...(result.mask ? { mask: mirroredMask(result.mask) } : {}),
    box: { ...result.box, xMin: width - xMax, xMax: width - xMin },
  };
}

/** Mirror the keypoints of a hand in an image of this width. */
export function mirroredHand({ keypoints, keypoints3D }: HandPoints<Points>, width: number): HandPoints<Points> {
  return { keypoints: mirroredPoints(keypoints, width), keypoints3D: mirroredPoints(keypoints3D, 0) };
}

/** Mirror points in an image of this width. */
function mirroredPoints(points: Points, width: number): Points {
  return { ...points, values: points.values.map((value, i) => (i % 3 === 0 ? width - value : value)) };
}

function mirroredMask({ width, height, data }: Mask): Mask {
  const flippedData = data.slice();
  for (let y = 0; y < height; y++) flippedData.subarray(y * width, (y + 1) * width).reverse();
  return { width, height, data: flippedData };
}

/** Return a result with its mask as a PNG file. */
async function withSegmentation<R extends InWorker<Found>>(result: R): Promise<R> {
  const { mask, ...rest } = result;
  if (!mask) return result;
  const { width, height } = mask;
  const pixels = new ImageData(width, height);
  mask.data.forEach((probability, i) => pixels.data.set([255 * probability, 255 * probability, 255 * probability, 255], 4 * i));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  const png = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { ...rest, segmentation: { width, height, png } satisfies Segmentation } as unknown as R;
}
