/** Brighten dark images and tint grey ones in skin colour, as in the training images of the networks. */

import { constants } from "../data.js";
import { areaMeans, type Pixels } from "../pixels.js";

const OF = constants.search.light;
/** Weights of red, green and blue in luma. */
const LUMA = [0.299, 0.587, 0.114] as const;
/** Matrix from linear sRGB to CIE XYZ, relative to the white point D65. */
const XYZ = [
  [0.412453 / 0.950456, 0.35758 / 0.950456, 0.180423 / 0.950456],
  [0.212671, 0.71516, 0.072169],
  [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
] as const;

/** Brighten an image if it is dark and tint it if it is grey. Return other images unchanged. */
export function inGoodLight(image: Pixels): Pixels {
  return tint(brighten(image));
}

function lumaAt(data: Pixels["data"], at: number): number {
  return Math.round(LUMA[0] * data[at]! + LUMA[1] * data[at + 1]! + LUMA[2] * data[at + 2]!);
}

function brighten(image: Pixels): Pixels {
  const { width, height, data } = image;
  const step = Math.max(1, Math.floor(Math.min(width, height) / (2 * OF.SAMPLE_PX)));
  const lumas: number[] = [];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) lumas.push(lumaAt(data, 4 * (y * width + x)));
  }
  const sorted = Uint8Array.from(lumas).sort();
  const place = 0.99 * (sorted.length - 1); // interpolated, as in NumPy's percentile
  const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  const brightest = low + (high - low) * (place - Math.floor(place));
  if (brightest >= OF.DARK) return image;
  const times = OF.LIT / Math.max(brightest, 1);
  const lit = Uint8ClampedArray.from(smooth(image), (value, i) => (i % 4 === 3 ? 255 : Math.trunc(value * times)));
  return { width, height, data: lit };
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
    const inside = (i: number) => {
      if (last === 0) return 0;
      const turn = Math.abs(i) % (2 * last);
      return turn > last ? 2 * last - turn : turn;
    };
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
  if (chromaOf(image) >= OF.GREY_CHROMA) return image;
  const { width, height } = image;
  const data = image.data.slice();
  for (let at = 0; at < data.length; at += 4) {
    const luma = lumaAt(image.data, at);
    OF.SKIN.forEach((part, channel) => (data[at + channel] = Math.min(Math.trunc(luma * part), 255)));
  }
  return { width, height, data };
}

/** Return the mean chroma in CIELAB of a small copy of an image. */
function chromaOf(image: Pixels): number {
  const size = OF.SAMPLE_PX;
  const step = Math.max(1, Math.floor(Math.min(image.width, image.height) / (2 * size)));
  const means = areaMeans(everyNth(image, step), size, size);
  let chroma = 0;
  for (let at = 0; at < means.length; at += 3) {
    const [red, green, blue] = [0, 1, 2].map((k) => linear(Math.round(means[at + k]!) / 255)) as [number, number, number];
    const [x, y, z] = XYZ.map((row) => root(row[0] * red + row[1] * green + row[2] * blue)) as [number, number, number];
    chroma += Math.hypot(500 * (x - y), 200 * (y - z));
  }
  return chroma / (size * size);
}

/** Return every n-th pixel of an image along both axes. */
function everyNth({ width, height, data }: Pixels, step: number): Pixels {
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const taken = new Uint8ClampedArray(4 * columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = 4 * (row * step * width + column * step);
      taken.set(data.subarray(at, at + 4), 4 * (row * columns + column));
    }
  }
  return { width: columns, height: rows, data: taken };
}

/** Convert an sRGB value 0..1 to linear light. */
function linear(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** Return the cube root of CIELAB. */
function root(value: number): number {
  return value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116;
}
