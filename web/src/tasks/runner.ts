/** Base of the vision tasks: files, options, images and modes. */

import { Bundle } from "../bundle.js";
import { KINDS, WEIGHTS, type Role } from "../data.js";
import { hasFile } from "../files.js";
import { LOADERS, once, type Make, type Open } from "../kinds.js";
import { fetchNetwork, loadRuntime, Network, type NetworkShape, type Runtime } from "../network.js";
import { settingsOf, type DetectorOptions, type Settings } from "../options.js";
import { pixelsOf, type Pixels } from "../pixels.js";
import type { Results } from "../results.js";
import { InstanceOrder } from "../tracking.js";
import type { Frame } from "./results.js";

// bundlers take `new URL` for one of their files
const MODULE_FOLDER = import.meta.url.replace(/[^/]*([?#].*)?$/, "");
/** Names of networks for which Sonjit uses its own copies. */
const PUBLISHED_NETWORKS = [
  "hand_landmarker",
  "gesture_recognizer",
  "pose_landmarker(_\\w+)?",
  "holistic_landmarker",
  "blaze_face_short_range",
  "selfie_segmenter(_landscape)?",
];
const PUBLISHED = new RegExp(`(^|/)(${PUBLISHED_NETWORKS.join("|")})\\.(task|tflite)([?#]|$)`);
const MEMBERS: Readonly<Record<string, string>> = { hands: "hand", body: "pose", face: "face" };

export type ImageSource =
  | HTMLCanvasElement
  | HTMLVideoElement
  | HTMLImageElement
  | ImageData
  | ImageBitmap
  | VideoFrame
  | OffscreenCanvas;

/** Check whether an address has the file name of a published network. */
export const isPublished = (path: string): boolean => PUBLISHED.test(path);

/**
 * Addresses of MediaPipe's files, which are ignored. Sonjit's files are next to its module, or in
 * `FilesetResolver.folder`.
 */
export type WasmFileset = {
  wasmLoaderPath: string;
  wasmBinaryPath: string;
  assetLoaderPath?: string;
  assetBinaryPath?: string;
};

export type ModelBuffer = Uint8Array | ReadableStreamDefaultReader;
/** Options of the files, after a buffer has been read. */
type LoadedOptions = BaseOptions & { modelAssetBuffer?: Uint8Array | undefined };

export interface BaseOptions {
  /**
   * Address of a model. File names that MediaPipe publishes for hands, poses, people and face boxes
   * are not fetched, because Sonjit's files contain the same networks.
   */
  modelAssetPath?: string | undefined;
  /** Content of a `.task` bundle, or a reader of it. A later `modelAssetPath` replaces it. */
  modelAssetBuffer?: ModelBuffer | undefined;
  /**
   * Networks always run on the processor. `"GPU"` samples crops as MediaPipe does on graphics
   * cards.
   */
  delegate?: "CPU" | "GPU" | undefined;
}

export interface VisionTaskOptions {
  baseOptions?: BaseOptions;
  runningMode?: "IMAGE" | "VIDEO" | undefined;
  /** Ignored. */
  canvas?: HTMLCanvasElement | OffscreenCanvas | undefined;
}

export interface ImageProcessingOptions {
  /** Clockwise rotation, a multiple of 90, that makes the image upright. */
  rotationDegrees?: number;
  /** Not supported by landmarkers. */
  regionOfInterest?: object;
}

/** Return the address to which paths are relative, in pages and workers. */
export const pageAddress = (): string =>
  globalThis.document?.baseURI ?? location.href.replace(/^blob:/, "");

/** Check whether a folder has the runtime. */
const hasRuntime = async (folder: string): Promise<boolean> =>
  folder === FilesetResolver.folder || hasFile(`${folder}wasm/litert_wasm_internal.js`);

/**
 * Return a function that returns MediaPipe's files of tasks that this package lacks, for
 * MediaPipe's own packages.
 */
const filesOf =
  (tasks: string) =>
  async (basePath = "", useModule = false): Promise<WasmFileset> => {
    const path = `${basePath.replace(/\/$/, "")}/${tasks}_wasm_${useModule ? "module_" : ""}internal`;
    return { wasmLoaderPath: `${path}.js`, wasmBinaryPath: `${path}.wasm` };
  };

/** Resolves the files of tasks. */
export class FilesetResolver {
  /**
   * Address of the folder with `models/` and `wasm/` of this package. Default: the folder of the
   * module.
   */
  static folder = MODULE_FOLDER;

  /** Check whether the browser can run the networks. */
  static isSimdSupported = async (_useModule?: boolean): Promise<boolean> =>
    typeof WebAssembly === "object";

  static forAudioTasks = filesOf("audio");
  static forTextTasks = filesOf("text");
  static forGenAiTasks = filesOf("genai");
  static forGenAiExperimentalTasks = filesOf("genai_experimental");
  static forDecisionTasks = filesOf("decision");
  static forRetrievalTasks = filesOf("retrieval");
  static forLiteRtLmTextTasks = filesOf("litertlm_text");

  /**
   * Return the files of the vision tasks. `basePath`: folder with `models/` and `wasm/`, or its
   * `wasm/`; others are ignored, as `_useModule`.
   */
  static async forVisionTasks(basePath?: string, _useModule?: boolean): Promise<WasmFileset> {
    if (basePath && !/mediapipe|tasks-vision/.test(basePath)) {
      const folder = new URL(`${basePath.replace(/\/?(wasm)?\/?$/, "")}/`, pageAddress()).href;
      if (await hasRuntime(folder)) FilesetResolver.folder = folder;
    }
    return { wasmLoaderPath: "", wasmBinaryPath: "" };
  }
}

async function readAll(reader: ReadableStreamDefaultReader): Promise<Uint8Array> {
  const parts = [];
  for (let part = await reader.read(); !part.done; part = await reader.read())
    parts.push(part.value);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Load the networks of a new task. */
export async function opened<T extends { setOptions(options: VisionTaskOptions): Promise<void> }>(
  task: T,
  options: Parameters<T["setOptions"]>[0],
): Promise<T> {
  await task.setOptions(options);
  return task;
}

/**
 * Base of the vision tasks; `Found`: what the graph finds in an image, `R`: the result in the shape
 * of MediaPipe.
 */
export abstract class VisionTask<Options extends VisionTaskOptions, Found, R> {
  /** Processes a still, or the image of a video at a time in seconds. Null after `close()`. */
  protected graph: ((image: Pixels, timeS: number | null) => Found | Promise<Found>) | null = null;
  #canvas = new OffscreenCanvas(1, 1);

  protected options = {} as Options;
  protected base: LoadedOptions = {}; // files of the networks

  /** Load the networks of the options and create the graph. */
  abstract open(): Promise<void>;

  protected abstract result(found: Found, frame: Frame): R;

  /** Change options. Omitted options stay; undefined restores the default. */
  async setOptions(options: Options): Promise<void> {
    this.options = { ...this.options, ...options };
    const former = options.baseOptions?.modelAssetPath
      ? { ...this.base, modelAssetBuffer: undefined }
      : this.base;
    const { modelAssetBuffer: buffer, ...others } = { ...former, ...options.baseOptions };
    this.base = {
      ...others,
      modelAssetBuffer: buffer && "read" in buffer ? await readAll(buffer) : buffer,
    };
    await this.open();
  }

  /** Does nothing: no task counts or sends what it does. */
  enableLogging(_options: VisionTaskOptions): void {}

  /** Free the networks. */
  close(): void {
    this.graph = null;
  }

  /**
   * Process a still, or the next image of a video. Return the result, and pass it to the callback
   * if there is one.
   */
  protected process(
    image: ImageSource,
    timestampMs: number | null,
    [first, second]: WithCallback<R>,
  ): R {
    const [options, callback] = typeof first === "function" ? [undefined, first] : [first, second];
    const result = this.result(...this.run(image, timestampMs, options));
    callback?.(result);
    return result;
  }

  protected run(
    image: ImageSource,
    timestampMs: number | null,
    { rotationDegrees = 0, regionOfInterest }: ImageProcessingOptions = {},
  ): [Found, Frame] {
    const { runningMode = "IMAGE" } = this.options;
    const mode = timestampMs === null ? "IMAGE" : "VIDEO";
    if (runningMode !== mode) {
      throw new Error(
        `Task is not initialized with ${mode.toLowerCase()} mode. 'runningMode' must be set to '${mode}'.`,
      );
    }
    if (this.graph === null) throw new Error("this task is closed. Create a new one.");
    if (regionOfInterest) throw new Error("This task doesn't support region-of-interest.");
    if (rotationDegrees % 90) throw new Error("Expected rotation to be a multiple of 90°.");
    const turns = (((rotationDegrees / 90) % 4) + 4) % 4;
    const pixels = this.#readPixels(image, turns);
    // The pipeline runs without promises here; see synchronous() in build.js.
    const found = this.graph(pixels, timestampMs === null ? null : timestampMs / 1000) as Found;
    return [found, { width: pixels.width, height: pixels.height, turns }];
  }

  #readPixels(image: ImageSource, turns: number): Pixels {
    if (image instanceof ImageData) {
      const pixels = pixelsOf(image);
      if (!turns) return pixels;
    }
    const [width, height] = sizeOf(image);
    if (!width || !height)
      throw new Error("the image is empty. Wait until the image or video has loaded.");
    const [columns, rows] = turns % 2 ? [height, width] : [width, height];
    if (this.#canvas.width !== columns || this.#canvas.height !== rows)
      this.#canvas = new OffscreenCanvas(columns, rows);
    const context = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    context.globalCompositeOperation = "copy";
    context.setTransform(1, 0, 0, 1, columns / 2, rows / 2);
    context.rotate((turns * Math.PI) / 2);
    context.drawImage(
      image instanceof ImageData ? canvasOf(image) : image,
      -width / 2,
      -height / 2,
      width,
      height,
    );
    return context.getImageData(0, 0, columns, rows);
  }
}

/** Kind and options of a task's detector. */
export interface DetectorRequest {
  /** Kind of detector. */
  readonly kind: "hands" | "face" | "body" | "holistic";
  readonly options: DetectorOptions;
}

/** Base of the tasks that run a detector. */
export abstract class DetectorTask<Options extends VisionTaskOptions, R> extends VisionTask<
  Options,
  Results,
  R
> {
  #make: Make | null = null;
  #loaded = "";
  #buffer: Uint8Array | undefined;
  #order = new InstanceOrder({ newFirst: false });

  protected abstract request(options: Options): DetectorRequest;

  /** Load the networks. Kinds with another graph override this method. */
  protected load(networks: Networks): Promise<Make> {
    return LOADERS[networks.settings.kind]!({
      model: networks.settings.model,
      others: {},
      open: networks.open,
      hasOwnLandmarks: networks.isOwn,
      handArrays: () => Promise.reject(new Error("tasks search fast, for published keypoints")),
      proposals: () => Promise.reject(new Error("tasks search fast")),
      hasOwnBundle: networks.isOwn,
      bundle: networks.bundle,
      searchesParts: true,
      recrops: true,
    });
  }

  /** Load the networks if the model has changed, and create the detector. */
  async open(): Promise<void> {
    const { modelAssetPath, modelAssetBuffer, delegate } = this.base;
    const request = this.request({ ...this.options, baseOptions: this.base });
    const settings = settingsOf(request.kind, {
      search: "fast",
      smoothing: "published",
      ...request.options,
    });
    const key = `${settings.model} ${delegate} ${modelAssetPath}`;
    if (this.#make === null || key !== this.#loaded || modelAssetBuffer !== this.#buffer) {
      this.#make = await this.load(new Networks(settings, await runtime(), this.base));
      [this.#loaded, this.#buffer] = [key, modelAssetBuffer];
    }
    const detector = await this.#make(settings, false);
    this.graph = (image, timeS) =>
      timeS === null ? detector.detect(image) : detector.track(image, timeS);
    this.#order.reset();
  }

  protected override run(
    image: ImageSource,
    timestampMs: number | null,
    options?: ImageProcessingOptions,
  ): [Results, Frame] {
    const [results, frame] = super.run(image, timestampMs, options);
    return [
      timestampMs === null ? results : { ...results, found: this.#order.sort(results.found) },
      frame,
    ];
  }

  /** Free the networks. */
  override close(): void {
    super.close();
    this.#make = null;
  }
}

export type Callback<I, O> = (input: I) => O;
/** Arguments after an image: options, a callback, both or none. */
export type WithCallback<R> = [
  options?: ImageProcessingOptions | Callback<R, void> | undefined,
  callback?: Callback<R, void> | undefined,
];

/** The networks of one task. */
export class Networks {
  /** True if the networks are those of a custom bundle. */
  readonly isOwn: boolean;
  readonly #files = new Map<string, Promise<Uint8Array>>();
  readonly #url: string | null; // null for the published networks, or a buffer

  constructor(
    readonly settings: Settings,
    private readonly runtime: Runtime,
    private readonly base: LoadedOptions,
  ) {
    const { modelAssetPath: path, modelAssetBuffer: buffer } = base;
    this.#url = path === undefined || isPublished(path) ? null : new URL(path, pageAddress()).href;
    this.isOwn = buffer !== undefined || this.#url !== null;
    if (this.isOwn && settings.kind === "holistic")
      throw new Error(
        "HolisticLandmarker does not support custom bundles. Use holistic_landmarker.task.",
      );
  }

  readonly open: Open = async (role, shape) => {
    const { kind, model } = this.settings;
    const prefix = MEMBERS[kind];
    if (this.isOwn)
      return (await this.bundle()).open(
        `${prefix}_${role === "detector" ? "detector" : "landmarks_detector"}.tflite`,
        shape,
      );
    const name = KINDS[kind]!.models[model]![role as Role]!;
    const url = new URL(`models/${WEIGHTS[name]!.file}`, FilesetResolver.folder).href;
    if (!this.#files.has(url)) this.#files.set(url, fetchNetwork(url, WEIGHTS[name]!));
    return this.#compile(await this.#files.get(url)!, url, shape);
  };

  readonly #compile = (file: Uint8Array, what: string, shape: NetworkShape) =>
    Network.compile(file, what, this.runtime, {
      ...shape,
      samplesCentres: this.base.delegate === "GPU",
    });

  readonly bundle = once(async () => {
    const url = this.#url ?? new URL("models/face_landmarker.task", FilesetResolver.folder).href;
    const buffer = this.base.modelAssetBuffer;
    const file = buffer ?? (await fetchNetwork(url, null));
    return new Bundle(
      buffer ? "modelAssetBuffer" : url,
      file as Uint8Array<ArrayBuffer>,
      this.#compile,
    );
  });
}

/** Return the runtime, which a page loads once. */
export const runtime = once(() =>
  loadRuntime(new URL("wasm/", FilesetResolver.folder).href, "wasm"),
);

function sizeOf(image: ImageSource): [number, number] {
  if ("videoWidth" in image) return [image.videoWidth, image.videoHeight];
  if ("naturalWidth" in image) return [image.naturalWidth, image.naturalHeight];
  return "displayWidth" in image
    ? [image.displayWidth, image.displayHeight]
    : [image.width, image.height];
}

/** Return a canvas with an image. */
export function canvasOf(image: ImageData): OffscreenCanvas {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas;
}
