/** Run networks of `.tflite` files with LiteRT, or with code that is made for them. */

import { compileConvolutions, type Convolutions } from "./convolutions.js";
import type { Weight } from "./data.js";
import { fetchFile, FileError } from "./files.js";
import type { Input } from "./pixels.js";
import { TfliteFile, type Operator, type OperatorOption, type Values } from "./tflite.js";

import {
  Tensor,
  getGlobalLiteRt,
  getWebGpuDevice,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  type CompiledModel,
} from "@litertjs/core";

const MAX_THREADS = 4;
const MODULE_WITH_SIMD = Uint8Array.of(
  ...[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253,
    15, 253, 98, 11,
  ],
);

/** Where networks run: on the processor, or on a graphics card if the browser has one. */
export type Accelerator = "wasm" | "webgpu";

/** A loaded runtime. */
export interface Runtime {
  readonly threads: number; // number of threads on the processor
  readonly hasRelaxedSimd: boolean; // true if products can be added without rounding them first
  // rejects when the graphics card is lost; null if networks run on the processor
  readonly gpuLost: Promise<never> | null;
}

/** Load the runtime from a folder, whose address ends with a slash. A worker loads it once. */
export async function loadRuntime(folder: string, accelerator: Accelerator): Promise<Runtime> {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(MODULE_WITH_SIMD)) {
    throw new Error(
      "this browser has no WebAssembly with SIMD. Use a newer browser, or a Sonjit server.",
    );
  }
  // Firefox 153 can lose the signal that a nested worker has started. The outer worker then waits forever.
  const canStartThreads =
    globalThis.crossOriginIsolated && !navigator.userAgent.includes("Firefox/");
  const hasRelaxedSimd = await supportsFeature("relaxedSimd");
  const threads =
    canStartThreads && hasRelaxedSimd ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1;
  const variant = threads > 1 ? "threaded_" : hasRelaxedSimd ? "" : "compat_";
  const script = `${folder}litert_wasm_threaded_internal.js`;
  // browsers start no worker from another site
  const isOwn = new URL(script).origin === location.origin;
  try {
    const Module = {
      // settings that Emscripten's module reads when it is created
      locateFile: (name: string) => folder + name,
      printErr: (line: string) => /^(INFO|WARNING):/.test(line) || console.error(line),
      wasmBinary: await fetchFile(`${folder}litert_wasm_${variant}internal.wasm.gz`, "the runtime"),
      ...(threads > 1 && {
        mainScriptUrlOrBlob: isOwn
          ? script
          : new Blob([`importScripts(${JSON.stringify(script)})`], { type: "text/javascript" }),
      }),
    };
    Object.assign(globalThis, { Module });
    if (!globalThis.document)
      try {
        Reflect.get(globalThis, "importScripts").call(globalThis);
      } catch {
        // module workers have none, which LiteRT calls
        const code = new TextDecoder().decode(
          await fetchFile(`${folder}litert_wasm_${variant}internal.js`, "the runtime"),
        );
        // eslint-disable-next-line no-eval -- a classic script that LiteRT loads as such
        Object.assign(globalThis, { importScripts: () => (0, eval)(code) });
      }
    await loadLiteRt(folder, { threads: threads > 1 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `the runtime was not loaded from ${folder} (${reason}). Put the package's folder wasm/ there.`,
    );
  }
  return { threads, hasRelaxedSimd, gpuLost: accelerator === "webgpu" ? watchGpu() : null };
}

/**
 * Return a promise that rejects when the graphics card is lost. Warn and return null if there is
 * none.
 */
function watchGpu(): Promise<never> | null {
  const device = getWebGpuDevice() as {
    readonly lost: Promise<{ readonly message: string }>;
  } | null;
  if (device === null) {
    console.warn("this browser has no WebGPU device: networks run on the processor");
    return null;
  }
  const lost = device.lost.then(({ message }): never => {
    throw new Error(`the graphics card was lost (${message})`);
  });
  lost.catch((error: Error) => console.warn(`${error.message}: networks run on the processor`));
  return lost;
}

/** Expected inputs and outputs of a network. */
export interface NetworkShape {
  readonly sizes: readonly number[]; // number of values in each output, in any order
  // indices of the requested outputs, by default all. Operators that only lead to other outputs do
  // not run.
  readonly outputs?: readonly number[];
  // sides of intermediate maps to append to the outputs, followed by the mean of the last map
  readonly taps?: readonly number[];
  readonly input?: readonly number[]; // shape of an input that is not a square image
  readonly range?: readonly number[]; // values of black and white in the input; by default 0 and 1
  readonly samplesCentres?: boolean; // crops sample the centres of pixels; by default the corners
}

