/** Networks of `.tflite` files, run by LiteRT. */

import { Tensor, loadAndCompile, loadLiteRt, supportsFeature, type CompiledModel } from "@litertjs/core";

import type { Weight } from "./data.js";

const MOST_THREADS = 4;
const MODULE_WITH_SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** What Emscripten's module asks where it is made. */
interface EmscriptenSettings {
  locateFile(name: string): string;
  mainScriptUrlOrBlob?: string;
  printErr(line: string): void;
}

/**
 * Load the runtime, once in a worker.
 *
 * @param folder address of its files, with a slash at its end
 * @returns how many threads it runs on
 */
export async function loadRuntime(folder: string): Promise<number> {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(MODULE_WITH_SIMD)) {
    throw new Error("this browser has no WebAssembly with SIMD: take a newer one, or let a Sonjit server compute");
  }
  const hasThreads = globalThis.crossOriginIsolated && (await supportsFeature("relaxedSimd"));
  const threads = hasThreads ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  const settings: EmscriptenSettings = {
    locateFile: (name) => folder + name,
    printErr: (line) => /^(INFO|WARNING):/.test(line) || console.error(line),
  };
  if (threads > 1) settings.mainScriptUrlOrBlob = `${folder}litert_wasm_threaded_internal.js`;
  Object.assign(globalThis, { Module: settings });
  try {
    await loadLiteRt(folder, { threads: threads > 1 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the runtime was not loaded from ${folder} (${reason}): put the package's folder wasm/ there`);
  }
  return threads;
}

/** A network with one square image in. */
export class Network {
  /** (size, size, 3), 0 to 1: write an image into it, then `run()`. */
  readonly input: Float32Array<ArrayBuffer>;
  /** Side of the input in pixels. */
  readonly size: number;
  readonly #model: CompiledModel;

  private constructor(model: CompiledModel, size: number) {
    this.#model = model;
    this.size = size;
    this.input = new Float32Array(3 * size * size);
  }

  /**
   * Compile a network.
   *
   * @param outputs how many numbers each of its outputs holds, in its order
   * @throws {Error} it is none that was meant
   */
  static async compile(file: Uint8Array, what: string, threads: number, outputs: readonly number[]): Promise<Network> {
    let model: CompiledModel;
    try {
      model = await loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
    } catch (error) {
      throw new Error(`${what} cannot be read as a network: ${error instanceof Error ? error.message : String(error)}`);
    }
    const [image] = model.getInputDetails();
    const [, height, width, channels] = image!.shape;
    const sizes = model.getOutputDetails().map(({ shape }) => shape.reduce((product, side) => product * side, 1));
    if (height !== width || channels !== 3 || [...sizes].sort().join() !== [...outputs].sort().join()) {
      model.delete();
      throw new Error(
        `${what} is another network: it takes ${width} x ${height} x ${channels} and gives ${sizes.join(" + ")} numbers, ` +
          `not a square image and ${outputs.join(" + ")}`,
      );
    }
    return new Network(model, width!);
  }

  /** The outputs for what is in `input`, in the file's order. */
  async run(): Promise<Float32Array[]> {
    const input = new Tensor(this.input, [1, this.size, this.size, 3]);
    const outputs = await this.#model.run([input]);
    input.delete();
    return outputs.map((output) => {
      const values = output.toTypedArray().slice() as Float32Array;
      output.delete();
      return values;
    });
  }
}

/**
 * The bytes of a network's file.
 *
 * @param expected what the published file must be; null for one of the caller's own
 */
export async function fetchNetwork(url: string, expected: Weight | null): Promise<Uint8Array> {
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch {
    throw new Error(`${url} cannot be reached: is the device offline, or does that site allow other pages to read it?`);
  }
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}; put the network there, or give its address`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (expected === null) return bytes;
  // Pages without TLS have no hashes: there the length must do.
  const isRight = globalThis.isSecureContext
    ? (await sha256(bytes)) === expected.sha256
    : bytes.length === expected.bytes;
  if (!isRight) {
    throw new Error(`${url} is not the published ${expected.file} (${bytes.length} bytes, of ${expected.bytes}): fetch it again`);
  }
  return bytes;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
