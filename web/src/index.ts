/**
 * tfjs-models' hands inside a page, with the import changed:
 *
 *     import * as handPoseDetection from "sonjit-web";
 */

import { openDetector } from "../../src/sonjit/server/page/tfjs-detector.js";
import type { ImageLike } from "../../src/sonjit/server/page/tfjs-images.js";
import { skeletonHelpers } from "../../src/sonjit/server/page/tfjs-skeletons.js";
import body from "../../src/sonjit/skeletons/body_blazepose33.json";
import face from "../../src/sonjit/skeletons/face_mediapipe478.json";
import mesh from "../../src/sonjit/skeletons/face_mediapipe_tesselation.json";
import hand from "../../src/sonjit/skeletons/hand_mediapipe21.json";
import { LocalDetector, type Files } from "./local.js";
import type { DetectorOptions } from "./options.js";

export { SupportedModels } from "../../src/sonjit/server/page/tfjs-detector.js";
export { LocalDetector, type Files, type LocalAnswer } from "./local.js";
export type { DetectorOptions } from "./options.js";
export type { ImageLike };

export const util = skeletonHelpers({ hand, face, mesh, body });

export interface Keypoint {
  x: number;
  y: number;
  z?: number;
  name?: string;
}

export interface Hand {
  keypoints: Keypoint[];
  keypoints3D: Keypoint[];
  handedness: "Left" | "Right";
  score: number;
}

/** Of each call; createDetector takes them too, for all. */
export interface EstimationConfig {
  flipHorizontal?: boolean;
  staticImageMode?: boolean;
}

export interface HandsConfig extends Files, EstimationConfig {
  /** Ignored: there is one. */
  runtime?: "tfjs" | "mediapipe";
  solutionPath?: string;
  modelType?: "lite" | "full";
  maxHands?: number;
  /** "tfjs" takes every image for a selfie view; "own" gives the person's own hand. */
  handedness?: "tfjs" | "own";
}

export interface HandDetector {
  /** Hands in an image, or in the next one of a stream; `timestamp` in ms, by default that of the video. */
  estimateHands(image: ImageLike | null, config?: EstimationConfig | null, timestamp?: number): Promise<Hand[]>;
  reset(): void;
  dispose(): void;
}

/** A detector; it is ready, and its networks are loaded, when the promise is kept. */
export function createDetector(model: "MediaPipeHands", config?: HandsConfig | null): Promise<HandDetector> {
  return openDetector(model, config as Record<string, unknown> | null | undefined, {
    where: "the page",
    own: ["base", "detectorModelUrl", "landmarkModelUrl"],
    open: async (files, { kind, ...options }) => {
      const detector = await LocalDetector.create(kind, options as DetectorOptions, files);
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
  }) as unknown as Promise<HandDetector>;
}
