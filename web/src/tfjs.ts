/** tfjs-models' `createDetector` and its detectors, on a server or in this page. */

import { greyOf, type Segmentation } from "./masks.js";

export type Answer = { width: number; height: number; [list: string]: any };
/** options of the detector, by Sonjit's names */
export type Wanted = { kind: string } & Options;
/**
 * runs the networks of one detector; `flip` mirrors the image first; `track`: the stream's next
 * image, whose pixels are read before the call returns, with its `time` in seconds
 */
export type Backend = {
  detect(image: ImageLike, how: { wanted: Wanted; flip: boolean }): Promise<Answer>;
  track(image: ImageLike, how: { wanted: Wanted; flip: boolean; time: number }): Promise<Answer>;
  reset(): void;
  close(): void;
};
/**
 * `where`: location of the networks, for messages; `own`: additional options in the config of
 * `createDetector`; `open`: load the networks
 */
type Runner = {
  where: string;
  own: readonly string[];
  open(own: Options, wanted: Wanted): Promise<Backend>;
};

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
 * @param model of SupportedModels
 * @throws {Error} an unknown model, option or value
 */
export async function openDetector(
  model: string,
  config: Options | null | undefined,
  { where, own, open }: Runner,
): Promise<{ reset(): void; dispose(): void } & Options> {
  if (!Object.hasOwn(MODELS, model)) throw unknown("model", model, Object.keys(MODELS));
  const given = Object.entries(config ?? {}).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  const ignored = given.filter(([name]) => IGNORED.includes(name)).map(([name]) => name);
  if (ignored.length) console.info(`Sonjit: ${ignored.join(" and ")} ignored: ${where} computes`);
  const tfjs = Object.fromEntries(
    given.filter(([name]) => !IGNORED.includes(name) && !own.includes(name)),
  );
  const chosen = checked(tfjs, { ...MODELS[model]!.config, ...EVERY_ESTIMATION }, [
    ...own,
    ...IGNORED,
  ]);
  const wanted = wantedOf(MODELS[model]!, chosen);
  const backend = await open(
    Object.fromEntries(given.filter(([name]) => own.includes(name))),
    wanted,
  );
  return detectorOf(MODELS[model]!, chosen, backend);
}

/** Convert tfjs-models' options to Sonjit's. */
const wantedOf = (model: Model, options: Options): Wanted => ({
  kind: model.kind,
  search: options.staticImageMode ? "auto" : "fast",
  ...model.wanted(options),
});

/**
 * Return the detector of `createDetector`, with `estimateHands`, `estimateFaces` or
 * `estimatePoses`.
 */
