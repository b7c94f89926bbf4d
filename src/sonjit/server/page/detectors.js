/** Sends images to the server and answers to all views. At the end of a run all views are cleared. */

import { Connection, ServerError } from "./connection.js";
import { instancesOf } from "./kinds.js";
import { LocalConnection } from "./local-connection.js";
import { maskOverlay } from "./masks.js";
import { PageError } from "./messages.js";

const MAX_IN_FLIGHT = 2; // one image is processed while the next is in transit

/**
 * @typedef {{image: HTMLCanvasElement, flipped: boolean, mask: OffscreenCanvas | null, source?: string, index?: number}} ShownImage
 * @typedef {Connection | LocalConnection} AnyConnection
 * @typedef {{kind: string}[]} Wanted the detectors of a stream
 * @typedef {{draw(frame: Record<string, any>, seen: ShownImage): void, clear(): void}} View
 * @typedef {{capture_ms: number, send_ms: number, detect_ms: number, draw_ms: number, total_ms: number}} Latency
 */

/** Starts and stops runs and draws their results, for any number of detectors. */
export class Detectors {
  #views;
  #rivalView;
  #capture;
  #listener;
  /** @type {AnyConnection | null} */ #connection = null;
  /** @type {AnyConnection | null} connection of the compared model, which gets the same images */ #rival = null;
  /** @type {import("./sources.js").Source | null} */ #source = null;
  /** @type {{control: string | null, gestures_file: string | null}} further requests; only servers support a map */ #extras = { control: null, gestures_file: null };
  #runsInPage = false; // whether the networks run in this page
  #ready = false;
  #flipped = false;
  #taking = false;
  #skipped = 0;
  #shown = -1; // number of the displayed frame
  #size = ""; // of the video's last image
  #hasFailed = false; // whether the last image failed
  /** @type {File | null} still image whose results are or will be displayed */ #still = null;

  /**
   * @param {View[]} views views that show each frame
   * @param {View} rivalView view of the compared detectors
   * @param {import("./capture.js").Capture} capture
   * @param {{phase(phase: string, detail?: object): void, error(error: unknown): void, frame(frame: Record<string, any>, latency: Latency, dropped: number): void, searching(image: HTMLCanvasElement | null): void}} listener `searching`: a still image is being processed; null: it is processed again
   */
  constructor(views, rivalView, capture, listener) {
    this.#views = views;
    this.#rivalView = rivalView;
    this.#capture = capture;
    this.#listener = listener;
  }

