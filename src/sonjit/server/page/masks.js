/** Masks of bodies (see docs/http-api.md): decoding, and an overlay that darkens the background. */

const DARK = [18, 20, 28]; // background colour of all drawings
const OPACITY = 0.9;

/** @typedef {{width: number, height: number, png: string}} Segmentation */

/** Return the bytes of a text in base64. @param {string} text */
export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * Return a mask as an image whose R, G and B are the person's probability, 0 to 255.
 *
 * @param {Segmentation} segmentation @param {number} width @param {number} height pixels wanted @returns {Promise<ImageData>}
 */
export async function greyOf({ png }, width, height) {
  const bitmap = await createImageBitmap(new Blob([bytesOf(png)], { type: "image/png" }), { colorSpaceConversion: "none" });
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true }));
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** Return an overlay that darkens everything except some bodies, to stretch over the image; null without masks. @param {Segmentation[]} masks @returns {Promise<OffscreenCanvas | null>} */
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
