/**
 * Detect objects with a single-shot detector and weighted non-maximum suppression (Bazarevsky et
 * al. 2019, 3.3).
 */

import type { Grid } from "./data.js";
import type { Network } from "./network.js";
import {
  cornersIou,
  sigmoid,
  squareAround,
  type Corners,
  type Point,
  type RotatedBox,
} from "./observations.js";
import { cropInto, letterboxInto, type Pixels } from "./pixels.js";

/** One detected object, in pixels of the image. */
export interface Detection {
  readonly score: number;
  readonly box: Corners; // x_min, y_min, x_max, y_max; may leave the image
  readonly keypoints: readonly Point[]; // x, y of each keypoint
}

/** Anchor-based detector whose outputs are boxes with keypoints (N, 4 + 2K) and logits (N). */
export class SingleShotDetector {
  readonly #size: number;
  readonly #anchors: Float64Array;

  /** @param overlap minimum IoU of boxes that are blended */
  constructor(
    private readonly network: Network,
    grid: Grid,
    private readonly overlap = 0.3,
  ) {
    this.#size = grid.size;
    const centres: number[] = [];
    for (const [cells, each] of grid.layers) {
      for (let y = 0; y < cells; y++) {
        for (let x = 0; x < cells; x++) {
          for (let k = 0; k < each; k++) centres.push((x + 0.5) / cells, (y + 0.5) / cells);
        }
      }
    }
    this.#anchors = Float64Array.from(centres);
  }

  /** Return the objects of an image with at least this score, best first. */
  async find(image: Pixels, minScore: number): Promise<Detection[]> {
    const [found] = await this.findFrom(image, [minScore]);
    return found!;
  }

  /**
   * Return the detections of one run for several minimum scores. Blending depends on the minimum.
   */
  async findFrom(image: Pixels, minScores: readonly number[]): Promise<Detection[][]> {
    letterboxInto(image, this.network);
    const outputs = await this.network.run();
    return minScores.map((score) =>
      this.#objects(outputs, squareAround(image.width, image.height), score),
    );
  }

  /**
   * Return the detections in a rotated square of the image. Their boxes are upright in the image.
   */
  async findIn(image: Pixels, area: RotatedBox, minScore: number): Promise<Detection[]> {
    cropInto(image, area, this.network, true);
    return this.#objects(await this.network.run(), area, minScore);
  }

  #objects(
    [first, second]: readonly Float32Array[],
    area: RotatedBox,
    minScore: number,
  ): Detection[] {
    const [raw, logits] = first!.length < second!.length ? [second!, first!] : [first!, second!];
    const each = raw.length / logits.length;
    const minLogit =
      minScore <= 0 ? -Infinity : minScore >= 1 ? Infinity : Math.log(minScore / (1 - minScore));
    const found: Detection[] = [];
    for (let n = 0; n < logits.length; n++) {
      const logit = logits[n]!;
      if (!(logit >= minLogit)) continue;
      const row = raw.subarray(n * each, (n + 1) * each);
      if (!(row[2]! >= 0 && row[3]! >= 0 && row.every(Number.isFinite))) continue;
      const x = (value: number) => (value / this.#size + this.#anchors[2 * n]! - 0.5) * area.width;
      const y = (value: number) =>
        (value / this.#size + this.#anchors[2 * n + 1]! - 0.5) * area.width;
      const [width, height] = [
        (row[2]! / this.#size) * (area.width / 2),
        (row[3]! / this.#size) * (area.width / 2),
      ];
      const [cx, cy] = [x(row[0]!), y(row[1]!)];
      const keypoints: Point[] = [];
      for (let k = 4; k < each; k += 2) keypoints.push([x(row[k]!), y(row[k + 1]!)]);
      const score = sigmoid(Math.min(Math.max(logit, -100), 100));
      found.push({ score, box: [cx - width, cy - height, cx + width, cy + height], keypoints });
    }
    return blendOverlapping(found, this.overlap).map((detection) => placed(detection, area));
  }
}

/**
 * Convert a detection from a square area, relative to its middle, to pixels of the image. Its box
 * is upright in the image too.
 */
function placed(
  { score, box: [left, top, right, bottom], keypoints }: Detection,
  area: RotatedBox,
): Detection {
  const [cos, sin] = [Math.cos(area.rotation), Math.sin(area.rotation)];
  const place = (x: number, y: number) =>
    [x * cos - y * sin + area.cx, x * sin + y * cos + area.cy] as const;
  const [cx, cy] = place((left + right) / 2, (top + bottom) / 2);
  const [halfX, halfY] = [(right - left) / 2, (bottom - top) / 2];
  const width = halfX * Math.abs(cos) + halfY * Math.abs(sin);
  const height = halfX * Math.abs(sin) + halfY * Math.abs(cos);
  return {
    score,
    box: [cx - width, cy - height, cx + width, cy + height],
    keypoints: keypoints.map(([x, y]) => place(x, y)),
  };
}

/**
 * Return the score-weighted mean of each cluster of overlapping detections, with the score of its
 * best member.
 */
function blendOverlapping(detections: Detection[], threshold: number): Detection[] {
  let rest = detections.sort((a, b) => b.score - a.score);
  const found: Detection[] = [];
  while (rest.length) {
    const best = rest[0]!;
    const cluster = rest.filter(
      (other) => other === best || cornersIou(other.box, best.box) > threshold,
    );
    const total = cluster.reduce((sum, { score }) => sum + score, 0);
    const mean = (valueOf: (detection: Detection) => number) =>
      cluster.reduce((sum, one) => sum + (one.score / total) * valueOf(one), 0);
    found.push({
      score: best.score,
      box: [
        mean(({ box }) => box[0]),
        mean(({ box }) => box[1]),
        mean(({ box }) => box[2]),
        mean(({ box }) => box[3]),
      ],
      keypoints: best.keypoints.map((_, k) => [
        mean(({ keypoints }) => keypoints[k]![0]),
        mean(({ keypoints }) => keypoints[k]![1]),
      ]),
    });
    rest = rest.filter((other) => !cluster.includes(other));
  }
  return found;
}
