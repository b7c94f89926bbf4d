/** Find the events of a stream: gestures, motions, and measures beyond limits, as in Python. */

import { constants, EVENTS } from "./data.js";
import { measureNames, measuresOf, type Measured } from "./measures.js";
import type { AnyDetector, Event, Gesture, MotionEvent, Results } from "./results.js";

/** Limits of a measure: an event begins at the first and ends at the second. */
export interface EventLimits {
  readonly text: string;
  readonly measure: string;
  readonly begin: number; // in the unit of the measure
  readonly end: number;
}

/** A tracked instance, with its smoothed gesture if it is a hand. */
export type TrackedInstance = Measured & { readonly id: number; readonly gesture: Gesture | null };

interface State {
  readonly first: number;
  readonly atLoss: "end" | "cancel"; // phase in which the open event ends if the instance is lost
  open: Event | null; // the event that began
  name: string | null; // gesture in the latest frame, or the limit that the measure is beyond
  since: number; // time since which the instance has this name
  last: number; // latest time at which the open event was seen
  extreme: number; // lowest or highest value of a measure since it passed the first limit
}

/**
 * Return the measure with a name or, in degrees, its twin; or the only one that begins with the
 * text.
 */
function findMeasure(text: string, kinds: readonly string[], problem: string): string {
  const names = kinds.flatMap(measureNames);
  const wanted = text.toLowerCase().replaceAll("-", "_").replace(/_deg$/, "_rad");
  if (names.includes(wanted)) return wanted;
  const begin = names.filter((name) => name.startsWith(`${wanted}_`));
  const inSpace = begin.filter((name) => !name.includes("_2d_"));
  const found = inSpace.length ? inSpace : begin;
  if (found.length === 1) return found[0]!;
  const similar = begin.length ? begin : names.filter((name) => name.includes(wanted));
  throw new Error(
    `${problem} ${JSON.stringify(text)}. Choose from ${(similar.length ? similar : names).join(", ")}`,
  );
}

/** Return the number of a limit; NaN if it is infinite or no number, null for other text. */
function limitFrom(text: string): number | null {
  const plain = text.trim();
  if (/^[-+]?(inf|infinity|nan)$/i.test(plain)) return NaN;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) ? Number(plain) : null;
}

/** Read `NAME:BEGIN:END`, with limits of angles in degrees, for instances of these kinds. */
export function limitsFromText(text: string, kinds: readonly string[]): EventLimits {
  const [name = "", ...limits] = text.split(":");
  const measure = findMeasure(name, kinds, `events ${text}: unknown measure`);
  const [begin = null, end = null] = limits.map(limitFrom);
  if (limits.length !== 2 || begin === null || end === null)
    throw new Error(`events ${text}: write NAME:BEGIN:END, with limits of angles in degrees`);
  if (begin === end || !Number.isFinite(begin - end))
    throw new Error(`events ${text}: give two different limits`);
  const factor = measure.endsWith("_rad") ? Math.PI / 180 : 1;
  return { text, measure, begin: factor * begin, end: factor * end };
}

/**
 * Return a detector whose results have `events` in streams. Events that a reset or images of another
 * size end are reported with the next image.
 */
export function withEvents(
  detector: AnyDetector,
  {
    instances,
    events: limits,
  }: { readonly instances: readonly string[]; readonly events: readonly EventLimits[] },
): AnyDetector {
  const tracker = new EventTracker(limits);
  let ended: Event[] = [];
  let [before, size] = [-Infinity, ""];
  return {
    async track(image, time) {
      const results = await detector.track(image, time);
      const now =
        time ?? (Number.isFinite(before) ? before + constants.pipeline.NOMINAL_STEP_S : 0);
      const newSize = `${image.width} x ${image.height}`;
      if (newSize !== size) ended.push(...tracker.finish());
      if (Number.isFinite(now)) before = now;
      size = newSize;
      const found = tracker.update(
        [...trackedInstances(results, instances[0]!)],
        results.motions ?? [],
        now,
      );
      const events = [...ended, ...found];
      ended = [];
      return { ...results, events };
    },
    detect: (image) => detector.detect(image),
    reset() {
      detector.reset();
      ended.push(...tracker.finish());
      before = -Infinity;
    },
    finish() {
      const motions = detector.finish?.().motions ?? [];
      const events = [...ended, ...tracker.finish(motions)];
      ended = [];
      return { motions, events };
    },
  };
}

/** Find the events of a stream, frame by frame. */
export class EventTracker {
  readonly #states = new Map<string, State>();
  readonly #motions = new Map<string, Event>();
  /** Time of the last frame, in seconds. */
  #time = 0;

  constructor(private readonly limits: readonly EventLimits[] = []) {}

  /**
   * Return the events whose begin or end is found in a frame, up to half a second later; none
   * without a finite time. If the clock steps back, another stream begins, and the open events of
   * the one before end.
   *
   * @param time seconds
   */
  update(
    instances: readonly TrackedInstance[],
    motions: readonly MotionEvent[],
    time: number,
  ): Event[] {
    if (!Number.isFinite(time)) return [];
    const events = time < this.#time - EVENTS.MAX_STEP_BACK_S ? this.finish() : [];
    // a damaged video may step back a little
    return [
      ...events,
      ...this.#update(instances, motions, (this.#time = Math.max(this.#time, time))),
    ];
  }

