/** Counts how often a value goes from high to low and back, as `sonjit.results.measures.RepetitionCounter` does. */

import { REPETITIONS } from "./spec.js";

const { min_duration_s: MIN_DURATION_S, min_hold_s: MIN_HOLD_S, max_gap_s: MAX_GAP_S } = REPETITIONS;

export class RepetitionCounter {
  count = 0;
  /** The newest finished repetition, with times in seconds. @type {{begin: number, end: number, lowest: number} | null} */ last = null;
  #low;
  #high;
  #state = "unknown";
  #side = "unknown";
  #sideSince = -Infinity;
  #sideFirst = -Infinity;
  #left = -Infinity;
  #lowest = Infinity;
  #seen = -Infinity;

  /** @param {number} low limit at or below which the value is low @param {number} high limit at or above which it is high */
  constructor(low, high) {
    this.#low = low;
    this.#high = high;
  }

  /** @param {number} value NaN if unknown @param {number} time seconds, not decreasing @returns {number} the count */
  update(value, time) {
    if (Number.isNaN(value)) return this.count;
    if (time - this.#seen > MAX_GAP_S) this.#drop();
    const before = this.#seen;
    this.#seen = time;
    const side = value <= this.#low ? "low" : value >= this.#high ? "high" : "between";
    if (side !== this.#side) [this.#side, this.#sideSince, this.#sideFirst] = [side, before, time];
    if (side === "high" && this.#state === "high") [this.#left, this.#lowest] = [time, value];
    this.#lowest = Math.min(this.#lowest, value);
    const isStable = time - this.#sideSince >= MIN_HOLD_S;
    if (side === "between" || side === this.#state || !isStable) return this.count;
    if (side === "high" && this.#state === "low" && time - this.#left >= MIN_DURATION_S) {
      this.count += 1;
      this.last = { begin: this.#left, end: this.#sideFirst, lowest: this.#lowest };
    }
    if (side === "high" || this.#state === "high") this.#state = side; // a repetition starts at high
    if (side === "high") [this.#left, this.#lowest] = [time, value];
    return this.count;
  }

  #drop() {
    this.#state = this.#side = "unknown";
    this.#sideSince = this.#sideFirst = this.#left = -Infinity;
    this.#lowest = Infinity;
  }
}
