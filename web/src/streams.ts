/**
 * A search spread over the frames of a stream: in each a window and an inference, or two inferences.
 *
 * A place that a detector suggests in a window is looked into in that frame and, where something is seen, again in the
 * next one: only what both agree on is found.
 */

import type { RotatedBox } from "./boxes.js";
import type { Check } from "./checks.js";
import { constants } from "./data.js";
import type { Finder } from "./finders.js";
import { merged, tiles, windowAround, type Place, type Window } from "./finds.js";
import type { Observation } from "./observations.js";
import { areaMeans, type Pixels } from "./pixels.js";

const OF = constants.streams;

/** What was seen in a place in the last frame, and how often it has been found. */
interface Candidate<O> {
  readonly place: Place;
  readonly first: O;
  readonly times: number;
}

/** What a window showed when it was searched. */
interface Shown {
  readonly window: Window;
  readonly frame: number;
  readonly small: Thumbnail;
  /** 0 where something was held, else 1; a number per pixel. */
  readonly free: Uint8Array;
  /** Of all windows that it rests for. */
  rounds: number;
}

/** Searches a stream window by window, a little in each frame. */
export class StreamSearch<O extends Observation> {
  /** Tells true finds from false ones; null where nothing does. */
  readonly check: Check<O> | null;
  readonly #finder: Finder<O>;
  #frame = 0;
  #number = 0;
  #places: Place[] = [];
  #candidates: Candidate<O>[] = [];
  #found: Candidate<O>[] = [];
  /** By window, that searched longest ago first. */
  #shown = new Map<string, Shown>();
  #searched: Thumbnail | null = null;

  constructor(finder: Finder<O>, check: Check<O> | null = null) {
    this.#finder = finder;
    this.check = check;
  }

