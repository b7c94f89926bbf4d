/** tfjs-models' `createDetector` and its detectors, on a server or in this page. */

import { EVERY_ESTIMATION, MODELS, checked, unknown } from "./tfjs-models.js";

/** @typedef {import("./tfjs-images.js").ImageLike} ImageLike */
/** @typedef {import("./tfjs-models.js").Options} Options */
/** @typedef {import("./tfjs-models.js").Model} Model */
/** @typedef {{width: number, height: number, [list: string]: any}} Answer */
/** @typedef {{kind: string} & Options} Wanted options of the detector, by Sonjit's names */
/**
 * @typedef {object} Backend runs the networks of one detector; `flip` mirrors the image first
 * @property {(image: ImageLike, how: {wanted: Wanted, flip: boolean}) => Promise<Answer>} detect an image without tracking
 * @property {(image: ImageLike, how: {wanted: Wanted, flip: boolean, time: number}) => Promise<Answer>} track the
 *   stream's next image; its pixels are read before the call returns, `time` is in seconds
 * @property {() => void} reset
 * @property {() => void} close
 */
/**
 * @typedef {object} Runner
 * @property {string} where location of the networks, for messages
 * @property {readonly string[]} own additional options in the config of `createDetector`
 * @property {(own: Options, wanted: Wanted) => Promise<Backend>} open load the networks
 */

export const SupportedModels = Object.freeze({
  MediaPipeHands: "MediaPipeHands",
  MediaPipeFaceMesh: "MediaPipeFaceMesh",
  MediaPipeFaceDetector: "MediaPipeFaceDetector",
  BlazePose: "BlazePose",
});

const IGNORED = ["runtime", "solutionPath"];

/**
 * Create a detector. The promise resolves when its networks are loaded.
 *
 * @param {string} model of SupportedModels
 * @param {Options | null | undefined} config
 * @param {Runner} runner
 * @returns {Promise<Detector & Options>}
 * @throws {Error} an unknown model, option or value
 */
export async function openDetector(model, config, { where, own, open }) {
  if (!Object.hasOwn(MODELS, model)) throw unknown("model", model, Object.keys(MODELS));
  const given = Object.entries(config ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const ignored = given.filter(([name]) => IGNORED.includes(name)).map(([name]) => name);
  if (ignored.length) console.info(`Sonjit: ${ignored.join(" and ")} ignored: ${where} computes`);
  const tfjs = Object.fromEntries(given.filter(([name]) => !IGNORED.includes(name) && !own.includes(name)));
  const chosen = checked(tfjs, { ...MODELS[model].config, ...EVERY_ESTIMATION }, [...own, ...IGNORED]);
  const wanted = wantedOf(MODELS[model], chosen);
  const backend = await open(Object.fromEntries(given.filter(([name]) => own.includes(name))), wanted);
  return new Detector(MODELS[model], chosen, backend);
}

/** Convert tfjs-models' options to Sonjit's. @param {Model} model @param {Options} options @returns {Wanted} */
function wantedOf(model, options) {
  return { kind: model.kind, search: options.staticImageMode ? "auto" : "fast", ...model.wanted(options) };
}

/** Detector of `createDetector`, with `estimateHands`, `estimateFaces` or `estimatePoses`, `reset` and `dispose`. */
class Detector {
  #model;
  #chosen;
  #backend;
  #known;
  #flipped = false;
  #isDisposed = false;

  /** @param {Model} model @param {Options} chosen @param {Backend} backend */
  constructor(model, chosen, backend) {
    this.#model = model;
    this.#chosen = chosen;
    this.#backend = backend;
    /** @type {import("./tfjs-models.js").Known} */
    this.#known = { ...EVERY_ESTIMATION, ...model.estimation };
    for (const [name, [rule, value]] of Object.entries(this.#known)) this.#known[name] = [rule, chosen[name] ?? value];
    Object.assign(this, { [model.estimate]: this.#estimate.bind(this) });
  }

  /** Forget all tracked instances. The next image starts a new stream. */
  reset() {
    this.#backend.reset();
  }

  /** Release the networks. */
  dispose() {
    this.#isDisposed = true;
    this.#backend.close();
  }

  /**
   * @param {ImageLike | null} image null forgets all tracked instances
   * @param {Options | null} [options] flipHorizontal and staticImageMode, by default those of createDetector; maxPoses
   * @param {number} [timestamp] ms; by default the time of the video, otherwise the clock
   * @returns {Promise<object[]>}
   */
  async #estimate(image, options, timestamp) {
    const requested = checked(options ?? {}, this.#known);
    if (this.#isDisposed) throw new Error("this detector is disposed of. Create a new one.");
    if (image === null || image === undefined) {
      this.reset();
      return [];
    }
    const wanted = wantedOf(this.#model, { ...this.#chosen, ...requested });
    const flip = requested.flipHorizontal;
    const isStill = requested.staticImageMode || image instanceof HTMLImageElement || image instanceof Blob;
    const answer = await (isStill ? this.#backend.detect(image, { wanted, flip }) : this.#frame(image, wanted, flip, timestamp));
    const found = answer[this.#model.list].map((/** @type {any} */ result) => this.#model.shape(result, answer));
    return Object.assign(found, answer.motions && { motions: answer.motions, events: answer.events });
  }

  /** Detect in the next image of the stream. @param {ImageLike} image @param {Wanted} wanted @param {boolean} flip @param {number} [timestamp] */
  #frame(image, wanted, flip, timestamp) {
    const time = timestamp ?? (image instanceof HTMLVideoElement ? image.currentTime * 1000 : performance.now());
    if (flip !== this.#flipped) this.reset();
    this.#flipped = flip;
    return this.#backend.track(image, { wanted, flip, time: time / 1000 });
  }
}
