/**
 * Propose people and hands in a window with a published network and one that continues from its
 * map.
 */

import { constants } from "../data.js";
import type { Network } from "../network.js";
import { cornersIou, squareAround, type Corners, type RotatedBox } from "../observations.js";
import { cut, letterboxInto, type Pixels } from "../pixels.js";
import { cutsOff, LIMITS, logit, placed, reachOf } from "./geometry.js";

const OF = constants.search.network;

/** A person in an image: score 0..1, and upright box in pixels. */
export type PersonBox = { readonly score: number; readonly box: Corners };

/** A hand in an image: score 0..1, and crop in pixels. */
export type HandBox = { readonly score: number; readonly box: RotatedBox };

/** Return the upright square of the size of a hand's crop. */
export function boundsOf({ box: { cx, cy, width } }: HandBox): Corners {
  return [cx - width / 2, cy - width / 2, cx + width / 2, cy + width / 2];
}

/** Proposes people and hands by the published network and by one that continues from its map. */
export class PeopleNetwork {
  /** @param network the published network, or a part of it that computes only the map */
  constructor(
    private readonly network: Network,
    private readonly own: Network,
  ) {}

  /**
   * Return the people and hands in a window, in pixels of the image, best first. People at an inner
   * edge are left out.
   *
   * @param minPerson minimum score of the people of the published network, or of all people if only
   *   its map is computed
   */
  async find(
    image: Pixels,
    window: Corners,
    minPerson: number,
    minHand = 1,
  ): Promise<{ people: PersonBox[]; hands: HandBox[] }> {
    const part = cut(image, window);
    letterboxInto(part, this.network);
    const outputs = await this.network.run();
    const [codes, logits] = outputs.length > 2 ? outputs : [];
    this.own.input.set(outputs[codes ? 2 : 0]!);
    const [values] = await this.own.run();
    const area = placed(squareAround(part.width, part.height), window);
    const own = peopleIn(values!, area, codes ? LIMITS.own_person : minPerson);
    const people = (
      codes ? joined(publishedPeople(codes, logits!, area, minPerson), own) : own
    ).filter(
      ({ box }) =>
        !cutsOff(window, box, image) && box[3] - box[1] > OF.MIN_ASPECT * (box[2] - box[0]),
    );
    const clipped = people.map(({ score, box: [left, top, right, bottom] }): PersonBox => ({
      score,
      box: [
        Math.max(left, window[0]),
        Math.max(top, window[1]),
        Math.min(right, window[2]),
        Math.min(bottom, window[3]),
      ],
    }));
    return { people: clipped, hands: minHand < 1 ? handsIn(values!, area, minHand) : [] };
  }
}

/**
 * Return the people of both networks, best first. A person of both has the own box and the higher
 * score.
 */
function joined(published: readonly PersonBox[], own: readonly PersonBox[]): PersonBox[] {
  const all = [...own];
  for (const person of published) {
    const overlaps = own.map((other) => cornersIou(other.box, person.box));
    const same = overlaps.lastIndexOf(Math.max(...overlaps));
    if (!(overlaps[same]! >= OF.SAME_PERSON)) all.push(person);
    else if (all[same]!.score < person.score) all[same] = { ...all[same]!, score: person.score };
  }
  return all.sort((a, b) => b.score - a.score);
}

/** Return the people whose boxes overlap none that is known or comes earlier. */
export function newPeople(
  people: readonly PersonBox[],
  known: readonly PersonBox[] = [],
): PersonBox[] {
  const found = [...known];
  for (const person of people)
    if (found.every((other) => cornersIou(person.box, other.box) < OF.SAME_PERSON))
      found.push(person);
  return found.slice(known.length);
}

/** Check whether an image shows small people, whose neighbours and hands only windows show. */
export function hasSmall(people: readonly PersonBox[], image: Pixels): boolean {
  const least = LIMITS.small_person * reachOf(image);
  return people.some(({ score, box }) => score > LIMITS.sure_person && box[3] - box[1] < least);
}

/** Return the anchors (N, 4): relative centre x, y, width and height, rows first. */
function anchors(): Float64Array {
  const {
    INPUT_PX: size,
    STRIDES: strides,
    RATIOS: ratios,
    MIN_SCALE: least,
    MAX_SCALE: most,
  } = OF;
  const scale = (layer: number) =>
    layer < strides.length ? least + ((most - least) * layer) / (strides.length - 1) : 1;
  const values: number[] = [];
  for (const [layer, stride] of strides.entries()) {
    const next = Math.sqrt(scale(layer) * scale(layer + 1));
    const pairs =
      layer === 0
        ? [
            [0.1, 1],
            [scale(0), 2],
            [scale(0), 0.5],
          ]
        : [...ratios.map((ratio) => [scale(layer), ratio]), [next, 1]];
    const cells = Math.ceil(size / stride);
    for (let y = 0; y < cells; y++) {
      for (let x = 0; x < cells; x++) {
        for (const [side, ratio] of pairs as [number, number][]) {
          values.push(
            (x + 0.5) / cells,
            (y + 0.5) / cells,
            side * Math.sqrt(ratio),
            side / Math.sqrt(ratio),
          );
        }
      }
    }
  }
  return Float64Array.from(values, Math.fround);
}

