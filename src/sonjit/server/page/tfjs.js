/** tfjs-models' `createDetector` and its detectors, on a server or in this page. */

import { greyOf } from "./masks.js";

/** @typedef {{width: number, height: number, [list: string]: any}} Answer */
/** @typedef {{kind: string} & Options} Wanted options of the detector, by Sonjit's names */
/**
 * @typedef {{detect(image: ImageLike, how: {wanted: Wanted, flip: boolean}): Promise<Answer>, track(image: ImageLike, how: {wanted: Wanted,
 *   flip: boolean, time: number}): Promise<Answer>, reset(): void, close(): void}} Backend runs the networks of one detector; `flip` mirrors
 *   the image first; `track`: the stream's next image, whose pixels are read before the call returns, with its `time` in seconds
 * @typedef {{where: string, own: readonly string[], open(own: Options, wanted: Wanted): Promise<Backend>}} Runner `where`: location of
 *   the networks, for messages; `own`: additional options in the config of `createDetector`; `open`: load the networks
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
 * @param {string} model of SupportedModels @param {Options | null | undefined} config @param {Runner} runner
 * @returns {Promise<{reset(): void, dispose(): void} & Options>} @throws {Error} an unknown model, option or value
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
  return detectorOf(MODELS[model], chosen, backend);
}

/** Convert tfjs-models' options to Sonjit's. @param {Model} model @param {Options} options @returns {Wanted} */
const wantedOf = (model, options) => ({ kind: model.kind, search: options.staticImageMode ? "auto" : "fast", ...model.wanted(options) });

/**
 * Return the detector of `createDetector`, with `estimateHands`, `estimateFaces` or `estimatePoses`.
 *
 * @param {Model} model @param {Options} chosen @param {Backend} backend
 */
function detectorOf(model, chosen, backend) {
  const rules = Object.entries({ ...EVERY_ESTIMATION, ...model.estimation });
  /** @type {Known} */ const known = Object.fromEntries(rules.map(([name, [rule, value]]) => [name, [rule, chosen[name] ?? value]]));
  let [isFlipped, isDisposed] = [false, false];

  /** Detect in the next image of the stream. @param {ImageLike} image @param {Wanted} wanted @param {boolean} flip @param {number} [timestamp] */
  function track(image, wanted, flip, timestamp) {
    const time = timestamp ?? (image instanceof HTMLVideoElement ? image.currentTime * 1000 : performance.now());
    if (flip !== isFlipped) backend.reset();
    isFlipped = flip;
    return backend.track(image, { wanted, flip, time: time / 1000 });
  }

  /**
   * @param {ImageLike | null} image null forgets all tracked instances
   * @param {Options | null} [options] flipHorizontal and staticImageMode, by default those of createDetector; maxPoses
   * @param {number} [timestamp] ms; by default the time of the video, otherwise the clock @returns {Promise<object[]>}
   */
  async function estimate(image, options, timestamp) {
    const requested = checked(options ?? {}, known);
    if (isDisposed) throw new Error("this detector is disposed of. Create a new one.");
    if (image === null || image === undefined) {
      backend.reset();
      return [];
    }
    const wanted = wantedOf(model, { ...chosen, ...requested });
    const flip = requested.flipHorizontal;
    const isStill = requested.staticImageMode || image instanceof HTMLImageElement || image instanceof Blob;
    const answer = await (isStill ? backend.detect(image, { wanted, flip }) : track(image, wanted, flip, timestamp));
    const found = answer[model.list].map((/** @type {any} */ result) => model.shape(result, answer));
    return Object.assign(found, answer.motions && { motions: answer.motions, events: answer.events });
  }

  return {
    [model.estimate]: estimate,
    /** Forget all tracked instances. The next image starts a new stream. */
    reset: () => backend.reset(),
    /** Release the networks. */
    dispose() {
      isDisposed = true;
      backend.close();
    },
  };
}

/** @typedef {Record<string, any>} Options */
/** @typedef {"flag" | "count" | readonly string[]} Rule allowed values of an option */
/** @typedef {Record<string, [Rule, unknown]>} Known options with their rule and default */
/**
 * @typedef {{kind: string, list: string, estimate: string, config: Known, estimation?: Known, wanted(options: Options): Options,
 *   shape(found: any, answer: {width: number, height: number}): object}} Model `kind`: of the server's endpoints; `list`: of results in an
 *   answer; `estimate`: the detector's method; `config`: options of createDetector; `estimation`: additional options of the method;
 *   `wanted`: the server's options; `shape`: convert an instance to the format of tfjs-models
 */

