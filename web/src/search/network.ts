/** Propose people and hands in a window with one run of a single-shot network and a hand head on its maps. */

import { squareAround, type RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import type { Network } from "../network.js";
import type { NumpyArray } from "../files.js";
import { letterboxInto, type Pixels } from "../pixels.js";
import { boxIou, cutsOff, longestOf, partOf, placed, type Corners, type Window } from "./geometry.js";
import { LIMITS } from "./score.js";

const OF = constants.search.network;

/** A person in an image: score 0..1, and upright box in pixels. */
export interface PersonBox {
  readonly score: number;
  readonly box: Corners;
}

/** A hand in an image: score 0..1, and crop in pixels. */
export interface HandBox {
  readonly score: number;
  readonly box: RotatedBox;
}

/** Proposes people and hands with one run of the network. Without the weights of the hand head, it proposes people only. */
export class PeopleNetwork {
  readonly #network: Network;
  readonly #head: HandHead | null;

  constructor(network: Network, head: ReadonlyMap<string, NumpyArray> | null) {
    [this.#network, this.#head] = [network, head && new HandHead(head)];
  }

  /** Return the people and hands in a window, in pixels of the image, best first. People at an inner edge are left out. */
  async find(image: Pixels, window: Window, minPerson: number, minHand = 1): Promise<{ people: PersonBox[]; hands: HandBox[] }> {
    const part = partOf(image, window);
    letterboxInto(part, this.#network);
    const [codes, logits, ...maps] = await this.#network.run();
    const area = placed(squareAround(part.width, part.height), window);
    const people = peopleIn(codes!, logits!, area, minPerson)
      .filter(({ box }) => !cutsOff(window, box, image) && box[3] - box[1] > OF.MIN_ASPECT * (box[2] - box[0]));
    const clipped = people.map(({ score, box: [left, top, right, bottom] }): PersonBox => ({
      score,
      box: [Math.max(left, window.left), Math.max(top, window.top), Math.min(right, window.right), Math.min(bottom, window.bottom)],
    }));
    return { people: clipped, hands: this.#head && minHand < 1 ? handsIn(this.#head.run(maps), area, minHand) : [] };
  }
}

/** Return the people whose boxes are not known. */
export function newPeople(people: readonly PersonBox[], known: readonly PersonBox[]): PersonBox[] {
  return people.filter((person) => known.every((other) => boxIou(person.box, other.box) < OF.KNOWN_BOX));
}

/** Check whether an image shows small people, whose neighbours and hands only windows show. */
export function hasSmall(people: readonly PersonBox[], image: Pixels): boolean {
  const least = LIMITS.small_person * longestOf(image);
  return people.some(({ score, box }) => score > LIMITS.sure_person && box[3] - box[1] < least);
}

/** Return the anchors (N, 4): relative centre x, y, width and height, rows first. */
function anchors(): Float64Array {
  const { INPUT_PX: size, STRIDES: strides, RATIOS: ratios, MIN_SCALE: least, MAX_SCALE: most } = OF;
  const scale = (layer: number) => (layer < strides.length ? least + ((most - least) * layer) / (strides.length - 1) : 1);
  const values: number[] = [];
  for (const [layer, stride] of strides.entries()) {
    const next = Math.sqrt(scale(layer) * scale(layer + 1));
    const pairs = layer === 0
      ? [[0.1, 1], [scale(0), 2], [scale(0), 0.5]]
      : [...ratios.map((ratio) => [scale(layer), ratio]), [next, 1]];
    const cells = Math.ceil(size / stride);
    for (let y = 0; y < cells; y++) {
      for (let x = 0; x < cells; x++) {
        for (const [side, ratio] of pairs as [number, number][]) {
          values.push((x + 0.5) / cells, (y + 0.5) / cells, side * Math.sqrt(ratio), side / Math.sqrt(ratio));
        }
      }
    }
  }
  return Float64Array.from(values, Math.fround);
}

let anchorValues: Float64Array | null = null;

/** Decode the boxes of people from box codes (N, 4) and class logits (N, C), and suppress duplicates. */
function peopleIn(codes: Float32Array, logits: Float32Array, area: RotatedBox, least: number): PersonBox[] {
  anchorValues ??= anchors();
  const count = codes.length / 4;
  const classes = logits.length / count;
  const minLogit = Math.log(least / (1 - least));
  const all: PersonBox[] = [];
  for (let n = 0; n < count; n++) {
    const logit = logits[n * classes + OF.PERSON]!;
    if (!(logit > minLogit)) continue;
    const [x, y, width, height] = anchorValues.subarray(4 * n, 4 * n + 4) as unknown as [number, number, number, number];
    const [dy, dx, tall, wide] = codes.subarray(4 * n, 4 * n + 4) as unknown as [number, number, number, number];
    const cx = area.cx + ((dx / OF.CENTRE_CODE) * width + x - 0.5) * area.width;
    const cy = area.cy + ((dy / OF.CENTRE_CODE) * height + y - 0.5) * area.width;
    const halfWidth = (Math.exp(wide / OF.SIZE_CODE) * width * area.width) / 2;
    const halfHeight = (Math.exp(tall / OF.SIZE_CODE) * height * area.width) / 2;
    all.push({ score: 1 / (1 + Math.exp(-logit)), box: [cx - halfWidth, cy - halfHeight, cx + halfWidth, cy + halfHeight] });
  }
  const found: PersonBox[] = [];
  for (const person of all.sort((a, b) => b.score - a.score)) {
    if (found.every((other) => boxIou(person.box, other.box) < OF.SAME_BOX)) found.push(person);
  }
  return found;
}

/** Head that reads hands from the maps of the network, (side, side, C) each. */
class HandHead {
  readonly #arrays: ReadonlyMap<string, Float32Array>;

  constructor(arrays: ReadonlyMap<string, NumpyArray>) {
    this.#arrays = new Map([...arrays].map(([name, { values }]) => [name, Float32Array.from(values as number[])]));
  }

  /** Return logits, offset of the centre (2), log side, and sine and cosine of the rotation per cell (side, side, 6). */
  run(maps: readonly Float32Array[]): Float32Array {
    const side = OF.TAPS[0]!;
    const bias = this.#get("bias");
    const channels = bias.length;
    let hidden = new Float32Array(side * side * channels);
    for (const [index, name] of ["a", "b", "c"].entries()) {
      const own = OF.TAPS[index]!;
      const reduced = product(maps[index]!, this.#get(name), channels);
      for (let at = 0; at < side * side; at++) {
        const [row, column] = [Math.floor((Math.floor(at / side) * own) / side), Math.floor(((at % side) * own) / side)];
        for (let c = 0; c < channels; c++) hidden[at * channels + c]! += reduced[(row * own + column) * channels + c]!;
      }
    }
    hidden = hidden.map((value, i) => limited(value + bias[i % channels]!));
    for (const block of ["1", "2"]) {
      const mixed = product(depthwise(hidden, this.#get(`depth${block}`), side, channels), this.#get(`point${block}`), channels);
      const offset = this.#get(`offset${block}`);
      hidden = hidden.map((value, i) => limited(value + mixed[i]! + offset[i % channels]!));
    }
    const last = this.#get("out_bias");
    return product(hidden, this.#get("out"), last.length).map((value, i) => value + last[i % last.length]!);
  }

  #get(name: string): Float32Array {
    return this.#arrays.get(name)!;
  }
}

function limited(value: number): number {
  return Math.min(Math.max(value, 0), 6);
}

/** Return values (N, C) times the transpose of weights (K, C). */
function product(values: Float32Array, weights: Float32Array, outputs: number): Float32Array {
  const inputs = weights.length / outputs;
  const result = new Float32Array((values.length / inputs) * outputs);
  for (let n = 0; n < values.length / inputs; n++) {
    for (let k = 0; k < outputs; k++) {
      let sum = 0;
      for (let c = 0; c < inputs; c++) sum += values[n * inputs + c]! * weights[k * inputs + c]!;
      result[n * outputs + k] = sum;
    }
  }
  return result;
}

/** Filter each channel of values (side, side, C) with its own kernel (C, K, K), with zeros outside. */
function depthwise(values: Float32Array, kernels: Float32Array, side: number, channels: number): Float32Array {
  const size = Math.sqrt(kernels.length / channels);
  const reach = (size - 1) / 2;
  const result = new Float32Array(values.length);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      for (let dy = Math.max(-reach, -row); dy <= Math.min(reach, side - 1 - row); dy++) {
        for (let dx = Math.max(-reach, -column); dx <= Math.min(reach, side - 1 - column); dx++) {
          const from = ((row + dy) * side + column + dx) * channels;
          const kernel = (dy + reach) * size + dx + reach;
          const to = (row * side + column) * channels;
          for (let c = 0; c < channels; c++) result[to + c]! += values[from + c]! * kernels[c * size * size + kernel]!;
        }
      }
    }
  }
  return result;
}

/** Return the hands at the peaks of the values of the head, best first. */
function handsIn(values: Float32Array, area: RotatedBox, least: number): HandBox[] {
  const side = OF.TAPS[0]!;
  const minLogit = Math.log(least / (1 - least));
  const logitAt = (row: number, column: number) => values[6 * (row * side + column)]!;
  const found: HandBox[] = [];
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const logit = logitAt(row, column);
      if (!(logit > minLogit)) continue;
      let isPeak = true;
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, side - 1); y++) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, side - 1); x++) isPeak &&= logit >= logitAt(y, x);
      }
      if (!isPeak) continue;
      const [, dx, dy, size, sine, cosine] = values.subarray(6 * (row * side + column)) as unknown as [number, number, number, number, number, number];
      const scale = area.width / side;
      const width = Math.exp(Math.min(size, OF.MOST_SIZE)) * scale;
      const [cx, cy] = [area.cx + (column + 0.5 + dx - side / 2) * scale, area.cy + (row + 0.5 + dy - side / 2) * scale];
      found.push({ score: 1 / (1 + Math.exp(-logit)), box: { cx, cy, width, height: width, rotation: Math.atan2(sine, cosine) } });
    }
  }
  return found.sort((a, b) => b.score - a.score);
}
