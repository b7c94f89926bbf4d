/** MediaPipe Hands (Zhang et al. 2020): palm detector and 21 landmarks. */

import { pointsFromCrop, rotatedBoxAround, squareBox, wrapAngle, type RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import type { HandHeads, Taps } from "./hand-heads.js";
import type { HandRefinement } from "./hand-refinement.js";
import type { Network } from "./network.js";
import { cornersOf, movedPoints, type Observation, type Point } from "./observations.js";
import { overlapByHalf, type Kind } from "./pipeline.js";
import { cropInto, cut, type Pixels } from "./pixels.js";
import { boxOf, type Found, type HandPoints, type InWorker, type NamedPoint, type Points } from "./results.js";
import type { Settings } from "./options.js";
import { keypointSmoothers, type SmootherOf } from "./smoothing.js";
import type { Detection, SingleShotDetector } from "./ssd.js";
import type { Track } from "./tracking.js";

const OF = constants.hands;

export interface HandObservation extends Observation {
  readonly keypoints3D: Float32Array;
  readonly left: number;
  readonly colours: null;
  /** (K,) probability that a keypoint is in the image and not hidden; null without heads. */
  readonly visibility: Float32Array | null;
  /** How much the crop looks like a hand, in log odds; 0 without heads. */
  readonly likeness: number;
  /** (K * E) what the classifier of gestures reads of the image; null of a hidden hand, and where nothing reads it. */
  readonly appearance: Float32Array | null;
  /** Refined keypoints for results; null without refinement, and where they are used already. */
  readonly refined: (HandPoints<Float32Array> & { readonly errorPx: Float32Array }) | null;
  /** (K,) expected distance of refined keypoints from the right position in pixels; null for others. */
  readonly errorPx: Float32Array | null;
  /** Keypoints of the network, where the observation has refined ones. */
  readonly published: HandPoints<Float32Array> | null;
}

/** One hand in one image; `keypoints` in pixels, `keypoints3D` in metres. */
export interface Hand extends Found {
  readonly score: number;
  readonly handedness: "Left" | "Right";
  readonly handednessScore: number;
  readonly keypoints3D: NamedPoint[];
  /** Where `gestures` asks for it: what the hand says, null for none that is known. */
  readonly gesture?: { readonly name: string; readonly score: number } | null;
  /** The network's keypoints of a hand with refined ones. Gestures are classified and learned by them. */
  readonly published?: HandPoints<NamedPoint[]>;
}

/** A hand in the worker, with what its gesture is classified by: appearance, which pages never get. */
export type HandWithAppearance = InWorker<Hand> & { readonly appearance?: Float32Array };

/** The box of a whole hand, fingers up, from a palm's box and keypoints. */
export function boxFromPalm({ box, keypoints }: Detection): RotatedBox {
  const [left, top, right, bottom] = box;
  const rotation = upright(keypoints[OF.PALM_WRIST]!, keypoints[OF.PALM_MIDDLE_MCP]!);
  const palm = { cx: (left + right) / 2, cy: (top + bottom) / 2, width: right - left, height: bottom - top, rotation };
  return squareBox(palm, OF.FROM_PALM);
}

/** The crop for a hand of known keypoints: upright along the hand, twice as large as wrist, palm and first joints. */
export function boxAroundHand(keypoints: Float32Array): RotatedBox {
  const at = (i: number): Point => [keypoints[3 * i]!, keypoints[3 * i + 1]!];
  const [index, middle, ring] = [at(OF.INDEX_MCP), at(OF.MIDDLE_MCP), at(OF.RING_MCP)];
  const knuckle = (k: 0 | 1) => ((index[k] + ring[k]) / 2 + middle[k]) / 2;
  const rotation = upright(at(OF.WRIST), [knuckle(0), knuckle(1)]);
  return squareBox(rotatedBoxAround(keypoints, OF.BOX_KEYPOINTS, rotation), OF.AROUND_HAND);
}

/** Rotation that a box must have for the way from start to end to point up in it. */
export function upright(start: Point, end: Point): number {
  return wrapAngle(Math.PI / 2 - Math.atan2(start[1] - end[1], end[0] - start[0]));
}

/** Palm detector and hand landmarks; without a detector others say where to look. */
export class Hands implements Kind<HandObservation, HandWithAppearance> {
  readonly overlapKeypoints = null;
  readonly isSameInstance = overlapByHalf;
  readonly #palms: SingleShotDetector | null;
  readonly #landmarks: Network;
  readonly #isMirrored: boolean;
  readonly #heads: HandHeads | null;
  readonly #withAppearance: boolean;
  readonly #refinement: HandRefinement | null;

  /** `heads` tell the side, and where it is wanted the appearance; `landmarks` then gives what they read behind its outputs. */
  constructor(
    palms: SingleShotDetector | null,
    landmarks: Network,
    isMirrored: boolean,
    heads: HandHeads | null = null,
    withAppearance = false,
    refinement: HandRefinement | null = null,
  ) {
    this.#palms = palms;
    this.#landmarks = landmarks;
    this.#isMirrored = isMirrored;
    this.#heads = heads;
    this.#withAppearance = withAppearance;
    this.#refinement = refinement;
  }

  /** The smoother of a track refines the keypoints first; the track itself keeps those of the network. Both are smoothed. */
  newSmoother(settings: Settings): SmootherOf<HandObservation> {
    const make = keypointSmoothers<HandObservation>(settings);
    return () => {
      const [smoother, ofPublished] = [make(), make()];
      return (observation, now) => {
        const refined = refinedOf(observation);
        if (smoother === null || ofPublished === null) return refined;
        const smoothed = smoother(refined, now);
        if (smoothed.published === null) return smoothed;
        const { keypoints, keypoints3D } = ofPublished({ ...smoothed, ...smoothed.published }, now);
        return { ...smoothed, published: { keypoints, keypoints3D } };
      };
    };
  }

  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    return ((await this.#palms?.find(image, minScore)) ?? []).map(boxFromPalm);
  }

  /** 21 keypoints, presence and handedness from one box. */
  async observe(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    cropInto(image, box, this.#landmarks);
    const [points, presence, handedness, world, ...taps] = await this.#landmarks.run();
    // The network was trained on selfie views: there its label is the person's own hand.
    const inputs = this.#heads?.inputs(points!, this.#landmarks.size, taps);
    const { left, visibility, likeness } = inputs
      ? this.#heads!.read(inputs)
      : { left: handedness![0]!, visibility: null, likeness: 0 };
    return {
      score: presence![0]!,
      keypoints: pointsFromCrop(points!, box, this.#landmarks.size, OF.Z_SCALE),
      keypoints3D: turned(world!, box.rotation),
      left: this.#isMirrored ? left : 1 - left,
      colours: null,
      visibility,
      likeness,
      appearance: inputs && this.#withAppearance ? this.#heads!.appearance(inputs, taps) : null,
      refined: this.#refinement && this.#refined(this.#refinement, points!, world!, taps, box),
      errorPx: null,
      published: null,
    };
  }

  /** Return refined keypoints of the image and in metres, and their expected errors in pixels. */
  #refined(refinement: HandRefinement, points: Float32Array, world: Float32Array, taps: Taps, box: RotatedBox): HandObservation["refined"] {
    const { size } = this.#landmarks;
    const refined = refinement.refine(points.map((value) => value / size), world, taps);
    return {
      keypoints: pointsFromCrop(refined.keypoints, box, 1, 1),
      keypoints3D: turned(refined.world, box.rotation),
      errorPx: refined.error.map((value) => value * box.width),
    };
  }

  /** What is seen in a box in the mirror, with keypoints and side as they are in the image itself. */
  async observeInMirror(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    const reach = 0.75 * box.width;
    const start = (at: number, size: number) => Math.min(Math.max(Math.trunc(at - reach), 0), size - 1);
    const end = (at: number, size: number, from: number) =>
      Math.max(Math.min(Math.trunc(at + reach) + 1, size), from + 1);
    const [left, top] = [start(box.cx, image.width), start(box.cy, image.height)];
    const [right, bottom] = [end(box.cx, image.width, left), end(box.cy, image.height, top)];
    const mirror = cut(image, left, top, right, bottom, { mirrored: true });
    const seen = await this.observe(mirror, { ...box, cx: right - box.cx, cy: box.cy - top, rotation: -box.rotation });
    const back = <P extends { readonly keypoints: Float32Array; readonly keypoints3D: Float32Array }>(points: P): P => ({
      ...points,
      keypoints: points.keypoints.map((value, i) => (i % 3 === 0 ? right - value : i % 3 === 1 ? value + top : value)),
      keypoints3D: points.keypoints3D.map((value, i) => (i % 3 === 0 ? -value : value)),
    });
    return {
      ...back(seen),
      left: 1 - seen.left,
      refined: seen.refined && back(seen.refined),
      appearance: null, // it is the mirror's
    };
  }

  /** The next frame's box, from the hand as seen: smoothing would drag it behind. */
  follow({ observation }: Track<HandObservation>): RotatedBox {
    return this.boxAfter(observation);
  }

  boxAfter({ keypoints }: HandObservation): RotatedBox {
    return boxAroundHand(keypoints);
  }

  propagate(observation: HandObservation, shift: Point, score: number): HandObservation {
    const [keypoints, { keypoints3D }] = [movedPoints(observation.keypoints, shift), observation];
    const published = observation.refined || observation.published ? { keypoints, keypoints3D } : null;
    return { ...observation, keypoints, score, appearance: null, refined: null, errorPx: null, published };
  }

  /** For a track with the side with the most evidence over its frames. */
  result(_: Pixels, seen: HandObservation, track: Track<HandObservation> | null): HandWithAppearance {
    const observation = refinedOf(seen);
    const left = track?.left ?? observation.left;
    return {
      score: observation.score,
      handedness: left > 0.5 ? "Left" : "Right",
      keypoints: { values: observation.keypoints, ...(observation.errorPx && { errorPx: observation.errorPx }) },
      keypoints3D: { values: observation.keypoints3D },
      id: track?.id ?? null,
      handednessScore: Math.max(left, 1 - left),
      box: boxOf(cornersOf(observation.keypoints)),
      ...(observation.appearance && { appearance: observation.appearance }),
      ...(observation.published && { published: inWorker(observation.published) }),
    };
  }
}

/** Return the observation with its refined keypoints, if it has them. */
function refinedOf(observation: HandObservation): HandObservation {
  const { keypoints, keypoints3D, refined } = observation;
  return refined ? { ...observation, ...refined, refined: null, published: { keypoints, keypoints3D } } : observation;
}

function inWorker({ keypoints, keypoints3D }: HandPoints<Float32Array>): HandPoints<Points> {
  return { keypoints: { values: keypoints }, keypoints3D: { values: keypoints3D } };
}

/** Return points (K * 3) of the crop's axes in those of the image. */
function turned(points: Float32Array, rotation: number): Float32Array {
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
  const found = new Float32Array(3 * OF.KEYPOINTS);
  for (let i = 0; i < found.length; i += 3) {
    found[i] = points[i]! * cos - points[i + 1]! * sin;
    found[i + 1] = points[i]! * sin + points[i + 1]! * cos;
    found[i + 2] = points[i + 2]!;
  }
  return found;
}
