/** Tasks that pages can import and that cannot be created, with their types. */

import type { ClassifierOptions } from "./landmarkers.js";
import type { Classifications, DetectionResult, MPMask, NormalizedKeypoint } from "./results.js";
import type {
  Callback,
  ImageProcessingOptions,
  ImageSource,
  ModelBuffer,
  VisionTaskOptions,
  WasmFileset,
  WithCallback,
} from "./runner.js";
import { ImageSegmenterResult, type ImageSegmenterOptions } from "./segmenter.js";

interface Task<Options> {
  setOptions(options: Options): Promise<void>;
  enableLogging(options: VisionTaskOptions): void;
  close(): void;
}
type ImageTask<Options, Method extends string, R> = Task<Options> &
  Record<Method, (image: ImageSource, options?: ImageProcessingOptions) => R> &
  Record<
    `${Method}ForVideo`,
    (image: ImageSource, timestamp: number, options?: ImageProcessingOptions) => R
  >;

const OTHER_OBJECTS = "its networks find other things than hands, faces and bodies";
const NO_NETWORKS = "no package publishes its networks, so results cannot be compared";

/** Return the functions that create a task. They reject with the reason. */
function notCovered<Options, T extends Task<Options>>(task: string, reason: string) {
  const refuse = (): Promise<T> =>
    Promise.reject(new Error(`sonjit-web/tasks-vision does not cover ${task}, because ${reason}`));
  return {
    createFromOptions: (_: WasmFileset, _options: Options) => refuse(),
    createFromModelPath: (_: WasmFileset, _path: string) => refuse(),
    createFromModelBuffer: (_: WasmFileset, _buffer: ModelBuffer) => refuse(),
  };
}

export type ObjectDetectorOptions = VisionTaskOptions & ClassifierOptions;
export type ObjectDetector = ImageTask<ObjectDetectorOptions, "detect", DetectionResult>;
export const ObjectDetector = notCovered<ObjectDetectorOptions, ObjectDetector>(
  "ObjectDetector",
  OTHER_OBJECTS,
);

export type ImageClassifierOptions = ObjectDetectorOptions;
export type ImageClassifierResult = { classifications: Classifications[]; timestampMs?: number };
export type ImageClassifier = ImageTask<ImageClassifierOptions, "classify", ImageClassifierResult>;
export const ImageClassifier = notCovered<ImageClassifierOptions, ImageClassifier>(
  "ImageClassifier",
  OTHER_OBJECTS,
);

export type ImageEmbedderOptions = VisionTaskOptions & {
  l2Normalize?: boolean | undefined;
  quantize?: boolean | undefined;
};
export type Embedding = {
  floatEmbedding?: number[];
  quantizedEmbedding?: Uint8Array;
  headIndex: number;
  headName: string;
};
export type ImageEmbedderResult = { embeddings: Embedding[]; timestampMs?: number };
export type ImageEmbedder = ImageTask<ImageEmbedderOptions, "embed", ImageEmbedderResult>;
export const ImageEmbedder = Object.assign(
  notCovered<ImageEmbedderOptions, ImageEmbedder>("ImageEmbedder", OTHER_OBJECTS),
  {
    cosineSimilarity: (_: Embedding, __: Embedding): number => {
      throw new Error("sonjit-web/tasks-vision has no embeddings");
    },
  },
);

export type InteractiveSegmenterOptions = ImageSegmenterOptions;
export class InteractiveSegmenterResult extends ImageSegmenterResult {}
export type InteractiveSegmenterCallback = Callback<InteractiveSegmenterResult, void>;
export type RegionOfInterest = { keypoint?: NormalizedKeypoint; scribble?: NormalizedKeypoint[] };
export interface InteractiveSegmenter extends Task<InteractiveSegmenterOptions> {
  segment(
    image: ImageSource,
    region: RegionOfInterest,
    ...more: WithCallback<InteractiveSegmenterResult>
  ): InteractiveSegmenterResult;
}
export const InteractiveSegmenter = notCovered<InteractiveSegmenterOptions, InteractiveSegmenter>(
  "InteractiveSegmenter",
  NO_NETWORKS,
);

/** An image of `FaceStylizer`. */
export interface MPImage extends Pick<
  MPMask,
  "canvas" | "width" | "height" | "hasWebGLTexture" | "getAsWebGLTexture" | "close"
> {
  hasImageData(): boolean;
  hasImageBitmap(): boolean;
  getAsImageData(): ImageData;
  getAsImageBitmap(): ImageBitmap;
  clone(): MPImage;
}
export type FaceStylizerOptions = VisionTaskOptions;
export type FaceStylizerCallback = Callback<MPImage | null, void>;
export interface FaceStylizer extends Task<FaceStylizerOptions> {
  stylize(image: ImageSource, ...more: WithCallback<MPImage | null>): MPImage | null;
}
export const FaceStylizer = notCovered<FaceStylizerOptions, FaceStylizer>(
  "FaceStylizer",
  NO_NETWORKS,
);
