/**
 * Replace tfjs-models' packages for hands, faces and poses by a Sonjit server. Change only the
 * import:
 *
 *     import * as handPoseDetection from "http://127.0.0.1:8765/sonjit-client.js";
 *
 * docs/migrating-from-tfjs.md describes the mapping and the differences.
 */

import { Connection } from "./connection.js";
import { below, call, ServerError, thisServer, withQuery } from "./endpoints.js";
import {
  fileOf,
  openDetector,
  skeletonHelpers,
  type Backend,
  type Answer,
  type Options,
  type Skeletons,
  type Wanted,
} from "../tfjs.js";

export { SupportedModels, calculators } from "../tfjs.js";

const read = async <T>(name: string): Promise<T> =>
  (await fetch(new URL(`skeletons/${name}.json`, import.meta.url))).json() as Promise<T>;

const [hand, face, mesh, body] = await Promise.all([
  read<Skeletons["hand"]>("hand_mediapipe21"),
  read<Skeletons["face"]>("face_mediapipe478"),
  read<Skeletons["mesh"]>("face_mediapipe_tesselation"),
  read<Skeletons["body"]>("body_blazepose33"),
]);

export const util = skeletonHelpers({ hand, face, mesh, body });

const REFUSED = ["detectorModelUrl", "landmarkModelUrl"];

/**
 * Create a detector. The promise resolves when its networks are loaded.
 *
 * @param model a value of SupportedModels
 * @param config tfjs-models' own, `server` (its address, or {url, token}; by default where this
 *   file came from) and, for hands, `handedness`: "tfjs" (default) or "own"
 * @throws {Error} an unknown model, option or value; the server is not available
 */
export async function createDetector(model: string, config?: Options | null) {
  for (const name of REFUSED) {
    if (config?.[name])
      throw new Error(
        `${name}: the server runs its own networks; leave it out and choose by modelType`,
      );
  }
  return openDetector(model, config, { where: "the server", own: ["server", ...REFUSED], open });
}

/** Run networks on a server. */
async function open({ server = thisServer }: Options, configuration: Wanted): Promise<Backend> {
  const { url = thisServer, token = null } = typeof server === "string" ? { url: server } : server;
  await call(below(url, "healthz"), token); // reports errors in more detail than a WebSocket
  const connection = new Connection({ url, token, detectors: [configuration] });
  let configured = configuration;
  let last: Promise<unknown> = Promise.resolve();
  const lost = new Promise((_, reject) => {
    connection.addEventListener("state", (event) => {
      const { state, reason } = (event as CustomEvent).detail;
      if (state === "waiting") reject(new ServerError("gone", reason));
    });
  });
  await Promise.race([connection.open(), lost]).catch((error) => {
    connection.close();
    throw error;
  });

  async function send(blob: Blob, wanted: Wanted, time: number): Promise<Answer> {
    if (JSON.stringify(wanted) !== JSON.stringify(configured)) {
      await connection.configure({ detectors: [wanted] }).then(() => (configured = wanted));
    }
    for (;;) {
      await connection.open(); // waits while the server is not available
      try {
        return (await connection.send({ blob, time })) as object as Answer;
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "gone") throw error;
      }
    }
  }

  return {
    async detect(image, { wanted: { kind, smoothing, ...options }, flip }) {
      const file = await fileOf(image, { flip, type: "image/png" });
      const address = withQuery(below(url, `v1/${kind}`), { ...options, full: true });
      return call<Answer>(address, token, { method: "POST", body: file });
    },
    track(image, { wanted, flip, time }) {
      // in order, after the previous images
      const file = fileOf(image, { flip, type: "image/jpeg" });
      const turn = Promise.all([file, last]).then(([blob]) => send(blob, wanted, time));
      last = turn.catch(() => {});
      return turn;
    },
    reset() {
      // after the images in transit
      last = last.then(() => connection.reset());
    },
    close: () => connection.close(),
  };
}
