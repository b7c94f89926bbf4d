/** The begin and end of held gestures and motions, as Python's `EventTracker` reports them. */

import { EVENTS } from "./data.js";
import type { Gesture } from "./gestures.js";
import type { MotionEvent } from "./motions/events.js";

/** The begin or end of a held gesture or of a motion. */
export interface Event {
  readonly name: string;
  readonly type: "gesture" | "motion";
  /** `cancel` in place of `end` if the motion became another one or its hand was lost. */
  readonly phase: "begin" | "end" | "cancel";
  /** Seconds. */
  readonly begin: number;
  /** Seconds; null at the begin. */
  readonly end: number | null;
  /** Track ID of the hand. */
  readonly id: number;
  readonly handedness: "Left" | "Right";
  /** Highest score of the gesture or highest strength of the motion so far. */
  readonly value: number;
}

/** A tracked hand with its smoothed gesture. */
export interface GesturedHand {
  readonly id: number;
  readonly handedness: "Left" | "Right";
  readonly gesture: Gesture | null;
}

interface State {
  readonly first: number;
  /** The event that began. */
  open: Event | null;
  /** Gesture in the latest frame. */
  name: string | null;
  /** Time since which the hand has this gesture. */
  since: number;
  /** Latest time at which the open event was seen. */
  last: number;
}

/** Finds the events of a stream, frame by frame. */
export class EventTracker {
  readonly #states = new Map<string, State>();
  readonly #motions = new Map<string, Event>();

  /** Forget all events before another stream. */
  reset(): void {
    this.#states.clear();
    this.#motions.clear();
  }

  /** Return the events that begin or end in a frame. `time` is in seconds and not earlier than in previous frames. */
  update(hands: readonly GesturedHand[], motions: readonly MotionEvent[], time: number): Event[] {
    const events: Event[] = [];
    const seen = new Set<string>();
    for (const hand of hands) {
      const key = `${hand.id} ${hand.handedness}`;
      const state = this.#states.get(key) ?? { first: time, open: null, name: null, since: -Infinity, last: -Infinity };
      this.#states.set(key, state);
      seen.add(key);
      events.push(...followGesture(state, hand, time));
    }
    for (const [key, state] of this.#states) {
      if (seen.has(key) || time - Math.max(state.last, state.since) <= EVENTS.LOST_S) continue;
      if (state.open) events.push(ended(state.open, state.last));
      this.#states.delete(key);
    }
    for (const motion of motions) events.push(...this.#followMotion(motion));
    return events;
  }

  *#followMotion({ name, phase, id, handedness, time, strength }: MotionEvent): Generator<Event, void, undefined> {
    const key = `${name} ${id} ${handedness}`;
    const known = this.#motions.get(key);
    const event: Event = known
      ? { ...known, value: Math.max(known.value, strength) }
      : { name, type: "motion", phase: "begin", begin: time, end: null, id, handedness, value: strength };
    if (!known) yield event;
    this.#motions.set(key, event);
    if (phase !== "end" && phase !== "cancel") return;
    this.#motions.delete(key);
    yield { ...event, phase, end: time };
  }
}

function* followGesture(state: State, { id, handedness, gesture }: GesturedHand, time: number): Generator<Event, void, undefined> {
  const name = gesture?.name ?? null;
  if (name !== state.name) [state.name, state.since] = [name, time];
  const held = time - state.since;
  if (state.open !== null && name === state.open.name) {
    state.open = { ...state.open, value: Math.max(state.open.value, gesture!.score) };
    state.last = time;
  } else if (state.open !== null) {
    if ((name === null || held < EVENTS.MIN_HOLD_S) && time - state.last < EVENTS.MAX_GAP_S) return;
    yield ended(state.open, state.last);
    state.open = null;
  }
  if (gesture === null || state.open !== null) return;
  if (held < EVENTS.MIN_HOLD_S || time - state.first < EVENTS.MIN_VISIBLE_S) return;
  state.open = { name: gesture.name, type: "gesture", phase: "begin", begin: state.since, end: null, id, handedness, value: gesture.score };
  state.last = time;
  yield state.open;
}

const ended = (event: Event, end: number): Event => ({ ...event, phase: "end", end });
