/**
 * Crop images into a network's input, (H, W, 3) float32.
 *
 * Pixel (i, j) of a crop of n pixels samples the image at the box's point (i / n, j / n), on a grid
 * of 1/32 pixel, and is rounded to an integer grey level, as OpenCV 4 does for MediaPipe and
 * Python. With `samplesCentres`, the centre of that pixel is sampled and nothing is rounded, as
 * MediaPipe does on graphics cards.
 */

import { constants } from "./data.js";
import { squareAround, type Corners, type RotatedBox } from "./observations.js";

/** An RGBA image. */
export type Pixels = {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray | Uint8Array;
};

const FAR = 2 ** 29;

/** Return the pixels of an image. @throws {Error} they were transferred, or have no 8 bits each */
export function pixelsOf(image: ImageData): Pixels {
  const data: unknown = image.data; // newer browsers also have halves
  if (!image.data.length)
    throw new Error("the pixels of the image were transferred elsewhere. Pass a copy.");
  if (!(data instanceof Uint8ClampedArray))
    throw new Error('the image needs pixels of 8 bits. Create it with pixelFormat: "rgba-unorm8".');
  return image;
}

/** Round half to even, as NumPy does. */
export function rint(value: number): number {
  const whole = Math.floor(value);
  const rest = value - whole;
  return rest > 0.5 || (rest === 0.5 && whole % 2 !== 0) ? whole + 1 : whole;
}

/** Input of a network. */
export interface Input {
  // (rows, size, 3) values of `levels`, or the values of another input
  readonly input: Float32Array;
  readonly size: number; // width in pixels
  readonly rows: number; // height in pixels
  readonly levels: Float32Array; // (256,) value of the input for each grey level
  readonly samplesCentres: boolean; // sample at the centres of pixels instead of their corners
}

/**
 * Cut a rotated box out of an image. Outside the image, the nearest pixel repeats, or the crop is
 * black.
 */
export function cropInto(image: Pixels, box: RotatedBox, to: Input, isBlackOutside = false): void {
  if (to.samplesCentres) {
    sampleCentres(image, box, to, isBlackOutside);
    return;
  }
  const { size } = to;
  const [cos, sin] = [Math.cos(box.rotation), Math.sin(box.rotation)];
  const [perX, perY] = [box.width / size, box.height / to.rows];
  const fixed = (value: number) => rint(Math.min(Math.max(value * 1024, -FAR), FAR));
  const columns = (step: number) => new Int32Array(size).map((_, i) => fixed(step * i));
  const rows = (step: number, start: number) =>
    new Int32Array(to.rows).map((_, j) => fixed(step * j + start) + 16);
  sampleFixed(image, to, isBlackOutside, {
    columnX: columns(cos * perX),
    columnY: columns(sin * perX),
    rowX: rows(-sin * perY, box.cx - (cos * box.width - sin * box.height) / 2),
    rowY: rows(cos * perY, box.cy - (sin * box.width + cos * box.height) / 2),
  });
}

/**
 * Positions in an image in 1/1024 pixel. That of a pixel of a crop is the sum of the values of its
 * column and row.
 */
type Positions = {
  readonly columnX: Int32Array;
  readonly columnY: Int32Array;
  readonly rowX: Int32Array;
  readonly rowY: Int32Array;
};

