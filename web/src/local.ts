/** A detector in a worker of this page. */

import { decode, draw, type ImageLike } from "../../src/sonjit/server/page/tfjs-images.js";
import type { Body } from "./body.js";
import { KINDS, WEIGHTS, type Role } from "./data.js";
import type { Event } from "./events.js";
import type { Face } from "./face.js";
import type { Hand } from "./hands.js";
import type { Person } from "./holistic.js";
import type { MotionEvent } from "./motions/events.js";
import type { Answer, NetworkPlace, Places, Reply, Request, Sent } from "./messages.js";
import type { Accelerator } from "./network.js";
import { unpacked } from "./results.js";
import { kindOf, settingsOf, type LocalOptions, type Settings } from "./options.js";

const ACCELERATORS: readonly Accelerator[] = ["wasm", "webgpu"];
const OWN_ROLES = ["detector", "landmark"] as const;
const HERE = new URL(".", import.meta.url).href;

/** Where a detector's files come from, instead of this module's own folder. */
export interface Files {
  /** Folder with what `dist/` of this package holds: the worker, wasm/ and models/. */
  readonly base?: string;
  /** Addresses of networks of your own, `.tflite`; of faces also MediaPipe's `face_landmarker.task` as the landmark model. */
  readonly detectorModelUrl?: string;
  readonly landmarkModelUrl?: string;
  /** `webgpu` runs networks on the graphics card where the browser has one; by default the processor does. */
  readonly accelerator?: Accelerator;
  /** Sample the centres of pixels where images are cropped, as MediaPipe does on graphics cards; by default the corners, as on processors. */
  readonly samplesCentres?: boolean;
  /** Search hands and faces of people in every frame of a stream, as MediaPipe does; by default where they are missing. */
  readonly searchesParts?: boolean;
  /** Names of published networks that replace those of the model: `{ face: "face-mesh" }`. */
  readonly networks?: Readonly<Partial<Record<Role, string>>>;
  /** Address of custom gestures, a file of `sonjit gestures train`; those that are held go before the others. */
  readonly gesturesUrl?: string;
}

/** What was found in an image of that size, in the list of the detector's kind: `{width, height, hands: [...]}`. */
export interface LocalAnswer {
  readonly width: number;
  readonly height: number;
  readonly hands?: Hand[];
  readonly faces?: Face[];
  readonly bodies?: Body[];
  readonly people?: Person[];
  /** Number of instances found in an image on its own, also those beyond `max_instances`. */
  readonly total: number;
  /** Whether its search processed all proposals or found enough confident instances; false where its budget ended before. */
  readonly complete: boolean;
  /** Of streams where hands have gestures: the steps of their motions in this image. */
  readonly motions?: readonly MotionEvent[];
  /** Of streams with gestures or `events`: what begins or ends in this image. */
  readonly events?: readonly Event[];
}

interface Waiting {
  resolve(answer: Answer | null): void;
  reject(error: Error): void;
}

type Unnumbered = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

/** Finds instances of one kind; the networks run in a worker, so that the page never waits for them. */
export class LocalDetector {
  /** What can be found. */
  static readonly kinds: readonly string[] = Object.keys(KINDS);

  readonly #worker: Worker;
  readonly #list: string;
  readonly #waiting = new Map<number, Waiting>();
  #settings: Settings;
  #next = 0;
  #isClosed = false;
  /** Streams are drawn into it. */
  #canvas = new OffscreenCanvas(1, 1);
  /** The stream's image that is looked at, and the newest one that waits for it. */
  #underWay: Promise<unknown> | null = null;
  #newest: { image: Sent; time: number | null; answer: PromiseWithResolvers<LocalAnswer> } | null = null;

