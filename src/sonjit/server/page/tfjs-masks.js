/** The mask of a pose in the format of tfjs-models: red and alpha are the probability, green and blue are 0. */

import { greyOf } from "./masks.js";

/**
 * @param {import("./masks.js").Segmentation} segmentation as the server gives it
 * @param {{width: number, height: number}} image pixels
 */
export function segmentationFrom(segmentation, image) {
  return { maskValueToLabel, mask: new Mask(segmentation, image) };
}

/** @param {number} value of a mask's red, 0 to 255 @returns {string} */
function maskValueToLabel(value) {
  if (!(Number.isInteger(value) && value >= 0 && value <= 255)) throw new Error(`mask value ${value}: give a whole number from 0 to 255`);
  return "person";
}

/** A mask that is decoded at the first access. */
class Mask {
  #segmentation;
  #image;
  /** @type {Promise<ImageData> | null} */ #pixels = null;

  /** @param {import("./masks.js").Segmentation} segmentation @param {{width: number, height: number}} image */
  constructor(segmentation, image) {
    this.#segmentation = segmentation;
    this.#image = image;
  }

  /** Return the mask in the size of the image. @returns {Promise<ImageData>} */
  toImageData() {
    this.#pixels ??= this.#decode();
    return this.#pixels;
  }

  /** @returns {Promise<HTMLCanvasElement>} */
  async toCanvasImageSource() {
    const canvas = Object.assign(document.createElement("canvas"), this.#image);
    canvas.getContext("2d")?.putImageData(await this.toImageData(), 0, 0);
    return canvas;
  }

  /** @returns {Promise<object>} a tensor (height, width, 4) of the page's own tfjs, 0 to 255 */
  async toTensor() {
    const { tf } = /** @type {any} */ (globalThis);
    if (typeof tf?.browser?.fromPixels !== "function") {
      throw new Error("toTensor: the page has no global tf; load tfjs before, or use toImageData()");
    }
    return tf.browser.fromPixels(await this.toImageData(), 4);
  }

  getUnderlyingType() {
    return "imagedata";
  }

  async #decode() {
    const pixels = await greyOf(this.#segmentation, this.#image.width, this.#image.height);
    const { data } = pixels;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at];
      data[at + 1] = data[at + 2] = 0;
    }
    return pixels;
  }
}
