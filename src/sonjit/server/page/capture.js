/** Captures images for the server and for the view. */

import { scaledSize } from "./frames.js";
import { fit } from "./overlay.js";

/** @typedef {{image: HTMLCanvasElement, blob: Blob}} Shot `image`: the captured image; `blob`: its encoded bytes, empty without encoding */

const NOTHING = new Blob();
const SLOTS = 4; // images in use: two in transit, one drawn, one captured

export class Capture {
  /** True if images are encoded, as a server requires. */ encodes = true;
  /** Maximum side of a sent image in pixels; 0 for the original size. */ longest = 0;
  /** @type {HTMLCanvasElement[]} */ #slots = [];
  #next = 0;
  #worker = new Worker(new URL("./encoder.js", import.meta.url), { type: "module" });
  /** @type {Map<number, (blob: Blob) => void>} */ #waiting = new Map();
  #count = 0;
  /** @type {HTMLCanvasElement | null} */ #copy = null;
  /** @type {ImageData | null} */ #pixels = null;

  constructor() {
    this.#worker.onmessage = ({ data: { id, blob } }) => {
      this.#waiting.get(id)?.(blob);
      this.#waiting.delete(id);
    };
  }

  /**
   * Capture the current image of a video.
   *
   * It is encoded as JPEG even on one machine: a browser takes longer to copy raw pixels (20 ms for 640x480 in
   * Chromium) than to compress them (5 ms).
   *
   * @param {HTMLVideoElement} video
   * @returns {Promise<Shot>}
   */
  async take(video) {
    const pixels = this.encodes ? null : await this.#pixelsOf(video);
    const [width, height] = this.#sizeOf(video.videoWidth, video.videoHeight);
    if (!pixels) return this.#encoded(this.#slotFor(video, width, height));
    const isScaled = width !== pixels.width || height !== pixels.height;
    const image = isScaled ? (this.#copy ??= document.createElement("canvas")) : this.#slot(width, height);
    fit(image, pixels.width, pixels.height);
    image.getContext("2d", { alpha: false })?.putImageData(pixels, 0, 0);
    return this.#encoded(isScaled ? this.#slotFor(image, width, height) : image);
  }

  /**
   * Return the current pixels of a video, valid until the next call; null if they cannot be copied.
   *
   * Without a graphics card Chromium stores drawn images of a video until they take 512 MB.
   *
   * @param {HTMLVideoElement} video
   * @returns {Promise<ImageData | null>}
   */
  async #pixelsOf(video) {
    if (!("VideoFrame" in globalThis)) return null;
    const frame = /** @type {any} */ (new VideoFrame(video));
    try {
      const { displayWidth: width, displayHeight: height, visibleRect, rotation, flip } = frame;
      const isUpright = rotation === 0 && flip === false && visibleRect.width === width && visibleRect.height === height;
      if (!isUpright || width !== video.videoWidth || height !== video.videoHeight) return null;
      let pixels = this.#pixels;
      if (!pixels || pixels.width !== width || pixels.height !== height) pixels = this.#pixels = new ImageData(width, height);
      await frame.copyTo(pixels.data, { format: "RGBA" });
      return pixels;
    } catch {
      return null; // the browser lacks this function
    } finally {
      frame.close();
    }
  }

  /**
   * Capture a still image. Its file is sent unchanged unless the image is too large.
   *
   * @param {ImageBitmap} bitmap @param {Blob} file @returns {Promise<Shot>}
   */
  async still(bitmap, file) {
    const [width, height] = this.#sizeOf(bitmap.width, bitmap.height);
    const image = this.#slotFor(bitmap, width, height);
    return width === bitmap.width && height === bitmap.height ? { image, blob: file } : this.#encoded(image);
  }

  /** @param {number} width @param {number} height */
  #sizeOf(width, height) {
    return scaledSize(width, height, { longest: this.longest });
  }

  /** @param {HTMLCanvasElement} image @returns {Promise<Shot>} */
  async #encoded(image) {
    if (!this.encodes) return { image, blob: NOTHING };
    const bitmap = await createImageBitmap(image);
    const id = this.#count++;
    this.#worker.postMessage({ id, bitmap }, [bitmap]);
    return { image, blob: await new Promise((resolve) => this.#waiting.set(id, resolve)) };
  }

  /** @param {CanvasImageSource} image @param {number} width @param {number} height */
  #slotFor(image, width, height) {
    const slot = this.#slot(width, height);
    slot.getContext("2d", { alpha: false })?.drawImage(image, 0, 0, width, height);
    return slot;
  }

  /** @param {number} width @param {number} height */
  #slot(width, height) {
    const slot = (this.#slots[this.#next] ??= document.createElement("canvas"));
    this.#next = (this.#next + 1) % SLOTS;
    fit(slot, width, height);
    return slot;
  }
}
