/**
 * Results in the shape of tfjs-models, with additional fields such as `id`, `box` and z, as those
 * of a Sonjit server.
 */

import { keypoints as bodyNames } from "../../src/sonjit/results/skeletons/body_blazepose33.json";
import { keypoints as sixNames } from "../../src/sonjit/results/skeletons/face_blazeface6.json";
import { keypoints as meshNames } from "../../src/sonjit/results/skeletons/face_mediapipe468.json";
import { keypoints as refinedNames } from "../../src/sonjit/results/skeletons/face_mediapipe478.json";
import { keypoints as handNames } from "../../src/sonjit/results/skeletons/hand_mediapipe21.json";
import type { Point } from "./observations.js";
import type { Pixels } from "./pixels.js";

export interface NamedPoint {
  x: number;
  y: number;
  /**
   * Ordinal depth, smaller is nearer; in the scale of x and y for refined hands. Missing if it is
   * unknown.
   */
  z?: number;
  /** Missing for keypoints without a name. */
  name?: string;
  /** Expected distance of x and y from the right position in pixels; only for refined hands. */
  errorPx?: number;
}

export type Box = {
  xMin: number;
  yMin: number;
  xMax: number;
  yMax: number;
  width: number;
  height: number;
};

/** Probability of the instance per pixel of an image, 0..1. */
export type Mask = { readonly width: number; readonly height: number; readonly data: Float32Array };

/** A mask as an 8-bit grey PNG in base64. */
export type Segmentation = {
  readonly width: number;
  readonly height: number;
  readonly png: string;
};

/** Fields of the results of all kinds. */
export interface Found {
  /** Track id, stable while the instance is tracked; null for stills. */
  readonly id: number | null;
  readonly keypoints: NamedPoint[];
  readonly box: Box;
  /** The keypoints show the mirror image of the person; absent if they do not. */
  readonly mirrored?: boolean;
  /** x was mirrored in the image; absent if it was not. */
  readonly flipped?: boolean;
  /**
   * Rows of the matrix (4, 4) from the canonical face to the camera, in centimetres; only for faces
   * with `transform`.
   */
  readonly transform?: number[][];
  /** Only for bodies with `segmentation`; the page gets it as `segmentation`. */
  readonly mask?: Mask;
}

/**
 * Keypoints as arrays. The worker uses and sends arrays, because objects would have to be created
 * and copied for every image.
 */
export interface Points {
  /** (K, 3). */
  readonly values: Float32Array;
  /** (K,) each; missing if unknown. */
  readonly score?: Float32Array;
  readonly presence?: Float32Array;
  readonly errorPx?: Float32Array;
}

/** Keypoints in pixels and in metres. */
export type HandPoints<P> = { readonly keypoints: P; readonly keypoints3D: P };

const PARTS = ["body", "leftHand", "rightHand", "face"] as const;

/** A result as the worker has it, with keypoints as arrays. */
export type InWorker<R> = R extends null
  ? null
  : {
      [K in keyof R]: K extends "keypoints" | "keypoints3D"
        ? Points
        : K extends "published"
          ? HandPoints<Points>
          : K extends (typeof PARTS)[number]
            ? InWorker<R[K]>
            : R[K];
    };

/** Result of a detector for one instance. */
export type Result = InWorker<Found> | InWorker<Person>;

/** Results of a detector for one image. */
export interface Results {
  readonly found: readonly Result[];
  /** Number of instances found, including those beyond `max_instances`. */
  readonly total: number;
  /**
   * True if the search processed all proposals; false if it left out windows.
   */
  readonly complete: boolean;
  /** Steps of motions in this image; only in streams with `gestures`. */
  readonly motions?: readonly MotionEvent[];
  /** Events that begin or end in this image; only in streams with `gestures` or `events`. */
  readonly events?: readonly Event[];
}

const NAMES = new Map(
  [handNames, bodyNames, meshNames, refinedNames, sixNames].map((names) => [names.length, names]),
);