/** Operators that LiteRT runs as one model. */
interface Part {
  readonly model: CompiledModel;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  tensors?: readonly Tensor[]; // buffers of the inputs on the processor, created by the first run
}

type Step = Part | Convolutions | Operator;

/**
 * A network whose input is an image or another array of numbers. Write into `input`, then call
 * `run()`.
 */
export class Network implements Input {
  readonly input: Float32Array<ArrayBuffer>;
  readonly size: number;
  readonly rows: number;
  readonly levels: Float32Array;
  readonly samplesCentres: boolean;

  private constructor(
    private steps: readonly Step[],
    /**
     * Loss of the graphics card, and what takes over then; null if the network runs on the
     * processor.
     */
    private gpu: {
      readonly lost: Promise<never>;
      compileForProcessor(): Promise<Step[]>;
    } | null,
    private readonly tensor: number,
    private readonly outputs: readonly number[],
    private readonly shape: readonly number[],
    { range = [0, 1], samplesCentres = false }: NetworkShape,
    /** Constant inputs of custom operators. */
    private readonly constants: ReadonlyMap<number, Values>,
  ) {
    this.samplesCentres = samplesCentres;
    const [black, white] = range as [number, number];
    this.rows = shape[1]!;
    this.size = shape[2] ?? this.rows;
    this.input = new Float32Array(shape.reduce((product, side) => product * side, 1));
    this.levels = new Float32Array(256).map((_, level) => black + (level / 255) * (white - black));
  }

  /** Compile a network. @throws {Error} the file is not the expected network */
  static async compile(
    file: Uint8Array,
    what: string,
    { threads, hasRelaxedSimd, gpuLost }: Runtime,
    expected: NetworkShape,
  ): Promise<Network> {
    const { sizes, outputs, taps = [], input } = expected;
    const read = async () => {
      const graph = new TfliteFile(file);
      const requested = outputs?.every((n) => n < graph.outputs.length)
        ? outputs.map((n) => graph.outputs[n]!)
        : graph.outputs;
      const allOutputs = taps.length ? [...requested, ...graph.taps(taps)] : requested;
      const constants = graph.constants(
        graph.operators.filter(({ custom }) => custom).flatMap(({ inputs }) => inputs),
      );
      // several threads of LiteRT are faster
      const own =
        gpuLost || threads > 1 || !hasRelaxedSimd
          ? null
          : await compileConvolutions(graph, allOutputs);
      const all = own ? [] : stepsOf(graph, file, allOutputs);
      const compiled = (accelerator: Accelerator) => compileSteps(all, accelerator, threads);
      const steps: Step[] = own
        ? [own]
        : await (gpuLost
            ? Promise.race([compiled("webgpu"), gpuLost]).catch(() => compiled("wasm"))
            : compiled("wasm"));
      return { graph, requested, allOutputs, constants, compiled, steps };
    };
    const { graph, requested, allOutputs, constants, compiled, steps } = await read().catch(
      (error: unknown) => {
        throw new Error(
          `${what} cannot be read as a network: ${error instanceof Error ? error.message : String(error)}`,
        );
      },
    );
    const image = graph.inputs[0]!;
    const shape = graph.shapes[image]!;
    const isShaped = input
      ? shape.join() === input.join()
      : shape.length === 4 && shape[1] === shape[2] && shape[3] === 3;
    const lengths = requested.map((tensor) =>
      graph.shapes[tensor]!.reduce((product, side) => product * side, 1),
    );
    if (!isShaped || sorted(lengths).join() !== sorted(sizes).join()) {
      release(steps);
      throw new Error(
        `${what} is another network: it takes ${shape.slice(1).join(" x ")} ` +
          `and gives ${lengths.join(" + ")} numbers, ` +
          `not ${input ? input.slice(1).join(" x ") : "a square image"} and ${sizes.join(" + ")}`,
      );
    }
    const isOnGpu =
      gpuLost &&
      steps.some((step) => "model" in step && step.model.options.accelerator === "webgpu");
    const fallback = isOnGpu
      ? { lost: gpuLost, compileForProcessor: () => compiled("wasm") }
      : null;
    return new Network(steps, fallback, image, allOutputs, shape, expected, constants);
  }

