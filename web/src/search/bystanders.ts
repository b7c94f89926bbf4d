/** Find everybody whom a page hides: faces, heads and people of all searches, also doubtful ones. */

import type { Bodies } from "../body.js";
import { constants, COVERS } from "../data.js";
import { boxAroundDetection, type FaceMeshes } from "../face.js";
import { cornersIou, squareAround, type Corners } from "../observations.js";
import { cut, inGoodLight, type Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";
import { BodySearch, clippedBox, type BodyNetworks } from "./bodies.js";
import * as covers from "./covers.js";
import { windows, type Proposal } from "./geometry.js";
import { boundsOf, type PeopleNetwork, type PersonBox } from "./network.js";

const OF = constants.bystanders;
const HIDING = constants.hiding;
const PUBLISHED = 0.5; // minimum score of the published detector
const GROWTH_PER_S = 0.5; // margin of a box that is not found again, relative to its longer side
// cells of an image whose mean brightness shows another scene, their minimum change, and share
const SCENE = { CELLS: 16, LEVELS: 24, SHARE: 0.12 } as const;
const MARGIN = { faces: 0, people: COVERS.PERSON_MARGIN, again: 0 } as const;
const CELLS = { faces: COVERS.CELLS, people: COVERS.CELLS, again: 1 } as const;

/** Boxes x_min, y_min, x_max, y_max to cover in an image, in pixels; they may leave it. */
export interface Covered {
  readonly faces: readonly Corners[]; // heads, one per person
  readonly people: readonly Corners[]; // bodies and people
  readonly again: readonly Corners[]; // heads that also show a face after covering
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
   * @param time seconds; null, or an unknown time, for a still, which is searched again after
   *   covering
   */
  async cover(image: Pixels, time: number | null): Promise<Covered> {
    return time !== null && Number.isFinite(time)
      ? this.#inStream(image, time)
      : this.#inStill(image);
  }

  async #inStill(image: Pixels): Promise<Covered> {
    const { faces, people, hands } = await this.#find(image, true);
    const again: Corners[] = [];
    let changed: readonly Corners[] = faces;
    for (let round = 0; round < HIDING.ROUNDS && changed.length; round++) {
      const covered = withCover(image, { faces, people: [], again });
      changed = await this.#findAgain(covered, [...faces, ...again], changed, hands);
      again.push(...changed);
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
      addFound(this.#regions[kind], found[kind], time, kind);
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
    const wanted = { least: OF.GLANCED_FACE, sure: OF.CERTAIN_FACE, isStrict: true };
    const faces = await this.#facesIn(image, 1, wanted);
    for (const parts of HIDING.WINDOWS)
      faces.push(...(await this.#facesIn(image, parts, { ...wanted, number: this.#number })));
    return { faces: covers.distinctHeads(bestFirst(faces)), people: [] };
  }

  /** Return everybody in an image; with `isThorough` also small and turned faces. */
  async #find(dim: Pixels, isThorough: boolean): Promise<Found> {
    const image = inGoodLight(dim);
    const usual = { least: OF.FACE, sure: OF.SURE_FACE, isStrict: !isThorough };
    const seen: SeenFace[] = [];
    for (const parts of isThorough ? OF.PARTS : OF.FEWER_PARTS)
      seen.push(...(await this.#facesIn(image, parts, usual)));
    seen.push(...(await this.#facesIn(image, 1, { ...usual, size: OF.CLOSE_UP })));
    const turned = { least: OF.TURNED_FACE, sure: OF.CERTAIN_FACE };
    for (const rotation of isThorough ? OF.TURNS : [])
      seen.push(...(await this.#facesIn(image, 1, { ...turned, rotation })));
    const heads = covers.distinctHeads(bestFirst(seen));
    const { faces: detector, bodies, people } = this.networks;
    const least = isThorough ? 0 : OF.LIKELY_PERSON;
    const search = new UnseenBodies(image, { bodies, people, faces: detector }, heads, least);
    const found = (await search.search()).found.filter(({ score }) => score > OF.BODY);
    const hands = search.hands.map(boundsOf);
    const faces = await withoutHands(heads, seen, hands);
    for (const body of found) covers.addUnseen(faces, covers.headOfKeypoints(body.keypoints));
    const sure = search.people.filter(({ score }) => score > OF.PERSON);
    for (const person of sure)
      if (!faces.some((box) => hasHead(person, box))) covers.addUnseen(faces, headOfPerson(person));
    const shown = [
      ...found.map((body) => clippedBox(body, image)),
      ...search.people.map(({ box }) => box),
    ];
    return { faces, people: shown, hands };
  }

  /**
   * Return the heads that still show a face in an image of which heads are covered.
   *
   * @param covered heads; only there, doubtful faces count
   * @param changed what was covered after the search before; windows without it are left out
   * @param hands hands that `#find` returned; they are no heads
   */
  async #findAgain(
    image: Pixels,
    covered: readonly Corners[],
    changed: readonly Corners[],
    hands: readonly Corners[],
  ): Promise<Corners[]> {
    const lit = inGoodLight(image);
    const wanted = { least: OF.FACE, sure: OF.SURE_FACE, covered, changed };
    const faces: SeenFace[] = [];
    for (const parts of OF.FEWER_PARTS) faces.push(...(await this.#facesIn(lit, parts, wanted)));
    return withoutHands(covers.distinctHeads(bestFirst(faces)), faces, hands);
  }

  /** Return the heads of the faces in windows, of doubtful faces only those with a mesh. */
  async #facesIn(image: Pixels, parts: number, wanted: Wanted): Promise<SeenFace[]> {
    const {
      isStrict = false,
      rotation = 0,
      size = 1,
      number = null,
      covered = [],
      changed = null,
    } = wanted;
    const all = windows(image, parts).filter(
      (window) => changed?.some((box) => covers.shareInside(box, window) > 0) ?? true,
    );
    const lowest = covered.length ? Math.min(wanted.least, OF.AGAIN) : wanted.least;
    const found: SeenFace[] = [];
    for (const window of number === null || !all.length ? all : [all[number % all.length]!]) {
      const [left, top, right, bottom] = window;
      const part = cut(image, window);
      const square = squareAround(right - left, bottom - top);
      const area = {
        ...square,
        width: square.width * size,
        height: square.height * size,
        rotation,
      };
      for (const face of await this.networks.faces.findIn(part, area, lowest)) {
        const { box, keypoints, score } = face;
        const [rightEye, leftEye, , mouth] = keypoints;
        const down = [0, 1].map((k) => mouth![k]! - (rightEye![k]! + leftEye![k]!) / 2);
        const [x, y, farX, farY] = covers.headAround([...box] as unknown as Corners, [
          down[0]!,
          down[1]!,
        ]);
        const head: Corners = [x + left, y + top, farX + left, farY + top];
        const isAgain = covered.some((other) => covers.isSameHead(head, other));
        const least = isAgain ? OF.AGAIN : wanted.least;
        const hasMesh = () => this.#hasMesh(part, face, isStrict);
        if (score >= wanted.sure || (score >= least && (await hasMesh())))
          found.push({ score, box: head, hasMesh });
      }
    }
    return found;
  }

  async #hasMesh(image: Pixels, face: Detection, isStrict: boolean): Promise<boolean> {
    const { score } = await this.networks.meshes.observe(image, boxAroundDetection(face));
    return score > (isStrict ? Math.max(OF.EACH_MESH, OF.MESH) : OF.MESH);
  }
}

/** Which faces of windows are wanted: scores with and without a mesh, elsewhere than at covered heads, and windows. */
type Wanted = {
  readonly least: number;
  readonly sure: number;
  readonly isStrict?: boolean;
  readonly rotation?: number;
  readonly size?: number;
  readonly number?: number;
  readonly covered?: readonly Corners[];
  readonly changed?: readonly Corners[];
};
/** A face that the detector found, and the box of its head. */
type SeenFace = {
  readonly score: number;
  readonly box: Corners;
  readonly hasMesh: () => Promise<boolean>;
};
/** Boxes of heads, people and hands. */
type Found = {
  readonly faces: Corners[];
  readonly people: Corners[];
  readonly hands: readonly Corners[];
};

const bestFirst = (found: readonly SeenFace[]): Corners[] =>
  [...found].sort((a, b) => b.score - a.score).map(({ box }) => box);

/** Return heads without those that lie in a larger box of a hand and have no certain face or mesh. */
async function withoutHands(
  heads: readonly Corners[],
  faces: readonly SeenFace[],
  hands: readonly Corners[],
): Promise<Corners[]> {
  const kept: Corners[] = [];
  for (const head of heads) {
    const isHand = (hand: Corners) =>
      covers.shareInside(head, hand) > OF.IN_HAND && covers.shareInside(hand, head) < OF.FILLED;
    if (!hands.some(isHand) || (await isConfirmed(head, faces))) kept.push(head);
  }
  return kept;
}

/** Check whether a face of a head is certain or has a mesh. */
async function isConfirmed(head: Corners, faces: readonly SeenFace[]): Promise<boolean> {
  for (const face of faces)
    if (
      covers.isSameHead(face.box, head) &&
      (face.score >= OF.CERTAIN_FACE || (await face.hasMesh()))
    )
      return true;
  return false;
}

/** Searches one image for the bodies of people whose heads are not known. */
class UnseenBodies extends BodySearch {
  constructor(
    image: Pixels,
    networks: BodyNetworks,
    private readonly known: readonly Corners[],
    private readonly least: number, // minimum score of a small person
  ) {
    super(image, networks, { published: PUBLISHED, isThorough: false }, true);
  }

  protected override isKnown(proposal: Proposal): boolean {
    const isDoubtful = proposal.score < this.least && this.#isSmall(proposal);
    return isDoubtful || super.isKnown(proposal) || this.known.some((head) => isOf(proposal, head));
  }

  /** Check whether a proposal is a small person, of which crowds have many. */
  #isSmall({ person }: Proposal): boolean {
    if (!person) return false;
    return person[3] - person[1] < OF.SMALL * Math.max(this.image.width, this.image.height);
  }
}

function isOf({ head, person }: Proposal, box: Corners): boolean {
  if (!head) return person !== undefined && isHeadOf(box, person);
  const [x, y] = head.middle;
  return box[0] < x && x < box[2] && box[1] < y && y < box[3];
}

/** Check whether a head is where that of a person with a box is, and of its size. */
function isHeadOf([left, top, right, bottom]: Corners, person: Corners): boolean {
  const [wide, high] = [person[2] - person[0], person[3] - person[1]];
  const below = (top + bottom) / 2 - person[1];
  const aside = Math.abs(left + right - person[0] - person[2]) / 2;
  const isAbove = -OF.ABOVE * high < below && below < OF.UPPER * high;
  return isAbove && aside < OF.ASIDE * wide && right - left > OF.LEAST_HEAD * wide;
}

/**
 * Move the regions of a kind to found boxes, and add new ones. A part of a head does not replace
 * it, and its size decreases slowly.
 *
 * @param time seconds
 */
export function addFound(
  regions: Region[],
  found: readonly Corners[],
  time: number,
  kind: "faces" | "people",
): void {
  const isSame = (a: Corners, b: Corners) =>
    kind === "faces" ? covers.isSameHead(a, b) : cornersIou(a, b) > HIDING.SAME;
  for (const box of found) {
    const near = regions.filter((region) => isSame(region.box, box));
    const region = near.sort((a, b) => cornersIou(b.box, box) - cornersIou(a.box, box))[0];
    if (region && region.seenS < time) {
      Object.assign(region, { box: movedTo(region.box, box), seenS: time });
    } else if (!region || covers.shareInside(box, region.box) <= HIDING.INSIDE) {
      regions.push({ box, seenS: time });
    }
  }
  const seen = regions.filter(({ seenS }) => seenS === time);
  const isLeft = ({ box, seenS }: Region) =>
    seenS === time || !seen.some((other) => covers.shareInside(box, other.box) > HIDING.INSIDE);
  regions.splice(0, regions.length, ...regions.filter(isLeft));
}

function movedTo(old: Corners, box: Corners): Corners {
  const [before, sides] = [old, box].map(([a, b, c, d]) => [c - a, d - b] as const);
  if (Math.max(...sides!) < HIDING.PART * Math.max(...before!)) return old;
  const half = [0, 1].map((k) => Math.max(sides![k]!, HIDING.SHRINK * before![k]!) / 2);
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  return [x - half[0]!, y - half[1]!, x + half[0]!, y + half[1]!];
}

/** @param share of the longer side */
function grown([left, top, right, bottom]: Corners, share: number): Corners {
  const margin = share * Math.max(right - left, bottom - top);
  return [left - margin, top - margin, right + margin, bottom + margin];
}

/** Return the mean brightness of the cells of an image, 0 to 255. */
function cellsOf({ width, height, data }: Pixels): Float64Array {
  const cells = new Float64Array(SCENE.CELLS ** 2);
  const counts = new Float64Array(cells.length);
  const step = Math.max(1, Math.floor(Math.min(width, height) / (8 * SCENE.CELLS)));
  for (let y = 0; y < height; y += step) {
    const row = Math.floor((y * SCENE.CELLS) / height) * SCENE.CELLS;
    for (let x = 0; x < width; x += step) {
      const [cell, pixel] = [row + Math.floor((x * SCENE.CELLS) / width), 4 * (y * width + x)];
      cells[cell]! += 0.299 * data[pixel]! + 0.587 * data[pixel + 1]! + 0.114 * data[pixel + 2]!;
      counts[cell]! += 1;
    }
  }
  return cells.map((sum, cell) => sum / Math.max(counts[cell]!, 1));
}

/** Check whether an image shows another scene than the one before. */
function isCut(before: Float64Array, after: Float64Array): boolean {
  const changed = after.filter((value, k) => Math.abs(value - before[k]!) > SCENE.LEVELS);
  return changed.length > SCENE.SHARE * after.length;
}

/** Return an image whose heads, and people with a margin, are reduced to few cells. */
function withCover({ width, height, data }: Pixels, covered: Covered): Pixels {
  const out = { width, height, data: Uint8ClampedArray.from(data) };
  for (const kind of ["people", "faces", "again"] as const) {
    for (const box of covered[kind]) {
      const [x, y, right, bottom] = grown(box, MARGIN[kind]);
      const area = [Math.max(Math.floor(x), 0), Math.max(Math.floor(y), 0)] as const;
      const end = [Math.min(Math.ceil(right), width), Math.min(Math.ceil(bottom), height)] as const;
      if (end[0] - area[0] < 1 || end[1] - area[1] < 1) continue;
      reduce(out, [...area, ...end], CELLS[kind], kind === "people" ? null : box);
    }
  }
  return out;
}

/**
 * Reduce an area of an image to cells by cells of one colour, with smooth steps between them.
 *
 * @param head box of the ellipse in which pixels change; null for all pixels
 */
function reduce(
  image: Pixels,
  [left, top, right, bottom]: Corners,
  cells: number,
  head: Corners | null,
): void {
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
      const opacity = head ? covers.opacityAt(x + left, y + top, head) : 1;
      if (!opacity) continue;
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
        const at = 4 * ((y + top) * width + x + left) + channel;
        data[at] = data[at]! * (1 - opacity) + (rows[0]! * (1 - down) + rows[1]! * down) * opacity;
      }
    }
  }
}

/** Return a square at the top of a person's box, which has the head. */
function headOfPerson({ box: [left, top, right, bottom] }: PersonBox): Corners {
  const side = Math.min(OF.HEAD_WIDTH * (right - left), OF.HEAD_HEIGHT * (bottom - top));
  const middle = (left + right) / 2;
  return [middle - side / 2, top, middle + side / 2, top + side];
}

/** Check whether a head is in the upper half of a person's box. */
function hasHead({ box: [left, top, right, bottom] }: PersonBox, head: Corners): boolean {
  const [x, y] = [(head[0] + head[2]) / 2, (head[1] + head[3]) / 2];
  return left < x && x < right && top - 0.1 * (bottom - top) < y && y < (top + bottom) / 2;
}
