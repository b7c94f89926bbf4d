/** Find pinches, drags, rotations and pushes. */

import { wrapAngle } from "../boxes.js";
import { MOTIONS } from "../data.js";
import type { Point } from "../observations.js";
import { distance, fraction, type Phase, type HandState, type Step, type Steps, type Watch } from "./events.js";

const { Holds: HOLD, Rotations: ROTATION, Pushes: PUSH } = MOTIONS;

/** Pinch of thumb and index finger, or drag of a fist. A drag begins with an open hand that closes, and ends when a finger opens. */
export class Holds implements Watch {
  readonly #name: "Pinch" | "Drag";
  #start: Point | null = null;
  #since: number | null = null;
  #closed = 0;
  #open = -Infinity; // time at which it was last open

  constructor(name: "Pinch" | "Drag") {
    this.#name = name;
  }

  /** Check whether a pinch or drag is in progress. */
  get isActive(): boolean {
    return this.#start !== null;
  }

  *follow(now: HandState): Steps {
    const isActive = this.isActive;
    const isPinch = this.#name === "Pinch";
    const [minimum, mean, maximum] = now.reach;
    const [value, limits] = isPinch ? [now.pinch, HOLD.PINCH] : [mean, HOLD.FIST];
    const [opened, shut] = limits as [number, number];
    // A fist is neither open nor a pinch. A hand with only some fingers stretched is neither open nor a fist.
    const isOther = isPinch ? !isActive && now.indexReach < HOLD.INDEX : maximum > HOLD.OUT && HOLD.OUT > minimum;
    this.#closed = fraction((opened - value) / (opened - shut));
    if (this.#closed < HOLD.END && !isOther) this.#open = now.time;
    const wasOpenRecently = isActive || now.time - this.#open <= HOLD.WITHIN_S;
    const wants = this.#closed > (isActive ? HOLD.END : HOLD.BEGIN[this.#name]) && wasOpenRecently && !isOther;
    this.#since = wants === isActive ? null : (this.#since ?? now.time);
    const changes = this.#since !== null && now.time - this.#since >= HOLD.HOLD_S;
    if (changes && !isActive) {
      [this.#start, this.#since] = [now.palm, null];
      yield this.#step("begin", this.#start);
    } else if (changes) {
      yield this.#step("end", this.#start!);
      [this.#start, this.#since] = [null, null];
    } else if (isActive) {
      yield this.#step("progress", this.#start!);
    }
  }

  *stop(): Steps {
    if (this.#start !== null) yield this.#step("cancel", this.#start);
    [this.#start, this.#since, this.#open] = [null, null, -Infinity];
  }

  #step(phase: Phase, start: Point): Step {
    return { name: this.#name, phase, strength: this.#closed, start };
  }
}

/** Rotation of a pinching hand in the image, as if it turned a knob. */
export class Rotations implements Watch {
  readonly #pinch: Holds;
  #start: Point | null = null;
  #last: number | null = null;
  #turned = 0;

  constructor(pinch: Holds) {
    this.#pinch = pinch;
  }

  *follow({ palm, angle }: HandState): Steps {
    if (!this.#pinch.isActive) {
      if (this.#start !== null) yield this.#step("end", this.#start);
      this.#reset();
      return;
    }
    if (this.#last !== null) this.#turned += wrapAngle(angle - this.#last);
    this.#last = angle;
    if (this.#start !== null) {
      yield this.#step("progress", this.#start);
    } else if (Math.abs(this.#turned) >= ROTATION.BEGIN_RAD) {
      this.#start = palm;
      yield this.#step("begin", this.#start);
    }
  }

  *stop(): Steps {
    if (this.#start !== null) yield this.#step("cancel", this.#start);
    this.#reset();
  }

  #reset(): void {
    [this.#start, this.#last, this.#turned] = [null, null, 0];
  }

  #step(phase: Phase, start: Point): Step {
    const strength = Math.min(1, Math.abs(this.#turned) / Math.PI);
    return { name: "Rotate", phase, strength, start, rounds: this.#turned / (2 * Math.PI) };
  }
}

/** Quick movement of a raised open hand towards the camera. */
export class Pushes implements Watch {
  #recent: HandState[] = [];
  #from: HandState | null = null;
  #peak = 0;
  #isFinished = false;

  *follow(now: HandState): Steps {
    const recent = this.#recent;
    recent.push(now);
    while (now.time - recent[0]!.time > PUSH.WITHIN_S) recent.shift();
    const before = recent.findLast(({ time }) => now.time - time >= PUSH.BEFORE_S) ?? recent[0]!;
    const elapsed = now.time - before.time;
    const speed = elapsed > 0 ? Math.log(now.size / before.size) / elapsed : 0;
    if (this.#from !== null) {
      this.#peak = Math.max(this.#peak, speed);
      if (speed < PUSH.FAST) {
        yield this.#step("end", this.#from, now);
        [this.#from, this.#isFinished] = [null, true];
      } else {
        yield this.#step("progress", this.#from, now);
      }
      return;
    }
    const minimum = recent.reduce((best, state) => (state.size < best.size ? state : best));
    if (this.#isFinished) {
      this.#isFinished = now.size > PUSH.BACK * minimum.size; // until it rests or moves back
    } else if (
      speed >= PUSH.FAST &&
      now.size >= PUSH.GROWS * minimum.size &&
      recent.every(({ isUp }) => isUp) && // an opening hand grows too
      distance(now.palm, minimum.palm) <= PUSH.ASIDE
    ) {
      [this.#from, this.#peak] = [minimum, speed];
      yield this.#step("begin", this.#from, now);
    }
  }

  *stop(): Steps {
    if (this.#from !== null) yield this.#step("cancel", this.#from, this.#recent.at(-1)!);
    [this.#recent, this.#from, this.#isFinished] = [[], null, false];
  }

  #step(phase: Phase, from: HandState, now: HandState): Step {
    return { name: "Push", phase, strength: Math.min(1, this.#peak / PUSH.STRONGEST), start: from.palm, rounds: now.size / from.size };
  }
}
