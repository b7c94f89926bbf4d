/** Report the begin and end of held gestures, of motions and of measures that cross two limits, as Python's `EventTracker`. */

import { StreamClock } from "./clock.js";
import { EVENTS } from "./data.js";
import type { Gesture } from "./gestures.js";
import type { AnyDetector } from "./kinds.js";
import { measureNames, measuresOf, type Measured } from "./plot.js";
import type { MotionEvent } from "./motions/events.js";
import type { Settings } from "./options.js";
import type { Pixels } from "./pixels.js";
import type { Results } from "./results.js";

/** The begin or end of a held gesture, of a motion or of a measure beyond a limit. */
export interface Event {
  readonly name: string;
  readonly type: "gesture" | "motion" | "measure";
  /** `cancel` in place of `end` if the motion became another one, or if the instance of a motion or measure was lost. */
  readonly phase: "begin" | "end" | "cancel";
  /** Time in seconds. */
  readonly begin: number;
  /** Time in seconds; null at the begin. */
  readonly end: number | null;
  /** Track ID of the instance. */
  readonly id: number;
  /** Null for bodies and faces. */
  readonly handedness: "Left" | "Right" | null;
  /** Highest score of the gesture, highest strength of the motion, or extreme of the measure so far. */
  readonly value: number;
}

/** Limits of a measure: an event begins at the first and ends at the second. */
export interface EventLimits {
  readonly text: string;
  readonly measure: string;
  /** In the unit of the measure. */
  readonly begin: number;
  readonly end: number;
}

/** A tracked instance, with its smoothed gesture if it is a hand. */
export interface TrackedInstance extends Measured {
  readonly id: number;
  readonly gesture: Gesture | null;
}

interface State {
  readonly first: number;
  /** Phase in which the open event ends if the instance is lost. */
  readonly atLoss: "end" | "cancel";
  /** The event that began. */
  open: Event | null;
  /** Gesture in the latest frame, or the limit that the measure is beyond. */
  name: string | null;
  /** Time since which the instance has this name. */
  since: number;
  /** Latest time at which the open event was seen. */
  last: number;
  /** Lowest or highest value of a measure since it passed the first limit. */
  extreme: number;
}

/** Read `NAME:BEGIN:END`, with limits of angles in degrees, for instances of these kinds. */
export function limitsFromText(text: string, kinds: readonly string[]): EventLimits {
  const [measure = "", ...limits] = text.split(":");
  const names = kinds.flatMap(measureNames);
  if (!names.includes(measure)) throw new Error(`events ${text}: unknown measure ${JSON.stringify(measure)}. Choose from ${names.join(", ")}`);
  const [begin = NaN, end = NaN] = limits.map((limit) => (limit.trim() ? Number(limit) : NaN));
  if (limits.length !== 2 || Number.isNaN(begin + end)) throw new Error(`events ${text}: write NAME:BEGIN:END, with limits of angles in degrees`);
  if (begin === end || !Number.isFinite(begin - end)) throw new Error(`events ${text}: give two different limits`);
  const unit = measure.endsWith("_rad") ? Math.PI / 180 : 1;
  return { text, measure, begin: unit * begin, end: unit * end };
}

/** Return a detector whose results have `events` in streams. */
export function withEvents(detector: AnyDetector, { instances, events: limits }: Pick<Settings, "instances" | "events">): AnyDetector {
  const clock = new StreamClock();
  const tracker = new EventTracker(limits);
  return {
    async track(image: Pixels, time: number | null): Promise<Results> {
      const found = await detector.track(image, time);
      if (clock.step(image, time)) tracker.reset();
      found.events = tracker.update([...trackedInstances(found, instances[0]!)], found.motions ?? [], clock.time);
      return found;
    },
    detect: (image: Pixels) => detector.detect(image),
    reset() {
      detector.reset();
      clock.reset();
      tracker.reset();
    },
  };
}

/** Find the events of a stream, frame by frame. */
export class EventTracker {
  readonly #limits: readonly EventLimits[];
  readonly #states = new Map<string, State>();
  readonly #motions = new Map<string, Event>();

  constructor(limits: readonly EventLimits[] = []) {
    this.#limits = limits;
  }

  /** Forget all events before another stream. */
  reset(): void {
    this.#states.clear();
    this.#motions.clear();
  }

