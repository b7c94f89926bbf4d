/** Replaces a Connection without a server: the networks run in a worker of this page. */

import { kindsWhere, results } from "./kinds.js";

/** @typedef {import("./connection.js").DetectorOptions} DetectorOptions */
/** @typedef {{detectors?: DetectorOptions[], gestures_file?: string | null}} Configuration `gestures_file`: custom gestures, in base64 */
/** @typedef {{kind: string, model: unknown, gesturesUrl: string | undefined, isStill: boolean, detector: any}} Running */

const PATIENCE_MS = 8000;
const FILE = "data:application/octet-stream;base64,";
const ENGINE = new URL("./engine/sonjit-web.js", import.meta.url).href;

/** The networks of this page. Event: "state", as of a Connection. */
export class LocalConnection extends EventTarget {
  /** @type {DetectorOptions[]} */ #requested;
  /** @type {string | null} */ #gestures;
  /** @type {Running[]} */ #running = [];
  /** @type {Promise<unknown>} resolves when loading ends */ #loading = Promise.resolve();
  /** @type {"loading" | "ready" | "closed"} */ #state = "closed";
  #turn = 0; // number of the last configuration; it replaces earlier ones
  #next = 0;
  inFlight = 0;

  /** @param {Configuration} [options] */
  constructor({ detectors = [], gestures_file = null } = {}) {
    super();
    this.#requested = detectors;
    this.#gestures = gestures_file;
  }

  get state() {
    return this.#state;
  }

  /** Load the networks. @returns {Promise<object>} */
  open() {
    return this.configure({});
  }

  /** Change detectors. Detectors with the same kind, model and gestures keep their tracked instances. @param {Configuration} configuration @returns {Promise<object>} */
  configure({ detectors = this.#requested, gestures_file = this.#gestures }) {
    const turn = ++this.#turn;
    [this.#requested, this.#gestures] = [detectors, gestures_file];
    this.#become("loading");
    const result = this.#loading.then(() => this.#make(turn, detectors, gestures_file)); // the loading detectors may be the requested ones
    this.#loading = result.catch(() => {});
    return result;
  }

  /** @param {number} turn number of the configuration @param {DetectorOptions[]} detectors @param {string | null} gestures_file @returns {Promise<object>} */
  async #make(turn, detectors, gestures_file) {
    if (turn !== this.#turn) return {};
    await keeper();
    const { LocalDetector } = await import(ENGINE);
    const before = this.#running;
    const result = await Promise.allSettled(detectors.map(async ({ kind, static_image: isStill = false, ...options }) => {
      const gesturesUrl = gestures_file !== null && "gestures" in (kindsWhere(true)[kind]?.options ?? {}) ? `${FILE}${gestures_file}` : undefined;
      const reused = before.find((running) => running.kind === kind && running.model === options.model && running.gesturesUrl === gesturesUrl)?.detector;
      reused?.configure(options);
      const detector = reused ?? (await LocalDetector.create(kind, options, gesturesUrl === undefined ? {} : { gesturesUrl }));
      return { kind, model: options.model, gesturesUrl, isStill: Boolean(isStill), detector };
    }));
    const running = result.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
    const [failed] = result.filter((outcome) => outcome.status === "rejected");
    this.#running = this.#state === "closed" ? [] : running;
    for (const { detector } of [...before, ...running]) if (!this.#running.some((other) => other.detector === detector)) detector.close();
    if (turn !== this.#turn) return {};
    if (failed) throw failed.reason;
    const ready = { detectors };
    this.#become("ready", ready);
    return ready;
  }

  /** Forget all tracked instances. */
  reset() {
    for (const { detector } of this.#running) detector.reset();
  }

  /** End the workers. */
  close() {
    this.#turn += 1;
    for (const { detector } of this.#running.splice(0)) detector.close();
    this.#state = "closed";
  }

  /** One image of the stream. @param {{image: HTMLCanvasElement, time: number}} shot `time` in seconds @returns {Promise<import("./connection.js").Answer>} */
  async send({ image, time }) {
    const sent_ms = performance.now();
    const frame = this.#next++;
    this.inFlight += 1;
    try {
      const found = await Promise.all(this.#running.map(({ detector, isStill }) => (isStill ? detector.detect(image) : detector.track(image, { time }))));
      const answered_ms = performance.now();
      const { width, height } = image;
      const lists = Object.fromEntries(found.flatMap(Object.entries).filter(([, list]) => Array.isArray(list)).map(named));
      const motions = found.flatMap((answer) => answer.motions ?? []);
      const events = found.flatMap((answer) => answer.events ?? []);
      const hidden = found.reduce((sum, { total, motions: _, events: __, ...rest }) => sum + total - Object.values(rest).filter(Array.isArray).flat().length, 0);
      return { frame, time, width, height, dropped: 0, timing: { detect_ms: answered_ms - sent_ms }, ...lists, motions, events, hidden, sent_ms, answered_ms };
    } finally {
      this.inFlight -= 1;
    }
  }

  /** @param {"loading" | "ready"} state @param {object} [more] */
  #become(state, more = {}) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { ...more, state } }));
  }
}

/** At the first visit, wait for the service worker, which stores the files that are loaded later. */
async function keeper() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return;
  await new Promise((resolve) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    workers.register("sw.js").catch(resolve); // refused as in app.js
    setTimeout(resolve, PATIENCE_MS);
  });
}

/** Add the members that a server adds to a list of instances. @param {[string, any[]]} entry @returns {[string, any[]]} */
function named([list, found]) {
  const kind = Object.values(results).find((result) => result.list === list);
  return [list, kind ? found.map((instance) => withSkeletons(instance, kind)) : found];
}

/** Return an instance, or the parts of a person, with skeletons. @param {any} instance @param {import("./kinds.js").Result} kind @returns {any} */
function withSkeletons(instance, { members, skeletons }) {
  const parts = Object.entries(members).map(([key, part]) => [key, instance[key] && withSkeletons(instance[key], results[part])]);
  if (parts.length) return { ...instance, ...Object.fromEntries(parts) };
  const skeleton = Object.entries(skeletons).find(([, { keypoints }]) => keypoints.length === instance.keypoints.length)?.[0];
  return { ...instance, skeleton, measures: {} };
}
