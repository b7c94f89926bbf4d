/**
 * A search spread over the frames of a stream: each frame searches a window or verifies proposals.
 *
 * A proposal is verified in the frame that found it and again in the next one; an instance is found where both agree.
 */

import type { RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import type { Observation } from "../observations.js";
import { areaMeans, type Pixels } from "../pixels.js";
import type { Check } from "./checks.js";
import type { Finder } from "./finders.js";
import { keyOf, longestOf, merged, windowAround, windows, type Proposal, type Window } from "./geometry.js";

const OF = constants.search.streams;

/** What was seen in a proposal in the last frame, and how often it has been found. */
interface Candidate<O> {
  readonly proposal: Proposal;
  readonly first: O;
  readonly times: number;
}

/** What a window showed when it was searched. */
interface Shown {
  readonly window: Window;
  readonly frame: number;
  readonly small: Thumbnail;
  /** 0 where something was tracked, else 1; a number per pixel. */
  readonly free: Uint8Array;
  /** Number of passes over all windows during which the window is skipped. */
  rounds: number;
}

/** Searches a stream window by window, a little in each frame. */
export class StreamSearch<O extends Observation> {
  /** Verifies what is found and tracked; null for no verification. */
  readonly check: Check<O> | null;
  readonly #finder: Finder<O>;
  #frame = 0;
  #number = 0;
  #proposals: Proposal[] = [];
  #candidates: Candidate<O>[] = [];
  #found: Candidate<O>[] = [];
  /** By window, that searched longest ago first. */
  #shown = new Map<string, Shown>();
  #searched: Thumbnail | null = null;

  constructor(finder: Finder<O>, check: Check<O> | null = null) {
    [this.#finder, this.check] = [finder, check];
  }

  /** Forget the previous stream. */
  reset(): void {
    this.#frame = this.#number = 0;
    [this.#proposals, this.#candidates, this.#found] = [[], [], []];
    this.#shown.clear();
    this.#searched = null;
    this.#finder.reset?.();
    this.check?.reset();
  }

  /** Check whether an image differs from the last one for which this method returned true. */
  isChanged(image: Pixels): boolean {
    const [small, before] = [thumbnailOf(image), this.#searched];
    const isSame = before?.width === small.width && before.height === small.height && !differ(small, before);
    if (!isSame) this.#searched = small;
    return !isSame;
  }

  /**
   * Do one frame's share of the search and return new instances. The more is tracked, the larger the share.
   *
   * @param tracked observations of the tracked instances in this frame
   * @param lost boxes in which instances were lost recently; their surroundings are searched in every other frame
   * @param share `spent`: inferences of this frame, apart from those of the tracked instances; `room`: maximum number of
   *   new instances; with 0, only the internal state advances
   */
  async step(
    image: Pixels,
    tracked: readonly O[],
    lost: readonly RotatedBox[],
    { spent, room }: { spent: number; room: number },
  ): Promise<O[]> {
    const finder = this.#finder;
    this.#frame += 1;
    finder.beginFrame?.(tracked);
    const candidates = [...this.#candidates, ...this.#found.filter(({ times }) => times < OF.MOST_TIMES)];
    [this.#candidates, this.#found] = [[], []];
    if (room <= 0) {
      this.#proposals = []; // older ones would be outdated
      return [];
    }
    let left = Math.max(tracked.length + 1, OF.LEAST_INFERENCES) - spent;
    const found: O[] = [];
    for (const candidate of candidates) {
      const { proposal, first, times } = candidate;
      if (tracked.some((one) => finder.isSame(first, one))) continue;
      if (left < finder.inferences) {
        this.#candidates.push(candidate);
        continue;
      }
      left -= finder.inferences;
      const second = await this.#confirmed(this.#masked(image, proposal, tracked), candidate);
      if (second === null || [...tracked, ...found].some((one) => finder.isSame(second, one))) this.#lookElsewhere(proposal);
      else {
        found.push(second);
        this.#found.push({ proposal, first: second, times: times + 1 });
      }
    }
    if (left > OF.LEAST_INFERENCES || left > this.#proposals.length) {
      left -= 1;
      this.#proposals.push(...(await this.#nextProposals(image, lost, tracked)));
    }
    this.#proposals = this.#free(merged(this.#proposals, image), tracked).slice(0, Math.max(OF.LEAST_PLACES, 2 * room));
    for (; this.#proposals.length && left > 0; left--) {
      const proposal = this.#proposals.shift()!;
      const first = await finder.observe(this.#masked(image, proposal, tracked), proposal.box);
      if (first.score > finder.least_presence) this.#candidates.push({ proposal, first, times: 0 });
      else this.#lookElsewhere(proposal);
    }
    return found;
  }

  #masked(image: Pixels, proposal: Proposal, tracked: readonly O[]): Pixels {
    return this.#finder.maskedImage?.(image, proposal, tracked) ?? image;
  }

  #lookElsewhere(proposal: Proposal): void {
    const other = this.#finder.elsewhere?.(proposal);
    if (other) this.#proposals.push(other);
  }

  /** Return what is seen of a candidate in the next frame, with a calibrated score; null where that is too low. */
  async #confirmed(image: Pixels, { proposal, first }: Candidate<O>): Promise<O | null> {
    const second = await this.#finder.observe(image, this.#finder.boxAfter(first));
    if (second.score <= this.#finder.least_presence) return null;
    const score = await this.#finder.score(image, proposal, first, second);
    return score > OF.FOUND ? { ...second, score } : null;
  }

  /** Return the proposals of the next windows that show something new, or of one around what was lost. */
  async #nextProposals(image: Pixels, lost: readonly RotatedBox[], tracked: readonly O[]): Promise<Proposal[]> {
    this.#number += 1;
    if (lost.length && this.#number % 2) {
      const { cx, cy, width } = lost[Math.floor(this.#number / 2) % lost.length]!;
      const window = windowAround([cx, cy], OF.LOST_WINDOW * width, image);
      if (window !== null) return this.#finder.propose(image, window);
    }
    const proposals: Proposal[] = [];
    for (const shown of this.#nextWindows(image, tracked)) {
      const free = this.#free(await this.#finder.propose(image, shown.window), tracked);
      if (free.length) shown.rounds = 1;
      proposals.push(...free);
    }
    return proposals;
  }

  #free(proposals: readonly Proposal[], tracked: readonly O[]): Proposal[] {
    return proposals.filter((proposal) => !tracked.some((one) => this.#finder.isTaken(proposal, one)));
  }

  /** Return the windows that were searched longest ago of those that changed since, apart from what is tracked. */
  #nextWindows(image: Pixels, tracked: readonly O[]): Shown[] {
    const { parts, windows_at_once, boxAfter } = this.#finder;
    const small = thumbnailOf(image);
    const scale = OF.THUMBNAIL / longestOf(image);
    const free = new Uint8Array(small.width * small.height).fill(1);
    for (const { cx, cy, width } of tracked.map(boxAfter)) {
      const [x, y, reach] = [cx * scale, cy * scale, (width * scale) / 2];
      const right = Math.min(Math.max(Math.trunc(x + reach) + 1, 0), small.width);
      const bottom = Math.min(Math.max(Math.trunc(y + reach) + 1, 0), small.height);
      const left = Math.max(Math.trunc(x - reach), 0);
      for (let row = Math.max(Math.trunc(y - reach), 0); row < bottom; row++) {
        if (left < right) free.fill(0, row * small.width + left, row * small.width + right);
      }
    }
    const all = new Map(parts.flatMap((count) => windows(image, count)).map((one) => [keyOf(one), one]));
    for (const name of [...this.#shown.keys()]) if (!all.has(name)) this.#shown.delete(name);
    const never = [...all.keys()].filter((name) => !this.#shown.has(name));
    const chosen: Shown[] = [];
    for (const name of [...never, ...this.#shown.keys()]) {
      const before = this.#shown.get(name);
      const shown: Shown = { window: all.get(name)!, frame: this.#frame, small, free, rounds: 1 };
      if (before && !this.#isDue(shown, before, all.size, scale)) continue;
      if (before) shown.rounds = Math.min(before.rounds + 1, OF.MOST_ROUNDS);
      this.#shown.delete(name);
      this.#shown.set(name, shown);
      chosen.push(shown);
      if (chosen.length === windows_at_once) break;
    }
    return chosen;
  }

  /** Check whether a window has rested for long enough, and shows something new or has not been searched for long. */
  #isDue(shown: Shown, before: Shown, count: number, scale: number): boolean {
    const { windows_at_once, patience } = this.#finder;
    const rested = shown.frame - before.frame;
    if (rested * windows_at_once <= before.rounds * count) return false;
    if (rested > (patience ?? Infinity)) return true;
    const { left, top, right, bottom } = shown.window;
    const { width, height } = shown.small;
    const [from, to] = [Math.floor(left * scale), Math.min(Math.ceil(right * scale), width)];
    for (let y = Math.floor(top * scale); y < Math.min(Math.ceil(bottom * scale), height); y++) {
      const isFree = (at: number) => Boolean(shown.free[at] && before.free[at]);
      if (differ(shown.small, before.small, y * width + from, y * width + to, isFree)) return true;
    }
    return false;
  }
}

/** A few pixels of an image, RGB. */
interface Thumbnail {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Return a thumbnail whose pixels are the means of those of the image that they cover, of some of its rows. */
function thumbnailOf(image: Pixels): Thumbnail {
  const scale = OF.THUMBNAIL / longestOf(image);
  const every = Math.max(Math.trunc(1 / (OF.LEAST_ROWS * scale)), 1);
  const width = Math.max(Math.round(image.width * scale), 1);
  const height = Math.max(Math.round(image.height * scale), 1);
  return { width, height, data: Uint8Array.from(areaMeans(image, width, height, every), Math.round) };
}

/** Check whether a run of pixels differs between two thumbnails of one size. */
function differ(a: Thumbnail, b: Thumbnail, from = 0, to = a.width * a.height, counts = (_: number) => true): boolean {
  for (let i = 3 * from; i < 3 * to; i++) {
    if (Math.abs(a.data[i]! - b.data[i]!) > OF.CHANGE && counts(Math.floor(i / 3))) return true;
  }
  return false;
}
