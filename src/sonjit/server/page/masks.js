/** Masks of bodies, as docs/server.md has them: decoded, and as an overlay over the background. */

const DARK = [18, 20, 28]; // the dark behind every drawing
const OPACITY = 0.9;

/** @typedef {{width: number, height: number, png: string}} Segmentation */

/**
 * How much each pixel is the person's, 0 to 255, in each of R, G and B.
 *
 * @param {Segmentation} segmentation @param {number} width @param {number} height pixels wanted
 * @returns {Promise<ImageData>}
 */
export async function greyOf({ png }, width, height) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (
    new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
  );
  pen.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return pen.getImageData(0, 0, width, height);
}

/**
 * What darkens everything but some bodies.
 *
 * @param {Segmentation[]} masks
 * @returns {Promise<OffscreenCanvas | null>} stretched over the image it fits; null where there is no mask
 */
export async function maskOverlay(masks) {
  if (!masks.length) return null;
  const { width, height } = masks[0];
  const greys = await Promise.all(masks.map((mask) => greyOf(mask, width, height)));
  const overlay = new ImageData(width, height);
  const alpha = OPACITY / 255;
  for (let at = 0; at < overlay.data.length; at += 4) {
    let most = 0;
    for (const { data } of greys) most = Math.max(most, data[at]);
    [overlay.data[at], overlay.data[at + 1], overlay.data[at + 2]] = DARK;
    overlay.data[at + 3] = (255 - most) * alpha * 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(overlay, 0, 0);
  return canvas;
}
