/** Masks of bodies: from the landmark network's logits into the image, and smoothed over time. */

import type { RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import type { Mask } from "./results.js";

const { UNCERTAINTY, MASK_RATIO, SURE } = constants.body;

/**
 * How much each pixel of an image is the person's, 0 outside of the box.
 *
 * @param logits (side, side) over a box
 * @param image its size; that of the mask is at most twice what the network gives
 */
export function maskFromLogits(logits: Float32Array, box: RotatedBox, image: { width: number; height: number }): Mask {
  const side = Math.sqrt(logits.length);
  const shares = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const scale = Math.min((2 * side) / Math.max(image.width, image.height), 1);
  const width = Math.max(Math.round(image.width * scale), 1);
  const height = Math.max(Math.round(image.height * scale), 1);
  const data = new Float32Array(width * height);
  const cos = Math.cos(box.rotation);
  const sin = Math.sin(box.rotation);
  const share = (x: number, y: number) => (x < 0 || y < 0 || x >= side || y >= side ? 0 : shares[y * side + x]!);
  for (let j = 0; j < height; j++) {
    const dy = ((j + 0.5) / height) * image.height - 0.5 - box.cy;
    for (let i = 0; i < width; i++) {
      const dx = ((i + 0.5) / width) * image.width - 0.5 - box.cx;
      const x = ((dx * cos + dy * sin) / box.width + 0.5) * side;
      const y = ((dy * cos - dx * sin) / box.height + 0.5) * side;
      if (!(x > -1 && y > -1 && x < side && y < side)) continue;
      const [column, row] = [Math.floor(x), Math.floor(y)];
      const [right, down] = [x - column, y - row];
      const above = share(column, row) * (1 - right) + share(column + 1, row) * right;
      const below = share(column, row + 1) * (1 - right) + share(column + 1, row + 1) * right;
      data[j * width + i] = above * (1 - down) + below * down;
    }
  }
  return { width, height, data };
}

/** Mixes in the frame before where the new mask is unsure, as MediaPipe's segmentation smoothing does. */
export function maskSmoother(): (mask: Mask) => Mask {
  let before: Mask | null = null;
  return (mask) => {
    const last = before;
    if (last?.width !== mask.width || last.height !== mask.height) return (before = mask);
    const data = mask.data.map((share, i) => {
      if (!(share > SURE && share < 1 - SURE)) return share;
      const off = (share - 0.5) ** 2;
      const sureness = Math.min(UNCERTAINTY.reduce((sum, factor) => sum * off + factor, 0), 1);
      return share + MASK_RATIO * (1 - sureness) * (last.data[i]! - share);
    });
    return (before = { ...mask, data });
  };
}
