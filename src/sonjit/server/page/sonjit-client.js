/**
 * Replace tfjs-models' packages for hands, faces and poses by a Sonjit server. Change only the import:
 *
 *     import * as handPoseDetection from "http://127.0.0.1:8765/sonjit-client.js";
 *
* docs/migrating-from-tfjs.md describes the mapping and the differences.
 */

import { Connection } from "./connection.js";
import { call, ServerError, thisServer, withQuery } from "./endpoints.js";
import { fileOf, openDetector, skeletonHelpers } from "./tfjs.js";

export { SupportedModels, calculators } from "./tfjs.js";

/** @typedef {import("./tfjs.js").Backend} Backend */
/** @typedef {import("./tfjs.js").Wanted} Wanted */
/** @typedef {import("./tfjs.js").Options} Options */

/** @param {string} name @returns {Promise<any>} */
const read = async (name) => (await fetch(new URL(`/skeletons/${name}.json`, import.meta.url))).json();

const [hand, face, mesh, body] = await Promise.all(["hand_mediapipe21", "face_mediapipe478", "face_mediapipe_tesselation", "body_blazepose33"].map(read));

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

/** Run networks on a server. @param {Options} own @param {Wanted} configuration @returns {Promise<Backend>} */
async function open({ server = thisServer }, configuration) {
  const { url = thisServer, token = null } = typeof server === "string" ? { url: server } : server;
  await call(new URL("/healthz", url), token); // reports errors in more detail than a WebSocket
  const connection = new Connection({ url, token, detectors: [configuration] });
  let configured = configuration;
  /** @type {Promise<unknown>} */ let last = Promise.resolve();
  const lost = new Promise((_, reject) => {
    connection.addEventListener("state", (event) => {
      const { state, reason } = /** @type {CustomEvent} */ (event).detail;
      if (state === "waiting") reject(new ServerError("gone", reason));
    });
  });
  await Promise.race([connection.open(), lost]).catch((error) => {
    connection.close();
    throw error;
  });

  /** @param {Blob} blob @param {Wanted} wanted @param {number} time @returns {Promise<any>} */
  async function send(blob, wanted, time) {
    if (JSON.stringify(wanted) !== JSON.stringify(configured)) {
      await connection.configure({ detectors: [wanted] }).then(() => (configured = wanted));
    }
    for (;;) {
      await connection.open(); // waits while the server is not available
      try {
        return await connection.send({ blob, time });
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "gone") throw error;
      }
    }
  }

  return {
    async detect(image, { wanted: { kind, smoothing, ...options }, flip }) {
      const file = await fileOf(image, { flip, type: "image/png" });
      return /** @type {Promise<any>} */ (call(withQuery(new URL(`/v1/${kind}`, url), { ...options, full: true }), token, { method: "POST", body: file }));
    },
    track(image, { wanted, flip, time }) { // in order, after the previous images
      const file = fileOf(image, { flip, type: "image/jpeg" });
      const turn = Promise.all([file, last]).then(([blob]) => send(blob, wanted, time));
      last = turn.catch(() => {});
      return turn;
    },
    reset() { // after the images in transit
      last = last.then(() => connection.reset());
    },
    close: () => connection.close(),
  };
}
