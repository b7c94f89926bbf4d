/** Find custom motions, which Python learned from a few examples, by dynamic time warping as in Python. */

import { MOTIONS } from "../data.js";
import type { NumpyArray } from "../npz.js";
import type { Point } from "../observations.js";
import { middleOf, way } from "./events.js";
import { handLength, type Points } from "./tracks.js";

const OF = MOTIONS.custom;
const WIDTH = OF.STEP_FEATURES;
const HALF = WIDTH / 2;

/** Motions of gesture files. */
export interface CustomMotions {
  readonly names: readonly string[];
  /** Steps (T, 24) of each example, row by row. */
  readonly ways: readonly (readonly number[])[];
  /** Index of each example's name. */
  readonly motion: readonly number[];
  /** Mean step cost of each name at which a path is as likely no motion. */
  readonly reaches: readonly number[];
}

/** Return the motions of a gesture file, which may have none. */
export function motionsOf(arrays: ReadonlyMap<string, NumpyArray>): CustomMotions {
  const [names, steps, lengths, motion, reaches] = ["names", "steps", "lengths", "of", "reaches"].map(
    (name) => arrays.get(`motion_${name}`)?.values ?? [],
  ) as [string[], number[], number[], number[], number[]];
  let end = 0;
  const ways = lengths.map((length) => steps.slice(end, (end += WIDTH * length)));
  const isComplete = end === steps.length && lengths.every((length) => length > 0) && motion.length === ways.length;
  const isNamed = reaches.length === names.length && motion.every((k) => names[k] !== undefined) && reaches.every((reach) => reach > 0);
  if (!isComplete || !isNamed) throw new Error("its motions do not fit each other; train again from the recordings");
  return { names, ways, motion, reaches };
}

/** Combine the motions of several files. */
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

/** A detected custom motion. */
export interface Match {
  readonly name: string;
  readonly score: number;
}

/** Search for the custom motions of one hand. */
export class HandSearch {
  readonly #motions: CustomMotions;
  readonly #path: Path;
  readonly #warping: Warping;
  #best: (Match & { readonly share: number; readonly end: number }) | null = null;

  constructor(motions: CustomMotions, isLeft: boolean) {
    this.#motions = motions;
    this.#path = new Path(isLeft);
    this.#warping = new Warping(motions.ways);
  }

  /** Time at which the hand was last detected, in seconds. */
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
      const lowest = this.#best?.share ?? 1;
      if (share >= Math.min(1, lowest + OF.AS_WELL)) continue;
      const name = this.#motions.names[this.#motions.motion[best]!]!;
      this.#best = { name, score: 1 - share / 2, share: Math.min(share, lowest), end };
    }
  }

  /** Return the best match once it has not improved for a while. */
  classify(time: number): Match | null {
    const found = this.#best;
    if (found === null || time - found.end < OF.SETTLE_S) return null;
    this.#best = null;
    this.#warping.reset(); // the next motion begins after this one
    return found;
  }
}

interface PathStep {
  /** Time in seconds. */
  readonly end: number;
  /** Movement of the palm centre and fingertips, and their positions. */
  readonly features: Float32Array;
}

/** Path of one hand, cut into steps, as Python's `_Path`. */
class Path {
  time = -Infinity;
  wasLost = true;
  readonly #mirror: number;
  #length = 0;
  /** Points at the last step. */
  #last: readonly Point[] | null = null;
  #lastTime = 0;
  #smooth: readonly Point[] = [];

  constructor(isLeft: boolean) {
    this.#mirror = isLeft ? -1 : 1;
  }

  /** Return the steps that end with this frame, none while the hand rests. */
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
    const begin = Math.max(this.#lastTime, time - elapsed); // before that the hand rested
    const steps = Array.from({ length: count }, (_, n) => ({ end: begin + ((n + 1) * (time - begin)) / count, features }));
    [this.#last, this.#lastTime] = [this.#smooth, time];
    return steps;
  }
}

/** Lowest cost of a path to a step of an example, and its number of steps. */
interface PathCost {
  readonly cost: number;
  readonly count: number;
}

const START: PathCost = { cost: 0, count: 0 };
const NOWHERE: PathCost = { cost: Infinity, count: 0 };

/** Dynamic time warping of a stream of steps against examples, which may begin at any step. */
class Warping {
  readonly #ways: readonly (readonly number[])[];
  #costs: PathCost[][] = [];

  constructor(ways: readonly (readonly number[])[]) {
    this.#ways = ways;
    this.reset();
  }

  /** Forget all steps. */
  reset(): void {
    this.#costs = this.#ways.map((way) => new Array<PathCost>(way.length / WIDTH).fill(NOWHERE));
  }

  /** Return the mean step cost of each example that ends with this step. */
  follow(step: Float32Array): number[] {
    return this.#ways.map((way, k) => {
      const before = this.#costs[k]!;
      // a path reaches a step of an example from the same step, from the previous one, or from the one before that at twice the cost
      const now = before.map((stay, n) => {
        const cost = costOf(way, n * WIDTH, step);
        const come = n > 0 ? before[n - 1]! : START;
        const leap = n > 1 ? before[n - 2]! : NOWHERE;
        let best = { cost: come.cost + cost, count: come.count + 1 };
        if (stay.cost + cost < best.cost) best = { cost: stay.cost + cost, count: stay.count + 1 };
        if (leap.cost + 2 * cost < best.cost) best = { cost: leap.cost + 2 * cost, count: leap.count + 2 };
        return best;
      });
      this.#costs[k] = now;
      const { cost, count } = now.at(-1)!;
      return cost / Math.max(count, 1);
    });
  }
}

/** Return the cost of matching a step with the step of an example at an index. */
function costOf(way: readonly number[], start: number, step: Float32Array): number {
  let [same, apart] = [0, 0];
  for (let i = 0; i < HALF; i++) {
    same += way[start + i]! * step[i]!;
    apart += (way[start + HALF + i]! - step[HALF + i]!) ** 2;
  }
  return (1 - same / OF.POINTS) / 2 + OF.SHAPE_WEIGHT * Math.sqrt(apart / OF.POINTS);
}
