/**
 * Boxes and points in pixels, and observations of instances in one frame. Rotations are in radians,
 * clockwise on the screen.
 */

import { constants } from "./data.js";

export type RotatedBox = {
  readonly cx: number;
  readonly cy: number;
  readonly width: number;
  readonly height: number;
  readonly rotation: number;
};

/** Left, top, right and bottom of an upright box or window. */
export type Corners = readonly [number, number, number, number];

/** Return the box with these corners, rotated about its centre. */
export function boxBetween([left, top, right, bottom]: Corners, rotation = 0): RotatedBox {
  return {
    cx: (left + right) / 2,
    cy: (top + bottom) / 2,
    width: right - left,
    height: bottom - top,
    rotation,
  };
}

/** Return the intersection over union of two upright boxes. */
export function cornersIou(a: Corners, b: Corners): number {
  const across = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const shared = across * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const areaOf = ([left, top, right, bottom]: Corners) =>
    Math.max((right - left) * (bottom - top), 1e-6);
  return shared / (areaOf(a) + areaOf(b) - shared);
}

export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/** Return the same angle in [-pi, pi). */
export const wrapAngle = (angle: number): number =>
  angle - 2 * Math.PI * Math.floor((angle + Math.PI) / (2 * Math.PI));

/**
 * Shift a box along its own y axis by a part of its height, then square its long side and scale it.
 */
export function squareBox(
  box: RotatedBox,
  { scale, shift_y }: { scale: number; shift_y: number },
): RotatedBox {
  const shift = box.height * shift_y;
  const side = Math.max(box.width, box.height) * scale;
  return {
    ...box,
    cx: box.cx - shift * Math.sin(box.rotation),
    cy: box.cy + shift * Math.cos(box.rotation),
    width: side,
    height: side,
  };
}

/** Return the smallest box with this rotation around the chosen points of (K, 3). */
export function rotatedBoxAround(
  points: Float32Array,
  chosen: readonly number[],
  rotation: number,
): RotatedBox {
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const i of chosen) {
    const [x, y] = pointAt(points, i);
    const [alongX, alongY] = [x * cos + y * sin, y * cos - x * sin];
    left = Math.min(left, alongX);
    right = Math.max(right, alongX);
    top = Math.min(top, alongY);
    bottom = Math.max(bottom, alongY);
  }
  const { cx: x, cy: y, ...box } = boxBetween([left, top, right, bottom], rotation);
  return { ...box, cx: x * cos - y * sin, cy: x * sin + y * cos };
}

/**
 * Return the intersection over union of two boxes. Rotations are ignored, as in MediaPipe's
 * association.
 */
export function iou(a: RotatedBox, b: RotatedBox): number {
  const width =
    Math.min(a.cx + a.width / 2, b.cx + b.width / 2) -
    Math.max(a.cx - a.width / 2, b.cx - b.width / 2);
  const height =
    Math.min(a.cy + a.height / 2, b.cy + b.height / 2) -
    Math.max(a.cy - a.height / 2, b.cy - b.height / 2);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (a.width * a.height + b.width * b.height - shared);
}

/** Return the upright square around an image. */
export function squareAround(width: number, height: number): RotatedBox {
  const side = Math.max(width, height);
  return { cx: width / 2, cy: height / 2, width: side, height: side, rotation: 0 };
}

/**
 * Map points (K, 3) in pixels of a square crop of a size to image pixels; z is divided by `depth`
 * too.
 */
export function pointsFromCrop(
  points: Float32Array,
  box: RotatedBox,
  size: number,
  depth: number,
): Float32Array {
  const [cos, sin] = [Math.cos(box.rotation), Math.sin(box.rotation)];
  const placed = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    const x = (points[i]! / size - 0.5) * box.width;
    const y = (points[i + 1]! / size - 0.5) * box.height;
    placed[i] = x * cos - y * sin + box.cx;
    placed[i + 1] = x * sin + y * cos + box.cy;
    placed[i + 2] = (points[i + 2]! / size / depth) * box.width;
  }
  return placed;
}

/** Rotate points (K * 3) from the axes of a crop to those of the image. */
export function toImageAxes(points: Float32Array, rotation: number): Float32Array {
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
  const rotated = points.slice();
  for (let i = 0; i < points.length; i += 3) {
    rotated[i] = points[i]! * cos - points[i + 1]! * sin;
    rotated[i + 1] = points[i]! * sin + points[i + 1]! * cos;
  }
  return rotated;
}

