/**
 * MediaPipe Face Mesh inside a page, with the import changed:
 *
 *     import { FaceMesh, FACEMESH_TESSELATION } from "sonjit-web/face_mesh";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import { Solution, inImage, type NormalizedLandmarkListList, type SolutionConfig, type SolutionOptions } from "./solution.js";

export {
  FACEMESH_CONTOURS,
  FACEMESH_FACE_OVAL,
  FACEMESH_LEFT_EYE,
  FACEMESH_LEFT_EYEBROW,
  FACEMESH_LEFT_IRIS,
  FACEMESH_LIPS,
  FACEMESH_RIGHT_EYE,
  FACEMESH_RIGHT_EYEBROW,
  FACEMESH_RIGHT_IRIS,
  FACEMESH_TESSELATION,
} from "./connections.js";
export type * from "./solution.js";

/** Version of the package whose behaviour this follows. */
export const VERSION = "0.4.1657299874";

export interface Options extends SolutionOptions {
  maxNumFaces?: number;
  /** 478 landmarks with lips, eyes and irises instead of 468. */
  refineLandmarks?: boolean;
}

export interface Results {
  multiFaceLandmarks: NormalizedLandmarkListList;
  image: HTMLCanvasElement;
}

/** Finds the meshes of faces. */
export class FaceMesh extends Solution<Options, Results> {
  constructor(_config: SolutionConfig = {}) {
    super({});
  }

  protected kind(): string {
    return "face";
  }

  protected detectorOptions(): DetectorOptions {
    const { maxNumFaces = 1, refineLandmarks = false } = this.options;
    return { model: refineLandmarks ? "attention" : "mesh", max_instances: maxNumFaces };
  }

  protected results(found: LocalAnswer, image: HTMLCanvasElement): Results {
    return { multiFaceLandmarks: found.faces!.map(({ keypoints }) => inImage(keypoints, found)), image };
  }
}
