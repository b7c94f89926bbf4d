/** Scores and limits of the search, which `benchmarks/fit_search.py` fits to labelled photographs. */

import fitted from "../../../src/sonjit/detectors/search/search.json";
import { constants } from "../data.js";

const { LEAST_PROBABILITY } = constants.search.score;

/** A logistic regression. */
interface Regression {
  readonly bias: number;
  readonly weights: Readonly<Record<string, number>>;
}
export type TaskTable = Readonly<Record<string, Regression & { readonly cost: number; readonly follow_up: number }>>;
export type Features = Readonly<Record<string, number>>;
export type ScoreName = keyof typeof fitted.scores;
export type SearchKind = keyof typeof fitted.tasks;
/** A search, or a part of one with an own budget. */
export type BudgetName = keyof typeof fitted.budgets;

export const TASKS: Readonly<Record<SearchKind, TaskTable>> = fitted.tasks;
const SCORES: Readonly<Record<ScoreName, Regression>> = fitted.scores;
export const LIMITS = fitted.limits;

/** Return the probability that a logistic regression gives from named features. */
export function probability({ bias, weights }: Regression, features: Features): number {
  const sum = Object.entries(weights).reduce((total, [name, weight]) => total + weight * features[name]!, bias);
  return 1 / (1 + Math.exp(-sum));
}

/** Return the probability that a fitted score gives for features. */
export function scoreOf(name: ScoreName, features: Features): number {
  return probability(SCORES[name], features);
}

/** Return log odds, limited to those of one in a thousand. */
export function logit(value: number): number {
  const p = Math.min(Math.max(value, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY);
  return Math.log(p / (1 - p));
}

/** When a search ends. */
export interface Budget {
  /** Cost after which no task is started. */
  readonly cost: number;
  /** Least expected finds per cost of a task that is started. */
  readonly worth: number;
  /** Number of confident finds that end the search. */
  readonly enough: number;
}

/** Return the fitted budget of a kind; `"thorough"` runs all tasks. */
export function budgetOf(kind: BudgetName, search: string, enough: number): Budget {
  return { ...(search === "thorough" ? { cost: Infinity, worth: 0 } : fitted.budgets[kind]), enough };
}
