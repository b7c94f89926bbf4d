/** From a moving or still image to what goes to the server, and to what is shown beside its answer. */

import { scaledSize } from "./frames.js";

/** @typedef {{image: HTMLCanvasElement, blob: Blob}} Shot `image` keeps what `blob` encodes, which is empty where nothing is encoded */

const SLOTS = 4; // images kept until their answers are drawn: two on their way, one drawn, one taken

export class Capture {
  /** Whether images go as files, as to a server. */ encodes = true;
  /** Longest side that an image is scaled to before it goes; 0 for its own size. */ longest = 0;
  /** @type {HTMLCanvasElement[]} */ #slots = [];
  #next = 0;
  #worker = new Worker(new URL("./encoder.js", import.meta.url), { type: "module" });
  /** @type {Map<number, (blob: Blob) => void>} */ #waiting = new Map();
  #count = 0;

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
    return this.#encoded(this.#slotFor(video, ...this.#sizeOf(video.videoWidth, video.videoHeight)));
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
    if (!this.encodes) return { image, blob: new Blob() };
    const bitmap = await createImageBitmap(image);
    const id = this.#count++;
    this.#worker.postMessage({ id, bitmap }, [bitmap]);
    return { image, blob: await new Promise((resolve) => this.#waiting.set(id, resolve)) };
  }

  /** @param {CanvasImageSource} image @param {number} width @param {number} height */
  #slotFor(image, width, height) {
    const slot = (this.#slots[this.#next] ??= document.createElement("canvas"));
    this.#next = (this.#next + 1) % SLOTS;
    if (slot.width !== width || slot.height !== height) Object.assign(slot, { width, height });
    slot.getContext("2d", { alpha: false })?.drawImage(image, 0, 0, width, height);
    return slot;
  }
}
