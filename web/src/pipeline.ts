/**
 * Run the loop of every detector: search the image, run the landmark network on each box, track the
 * instances.
 */

import { constants } from "./data.js";
import {
  latestBoxes,
  suppressDuplicates,
  type Observation,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import { inGoodLight, type Pixels } from "./pixels.js";
import { finalResult, type Result, type Results } from "./results.js";
import { Tracker, type Kind, type Pair, type Track } from "./tracking.js";

const OF = constants.pipeline;

/** Instances of an image, best first, each with a calibrated probability as its score. */
export interface Found<O extends Observation> {
  readonly found: O[];
  readonly complete: boolean; // true if all proposals were processed
}

/** Searches an image thoroughly. Null: the search cannot run, so that the fast search is used. */
export type StillSearch<O extends Observation> = (image: Pixels) => Promise<Found<O> | null>;

/** Finds instances of one kind in the images of one stream, or in stills. */
export class Detector<O extends Observation> {
  readonly #tracker: Tracker<O>;
  #excess = 0; // number of instances that the last search found beyond `max_instances`
  #time = -Infinity;
  #sinceSearch: number;
  #size = "";

  /**
   * Create a detector.
   *
   * @param stillSearch searches stills. Streams run the published search.
   * @param recrops true to search each frame until `max_instances` are tracked, and to replace the
   *   boxes of tracks by those found
   */
  constructor(
    private readonly kind: Kind<O>,
    private readonly settings: Settings,
    private readonly stillSearch: StillSearch<O> | null = null,
    private readonly recrops = false,
  ) {
    this.#sinceSearch = settings.search_interval;
    this.#tracker = new Tracker(kind, settings);
  }

  /**
   * Find the instances in the next image of the stream. Another image size starts a new stream.
   * `time`: seconds; by default 30 images a second.
   */
  async track(image: Pixels, time: number | null): Promise<Results> {
    const size = `${image.width} x ${image.height}`;
    if (size !== this.#size) this.reset();
    this.#size = size;
    const tracks = await this.#step(image, time);
    if (tracks.length < this.settings.max_instances) this.#excess = 0;
    const found = await this.#results(
      image,
      tracks.map((track) => [track.smoothed, track]),
    );
    return { found, total: tracks.length + this.#excess, complete: true };
  }

  /** Find the instances in a still. */
  async detect(image: Pixels): Promise<Results> {
    const limit = this.settings.still_instances;
    const searched = await this.stillSearch?.(inGoodLight(image));
    if (searched) {
      const present = searched.found.filter((observation) => this.#isPresent(observation));
      const shown = present.slice(0, limit);
      return {
        found: await this.#results(
          image,
          shown.map((observation) => [observation, null]),
        ),
        total: present.length,
        complete: searched.complete,
      };
    }
    const found = await this.#inImage(image, limit, this.kind.keepsOverlapping);
    const observations = this.kind.keepsOverlapping ? found : suppressDuplicates(found, [], false);
    const results = await this.#results(
      image,
      observations.map((observation) => [observation, null]),
    );
    return { found: results, total: results.length, complete: true };
  }

  /** Forget all tracked instances and the time. The next image starts a new stream. */
  reset(): void {
    this.#tracker.reset();
    this.#time = -Infinity;
    this.#sinceSearch = this.settings.search_interval;
    this.#excess = 0;
  }

  async #results(
    image: Pixels,
    observations: readonly (readonly [O, Track<O> | null])[],
  ): Promise<Result[]> {
    const mirrorWidth = this.settings.flip_horizontal ? image.width : null;
    const results: Result[] = [];
    for (const [observation, track] of observations) {
      results.push(
        await finalResult(
          await this.kind.result(image, observation, track),
          mirrorWidth,
          this.settings.mirrored,
        ),
      );
    }
    return results;
  }

  /**
   * Process one frame of a stream: update the tracks, search for more instances, assign identities.
   */
  async #step(image: Pixels, time: number | null): Promise<Track<O>[]> {
    const now = this.#clock(time);
    const [pairs, found] = this.kind.searchesAlways
      ? this.#tracker.match(await this.#inImage(image, this.settings.max_instances), now)
      : await this.#observe(image);
    if (this.#tracker.update(pairs, found, now)) this.#sinceSearch = this.settings.search_interval;
    for (const track of this.#tracker.active) track.box = this.kind.follow(track);
    return this.#tracker.active;
  }

  /**
   * Return the active tracks that are still present, each with its observation, and the new
   * observations of a search.
   */
  async #observe(image: Pixels): Promise<[Pair<O>[], O[]]> {
    const { max_instances } = this.settings;
    const tracks = this.#tracker.active;
    const boxes =
      this.recrops && tracks.length < max_instances
        ? await this.#boxes(image, max_instances)
        : null;
    for (const box of boxes ?? []) {
      const track = tracks.find((one) => this.kind.isSameInstance(box, one.box));
      if (track) track.box = box;
    }
    const pairs: Pair<O>[] = [];
    for (const track of tracks) {
      const observation = await this.kind.observe(image, track.box);
      if (!this.#tracker.isAnother(track, observation) && this.#isPresent(observation))
        pairs.push([track, observation]);
    }
    const visible = pairs.flatMap(([track, observation]) =>
      track.occludedS === null ? [observation] : [],
    );
    const known = tracks.filter((track) => track.occludedS === null).map((track) => track.box);
    return [pairs, await this.#search(image, known, visible, boxes)];
  }

  /** Find boxes in the full image, at most a number. */
  async #boxes(image: Pixels, limit: number): Promise<RotatedBox[]> {
    return (await this.kind.find(image, this.settings.min_detection_score)).slice(0, limit);
  }

  /** Search the full image once. */
  async #inImage(image: Pixels, limit: number, keepsOverlapping = false): Promise<O[]> {
    const boxes = await this.#boxes(image, limit);
    return this.#present(image, keepsOverlapping ? boxes : this.#withoutOverlapping(boxes));
  }

  /**
   * Return the new instances of one frame if a search of the full image is due.
   *
   * @param known boxes of the visible tracks before this frame
   * @param visible observations of those that are still visible
   * @param boxes boxes of a search of this frame, or null if it was not searched yet
   */
  async #search(
    image: Pixels,
    known: readonly RotatedBox[],
    visible: readonly O[],
    boxes: RotatedBox[] | null,
  ): Promise<O[]> {
    const { max_instances, search_interval } = this.settings;
    const room = Math.max(max_instances - known.length, 0);
    const isDue =
      room > 0
        ? boxes !== null || !known.length || this.#sinceSearch >= search_interval
        : this.#sinceSearch >= Math.max(search_interval, constants.schedule.COUNT_INTERVAL);
    this.#sinceSearch = isDue ? 1 : this.#sinceSearch + 1;
    if (!isDue) return [];
    const all = boxes ?? (await this.kind.find(image, this.settings.min_detection_score));
    const candidates = this.#withoutOverlapping(all.slice(0, max_instances), known).slice(0, room);
    const found = await this.#present(image, candidates);
    if (found.length === room) {
      // one more shows that the result is limited
      const others = this.#withoutOverlapping(all, [...known, ...candidates]);
      found.push(...(await this.#present(image, others.slice(0, 1))));
    }
    const distinct = found.length > room ? suppressDuplicates(found, visible, true) : [];
    this.#excess = Math.max(distinct.length - room, 0);
    return found.slice(0, room);
  }

  #isPresent(observation: O): boolean {
    return this.kind.searchesAlways || observation.score > this.settings.min_presence_score;
  }

  async #present(image: Pixels, boxes: readonly RotatedBox[]): Promise<O[]> {
    const observations: O[] = [];
    for (const box of boxes) observations.push(await this.kind.observe(image, box));
    return observations.filter((observation) => this.#isPresent(observation));
  }

  /** Return an increasing time. Filters restart if the caller's time does not increase. */
  #clock(time: number | null): number {
    let now = time ?? (Number.isFinite(this.#time) ? this.#time + OF.NOMINAL_STEP_S : 0);
    if (!Number.isFinite(now) || now - this.#time < OF.MIN_STEP_S) {
      this.#tracker.restartClock();
      if (!Number.isFinite(now)) now = 0;
    }
    this.#time = now;
    return now;
  }

  /**
   * Return the boxes of new instances. Of two boxes of one instance the later stays, as in
   * MediaPipe.
   */
  #withoutOverlapping(
    boxes: readonly RotatedBox[],
    others: readonly RotatedBox[] = [],
  ): RotatedBox[] {
    const accepted = latestBoxes(boxes, (box, other) => this.kind.isSameInstance(box, other));
    return accepted.filter((box) => !others.some((other) => this.kind.isSameInstance(box, other)));
  }
}
