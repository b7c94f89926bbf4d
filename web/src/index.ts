/**
 * Replace tfjs-models' packages for hands, faces and poses in a page. Change only the import:
 *
 *     import * as handPoseDetection from "sonjit-web";
 */

import { openDetector, skeletonHelpers, type ImageLike } from "./tfjs.js";
import { LocalDetector, type Files } from "./local.js";
import type { DetectorOptions } from "./options.js";
import type { Box, Event, Gesture, MotionEvent, NamedPoint } from "./results.js";
import body from "../../src/sonjit/results/skeletons/body_blazepose33.json";
import face from "../../src/sonjit/results/skeletons/face_mediapipe478.json";
import mesh from "../../src/sonjit/results/skeletons/face_mediapipe_tesselation.json";
import hand from "../../src/sonjit/results/skeletons/hand_mediapipe21.json";

export { SupportedModels, calculators } from "./tfjs.js";
export { measuresOfInstance } from "./measures.js";
export { LocalDetector, classify, type Files, type LocalAnswer } from "./local.js";
export type { ImageClass } from "./classes.js";
export type { Covered } from "./search/bystanders.js";
export type { DetectorOptions, LocalOptions } from "./options.js";
export type { Event, MotionEvent, Phase, StreamEnd } from "./results.js";
export type { ImageLike };

export const util = skeletonHelpers({ hand, face, mesh, body });

export type Keypoint = Omit<NamedPoint, "errorPx">;

export interface Hand {
  keypoints: Keypoint[];
  keypoints3D: Keypoint[];
  handedness: "Left" | "Right";
  score: number;
  /** Gesture of the hand, only with `gestures`; null for unknown gestures. */
  gesture?: Gesture | null;
}

export type {
  HandsConfig as MediaPipeHandsMediaPipeModelConfig,
  HandsConfig as MediaPipeHandsTfjsModelConfig,
  PosesConfig as BlazePoseMediaPipeModelConfig,
  PosesConfig as BlazePoseTfjsModelConfig,
};
export type {
  FaceMeshConfig as MediaPipeFaceMeshMediaPipeModelConfig,
  FaceMeshConfig as MediaPipeFaceMeshTfjsModelConfig,
  FaceBoxesConfig as MediaPipeFaceDetectorMediaPipeModelConfig,
  FaceBoxesConfig as MediaPipeFaceDetectorTfjsModelConfig,
};
/** Options of a call. `createDetector` also accepts them, for all calls. */
export type EstimationConfig = { flipHorizontal?: boolean; staticImageMode?: boolean };

interface Config extends Files, EstimationConfig {
  /**
   * Both values use the same runtime. `"mediapipe"` samples crops as MediaPipe does on graphics
   * cards.
   */
  runtime?: "tfjs" | "mediapipe";
  solutionPath?: string;
}

export interface HandsConfig extends Config {
  modelType?: "lite" | "full";
  maxHands?: number;
  /**
   * Side in results: "tfjs" treats every image as a selfie view, "own" reports the person's own
   * hand.
   */
  handedness?: "tfjs" | "own";
  /**
   * In addition to tfjs-models: add a `gesture` to each hand, and `motions` and `events` to
   * streams. `gesturesUrl` adds custom gestures.
   */
  gestures?: "none" | "canned" | "asl";
}

interface AnyDetector {
  reset(): void;
  dispose(): void;
}

export interface HandDetector extends AnyDetector {
  /**
   * Find the hands in an image, or in the next image of a stream. With `gestures`, streams also
   * have `motions` and `events`. `timestamp`: milliseconds, by default that of the video.
   */
  estimateHands(
    image: ImageLike | null,
    config?: EstimationConfig | null,
    timestamp?: number,
  ): Promise<Hand[] & { motions?: MotionEvent[]; events?: Event[] }>;
}

/** Keypoint with its visibility as score. */
export type PoseKeypoint = Keypoint & { score: number };

export interface Pose {
  score: number;
  keypoints: PoseKeypoint[];
  keypoints3D: PoseKeypoint[];
  /**
   * Mask of the person, only with `enableSegmentation`. As in tfjs-models, red and alpha are the
   * person's probability.
   */
  segmentation?: {
    maskValueToLabel(value: number): string;
    mask: {
      toImageData(): Promise<ImageData>;
      toCanvasImageSource(): Promise<HTMLCanvasElement>;
      toTensor(): Promise<object>;
      getUnderlyingType(): string;
    };
  };
}

export interface PosesConfig extends Config {
  modelType?: "lite" | "full" | "heavy";
  enableSmoothing?: boolean;
  enableSegmentation?: boolean;
  smoothSegmentation?: boolean;
}

export interface PoseDetector extends AnyDetector {
  /** Find bodies, see `estimateHands`; `maxPoses`: maximum number in this call, by default 1. */
  estimatePoses(
    image: ImageLike | null,
    config?: (EstimationConfig & { maxPoses?: number }) | null,
    timestamp?: number,
  ): Promise<Pose[]>;
}

export type Face = { keypoints: Keypoint[]; box: Box };

type FacesConfig = Config & { maxFaces?: number };

export interface FaceMeshConfig extends FacesConfig {
  /** 478 keypoints with lips, eyes and irises instead of 468. */
  refineLandmarks?: boolean;
}

export type FaceBoxesConfig = FacesConfig & { modelType?: "short" | "full" };

export interface FaceDetector extends AnyDetector {
  /** Find faces, see `estimateHands`. */
  estimateFaces(
    image: ImageLike | null,
    config?: EstimationConfig | null,
    timestamp?: number,
  ): Promise<Face[]>;
}

/** Create a detector. The promise resolves when its networks are loaded. */
export function createDetector(
  model: "MediaPipeHands",
  config?: HandsConfig | null,
): Promise<HandDetector>;
export function createDetector(
  model: "MediaPipeFaceMesh",
  config?: FaceMeshConfig | null,
): Promise<FaceDetector>;
export function createDetector(
  model: "MediaPipeFaceDetector",
  config?: FaceBoxesConfig | null,
): Promise<FaceDetector>;
export function createDetector(
  model: "BlazePose",
  config?: PosesConfig | null,
): Promise<PoseDetector>;
export function createDetector(model: string, config?: object | null): Promise<AnyDetector> {
  return openDetector(model, config as Record<string, unknown> | null | undefined, {
    where: "the page",
    own: ["accelerator", "base", "detectorModelUrl", "landmarkModelUrl", "gesturesUrl"],
    open: async (files, { kind, ...options }) => {
      // its packages run on the graphics card
      const samplesCentres = (config as Config | null | undefined)?.runtime === "mediapipe";
      const detector = await LocalDetector.create(kind, options as DetectorOptions, {
        samplesCentres,
        ...files,
      });
      const configured = (wanted: { kind: string }) => {
        const { kind: _, ...others } = wanted;
        detector.configure(others as DetectorOptions);
        return detector;
      };
      return {
        detect: (image, { wanted, flip }) => configured(wanted).detect(image, { flip }),
        track: (image, { wanted, flip, time }) => configured(wanted).track(image, { flip, time }),
        reset: () => detector.reset(),
        close: () => detector.close(),
      };
    },
  });
}