/** Return a result as pages get it, with named keypoints as objects. */
export function withNamedKeypoints(result: Result): Found | Person {
  const all = { ...result } as unknown as Record<string, unknown>;
  for (const name of PARTS) if (all[name]) all[name] = withNamedKeypoints(all[name] as Result);
  if (all.published) {
    const { keypoints, keypoints3D } = all.published as HandPoints<Points>;
    all.published = {
      keypoints: namedKeypoints(keypoints),
      keypoints3D: namedKeypoints(keypoints3D),
    };
  }
  for (const name of ["keypoints", "keypoints3D"])
    if (all[name]) all[name] = namedKeypoints(all[name] as Points);
  return all as unknown as Found | Person;
}

function namedKeypoints({ values, score, presence, errorPx }: Points): NamedPoint[] {
  return NAMES.get(values.length / 3)!.map((name, k) => {
    const point: NamedPoint & { score?: number; presence?: number } = {
      x: values[3 * k]!,
      y: values[3 * k + 1]!,
    };
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

/**
 * Return a result for the page: x is mirrored in an image of this width unless it is null, and
 * the mask is a PNG file.
 *
 * @param isSelfie the image is a selfie view
 */
export async function finalResult<R extends Result | null>(
  result: R,
  mirrorWidth: number | null,
  isSelfie: boolean,
): Promise<R> {
  if (result === null) return result;
  if (!("body" in result)) {
    const seen = (mirrorWidth === null ? result : flipped(result, mirrorWidth)) as InWorker<Found>;
    const view = {
      ...(isSelfie !== (mirrorWidth !== null) ? { mirrored: true } : {}),
      ...(mirrorWidth === null ? {} : { flipped: true }),
    };
    return (await withSegmentation({ ...seen, ...view })) as R;
  }
  const parts = await Promise.all(
    PARTS.map(async (name) => [name, await finalResult(result[name], mirrorWidth, isSelfie)]),
  );
  return { ...result, ...Object.fromEntries(parts) };
}

/** Signs of a transform between the mirror images of both its spaces. */
const MIRRORED_TRANSFORM = [
  [1, -1, -1, -1],
  [-1, 1, 1, 1],
  [-1, 1, 1, 1],
  [1, 1, 1, 1],
];

/**
 * Return the instance with x mirrored in an image of this width. Labels keep the person's own
 * left and right.
 */
function flipped<R extends InWorker<Found>>(result: R, width: number): R {
  const { xMin, xMax } = result.box;
  return {
    ...result,
    keypoints: mirroredPoints(result.keypoints, width),
    ...("keypoints3D" in result
      ? { keypoints3D: mirroredPoints(result.keypoints3D as Points, 0) }
      : {}),
    ...("published" in result
      ? { published: mirroredHand(result.published as HandPoints<Points>, width) }
      : {}),
    ...(result.transform
      ? {
          transform: result.transform.map((row, i) =>
            row.map((value, j) => value * MIRRORED_TRANSFORM[i]![j]!),
          ),
        }
      : {}),
    ...(result.mask ? { mask: mirroredMask(result.mask) } : {}),
    box: { ...result.box, xMin: width - xMax, xMax: width - xMin },
  };
}

/** Mirror the keypoints of a hand in an image of this width. */
export function mirroredHand(
  { keypoints, keypoints3D }: HandPoints<Points>,
  width: number,
): HandPoints<Points> {
  return {
    keypoints: mirroredPoints(keypoints, width),
    keypoints3D: mirroredPoints(keypoints3D, 0),
  };
}

/** Mirror points in an image of this width. */
export const mirroredPoints = (points: Points, width: number): Points => ({
  ...points,
  values: points.values.map((value, i) => (i % 3 === 0 ? width - value : value)),
});

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
  mask.data.forEach((probability, i) =>
    pixels.data.set([255 * probability, 255 * probability, 255 * probability, 255], 4 * i),
  );
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  const bytes = new Uint8Array(
    await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer(),
  );
  const png = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { ...rest, segmentation: { width, height, png } satisfies Segmentation } as unknown as R;
}

/** One hand in one image; `keypoints` in pixels, `keypoints3D` in metres. */
export interface Hand extends Found {
  readonly score: number;
  readonly handedness: "Left" | "Right";
  readonly handednessScore: number;
  readonly keypoints3D: NamedPoint[];
  /** Gesture of the hand, only with `gestures`; null for unknown gestures. */
  readonly gesture?: { readonly name: string; readonly score: number } | null;
  /**
   * Published keypoints of a hand with refined ones. Gestures are classified and learned by them.
   */
  readonly published?: HandPoints<NamedPoint[]>;
}

export interface BodyKeypoint extends NamedPoint {
  /** Visibility. */
  score: number;
}

/** One body in one image; `keypoints` in pixels, `keypoints3D` in metres. */
export interface Body extends Found {
  readonly score: number;
  readonly keypoints: (BodyKeypoint & { presence: number })[];
  readonly keypoints3D: BodyKeypoint[];
}

/** One face in one image, in pixels. */
export interface Face extends Found {
  readonly score: number;
  /** Strength of each expression, 0..1, by name; only with `blendshapes`. */
  readonly blendshapes?: Record<string, number>;
}

/** One person: a body with its own hands and face, each null if it was not found. */
export interface Person {
  /** Track id, which the body, its hands and its face share. */
  readonly id: number | null;
  readonly body: Body;
  readonly leftHand: Hand | null;
  readonly rightHand: Hand | null;
  readonly face: Face | null;
}

export type Gesture = { readonly name: string; readonly score: number };

/** The begin or end of a held gesture, of a motion or of a measure beyond a limit, or a repetition. */
export interface Event {
  readonly name: string;
  readonly type: "gesture" | "motion" | "measure" | "repetition";
  /**
   * `cancel` in place of `end` if the motion became another one, or if the instance of a motion or
   * measure was lost.
   */
  readonly phase: "begin" | "end" | "cancel";
  /** Time in seconds. */
  readonly begin: number;
  /** Time in seconds; null at the begin. */
  readonly end: number | null;
  /** Track ID of the instance. */
  readonly id: number;
  /** Null for bodies and faces. */
  readonly handedness: "Left" | "Right" | null;
  /**
   * Highest score of the gesture, highest strength of the motion, or extreme of the measure so far.
   */
  readonly value: number;
}

/** One step of a motion of one hand, as Python's `MotionEvent`. */
export interface MotionEvent {
  /**
   * Name of the motion. A custom motion has the name in its file and is reported once, at its end.
   */
  readonly name: string;
  /**
   * `cancel` in place of `end` if the hand was lost, or if what began as a swipe became another
   * movement.
   */
  readonly phase: Phase;
  /** Id of the hand; with two hands, of the one that is tracked longest. */
  readonly id: number;
  readonly handedness: "Left" | "Right";
  /** Time in seconds. */
  readonly time: number;
  /** Strength 0..1; of a custom motion its score. */
  readonly strength: number;
  /**
   * Movement since the begin of the motion, to the right and down in the image, in hand lengths.
   */
  readonly moved: Point;
  /** Turns, swings, or a ratio of distances or sizes; see docs/gestures.md. */
  readonly count: number;
}

export type Phase = "begin" | "progress" | "end" | "cancel";

/** Motions and events that end with a stream. */
export interface StreamEnd {
  readonly motions: readonly MotionEvent[];
  readonly events: readonly Event[];
}

/** A detector of any kind. */
export interface AnyDetector {
  track(image: Pixels, time: number | null): Promise<Results>;
  detect(image: Pixels): Promise<Results>;
  reset(): void;
  /** Return what ends with the stream, after its last image; absent without motions and events. */
  finish?(): StreamEnd;
}
