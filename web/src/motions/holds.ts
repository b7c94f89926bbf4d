/** Motions of a hand that holds something or comes nearer: pinches, drags, rotations and pushes. */

import { wrapAngle } from "../boxes.js";
import { MOTIONS } from "../data.js";
import type { Point } from "../observations.js";
import { distance, share, type Phase, type Seen, type Step, type Steps, type Watch } from "./events.js";

const { Holds: HOLD, Rotations: ROTATION, Pushes: PUSH } = MOTIONS;

/** A pinch of thumb and index finger, or a fist made of an open hand that drags until it opens a finger. */
export class Holds implements Watch {
  readonly #name: "Pinch" | "Drag";
  #start: Point | null = null;
  #since: number | null = null;
  #closed = 0;
  #open = -Infinity; // when it was open last

  constructor(name: "Pinch" | "Drag") {
    this.#name = name;
  }

  /** Whether it began and did not end. */
  get isHeld(): boolean {
    return this.#start !== null;
  }

  *follow(now: Seen): Steps {
    const isHeld = this.isHeld;
    const isPinch = this.#name === "Pinch";
    const [least, mean, most] = now.reach;
    const [value, limits] = isPinch ? [now.pinch, HOLD.PINCH] : [mean, HOLD.FIST];
    const [opened, shut] = limits as [number, number];
    // A fist, which is neither open nor pinches; or some fingers are out, others in.
    const isOther = isPinch ? !isHeld && now.indexReach < HOLD.INDEX : most > HOLD.OUT && HOLD.OUT > least;
    this.#closed = share((opened - value) / (opened - shut));
    if (this.#closed < HOLD.END && !isOther) this.#open = now.time;
    const wasOpen = isHeld || now.time - this.#open <= HOLD.WITHIN_S;
    const wants = this.#closed > (isHeld ? HOLD.END : HOLD.BEGIN[this.#name]) && wasOpen && !isOther;
    this.#since = wants === isHeld ? null : (this.#since ?? now.time);
    const changes = this.#since !== null && now.time - this.#since >= HOLD.HOLD_S;
    if (changes && !isHeld) {
      [this.#start, this.#since] = [now.palm, null];
      yield this.#step("begin", this.#start);
    } else if (changes) {
      yield this.#step("end", this.#start!);
      [this.#start, this.#since] = [null, null];
    } else if (isHeld) {
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

/** A pinching hand that turns in the image, as if it held a knob. */
export class Rotations implements Watch {
  readonly #pinch: Holds;
  #start: Point | null = null;
  #last: number | null = null;
  #turned = 0;

  constructor(pinch: Holds) {
    this.#pinch = pinch;
  }

  *follow({ palm, angle }: Seen): Steps {
    if (!this.#pinch.isHeld) {
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

/** A raised open hand that comes quickly towards the camera. */
export class Pushes implements Watch {
  #lately: Seen[] = [];
  #from: Seen | null = null;
  #peak = 0;
  #isDone = false;

  *follow(now: Seen): Steps {
    const lately = this.#lately;
    lately.push(now);
    while (now.time - lately[0]!.time > PUSH.WITHIN_S) lately.shift();
    const before = lately.findLast(({ time }) => now.time - time >= PUSH.BEFORE_S) ?? lately[0]!;
    const elapsed = now.time - before.time;
    const speed = elapsed > 0 ? Math.log(now.size / before.size) / elapsed : 0;
    if (this.#from !== null) {
      this.#peak = Math.max(this.#peak, speed);
      if (speed < PUSH.FAST) {
        yield this.#step("end", this.#from, now);
        [this.#from, this.#isDone] = [null, true];
      } else {
        yield this.#step("progress", this.#from, now);
      }
      return;
    }
    const least = lately.reduce((best, one) => (one.size < best.size ? one : best));
    if (this.#isDone) {
      this.#isDone = now.size > PUSH.BACK * least.size; // until it stays or goes back
    } else if (
      speed >= PUSH.FAST &&
      now.size >= PUSH.GROWS * least.size &&
      lately.every(({ isUp }) => isUp) && // a hand that opens looks larger too
      distance(now.palm, least.palm) <= PUSH.ASIDE
    ) {
      [this.#from, this.#peak] = [least, speed];
      yield this.#step("begin", this.#from, now);
    }
  }

  *stop(): Steps {
    if (this.#from !== null) yield this.#step("cancel", this.#from, this.#lately.at(-1)!);
    [this.#lately, this.#from, this.#isDone] = [[], null, false];
  }

  #step(phase: Phase, from: Seen, now: Seen): Step {
    return { name: "Push", phase, strength: Math.min(1, this.#peak / PUSH.STRONGEST), start: from.palm, rounds: now.size / from.size };
  }
}
