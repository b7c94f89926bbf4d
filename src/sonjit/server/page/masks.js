/** Masks of bodies, as docs/server.md has them: decoded, and as a veil over what is nobody. */

const VEIL = [18, 20, 28]; // the dark behind every drawing
const VEIL_OPACITY = 0.9;

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
 * What darkens everything but the bodies of a frame.
 *
 * @param {Record<string, any>} frame
 * @returns {Promise<OffscreenCanvas | null>} stretched over the image it fits; null where no body has a mask
 */
export async function veilOf(frame) {
  const bodies = [...(frame.bodies ?? []), ...(frame.people ?? []).map((/** @type {any} */ { body }) => body)];
  const masks = bodies.flatMap(({ segmentation }) => segmentation ?? []);
  if (!masks.length) return null;
  const { width, height } = masks[0];
  const greys = await Promise.all(masks.map((mask) => greyOf(mask, width, height)));
  const veil = new ImageData(width, height);
  const dark = VEIL_OPACITY / 255;
  for (let at = 0; at < veil.data.length; at += 4) {
    let most = 0;
    for (const { data } of greys) most = Math.max(most, data[at]);
    [veil.data[at], veil.data[at + 1], veil.data[at + 2]] = VEIL;
    veil.data[at + 3] = (255 - most) * dark * 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(veil, 0, 0);
  return canvas;
}