const MOST_INSTANCES = 50;

/** Options of every estimate. @type {Known} */
const EVERY_ESTIMATION = { flipHorizontal: ["flag", false], staticImageMode: ["flag", false] };

const FACES = { kind: "face", list: "faces", estimate: "estimateFaces", shape: (/** @type {any} */ { keypoints, box }) => ({ keypoints, box }) };

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
    ...FACES,
    config: { maxFaces: ["count", 1], refineLandmarks: ["flag", false] },
    wanted: ({ maxFaces, refineLandmarks }) => ({ model: refineLandmarks ? "attention" : "mesh", max_instances: maxFaces, smoothing: "published" }),
  },
  MediaPipeFaceDetector: {
    ...FACES,
    config: { maxFaces: ["count", 1], modelType: [["short", "full"], "short"] },
    wanted: ({ maxFaces, modelType }) => ({ model: modelType === "full" ? "box-full" : "box", max_instances: maxFaces }),
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
 * @param {Options} given @param {Known} known @param {readonly string[]} [others] known elsewhere, for the message @returns {Options}
 */
export function checked(given, known, others = []) {
  const all = Object.fromEntries(Object.entries(known).map(([name, [, value]]) => [name, value]));
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) {
      console.warn(`Sonjit: ${unknown("option", name, [...Object.keys(known), ...others]).message}`); // tfjs-models ignores it
    } else if (value !== undefined && value !== null) {
      const [rule] = known[name];
      if (rule === "flag" && typeof value !== "boolean") throw unknown(name, value, ["true", "false"]);
      if (rule === "count" && !(Number.isInteger(value) && value >= 1 && value <= MOST_INSTANCES)) throw unknown(name, value, [`1 to ${MOST_INSTANCES}`]);
      if (typeof rule !== "string" && !rule.includes(value)) throw unknown(name, value, rule);
      all[name] = value;
    }
  }
  return all;
}

/** @param {string} what @param {unknown} value @param {readonly string[]} known */
export const unknown = (what, value, known) => new Error(`unknown ${what} ${JSON.stringify(value)}; known: ${known.join(", ")}`);

/**
 * Return a mask of tfjs-models, which is decoded at the first access.
 *
 * @param {import("./masks.js").Segmentation} segmentation as the server gives it @param {{width: number, height: number}} image pixels
 */
export function segmentationFrom(segmentation, image) {
  /** @type {Promise<ImageData> | null} */ let pixels = null;

  async function decodeMask() {
    const mask = await greyOf(segmentation, image.width, image.height);
    const { data } = mask;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at];
      data[at + 1] = data[at + 2] = 0;
    }
    return mask;
  }

  const mask = {
    /** Return the mask in the size of the image. @returns {Promise<ImageData>} */
    toImageData: () => (pixels ??= decodeMask()),

    /** @returns {Promise<HTMLCanvasElement>} */
    async toCanvasImageSource() {
      const canvas = Object.assign(document.createElement("canvas"), image);
      canvas.getContext("2d")?.putImageData(await mask.toImageData(), 0, 0);
      return canvas;
    },

    /** @returns {Promise<object>} a tensor (height, width, 4) of the page's own tfjs, 0 to 255 */
    async toTensor() {
      const { tf } = /** @type {any} */ (globalThis);
      if (typeof tf?.browser?.fromPixels !== "function") {
        throw new Error("toTensor: the page has no global tf; load tfjs before, or use toImageData()");
      }
      return tf.browser.fromPixels(await mask.toImageData(), 4);
    },

    getUnderlyingType: () => "imagedata",
  };
  return {
    maskValueToLabel(/** @type {number} of a mask's red, 0 to 255 */ value) {
      if (!(Number.isInteger(value) && value >= 0 && value <= 255)) throw new Error(`mask value ${value}: give a whole number from 0 to 255`);
      return "person";
    },
    mask,
  };
}

/** @typedef {HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap | ImageData | Blob} ImageLike */

/**
 * Return the current image as a file. Videos are read before the first await.
 *
 * @param {ImageLike} image @param {{flip: boolean, type: "image/png" | "image/jpeg"}} how `flip`: mirror the image @returns {Promise<Blob>}
 */
export async function fileOf(image, { flip, type }) {
  if (image instanceof Blob && !flip) return image;
  const drawable = image instanceof Blob ? decode(image) : image instanceof ImageData ? createImageBitmap(image) : image;
  const canvas = draw(drawable instanceof Promise ? await drawable : drawable, flip);
  return canvas.convertToBlob({ type, quality: 0.95 }).catch(({ message }) => {
    throw new Error(`the pixels may not be read (${message}): load the image from this page's origin or with crossorigin`);
  });
}

