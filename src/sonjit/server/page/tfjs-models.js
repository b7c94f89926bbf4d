/** The models of tfjs-models: their options, and the conversion of requests and answers. */

import { segmentationFrom } from "./tfjs-masks.js";

/** @typedef {Record<string, any>} Options */
/** @typedef {"flag" | "count" | readonly string[]} Rule allowed values of an option */
/** @typedef {Record<string, [Rule, unknown]>} Known options with their rule and default */
/**
 * @typedef {object} Model
 * @property {string} kind of the server's endpoints
 * @property {string} list list of results in an answer
 * @property {string} estimate the detector's method
 * @property {Known} config of createDetector
 * @property {Known} [estimation] additional options of the method
 * @property {(options: Options) => Options} wanted the server's options
 * @property {(found: any, answer: {width: number, height: number}) => object} shape convert an instance to the format of tfjs-models
 */

const MOST_INSTANCES = 50;

/** Options of every estimate. @type {Known} */
export const EVERY_ESTIMATION = { flipHorizontal: ["flag", false], staticImageMode: ["flag", false] };

/** @type {Record<string, Model>} */
export const MODELS = {
  MediaPipeHands: {
    kind: "hands",
    list: "hands",
    estimate: "estimateHands",
    config: { maxHands: ["count", 2], modelType: [["lite", "full"], "full"], handedness: [["tfjs", "own"], "tfjs"], gestures: [["none", "canned", "asl"], "none"] },
    wanted: ({ maxHands, modelType, handedness, gestures, flipHorizontal }) => ({
      model: modelType,
      max_instances: maxHands,
      mirrored: handedness === "tfjs" || flipHorizontal, // tfjs assumes selfie views
      smoothing: "published",
      gestures,
    }),
    shape: ({ keypoints, keypoints3D, handedness, score, gesture }) => ({
      keypoints: keypoints.map((/** @type {any} */ { x, y, name }) => ({ x, y, name })),
      keypoints3D,
      handedness,
      score,
      ...(gesture === undefined ? {} : { gesture }),
    }),
  },
  MediaPipeFaceMesh: {
    kind: "face",
    list: "faces",
    estimate: "estimateFaces",
    config: { maxFaces: ["count", 1], refineLandmarks: ["flag", false] },
    wanted: ({ maxFaces, refineLandmarks }) => ({
      model: refineLandmarks ? "attention" : "mesh",
      max_instances: maxFaces,
      smoothing: "published",
    }),
    shape: ({ keypoints, box }) => ({ keypoints, box }),
  },
  MediaPipeFaceDetector: {
    kind: "face",
    list: "faces",
    estimate: "estimateFaces",
    config: { maxFaces: ["count", 1], modelType: [["short", "full"], "short"] },
    wanted: ({ maxFaces, modelType }) => ({ model: modelType === "full" ? "box-full" : "box", max_instances: maxFaces }),
    shape: ({ keypoints, box }) => ({ keypoints, box }),
  },
  BlazePose: {
    kind: "body",
    list: "bodies",
    estimate: "estimatePoses",
    config: {
      modelType: [["lite", "full", "heavy"], "full"],
      enableSmoothing: ["flag", true],
      enableSegmentation: ["flag", false],
      smoothSegmentation: ["flag", true],
    },
    estimation: { maxPoses: ["count", 1] },
    wanted: ({ modelType, maxPoses, enableSmoothing, enableSegmentation, smoothSegmentation }) => ({
      model: modelType,
      max_instances: maxPoses,
      smoothing: enableSmoothing ? "published" : "none",
      ...(enableSegmentation ? { segmentation: true, smooth_segmentation: smoothSegmentation } : {}),
    }),
    shape: ({ score, keypoints, keypoints3D, segmentation }, { width, height }) => ({
      score,
      keypoints: keypoints.map((/** @type {any} */ { presence, ...point }) => point),
      keypoints3D,
      ...(segmentation ? { segmentation: segmentationFrom(segmentation, { width, height }) } : {}),
    }),
  },
};

/**
 * Return options with defaults. An unknown option is a warning in the console.
 *
 * @param {Options} given @param {Known} known @param {readonly string[]} [others] known elsewhere, for the message
 * @returns {Options}
 */
export function checked(given, known, others = []) {
  /** @type {Options} */ const all = {};
  for (const [name, [, value]] of Object.entries(known)) all[name] = value;
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) {
      console.warn(`Sonjit: ${unknown("option", name, [...Object.keys(known), ...others]).message}`); // tfjs-models ignores it
      continue;
    }
    if (value === undefined || value === null) continue;
    const [rule] = known[name];
    if (rule === "flag" && typeof value !== "boolean") throw unknown(name, value, ["true", "false"]);
    if (rule === "count" && !(Number.isInteger(value) && value >= 1 && value <= MOST_INSTANCES)) {
      throw unknown(name, value, [`1 to ${MOST_INSTANCES}`]);
    }
    if (typeof rule !== "string" && !rule.includes(value)) throw unknown(name, value, rule);
    all[name] = value;
  }
  return all;
}

/** @param {string} what @param {unknown} value @param {readonly string[]} known */
export function unknown(what, value, known) {
  return new Error(`unknown ${what} ${JSON.stringify(value)}; known: ${known.join(", ")}`);
}
