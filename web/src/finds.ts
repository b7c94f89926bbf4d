/** Candidates of a search: windows to search in, places to crop, and what two inferences make of them. */

import { wrapAngle, type RotatedBox } from "./boxes.js";
import { constants, type Logistic } from "./data.js";
import { cornersOf, meanPixels, shareInside, sizeOf, type Observation } from "./observations.js";
import { rint, type Pixels } from "./pixels.js";

const OF = constants.finds;
const LEAST_WINDOW_PX = 24;
const LEAST_BOX_PX = 4;

/** A part of an image in whole pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Where to search, and how sure what suggests it is. */
export interface Place {
  readonly box: RotatedBox;
  readonly score: number;
  /** Of a still: windows and places that led here. */
  readonly votes?: Set<string>;
}

/** One of a still. */
export type StillPlace = Place & { readonly votes: Set<string> };

/** Thresholds of a thorough search. */
export interface Limits {
  /** Least score of what the published search takes in the whole image. */
  readonly published: number;
  /** Least score in a window. */
  readonly least: number;
  /** So many sure finds end the search. */
  readonly enough: number;
}

/** One candidate of a still, seen several times. */
export interface Find<O extends Observation> {
  /** The last one counts. */
  observations: O[];
  /** Score of the detector or place that suggested it. */
  detection: number;
  readonly votes: Set<string>;
  /** Of the first two inferences' keypoints, 0..1. */
  readonly agreement: number;
  /** Calibrated, 0..1. */
  score: number;
}

export function lastOf<O extends Observation>({ observations }: Find<O>): O {
  return observations.at(-1)!;
}

/** The last observation with the search's score in place of its own. */
export function resultOf<O extends Observation>(find: Find<O>): O {
  return { ...lastOf(find), score: find.score };
}

/** Presence of the less sure inference. */
export function presenceOf({ observations }: Find<Observation>): number {
  return Math.min(...observations.map(({ score }) => score));
}

/** Whether it is seen so plainly that nothing else need be tried there. */
export function isPlain(find: Find<Observation>): boolean {
  return Math.min(find.agreement, presenceOf(find)) > OF.PLAIN;
}

/** Which of the finds of one thing is the best. */
export function rankOf(find: Find<Observation>): number {
  return lastOf(find).score * Math.sqrt(find.agreement);
}

/** The best of each thing, with the votes of all that found it. */
export function withoutSame<O extends Observation>(finds: readonly Find<O>[]): Find<O>[] {
  const kept: Find<O>[] = [];
  for (const find of [...finds].sort((a, b) => rankOf(b) - rankOf(a))) {
    const other = kept.find((one) => isSameFind(lastOf(find).keypoints, lastOf(one).keypoints));
    if (!other) kept.push(find);
    else {
      for (const vote of find.votes) other.votes.add(vote);
      other.detection = Math.max(other.detection, find.detection);
    }
  }
  return kept;
}

/** A logistic regression of the constants. */
export function regression(constant: readonly unknown[]): Logistic {
  const [bias, weights] = constant as [number, Logistic["weights"]];
  return { bias, weights };
}

/** Probability that a logistic regression gives from named features. */
export function logistic({ bias, weights }: Logistic, features: Readonly<Record<string, number>>): number {
  const sum = Object.entries(weights).reduce((total, [name, weight]) => total + weight * features[name]!, bias);
  return 1 / (1 + Math.exp(-sum));
}

/** Log odds, kept within those of one in a thousand. */
export function logit(probability: number): number {
  const p = Math.min(Math.max(probability, 1e-3), 1 - 1e-3);
  return Math.log(p / (1 - p));
}

type Corners = readonly [number, number, number, number];

export function areaOf([left, top, right, bottom]: Corners): number {
  return Math.max((right - left) * (bottom - top), 1e-6);
}

export function sharedArea(a: Corners, b: Corners): number {
  const across = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  return across * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
}

/** Whether keypoints are of one thing: they coincide, overlap, or one lies in the other. */
export function isSameFind(a: Float32Array, b: Float32Array): boolean {
  if (meanPixels(a, b) < OF.SAME_DISTANCE * Math.max(sizeOf(a), sizeOf(b))) return true;
  const [first, second] = [cornersOf(a), cornersOf(b)];
  const shared = sharedArea(first, second);
  if (shared > OF.SAME_IOU * (areaOf(first) + areaOf(second) - shared)) return true;
  return shareInside(a, b) > OF.SAME_INSIDE;
}

/** A box of a window's image in pixels of the whole image. */
export function shifted(box: RotatedBox, left: number, top: number): RotatedBox {
  return { ...box, cx: box.cx + left, cy: box.cy + top };
}

/** Tiles of the image, so many in a row and column each time. */
export function tiles(width: number, height: number, parts: readonly number[]): Window[] {
  const found: Window[] = [];
  for (const n of parts) {
    if (n > 1 && (Math.max(width, height) < n * OF.MIN_WINDOW_PX || Math.min(width, height) < n)) continue;
    const x = (i: number) => rint((width * i) / n);
    const y = (j: number) => rint((height * j) / n);
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < n; i++) found.push({ left: x(i), top: y(j), right: x(i + 1), bottom: y(j + 1) });
    }
  }
  return found;
}

/** Whether a box of a window's image reaches to where the window ends and the whole image does not. */
export function cutsOff({ left, top, right, bottom }: Window, [xMin, yMin, xMax, yMax]: Corners, { width, height }: Pixels): boolean {
  const isFirst = (xMin < OF.EDGE_PX && left > 0) || (yMin < OF.EDGE_PX && top > 0);
  return isFirst || (xMax > right - left - OF.EDGE_PX && right < width) || (yMax > bottom - top - OF.EDGE_PX && bottom < height);
}

/** The square window that the image shows, or null where that is next to nothing. */
export function windowAround(cx: number, cy: number, side: number, image: Pixels): Window | null {
  const window = {
    left: Math.max(Math.trunc(cx - side / 2), 0),
    top: Math.max(Math.trunc(cy - side / 2), 0),
    right: Math.min(Math.trunc(cx + side / 2), image.width),
    bottom: Math.min(Math.trunc(cy + side / 2), image.height),
  };
  return Math.min(window.right - window.left, window.bottom - window.top) >= LEAST_WINDOW_PX ? window : null;
}

/** Places without those that show the same as a surer one, which gets their votes; boxes over `limit` pixels wide are left out. */
export function merged<P extends Place>(places: readonly P[], limit: number): P[] {
  const kept: P[] = [];
  for (const place of [...places].sort((a, b) => b.score - a.score)) {
    if (!(place.box.width > LEAST_BOX_PX && place.box.width < limit)) continue;
    const other = kept.find((one) => isNear(place.box, one.box));
    if (!other) kept.push(place);
    else for (const vote of place.votes ?? []) other.votes?.add(vote);
  }
  return kept;
}

/** Whether two boxes would show a landmark network the same. */
export function isNear(a: RotatedBox, b: RotatedBox): boolean {
  const ratio = a.width / b.width;
  return (
    Math.hypot(a.cx - b.cx, a.cy - b.cy) < OF.NEAR_BOX * Math.max(a.width, b.width) &&
    ratio > 1 / OF.NEAR_SCALE &&
    ratio < OF.NEAR_SCALE &&
    Math.abs(wrapAngle(a.rotation - b.rotation)) < OF.NEAR_TURN
  );
}
