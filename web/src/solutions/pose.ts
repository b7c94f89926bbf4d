/**
 * MediaPipe Pose inside a page, with the import changed:
 *
 *     import { Pose, POSE_CONNECTIONS } from "sonjit-web/pose";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import {
  Solution,
  bodyOptions,
  inImage,
  inMetres,
  maskImage,
  type LandmarkList,
  type NormalizedLandmarkList,
  type PoseOptions as Options,
  type SolutionConfig,
} from "./solution.js";

export { POSE_CONNECTIONS, POSE_LANDMARKS, POSE_LANDMARKS_LEFT, POSE_LANDMARKS_NEUTRAL, POSE_LANDMARKS_RIGHT } from "./connections.js";
export type * from "./solution.js";
export type { Options };

/** Version of the package whose behaviour this follows. */
export const VERSION = "0.5.1675469404";

/** The person of one image; undefined for what was not found or asked for. */
export interface Results {
  poseLandmarks?: NormalizedLandmarkList;
  poseWorldLandmarks?: LandmarkList;
  /** Red and alpha are the person's probability. */
  segmentationMask?: ImageBitmap;
  image: HTMLCanvasElement;
}

/** Finds the body of a person. */
export class Pose extends Solution<Options, Results> {
  constructor(_config: SolutionConfig = {}) {
    super({});
  }

  protected kind(): string {
    return "body";
  }

  protected detectorOptions(): DetectorOptions {
    return bodyOptions(this.options);
  }

  protected async results(found: LocalAnswer, image: HTMLCanvasElement): Promise<Results> {
    const [body] = found.bodies!;
    if (!body) return { image };
    const segmentationMask = await maskImage(body, found);
    return {
      poseLandmarks: inImage(body.keypoints, found),
      poseWorldLandmarks: inMetres(body.keypoints3D),
      ...(segmentationMask && { segmentationMask }),
      image,
    };
  }
}
