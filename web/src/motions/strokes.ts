/** The motions of one hand. */

import { MOTIONS } from "../data.js";
import { distance, mean, wrapAngle, type Point } from "../observations.js";
import type { Phase } from "../results.js";

/** Step of a motion in a frame, without its hand. */
export interface Step {
  readonly name: string;
  readonly phase: Phase;
  readonly strength: number;
  readonly start: Point; // position of the palm at the begin of the motion
  readonly rounds?: number;
}

/** Hand in a frame. Positions are in hand lengths from the first position of the hand. */
export interface HandState {
  readonly time: number;
  readonly palm: Point;
  readonly speed: number; // speed of the palm in hand lengths per second
  readonly tip: Point; // tip of the index finger
  readonly tips: Point; // middle of the tips of the four fingers
  readonly isUp: boolean; // true if the fingers are stretched and point up in the image
  // minimum, mean and maximum reach of the four fingers; 1 is stretched
  readonly reach: readonly [number, number, number];
  readonly indexReach: number;
  readonly pinch: number; // distance between the tips of thumb and index finger, in hand lengths
  readonly size: number; // length of the hand in pixels
  readonly angle: number; // angle of the palm in the image, clockwise
}

export type Steps = Generator<Step, void, undefined>;

/** Finds one kind of motion of one hand. */
export abstract class Motion {
  // position of the palm at the begin of the motion; null before it begins
  protected start: Point | null = null;

  /** Return the steps of the next frame. */
  abstract follow(now: HandState): Steps;

  protected abstract state(): Omit<Step, "phase" | "start">;

  /** Forget what led to the motion, which ended in this phase. */
  protected abstract reset(phase: Phase): void;

  /** Check whether a motion is in progress. */
  get isActive(): boolean {
    return this.start !== null;
  }

  protected *begin(start: Point): Steps {
    this.start = start;
    yield this.#step("begin");
  }

  protected *proceed(isOver = false): Steps {
    if (isOver) yield* this.stop("end");
    else yield this.#step("progress");
  }

  /** Return the steps that end a motion, by default because the hand was lost. */
  *stop(phase: Phase = "cancel"): Steps {
    if (this.isActive) yield this.#step(phase);
    this.reset(phase);
    this.start = null;
  }

  #step(phase: Phase): Step {
    return { ...this.state(), phase, start: this.start! };
  }
}

export const way = (from: Point, to: Point): Point => [to[0] - from[0], to[1] - from[1]];

export const middleOf = (points: readonly Point[]): Point => [
  mean(points.map(([x]) => x)),
  mean(points.map(([, y]) => y)),
];

/** Limit a value to 0..1; 0 if it is unknown. */
export const fraction = (value: number): number => (value > 0 ? Math.min(1, value) : 0);

const { Holds: HOLD, Rotations: ROTATION, Pushes: PUSH } = MOTIONS;

/**
 * Pinch of thumb and index finger, or drag of a fist. A drag begins with an open hand that closes,
 * and ends when a finger opens.
 */
export class Holds extends Motion {
  #since: number | null = null;
  #closed = 0;
  #open = -Infinity; // time at which it was last open

  constructor(private readonly name: "Pinch" | "Drag") {
    super();
  }

