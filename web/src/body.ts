/**
 * MediaPipe Pose (Bazarevsky et al. 2020; Grishchenko et al. 2022): person detector and BlazePose's
 * 33 landmarks.
 */

import skeleton from "../../src/sonjit/results/skeletons/body_blazepose33.json";
import { constants } from "./data.js";
import type { Network } from "./network.js";
import {
  cornersOf,
  movedPoints,
  pointsFromCrop,
  sigmoid,
  squareBox,
  toImageAxes,
  wrapAngle,
  type Observation,
  type Point,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import { bilinear, cropInto, type Pixels } from "./pixels.js";
import { boxOf, type Body, type InWorker, type Mask, type Result } from "./results.js";
import { OneEuro, oneEuroSmoother, type SmootherOf } from "./smoothing.js";
import type { SingleShotDetector } from "./ssd.js";
import type { Kind, Track } from "./tracking.js";

const OF = constants.body;
const [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP] = OF.TORSO as [
  number,
  number,
  number,
  number,
];
const OTHER_SIDE: Readonly<Record<string, string>> = { left: "right", right: "left" };
const STRIPS = 3;

export interface BodyObservation extends Observation {
  readonly keypoints3D: Float32Array;
  readonly left: null;
  // (9,) mean red, green and blue of three strips across the torso, the shoulders' first
  readonly colours: Float32Array;
  readonly heatmapPeak: number; // mean probability of the heatmaps near the 33 keypoints, 0..1
  readonly visibility: Float32Array; // (33,) each, 0..1
  readonly presence: Float32Array;
  // (2, 3) pixels: the middle of the hips and a point on the circle around the body
  readonly alignment: Float32Array;
  readonly mask: Mask | null; // null unless requested
}

/**
 * Return the box around a person from its alignment points: the centre, and the point upwards on
 * the circle around the body.
 */
export function boxFromAlignment([cx, cy]: Point, [x, y]: Point): RotatedBox {
  const side = 2 * Math.hypot(cx - x, cy - y);
  const rotation = wrapAngle(Math.PI / 2 - Math.atan2(cy - y, x - cx));
  return squareBox(
    { cx, cy, width: side, height: side, rotation },
    { scale: OF.BOX_SCALE, shift_y: 0 },
  );
}

/** Detects bodies and their landmarks. Without a person detector the boxes come from elsewhere. */
export class Bodies implements Kind<BodyObservation> {
  readonly overlapKeypoints = OF.CORE;
  readonly #order: readonly number[];

  constructor(
    private readonly detector: SingleShotDetector | null,
    private readonly landmarks: Network,
    isMirrored: boolean,
  ) {
    const counterpart = (name: string) =>
      name
        .split("_")
        .map((word) => OTHER_SIDE[word] ?? word)
        .join("_");
    this.#order = skeleton.keypoints.map((name, k, all) =>
      isMirrored ? all.indexOf(counterpart(name)) : k,
    );
  }

  /** Return the boxes of people, best first. */
  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    const people = (await this.detector?.find(image, minScore)) ?? [];
    return people.map(({ keypoints }) => boxFromAlignment(keypoints[0]!, keypoints[1]!));
  }

  /** Run the landmark network on one box: 33 keypoints, presence and, if it has one, the mask. */
  async observe(image: Pixels, box: RotatedBox): Promise<BodyObservation> {
    cropInto(image, box, this.landmarks);
    const [values, presence, heatmaps, world, logits] = await this.landmarks.run();
    const points = new Float32Array(3 * OF.USED);
    for (let k = 0; k < OF.USED; k++) {
      for (let axis = 0; axis < 3; axis++)
        points[3 * k + axis] = values![5 * k + axis]! / this.landmarks.size;
    }
    const heatmapPeak = refineByHeatmaps(points, heatmaps!);
    const placed = pointsFromCrop(points, box, 1, 1);
    const turned = toImageAxes(world!, box.rotation);
    const keypoints = new Float32Array(3 * OF.KEYPOINTS);
    const keypoints3D = new Float32Array(3 * OF.KEYPOINTS);
    const scores = [new Float32Array(OF.KEYPOINTS), new Float32Array(OF.KEYPOINTS)] as const;
    this.#order.forEach((from, k) => {
      keypoints.set(placed.subarray(3 * from, 3 * from + 3), 3 * k);
      keypoints3D.set(turned.subarray(3 * from, 3 * from + 3), 3 * k);
      scores.forEach((score, i) => (score[k] = sigmoid(values![5 * from + 3 + i]!)));
    });
    return {
      score: presence![0]!,
      keypoints,
      keypoints3D,
      visibility: scores[0],
      presence: scores[1],
      alignment: placed.slice(3 * OF.KEYPOINTS),
      mask: logits ? maskFromLogits(logits, box, image) : null,
      left: null,
      colours: torsoColours(image, keypoints),
      heatmapPeak,
    };
  }

  /** Return the box of the next frame, from the smoothed alignment points. */
  follow({ smoothed: { alignment } }: Track<BodyObservation>): RotatedBox {
    return boxFromAlignment([alignment[0]!, alignment[1]!], [alignment[3]!, alignment[4]!]);
  }

  /**
   * Check whether two boxes are on the same hips: boxes of neighbours overlap by more than half.
   */
  isSameInstance(box: RotatedBox, other: RotatedBox): boolean {
    return (
      Math.hypot(box.cx - other.cx, box.cy - other.cy) <
      OF.SAME_HIPS * Math.max(box.width, other.width)
    );
  }

  /**
   * Return the observation of an occluded body, without visible keypoints and with an empty mask.
   */
  propagate(observation: BodyObservation, shift: Point, score: number): BodyObservation {
    const [keypoints, alignment] = [observation.keypoints, observation.alignment].map((points) =>
      movedPoints(points, shift),
    );
    const mask = observation.mask && {
      ...observation.mask,
      data: new Float32Array(observation.mask.data.length),
    };
    return {
      ...observation,
      keypoints: keypoints!,
      alignment: alignment!,
      visibility: new Float32Array(OF.KEYPOINTS),
      mask,
      score,
    };
  }

  newSmoother(settings: Settings): SmootherOf<BodyObservation> {
    return () => bodySmoother(settings);
  }

  result(
    _: Pixels,
    observation: BodyObservation,
    track: Track<BodyObservation> | null,
  ): Result | Promise<Result> {
    return this.bodyOf(observation, track);
  }

  protected bodyOf(
    observation: BodyObservation,
    track: Track<BodyObservation> | null,
  ): InWorker<Body> {
    const { score, visibility, presence, mask } = observation;
    return {
      score,
      keypoints: { values: observation.keypoints, score: visibility, presence },
      keypoints3D: { values: observation.keypoints3D, score: visibility },
      id: track?.id ?? null,
      box: boxOf(cornersOf(observation.keypoints)),
      ...(mask ? { mask } : {}),
    };
  }
}

