/** Brighten dark images and tint grey ones in skin colour, as in the training images of the networks. */

import { constants } from "../data.js";
import { rint, type Pixels } from "../pixels.js";
import { mean } from "./geometry.js";

const OF = constants.search.light;
/** Weights of red, green and blue in luma. */
const LUMA = [0.299, 0.587, 0.114] as const;

/** Brighten an image if it is dark and tint it if it is grey. Return other images unchanged. */
export function inGoodLight(image: Pixels): Pixels {
  return tint(brighten(image));
}

function lumaAt(data: Pixels["data"], at: number): number {
  return Math.round(LUMA[0] * data[at]! + LUMA[1] * data[at + 1]! + LUMA[2] * data[at + 2]!);
}

function brighten(image: Pixels): Pixels {
  const { width, height, data } = image;
  const lumas = Uint8Array.from(sampled(image), (at) => lumaAt(data, at)).sort();
  const brightest = Math.max(lumas[rint(0.99 * (lumas.length - 1))]!, 1);
  if (brightest >= OF.DARK) return image;
  const lit = Uint8ClampedArray.from(smooth(image), (value, i) => (i % 4 === 3 ? 255 : value * (OF.LIT / brightest)));
  return { width, height, data: lit };
}

/** Return the positions of every n-th pixel along both axes in the data of an image. */
function sampled({ width, height }: Pixels): number[] {
  const step = Math.max(1, Math.floor(Math.min(width, height) / OF.SAMPLES));
  const positions: number[] = [];
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) positions.push(4 * (y * width + x));
  return positions;
}

/** Smooth an image with a Gaussian and mirrored edges. */
function smooth({ width, height, data }: Pixels): Float32Array {
  const reach = Math.round(4 * OF.NOISE_SIGMA_PX);
  const bell = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * OF.NOISE_SIGMA_PX ** 2)));
  const total = bell.reduce((sum, value) => sum + value, 0);
  const weights = bell.map((value) => value / total);
  const along = (from: ArrayLike<number>, count: number, stride: number, lines: number, next: number) => {
    const to = new Float32Array(from.length);
    const last = count - 1;
    const inside = (i: number) => Math.max(last - Math.abs(last - Math.abs(i)), 0);
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < count; i++) {
        const places = weights.map((_, k) => line * next + inside(i + k - reach) * stride);
        for (let channel = 0; channel < 3; channel++) {
          to[line * next + i * stride + channel] = weights.reduce((sum, weight, k) => sum + weight * from[places[k]! + channel]!, 0);
        }
      }
    }
    return to;
  };
  return along(along(data, width, 4, height, 4 * width), height, 4 * width, width, 4);
}

function tint(image: Pixels): Pixels {
  const ranges = sampled(image).map((at) => {
    const colour = image.data.subarray(at, at + 3);
    return Math.max(...colour) - Math.min(...colour);
  });
  if (mean(ranges) >= OF.GREY) return image;
  const { width, height } = image;
  const data = image.data.slice();
  for (let at = 0; at < data.length; at += 4) {
    const luma = lumaAt(image.data, at);
    OF.SKIN.forEach((part, channel) => (data[at + channel] = Math.min(Math.trunc(luma * part), 255)));
  }
  return { width, height, data };
}