/** Interpolate an image at positions on a grid of 1/32 pixel. */
function sampleFixed(
  { data, width, height }: Pixels,
  to: Input,
  isBlackOutside: boolean,
  { columnX, columnY, rowX, rowY }: Positions,
): void {
  const { input: out, levels } = to;
  const lastX = width - 1;
  const lastY = height - 1;
  let at = 0;
  for (let j = 0; j < rowX.length; j++) {
    for (let i = 0; i < columnX.length; i++) {
      const x32 = (rowX[j]! + columnX[i]!) >> 5;
      const y32 = (rowY[j]! + columnY[i]!) >> 5;
      const x = x32 >> 5;
      const y = y32 >> 5;
      const fx = x32 & 31;
      const fy = y32 & 31;
      const x0 = x < 0 ? 0 : x > lastX ? lastX : x;
      const x1 = x < -1 ? 0 : x >= lastX ? lastX : x + 1;
      const y0 = (y < 0 ? 0 : y > lastY ? lastY : y) * width;
      const y1 = (y < -1 ? 0 : y >= lastY ? lastY : y + 1) * width;
      const a = (y0 + x0) << 2;
      const b = (y0 + x1) << 2;
      const c = (y1 + x0) << 2;
      const d = (y1 + x1) << 2;
      let wd = fx * fy;
      let wc = (fy << 5) - wd;
      let wb = (fx << 5) - wd;
      let wa = 1024 - wb - wc - wd;
      if (isBlackOutside && (x < 0 || x >= lastX || y < 0 || y >= lastY)) {
        if (x < 0 || x > lastX) wa = wc = 0;
        if (x < -1 || x >= lastX) wb = wd = 0;
        if (y < 0 || y > lastY) wa = wb = 0;
        if (y < -1 || y >= lastY) wc = wd = 0;
      }
      out[at] =
        levels[(data[a]! * wa + data[b]! * wb + data[c]! * wc + data[d]! * wd + 512) >> 10]!;
      out[at + 1] =
        levels[
          (data[a + 1]! * wa + data[b + 1]! * wb + data[c + 1]! * wc + data[d + 1]! * wd + 512) >>
            10
        ]!;
      out[at + 2] =
        levels[
          (data[a + 2]! * wa + data[b + 2]! * wb + data[c + 2]! * wc + data[d + 2]! * wd + 512) >>
            10
        ]!;
      at += 3;
    }
  }
}

/**
 * Interpolate an image at the centre of each pixel of a crop. A centre outside the image is black,
 * or takes the nearest pixel.
 */
function sampleCentres(
  { width, height, data }: Pixels,
  box: RotatedBox,
  { input: out, size, rows, levels }: Input,
  isBlackOutside: boolean,
): void {
  const [black, perLevel] = [levels[0]!, (levels[255]! - levels[0]!) / 255];
  const [perX, perY] = [box.width / size, box.height / rows];
  const [cos, sin] = [Math.cos(box.rotation), Math.sin(box.rotation)];
  const [lastX, lastY] = [width - 1, height - 1];
  let at = 0;
  for (let j = 0; j < rows; j++) {
    const v = (j + 0.5) * perY - box.height / 2;
    for (let i = 0; i < size; i++) {
      const u = (i + 0.5) * perX - box.width / 2;
      const centreX = box.cx + cos * u - sin * v;
      const centreY = box.cy + sin * u + cos * v;
      if (isBlackOutside && (centreX < 0 || centreX > width || centreY < 0 || centreY > height)) {
        out[at++] = out[at++] = out[at++] = black;
        continue;
      }
      const x = Math.min(Math.max(centreX - 0.5, 0), lastX);
      const y = Math.min(Math.max(centreY - 0.5, 0), lastY);
      const [x0, y0] = [Math.trunc(x), Math.trunc(y)];
      const [fx, fy] = [x - x0, y - y0];
      const a = (y0 * width + x0) << 2;
      const b = x0 < lastX ? a + 4 : a;
      const down = y0 < lastY ? width << 2 : 0;
      for (let k = 0; k < 3; k++) {
        const above = data[a + k]! + fx * (data[b + k]! - data[a + k]!);
        const below = data[a + down + k]! + fx * (data[b + down + k]! - data[a + down + k]!);
        out[at++] = black + perLevel * (above + fy * (below - above));
      }
    }
  }
}

/** Fit an image into a square, keep its aspect ratio and pad with zeros. */
export function letterboxInto(image: Pixels, to: Input): void {
  const box = squareAround(image.width, image.height);
  if (to.samplesCentres) {
    sampleCentres(image, box, to, true);
    return;
  }
  const per = box.width / to.size;
  const grid = (start: number) =>
    new Int32Array(to.size).map((_, i) => rint((i * per + start) * 32) << 5);
  const zeros = new Int32Array(to.size);
  sampleFixed(image, to, true, {
    columnX: grid(box.cx - box.width / 2),
    columnY: zeros,
    rowX: zeros,
    rowY: grid(box.cy - box.width / 2),
  });
}