  /**
   * Return the outputs for the values in `input`, in the order of the file. If the graphics card
   * fails, the processor takes over.
   */
  async run(): Promise<Float32Array[]> {
    if (this.gpu !== null) {
      const { lost, compileForProcessor } = this.gpu;
      try {
        return await Promise.race([this.#runSteps(), lost]);
      } catch {
        this.gpu = null;
        this.steps = await compileForProcessor();
      }
    }
    return this.#runSteps();
  }

  async #runSteps(): Promise<Float32Array[]> {
    const values = new Map<number, Values>([
      ...this.constants,
      [this.tensor, { shape: [...this.shape], data: this.input }],
    ]);
    for (const step of this.steps) {
      const inputs = step.inputs.map((tensor) => values.get(tensor)!);
      const produced =
        "model" in step
          ? await run(step, inputs)
          : "run" in step
            ? step.run(inputs[0]!)
            : [CUSTOM_OPERATORS[step.custom]!(inputs, step.options)];
      step.outputs.forEach((tensor, i) => values.set(tensor, produced[i]!));
    }
    return this.outputs.map((tensor) => values.get(tensor)!.data);
  }
}

async function run(part: Part, inputs: readonly Values[]): Promise<Values[]> {
  const { model } = part;
  const data = await (model.options.accelerator === "wasm"
    ? runOnProcessor(part, inputs)
    : runOnGpu(model, inputs));
  return model.getOutputDetails().map(({ shape }, i) => ({ shape: [...shape], data: data[i]! }));
}

/**
 * Run a part through the functions below LiteRT's tensors and models. Those create about 30 objects
 * with finalizers in every run, which fills the memory of a page that processes a stream.
 */
async function runOnProcessor(
  part: Part,
  inputs: readonly Values[],
): Promise<Float32Array<ArrayBuffer>[]> {
  const wasm = getGlobalLiteRt().liteRtWasm;
  const { READ, WRITE } = wasm.LiteRtTensorBufferLockMode;
  part.tensors ??= inputs.map(({ shape, data }) => new Tensor(data, [...shape]));
  const buffers = part.tensors.map((tensor) => tensor.liteRtTensorBuffer);
  buffers.forEach((buffer, i) => {
    const at = buffer.lock(WRITE);
    const { data } = inputs[i]!;
    new Float32Array(wasm.HEAPU8.buffer, at, data.length).set(data);
    buffer.unlock();
  });
  const outputs: typeof buffers = await part.model["liteRtCompiledModel"].run(0, buffers);
  return outputs.map((buffer) => {
    const at = buffer.lock(READ);
    const data = new Float32Array(buffer.packedSize() / Float32Array.BYTES_PER_ELEMENT);
    data.set(new Float32Array(wasm.HEAPU8.buffer, at, data.length));
    buffer.unlock();
    buffer.delete();
    return data;
  });
}

async function runOnGpu(
  model: CompiledModel,
  inputs: readonly Values[],
): Promise<Float32Array<ArrayBuffer>[]> {
  const tensors = inputs.map(({ shape, data }) => new Tensor(data, [...shape]));
  const outputs = await model.run(tensors);
  for (const tensor of tensors) tensor.delete();
  const values: Float32Array<ArrayBuffer>[] = [];
  for (const output of outputs) {
    const read = await output.moveTo("wasm");
    values.push(read.toTypedArray() as Float32Array<ArrayBuffer>); // a copy
    read.delete();
  }
  return values;
}

/** Return numbers from the smallest to the largest. */
const sorted = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b);

/** Compile the parts among the steps. */
async function compileSteps(
  steps: ReturnType<typeof stepsOf>,
  accelerator: Accelerator,
  threads: number,
): Promise<(Part | Operator)[]> {
  const all: (Part | Operator)[] = [];
  const options =
    accelerator === "wasm"
      ? { cpuOptions: { numThreads: threads } }
      : { gpuOptions: { precision: "fp32" as const } };
  try {
    for (const step of steps) {
      if (!("file" in step)) all.push(step);
      else
        all.push({
          model: await loadAndCompile(step.file, { accelerator, ...options }),
          inputs: step.inputs,
          outputs: step.outputs,
        });
    }
  } catch (error) {
    release(all);
    throw error;
  }
  return all;
}

function release(steps: readonly Step[]): void {
  for (const step of steps) {
    if (!("model" in step)) continue;
    step.tensors?.forEach((tensor) => tensor.delete());
    step.model.delete();
  }
}

/**
 * Return the steps that lead to some tensors: files of operators that LiteRT supports, and the
 * custom operators between them.
 */