  /** @param {import("./sources.js").Source} source @param {Wanted} detectors @param {Wanted | null} rivals @param {boolean} here in this page, not on the server */
  start(source, detectors, rivals, here) {
    this.stop();
    this.#skipped = 0;
    this.#shown = -1;
    this.#hasFailed = false;
    this.#size = "";
    this.#source = source;
    this.#runsInPage = here;
    this.#capture.encodes = !here;
    const connection = this.#connect(detectors, true);
    this.#connection = connection;
    connection.addEventListener("state", (event) => {
      if (this.#connection === connection) this.#become(/** @type {CustomEvent} */ (event).detail);
    });
    source.play((tick) => this.#take(tick), (error) => this.#source === source && this.#unshown(error));
    connection.open().catch((error) => this.#connection === connection && this.#failed(error));
    this.#compare(rivals);
  }

  /** @param {Wanted} detectors @param {boolean} measures @returns {AnyConnection} */
  #connect(detectors, measures) {
    const also = measures ? this.#extras : {};
    return this.#runsInPage ? new LocalConnection({ detectors, ...also }) : new Connection({ detectors, measures, ...also });
  }

  /** Request the commands of a map for `sonjit control` without sending them; null to stop. @param {string | null} map */
  control(map) {
    this.#ask({ control: map });
  }

  /** Classify the gestures of a file in addition to the shipped ones, only in this stream. @param {string | null} file in base64; null for none */
  customGestures(file) {
    this.#ask({ gestures_file: file });
  }

  /** @param {{control?: string | null, gestures_file?: string | null}} wanted */
  #ask(wanted) {
    this.#extras = { ...this.#extras, ...wanted };
    if (this.#runsInPage && !("gestures_file" in wanted)) return;
    this.#connection?.configure(wanted).catch((error) => this.#listener.error(error));
  }

  /** Change the detectors from the next image on. @param {Wanted} detectors @param {Wanted | null} rivals */
  async configure(detectors, rivals) {
    const connection = this.#connection;
    if (!connection) return;
    this.#ready = false;
    this.#compare(rivals);
    try {
      await connection.configure({ detectors });
    } catch (error) {
      if (this.#connection === connection) this.#failed(error);
    }
  }

  /** Process the same images with other detectors for comparison; null to stop. @param {Wanted | null} detectors */
  #compare(detectors) {
    this.#rivalView.clear();
    if (!detectors) {
      this.#rival?.close();
      this.#rival = null;
      return;
    }
    const rival = this.#rival ?? this.#connect(detectors, false);
    const ready = this.#rival ? rival.configure({ detectors }) : rival.open();
    this.#rival = rival;
    ready.then(() => this.#rival === rival && this.#source?.refresh(), (error) => this.#rival === rival && this.#listener.error(error));
  }

  /** End the run and clear all views. */
  stop() {
    const [connection, source] = [this.#connection, this.#source];
    [this.#connection, this.#source, this.#ready, this.#taking] = [null, null, false, false];
    connection?.close();
    this.#compare(null);
    source?.close();
    this.#clear();
  }

  /** @param {{state: string, detectors?: {flip_horizontal?: boolean}[], [name: string]: any}} detail */
  #become({ state, ...detail }) {
    this.#ready = state === "ready" || state === "idle"; // after idle the next image reconnects
    if (state === "ready") {
      this.#flipped = detail.detectors?.some(({ flip_horizontal }) => flip_horizontal) ?? this.#flipped;
      this.#listener.phase("running");
      this.#source?.refresh();
    } else if (state === "waiting") {
      this.#clear(); // the results may have changed
      this.#listener.phase("connecting", detail);
    } else if (state === "closed") {
      this.#failed(new ServerError(detail.code, detail.reason));
    } else if (state === "connecting" || state === "loading") {
      this.#listener.phase(state, detail);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    this.#ready = false;
    this.#clear();
    this.#listener.phase("error");
    this.#listener.error(error);
  }

  /** Report an image that cannot be shown or processed, or a lost source. The run continues with the next image. @param {unknown} error */
  #unshown(error) {
    this.#clear();
    this.#listener.phase("error");
    this.#listener.error(error);
    this.#hasFailed = true;
  }

  /** Process one image and draw the answer. @param {import("./sources.js").Tick} tick @returns {Promise<boolean>} whether it succeeded */
  async #take(tick) {
    const connection = this.#connection;
    if (!connection || !this.#ready) return false;
    if (this.#taking || connection.inFlight >= MAX_IN_FLIGHT) {
      this.#skipped += 1;
      return false;
    }
    this.#taking = true;
    if (this.#hasFailed) this.#listener.phase("running");
    this.#hasFailed = false;
    if (this.#isResized(tick.video) || tick.jumped) for (const open of [connection, this.#rival]) open?.reset();
    const flipped = this.#flipped;
    try {
      const { bitmap, file, video } = tick;
      const shot = await (bitmap && file ? this.#capture.still(bitmap, file) : this.#capture.take(/** @type {HTMLVideoElement} */ (video)));
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const { blob, image } = shot;
      if (file) {
        this.#listener.searching(file === this.#still ? null : image); // the drawing stays until the new results arrive
        this.#still = file;
      }
      const [rival, time] = [this.#rival, tick.time];
      const also = rival?.state === "ready" ? rival.send({ blob, image, time }).catch(() => null) : null; // missed images are not shown
      const frame = await connection.send({ blob, image, time });
      const other = await also;
      const mask = await maskOverlay(instancesOf(frame).flatMap(({ instance }) => instance.segmentation ?? []));
      if (this.#connection !== connection) return false;
      if (frame.frame < this.#shown) return true; // a newer image was drawn first
      this.#shown = frame.frame;
      const shown = { image, flipped, mask, source: tick.source, index: tick.index };
      if (other && this.#rival === rival) this.#rivalView.draw(other, { ...shown, mask: null });
      this.#present(frame, shown, tick.since);
      return true;
    } catch (error) {
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const code = /** @type {{code?: string}} */ (error).code ?? "";
      if (["dropped", "gone", "closed"].includes(code)) return false; // the server counts it and the connection reports it
      this.#unshown(tick.file && code === "bad_image" ? new PageError("damaged", { name: tick.file.name }) : error);
      return true;
    }
  }

  /** Check whether the size of a video's images has changed, and report it. @param {HTMLVideoElement} [video] */
  #isResized(video) {
    const [before, size] = [this.#size, video ? `${video.videoWidth} × ${video.videoHeight}` : ""];
    this.#size = size;
    if (!before || before === size) return false;
    this.#listener.error(new PageError("resized", { size }));
    return true;
  }

  /** @param {Record<string, any>} frame @param {ShownImage} shown @param {number} since */
  #present(frame, shown, since) {
    for (const view of this.#views) view.draw(frame, shown);
    const drawn = performance.now();
    const detect_ms = frame.timing?.detect_ms ?? 0;
    this.#listener.frame(frame, {
      capture_ms: frame.sent_ms - since,
      send_ms: Math.max(frame.answered_ms - frame.sent_ms - detect_ms, 0),
      detect_ms,
      draw_ms: drawn - frame.answered_ms,
      total_ms: drawn - since,
    }, (frame.dropped ?? 0) + this.#skipped);
  }

  #clear() {
    this.#still = null;
    for (const view of [...this.#views, this.#rivalView]) view.clear();
  }
}