/** Mirror an image in place. */
export function mirror({ width, height, data }: Pixels): void {
  const pixels = new Uint32Array(data.buffer, data.byteOffset, width * height);
  for (let y = 0; y < height; y++) pixels.subarray(y * width, (y + 1) * width).reverse();
}

/** Return a part of an image, mirrored on request. */
export function cut(
  image: Pixels,
  [left, top, right, bottom]: Corners,
  { mirrored = false } = {},
): Pixels {
  const width = right - left;
  const height = bottom - top;
  const from = new Uint32Array(
    image.data.buffer,
    image.data.byteOffset,
    image.width * image.height,
  );
  const to = new Uint32Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * image.width + left;
    to.set(from.subarray(start, start + width), y * width);
    if (mirrored) to.subarray(y * width, (y + 1) * width).reverse();
  }
  return { width, height, data: new Uint8ClampedArray(to.buffer) };
}

/** Interpolate values at a position between four pixels. */
export function bilinear(at: (x: number, y: number) => number, x: number, y: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, down] = [x - left, y - top];
  const above = at(left, top) * (1 - right) + at(left + 1, top) * right;
  const below = at(left, top + 1) * (1 - right) + at(left + 1, top + 1) * right;
  return above * (1 - down) + below * down;
}

const OF = constants.search.light;
/** Weights of red, green and blue in luma. */
const LUMA = [0.299, 0.587, 0.114] as const;

/** Brighten an image if it is dark and tint it if it is grey. Return other images unchanged. */
export const inGoodLight = (image: Pixels): Pixels => tint(brighten(image));

const lumaAt = (data: Pixels["data"], at: number): number =>
  Math.round(LUMA[0] * data[at]! + LUMA[1] * data[at + 1]! + LUMA[2] * data[at + 2]!);

function brighten(image: Pixels): Pixels {
  const { width, height, data } = image;
  const lumas = Uint8Array.from(sampled(image), (at) => lumaAt(data, at)).sort();
  const brightest = Math.max(lumas[rint(0.99 * (lumas.length - 1))]!, 1);
  if (brightest >= OF.DARK) return image;
  const lit = Uint8ClampedArray.from(smooth(image), (value, i) =>
    i % 4 === 3 ? 255 : value * (OF.LIT / brightest),
  );
  return { width, height, data: lit };
}

/** Return the positions of every n-th pixel along both axes in the data of an image. */
function sampled({ width, height }: Pixels): number[] {
  const step = Math.max(1, Math.floor(Math.min(width, height) / OF.SAMPLES));
  const positions: number[] = [];
  for (let y = 0; y < height; y += step)
    for (let x = 0; x < width; x += step) positions.push(4 * (y * width + x));
  return positions;
}

/** Smooth an image with a Gaussian and mirrored edges. */
function smooth({ width, height, data }: Pixels): Float32Array {
  const reach = Math.round(4 * OF.NOISE_SIGMA_PX);
  const bell = Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * OF.NOISE_SIGMA_PX ** 2)),
  );
  const total = bell.reduce((sum, value) => sum + value, 0);
  const weights = bell.map((value) => value / total);
  const along = (
    from: ArrayLike<number>,
    count: number,
    stride: number,
    lines: number,
    next: number,
  ) => {
    const to = new Float32Array(from.length);
    const last = count - 1;
    const inside = (i: number) => Math.max(last - Math.abs(last - Math.abs(i)), 0);
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < count; i++) {
        const places = weights.map((_, k) => line * next + inside(i + k - reach) * stride);
        for (let channel = 0; channel < 3; channel++) {
          to[line * next + i * stride + channel] = weights.reduce(
            (sum, weight, k) => sum + weight * from[places[k]! + channel]!,
            0,
          );
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
  if (ranges.reduce((sum, range) => sum + range, 0) / ranges.length >= OF.GREY) return image;
  const { width, height } = image;
  const data = image.data.slice();
  for (let at = 0; at < data.length; at += 4) {
    const luma = lumaAt(image.data, at);
    OF.SKIN.forEach(
      (part, channel) => (data[at + channel] = Math.min(Math.trunc(luma * part), 255)),
    );
  }
  return { width, height, data };
}
