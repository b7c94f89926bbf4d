/**
 * Operators of MediaPipe's networks that LiteRT lacks.
 *
 * Three operators of the attention mesh are a spatial transformer per region of the face (Grishchenko et al. 2020, Attention Mesh,
 * section 2.1). One operator of the selfie networks is a transposed convolution.
 */

import type { OperatorOption, Values } from "./tflite.js";

type Options = Readonly<Record<string, OperatorOption>>;

export const CUSTOM_OPERATORS: Readonly<Record<string, (inputs: readonly Values[], options: Options) => Values>> = {
  Convolution2DTransposeBias: ([map, kernel, bias]) => upsample(map!, kernel!, bias!),
  Landmarks2TransformMatrix: ([landmarks], options) => matrixFromLandmarks(landmarks!, options),
  TransformTensorBilinear: ([map, matrix], options) => sampleMap(map!, matrix!, options),
  TransformLandmarks: ([points, matrix]) => transformLandmarks(points!, matrix!),
};

/** Apply a transposed convolution to a map (1, h, w, C): kernel (1, 2, 2, C), stride 2, bias (1,). Return (1, 2h, 2w, 1). */
function upsample({ shape, data }: Values, { shape: kernelShape, data: kernel }: Values, { data: bias }: Values): Values {
  const [height, width, channels] = [shape[1]!, shape[2]!, shape[3]!];
  if (kernelShape.join() !== [1, 2, 2, channels].join()) throw new Error(`a transposed convolution with a kernel of ${kernelShape.join(" x ")}`);
  const larger = new Float32Array(4 * width * height);
  for (let j = 0; j < 2 * height; j++) {
    for (let i = 0; i < 2 * width; i++) {
      const from = ((j >> 1) * width + (i >> 1)) * channels;
      const weights = ((j & 1) * 2 + (i & 1)) * channels;
      let sum = bias[0]!;
      for (let c = 0; c < channels; c++) sum += data[from + c]! * kernel[weights + c]!;
      larger[2 * width * j + i] = sum;
    }
  }
  return { shape: [1, 2 * height, 2 * width, 1], data: larger };
}

/**
 * Return the matrix (1, 4, 4) from pixels of a region's map to pixels of the full map.
 *
 * The region is the box around some of the landmarks (1, K, 3), rotated so that the line from its left to its right
 * landmark is level, and enlarged by a scale.
 */
function matrixFromLandmarks({ data }: Values, options: Options): Values {
  const size = [numberOf(options, "output_width"), numberOf(options, "output_height")] as const;
  const scale = [numberOf(options, "scale_x"), numberOf(options, "scale_y")] as const;
  const [left, right] = [3 * numberOf(options, "left_rotation_idx"), 3 * numberOf(options, "right_rotation_idx")];
  const [dx, dy] = [data[right]! - data[left]!, data[right + 1]! - data[left + 1]!];
  const target = numberOf(options, "target_rotation_radians");
  const angle = Math.atan2(dy, dx) - target;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  let [low, high]: [number[], number[]] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  for (const index of listOf(options, "subset_idxs")) {
    const [x, y] = [data[3 * index]!, data[3 * index + 1]!];
    const rotated = [x * cos + y * sin, y * cos - x * sin];
    low = low.map((value, k) => Math.min(value, rotated[k]!));
    high = high.map((value, k) => Math.max(value, rotated[k]!));
  }
  const middle = low.map((value, k) => (value + high[k]!) / 2);
  const growth = low.map((value, k) => ((high[k]! - value) * scale[k as 0 | 1]) / size[k as 0 | 1]);
  const linear = [cos * growth[0]!, -sin * growth[1]!, sin * growth[0]!, cos * growth[1]!] as const;
  const x = middle[0]! * cos - middle[1]! * sin - (linear[0] * size[0] + linear[1] * size[1]) / 2;
  const y = middle[0]! * sin + middle[1]! * cos - (linear[2] * size[0] + linear[3] * size[1]) / 2;
  const [xx, xy, yx, yy] = linear;
  return { shape: [1, 4, 4], data: Float32Array.of(xx, xy, 0, x, yx, yy, 0, y, 0, 0, 1, 0, 0, 0, 0, 1) };
}

/** Sample a map (1, h, w, C) from a map (1, H, W, C). Pixel centres are at halves; pixels outside are 0. */
function sampleMap({ shape, data }: Values, { data: matrix }: Values, options: Options): Values {
  const [width, height] = [numberOf(options, "output_width"), numberOf(options, "output_height")];
  const [mapHeight, mapWidth, channels] = [shape[1]!, shape[2]!, shape[3]!];
  const sampled = new Float32Array(width * height * channels);
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const x = matrix[0]! * (i + 0.5) + matrix[1]! * (j + 0.5) + matrix[3]! - 0.5;
      const y = matrix[4]! * (i + 0.5) + matrix[5]! * (j + 0.5) + matrix[7]! - 0.5;
      if (!(x >= 0 && y >= 0 && x <= mapWidth - 1 && y <= mapHeight - 1)) continue;
      const [column, row] = [Math.min(Math.floor(x), mapWidth - 2), Math.min(Math.floor(y), mapHeight - 2)];
      const [right, down] = [x - column, y - row];
      const first = (row * mapWidth + column) * channels;
      const below = first + mapWidth * channels;
      const to = (j * width + i) * channels;
      for (let c = 0; c < channels; c++) {
        const above = data[first + c]! * (1 - right) + data[first + channels + c]! * right;
        const under = data[below + c]! * (1 - right) + data[below + channels + c]! * right;
        sampled[to + c] = above * (1 - down) + under * down;
      }
    }
  }
  return { shape: [1, height, width, channels], data: sampled };
}

/** Transform points (1, K, 2) by a matrix (1, 4, 4). */
function transformLandmarks({ shape, data }: Values, { data: matrix }: Values): Values {
  const transformed = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += 2) {
    transformed[i] = matrix[0]! * data[i]! + matrix[1]! * data[i + 1]! + matrix[3]!;
    transformed[i + 1] = matrix[4]! * data[i]! + matrix[5]! * data[i + 1]! + matrix[7]!;
  }
  return { shape, data: transformed };
}

function numberOf(options: Options, name: string): number {
  const value = options[name];
  if (typeof value !== "number") throw new Error(`a custom operator without ${name}`);
  return value;
}

function listOf(options: Options, name: string): readonly number[] {
  const value = options[name];
  if (typeof value !== "object") throw new Error(`a custom operator without ${name}`);
  return value;
}
