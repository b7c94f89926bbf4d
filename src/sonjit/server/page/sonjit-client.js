/**
 * Replace tfjs-models' packages for hands, faces and poses by a Sonjit server. Change only the import:
 *
 *     import * as handPoseDetection from "http://127.0.0.1:8765/sonjit-client.js";
 *
* docs/migrating-from-tfjs.md describes the mapping and the differences.
 */

import { Connection } from "./connection.js";
import { call, detectImage, ServerError, thisServer } from "./endpoints.js";
import { fileOf, openDetector, skeletonHelpers } from "./tfjs.js";

export { SupportedModels, calculators } from "./tfjs.js";

/** @typedef {import("./tfjs.js").Answer} Answer */
/** @typedef {import("./tfjs.js").Backend} Backend */
/** @typedef {import("./tfjs.js").Wanted} Wanted */
/** @typedef {import("./tfjs.js").ImageLike} ImageLike */
/** @typedef {import("./tfjs.js").Options} Options */

/** @param {string} name @returns {Promise<any>} */
const read = async (name) => (await fetch(new URL(`/skeletons/${name}.json`, import.meta.url))).json();

const [hand, face, mesh, body] = await Promise.all(
  ["hand_mediapipe21", "face_mediapipe478", "face_mediapipe_tesselation", "body_blazepose33"].map(read),
);

export const util = skeletonHelpers({ hand, face, mesh, body });

const REFUSED = ["detectorModelUrl", "landmarkModelUrl"];

/**
 * Create a detector. The promise resolves when its networks are loaded.
 *
 * @param {string} model a value of SupportedModels
 * @param {Options | null} [config] tfjs-models' own, `server` (its address, or {url, token}; by default where this file
 *   came from) and, for hands, `handedness`: "tfjs" (default) or "own"
 * @throws {Error} an unknown model, option or value; the server is not available
 */
export async function createDetector(model, config) {
  for (const name of REFUSED) {
    if (config?.[name]) throw new Error(`${name}: the server runs its own networks; leave it out and choose by modelType`);
  }
  return openDetector(model, config, { where: "the server", own: ["server", ...REFUSED], open });
}

/** @param {Options} own @param {Wanted} wanted */
async function open({ server = thisServer }, wanted) {
  const { url = thisServer, token = null } = typeof server === "string" ? { url: server } : server;
  await call(new URL("/healthz", url), token); // reports errors in more detail than a WebSocket
  const backend = new OnServer({ url, token }, wanted);
  await backend.load();
  return backend;
}

/** Runs networks on a server. @implements {Backend} */
class OnServer {
  #server;
  #connection;
  #configured;
  /** @type {Promise<unknown>} */ #last = Promise.resolve();

  /** @param {{url: string, token: string | null}} server @param {Wanted} wanted */
  constructor(server, wanted) {
    this.#server = server;
    this.#configured = wanted;
    this.#connection = new Connection({ ...server, detectors: [wanted] });
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
      this.close();
      throw error;
    }
  }

  /** Reset after the images in transit. */
  reset() {
    this.#last = this.#last.then(() => this.#connection.reset());
  }

  /** Disconnect from the server. */
  close() {
    this.#connection.close();
  }

  /** @param {ImageLike} image @param {{wanted: Wanted, flip: boolean}} how @returns {Promise<Answer>} */
  async detect(image, { wanted: { kind, smoothing, ...options }, flip }) {
    const file = await fileOf(image, { flip, type: "image/png" });
    return /** @type {Promise<any>} */ (detectImage(kind, file, { ...options, full: true }, this.#server));
  }

  /** Detect in order, after the previous images. @param {ImageLike} image @param {{wanted: Wanted, flip: boolean, time: number}} how @returns {Promise<Answer>} */
  track(image, { wanted, flip, time }) {
    const file = fileOf(image, { flip, type: "image/jpeg" });
    const turn = Promise.all([file, this.#last]).then(([blob]) => this.#send(blob, wanted, time));
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** @param {Blob} blob @param {Wanted} wanted @param {number} time @returns {Promise<any>} */
  async #send(blob, wanted, time) {
    if (JSON.stringify(wanted) !== JSON.stringify(this.#configured)) {
      await this.#connection.configure({ detectors: [wanted] });
      this.#configured = wanted;
    }
    for (;;) {
      await this.#connection.open(); // waits while the server is not available
      try {
        return await this.#connection.send({ blob, time });
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "gone") throw error;
      }
    }
  }
}
