/** Find everybody whom a page hides: faces, heads and people of all searches, also doubtful ones. */

import type { Bodies } from "../body.js";
import { constants } from "../data.js";
import type { FaceMeshes, FaceObservation } from "../face.js";
import {
  cornersIou,
  cornersOf,
  meanOf,
  distance,
  squareAround,
  type Corners,
} from "../observations.js";
import type { Found } from "../pipeline.js";
import { cut, inGoodLight, type Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import { BodySearch, clippedBox } from "./bodies.js";
import { FaceSearch } from "./faces.js";
import { HEAD, LIMITS, windows } from "./geometry.js";
import type { PeopleNetwork, PersonBox } from "./network.js";
import type { Limits } from "./stills.js";

const OF = constants.bystanders;
const HIDING = constants.hiding;
const PUBLISHED = 0.5; // minimum score of the published detector
const HEAD_SHARE = 0.2; // half of the height of a head, relative to the torso or the shoulders
const FACE_SHARE = 0.7; // half of the side of a head, relative to the extent of its face
const GROWTH_PER_S = 0.5; // margin of a box that is not found again, relative to its longer side
const SHOULDERS = [11, 12] as const;
const HIPS = [23, 24] as const;
const MARGINS = { faces: 0.35, people: 0.1, again: 0.35 } as const; // relative to the longer side
const CELLS = { faces: 3, people: 3, again: 1 } as const; // cells along a covered box

/** Boxes x_min, y_min, x_max, y_max to cover in an image, in pixels; they may leave it. */
export interface Covered {
  readonly faces: readonly Corners[]; // faces, and heads of bodies and people
  readonly people: readonly Corners[]; // bodies and people
  readonly again: readonly Corners[]; // faces that are also found after covering
}

/** Face or person that is covered for a while after it was found. */
export interface Region {
  box: Corners;
  seenS: number; // time of the last detection
}

/** Networks of the search. */
export interface BystanderNetworks {
  readonly faces: SingleShotDetector; // the full-range detector
  readonly meshes: FaceMeshes;
  readonly bodies: Bodies;
  readonly people: PeopleNetwork;
}

/** Finds everybody in the images of one stream, or in stills. */
export class BystanderSearch {
  #regions = { faces: [] as Region[], people: [] as Region[] };
  #searchedS = -Infinity;
  #periodS: number = HIDING.PERIOD_S;
  #number = 0;
  #lastS = -Infinity;
  #cells: Float64Array | null = null; // of the frame before

  constructor(private readonly networks: BystanderNetworks) {}

  /** Forget the images before. */
  reset(): void {
    this.#regions = { faces: [], people: [] };
    this.#searchedS = this.#lastS = -Infinity;
    this.#cells = null;
  }

  /**
   * Return the boxes to cover in the next image of a stream, or in a still.
   *
   * @param time seconds; null for a still, which is searched again after covering
   */
  async cover(image: Pixels, time: number | null): Promise<Covered> {
    return time === null ? this.#inStill(image) : this.#inStream(image, time);
  }

  async #inStill(image: Pixels): Promise<Covered> {
    const { faces, people } = await this.#find(image, true);
    const again: Corners[] = [];
    for (let round = 0; round < HIDING.ROUNDS; round++) {
      const more = await this.#findAgain(withCover(image, { faces, people: [], again }));
      if (!more.length) break;
      again.push(...more);
    }
    return { faces, people, again };
  }

  /** Search a frame, periodically and after cuts as a still, and keep what was found for a while. */
  async #inStream(image: Pixels, time: number): Promise<Covered> {
    if (time < this.#lastS) this.reset();
    this.#lastS = time;
    this.#number += 1;
    const cells = cellsOf(image);
    if (this.#cells && isCut(this.#cells, cells)) this.#searchedS = -Infinity;
    this.#cells = cells;
    const covered = { faces: [] as Corners[], people: [] as Corners[], again: [] };
    const found = await this.#inFrame(image, time);
    // only a later search finds those who show no face
    const keptS = Math.max(HIDING.FORWARD_S, 2 * this.#periodS);
    for (const kind of ["faces", "people"] as const) {
      // both, because either may be too small
      covered[kind].push(...addFound(this.#regions[kind], found[kind], time));
      this.#regions[kind] = this.#regions[kind].filter(({ seenS }) => time - seenS <= keptS);
      for (const { box, seenS } of this.#regions[kind])
        covered[kind].push(grown(box, GROWTH_PER_S * (time - seenS)));
    }
    return covered;
  }

  async #inFrame(image: Pixels, time: number): Promise<Omit<Covered, "again">> {
    if (time - this.#searchedS >= this.#periodS) {
      const start = performance.now();
      this.#searchedS = time;
      const found = await this.#find(image, false);
      // slow machines spend half of their time on it
      this.#periodS = Math.max(HIDING.PERIOD_S, (2 * (performance.now() - start)) / 1000);
      return found;
    }
    const faces = await this.#glance(image, 1, OF.GLANCED_FACE);
    for (const parts of HIDING.WINDOWS)
      faces.push(...(await this.#glance(image, parts, OF.GLANCED_FACE, 0, this.#number)));
    return { faces, people: [] };
  }

  /** Return all that the searches of stills find in an image. */
  async #find(dim: Pixels, isThorough: boolean): Promise<{ faces: Corners[]; people: Corners[] }> {
    const image = inGoodLight(dim);
    const limits = { published: PUBLISHED, isThorough };
    const { faces: detector, bodies, people } = this.networks;
    const faces: Corners[] = [];
    for (const parts of isThorough ? OF.PARTS : OF.FEWER_PARTS)
      faces.push(...(await this.#glance(image, parts, OF.FACE)));
    for (const turn of isThorough ? OF.TURNS.slice(1) : []) {
      for (const parts of OF.TURNED_PARTS)
        faces.push(...(await this.#glance(image, parts, OF.TURNED_FACE, turn)));
    }
    const seen = await this.#meshesIn(image, limits);
    for (const { score, keypoints } of seen.found)
      if (score > OF.MESH) faces.push(cornersOf(keypoints));
    const search = new BodySearch(image, { bodies, people, faces: detector }, limits);
    const found = (await search.search()).found.filter(({ score }) => score > OF.BODY);
    faces.push(...found.map(({ keypoints }) => headOf(keypoints)));
    const least = isThorough ? OF.PERSON : LIMITS.sure_person;
    const sure = search.people.filter(({ score }) => score > least);
    const unseen = sure.filter((person) => !faces.some((box) => hasHead(person, box)));
    return {
      faces: [...faces, ...unseen.map(headOfPerson)],
      people: [...found.map((body) => clippedBox(body, image)), ...sure.map(({ box }) => box)],
    };
  }

  #meshesIn(image: Pixels, limits: Limits): Promise<Found<FaceObservation>> {
    const { faces, meshes, people } = this.networks;
    return new FaceSearch(image, faces, meshes, limits, async () => people, true).search();
  }

  /** Return the faces that a thorough search finds in an image whose people are covered. */
  async #findAgain(image: Pixels): Promise<Corners[]> {
    const faces: Corners[] = [];
    for (const parts of OF.FEWER_PARTS)
      faces.push(...(await this.#glance(image, parts, OF.GLANCED_FACE)));
    const limits = { published: PUBLISHED, isThorough: true };
    const seen = await this.#meshesIn(inGoodLight(image), limits);
    const sure = seen.found.filter(({ score }) => score > OF.MESH_AGAIN);
    return [...faces, ...sure.map(({ keypoints }) => cornersOf(keypoints))];
  }

  /**
   * Return the faces that the detector finds in windows of an image.
   *
   * @param parts number of windows along the longer side; 1 for the image
   * @param rotation of the faces in radians
   * @param number search only one of the windows, which takes turns by this number
   */
  async #glance(
    image: Pixels,
    parts: number,
    minScore: number,
    rotation = 0,
    number: number | null = null,
  ): Promise<Corners[]> {
    const all = windows(image, parts);
    const found: Corners[] = [];
    for (const window of number === null || !all.length ? all : [all[number % all.length]!]) {
      const [left, top, right, bottom] = window;
      const isSmall = Math.min(right - left, bottom - top) < OF.MIN_SIDE_PX;
      if (parts > Math.max(...OF.FEWER_PARTS) && isSmall) continue;
      const area = { ...squareAround(right - left, bottom - top), rotation };
      for (const { box } of await this.networks.faces.findIn(cut(image, window), area, minScore))
        found.push([box[0] + left, box[1] + top, box[2] + left, box[3] + top]);
    }
    return found;
  }
}

/**
 * Add found boxes to the regions of a kind, and return the boxes that they replace. The largest box
 * of a face stays. A small box inside does not replace it, since it does not show the complete face.
 *
 * @param time seconds
 */
export function addFound(regions: Region[], found: readonly Corners[], time: number): Corners[] {
  const replaced: Corners[] = [];
  const areaOf = ([left, top, right, bottom]: Corners) => (right - left) * (bottom - top);
  for (const box of [...found].sort((a, b) => areaOf(a) - areaOf(b))) {
    const ious = regions.map((region) => cornersIou(region.box, box));
    const overlap = Math.max(0, ...ious);
    const region = overlap > HIDING.SAME ? regions[ious.indexOf(overlap)] : undefined;
    if (region) replaced.push(region.box);
    if (region) Object.assign(region, { box, seenS: time });
    else regions.push({ box, seenS: time });
  }
  return replaced;
}

/** @param share of the longer side */
function grown([left, top, right, bottom]: Corners, share: number): Corners {
  const margin = share * Math.max(right - left, bottom - top);
  return [left - margin, top - margin, right + margin, bottom + margin];
}

/** Return the mean brightness of the cells of an image, 0 to 255. */
function cellsOf({ width, height, data }: Pixels): Float64Array {
  const cells = new Float64Array(HIDING.CELLS ** 2);
  const counts = new Float64Array(cells.length);
  const step = Math.max(1, Math.floor(Math.min(width, height) / (8 * HIDING.CELLS)));
  for (let y = 0; y < height; y += step) {
    const row = Math.floor((y * HIDING.CELLS) / height) * HIDING.CELLS;
    for (let x = 0; x < width; x += step) {
      const [cell, pixel] = [row + Math.floor((x * HIDING.CELLS) / width), 4 * (y * width + x)];
      cells[cell]! += 0.299 * data[pixel]! + 0.587 * data[pixel + 1]! + 0.114 * data[pixel + 2]!;
      counts[cell]! += 1;
    }
  }
  return cells.map((sum, cell) => sum / Math.max(counts[cell]!, 1));
}

/** Check whether an image shows another scene than the one before. */
function isCut(before: Float64Array, after: Float64Array): boolean {
  const changed = after.filter((value, k) => Math.abs(value - before[k]!) > HIDING.CUT_LEVELS);
  return changed.length > HIDING.CUT_SHARE * after.length;
}

/** Return an image whose boxes and their margins are reduced to few cells. */
function withCover({ width, height, data }: Pixels, covered: Covered): Pixels {
  const out = { width, height, data: Uint8ClampedArray.from(data) };
  for (const kind of ["faces", "people", "again"] as const) {
    for (const box of covered[kind]) {
      const margin = MARGINS[kind] * Math.max(box[2] - box[0], box[3] - box[1]);
      const [left, top] = [box[0] - margin, box[1] - margin].map((value) =>
        Math.max(Math.trunc(value), 0),
      );
      const right = Math.min(Math.ceil(box[2] + margin), width);
      const bottom = Math.min(Math.ceil(box[3] + margin), height);
      if (right - left! < 1 || bottom - top! < 1) continue;
      reduce(out, [left!, top!, right, bottom], CELLS[kind]);
    }
  }
  return out;
}

/** Reduce an area of an image to cells by cells of one colour, with smooth steps between them. */
function reduce(image: Pixels, [left, top, right, bottom]: Corners, cells: number): void {
  const { width, data } = image;
  const [wide, high] = [right - left, bottom - top];
  const sums = new Float64Array(4 * cells * cells);
  const cellOf = (at: number, side: number) => Math.min(Math.trunc((at * cells) / side), cells - 1);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const cell = 4 * (cellOf(y, high) * cells + cellOf(x, wide));
      const pixel = 4 * ((y + top) * width + x + left);
      for (let channel = 0; channel < 3; channel++) sums[cell + channel]! += data[pixel + channel]!;
      sums[cell + 3]! += 1;
    }
  }
  const between = (at: number, side: number) => {
    const place = Math.min(Math.max(((at + 0.5) / side) * cells - 0.5, 0), cells - 1);
    const first = Math.min(Math.trunc(place), Math.max(cells - 2, 0));
    return [first, Math.min(first + 1, cells - 1), place - first] as const;
  };
  for (let y = 0; y < high; y++) {
    const [above, below, down] = between(y, high);
    for (let x = 0; x < wide; x++) {
      const [before, after, across] = between(x, wide);
      const valueAt = (row: number, column: number, channel: number) => {
        const cell = 4 * (row * cells + column);
        return sums[cell + channel]! / Math.max(sums[cell + 3]!, 1);
      };
      for (let channel = 0; channel < 3; channel++) {
        const rows = [above, below].map(
          (row) =>
            valueAt(row, before, channel) * (1 - across) + valueAt(row, after, channel) * across,
        );
        data[4 * ((y + top) * width + x + left) + channel] =
          rows[0]! * (1 - down) + rows[1]! * down;
      }
    }
  }
}

/** Return the box of a body's head, also of one that is turned away. */
function headOf(keypoints: Float32Array): Corners {
  const shoulders = meanOf(keypoints, SHOULDERS);
  const [first, second] = SHOULDERS.map((k) => meanOf(keypoints, [k]));
  const size = Math.max(distance(shoulders, meanOf(keypoints, HIPS)), distance(first!, second!));
  const [left, top, right, bottom] = cornersOf(keypoints, HEAD);
  const half = Math.max(FACE_SHARE * Math.max(right - left, bottom - top), HEAD_SHARE * size);
  const [x, y] = meanOf(keypoints, HEAD);
  return [x - half, y - half, x + half, y + half];
}

/**
 * Return a square at the top of a person's box. A box that is wider than high shows a head and
 * shoulders, and all of it may be the head.
 */
function headOfPerson({ box }: PersonBox): Corners {
  const [left, top, right, bottom] = box;
  if (right - left > bottom - top) return box;
  const side = Math.min(OF.HEAD_WIDTH * (right - left), OF.HEAD_HEIGHT * (bottom - top));
  const middle = (left + right) / 2;
  return [middle - side / 2, top, middle + side / 2, top + side];
}

/** Check whether a head is in the upper half of a person's box. */
function hasHead({ box: [left, top, right, bottom] }: PersonBox, head: Corners): boolean {
  const [x, y] = [(head[0] + head[2]) / 2, (head[1] + head[3]) / 2];
  return left < x && x < right && top - 0.1 * (bottom - top) < y && y < (top + bottom) / 2;
}
