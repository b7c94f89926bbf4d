/**
 * Sends images to the server and answers to all views. At the end of a run all views are cleared.
 */

import { fit, make, PageError, showError } from "./common.js";
import {
  Connection,
  WithState,
  type Answer,
  type DetectorOptions,
  type Ended,
} from "./connection.js";
import { ENGINE, ServerError } from "./endpoints.js";
import { scaledSize } from "./frames.js";
import {
  instancesOf,
  kindsWhere,
  results,
  type Covered,
  type Frame,
  type FrameEvent,
  type Instance,
  type Motion,
  type Person,
  type Result,
} from "./kinds.js";
import { maskOverlay } from "../masks.js";
import type { Source, Tick } from "./sources.js";
import type { Detail, Phase } from "./state.js";

const MAX_IN_FLIGHT = 2; // one image is processed while the next is in transit
const FINISH_MS = 5000; // time in which a stopped stream reports what ends with it
const NOTHING_ENDED: Ended = { motions: [], events: [] };

export type ShownImage = {
  image: HTMLCanvasElement;
  flipped: boolean;
  mask: OffscreenCanvas | null;
  source: string | undefined;
  index: number | undefined;
};
type AnyConnection = Connection | LocalConnection;
/** the detectors of a stream */
type Wanted = { kind: string }[];
type Extras = Record<"control" | "gestures_file" | "anonymise", string | null>;
type View = { draw(frame: Frame, seen: ShownImage): void; clear(): void };

/** a state of a connection with what it adds */
type StateMessage = Detail & {
  state: "connecting" | "loading" | "ready" | "waiting" | "idle" | "closed";
  detectors?: { flip_horizontal?: boolean }[];
  code?: string;
  reason?: string;
};

/** Starts and stops runs and draws their results, for any number of detectors. */
export class Detectors {
  #views;
  #rivalView;
  #capture;
  #listener;
  #connection: AnyConnection | null = null;
  /** connection of the compared model, which gets the same images */
  #rival: AnyConnection | null = null;
  #source: Source | null = null;
  /** further requests; only servers support a map */
  #extras: Extras = { control: null, gestures_file: null, anonymise: null };
  #runsInPage = false; // whether the networks run in this page
  #ready = false;
  #flipped = false;
  #taking = false;
  #skipped = 0;
  #shown = -1; // number of the displayed frame
  #size = ""; // of the video's last image
  #hasFailed = false; // whether the last image failed
  #late: FrameEvent[] = []; // events of the run in answers after its end
  /** still image whose results are or will be displayed */
  #still: File | null = null;

  /**
   * @param views views that show each frame
   * @param rivalView view of the compared detectors
   * @param listener `searching`: a still image is being processed; null: it is processed again
   */
  constructor(
    views: View[],
    rivalView: View,
    capture: Capture,
    listener: {
      phase(phase: Phase, detail?: Detail): void;
      frame(frame: Frame, latencyMs: number, dropped: number): void;
      searching(image: HTMLCanvasElement | null): void;
    },
  ) {
    this.#views = views;
    this.#rivalView = rivalView;
    this.#capture = capture;
    this.#listener = listener;
  }

