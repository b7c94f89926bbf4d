/**
 * Read TFLite files: the operators of a network, and parts of it as files.
 *
 * Sources: the schema of TensorFlow Lite (`schema.fbs`, version 3), the "internals" of flatbuffers
 * and flexbuffers.
 */

/** A number, or a list of integers. */
export type OperatorOption = number | readonly number[];

/** Values of a tensor with their shape. */
export type Values = {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
};

export interface Operator {
  readonly inputs: readonly number[]; // indices of the input tensors; -1 for an omitted one
  readonly outputs: readonly number[];
  readonly kind: number; // number in the enumeration BuiltinOperator
  readonly custom: string; // name of a custom operator, else ""
  readonly options: Readonly<Record<string, OperatorOption>>; // options of a custom operator
  readonly activation: number; // value of ActivationFunctionType
  // window of a convolution; null for other operators, and for gaps between the window's pixels
  readonly window: {
    readonly stride: readonly [number, number];
    readonly isPadded: boolean;
  } | null;
}

/** Values of BuiltinOperator. */
export const KINDS = {
  ADD: 0,
  CONVOLUTION: 3,
  DEPTHWISE: 4,
  DEQUANTIZE: 6,
  DENSE: 9,
  LOGISTIC: 14,
  CUSTOM: 32,
  MEAN: 40,
} as const;
const { ADD, CONVOLUTION, DEPTHWISE, DENSE, DEQUANTIZE, CUSTOM, MEAN } = KINDS;
/** Fields of the options of an operator. */
const ACTIVATION = new Map<number, number>([
  [ADD, 0],
  [CONVOLUTION, 3],
  [DEPTHWISE, 4],
  [DENSE, 0],
]);
const WINDOW = { padding: 0, strideX: 1, strideY: 2 };
const DILATION = new Map<number, readonly number[]>([
  [CONVOLUTION, [4, 5]],
  [DEPTHWISE, [5, 6]],
]);
const [FLOAT32, FLOAT16] = [0, 1]; // values of TensorType
// Indices of the fields in their tables.
const MODEL = { codes: 1, graphs: 2, buffers: 4 };
const CODE = { oldKind: 0, name: 1, kind: 3 };
const GRAPH = { tensors: 0, inputs: 1, outputs: 2, operators: 3 };
const TENSOR = { shape: 0, type: 1, buffer: 2, signature: 7 };
const BUFFER = { data: 0 };
const OPERATOR = { code: 0, inputs: 1, outputs: 2, options: 4, customOptions: 5 };

/**
 * The only graph of a file. Variable lengths are fixed to those in the file. Reading a damaged file
 * throws.
 */
export class TfliteFile {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly operators: readonly Operator[]; // operators in an order in which they can run
  readonly shapes: readonly (readonly number[])[]; // shapes of the tensors
  readonly #flat: FlatBuffer;
  readonly #graph: number;

  constructor(private readonly data: Uint8Array) {
    if (new TextDecoder().decode(data.subarray(4, 8)) !== "TFL3")
      throw new Error("it is not a TFLite file");
    const flat = (this.#flat = new FlatBuffer(data));
    const model = flat.target(0);
    const codes = flat.tables(model, MODEL.codes).map((code) => {
      // Files from before 2020 have only the old field.
      const kind = Math.max(flat.byte(code, CODE.oldKind), flat.number(code, CODE.kind));
      return {
        kind,
        custom: kind === CUSTOM ? new TextDecoder().decode(flat.bytes(code, CODE.name)) : "",
      };
    });
    this.#graph = flat.tables(model, MODEL.graphs)[0]!;
    this.shapes = flat.tables(this.#graph, GRAPH.tensors).map((tensor) => {
      const shape = flat.numbers(tensor, TENSOR.shape);
      if (flat.numbers(tensor, TENSOR.signature).length === shape.length)
        flat.setNumbers(tensor, TENSOR.signature, shape);
      return shape;
    });
    this.inputs = flat.numbers(this.#graph, GRAPH.inputs);
    this.outputs = flat.numbers(this.#graph, GRAPH.outputs);
    this.operators = flat.tables(this.#graph, GRAPH.operators).map((table) => {
      const { kind, custom } = codes[flat.number(table, OPERATOR.code)]!;
      const options = custom ? optionsFrom(flat.bytes(table, OPERATOR.customOptions)) : {};
      return {
        inputs: flat.numbers(table, OPERATOR.inputs),
        outputs: flat.numbers(table, OPERATOR.outputs),
        kind,
        custom,
        options,
        activation: flat.fieldOf(table, OPERATOR.options, ACTIVATION.get(kind)),
        window: this.#window(table, kind),
      };
    });
  }

  #window(table: number, kind: number): Operator["window"] {
    const read = (field: number) => this.#flat.fieldOf(table, OPERATOR.options, field);
    const dilation = DILATION.get(kind);
    if (!dilation || dilation.some((field) => read(field) > 1)) return null;
    const { padding, strideX, strideY } = WINDOW;
    return { stride: [read(strideY), read(strideX)], isPadded: read(padding) === 0 };
  }

