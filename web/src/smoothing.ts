/** Smoothing of keypoints over time: the One-Euro filter (Casiez, Roussel, Vogel 2012), for whole arrays. */

import { ONE_EURO } from "./data.js";
import { cornersOf, sizeOf, type Observation } from "./observations.js";

/** Smooths one track's observations; made anew for each track. */
export type Smoother<O extends Observation> = (observation: O, now: number) => O;

/** Makes the smoother of a new track; null for no smoothing. */
export type SmootherOf<O extends Observation> = () => Smoother<O> | null;

export type Smoothing = "none" | "published" | "one_euro";

/** Low-pass filter whose cut-off rises with speed: calm when still, prompt when moving. */
export class OneEuro {
  readonly #cutoff: number;
  readonly #beta: number;
  readonly #ofSpeed: number;
  readonly #dead: number;
  #time = -Infinity;
  #raw: Float64Array | null = null;
  #smooth = new Float64Array();
  #speed = new Float64Array();

  /**
   * A filter.
   *
   * @param cutoff Hz at rest; lower is calmer
   * @param beta how much that rises, in Hz per (size of the instance / second)
   * @param ofSpeed cut-off of the speed's estimate, Hz
   * @param dead speed that still counts as rest, in sizes / second
   */
  constructor(
    cutoff = ONE_EURO.min_cutoff_hz,
    beta = ONE_EURO.beta,
    ofSpeed = ONE_EURO.derivative_cutoff_hz,
    dead = ONE_EURO.dead_speed,
  ) {
    [this.#cutoff, this.#beta, this.#ofSpeed, this.#dead] = [cutoff, beta, ofSpeed, dead];
  }

  /** Filtered values; `scale` is the instance's size in their unit. */
  filter(values: Float32Array, time: number, scale: number): Float32Array {
    const raw = Float64Array.from(values);
    if (this.#raw === null) {
      [this.#time, this.#raw, this.#smooth, this.#speed] = [time, raw, raw.slice(), new Float64Array(raw.length)];
      return values;
    }
    const step = time - this.#time;
    const ofSpeed = alpha(this.#ofSpeed, step);
    const smoothed = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++) {
      const speed = (raw[i]! - this.#raw[i]!) / (scale * step);
      this.#speed[i]! += ofSpeed * (speed - this.#speed[i]!);
      const moving = Math.max(Math.abs(this.#speed[i]!) - this.#dead, 0);
      const weight = alpha(this.#cutoff + this.#beta * moving, step);
      this.#smooth[i]! += weight * (raw[i]! - this.#smooth[i]!);
      smoothed[i] = this.#smooth[i]!;
    }
    [this.#time, this.#raw] = [time, raw];
    return smoothed;
  }
}

/** A One-Euro filter for image keypoints and another one for those in metres. */
export function oneEuroSmoother<O extends Observation>(): Smoother<O> {
  const image = new OneEuro();
  const world = new OneEuro();
  return (observation, now) => {
    const { keypoints, keypoints3D } = observation;
    return {
      ...observation,
      keypoints: image.filter(keypoints, now, sizeOf(keypoints)),
      keypoints3D: keypoints3D && world.filter(keypoints3D, now, sizeOf(keypoints3D, 3)),
    };
  };
}

/** A filter of image keypoints alone, which are measured by the mean of width and height of the box around them. */
export function imageSmoother<O extends Observation>(...filter: ConstructorParameters<typeof OneEuro>): Smoother<O> {
  const image = new OneEuro(...filter);
  return (observation, now) => {
    const [left, top, right, bottom] = cornersOf(observation.keypoints);
    const size = Math.max((right - left + bottom - top) / 2, 1e-6);
    return { ...observation, keypoints: image.filter(observation.keypoints, now, size) };
  };
}

/** What smooths keypoints by One-Euro where that is asked for, and nothing else: hands and faces have nothing published. */
export function keypointSmoothers<O extends Observation>({ smoothing }: { smoothing: Smoothing }): SmootherOf<O> {
  return smoothing === "one_euro" ? oneEuroSmoother : () => null;
}

/** Weight of the new sample in a first-order low-pass filter. */
function alpha(cutoff: number, step: number): number {
  return 1 / (1 + 1 / (2 * Math.PI * cutoff * step));
}
