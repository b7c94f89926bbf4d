/** Run one detector in a worker. */

import { Bundle } from "./bundle.js";
import { classesOf, type ImageClass } from "./classes.js";
import { KINDS, WEIGHTS, type Role } from "./data.js";
import { withEvents } from "./events.js";
import { fetchArrays } from "./files.js";
import { loadGestures, withGestures } from "./gestures.js";
import { loadBystanders, LOADERS, once, usesBundle, type Make, type Sources } from "./kinds.js";
import {
  fetchNetwork,
  loadRuntime,
  Network,
  type Accelerator,
  type NetworkShape,
} from "./network.js";
import type { Settings } from "./options.js";
import { mirror, type Pixels } from "./pixels.js";
import type { AnyDetector, Event, Results, StreamEnd } from "./results.js";
import type { BystanderSearch, Covered } from "./search/bystanders.js";

/** Addresses of a detector's files, and how its networks run. */
export interface Places {
  readonly runtime: string; // address of the folder of the runtime
  readonly accelerator: Accelerator;
  // crops sample the centres of pixels, as in MediaPipe on graphics cards
  readonly samplesCentres: boolean;
  // hands and faces of people are searched in every frame, as in MediaPipe's graph
  readonly searchesParts: boolean;
  readonly networks: Readonly<Partial<Record<Role, NetworkPlace>>>; // files of the networks by role
  /** Addresses of the folder of the shipped gestures and of the file of custom gestures. */
  readonly gestures: { readonly folder: string; readonly custom: string | null };
  /**
   * Face landmarker's bundle: its address, and whether it is custom, so that it is used with all
   * options.
   */
  readonly bundle: { readonly url: string; readonly isOwn: boolean };
}

export interface NetworkPlace {
  readonly url: string;
  readonly name: string | null; // name of the published network; null for a custom network
}

/** An image for the worker. The worker closes images and frames. */
export type Sent = ImageBitmap | VideoFrame | Pixels;

export type Request =
  | {
      readonly id: number;
      readonly type: "load";
      readonly settings: Settings;
      readonly places: Places;
    }
  | { readonly id: number; readonly type: "configure"; readonly settings: Settings }
  | {
      readonly id: number;
      readonly type: "track";
      readonly image: Sent;
      readonly flip: boolean; // mirror a frame of a video; other images are mirrored
      readonly time: number | null;
    }
  | {
      readonly id: number;
      readonly type: "detect";
      readonly image: Sent;
      readonly flip: boolean;
    }
  | {
      readonly id: number;
      readonly type: "cover";
      readonly image: Sent;
      readonly time: number | null;
    }
  | { readonly id: number; readonly type: "reset" | "finish" }
  | {
      readonly id: number;
      readonly type: "classify";
      readonly image: Sent;
      readonly top: number;
      readonly runtime: string;
      readonly network: string;
    };

/** Results of an image of this size. */
export type Answer = Results & { readonly width: number; readonly height: number };

export type Answered = Answer | Covered | StreamEnd | readonly ImageClass[] | null;

export interface Reply {
  readonly id: number;
  readonly answer?: Answered;
  readonly error?: string; // error message, if the request failed
}

const OPAQUE = ["I420", "NV12", "RGBX", "BGRX", "I422", "I444"]; // formats of frames

const sizeOf = (image: ImageBitmap | VideoFrame): [number, number] =>
  image instanceof ImageBitmap
    ? [image.width, image.height]
    : [image.displayWidth, image.displayHeight];

/**
 * Reads all images into one buffer. With a new buffer for each image, memory fills up faster than
 * browsers collect it.
 */
class ImageReader {
  #pixels: { width: number; height: number; data: Uint8ClampedArray<ArrayBuffer> } | null = null;
  #canvas: OffscreenCanvas | null = null;
  // pages without TLS have no video frames, and in some browsers frames cannot be copied as RGBA
  #hasFrames = "VideoFrame" in globalThis;

  /**
   * Return the pixels of an image. They are valid until the next image is read.
   *
   * @param flip mirror a frame of a video
   */
  async read(image: Sent, flip = false): Promise<Pixels> {
    if ("data" in image) return image;
    try {
      const pixels = (this.#hasFrames ? await this.#copyFrame(image) : null) ?? this.#draw(image);
      if (image instanceof ImageBitmap || !flip) return pixels;
      mirror(pixels);
      return pixels;
    } finally {
      image.close();
    }
  }

  /**
   * Copy an opaque image. Return null for a transparent one, because frames have colours multiplied
   * by alpha.
   */
  async #copyFrame(image: ImageBitmap | VideoFrame): Promise<Pixels | null> {
    const [width, height] = sizeOf(image);
    if (this.#pixels?.width !== width || this.#pixels.height !== height) {
      this.#pixels = { width, height, data: new Uint8ClampedArray(4 * width * height) };
    }
    const { data } = this.#pixels;
    const frame = image instanceof ImageBitmap ? new VideoFrame(image, { timestamp: 0 }) : image;
    const isOpaque = OPAQUE.includes(frame.format ?? "");
    try {
      await frame.copyTo(data, { format: "RGBA", layout: [{ offset: 0, stride: 4 * width }] });
    } catch {
      this.#hasFrames = false;
      return null;
    } finally {
      if (frame !== image) frame.close();
    }
    for (let at = 3; !isOpaque && at < data.length; at += 4) if (data[at] !== 255) return null;
    return this.#pixels;
  }

