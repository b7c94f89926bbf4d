/**
 * Additional heads of the published hand networks: keypoint visibility, handedness and gesture
 * features.
 *
 * Their inputs are feature maps of the landmark network; see `sonjit.detectors.kinds.hand_heads`.
 */

import { constants } from "./data.js";
import type { NumpyArray } from "./files.js";
import { sigmoid } from "./observations.js";

const { BEFORE, BEHIND } = constants.hand_heads;

/**
 * Additional outputs of a landmark network: maps (side, side, C), and the mean (C,) of the last
 * map.
 */
export type Taps = readonly Float32Array[];

/** Matrix of weights, row by row. */
type Matrix = { readonly columns: number; readonly values: Float32Array };

/** Weights that read maps of one network. */
abstract class Heads {
  /** By their names without the prefixes. */
  protected readonly weights = new Map<string, Matrix>();

  /** @param sides sides of the maps @param prefixes of the names of the weights */
  constructor(
    arrays: ReadonlyMap<string, NumpyArray>,
    protected readonly sides: readonly number[],
    ...prefixes: readonly string[]
  ) {
    for (const [name, { shape, values }] of arrays) {
      const [prefix, part] = name.split(".");
      if (prefixes.includes(prefix!))
        this.weights.set(part!, {
          columns: shape.at(-1)!,
          values: Float32Array.from(values as readonly number[]),
        });
    }
  }

  /** Return maps (L,) sampled at keypoints (K * 3). */
  protected mapsAt(places: Float32Array, taps: Taps): Float32Array[] {
    return sampledMaps(taps, this.sides, places.length / 3, (k) => [
      places[3 * k]!,
      places[3 * k + 1]!,
    ]);
  }

  /** Return a copy of a vector of weights. */
  protected copyOf(name: string): Float32Array {
    return this.weights.get(name)!.values.slice();
  }

  /** Add a row times a matrix of weights to a sum. */
  protected add(sum: Float32Array, row: ArrayLike<number>, name: string): void {
    const { columns, values } = this.weights.get(name)!;
    for (let i = 0, at = 0; i < row.length; i++) {
      const value = row[i]!;
      for (let j = 0; j < columns; j++, at++) sum[j]! += value * values[at]!;
    }
  }

  /**
   * Return rows (K, L) times a matrix of weights plus the offsets of each keypoint, rectified (K *
   * E).
   */
  protected rectified(rows: readonly Float32Array[], name: string, offsets: string): Float32Array {
    const sums = this.copyOf(offsets);
    const { columns } = this.weights.get(name)!;
    for (const [k, row] of rows.entries())
      this.add(sums.subarray(k * columns, (k + 1) * columns), row, name);
    return rectified(sums);
  }
}

/** Heads of one network: visibility, handedness and appearance. */
export class HandHeads extends Heads {
  constructor(arrays: ReadonlyMap<string, NumpyArray>, model: string, sides: readonly number[]) {
    super(arrays, sides, model);
  }

  /**
   * Return the probability of a left hand in a selfie view, the visibility of each keypoint, the
   * maps (L,) at each keypoint, and on request the appearance.
   *
   * @param places (K, 3) keypoints as fractions of the crop
   */
  read(
    places: Float32Array,
    taps: Taps,
    withAppearance: boolean,
  ): {
    left: number;
    visibility: Float32Array;
    maps: readonly Float32Array[];
    appearance: Float32Array | null;
  } {
    const local = this.mapsAt(places, taps);
    const near = this.rectified(local, "local", "keypoint");
    const hidden = this.copyOf("side_context");
    this.add(hidden, taps.at(-1)!, "side_mean");
    this.add(
      hidden,
      places.map((value, i) => 2 * value - (i % 3 === 2 ? 0 : 1)),
      "side_shape",
    );
    this.add(hidden, near, "side_near");
    const side = this.weights.get("side")!.values;
    const logit = hidden.reduce(
      (sum, value, i) => sum + Math.max(value, 0) * side[i]!,
      this.weights.get("side_bias")!.values[0]!,
    );
    const appearance =
      withAppearance && this.weights.has("appearance")
        ? this.#appearance(places, local, taps)
        : null;
    return { left: sigmoid(logit), visibility: this.#visibility(near), maps: local, appearance };
  }

  /**
   * Return the visibility of each keypoint from the features (K * H) near it, near its neighbours,
   * and their mean.
   */
  #visibility(near: Float32Array): Float32Array {
    const { columns, values } = this.weights.get("seen")!;
    const count = near.length / columns;
    const row = (matrix: Float32Array, k: number) =>
      matrix.subarray(k * columns, (k + 1) * columns);
    const mean = new Float32Array(columns);
    near.forEach((value, i) => (mean[i % columns]! += value / count));
    const sums = this.copyOf("keypoint_wide");
    return this.weights.get("seen_bias")!.values.map((bias, k) => {
      const sum = row(sums, k);
      this.add(sum, row(near, k), "own");
      this.add(sum, row(near, BEFORE[k]!), "before");
      this.add(sum, row(near, BEHIND[k]!), "behind");
      this.add(sum, mean, "all");
      return sigmoid(
        sum.reduce((total, value, i) => total + Math.max(value, 0) * row(values, k)[i]!, bias),
      );
    });
  }

