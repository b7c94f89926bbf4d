/** Run the tasks of a search in the order of expected gain per cost, and suppress duplicate candidates. */

import { isSameObject, type Observation } from "../observations.js";
import { boxIou, isSameInstance } from "./geometry.js";
import { LIMITS, TASKS, probability, scoreOf, type Budget, type Features, type ScoreName, type SearchKind, type TaskTable } from "./score.js";

/** A possible instance with its observations. */
export interface Candidate<O extends Observation> {
  /** Observations of the landmark network. The last one becomes the result. */
  views: O[];
  /** Maximum score of its proposals. */
  detection: number;
  /** Windows and sources of its proposals. */
  votes: Set<string>;
  /** Keypoint similarity of two views, 0..1. */
  agreement: number;
  /** True if the published search finds it too. */
  readonly isPublished: boolean;
  /** Candidate of the published search that shows the same instance; set by `withoutDuplicates`. */
  replaced?: Candidate<O> | undefined;
  /** Probability that this is an instance. */
  score: number;
  /** Features of the score by name. */
  features: Features;
}

/** Result of the search of an image. */
export interface Found<O extends Observation> {
  /** All candidates, best first. */
  readonly candidates: Candidate<O>[];
  /** True if all proposals were processed or enough was found. */
  readonly complete: boolean;
}

export function newCandidate<O extends Observation>(
  views: O[],
  { score, votes }: { score: number; votes: Set<string> },
  agreement = 1,
  isPublished = false,
): Candidate<O> {
  return { views, detection: score, votes: new Set(votes), agreement, isPublished, score: 0, features: {} };
}

/** Compute the score of a candidate from its features. Candidates of the published search are always accepted. */
export function rate(candidate: Candidate<Observation>, name: ScoreName): void {
  candidate.score = Math.max(scoreOf(name, candidate.features), candidate.isPublished ? LIMITS.published : 0);
}

/** Return the observation that becomes the result. */
export function lastView<O extends Observation>({ views }: Candidate<O>): O {
  return views.at(-1)!;
}

/** Return the observation with the score of the candidate. */
export function resultOf<O extends Observation>(candidate: Candidate<O>): O {
  return { ...lastView(candidate), score: candidate.score };
}

/** Return the minimum presence of the views. */
export function presenceOf({ views }: Candidate<Observation>): number {
  return Math.min(...views.map(({ score }) => score));
}

/** Check whether presence and agreement of the views are high. */
export function isCertain(candidate: Candidate<Observation>): boolean {
  return Math.min(presenceOf(candidate), candidate.agreement) > LIMITS.plain;
}

export function bestFirst<O extends Observation>(candidates: readonly Candidate<O>[]): Candidate<O>[] {
  return [...candidates].sort((a, b) => b.score - a.score);
}

/** Add the votes and the detection score of another proposal to a candidate. */
export function addVotes(candidate: Candidate<Observation>, votes: Iterable<string>, detection: number): void {
  for (const vote of votes) candidate.votes.add(vote);
  candidate.detection = Math.max(candidate.detection, detection);
}

/**
 * Return one candidate per instance, best first.
 *
 * The best candidate of an instance replaces at most one candidate of the published search, so the number of instances
 * does not decrease. If both have the same keypoints, the published one stays with the higher score. It also stays if its
 * box overlaps no better candidate.
 *
 * @param isSame compares two candidates; the score of the second is higher
 */
export function withoutDuplicates<O extends Observation>(
  candidates: readonly Candidate<O>[],
  isSame = (a: Candidate<O>, b: Candidate<O>) => isSameInstance(lastView(a).keypoints, lastView(b).keypoints),
): Candidate<O>[] {
  const accepted: Candidate<O>[] = [];
  for (const candidate of bestFirst(candidates)) {
    candidate.replaced = candidate.isPublished ? candidate : undefined;
    const index = accepted.findIndex((other) => candidate.isPublished && other.replaced
      ? isSameObject(lastView(candidate), lastView(other.replaced), false) // as in the published search
      : isSame(candidate, other));
    const best = accepted[index];
    if (!best) accepted.push(candidate);
    else if (candidate.isPublished && !best.replaced) {
      if (isSameObject(lastView(candidate), lastView(best), false)) [candidate.score, accepted[index]] = [best.score, candidate];
      else if (accepted.some((other) => boxIou(lastView(candidate).keypoints, lastView(other).keypoints) > LIMITS.same_box)) best.replaced = candidate;
      else {
        accepted.splice(index, 1);
        accepted.push(candidate);
      }
    }
  }
  return accepted;
}

/** Check whether certain candidates show as many instances as a search has to find. */
export function areEnough<O extends Observation>(candidates: readonly Candidate<O>[], { enough }: Budget): boolean {
  return candidates.length >= enough && withoutDuplicates(candidates).length >= enough;
}

interface Task {
  readonly name: string;
  readonly worth: number;
  readonly run: () => Promise<void>;
  readonly features: () => Features;
}

/** Tasks of one image, in the order of their expected gain per cost. Equal tasks run in the order in which they were added. */
export class Agenda {
  /** False if the budget prevented a task. */
  complete = true;
  readonly #table: TaskTable;
  readonly #budget: Budget;
  readonly #tasks: Task[] = [];
  #spent = 0;

  constructor(kind: SearchKind, budget: Budget) {
    [this.#table, this.#budget] = [TASKS[kind], budget];
  }

  /** Add a task; `features`: returns the features of the expected gain and is called again before the task. */
  add(name: string, run: () => Promise<void>, features: () => Features = () => ({})): void {
    const worth = this.#worth(name, features());
    const before = this.#tasks.findIndex((task) => task.worth < worth);
    this.#tasks.splice(before < 0 ? this.#tasks.length : before, 0, { name, worth, run, features });
  }

  /** Run all tasks, also those that tasks add, until `isEnough` returns true or the budget is spent. */
  async run(isEnough: () => boolean): Promise<void> {
    while (this.#tasks.length && !isEnough()) {
      const { name, worth: before, run, features } = this.#tasks.shift()!;
      const worth = this.#worth(name, features());
      const [next] = this.#tasks;
      const { cost } = this.#table[name]!;
      if (next && worth < Math.min(before, next.worth)) this.add(name, run, features); // its worth has decreased
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
