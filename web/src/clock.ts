/** The times of a stream's images. */

import { constants } from "./data.js";
import type { Pixels } from "./pixels.js";

const { MIN_STEP_S, NOMINAL_STEP_S } = constants.pipeline;

/** Notes the time of each image and where a stream begins again. */
export class StreamClock {
  #time = -Infinity;
  #size = "";

  /** Seconds of the latest image. */
  get time(): number {
    return this.#time;
  }

  /** Note an image, by default at 30 a second. Return whether a stream begins: time does not increase, or the size differs. */
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
