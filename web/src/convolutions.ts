/**
 * Run networks of convolutions, as those of hands, with WebAssembly that is made for their sizes. On
 * one thread it takes about 0.6 of LiteRT's time.
 */

import { moduleOf, type Assembler } from "./assembler.js";
import * as kernels from "./kernels.js";
import { sigmoid } from "./observations.js";
import { KINDS, type Operator, type TfliteFile, type Values } from "./tflite.js";

const PAGE = 65536;
const LINE = 64; // bytes
const MOST_FIRST = 24; // channels whose sums fit the registers of a CPU

/** A compiled network. Its outputs are copies. */
export interface Convolutions {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  run(input: Values): Values[];
}

/** Where the pixels of a map are. */
interface Place {
  readonly at: number; // address of the map with its margins
  readonly places: number; // address of the places of the pixels; 0 if they are in order
}

/** The operator cannot be compiled. LiteRT runs the network. */
class Unsupported extends Error {}

/**
 * Compile the part of a graph that leads from its image to some tensors. Return null if the graph
 * has operators or sizes of other networks.
 */
export async function compileConvolutions(
  graph: TfliteFile,
  requested: readonly number[],
): Promise<Convolutions | null> {
  try {
    return await new Plan(graph, requested).compile();
  } catch (error) {
    if (error instanceof Unsupported) return null;
    throw error;
  }
}

function require(isSupported: boolean): asserts isSupported {
  if (!isSupported) throw new Unsupported();
}

/** Addresses and code of the layers of a network. */
class Plan {
  readonly #operators: readonly Operator[];
  readonly #constants: ReadonlyMap<number, Values>;
  readonly #readers = new Map<number, Operator[]>(); // operators that read a tensor
  readonly #maps = new Map<number, number>(); // addresses of tensors
  readonly #shared = new Map<string, Place>(); // maps that only the next operator reads
  readonly #logits = new Map<number, number>(); // tensors whose logistic function is another tensor
  readonly #data: (readonly [number, Float32Array | Int32Array])[] = [];
  readonly #code: Assembler[] = [];
  readonly #image: number;
  #inputSide = 0;
  #end = LINE; // an address of 0 has a meaning