/** @param {Blob} file @returns {Promise<ImageBitmap>} */
export function decode(file) {
  return createImageBitmap(file).catch(() => {
    throw new Error(`this browser cannot read the image (${file.type || "no type"}, ${file.size} bytes)`);
  });
}

/** @param {Exclude<ImageLike, ImageData | Blob>} image @param {boolean} flip @param {OffscreenCanvas} [canvas] an empty one @returns {OffscreenCanvas} */
export function draw(image, flip, canvas = new OffscreenCanvas(1, 1)) {
  const [width, height] = sizeOf(image);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

/** Return width and height as tfjs does: an <img> has its displayed size. @param {any} image */
function sizeOf(image) {
  if (typeof image?.dataSync === "function") {
    throw new Error("a tensor cannot be sent: give the image it was made from, or draw it with tf.browser.toPixels(tensor, canvas)");
  }
  const kinds = [HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap];
  if (!kinds.some((kind) => image instanceof kind)) {
    const known = kinds.map(({ name }) => name).join(", ");
    throw new Error(`a ${image?.constructor?.name ?? typeof image} is not an image; known: ${known}, ImageData or Blob`);
  }
  const size = image instanceof HTMLVideoElement ? [image.videoWidth, image.videoHeight] : [image.width, image.height];
  if (size.includes(0) || (image instanceof HTMLVideoElement && image.readyState < image.HAVE_CURRENT_DATA)) {
    throw new Error("the image is empty: wait until the image or video has loaded (image.decode(), the event loadeddata)");
  }
  return size;
}

/** @typedef {number[][]} Pairs */
/** @typedef {{hand: {connections: Pairs}, body: {connections: Pairs, keypoints: string[]}, mesh: {triangles: Pairs}, face: {groups: Record<string, number[]>}}} Skeletons */

/** @param {Skeletons} skeletons as they are in src/sonjit/results/skeletons */
export function skeletonHelpers({ hand, face, mesh, body }) {
  /** @type {Record<string, Pairs>} */
  const pairs = {
    MediaPipeHands: hand.connections,
    MediaPipeFaceMesh: mesh.triangles.flatMap(([a, b, c]) => [[a, b], [b, c], [c, a]]),
    BlazePose: body.connections,
  };
  return Object.freeze({
    /** Return the pairs of keypoints to connect with lines: bones, or the sides of the triangles of a face mesh. @param {string} model of SupportedModels */
    getAdjacentPairs: (model) => structuredClone(of(pairs, model)),
    /**
     * Return the keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye, rightEyebrow, rightIris, faceOval.
     *
     * @param {string} model "MediaPipeFaceMesh"
     */
    getKeypointIndexByContour: (model) => structuredClone(of({ MediaPipeFaceMesh: face.groups }, model)),
    /** Return the keypoints of each side: left, right, middle. @param {string} model "BlazePose" */
    getKeypointIndexBySide: (model) => structuredClone(of({ BlazePose: sides(body.keypoints) }, model)),
    /** Return the index of each keypoint by its name. @param {string} model "BlazePose" */
    getKeypointIndexByName: (model) => of({ BlazePose: Object.fromEntries(body.keypoints.map((name, i) => [name, i])) }, model),
  });
}

export const calculators = Object.freeze({
  /**
   * Convert keypoints to fractions of the image's size; z has the scale of x.
   *
   * @template {{x: number, y: number, z?: number}} P @param {readonly P[]} keypoints in pixels
   * @param {{width: number, height: number}} size of the image @returns {P[]}
   */
  keypointsToNormalizedKeypoints: (keypoints, { width, height }) =>
    keypoints.map((point) => ({ ...point, x: point.x / width, y: point.y / height, ...(point.z === undefined ? {} : { z: point.z / width }) })),
});

/** @param {string[]} names */
function sides(names) {
  const positions = (/** @type {string | null} */ wanted) =>
    names.flatMap((name, i) => ((/(?:^|_)(left|right)(?:_|$)/.exec(name)?.[1] ?? null) === wanted ? [i] : []));
  return { left: positions("left"), right: positions("right"), middle: positions(null) };
}

/** @template T @param {Record<string, T>} table @param {string} model @returns {T} */
function of(table, model) {
  if (!Object.hasOwn(table, model)) throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model];
}
