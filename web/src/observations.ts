/** What an instance is seen as in one frame, and how two such observations lie to each other. */

import { constants } from "./data.js";

const { SAME_DISTANCE, NESTED_OVERLAP, MAX_SIDE_DIFFERENCE, BOX_MARGIN } = constants.observations;

export type Point = readonly [number, number];

/** What a landmark network saw in one box. */
export interface Observation {
  /** Presence, 0..1. */
  readonly score: number;
  /** (K, 3) in pixels of the image. */
  readonly keypoints: Float32Array;
  /** (K, 3) in metres; null where the network gives none. */
  readonly keypoints3D: Float32Array | null;
  /** Probability that it is the person's left one; null where there are no sides. */
  readonly left: number | null;
  /** Grey levels by which it can be told from others; null where there are none. */
  readonly colours: Float32Array | null;
}

/** x_min, y_min, x_max, y_max of keypoints (K, 3), all or those chosen. */
export function cornersOf(points: Float32Array, chosen: readonly number[] | null = null): [number, number, number, number] {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  const count = chosen === null ? points.length / 3 : chosen.length;
  for (let n = 0; n < count; n++) {
    const i = 3 * (chosen === null ? n : chosen[n]!);
    const x = points[i]!;
    const y = points[i + 1]!;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  return [left, top, right, bottom];
}

/** Long side of the box around points (K, 3) in their first 2 or 3 dimensions, never zero. */
export function sizeOf(points: Float32Array, dimensions: 2 | 3 = 2, chosen: readonly number[] | null = null): number {
  const [left, top, right, bottom] = cornersOf(points, chosen);
  let size = Math.max(right - left, bottom - top);
  if (dimensions === 3) {
    let [near, far] = [Infinity, -Infinity];
    for (let i = 2; i < points.length; i += 3) {
      if (points[i]! < near) near = points[i]!;
      if (points[i]! > far) far = points[i]!;
    }
    size = Math.max(size, far - near);
  }
  return Math.max(size, 1e-6);
}

/** Points (K, 3) moved by so many pixels. */
export function movedPoints(points: Float32Array, shift: Point): Float32Array {
  return points.map((value, i) => (i % 3 === 2 ? value : value + shift[(i % 3) as 0 | 1]));
}

/** Mean of the keypoints. */
export function centreOf({ keypoints }: Observation): Point {
  let [x, y] = [0, 0];
  for (let i = 0; i < keypoints.length; i += 3) {
    x += keypoints[i]!;
    y += keypoints[i + 1]!;
  }
  return [(3 * x) / keypoints.length, (3 * y) / keypoints.length];
}

export function distance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/** Mean distance of their keypoints, all or those chosen, in pixels. */
export function meanPixels(a: Float32Array, b: Float32Array, chosen: readonly number[] | null = null): number {
  const count = chosen === null ? a.length / 3 : chosen.length;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const i = 3 * (chosen === null ? n : chosen[n]!);
    sum += Math.hypot(a[i]! - b[i]!, a[i + 1]! - b[i + 1]!);
  }
  return sum / count;
}

/** Mean distance of their keypoints, all or those chosen, in sizes of the larger one. */
export function meanDistance(a: Observation, b: Observation, chosen: readonly number[] | null = null): number {
  const size = Math.max(sizeOf(a.keypoints, 2, chosen), sizeOf(b.keypoints, 2, chosen));
  return meanPixels(a.keypoints, b.keypoints, chosen) / size;
}

/** Share of the smaller box around keypoints that lies in the other's. */
export function shareInside(a: Float32Array, b: Float32Array, chosen: readonly number[] | null = null): number {
  const [aLeft, aTop, aRight, aBottom] = cornersOf(a, chosen);
  const [bLeft, bTop, bRight, bBottom] = cornersOf(b, chosen);
  const width = Math.max(Math.min(aRight, bRight) - Math.max(aLeft, bLeft), 0);
  const height = Math.max(Math.min(aBottom, bBottom) - Math.max(aTop, bTop), 0);
  const smaller = Math.min((aRight - aLeft) * (aBottom - aTop), (bRight - bLeft) * (bBottom - bTop));
  return (width * height) / Math.max(smaller, 1e-6);
}

/** Of two colours, on average, in grey levels. */
export function difference(a: Float32Array, b: Float32Array): number {
  return Math.hypot(...a.map((value, i) => value - b[i]!)) / Math.sqrt(a.length);
}

/** Where an observation is: its centre and its size in pixels. */
export interface Disc {
  readonly centre: Point;
  readonly size: number;
}

export function discAround(observation: Observation): Disc {
  return { centre: centreOf(observation), size: sizeOf(observation.keypoints) };
}

/** Whether two observations could overlap at all, which spares the closer look at most pairs of a crowd. */
export function mayTouch(a: Disc, b: Disc): boolean {
  return distance(a.centre, b.centre) < 1.5 * (a.size + b.size);
}

/**
 * Whether two observations lie on one object: their keypoints coincide; or, with `oneReading`, they are of one side and
 * one lies inside the other, as a network can read a hand in two ways that share little but the place.
 */
export function isSameObject(a: Observation, b: Observation, oneReading: boolean): boolean {
  if (meanDistance(a, b) < SAME_DISTANCE) return true;
  if (!oneReading || a.left === null || b.left === null || Math.abs(a.left - b.left) > MAX_SIDE_DIFFERENCE) return false;
  return shareInside(a.keypoints, b.keypoints) > NESTED_OVERLAP;
}

/** Observations without those of an object that is held already or seen earlier in the list. */
export function withoutDuplicates<O extends Observation>(seen: readonly O[], held: readonly O[], oneReading: boolean): O[] {
  const kept = held.map((one) => ({ one, disc: discAround(one) }));
  for (const one of seen) {
    const disc = discAround(one);
    const isThere = kept.some((other) => mayTouch(disc, other.disc) && isSameObject(one, other.one, oneReading));
    if (!isThere) kept.push({ one, disc });
  }
  return kept.slice(held.length).map(({ one }) => one);
}

/** Whether their boxes, grown by a margin, overlap: a hand is wider than its keypoints, and moves between frames. */
export function areNear(a: Observation, b: Observation): boolean {
  const [aLeft, aTop, aRight, aBottom] = cornersOf(a.keypoints);
  const [bLeft, bTop, bRight, bBottom] = cornersOf(b.keypoints);
  const margin = BOX_MARGIN * (sizeOf(a.keypoints) + sizeOf(b.keypoints));
  return aLeft < bRight + margin && aTop < bBottom + margin && bLeft < aRight + margin && bTop < aBottom + margin;
}

/** A step of a hidden instance that ends near the middle of what covers it: no more than `off` of its sizes. */
export function keptBehind(hidden: Observation, shift: Point, covers: readonly Observation[], off: number): Point {
  const centre = centreOf(hidden);
  const cover = covers.reduce((best, one) =>
    distance(centreOf(one), centre) < distance(centreOf(best), centre) ? one : best,
  );
  const middle = centreOf(cover);
  const before: Point = [centre[0] - middle[0], centre[1] - middle[1]];
  const after: Point = [before[0] + shift[0], before[1] + shift[1]];
  const part = Math.min((off * sizeOf(cover.keypoints)) / Math.max(Math.hypot(...after), 1e-6), 1);
  return [after[0] * part - before[0], after[1] * part - before[1]];
}
