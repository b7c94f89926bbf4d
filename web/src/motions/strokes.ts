/** Motions along a path in the image: swipes, waves and circles. */

import { MOTIONS } from "../data.js";
import type { Point } from "../observations.js";
import { distance, mean, middleOf, way, type Phase, type Seen, type Step, type Steps, type Watch } from "./events.js";

interface Place {
  readonly time: number;
  readonly at: Point;
}

const { Swipes: SWIPE, Waves: WAVE, Circles: CIRCLE } = MOTIONS;
const QUARTER = Math.PI / 2;

/** A quick straight movement of the palm out of rest. */
export class Swipes implements Watch {
  #still: number | null = null;
  /** Since the last rest. */
  #way: Place[] = [];
  #peak = 0;
  #name: string | null = null;
  #last: { readonly time: number; readonly name: string } | null = null;

  *follow(now: Seen): Steps {
    const { time, palm, speed } = now;
    if (this.#name !== null) {
      yield* this.#goOn(now);
      return;
    }
    if (speed < SWIPE.SLOW) {
      this.#still ??= time;
      this.#way = time - this.#still >= SWIPE.REST_S ? [{ time, at: palm }] : [];
      this.#peak = 0;
      return;
    }
    this.#still = null;
    if (!this.#way.length) return;
    this.#way.push({ time, at: palm });
    this.#peak = Math.max(this.#peak, speed);
    if (time - this.#way[0]!.time > SWIPE.WITHIN_S) {
      this.#way = [];
    } else if (this.#peak >= SWIPE.FAST && this.#moved >= SWIPE.FAR && this.#isStraight()) {
      this.#name = this.#direction();
      if (this.#name !== null && !this.#isReturn(time)) yield this.#step("begin");
      else [this.#name, this.#way] = [null, []];
    }
  }

  *stop(): Steps {
    if (this.#name !== null) yield this.#step("cancel");
    [this.#name, this.#way, this.#still] = [null, [], null];
  }

  *#goOn({ time, palm, speed }: Seen): Steps {
    const before = this.#moved;
    this.#way.push({ time, at: palm });
    this.#peak = Math.max(this.#peak, speed);
    if (speed > SWIPE.ENDS * this.#peak && this.#moved >= before) {
      if (this.#isStraight() && time - this.#way[0]!.time <= SWIPE.LASTS_S) yield this.#step("progress");
      else yield* this.stop();
      return;
    }
    yield this.#step("end");
    this.#last = { time, name: this.#name! };
    [this.#name, this.#way] = [null, []];
  }

  get #moved(): number {
    return distance(this.#way[0]!.at, this.#way.at(-1)!.at);
  }

  #isStraight(): boolean {
    const [start, end] = [this.#way[0]!.at, this.#way.at(-1)!.at];
    const along = way(start, end);
    const aside = this.#way.map(({ at }) => Math.abs(turn(along, way(start, at))) / this.#moved);
    return Math.max(...aside) <= SWIPE.BENT * this.#moved;
  }

  #direction(): string | null {
    const [x, y] = way(this.#way[0]!.at, this.#way.at(-1)!.at);
    const quarters = Math.atan2(y, x) / QUARTER;
    const nearest = Math.round(quarters);
    return Math.abs(quarters - nearest) * QUARTER <= SWIPE.ASIDE_RAD ? MOTIONS.swipes[(nearest + 4) % 4]! : null;
  }

  /** Whether the hand only goes back to where a swipe came from. */
  #isReturn(time: number): boolean {
    if (this.#last === null || time - this.#last.time > SWIPE.RETURN_S) return false;
    return Math.abs(MOTIONS.swipes.indexOf(this.#name!) - MOTIONS.swipes.indexOf(this.#last.name)) === 2;
  }

  #step(phase: Phase): Step {
    return { name: this.#name!, phase, strength: Math.min(1, this.#peak / SWIPE.STRONGEST), start: this.#way[0]!.at };
  }
}

/** What is done again and again in one place. */
abstract class Rounds implements Watch {
  protected start: Point | null = null;

  abstract follow(now: Seen): Steps;
  protected abstract step(phase: Phase, start: Point): Step;
  protected abstract reset(): void;

  protected *goOn(isOver: boolean): Steps {
    if (isOver) yield* this.stop("end");
    else yield this.step("progress", this.start!);
  }

  *stop(phase: Phase = "cancel"): Steps {
    if (this.start !== null) yield this.step(phase, this.start);
    this.reset();
  }
}

/** Where the hand of a wave turned back. */
interface Turn extends Place {
  /** Of y on the way there. */
  readonly spread: number;
  readonly isUp: boolean;
}

/** The fingertips of a raised open hand to and fro. */
export class Waves extends Rounds {
  #sign = 0;
  #extreme: Place | null = null;
  #low = 0;
  #high = 0;
  #isUp = true;
  #turns: Turn[] = [];
  #swings = 0;

  *follow(now: Seen): Steps {
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
      if (this.start !== null) {
        this.#swings += 1;
      } else if (this.#isWave()) {
        [this.start, this.#swings] = [now.palm, WAVE.TURNS];
        yield this.step("begin", this.start);
        return;
      }
    }
    if (this.start === null) return;
    yield* this.goOn(time - this.#extreme.time > WAVE.STILL_S || !this.#isWave());
  }

  protected reset(): void {
    [this.#sign, this.#extreme, this.#isUp] = [0, null, true];
    [this.#turns, this.start, this.#swings] = [[], null, 0];
  }

  #turn({ time, tips, isUp }: Seen, extreme: Place): void {
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
      const isSwing = WAVE.LEAST <= width && width <= WAVE.MOST && turned.time - before.time <= WAVE.WITHIN_S;
      return isSwing && turned.spread <= WAVE.FLAT * width && turned.isUp;
    });
  }

  protected step(phase: Phase, start: Point): Step {
    const [before, last] = this.#turns.slice(-2) as [Turn, Turn];
    return { name: "Wave", phase, strength: Math.min(1, Math.abs(last.at[0] - before.at[0])), start, rounds: this.#swings };
  }
}

/** The tip of the index finger, or the whole hand with it, round and round. */
export class Circles extends Rounds {
  #way: Place[] = [];
  #middle: Point = [0, 0];
  #radius = 0;
  #turned = 0;

  *follow({ time, tip, palm, indexReach }: Seen): Steps {
    if (indexReach < CIRCLE.INDEX) {
      yield* this.stop("end");
      return;
    }
    while (this.#way.length && time - this.#way[0]!.time > CIRCLE.WITHIN_S) this.#way.shift();
    const isNew = !this.#way.length || distance(this.#way.at(-1)!.at, tip) >= CIRCLE.STEP;
    if (isNew) this.#way.push({ time, at: tip });
    if (this.start === null) {
      if (isNew && this.#find()) {
        this.start = palm;
        yield this.step("begin", this.start);
      }
      return;
    }
    if (isNew && this.#way.length > 2) {
      this.#turned += turnedAt(this.#way.slice(-3));
      this.#find({ renew: true });
    }
    const off = distance(this.#middle, tip) / this.#radius;
    const isStill = !this.#way.length || time - this.#way.at(-1)!.time > CIRCLE.STILL_S;
    const [least, most] = CIRCLE.RING as [number, number];
    yield* this.goOn(isStill || !(least <= off && off <= most));
  }

  protected reset(): void {
    [this.#way, this.start] = [[], null];
  }

  /** Whether the last turn of the way is round; its middle and radius. */
  #find({ renew = false } = {}): boolean {
    let turned = 0;
    for (let first = this.#way.length - 3; first >= 0; first--) {
      turned += turnedAt(this.#way.slice(first, first + 3));
      if (Math.abs(turned) < CIRCLE.TURN_RAD) continue;
      const last = this.#way.slice(first + 1).map(({ at }) => at);
      const middle = middleOf(last);
      const around = last.map((at) => way(middle, at));
      const radii = around.map(([x, y]) => Math.hypot(x, y));
      const radius = mean(radii);
      const deviation = Math.sqrt(mean(radii.map((one) => (one - radius) ** 2)));
      const squares = around.map(([x, y]): Point => [x * x - y * y, 2 * x * y]);
      const long = Math.hypot(...middleOf(squares)) / mean(radii.map((one) => one * one)); // 0 for a circle, 1 for a line
      const isRound = radius >= CIRCLE.RADIUS && deviation <= CIRCLE.ROUND * radius && long <= CIRCLE.LONG;
      if (isRound) {
        [this.#middle, this.#radius] = [middle, radius];
        if (!renew) this.#turned = turned;
      }
      return isRound;
    }
    return false;
  }

  protected step(phase: Phase, start: Point): Step {
    const name = MOTIONS.circles[this.#turned > 0 ? 0 : 1]!; // y is down: x to y is clockwise
    return { name, phase, strength: Math.min(1, this.#radius), start, rounds: Math.abs(this.#turned) / (2 * Math.PI) };
  }
}

/** Of the parallelogram between two ways the area: clockwise positive. */
const turn = ([x, y]: Point, [u, v]: Point): number => x * v - y * u;

/** The angle between the ways to and from the middle one of three places. */
function turnedAt(places: readonly Place[]): number {
  const [a, b, c] = places.map(({ at }) => at) as [Point, Point, Point];
  const [to, from] = [way(a, b), way(b, c)];
  return Math.atan2(turn(to, from), to[0] * from[0] + to[1] * from[1]);
}
