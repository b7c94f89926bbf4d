/**
 * Layers of a convolutional network as WebAssembly functions. All sizes and addresses are constants
 * of the code. Maps are stored row by row, with the channels of a pixel together.
 */

import { Assembler, type Local } from "./assembler.js";

const FLOAT = 4; // bytes
const VECTOR = 16;
const COLUMNS = 8; // outputs of a dot product that are computed together, two vectors
const ROWS = 6; // pixels that are computed together: their sums fill the 16 registers of a CPU
const ACROSS = 4; // pixels of a depthwise convolution that are computed together
const CHUNK_BYTES = 2 ** 17; // inputs and outputs that stay in the cache for all columns
const RELU6 = 3; // value of ActivationFunctionType

/** Addresses of a layer in bytes, and its activation. */
interface Layer {
  readonly input: number;
  readonly output: number;
  readonly weights: number;
  readonly activation: number;
}

export interface Pointwise extends Layer {
  readonly count: number; // number of pixels
  readonly depth: number; // channels of the input
  readonly width: number; // channels of the output, a multiple of 8
  readonly added: number; // address of a map to add; 0 for none
  readonly places: number; // address of the places of the pixels; 0 if they are in order
}

export interface Depthwise extends Layer {
  readonly channels: number;
  readonly kernel: number; // side in pixels
  readonly stride: number;
  readonly side: number; // of the output
  readonly inputSide: number; // with its margins
}

export interface First extends Layer {
  readonly width: number; // channels of the output
  readonly side: number; // of the output
  readonly inputSide: number; // with its margins
  readonly places: number;
}

/** Check whether the layers compute an activation. */
export const isActivation = (activation: number): boolean =>
  activation === 0 || activation === RELU6;

/** Return weights (width, depth) and biases as `pointwise` reads them. */
export function packPointwise(weights: Float32Array, bias: Float32Array): Float32Array {
  const [depth, blocks] = [weights.length / bias.length, Math.ceil(bias.length / COLUMNS)];
  const packed = new Float32Array(blocks * COLUMNS * (1 + depth));
  for (let n = 0; n < bias.length; n++) {
    const start = Math.floor(n / COLUMNS) * COLUMNS * (1 + depth) + (n % COLUMNS);
    packed[start] = bias[n]!;
    for (let k = 0; k < depth; k++) packed[start + COLUMNS * (1 + k)] = weights[n * depth + k]!;
  }
  return packed;
}

/** Return weights (kernel², channels) and biases as `depthwise` reads them. */
export function packDepthwise(weights: Float32Array, bias: Float32Array): Float32Array {
  const [channels, rows] = [bias.length, 1 + weights.length / bias.length];
  const packed = new Float32Array(channels * rows);
  for (let c = 0; c < channels; c += 4) {
    packed.set(bias.subarray(c, c + 4), c * rows);
    for (let k = 0; k + 1 < rows; k++)
      packed.set(weights.subarray(k * channels + c, k * channels + c + 4), c * rows + 4 * (k + 1));
  }
  return packed;
}

/** Return weights (width, 27) and biases as `first` reads them. */
export function packFirst(weights: Float32Array, bias: Float32Array): Float32Array {
  const packed = [...bias];
  for (let k = 0; k < 27; k++)
    for (let n = 0; n < bias.length; n++) packed.push(weights[27 * n + k]!);
  return Float32Array.from(packed);
}

function activate(code: Assembler, activation: number): Assembler {
  return activation === RELU6 ? code.floats(0).higher().floats(6).lower() : code;
}

