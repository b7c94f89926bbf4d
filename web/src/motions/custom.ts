/** Custom motions, learned from a few examples by Python and matched as there, by dynamic time warping. */

import { MOTIONS } from "../data.js";
import type { NumpyArray } from "../npz.js";
import type { Point } from "../observations.js";
import { middleOf, way } from "./events.js";
import { handLength, type Points } from "./tracks.js";

const OF = MOTIONS.custom;
const WIDTH = OF.STEP_FEATURES;
const HALF = WIDTH / 2;

/** What files of gestures hold of motions. */
export interface CustomMotions {
  readonly names: readonly string[];
  /** Steps of each example, row by row. */
  readonly ways: readonly (readonly number[])[];
  /** The index of each example's name. */
  readonly motion: readonly number[];
  /** Mean cost of a step, at which a way is as likely none; by name. */
  readonly reaches: readonly number[];
}

/** The motions of a file of gestures; none where it has none. */
export function motionsOf(arrays: ReadonlyMap<string, NumpyArray>): CustomMotions {
  const [names, steps, lengths, motion, reaches] = ["names", "steps", "lengths", "of", "reaches"].map(
    (name) => arrays.get(`motion_${name}`)?.values ?? [],
  ) as [string[], number[], number[], number[], number[]];
  let end = 0;
  const ways = lengths.map((length) => steps.slice(end, (end += WIDTH * length)));
  const isWhole = end === steps.length && lengths.every((length) => length > 0) && motion.length === ways.length;
  const isNamed = reaches.length === names.length && motion.every((k) => names[k] !== undefined) && reaches.every((one) => one > 0);
  if (!isWhole || !isNamed) throw new Error("its motions do not fit each other; train again from the recordings");
  return { names, ways, motion, reaches };
}

/** The motions of several files as of one. */
export function joinMotions(all: readonly CustomMotions[]): CustomMotions {
  let before = 0;
  return {
    names: all.flatMap(({ names }) => names),
    ways: all.flatMap(({ ways }) => ways),
    motion: all.flatMap(({ names, motion }) => {
      before += names.length;
      return motion.map((k) => before - names.length + k);
    }),
    reaches: all.flatMap(({ reaches }) => reaches),
  };
}

/** A custom motion that a hand has made. */
export interface Match {
  readonly name: string;
  readonly score: number;
}

/** The custom motions of one hand. */
export class CustomWatch {
  readonly #motions: CustomMotions;
  readonly #path: Path;
  readonly #warping: Warping;
  #best: (Match & { readonly share: number; readonly end: number }) | null = null;

  constructor(motions: CustomMotions, isLeft: boolean) {
    this.#motions = motions;
    this.#path = new Path(isLeft);
    this.#warping = new Warping(motions.ways);
  }

  /** When the hand was seen last, in seconds. */
  get time(): number {
    return this.#path.time;
  }

  follow(points: Points, time: number): void {
    const steps = this.#path.follow(points, time);
    if (this.#path.wasLost) this.#warping.reset();
    for (const { features, end } of steps) {
      let [share, best] = [Infinity, 0];
      this.#warping.follow(features).forEach((cost, k) => {
        const own = cost / this.#motions.reaches[this.#motions.motion[k]!]!;
        if (own < share) [share, best] = [own, k];
      });
      const least = this.#best?.share ?? 1;
      if (share >= Math.min(1, least + OF.AS_WELL)) continue;
      const name = this.#motions.names[this.#motions.motion[best]!]!;
      this.#best = { name, score: 1 - share / 2, share: Math.min(share, least), end };
    }
  }

  /** The best match, once it has lain still for a while. */
  tell(time: number): Match | null {
    const found = this.#best;
    if (found === null || time - found.end < OF.SETTLE_S) return null;
    this.#best = null;
    this.#warping.reset(); // the next motion begins after this one
    return found;
  }
}

interface PathStep {
  /** Seconds. */
  readonly end: number;
  /** The way of the palm's middle and of the fingertips, and where they lie. */
  readonly features: Float32Array;
}

/** The steps of one hand, as Python's `_Path`. */
class Path {
  time = -Infinity;
  wasLost = true;
  readonly #mirror: number;
  #length = 0;
  /** The points at the last step. */
  #last: readonly Point[] | null = null;
  #lastTime = 0;
  #smooth: readonly Point[] = [];