  constructor(
    private readonly graph: TfliteFile,
    private readonly requested: readonly number[],
  ) {
    const needed = new Set(requested);
    const operators = [...graph.operators].reverse().filter(({ inputs, outputs, kind }) => {
      const isNeeded = kind !== KINDS.DEQUANTIZE && outputs.some((tensor) => needed.has(tensor));
      if (isNeeded) for (const tensor of inputs) needed.add(tensor);
      return isNeeded;
    });
    this.#operators = operators.reverse();
    this.#constants = graph.constants(this.#operators.flatMap(({ inputs }) => inputs));
    for (const operator of this.#operators)
      for (const tensor of operator.inputs)
        this.#readers.set(tensor, [...(this.#readers.get(tensor) ?? []), operator]);
    this.#image = graph.inputs[0]!;
  }

  async compile(): Promise<Convolutions> {
    for (const [k, operator] of this.#operators.entries()) this.#append(operator, k);
    require(this.#inputSide > 0);
    const memory = new WebAssembly.Memory({ initial: Math.ceil(this.#end / PAGE) });
    for (const [at, values] of this.#data)
      if (values instanceof Int32Array)
        new Int32Array(memory.buffer, at, values.length).set(values);
      else new Float32Array(memory.buffer, at, values.length).set(values);
    const module = moduleOf(this.#code);
    const { instance } = await WebAssembly.instantiate(module, { own: { memory } });
    const compute = instance.exports.run as () => void;
    const outputs = this.requested.map((tensor) => {
      const logits = this.#logits.get(tensor);
      const at = this.#maps.get(logits ?? tensor);
      require(at !== undefined);
      const shape = this.graph.shapes[tensor]!;
      const values = new Float32Array(memory.buffer, at, sizeOf(shape));
      return { shape, values, isLogistic: logits !== undefined };
    });
    const [, height, width] = this.graph.shapes[this.#image]!;
    const row = 3 * width!;
    const image = new Float32Array(memory.buffer, this.#maps.get(this.#image)!);
    return {
      inputs: [this.#image],
      outputs: this.requested,
      run: ({ data }) => {
        for (let y = 0; y < height!; y++)
          image.set(data.subarray(y * row, (y + 1) * row), y * 3 * this.#inputSide);
        compute();
        return outputs.map(({ shape, values, isLogistic }) => ({
          shape,
          data: isLogistic ? values.map(sigmoid) : values.slice(),
        }));
      },
    };
  }

  #append(operator: Operator, index: number): void {
    const { kind, inputs, outputs, activation, window } = operator;
    const [from, to] = [this.#shape(inputs[0]!), this.#shape(outputs[0]!)];
    require(kernels.isActivation(activation));
    if (kind === KINDS.LOGISTIC) {
      require(!this.#readers.has(outputs[0]!));
      this.#logits.set(outputs[0]!, inputs[0]!);
    } else if (kind === KINDS.ADD) {
      require(this.#maps.has(outputs[0]!)); // the convolution before it has added the other map
    } else if (kind === KINDS.MEAN) {
      require(from.length === 4 && to.join() === [1, from[3]].join() && from[3]! % 4 === 0);
      const layer = { input: this.#map(inputs[0]!), count: from[1]! * from[2]!, depth: from[3]! };
      this.#code.push(kernels.mean({ ...layer, output: this.#place(operator, index).at }));
    } else if (kind === KINDS.DENSE) {
      require(from.join() === [1, from[1]].join());
      this.#appendPointwise(operator, index, 1);
    } else if (kind === KINDS.CONVOLUTION) {
      require(window !== null && from.length === 4 && to[1] === to[2]);
      const [rows, columns] = this.#shape(inputs[1]!).slice(1);
      if (rows === 1 && columns === 1) {
        require(Math.max(...window.stride) === 1 && to[3]! % 8 === 0);
        require(from.slice(0, 3).join() === to.slice(0, 3).join());
        this.#appendPointwise(operator, index, to[1]! * to[2]!);
      } else {
        require(inputs[0] === this.#image && from[3] === 3 && rows === 3 && columns === 3);
        require(window.stride.join() === "2,2" && to[3]! <= MOST_FIRST);
        this.#appendFirst(operator, index);
      }
    } else {
      require(kind === KINDS.DEPTHWISE && window !== null && to[3] === from[3]);
      this.#appendDepthwise(operator, index);
    }
  }

  #appendPointwise(operator: Operator, index: number, count: number): void {
    const { inputs, outputs, activation } = operator;
    const [weights, bias] = this.#weights(operator);
    require(weights.length === bias.length * this.#shape(inputs[0]!).at(-1)!);
    const [next, ...others] = this.#readers.get(outputs[0]!) ?? [];
    const isSum =
      next?.kind === KINDS.ADD && !others.length && !this.requested.includes(outputs[0]!);
    const other = isSum ? next.inputs.find((tensor) => tensor !== outputs[0]) : undefined;
    if (other !== undefined) require(activation === 0);
    if (other !== undefined) require(this.#shape(other).join() === this.#shape(outputs[0]!).join());
    const width = Math.ceil(bias.length / 8) * 8;
    const { at, places } =
      other === undefined ? this.#place(operator, index, width) : this.#place(next!, index + 1);
    this.#code.push(
      kernels.pointwise({
        input: this.#map(inputs[0]!),
        output: at,
        weights: this.#put(kernels.packPointwise(weights, bias)),
        activation,
        count,
        depth: weights.length / bias.length,
        width,
        added: other === undefined ? 0 : this.#map(other),
        places,
      }),
    );
  }

  #appendFirst(operator: Operator, index: number): void {
    const { outputs, activation } = operator;
    const [weights, bias] = this.#weights(operator);
    const side = this.#shape(outputs[0]!)[1]!;
    const { before, side: inputSide } = this.#margins(operator);
    require(before === 0 && side % 2 === 0 && bias.length % 4 === 0);
    this.#inputSide = inputSide;
    this.#maps.set(this.#image, this.#allocate(4 * 3 * inputSide * inputSide));
    const { at, places } = this.#place(operator, index);
    require(places !== 0);
    this.#code.push(
      kernels.first({
        input: this.#map(this.#image),
        output: at,
        weights: this.#put(kernels.packFirst(weights, bias)),
        activation,
        width: bias.length,
        side,
        inputSide,
        places,
      }),
    );
  }

  #appendDepthwise(operator: Operator, index: number): void {
    const { inputs, outputs, activation, window } = operator;
    const [weights, bias] = this.#weights(operator);
    const kernel = this.#shape(inputs[1]!)[1]!;
    require(kernel === this.#shape(inputs[1]!)[2] && bias.length % 4 === 0);
    this.#code.push(
      kernels.depthwise({
        input: this.#map(inputs[0]!),
        output: this.#place(operator, index).at,
        weights: this.#put(kernels.packDepthwise(weights, bias)),
        activation,
        channels: bias.length,
        kernel,
        stride: window!.stride[0],
        side: this.#shape(outputs[0]!)[1]!,
        inputSide: this.#margins(operator).side,
      }),
    );
  }

  #weights({ inputs }: Operator): [Float32Array, Float32Array] {
    const [weights, bias] = inputs.slice(1).map((tensor) => this.#constants.get(tensor));
    require(weights !== undefined && bias !== undefined);
    for (const { data, shape } of [weights, bias]) require(data.length === sizeOf(shape));
    return [weights.data, bias.data];
  }

  /** Return the margin of an input before its first row and column, and its side with margins. */
  #margins({ inputs, outputs, window }: Operator): { before: number; side: number } {
    const [, height, width] = this.#shape(inputs[0]!);
    const [side, kernel] = [this.#shape(outputs[0]!)[1]!, this.#shape(inputs[1]!)[1]!];
    require(window !== null && height === width && window.stride[0] === window.stride[1]);
    const missing = Math.max((side - 1) * window.stride[0] + kernel - height!, 0);
    require(missing === 0 || window.isPadded);
    return { before: missing >> 1, side: height! + missing };
  }

  /**
   * Return the place of an operator's output, with margins if a depthwise convolution reads it. Maps
   * before and after such a convolution share their memory with those of the same size.
   */
  #place({ kind, outputs }: Operator, index: number, width?: number): Place {
    const tensor = outputs[0]!;
    const shape = this.#shape(tensor);
    const readers = this.#readers.get(tensor) ?? [];
    const isDepthwise = readers.some((reader) => reader.kind === KINDS.DEPTHWISE);
    const isOnly = readers.length === 1 && !this.requested.includes(tensor);
    require(!isDepthwise || (isOnly && kind === KINDS.CONVOLUTION));
    const isShared =
      isOnly &&
      readers[0] === this.#operators[index + 1] &&
      (isDepthwise || kind === KINDS.DEPTHWISE);
    const margins = isDepthwise ? this.#margins(readers[0]!) : null;
    const channels = width ?? shape.at(-1)!;
    const pixels = margins ? margins.side ** 2 : sizeOf(shape.slice(1, -1));
    const key = `${isDepthwise} ${margins?.before} ${pixels} ${channels}`;
    const place = (isShared ? this.#shared.get(key) : undefined) ?? {
      at: this.#allocate(4 * pixels * channels),
      places: margins ? this.#put(placesIn(shape[1]!, margins, channels)) : 0,
    };
    if (isShared) this.#shared.set(key, place);
    this.#maps.set(tensor, place.at);
    return place;
  }

  #map(tensor: number): number {
    const at = this.#maps.get(tensor);
    require(at !== undefined);
    return at;
  }

  #shape(tensor: number): readonly number[] {
    return this.graph.shapes[tensor] ?? [];
  }

  #put(values: Float32Array | Int32Array): number {
    const at = this.#allocate(values.byteLength);
    this.#data.push([at, values]);
    return at;
  }

  #allocate(bytes: number): number {
    const at = this.#end;
    this.#end += Math.ceil(bytes / LINE) * LINE;
    return at;
  }
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((all, side) => all * side, 1);

/** Return the places in bytes of the pixels of a map with margins. */
function placesIn(
  inner: number,
  { before, side }: { readonly before: number; readonly side: number },
  channels: number,
): Int32Array {
  const pixelAt = (k: number) => (Math.floor(k / inner) + before) * side + (k % inner) + before;
  return Int32Array.from({ length: inner * inner }, (_, k) => 4 * channels * pixelAt(k));
}
