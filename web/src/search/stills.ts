/**
 * Search an image in four steps: propose, verify, suppress, score. Each kind defines its steps in a
 * subclass.
 */

import { isSameObject, type Observation } from "../observations.js";
import type { Found } from "../pipeline.js";
import type { Pixels } from "../pixels.js";
import {
  isSameInstance,
  LIMITS,
  scoreOf,
  type Features,
  type Proposal,
  type ScoreName,
} from "./geometry.js";

/** A possible instance with its observations. */
export interface Candidate<O extends Observation> {
  views: O[]; // observations of the landmark network. The last one becomes the result.
  // proposal that led to it, with the maximum score of the proposals of the instance
  readonly proposal: Proposal;
  agreement: number; // keypoint similarity of two views, 0..1
  readonly isPublished: boolean; // true if the published search finds it too
  score: number; // probability that this is an instance
  features: Features; // features of the score by name
}

/** Limits of a search. */
export interface Limits {
  readonly published: number; // minimum score of the published search
  readonly isThorough: boolean; // true to search all windows
}

export function newCandidate<O extends Observation>(
  views: O[],
  proposal: Proposal,
  agreement = 1,
  isPublished = false,
): Candidate<O> {
  return { views, proposal, agreement, isPublished, score: 0, features: {} };
}

/** Return the observation that becomes the result. */
export const lastView = <O extends Observation>({ views }: Candidate<O>): O => views.at(-1)!;

/** Return the minimum presence of the views. */
export const presenceOf = ({ views }: Candidate<Observation>): number =>
  Math.min(...views.map(({ score }) => score));

/** Check whether presence and agreement of the views are high. */
const isCertain = (candidate: Candidate<Observation>): boolean =>
  Math.min(presenceOf(candidate), candidate.agreement) > LIMITS.certain;

/** Searches one image. */
export abstract class StillSearch<O extends Observation> {
  protected readonly candidates: Candidate<O>[] = [];
  protected isComplete = true;

  constructor(
    protected readonly image: Pixels,
    protected readonly limits: Limits,
    private readonly scoreName: ScoreName,
  ) {}

  /** Yield the proposals of one source after another. Those of the published search come first. */
  protected abstract propose(): AsyncGenerator<Proposal[]>;
  /** Observe a proposal. Return null if it shows no instance. */
  protected abstract verify(proposal: Proposal): Promise<Candidate<O> | null>;
  /** Return the features of the score of a candidate. */
  protected abstract features(candidate: Candidate<O>): Features;
  /** Check whether a proposal shows an instance. */
  protected abstract shows(proposal: Proposal, instance: O): boolean;

  /** Return the probability that a candidate is an instance. */
  protected score(candidate: Candidate<O>): number {
    candidate.features = this.features(candidate);
    return scoreOf(this.scoreName, candidate.features);
  }

  /** Return the observation of an instance with the score of the candidate. */
  protected resultOf(candidate: Candidate<O>): O {
    return { ...lastView(candidate), score: candidate.score };
  }

  /** Check whether a proposal shows a certain instance or an area that was verified before. */
  protected isKnown(proposal: Proposal): boolean {
    const known = this.shown(proposal);
    if (known) known.proposal.score = Math.max(known.proposal.score, proposal.score);
    return known !== undefined;
  }

  /** Return the first certain candidate that a proposal shows. */
  protected shown(proposal: Proposal): Candidate<O> | undefined {
    return this.candidates.find(
      (candidate) => isCertain(candidate) && this.shows(proposal, lastView(candidate)),
    );
  }

  /** Check whether two candidates show the same instance. */
  protected isSame(candidate: Candidate<O>, better: Candidate<O>): boolean {
    return isSameInstance(lastView(candidate).keypoints, lastView(better).keypoints);
  }

  /** Return all instances with their scores, best first. */
  search(): Promise<Found<O>> {
    return this.run(this.propose());
  }

  /** Verify the proposals of one source after another. */
  protected async run(sources: AsyncIterable<readonly Proposal[]>): Promise<Found<O>> {
    for await (const proposals of sources) {
      for (const proposal of proposals) {
        if (proposal.source !== "published" && this.isKnown(proposal)) continue;
        const candidate = await this.verify(proposal);
        if (candidate) this.candidates.push(candidate);
      }
    }
    return {
      found: this.#suppressed().map((candidate) => this.resultOf(candidate)),
      complete: this.isComplete,
    };
  }

  /**
   * Score the candidates and return one per instance, best first, with the highest score of its
   * duplicates.
   */
  #suppressed(): Candidate<O>[] {
    for (const candidate of this.candidates) {
      candidate.score = Math.max(
        this.score(candidate),
        candidate.isPublished ? LIMITS.published : 0,
      );
    }
    const kept: Candidate<O>[] = [];
    const repeats = (a: Candidate<O>, b: Candidate<O>) =>
      a.isPublished && b.isPublished
        ? isSameObject(lastView(a), lastView(b), false)
        : this.isSame(a, b);
    for (const candidate of [...this.candidates].sort(
      (a, b) => Number(b.isPublished) - Number(a.isPublished) || b.score - a.score,
    )) {
      const same = kept.find((other) => repeats(candidate, other));
      if (same) same.score = Math.max(same.score, candidate.score);
      else kept.push(candidate);
    }
    return kept.sort((a, b) => b.score - a.score);
  }
}