  /**
   * Return the events of the motions that end with the stream, and the ends of all open events.
   * Another stream may follow.
   */
  finish(motions: readonly MotionEvent[] = []): Event[] {
    const events = motions.flatMap((motion) => [...this.#followMotion(motion)]);
    for (const { open, last, atLoss } of this.#states.values())
      if (open) events.push(endOf(open, last, atLoss));
    for (const event of this.#motions.values()) events.push(endOf(event, this.#time, "cancel"));
    this.#states.clear();
    this.#motions.clear();
    this.#time = 0;
    return events;
  }

  #update(
    instances: readonly TrackedInstance[],
    motions: readonly MotionEvent[],
    time: number,
  ): Event[] {
    const events: Event[] = [];
    const seen = new Set<string>();
    const stateOf = (key: string, atLoss: State["atLoss"]): State => {
      const state = this.#states.get(key) ?? {
        first: time,
        atLoss,
        open: null,
        name: null,
        since: -Infinity,
        last: -Infinity,
        extreme: NaN,
      };
      this.#states.set(key, state);
      seen.add(key);
      return state;
    };
    for (const instance of instances) {
      const key = `${instance.kind} ${instance.id} ${instance.handedness}`;
      if (instance.kind === "hand")
        events.push(...followGesture(stateOf(key, "end"), instance, time));
      if (!this.limits.length) continue;
      const values = measuresOf(instance);
      for (const limits of this.limits) {
        const value = values.get(limits.measure) ?? NaN;
        if (!Number.isNaN(value))
          events.push(
            ...followMeasure(
              stateOf(`${limits.text} ${key}`, "cancel"),
              limits,
              instance,
              value,
              time,
            ),
          );
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

  *#followMotion({
    name,
    phase,
    id,
    handedness,
    time,
    strength,
  }: MotionEvent): Generator<Event, void, undefined> {
    const key = `${name} ${id} ${handedness}`;
    let known = this.#motions.get(key);
    if (known && phase === "begin") {
      // the recognizer began again after a step of the clock
      yield endOf(known, time, "cancel");
      known = undefined;
    }
    const event: Event = known
      ? { ...known, value: Math.max(known.value, strength) }
      : {
          name,
          type: "motion",
          phase: "begin",
          begin: time,
          end: null,
          id,
          handedness,
          value: strength,
        };
    if (!known) yield event;
    this.#motions.set(key, event);
    if (phase !== "end" && phase !== "cancel") return;
    this.#motions.delete(key);
    yield endOf(event, time, phase);
  }
}

/**
 * Yield the tracked instances, and the parts of people; `kind`: kind of the instances without
 * parts.
 */
function* trackedInstances(
  { found }: Results,
  kind: string,
): Generator<TrackedInstance, void, undefined> {
  for (const result of found) {
    if (result.id === null) continue;
    const parts =
      "body" in result
        ? ([
            ["body", result.body],
            ["hand", result.leftHand],
            ["hand", result.rightHand],
            ["face", result.face],
          ] as const)
        : ([[kind, result]] as const);
    for (const [name, part] of parts) {
      const { handedness = null, gesture = null } = (part ?? {}) as Partial<TrackedInstance>;
      const hands = "body" in result ? [result.leftHand, result.rightHand] : [];
      if (part) yield { ...part, kind: name, id: result.id, handedness, gesture, hands };
    }
  }
}

/** Record the name of an instance and return for how many seconds it has had the name. */
function secondsWithName(state: State, name: string | null, time: number): number {
  if (name !== state.name) [state.name, state.since] = [name, time];
  return time - state.since;
}

function* followGesture(
  state: State,
  { id, handedness, gesture }: TrackedInstance,
  time: number,
): Generator<Event, void, undefined> {
  const name = gesture?.name ?? null;
  const duration = secondsWithName(state, name, time);
  if (state.open !== null && name === state.open.name) {
    state.open = { ...state.open, value: Math.max(state.open.value, gesture!.score) };
    state.last = time;
  } else if (state.open !== null) {
    if ((name === null || duration < EVENTS.MIN_HOLD_S) && time - state.last < EVENTS.MAX_GAP_S)
      return;
    const { open } = state;
    state.open = null;
    yield endOf(open, state.last);
  }
  if (gesture === null || state.open !== null) return;
  if (duration < EVENTS.MIN_HOLD_S || time - state.first < EVENTS.MIN_VISIBLE_S) return;
  state.open = {
    name: gesture.name,
    type: "gesture",
    phase: "begin",
    begin: state.since,
    end: null,
    id,
    handedness,
    value: gesture.score,
  };
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
  const side = (isLow ? value <= begin : value >= begin)
    ? "begin"
    : (isLow ? value >= end : value <= end)
      ? "end"
      : null;
  const duration = secondsWithName(state, side, time);
  if (duration === 0 && state.open === null) state.extreme = value;
  state.extreme = isLow ? Math.min(state.extreme, value) : Math.max(state.extreme, value);
  if (state.open !== null) {
    state.open = { ...state.open, value: state.extreme };
    state.last = time;
  }
  if (duration < EVENTS.MIN_HOLD_S) return;
  if (state.open === null && side === "begin") {
    state.open = {
      name: measure,
      type: "measure",
      phase: "begin",
      begin: state.since,
      end: null,
      id,
      handedness,
      value: state.extreme,
    };
    state.last = time;
    yield state.open;
  } else if (state.open !== null && side === "end") {
    const { open } = state;
    state.open = null;
    state.last = state.since;
    yield endOf(open, state.since);
  }
}

const endOf = (event: Event, end: number, phase: "end" | "cancel" = "end"): Event => ({
  ...event,
  phase,
  end,
});
