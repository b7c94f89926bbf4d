/** Smoothing of keypoints over time: the One-Euro filter (Casiez, Roussel, Vogel 2012), for whole arrays. */

import { ONE_EURO } from "./data.js";
import { sizeOf, type Observation } from "./observations.js";

/** Smooths one track's observations; made anew for each track. */
export type Smoother<O extends Observation> = (observation: O, now: number) => O;

/** Low-pass filter whose cut-off rises with speed: calm when still, prompt when moving. */
class OneEuro {
  #time = -Infinity;
  #raw: Float64Array | null = null;
  #smooth = new Float64Array();
  #speed = new Float64Array();

  /** Filtered values; `scale` is the instance's size in their unit. */
  filter(values: Float32Array, time: number, scale: number): Float32Array {
    const raw = Float64Array.from(values);
    if (this.#raw === null) {
      [this.#time, this.#raw, this.#smooth, this.#speed] = [time, raw, raw.slice(), new Float64Array(raw.length)];
      return values;
    }
    const step = time - this.#time;
    const ofSpeed = alpha(ONE_EURO.derivative_cutoff_hz, step);
    const smoothed = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++) {
      const speed = (raw[i]! - this.#raw[i]!) / (scale * step);
      this.#speed[i]! += ofSpeed * (speed - this.#speed[i]!);
      const moving = Math.max(Math.abs(this.#speed[i]!) - ONE_EURO.dead_speed, 0);
      const weight = alpha(ONE_EURO.min_cutoff_hz + ONE_EURO.beta * moving, step);
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

/** Weight of the new sample in a first-order low-pass filter. */
function alpha(cutoff: number, step: number): number {
  return 1 / (1 + 1 / (2 * Math.PI * cutoff * step));
}
