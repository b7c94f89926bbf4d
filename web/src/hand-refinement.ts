/** Refine the keypoints of the published hand networks from their feature maps; see `sonjit.detectors.kinds.hand_refinement`. */

import { constants } from "./data.js";
import { addProduct, matricesOf, sampledMaps, type Matrix, type Taps } from "./hand-heads.js";
import type { NumpyArray } from "./npz.js";

const { WORLD_SCALE } = constants.hand_refinement;

/** Refined keypoints of one hand. */
export interface RefinedKeypoints {
  /** (K * 3) as fractions of the crop, z relative to the wrist in the scale of x and y. */
  readonly keypoints: Float32Array;
  /** (K * 3) metres in the axes of the crop. */
  readonly world: Float32Array;
  /** (K,) expected distance of x and y from the exact position, as fractions of the crop. */
  readonly error: Float32Array;
}

/** Refinement of one network's keypoints. */
export class HandRefinement {
  readonly #weights: ReadonlyMap<string, Matrix>;
  readonly #sides: readonly number[];
  readonly #rounds: number;

  /** @param sides sides of the maps */
  constructor(arrays: ReadonlyMap<string, NumpyArray>, model: string, sides: readonly number[]) {
    this.#weights = matricesOf(arrays, model, "both");
    this.#sides = sides;
    this.#rounds = [...this.#weights.keys()].filter((name) => name.startsWith("look_")).length;
  }

  /**
   * Refine the keypoints of one hand.
   *
   * @param keypoints (K * 3) as fractions of the crop, z as in the network's output
   * @param world (K * 3) metres in the axes of the crop
   */
  refine(keypoints: Float32Array, world: Float32Array, taps: Taps): RefinedKeypoints {
    let places = keypoints;
    let memory: Float32Array = new Float32Array();
    for (let round = 0; round < this.#rounds; round++) {
      const inputs = [...this.#features(round, places, taps), ...centred(places), ...memory];
      memory = this.#layer(inputs, "hidden", round).map((value) => Math.max(value, 0));
      const step = this.#layer(memory, "move", round);
      places = places.map((value, i) => value + step[i]!);
    }
    const scaled = world.map((value) => value * WORLD_SCALE);
    const hidden = this.#layer([...memory, ...centred(places), ...scaled], "world", 0).map((value) => Math.max(value, 0));
    const step = this.#layer(hidden, "world", 1);
    const share = this.#weights.get("share")!.values;
    const refined = places.map((value, i) => (i % 3 === 2 ? value : keypoints[i]! + share[Math.trunc(i / 3)]! * (value - keypoints[i]!)));
    const error = this.#layer(memory, "error").map(Math.exp);
    return { keypoints: refined, error, world: scaled.map((value, i) => (value + step[i]!) / WORLD_SCALE) };
  }

  /** Return features (K * E) of the maps at each keypoint. */
  #features(round: number, places: Float32Array, taps: Taps): Float32Array {
    const weights = this.#weights.get(`look_${round}`)!;
    const sums = this.#weights.get(`keypoint_${round}`)!.values.slice();
    const local = sampledMaps(taps, this.#sides, places.length / 3, (k) => [places[3 * k]!, places[3 * k + 1]!]);
    for (const [k, row] of local.entries()) addProduct(sums.subarray(k * weights.columns, (k + 1) * weights.columns), row, weights);
    return sums.map((value) => Math.max(value, 0));
  }

  #layer(row: ArrayLike<number>, name: string, number?: number): Float32Array {
    const suffix = number === undefined ? "" : `_${number}`;
    const sum = this.#weights.get(`${name}_bias${suffix}`)!.values.slice();
    addProduct(sum, row, this.#weights.get(`${name}${suffix}`)!);
    return sum;
  }
}

function centred(keypoints: Float32Array): Float32Array {
  return keypoints.map((value, i) => 4 * value - (i % 3 === 2 ? 0 : 2));
}