/** Return colours (9,) of a torso; see `BodyObservation`. */
function torsoColours({ width, height, data }: Pixels, keypoints: Float32Array): Float32Array {
  const at = (k: number, axis: number) => keypoints[3 * k + axis]!;
  const [[fromDown, toDown, rows], [fromAcross, toAcross, columns]] = [
    OF.TORSO_DOWN,
    OF.TORSO_ACROSS,
  ] as [number[], number[]] as [[number, number, number], [number, number, number]];
  const sums = new Float32Array(3 * STRIPS);
  for (let j = 0; j < rows; j++) {
    const down = fromDown + ((toDown - fromDown) * j) / (rows - 1);
    for (let i = 0; i < columns; i++) {
      const across = fromAcross + ((toAcross - fromAcross) * i) / (columns - 1);
      const [x, y] = [0, 1].map((axis) => {
        const shoulder = at(LEFT_SHOULDER, axis) * (1 - across) + at(RIGHT_SHOULDER, axis) * across;
        const hip = at(LEFT_HIP, axis) * (1 - across) + at(RIGHT_HIP, axis) * across;
        return shoulder * (1 - down) + hip * down;
      }) as [number, number];
      const column = Math.trunc(Math.min(Math.max(x, 0), width - 1));
      const row = Math.trunc(Math.min(Math.max(y, 0), height - 1));
      const strip = 3 * Math.floor((j * STRIPS) / rows);
      for (let c = 0; c < 3; c++) sums[strip + c]! += data[4 * (row * width + column) + c]!;
    }
  }
  return sums.map((sum) => sum / ((rows * columns) / STRIPS));
}

/**
 * Move points to the centre of mass of their heatmaps nearby, if the heatmaps are confident.
 *
 * @param points (35, 3) as fractions of the crop; z does not change
 * @param heatmaps (side, side, 39) logits
 * @returns the mean probability of the heatmaps near the 33 keypoints
 */
function refineByHeatmaps(points: Float32Array, heatmaps: Float32Array): number {
  const side = Math.sqrt(heatmaps.length / OF.LANDMARKS);
  const reach = Math.floor(OF.KERNEL / 2);
  let peaks = 0;
  for (let k = 0; k < points.length / 3; k++) {
    const column = Math.trunc(points[3 * k]! * side);
    const row = Math.trunc(points[3 * k + 1]! * side);
    if (!(column >= 0 && column < side && row >= 0 && row < side)) continue;
    let [total, x, y, peak] = [0, 0, 0, 0];
    for (let j = Math.max(row - reach, 0); j <= Math.min(row + reach, side - 1); j++) {
      for (let i = Math.max(column - reach, 0); i <= Math.min(column + reach, side - 1); i++) {
        const weight = sigmoid(heatmaps[(j * side + i) * OF.LANDMARKS + k]!);
        total += weight;
        x += weight * i;
        y += weight * j;
        peak = Math.max(peak, weight);
      }
    }
    if (k < OF.KEYPOINTS) peaks += peak;
    if (peak < OF.LEAST_PEAK) continue;
    points[3 * k] = x / total / side;
    points[3 * k + 1] = y / total / side;
  }
  return peaks / OF.KEYPOINTS;
}

