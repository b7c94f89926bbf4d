/** MediaPipe Hands (Zhang et al. 2020): palm detector and 21 landmarks. */

import { pointsFromCrop, rotatedBoxAround, squareBox, wrapAngle, type RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import type { HandHeads } from "./hand-heads.js";
import type { Network } from "./network.js";
import { cornersOf, movedPoints, type Observation, type Point } from "./observations.js";
import { overlapByHalf, type Kind } from "./pipeline.js";
import { cropInto, cut, type Pixels } from "./pixels.js";
import { boxOf, type Found, type InWorker, type NamedPoint } from "./results.js";
import { keypointSmoothers } from "./smoothing.js";
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
}

/** One hand in one image; `keypoints` in pixels, `keypoints3D` in metres. */
export interface Hand extends Found {
  readonly score: number;
  readonly handedness: "Left" | "Right";
  readonly handednessScore: number;
  readonly keypoints3D: NamedPoint[];
  /** Where `gestures` asks for it: what the hand says, null for none that is known. */
  readonly gesture?: { readonly name: string; readonly score: number } | null;
}

/** A hand with what its gesture is told by, which pages never get. */
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
  readonly core = null;
  readonly isTaken = overlapByHalf;
  readonly newSmoother = keypointSmoothers<HandObservation>;
  readonly #palms: SingleShotDetector | null;
  readonly #landmarks: Network;
  readonly #isMirrored: boolean;
  readonly #heads: HandHeads | null;
  readonly #withAppearance: boolean;

  /** `heads` tell the side, and where it is wanted the appearance; `landmarks` then gives what they read behind its outputs. */
  constructor(
    palms: SingleShotDetector | null,
    landmarks: Network,
    isMirrored: boolean,
    heads: HandHeads | null = null,
    withAppearance = false,
  ) {
    this.#palms = palms;
    this.#landmarks = landmarks;
    this.#isMirrored = isMirrored;
    this.#heads = heads;
    this.#withAppearance = withAppearance;
  }

  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    return ((await this.#palms?.find(image, minScore)) ?? []).map(boxFromPalm);
  }

  /** 21 keypoints, presence and handedness from one box. */
  async observe(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    cropInto(image, box, this.#landmarks);
    const [points, presence, handedness, world, ...taps] = await this.#landmarks.run();
    const cos = Math.cos(box.rotation);
    const sin = Math.sin(box.rotation);
    const keypoints3D = new Float32Array(3 * OF.KEYPOINTS);
    for (let i = 0; i < keypoints3D.length; i += 3) {
      keypoints3D[i] = world![i]! * cos - world![i + 1]! * sin;
      keypoints3D[i + 1] = world![i]! * sin + world![i + 1]! * cos;
      keypoints3D[i + 2] = world![i + 2]!;
    }
    // The network was trained on selfie views: there its label is the person's own hand.
    const inputs = this.#heads?.inputs(points!, this.#landmarks.size, taps);
    const { left, visibility, likeness } = inputs
      ? this.#heads!.read(inputs)
      : { left: handedness![0]!, visibility: null, likeness: 0 };
    return {
      score: presence![0]!,
      keypoints: pointsFromCrop(points!, box, this.#landmarks.size, OF.Z_SCALE),
      keypoints3D,
      left: this.#isMirrored ? left : 1 - left,
      colours: null,
      visibility,
      likeness,
      appearance: inputs && this.#withAppearance ? this.#heads!.appearance(inputs, taps) : null,
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
    return {
      ...seen,
      keypoints: seen.keypoints.map((value, i) => (i % 3 === 0 ? right - value : i % 3 === 1 ? value + top : value)),
      keypoints3D: seen.keypoints3D.map((value, i) => (i % 3 === 0 ? -value : value)),
      left: 1 - seen.left,
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

  moved(observation: HandObservation, shift: Point, score: number): HandObservation {
    return { ...observation, keypoints: movedPoints(observation.keypoints, shift), score, appearance: null };
  }

  /** For a track with the side with the most evidence over its frames. */
  result(_: Pixels, observation: HandObservation, track: Track<HandObservation> | null): HandWithAppearance {
    const left = track?.left ?? observation.left;
    return {
      score: observation.score,
      handedness: left > 0.5 ? "Left" : "Right",
      keypoints: { values: observation.keypoints },
      keypoints3D: { values: observation.keypoints3D },
      id: track?.id ?? null,
      handednessScore: Math.max(left, 1 - left),
      box: boxOf(cornersOf(observation.keypoints)),
      ...(observation.appearance && { appearance: observation.appearance }),
    };
  }
}