/** A convolution with a window of one pixel, or a dense layer. */
export function pointwise(layer: Pointwise): Assembler {
  const { input, output, weights, activation, count, depth, width, added, places } = layer;
  const code = new Assembler();
  const rows = Math.min(ROWS, count);
  const [bytesIn, bytesOut] = [FLOAT * depth, FLOAT * width];
  const chunk = rows * Math.max(Math.floor(CHUNK_BYTES / (bytesIn + bytesOut) / rows), 1);
  const step = [4, 2, 1].find((size) => depth % size === 0)!;
  const [start, last, column, block, row, here] = six(code);
  const [from, weight, end, tile, spare] = six(code);
  const sums = Array.from({ length: rows }, () => [code.vector(), code.vector()] as const);
  const [one, left, right] = [code.vector(), code.vector(), code.vector()];

  const dotProducts = () => {
    for (let k = 0; k < step; k++) {
      code
        .get(weight)
        .load(2 * VECTOR * k)
        .set(left);
      code
        .get(weight)
        .load(2 * VECTOR * k + VECTOR)
        .set(right);
      sums.forEach(([a, b], r) => {
        code
          .get(from)
          .loadOne(r * bytesIn + FLOAT * k)
          .set(one);
        code.get(one).get(left).get(a).multiplyAdd().set(a);
        code.get(one).get(right).get(b).multiplyAdd().set(b);
      });
    }
    code
      .get(weight)
      .number(2 * VECTOR * step)
      .add()
      .set(weight);
  };
  const storeRow = (r: number) => {
    if (places)
      code
        .get(row)
        .number(FLOAT)
        .multiply()
        .loadInteger(places + FLOAT * r);
    else code.get(row).number(bytesOut).multiply();
    code.get(column).add().set(here);
    const shift = places ? 0 : r * bytesOut;
    sums[r]!.forEach((sum, half) => {
      code.get(here).get(sum);
      if (added)
        code
          .get(here)
          .load(added + shift + VECTOR * half)
          .addVectors();
      activate(code, activation).store(output + shift + VECTOR * half);
    });
  };
  const pixels = () => {
    // the last pixels are computed twice if their number is no multiple of `rows`
    code.least(tile, count - rows).tee(row);
    code.number(bytesIn).multiply().number(input).add().tee(from).number(bytesIn).add().set(end);
    for (const sum of sums)
      sum.forEach((half, k) =>
        code
          .get(block)
          .load(VECTOR * k)
          .set(half),
      );
    code
      .get(block)
      .number(2 * VECTOR)
      .add()
      .set(weight);
    code.repeat(from, FLOAT * step, end, dotProducts);
    for (let r = 0; r < rows; r++) storeRow(r);
  };
  const columns = () => {
    code.get(start).set(tile).repeat(tile, rows, last, pixels);
    code
      .get(block)
      .number(2 * VECTOR * (1 + depth))
      .add()
      .set(block);
  };
  code
    .number(0)
    .set(start)
    .repeat(start, chunk, count, () => {
      code.get(start).number(chunk).add().set(spare).least(spare, count).set(last);
      code.number(weights).set(block).number(0).set(column);
      code.repeat(column, 2 * VECTOR, bytesOut, columns);
    });
  return code;
}

/** A convolution of each channel with its own window. */
export function depthwise(layer: Depthwise): Assembler {
  const { input, output, weights, activation, channels, kernel, stride, side, inputSide } = layer;
  const code = new Assembler();
  const across = Math.min(ACROSS, side);
  const pixel = FLOAT * channels;
  const [x, y, left, from, end, to] = six(code);
  const weight = code.integer();
  const sums = Array.from({ length: across }, () => code.vector());
  const factor = code.vector();

  const windows = () => {
    for (const sum of sums) code.get(weight).load(0).set(sum);
    for (let k = 0; k < kernel * kernel; k++) {
      code
        .get(weight)
        .load(VECTOR * (1 + k))
        .set(factor);
      const [row, column] = [Math.floor(k / kernel), k % kernel];
      sums.forEach((sum, i) => {
        const offset = (row * inputSide + column + i * stride) * pixel;
        code
          .get(from)
          .load(input + offset)
          .get(factor)
          .get(sum)
          .multiplyAdd()
          .set(sum);
      });
    }
    sums.forEach((sum, i) => activate(code.get(to).get(sum), activation).store(output + i * pixel));
    code
      .get(weight)
      .number(VECTOR * (1 + kernel * kernel))
      .add()
      .set(weight);
    code.get(to).number(VECTOR).add().set(to);
  };
  code
    .number(0)
    .set(y)
    .repeat(y, 1, side, () => {
      code
        .number(0)
        .set(x)
        .repeat(x, across, side, () => {
          code
            .least(x, side - across)
            .tee(left)
            .number(stride * pixel)
            .multiply();
          code
            .get(y)
            .number(stride * inputSide * pixel)
            .multiply()
            .add();
          code.tee(from).number(pixel).add().set(end);
          code.get(y).number(side).multiply().get(left).add().number(pixel).multiply().set(to);
          code.number(weights).set(weight).repeat(from, VECTOR, end, windows);
        });
    });
  return code;
}

