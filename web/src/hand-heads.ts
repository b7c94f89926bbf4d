/**
 * What heads of our own tell from the maps of the published hand networks: which hand it is, and what the classifier of
 * gestures reads of the image; see `sonjit.detectors.kinds.hand_heads`.
 */

import type { NumpyArray } from "./npz.js";

/** What a landmark network gives behind its outputs: maps (side, side, C), and the mean (C,) of the last. */
export type Taps = readonly Float32Array[];

interface Matrix {
  readonly columns: number;
  readonly values: Float32Array;
}

/** What heads read of one hand. */
export interface HeadInputs {
  /** (K, 3) keypoints in parts of the crop. */
  readonly places: Float32Array;
  /** For each keypoint (L,) the maps at its place, one map's channels after the other's. */
  readonly local: readonly Float32Array[];
  /** (C,) of the last map. */
  readonly mean: Float32Array;
}

/** The heads on one network. */
export class HandHeads {
  readonly #weights = new Map<string, Matrix>();
  readonly #sides: readonly number[];

  /** `sides` of the maps. */
  constructor(arrays: ReadonlyMap<string, NumpyArray>, model: string, sides: readonly number[]) {
    this.#sides = sides;
    for (const [name, { shape, values }] of arrays) {
      const [of, part] = name.split(".");
      if (of === model) this.#weights.set(part!, { columns: shape.at(-1)!, values: Float32Array.from(values as readonly number[]) });
    }
  }

  /**
   * What they read of one hand.
   *
   * @param keypoints (K, 3) in pixels of the crop
   */
  inputs(keypoints: Float32Array, size: number, taps: Taps): HeadInputs {
    const places = keypoints.map((value) => value / size);
    const [maps, mean] = [taps.slice(0, -1), taps.at(-1)!];
    const channels = maps.map((map, m) => map.length / this.#sides[m]! ** 2);
    const local = Array.from({ length: places.length / 3 }, (_, k) => {
      const row = new Float32Array(channels.reduce((sum, one) => sum + one, 0));
      let start = 0;
      for (const [m, map] of maps.entries()) {
        const end = start + channels[m]!;
        addAt(row.subarray(start, end), map, this.#sides[m]!, places[3 * k]!, places[3 * k + 1]!);
        start = end;
      }
      return row;
    });
    return { places, local, mean };
  }

  /** Probability of a left hand in a selfie view. */
  left({ places, local, mean }: HeadInputs): number {
    const near = this.#rectified(local, "local", "keypoint");
    const whole = this.#weights.get("side_context")!.values.slice();
    this.#add(whole, mean, "side_mean");
    this.#add(whole, places.map((value, i) => 2 * value - (i % 3 === 2 ? 0 : 1)), "side_shape");
    this.#add(whole, near, "side_near");
    const side = this.#weights.get("side")!.values;
    const logit = whole.reduce((total, value, i) => total + Math.max(value, 0) * side[i]!, this.#weights.get("side_bias")!.values[0]!);
    return 1 / (1 + Math.exp(-logit));
  }

  /** (K * E) what gestures are told by, of the smaller maps, whose channels are the last; null where the file has no such head. */
  appearance({ local }: HeadInputs): Float32Array | null {
    const head = this.#weights.get("appearance");
    if (!head) return null;
    const { columns, values } = head;
    return this.#rectified(local.map((row) => row.subarray(-values.length / columns)), "appearance", "appearance_keypoint");
  }

  /** (K * E) rows (K, L) times a matrix of weights, with what is added to each keypoint's, rectified. */
  #rectified(rows: readonly Float32Array[], name: string, offsets: string): Float32Array {
    const sums = this.#weights.get(offsets)!.values.slice();
    const { columns } = this.#weights.get(name)!;
    for (const [k, row] of rows.entries()) this.#add(sums.subarray(k * columns, (k + 1) * columns), row, name);
    return sums.map((value) => Math.max(value, 0));
  }

  /** Add a row times a matrix of weights. */
  #add(sum: Float32Array, row: ArrayLike<number>, name: string): void {
    const { columns, values } = this.#weights.get(name)!;
    for (let i = 0, at = 0; i < row.length; i++) {
      const value = row[i]!;
      for (let j = 0; j < columns; j++, at++) sum[j]! += value * values[at]!;
    }
  }
}

/** Add the channels of a map at a place in parts of it, between cells; beyond, those of its edge. */
function addAt(sums: Float32Array, map: Float32Array, side: number, x: number, y: number): void {
  const [across, down] = [x, y].map((place) => Math.min(Math.max(place * side - 0.5, 0), side - 1)) as [number, number];
  const [left, top] = [Math.min(Math.trunc(across), side - 2), Math.min(Math.trunc(down), side - 2)];
  const [right, low] = [across - left, down - top];
  const add = (column: number, row: number, weight: number) => {
    const start = (row * side + column) * sums.length;
    for (let i = 0; i < sums.length; i++) sums[i]! += weight * map[start + i]!;
  };
  add(left, top, (1 - right) * (1 - low));
  add(left + 1, top, right * (1 - low));
  add(left, top + 1, (1 - right) * low);
  add(left + 1, top + 1, right * low);
}