  /** Forget everything of the stream before. */
  reset(): void {
    this.#frame = this.#number = 0;
    [this.#places, this.#candidates, this.#found] = [[], [], []];
    this.#shown.clear();
    this.#searched = null;
    this.#finder.reset();
  }

  /** Whether an image shows something new since one that this said of. */
  isChanged(image: Pixels): boolean {
    const small = thumbnailOf(image);
    const before = this.#searched;
    const isSame =
      before !== null &&
      before.width === small.width &&
      before.height === small.height &&
      small.data.every((level, i) => Math.abs(level - before.data[i]!) <= OF.CHANGE);
    if (isSame) return false;
    this.#searched = small;
    return true;
  }

  /**
   * What this frame's share of the search finds. The more is held, the more a frame takes anyway, and the larger the
   * share.
   *
   * @param held seen in this frame; it is not found again
   * @param lost boxes of what was lost of late; their surroundings are searched in every other frame
   * @param share `spent`: what the frame has taken beside what is held, in inferences; `room`: how many more may be
   *   held; with none, the frame only passes
   */
  async step(
    image: Pixels,
    held: readonly O[],
    lost: readonly RotatedBox[],
    { spent, room }: { spent: number; room: number },
  ): Promise<O[]> {
    const { inferences, least_presence } = this.#finder.record;
    this.#frame += 1;
    this.#finder.beginFrame(held);
    if (room <= 0) {
      [this.#places, this.#candidates, this.#found] = [[], [], []]; // what was suggested before grows old
      return [];
    }
    let left = Math.max(held.length + 1, OF.LEAST_INFERENCES) - spent;
    const found: O[] = [];
    const candidates = [...this.#candidates, ...this.#found.filter(({ times }) => times < OF.MOST_TIMES)];
    [this.#candidates, this.#found] = [[], []];
    for (const candidate of candidates) {
      if (held.some((one) => this.#finder.isSame(candidate.first, one))) continue;
      if (left < inferences) {
        this.#candidates.push(candidate);
        continue;
      }
      left -= inferences;
      const second = await this.#confirmed(this.#finder.view(image, candidate.place, held), candidate);
      if (second === null || [...held, ...found].some((one) => this.#finder.isSame(second, one))) {
        this.#lookElsewhere(candidate.place);
        continue;
      }
      found.push(second);
      this.#found.push({ place: candidate.place, first: second, times: candidate.times + 1 });
    }
    if (left > OF.LEAST_INFERENCES || left > this.#places.length) {
      left -= 1;
      this.#places.push(...(await this.#nextPlaces(image, lost, held)));
    }
    const places = merged(this.#places, 4 * Math.max(image.width, image.height));
    this.#places = this.#free(places, held).slice(0, Math.max(OF.LEAST_PLACES, 2 * room));
    while (this.#places.length && left > 0) {
      left -= 1;
      const place = this.#places.shift()!;
      const first = await this.#finder.observe(this.#finder.view(image, place, held), place.box);
      if (first.score > least_presence) this.#candidates.push({ place, first, times: 0 });
      else this.#lookElsewhere(place);
    }
    return found;
  }

  #lookElsewhere(place: Place): void {
    const other = this.#finder.elsewhere(place);
    if (other !== null) this.#places.push(other);
  }

  /** What is seen of a candidate in the next frame, with a calibrated score; null where that is too low. */
  async #confirmed(image: Pixels, { place, first }: Candidate<O>): Promise<O | null> {
    const second = await this.#finder.observe(image, this.#finder.boxAfter(first));
    if (second.score <= this.#finder.record.least_presence) return null;
    const score = await this.#finder.score(image, place, first, second);
    return score > OF.FOUND ? { ...second, score } : null;
  }

  /** Of the next windows that show something new, or of one around what was lost. */
  async #nextPlaces(image: Pixels, lost: readonly RotatedBox[], held: readonly O[]): Promise<Place[]> {
    this.#number += 1;
    if (lost.length && this.#number % 2) {
      const { cx, cy, width } = lost[Math.floor(this.#number / 2) % lost.length]!;
      const window = windowAround(cx, cy, OF.LOST_WINDOW * width, image);
      if (window !== null) return this.#finder.places(image, window);
    }
    const places: Place[] = [];
    for (const shown of this.#nextWindows(image, held)) {
      const suggested = this.#free(await this.#finder.places(image, shown.window), held);
      if (suggested.length) shown.rounds = 1;
      places.push(...suggested);
    }
    return places;
  }

  #free(places: readonly Place[], held: readonly O[]): Place[] {
    return places.filter((place) => !held.some((one) => this.#finder.isTaken(place, one)));
  }

  /** The parts of the image that were searched longest ago of those that changed since, beside what is held. */
  #nextWindows(image: Pixels, held: readonly O[]): Shown[] {
    const small = thumbnailOf(image);
    const scale = OF.THUMBNAIL / Math.max(image.width, image.height);
    const free = new Uint8Array(small.width * small.height).fill(1);
    for (const { cx, cy, width } of held.map((one) => this.#finder.boxAfter(one))) {
      const [x, y, reach] = [cx * scale, cy * scale, (width * scale) / 2];
      const right = Math.min(Math.max(Math.trunc(x + reach) + 1, 0), small.width);
      const bottom = Math.min(Math.max(Math.trunc(y + reach) + 1, 0), small.height);
      const left = Math.max(Math.trunc(x - reach), 0);
      for (let row = Math.max(Math.trunc(y - reach), 0); row < bottom; row++) {
        if (left < right) free.fill(0, row * small.width + left, row * small.width + right);
      }
    }
    const { parts, windows_at_once } = this.#finder.record;
    const windows = new Map(tiles(image.width, image.height, parts).map((one) => [Object.values(one).join(), one]));
    for (const name of [...this.#shown.keys()]) if (!windows.has(name)) this.#shown.delete(name);
    const never = [...windows.keys()].filter((name) => !this.#shown.has(name));
    const chosen: Shown[] = [];
    for (const name of [...never, ...this.#shown.keys()]) {
      const before = this.#shown.get(name);
      const shown: Shown = { window: windows.get(name)!, frame: this.#frame, small, free, rounds: 1 };
      if (before && !this.#isDue(shown, before, windows.size, scale)) continue;
      if (before) shown.rounds = Math.min(before.rounds + 1, OF.MOST_ROUNDS);
      this.#shown.delete(name);
      this.#shown.set(name, shown);
      chosen.push(shown);
      if (chosen.length === windows_at_once) break;
    }
    return chosen;
  }

  /** Whether a window has rested for long enough, and shows something new or has not been searched for long. */
  #isDue(shown: Shown, before: Shown, windows: number, scale: number): boolean {
    const { windows_at_once, patience } = this.#finder.record;
    const rested = shown.frame - before.frame;
    if (rested * windows_at_once <= before.rounds * windows) return false;
    if (rested > (patience ?? Infinity)) return true;
    const { left, top, right, bottom } = shown.window;
    const { width, height, data } = shown.small;
    for (let y = Math.floor(top * scale); y < Math.min(Math.ceil(bottom * scale), height); y++) {
      for (let x = Math.floor(left * scale); x < Math.min(Math.ceil(right * scale), width); x++) {
        const at = y * width + x;
        if (!shown.free[at] || !before.free[at]) continue;
        for (let i = 3 * at; i < 3 * at + 3; i++) {
          if (Math.abs(data[i]! - before.small.data[i]!) > OF.CHANGE) return true;
        }
      }
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

/** Each pixel the mean of those of the image that it covers, of some of its rows. */
function thumbnailOf(image: Pixels): Thumbnail {
  const scale = OF.THUMBNAIL / Math.max(image.width, image.height);
  const every = Math.max(Math.trunc(1 / (OF.LEAST_ROWS * scale)), 1);
  const width = Math.max(Math.round(image.width * scale), 1);
  const height = Math.max(Math.round(image.height * scale), 1);
  const means = areaMeans(image, width, height, every);
  const data = new Uint8Array(means.length);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(means[i]!);
  return { width, height, data };
}