  /** @param here in this page, not on the server */
  start(source: Source, detectors: Wanted, rivals: Wanted | null, here: boolean) {
    void this.stop();
    [this.#skipped, this.#shown, this.#hasFailed, this.#size] = [0, -1, false, ""];
    this.#late = [];
    this.#source = source;
    this.#runsInPage = here;
    this.#capture.encodes = !here;
    const connection = this.#connect(detectors, true);
    this.#connection = connection;
    connection.addEventListener("state", (event) => {
      if (this.#connection === connection) this.#become((event as CustomEvent).detail);
    });
    source.play(
      (tick) => this.#take(tick),
      (error) => this.#source === source && this.#unshown(error),
    );
    connection.open().catch((error) => this.#connection === connection && this.#failed(error));
    this.#compare(rivals);
  }

  #connect(detectors: Wanted, measures: boolean): AnyConnection {
    const also = measures ? this.#extras : {};
    return this.#runsInPage
      ? new LocalConnection({ detectors, ...also })
      : new Connection({ detectors, measures, ...also });
  }

  /**
   * Request the commands of a map for `sonjit control` without sending them, the gestures of a
   * file, in base64, in addition to the shipped ones, or the boxes of people to hide; null for
   * none.
   */
  ask(wanted: Partial<Extras>) {
    this.#extras = { ...this.#extras, ...wanted };
    if (this.#runsInPage && "control" in wanted) return;
    this.#connection?.configure(wanted).catch(showError);
  }

  /** Change the detectors from the next image on. */
  configure(detectors: Wanted, rivals: Wanted | null) {
    const connection = this.#connection;
    if (!connection) return;
    this.#ready = false;
    this.#compare(rivals);
    connection
      .configure({ detectors })
      .catch((error) => this.#connection === connection && this.#failed(error));
  }

  /** Process the same images with other detectors for comparison; null to stop. */
  #compare(detectors: Wanted | null) {
    this.#rivalView.clear();
    if (!detectors) {
      this.#rival?.close();
      this.#rival = null;
      return;
    }
    const rival = (this.#rival ??= this.#connect(detectors, false));
    rival.configure({ detectors }).then(
      () => this.#rival === rival && this.#source?.refresh(),
      (error) => this.#rival === rival && showError(error),
    );
  }

  /**
   * End the run and clear all views.
   *
   * @returns what ends with the stream; nothing if the answer takes too long
   */
  async stop(): Promise<Ended> {
    const [connection, source, late] = [this.#connection, this.#source, this.#late];
    [this.#connection, this.#source, this.#ready, this.#taking] = [null, null, false, false];
    this.#compare(null);
    source?.close();
    this.#clear();
    if (!connection) return NOTHING_ENDED;
    const tooLate = new Promise<Ended>((resolve) =>
      setTimeout(() => resolve(NOTHING_ENDED), FINISH_MS),
    );
    const { motions, events } = await Promise.race([
      connection.finish().catch(() => NOTHING_ENDED),
      tooLate,
    ]);
    connection.close();
    return { motions, events: [...late, ...events] };
  }

  #become({ state, ...detail }: StateMessage) {
    this.#ready = state === "ready" || state === "idle"; // after idle the next image reconnects
    if (state === "ready") {
      this.#flipped =
        detail.detectors?.some(({ flip_horizontal }) => flip_horizontal) ?? this.#flipped;
      this.#listener.phase("running");
      this.#source?.refresh();
    } else if (state === "waiting") {
      this.#clear(); // the results may have changed
      this.#listener.phase("connecting", detail);
    } else if (state === "closed") {
      this.#failed(new ServerError(detail.code ?? "closed", detail.reason ?? ""));
    } else if (state === "connecting" || state === "loading") {
      this.#listener.phase(state, detail);
    }
  }

  #failed(error: unknown) {
    this.#ready = false;
    this.#clear();
    this.#listener.phase("error");
    showError(error);
  }

  /**
   * Report an image that cannot be shown or processed, or a lost source. The run continues with the
   * next image.
   */
  #unshown(error: unknown) {
    const isReady = this.#ready;
    this.#failed(error);
    [this.#ready, this.#hasFailed] = [isReady, true];
  }

  /**
   * Process one image and draw the answer.
   *
   * @returns whether it succeeded
   */
  async #take(tick: Tick): Promise<boolean> {
    const [connection, late] = [this.#connection, this.#late];
    if (!connection || !this.#ready) return false;
    if (this.#taking || connection.inFlight >= MAX_IN_FLIGHT) {
      this.#skipped += 1;
      return false;
    }
    this.#taking = true;
    if (this.#hasFailed) this.#listener.phase("running");
    this.#hasFailed = false;
    const { bitmap, file, video } = tick;
    const size = video ? `${video.videoWidth} × ${video.videoHeight}` : "";
    const isResized = this.#size !== "" && this.#size !== size;
    this.#size = size;
    if (isResized) showError(new PageError("resized", { size }));
    if (isResized || tick.jumped) for (const open of [connection, this.#rival]) open?.reset();
    const flipped = this.#flipped;
    try {
      const shot = await (bitmap && file
        ? this.#capture.still(bitmap, file)
        : this.#capture.take(video as HTMLVideoElement));
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const { blob, image } = shot;
      if (file) {
        // the drawing stays until the new results arrive
        this.#listener.searching(file === this.#still ? null : image);
        this.#still = file;
      }
      const [rival, time] = [this.#rival, tick.time];
      const also =
        // missed images are not shown
        rival?.state === "ready" ? rival.send({ blob, image, time }).catch(() => null) : null;
      const frame = await connection.send({ blob, image, time });
      if (this.#connection !== connection) {
        late.push(...(frame.events ?? []));
        return false;
      }
      const other = await also;
      const mask = await maskOverlay(
        instancesOf(frame).flatMap(({ instance }) => instance.segmentation ?? []),
      );
      if (this.#connection !== connection) return false;
      if (frame.frame < this.#shown) return true; // a newer image was drawn first
      this.#shown = frame.frame;
      const shown = { image, flipped, mask, source: tick.source, index: tick.index };
      if (other && this.#rival === rival)
        this.#rivalView.draw({ ...other, covered: frame.covered }, { ...shown, mask: null });
      for (const view of this.#views) view.draw(frame, shown);
      this.#listener.frame(
        frame,
        performance.now() - tick.since,
        (frame.dropped ?? 0) + this.#skipped,
      );
      return true;
    } catch (error) {
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const code = (error as { code?: string }).code ?? "";
      // the server counts it and the connection reports it
      if (["dropped", "gone", "closed"].includes(code)) return false;
      this.#unshown(
        file && code === "bad_image" ? new PageError("damaged", { name: file.name }) : error,
      );
      return true;
    }
  }

  #clear() {
    this.#still = null;
    for (const view of [...this.#views, this.#rivalView]) view.clear();
  }
}

/** `gestures_file`: custom gestures, in base64; `anonymise`: whom the page hides */
type Configuration = {
  detectors?: DetectorOptions[];
  gestures_file?: string | null;
  anonymise?: string | null;
};
type Running = {
  kind: string;
  model: unknown;
  gesturesUrl: string | undefined;
  isStill: boolean;
  detector: Engine;
};
/** what a detector of the page finds; lists are below their names */
type Found = { total: number; motions?: Motion[]; events?: FrameEvent[] } & {
  [list: string]: unknown;
};
/** a `LocalDetector` of the module */
type Engine = {
  configure(options: object): void;
  detect(image: HTMLCanvasElement): Promise<Found>;
  track(image: HTMLCanvasElement, how: { time: number }): Promise<Found>;
  cover(image: HTMLCanvasElement, how: { time: number | null }): Promise<Covered>;
  finish(): Promise<Ended>;
  reset(): void;
  close(): void;
};
type Module = {
  LocalDetector: { create(kind: string, options: object, files?: object): Promise<Engine> };
  measuresOfInstance: typeof measure;
};

const PATIENCE_MS = 8000;
const FILE = "data:application/octet-stream;base64,";

/** The networks of this page. Event: "state", as of a Connection. */
class LocalConnection extends WithState {
  #requested: DetectorOptions[];
  #gestures: string | null;
  #anonymise: string | null;
  /** finds people to hide; null if nobody is hidden */
  #hiding: Engine | null = null;
  #running: Running[] = [];
  /** resolves when loading ends */
  #loading: Promise<unknown> = Promise.resolve();
  #turn = 0; // number of the last configuration; it replaces earlier ones
  #isEnding = false; // whether nothing that still loads is needed
  #next = 0;
  inFlight = 0;

  constructor({ detectors = [], gestures_file = null, anonymise = null }: Configuration = {}) {
    super();
    [this.#requested, this.#gestures, this.#anonymise] = [detectors, gestures_file, anonymise];
  }

  /** Load the networks. */
  open = (): Promise<object> => this.configure({});

  /**
   * Change detectors. Detectors with the same kind, model and gestures keep their tracked
   * instances.
   */
  configure({
    detectors = this.#requested,
    gestures_file = this.#gestures,
    anonymise = this.#anonymise,
  }: Configuration): Promise<object> {
    const turn = ++this.#turn;
    [this.#requested, this.#gestures, this.#anonymise] = [detectors, gestures_file, anonymise];
    this.become("loading");
    // the loading detectors may be the requested ones
    const result = this.#loading.then(() => this.#make(turn, detectors, gestures_file));
    this.#loading = result.catch(() => {});
    return result;
  }

  /** @param turn number of the configuration */
  async #make(
    turn: number,
    detectors: DetectorOptions[],
    gestures_file: string | null,
  ): Promise<object> {
    if (turn !== this.#turn) return {};
    await keeper();
    const { LocalDetector, measuresOfInstance } = (await import(ENGINE)) as Module;
    measure = measuresOfInstance;
    if (this.#anonymise === null) {
      this.#hiding?.close();
      this.#hiding = null;
    } else if (this.#hiding === null) {
      const hiding = await LocalDetector.create("holistic", { search: "fast" });
      if (this.#isEnding) {
        hiding.close();
        return {};
      }
      this.#hiding = hiding;
    }
    const before = this.#running;
    const outcomes = await Promise.allSettled(
      detectors.map(async ({ kind, static_image: isStill = false, ...options }) => {
        const gesturesUrl =
          gestures_file !== null && "gestures" in (kindsWhere(true)[kind]?.options ?? {})
            ? `${FILE}${gestures_file}`
            : undefined;
        const reused = before.find(
          (running) =>
            running.kind === kind &&
            running.model === options.model &&
            running.gesturesUrl === gesturesUrl,
        )?.detector;
        reused?.configure(options);
        const detector =
          reused ??
          (await LocalDetector.create(
            kind,
            options,
            gesturesUrl === undefined ? {} : { gesturesUrl },
          ));
        return { kind, model: options.model, gesturesUrl, isStill: Boolean(isStill), detector };
      }),
    );
    const running = outcomes.flatMap((outcome) =>
      outcome.status === "fulfilled" ? outcome.value : [],
    );
    const [failed] = outcomes.filter((outcome) => outcome.status === "rejected");
    this.#running = this.state === "closed" ? [] : running;
    for (const { detector } of [...before, ...running])
      if (!this.#running.some((other) => other.detector === detector)) detector.close();
    if (turn !== this.#turn) return {};
    if (failed) throw failed.reason;
    this.become("ready", { detectors });
    return { detectors };
  }

  /** Forget all tracked instances. */
  reset() {
    for (const { detector } of this.#running) detector.reset();
    this.#hiding?.reset();
  }

  /** Return the motions and events that end with the stream. */
  async finish(): Promise<Ended> {
    this.#isEnding = true;
    const ended = await Promise.all(this.#running.map(({ detector }) => detector.finish()));
    return {
      motions: ended.flatMap(({ motions }) => motions),
      events: ended.flatMap(({ events }) => events),
    };
  }

  /** End the workers. */
  close() {
    this.#turn += 1;
    this.#isEnding = true;
    for (const { detector } of this.#running.splice(0)) detector.close();
    this.#hiding?.close();
    this.#hiding = null;
    this.state = "closed";
  }

  /**
   * One image of the stream.
   *
   * @param shot `time` in seconds
   */
  async send({ image, time }: { image: HTMLCanvasElement; time: number }): Promise<Answer> {
    const start = performance.now();
    const frame = this.#next++;
    this.inFlight += 1;
    try {
      const areAllStill = this.#running.every(({ isStill }) => isStill);
      const covering = this.#hiding?.cover(image, { time: areAllStill ? null : time });
      const found = await Promise.all(
        this.#running.map(({ detector, isStill }) =>
          isStill ? detector.detect(image) : detector.track(image, { time }),
        ),
      );
      const covered = await covering;
      const timing = { detect_ms: performance.now() - start };
      const { width, height } = image;
      const motions = found.flatMap((answer) => answer.motions ?? []);
      const events = found.flatMap((answer) => answer.events ?? []);
      const lists = Object.entries(results).flatMap(([kind, result]) =>
        found.flatMap((answer): [string, Bare[]][] => {
          const list = answer[result.list] as Bare[] | undefined;
          return list
            ? [[result.list, list.map((instance) => withSkeletons(instance, kind, result))]]
            : [];
        }),
      );
      const hidden =
        found.reduce((sum, { total }) => sum + total, 0) - lists.flatMap(([, list]) => list).length;
      return {
        type: "frame",
        frame,
        time,
        width,
        height,
        dropped: 0,
        timing,
        ...Object.fromEntries(lists),
        motions,
        events,
        hidden,
        ...(covered ? { covered } : {}),
      };
    } finally {
      this.inFlight -= 1;
    }
  }
}

/**
 * At the first visit, wait for the service worker, which stores the files that are loaded later.
 */
async function keeper() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return;
  await new Promise((resolve) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    workers.register("sw.js").catch(resolve); // refused as in app.js
    setTimeout(resolve, PATIENCE_MS);
  });
}

/** an instance or a person without skeletons */
type Bare = { [K in keyof (Instance & Person)]?: (Instance & Person)[K] | undefined };

/** function of the module */
let measure: (
  kind: string,
  instance: Bare,
  person: object,
) => Record<string, number | null> = () => ({});

/** Return an instance, or the parts of a person, with skeletons and measures. */
function withSkeletons(
  instance: Bare,
  kindName: string,
  { members, skeletons }: Result,
  person: object = {},
): Bare {
  const parts = Object.entries(members).map(([key, part]) => {
    const own = instance[key as keyof Bare] as Bare | null | undefined;
    return [key, own && withSkeletons(own, part, results[part]!, instance)];
  });
  if (parts.length) return { ...instance, ...Object.fromEntries(parts) };
  const skeleton = Object.entries(skeletons).find(
    ([, { keypoints }]) => keypoints.length === instance.keypoints?.length,
  )?.[0];
  return { ...instance, skeleton, measures: measure(kindName, instance, person) };
}

/** `image`: the captured image; `blob`: its encoded bytes, empty without encoding */
type Shot = { image: HTMLCanvasElement; blob: Blob };

const NOTHING = new Blob();
const SLOTS = 4; // images in use: two in transit, one drawn, one captured

export class Capture {
  /** True if images are encoded, as a server requires. */ encodes = true;
  /** Maximum side of a sent image in pixels; 0 for the original size. */ longest = 0;
  #slots: HTMLCanvasElement[] = Array.from({ length: SLOTS }, () => make("canvas"));
  #next = 0;
  #worker = new Worker(new URL("./encoder.js", import.meta.url), { type: "module" });
  /** in order of the requests */
  #waiting: ((blob: Blob) => void)[] = [];
  #copy: HTMLCanvasElement = make("canvas");
  #pixels = new ImageData(1, 1);

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#waiting.shift()?.(data);
  }

  /**
   * Capture the current image of a video.
   *
   * It is encoded as JPEG even on one machine: a browser takes longer to copy raw pixels (20 ms for
   * 640x480 in Chromium) than to compress them (5 ms).
   */
  async take(video: HTMLVideoElement): Promise<Shot> {
    const pixels = this.encodes ? null : await this.#pixelsOf(video);
    const [width, height] = scaledSize(video.videoWidth, video.videoHeight, this);
    if (!pixels) return this.#encoded(this.#slotFor(video, width, height));
    const isScaled = width !== pixels.width || height !== pixels.height;
    const image = isScaled ? this.#copy : this.#slot(width, height);
    fit(image!, pixels.width, pixels.height);
    image!.getContext("2d", { alpha: false })?.putImageData(pixels, 0, 0);
    return this.#encoded(isScaled ? this.#slotFor(image!, width, height) : image);
  }

  /**
   * Return the current pixels of a video, valid until the next call; null if they cannot be copied.
   *
   * Without a graphics card Chromium stores drawn images of a video until they take 512 MB.
   */
  async #pixelsOf(video: HTMLVideoElement): Promise<ImageData | null> {
    if (!("VideoFrame" in globalThis)) return null;
    const frame = new VideoFrame(video) as VideoFrame & { rotation?: number; flip?: boolean };
    try {
      const { displayWidth: width, displayHeight: height, visibleRect, rotation, flip } = frame;
      const isUpright =
        rotation === 0 &&
        flip === false &&
        visibleRect?.width === width &&
        visibleRect.height === height;
      if (!isUpright || width !== video.videoWidth || height !== video.videoHeight) return null;
      if (this.#pixels.width !== width || this.#pixels.height !== height)
        this.#pixels = new ImageData(width, height);
      const { data } = this.#pixels;
      await frame.copyTo(data, { format: "RGBA" });
      return this.#pixels;
    } catch {
      return null; // the browser lacks this function
    } finally {
      frame.close();
    }
  }

  /** Capture a still image. Its file is sent unchanged unless the image is too large. */
  async still(bitmap: ImageBitmap, file: Blob): Promise<Shot> {
    const [width, height] = scaledSize(bitmap.width, bitmap.height, this);
    const image = this.#slotFor(bitmap, width, height);
    return width === bitmap.width && height === bitmap.height
      ? { image, blob: file }
      : this.#encoded(image!);
  }

  async #encoded(image: HTMLCanvasElement): Promise<Shot> {
    if (!this.encodes) return { image, blob: NOTHING };
    const bitmap = await createImageBitmap(image);
    this.#worker.postMessage(bitmap, [bitmap]);
    return { image, blob: await new Promise((resolve) => this.#waiting.push(resolve)) };
  }

  #slotFor(image: CanvasImageSource, width: number, height: number) {
    const slot = this.#slot(width, height);
    slot!.getContext("2d", { alpha: false })?.drawImage(image, 0, 0, width, height);
    return slot;
  }

  #slot(width: number, height: number) {
    const slot = this.#slots[this.#next]!;
    this.#next = (this.#next + 1) % SLOTS;
    fit(slot, width, height);
    return slot;
  }
}
