/** Repetitions: how often a value goes from high to low and back, as `sonjit.measures.RepetitionCounter` counts them. */

const MIN_DURATION_S = 0.3; // of a repetition, from leaving high to being back
const MIN_HOLD_S = 0.05; // beyond a limit, so that one wild frame counts nothing
const MAX_GAP_S = 1; // without a value, after which the repetition under way is dropped

export class RepetitionCounter {
  count = 0;
  #low;
  #high;
  #state = "unknown";
  #side = "unknown";
  #sideSince = -Infinity;
  #left = -Infinity;
  #seen = -Infinity;

  /** @param {number} low at or below it the value is low @param {number} high at or above it, high again */
  constructor(low, high) {
    this.#low = low;
    this.#high = high;
  }

  /** @param {number} value NaN where it is not known @param {number} time seconds, not running backwards @returns {number} the count so far */
  update(value, time) {
    if (Number.isNaN(value)) return this.count;
    if (time - this.#seen > MAX_GAP_S) this.#drop();
    const before = this.#seen;
    this.#seen = time;
    const side = value <= this.#low ? "low" : value >= this.#high ? "high" : "between";
    if (side !== this.#side) [this.#side, this.#sideSince] = [side, before];
    if (side === "high" && this.#state === "high") this.#left = time;
    const held = time - this.#sideSince >= MIN_HOLD_S;
    if (side === "between" || side === this.#state || !held) return this.count;
    if (side === "high" && this.#state === "low" && time - this.#left >= MIN_DURATION_S) this.count += 1;
    if (side === "high" || this.#state === "high") this.#state = side; // from nowhere, low is no half
    if (side === "high") this.#left = time;
    return this.count;
  }

  #drop() {
    this.#state = this.#side = "unknown";
    this.#sideSince = this.#left = -Infinity;
  }
}
