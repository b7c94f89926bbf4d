/** The one loop behind every detector: find, crop, landmark, place, carry. */

import { iou, latestBoxes, type RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import { withoutDuplicates, type Observation, type Point } from "./observations.js";
import type { Settings } from "./options.js";
import type { Pixels } from "./pixels.js";
import { shown, type Result, type Results } from "./results.js";
import { inGoodLight } from "./search/light.js";
import type { StreamSearch } from "./search/streams.js";
import type { SmootherOf } from "./smoothing.js";
import { Tracker, type Pair, type Track } from "./tracking.js";

const { NOMINAL_STEP_S, MIN_STEP_S } = constants.pipeline;
const TAKEN_IOU = 0.5;

/** What differs between hands, faces, bodies and people. */
export interface Kind<O extends Observation, R extends Result> {
  /** Every image is searched and no box is carried over; observations give the identity, and are always present. */
  readonly searchesAlways?: boolean;
  /** Instances of an image on its own stay, however they overlap. */
  readonly keepsOverlapping?: boolean;
  /** Keypoints that say whether two instances overlap: without limbs that reach out to others; null for all. */
  readonly core: readonly number[] | null;
  /** Boxes for the landmark network from a search over the whole image, best first. */
  find(image: Pixels, minScore: number): Promise<RotatedBox[]>;
  /** What the landmark network sees in one box. */
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  /** The next frame's box. */
  follow(track: Track<O>): RotatedBox;
  /** Whether a found box shows the instance of another box. */
  isTaken(box: RotatedBox, other: RotatedBox): boolean;
  newSmoother(settings: Settings): SmootherOf<O>;
  /** The observation of an instance that another one hides: moved on, with a score of its own. */
  moved(observation: O, shift: Point, score: number): O;
  /** What is told of an instance; of an image on its own without a track. */
  result(image: Pixels, observation: O, track: Track<O> | null): R | Promise<R>;
}

/**
 * Finds everything in an image on its own, or in one of a stream, with calibrated scores, the best first; null where it
 * cannot run and a fast search will do. `complete`: whether it processed all proposals or found enough.
 */
export type ThoroughSearch<O extends Observation> = (image: Pixels) => Promise<{ found: O[]; complete: boolean } | null>;

/** Finds instances of one kind in the images of one stream, or in stills. */
export class Detector<O extends Observation, R extends Result> {
  readonly #kind: Kind<O, R>;
  readonly #settings: Settings;
  readonly #tracker: Tracker<O>;
  readonly #spread: StreamSearch<O> | null;
  readonly #thorough: ThoroughSearch<O> | null;
  #time = -Infinity;
  #sinceSearch: number;
  #isFirstFrame = true;
  #size = "";

  /** `thorough` is for images on their own, and where `search` says so for those of streams. */
  constructor(kind: Kind<O, R>, settings: Settings, spread: StreamSearch<O> | null, thorough: ThoroughSearch<O> | null = null) {
    this.#kind = kind;
    this.#settings = settings;
    this.#spread = spread;
    this.#thorough = thorough;
    this.#sinceSearch = settings.search_interval;
    const isFast = settings.search === "fast";
    this.#tracker = new Tracker<O>({
      newSmoother: kind.newSmoother(settings),
      oneReading: !isFast,
      move: isFast ? null : (observation, shift, score) => kind.moved(observation, shift, score),
      most: settings.max_instances,
      core: kind.core,
    });
  }

  /** Instances in the next image of the stream, which another size starts anew; `time` in seconds, else 30 a second. */
  async track(image: Pixels, time: number | null): Promise<Result[]> {
    const size = `${image.width} x ${image.height}`;
    if (size !== this.#size) this.reset();
    this.#size = size;
    const tracks = await this.#step(image, time);
    return this.#results(image, tracks.map((track) => [track.smoothed, track]));
  }

  /** Instances in an image on its own. */
  async detect(image: Pixels): Promise<Results> {
    const searched = await this.#thorough?.(inGoodLight(image));
    if (searched) {
      const present = searched.found.filter((one) => this.#isPresent(one));
      const results = await this.#results(image, present.slice(0, this.#settings.max_instances).map((one) => [one, null]));
      return Object.assign(results, { total: present.length, complete: searched.complete });
    }
    const seen = await this.#inWhole(image, this.#kind.keepsOverlapping);
    const kept = this.#kind.keepsOverlapping ? seen : withoutDuplicates(seen, [], false);
    return this.#results(image, kept.map((one) => [one, null]));
  }

  /** Forget every tracked instance and the time: the next image starts a new stream. */
  reset(): void {
    this.#tracker.reset();
    this.#isFirstFrame = true;
    this.#spread?.reset();
    this.#time = -Infinity;
    this.#sinceSearch = this.#settings.search_interval;
  }

  async #results(image: Pixels, seen: readonly (readonly [O, Track<O> | null])[]): Promise<Result[]> {
    const mirrorWidth = this.#settings.flip_horizontal ? image.width : null;
    const results: Result[] = [];
    for (const [one, track] of seen) results.push(await shown(await this.#kind.result(image, one, track), mirrorWidth));
    return results;
  }

  /** One frame of a stream: carry what is held, search where there is room, say who is who. */
  async #step(image: Pixels, time: number | null): Promise<Track<O>[]> {
    const now = this.#clock(time);
    const [pairs, found] = this.#kind.searchesAlways
      ? this.#tracker.match(await this.#inWhole(image), now)
      : await this.#carried(image, now);
    if (this.#tracker.update(pairs, found, now)) this.#sinceSearch = this.#settings.search_interval;
    this.#isFirstFrame = false;
    for (const track of this.#tracker.active) track.box = this.#kind.follow(track);
    return this.#tracker.active;
  }

  /** What is still seen of those held, and what a search finds. */
  async #carried(image: Pixels, now: number): Promise<[Pair<O>[], O[]]> {
    const held = this.#tracker.active;
    const pairs: Pair<O>[] = [];
    for (const track of held) {
      const seen = await this.#look(image, track, held);
      if (seen !== null && this.#isPresent(seen)) pairs.push([track, seen]);
    }
    return [pairs, await this.#search(image, held, pairs.filter(([track]) => track.hidden === null), now)];
  }

  /** What is seen of one of those held; null where it may not stay. */
  async #look(image: Pixels, track: Track<O>, held: readonly Track<O>[]): Promise<O | null> {
    const check = this.#spread?.check;
    let seen: O | null = await this.#kind.observe(check ? check.maskedImage(image, track, held) : image, track.box);
    if (check) seen = await check.verify(image, track, seen, held);
    return seen === null || this.#tracker.isAnother(track, seen) ? null : seen;
  }

  /** What a search over the whole image finds. */
  async #inWhole(image: Pixels, keepsOverlapping = false): Promise<O[]> {
    const { min_detection_score, max_instances } = this.#settings;
    const boxes = (await this.#kind.find(image, min_detection_score)).slice(0, max_instances);
    return this.#present(image, keepsOverlapping ? boxes : this.#withoutTaken(boxes));
  }

  /** What a search of this frame finds: in the whole image when it is due, and where that is spread, step by step. */
  async #search(image: Pixels, held: readonly Track<O>[], seen: readonly Pair<O>[], now: number): Promise<O[]> {
    const { max_instances, min_detection_score, search_interval } = this.#settings;
    const spread = this.#spread;
    const inView = held.filter((track) => track.hidden === null);
    let carried: RotatedBox[];
    let isDue: boolean;
    if (spread === null) {
      carried = inView.map((track) => track.box);
      isDue = this.#isSearchDue(carried.length);
    } else {
      carried = seen.map(([track]) => track.box); // what is lost in this frame is searched in it
      const isLost = carried.length < inView.length;
      const isHidden = this.#sinceSearch > 1 && held.some((track) => track.hidden !== null);
      isDue = isLost || isHidden || this.#isSearchDue(carried.length);
      if (isDue && !held.length && this.#sinceSearch < search_interval) isDue = spread.isChanged(image);
    }
    const room = max_instances - carried.length;
    this.#sinceSearch = isDue ? 1 : this.#sinceSearch + 1;
    isDue &&= room > 0;
    let found: O[] = [];
    if (isDue && this.#thorough && this.#settings.search === "thorough") {
      found = ((await this.#thorough(image))?.found ?? []).filter((one) => this.#isPresent(one));
    } else if (isDue) {
      const boxes = (await this.#kind.find(image, min_detection_score)).slice(0, max_instances);
      found = await this.#present(image, this.#withoutTaken(boxes, carried).slice(0, room));
    }
    if (spread !== null) {
      const beside = seen.map(([, one]) => one);
      const more = await spread.step(image, [...beside, ...found], this.#tracker.lostBoxes(now), {
        spent: found.length + (isDue && beside.length ? 1 : 0),
        room: room - found.length,
      });
      found = [...found, ...more.filter((one) => this.#isPresent(one))];
      if (spread.check) {
        const admitted: O[] = [];
        for (const one of found) if (await spread.check.acceptsNew(image, one, this.#isFirstFrame)) admitted.push(one);
        found = admitted;
      }
    }
    return found.slice(0, Math.max(room, 0));
  }

  #isSearchDue(held: number): boolean {
    if (held >= this.#settings.max_instances) return false;
    return held === 0 || this.#sinceSearch >= this.#settings.search_interval;
  }

  #isPresent(observation: O): boolean {
    return this.#kind.searchesAlways || observation.score > this.#settings.min_presence_score;
  }

  async #present(image: Pixels, boxes: readonly RotatedBox[]): Promise<O[]> {
    const seen: O[] = [];
    for (const box of boxes) seen.push(await this.#kind.observe(image, box));
    return seen.filter((one) => this.#isPresent(one));
  }

  /** A time that moves forward; where the caller's does not, filters start anew. */
  #clock(time: number | null): number {
    let now = time ?? (Number.isFinite(this.#time) ? this.#time + NOMINAL_STEP_S : 0);
    if (!Number.isFinite(now) || now - this.#time < MIN_STEP_S) {
      this.#tracker.restartClock();
      if (!Number.isFinite(now)) now = 0;
    }
    this.#time = now;
    return now;
  }

  /** Boxes of instances that are not taken; of two of one instance the later stays, as in MediaPipe. */
  #withoutTaken(boxes: readonly RotatedBox[], taken: readonly RotatedBox[] = []): RotatedBox[] {
    const kept = latestBoxes(boxes, (box, other) => this.#kind.isTaken(box, other));
    return kept.filter((box) => !taken.some((other) => this.#kind.isTaken(box, other)));
  }
}

/** Whether two boxes overlap by half, as those of one hand or face do. */
export function overlapByHalf(box: RotatedBox, other: RotatedBox): boolean {
  return iou(box, other) > TAKEN_IOU;
}
