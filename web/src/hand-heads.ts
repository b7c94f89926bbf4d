/** The head of our own on the published hand networks that says which hand it is; see `sonjit.detectors.kinds.hand_heads`. */

import type { NumpyArray } from "./npz.js";

/** What a landmark network gives behind its outputs: maps (side, side, C), and the mean (C,) of the last. */
export type Taps = readonly Float32Array[];

interface Matrix {
  readonly columns: number;
  readonly values: Float32Array;
}

/** Handedness from keypoints and what the network has worked out at their places. */
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
   * Probability of a left hand in a selfie view.
   *
   * @param keypoints (K, 3) in pixels of the crop
   */
  left(keypoints: Float32Array, size: number, taps: Taps): number {
    const places = keypoints.map((value) => value / size);
    const [offsets, maps] = [this.#weights.get("keypoint")!, taps.slice(0, -1)];
    const near = new Float32Array(offsets.values.length);
    for (let k = 0; k < places.length / 3; k++) {
      const local = maps.flatMap((map, m) => [...at(map, this.#sides[m]!, places[3 * k]!, places[3 * k + 1]!)]);
      const sum = offsets.values.slice(k * offsets.columns, (k + 1) * offsets.columns);
      this.#add(sum, local, "local");
      near.set(sum.map((value) => Math.max(value, 0)), k * offsets.columns);
    }
    const whole = this.#weights.get("side_context")!.values.slice();
    this.#add(whole, taps.at(-1)!, "side_mean");
    this.#add(whole, places.map((value, i) => 2 * value - (i % 3 === 2 ? 0 : 1)), "side_shape");
    this.#add(whole, near, "side_near");
    const side = this.#weights.get("side")!.values;
    const logit = whole.reduce((total, value, i) => total + Math.max(value, 0) * side[i]!, this.#weights.get("side_bias")!.values[0]!);
    return 1 / (1 + Math.exp(-logit));
  }

  /** Add a row times a matrix of weights. */
  #add(sum: Float32Array, row: ArrayLike<number>, name: string): void {
    const { columns, values } = this.#weights.get(name)!;
    for (let i = 0; i < row.length; i++) {
      for (let j = 0; j < columns; j++) sum[j]! += row[i]! * values[i * columns + j]!;
    }
  }
}

/** The channels of a map at a place in parts of it, between cells; beyond, those of its edge. */
function at(map: Float32Array, side: number, x: number, y: number): Float32Array {
  const channels = map.length / (side * side);
  const [across, down] = [x, y].map((place) => Math.min(Math.max(place * side - 0.5, 0), side - 1)) as [number, number];
  const [left, top] = [Math.min(Math.trunc(across), side - 2), Math.min(Math.trunc(down), side - 2)];
  const [right, low] = [across - left, down - top];
  const found = new Float32Array(channels);
  const add = (column: number, row: number, weight: number) => {
    const start = (row * side + column) * channels;
    for (let i = 0; i < channels; i++) found[i]! += weight * map[start + i]!;
  };
  add(left, top, (1 - right) * (1 - low));
  add(left + 1, top, right * (1 - low));
  add(left, top + 1, (1 - right) * low);
  add(left + 1, top + 1, right * low);
  return found;
}
