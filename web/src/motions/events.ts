/** Types of motion events and of the functions that find them. */

import type { Point } from "../observations.js";

export type Phase = "begin" | "progress" | "end" | "cancel";

/** One step of a motion of one hand, as Python's `MotionEvent`. */
export interface MotionEvent {
  /** Name of the motion. A custom motion has the name in its file and is reported once, at its end. */
  readonly name: string;
  /** `cancel` in place of `end` if the hand was lost, or if what began as a swipe became another movement. */
  readonly phase: Phase;
  /** Id of the hand; with two hands, of the one that is tracked longest. */
  readonly id: number;
  readonly handedness: "Left" | "Right";
  /** Time in seconds. */
  readonly time: number;
  /** Strength 0..1; of a custom motion its score. */
  readonly strength: number;
  /** Movement since the begin of the motion, to the right and down in the image, in hand lengths. */
  readonly moved: Point;
  /** Turns, swings, or a ratio of distances or sizes; see docs/gestures.md. */
  readonly count: number;
}

/** Step of a motion in a frame, without its hand. */
export interface Step {
  readonly name: string;
  readonly phase: Phase;
  readonly strength: number;
  /** Position of the palm at the begin of the motion. */
  readonly start: Point;
  readonly rounds?: number;
}

/** Hand in a frame. Positions are in hand lengths from the first position of the hand. */
export interface HandState {
  readonly time: number;
  readonly palm: Point;
  /** Speed of the palm in hand lengths per second. */
  readonly speed: number;
  /** Tip of the index finger. */
  readonly tip: Point;
  /** Middle of the tips of the four fingers. */
  readonly tips: Point;
  /** True if the fingers are stretched and point up in the image. */
  readonly isUp: boolean;
  /** Minimum, mean and maximum reach of the four fingers; 1 is stretched. */
  readonly reach: readonly [number, number, number];
  readonly indexReach: number;
  /** Distance between the tips of thumb and index finger, in hand lengths. */
  readonly pinch: number;
  /** Length of the hand in pixels. */
  readonly size: number;
  /** Angle of the palm in the image, clockwise. */
  readonly angle: number;
}

export type Steps = Generator<Step, void, undefined>;

/** Finds one kind of motion of one hand. */
export interface Watch {
  /** Return the steps of the next frame. */
  follow(now: HandState): Steps;
  /** Return the steps that end a motion, because the hand was lost. */
  stop(): Steps;
}

export const way = (from: Point, to: Point): Point => [to[0] - from[0], to[1] - from[1]];

export const distance = (from: Point, to: Point): number => Math.hypot(to[0] - from[0], to[1] - from[1]);

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

export const middleOf = (points: readonly Point[]): Point => [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];

/** Limit a value to 0..1; 0 if it is unknown. */
export const fraction = (value: number): number => (value > 0 ? Math.min(1, value) : 0);
