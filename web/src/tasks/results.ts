/** Results in the shape of MediaPipe's tasks. */

import { bilinear } from "../pixels.js";
import type { Mask, Points } from "../results.js";

export interface NormalizedLandmark {
  /** As a fraction of the image's width. */
  x: number;
  /** As a fraction of the image's height. */
  y: number;
  /** As a fraction of the image's width; nearer is smaller. */
  z: number;
  /** Probability that the landmark is visible; 0 if it is unknown. */
  visibility: number;
}

/** A point in metres. */
export type Landmark = NormalizedLandmark;

export type Category = { score: number; index: number; categoryName: string; displayName: string };

export type Classifications = { categories: Category[]; headIndex: number; headName: string };

/** A box in pixels. */
export type BoundingBox = {
  originX: number;
  originY: number;
  width: number;
  height: number;
  angle: number;
};

export type NormalizedKeypoint = { x: number; y: number; score?: number; label?: string };

export type Detection = {
  categories: Category[];
  boundingBox?: BoundingBox;
  keypoints: NormalizedKeypoint[];
};

export type DetectionResult = { detections: Detection[] };

/** A matrix, column by column. */
export type Matrix = { rows: number; columns: number; data: number[] };

const [PERSON, BACKGROUND] = [0, 255];

/** Size and rotation of the image that a detector processed. */
export interface Frame {
  /** Width of the upright image. */
  readonly width: number;
  /** Height of the upright image. */
  readonly height: number;
  /** Clockwise quarter turns from the input image to the upright one, 0 to 3. */
  readonly turns: number;
}

/** A mask with the probability of a person, or a category, per pixel. */
export class MPMask {
  readonly canvas: HTMLCanvasElement | OffscreenCanvas | undefined = undefined;
  readonly interpolateValues = true;
  readonly #data: Float32Array | Uint8Array;

  /** @param data probabilities, 0 to 1, or categories, row by row */
  constructor(
    data: Float32Array | Uint8Array,
    readonly width: number,
    readonly height: number,
  ) {
    this.#data = data;
  }

  hasFloat32Array(): boolean {
    return this.#data instanceof Float32Array;
  }

  hasUint8Array(): boolean {
    return this.#data instanceof Uint8Array;
  }

  hasWebGLTexture(): boolean {
    return false;
  }

  /** Return the numbers in the range from 0 to 1, row by row. */
  getAsFloat32Array(): Float32Array {
    return this.#data instanceof Float32Array
      ? this.#data
      : Float32Array.from(this.#data, (category) => category / 255);
  }

  /** Return the numbers in the range from 0 to 255, row by row. */
  getAsUint8Array(): Uint8Array {
    return this.#data instanceof Uint8Array
      ? this.#data
      : Uint8Array.from(this.#data, (fraction) => Math.round(255 * fraction));
  }

  /** Throw an error: masks are arrays. See `hasWebGLTexture()`. */
  getAsWebGLTexture(): WebGLTexture {
    throw new Error("this mask is an array. Use getAsFloat32Array() or getAsUint8Array().");
  }

  clone(): MPMask {
    return new MPMask(this.#data.slice(), this.width, this.height);
  }

  /** Do nothing: the array is freed when nothing refers to it. */
  close(): void {}
}

/** Convert points in pixels of the upright image to landmarks in fractions of the input image. */
export function normalizedLandmarks(
  { values, score }: Points,
  { width, height, turns }: Frame,
): NormalizedLandmark[] {
  const inputWidth = turns % 2 ? height : width;
  return Array.from({ length: values.length / 3 }, (_, k) => {
    let [x, y] = [values[3 * k]! / width, values[3 * k + 1]! / height];
    for (let i = 0; i < turns; i++) [x, y] = [y, 1 - x];
    return { x, y, z: values[3 * k + 2]! / inputWidth, visibility: score?.[k] ?? 0 };
  });
}

/**
 * Convert points in metres to landmarks in the axes of the input image; `offset`: (3,) added to
 * each.
 */
export function worldLandmarks(
  { values, score }: Points,
  { turns }: Frame,
  offset: readonly number[] = [0, 0, 0],
): Landmark[] {
  return Array.from({ length: values.length / 3 }, (_, k) => {
    let [x, y] = [values[3 * k]! + offset[0]!, values[3 * k + 1]! + offset[1]!];
    for (let i = 0; i < turns; i++) [x, y] = [y, -x];
    return { x, y, z: values[3 * k + 2]! + offset[2]!, visibility: score?.[k] ?? 0 };
  });
}

/** Return a mask in the size of the input image. */
export function fullMask(mask: Mask, frame: Frame): MPMask {
  const { width, height } = mask;
  const [full, columns, rows] = resize(mask, frame, (u, v) => [u * width - 0.5, v * height - 0.5]);
  return new MPMask(full, columns, rows);
}

/**
 * Return the categories of a mask in the size of the input image: 0 for a person, 255 for the
 * background.
 */
export function categoryMask(mask: Mask, frame: Frame): MPMask {
  const { width, height } = mask;
  // MediaPipe resizes categories from the centres of the corner pixels.
  const alignCorners = (fraction: number, size: number, count: number) =>
    ((fraction * size - 0.5) / Math.max(size - 1, 1)) * (count - 1);
  const [full, columns, rows] = resize(mask, frame, (u, v) => [
    alignCorners(u, frame.width, width),
    alignCorners(v, frame.height, height),
  ]);
  return new MPMask(
    Uint8Array.from(full, (fraction) => (fraction > 0.5 ? PERSON : BACKGROUND)),
    columns,
    rows,
  );
}

/**
 * Interpolate a mask for each pixel of the input image.
 *
 * @param positionOf maps a position in the upright image, as fractions of its sides, to pixels of
 *   the mask
 */
function resize(
  { width, height, data }: Mask,
  frame: Frame,
  positionOf: (u: number, v: number) => [number, number],
): [Float32Array, number, number] {
  const [columns, rows] =
    frame.turns % 2 ? [frame.height, frame.width] : [frame.width, frame.height];
  const full = new Float32Array(columns * rows);
  const at = (x: number, y: number) =>
    data[Math.min(Math.max(y, 0), height - 1) * width + Math.min(Math.max(x, 0), width - 1)]!;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let [u, v] = [(column + 0.5) / columns, (row + 0.5) / rows];
      for (let i = 0; i < frame.turns; i++) [u, v] = [1 - v, u];
      full[row * columns + column] = bilinear(at, ...positionOf(u, v));
    }
  }
  return [full, columns, rows];
}

/** Return the transform of a face, column by column. */
export function matrixOf(rows: readonly (readonly number[])[]): Matrix {
  return {
    rows: 4,
    columns: 4,
    data: [0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column]!)),
  };
}

export const categoryOf = (
  score: number,
  index: number,
  categoryName = "",
  displayName = "",
): Category => ({ score, index, categoryName, displayName });
