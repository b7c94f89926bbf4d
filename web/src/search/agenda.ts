/** The loop of every search: tasks in the order of expected finds per cost, and what they find. */

import { isSameObject, type Observation } from "../observations.js";
import { boxIou, isSameInstance } from "./geometry.js";
import { LIMITS, TASKS, probability, scoreOf, type Budget, type Features, type ScoreName, type SearchKind, type TaskTable } from "./score.js";

/** One candidate and its views. */
export interface Find<O extends Observation> {
  /** What the landmark network saw, the view that counts last. */
  views: O[];
  /** Best score of the detectors that led here. */
  detection: number;
  /** Windows and sources that led here. */
  votes: Set<string>;
  /** Keypoint similarity of two views, 0..1. */
  agreement: number;
  /** Whether the published search finds it too. */
  readonly isPublished: boolean;
  /** Find of the published search that this one shows or replaces; set by `withoutSame`. */
  replaced?: Find<O> | undefined;
  /** Probability that this is an instance. */
  score: number;
  /** What the score was made of. */
  features: Features;
}

/** What a search found in an image. */
export interface Found<O extends Observation> {
  /** All candidates, best first. */
  readonly finds: Find<O>[];
  /** Whether all proposals were processed or enough was found. */
  readonly complete: boolean;
}

export function findOf<O extends Observation>(
  views: O[],
  { score, votes }: { score: number; votes: Set<string> },
  agreement = 1,
  isPublished = false,
): Find<O> {
  return { views, detection: score, votes: new Set(votes), agreement, isPublished, score: 0, features: {} };
}

/** Score a find from its features; what the published search finds is always found. */
export function rate(find: Find<Observation>, name: ScoreName): void {
  find.score = Math.max(scoreOf(name, find.features), find.isPublished ? LIMITS.published : 0);
}

/** Return the view that counts. */
export function lastOf<O extends Observation>({ views }: Find<O>): O {
  return views.at(-1)!;
}

/** Return the view that counts, with the score of the find. */
export function resultOf<O extends Observation>(find: Find<O>): O {
  return { ...lastOf(find), score: find.score };
}

/** Return the lowest presence of all views. */
export function presenceOf({ views }: Find<Observation>): number {
  return Math.min(...views.map(({ score }) => score));
}

/** Check whether the views leave no doubt. */
export function isPlain(find: Find<Observation>): boolean {
  return Math.min(presenceOf(find), find.agreement) > LIMITS.plain;
}

export function bestFirst<O extends Observation>(finds: readonly Find<O>[]): Find<O>[] {
  return [...finds].sort((a, b) => b.score - a.score);
}

/** Count the votes and the detection of another proposal for a find. */
export function addVotes(find: Find<Observation>, votes: Iterable<string>, detection: number): void {
  for (const vote of votes) find.votes.add(vote);
  find.detection = Math.max(find.detection, detection);
}

/**
 * Return one find of each instance, best first. The best find of an instance replaces at most one find of the published
 * search, so that no fewer instances are found. Where both have the same keypoints, that of the published search stays,
 * with the better score. It also stays where its box overlaps that of no better find. `isSame` checks whether the first
 * find shows the instance of the second, which has a higher score.
 */
export function withoutSame<O extends Observation>(
  finds: readonly Find<O>[],
  isSame = (a: Find<O>, b: Find<O>) => isSameInstance(lastOf(a).keypoints, lastOf(b).keypoints),
): Find<O>[] {
  const kept: Find<O>[] = [];
  for (const find of bestFirst(finds)) {
    find.replaced = find.isPublished ? find : undefined;
    const index = kept.findIndex((other) => find.isPublished && other.replaced
      ? isSameObject(lastOf(find), lastOf(other.replaced), false) // as in the published search
      : isSame(find, other));
    const best = kept[index];
    if (!best) kept.push(find);
    else if (find.isPublished && !best.replaced) {
      if (isSameObject(lastOf(find), lastOf(best), false)) [find.score, kept[index]] = [best.score, find];
      else if (kept.some((other) => boxIou(lastOf(find).keypoints, lastOf(other).keypoints) > LIMITS.same_box)) best.replaced = find;
      else {
        kept.splice(index, 1);
        kept.push(find);
      }
    }
  }
  return kept;
}

interface Task {
  readonly name: string;
  readonly worth: number;
  readonly run: () => Promise<void>;
  readonly features: () => Features;
}

/** Tasks of one image, in the order of their expected finds per cost; equal ones in the order in which they were added. */
export class Agenda {
  /** Whether nothing was left undone for want of budget. */
  complete = true;
  readonly #table: TaskTable;
  readonly #budget: Budget;
  readonly #tasks: Task[] = [];
  #spent = 0;

  constructor(kind: SearchKind, budget: Budget) {
    [this.#table, this.#budget] = [TASKS[kind], budget];
  }

  /** Add a task; `features` of its expected finds are computed again before it runs. */
  add(name: string, run: () => Promise<void>, features: () => Features = () => ({})): void {
    const worth = this.#worth(name, features());
    const before = this.#tasks.findIndex((task) => task.worth < worth);
    this.#tasks.splice(before < 0 ? this.#tasks.length : before, 0, { name, worth, run, features });
  }

  /** Run tasks, and those that they add, until there is enough or the budget is spent. */
  async run(isEnough: () => boolean): Promise<void> {
    while (this.#tasks.length && !isEnough()) {
      const { name, worth: before, run, features } = this.#tasks.shift()!;
      const worth = this.#worth(name, features());
      const [next] = this.#tasks;
      const { cost } = this.#table[name]!;
      if (next && worth < Math.min(before, next.worth)) this.add(name, run, features); // it is worth less by now
      else if (worth < this.#budget.worth || this.#spent + cost > this.#budget.cost) this.complete = false;
      else {
        this.#spent += cost;
        await run();
      }
    }
  }

  #worth(name: string, features: Features): number {
    const task = this.#table[name]!;
    return probability(task, features) / task.follow_up;
  }
}