/** A convolution of an image (side, side, 3) with windows of 3 x 3 pixels and a stride of 2. */
export function first(layer: First): Assembler {
  const { input, output, weights, activation, width, side, inputSide, places } = layer;
  const code = new Assembler();
  const across = 2;
  const [x, y, from, to, place] = six(code);
  const sums = Array.from({ length: across }, () =>
    Array.from({ length: width / 4 }, () => code.vector()),
  );
  const levels = sums.map(() => code.vector());
  const factor = code.vector();
  const load = (row: number, v: number) =>
    code.number(0).load(weights + FLOAT * width * row + VECTOR * v);

  const pixels = () => {
    for (const sum of sums) sum.forEach((part, v) => load(0, v).set(part));
    for (let k = 0; k < 27; k++) {
      levels.forEach((level, i) => {
        const offset = 3 * (Math.floor(k / 9) * inputSide + 2 * i) + (k % 9);
        code
          .get(from)
          .loadOne(input + FLOAT * offset)
          .set(level);
      });
      for (let v = 0; v < width / 4; v++) {
        load(1 + k, v).set(factor);
        sums.forEach((sum, i) =>
          code.get(levels[i]!).get(factor).get(sum[v]!).multiplyAdd().set(sum[v]!),
        );
      }
    }
    sums.forEach((sum, i) => {
      code
        .get(to)
        .loadInteger(places + FLOAT * i)
        .set(place);
      sum.forEach((part, v) =>
        activate(code.get(place).get(part), activation).store(output + VECTOR * v),
      );
    });
    code
      .get(to)
      .number(FLOAT * across)
      .add()
      .set(to);
    code
      .get(from)
      .number(2 * across * 3 * FLOAT)
      .add()
      .set(from);
  };
  code
    .number(0)
    .set(to)
    .number(0)
    .set(y)
    .repeat(y, 1, side, () => {
      code
        .get(y)
        .number(2 * 3 * FLOAT * inputSide)
        .multiply()
        .set(from);
      code.number(0).set(x).repeat(x, across, side, pixels);
    });
  return code;
}

/** The mean of all pixels of a map. */
export function mean(layer: Pick<Pointwise, "input" | "output" | "count" | "depth">): Assembler {
  const { input, output, count, depth } = layer;
  const code = new Assembler();
  const [from, end, channel] = six(code);
  const sum = code.vector();
  code
    .number(0)
    .set(channel)
    .repeat(channel, VECTOR, FLOAT * depth, () => {
      code
        .floats(0)
        .set(sum)
        .get(channel)
        .tee(from)
        .number(FLOAT * depth * count)
        .add()
        .set(end);
      code.repeat(from, FLOAT * depth, end, () =>
        code.get(sum).get(from).load(input).addVectors().set(sum),
      );
      code
        .get(channel)
        .get(sum)
        .floats(1 / count)
        .multiplyVectors()
        .store(output);
    });
  return code;
}

type Six = [Local, Local, Local, Local, Local, Local];
const six = (code: Assembler): Six => Array.from({ length: 6 }, () => code.integer()) as Six;