  /**
   * Return the appearance (K * E) of the keypoints in the two coarser maps, an input of the gesture
   * classifier.
   *
   * The columns are the features at the network's keypoints, the features at the corrected
   * positions, and the corrected x and y with mean 0 and mean square 1.
   *
   * @param local maps sampled at each keypoint
   */
  #appearance(places: Float32Array, local: readonly Float32Array[], taps: Taps): Float32Array {
    const before = this.#features("appearance", local);
    const count = local.length;
    const positions = Float32Array.from(
      { length: 2 * count },
      (_, i) => places[3 * (i >> 1) + (i % 2)]!,
    );
    const hidden = this.copyOf("appearance_correction_bias_0");
    this.add(
      hidden,
      [...before, ...positions.map((value) => 4 * value - 2)],
      "appearance_correction_0",
    );
    const step = this.copyOf("appearance_correction_bias_1");
    this.add(step, rectified(hidden), "appearance_correction_1");
    const corrected = positions.map((value, i) => value + step[i]!);
    const after = this.#features(
      "appearance_again",
      sampledMaps(taps, this.sides, count, (k) => [corrected[2 * k]!, corrected[2 * k + 1]!]),
    );
    const mean = [0, 1].map(
      (axis) => corrected.reduce((sum, value, i) => sum + (i % 2 === axis ? value : 0), 0) / count,
    );
    const centred = corrected.map((value, i) => value - mean[i % 2]!);
    const scale = Math.sqrt(
      centred.reduce((sum, value) => sum + value * value, 0) / centred.length,
    );
    const columns = before.length / count;
    const appearance = new Float32Array(count * (2 * columns + 2));
    for (let k = 0; k < count; k++) {
      const start = k * (2 * columns + 2);
      appearance.set(before.subarray(k * columns, (k + 1) * columns), start);
      appearance.set(after.subarray(k * columns, (k + 1) * columns), start + columns);
      appearance.set([centred[2 * k]! / scale, centred[2 * k + 1]! / scale], start + 2 * columns);
    }
    return appearance;
  }

  /** Return features (K * E) from the last channels of the maps at each keypoint. */
  #features(name: string, local: readonly Float32Array[]): Float32Array {
    const { columns, values } = this.weights.get(name)!;
    return this.rectified(
      local.map((row) => row.subarray(-values.length / columns)),
      name,
      `${name}_keypoint`,
    );
  }
}

/**
 * Interpolate maps at positions relative to the crop. Return features (L,) of each, with the
 * channels of all maps.
 */
function sampledMaps(
  taps: Taps,
  sides: readonly number[],
  count: number,
  positionOf: (k: number) => readonly [number, number],
): Float32Array[] {
  const maps = taps.slice(0, -1);
  const channels = maps.map((map, m) => map.length / sides[m]! ** 2);
  return Array.from({ length: count }, (_, k) => {
    const row = new Float32Array(channels.reduce((sum, one) => sum + one, 0));
    let start = 0;
    for (const [m, map] of maps.entries()) {
      const end = start + channels[m]!;
      addAt(row.subarray(start, end), map, sides[m]!, ...positionOf(k));
      start = end;
    }
    return row;
  });
}

/**
 * Add the channels of a map at a relative position. Interpolation is bilinear and repeats the edge
 * outside the map.
 */
function addAt(sums: Float32Array, map: Float32Array, side: number, x: number, y: number): void {
  const [across, down] = [x, y].map((position) =>
    Math.min(Math.max(position * side - 0.5, 0), side - 1),
  ) as [number, number];
  const [left, top] = [
    Math.min(Math.trunc(across), side - 2),
    Math.min(Math.trunc(down), side - 2),
  ];
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

const rectified = (values: Float32Array) => values.map((value) => Math.max(value, 0));

const { WORLD_SCALE } = constants.hand_refinement;

/** Refined keypoints of one hand. */
export interface RefinedKeypoints {
  // (K * 3) as fractions of the crop, z relative to the wrist in the scale of x and y
  readonly keypoints: Float32Array;
  readonly world: Float32Array; // (K * 3) metres in the axes of the crop
  // (K,) expected distance of x and y from the exact position, as fractions of the crop
  readonly error: Float32Array;
}

/** Refinement of one network's keypoints. */
export class HandRefinement extends Heads {
  readonly #rounds: number;

  constructor(arrays: ReadonlyMap<string, NumpyArray>, model: string, sides: readonly number[]) {
    super(arrays, sides, model, "both");
    this.#rounds = [...this.weights.keys()].filter((name) => name.startsWith("look_")).length;
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
      const features = this.rectified(
        this.mapsAt(places, taps),
        `look_${round}`,
        `keypoint_${round}`,
      );
      memory = rectified(
        this.#layer([...features, ...centred(places), ...memory], "hidden", round),
      );
      const step = this.#layer(memory, "move", round);
      places = places.map((value, i) => value + step[i]!);
    }
    const scaled = world.map((value) => value * WORLD_SCALE);
    const hidden = rectified(this.#layer([...memory, ...centred(places), ...scaled], "world", 0));
    const step = this.#layer(hidden, "world", 1);
    const share = this.weights.get("share")!.values;
    const refined = places.map((value, i) =>
      i % 3 === 2 ? value : keypoints[i]! + share[Math.trunc(i / 3)]! * (value - keypoints[i]!),
    );
    const error = this.#layer(memory, "error").map(Math.exp);
    return {
      keypoints: refined,
      error,
      world: scaled.map((value, i) => (value + step[i]!) / WORLD_SCALE),
    };
  }

  #layer(row: ArrayLike<number>, name: string, number?: number): Float32Array {
    const suffix = number === undefined ? "" : `_${number}`;
    const sum = this.copyOf(`${name}_bias${suffix}`);
    this.add(sum, row, `${name}${suffix}`);
    return sum;
  }
}

const centred = (keypoints: Float32Array): Float32Array =>
  keypoints.map((value, i) => 4 * value - (i % 3 === 2 ? 0 : 2));