  /**
   * Return the intermediate tensors: for each side in pixels the last residual sum (1, side, side,
   * C), then, if there is one, the mean (1, C) of the last map.
   *
   * @throws {Error} a tensor is missing
   */
  taps(sides: readonly number[]): number[] {
    const { shapes } = this;
    const sums = new Map<number, number>();
    let mean: number | undefined;
    for (const { kind, inputs, outputs } of this.operators) {
      const shape = shapes[outputs[0]!]!;
      const isSum =
        // a sum of two maps, not of a map and a bias
        kind === ADD && new Set(inputs.map((tensor) => shapes[tensor]?.join())).size === 1;
      if (kind === MEAN) mean = outputs[0];
      else if (isSum && shape.length === 4 && shape[1] === shape[2])
        sums.set(shape[1]!, outputs[0]!);
    }
    const found = sides.map((side) => sums.get(side));
    if (found.includes(undefined)) throw new Error(`it has no maps of ${sides.join(", ")} pixels`);
    return [...found, ...(mean === undefined ? [] : [mean])] as number[];
  }

  /** Return the tensors that are constants, including those of half precision. */
  constants(tensors: readonly number[]): Map<number, Values> {
    const tables = this.#flat.tables(this.#graph, GRAPH.tensors);
    const buffers = this.#flat.tables(this.#flat.target(0), MODEL.buffers);
    const halves = new Map(
      this.operators
        .filter(({ kind }) => kind === DEQUANTIZE)
        .map(({ inputs, outputs }) => [outputs[0]!, inputs[0]!]),
    );
    const constants = new Map<number, Values>();
    for (const tensor of tensors) {
      const table = tables[halves.get(tensor) ?? tensor]!;
      const bytes = this.#flat.bytes(
        buffers[this.#flat.number(table, TENSOR.buffer)]!,
        BUFFER.data,
      );
      const type = this.#flat.byte(table, TENSOR.type);
      if (!bytes.length || (type !== FLOAT32 && type !== FLOAT16)) continue;
      const values =
        type === FLOAT32 ? new Float32Array(bytes.length / 4) : new Uint16Array(bytes.length / 2);
      new Uint8Array(values.buffer).set(bytes);
      const data = values instanceof Float32Array ? values : fromHalves(values);
      constants.set(tensor, { shape: this.#flat.numbers(table, TENSOR.shape), data });
    }
    return constants;
  }

  /** Return a file with only the operators that lead from some tensors to others. */
  part(inputs: readonly number[], outputs: readonly number[]): Uint8Array {
    const needed = new Set(outputs.filter((tensor) => !inputs.includes(tensor)));
    const operators: number[] = [];
    for (let index = this.operators.length - 1; index >= 0; index--) {
      const operator = this.operators[index]!;
      if (!operator.outputs.some((tensor) => needed.has(tensor))) continue;
      operators.unshift(index);
      for (const tensor of operator.inputs) if (!inputs.includes(tensor)) needed.add(tensor);
    }
    const lists = [inputs, outputs].map((numbers) => Int32Array.of(numbers.length, ...numbers));
    const start = Math.ceil(this.data.length / 4) * 4;
    const data = new Uint8Array(start + lists.reduce((sum, list) => sum + list.byteLength, 0));
    data.set(this.data);
    const view = new DataView(data.buffer);
    // Offsets only point forward, and each remaining entry moves towards the front.
    const [first] = this.#flat.vector(this.#graph, GRAPH.operators);
    view.setUint32(first - 4, operators.length, true);
    operators.forEach((index, position) => {
      view.setUint32(
        first + 4 * position,
        this.#flat.target(first + 4 * index) - (first + 4 * position),
        true,
      );
    });
    let at = start;
    [GRAPH.inputs, GRAPH.outputs].forEach((field, index) => {
      const position = this.#flat.field(this.#graph, field);
      view.setUint32(position, at - position, true);
      for (const number of lists[index]!) {
        view.setInt32(at, number, true);
        at += 4;
      }
    });
    return data;
  }
}

let halfValues: Float32Array | null = null; // values of all half-precision floats, by their bits

/** Return the numbers with the bits of half-precision floats, of which networks have millions. */
function fromHalves(bits: Uint16Array): Float32Array<ArrayBuffer> {
  halfValues ??= Float32Array.from({ length: 2 ** 16 }, (_, all) => fromHalf(all));
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = halfValues[bits[i]!]!;
  return values;
}

/** Return the number with the bits of a half-precision float. */
export function fromHalf(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return (
    sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024))
  );
}

