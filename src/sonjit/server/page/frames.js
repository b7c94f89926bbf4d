// Made by `npm --prefix web run page` from web/src/page. Change it there.

// src/page/frames.ts
var FORMATS = ["canvas", "imagedata", "jpeg", "png"];
var QUALITY = 0.9;
var HAVE_DATA = 2;
function scaledSize(width, height, { width: wide = 0, height: high = 0, longest = 0 }) {
  const size = wide || high ? [wide || width * high / height, high || height * wide / width] : [width, height];
  const scale = longest ? Math.min(1, longest / Math.max(...size)) : 1;
  const [one, other] = size.map((side) => Math.max(1, Math.round(side * scale)));
  return [one, other];
}
var Frames = class {
  #source;
  #size;
  #format;
  #keep_ms;
  #last = null;
  #lastUpdate = -Infinity;
  /**
   * @param how `keep_ms`: time for which the last frame is returned again
   * @throws {RangeError} a size or time below 0, an unknown format
   */
  constructor(source, { format = "canvas", keep_ms = 0, ...size } = {}) {
    for (const [name, value] of Object.entries({ keep_ms, ...size })) {
      if (!(value >= 0 && Number.isFinite(value)))
        throw new RangeError(`${name} ${value}: give a number from 0`);
    }
    const other = Object.keys(size).find((name) => !["width", "height", "longest"].includes(name));
    if (other)
      throw new RangeError(
        `unknown option "${other}"; known: width, height, longest, format, keep_ms`
      );
    if (!FORMATS.includes(format))
      throw new RangeError(`unknown format "${format}"; known: ${FORMATS.join(", ")}`);
    this.#source = source;
    this.#size = size;
    this.#format = format;
    this.#keep_ms = keep_ms;
  }
  /**
   * Return the current frame of the source, or the last one if it is newer than `keep_ms`.
   *
   * @returns null if the source has not loaded or its pixels may not be read
   */
  take() {
    const now = performance.now();
    if (this.#last === null || now - this.#lastUpdate >= this.#keep_ms) {
      this.#last = this.#capture().catch(() => null);
      this.#lastUpdate = now;
    }
    return this.#last;
  }
  async #capture() {
    const source = this.#source;
    const [wide, high] = [
      source.videoWidth ?? source.naturalWidth ?? source.width ?? 0,
      source.videoHeight ?? source.naturalHeight ?? source.height ?? 0
    ];
    const isReady = (source.readyState ?? Infinity) >= HAVE_DATA && source.complete !== false;
    if (!(wide && high) || !isReady) return null;
    const [width, height] = scaledSize(wide, high, this.#size);
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(this.#source, 0, 0, width, height);
    if (this.#format === "imagedata") return context.getImageData(0, 0, width, height);
    if (this.#format !== "canvas")
      return canvas.convertToBlob({ type: `image/${this.#format}`, quality: QUALITY });
    context.getImageData(0, 0, 1, 1);
    return canvas;
  }
};
export {
  FORMATS,
  Frames,
  scaledSize
};