  constructor(isLeft: boolean) {
    this.#mirror = isLeft ? -1 : 1;
  }

  /** The steps that end with this frame: none where the hand rests. */
  follow(points: Points, time: number): PathStep[] {
    const [length, elapsed] = [handLength(points), time - this.time];
    if (!(length > 0) || !(elapsed > 0)) return [];
    const at = points.map(([x, y]): Point => [this.#mirror * x, y]);
    const flat = [middleOf(OF.PALM.map((k) => at[k]!)), ...OF.TIPS.map((k) => at[k]!)];
    this.time = time;
    this.wasLost = elapsed > OF.GAP_S;
    if (this.#last === null || this.wasLost) {
      [this.#length, this.#smooth, this.#last, this.#lastTime] = [length, flat, flat, time];
      return [];
    }
    this.#length += (length - this.#length) * -Math.expm1(-elapsed / OF.LENGTH_S);
    const keep = -Math.expm1(-elapsed / OF.SMOOTH_S);
    this.#smooth = this.#smooth.map(([x, y], k) => [x + (flat[k]![0] - x) * keep, y + (flat[k]![1] - y) * keep]);
    const ways = this.#smooth.flatMap((to, k) => way(this.#last![k]!, to)).map((value) => value / this.#length);
    const far = Math.hypot(...ways) / Math.sqrt(OF.POINTS);
    const count = Math.min(Math.floor(far / OF.STEP), OF.MOST_STEPS);
    if (count === 0) return [];
    const around = this.#smooth.flatMap((to) => way(this.#smooth[0]!, to)).map((value) => value / this.#length);
    const features = Float32Array.from([...ways.map((value) => value / far), ...around]);
    const begin = Math.max(this.#lastTime, time - elapsed); // it rested before
    const steps = Array.from({ length: count }, (_, n) => ({ end: begin + ((n + 1) * (time - begin)) / count, features }));
    [this.#last, this.#lastTime] = [this.#smooth, time];
    return steps;
  }
}

/** What the cheapest way to a step of an example costs, and of how many steps. */
interface Reached {
  readonly cost: number;
  readonly count: number;
}

const START: Reached = { cost: 0, count: 0 };
const NOWHERE: Reached = { cost: Infinity, count: 0 };

/** Dynamic time warping of a stream of steps against examples, which may begin at any step of it. */
class Warping {
  readonly #ways: readonly (readonly number[])[];
  #reached: Reached[][] = [];

  constructor(ways: readonly (readonly number[])[]) {
    this.#ways = ways;
    this.reset();
  }

  /** Begin anew. */
  reset(): void {
    this.#reached = this.#ways.map((way) => new Array<Reached>(way.length / WIDTH).fill(NOWHERE));
  }

  /** Mean cost of a step of each whole example that ends with this one. */
  follow(step: Float32Array): number[] {
    return this.#ways.map((way, k) => {
      const before = this.#reached[k]!;
      // to a step of an example from the same one, from that before, or over one, which then costs twice
      const now = before.map((stay, n) => {
        const cost = costOf(way, n * WIDTH, step);
        const come = n > 0 ? before[n - 1]! : START;
        const leap = n > 1 ? before[n - 2]! : NOWHERE;
        let best = { cost: come.cost + cost, count: come.count + 1 };
        if (stay.cost + cost < best.cost) best = { cost: stay.cost + cost, count: stay.count + 1 };
        if (leap.cost + 2 * cost < best.cost) best = { cost: leap.cost + 2 * cost, count: leap.count + 2 };
        return best;
      });
      this.#reached[k] = now;
      const { cost, count } = now.at(-1)!;
      return cost / Math.max(count, 1);
    });
  }
}

/** How unlike a step is to one of an example, which begins there. */
function costOf(way: readonly number[], start: number, step: Float32Array): number {
  let [same, apart] = [0, 0];
  for (let i = 0; i < HALF; i++) {
    same += way[start + i]! * step[i]!;
    apart += (way[start + HALF + i]! - step[HALF + i]!) ** 2;
  }
  return (1 - same / OF.POINTS) / 2 + OF.SHAPE_WEIGHT * Math.sqrt(apart / OF.POINTS);
}
