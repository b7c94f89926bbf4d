/** `ImageSegmenter` with the published selfie networks and the names of MediaPipe. */

import { WEIGHTS } from "../data.js";
import { Network, fetchNetwork } from "../network.js";
import type { Mask } from "../results.js";
import { selfieMask } from "./graphs.js";
import { categoryMask as categoryMaskOf, fullMask, type Frame, type MPMask } from "./results.js";
import {
  FilesetResolver,
  VisionTask,
  isPublished,
  opened,
  pageAddress,
  runtime,
  type Callback,
  type ImageSource,
  type ModelBuffer,
  type VisionTaskOptions,
  type WasmFileset,
  type WithCallback,
} from "./runner.js";

/** Shapes of the inputs, (1, rows, columns, 3). */
const SHAPES = { selfie: [1, 256, 256, 3], "selfie-landscape": [1, 144, 256, 3] } as const;

export interface ImageSegmenterOptions extends VisionTaskOptions {
  /** Ignored: the published networks have no labels. */
  displayNamesLocale?: string | undefined;
  outputCategoryMask?: boolean | undefined;
  outputConfidenceMasks?: boolean | undefined;
}

export type ImageSegmenterCallback = Callback<ImageSegmenterResult, void>;

export class ImageSegmenterResult {
  /**
   * @param confidenceMasks one mask: the probability of a person for each pixel
   * @param categoryMask 0 for a person, 255 for the background
   */
  constructor(
    readonly confidenceMasks?: MPMask[],
    readonly categoryMask?: MPMask,
    readonly qualityScores?: number[],
  ) {}

  /** Do nothing: masks are freed when nothing refers to them. */
  close(): void {}
}

/** Separates people from their background. */
export class ImageSegmenter extends VisionTask<ImageSegmenterOptions, Mask, ImageSegmenterResult> {
  static createFromOptions = (_: WasmFileset, options: ImageSegmenterOptions) =>
    opened(new ImageSegmenter(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new ImageSegmenter(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new ImageSegmenter(), { baseOptions: { modelAssetBuffer } });
  #loaded: string | Uint8Array | null = null;

  override async open(): Promise<void> {
    const { modelAssetPath = "selfie_segmenter.tflite", modelAssetBuffer } = this.base;
    if (this.graph !== null && this.#loaded === (modelAssetBuffer ?? modelAssetPath)) return;
    const name = modelAssetPath.includes("landscape") ? "selfie-landscape" : "selfie";
    const published =
      modelAssetBuffer === undefined && isPublished(modelAssetPath) ? WEIGHTS[name]! : null;
    const url = published
      ? new URL(`models/${published.file}`, FilesetResolver.folder).href
      : new URL(modelAssetPath, pageAddress()).href;
    const file = modelAssetBuffer ?? (await fetchNetwork(url, published));
    const shape = SHAPES[name];
    const what = modelAssetBuffer ? "modelAssetBuffer" : url;
    const network = await Network.compile(file, what, await runtime(), {
      sizes: [shape[1] * shape[2]],
      input: shape,
    });
    this.graph = (image) => selfieMask(network, image);
    this.#loaded = modelAssetBuffer ?? modelAssetPath;
  }

  /** Return the names of the categories. The published networks have none. */
  getLabels(): string[] {
    return [];
  }

  /** Segment one image. Return the result, and pass it to the callback if there is one. */
  segment(image: ImageSource, ...more: WithCallback<ImageSegmenterResult>): ImageSegmenterResult {
    return this.process(image, null, more);
  }

  /**
   * Segment the next image of a video; `timestamp` in milliseconds. Return the result, and pass it
   * to the callback if there is one.
   */
  segmentForVideo(
    image: ImageSource,
    timestamp: number,
    ...more: WithCallback<ImageSegmenterResult>
  ): ImageSegmenterResult {
    return this.process(image, timestamp, more);
  }

  protected result(mask: Mask, frame: Frame): ImageSegmenterResult {
    const { outputConfidenceMasks = true, outputCategoryMask = false } = this.options;
    const confidence = outputConfidenceMasks ? [fullMask(mask, frame)] : undefined;
    return new ImageSegmenterResult(
      confidence,
      outputCategoryMask ? categoryMaskOf(mask, frame) : undefined,
    );
  }
}