  /** Return the events that begin or end in a frame. `time` is in seconds and not earlier than in previous frames. */
  update(instances: readonly TrackedInstance[], motions: readonly MotionEvent[], time: number): Event[] {
    const events: Event[] = [];
    const seen = new Set<string>();
    const stateOf = (key: string, atLoss: State["atLoss"]): State => {
      const state = this.#states.get(key) ?? { first: time, atLoss, open: null, name: null, since: -Infinity, last: -Infinity, extreme: NaN };
      this.#states.set(key, state);
      seen.add(key);
      return state;
    };
    for (const instance of instances) {
      const key = `${instance.kind} ${instance.id} ${instance.handedness}`;
      if (instance.kind === "hand") events.push(...followGesture(stateOf(key, "end"), instance, time));
      if (!this.#limits.length) continue;
      const values = measuresOf(instance);
      for (const limits of this.#limits) {
        const value = values.get(limits.measure) ?? NaN;
        if (!Number.isNaN(value)) events.push(...followMeasure(stateOf(`${limits.text} ${key}`, "cancel"), limits, instance, value, time));
      }
    }
    for (const [key, state] of this.#states) {
      if (seen.has(key) || time - Math.max(state.last, state.since) <= EVENTS.LOST_S) continue;
      if (state.open) events.push(endOf(state.open, state.last, state.atLoss));
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
    yield endOf(event, time, phase);
  }
}

/** Yield the tracked instances, and the parts of people; `kind`: kind of the instances without parts. */
function* trackedInstances(found: Results, kind: string): Generator<TrackedInstance, void, undefined> {
  for (const result of found) {
    if (result.id === null) continue;
    const parts = "body" in result
      ? [["body", result.body], ["hand", result.leftHand], ["hand", result.rightHand], ["face", result.face]] as const
      : [[kind, result]] as const;
    for (const [name, part] of parts) {
      const { handedness = null, gesture = null } = (part ?? {}) as Partial<TrackedInstance>;
      if (part) yield { ...part, kind: name, id: result.id, handedness, gesture };
    }
  }
}

/** Record the name of an instance and return for how many seconds it has had the name. */
function secondsWithName(state: State, name: string | null, time: number): number {
  if (name !== state.name) [state.name, state.since] = [name, time];
  return time - state.since;
}

function* followGesture(state: State, { id, handedness, gesture }: TrackedInstance, time: number): Generator<Event, void, undefined> {
  const name = gesture?.name ?? null;
  const duration = secondsWithName(state, name, time);
  if (state.open !== null && name === state.open.name) {
    state.open = { ...state.open, value: Math.max(state.open.value, gesture!.score) };
    state.last = time;
  } else if (state.open !== null) {
    if ((name === null || duration < EVENTS.MIN_HOLD_S) && time - state.last < EVENTS.MAX_GAP_S) return;
    yield endOf(state.open, state.last);
    state.open = null;
  }
  if (gesture === null || state.open !== null) return;
  if (duration < EVENTS.MIN_HOLD_S || time - state.first < EVENTS.MIN_VISIBLE_S) return;
  state.open = { name: gesture.name, type: "gesture", phase: "begin", begin: state.since, end: null, id, handedness, value: gesture.score };
  state.last = time;
  yield state.open;
}

function* followMeasure(
  state: State,
  { measure, begin, end }: EventLimits,
  { id, handedness }: TrackedInstance,
  value: number,
  time: number,
): Generator<Event, void, undefined> {
  const isLow = begin < end;
  const side = (isLow ? value <= begin : value >= begin) ? "begin" : (isLow ? value >= end : value <= end) ? "end" : null;
  const duration = secondsWithName(state, side, time);
  if (duration === 0 && state.open === null) state.extreme = value;
  state.extreme = isLow ? Math.min(state.extreme, value) : Math.max(state.extreme, value);
  if (state.open !== null) {
    state.open = { ...state.open, value: state.extreme };
    state.last = time;
  }
  if (duration < EVENTS.MIN_HOLD_S) return;
  if (state.open === null && side === "begin") {
    state.open = { name: measure, type: "measure", phase: "begin", begin: state.since, end: null, id, handedness, value: state.extreme };
    state.last = time;
    yield state.open;
  } else if (state.open !== null && side === "end") {
    yield endOf(state.open, state.since);
    state.open = null;
    state.last = state.since;
  }
}

const endOf = (event: Event, end: number, phase: "end" | "cancel" = "end"): Event => ({ ...event, phase, end });
