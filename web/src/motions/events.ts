/** What motions are reported as, and what the watchers of single motions are given and give. */

import type { Point } from "../observations.js";

export type Phase = "begin" | "progress" | "end" | "cancel";

/** One step of a motion of one hand, as Python's `MotionEvent`. */
export interface MotionEvent {
  /** Of a custom motion that of its file; it is reported once, at its end. */
  readonly name: string;
  /** `cancel` in place of `end` where the hand was lost or what began as a swipe became another movement. */
  readonly phase: Phase;
  /** Of the hand; of two the one that is tracked longest. */
  readonly id: number;
  readonly handedness: "Left" | "Right";
  /** Seconds. */
  readonly time: number;
  /** 0..1: of a custom motion its score. */
  readonly strength: number;
  /** Hand lengths to the right and down in the image since the motion began. */
  readonly moved: Point;
  /** Turns, swings, or how much farther or larger; see docs/gestures.md. */
  readonly count: number;
}

/** What a motion has come to in a frame, before it is known whose it is. */
export interface Step {
  readonly name: string;
  readonly phase: Phase;
  readonly strength: number;
  /** Of the palm. */
  readonly start: Point;
  readonly rounds?: number;
}

/** One hand in one frame; places are in hand lengths from where the hand was first seen. */
export interface Seen {
  readonly time: number;
  readonly palm: Point;
  /** Of the palm, per second. */
  readonly speed: number;
  /** Of the index finger. */
  readonly tip: Point;
  /** Middle of the four fingers' tips. */
  readonly tips: Point;
  /** The fingers are out and point up in the image. */
  readonly isUp: boolean;
  /** Of the four fingers: least, mean and greatest; 1 is stretched. */
  readonly reach: readonly [number, number, number];
  readonly indexReach: number;
  /** Between the tips of thumb and index finger. */
  readonly pinch: number;
  /** Length in pixels. */
  readonly size: number;
  /** Of the palm in the image, clockwise. */
  readonly angle: number;
}

export type Steps = Generator<Step, void, undefined>;

/** Follows one kind of motion of one hand. */
export interface Watch {
  /** The steps of the next frame. */
  follow(now: Seen): Steps;
  /** The steps that end what goes on, because the hand was lost. */
  stop(): Steps;
}

export const way = (from: Point, to: Point): Point => [to[0] - from[0], to[1] - from[1]];

export const distance = (from: Point, to: Point): number => Math.hypot(to[0] - from[0], to[1] - from[1]);

export const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

export const middleOf = (points: readonly Point[]): Point => [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];

/** 0..1, and 0 for what is unknown. */
export const share = (value: number): number => (value > 0 ? Math.min(1, value) : 0);
