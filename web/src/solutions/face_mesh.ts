/**
 * Replace MediaPipe Face Mesh in a page. Change only the import:
 *
 *     import { FaceMesh, FACEMESH_TESSELATION } from "sonjit-web/face_mesh";
 */

import type { LocalAnswer } from "../local.js";
import type { DetectorOptions } from "../options.js";
import {
  Solution,
  inImage,
  type NormalizedLandmarkListList,
  type SolutionOptions,
} from "./solution.js";

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
} from "./solution.js";
export type * from "./solution.js";
export type { SolutionConfig as FaceMeshConfig } from "./solution.js";
export type ResultsListener = (results: Results) => Promise<void> | void;

/** Version of the replaced package. */
export const VERSION = "0.4.1657299874";

/** Enumerations of face geometry, and its default camera. */
export const FACE_GEOMETRY = {
  Layout: { COLUMN_MAJOR: 0, ROW_MAJOR: 1, 0: "COLUMN_MAJOR", 1: "ROW_MAJOR" },
  PrimitiveType: { TRIANGLE: 0, 0: "TRIANGLE" },
  VertexType: { VERTEX_PT: 0, 0: "VERTEX_PT" },
  DEFAULT_CAMERA_PARAMS: { verticalFovDegrees: 63, near: 1, far: 10000 },
} as const;

/** A matrix of MediaPipe's messages. */
export interface MatrixData {
  getPackedDataList(): number[];
  getRows(): number;
  getCols(): number;
  /** A value of `FACE_GEOMETRY.Layout`. */
  getLayout(): number;
}

/** Return the rows of a matrix. */
export function matrixDataToMatrix(matrix: MatrixData): number[][] {
  const [rows, columns, data] = [matrix.getRows(), matrix.getCols(), matrix.getPackedDataList()];
  const isByRow = matrix.getLayout() === FACE_GEOMETRY.Layout.ROW_MAJOR;
  const at = (row: number, column: number) =>
    data[isByRow ? row * columns + column : column * rows + row]!;
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (__, column) => at(row, column)),
  );
}

export interface Options extends SolutionOptions {
  maxNumFaces?: number;
  /** 478 landmarks with lips, eyes and irises instead of 468. */
  refineLandmarks?: boolean;
}

export type Results = { multiFaceLandmarks: NormalizedLandmarkListList; image: HTMLCanvasElement };

/** Detects face meshes. */
export class FaceMesh extends Solution<Options, Results> {
  protected readonly kind = "face";

  protected detectorOptions(): DetectorOptions {
    const { maxNumFaces = 1, refineLandmarks = false } = this.options;
    return { model: refineLandmarks ? "attention" : "mesh", max_instances: maxNumFaces };
  }

  protected results(found: LocalAnswer, image: HTMLCanvasElement): Results {
    return {
      multiFaceLandmarks: this.order
        .sort(found.faces!)
        .map(({ keypoints }) => inImage(keypoints, found)),
      image,
    };
  }
}
