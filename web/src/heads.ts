/** Heads: where they are, which body has which, and images without those of others. */

import { type RotatedBox } from "./boxes.js";
import { boxFromAlignment, type Bodies, type BodyObservation } from "./body.js";
import { constants } from "./data.js";
import { distance, sizeOf, type Point } from "./observations.js";
import { rint, type Pixels } from "./pixels.js";
import type { Detection } from "./ssd.js";

const OF = constants.bodies;
const { MIDDLE, HEIGHT } = constants.faces;
const { MAX_FACE_DISTANCE } = constants.BodySearch;

/** Where a face is, by the face detector alone. */
export interface Head {
  readonly score: number;
  /** Half-way between forehead and chin, in pixels. */
  readonly middle: Point;
  /** From forehead to chin, in pixels. */
  readonly down: Point;
}

/** From forehead to chin in pixels. */
export function heightOf({ down }: Head): number {
  return Math.max(Math.hypot(...down), 1);
}

/** The head of a face that was found in a window of an image. */
export function headFromDetection({ score, keypoints }: Detection, left: number, top: number): Head {
  const [[rightX, rightY], [leftX, leftY], , [mouthX, mouthY]] = keypoints as [Point, Point, Point, Point];
  return headFromPoints(score, [(rightX + leftX) / 2 + left, (rightY + leftY) / 2 + top], [mouthX + left, mouthY + top]);
}

/** The head that has the middle of its eyes and that of its mouth there. */
function headFromPoints(score: number, eyes: Point, mouth: Point): Head {
  const [x, y] = [mouth[0] - eyes[0], mouth[1] - eyes[1]];
  return { score, middle: [eyes[0] + MIDDLE * x, eyes[1] + MIDDLE * y], down: [HEIGHT * x, HEIGHT * y] };
}

/** The upright square around a face: x_min, y_min, x_max, y_max. */
export function squareOf(head: Head): readonly [number, number, number, number] {
  const { middle: [x, y] } = head;
  const half = heightOf(head) / 2;
  return [x - half, y - half, x + half, y + half];
}

/** Of heads in one place the surest, the surest first. */
export function withoutSameHeads(heads: readonly Head[]): Head[] {
  const kept: Head[] = [];
  for (const head of [...heads].sort((a, b) => b.score - a.score)) {
    const isSame = (other: Head) => distance(head.middle, other.middle) < constants.faces.SAME_HEAD * Math.max(heightOf(head), heightOf(other));
    if (!kept.some(isSame)) kept.push(head);
  }
  return kept;
}

/** The body of each face, seen once, one after the other: those whose own face lies there. */
export async function* bodiesOfHeads(image: Pixels, bodies: Bodies, heads: readonly Head[]): AsyncGenerator<BodyObservation> {
  const found: BodyObservation[] = [];
  for (const head of heads) {
    for (const placement of OF.UPRIGHT) {
      const seen = await bodies.observe(image, boxBelow(head, placement));
      if (!(seen.score > OF.LIKELY && isHeadOf(seen, head))) continue;
      if (!found.some((other) => isSameTorso(seen, other))) {
        found.push(seen);
        yield seen;
      }
      break;
    }
  }
}

/** Where a body's face is. */
export function headOfBody({ score, keypoints }: BodyObservation): Head {
  return headFromPoints(score, meanOf(keypoints, OF.EYES), meanOf(keypoints, OF.MOUTH));
}

/** Mean of the chosen of points (K, 3). */
export function meanOf(points: Float32Array, chosen: readonly number[]): Point {
  const mean = (axis: 0 | 1) => chosen.reduce((sum, k) => sum + points[3 * k + axis]!, 0) / chosen.length;
  return [mean(0), mean(1)];
}

/** From the middle of a body's face to a place, in pixels. */
export function headDistance({ keypoints }: BodyObservation, centre: Point): number {
  return distance(meanOf(keypoints, OF.EYES_TO_MOUTH), centre);
}

/** Whether a body's face lies on a head. */
export function isHeadOf(body: BodyObservation, head: Head): boolean {
  return headDistance(body, head.middle) < MAX_FACE_DISTANCE * heightOf(head);
}

/** The box of a body whose head that may be: how far below it the hips are, and the radius around the body, in its heights. */
export function boxBelow({ middle, down }: Head, placement: readonly number[]): RotatedBox {
  const [hips, radius] = placement as [number, number];
  const at = (heights: number): Point => [middle[0] + heights * down[0], middle[1] + heights * down[1]];
  return boxFromAlignment(at(hips), at(hips - radius));
}

/** Those that a box may show. */
export function headsIn(box: RotatedBox, heads: readonly Head[]): Head[] {
  return heads.filter((head) => distance(head.middle, [box.cx, box.cy]) < box.width / Math.SQRT2 + heightOf(head));
}

