/** Masks of bodies (see docs/http-api.md): decoding, and an overlay that darkens the background. */

const DARK = [18, 20, 28]; // background colour of all drawings
const OPACITY = 0.9;

export type Segmentation = { width: number; height: number; png: string };

/** Return the bytes of a text in base64. */
export const bytesOf = (text: string) =>
  Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * Return a mask as an image whose R, G and B are the person's probability, 0 to 255.
 *
 * @param height pixels wanted
 */
export async function greyOf(
  { png }: Segmentation,
  width: number,
  height: number,
): Promise<ImageData> {
  const bitmap = await createImageBitmap(new Blob([bytesOf(png)], { type: "image/png" }), {
    colorSpaceConversion: "none",
  });
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true,
  }) as OffscreenCanvasRenderingContext2D;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/**
 * Return an overlay that darkens everything except some bodies, to stretch over the image; null
 * without masks.
 */
export async function maskOverlay(masks: Segmentation[]): Promise<OffscreenCanvas | null> {
  if (!masks.length) return null;
  const { width, height } = masks[0]!;
  const greys = await Promise.all(masks.map((mask) => greyOf(mask, width, height)));
  const overlay = new ImageData(width, height);
  const alpha = OPACITY / 255;
  for (let at = 0; at < overlay.data.length; at += 4) {
    let most = 0;
    for (const { data } of greys) most = Math.max(most, data[at]!);
    overlay.data.set(DARK, at);
    overlay.data[at + 3] = (255 - most) * alpha * 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(overlay, 0, 0);
  return canvas;
}
