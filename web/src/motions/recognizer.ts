/** Follow a hand, or a pair of hands, and find its motions. */

import { constants, MOTIONS } from "../data.js";
import type { NumpyArray } from "../files.js";
import { distance, mean, type Point } from "../observations.js";
import type { MotionEvent, Phase } from "../results.js";
import {
  Circles,
  Holds,
  middleOf,
  Pushes,
  Rotations,
  Swipes,
  Waves,
  way,
  type HandState,
  type Motion,
  type Step,
  type Steps,
} from "./strokes.js";

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
const handLength = (points: Points): number => lengthAlong(points, MOTIONS.chains[2]!);

/** Path and motions of one hand. */
class HandTrack {
  time = -Infinity;
  palm: Point = [0, 0];
  readonly pinch = new Holds("Pinch");
  readonly swipes = new Swipes();
  #length = 0;
  /** Palm, tip of the index finger and middle of the tips, in pixels and in hand lengths. */
  #pixels: readonly Point[] = [
    [0, 0],
    [0, 0],
    [0, 0],
  ];
  #places: readonly Point[] = this.#pixels;
  #recent: { readonly time: number; readonly at: Point }[] = [];
  readonly #watches: readonly Motion[] = [
    this.swipes,
    new Waves(),
    new Circles(),
    this.pinch,
    new Holds("Drag"),
    new Rotations(this.pinch),
    new Pushes(),
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
    const reach = FINGERS.map(
      (chain) => distanceIn(metres, chain[0]!, chain.at(-1)!) / lengthAlong(metres, chain),
    );
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
class HandPair {
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
    const then = recent.findLast((both) => time - both.time >= PAIR.BEFORE_S) ?? {
      time: -Infinity,
      gap: 0,
    };
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

const CUSTOM = MOTIONS.custom;
const WIDTH = CUSTOM.STEP_FEATURES;
const HALF = WIDTH / 2;

/** One example of a custom motion of a gesture file. */
export interface Example {
  readonly name: string;
  readonly steps: readonly number[]; // (T, 24), row by row
  readonly reach: number; // mean step cost of the motion at which a path is as likely no motion
}

/** Return the examples of custom motions of a gesture file, which may have none. */
export function motionsOf(arrays: ReadonlyMap<string, NumpyArray>): Example[] {
  const [names, steps, lengths, motion, reaches] = [
    "names",
    "steps",
    "lengths",
    "of",
    "reaches",
  ].map((name) => arrays.get(`motion_${name}`)?.values ?? []) as [
    string[],
    number[],
    number[],
    number[],
    number[],
  ];
  let end = 0;
  const examples = lengths.map((length, k) => ({
    name: names[motion[k]!]!,
    reach: reaches[motion[k]!]!,
    steps: steps.slice(end, (end += WIDTH * length)),
  }));
  const isComplete =
    end === steps.length &&
    lengths.every((length) => length > 0) &&
    motion.length === lengths.length;
  const isNamed =
    reaches.length === names.length &&
    examples.every(({ name }) => name !== undefined) &&
    reaches.every((reach) => reach > 0);
  if (!isComplete || !isNamed)
    throw new Error("its motions do not fit each other; train again from the recordings");
  return examples;
}

/** Lowest cost of a path to a step of an example, and its number of steps. */
type PathCost = { readonly cost: number; readonly count: number };

const START: PathCost = { cost: 0, count: 0 };
const NOWHERE: PathCost = { cost: Infinity, count: 0 };

/** A custom motion that was found. */
type Match = { readonly name: string; readonly score: number };

/**
 * Searches for the custom motions of one hand. Its path is cut into steps and warped in time
 * against the examples, which may begin at any step.
 */
class CustomSearch {
  time = -Infinity; // at which the hand was last detected, in seconds
  readonly #mirror: number;
  #length = 0;
  #smooth: readonly Point[] = []; // palm centre and fingertips
  #last: readonly Point[] | null = null; // those at the last step
  #lastTime = 0;
  #costs: PathCost[][] = [];
  #best: {
    readonly name: string;
    readonly score: number;
    readonly share: number;
    readonly end: number;
  } | null = null;

  constructor(
    private readonly examples: readonly Example[],
    isLeft: boolean,
  ) {
    this.#mirror = isLeft ? -1 : 1;
    this.#reset();
  }