/**
 * Return one box of each instance. Of two boxes of one instance the later stays, as in MediaPipe.
 */
export function latestBoxes<B extends RotatedBox>(
  boxes: readonly B[],
  isSame: (box: B, other: B) => boolean,
): B[] {
  let latest: B[] = [];
  for (const box of boxes) latest = [...latest.filter((other) => !isSame(box, other)), box];
  return latest;
}

const { SAME_DISTANCE, NESTED_OVERLAP, MAX_SIDE_DIFFERENCE, BOX_MARGIN } = constants.observations;

export type Point = readonly [number, number];

/** Output of the landmark network in one box. */
export interface Observation {
  readonly score: number; // presence, 0..1
  readonly keypoints: Float32Array; // (K, 3) in pixels of the image
  readonly keypoints3D: Float32Array | null; // (K, 3) in metres; null if the network has none
  // probability of the person's left side; null for instances without sides
  readonly left: number | null;
  // (C,) grey levels that distinguish the instance from others, or null
  readonly colours: Float32Array | null;
}

/** Return x_min, y_min, x_max, y_max of keypoints (K, 3), of all or of the chosen indices. */
export function cornersOf(
  points: Float32Array,
  chosen: readonly number[] | null = null,
): [number, number, number, number] {
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

/**
 * Return the long side of the box around points (K, 3) in their first 2 or 3 dimensions. It is
 * never zero.
 */
export function sizeOf(
  points: Float32Array,
  dimensions: 2 | 3 = 2,
  chosen: readonly number[] | null = null,
): number {
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

/** Return points (K, 3) shifted by a number of pixels along x and y. */
export const movedPoints = (points: Float32Array, shift: Point): Float32Array =>
  points.map((value, i) => (i % 3 === 2 ? value : value + shift[(i % 3) as 0 | 1]));

/** Return the mean of the keypoints. */
export function centreOf({ keypoints }: Observation): Point {
  let [x, y] = [0, 0];
  for (let i = 0; i < keypoints.length; i += 3) {
    x += keypoints[i]!;
    y += keypoints[i + 1]!;
  }
  return [(3 * x) / keypoints.length, (3 * y) / keypoints.length];
}

export const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

/** Return the mean of the chosen points of (K, 3). */
export function meanOf(points: Float32Array, chosen: readonly number[]): Point {
  return [mean(chosen.map((k) => points[3 * k]!)), mean(chosen.map((k) => points[3 * k + 1]!))];
}

/** Return a keypoint of (K, 3) in the image. */
export const pointAt = (points: Float32Array, k: number): Point => [
  points[3 * k]!,
  points[3 * k + 1]!,
];

export const distance = (a: Point, b: Point): number => Math.hypot(a[0] - b[0], a[1] - b[1]);

/**
 * Return the mean distance of two sets of keypoints (K, 3) in pixels, of all or of the chosen
 * indices.
 */
export function meanPixels(
  a: Float32Array,
  b: Float32Array,
  chosen: readonly number[] | null = null,
): number {
  const count = chosen === null ? a.length / 3 : chosen.length;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const i = 3 * (chosen === null ? n : chosen[n]!);
    sum += Math.hypot(a[i]! - b[i]!, a[i + 1]! - b[i + 1]!);
  }
  return sum / count;
}

/** Return the mean keypoint distance of two observations, in sizes of the larger one. */
export function meanDistance(
  a: Observation,
  b: Observation,
  chosen: readonly number[] | null = null,
): number {
  const size = Math.max(sizeOf(a.keypoints, 2, chosen), sizeOf(b.keypoints, 2, chosen));
  return meanPixels(a.keypoints, b.keypoints, chosen) / size;
}

/**
 * Return the intersection of the boxes around two sets of keypoints (K, 3) over the smaller box's
 * area.
 */
export function overlapOverSmaller(
  a: Float32Array,
  b: Float32Array,
  chosen: readonly number[] | null = null,
): number {
  const [aLeft, aTop, aRight, aBottom] = cornersOf(a, chosen);
  const [bLeft, bTop, bRight, bBottom] = cornersOf(b, chosen);
  const width = Math.max(Math.min(aRight, bRight) - Math.max(aLeft, bLeft), 0);
  const height = Math.max(Math.min(aBottom, bBottom) - Math.max(aTop, bTop), 0);
  const smaller = Math.min(
    (aRight - aLeft) * (aBottom - aTop),
    (bRight - bLeft) * (bBottom - bTop),
  );
  return (width * height) / Math.max(smaller, 1e-6);
}

/** Return the mean difference of two colours (C,) in grey levels. */
export const colourDifference = (a: Float32Array, b: Float32Array): number =>
  Math.hypot(...a.map((value, i) => value - b[i]!)) / Math.sqrt(a.length);

/** Centre of an observation and its size, the long side of its box, in pixels. */
export type Disc = { readonly centre: Point; readonly size: number };

export const discAround = (observation: Observation): Disc => ({
  centre: centreOf(observation),
  size: sizeOf(observation.keypoints),
});

/**
 * Check whether two observations could overlap, a fast test that excludes most pairs of a crowd.
 */
export const mayTouch = (a: Disc, b: Disc): boolean =>
  distance(a.centre, b.centre) < 1.5 * (a.size + b.size);

/**
 * Check whether two observations show one object.
 *
 * Their keypoints coincide. With `mergeNested`, they may also be of one side and nested: a network
 * can read a hand in two ways, such as a thumb as a forefinger, with different keypoints in the
 * same box.
 */
export function isSameObject(a: Observation, b: Observation, mergeNested: boolean): boolean {
  if (meanDistance(a, b) < SAME_DISTANCE) return true;
  if (
    !mergeNested ||
    a.left === null ||
    b.left === null ||
    Math.abs(a.left - b.left) > MAX_SIDE_DIFFERENCE
  )
    return false;
  return overlapOverSmaller(a.keypoints, b.keypoints) > NESTED_OVERLAP;
}

/**
 * Return the new observations without objects that are tracked already or occur earlier in the
 * list.
 */
export function suppressDuplicates<O extends Observation>(
  found: readonly O[],
  tracked: readonly O[],
  mergeNested: boolean,
): O[] {
  const accepted = tracked.map((observation) => ({ observation, disc: discAround(observation) }));
  for (const observation of found) {
    const disc = discAround(observation);
    const isDuplicate = accepted.some(
      (other) =>
        mayTouch(disc, other.disc) && isSameObject(observation, other.observation, mergeNested),
    );
    if (!isDuplicate) accepted.push({ observation, disc });
  }
  return accepted.slice(tracked.length).map(({ observation }) => observation);
}

/**
 * Check whether two boxes overlap with a margin: a hand is wider than its keypoints, and moves
 * between frames.
 */
export function areNear(a: Observation, b: Observation): boolean {
  const [aLeft, aTop, aRight, aBottom] = cornersOf(a.keypoints);
  const [bLeft, bTop, bRight, bBottom] = cornersOf(b.keypoints);
  const margin = BOX_MARGIN * (sizeOf(a.keypoints) + sizeOf(b.keypoints));
  return (
    aLeft < bRight + margin &&
    aTop < bBottom + margin &&
    bLeft < aRight + margin &&
    bTop < aBottom + margin
  );
}

/**
 * Limit the step of an occluded instance so that it ends near its occluder.
 *
 * @param occluded observation before the step
 * @param shift step in pixels
 * @param covers observations that may occlude it
 * @param maxOffset maximum distance from the centre of the nearest occluder, in its sizes
 */
export function clampToOccluder(
  occluded: Observation,
  shift: Point,
  covers: readonly Observation[],
  maxOffset: number,
): Point {
  const centre = centreOf(occluded);
  const cover = covers.reduce((nearest, other) =>
    distance(centreOf(other), centre) < distance(centreOf(nearest), centre) ? other : nearest,
  );
  const middle = centreOf(cover);
  const before: Point = [centre[0] - middle[0], centre[1] - middle[1]];
  const after: Point = [before[0] + shift[0], before[1] + shift[1]];
  const part = Math.min(
    (maxOffset * sizeOf(cover.keypoints)) / Math.max(Math.hypot(...after), 1e-6),
    1,
  );
  return [after[0] * part - before[0], after[1] * part - before[1]];
}
