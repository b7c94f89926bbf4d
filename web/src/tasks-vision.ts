/**
 * Replace MediaPipe's vision tasks in a page. Change only the import:
 *
 *     import { FilesetResolver, HandLandmarker } from "sonjit-web/tasks-vision";
 */

export * from "./tasks/drawing.js";
export * from "./tasks/landmarkers.js";
export { MPMask } from "./tasks/results.js";
export type {
  BoundingBox,
  Category,
  Classifications,
  Detection,
  DetectionResult,
  DetectionResult as FaceDetectorResult,
  DetectionResult as ObjectDetectorResult,
} from "./tasks/results.js";
export type { Landmark, Matrix, NormalizedKeypoint, NormalizedLandmark } from "./tasks/results.js";
export {
  FilesetResolver,
  type BaseOptions,
  type Callback,
  type ImageProcessingOptions,
  type ImageSource,
  type VisionTaskOptions,
  type WasmFileset,
} from "./tasks/runner.js";
export * from "./tasks/segmenter.js";
export * from "./tasks/uncovered.js";
