/**
 * Replace MediaPipe Holistic in a page. Change only the import:
 *
 *     import { Holistic } from "sonjit-web/holistic";
 */

import type { Files, LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import type { Results as PoseResults } from "./pose.js";
import {
  Solution,
  bodyOptions,
  bodyResults,
  inImage,
  type LandmarkList,
  type NormalizedLandmarkList,
  type PoseOptions,
} from "./solution.js";

export * from "./solution.js";
export type * from "./solution.js";
export type { SolutionConfig as HolisticConfig } from "./solution.js";
export type ResultsListener = (results: Results) => Promise<void> | void;

/** Version of the replaced package. */
export const VERSION = "0.5.1675471629";

export interface Options extends PoseOptions {
  /** 478 landmarks of the face with irises instead of 468. */
  refineFaceLandmarks?: boolean;
}

/**
 * Results of one image. Fields are undefined if they were not found or not requested, although
 * MediaPipe's types omit that.
 */
export interface Results extends PoseResults {
  /** `poseWorldLandmarks` under the minified name in MediaPipe's package, which pages read. */
  za?: LandmarkList;
  faceLandmarks: NormalizedLandmarkList;
  leftHandLandmarks: NormalizedLandmarkList;
  rightHandLandmarks: NormalizedLandmarkList;
}

/** Detects one person with hands and face. */
export class Holistic extends Solution<Options, Results> {
  protected readonly kind = "holistic";

  protected detectorOptions(): DetectorOptions {
    return bodyOptions(this.options);
  }

  protected override networks(): NonNullable<Files["networks"]> {
    return {
      hand: "hand-full",
      face: this.options.refineFaceLandmarks ? "face-attention" : "face-mesh",
    };
  }

  protected async results(found: LocalAnswer, image: HTMLCanvasElement): Promise<Results> {
    const [person] = found.people!;
    if (!person) return { image } as Results;
    const { body, face, leftHand, rightHand } = person;
    const pose = await bodyResults(body, found);
    return {
      ...pose,
      za: pose.poseWorldLandmarks,
      ...(face && { faceLandmarks: inImage(face.keypoints, found) }),
      ...(leftHand && { leftHandLandmarks: inImage(leftHand.keypoints, found) }),
      ...(rightHand && { rightHandLandmarks: inImage(rightHand.keypoints, found) }),
      image,
    } as Results;
  }
}
