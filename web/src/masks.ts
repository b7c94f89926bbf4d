/** Convert the mask logits of the landmark network to masks of the image, and smooth masks over time. */

import type { RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import { bilinear } from "./pixels.js";
import type { Mask } from "./results.js";

const { UNCERTAINTY, MASK_RATIO, SURE } = constants.body;

/**
 * Return the probability of the person per pixel, 0 outside the box.
 *
 * @param logits (side, side) over a box
 * @param image size of the image; the mask is smaller if the image is larger than twice the network's output
 */
export function maskFromLogits(logits: Float32Array, box: RotatedBox, image: { width: number; height: number }): Mask {
  const side = Math.sqrt(logits.length);
  const probabilities = logits.map(sigmoid);
  const scale = Math.min((2 * side) / Math.max(image.width, image.height), 1);
  const width = Math.max(Math.round(image.width * scale), 1);
  const height = Math.max(Math.round(image.height * scale), 1);
  const data = new Float32Array(width * height);
  const cos = Math.cos(box.rotation);
  const sin = Math.sin(box.rotation);
  const valueAt = (x: number, y: number) => (x < 0 || y < 0 || x >= side || y >= side ? 0 : probabilities[y * side + x]!);
  for (let j = 0; j < height; j++) {
    const dy = ((j + 0.5) / height) * image.height - 0.5 - box.cy;
    for (let i = 0; i < width; i++) {
      const dx = ((i + 0.5) / width) * image.width - 0.5 - box.cx;
      const x = ((dx * cos + dy * sin) / box.width + 0.5) * side;
      const y = ((dy * cos - dx * sin) / box.height + 0.5) * side;
      if (!(x > -1 && y > -1 && x < side && y < side)) continue;
      data[j * width + i] = bilinear(valueAt, x, y);
    }
  }
  return { width, height, data };
}

export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/** Return a smoother that blends in the previous mask where the new one is uncertain, as MediaPipe's segmentation smoothing does. */
export function maskSmoother(): (mask: Mask) => Mask {
  let previous: Mask | null = null;
  return (mask) => {
    const last = previous;
    if (last?.width !== mask.width || last.height !== mask.height) return (previous = mask);
    const data = mask.data.map((probability, i) => {
      if (!(probability > SURE && probability < 1 - SURE)) return probability;
      const square = (probability - 0.5) ** 2;
      const sureness = Math.min(UNCERTAINTY.reduce((sum, factor) => sum * square + factor, 0), 1);
      return probability + MASK_RATIO * (1 - sureness) * (last.data[i]! - probability);
    });
    return (previous = { ...mask, data });
  };
}
