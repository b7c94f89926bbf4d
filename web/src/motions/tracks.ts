/** Follow a hand, or a pair of hands, and find its motions. */

import { constants, MOTIONS } from "../data.js";
import type { Point } from "../observations.js";
import { distance, mean, middleOf, way, type Phase, type HandState, type Step, type Steps, type Watch } from "./events.js";
import { Holds, Pushes, Rotations } from "./holds.js";
import { Circles, Swipes, Waves } from "./strokes.js";

const { track: OF, HandPair: PAIR } = MOTIONS;
const FINGERS = MOTIONS.chains.slice(1);
const { WRIST, MIDDLE_MCP } = constants.hands;

/** Points (x, y, z) of a hand, in pixels or in metres. */
export type Points = readonly (readonly [number, number, number])[];

const lengthAlong = (points: Points, chain: readonly number[]): number =>
  chain.slice(1).reduce((sum, k, i) => sum + distanceIn(points, chain[i]!, k), 0);

const distanceIn = (points: Points, a: number, b: number): number =>
  Math.hypot(...points[a]!.map((value, axis) => value - points[b]![axis]!));

/** Return the length of a hand along the bones from the wrist to the tip of the middle finger. */
export const handLength = (points: Points): number => lengthAlong(points, MOTIONS.chains[2]!);

/** Path and motions of one hand. */
export class HandTrack {
  time = -Infinity;
  palm: Point = [0, 0];
  readonly pinch = new Holds("Pinch");
  readonly swipes = new Swipes();
  #length = 0;
  /** Palm, tip of the index finger and middle of the tips, in pixels and in hand lengths. */
  #pixels: readonly Point[] = [[0, 0], [0, 0], [0, 0]];
  #places: readonly Point[] = this.#pixels;
  #recent: { readonly time: number; readonly at: Point }[] = [];
  readonly #watches: readonly Watch[] = [
    this.swipes, new Waves(), new Circles(), this.pinch, new Holds("Drag"), new Rotations(this.pinch), new Pushes(),
  ];

  /** Return the distance of the palms in the image, in hand lengths. */
  distanceTo(other: HandTrack): number {
    return (2 * distance(this.#pixels[0]!, other.#pixels[0]!)) / (this.#length + other.#length);
  }

  /** Return the motion steps of the next frame. */
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
    const maxStep = OF.JUMP_PER_S * elapsed;
    if (elapsed > OF.GAP_S || (Math.hypot(...steps[0]!) > maxStep && maxStep > 0)) {
      yield* this.stop();
      steps = steps.map(() => [0, 0]);
      this.#recent = [];
    }
    this.#places = this.#places.map(([x, y], k) => [x + steps[k]![0], y + steps[k]![1]]);
    [this.#pixels, this.time] = [pixels, time];
    this.palm = this.#places[0]!;
    const reach = FINGERS.map((chain) => distanceIn(metres, chain[0]!, chain.at(-1)!) / lengthAlong(metres, chain));
    const least = Math.min(...reach);
    const up = (flat[WRIST]![1] - tips[1]) / this.#length;
    const [x, y] = way(flat[WRIST]!, flat[MIDDLE_MCP]!);
    const state: HandState = {
      time,
      palm: this.palm,
      speed: this.#speed(time, this.palm),
      tip: this.#places[1]!,
      tips: this.#places[2]!,
      isUp: up > OF.UP && least > OF.OUT,
      reach: [least, mean(reach), Math.max(...reach)],
      indexReach: reach[0]!,
      pinch: distanceIn(metres, MOTIONS.pinch[0]!, MOTIONS.pinch[1]!) / handLength(metres),
      size,
      angle: Math.atan2(y, x),
    };
    for (const watch of this.#watches) yield* watch.follow(state);
  }

  /** End all motions of a lost hand. */
  *stop(): Steps {
    for (const watch of this.#watches) yield* watch.stop();
  }

  #speed(time: number, at: Point): number {
    const recent = this.#recent;
    recent.push({ time, at });
    while (recent.length > 2 && time - recent[1]!.time >= OF.VELOCITY_S) recent.shift();
    const then = recent[0]!;
    return time > then.time ? distance(then.at, at) / (time - then.time) : 0;
  }
}

/** Motions of two hands: zooms of two pinches, and claps. */
export class HandPair {
  #zoom: { readonly start: Point; readonly gap: number } | null = null;
  #clap: Point | null = null;
  #recent: { readonly time: number; readonly gap: number; readonly speed: number }[] = [];
  #start: Point = [0, 0];
  #gap = 0;

  *follow(one: HandTrack, other: HandTrack): Steps {
    const gap = one.distanceTo(other);
    const time = one.time;
    this.#start = one.palm;
    if (one.pinch.isActive && other.pinch.isActive) {
      const isNew = this.#zoom === null;
      this.#zoom ??= { start: one.palm, gap: Math.max(gap, PAIR.LEAST_APART) };
      this.#gap = gap;
      yield this.#zoomStep(isNew ? "begin" : "progress", this.#zoom);
    } else if (this.#zoom !== null) {
      yield this.#zoomStep("end", this.#zoom);
      this.#zoom = null;
    }
    this.#gap = gap;
    const recent = this.#recent;
    while (recent.length && time - recent[0]!.time > PAIR.WITHIN_S) recent.shift();
    const then = recent.findLast((both) => time - both.time >= PAIR.BEFORE_S) ?? { time: -Infinity, gap: 0 };
    recent.push({ time, gap, speed: (then.gap - gap) / (time - then.time) });
    if (this.#clap !== null && gap > PAIR.PART) {
      yield this.#clapStep("end", this.#clap);
      this.#clap = null;
    } else if (this.#clap === null && gap <= PAIR.NEAR && this.#isFast()) {
      this.#clap = one.palm;
      yield this.#clapStep("begin", this.#clap);
    }
  }

  *stop(): Steps {
    if (this.#zoom !== null) yield this.#zoomStep("cancel", this.#zoom);
    if (this.#clap === null && this.#gap <= PAIR.HIDDEN && this.#isFast()) {
      this.#clap = this.#start;
      yield this.#clapStep("begin", this.#clap);
    }
    if (this.#clap !== null) yield this.#clapStep("end", this.#clap);
  }

  #isFast(): boolean {
    const closed = Math.max(...this.#recent.map((both) => both.gap)) - this.#gap;
    return closed >= PAIR.CLOSED && this.#speed() >= PAIR.FAST;
  }

  #speed(): number {
    return Math.max(...this.#recent.map(({ speed }) => speed));
  }

  #zoomStep(phase: Phase, { start, gap }: { readonly start: Point; readonly gap: number }): Step {
    return { name: "Zoom", phase, strength: 1, start, rounds: this.#gap / gap };
  }

  #clapStep(phase: Phase, start: Point): Step {
    return { name: "Clap", phase, strength: Math.min(1, this.#speed() / PAIR.STRONGEST), start };
  }
}
