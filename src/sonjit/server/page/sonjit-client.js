/**
 * Runs a page that was written for tfjs-models' hands, faces and poses on a Sonjit server, with the import changed:
 *
 *     import * as handPoseDetection from "http://127.0.0.1:8765/sonjit-client.js";
 *
 * docs/migrating-from-tfjs.md says what maps to what, and what differs.
 */

import { Connection, ServerError, detectImage, thisServer } from "./connection.js";
import { call, tokenOfPage } from "./endpoints.js";
import { EVERY_ESTIMATION, MODELS, checked, unknown } from "./tfjs-models.js";
import { fileOf } from "./tfjs-images.js";
import { getAdjacentPairs, getKeypointIndexByContour } from "./tfjs-skeletons.js";

/** @typedef {import("./tfjs-images.js").ImageLike} ImageLike */
/** @typedef {import("./tfjs-models.js").Options} Options */
/** @typedef {import("./tfjs-models.js").Model} Model */

export const SupportedModels = Object.freeze({
  MediaPipeHands: "MediaPipeHands",
  MediaPipeFaceMesh: "MediaPipeFaceMesh",
  MediaPipeFaceDetector: "MediaPipeFaceDetector",
  BlazePose: "BlazePose",
});

export const util = Object.freeze({ getAdjacentPairs, getKeypointIndexByContour });

const IGNORED = ["runtime", "solutionPath"];
const REFUSED = ["detectorModelUrl", "landmarkModelUrl"];

/**
 * A detector; it is ready, and its networks are loaded, when the promise is kept.
 *
 * @param {string} model of SupportedModels
 * @param {Options | null} [config] tfjs-models' own, `server` (its address, or {url, token}; by default where this file
 *   came from) and, for hands, `handedness`: "tfjs" (default) or "own"
 * @returns {Promise<Detector & Options>}
 * @throws {Error} an unknown model, option or value, with the known ones; a server that is not there
 */
export async function createDetector(model, config) {
  if (!Object.hasOwn(MODELS, model)) throw unknown("model", model, Object.keys(MODELS));
  const { server = thisServer, ...options } = config ?? {};
  for (const name of REFUSED) {
    if (options[name]) throw new Error(`${name}: the server runs its own networks; leave it out and choose by modelType`);
  }
  const ignored = IGNORED.filter((name) => options[name] !== undefined);
  if (ignored.length) console.info(`Sonjit: ${ignored.join(" and ")} ignored: the server computes`);
  for (const name of [...IGNORED, ...REFUSED]) delete options[name];
  const chosen = checked(options, MODELS[model].config, ["server", ...IGNORED]);
  const { url = thisServer, token = tokenOfPage(url) } = typeof server === "string" ? { url: server } : server;
  await call(new URL("/healthz", url), token); // says more of what is wrong than a WebSocket does
  const detector = new Detector(MODELS[model], chosen, { url, token });
  await detector.load();
  return detector;
}

/** What createDetector gives: `estimateHands`, `estimateFaces` or `estimatePoses`, `reset` and `dispose`. */
class Detector {
  #model;
  #chosen;
  #server;
  #connection;
  #configured;
  #flipped = false;
  /** @type {Promise<unknown>} */ #last = Promise.resolve();

  /** @param {Model} model @param {Options} chosen @param {{url: string, token: string | null}} server */
  constructor(model, chosen, server) {
    this.#model = model;
    this.#chosen = chosen;
    this.#server = server;
    this.#configured = this.#wanted(checked({}, { ...EVERY_ESTIMATION, ...model.estimation }));
    this.#connection = new Connection({ ...server, detectors: [this.#configured] });
    Object.assign(this, { [model.estimate]: this.#estimate.bind(this) });
  }

  /** Connect and load the networks. @returns {Promise<void>} */
  async load() {
    const lost = new Promise((_, reject) => {
      this.#connection.addEventListener("state", (event) => {
        const { state, reason } = /** @type {CustomEvent} */ (event).detail;
        if (state === "waiting") reject(new ServerError("gone", reason));
      });
    });
    try {
      await Promise.race([this.#connection.open(), lost]);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Forget every instance: the next image starts a new stream. */
  reset() {
    this.#connection.reset();
  }

  /** Leave the server. */
  dispose() {
    this.#connection.close();
  }

  /**
   * @param {ImageLike | null} image null forgets every instance
   * @param {Options | null} [options] flipHorizontal, staticImageMode; maxPoses of poses
   * @param {number} [timestamp] ms; by default that of the video, else the clock's
   * @returns {Promise<object[]>}
   */
  async #estimate(image, options, timestamp) {
    const asked = checked(options ?? {}, { ...EVERY_ESTIMATION, ...this.#model.estimation });
    if (image === null || image === undefined) {
      this.reset();
      return [];
    }
    const time = timestamp ?? (image instanceof HTMLVideoElement ? image.currentTime * 1000 : performance.now());
    const alone = asked.staticImageMode || image instanceof HTMLImageElement || image instanceof Blob;
    if (this.#connection.state === "closed") throw new Error("this detector is disposed of; create a new one");
    const file = fileOf(image, { flip: asked.flipHorizontal, type: alone ? "image/png" : "image/jpeg" });
    const answer = await (alone ? this.#still(file, asked) : this.#frame(file, asked, time / 1000));
    return answer[this.#model.list].map((/** @type {any} */ one) => this.#model.shape(one, /** @type {any} */ (answer)));
  }

  /** @param {Options} asked @returns {{kind: string} & Options} */
  #wanted(asked) {
    return { kind: this.#model.kind, search: "fast", ...this.#model.wanted({ ...this.#chosen, ...asked }) };
  }

  /** An image that stands alone. @param {Promise<Blob>} file @param {Options} asked */
  async #still(file, asked) {
    const { kind, smoothing, ...options } = this.#wanted(asked);
    return detectImage(kind, await file, { ...options, full: true }, this.#server);
  }

  /** The next image of the stream, after those before it. @param {Promise<Blob>} file @param {Options} asked @param {number} time */
  #frame(file, asked, time) {
    const turn = Promise.all([file, this.#last]).then(([blob]) => this.#send(blob, asked, time));
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** @param {Blob} blob @param {Options} asked @param {number} time */
  async #send(blob, asked, time) {
    const wanted = this.#wanted(asked);
    if (JSON.stringify(wanted) !== JSON.stringify(this.#configured)) {
      await this.#connection.configure({ detectors: [wanted] });
      this.#configured = wanted;
    }
    if (asked.flipHorizontal !== this.#flipped) this.reset();
    this.#flipped = asked.flipHorizontal;
    for (;;) {
      await this.#connection.open(); // waits where the server is gone for a while
      try {
        return await this.#connection.send({ blob, time });
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "gone") throw error;
      }
    }
  }
}
