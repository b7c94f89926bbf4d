/** Count the repetitions of a movement, as Python's `RepetitionCounter`. */

import REPETITIONS from "../../src/sonjit/spec/repetitions.json";

const {
  min_duration_s: MIN_DURATION_S,
  min_hold_s: MIN_HOLD_S,
  max_gap_s: MAX_GAP_S,
} = REPETITIONS;

/**
 * Counts how often a value changes from high to low and back. An unknown value neither counts nor
 * breaks a repetition, unless it lasts longer than the maximum gap.
 */
export class RepetitionCounter {
  count = 0;
  /** The newest finished repetition, with times in seconds. */
  last: { begin: number; end: number; lowest: number } | null = null;
  #low;
  #high;
  #state = "unknown";
  #side = "unknown";
  #sideSince = -Infinity;
  #sideFirst = -Infinity;
  #left = -Infinity;
  #lowest = Infinity;
  #seen = -Infinity;
  #last = -Infinity;

  /**
   * @param low limit at or below which the value is low
   * @param high limit at or above which it is high
   */
  constructor(low: number, high: number) {
    this.#low = low;
    this.#high = high;
  }

  /**
   * @param value NaN if unknown
   * @param time seconds, not decreasing
   * @returns the count
   */
  update(value: number, time: number): number {
    const before = this.#last;
    this.#last = time;
    if (Number.isNaN(value)) return this.count;
    if (time - this.#seen > MAX_GAP_S) {
      this.#state = this.#side = "unknown";
      this.#sideSince = this.#sideFirst = this.#left = -Infinity;
      this.#lowest = Infinity;
    }
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
    // a repetition starts at high
    if (side === "high" || this.#state === "high") this.#state = side;
    if (side === "high") [this.#left, this.#lowest] = [time, value];
    return this.count;
  }
}