  *follow(now: HandState): Steps {
    const { isActive } = this;
    const isPinch = this.name === "Pinch";
    const [minimum, middle, maximum] = now.reach;
    const [value, limits] = isPinch ? [now.pinch, HOLD.PINCH] : [middle, HOLD.FIST];
    const [opened, shut] = limits as [number, number];
    // A fist is neither open nor a pinch. A hand with only some fingers stretched is neither open nor a fist.
    const isOther = isPinch
      ? !isActive && now.indexReach < HOLD.INDEX
      : maximum > HOLD.OUT && HOLD.OUT > minimum;
    this.#closed = fraction((opened - value) / (opened - shut));
    if (this.#closed < HOLD.END && !isOther) this.#open = now.time;
    const wasOpenRecently = isActive || now.time - this.#open <= HOLD.WITHIN_S;
    const wants =
      this.#closed > (isActive ? HOLD.END : HOLD.BEGIN[this.name]) && wasOpenRecently && !isOther;
    this.#since = wants === isActive ? null : (this.#since ?? now.time);
    const changes = this.#since !== null && now.time - this.#since >= HOLD.HOLD_S;
    if (changes) this.#since = null;
    if (isActive) yield* this.proceed(changes);
    else if (changes) yield* this.begin(now.palm);
  }

  protected reset(phase: Phase): void {
    this.#since = null;
    if (phase === "cancel") this.#open = -Infinity;
  }

  protected state() {
    return { name: this.name, strength: this.#closed };
  }
}

/** Rotation of a pinching hand in the image, as if it turned a knob. */
export class Rotations extends Motion {
  #last: number | null = null;
  #turned = 0;

  constructor(private readonly pinch: Holds) {
    super();
  }

  *follow({ palm, angle }: HandState): Steps {
    if (!this.pinch.isActive) {
      yield* this.stop("end");
      return;
    }
    if (this.#last !== null) this.#turned += wrapAngle(angle - this.#last);
    this.#last = angle;
    if (this.isActive) yield* this.proceed();
    else if (Math.abs(this.#turned) >= ROTATION.BEGIN_RAD) yield* this.begin(palm);
  }

  protected reset(): void {
    [this.#last, this.#turned] = [null, 0];
  }

  protected state() {
    return {
      name: "Rotate",
      strength: Math.min(1, Math.abs(this.#turned) / Math.PI),
      rounds: this.#turned / (2 * Math.PI),
    };
  }
}

/** Quick movement of a raised open hand towards the camera. */
export class Pushes extends Motion {
  #recent: HandState[] = [];
  #size = 0; // size of the hand at the begin of the motion
  #peak = 0;
  #isFinished = false;

  *follow(now: HandState): Steps {
    const recent = this.#recent;
    recent.push(now);
    while (now.time - recent[0]!.time > PUSH.WITHIN_S) recent.shift();
    const before = recent.findLast(({ time }) => now.time - time >= PUSH.BEFORE_S) ?? recent[0]!;
    const elapsed = now.time - before.time;
    const speed = elapsed > 0 ? Math.log(now.size / before.size) / elapsed : 0;
    if (this.isActive) {
      this.#peak = Math.max(this.#peak, speed);
      yield* this.proceed(speed < PUSH.FAST);
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
      [this.#size, this.#peak] = [minimum.size, speed];
      yield* this.begin(minimum.palm);
    }
  }

  protected reset(phase: Phase): void {
    this.#isFinished = phase === "end";
    if (phase === "cancel") this.#recent = [];
  }

  protected state() {
    return {
      name: "Push",
      strength: Math.min(1, this.#peak / PUSH.STRONGEST),
      rounds: this.#recent.at(-1)!.size / this.#size,
    };
  }
}

type Place = { readonly time: number; readonly at: Point };

const { Swipes: SWIPE, Waves: WAVE, Circles: CIRCLE } = MOTIONS;
const QUARTER = Math.PI / 2;

/** Quick straight movement of the palm from rest. */
export class Swipes extends Motion {
  #still: number | null = null;
  #path: Place[] = []; // path since the last rest
  #peak = 0;
  #name: string | null = null;
  #last: { readonly time: number; readonly name: string } | null = null;

  *follow({ time, palm, speed }: HandState): Steps {
    if (!this.isActive && speed < SWIPE.SLOW) {
      this.#still ??= time;
      this.#path = time - this.#still >= SWIPE.REST_S ? [{ time, at: palm }] : [];
      this.#peak = 0;
      return;
    }
    this.#still = null;
    if (!this.#path.length) return;
    const before = this.#moved;
    this.#path.push({ time, at: palm });
    this.#peak = Math.max(this.#peak, speed);
    const duration = time - this.#path[0]!.time;
    if (this.isActive) {
      const goesOn = speed > SWIPE.ENDS * this.#peak && this.#moved >= before;
      if (!goesOn) this.#last = { time, name: this.#name! };
      if (goesOn && !(this.#isStraight() && duration <= SWIPE.LASTS_S)) yield* this.stop();
      else yield* this.proceed(!goesOn);
    } else if (duration > SWIPE.WITHIN_S) {
      this.#path = [];
    } else if (this.#peak >= SWIPE.FAST && this.#moved >= SWIPE.FAR && this.#isStraight()) {
      this.#name = this.#direction();
      if (this.#name !== null && !this.#isReturn(time)) yield* this.begin(this.#path[0]!.at);
      else this.reset();
    }
  }

  protected reset(): void {
    [this.#name, this.#path, this.#still] = [null, [], null];
  }

  get #moved(): number {
    return distance(this.#path[0]!.at, this.#path.at(-1)!.at);
  }

  #isStraight(): boolean {
    const [start, end] = [this.#path[0]!.at, this.#path.at(-1)!.at];
    const along = way(start, end);
    const aside = this.#path.map(({ at }) => Math.abs(turn(along, way(start, at))) / this.#moved);
    return Math.max(...aside) <= SWIPE.BENT * this.#moved;
  }

  #direction(): string | null {
    const [x, y] = way(this.#path[0]!.at, this.#path.at(-1)!.at);
    const quarters = Math.atan2(y, x) / QUARTER;
    const nearest = Math.round(quarters);
    return Math.abs(quarters - nearest) * QUARTER <= SWIPE.ASIDE_RAD
      ? MOTIONS.swipes[(nearest + 4) % 4]!
      : null;
  }

  /** Check whether the hand only returns to the start of a swipe. */
  #isReturn(time: number): boolean {
    if (this.#last === null || time - this.#last.time > SWIPE.RETURN_S) return false;
    return (
      Math.abs(MOTIONS.swipes.indexOf(this.#name!) - MOTIONS.swipes.indexOf(this.#last.name)) === 2
    );
  }

  protected state() {
    return { name: this.#name!, strength: Math.min(1, this.#peak / SWIPE.STRONGEST) };
  }
}

/** Reversal of a waving hand. */
interface Turn extends Place {
  readonly spread: number; // range of y on the way to this point
  readonly isUp: boolean;
}

/** Movement of the fingertips of a raised open hand to and fro. */
export class Waves extends Motion {
  #sign = 0;
  #extreme: Place | null = null;
  #low = 0;
  #high = 0;
  #isUp = true;
  #turns: Turn[] = [];
  #swings = 0;

  *follow(now: HandState): Steps {
    const { time, tips } = now;
    if (this.#extreme === null) {
      this.#extreme = { time, at: tips };
      this.#low = this.#high = tips[1];
    }
    [this.#low, this.#high] = [Math.min(this.#low, tips[1]), Math.max(this.#high, tips[1])];
    this.#isUp &&= now.isUp;
    const ahead = tips[0] - this.#extreme.at[0];
    if (this.#sign === 0) {
      this.#sign = Math.abs(ahead) < WAVE.BACK ? 0 : ahead > 0 ? 1 : -1;
    } else if (ahead * this.#sign >= WAVE.FURTHER) {
      this.#extreme = { time, at: tips };
    } else if (ahead * this.#sign <= -WAVE.BACK) {
      this.#turn(now, this.#extreme);
      if (this.isActive) {
        this.#swings += 1;
      } else if (this.#isWave()) {
        this.#swings = WAVE.TURNS;
        yield* this.begin(now.palm);
        return;
      }
    }
    if (this.isActive)
      yield* this.proceed(time - this.#extreme.time > WAVE.STILL_S || !this.#isWave());
  }

  protected reset(): void {
    [this.#sign, this.#extreme, this.#isUp] = [0, null, true];
    [this.#turns, this.#swings] = [[], 0];
  }

  #turn({ time, tips, isUp }: HandState, extreme: Place): void {
    this.#turns.push({ ...extreme, spread: this.#high - this.#low, isUp: this.#isUp });
    this.#turns = this.#turns.slice(-WAVE.TURNS);
    [this.#sign, this.#extreme] = [-this.#sign, { time, at: tips }];
    this.#low = this.#high = tips[1];
    this.#isUp = isUp;
  }

  #isWave(): boolean {
    if (this.#turns.length < WAVE.TURNS) return false;
    return this.#turns.slice(1).every((turned, k) => {
      const before = this.#turns[k]!;
      const width = Math.abs(turned.at[0] - before.at[0]);
      const isSwing =
        WAVE.LEAST <= width && width <= WAVE.MOST && turned.time - before.time <= WAVE.WITHIN_S;
      return isSwing && turned.spread <= WAVE.FLAT * width && turned.isUp;
    });
  }

  protected state() {
    const [before, last] = this.#turns.slice(-2) as [Turn, Turn];
    return {
      name: "Wave",
      strength: Math.min(1, Math.abs(last.at[0] - before.at[0])),
      rounds: this.#swings,
    };
  }
}

/** Circular movement of the tip of the index finger. */
export class Circles extends Motion {
  #path: Place[] = [];
  #middle: Point = [0, 0];
  #radius = 0;
  #turned = 0;

  *follow({ time, tip, palm, indexReach }: HandState): Steps {
    if (indexReach < CIRCLE.INDEX) {
      yield* this.stop("end");
      return;
    }
    while (this.#path.length && time - this.#path[0]!.time > CIRCLE.WITHIN_S) this.#path.shift();
    const isNew = !this.#path.length || distance(this.#path.at(-1)!.at, tip) >= CIRCLE.STEP;
    if (isNew) this.#path.push({ time, at: tip });
    if (!this.isActive) {
      if (isNew && this.#find()) yield* this.begin(palm);
      return;
    }
    if (isNew && this.#path.length > 2) {
      this.#turned += turnedAt(this.#path.slice(-3));
      this.#find({ renew: true });
    }
    const off = distance(this.#middle, tip) / this.#radius;
    const isStill = !this.#path.length || time - this.#path.at(-1)!.time > CIRCLE.STILL_S;
    const [minimum, maximum] = CIRCLE.RING as [number, number];
    yield* this.proceed(isStill || !(minimum <= off && off <= maximum));
  }

  protected reset(): void {
    this.#path = [];
  }

  /** Fit a circle to the last turn of the path. Return whether it is round. */
  #find({ renew = false } = {}): boolean {
    let turned = 0;
    for (let first = this.#path.length - 3; first >= 0; first--) {
      turned += turnedAt(this.#path.slice(first, first + 3));
      if (Math.abs(turned) < CIRCLE.TURN_RAD) continue;
      const last = this.#path.slice(first + 1).map(({ at }) => at);
      const middle = middleOf(last);
      const around = last.map((at) => way(middle, at));
      const radii = around.map(([x, y]) => Math.hypot(x, y));
      const radius = mean(radii);
      const deviation = Math.sqrt(mean(radii.map((value) => (value - radius) ** 2)));
      const squares = around.map(([x, y]): Point => [x * x - y * y, 2 * x * y]);
      // 0 for a circle, 1 for a line
      const long = Math.hypot(...middleOf(squares)) / mean(radii.map((value) => value * value));
      const isRound =
        radius >= CIRCLE.RADIUS && deviation <= CIRCLE.ROUND * radius && long <= CIRCLE.LONG;
      if (isRound) {
        [this.#middle, this.#radius] = [middle, radius];
        if (!renew) this.#turned = turned;
      }
      return isRound;
    }
    return false;
  }

  protected state() {
    const name = MOTIONS.circles[this.#turned > 0 ? 0 : 1]!; // y is down: x to y is clockwise
    return {
      name,
      strength: Math.min(1, this.#radius),
      rounds: Math.abs(this.#turned) / (2 * Math.PI),
    };
  }
}

/** Return the area of the parallelogram between two vectors, clockwise positive. */
const turn = ([x, y]: Point, [u, v]: Point): number => x * v - y * u;

/** Return the angle between the directions to and from the middle one of three positions. */
function turnedAt(places: readonly Place[]): number {
  const [a, b, c] = places.map(({ at }) => at) as [Point, Point, Point];
  const [to, from] = [way(a, b), way(b, c)];
  return Math.atan2(turn(to, from), to[0] * from[0] + to[1] * from[1]);
}
