/**
 * A search spread over the frames of a stream: each frame searches a window or verifies proposals.
 *
 * A proposal is verified in the frame that found it and again in the next one; an instance is found
 * where both agree.
 */

import { constants, type FinderRecord } from "../data.js";
import type { Corners, Observation, RotatedBox } from "../observations.js";
import { areaMeans, nearestSamples, roundHalfEven, type Pixels } from "../pixels.js";
import type { Track } from "../tracking.js";
import { longestOf, mergeProposals, windowAround, windows, type Proposal } from "./geometry.js";

const OF = constants.search.streams;

/** A detector that proposes instances in the windows of an image. */
export interface Source {
  /** Return the proposals in a window, in pixels of the image. */
  find(image: Pixels, window: Corners): Promise<Proposal[]>;
  readonly parts: readonly number[]; // numbers of windows along the longer side of the image
  readonly cost: number; // time of a window, in inferences of the landmark network
  readonly isFewer?: boolean; // see `windows`
}

/**
 * Finder of one kind. With `acceptsNew` and `verify` it also verifies new detections and tracked
 * instances.
 */
export interface Finder<O extends Observation> extends FinderRecord {
  readonly sources: readonly Source[];
  /**
   * Run the landmark network on a box to verify a proposal, with similar tracked instances covered.
   */
  observe(image: Pixels, box: RotatedBox, proposal: Proposal, tracked: readonly O[]): Promise<O>;
  boxAfter(observation: O): RotatedBox;
  /**
   * Return the probability that two observations show an instance; `image`: image of the second
   * frame.
   */
  score(image: Pixels, proposal: Proposal, first: O, second: O): Promise<number>;
  /** Check whether a proposal shows a tracked instance. */
  isTracked(proposal: Proposal, tracked: O): boolean;
  /** Check whether an observation is tracked already. */
  isSame(observation: O, tracked: O): boolean;
  /**
   * Check whether a new detection may start a track.
   *
   * @param detections number of frames in a row in which it was detected
   * @param proposal proposal that led to it in a search of windows; null for the search of the
   *   image
   */
  acceptsNew?(
    image: Pixels,
    observation: O,
    detections: number,
    proposal: Proposal | null,
  ): Promise<boolean>;
  /** Return the image for one track, without what the network could mistake for its instance. */
  imageForTrack?(image: Pixels, track: Track<O>, tracks: readonly Track<O>[]): Pixels;
  /** Return the verified observation of a track, or null if the track ends. */
  verify?(
    image: Pixels,
    track: Track<O>,
    observation: O,
    tracks: readonly Track<O>[],
  ): Promise<O | null>;
  beginFrame?(tracked: readonly O[]): void;
  reset?(): void;
}

/** Observation of a proposal in the previous frame, and in how many frames it was returned. */
type Candidate<O> = {
  readonly proposal: Proposal;
  readonly observation: O;
  readonly repeats: number;
};

/** Content of a window when it was searched. */
interface SearchedWindow {
  readonly source: Source;
  readonly window: Corners;
  readonly frame: number;
  readonly thumbnail: Thumbnail;
  // mask of the thumbnail, 0 where an instance was tracked and 1 elsewhere
  readonly free: Uint8Array;
  pause: number; // number of passes over all windows during which the window is skipped
}

/** Search a stream window by window, a few windows in each frame. */
export class StreamSearch<O extends Observation> {
  #frame = 0;
  #number = 0;
  #inferencesLeft = 0;
  #debt = 0; // time of the last windows that is not balanced yet, in inferences
  #proposals: Proposal[] = [];
  #candidates: Candidate<O>[] = [];
  #detected: Candidate<O>[] = [];
  /** Searched windows by key, those searched longest ago first. */
  #searchedWindows = new Map<string, SearchedWindow>();
  #lastThumbnail: Thumbnail | null = null;
  /** Whether some windows were not searched yet. */
  isFirstPass = true;

  constructor(readonly finder: Finder<O>) {}

