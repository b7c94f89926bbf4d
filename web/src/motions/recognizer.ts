/** Recognizes the motions of all hands of a stream, as Python's `MotionRecognizer`. */

import { MOTIONS } from "../data.js";
import { CustomWatch, type CustomMotions } from "./custom.js";
import { way, type MotionEvent, type Step } from "./events.js";
import { HandPair, HandTrack, type Points } from "./tracks.js";

/** A tracked hand: keypoints of the image in pixels, and in metres. */
export interface Tracked {
  readonly id: number;
  readonly handedness: "Left" | "Right";
  readonly points: Points;
  readonly metres: Points;
}

/** A person's two sides share an id. */
interface Known extends Pick<Tracked, "id" | "handedness"> {
  readonly track: HandTrack;
}

/** Recognizes the motions of hands, frame by frame. */
export class MotionRecognizer {
  readonly #custom: CustomMotions;
  readonly #known = new Map<string, Known>();
  readonly #watches = new Map<string, Pick<Tracked, "id" | "handedness"> & { readonly watch: CustomWatch }>();
  #pair: { readonly first: Known; readonly second: Known; readonly both: HandPair } | null = null;

  /** `custom`: motions to report beside the shipped ones; each is one event, its end. */
  constructor(custom: CustomMotions) {
    this.#custom = custom;
  }

  /** Forget every hand, before another stream. */
  reset(): void {
    this.#known.clear();
    this.#watches.clear();
    this.#pair = null;
  }

  /** The events of one frame; its time, in seconds, is not before that of any frame before. */
  update(hands: readonly Tracked[], time: number): MotionEvent[] {
    const events: MotionEvent[] = [];
    for (const hand of hands) {
      if (![...hand.points, ...hand.metres].flat().every(Number.isFinite)) continue;
      const known = found(this.#known, hand, () => ({ ...whose(hand), track: new HandTrack() }));
      for (const step of known.track.follow(hand.points, hand.metres, time)) events.push(eventOf(known, step, time));
    }
    events.push(...this.#paired(time));
    for (const [key, known] of this.#known) {
      if (time - known.track.time <= MOTIONS.forget_s) continue;
      this.#known.delete(key);
      for (const step of known.track.stop()) events.push(eventOf(known, step, time));
    }
    if (this.#custom.names.length) events.push(...this.#spotted(hands, time));
    return events;
  }

  /** The events of two hands, where there are two. */
  *#paired(time: number): Generator<MotionEvent, void, undefined> {
    const now = [...this.#known.values()].filter(({ track }) => track.time === time).sort(byHand);
    const pair = this.#pair;
    if (pair !== null && !(now.length === 2 && now[0] === pair.first && now[1] === pair.second)) {
      for (const step of pair.both.stop()) yield eventOf(pair.first, step, time);
      this.#pair = null;
    }
    if (now.length !== 2) return;
    const [first, second] = now as [Known, Known];
    this.#pair ??= { first, second, both: new HandPair() };
    for (const step of this.#pair.both.follow(first.track, second.track)) {
      if (step.name === "Clap" && step.phase === "begin") {
        for (const one of [first, second]) {
          for (const swiped of one.track.swipes.stop()) yield eventOf(one, swiped, time); // they came quickly, and did not swipe
        }
      }
      yield eventOf(first, step, time);
    }
  }

  /** The custom motions that ended shortly before this frame. */
  *#spotted(hands: readonly Tracked[], time: number): Generator<MotionEvent, void, undefined> {
    for (const hand of hands) {
      const isLeft = hand.handedness === "Left";
      found(this.#watches, hand, () => ({ ...whose(hand), watch: new CustomWatch(this.#custom, isLeft) })).watch.follow(hand.points, time);
    }
    for (const [key, { watch, id, handedness }] of this.#watches) {
      const told = watch.tell(time);
      if (told !== null) {
        const { name, score: strength } = told;
        yield { name, phase: "end", id, handedness, time, strength, moved: [0, 0], count: 0 };
      }
      if (time - watch.time > MOTIONS.forget_s) this.#watches.delete(key);
    }
  }
}

const whose = ({ id, handedness }: Tracked) => ({ id, handedness });

/** What is kept of a hand, or made where it is new. */
function found<T>(kept: Map<string, T>, hand: Tracked, make: () => T): T {
  const key = `${hand.id} ${hand.handedness}`;
  const one = kept.get(key) ?? make();
  kept.set(key, one);
  return one;
}

/** By id, the left one of a person's two first. */
const byHand = (one: Known, other: Known) => one.id - other.id || (one.handedness < other.handedness ? -1 : 1);

function eventOf({ id, handedness, track }: Known, { name, phase, strength, start, rounds = 0 }: Step, time: number): MotionEvent {
  return { name, phase, id, handedness, time, strength, moved: way(start, track.palm), count: rounds };
}
