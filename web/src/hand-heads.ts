/**
 * What heads of our own tell from the maps of the published hand networks: which hand it is, and what the classifier of
 * gestures reads of the image; see `sonjit.detectors.kinds.hand_heads`.
 */

import { constants } from "./data.js";
import type { NumpyArray } from "./npz.js";

const { BEFORE, BEHIND } = constants.hand_heads;

/** What a landmark network gives behind its outputs: maps (side, side, C), and the mean (C,) of the last. */
export type Taps = readonly Float32Array[];

/** Numbers in rows. */
export interface Matrix {
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
  readonly #weights: ReadonlyMap<string, Matrix>;
  readonly #sides: readonly number[];

  /** `sides` of the maps. */
  constructor(arrays: ReadonlyMap<string, NumpyArray>, model: string, sides: readonly number[]) {
    this.#sides = sides;
    this.#weights = matricesOf(arrays, model);
  }

  /**
   * What they read of one hand.
   *
   * @param keypoints (K, 3) in pixels of the crop
   */
  inputs(keypoints: Float32Array, size: number, taps: Taps): HeadInputs {
    const places = keypoints.map((value) => value / size);
    const local = sampledMaps(taps, this.#sides, places.length / 3, (k) => [places[3 * k]!, places[3 * k + 1]!]);
    return { places, local, mean: taps.at(-1)! };
  }

  /**
   * Return the probability of a left hand in a selfie view, the visibility of each keypoint, and how much the crop looks
   * like a hand, in log odds.
   */
  read({ places, local, mean }: HeadInputs): { left: number; visibility: Float32Array; likeness: number } {
    const near = this.#rectified(local, "local", "keypoint");
    const whole = this.#weights.get("side_context")!.values.slice();
    this.#add(whole, mean, "side_mean");
    this.#add(whole, places.map((value, i) => 2 * value - (i % 3 === 2 ? 0 : 1)), "side_shape");
    this.#add(whole, near, "side_near");
    const side = this.#weights.get("side")!.values;
    const logit = whole.reduce((total, value, i) => total + Math.max(value, 0) * side[i]!, this.#weights.get("side_bias")!.values[0]!);
    return { left: sigmoid(logit), visibility: this.#visibility(near), likeness: this.#likeness(mean) };
  }

  /** Return how much a crop looks like a hand, in log odds; 0 on average over candidates of the search. */
  #likeness(mean: Float32Array): number {
    const { values } = this.#weights.get("likeness")!;
    return mean.reduce((total, value, i) => total + value * values[i]!, this.#weights.get("likeness_bias")!.values[0]!);
  }

  /** Return the visibility of each keypoint from what is near it (K * H), near its neighbours, and in the mean. */
  #visibility(near: Float32Array): Float32Array {
    const { columns, values } = this.#weights.get("seen")!;
    const count = near.length / columns;
    const row = (of: Float32Array, k: number) => of.subarray(k * columns, (k + 1) * columns);
    const mean = new Float32Array(columns);
    near.forEach((value, i) => (mean[i % columns]! += value / count));
    const wide = this.#weights.get("keypoint_wide")!.values.slice();
    return this.#weights.get("seen_bias")!.values.map((bias, k) => {
      const sum = row(wide, k);
      this.#add(sum, row(near, k), "own");
      this.#add(sum, row(near, BEFORE[k]!), "before");
      this.#add(sum, row(near, BEHIND[k]!), "behind");
      this.#add(sum, mean, "all");
      return sigmoid(sum.reduce((total, value, i) => total + Math.max(value, 0) * row(values, k)[i]!, bias));
    });
  }

  /**
   * (K * E) what gestures are told by; null where the file has no such head.
   *
   * For each keypoint what the smaller maps, whose channels are the last, show where it was found, then at the place to
   * which this is corrected, at last x and y of that place, the middle of all being 0 and their mean square 1.
   *
   * @param taps what `inputs` was given
   */
  appearance({ places, local }: HeadInputs, taps: Taps): Float32Array | null {
    if (!this.#weights.has("appearance")) return null;
    const found = this.#shown("appearance", local);
    const count = local.length;
    const place = Float32Array.from({ length: 2 * count }, (_, i) => places[3 * (i >> 1) + (i % 2)]!);
    const hidden = this.#weights.get("appearance_correction_bias_0")!.values.slice();
    this.#add(hidden, [...found, ...place.map((value) => 4 * value - 2)], "appearance_correction_0");
    const step = this.#weights.get("appearance_correction_bias_1")!.values.slice();
    this.#add(step, hidden.map((value) => Math.max(value, 0)), "appearance_correction_1");
    const there = place.map((value, i) => value + step[i]!);
    const again = this.#shown("appearance_again", sampledMaps(taps, this.#sides, count, (k) => [there[2 * k]!, there[2 * k + 1]!]));
    const middle = [0, 1].map((axis) => there.reduce((sum, value, i) => sum + (i % 2 === axis ? value : 0), 0) / count);
    const around = there.map((value, i) => value - middle[i % 2]!);
    const spread = Math.sqrt(around.reduce((sum, value) => sum + value * value, 0) / around.length);
    const columns = found.length / count;
    const read = new Float32Array(count * (2 * columns + 2));
    for (let k = 0; k < count; k++) {
      const start = k * (2 * columns + 2);
      read.set(found.subarray(k * columns, (k + 1) * columns), start);
      read.set(again.subarray(k * columns, (k + 1) * columns), start + columns);
      read.set([around[2 * k]! / spread, around[2 * k + 1]! / spread], start + 2 * columns);
    }
    return read;
  }

  /** (K * E) what the last of the channels show at each keypoint. */
  #shown(name: string, local: readonly Float32Array[]): Float32Array {
    const { columns, values } = this.#weights.get(name)!;
    return this.#rectified(local.map((row) => row.subarray(-values.length / columns)), name, `${name}_keypoint`);
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
    addProduct(sum, row, this.#weights.get(name)!);
  }
}

/** Arrays of the weights with one of some prefixes, by the rest of their names. */
export function matricesOf(arrays: ReadonlyMap<string, NumpyArray>, ...prefixes: readonly string[]): Map<string, Matrix> {
  const weights = new Map<string, Matrix>();
  for (const [name, { shape, values }] of arrays) {
    const [of, part] = name.split(".");
    if (prefixes.includes(of!)) weights.set(part!, { columns: shape.at(-1)!, values: Float32Array.from(values as readonly number[]) });
  }
  return weights;
}

/** Add a row times a matrix. */
export function addProduct(sum: Float32Array, row: ArrayLike<number>, { columns, values }: Matrix): void {
  for (let i = 0, at = 0; i < row.length; i++) {
    const value = row[i]!;
    for (let j = 0; j < columns; j++, at++) sum[j]! += value * values[at]!;
  }
}

/** Return for each of some places, as fractions of the crop, the maps there (L,), with the channels of all maps. */
export function sampledMaps(
  taps: Taps,
  sides: readonly number[],
  count: number,
  placeOf: (k: number) => readonly [number, number],
): Float32Array[] {
  const maps = taps.slice(0, -1);
  const channels = maps.map((map, m) => map.length / sides[m]! ** 2);
  return Array.from({ length: count }, (_, k) => {
    const row = new Float32Array(channels.reduce((sum, one) => sum + one, 0));
    let start = 0;
    for (const [m, map] of maps.entries()) {
      const end = start + channels[m]!;
      addAt(row.subarray(start, end), map, sides[m]!, ...placeOf(k));
      start = end;
    }
    return row;
  });
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

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