/**
 * Return the smoother of one person. It always smooths the alignment points, from which the next
 * box is made.
 */
function bodySmoother({
  smoothing,
  smooth_segmentation,
}: Settings): (observation: BodyObservation, now: number) => BodyObservation {
  const alignment = new OneEuro(...filterOf(OF.ALIGNMENT_FILTER));
  const smootherOf = {
    none: () => null,
    one_euro: () => oneEuroSmoother<BodyObservation>(),
    published: publishedSmoother,
  }[smoothing];
  const smoother = smootherOf();
  const smoothMask = smooth_segmentation ? maskSmoother() : null;
  return (observation, now) => {
    const [cx, cy, , x, y] = observation.alignment as unknown as [
      number,
      number,
      number,
      number,
      number,
    ];
    const size = Math.max(2 * Math.hypot(cx - x, cy - y), 1e-6);
    const mask = observation.mask && smoothMask ? smoothMask(observation.mask) : observation.mask;
    const smoothed = {
      ...observation,
      mask,
      alignment: alignment.filter(observation.alignment, now, size),
    };
    return smoother === null ? smoothed : smoother(smoothed, now, size);
  };
}

/**
 * Return MediaPipe's filters of image keypoints, world keypoints and visibility; `size`: unsmoothed
 * size of the person in pixels.
 */
function publishedSmoother(): (
  observation: BodyObservation,
  now: number,
  size: number,
) => BodyObservation {
  const image = new OneEuro(...filterOf(OF.IMAGE_FILTER));
  const world = new OneEuro(...filterOf(OF.WORLD_FILTER));
  let previous: Float32Array | null = null;
  return (observation, now, size) => {
    const last = previous;
    const visibility = last
      ? observation.visibility.map(
          (value, k) => last[k]! + OF.VISIBILITY_ALPHA * (value - last[k]!),
        )
      : observation.visibility;
    previous = visibility;
    return {
      ...observation,
      keypoints: image.filter(observation.keypoints, now, size),
      keypoints3D: world.filter(observation.keypoints3D, now, 1),
      visibility,
    };
  };
}

const filterOf = (numbers: readonly number[]): [number, number, number, number] =>
  numbers as unknown as [number, number, number, number];

/**
 * Return the probability of the person per pixel, 0 outside the box.
 *
 * @param logits (side, side) over a box
 * @param image size of the image; the mask is smaller if the image is larger than twice the
 *   network's output
 */
function maskFromLogits(
  logits: Float32Array,
  box: RotatedBox,
  image: { width: number; height: number },
): Mask {
  const side = Math.sqrt(logits.length);
  const probabilities = logits.map(sigmoid);
  const scale = Math.min((2 * side) / Math.max(image.width, image.height), 1);
  const width = Math.max(Math.round(image.width * scale), 1);
  const height = Math.max(Math.round(image.height * scale), 1);
  const data = new Float32Array(width * height);
  const [cos, sin] = [Math.cos(box.rotation), Math.sin(box.rotation)];
  const valueAt = (x: number, y: number) =>
    x < 0 || y < 0 || x >= side || y >= side ? 0 : probabilities[y * side + x]!;
  for (let j = 0; j < height; j++) {
    const dy = ((j + 0.5) / height) * image.height - 0.5 - box.cy;
    for (let i = 0; i < width; i++) {
      const dx = ((i + 0.5) / width) * image.width - 0.5 - box.cx;
      const x = ((dx * cos + dy * sin) / box.width + 0.5) * side;
      const y = ((dy * cos - dx * sin) / box.height + 0.5) * side;
      if (!(x > -1 && y > -1 && x < side && y < side)) continue;
      data[j * width + i] = bilinear(valueAt, x, y);
    }
  }
  return { width, height, data };
}

/**
 * Return a smoother that blends in the previous mask where the new one is uncertain, as MediaPipe's
 * segmentation smoothing does.
 */
function maskSmoother(): (mask: Mask) => Mask {
  let previous: Mask | null = null;
  return (mask) => {
    const last = previous;
    if (last?.width !== mask.width || last.height !== mask.height) return (previous = mask);
    const data = mask.data.map((probability, i) => {
      if (!(probability > OF.SURE && probability < 1 - OF.SURE)) return probability;
      const square = (probability - 0.5) ** 2;
      const sureness = Math.min(
        OF.UNCERTAINTY.reduce((sum, factor) => sum * square + factor, 0),
        1,
      );
      return probability + OF.MASK_RATIO * (1 - sureness) * (last.data[i]! - probability);
    });
    return (previous = { ...mask, data });
  };
}
