/** Pointer input of a view: tap to mark, drag a mark or the image, zoom with two fingers or the wheel. */

import { INK, LEFT, NEUTRAL, RIGHT } from "../kinds.js";
import { getImage } from "./project.js";

const GRAB_PX = 9; // distance in screen pixels within which a pointer selects a mark
const MOVED_PX = 4; // a longer movement is not a tap

export class Grip {
  #tile;
  #on;
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  /** @type {{joint: number | null, x: number, y: number, moved: boolean} | null} */ #drag = null;

  /** @param {Tile} tile @param {Handlers} on */
  constructor(tile, on) {
    this.#tile = tile;
    this.#on = on;
    const { overlay } = tile;
    overlay.addEventListener("pointerdown", (event) => this.#down(event));
    overlay.addEventListener("pointermove", (event) => this.#move(event));
    overlay.addEventListener("pointerup", (event) => this.#up(event, true));
    overlay.addEventListener("pointercancel", (event) => this.#up(event, false));
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
    overlay.addEventListener("focus", () => on.activate());
    overlay.addEventListener("wheel", (event) => {
      event.preventDefault();
      const speed = event.ctrlKey ? 0.01 : 0.0015; // browsers report pinch gestures of a touch pad this way
      tile.zoomBy(Math.exp(-event.deltaY * speed), [event.offsetX, event.offsetY]);
    }, { passive: false });
  }

  /** @param {PointerEvent} event */
  #down({ pointerId, button, offsetX: x, offsetY: y }) {
    this.#tile.overlay.setPointerCapture(pointerId);
    this.#pointers.set(pointerId, { x, y });
    const isSingle = button === 0 && this.#pointers.size === 1;
    this.#drag = { joint: isSingle ? this.#jointAt(x, y) : null, x, y, moved: !isSingle };
  }

  /** @param {PointerEvent} event */
  #move({ pointerId, offsetX: x, offsetY: y }) {
    const last = this.#pointers.get(pointerId);
    const drag = this.#drag;
    if (!last || !drag) return;
    const before = this.#spread();
    this.#pointers.set(pointerId, { x, y });
    drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > MOVED_PX;
    if (!drag.moved) return;
    if (drag.joint !== null) return void this.#on.drag(drag.joint, ...this.#placeAt(x, y), false);
    const share = 1 / this.#pointers.size;
    this.#tile.panBy((x - last.x) * share, (y - last.y) * share);
    if (this.#pointers.size === 2 && before) this.#tile.zoomBy(this.#spread() / before, this.#between());
  }

  /** @param {PointerEvent} event @param {boolean} isMeant */
  #up({ pointerId, offsetX: x, offsetY: y }, isMeant) {
    if (!this.#pointers.delete(pointerId) || this.#pointers.size) return;
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || !isMeant || !this.#tile.hasImage) return;
    if (!drag.moved) this.#on.tap(...this.#placeAt(x, y), drag.joint);
    else if (drag.joint !== null) this.#on.drag(drag.joint, ...this.#placeAt(x, y), true);
  }

  /** @param {number} u @param {number} v */
  #placeAt(u, v) {
    return this.#tile.inside(...this.#tile.take(u, v));
  }

  /** Return the mark under a pointer, preferably that of the selected joint. @param {number} u @param {number} v @returns {number | null} */
  #jointAt(u, v) {
    const { scene } = this.#tile;
    const near = [...(scene?.marks ?? []), ...(scene?.machine ?? [])]
      .map(([joint, mark]) => {
        const [x, y] = this.#tile.put(mark.x ?? Infinity, mark.y ?? Infinity);
        return { joint, away: Math.hypot(x - u, y - v) };
      })
      .filter(({ away }) => away <= GRAB_PX)
      .sort((a, b) => a.away - b.away);
    return near.find(({ joint }) => joint === scene?.joint)?.joint ?? near[0]?.joint ?? null;
  }

  /** Return the distance of two fingers; 0 with one. */
  #spread() {
    const [a, b] = [...this.#pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** @returns {[number, number]} */
  #between() {
    const [a, b] = [...this.#pointers.values()];
    return [(a.x + b.x) / 2, (a.y + b.y) / 2];
  }
}

const WARNING = "#ff5c5c";
const LINE = "#f6f078";
const MACHINE = "#c9a7ff";
/** Minimum residual that should be checked, in pixels of the image. */
export const FAR_PX = 5;

/** @typedef {[number, number]} Spot canvas pixels */
/** @typedef {{joint: number, x: number | null, y: number | null, state: import("./project.js").MarkState, source: string}} DrawnMark */
/**
 * @typedef {{marks: Map<number, DrawnMark>, machine: Map<number, DrawnMark>, others: (DrawnMark & {annotator: string})[],
 *   projected: (Spot | null)[], residuals: (number | null)[],
 *   line: [number, number][], bones: [number, number][], odd: Set<string>, joint: number, name: string, conflicts: Set<number>,
 *   cursor: Spot | null}} Scene places are in pixels of the image
 */

/** Return the position of a mark; null without one. @param {DrawnMark | undefined} mark @returns {Spot | null} */
const spotOf = (mark) => (mark?.x == null || mark.y === null ? null : [mark.x, mark.y]);

/** @param {number} joint */
const handColour = (joint) => (joint < 21 ? RIGHT : LEFT);

/**
 * @param {CanvasRenderingContext2D} ctx one unit is a pixel of the screen
 * @param {(x: number, y: number) => Spot} put from the image to the screen
 * @param {Scene} scene
 */
export function drawScene(ctx, put, scene) {
  ctx.lineCap = ctx.lineJoin = "round";
  if (scene.line.length) drawLine(ctx, put, scene.line);
  const places = scene.projected.map((spot, joint) => {
    return spotOf(scene.marks.get(joint)) ?? spot;
  });
  for (const [a, b] of scene.bones) {
    const [from, to] = [places[a], places[b]];
    if (!from || !to) continue;
    const isOdd = scene.odd.has(`${a} ${b}`);
    stroke(ctx, [put(from[0], from[1]), put(to[0], to[1])], isOdd ? WARNING : handColour(a), isOdd ? 4 : 2, isOdd ? 1 : 0.75);
  }
  for (const [a, b] of scene.bones) {
    const [from, to] = [a, b].map((joint) => places[joint] ?? (scene.marks.has(joint) ? null : spotOf(scene.machine.get(joint))));
    if (from && to && !(places[a] && places[b])) stroke(ctx, [put(...from), put(...to)], handColour(a), 1.25, 0.6);
  }
  for (const [joint, mark] of scene.machine) {
    const spot = spotOf(mark);
    if (spot && !scene.marks.has(joint)) diamond(ctx, put(...spot), handColour(joint), joint === scene.joint);
  }
  for (const mark of scene.others) {
    const spot = spotOf(mark);
    if (spot) cross(ctx, put(...spot), mark.joint === scene.joint ? mark.annotator : "");
  }
  scene.projected.forEach((spot, joint) => {
    if (!spot) return;
    const at = put(...spot);
    const marked = spotOf(scene.marks.get(joint));
    if (marked) gap(ctx, put(...marked), at, scene.residuals[joint] ?? 0);
    else ring(ctx, at, joint === scene.joint ? 6 : 3.25, handColour(joint), 1.5);
  });
  for (const [joint, mark] of scene.marks) {
    const spot = spotOf(mark);
    if (spot) drawMark(ctx, put(...spot), mark, joint === scene.joint, scene.conflicts.has(joint));
  }
  nameJoint(ctx, put, scene, places[scene.joint]);
  if (scene.cursor) crosshair(ctx, put(...scene.cursor));
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot[]} path @param {string} colour @param {number} width @param {number} [alpha] */
function stroke(ctx, path, colour, width, alpha = 1) {
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.beginPath();
  for (const spot of path) ctx.lineTo(...spot);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} ctx @param {(x: number, y: number) => Spot} put @param {[number, number][]} line */
function drawLine(ctx, put, line) {
  const path = line.map(([x, y]) => put(x, y));
  stroke(ctx, path, INK, 4, 0.5);
  ctx.setLineDash([7, 5]);
  stroke(ctx, path, LINE, 1.75);
  ctx.setLineDash([]);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {number} radius @param {string} colour @param {number} width */
function ring(ctx, at, radius, colour, width) {
  for (const [tint, bold] of /** @type {[string, number][]} */ ([[INK, width + 2], [colour, width]])) {
    ctx.strokeStyle = tint;
    ctx.lineWidth = bold;
    ctx.beginPath();
    ctx.arc(...at, radius, 0, 2 * Math.PI);
    ctx.stroke();
  }
}

/** Draw a mark: a dot if visible, a ring with a dot if hidden, a dashed ring if uncertain.
 * @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {DrawnMark} mark @param {boolean} isActive @param {boolean} isDisputed */
function drawMark(ctx, at, mark, isActive, isDisputed) {
  const colour = handColour(mark.joint);
  const radius = isActive ? 6 : 4;
  if (mark.state === "uncertain") ctx.setLineDash([3, 3]);
  if (mark.state === "seen") {
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.arc(...at, radius, 0, 2 * Math.PI);
    ctx.fill();
    ctx.strokeStyle = mark.source === "H+M" ? MACHINE : INK;
    ctx.lineWidth = 1.25;
    ctx.stroke();
  } else {
    ring(ctx, at, radius, colour, 2);
    ctx.fillStyle = colour;
    ctx.fillRect(at[0] - 1, at[1] - 1, 2, 2);
  }
  ctx.setLineDash([]);
  if (isActive) ring(ctx, at, radius + 5, NEUTRAL, 1.5);
  if (isDisputed) ring(ctx, at, radius + 3, WARNING, 1.5);
}

/** Draw the line from a mark to the projected joint. @param {CanvasRenderingContext2D} ctx @param {Spot} from @param {Spot} to @param {number} px */
function gap(ctx, from, to, px) {
  if (px < 0.5) return;
  stroke(ctx, [from, to], px > FAR_PX ? WARNING : NEUTRAL, 1.5);
  ring(ctx, to, 2.5, px > FAR_PX ? WARNING : NEUTRAL, 1);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} colour @param {boolean} isActive */
function diamond(ctx, [x, y], colour, isActive) {
  const size = isActive ? 7 : 4.5;
  stroke(ctx, [[x, y - size], [x + size, y], [x, y + size], [x - size, y], [x, y - size]], INK, 3.5);
  stroke(ctx, [[x, y - size], [x + size, y], [x, y + size], [x - size, y], [x, y - size]], colour, 1.5);
  if (isActive) label(ctx, [x + 10, y], "M");
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} name */
function cross(ctx, [x, y], name) {
  for (const [colour, width] of /** @type {[string, number][]} */ ([[INK, 3.5], [NEUTRAL, 1.5]])) {
    stroke(ctx, [[x - 4, y - 4], [x + 4, y + 4]], colour, width, 0.85);
    stroke(ctx, [[x - 4, y + 4], [x + 4, y - 4]], colour, width, 0.85);
  }
  if (name) label(ctx, [x + 8, y + 9], name);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at */
function crosshair(ctx, [x, y]) {
  for (const [colour, width] of /** @type {[string, number][]} */ ([[INK, 3], [NEUTRAL, 1.25]])) {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      stroke(ctx, [[x + 4 * dx, y + 4 * dy], [x + 14 * dx, y + 14 * dy]], colour, width);
    }
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {(x: number, y: number) => Spot} put @param {Scene} scene @param {Spot | null} place */
function nameJoint(ctx, put, { name, joint, residuals }, place) {
  if (!place) return;
  const [x, y] = put(place[0], place[1]);
  const content = [name, residuals[joint] == null ? "" : `${residuals[joint]?.toFixed(1)} px`].filter(Boolean).join("  ");
  if (content) label(ctx, [x + 12, y - 16], content);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} content */
function label(ctx, [x, y], content) {
  ctx.font = "600 12px system-ui, sans-serif";
  const width = ctx.measureText(content).width + 10;
  const left = Math.min(x, Math.max(ctx.canvas.clientWidth - width - 2, 0));
  ctx.globalAlpha = 0.78;
  ctx.fillStyle = INK;
  ctx.beginPath();
  ctx.roundRect(left, y - 9, width, 18, 9);
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.fillStyle = "#ffffff";
  ctx.textBaseline = "middle";
  ctx.fillText(content, left + 5, y + 0.5);
}

const MOST_ZOOM = 60;
/** Share of a tile that a hand fills, and minimum visible share of an image. */
const AROUND = 0.7, LEAST = 0.05;
const DETAIL_AFTER_MS = 140;

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

  /** @param {Scene} scene @param {string} note text in the corner @param {string} description for screen readers */
  annotate(scene, note, description) {
    this.scene = scene;
    this.#parts.note.textContent = note;
    this.overlay.setAttribute("aria-label", description);
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