  /** Forget the previous stream. */
  reset(): void {
    this.#frame = this.#number = this.#debt = 0;
    [this.#proposals, this.#candidates, this.#detected] = [[], [], []];
    this.#searchedWindows.clear();
    this.isFirstPass = true;
    this.#lastThumbnail = null;
    this.finder.reset?.();
  }

  /** Whether an instance was detected that must be detected again. */
  get isVerifying(): boolean {
    return this.#detected.length > 0;
  }

  /** Check whether an image differs from the last one for which this method returned true. */
  isChanged(image: Pixels): boolean {
    const [thumbnail, before] = [thumbnailOf(image), this.#lastThumbnail];
    const isSame =
      before?.width === thumbnail.width &&
      before.height === thumbnail.height &&
      !differ(thumbnail, before);
    if (!isSame) this.#lastThumbnail = thumbnail;
    return !isSame;
  }

  /**
   * Verify new detections, do one frame's share of the search, and return the new instances. The
   * more is tracked, the larger the share.
   *
   * @param tracked observations of the tracked instances in this frame
   * @param detected observations of a search of the image
   * @param lost boxes in which instances were lost recently; their surroundings are searched in
   *   every other frame
   * @param share `spent`: inferences of this frame, apart from those of the tracked instances;
   *   `room`: maximum number of new instances; with 0, only the internal state advances
   */
  async step(
    image: Pixels,
    tracked: readonly O[],
    detected: readonly O[],
    lost: readonly RotatedBox[],
    { spent, room }: { spent: number; room: number },
  ): Promise<O[]> {
    const all = [...tracked, ...detected];
    this.#frame += 1;
    this.finder.beginFrame?.(all);
    const candidates = [...this.#candidates, ...this.#detected];
    [this.#candidates, this.#detected] = [[], []];
    this.#inferencesLeft = Math.max(all.length + 1, OF.MIN_INFERENCES) - spent;
    // what they show may verify the new detections
    if (room > 0 && !candidates.length) await this.#searchWindows(image, lost, all);
    const found: O[] = [];
    for (const observation of detected)
      if (await this.#accepts(image, observation, 1, null)) found.push(observation);
    const known = [...tracked, ...found];
    const roomLeft = room - found.length;
    if (roomLeft <= 0) {
      this.#proposals = []; // older ones would be outdated
      return found;
    }
    for (const candidate of candidates) {
      const second = await this.#verified(image, candidate, known, found);
      if (second) found.push(second);
    }
    if (candidates.length) await this.#searchWindows(image, lost, known);
    await this.#observeProposals(image, known, Math.max(OF.MIN_PROPOSALS, 2 * roomLeft));
    return found;
  }

  async #accepts(
    image: Pixels,
    observation: O,
    detections: number,
    proposal: Proposal | null,
  ): Promise<boolean> {
    return (await this.finder.acceptsNew?.(image, observation, detections, proposal)) ?? true;
  }

  /**
   * Add the proposals of the next windows, or of a window around a lost instance, if inferences are
   * left.
   */
  async #searchWindows(
    image: Pixels,
    lost: readonly RotatedBox[],
    tracked: readonly O[],
  ): Promise<void> {
    this.#debt = Math.max(this.#debt - 1, 0);
    if (
      this.#debt > 0 ||
      this.#inferencesLeft <= Math.min(OF.MIN_INFERENCES, this.#proposals.length)
    )
      return;
    this.#inferencesLeft -= 1;
    this.#number += 1;
    if (lost.length && this.#number % 2) {
      const { cx, cy, width } = lost[Math.floor(this.#number / 2) % lost.length]!;
      const window = windowAround([cx, cy], OF.LOST_WINDOW * width, image);
      if (window) {
        for (const source of this.finder.sources)
          this.#proposals.push(...(await source.find(image, window)));
        return;
      }
    }
    const chosen = this.#nextWindows(image, tracked);
    this.#debt = chosen.reduce((sum, { source }) => sum + source.cost, 0);
    for (const shown of chosen) {
      const free = this.#untracked(await shown.source.find(image, shown.window), tracked);
      if (free.length) shown.pause = 1;
      this.#proposals.push(...free);
    }
  }

  /** Observe the best proposals. Those that show an instance are verified in the next frame. */
  async #observeProposals(image: Pixels, tracked: readonly O[], limit: number): Promise<void> {
    this.#proposals = this.#untracked(mergeProposals(this.#proposals, image), tracked).slice(
      0,
      limit,
    );
    for (; this.#proposals.length && this.#inferencesLeft > 0; this.#inferencesLeft--) {
      const proposal = this.#proposals.shift()!;
      const observation = await this.finder.observe(image, proposal.box, proposal, tracked);
      if (observation.score > this.finder.min_presence)
        this.#candidates.push({ proposal, observation, repeats: 0 });
      else if (proposal.otherwise) this.#proposals.push(proposal.otherwise);
    }
  }

  /**
   * Verify a candidate in the next frame. Return its second observation if it is a new instance.
   *
   * Without enough inferences, the candidate is kept for the next frame.
   */
  async #verified(
    image: Pixels,
    candidate: Candidate<O>,
    tracked: readonly O[],
    found: readonly O[],
  ): Promise<O | null> {
    const [finder, { proposal, observation: first }] = [this.finder, candidate];
    if (tracked.some((other) => finder.isSame(first, other))) return null;
    if (this.#inferencesLeft < finder.inferences) {
      this.#candidates.push(candidate);
      return null;
    }
    this.#inferencesLeft -= finder.inferences;
    const observed = await finder.observe(image, finder.boxAfter(first), proposal, tracked);
    const score =
      observed.score > finder.min_presence
        ? await finder.score(image, proposal, first, observed)
        : 0;
    const second = { ...observed, score };
    if (
      score <= OF.MIN_SCORE ||
      [...tracked, ...found].some((other) => finder.isSame(second, other))
    ) {
      if (proposal.otherwise) this.#proposals.push(proposal.otherwise);
      return null;
    }
    const repeats = candidate.repeats + 1;
    if (repeats < OF.MAX_REPEATS) this.#detected.push({ proposal, observation: second, repeats });
    return (await this.#accepts(image, second, repeats, proposal)) ? second : null;
  }

  #untracked(proposals: readonly Proposal[], tracked: readonly O[]): Proposal[] {
    return proposals.filter(
      (proposal) => !tracked.some((other) => this.finder.isTracked(proposal, other)),
    );
  }

  /** Return the changed windows without tracked instances that were searched longest ago. */
  #nextWindows(image: Pixels, tracked: readonly O[]): SearchedWindow[] {
    const { sources, boxAfter } = this.finder;
    const thumbnail = thumbnailOf(image);
    const scale = OF.THUMBNAIL / longestOf(image);
    const free = new Uint8Array(thumbnail.width * thumbnail.height).fill(1);
    for (const { cx, cy, width } of tracked.map(boxAfter)) {
      const [x, y, reach] = [cx * scale, cy * scale, (width * scale) / 2];
      const right = Math.min(Math.max(Math.trunc(x + reach) + 1, 0), thumbnail.width);
      const bottom = Math.min(Math.max(Math.trunc(y + reach) + 1, 0), thumbnail.height);
      const left = Math.max(Math.trunc(x - reach), 0);
      for (let row = Math.max(Math.trunc(y - reach), 0); row < bottom; row++) {
        if (left < right) free.fill(0, row * thumbnail.width + left, row * thumbnail.width + right);
      }
    }
    const all = new Map<string, Pick<SearchedWindow, "source" | "window">>(
      sources.flatMap((source, number) =>
        source.parts
          .flatMap((count) => windows(image, count, source.isFewer))
          .map((window) => [`${number} ${window.join()}`, { source, window }] as const),
      ),
    );
    // in which all windows can be searched
    const frames = [...all.values()].reduce((sum, { source }) => sum + source.cost, 0);
    for (const name of [...this.#searchedWindows.keys()])
      if (!all.has(name)) this.#searchedWindows.delete(name);
    const never = [...all.keys()].filter((name) => !this.#searchedWindows.has(name));
    const chosen: SearchedWindow[] = [];
    this.isFirstPass = never.length > 0;
    let cost = 0;
    for (const name of [...never, ...this.#searchedWindows.keys()]) {
      if (chosen.length && cost + all.get(name)!.source.cost > 1) break;
      const before = this.#searchedWindows.get(name);
      const shown: SearchedWindow = {
        ...all.get(name)!,
        frame: this.#frame,
        thumbnail,
        free,
        pause: 1,
      };
      if (before && !this.#isDue(shown, before, frames, scale)) continue;
      if (before) shown.pause = Math.min(before.pause + 1, OF.MAX_PAUSE);
      this.#searchedWindows.delete(name);
      this.#searchedWindows.set(name, shown);
      chosen.push(shown);
      cost += shown.source.cost;
    }
    return chosen;
  }

  /** Check whether a window is due: it changed after its pause, or was not searched for long. */
  #isDue(shown: SearchedWindow, before: SearchedWindow, frames: number, scale: number): boolean {
    const rested = shown.frame - before.frame;
    if (rested <= before.pause * frames) return false;
    if (rested > (this.finder.refresh_frames ?? Infinity)) return true;
    const [left, top, right, bottom] = shown.window;
    const { width, height } = shown.thumbnail;
    const [from, to] = [Math.floor(left * scale), Math.min(Math.ceil(right * scale), width)];
    for (let y = Math.floor(top * scale); y < Math.min(Math.ceil(bottom * scale), height); y++) {
      const isFree = (at: number) => Boolean(shown.free[at] && before.free[at]);
      if (differ(shown.thumbnail, before.thumbnail, y * width + from, y * width + to, isFree))
        return true;
    }
    return false;
  }
}

/** A few pixels of an image, RGB. */
type Thumbnail = { readonly width: number; readonly height: number; readonly data: Uint8Array };

/** Return the means of sampled pixels of an image; all pixels would take too long. */
export function thumbnailOf(image: Pixels): Thumbnail {
  const scale = OF.THUMBNAIL / longestOf(image);
  const width = Math.max(roundHalfEven(image.width * scale), 1);
  const height = Math.max(roundHalfEven(image.height * scale), 1);
  const count = OF.ROWS_PER_PIXEL;
  const sampled =
    longestOf(image) > count * OF.THUMBNAIL
      ? nearestSamples(image, count * width, count * height)
      : image;
  return { width, height, data: Uint8Array.from(areaMeans(sampled, width, height), roundHalfEven) };
}

/** Check whether a run of pixels differs between two thumbnails of one size. */
function differ(
  a: Thumbnail,
  b: Thumbnail,
  from = 0,
  to = a.width * a.height,
  counts = (_: number) => true,
): boolean {
  for (let i = 3 * from; i < 3 * to; i++) {
    if (Math.abs(a.data[i]! - b.data[i]!) > OF.CHANGE && counts(Math.floor(i / 3))) return true;
  }
  return false;
}
