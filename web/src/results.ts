/** Results in the shape of tfjs-models, with `id`, `box` and z besides, as a Sonjit server answers them. */

import type { Person } from "./holistic.js";
import type { MotionEvent } from "./motions/events.js";

export interface NamedPoint {
  x: number;
  y: number;
  /** Missing where nothing is known of it. */
  z?: number;
  /** Missing where it has none. */
  name?: string;
}

export interface Box {
  xMin: number;
  yMin: number;
  xMax: number;
  yMax: number;
  width: number;
  height: number;
}

/** How much each pixel is an instance's, 0..1, over a whole image. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** The same as an 8-bit grey PNG in base64. */
export interface Segmentation {
  readonly width: number;
  readonly height: number;
  readonly png: string;
}

/** What all kinds have. */
export interface Found {
  /** Stable while the instance is tracked; null for stills. */
  readonly id: number | null;
  readonly keypoints: NamedPoint[];
  readonly box: Box;
  /** Of faces where it is asked for: rows of the (4, 4) matrix from the canonical face to the camera, in centimetres. */
  readonly transform?: number[][];
  /** Of bodies where it is asked for; the page gets it as `segmentation`. */
  readonly mask?: Mask;
}

/** What a detector gives for each instance. */
export type Result = Found | Person;

/** What it gives for an image. */
export type Results = Result[] & {
  /** Of streams where hands have gestures. */
  motions?: readonly MotionEvent[];
};

/** Points (K, 3) with their names. */
export function found(points: Float32Array, names: readonly string[]): NamedPoint[] {
  return names.map((name, i) => {
    const [x, y, z] = [points[3 * i]!, points[3 * i + 1]!, points[3 * i + 2]!];
    return { x, y, ...(Number.isNaN(z) ? {} : { z }), ...(name ? { name } : {}) };
  });
}

export function boxOf([xMin, yMin, xMax, yMax]: readonly [number, number, number, number]): Box {
  return { xMin, yMin, xMax, yMax, width: xMax - xMin, height: yMax - yMin };
}

const PARTS = ["body", "leftHand", "rightHand", "face"] as const;

/** The result as a page takes it, with x mirrored in an image of that width where one is given. */
export async function shown<R extends Result | null>(result: R, mirrorWidth: number | null): Promise<R> {
  if (result === null) return result;
  if (!("body" in result)) return (await withSegmentation(mirrorWidth === null ? result : flipped(result, mirrorWidth))) as R;
  const parts = await Promise.all(PARTS.map(async (name) => [name, await shown(result[name], mirrorWidth)]));
  return { ...result, ...Object.fromEntries(parts) };
}

/** Signs of a transform between the mirror images of both its spaces. */
const MIRRORED_TRANSFORM = [[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]];

/** The same instance with x mirrored in an image of that width; labels stay the person's own. */
function flipped<R extends Found>(result: R, width: number): R {
  const { xMin, xMax } = result.box;
  return {
    ...result,
    keypoints: result.keypoints.map((point) => ({ ...point, x: width - point.x })),
    ...("keypoints3D" in result
      ? { keypoints3D: (result.keypoints3D as NamedPoint[]).map((point) => ({ ...point, x: -point.x })) }
      : {}),
    ...(result.transform ? { transform: result.transform.map((row, i) => row.map((value, j) => value * MIRRORED_TRANSFORM[i]![j]!)) } : {}),
    ...(result.mask ? { mask: mirrored(result.mask) } : {}),
    box: { ...result.box, xMin: width - xMax, xMax: width - xMin },
  };
}

function mirrored({ width, height, data }: Mask): Mask {
  const turned = data.slice();
  for (let y = 0; y < height; y++) turned.subarray(y * width, (y + 1) * width).reverse();
  return { width, height, data: turned };
}

/** The result with its mask as a file. */
async function withSegmentation<R extends Found>(result: R): Promise<R> {
  const { mask, ...rest } = result;
  if (!mask) return result;
  const { width, height } = mask;
  const pixels = new ImageData(width, height);
  mask.data.forEach((share, i) => pixels.data.set([255 * share, 255 * share, 255 * share, 255], 4 * i));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  const png = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { ...rest, segmentation: { width, height, png } satisfies Segmentation } as unknown as R;
}
