/** Converts the image types of tfjs-models to files for the server. */

/** @typedef {HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap | ImageData | Blob} ImageLike */

const KNOWN = "HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap, ImageData or Blob";

/**
 * Return the current image as a file. Videos are read before the first await.
 *
 * @param {ImageLike} image
 * @param {{flip: boolean, type: "image/png" | "image/jpeg"}} how `flip`: mirror the image
 * @returns {Promise<Blob>}
 */
export async function fileOf(image, { flip, type }) {
  if (image instanceof Blob && !flip) return image;
  const drawable = image instanceof Blob ? decode(image) : image instanceof ImageData ? createImageBitmap(image) : image;
  const canvas = draw(drawable instanceof Promise ? await drawable : drawable, flip);
  try {
    return await canvas.convertToBlob({ type, quality: 0.95 });
  } catch (error) {
    const reason = /** @type {Error} */ (error).message;
    throw new Error(`the pixels may not be read (${reason}): load the image from this page's origin or with crossorigin`);
  }
}

/** @param {Blob} file @returns {Promise<ImageBitmap>} */
export async function decode(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`this browser cannot read the image (${file.type || "no type"}, ${file.size} bytes)`);
  }
}

/** @param {Exclude<ImageLike, ImageData | Blob>} image @param {boolean} flip @param {OffscreenCanvas} [canvas] an empty one @returns {OffscreenCanvas} */
export function draw(image, flip, canvas = new OffscreenCanvas(1, 1)) {
  const [width, height] = sizeOf(image);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

/** Return width and height as tfjs does: an <img> has its displayed size. @param {any} image */
function sizeOf(image) {
  if (typeof image?.dataSync === "function") {
    throw new Error("a tensor cannot be sent: give the image it was made from, or draw it with tf.browser.toPixels(tensor, canvas)");
  }
  const kinds = [HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap];
  if (!kinds.some((kind) => image instanceof kind)) {
    throw new Error(`a ${image?.constructor?.name ?? typeof image} is not an image; known: ${KNOWN}`);
  }
  const size = image instanceof HTMLVideoElement ? [image.videoWidth, image.videoHeight] : [image.width, image.height];
  if (size.includes(0) || (image instanceof HTMLVideoElement && image.readyState < image.HAVE_CURRENT_DATA)) {
    throw new Error("the image is empty: wait until the image or video has loaded (image.decode(), the event loadeddata)");
  }
  return size;
}
