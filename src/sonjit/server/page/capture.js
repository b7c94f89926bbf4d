/** From a moving or still picture to what goes to the server, and to what is shown beside its answer. */

/** @typedef {{picture: HTMLCanvasElement, width: number, height: number, rgba?: ImageData, blob?: Blob}} Captured */

const SLOTS = 4; // pictures kept until their answers are drawn: two on their way, one drawn, one taken
const LARGEST_RAW_PX = 700_000;
const LOOPBACK = /^(localhost|127\.|\[::1\])/;

export class Capture {
  /** @type {HTMLCanvasElement[]} */ #slots = [];
  #next = 0;
  /** @type {Worker | null} */ #worker = null;
  /** @type {Map<number, (blob: Blob) => void>} */ #waiting = new Map();

  /**
   * The picture that a video shows now.
   *
   * On this machine raw pixels are faster: neither side spends time on JPEG. Larger ones, and all that go over a
   * network, are compressed by a worker.
   *
   * @param {HTMLVideoElement} video
   * @returns {Promise<Captured>}
   */
  async take(video) {
    const { videoWidth: width, videoHeight: height } = video;
    const raw = width * height <= LARGEST_RAW_PX && LOOPBACK.test(location.hostname);
    const picture = this.#slot(width, height);
    const ctx = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d", { alpha: false, willReadFrequently: true }));
    ctx.drawImage(video, 0, 0, width, height);
    if (raw) return { picture, width, height, rgba: ctx.getImageData(0, 0, width, height) };
    return { picture, width, height, blob: await this.#encode(await createImageBitmap(picture)) };
  }

  /**
   * A still picture: its own file goes, as it is.
   *
   * @param {ImageBitmap} bitmap @param {Blob} file @returns {Captured}
   */
  still(bitmap, file) {
    const picture = this.#slot(bitmap.width, bitmap.height);
    picture.getContext("2d", { alpha: false, willReadFrequently: true })?.drawImage(bitmap, 0, 0);
    return { picture, width: bitmap.width, height: bitmap.height, blob: file };
  }

  /** @param {number} width @param {number} height */
  #slot(width, height) {
    const slot = (this.#slots[this.#next] ??= document.createElement("canvas"));
    this.#next = (this.#next + 1) % SLOTS;
    if (slot.width !== width || slot.height !== height) Object.assign(slot, { width, height });
    return slot;
  }

  /** @param {ImageBitmap} bitmap @returns {Promise<Blob>} */
  #encode(bitmap) {
    if (!this.#worker) {
      this.#worker = new Worker(new URL("./encoder.js", import.meta.url), { type: "module" });
      this.#worker.onmessage = ({ data: { id, blob } }) => {
        this.#waiting.get(id)?.(blob);
        this.#waiting.delete(id);
      };
    }
    const id = performance.now() + Math.random();
    this.#worker.postMessage({ id, bitmap }, [bitmap]);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }
}
