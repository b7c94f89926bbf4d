/** Base of the packages of MediaPipe's solutions. */

import { keypoints as BODY_NAMES } from "../../../src/sonjit/results/skeletons/body_blazepose33.json";
import { draw, segmentationFrom } from "../tfjs.js";
import { hasFile } from "../files.js";
import { LocalDetector, type Files, type LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import type { Body, NamedPoint, Segmentation } from "../results.js";
import {
  FACE as FACE_LINES,
  HAND_CONNECTIONS as HAND_LINES,
  POSE_CONNECTIONS as POSE_LINES,
  type Connection,
} from "../tasks/drawing.js";
import { InstanceOrder } from "../tracking.js";

const MODELS = ["lite", "full", "heavy"] as const;
const WORKER = "sonjit-web-worker.js";

export type InputImage = HTMLVideoElement | HTMLImageElement | HTMLCanvasElement;

export type InputMap = { image: InputImage };

/** A point as fractions of the image, or in metres. */
export type NormalizedLandmark = { x: number; y: number; z: number; visibility?: number };

export type NormalizedLandmarkList = NormalizedLandmark[];
export type NormalizedLandmarkListList = NormalizedLandmarkList[];
export type Landmark = NormalizedLandmark;
export type LandmarkList = Landmark[];
export type LandmarkListList = LandmarkList[];
export type ResultsListener<R> = (results: R) => Promise<void> | void;

/**
 * `locateFile` returns the address of a file. If Sonjit's worker is there, all of its files are
 * loaded from that folder. By default, and for MediaPipe's folders, they are next to this module.
 */
export type SolutionConfig = { locateFile?: (path: string, prefix?: string) => string };

export interface SolutionOptions {
  /** Flip images before they are processed. */
  selfieMode?: boolean;
  minDetectionConfidence?: number;
  minTrackingConfidence?: number;
}

/** Options of bodies and people. */
export interface PoseOptions extends SolutionOptions {
  modelComplexity?: 0 | 1 | 2;
  smoothLandmarks?: boolean;
  enableSegmentation?: boolean;
  smoothSegmentation?: boolean;
}

/** Base of the solutions: `send` takes images, a listener gets the results. */
export abstract class Solution<Options extends SolutionOptions, Results> {
  protected abstract readonly kind: string;
  protected options = {} as Options;
  /** MediaPipe places new hands and faces before the others. */
  protected readonly order = new InstanceOrder({ newFirst: true });
  #listener: ResultsListener<Results> | null = null;
  #detector: Promise<LocalDetector> | null = null;
  #openedWith = "";
  readonly #config: SolutionConfig;

  constructor(config: SolutionConfig = {}) {
    this.#config = config;
  }

  protected abstract detectorOptions(): DetectorOptions;

  /** Names of published networks that replace those of the model. */
  protected networks(): NonNullable<Files["networks"]> {
    return {};
  }

  protected abstract results(
    found: LocalAnswer,
    image: HTMLCanvasElement,
  ): Results | Promise<Results>;

  /** Change some options from the next image on. */
  setOptions(options: Options): void {
    this.options = { ...this.options, ...options };
  }

  /** Set the function that gets the results of each image. */
  onResults(listener: ResultsListener<Results>): void {
    this.#listener = listener;
  }

  /** Load the networks. */
  async initialize(): Promise<void> {
    await this.#open();
  }

  /**
   * Process the next image of a stream and call the listener; `at`: its time in milliseconds, by
   * default now.
   */
  async send({ image }: InputMap, at = performance.now()): Promise<void> {
    const copy = document.createElement("canvas");
    const drawn = draw(image, this.options.selfieMode ?? false);
    [copy.width, copy.height] = [drawn.width, drawn.height];
    copy.getContext("2d")!.drawImage(drawn, 0, 0);
    const detector = await this.#open();
    const found = await detector.track(drawn, { time: at / 1000 });
    await this.#listener?.(await this.results(found, copy));
  }

  /** Forget all tracked instances. The next image starts a new stream. */
  reset(): void {
    this.order.reset();
    void this.#detector?.then((detector) => detector.reset()).catch(() => {});
  }

  /** Free the networks. */
  async close(): Promise<void> {
    const detector = this.#detector;
    this.#detector = null;
    await closed(detector);
  }

  async #open(): Promise<LocalDetector> {
    const { minDetectionConfidence = 0.5, minTrackingConfidence = 0.5 } = this.options;
    const options: DetectorOptions = {
      search: "fast",
      smoothing: "published",
      min_detection_score: minDetectionConfidence,
      min_presence_score: minTrackingConfidence,
      ...this.detectorOptions(),
    };
    // MediaPipe's packages run on the graphics card
    const files: Files = { samplesCentres: true, searchesParts: true, networks: this.networks() };
    const key = JSON.stringify([options, files]);
    if (this.#detector === null || key !== this.#openedWith) {
      void closed(this.#detector);
      this.order.reset();
      this.#openedWith = key;
      const detector = this.#create(options, files);
      this.#detector = detector;
      detector.catch(() => {
        if (this.#detector === detector) this.#detector = null; // the next call tries again
      });
    }
    return this.#detector;
  }

  async #create(options: DetectorOptions, files: Files): Promise<LocalDetector> {
    const place = await folderOf(this.#config);
    return LocalDetector.create(this.kind, options, { ...files, ...place });
  }
}

/** End a detector when it is loaded. */
async function closed(detector: Promise<LocalDetector> | null): Promise<void> {
  (await detector?.catch(() => null))?.close();
}

/** Return the folder that a page names if it has Sonjit's files, which MediaPipe's folders lack. */
async function folderOf({ locateFile }: SolutionConfig): Promise<Pick<Files, "base">> {
  const address = locateFile?.(WORKER, "") ?? WORKER;
  if (address === WORKER || /@mediapipe\//.test(address)) return {};
  const worker = new URL(address, document.baseURI).href;
  return (await hasFile(worker)) ? { base: new URL(".", worker).href } : {};
}

/** Return the options of a detector of bodies or people. */
export function bodyOptions(options: PoseOptions): DetectorOptions {
  const {
    modelComplexity = 1,
    smoothLandmarks = true,
    enableSegmentation = false,
    smoothSegmentation = true,
  } = options;
  const masks = { segmentation: enableSegmentation, smooth_segmentation: smoothSegmentation };
  return {
    model: MODELS[modelComplexity],
    max_instances: 1,
    smoothing: smoothLandmarks ? "published" : "none",
    ...masks,
  };
}

/** Convert points in pixels to fractions of the image. */
export function inImage(
  points: readonly (NamedPoint & { score?: number })[],
  { width, height }: Pick<LocalAnswer, "width" | "height">,
): NormalizedLandmarkList {
  return points.map(({ x, y, z, score }) => ({
    x: x / width,
    y: y / height,
    z: (z ?? 0) / width,
    ...(score !== undefined && { visibility: score }),
  }));
}

/** Convert points in metres. */
export const inMetres = (points: Parameters<typeof inImage>[0]): LandmarkList =>
  inImage(points, { width: 1, height: 1 });

/**
 * Return the landmarks of a body and, if there is one, its mask in the image's size, whose red and
 * alpha are the person's probability.
 */
export async function bodyResults(body: Body, found: LocalAnswer) {
  const segmentation =
    "segmentation" in body && segmentationFrom(body.segmentation as Segmentation, found);
  return {
    poseLandmarks: inImage(body.keypoints, found),
    poseWorldLandmarks: inMetres(body.keypoints3D),
    ...(segmentation && {
      segmentationMask: await createImageBitmap(await segmentation.mask.toImageData()),
    }),
  };
}

export type LandmarkConnectionArray = [number, number][];

const pairs = (lines: readonly Connection[]): LandmarkConnectionArray =>
  lines.map(({ start, end }) => [start, end]);

export const HAND_CONNECTIONS = pairs(HAND_LINES);
export const POSE_CONNECTIONS = pairs(POSE_LINES);
export const FACEMESH_LIPS = pairs(FACE_LINES.LIPS);
export const FACEMESH_LEFT_EYE = pairs(FACE_LINES.LEFT_EYE);
export const FACEMESH_LEFT_EYEBROW = pairs(FACE_LINES.LEFT_EYEBROW);
export const FACEMESH_LEFT_IRIS = pairs(FACE_LINES.LEFT_IRIS);
export const FACEMESH_RIGHT_EYE = pairs(FACE_LINES.RIGHT_EYE);
export const FACEMESH_RIGHT_EYEBROW = pairs(FACE_LINES.RIGHT_EYEBROW);
export const FACEMESH_RIGHT_IRIS = pairs(FACE_LINES.RIGHT_IRIS);
export const FACEMESH_FACE_OVAL = pairs(FACE_LINES.FACE_OVAL);
export const FACEMESH_CONTOURS = pairs(FACE_LINES.CONTOURS);
export const FACEMESH_TESSELATION = pairs(FACE_LINES.TESSELATION);

/** MediaPipe's packages give both corners of the mouth these names. */
const MOUTH: Readonly<Record<string, string>> = {
  mouth_left: "LEFT_RIGHT",
  mouth_right: "RIGHT_LEFT",
};
const POSE_NAMES = BODY_NAMES.map(
  (name, index) => [MOUTH[name] ?? name.toUpperCase(), index] as const,
);
const namedAs = (pattern: RegExp): Record<string, number> =>
  Object.fromEntries(POSE_NAMES.filter(([name]) => pattern.test(name)));

export const POSE_LANDMARKS = namedAs(/./);
export const POSE_LANDMARKS_LEFT = namedAs(/^LEFT_/);
export const POSE_LANDMARKS_RIGHT = namedAs(/^RIGHT_/);
export const POSE_LANDMARKS_NEUTRAL = namedAs(/^NOSE$/);
