/** Recognize the motions of all hands in a stream, as Python's `MotionRecognizer`. */

import { MOTIONS } from "../data.js";
import { HandSearch, type CustomMotions } from "./custom.js";
import { way, type MotionEvent, type Step } from "./events.js";
import { HandPair, HandTrack, type Points } from "./tracks.js";

/** A tracked hand with its keypoints in pixels and in metres. */
export interface Tracked {
  readonly id: number;
  readonly handedness: "Left" | "Right";
  readonly points: Points;
  readonly metres: Points;
}

/** A hand and its track. The two hands of a person share an id. */
interface KnownHand extends Pick<Tracked, "id" | "handedness"> {
  readonly track: HandTrack;
}

/** Recognizes the motions of hands, frame by frame. */
export class MotionRecognizer {
  readonly #custom: CustomMotions;
  readonly #hands = new Map<string, KnownHand>();
  readonly #watches = new Map<string, Pick<Tracked, "id" | "handedness"> & { readonly watch: HandSearch }>();
  #pair: { readonly first: KnownHand; readonly second: KnownHand; readonly both: HandPair } | null = null;

  /** @param custom additional motions to report; each is one event, its end */
  constructor(custom: CustomMotions) {
    this.#custom = custom;
  }

  /** Forget all hands before another stream. */
  reset(): void {
    this.#hands.clear();
    this.#watches.clear();
    this.#pair = null;
  }

  /** Return the events of one frame; `time`: seconds, which never decrease. */
  update(hands: readonly Tracked[], time: number): MotionEvent[] {
    const events: MotionEvent[] = [];
    for (const hand of hands) {
      if (![...hand.points, ...hand.metres].flat().every(Number.isFinite)) continue;
      const known = getOrCreate(this.#hands, hand, () => ({ ...idOf(hand), track: new HandTrack() }));
      for (const step of known.track.follow(hand.points, hand.metres, time)) events.push(eventOf(known, step, time));
    }
    events.push(...this.#pairEvents(time));
    for (const [key, known] of this.#hands) {
      if (time - known.track.time <= MOTIONS.forget_s) continue;
      this.#hands.delete(key);
      for (const step of known.track.stop()) events.push(eventOf(known, step, time));
    }
    if (this.#custom.names.length) events.push(...this.#customEvents(hands, time));
    return events;
  }

  /** Yield the events of a pair of hands, if there are two. */
  *#pairEvents(time: number): Generator<MotionEvent, void, undefined> {
    const now = [...this.#hands.values()].filter(({ track }) => track.time === time).sort(compareHands);
    const pair = this.#pair;
    if (pair !== null && !(now.length === 2 && now[0] === pair.first && now[1] === pair.second)) {
      for (const step of pair.both.stop()) yield eventOf(pair.first, step, time);
      this.#pair = null;
    }
    if (now.length !== 2) return;
    const [first, second] = now as [KnownHand, KnownHand];
    this.#pair ??= { first, second, both: new HandPair() };
    for (const step of this.#pair.both.follow(first.track, second.track)) {
      if (step.name === "Clap" && step.phase === "begin") {
        for (const hand of [first, second]) {
          for (const swipe of hand.track.swipes.stop()) yield eventOf(hand, swipe, time); // their quick movement was a clap, not a swipe
        }
      }
      yield eventOf(first, step, time);
    }
  }

  /** Yield the custom motions that ended shortly before this frame. */
  *#customEvents(hands: readonly Tracked[], time: number): Generator<MotionEvent, void, undefined> {
    for (const hand of hands) {
      const isLeft = hand.handedness === "Left";
      getOrCreate(this.#watches, hand, () => ({ ...idOf(hand), watch: new HandSearch(this.#custom, isLeft) })).watch.follow(hand.points, time);
    }
    for (const [key, { watch, id, handedness }] of this.#watches) {
      const match = watch.classify(time);
      if (match !== null) {
        const { name, score: strength } = match;
        yield { name, phase: "end", id, handedness, time, strength, moved: [0, 0], count: 0 };
      }
      if (time - watch.time > MOTIONS.forget_s) this.#watches.delete(key);
    }
  }
}

const idOf = ({ id, handedness }: Tracked) => ({ id, handedness });

/** Return the entry of a hand; create it for a new hand. */
function getOrCreate<T>(entries: Map<string, T>, hand: Tracked, make: () => T): T {
  const key = `${hand.id} ${hand.handedness}`;
  const entry = entries.get(key) ?? make();
  entries.set(key, entry);
  return entry;
}

/** Sort by id, the left hand of a person first. */
const compareHands = (a: KnownHand, b: KnownHand) => a.id - b.id || (a.handedness < b.handedness ? -1 : 1);

function eventOf({ id, handedness, track }: KnownHand, { name, phase, strength, start, rounds = 0 }: Step, time: number): MotionEvent {
  return { name, phase, id, handedness, time, strength, moved: way(start, track.palm), count: rounds };
}
