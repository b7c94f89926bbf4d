/** MediaPipe Hands (Zhang et al. 2020): palm detector and 21 landmarks. */

import { constants } from "./data.js";
import type { HandHeads, HandRefinement, Taps } from "./hand-heads.js";
import type { Network } from "./network.js";
import {
  boxBetween,
  cornersOf,
  movedPoints,
  pointAt,
  pointsFromCrop,
  rotatedBoxAround,
  squareBox,
  toImageAxes,
  wrapAngle,
  type Observation,
  type Point,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import { cropInto, cut, type Pixels } from "./pixels.js";
import { boxOf, type Hand, type HandPoints, type InWorker } from "./results.js";
import { keypointSmoothers, type SmootherOf } from "./smoothing.js";
import type { Detection, SingleShotDetector } from "./ssd.js";
import { overlapByHalf, type Kind, type Track } from "./tracking.js";

const OF = constants.hands;

export interface HandObservation extends Observation {
  readonly keypoints3D: Float32Array;
  readonly left: number;
  readonly colours: null;
  // (K,) probability that a keypoint is in the image and not occluded; null without heads
  readonly visibility: Float32Array | null;
  readonly maps: readonly Float32Array[] | null; // (L,) at each keypoint; null without heads
  /**
   * (K * E) features of the maps at each keypoint, by which gestures are classified; null for
   * occluded hands, and if nothing reads them.
   */
  readonly appearance: Float32Array | null;
  /**
   * Refined keypoints for results; null without refinement, and once they have replaced the others.
   */
  readonly refined: (HandPoints<Float32Array> & { readonly errorPx: Float32Array }) | null;
  // (K,) expected error of refined keypoints in pixels; null for others
  readonly errorPx: Float32Array | null;
  // keypoints before the refinement; null for published keypoints
  readonly published: HandPoints<Float32Array> | null;
}

/**
 * A hand in the worker. Its appearance is an input of the gesture classifier and never sent to the
 * page.
 */
export type HandWithAppearance = InWorker<Hand> & { readonly appearance?: Float32Array };

/**
 * Return the box of a hand from a palm's box and keypoints in pixels, with the fingers up and then
 * turned by radians.
 */
export function boxFromPalm({ box, keypoints }: Detection, turn = 0): RotatedBox {
  const rotation = upright(keypoints[OF.PALM_WRIST]!, keypoints[OF.PALM_MIDDLE_MCP]!);
  return squareBox(boxBetween(box, wrapAngle(rotation + turn)), OF.FROM_PALM);
}

/**
 * Return the crop of a hand with known keypoints: upright along the hand, twice as large as wrist,
 * palm and first joints.
 */
export function boxAroundHand(keypoints: Float32Array): RotatedBox {
  const [index, middle, ring] = [OF.INDEX_MCP, OF.MIDDLE_MCP, OF.RING_MCP].map((k) =>
    pointAt(keypoints, k),
  ) as [Point, Point, Point];
  const knuckle = (k: 0 | 1) => ((index[k] + ring[k]) / 2 + middle[k]) / 2;
  const rotation = upright(pointAt(keypoints, OF.WRIST), [knuckle(0), knuckle(1)]);
  return squareBox(rotatedBoxAround(keypoints, OF.BOX_KEYPOINTS, rotation), OF.AROUND_HAND);
}

/** Return the rotation in radians of a box in which the direction from start to end points up. */
export const upright = (start: Point, end: Point): number =>
  wrapAngle(Math.PI / 2 - Math.atan2(start[1] - end[1], end[0] - start[0]));

/** Detects hands and their landmarks. Without a palm detector the boxes come from elsewhere. */
export class Hands implements Kind<HandObservation> {
  readonly overlapKeypoints = null;
  readonly isSameInstance = overlapByHalf;
  protected readonly turn: number = 0; // rotation of the boxes of palms, in radians

  /**
   * @param heads heads for the side and, on request, the appearance. `landmarks` then has
   * additional outputs, which they read.
   */
  constructor(
    private readonly palms: SingleShotDetector | null,
    private readonly landmarks: Network,
    private readonly isMirrored: boolean,
    private readonly heads: HandHeads | null = null,
    private readonly withAppearance = false,
    private readonly refinement: HandRefinement | null = null,
  ) {}

  /**
   * Return smoothers that refine each observation first and smooth both sets of keypoints. Tracking
   * uses the network's own keypoints.
   */
  newSmoother(settings: Settings): SmootherOf<HandObservation> {
    const make = keypointSmoothers<HandObservation>(settings);
    return () => {
      const [smoother, publishedSmoother] = [make(), make()];
      return (observation, now) => {
        const refined = refinedOf(observation);
        if (smoother === null || publishedSmoother === null) return refined;
        const smoothed = smoother(refined, now);
        if (smoothed.published === null) return smoothed;
        const { keypoints, keypoints3D } = publishedSmoother(
          { ...smoothed, ...smoothed.published },
          now,
        );
        return { ...smoothed, published: { keypoints, keypoints3D } };
      };
    };
  }

  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    return ((await this.palms?.find(image, minScore)) ?? []).map((palm) =>
      boxFromPalm(palm, this.turn),
    );
  }

  /** Run the landmark network on one box: 21 keypoints, presence and handedness. */
  async observe(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    cropInto(image, box, this.landmarks);
    const [points, presence, handedness, world, ...taps] = await this.landmarks.run();
    // The network was trained on selfie views, in which its label is the person's own hand.
    const read = this.heads?.read(
      points!.map((value) => value / this.landmarks.size),
      taps,
      this.withAppearance,
    );
    const { left, visibility, maps, appearance } = read ?? {
      left: handedness![0]!,
      visibility: null,
      maps: null,
      appearance: null,
    };
    return {
      score: presence![0]!,
      keypoints: pointsFromCrop(points!, box, this.landmarks.size, OF.Z_SCALE),
      keypoints3D: toImageAxes(world!, box.rotation),
      left: this.isMirrored ? left : 1 - left,
      colours: null,
      visibility,
      maps,
      appearance,
      refined: this.refinement && this.#refined(this.refinement, points!, world!, taps, box),
      errorPx: null,
      published: null,
    };
  }

  /** Return refined keypoints of the image and in metres, and their expected errors in pixels. */
  #refined(
    refinement: HandRefinement,
    points: Float32Array,
    world: Float32Array,
    taps: Taps,
    box: RotatedBox,
  ): HandObservation["refined"] {
    const { size } = this.landmarks;
    const refined = refinement.refine(
      points.map((value) => value / size),
      world,
      taps,
    );
    return {
      keypoints: pointsFromCrop(refined.keypoints, box, 1, 1),
      keypoints3D: toImageAxes(refined.world, box.rotation),
      errorPx: refined.error.map((value) => value * box.width),
    };
  }

  /** Observe a box in the mirrored image. Return keypoints and side of the original image. */
  async observeMirrored(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    const reach = 0.75 * box.width;
    const start = (at: number, size: number) =>
      Math.min(Math.max(Math.trunc(at - reach), 0), size - 1);
    const end = (at: number, size: number, from: number) =>
      Math.max(Math.min(Math.trunc(at + reach) + 1, size), from + 1);
    const [left, top] = [start(box.cx, image.width), start(box.cy, image.height)];
    const [right, bottom] = [end(box.cx, image.width, left), end(box.cy, image.height, top)];
    const mirror = cut(image, [left, top, right, bottom], { mirrored: true });
    const mirrored = await this.observe(mirror, {
      ...box,
      cx: right - box.cx,
      cy: box.cy - top,
      rotation: -box.rotation,
    });
    const back = <
      P extends { readonly keypoints: Float32Array; readonly keypoints3D: Float32Array },
    >(
      points: P,
    ): P => ({
      ...points,
      keypoints: points.keypoints.map((value, i) =>
        i % 3 === 0 ? right - value : i % 3 === 1 ? value + top : value,
      ),
      keypoints3D: points.keypoints3D.map((value, i) => (i % 3 === 0 ? -value : value)),
    });
    return {
      ...back(mirrored),
      left: 1 - mirrored.left,
      refined: mirrored.refined && back(mirrored.refined),
      appearance: null, // it would describe the mirrored image
    };
  }

  /** Return the box of the next frame, from the observation without smoothing, which would lag. */
  follow({ observation }: Track<HandObservation>): RotatedBox {
    return this.boxAfter(observation);
  }

  /** Return the box around an observed hand. */
  boxAfter({ keypoints }: HandObservation): RotatedBox {
    return boxAroundHand(keypoints);
  }

  propagate(observation: HandObservation, shift: Point, score: number): HandObservation {
    const [keypoints, { keypoints3D }] = [movedPoints(observation.keypoints, shift), observation];
    const published =
      observation.refined || observation.published ? { keypoints, keypoints3D } : null;
    return {
      ...observation,
      keypoints,
      score,
      appearance: null,
      refined: null,
      errorPx: null,
      published,
    };
  }

  /**
   * Return the public result; for a track, with the side that has the most evidence over its
   * frames.
   */
  result(
    _: Pixels,
    original: HandObservation,
    track: Track<HandObservation> | null,
  ): HandWithAppearance {
    const observation = refinedOf(original);
    const { published } = observation;
    const left = track?.left ?? observation.left;
    return {
      score: observation.score,
      handedness: left > 0.5 ? "Left" : "Right",
      keypoints: {
        values: observation.keypoints,
        ...(observation.errorPx && { errorPx: observation.errorPx }),
      },
      keypoints3D: { values: observation.keypoints3D },
      id: track?.id ?? null,
      handednessScore: Math.max(left, 1 - left),
      box: boxOf(cornersOf(observation.keypoints)),
      ...(observation.appearance && { appearance: observation.appearance }),
      ...(published && {
        published: {
          keypoints: { values: published.keypoints },
          keypoints3D: { values: published.keypoints3D },
        },
      }),
    };
  }
}

/** Return the observation with its refined keypoints, if it has them. */
function refinedOf(observation: HandObservation): HandObservation {
  const { keypoints, keypoints3D, refined } = observation;
  return refined
    ? { ...observation, ...refined, refined: null, published: { keypoints, keypoints3D } }
    : observation;
}