/** Tables of a flatbuffer, by position. Fields have the indices of the schema. */
class FlatBuffer {
  readonly #view: DataView;

  constructor(data: Uint8Array) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  /** Return the target of the offset at a position. */
  target(position: number): number {
    return position + this.#view.getUint32(position, true);
  }

  /** Return the position of a field, 0 if it is omitted. */
  field(table: number, number: number): number {
    const layout = table - this.#view.getInt32(table, true);
    const entry = 4 + 2 * number;
    const offset =
      entry < this.#view.getUint16(layout, true) ? this.#view.getUint16(layout + entry, true) : 0;
    return offset ? table + offset : 0;
  }

  /** Return the position of the first element of a vector, and the number of its elements. */
  vector(table: number, number: number): [number, number] {
    const position = this.field(table, number);
    if (!position) return [0, 0];
    const start = this.target(position);
    return [start + 4, this.#view.getUint32(start, true)];
  }

  number(table: number, number: number): number {
    const position = this.field(table, number);
    return position ? this.#view.getInt32(position, true) : 0;
  }

  /** Return a small number in the table of a field; 0 if one of them is omitted. */
  fieldOf(table: number, number: number, inner: number | undefined): number {
    const position = this.field(table, number);
    return position && inner !== undefined ? this.byte(this.target(position), inner) : 0;
  }

  byte(table: number, number: number): number {
    const position = this.field(table, number);
    return position ? this.#view.getUint8(position) : 0;
  }

  numbers(table: number, number: number): number[] {
    return this.#list(table, number, (at) => this.#view.getInt32(at, true));
  }

  setNumbers(table: number, number: number, values: readonly number[]): void {
    const [start] = this.vector(table, number);
    values.forEach((value, i) => this.#view.setInt32(start + 4 * i, value, true));
  }

  tables(table: number, number: number): number[] {
    return this.#list(table, number, (at) => this.target(at));
  }

  #list(table: number, number: number, read: (position: number) => number): number[] {
    const [start, count] = this.#checked(table, number, 4);
    return Array.from({ length: count }, (_, i) => read(start + 4 * i));
  }

  bytes(table: number, number: number): Uint8Array {
    const [start, count] = this.#checked(table, number, 1);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + start, count);
  }

  #checked(table: number, number: number, size: number): [number, number] {
    const [start, count] = this.vector(table, number);
    if (start + size * count > this.#view.byteLength) throw new RangeError("a vector past the end");
    return [start, count];
  }
}

// Types of flexbuffers.
const INTEGER = 1;
const FLOAT = 3;
const INTEGER_VECTOR = 11;

/**
 * Read a custom operator's options from a flexbuffer map of numbers and integer vectors. Other
 * bytes have no options.
 */
function optionsFrom(data: Uint8Array): Record<string, OperatorOption> {
  // a flexbuffer ends with a width, a plain struct of MediaPipe with a zero
  if (!data.at(-1)) return {};
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const integerAt = (at: number, width: number, isSigned = false): number => {
    if (width === 1) return isSigned ? view.getInt8(at) : view.getUint8(at);
    if (width === 2) return isSigned ? view.getInt16(at, true) : view.getUint16(at, true);
    if (width === 4) return isSigned ? view.getInt32(at, true) : view.getUint32(at, true);
    return Number(isSigned ? view.getBigInt64(at, true) : view.getBigUint64(at, true));
  };
  const last = data[data.length - 1]!; // width of the offset to the map
  const root = data.length - 2 - last;
  const width = 1 << (data[data.length - 2]! & 3);
  const values = root - integerAt(root, last);
  const count = integerAt(values - width, width);
  const keys = values - 3 * width - integerAt(values - 3 * width, width);
  const keyWidth = integerAt(values - 2 * width, width);
  const options: Record<string, OperatorOption> = {};
  for (let index = 0; index < count; index++) {
    const key = keys + index * keyWidth;
    const start = key - integerAt(key, keyWidth);
    const name = new TextDecoder().decode(data.subarray(start, data.indexOf(0, start)));
    const type = data[values + count * width + index]!;
    const at = values + index * width;
    if (type >> 2 === INTEGER) options[name] = integerAt(at, width, true);
    else if (type >> 2 === FLOAT)
      options[name] = width === 8 ? view.getFloat64(at, true) : view.getFloat32(at, true);
    else if (type >> 2 === INTEGER_VECTOR) {
      const [first, size] = [at - integerAt(at, width), 1 << (type & 3)];
      options[name] = Array.from({ length: integerAt(first - size, size) }, (_, i) =>
        integerAt(first + i * size, size, true),
      );
    } else throw new Error(`an operator's option ${name} of type ${type >> 2}`);
  }
  return options;
}
