/**
 * Windows, proposals and heads of a search, how two instances relate, and scores and limits, fitted
 * to labelled photographs by `research/fit_search.py`.
 */

import fitted from "../../../src/sonjit/detectors/search/search.json";
import { boxFromAlignment, type BodyObservation } from "../body.js";
import { constants } from "../data.js";
import {
  cornersIou,
  cornersOf,
  distance,
  meanOf,
  meanPixels,
  overlapOverSmaller,
  pointAt,
  sizeOf,
  wrapAngle,
  type Corners,
  type Point,
  type RotatedBox,
} from "../observations.js";
import { cut, rint, type Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";

const { LEAST_PROBABILITY } = constants.search.score;

/** Logistic regression on named features. */
type Regression = { readonly bias: number; readonly weights: Readonly<Record<string, number>> };
export type Features = Readonly<Record<string, number>>;
export type ScoreName = keyof typeof fitted.scores;

const SCORES: Readonly<Record<ScoreName, Regression>> = fitted.scores;
export const LIMITS = fitted.limits;

/** Return the probability of a fitted score, a logistic regression, for features. */
export function scoreOf(name: ScoreName, features: Features): number {
  const { bias, weights } = SCORES[name];
  const sum = Object.entries(weights).reduce(
    (total, [feature, weight]) => total + weight * features[feature]!,
    bias,
  );
  return 1 / (1 + Math.exp(-sum));
}

/**
 * Return the log odds of a hand by the maps (L,) at each keypoint of each view, or null without
 * those of the full network.
 */
export function mapOdds(views: readonly (readonly Float32Array[] | null)[]): number | null {
  const { bias, weights } = fitted.hand_maps;
  let odds = bias;
  for (const maps of views) {
    if (maps?.[0]?.length !== weights.length) return null;
    for (const row of maps) {
      const sum = row.reduce((total, value, i) => total + value * weights[i]!, 0);
      odds += sum / maps.length / views.length;
    }
  }
  return odds;
}

/** Return log odds of a probability, which is first limited to 0.001..0.999. */
export function logit(value: number): number {
  const p = Math.min(Math.max(value, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY);
  return Math.log(p / (1 - p));
}

const OF = constants.search.geometry;
const BODY = constants.search.bodies;
const WINDOWS = constants.search.windows;
/** Keypoints of a body that are on its head. */
export const HEAD = [...Array(11).keys()];
const MIN_WINDOW_PX = 24;
const MIN_BOX_PX = 4;

/** A box in which an instance may be. */
export interface Proposal {
  readonly box: RotatedBox;
  score: number; // score of the detector, 0..1
  readonly source: string; // name of the source. "published" is the published search.
  readonly head?: Head; // head below which a body is proposed; absent for what a detector found
  readonly person?: Corners; // upright box around a person that the network found
}

/** Position of a face. */
export interface Head {
  readonly score: number;
  readonly middle: Point; // point half-way between forehead and chin, in pixels
  readonly down: Point; // vector from forehead to chin, in pixels
}

const longestOf = ({ width, height }: Pixels): number => Math.max(width, height);

/** Return a box of a window in pixels of the image. */
export const placed = (box: RotatedBox, [left, top]: Corners): RotatedBox => ({
  ...box,
  cx: box.cx + left,
  cy: box.cy + top,
});

/** Return the boxes of detections in a window as proposals of a source. */
export function proposalsIn<D extends { readonly score: number }>(
  window: Corners,
  found: readonly D[],
  boxFrom: (detection: D) => RotatedBox,
  source: string,
): Proposal[] {
  return found.map((detection) => ({
    box: placed(boxFrom(detection), window),
    score: detection.score,
    source,
  }));
}

/**
 * Check whether a box of the image reaches an edge of a window that is not an edge of the image.
 */
export function cutsOff(
  [left, top, right, bottom]: Corners,
  [xMin, yMin, xMax, yMax]: Corners,
  { width, height }: Pixels,
): boolean {
  const isFirst =
    (xMin < left + WINDOWS.EDGE_PX && left > 0) || (yMin < top + WINDOWS.EDGE_PX && top > 0);
  return (
    isFirst ||
    (xMax > right - WINDOWS.EDGE_PX && right < width) ||
    (yMax > bottom - WINDOWS.EDGE_PX && bottom < height)
  );
}

/**
 * Return the longer side of an image, or the part of it that is searched at once if it is very wide
 * or tall.
 */
export function reachOf(image: Pixels): number {
  const [longer, shorter] = [longestOf(image), Math.min(image.width, image.height)];
  return (
    longer /
    Math.max(
      1,
      Math.min(
        rint(longer / shorter / WINDOWS.LONG),
        Math.floor(longer / WINDOWS.MIN_WINDOW_PX),
        shorter,
      ),
    )
  );
}

/**
 * Return overlapping windows that cover an image.
 *
 * @param perReach number of windows along the longer side; of a very wide or tall image, along each
 *   reach of it
 * @param isFewer choose the number along the shorter side so that windows are nearly square; by
 *   default they are at most square
 */
export function windows(image: Pixels, perReach: number, isFewer = false): Corners[] {
  const { width, height } = image;
  const longer = longestOf(image);
  const parts = perReach * rint(longer / reachOf(image));
  if (parts === 1) return [[0, 0, width, height]];
  if (longer < parts * WINDOWS.MIN_WINDOW_PX || Math.min(width, height) < parts) return [];
  const step = longer / (parts - 1 + WINDOWS.OVERLAP);
  const spans = (length: number) => {
    const more = length / step - WINDOWS.OVERLAP;
    const count = Math.max(isFewer ? Math.floor(more + 0.5) : Math.ceil(more - 1e-6), 0) + 1;
    const side = Math.max(
      (WINDOWS.OVERLAP * length) / (count - 1 + WINDOWS.OVERLAP),
      Math.min(WINDOWS.OVERLAP * step, length),
    );
    const starts = Array.from({ length: count }, (_, i) =>
      count > 1 ? ((length - side) * i) / (count - 1) : 0,
    );
    return starts.map((start) => [rint(start), Math.min(rint(start + side), length)] as const);
  };
  const columns = spans(width);
  return spans(height).flatMap(([top, bottom]) =>
    columns.map(([left, right]): Corners => [left, top, right, bottom]),
  );
}

/** Return the part of a square window that lies in an image, or null if it is too small. */
export function windowAround(
  [cx, cy]: Point,
  side: number,
  { width, height }: Pixels,
): Corners | null {
  const [left, top] = [
    Math.max(Math.trunc(cx - side / 2), 0),
    Math.max(Math.trunc(cy - side / 2), 0),
  ];
  const [right, bottom] = [
    Math.min(Math.trunc(cx + side / 2), width),
    Math.min(Math.trunc(cy + side / 2), height),
  ];
  return Math.min(right - left, bottom - top) >= MIN_WINDOW_PX ? [left, top, right, bottom] : null;
}

/**
 * Return proposals without weaker duplicates and without boxes far wider than the image, best
 * first.
 */
export function mergeProposals(proposals: readonly Proposal[], image: Pixels): Proposal[] {
  const kept: Proposal[] = [];
  for (const proposal of [...proposals].sort((a, b) => b.score - a.score)) {
    const { width } = proposal.box;
    const isSized = width > MIN_BOX_PX && width < 4 * longestOf(image);
    if (isSized && !kept.some(({ box }) => isNear(proposal.box, box))) kept.push(proposal);
  }
  return kept;
}

/** Check whether two boxes give the landmark network nearly the same crop. */
export function isNear(a: RotatedBox, b: RotatedBox): boolean {
  const ratio = a.width / b.width;
  return (
    Math.hypot(a.cx - b.cx, a.cy - b.cy) < OF.NEAR_BOX * Math.max(a.width, b.width) &&
    ratio > 1 / OF.NEAR_SCALE &&
    ratio < OF.NEAR_SCALE &&
    Math.abs(wrapAngle(a.rotation - b.rotation)) < OF.NEAR_TURN
  );
}

interface Similarity {
  readonly tolerance?: number; // tolerance of every keypoint, in sizes of the instance
  readonly weights?: Float32Array; // weight of each keypoint; by default they are equal
}

/** Return the object keypoint similarity (Ronchi and Perona 2017) of keypoints (K, 3), 0..1. */
export function oks(
  a: Float32Array,
  b: Float32Array,
  { tolerance = OF.TOLERANCE, weights }: Similarity = {},
): number {
  const spread = 2 * (tolerance * Math.max(sizeOf(a), sizeOf(b))) ** 2;
  let [sum, total] = [0, 0];
  for (let k = 0; k < a.length / 3; k++) {
    const weight = weights?.[k] ?? 1;
    total += weight;
    sum +=
      weight *
      Math.exp(-((a[3 * k]! - b[3 * k]!) ** 2 + (a[3 * k + 1]! - b[3 * k + 1]!) ** 2) / spread);
  }
  return sum / Math.max(total, 1e-6);
}

/**
 * Return the similarity of two observations of a body, weighted by the visibility in the second
 * one, 0 outside the image.
 */
export function bodyOks(
  first: BodyObservation,
  second: BodyObservation,
  { width, height }: Pixels,
): number {
  const weights = second.visibility.map((value, k) => {
    const [x, y] = pointAt(second.keypoints, k);
    return x > 0 && x < width && y > 0 && y < height ? value : 0;
  });
  return oks(first.keypoints, second.keypoints, { tolerance: BODY.TOLERANCE, weights });
}

/** Check whether keypoints (K, 3) coincide, overlap, or one set lies inside the other. */
export function isSameInstance(a: Float32Array, b: Float32Array): boolean {
  if (meanPixels(a, b) < OF.SAME_DISTANCE * Math.max(sizeOf(a), sizeOf(b))) return true;
  return (
    cornersIou(cornersOf(a), cornersOf(b)) > OF.SAME_IOU ||
    overlapOverSmaller(a, b) > OF.SAME_INSIDE
  );
}

/** Return the point at this distance below the middle of a head, in head heights. */
export const pointBelow = ({ middle, down }: Head, heights: number): Point => [
  middle[0] + heights * down[0],
  middle[1] + heights * down[1],
];

/** Return the distance from forehead to chin in pixels. */
export const heightOf = ({ down }: Head): number => Math.max(Math.hypot(...down), 1);

/** Return the crop of the face mesh at a head. */
export function faceCrop(head: Head): RotatedBox {
  const [side, [cx, cy], [dx, dy]] = [OF.FACE_CROP * heightOf(head), head.middle, head.down];
  return { cx, cy, width: side, height: side, rotation: Math.atan2(-dx, dy) };
}

function headFromPoints(score: number, eyes: Point, mouth: Point): Head {
  const down: Point = [mouth[0] - eyes[0], mouth[1] - eyes[1]];
  return {
    score,
    middle: pointBelow({ score, middle: eyes, down }, OF.MIDDLE),
    down: [OF.HEIGHT * down[0], OF.HEIGHT * down[1]],
  };
}

/** Return the heads of the faces detected in a window. */
export async function headsIn(
  faces: SingleShotDetector,
  image: Pixels,
  window: Corners,
  least: number,
): Promise<Head[]> {
  const [left, top] = window;
  const headFrom = ({ score, keypoints }: Detection): Head => {
    const [a, b, , mouth] = keypoints as [Point, Point, Point, Point];
    return headFromPoints(
      score,
      [(a[0] + b[0]) / 2 + left, (a[1] + b[1]) / 2 + top],
      [mouth[0] + left, mouth[1] + top],
    );
  };
  return (await faces.find(cut(image, window), least)).map(headFrom);
}

/** Return the distance from the middle of a body's face to that of a head, in face heights. */
export const headOffset = ({ keypoints }: BodyObservation, head: Head): number =>
  distance(meanOf(keypoints, OF.EYES_TO_MOUTH), head.middle) / heightOf(head);

/** Check whether a head is that of a body. */
export const isHeadOf = (body: BodyObservation, head: Head): boolean =>
  headOffset(body, head) < LIMITS.own_face;

/** Return the width of the shoulders of a body in pixels. */
function shouldersOf({ keypoints }: BodyObservation): number {
  const [left, right] = OF.SHOULDERS as [number, number];
  return distance(pointAt(keypoints, left), pointAt(keypoints, right));
}

/**
 * Return the longer of the distance from shoulders to hips and the width of the shoulders, in
 * pixels.
 */
export function torsoSize(body: BodyObservation): number {
  return Math.max(
    distance(meanOf(body.keypoints, OF.SHOULDERS), meanOf(body.keypoints, OF.TORSO.slice(2))),
    shouldersOf(body),
    1,
  );
}

/**
 * Check whether two bodies have one torso: shoulders and hips are near each other, in sizes of the
 * torso.
 */
export function isSameTorso(a: BodyObservation, b: BodyObservation): boolean {
  return (
    meanPixels(a.keypoints, b.keypoints, OF.TORSO) <
    LIMITS.same_torso * Math.max(torsoSize(a), torsoSize(b))
  );
}

/** Check whether two bodies have one head. */
export function isSameHead(a: BodyObservation, b: BodyObservation): boolean {
  const off = distance(meanOf(a.keypoints, HEAD), meanOf(b.keypoints, HEAD));
  return off < LIMITS.same_head * Math.max(shouldersOf(a), shouldersOf(b));
}

/** Return the box around a body from its alignment points (2, 3). */
export const boxAroundBody = ({ alignment }: BodyObservation): RotatedBox =>
  boxFromAlignment(pointAt(alignment, 0), pointAt(alignment, 1));

/** Return the box of a body below a head; `placement` is an index in `PLACEMENTS`. */
export function boxBelow(head: Head, placement: number): RotatedBox {
  const [hips, radius] = BODY.PLACEMENTS[placement] as [number, number];
  return boxFromAlignment(pointBelow(head, hips), pointBelow(head, hips - radius));
}

/**
 * Return an image with all heads covered except one. The network finds only one of several people
 * in a crop.
 */
export function withoutOtherHeads(
  image: Pixels,
  box: RotatedBox,
  all: readonly Head[],
  own: Head,
): Pixels {
  const heads = all.filter(
    (head) => distance(head.middle, [box.cx, box.cy]) < box.width / Math.SQRT2 + heightOf(head),
  );
  if (heads.every((head) => head === own)) return image;
  const { width, height } = image;
  const covered = new Uint8Array(width * height);
  for (const head of heads)
    fillCircle(covered, width, pointBelow(head, -BODY.HAIR), BODY.COVER * heightOf(head), 1);
  fillCircle(covered, width, own.middle, BODY.KEPT * heightOf(own), 0);
  const data = image.data.slice();
  covered.forEach((isCovered, i) => isCovered && data.fill(BODY.GREY, 4 * i, 4 * i + 3));
  return { width, height, data };
}

/**
 * Fill a circle of pixels exactly as OpenCV does; `rows`: pixels row by row, `width` pixels each.
 */
function fillCircle(
  rows: Uint8Array,
  width: number,
  centre: Point,
  radius: number,
  value: number,
): void {
  const [cx, cy] = [rint(centre[0]), rint(centre[1])];
  const height = rows.length / width;
  const fill = (y: number, reach: number) => {
    const [from, to] = [Math.max(cx - reach, 0), Math.min(cx + reach + 1, width)];
    if (y >= 0 && y < height && from < to) rows.fill(value, y * width + from, y * width + to);
  };
  let [across, error, less] = [rint(radius), 0, 2 * rint(radius) - 1];
  for (let down = 0; across >= down; down++) {
    for (const sign of [-1, 1]) {
      fill(cy + sign * down, across);
      fill(cy + sign * across, down);
    }
    error += 2 * down + 1;
    if (error > 0) [error, across, less] = [error - less, across - 1, less - 2];
  }
}
