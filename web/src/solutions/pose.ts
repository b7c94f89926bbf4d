/**
 * MediaPipe Pose inside a page, with the import changed:
 *
 *     import { Pose, POSE_CONNECTIONS } from "sonjit-web/pose";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import {
  Solution,
  inImage,
  inMetres,
  maskImage,
  type LandmarkList,
  type NormalizedLandmarkList,
  type SolutionConfig,
  type SolutionOptions,
} from "./solution.js";

export { POSE_CONNECTIONS } from "./connections.js";
export type * from "./solution.js";

const MODELS = ["lite", "full", "heavy"] as const;

export interface Options extends SolutionOptions {
  modelComplexity?: 0 | 1 | 2;
  smoothLandmarks?: boolean;
  enableSegmentation?: boolean;
  smoothSegmentation?: boolean;
}

/** The person of one image; undefined for what was not found or asked for. */
export interface Results {
  poseLandmarks?: NormalizedLandmarkList;
  poseWorldLandmarks?: LandmarkList;
  /** Red and alpha are the person's probability. */
  segmentationMask?: ImageBitmap;
  image: HTMLCanvasElement;
}

/** The options of a detector of bodies or people. */
export function bodyOptions(options: Options): DetectorOptions {
  const { modelComplexity = 1, smoothLandmarks = true, enableSegmentation = false, smoothSegmentation = true } = options;
  const masks = { segmentation: enableSegmentation, smooth_segmentation: smoothSegmentation };
  return { model: MODELS[modelComplexity], max_instances: 1, smoothing: smoothLandmarks ? "published" : "none", ...masks };
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
    const segmentationMask = await maskImage(body);
    return {
      poseLandmarks: inImage(body.keypoints, found),
      poseWorldLandmarks: inMetres(body.keypoints3D),
      ...(segmentationMask && { segmentationMask }),
      image,
    };
  }
}
