/** Smooth keypoints over time with the One-Euro filter (Casiez, Roussel, Vogel 2012). */

import { constants, ONE_EURO } from "./data.js";
import { cornersOf, sizeOf, type Observation } from "./observations.js";
import type { AnyDetector, Results } from "./results.js";

/** Smooths the observations of one track, with increasing times in seconds. */
export type Smoother<O extends Observation> = (observation: O, now: number) => O;

/** Makes the smoother of a new track; null for no smoothing. */
export type SmootherOf<O extends Observation> = () => Smoother<O> | null;

export type Smoothing = "none" | "published" | "one_euro";

/** Low-pass filter whose cut-off rises with speed: calm when still, prompt when moving. */
export class OneEuro {
  #time = -Infinity;
  #raw: Float64Array | null = null;
  #smooth = new Float64Array();
  #speed = new Float64Array();

  /**
   * @param minCutoff cut-off at rest in Hz; lower is calmer
   * @param beta how much the cut-off rises, in Hz per (size of the instance / second)
   * @param derivativeCutoff cut-off of the speed estimate in Hz
   * @param deadSpeed speed in sizes per second that counts as rest, so that noise does not open the
   *   filter
   */
  constructor(
    private readonly minCutoff = ONE_EURO.min_cutoff_hz,
    private readonly beta = ONE_EURO.beta,
    private readonly derivativeCutoff = ONE_EURO.derivative_cutoff_hz,
    private readonly deadSpeed = ONE_EURO.dead_speed,
  ) {}

  /**
   * Return the filtered values of one frame; unchanged ones if the time does not increase. `scale`
   * is the size of the instance in the unit of the values.
   */
  filter(values: Float32Array, time: number, scale: number): Float32Array {
    const raw = Float64Array.from(values);
    if (this.#raw === null) {
      [this.#time, this.#raw, this.#smooth, this.#speed] = [
        time,
        raw,
        raw.slice(),
        new Float64Array(raw.length),
      ];
      return values;
    }
    const step = time - this.#time;
    if (!(step > 0)) return values;
    const speedWeight = alpha(this.derivativeCutoff, step);
    const smoothed = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++) {
      const change = (raw[i]! - this.#raw[i]!) / (scale * step);
      const speed = this.#speed[i]! + speedWeight * (change - this.#speed[i]!);
      this.#speed[i] = Number.isNaN(speed) ? 0 : speed; // a missing keypoint restarts
      const movement = Math.max(Math.abs(this.#speed[i]!) - this.deadSpeed, 0);
      const weight = alpha(this.minCutoff + this.beta * movement, step);
      const smooth = this.#smooth[i]! + weight * (raw[i]! - this.#smooth[i]!);
      smoothed[i] = this.#smooth[i] = Number.isNaN(smooth) ? raw[i]! : smooth;
    }
    [this.#time, this.#raw] = [time, raw];
    return smoothed;
  }
}

/** Return a smoother with the same filter for image and world keypoints. */
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

/**
 * Return a smoother of image keypoints only. Their size is the mean of width and height of the box
 * around them.
 */
export function imageSmoother<O extends Observation>(
  ...filter: ConstructorParameters<typeof OneEuro>
): Smoother<O> {
  const image = new OneEuro(...filter);
  return (observation, now) => {
    const [left, top, right, bottom] = cornersOf(observation.keypoints);
    const size = Math.max((right - left + bottom - top) / 2, 1e-6);
    return { ...observation, keypoints: image.filter(observation.keypoints, now, size) };
  };
}

/** Return a factory of smoothers, for kinds whose published graph does not smooth. */
export function keypointSmoothers<O extends Observation>({
  smoothing,
}: {
  smoothing: Smoothing;
}): SmootherOf<O> {
  return smoothing === "one_euro" ? oneEuroSmoother : () => null;
}

/** Return the weight of the new sample in a first-order low-pass filter. */
const alpha = (cutoff: number, step: number): number => 1 / (1 + 1 / (2 * Math.PI * cutoff * step));

const { MIN_STEP_S, NOMINAL_STEP_S } = constants.pipeline;

/**
 * Return a detector that adds to the results of another.
 *
 * @param reset begins another stream: time does not increase, or the size of the images differs
 * @param inStream gets the time in seconds, by default that of 30 images a second
 */
export function extended(
  detector: AnyDetector,
  reset: () => void,
  inStream: (found: Results, time: number) => Results,
  inStill = (found: Results) => found,
): AnyDetector {
  let [before, size] = [-Infinity, ""];
  return {
    async track(image, time) {
      const found = await detector.track(image, time);
      const now = time ?? (Number.isFinite(before) ? before + NOMINAL_STEP_S : 0);
      const newSize = `${image.width} x ${image.height}`;
      if (!(now - before >= MIN_STEP_S) || newSize !== size) reset();
      [before, size] = [Number.isFinite(now) ? now : 0, newSize];
      return inStream(found, before);
    },
    detect: async (image) => inStill(await detector.detect(image)),
    reset() {
      detector.reset();
      before = -Infinity;
      reset();
    },
  };
}
