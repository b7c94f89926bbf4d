/** From a moving or still image to what goes to the server, and to what is shown beside its answer. */

import { scaledSize } from "./frames.js";
import { fit } from "./overlay.js";

/** @typedef {{image: HTMLCanvasElement, blob: Blob}} Shot `image` keeps what `blob` encodes, which is empty where nothing is encoded */

const NOTHING = new Blob();
const SLOTS = 4; // images kept until their answers are drawn: two on their way, one drawn, one taken

export class Capture {
  /** Whether images go as files, as to a server. */ encodes = true;
  /** Longest side that an image is scaled to before it goes; 0 for its own size. */ longest = 0;
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
   * The image that a video shows now.
   *
   * It goes as JPEG even within one machine: a browser takes longer to hand over raw pixels (20 ms for 640x480 in
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
   * The pixels that a video shows now, until the next are asked for; null where they cannot be copied.
   *
   * Where nothing but the processor draws, Chromium keeps every image of a video that is drawn until there are 512 MB.
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
      return null; // it has no such copies
    } finally {
      frame.close();
    }
  }

  /**
   * A still image: its own file goes, as it is where it is not too large.
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
