/** Whatever tfjs-models takes as a picture, as pixels and as files. */

/** @typedef {HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap | ImageData | Blob} ImageLike */

const KNOWN = "HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap, ImageData or Blob";
const canvas = new OffscreenCanvas(1, 1);
const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));

/**
 * The picture as it stands now; what moves is read before the first await.
 *
 * @param {ImageLike} image
 * @param {boolean} flip exchange left and right
 * @returns {Promise<ImageData>}
 */
export async function pixelsOf(image, flip) {
  if (image instanceof ImageData) return flip ? draw(await createImageBitmap(image), flip) : image;
  return draw(image instanceof Blob ? await decode(image) : image, flip);
}

/**
 * @param {ImageData} pixels
 * @param {"image/png" | "image/jpeg"} type
 * @returns {Promise<Blob>}
 */
export function encode(pixels, type) {
  const sheet = new OffscreenCanvas(pixels.width, pixels.height);
  sheet.getContext("2d")?.putImageData(pixels, 0, 0);
  return sheet.convertToBlob({ type, quality: 0.95 });
}

/** @param {Blob} file @returns {Promise<ImageBitmap>} */
async function decode(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`this browser cannot read the picture (${file.type || "no type"}, ${file.size} bytes)`);
  }
}

/** @param {Exclude<ImageLike, ImageData | Blob>} image @param {boolean} flip @returns {ImageData} */
function draw(image, flip) {
  const [width, height] = sizeOf(image);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  pen.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
  pen.clearRect(0, 0, width, height);
  try {
    pen.drawImage(image, 0, 0, width, height);
    return pen.getImageData(0, 0, width, height);
  } catch (error) {
    throw new Error(`the pixels may not be read (${/** @type {Error} */ (error).message}): load the picture from this page's origin or with crossorigin`);
  }
}

/** Width and height as tfjs takes them: an <img> counts as large as it is shown. @param {any} image */
function sizeOf(image) {
  if (typeof image?.dataSync === "function") {
    throw new Error("a tensor cannot be sent: give the picture it was made from, or draw it with tf.browser.toPixels(tensor, canvas)");
  }
  const kinds = [HTMLImageElement, HTMLVideoElement, HTMLCanvasElement, OffscreenCanvas, ImageBitmap];
  if (!kinds.some((kind) => image instanceof kind)) {
    throw new Error(`a ${image?.constructor?.name ?? typeof image} is no picture; known: ${KNOWN}`);
  }
  const size = image instanceof HTMLVideoElement ? [image.videoWidth, image.videoHeight] : [image.width, image.height];
  if (size.includes(0) || (image instanceof HTMLVideoElement && image.readyState < image.HAVE_CURRENT_DATA)) {
    throw new Error("the picture is empty: wait until the image or video has loaded (image.decode(), the event loadeddata)");
  }
  return size;
}