function stepsOf(graph: TfliteFile, file: Uint8Array, requested: readonly number[]) {
  const steps: ({ file: Uint8Array; inputs: number[]; outputs: number[] } | Operator)[] = [];
  const unknown = graph.operators.filter(
    ({ custom }) => custom && !Object.hasOwn(CUSTOM_OPERATORS, custom),
  );
  if (unknown.length)
    throw new Error(
      `its operators ${[...new Set(unknown.map(({ custom }) => custom))].join(", ")} are unknown`,
    );
  // tensors that depend on the input; every part has the constants
  const varying = new Set(graph.inputs);
  const doesVary = ({ inputs }: Operator) => inputs.some((tensor) => varying.has(tensor));
  for (const operator of graph.operators)
    if (doesVary(operator)) for (const tensor of operator.outputs) varying.add(tensor);
  let remaining = graph.operators.filter(doesVary);
  const produced = new Set(graph.inputs);
  while (remaining.length) {
    const isReady = (operator: Operator, available: ReadonlySet<number>) =>
      operator.inputs.every((tensor) => !varying.has(tensor) || available.has(tensor));
    const available = new Set(produced);
    const part = remaining.filter((operator) => {
      const isPart = !operator.custom && isReady(operator, available);
      if (isPart) for (const tensor of operator.outputs) available.add(tensor);
      return isPart;
    });
    const rest = remaining.filter((operator) => !part.includes(operator));
    const partOutputs = new Set(part.flatMap(({ outputs }) => outputs));
    const outputs = [...new Set([...requested, ...rest.flatMap(({ inputs }) => inputs)])].filter(
      (tensor) => partOutputs.has(tensor),
    );
    const inputs = [...new Set(part.flatMap((operator) => operator.inputs))].filter((tensor) =>
      produced.has(tensor),
    );
    const isFullGraph =
      part.length === graph.operators.length && outputs.join() === graph.outputs.join();
    if (outputs.length)
      steps.push({ file: isFullGraph ? file : graph.part(inputs, outputs), inputs, outputs });
    for (const tensor of outputs) produced.add(tensor);
    const custom = rest.filter((operator) => operator.custom && isReady(operator, produced));
    steps.push(...custom);
    for (const operator of custom) for (const tensor of operator.outputs) produced.add(tensor);
    if (!part.length && !custom.length) throw new Error("its operators wait for each other");
    remaining = rest.filter((operator) => !custom.includes(operator));
  }
  return steps;
}

/**
 * Return the bytes of a network's file; `expected`: length and hash of the published file, null for
 * a custom network.
 */
export async function fetchNetwork(
  url: string,
  expected: Weight | null,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await fetchFile(url, "the network");
  if (expected === null) return bytes;
  // Pages without TLS cannot compute hashes, so they check only the length.
  const hash =
    globalThis.isSecureContext && new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const isRight = hash
    ? hash.every((byte, i) => byte === parseInt(expected.sha256.slice(2 * i, 2 * i + 2), 16))
    : bytes.length === expected.bytes;
  if (isRight) return bytes;
  throw new FileError(
    `${url} is not the published ${expected.file} (${bytes.length} of ${expected.bytes} bytes). Download it again.`,
  );
}

type Options = Readonly<Record<string, OperatorOption>>;

const CUSTOM_OPERATORS: Readonly<
  Record<string, (inputs: readonly Values[], options: Options) => Values>
> = {
  Convolution2DTransposeBias: ([map, kernel, bias]) => upsample(map!, kernel!, bias!),
  Landmarks2TransformMatrix: ([landmarks], options) => matrixFromLandmarks(landmarks!, options),
  TransformTensorBilinear: ([map, matrix], options) => sampleMap(map!, matrix!, options),
  TransformLandmarks: ([points, matrix]) => transformLandmarks(points!, matrix!),
};

/**
 * Apply a transposed convolution to a map (1, h, w, C): kernel (1, 2, 2, C), stride 2, bias (1,).
 * Return (1, 2h, 2w, 1).
 */
function upsample(
  { shape, data }: Values,
  { shape: kernelShape, data: kernel }: Values,
  { data: bias }: Values,
): Values {
  const [height, width, channels] = [shape[1]!, shape[2]!, shape[3]!];
  if (kernelShape.join() !== [1, 2, 2, channels].join())
    throw new Error(`a transposed convolution with a kernel of ${kernelShape.join(" x ")}`);
  const larger = new Float32Array(4 * width * height);
  for (let j = 0; j < 2 * height; j++) {
    for (let i = 0; i < 2 * width; i++) {
      const from = ((j >> 1) * width + (i >> 1)) * channels;
      const weights = ((j & 1) * 2 + (i & 1)) * channels;
      let sum = bias[0]!;
      for (let c = 0; c < channels; c++) sum += data[from + c]! * kernel[weights + c]!;
      larger[2 * width * j + i] = sum;
    }
  }
  return { shape: [1, 2 * height, 2 * width, 1], data: larger };
}

