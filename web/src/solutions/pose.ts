/**
 * Replace MediaPipe Pose in a page. Change only the import:
 *
 *     import { Pose, POSE_CONNECTIONS } from "sonjit-web/pose";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import {
  Solution,
  bodyOptions,
  bodyResults,
  type LandmarkList,
  type NormalizedLandmarkList,
  type PoseOptions as Options,
} from "./solution.js";

export {
  POSE_CONNECTIONS,
  POSE_LANDMARKS,
  POSE_LANDMARKS_LEFT,
  POSE_LANDMARKS_NEUTRAL,
  POSE_LANDMARKS_RIGHT,
} from "./solution.js";
export type * from "./solution.js";
export type { SolutionConfig as PoseConfig } from "./solution.js";
export type ResultsListener = (results: Results) => Promise<void> | void;
export type { Options };

/** Version of the replaced package. */
export const VERSION = "0.5.1675469404";

/**
 * Results of one image. Fields are undefined if they were not found or not requested, although
 * MediaPipe's types omit that.
 */
export interface Results {
  poseLandmarks: NormalizedLandmarkList;
  poseWorldLandmarks: LandmarkList;
  /** Red and alpha are the person's probability. */
  segmentationMask: ImageBitmap;
  image: HTMLCanvasElement;
}

/** Detects the body of one person. */
export class Pose extends Solution<Options, Results> {
  protected readonly kind = "body";

  protected detectorOptions(): DetectorOptions {
    return bodyOptions(this.options);
  }

  protected async results(found: LocalAnswer, image: HTMLCanvasElement): Promise<Results> {
    const [body] = found.bodies!;
    return { ...(body && (await bodyResults(body, found))), image } as Results;
  }
}
