/** Read the pixels of images that a page sends to its worker. */

import type { Sent } from "./messages.js";
import type { Pixels } from "./pixels.js";

/** Reads all images into one buffer. With a new buffer for each image, memory fills up faster than browsers collect it. */
export class ImageReader {
  #pixels: { width: number; height: number; data: Uint8ClampedArray<ArrayBuffer> } | null = null;
  #canvas: OffscreenCanvas | null = null;
  /** Pages without TLS have no video frames, and in some browsers frames cannot be copied as RGBA. */
  #hasFrames = "VideoFrame" in globalThis;

  /** Return the pixels of an image. They are valid until the next image is read. */
  async read(image: Sent): Promise<Pixels> {
    if (!(image instanceof ImageBitmap)) return image;
    try {
      return (this.#hasFrames ? await this.#copyFrame(image) : null) ?? this.#draw(image);
    } finally {
      image.close();
    }
  }

  /** Copy an opaque image. Return null for a transparent one, because frames have colours multiplied by alpha. */
  async #copyFrame(image: ImageBitmap): Promise<Pixels | null> {
    const { width, height } = image;
    if (this.#pixels?.width !== width || this.#pixels.height !== height) {
      this.#pixels = { width, height, data: new Uint8ClampedArray(4 * width * height) };
    }
    const { data } = this.#pixels;
    const frame = new VideoFrame(image, { timestamp: 0 });
    try {
      await frame.copyTo(data, { format: "RGBA", layout: [{ offset: 0, stride: 4 * width }] });
    } catch {
      this.#hasFrames = false;
      return null;
    } finally {
      frame.close();
    }
    for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return null;
    return this.#pixels;
  }

  #draw(image: ImageBitmap): Pixels {
    const { width, height } = image;
    if (this.#canvas?.width !== width || this.#canvas.height !== height) this.#canvas = new OffscreenCanvas(width, height);
    const pen = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    pen.globalCompositeOperation = "copy";
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, width, height);
  }
}