  /** Forget all steps. */
  #reset(): void {
    this.#costs = this.examples.map(({ steps }) =>
      new Array<PathCost>(steps.length / WIDTH).fill(NOWHERE),
    );
  }

  /** Match the steps that end with this frame, none while the hand rests or a fingertip is unknown. */
  follow(points: Points, time: number): void {
    const [length, elapsed] = [handLength(points), time - this.time];
    const at = points.map(([x, y]): Point => [this.#mirror * x, y]);
    const flat = [middleOf(CUSTOM.PALM.map((k) => at[k]!)), ...CUSTOM.TIPS.map((k) => at[k]!)];
    if (!(length > 0) || !(elapsed > 0) || !flat.flat().every(Number.isFinite)) return;
    this.time = time;
    if (this.#last === null || elapsed > CUSTOM.GAP_S) {
      [this.#length, this.#smooth, this.#last, this.#lastTime] = [length, flat, flat, time];
      this.#reset();
      return;
    }
    this.#length += (length - this.#length) * -Math.expm1(-elapsed / CUSTOM.LENGTH_S);
    const keep = -Math.expm1(-elapsed / CUSTOM.SMOOTH_S);
    this.#smooth = this.#smooth.map(([x, y], k) => [
      x + (flat[k]![0] - x) * keep,
      y + (flat[k]![1] - y) * keep,
    ]);
    const ways = this.#smooth
      .flatMap((to, k) => way(this.#last![k]!, to))
      .map((value) => value / this.#length);
    const far = Math.hypot(...ways) / Math.sqrt(CUSTOM.POINTS);
    const count = Math.min(Math.floor(far / CUSTOM.STEP), CUSTOM.MOST_STEPS);
    if (count === 0) return;
    const around = this.#smooth
      .flatMap((to) => way(this.#smooth[0]!, to))
      .map((value) => value / this.#length);
    // movements, then positions
    const step = Float32Array.from([...ways.map((value) => value / far), ...around]);
    const begin = Math.max(this.#lastTime, time - elapsed); // before that the hand rested
    for (let n = 1; n <= count; n++) this.#match(step, begin + (n * (time - begin)) / count);
    [this.#last, this.#lastTime] = [this.#smooth, time];
  }

  /** Match a step, and keep the example that ends with it if it is the best one so far. */
  #match(step: Float32Array, end: number): void {
    let [share, best] = [Infinity, ""];
    for (const [k, example] of this.examples.entries()) {
      const own = this.#costOf(example.steps, k, step) / example.reach;
      if (own < share) [share, best] = [own, example.name];
    }
    const lowest = this.#best?.share ?? 1;
    if (share < Math.min(1, lowest + CUSTOM.AS_WELL))
      this.#best = { name: best, score: 1 - share / 2, share: Math.min(share, lowest), end };
  }

  /** Return the mean step cost of an example that ends with this step. */
  #costOf(steps: readonly number[], example: number, step: Float32Array): number {
    const before = this.#costs[example]!;
    // a path reaches a step of an example from the same step, from the previous one, or from the one
    // before that at twice the cost
    const now = before.map((stay, n) => {
      const cost = stepCost(steps, n * WIDTH, step);
      const come = n > 0 ? before[n - 1]! : START;
      const leap = n > 1 ? before[n - 2]! : NOWHERE;
      let best = { cost: come.cost + cost, count: come.count + 1 };
      if (stay.cost + cost < best.cost) best = { cost: stay.cost + cost, count: stay.count + 1 };
      if (leap.cost + 2 * cost < best.cost)
        best = { cost: leap.cost + 2 * cost, count: leap.count + 2 };
      return best;
    });
    this.#costs[example] = now;
    const { cost, count } = now.at(-1)!;
    return cost / Math.max(count, 1);
  }

  /** Return the name and score of the best match once it has not improved for a while. */
  classify(time: number): Match | null {
    const found = this.#best;
    if (found === null || time - found.end < CUSTOM.SETTLE_S) return null;
    this.#best = null;
    this.#reset(); // the next motion begins after this one
    return found;
  }
}

/** Return the cost of matching a step with the step of an example at an index. */
function stepCost(steps: readonly number[], start: number, step: Float32Array): number {
  let [same, apart] = [0, 0];
  for (let i = 0; i < HALF; i++) {
    same += steps[start + i]! * step[i]!;
    apart += (steps[start + HALF + i]! - step[HALF + i]!) ** 2;
  }
  return (1 - same / CUSTOM.POINTS) / 2 + CUSTOM.SHAPE_WEIGHT * Math.sqrt(apart / CUSTOM.POINTS);
}

/** A tracked hand with its keypoints in pixels and in metres. */
export type Tracked = {
  readonly id: number;
  readonly handedness: "Left" | "Right";
  /** The keypoints show the mirror image of the hand. */
  readonly mirrored?: boolean;
  readonly points: Points;
  readonly metres: Points;
};

/** A hand and its track. The two hands of a person share an id. */
interface KnownHand extends Pick<Tracked, "id" | "handedness"> {
  readonly track: HandTrack;
}

/** Recognizes the motions of hands, frame by frame. */
export class MotionRecognizer {
  readonly #hands = new Map<string, KnownHand>();
  readonly #watches = new Map<
    string,
    Pick<Tracked, "id" | "handedness"> & { readonly watch: CustomSearch }
  >();
  #pair: { readonly first: KnownHand; readonly second: KnownHand; readonly both: HandPair } | null =
    null;

  /** @param custom examples of additional motions to report; each is one event, its end */
  constructor(private readonly custom: readonly Example[]) {}

  /** Forget all hands before another stream. */
  reset(): void {
    this.#hands.clear();
    this.#watches.clear();
    this.#pair = null;
  }

  /** Return the events of one frame; `time`: seconds, which never decrease. */
  update(hands: readonly Tracked[], time: number): MotionEvent[] {
    const events: MotionEvent[] = [];
    for (const hand of hands) {
      if (![...hand.points, ...hand.metres].flat().every(Number.isFinite)) continue;
      const known = getOrCreate(this.#hands, hand, () => ({
        ...idOf(hand),
        track: new HandTrack(),
      }));
      for (const step of known.track.follow(hand.points, hand.metres, time))
        events.push(eventOf(known, step, time));
    }
    events.push(...this.#pairEvents(time));
    for (const [key, known] of this.#hands) {
      if (time - known.track.time <= MOTIONS.forget_s) continue;
      this.#hands.delete(key);
      for (const step of known.track.stop()) events.push(eventOf(known, step, time));
    }
    if (this.custom.length) events.push(...this.#customEvents(hands, time));
    return events;
  }

  /** End all hands at the end of a stream and return the events. `time`: that of the last frame. */
  finish(time: number): MotionEvent[] {
    const events: MotionEvent[] = [];
    for (const known of this.#hands.values())
      for (const step of known.track.stop()) events.push(eventOf(known, step, time));
    for (const step of this.#pair?.both.stop() ?? [])
      events.push(eventOf(this.#pair!.first, step, time));
    for (const entry of this.#watches.values()) {
      const match = entry.watch.classify(Infinity);
      if (match !== null) events.push(customEvent(entry, match, time));
    }
    this.reset();
    return events;
  }

  /** Yield the events of a pair of hands, if there are two. */
  *#pairEvents(time: number): Generator<MotionEvent, void, undefined> {
    const now = [...this.#hands.values()]
      .filter(({ track }) => track.time === time)
      .sort(compareHands);
    const pair = this.#pair;
    if (pair !== null && !(now.length === 2 && now[0] === pair.first && now[1] === pair.second)) {
      for (const step of pair.both.stop()) yield eventOf(pair.first, step, time);
      this.#pair = null;
    }
    if (now.length !== 2) return;
    const [first, second] = now as [KnownHand, KnownHand];
    this.#pair ??= { first, second, both: new HandPair() };
    for (const step of this.#pair.both.follow(first.track, second.track)) {
      if (step.name === "Clap" && step.phase === "begin") {
        for (const hand of [first, second]) {
          // their quick movement was a clap, not a swipe
          for (const swipe of hand.track.swipes.stop()) yield eventOf(hand, swipe, time);
        }
      }
      yield eventOf(first, step, time);
    }
  }

  /** Yield the custom motions that ended shortly before this frame. */
  *#customEvents(hands: readonly Tracked[], time: number): Generator<MotionEvent, void, undefined> {
    for (const hand of hands) {
      const isLeft = (hand.handedness === "Left") !== (hand.mirrored ?? false);
      getOrCreate(this.#watches, hand, () => ({
        ...idOf(hand),
        watch: new CustomSearch(this.custom, isLeft),
      })).watch.follow(hand.points, time);
    }
    for (const [key, entry] of this.#watches) {
      const match = entry.watch.classify(time);
      if (match !== null) yield customEvent(entry, match, time);
      if (time - entry.watch.time > MOTIONS.forget_s) this.#watches.delete(key);
    }
  }
}

const customEvent = (
  { id, handedness }: Pick<Tracked, "id" | "handedness">,
  { name, score }: Match,
  time: number,
): MotionEvent => ({
  name,
  phase: "end",
  id,
  handedness,
  time,
  strength: score,
  moved: [0, 0],
  count: 0,
});

const idOf = ({ id, handedness }: Tracked) => ({ id, handedness });

/** Return the entry of a hand; create it for a new hand. */
function getOrCreate<T>(entries: Map<string, T>, hand: Tracked, make: () => T): T {
  const key = `${hand.id} ${hand.handedness}`;
  const entry = entries.get(key) ?? make();
  entries.set(key, entry);
  return entry;
}

/** Sort by id, the left hand of a person first. */
const compareHands = (a: KnownHand, b: KnownHand) =>
  a.id - b.id || (a.handedness < b.handedness ? -1 : 1);

function eventOf(
  { id, handedness, track }: KnownHand,
  { name, phase, strength, start, rounds = 0 }: Step,
  time: number,
): MotionEvent {
  return {
    name,
    phase,
    id,
    handedness,
    time,
    strength,
    moved: way(start, track.palm),
    count: rounds,
  };
}
