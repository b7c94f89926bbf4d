/**
 * A search spread over the frames of a stream: in each a window and an inference, or two inferences.
 *
 * A place that a detector suggests in a window is looked into in that frame and, where something is seen, again in the
 * next one: only what both agree on is found.
 */

import { iou, wrapAngle, type RotatedBox } from "./boxes.js";
import { constants, type Finder as FinderRecord } from "./data.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "./hands.js";
import { cornersOf, meanPixels, shareInside, sizeOf, type Observation } from "./observations.js";
import { cut, type Pixels } from "./pixels.js";
import type { SingleShotDetector } from "./ssd.js";

const OF = constants.streams;
const FINDS = constants.finds;
const LEAST_WINDOW_PX = 24;
const TAKEN_IOU = 0.3;

/** A part of an image in whole pixels. */
interface Window {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Where to search, and how sure what suggests it is. */
export interface Place {
  readonly box: RotatedBox;
  readonly score: number;
}

/** What was seen in a place in the last frame, and how often it has been found. */
interface Candidate<O> {
  readonly place: Place;
  readonly first: O;
  readonly times: number;
}

/** What differs between kinds in a stream's windows. */
export interface Finder<O extends Observation> {
  readonly record: FinderRecord;
  /** Where a detector suggests something in a window, in pixels of the image. */
  places(image: Pixels, window: Window): Promise<Place[]>;
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  boxAfter(seen: O): RotatedBox;
  /** Probability that what was seen in two frames is one; the image is that of the second. */
  score(image: Pixels, first: O, second: O): Promise<number>;
}

/** Hands by the palm detector, confirmed in the mirror. */
export class HandFinder implements Finder<HandObservation> {
  readonly record: FinderRecord;
  readonly #palms: SingleShotDetector;
  readonly #hands: Hands;
  readonly #least: number;

  constructor(palms: SingleShotDetector, hands: Hands, least: number, record: FinderRecord) {
    this.#palms = palms;
    this.#hands = hands;
    this.#least = least;
    this.record = record;
  }

  async places(image: Pixels, { left, top, right, bottom }: Window): Promise<Place[]> {
    const palms = await this.#palms.find(cut(image, left, top, right, bottom), this.#least);
    return palms.map((palm) => {
      const box = boxFromPalm(palm);
      return { box: { ...box, cx: box.cx + left, cy: box.cy + top }, score: palm.score };
    });
  }

  observe(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    return this.#hands.observe(image, box);
  }

  boxAfter(seen: HandObservation): RotatedBox {
    return boxAroundHand(seen.keypoints);
  }