  #draw(image: ImageBitmap | VideoFrame): Pixels {
    const [width, height] = sizeOf(image);
    if (this.#canvas?.width !== width || this.#canvas.height !== height)
      this.#canvas = new OffscreenCanvas(width, height);
    const pen = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    pen.globalCompositeOperation = "copy";
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, width, height);
  }
}

let make: (settings: Settings) => Promise<AnyDetector>;
/** Detector with the latest options. If they are invalid, it rejects, and so does every image. */
let detector: Promise<AnyDetector>;
/** Events that a change of options has ended, for the next answer. */
const ended: Event[] = [];
/** Loads the search for people to hide, and that search; null until an image is to be covered. */
let findBystanders: () => Promise<BystanderSearch>;
let bystanders: BystanderSearch | null = null;
const reader = new ImageReader();

async function answer(request: Request): Promise<Answered> {
  switch (request.type) {
    case "load": {
      const sources = await sourcesOf(request.settings, request.places);
      findBystanders = once(() => loadBystanders(sources));
      const plain = await LOADERS[request.settings.kind]!(sources);
      make = withGesturesAndEvents(request.places, plain);
      await (detector = make(request.settings));
      return null;
    }
    case "configure":
      detector = detector
        .catch(() => null)
        .then((before) => {
          ended.push(...(before?.finish?.().events ?? []));
          return make(request.settings);
        });
      await detector;
      return null;
    case "finish": {
      const { motions, events } = (await detector).finish?.() ?? { motions: [], events: [] };
      return { motions, events: [...ended.splice(0), ...events] };
    }
    case "reset":
      (await detector).reset();
      bystanders?.reset();
      return null;
    case "cover": {
      const image = await reader.read(request.image);
      const search = await findBystanders();
      bystanders = search;
      return search.cover(image, request.time);
    }
    case "classify":
      return classesOf(
        await reader.read(request.image),
        request.top,
        request.runtime,
        request.network,
      );
    case "track":
    case "detect": {
      const image = await reader.read(request.image, request.flip);
      const { width, height } = image;
      if (request.type === "detect")
        return { width, height, ...(await (await detector).detect(image)) };
      const results = await (await detector).track(image, request.time);
      const events = [...ended.splice(0), ...(results.events ?? [])];
      return { width, height, ...results, ...(results.events && { events }) };
    }
  }
}

/** Fetch the networks of a kind, and return what compiles them. */
async function sourcesOf(
  settings: Settings,
  { runtime, accelerator, samplesCentres, searchesParts, networks, bundle, gestures }: Places,
): Promise<Sources> {
  const files = new Map<Role, Promise<Uint8Array>>();
  const fetched = (role: Role) => {
    const { url, name } = networks[role]!;
    const file = files.get(role) ?? fetchNetwork(url, name === null ? null : WEIGHTS[name]!);
    files.set(role, file);
    return file;
  };
  const bundleFile = once(() => fetchNetwork(bundle.url, null));
  const needsBundle = bundle.isOwn || usesBundle(settings);
  // others are loaded on first use
  const atOnce = Object.keys(KINDS[settings.kind]!.models[settings.model]!) as Role[];
  const roles = needsBundle ? [] : atOnce;
  const [loaded] = await Promise.all([
    loadRuntime(runtime, accelerator),
    ...roles.map(fetched),
    needsBundle ? bundleFile() : null,
  ]);
  const compile = (file: Uint8Array, what: string, shape: NetworkShape) =>
    Network.compile(file, what, loaded, { ...shape, samplesCentres });
  return {
    model: settings.model,
    others: Object.fromEntries(
      Object.entries(networks).flatMap(([role, { name }]) => (name === null ? [] : [[role, name]])),
    ),
    open: async (role, shape) => compile(await fetched(role), networks[role]!.url, shape),
    hasOwnLandmarks: networks.landmark?.name === null,
    handArrays: (name) => fetchArrays(`${gestures.folder}hand_${name}.npz`, `${name} of hands`),
    proposals: async (shape) => {
      const url = `${gestures.folder}proposals.tflite`;
      return compile(await fetchNetwork(url, null), url, shape);
    },
    hasOwnBundle: bundle.isOwn,
    bundle: async () => new Bundle(bundle.url, await bundleFile(), compile),
    searchesParts,
    recrops: false,
  };
}

/**
 * Return a function that creates detectors with gestures and events. Gesture files are fetched on
 * first use.
 */
function withGesturesAndEvents(
  { gestures: { folder, custom } }: Places,
  makePlain: Make,
): (settings: Settings) => Promise<AnyDetector> {
  return async (settings) => {
    const wanted = settings.gestures ?? "none";
    if (wanted === "none" && custom === null) {
      const plain = await makePlain(settings, false);
      return settings.events.length ? withEvents(plain, settings) : plain;
    }
    const shipped = wanted === "asl" ? ["asl.npz", "gestures.npz"] : ["gestures.npz"];
    const loaded = await loadGestures([
      ...(custom === null ? [] : [custom]),
      ...shipped.map((name) => folder + name),
    ]);
    return withEvents(
      withGestures(await makePlain(settings, loaded.readsAppearance), loaded),
      settings,
    );
  };
}

let last: Promise<void> = Promise.resolve();

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  last = last.then(async () => {
    let reply: Reply;
    try {
      reply = { id: data.id, answer: await answer(data) };
    } catch (error) {
      reply = { id: data.id, error: error instanceof Error ? error.message : String(error) };
    }
    postMessage(reply);
  });
});
