/** One view: its image, the drawing over it and its pointer input. */

import { drawScene } from "./drawing.js";
import { Grip } from "./grip.js";
import { getImage } from "./project.js";

const MOST_ZOOM = 60;
/** Share of a tile that a hand fills, and minimum visible share of an image. */
const AROUND = 0.7, LEAST = 0.05;
const DETAIL_AFTER_MS = 140;

/** @typedef {import("./drawing.js").Scene} Scene */
/** @typedef {{tap: (x: number, y: number, joint: number | null) => void, activate: () => void, error: (error: unknown) => void,
 *   drag: (joint: number, x: number, y: number, done: boolean) => void}} Handlers */

export class Tile {
  /** @type {import("./project.js").View | null} */ view = null;
  /** @type {Scene | null} */ scene = null;
  #on;
  #parts;
  #frame = -1;
  /** @type {ImageBitmap | null} */ #image = null;
  /** @type {{bitmap: ImageBitmap, region: number[]} | null} the visible part at full size */ #detail = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #zoom = { scale: 1, x: 0, y: 0 }; // screen pixels per image pixel, and position of the image's corner
  #fitted = true;
  #scheduled = false;

  /** @param {HTMLElement} node made of the template @param {Handlers} on */
  constructor(node, on) {
    this.node = node;
    this.#on = on;
    this.#parts = {
      image: /** @type {HTMLCanvasElement} */ (node.querySelector(".image")), overlay: /** @type {HTMLCanvasElement} */ (node.querySelector(".overlay")),
      chooser: /** @type {HTMLSelectElement} */ (node.querySelector("select")), note: /** @type {HTMLElement} */ (node.querySelector(".note")),
      reason: /** @type {HTMLElement} */ (node.querySelector(".reason")),
    };
    new Grip(this, on);
    new ResizeObserver(() => this.#resized()).observe(node);
  }

  get chooser() {
    return this.#parts.chooser;
  }

  get overlay() {
    return this.#parts.overlay;
  }

  get hasImage() {
    return this.#image !== null;
  }

  /** Return the longer side of the tile in device pixels. */
  get longest() {
    return Math.max(this.node.clientWidth, this.node.clientHeight) * devicePixelRatio;
  }

  /** @param {import("./project.js").View} view */
  choose(view) {
    if (view === this.view) return;
    this.view = view;
    this.#fitted = true;
    this.blank(-1, "");
    this.#fit();
  }

