/** Scores and limits of the search, fitted to labelled photographs by `benchmarks/fit_search.py`. */

import fitted from "../../../src/sonjit/detectors/search/search.json";
import { constants } from "../data.js";

const { LEAST_PROBABILITY } = constants.search.score;

/** Logistic regression on named features. */
interface Regression {
  readonly bias: number;
  readonly weights: Readonly<Record<string, number>>;
}
export type Features = Readonly<Record<string, number>>;
export type ScoreName = keyof typeof fitted.scores;

const SCORES: Readonly<Record<ScoreName, Regression>> = fitted.scores;
export const LIMITS = fitted.limits;

/** Return the probability of a fitted score, a logistic regression, for features. */
export function scoreOf(name: ScoreName, features: Features): number {
  const { bias, weights } = SCORES[name];
  const sum = Object.entries(weights).reduce((total, [feature, weight]) => total + weight * features[feature]!, bias);
  return 1 / (1 + Math.exp(-sum));
}

/** Return log odds of a probability, which is first limited to 0.001..0.999. */
export function logit(value: number): number {
  const p = Math.min(Math.max(value, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY);
  return Math.log(p / (1 - p));
}
