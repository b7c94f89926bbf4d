/** Shows the processed image and draws the results over it. */

import { USUAL_STYLE, paint } from "./painter.js";

const MAX_SCALE = 3; // scale of the overlay, so that lines are sharp on high-resolution screens
const LARGEST = 1920;

export class OverlayView {
  #image;
  #overlay;
  #stage;
  /** @type {{frame: Record<string, any>, mirrored: boolean, mask: OffscreenCanvas | null} | null} the drawn frame */ #last = null;
  #mirror = false;
  #ratio = "";
  #style = USUAL_STYLE;

  /** @param {HTMLCanvasElement} image @param {HTMLCanvasElement} overlay @param {HTMLElement} stage around both */
  constructor(image, overlay, stage) {
    this.#image = image;
    this.#overlay = overlay;
    this.#stage = stage;
    new ResizeObserver(() => this.#redraw()).observe(stage);
  }

  /** Mirror the view or not. @param {boolean} on */
  set mirror(on) {
    this.#mirror = on;
    this.#stage.classList.toggle("mirrored", on); // mirrors the image; the overlay is drawn again so that text stays readable
    this.#redraw();
  }

  /** Set the drawing style. @param {import("./painter.js").Style} style */
  set style(style) {
    this.#style = style;
    this.#redraw();
  }

  /** Show an image without results. @param {CanvasImageSource} image @param {number} width @param {number} height */
  show(image, width, height) {
    fit(this.#image, width, height);
    this.#image.getContext("2d")?.drawImage(image, 0, 0, width, height);
    const ratio = `${width} / ${height}`;
    if (ratio !== this.#ratio) this.#stage.style.aspectRatio = this.#ratio = ratio;
  }

  /** @param {Record<string, any>} frame @param {import("./detectors.js").ShownImage} seen `flipped`: the frame's x count from the right */
  draw(frame, { image, flipped, mask }) {
    this.#last = { frame, mirrored: flipped, mask };
    this.show(image, frame.width, frame.height);
    this.#redraw();
  }

  clear() {
    this.#last = null;
    wipe(this.#overlay);
  }

  /** Clear the image. */
  clearImage() {
    wipe(this.#image);
  }

  /**
   * Draw the image and its results into a canvas of the image's size.
   *
   * @param {HTMLCanvasElement} canvas is made to fit
   */
  compose(canvas) {
    const { width, height } = this.#image;
    fit(canvas, width, height);
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    if (this.#mirror) ctx.setTransform(-1, 0, 0, 1, width, 0);
    ctx.drawImage(this.#image, 0, 0);
    ctx.resetTransform();
    if (!this.#last) return;
    const { frame, mirrored, mask } = this.#last;
    paint(ctx, frame, { mirrored: mirrored !== this.#mirror, mask, style: this.#style });
  }

  #redraw() {
    wipe(this.#overlay);
    if (!this.#last) return;
    const { frame, mirrored, mask } = this.#last;
    const { clientWidth, clientHeight } = this.#stage;
    const shown = Math.min(clientWidth / frame.width, clientHeight / frame.height) || 1; // of a pixel of the image
    const scale = Math.min(Math.max(shown * devicePixelRatio, 1), MAX_SCALE, Math.max(1, LARGEST / frame.width));
    fit(this.#overlay, Math.round(frame.width * scale), Math.round(frame.height * scale));
    const ctx = /** @type {CanvasRenderingContext2D} */ (this.#overlay.getContext("2d"));
    ctx.setTransform(this.#overlay.width / frame.width, 0, 0, this.#overlay.height / frame.height, 0, 0);
    paint(ctx, frame, { mirrored: mirrored !== this.#mirror, unit: 1 / shown, mask, style: this.#style });
    ctx.resetTransform();
  }
}

/** Set the size of a canvas if it differs, which clears it. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

/** @param {HTMLCanvasElement} canvas */
function wipe(canvas) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}