let anchorValues: Float64Array | null = null;

/**
 * Decode the boxes of people from box codes (N, 4) and class logits (N, C), and suppress
 * duplicates.
 */
function publishedPeople(
  codes: Float32Array,
  logits: Float32Array,
  area: RotatedBox,
  least: number,
): PersonBox[] {
  anchorValues ??= anchors();
  const count = codes.length / 4;
  const classes = logits.length / count;
  const minLogit = logit(least);
  const all: PersonBox[] = [];
  for (let n = 0; n < count; n++) {
    const logOdds = logits[n * classes + OF.PERSON]!;
    if (!(logOdds > minLogit)) continue;
    const [x, y, width, height] = anchorValues.subarray(4 * n, 4 * n + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    const [dy, dx, tall, wide] = codes.subarray(4 * n, 4 * n + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    const cx = area.cx + ((dx / OF.CENTRE_CODE) * width + x - 0.5) * area.width;
    const cy = area.cy + ((dy / OF.CENTRE_CODE) * height + y - 0.5) * area.width;
    const halfWidth = (Math.exp(wide / OF.SIZE_CODE) * width * area.width) / 2;
    const halfHeight = (Math.exp(tall / OF.SIZE_CODE) * height * area.width) / 2;
    all.push({
      score: 1 / (1 + Math.exp(-logOdds)),
      box: [cx - halfWidth, cy - halfHeight, cx + halfWidth, cy + halfHeight],
    });
  }
  return newPeople(all.sort((a, b) => b.score - a.score));
}

/** Return the people at the peaks of the values of the own network, best first. */
function peopleIn(values: Float32Array, area: RotatedBox, least: number): PersonBox[] {
  const sideOf = (size: number) =>
    (Math.exp(Math.min(size, OF.MOST_SIZE)) * area.width) / OF.SIDE / 2;
  const people = peaks(values, OF.PERSON_AT, area, least).map(
    ({ score, cx, cy, own: [width, height] }) => {
      const [x, y] = [sideOf(width!), sideOf(height!)];
      return { score, box: [cx - x, cy - y, cx + x, cy + y] } as const;
    },
  );
  return newPeople(people);
}

/** Return the hands at the peaks of the values of the own network, best first. */
function handsIn(values: Float32Array, area: RotatedBox, least: number): HandBox[] {
  return peaks(values, 0, area, least).map(({ score, cx, cy, own: [size, sine, cosine] }) => {
    const width = (Math.exp(Math.min(size!, OF.MOST_SIZE)) * area.width) / OF.SIDE;
    return { score, box: { cx, cy, width, height: width, rotation: Math.atan2(sine!, cosine!) } };
  });
}

/**
 * Return score, centre and further values of the peaks of a map of logit, offset of the centre (2)
 * and more, best first.
 */
function peaks(
  values: Float32Array,
  first: number,
  area: RotatedBox,
  least: number,
): { score: number; cx: number; cy: number; own: readonly number[] }[] {
  const { SIDE: side, VALUES: count } = OF;
  const logitAt = (row: number, column: number) => values[count * (row * side + column) + first]!;
  const [minLogit, scale] = [logit(least), area.width / side];
  const found: { logOdds: number; cx: number; cy: number; own: readonly number[] }[] = [];
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const logOdds = logitAt(row, column);
      if (!(logOdds > minLogit)) continue;
      let isPeak = true;
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, side - 1); y++) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, side - 1); x++)
          isPeak &&= logOdds >= logitAt(y, x);
      }
      if (!isPeak) continue;
      const [dx, dy, ...own] = values.subarray(
        count * (row * side + column) + first + 1,
      ) as unknown as [number, number, ...number[]];
      const [cx, cy] = [
        area.cx + (column + 0.5 + dx - side / 2) * scale,
        area.cy + (row + 0.5 + dy - side / 2) * scale,
      ];
      found.push({ logOdds, cx, cy, own: own.slice(0, 3) });
    }
  }
  return found
    .sort((a, b) => b.logOdds - a.logOdds)
    .map(({ logOdds, ...peak }) => ({ ...peak, score: 1 / (1 + Math.exp(-logOdds)) }));
}
