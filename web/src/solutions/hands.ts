/**
 * Replace MediaPipe Hands in a page. Change only the import:
 *
 *     import { Hands, HAND_CONNECTIONS } from "sonjit-web/hands";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import {
  Solution,
  inImage,
  inMetres,
  type LandmarkListList,
  type NormalizedLandmarkListList,
  type SolutionOptions,
} from "./solution.js";

export { HAND_CONNECTIONS } from "./solution.js";
export type * from "./solution.js";
export type { SolutionConfig as HandsConfig } from "./solution.js";
export type ResultsListener = (results: Results) => Promise<void> | void;

/** Version of the replaced package. */
export const VERSION = "0.4.1675469240";

export type Options = SolutionOptions & { maxNumHands?: number; modelComplexity?: 0 | 1 };

/** `label`: side in a selfie view. */
export type Handedness = { index: number; score: number; label: "Right" | "Left" };

export type Results = {
  multiHandLandmarks: NormalizedLandmarkListList;
  multiHandWorldLandmarks: LandmarkListList;
  multiHandedness: Handedness[];
  image: HTMLCanvasElement;
};

/** Detects hands. */
export class Hands extends Solution<Options, Results> {
  protected readonly kind = "hands";

  protected detectorOptions(): DetectorOptions {
    const { maxNumHands = 2, modelComplexity = 1 } = this.options;
    return { model: modelComplexity ? "full" : "lite", max_instances: maxNumHands, mirrored: true };
  }

  protected results(found: LocalAnswer, image: HTMLCanvasElement): Results {
    const hands = this.order.sort(found.hands!);
    return {
      multiHandLandmarks: hands.map(({ keypoints }) => inImage(keypoints, found)),
      multiHandWorldLandmarks: hands.map(({ keypoints3D }) => inMetres(keypoints3D)),
      multiHandedness: hands.map(({ handedness, handednessScore }) => ({
        index: handedness === "Left" ? 0 : 1,
        score: handednessScore,
        label: handedness,
      })),
      image,
    };
  }
}