function detectorOf(model: Model, chosen: Options, backend: Backend) {
  const rules = Object.entries({ ...EVERY_ESTIMATION, ...model.estimation });
  const known: Known = Object.fromEntries(
    rules.map(([name, [rule, value]]) => [name, [rule, chosen[name] ?? value]]),
  );
  let [isFlipped, isDisposed] = [false, false];

  /** Detect in the next image of the stream. */
  function track(image: ImageLike, wanted: Wanted, flip: boolean, timestamp?: number) {
    const time =
      timestamp ??
      (image instanceof HTMLVideoElement ? image.currentTime * 1000 : performance.now());
    if (flip !== isFlipped) backend.reset();
    isFlipped = flip;
    return backend.track(image, { wanted, flip, time: time / 1000 });
  }

  /**
   * @param image null forgets all tracked instances
   * @param options flipHorizontal and staticImageMode, by default those of createDetector; maxPoses
   * @param timestamp ms; by default the time of the video, otherwise the clock
   */
  async function estimate(
    image: ImageLike | null,
    options?: Options | null,
    timestamp?: number,
  ): Promise<object[]> {
    const requested = checked(options ?? {}, known);
    if (isDisposed) throw new Error("this detector is disposed of. Create a new one.");
    if (image === null || image === undefined) {
      backend.reset();
      return [];
    }
    const wanted = wantedOf(model, { ...chosen, ...requested });
    const flip = requested.flipHorizontal;
    const isStill =
      requested.staticImageMode || image instanceof HTMLImageElement || image instanceof Blob;
    const answer = await (isStill
      ? backend.detect(image, { wanted, flip })
      : track(image, wanted, flip, timestamp));
    const found = answer[model.list].map((result: any) => model.shape(result, answer));
    return Object.assign(
      found,
      answer.motions && { motions: answer.motions, events: answer.events },
    );
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

export type Options = Record<string, any>;
/** allowed values of an option */
type Rule = "flag" | "count" | readonly string[];
/** options with their rule and default */
type Known = Record<string, [Rule, unknown]>;
/**
 * `kind`: of the server's endpoints; `list`: of results in an answer; `estimate`: the detector's
 * method; `config`: options of createDetector; `estimation`: additional options of the method;
 * `wanted`: the server's options; `shape`: convert an instance to the format of tfjs-models
 */
type Model = {
  kind: string;
  list: string;
  estimate: string;
  config: Known;
  estimation?: Known;
  wanted(options: Options): Options;
  shape(found: any, answer: { width: number; height: number }): object;
};

const MOST_INSTANCES = 50;

/** Options of every estimate. */
const EVERY_ESTIMATION: Known = {
  flipHorizontal: ["flag", false],
  staticImageMode: ["flag", false],
};

const FACES = {
  kind: "face",
  list: "faces",
  estimate: "estimateFaces",
  shape: ({ keypoints, box }: any) => ({ keypoints, box }),
};

export const MODELS: Record<string, Model> = {
  MediaPipeHands: {
    kind: "hands",
    list: "hands",
    estimate: "estimateHands",
    config: {
      maxHands: ["count", 2],
      modelType: [["lite", "full"], "full"],
      handedness: [["tfjs", "own"], "tfjs"],
      gestures: [["none", "canned", "asl"], "none"],
    },
    wanted: ({ maxHands, modelType, handedness, gestures, flipHorizontal }) => ({
      model: modelType,
      max_instances: maxHands,
      mirrored: handedness === "tfjs" || flipHorizontal, // tfjs assumes selfie views
      smoothing: "published",
      gestures,
    }),
    shape: ({ keypoints, keypoints3D, handedness, score, gesture }) => ({
      keypoints: keypoints.map(({ x, y, name }: any) => ({ x, y, name })),
      keypoints3D,
      handedness,
      score,
      ...(gesture === undefined ? {} : { gesture }),
    }),
  },
  MediaPipeFaceMesh: {
    ...FACES,
    config: { maxFaces: ["count", 1], refineLandmarks: ["flag", false] },
    wanted: ({ maxFaces, refineLandmarks }) => ({
      model: refineLandmarks ? "attention" : "mesh",
      max_instances: maxFaces,
      smoothing: "published",
    }),
  },
  MediaPipeFaceDetector: {
    ...FACES,
    config: { maxFaces: ["count", 1], modelType: [["short", "full"], "short"] },
    wanted: ({ maxFaces, modelType }) => ({
      model: modelType === "full" ? "box-full" : "box",
      max_instances: maxFaces,
    }),
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
      ...(enableSegmentation
        ? { segmentation: true, smooth_segmentation: smoothSegmentation }
        : {}),
    }),
    shape: ({ score, keypoints, keypoints3D, segmentation }, { width, height }) => ({
      score,
      keypoints: keypoints.map(({ presence, ...point }: any) => point),
      keypoints3D,
      ...(segmentation ? { segmentation: segmentationFrom(segmentation, { width, height }) } : {}),
    }),
  },
};

/**
 * Return options with defaults. An unknown option is a warning in the console.
 *
 * @param others known elsewhere, for the message
 */
