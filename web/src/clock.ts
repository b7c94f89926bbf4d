/** Times of the images of a stream. */

import { constants } from "./data.js";
import type { Pixels } from "./pixels.js";

const { MIN_STEP_S, NOMINAL_STEP_S } = constants.pipeline;

/** Records the time of each image and detects the start of a new stream. */
export class StreamClock {
  #time = -Infinity;
  #size = "";

  /** Time of the latest image in seconds. */
  get time(): number {
    return this.#time;
  }

  /** Record an image, by default at 30 images a second. Return whether a stream begins: time does not increase, or the size differs. */
  step({ width, height }: Pick<Pixels, "width" | "height">, time: number | null): boolean {
    const now = time ?? (Number.isFinite(this.#time) ? this.#time + NOMINAL_STEP_S : 0);
    const size = `${width} x ${height}`;
    const begins = !(now - this.#time >= MIN_STEP_S) || size !== this.#size;
    [this.#time, this.#size] = [Number.isFinite(now) ? now : 0, size];
    return begins;
  }

  /** Forget the stream. */
  reset(): void {
    this.#time = -Infinity;
  }
}