  private constructor(worker: Worker, settings: Settings) {
    this.#worker = worker;
    this.#settings = settings;
    this.#list = kindOf(settings.kind).list;
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.answer ?? null);
      else waiting?.reject(new Error(data.error));
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#end(new Error(`the worker ended (${event.message || "its script was not loaded"}): make a new detector`));
    });
  }

  /**
   * Load the networks.
   *
   * @param kind one of `LocalDetector.kinds`
   * @param options those of `sonjit.create_detector`, by the same names, and `events`
   */
  static async create(kind: string, options: LocalOptions = {}, files: Files = {}): Promise<LocalDetector> {
    const settings = settingsOf(kind, options);
    const places = placesOf(settings, files);
    const detector = new LocalDetector(startWorker(new URL("sonjit-web-worker.js", baseOf(files)).href), settings);
    try {
      await detector.#ask({ type: "load", settings, places });
    } catch (error) {
      detector.close();
      throw error;
    }
    return detector;
  }

  /**
   * What is in the next image of the stream; its pixels are read before this returns.
   *
   * An image that comes while another one is looked at waits alone: a newer one takes its place, and answers for it.
   *
   * @param how `time` in seconds, by default 30 frames a second; `flip`: exchange left and right of the image first
   */
  track(image: ImageLike, { time = null, flip = false }: { time?: number | null; flip?: boolean } = {}): Promise<LocalAnswer> {
    if (image instanceof Blob) return this.detect(image, { flip });
    const sent = sentFrom(image, flip, this.#canvas);
    const answer = this.#newest?.answer ?? Promise.withResolvers<LocalAnswer>();
    if (this.#newest?.image instanceof ImageBitmap) this.#newest.image.close();
    this.#newest = { image: sent, time, answer };
    if (this.#underWay === null) void this.#work();
    return answer.promise;
  }

  /** What is in an image on its own. */
  async detect(image: ImageLike, { flip = false } = {}): Promise<LocalAnswer> {
    const sent = sentFrom(image instanceof Blob ? await decode(image) : image, flip);
    return this.#shaped(await this.#ask({ type: "detect", image: sent }, sent));
  }

  /** Other options from the next image on; kind and model stay. */
  configure(options: LocalOptions): void {
    const settings = settingsOf(this.#settings.kind, options);
    if (JSON.stringify(settings) === JSON.stringify(this.#settings)) return;
    this.#settings = settings;
    this.#tell({ type: "configure", settings });
  }

  /** Forget every instance: the next image starts a new stream. */
  reset(): void {
    this.#tell({ type: "reset" });
  }

  /** End the worker. */
  close(): void {
    this.#end(new Error("this detector is closed: make a new one"));
  }

  async #work(): Promise<void> {
    while (this.#newest !== null) {
      const { image, time, answer } = this.#newest;
      this.#newest = null;
      this.#underWay = this.#ask({ type: "track", image, time }, image).then(
        (found) => answer.resolve(this.#shaped(found)),
        (error: unknown) => {
          this.#canvas = new OffscreenCanvas(1, 1); // an image of another site has made it unreadable for good
          answer.reject(error);
        },
      );
      await this.#underWay;
    }
    this.#underWay = null;
  }

  #shaped(answer: Answer | null): LocalAnswer {
    const { width, height, found, ...more } = answer!;
    return { width, height, [this.#list]: found.map(unpacked), ...more };
  }

  #tell(request: Unnumbered): void {
    void this.#ask(request).catch(() => {});
  }

  #ask(request: Unnumbered, image: Sent | null = null): Promise<Answer | null> {
    if (this.#isClosed) return Promise.reject(new Error("this detector is closed: make a new one"));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id }, image instanceof ImageBitmap ? [image] : []);
    });
  }

  #end(reason: Error): void {
    this.#isClosed = true;
    this.#worker.terminate();
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}

function baseOf({ base }: Files): string {
  return new URL(base?.endsWith("/") ?? true ? (base ?? HERE) : `${base}/`, document.baseURI).href;
}

function placesOf({ kind, model }: Settings, files: Files): Places {
  const names = { ...kindOf(kind).models[model]!, ...files.networks };
  const base = baseOf(files);
  const networks: Partial<Record<Role, NetworkPlace>> = {};
  let bundle: string | null = null;
  for (const role of OWN_ROLES) {
    const option = `${role}ModelUrl` as const;
    const own = files[option];
    if (own !== undefined && /(^|\/)model\.json([?#]|$)/.test(own)) {
      throw new Error(`${own} is a model of TensorFlow.js: give the .tflite file of the same network, or leave it out`);
    }
    if (own !== undefined && /\.task([?#]|$)/.test(own)) {
      if (kind !== "face" || model !== "attention" || role !== "landmark") {
        throw new Error(`${option}: ${own}: a page takes face_landmarker.task, as landmarkModelUrl of faces' model attention; give a .tflite file`);
      }
      bundle = new URL(own, document.baseURI).href;
      continue;
    }
    if (own !== undefined && !names[role]) throw new Error(`${option}: ${kind} ${model} has no ${role} network; leave it out`);
    if (own !== undefined) networks[role] = { url: new URL(own, document.baseURI).href, name: null };
  }
  for (const [role, name] of Object.entries({ ...names, ...kindOf(kind).for_stills[model] }) as [Role, string][]) {
    networks[role] ??= { url: new URL(`models/${WEIGHTS[name]!.file}`, base).href, name };
  }
  const { gesturesUrl } = files;
  if (gesturesUrl !== undefined && !("gestures" in kindOf(kind).options)) throw new Error(`gesturesUrl: ${kind} has no hands; leave it out`);
  const custom = gesturesUrl === undefined ? null : new URL(gesturesUrl, document.baseURI).href;
  const usual = new URL("models/face_landmarker.task", base).href;
  const gestures = { folder: new URL("models/", base).href, custom };
  const { accelerator = "wasm", samplesCentres = false, searchesParts = false } = files;
  if (!ACCELERATORS.includes(accelerator)) throw new Error(`accelerator: ${JSON.stringify(accelerator)}: give ${ACCELERATORS.join(" or ")}`);
  return { runtime: new URL("wasm/", base).href, accelerator, samplesCentres, searchesParts, networks, gestures, bundle: { url: bundle ?? usual, isOwn: bundle !== null } };
}

/** A worker of a script that may be on another site. */
function startWorker(url: string): Worker {
  if (typeof Worker === "undefined") {
    throw new Error("this browser has no workers: take a newer one, or let a Sonjit server compute");
  }
  if (new URL(url).origin === location.origin) return new Worker(url);
  const script = URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url)})`], { type: "text/javascript" }));
  try {
    return new Worker(script);
  } finally {
    URL.revokeObjectURL(script);
  }
}

/** The image as it is now, ready for the worker; `canvas`: to draw it into, by default a new one. */
function sentFrom(image: Exclude<ImageLike, Blob>, flip: boolean, canvas?: OffscreenCanvas): Sent {
  if (!(image instanceof ImageData)) return draw(image, flip, canvas).transferToImageBitmap();
  const { width, height } = image;
  const data = image.data.slice();
  if (flip) {
    const pixels = new Uint32Array(data.buffer);
    for (let y = 0; y < height; y++) pixels.subarray(y * width, (y + 1) * width).reverse();
  }
  return { width, height, data };
}
