/** A hand over time, with what watches its motions, and two hands. */

import { constants, MOTIONS } from "../data.js";
import type { Point } from "../observations.js";
import { distance, mean, middleOf, way, type Phase, type Seen, type Step, type Steps, type Watch } from "./events.js";
import { Holds, Pushes, Rotations } from "./holds.js";
import { Circles, Swipes, Waves } from "./strokes.js";

const { track: OF, HandPair: PAIR } = MOTIONS;
const FINGERS = MOTIONS.chains.slice(1);
const { WRIST, MIDDLE_MCP } = constants.hands;

/** Points (x, y, z) of a hand: those of the image in pixels, and in metres. */
export type Points = readonly (readonly [number, number, number])[];

const lengthAlong = (points: Points, chain: readonly number[]): number =>
  chain.slice(1).reduce((sum, k, i) => sum + apart(points, chain[i]!, k), 0);

const apart = (points: Points, a: number, b: number): number =>
  Math.hypot(...points[a]!.map((value, axis) => value - points[b]![axis]!));

/** Along the bones from the wrist to the tip of the middle finger. */
export const handLength = (points: Points): number => lengthAlong(points, MOTIONS.chains[2]!);

/** One hand over time. */
export class HandTrack {
  time = -Infinity;
  palm: Point = [0, 0];
  readonly pinch = new Holds("Pinch");
  readonly swipes = new Swipes();
  #length = 0;
  /** In pixels, and in hand lengths: palm, index finger's tip, middle of the tips. */
  #pixels: readonly Point[] = [[0, 0], [0, 0], [0, 0]];
  #places: readonly Point[] = this.#pixels;
  #lately: { readonly time: number; readonly at: Point }[] = [];
  readonly #watches: readonly Watch[] = [
    this.swipes, new Waves(), new Circles(), this.pinch, new Holds("Drag"), new Rotations(this.pinch), new Pushes(),
  ];

  /** From palm to palm in the image, in hand lengths. */
  apart(other: HandTrack): number {
    return (2 * distance(this.#pixels[0]!, other.#pixels[0]!)) / (this.#length + other.#length);
  }

  /** The steps of motions in the next frame. */
  *follow(points: Points, metres: Points, time: number): Steps {
    const flat = points.map(([x, y]): Point => [x, y]);
    const tips = middleOf(OF.TIPS.map((k) => flat[k]!));
    const pixels = [middleOf(OF.PALM.map((k) => flat[k]!)), flat[OF.TIPS[0]!]!, tips];
    const [size, elapsed] = [handLength(points), time - this.time];
    if (!(size > 0)) return;
    this.#length += (size - this.#length) * -Math.expm1(-elapsed / OF.LENGTH_S);
    let steps = pixels.map((to, k): Point => {
      const [x, y] = way(this.#pixels[k]!, to);
      return [x / this.#length, y / this.#length];
    });
    const most = OF.JUMP_PER_S * elapsed;
    if (elapsed > OF.GAP_S || (Math.hypot(...steps[0]!) > most && most > 0)) {
      yield* this.stop();
      steps = steps.map(() => [0, 0]);
      this.#lately = [];
    }
    this.#places = this.#places.map(([x, y], k) => [x + steps[k]![0], y + steps[k]![1]]);
    [this.#pixels, this.time] = [pixels, time];
    this.palm = this.#places[0]!;
    const reach = FINGERS.map((chain) => apart(metres, chain[0]!, chain.at(-1)!) / lengthAlong(metres, chain));
    const least = Math.min(...reach);
    const up = (flat[WRIST]![1] - tips[1]) / this.#length;
    const [x, y] = way(flat[WRIST]!, flat[MIDDLE_MCP]!);
    const seen: Seen = {
      time,
      palm: this.palm,
      speed: this.#speed(time, this.palm),
      tip: this.#places[1]!,
      tips: this.#places[2]!,
      isUp: up > OF.UP && least > OF.OUT,
      reach: [least, mean(reach), Math.max(...reach)],
      indexReach: reach[0]!,
      pinch: apart(metres, MOTIONS.pinch[0]!, MOTIONS.pinch[1]!) / handLength(metres),
      size,
      angle: Math.atan2(y, x),
    };
    for (const watch of this.#watches) yield* watch.follow(seen);
  }

  /** The hand was lost. */
  *stop(): Steps {
    for (const watch of this.#watches) yield* watch.stop();
  }

  #speed(time: number, at: Point): number {
    const lately = this.#lately;
    lately.push({ time, at });
    while (lately.length > 2 && time - lately[1]!.time >= OF.VELOCITY_S) lately.shift();
    const then = lately[0]!;
    return time > then.time ? distance(then.at, at) / (time - then.time) : 0;
  }
}

/** Two hands: pinches that are moved apart or together, and claps. */
export class HandPair {
  #zoom: { readonly start: Point; readonly apart: number } | null = null;
  #clap: Point | null = null;
  #lately: { readonly time: number; readonly apart: number; readonly speed: number }[] = [];
  #start: Point = [0, 0];
  #apart = 0;

  *follow(one: HandTrack, other: HandTrack): Steps {
    const gap = one.apart(other);
    const time = one.time;
    this.#start = one.palm;
    if (one.pinch.isHeld && other.pinch.isHeld) {
      const isNew = this.#zoom === null;
      this.#zoom ??= { start: one.palm, apart: Math.max(gap, PAIR.LEAST_APART) };
      this.#apart = gap;
      yield this.#zoomed(isNew ? "begin" : "progress", this.#zoom);
    } else if (this.#zoom !== null) {
      yield this.#zoomed("end", this.#zoom);
      this.#zoom = null;
    }
    this.#apart = gap;
    const lately = this.#lately;
    while (lately.length && time - lately[0]!.time > PAIR.WITHIN_S) lately.shift();
    const then = lately.findLast((both) => time - both.time >= PAIR.BEFORE_S) ?? { time: -Infinity, apart: 0 };
    lately.push({ time, apart: gap, speed: (then.apart - gap) / (time - then.time) });
    if (this.#clap !== null && gap > PAIR.PART) {
      yield this.#clapped("end", this.#clap);
      this.#clap = null;
    } else if (this.#clap === null && gap <= PAIR.NEAR && this.#isFast()) {
      this.#clap = one.palm;
      yield this.#clapped("begin", this.#clap);
    }
  }

  *stop(): Steps {
    if (this.#zoom !== null) yield this.#zoomed("cancel", this.#zoom);
    if (this.#clap === null && this.#apart <= PAIR.HIDDEN && this.#isFast()) {
      this.#clap = this.#start;
      yield this.#clapped("begin", this.#clap);
    }
    if (this.#clap !== null) yield this.#clapped("end", this.#clap);
  }

  #isFast(): boolean {
    const closed = Math.max(...this.#lately.map((both) => both.apart)) - this.#apart;
    return closed >= PAIR.CLOSED && this.#speed() >= PAIR.FAST;
  }

  #speed(): number {
    return Math.max(...this.#lately.map(({ speed }) => speed));
  }

  #zoomed(phase: Phase, { start, apart }: { readonly start: Point; readonly apart: number }): Step {
    return { name: "Zoom", phase, strength: 1, start, rounds: this.#apart / apart };
  }

  #clapped(phase: Phase, start: Point): Step {
    return { name: "Clap", phase, strength: Math.min(1, this.#speed() / PAIR.STRONGEST), start };
  }
}