/** An image with all heads covered but the face of one: of several in a crop the network sees the plainest. */
export function withoutOtherHeads(image: Pixels, heads: readonly Head[], own: Head): Pixels {
  if (heads.every((head) => head === own)) return image;
  const { width, height } = image;
  const covered = new Uint8Array(width * height);
  for (const head of heads) {
    const { middle, down } = head;
    fillCircle(covered, width, [middle[0] - OF.HAIR * down[0], middle[1] - OF.HAIR * down[1]], OF.COVER * heightOf(head), 1);
  }
  fillCircle(covered, width, own.middle, OF.KEPT * heightOf(own), 0);
  const data = image.data.slice();
  covered.forEach((isCovered, i) => isCovered && data.fill(OF.GREY, 4 * i, 4 * i + 3));
  return { width, height, data };
}

/** Fill a circle of pixels in rows of that width, to the pixel as OpenCV does. */
function fillCircle(rows: Uint8Array, width: number, centre: Point, radius: number, value: number): void {
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

/** The heads that were last seen in each window of a stream, in so many frames ago at most. */
export class HeadMap {
  #number = 0;
  #seen = new Map<string, { heads: Head[]; number: number }>();

  /** All of them; one may have been seen in several windows. */
  get all(): Head[] {
    return [...this.#seen.values()].flatMap(({ heads }) => heads);
  }

  reset(): void {
    this.#number = 0;
    this.#seen.clear();
  }

  /** Take over what a window shows. */
  see(window: object, heads: Head[]): void {
    this.#seen.set(Object.values(window).join(), { heads, number: this.#number });
  }

  /** A frame later: forget what was seen too long ago, and those whose place is known better. */
  beginFrame(isKnown: (head: Head) => boolean): void {
    this.#number += 1;
    for (const [window, { heads, number }] of this.#seen) {
      if (this.#number - number >= constants.streams.HEAD_FRAMES) this.#seen.delete(window);
      else this.#seen.set(window, { heads: heads.filter((head) => !isKnown(head)), number });
    }
  }
}

/** Visibility of a body's keypoints that lie in an image, 0 for the others. */
export function seenInside({ keypoints, visibility }: BodyObservation, { width, height }: Pixels): Float32Array {
  return visibility.map((value, k) => {
    const [x, y] = [keypoints[3 * k]!, keypoints[3 * k + 1]!];
    return x > 0 && x < width && y > 0 && y < height ? value : 0;
  });
}

/** Whether two bodies have one torso. */
export function isSameTorso(a: BodyObservation, b: BodyObservation): boolean {
  const torso = [...OF.SHOULDERS, ...OF.HIPS];
  const at = ({ keypoints }: BodyObservation, k: number): Point => [keypoints[3 * k]!, keypoints[3 * k + 1]!];
  const sizes = [a, b].map((one) => {
    const [left, right] = OF.SHOULDERS.map((k) => at(one, k)) as [Point, Point];
    return Math.max(distance(meanOf(one.keypoints, OF.SHOULDERS), meanOf(one.keypoints, OF.HIPS)), distance(left, right), 1);
  });
  const mean = torso.reduce((sum, k) => sum + distance(at(a, k), at(b, k)), 0) / torso.length;
  return mean / Math.max(...sizes) < OF.SAME_TORSO;
}

/** Object keypoint similarity (Ronchi and Perona 2017) of keypoints (K, 3), 0..1; `weights` what each counts. */
export function oks(
  a: Float32Array,
  b: Float32Array,
  { tolerance = constants.finds.TOLERANCE, weights = null }: { tolerance?: number; weights?: Float32Array | null } = {},
): number {
  const spread = 2 * (tolerance * Math.max(sizeOf(a), sizeOf(b))) ** 2;
  let [sum, total] = [0, 0];
  for (let k = 0; k < a.length / 3; k++) {
    const weight = weights?.[k] ?? 1;
    total += weight;
    sum += weight * Math.exp(-((a[3 * k]! - b[3 * k]!) ** 2 + (a[3 * k + 1]! - b[3 * k + 1]!) ** 2) / spread);
  }
  return sum / Math.max(total, 1e-6);
}

/** The same of keypoints that are laid onto each other first. */
export function oksMoved(a: Float32Array, b: Float32Array, how: Parameters<typeof oks>[2] = {}): number {
  const all = [...Array(a.length / 3).keys()];
  const [[ax, ay], [bx, by]] = [meanOf(a, all), meanOf(b, all)];
  const moved = b.map((value, i) => (i % 3 === 0 ? value + ax - bx : i % 3 === 1 ? value + ay - by : value));
  return oks(a, moved, how);
}