export function checked(given: Options, known: Known, others: readonly string[] = []): Options {
  const all = Object.fromEntries(Object.entries(known).map(([name, [, value]]) => [name, value]));
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) {
      console.warn(
        `Sonjit: ${unknown("option", name, [...Object.keys(known), ...others]).message}`,
      ); // tfjs-models ignores it
    } else if (value !== undefined && value !== null) {
      const [rule] = known[name]!;
      if (rule === "flag" && typeof value !== "boolean")
        throw unknown(name, value, ["true", "false"]);
      if (rule === "count" && !(Number.isInteger(value) && value >= 1 && value <= MOST_INSTANCES))
        throw unknown(name, value, [`1 to ${MOST_INSTANCES}`]);
      if (typeof rule !== "string" && !rule.includes(value)) throw unknown(name, value, rule);
      all[name] = value;
    }
  }
  return all;
}

export const unknown = (what: string, value: unknown, known: readonly string[]) =>
  new Error(`unknown ${what} ${JSON.stringify(value)}; known: ${known.join(", ")}`);

/**
 * Return a mask of tfjs-models, which is decoded at the first access.
 *
 * @param segmentation as the server gives it
 * @param image pixels
 */
export function segmentationFrom(
  segmentation: Segmentation,
  image: { width: number; height: number },
) {
  let pixels: Promise<ImageData> | null = null;

  async function decodeMask() {
    const mask = await greyOf(segmentation, image.width, image.height);
    const { data } = mask;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at]!;
      data[at + 1] = data[at + 2] = 0;
    }
    return mask;
  }

  const mask = {
    /** Return the mask in the size of the image. */
    toImageData: (): Promise<ImageData> => (pixels ??= decodeMask()),

    async toCanvasImageSource(): Promise<HTMLCanvasElement> {
      const canvas = Object.assign(document.createElement("canvas"), image);
      canvas.getContext("2d")?.putImageData(await mask.toImageData(), 0, 0);
      return canvas;
    },

    /** @returns a tensor (height, width, 4) of the page's own tfjs, 0 to 255 */
    async toTensor(): Promise<object> {
      const { tf } = globalThis as any;
      if (typeof tf?.browser?.fromPixels !== "function") {
        throw new Error(
          "toTensor: the page has no global tf; load tfjs before, or use toImageData()",
        );
      }
      return tf.browser.fromPixels(await mask.toImageData(), 4);
    },

    getUnderlyingType: () => "imagedata",
  };
  return {
    maskValueToLabel(/** of a mask's red, 0 to 255 */ value: number) {
      if (!(Number.isInteger(value) && value >= 0 && value <= 255))
        throw new Error(`mask value ${value}: give a whole number from 0 to 255`);
      return "person";
    },
    mask,
  };
}

export type ImageLike =
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | ImageBitmap
  | ImageData
  | Blob;

/**
 * Return the current image as a file. Videos are read before the first await.
 *
 * @param how `flip`: mirror the image
 */
export async function fileOf(
  image: ImageLike,
  { flip, type }: { flip: boolean; type: "image/png" | "image/jpeg" },
): Promise<Blob> {
  if (image instanceof Blob && !flip) return image;
  const drawable =
    image instanceof Blob
      ? decode(image)
      : image instanceof ImageData
        ? createImageBitmap(image)
        : image;
  const canvas = draw(drawable instanceof Promise ? await drawable : drawable, flip);
  return canvas.convertToBlob({ type, quality: 0.95 }).catch(({ message }) => {
    throw new Error(
      `the pixels may not be read (${message}): load the image from this page's origin or with crossorigin`,
    );
  });
}

export function decode(file: Blob): Promise<ImageBitmap> {
  return createImageBitmap(file).catch(() => {
    throw new Error(
      `this browser cannot read the image (${file.type || "no type"}, ${file.size} bytes)`,
    );
  });
}

