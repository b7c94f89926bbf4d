/** Run a detector in a worker of this page. */

import { decode, draw, type ImageLike } from "./tfjs.js";
import { CLASSIFIER_SIDE, type ImageClass } from "./classes.js";
import { WEIGHTS, type Role } from "./data.js";
import type { Accelerator } from "./network.js";
import { mirror, pixelsOf } from "./pixels.js";
import { kindOf, settingsOf, type LocalOptions, type Settings } from "./options.js";
import {
  withNamedKeypoints,
  type Body,
  type Face,
  type Hand,
  type Person,
  type StreamEnd,
} from "./results.js";
import type { Covered } from "./search/bystanders.js";
import type { Answer, Answered, NetworkPlace, Places, Reply, Request, Sent } from "./worker.js";

const ACCELERATORS: readonly Accelerator[] = ["wasm", "webgpu"];
const OWN_ROLES = ["detector", "landmark"] as const;
// bundlers take `new URL` for one of their files
const HERE = import.meta.url.replace(/[^/]*([?#].*)?$/, "");
const CLOSED = "this detector is closed. Create a new one.";

/**
 * Addresses of a detector's files, and how its networks run. By default the files are in the folder
 * of this module.
 */
export interface Files {
  /** Folder with the content of `dist/` of this package: the worker, wasm/ and models/. */
  readonly base?: string;
  /**
   * Addresses of custom `.tflite` networks. For faces, the landmark model can also be MediaPipe's
   * `face_landmarker.task`.
   */
  readonly detectorModelUrl?: string;
  readonly landmarkModelUrl?: string;
  /** `webgpu` runs networks on the graphics card if the browser has one. Default: the processor. */
  readonly accelerator?: Accelerator;
  /**
   * Sample the centres of pixels in crops, as MediaPipe does on graphics cards. Default: the
   * corners, as on processors.
   */
  readonly samplesCentres?: boolean;
  /**
   * Search hands and faces of people in every frame of a stream, as MediaPipe does. Default: only
   * missing ones.
   */
  readonly searchesParts?: boolean;
  /** Names of published networks that replace those of the model: `{ face: "face-mesh" }`. */
  readonly networks?: Readonly<Partial<Record<Role, string>>>;
  /**
   * Address of custom gestures, a file of `sonjit gestures train`. Its static gestures take
   * precedence over the shipped ones.
   */
  readonly gesturesUrl?: string;
}

/** Results of an image, in the list of the detector's kind: `{width, height, hands: [...]}`. */
export interface LocalAnswer extends Omit<Answer, "found"> {
  readonly hands?: Hand[];
  readonly faces?: Face[];
  readonly bodies?: Body[];
  readonly people?: Person[];
}

type Unnumbered = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

/** Detects instances of one kind. The networks run in a worker, so they do not block the page. */
export class LocalDetector {
  readonly #list: string;
  readonly #pending = new Map<number, PromiseWithResolvers<Answered>>();
  #next = 0;
  #isClosed = false;
  /** Canvas into which images of streams are drawn. */
  #canvas = new OffscreenCanvas(1, 1);
  /** Image of the stream that is being processed, and the newest image that waits. */
  #running: Promise<unknown> | null = null;
  #newest: {
    image: Sent;
    flip: boolean;
    time: number | null;
    answer: PromiseWithResolvers<LocalAnswer>;
  } | null = null;

  private constructor(
    private readonly worker: Worker,
    private settings: Settings,
  ) {
    this.#list = kindOf(settings.kind).list;
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
      const waiting = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.answer ?? null);
      else waiting?.reject(new Error(data.error));
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#end(
        new Error(
          `the worker ended (${event.message || "its script was not loaded"}). Create a new detector.`,
        ),
      );
    });
  }

  /**
   * Load the networks.
   *
   * @param kind `hands`, `face`, `body` or `holistic`
   * @param options options of `sonjit.create_detector`, with the same names, and `events`
   */
  static async create(
    kind: string,
    options: LocalOptions = {},
    files: Files = {},
  ): Promise<LocalDetector> {
    const settings = settingsOf(kind, options);
    const places = placesOf(settings, files);
    const detector = new LocalDetector(
      startWorker(new URL("sonjit-web-worker.js", baseOf(files)).href),
      settings,
    );
    await detector.#request({ type: "load", settings, places }).catch((error: unknown) => {
      detector.close();
      throw error;
    });
    return detector;
  }

  /**
   * Find the instances in the next image of the stream. Its pixels are read before this function
   * returns.
   *
   * While an image is processed, only the newest one waits. It replaces an older waiting image and
   * also resolves its promise.
   *
   * @param options `time`: seconds, by default 30 frames a second; `flip`: mirror the image first
   */
  track(
    image: ImageLike,
    { time = null, flip = false }: { time?: number | null; flip?: boolean } = {},
  ): Promise<LocalAnswer> {
    if (image instanceof Blob) return this.detect(image, { flip });
    if (this.settings.search === "thorough")
      return Promise.reject(
        new Error(
          'search="thorough" is for detect(): track() searches fast. Use search="auto", or a Sonjit server.',
        ),
      );
    let sent: Sent;
    try {
      sent = imageFor(image, flip, this.#canvas);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    const answer = this.#newest?.answer ?? Promise.withResolvers<LocalAnswer>();
    if (this.#newest) release(this.#newest.image);
    this.#newest = { image: sent, flip, time, answer };
    if (this.#running === null) void this.#processNewest();
    return answer.promise;
  }

  /** Find the instances in a still. */
  async detect(image: ImageLike, { flip = false } = {}): Promise<LocalAnswer> {
    const sent = imageFor(image instanceof Blob ? await decode(image) : image, flip);
    return this.#resultOf(await this.#request({ type: "detect", image: sent, flip }, sent));
  }

  /**
   * Return the boxes of everybody in an image, which hide people: faces, heads and bodies of all
   * searches, also doubtful ones. Only detectors of `holistic` have the networks.
   *
   * @param options `time`: seconds in a stream; null for a still, which is searched thoroughly
   */
  async cover(
    image: Exclude<ImageLike, Blob>,
    { time = null }: { time?: number | null } = {},
  ): Promise<Covered> {
    if (this.settings.kind !== "holistic")
      throw new Error(`${this.settings.kind} cannot cover people. Create a detector of holistic.`);
    const sent = imageFor(image, false);
    return (await this.#request({ type: "cover", image: sent, time }, sent)) as Covered;
  }

  /** Change options from the next image on. Kind and model stay. */
  configure(options: LocalOptions): void {
    const { kind, model } = this.settings;
    if ((options.model ?? model) !== model)
      throw new Error(
        `model=${JSON.stringify(options.model)}: this detector runs ${model}. Create a new one.`,
      );
    const settings = settingsOf(kind, { ...options, model });
    if (JSON.stringify(settings) === JSON.stringify(this.settings)) return;
    this.settings = settings;
    void this.#sendNewest();
    this.#send({ type: "configure", settings });
  }

  /**
   * Return the motions and events that end with the stream, after its last image. Instances stay
   * tracked.
   */
  async finish(): Promise<StreamEnd> {
    void this.#sendNewest();
    return (await this.#request({ type: "finish" })) as StreamEnd;
  }

  /** Forget all tracked instances. The next image starts a new stream. */
  reset(): void {
    void this.#sendNewest();
    this.#send({ type: "reset" });
  }

  /** End the worker. */
  close(): void {
    this.#end(new Error(CLOSED));
  }

  async #processNewest(): Promise<void> {
    while (this.#newest !== null) {
      this.#running = this.#sendNewest();
      await this.#running;
    }
    this.#running = null;
  }

  /** Send the waiting image, if there is one, and wait for its results. */
  async #sendNewest(): Promise<void> {
    if (this.#newest === null) return;
    const { image, flip, time, answer } = this.#newest;
    this.#newest = null;
    await this.#request({ type: "track", image, flip, time }, image).then(
      (found) => answer.resolve(this.#resultOf(found)),
      (error: unknown) => {
        // an image of another site makes a canvas unreadable
        this.#canvas = new OffscreenCanvas(1, 1);
        answer.reject(error);
      },
    );
  }

  #resultOf(answer: Answered): LocalAnswer {
    const { width, height, found, ...more } = answer as Answer;
    return { width, height, [this.#list]: found.map(withNamedKeypoints), ...more };
  }

  #send(request: Unnumbered): void {
    void this.#request(request).catch(() => {});
  }

  #request(request: Unnumbered, image: Sent | null = null): Promise<Answered> {
    if (this.#isClosed) {
      if (image) release(image);
      return Promise.reject(new Error(CLOSED));
    }
    const id = this.#next++;
    const pending = Promise.withResolvers<Answered>();
    this.#pending.set(id, pending);
    this.worker.postMessage({ ...request, id }, image && "close" in image ? [image] : []);
    return pending.promise;
  }

  #end(reason: Error): void {
    this.#isClosed = true;
    this.worker.terminate();
    for (const waiting of this.#pending.values()) waiting.reject(reason);
    this.#pending.clear();
  }
}

/**
 * Classify a photograph in a worker, and show which of its parts are evidence for each class.
 *
 * @param top number of classes
 * @param files `base`: folder with the worker, wasm/ and models/classifier.tflite, a file that
 *   `sonjit page` writes
 * @returns the most probable classes of ImageNet, best first
 */
export async function classify(
  image: ImageBitmapSource,
  top = 5,
  files: Pick<Files, "base"> = {},
): Promise<readonly ImageClass[]> {
  const base = baseOf(files);
  const scaled = {
    resizeWidth: CLASSIFIER_SIDE,
    resizeHeight: CLASSIFIER_SIDE,
    resizeQuality: "high",
  } as const;
  const sent = await createImageBitmap(image, scaled);
  const worker = startWorker(`${base}sonjit-web-worker.js`);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => resolve(data));
    worker.addEventListener("error", ({ message }) =>
      reject(new Error(`the worker ended (${message || "its script was not loaded"})`)),
    );
    const [runtime, network] = [`${base}wasm/`, `${base}models/classifier.tflite`];
    worker.postMessage(
      { id: 0, type: "classify", image: sent, top, runtime, network } satisfies Request,
      [sent],
    );
    const { answer, error } = await promise;
    if (error !== undefined) throw new Error(error);
    return answer as readonly ImageClass[];
  } finally {
    worker.terminate();
  }
}

const baseOf = ({ base }: Files): string =>
  new URL((base?.endsWith("/") ?? true) ? (base ?? HERE) : `${base}/`, document.baseURI).href;

function placesOf({ kind, model }: Settings, files: Files): Places {
  const names = { ...kindOf(kind).models[model]!, ...files.networks };
  const base = baseOf(files);
  const networks: Partial<Record<Role, NetworkPlace>> = {};
  let bundle: string | null = null;
  for (const role of OWN_ROLES) {
    const option = `${role}ModelUrl` as const;
    const url = files[option];
    if (url !== undefined && /(^|\/)model\.json([?#]|$)/.test(url)) {
      throw new Error(
        `${option}: ${url} is a TensorFlow.js model. Use the .tflite file of the same network.`,
      );
    }
    if (url !== undefined && /\.task([?#]|$)/.test(url)) {
      if (kind !== "face" || model !== "attention" || role !== "landmark") {
        throw new Error(
          `${option}: ${url} is not supported. Use a .tflite file. Of .task files, only ` +
            "face_landmarker.task is supported, as landmarkModelUrl of face attention.",
        );
      }
      bundle = new URL(url, document.baseURI).href;
      continue;
    }
    if (url !== undefined && !names[role])
      throw new Error(`${option}: ${kind} ${model} has no ${role} network`);
    if (url !== undefined)
      networks[role] = { url: new URL(url, document.baseURI).href, name: null };
  }
  for (const [role, name] of Object.entries({ ...names, ...kindOf(kind).for_stills[model] }) as [
    Role,
    string,
  ][]) {
    networks[role] ??= { url: new URL(`models/${WEIGHTS[name]!.file}`, base).href, name };
  }
  const { gesturesUrl } = files;
  if (gesturesUrl !== undefined && !("gestures" in kindOf(kind).options))
    throw new Error(`gesturesUrl: ${kind} has no hands`);
  const custom = gesturesUrl === undefined ? null : new URL(gesturesUrl, document.baseURI).href;
  const defaultBundle = new URL("models/face_landmarker.task", base).href;
  const gestures = { folder: new URL("models/", base).href, custom };
  const { accelerator = "wasm", samplesCentres = false, searchesParts = false } = files;
  if (!ACCELERATORS.includes(accelerator))
    throw new Error(
      `accelerator=${JSON.stringify(accelerator)}: choose ${ACCELERATORS.join(" or ")}`,
    );
  return {
    runtime: new URL("wasm/", base).href,
    accelerator,
    samplesCentres,
    searchesParts,
    networks,
    gestures,
    bundle: { url: bundle ?? defaultBundle, isOwn: bundle !== null },
  };
}

/** Free the memory of an image that is not sent. */
function release(image: Sent): void {
  if ("close" in image) image.close();
}

/** Start a worker whose script may be on another site. */
function startWorker(url: string): Worker {
  if (typeof Worker === "undefined") {
    throw new Error("this browser has no workers. Use a newer browser, or a Sonjit server.");
  }
  if (new URL(url).origin === location.origin) return new Worker(url);
  const script = URL.createObjectURL(
    new Blob([`importScripts(${JSON.stringify(url)})`], { type: "text/javascript" }),
  );
  try {
    return new Worker(script);
  } finally {
    URL.revokeObjectURL(script);
  }
}

/**
 * Return the current content of an image for the worker; `canvas`: canvas to draw it into, by
 * default a new one.
 */
function imageFor(image: Exclude<ImageLike, Blob>, flip: boolean, canvas?: OffscreenCanvas): Sent {
  const frame = frameOf(image);
  if (frame) return frame;
  if (!(image instanceof ImageData)) return draw(image, flip, canvas).transferToImageBitmap();
  const { width, height, data } = pixelsOf(image);
  const copy = { width, height, data: data.slice() };
  if (flip) mirror(copy);
  return copy;
}

/**
 * Return the current content of a video, bitmap or canvas as a frame, whose pixels the worker
 * copies. Return null if the browser has no frames, or does not state their rotation: a canvas shows
 * videos upright.
 */
function frameOf(image: Exclude<ImageLike, Blob>): VideoFrame | null {
  if (!("VideoFrame" in globalThis) || !("rotation" in VideoFrame.prototype)) return null;
  const kinds = [HTMLVideoElement, ImageBitmap, HTMLCanvasElement, OffscreenCanvas];
  if (!kinds.some((kind) => image instanceof kind)) return null;
  const [width, height] =
    image instanceof HTMLVideoElement
      ? [image.videoWidth, image.videoHeight]
      : [image.width, image.height];
  try {
    const frame = new VideoFrame(image as HTMLVideoElement, { timestamp: 0 });
    const { rotation, flip } = frame as VideoFrame & { rotation: number; flip: boolean };
    const { width: columns, height: rows } = frame.visibleRect ?? { width: 0, height: 0 };
    if (!rotation && !flip && columns === width && rows === height) return frame;
    frame.close();
  } catch {
    // it is empty, or shows an image of another site: the canvas reports it
  }
  return null;
}