/**
 * Return the matrix (1, 4, 4) from pixels of a region's map to pixels of the full map.
 *
 * The region is the box around some of the landmarks (1, K, 3), rotated so that the line from its
 * left to its right landmark is level, and enlarged by a scale.
 */
function matrixFromLandmarks({ data }: Values, options: Options): Values {
  const size = [numberOf(options, "output_width"), numberOf(options, "output_height")] as const;
  const scale = [numberOf(options, "scale_x"), numberOf(options, "scale_y")] as const;
  const [left, right] = [
    3 * numberOf(options, "left_rotation_idx"),
    3 * numberOf(options, "right_rotation_idx"),
  ];
  const [dx, dy] = [data[right]! - data[left]!, data[right + 1]! - data[left + 1]!];
  const target = numberOf(options, "target_rotation_radians");
  const angle = Math.atan2(dy, dx) - target;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  let [low, high]: [number[], number[]] = [
    [Infinity, Infinity],
    [-Infinity, -Infinity],
  ];
  for (const index of optionOf<readonly number[]>(options, "subset_idxs")) {
    const [x, y] = [data[3 * index]!, data[3 * index + 1]!];
    const rotated = [x * cos + y * sin, y * cos - x * sin];
    low = low.map((value, k) => Math.min(value, rotated[k]!));
    high = high.map((value, k) => Math.max(value, rotated[k]!));
  }
  const middle = low.map((value, k) => (value + high[k]!) / 2);
  const growth = low.map((value, k) => ((high[k]! - value) * scale[k as 0 | 1]) / size[k as 0 | 1]);
  const linear = [cos * growth[0]!, -sin * growth[1]!, sin * growth[0]!, cos * growth[1]!] as const;
  const x = middle[0]! * cos - middle[1]! * sin - (linear[0] * size[0] + linear[1] * size[1]) / 2;
  const y = middle[0]! * sin + middle[1]! * cos - (linear[2] * size[0] + linear[3] * size[1]) / 2;
  const [xx, xy, yx, yy] = linear;
  return {
    shape: [1, 4, 4],
    data: Float32Array.of(xx, xy, 0, x, yx, yy, 0, y, 0, 0, 1, 0, 0, 0, 0, 1),
  };
}

/**
 * Sample a map (1, h, w, C) from a map (1, H, W, C). Pixel centres are at halves; pixels outside
 * are 0.
 */
function sampleMap({ shape, data }: Values, { data: matrix }: Values, options: Options): Values {
  const [width, height] = [numberOf(options, "output_width"), numberOf(options, "output_height")];
  const [mapHeight, mapWidth, channels] = [shape[1]!, shape[2]!, shape[3]!];
  const sampled = new Float32Array(width * height * channels);
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const x = matrix[0]! * (i + 0.5) + matrix[1]! * (j + 0.5) + matrix[3]! - 0.5;
      const y = matrix[4]! * (i + 0.5) + matrix[5]! * (j + 0.5) + matrix[7]! - 0.5;
      if (!(x >= 0 && y >= 0 && x <= mapWidth - 1 && y <= mapHeight - 1)) continue;
      const [column, row] = [
        Math.min(Math.floor(x), mapWidth - 2),
        Math.min(Math.floor(y), mapHeight - 2),
      ];
      const [right, down] = [x - column, y - row];
      const first = (row * mapWidth + column) * channels;
      const below = first + mapWidth * channels;
      const to = (j * width + i) * channels;
      for (let c = 0; c < channels; c++) {
        const above = data[first + c]! * (1 - right) + data[first + channels + c]! * right;
        const under = data[below + c]! * (1 - right) + data[below + channels + c]! * right;
        sampled[to + c] = above * (1 - down) + under * down;
      }
    }
  }
  return { shape: [1, height, width, channels], data: sampled };
}

/** Transform points (1, K, 2) by a matrix (1, 4, 4). */
function transformLandmarks({ shape, data }: Values, { data: matrix }: Values): Values {
  const transformed = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += 2) {
    transformed[i] = matrix[0]! * data[i]! + matrix[1]! * data[i + 1]! + matrix[3]!;
    transformed[i + 1] = matrix[4]! * data[i]! + matrix[5]! * data[i + 1]! + matrix[7]!;
  }
  return { shape, data: transformed };
}

function optionOf<T extends OperatorOption>(options: Options, name: string): T {
  const value = options[name];
  if (value === undefined) throw new Error(`a custom operator without ${name}`);
  return value as T;
}

const numberOf = optionOf<number>;