/** @param canvas an empty one */
export function draw(
  image: Exclude<ImageLike, ImageData | Blob>,
  flip: boolean,
  canvas: OffscreenCanvas = new OffscreenCanvas(1, 1),
): OffscreenCanvas {
  const [width, height] = sizeOf(image);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  context.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

/** Return width and height as tfjs does: an <img> has its displayed size. */
function sizeOf(image: any) {
  if (typeof image?.dataSync === "function") {
    throw new Error(
      "a tensor cannot be sent: give the image it was made from, " +
        "or draw it with tf.browser.toPixels(tensor, canvas)",
    );
  }
  const kinds = [
    HTMLImageElement,
    HTMLVideoElement,
    HTMLCanvasElement,
    OffscreenCanvas,
    ImageBitmap,
  ];
  if (!kinds.some((kind) => image instanceof kind)) {
    const known = kinds.map(({ name }) => name).join(", ");
    throw new Error(
      `a ${image?.constructor?.name ?? typeof image} is not an image; known: ${known}, ImageData or Blob`,
    );
  }
  const size =
    image instanceof HTMLVideoElement
      ? [image.videoWidth, image.videoHeight]
      : [image.width, image.height];
  if (
    size.includes(0) ||
    (image instanceof HTMLVideoElement && image.readyState < image.HAVE_CURRENT_DATA)
  ) {
    throw new Error(
      "the image is empty: wait until the image or video has loaded " +
        "(image.decode(), the event loadeddata)",
    );
  }
  return size;
}

type Pairs = number[][];
export type Skeletons = {
  hand: { connections: Pairs };
  body: { connections: Pairs; keypoints: string[] };
  mesh: { triangles: Pairs };
  face: { groups: Record<string, number[]> };
};

/** @param skeletons as they are in src/sonjit/results/skeletons */
export function skeletonHelpers({ hand, face, mesh, body }: Skeletons) {
  const pairs: Record<string, Pairs> = {
    MediaPipeHands: hand.connections,
    MediaPipeFaceMesh: mesh.triangles.flatMap((triangle) =>
      [0, 1, 2].map((k) => [triangle[k]!, triangle[(k + 1) % 3]!]),
    ),
    BlazePose: body.connections,
  };
  return Object.freeze({
    /**
     * Return the pairs of keypoints to connect with lines: bones, or the sides of the triangles of
     * a face mesh.
     *
     * @param model of SupportedModels
     */
    getAdjacentPairs: (model: string) => structuredClone(of(pairs, model)),
    /**
     * Return the keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye,
     * rightEyebrow, rightIris, faceOval.
     *
     * @param model "MediaPipeFaceMesh"
     */
    getKeypointIndexByContour: (model: string) =>
      structuredClone(of({ MediaPipeFaceMesh: face.groups }, model)),
    /**
     * Return the keypoints of each side: left, right, middle.
     *
     * @param model "BlazePose"
     */
    getKeypointIndexBySide: (model: string) =>
      structuredClone(of({ BlazePose: sides(body.keypoints) }, model)),
    /**
     * Return the index of each keypoint by its name.
     *
     * @param model "BlazePose"
     */
    getKeypointIndexByName: (model: string) =>
      of({ BlazePose: Object.fromEntries(body.keypoints.map((name, i) => [name, i])) }, model),
  });
}

export const calculators = Object.freeze({
  /**
   * Convert keypoints to fractions of the image's size; z has the scale of x.
   *
   * @param keypoints in pixels
   * @param size of the image
   */
  keypointsToNormalizedKeypoints: <P extends { x: number; y: number; z?: number }>(
    keypoints: readonly P[],
    { width, height }: { width: number; height: number },
  ): P[] =>
    keypoints.map((point) => ({
      ...point,
      x: point.x / width,
      y: point.y / height,
      ...(point.z === undefined ? {} : { z: point.z / width }),
    })),
});

function sides(names: string[]) {
  const positions = (wanted: string | null) =>
    names.flatMap((name, i) =>
      (/(?:^|_)(left|right)(?:_|$)/.exec(name)?.[1] ?? null) === wanted ? [i] : [],
    );
  return { left: positions("left"), right: positions("right"), middle: positions(null) };
}

function of<T>(table: Record<string, T>, model: string): T {
  if (!Object.hasOwn(table, model))
    throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model]!;
}
