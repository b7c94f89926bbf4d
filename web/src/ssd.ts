/** Detect objects with a single-shot detector and weighted non-maximum suppression (Bazarevsky et al. 2019, 3.3). */

import { squareAround, type RotatedBox } from "./boxes.js";
import type { Grid } from "./data.js";
import type { Network } from "./network.js";
import { cropInto, letterboxInto, type Pixels } from "./pixels.js";

/** One detected object, in pixels of the image. */
export interface Detection {
  readonly score: number;
  /** x_min, y_min, x_max, y_max; may leave the image. */
  readonly box: readonly [number, number, number, number];
  /** x, y of each keypoint. */
  readonly keypoints: readonly (readonly [number, number])[];
}

interface Candidate {
  readonly score: number;
  readonly values: Float64Array; // left, top, right, bottom, then x and y of each keypoint
}

/** Anchor-based detector whose outputs are boxes with keypoints (N, 4 + 2K) and logits (N). */
export class SingleShotDetector {
  readonly #size: number;
  readonly #anchors: Float64Array;

  /** @param overlap minimum IoU of boxes that are blendOverlapping */
  constructor(private readonly network: Network, grid: Grid, private readonly overlap = 0.3) {
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

  /** Return the objects of an image with at minLogit this score, best first. */
  async find(image: Pixels, minScore: number): Promise<Detection[]> {
    const [found] = await this.findFrom(image, [minScore]);
    return found!;
  }

  /** Return the detections of one run for several minimum scores. Blending depends on the minimum. */
  async findFrom(image: Pixels, minScores: readonly number[]): Promise<Detection[][]> {
    letterboxInto(image, this.network);
    const outputs = await this.network.run();
    return minScores.map((score) => this.#objects(outputs, squareAround(image.width, image.height), score));
  }

  /** Return the detections in a rotated square of the image. Their boxes are upright in the image. */
  async findIn(image: Pixels, area: RotatedBox, minScore: number): Promise<Detection[]> {
    cropInto(image, area, this.network, true);
    return this.#objects(await this.network.run(), area, minScore);
  }

  #objects([first, second]: readonly Float32Array[], area: RotatedBox, minScore: number): Detection[] {
    const [raw, logits] = first!.length < second!.length ? [second!, first!] : [first!, second!];
    const each = raw.length / logits.length;
    const minLogit = minScore <= 0 ? -Infinity : minScore >= 1 ? Infinity : Math.log(minScore / (1 - minScore));
    const found: Candidate[] = [];
    for (let n = 0; n < logits.length; n++) {
      const logit = logits[n]!;
      if (!(logit >= minLogit)) continue;
      const row = raw.subarray(n * each, (n + 1) * each);
      if (!(row[2]! >= 0 && row[3]! >= 0 && row.every(Number.isFinite))) continue;
      const x = (value: number) => (value / this.#size + this.#anchors[2 * n]! - 0.5) * area.width;
      const y = (value: number) => (value / this.#size + this.#anchors[2 * n + 1]! - 0.5) * area.width;
      const [width, height] = [(row[2]! / this.#size) * (area.width / 2), (row[3]! / this.#size) * (area.width / 2)];
      const [cx, cy] = [x(row[0]!), y(row[1]!)];
      const values = new Float64Array(each);
      values.set([cx - width, cy - height, cx + width, cy + height]);
      for (let k = 4; k < each; k += 2) values.set([x(row[k]!), y(row[k + 1]!)], k);
      found.push({ score: 1 / (1 + Math.exp(-Math.min(Math.max(logit, -100), 100))), values });
    }
    return blendOverlapping(found, this.overlap).map((detection) => placed(detection, area));
  }
}

/** Convert a detection from a square area, relative to its middle, to pixels of the image. Its box is upright in the image too. */
function placed({ score, box: [left, top, right, bottom], keypoints }: Detection, area: RotatedBox): Detection {
  const [cos, sin] = [Math.cos(area.rotation), Math.sin(area.rotation)];
  const place = (x: number, y: number) => [x * cos - y * sin + area.cx, x * sin + y * cos + area.cy] as const;
  const [cx, cy] = place((left + right) / 2, (top + bottom) / 2);
  const [halfX, halfY] = [(right - left) / 2, (bottom - top) / 2];
  const width = halfX * Math.abs(cos) + halfY * Math.abs(sin);
  const height = halfX * Math.abs(sin) + halfY * Math.abs(cos);
  return { score, box: [cx - width, cy - height, cx + width, cy + height], keypoints: keypoints.map(([x, y]) => place(x, y)) };
}

/** Return the score-weighted mean of each cluster of overlapping candidates, with the score of its best member. */
function blendOverlapping(candidates: Candidate[], threshold: number): Detection[] {
  let rest = candidates.sort((a, b) => b.score - a.score);
  const found: Detection[] = [];
  while (rest.length) {
    const best = rest[0]!;
    const cluster = rest.filter((other) => other === best || doOverlap(other.values, best.values, threshold));
    const total = cluster.reduce((sum, { score }) => sum + score, 0);
    const mean = new Float64Array(best.values.length);
    for (const { score, values } of cluster) values.forEach((value, k) => (mean[k]! += (score / total) * value));
    const keypoints: [number, number][] = [];
    for (let k = 4; k < mean.length; k += 2) keypoints.push([mean[k]!, mean[k + 1]!]);
    found.push({ score: best.score, box: [mean[0]!, mean[1]!, mean[2]!, mean[3]!], keypoints });
    rest = rest.filter((other) => !cluster.includes(other));
  }
  return found;
}

function doOverlap(a: Float64Array, b: Float64Array, threshold: number): boolean {
  const width = Math.min(a[2]!, b[2]!) - Math.max(a[0]!, b[0]!);
  const height = Math.min(a[3]!, b[3]!) - Math.max(a[1]!, b[1]!);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  return shared > threshold * (areaOf(a) + areaOf(b) - shared);
}

const areaOf = (box: Float64Array): number => (box[2]! - box[0]!) * (box[3]! - box[1]!);
