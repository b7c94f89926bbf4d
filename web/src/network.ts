/** Networks of `.tflite` files, run by LiteRT. */

import { Tensor, getGlobalLiteRt, getWebGpuDevice, loadAndCompile, loadLiteRt, supportsFeature, type CompiledModel } from "@litertjs/core";

import { CUSTOM_OPERATORS } from "./custom-operators.js";
import type { Weight } from "./data.js";
import { FileError, fetchFile } from "./files.js";
import { TfliteFile, type Operator, type Values } from "./tflite.js";

const MOST_THREADS = 4;
const MODULE_WITH_SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** What Emscripten's module asks where it is made. */
interface EmscriptenSettings {
  locateFile(name: string): string;
  mainScriptUrlOrBlob?: string | Blob;
  printErr(line: string): void;
}

/** What networks run on: the processor, or a graphics card where the browser has one. */
export type Accelerator = "wasm" | "webgpu";

/** What a runtime has. */
export interface Runtime {
  /** Of the processor. */
  readonly threads: number;
  /** Rejects when the graphics card is lost; null where networks run on the processor. */
  readonly lostGpu: Promise<never> | null;
}

/**
 * Load the runtime, once in a worker.
 *
 * @param folder address of its files, with a slash at its end
 */
export async function loadRuntime(folder: string, accelerator: Accelerator): Promise<Runtime> {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(MODULE_WITH_SIMD)) {
    throw new Error("this browser has no WebAssembly with SIMD: take a newer one, or let a Sonjit server compute");
  }
  // Firefox (153) can lose the signal that a worker within a worker has started: the outer one then waits forever.
  const canStartThreads = globalThis.crossOriginIsolated && !navigator.userAgent.includes("Firefox/");
  const hasThreads = canStartThreads && (await supportsFeature("relaxedSimd"));
  const threads = hasThreads ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  const settings: EmscriptenSettings = {
    locateFile: (name) => folder + name,
    printErr: (line) => /^(INFO|WARNING):/.test(line) || console.error(line),
  };
  if (threads > 1) {
    const script = `${folder}litert_wasm_threaded_internal.js`;
    const isOwn = new URL(script).origin === location.origin; // of another site browsers start no worker
    settings.mainScriptUrlOrBlob = isOwn ? script : new Blob([`importScripts(${JSON.stringify(script)})`], { type: "text/javascript" });
  }
  Object.assign(globalThis, { Module: settings });
  try {
    await loadLiteRt(folder, { threads: threads > 1 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the runtime was not loaded from ${folder} (${reason}): put the package's folder wasm/ there`);
  }
  return { threads, lostGpu: accelerator === "webgpu" ? gpu() : null };
}

/** Rejects when the graphics card is lost; null where there is none, which is told. */
function gpu(): Promise<never> | null {
  const device = getWebGpuDevice() as { readonly lost: Promise<{ readonly message: string }> } | null;
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

/** What a network must be. */
export interface NetworkShape {
  /** How many numbers each of its outputs holds, in any order. */
  readonly sizes: readonly number[];
  /** Which of the file's outputs are wanted, by default all; what leads only to others does not run. */
  readonly outputs?: readonly number[];
  /** Sides of maps on the way that are given too, behind the outputs, and behind these the mean of the last. */
  readonly taps?: readonly number[];
  /** Shape of an input that is not a square image. */
  readonly input?: readonly number[];
  /** What black and white are in its input; by default 0 and 1. */
  readonly range?: readonly number[];
  /** Crops for it sample the centres of their pixels, by default the corners. */
  readonly samplesCentres?: boolean;
}

/** Operators that LiteRT runs one after the other. */
interface Part {
  readonly model: CompiledModel;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** What holds its inputs on the processor, from its first run on. */
  tensors?: readonly Tensor[];
}

/** Of a network that runs on a graphics card. */
interface OnGpu {
  readonly lost: Promise<never>;
  compileForProcessor(): Promise<(Part | Operator)[]>;
}

/** A network with one image, or other numbers, in. */
export class Network {
  /** (rows, size, 3), numbers of `levels`, or those of another input: write into it, then `run()`. */
  readonly input: Float32Array<ArrayBuffer>;
  /** Width of an image in pixels. */
  readonly size: number;
  /** Height of an image in pixels. */
  readonly rows: number;
  /** (256,) the input's number for each grey level. */
  readonly levels: Float32Array;
  /** Crops for it sample the centres of their pixels. */
  readonly samplesCentres: boolean;
  #steps: readonly (Part | Operator)[];
  /** Null on the processor. */
  #gpu: OnGpu | null;
  readonly #tensor: number;
  readonly #shape: readonly number[];
  readonly #outputs: readonly number[];
  /** What custom operators read besides what varies. */
  readonly #constants: ReadonlyMap<number, Values>;

  private constructor(
    steps: readonly (Part | Operator)[],
    gpu: OnGpu | null,
    tensor: number,
    outputs: readonly number[],
    shape: readonly number[],
    { range = [0, 1], samplesCentres = false }: NetworkShape,
    constants: ReadonlyMap<number, Values>,
  ) {
    this.samplesCentres = samplesCentres;
    this.#constants = constants;
    this.#gpu = gpu;
    const [black, white] = range as [number, number];
    this.#steps = steps;
    this.#tensor = tensor;
    this.#shape = shape;
    this.#outputs = outputs;
    this.rows = shape[1]!;
    this.size = shape[2] ?? this.rows;
    this.input = new Float32Array(shape.reduce((product, side) => product * side, 1));
    this.levels = new Float32Array(256).map((_, level) => black + (level / 255) * (white - black));
  }

  /**
   * Compile a network.
   *
   * @throws {Error} it is none that was meant
   */
  static async compile(
    file: Uint8Array,
    what: string,
    { threads, lostGpu }: Runtime,
    expected: NetworkShape,
  ): Promise<Network> {
    const { sizes, outputs, taps = [], input } = expected;
    let steps: (Part | Operator)[] = [];
    let image: number;
    let own: readonly number[];
    let wanted: readonly number[];
    let constants: ReadonlyMap<number, Values>;
    let compiled: (accelerator: Accelerator) => Promise<(Part | Operator)[]>;
    try {
      const graph = new TfliteFile(file);
      image = graph.inputs[0]!;
      own = outputs?.every((n) => n < graph.outputs.length) ? outputs.map((n) => graph.outputs[n]!) : graph.outputs;
      wanted = taps.length ? [...own, ...graph.taps(taps)] : own;
      constants = graph.constants(graph.operators.filter(({ custom }) => custom).flatMap(({ inputs }) => inputs));
      const all = stepsOf(graph, file, wanted);
      compiled = (accelerator) => compiledSteps(all, accelerator, threads);
      steps = await (lostGpu ? Promise.race([compiled("webgpu"), lostGpu]).catch(() => compiled("wasm")) : compiled("wasm"));
    } catch (error) {
      throw new Error(`${what} cannot be read as a network: ${error instanceof Error ? error.message : String(error)}`);
    }
    const parts = steps.filter((step) => "model" in step);
    const first = parts.find(({ inputs }) => inputs.includes(image))!;
    const shape = [...first.model.getInputDetails()[first.inputs.indexOf(image)]!.shape];
    const isShaped = input ? shape.join() === input.join() : shape.length === 4 && shape[1] === shape[2] && shape[3] === 3;
    const shapes = new Map(parts.flatMap(({ model, outputs: made }) => model.getOutputDetails().map(({ shape: of }, i) => [made[i]!, of])));
    const lengths = own.map((tensor) => shapes.get(tensor)?.reduce((product, side) => product * side, 1) ?? 0);
    if (!isShaped || [...lengths].sort().join() !== [...sizes].sort().join()) {
      release(steps);
      throw new Error(
        `${what} is another network: it takes ${shape.slice(1).join(" x ")} and gives ${lengths.join(" + ")} numbers, ` +
          `not ${input ? input.slice(1).join(" x ") : "a square image"} and ${sizes.join(" + ")}`,
      );
    }
    const isOnGpu = lostGpu && parts.some(({ model }) => model.options.accelerator === "webgpu");
    const ofGpu = isOnGpu ? { lost: lostGpu, compileForProcessor: () => compiled("wasm") } : null;
    return new Network(steps, ofGpu, image, wanted, shape, expected, constants);
  }

  /** The outputs for what is in `input`, in the file's order; from where the graphics card fails by the processor. */
  async run(): Promise<Float32Array[]> {
    if (this.#gpu !== null) {
      const { lost, compileForProcessor } = this.#gpu;
      try {
        return await Promise.race([this.#follow(), lost]);
      } catch {
        this.#gpu = null;
        this.#steps = await compileForProcessor();
      }
    }
    return this.#follow();
  }

  async #follow(): Promise<Float32Array[]> {
    const known = new Map<number, Values>([...this.#constants, [this.#tensor, { shape: [...this.#shape], data: this.input }]]);
    for (const step of this.#steps) {
      const inputs = step.inputs.map((tensor) => known.get(tensor)!);
      const made = "model" in step ? await run(step, inputs) : [CUSTOM_OPERATORS[step.custom]!(inputs, step.options)];
      step.outputs.forEach((tensor, i) => known.set(tensor, made[i]!));
    }
    return this.#outputs.map((tensor) => known.get(tensor)!.data);
  }
}

async function run(part: Part, inputs: readonly Values[]): Promise<Values[]> {
  const { model } = part;
  const data = await (model.options.accelerator === "wasm" ? runOnProcessor(part, inputs) : runOnGpu(model, inputs));
  return model.getOutputDetails().map(({ shape }, i) => ({ shape: [...shape], data: data[i]! }));
}

/**
 * By what LiteRT's own tensors and models call: these make some 30 objects for every run besides, each with a finalizer,
 * which fills the memory of a page that looks at a stream.
 */
async function runOnProcessor(part: Part, inputs: readonly Values[]): Promise<Float32Array<ArrayBuffer>[]> {
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

async function runOnGpu(model: CompiledModel, inputs: readonly Values[]): Promise<Float32Array<ArrayBuffer>[]> {
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

/** Steps with their parts compiled. */
async function compiledSteps(
  steps: ReturnType<typeof stepsOf>,
  accelerator: Accelerator,
  threads: number,
): Promise<(Part | Operator)[]> {
  const all: (Part | Operator)[] = [];
  const options = accelerator === "wasm" ? { cpuOptions: { numThreads: threads } } : { gpuOptions: { precision: "fp32" as const } };
  try {
    for (const step of steps) {
      if (!("file" in step)) all.push(step);
      else all.push({ model: await loadAndCompile(step.file, { accelerator, ...options }), inputs: step.inputs, outputs: step.outputs });
    }
  } catch (error) {
    release(all);
    throw error;
  }
  return all;
}

function release(steps: readonly (Part | Operator)[]): void {
  for (const step of steps) {
    if (!("model" in step)) continue;
    step.tensors?.forEach((tensor) => tensor.delete());
    step.model.delete();
  }
}

/** What leads to some tensors: files of operators that LiteRT knows, and the others between them, in turn. */
function stepsOf(graph: TfliteFile, file: Uint8Array, wanted: readonly number[]) {
  const steps: ({ file: Uint8Array; inputs: number[]; outputs: number[] } | Operator)[] = [];
  const unknown = graph.operators.filter(({ custom }) => custom && !Object.hasOwn(CUSTOM_OPERATORS, custom));
  if (unknown.length) throw new Error(`its operators ${[...new Set(unknown.map(({ custom }) => custom))].join(", ")} are unknown`);
  const varying = new Set(graph.inputs); // tensors that depend on the input; constants go along with every part
  const doesVary = ({ inputs }: Operator) => inputs.some((tensor) => varying.has(tensor));
  for (const operator of graph.operators) if (doesVary(operator)) for (const tensor of operator.outputs) varying.add(tensor);
  let waiting = graph.operators.filter(doesVary);
  const made = new Set(graph.inputs);
  while (waiting.length) {
    const isReady = (operator: Operator, there: ReadonlySet<number>) => operator.inputs.every((tensor) => !varying.has(tensor) || there.has(tensor));
    const there = new Set(made);
    const part = waiting.filter((operator) => {
      const isPart = !operator.custom && isReady(operator, there);
      if (isPart) for (const tensor of operator.outputs) there.add(tensor);
      return isPart;
    });
    const rest = waiting.filter((operator) => !part.includes(operator));
    const own = new Set(part.flatMap(({ outputs }) => outputs));
    const outputs = [...new Set([...wanted, ...rest.flatMap(({ inputs }) => inputs)])].filter((tensor) => own.has(tensor));
    const inputs = [...new Set(part.flatMap((operator) => operator.inputs))].filter((tensor) => made.has(tensor));
    const isWhole = part.length === graph.operators.length && outputs.join() === graph.outputs.join();
    if (outputs.length) steps.push({ file: isWhole ? file : graph.part(inputs, outputs), inputs, outputs });
    for (const tensor of outputs) made.add(tensor);
    const custom = rest.filter((operator) => operator.custom && isReady(operator, made));
    steps.push(...custom);
    for (const operator of custom) for (const tensor of operator.outputs) made.add(tensor);
    if (!part.length && !custom.length) throw new Error("its operators wait for each other");
    waiting = rest.filter((operator) => !custom.includes(operator));
  }
  return steps;
}

/**
 * The bytes of a network's file.
 *
 * @param expected what the published file must be; null for one of the caller's own
 */
export async function fetchNetwork(url: string, expected: Weight | null): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await fetchFile(url, "the network");
  if (expected === null) return bytes;
  // Pages without TLS have no hashes: there the length must do.
  const isRight = globalThis.isSecureContext
    ? (await sha256(bytes)) === expected.sha256
    : bytes.length === expected.bytes;
  if (!isRight) {
    throw new FileError(`${url} is not the published ${expected.file} (${bytes.length} bytes, of ${expected.bytes}): fetch it again`);
  }
  return bytes;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