  /** @param {number} frame @param {ImageBitmap} image */
  show(frame, image) {
    if (frame !== this.#frame) this.#dropDetail();
    this.#frame = frame;
    this.#image = image;
    this.#parts.reason.textContent = "";
    if (this.#fitted) this.#fit();
    this.#refine();
    this.render();
  }

  /** Show the reason why there is no image. @param {number} frame @param {string} why */
  blank(frame, why) {
    this.#frame = frame;
    this.#image = null;
    this.#dropDetail();
    this.#parts.reason.textContent = why;
    this.render();
  }

  /** @param {Scene} scene @param {string} note text in the corner @param {string} label for screen readers */
  annotate(scene, note, label) {
    this.scene = scene;
    this.#parts.note.textContent = note;
    this.overlay.setAttribute("aria-label", label);
    this.#schedule();
  }

  /** Return the page position of an image point. @param {number} x @param {number} y @returns {[number, number]} */
  toPage(x, y) {
    const { left, top } = this.overlay.getBoundingClientRect();
    const [u, v] = this.put(x, y);
    return [left + u, top + v];
  }

  /** @param {number} by @param {[number, number]} [at] screen pixels of the tile; by default its middle */
  zoomBy(by, at = [this.node.clientWidth / 2, this.node.clientHeight / 2]) {
    const zoom = this.#zoom;
    const scale = Math.min(Math.max(zoom.scale * by, this.#fitScale() / 2), this.#fitScale() * MOST_ZOOM);
    zoom.x = at[0] - ((at[0] - zoom.x) * scale) / zoom.scale;
    zoom.y = at[1] - ((at[1] - zoom.y) * scale) / zoom.scale;
    zoom.scale = scale;
    this.#moved();
  }

  /** @param {number} dx @param {number} dy screen pixels */
  panBy(dx, dy) {
    this.#zoom.x += dx;
    this.#zoom.y += dy;
    this.#moved();
  }

  fit() {
    this.#fitted = true;
    this.#fit();
    this.#dropDetail();
    this.render();
  }

  /** Centre the view on a point and zoom in. @param {number} x @param {number} y */
  centre(x, y) {
    this.#zoom.x = this.node.clientWidth / 2 - x * this.#zoom.scale;
    this.#zoom.y = this.node.clientHeight / 2 - y * this.#zoom.scale;
    this.#moved();
  }

  /** Zoom so that all points are visible. @param {[number, number][]} places */
  fitTo(places) {
    if (!places.length || !this.view) return;
    const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((axis) => end(...places.map((place) => place[axis]))));
    const [wide, tall] = [0, 1].map((axis) => Math.max(high[axis] - low[axis], LEAST * (this.view?.width ?? 1)));
    this.zoomBy((AROUND * Math.min(this.node.clientWidth / wide, this.node.clientHeight / tall)) / this.#zoom.scale);
    this.centre((low[0] + high[0]) / 2, (low[1] + high[1]) / 2);
  }

  /** Return the middle of the visible part in the image. @returns {[number, number]} */
  get middle() {
    return this.take(this.node.clientWidth / 2, this.node.clientHeight / 2);
  }

  /** Clamp a point to the image. @param {number} x @param {number} y @returns {[number, number]} */
  inside(x, y) {
    const { width = 0, height = 0 } = this.view ?? {};
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  render() {
    this.#scheduled = false;
    const { image, overlay } = this.#parts;
    const [width, height] = [this.node.clientWidth, this.node.clientHeight];
    for (const canvas of [image, overlay]) {
      const size = { width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio) };
      if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
    }
    const { scale, x, y } = this.#zoom;
    const imageContext = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
    imageContext.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    imageContext.clearRect(0, 0, width, height);
    imageContext.imageSmoothingEnabled = scale * devicePixelRatio < 6; // large pixels are drawn without interpolation
    if (this.#image && this.view) {
      imageContext.drawImage(this.#image, x, y, this.view.width * scale, this.view.height * scale);
      if (this.#detail) {
        const [left, top, wide, high] = this.#detail.region;
        imageContext.drawImage(this.#detail.bitmap, x + left * scale, y + top * scale, wide * scale, high * scale);
      }
    }
    const overlayContext = /** @type {CanvasRenderingContext2D} */ (overlay.getContext("2d"));
    overlayContext.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    overlayContext.clearRect(0, 0, width, height);
    if (this.scene && this.#image) drawScene(overlayContext, (u, v) => this.put(u, v), this.scene);
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.render());
  }

  #moved() {
    this.#fitted = false;
    this.#refine();
    this.#schedule();
  }

  #resized() {
    if (this.#fitted) this.#fit();
    this.render();
  }

  #fitScale() {
    const { width = 1, height = 1 } = this.view ?? {};
    return Math.min(this.node.clientWidth / width, this.node.clientHeight / height) || 1;
  }

  #fit() {
    const scale = this.#fitScale();
    const { width = 1, height = 1 } = this.view ?? {};
    this.#zoom = { scale, x: (this.node.clientWidth - width * scale) / 2, y: (this.node.clientHeight - height * scale) / 2 };
  }

  /** Map an image point to the tile. @param {number} x @param {number} y @returns {[number, number]} */
  put(x, y) {
    return [this.#zoom.x + x * this.#zoom.scale, this.#zoom.y + y * this.#zoom.scale];
  }

  /** Map a tile point to the image. @param {number} u @param {number} v @returns {[number, number]} */
  take(u, v) {
    return [(u - this.#zoom.x) / this.#zoom.scale, (v - this.#zoom.y) / this.#zoom.scale];
  }

  #dropDetail() {
    clearTimeout(this.#timer);
    this.#detail?.bitmap.close();
    this.#detail = null;
  }

  /** Fetch the visible part at full size if the image is coarser than the screen. */
  #refine() {
    clearTimeout(this.#timer);
    const view = this.view;
    if (!view || !this.#image) return;
    const resolution = this.#image.width / view.width; // share of the image's pixels that were requested
    if (resolution >= 1 || resolution >= this.#zoom.scale * devicePixelRatio * 0.95) return this.#dropDetail();
    this.#timer = setTimeout(async () => {
      const frame = this.#frame;
      const [from, to] = [this.inside(...this.take(0, 0)), this.inside(...this.take(this.node.clientWidth, this.node.clientHeight))];
      const region = [...from.map(Math.floor), ...to.map((end, k) => Math.ceil(end) - Math.floor(from[k]))];
      if (Math.min(region[2], region[3]) < 2) return;
      try {
        const bitmap = await getImage(view.name, frame, Math.min(Math.ceil(this.longest), 8192), region);
        if (frame !== this.#frame || view !== this.view) return bitmap.close();
        this.#dropDetail();
        this.#detail = { bitmap, region };
        this.#schedule();
      } catch (error) {
        this.#on.error(error);
      }
    }, DETAIL_AFTER_MS);
  }
}