  async score(image: Pixels, first: HandObservation, second: HandObservation): Promise<number> {
    const mirrored = await this.#hands.observeInMirror(image, boxAroundHand(second.keypoints));
    const features: Record<string, number> = {
      presence: logit(Math.min(first.score, second.score)),
      mirrored: logit(mirrored.score),
    };
    const { bias, weights } = this.record.score;
    const sum = Object.entries(weights).reduce((total, [name, weight]) => total + weight * features[name]!, bias);
    return 1 / (1 + Math.exp(-sum));
  }
}

/** Log odds, kept within those of one in a thousand. */
function logit(probability: number): number {
  const p = Math.min(Math.max(probability, 1e-3), 1 - 1e-3);
  return Math.log(p / (1 - p));
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
  readonly #finder: Finder<O>;
  #frame = 0;
  #number = 0;
  #places: Place[] = [];
  #candidates: Candidate<O>[] = [];
  #found: Candidate<O>[] = [];
  /** By window, that searched longest ago first. */
  #shown = new Map<string, Shown>();
  #searched: Thumbnail | null = null;

  constructor(finder: Finder<O>) {
    this.#finder = finder;
  }

  /** Forget everything of the stream before. */
  reset(): void {
    this.#frame = this.#number = 0;
    [this.#places, this.#candidates, this.#found] = [[], [], []];
    this.#shown.clear();
    this.#searched = null;
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
    if (room <= 0) {
      [this.#places, this.#candidates, this.#found] = [[], [], []]; // what was suggested before grows old
      return [];
    }
    let left = Math.max(held.length + 1, OF.LEAST_INFERENCES) - spent;
    const found: O[] = [];
    const candidates = [...this.#candidates, ...this.#found.filter(({ times }) => times < OF.MOST_TIMES)];
    [this.#candidates, this.#found] = [[], []];
    for (const candidate of candidates) {
      if (held.some((one) => isSameFind(candidate.first.keypoints, one.keypoints))) continue;
      if (left < inferences) {
        this.#candidates.push(candidate);
        continue;
      }
      left -= inferences;
      const second = await this.#confirmed(image, candidate);
      if (second === null || [...held, ...found].some((one) => isSameFind(second.keypoints, one.keypoints))) continue;
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
      const first = await this.#finder.observe(image, place.box);
      if (first.score > least_presence) this.#candidates.push({ place, first, times: 0 });
    }
    return found;
  }

  /** What is seen of a candidate in the next frame, with a calibrated score; null where that is too low. */
  async #confirmed(image: Pixels, { first }: Candidate<O>): Promise<O | null> {
    const second = await this.#finder.observe(image, this.#finder.boxAfter(first));
    if (second.score <= this.#finder.record.least_presence) return null;
    const score = await this.#finder.score(image, first, second);
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
    return places.filter((place) => !held.some((one) => iou(place.box, this.#finder.boxAfter(one)) > TAKEN_IOU));
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

  /** Whether a window has rested for long enough, and shows something new. */
  #isDue(shown: Shown, before: Shown, windows: number, scale: number): boolean {
    if ((shown.frame - before.frame) * this.#finder.record.windows_at_once <= before.rounds * windows) return false;
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
function thumbnailOf({ width, height, data }: Pixels): Thumbnail {
  const scale = OF.THUMBNAIL / Math.max(width, height);
  const every = Math.max(Math.trunc(1 / (OF.LEAST_ROWS * scale)), 1);
  const rows = Math.ceil(height / every);
  const small = { width: Math.max(Math.round(width * scale), 1), height: Math.max(Math.round(height * scale), 1) };
  const sums = new Float64Array(3 * small.width * small.height);
  const across = shares(width, small.width);
  const down = shares(rows, small.height);
  for (let row = 0; row < rows; row++) {
    const line = new Float64Array(3 * small.width);
    const start = row * every * width * 4;
    for (const [from, to, share] of across) {
      for (let k = 0; k < 3; k++) line[3 * to + k]! += share * data[start + 4 * from + k]!;
    }
    for (const [from, to, share] of down) {
      if (from === row) line.forEach((sum, i) => (sums[3 * to * small.width + i]! += share * sum));
    }
  }
  return { ...small, data: Uint8Array.from(sums, Math.round) };
}

/** Which of `from` pixels in a row go into which of `to`, and with what weight. */
function shares(from: number, to: number): [number, number, number][] {
  const per = from / to;
  const all: [number, number, number][] = [];
  for (let i = 0; i < to; i++) {
    for (let j = Math.floor(i * per); j < Math.min(Math.ceil((i + 1) * per), from); j++) {
      all.push([j, i, (Math.min(j + 1, (i + 1) * per) - Math.max(j, i * per)) / per]);
    }
  }
  return all;
}

/** Tiles of the image, so many in a row and column each time. */
function tiles(width: number, height: number, parts: readonly number[]): Window[] {
  const found: Window[] = [];
  for (const n of parts) {
    if (n > 1 && (Math.max(width, height) < n * FINDS.MIN_WINDOW_PX || Math.min(width, height) < n)) continue;
    const x = (i: number) => Math.round((width * i) / n);
    const y = (j: number) => Math.round((height * j) / n);
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < n; i++) found.push({ left: x(i), top: y(j), right: x(i + 1), bottom: y(j + 1) });
    }
  }
  return found;
}

/** The square window that the image shows, or null where that is next to nothing. */
function windowAround(cx: number, cy: number, side: number, image: Pixels): Window | null {
  const window = {
    left: Math.max(Math.trunc(cx - side / 2), 0),
    top: Math.max(Math.trunc(cy - side / 2), 0),
    right: Math.min(Math.trunc(cx + side / 2), image.width),
    bottom: Math.min(Math.trunc(cy + side / 2), image.height),
  };
  return Math.min(window.right - window.left, window.bottom - window.top) >= LEAST_WINDOW_PX ? window : null;
}

/** Whether keypoints are of one thing: they coincide, overlap, or one lies in the other. */
function isSameFind(a: Float32Array, b: Float32Array): boolean {
  if (meanPixels(a, b) < FINDS.SAME_DISTANCE * Math.max(sizeOf(a), sizeOf(b))) return true;
  const [first, second] = [cornersOf(a), cornersOf(b)];
  const area = ([left, top, right, bottom]: typeof first) => Math.max((right - left) * (bottom - top), 1e-6);
  const shared =
    Math.max(Math.min(first[2], second[2]) - Math.max(first[0], second[0]), 0) *
    Math.max(Math.min(first[3], second[3]) - Math.max(first[1], second[1]), 0);
  if (shared > FINDS.SAME_IOU * (area(first) + area(second) - shared)) return true;
  return shareInside(a, b) > FINDS.SAME_INSIDE;
}

/** Places without those that show the same as a surer one; boxes over `limit` pixels wide are left out. */
function merged(places: readonly Place[], limit: number): Place[] {
  const kept: Place[] = [];
  for (const place of [...places].sort((a, b) => b.score - a.score)) {
    if (!(place.box.width > 4 && place.box.width < limit)) continue;
    if (!kept.some((other) => isNear(place.box, other.box))) kept.push(place);
  }
  return kept;
}

/** Whether two boxes would show a landmark network the same. */
function isNear(a: RotatedBox, b: RotatedBox): boolean {
  const ratio = a.width / b.width;
  return (
    Math.hypot(a.cx - b.cx, a.cy - b.cy) < FINDS.NEAR_BOX * Math.max(a.width, b.width) &&
    ratio > 1 / FINDS.NEAR_SCALE &&
    ratio < FINDS.NEAR_SCALE &&
    Math.abs(wrapAngle(a.rotation - b.rotation)) < FINDS.NEAR_TURN
  );
}
