/** Where heads are, and how their pixels change: ellipses from hair to chin with a soft border. */

import { COVERS as OF } from "../data.js";
import { cornersOf, distance, meanOf, type Corners, type Point } from "../observations.js";
import { HEAD } from "./geometry.js";

const SHOULDERS = [11, 12] as const;
const HIPS = [23, 24] as const;
const EYES = [1, 2, 3, 4, 5, 6] as const;
const MOUTH = [9, 10] as const;

/** Return the box of a head from the box of its face and a vector from its eyes to its mouth. */
export function headAround([left, top, right, bottom]: Corners, [x, y]: Point): Corners {
  const [side, length] = [Math.max(right - left, bottom - top), Math.hypot(x, y)];
  const [dx, dy] = length > 0 ? [x / length, y / length] : [0, 1];
  const middle = [
    (left + right) / 2 - OF.RISE * side * dx,
    (top + bottom) / 2 - OF.RISE * side * dy,
  ];
  const wide = side * Math.hypot(OF.ACROSS * dy, OF.ALONG * dx);
  const high = side * Math.hypot(OF.ACROSS * dx, OF.ALONG * dy);
  return [middle[0]! - wide, middle[1]! - high, middle[0]! + wide, middle[1]! + high];
}

/** Return the box of a body's head from its keypoints, also of one that is turned away. */
export function headOfKeypoints(keypoints: Float32Array): Corners {
  const [first, second] = SHOULDERS.map((k) => meanOf(keypoints, [k]));
  const torso = distance(meanOf(keypoints, SHOULDERS), meanOf(keypoints, HIPS));
  const [left, top, right, bottom] = cornersOf(keypoints, HEAD);
  const face = OF.FACE_SHARE * Math.max(right - left, bottom - top);
  const half = Math.max(face, OF.TORSO_SHARE * Math.max(torso, distance(first!, second!))) / 2;
  const [x, y] = meanOf(keypoints, HEAD);
  const [eyes, mouth] = [meanOf(keypoints, EYES), meanOf(keypoints, MOUTH)];
  return headAround(
    [x - half, y - half, x + half, y + half],
    [mouth[0] - eyes[0], mouth[1] - eyes[1]],
  );
}

/** Return one box per head, from the best one on. A box that covers more than a better one stays. */
export function distinctHeads(heads: readonly Corners[]): Corners[] {
  let kept: Corners[] = [];
  for (const box of heads)
    if (!kept.some((other) => shareInside(box, other) > OF.INSIDE))
      kept = [...kept.filter((other) => shareInside(other, box) < OF.COVERED), box];
  return kept;
}

/** Add a head whose face was not found, unless it is that of a face. */
export function addUnseen(heads: Corners[], head: Corners): void {
  if (!heads.some((other) => isSameHead(head, other))) heads.push(head);
}

/** Check whether two boxes show one head. */
export function isSameHead(a: Corners, b: Corners): boolean {
  if (Math.max(shareInside(a, b), shareInside(b, a)) > OF.INSIDE) return true;
  const [small, large] = a[2] - a[0] <= b[2] - b[0] ? [a, b] : [b, a];
  const [x, y] = [(small[0] + small[2]) / 2, (small[1] + small[3]) / 2];
  const isSimilar = small[2] - small[0] > OF.SAME_SIZE * (large[2] - large[0]);
  return isSimilar && large[0] < x && x < large[2] && large[1] < y && y < large[3];
}

/** Return the share of a box that lies in another one, 0 to 1. */
export function shareInside(box: Corners, other: Corners): number {
  const width = Math.min(box[2], other[2]) - Math.max(box[0], other[0]);
  const height = Math.min(box[3], other[3]) - Math.max(box[1], other[1]);
  const area = (box[2] - box[0]) * (box[3] - box[1]);
  return Math.min(width, height, area) > 0 ? (width * height) / area : 0;
}

/** Return how much a pixel changes by the ellipse in a box, 0 to 1. */
export function opacityAt(x: number, y: number, [left, top, right, bottom]: Corners): number {
  const [across, along] = [
    (2 * x + 1 - left - right) / (right - left),
    (2 * y + 1 - top - bottom) / (bottom - top),
  ];
  return Math.min(Math.max((1 - Math.hypot(across, along)) / OF.SOFT, 0), 1);
}
