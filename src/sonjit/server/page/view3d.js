/** 3D view of world keypoints. Controls: drag, wheel, arrow keys, + and -, Home. */

import { fit } from "./overlay.js";
import { boundsOf, figuresOf } from "./scene.js";
import { lineColour } from "./skeletons.js";
import { shade } from "./strokes.js";

/** @typedef {import("./scene.js").Vector} Vector */

const HOME = { yaw: 0.5, pitch: 0.22, zoom: 1 };
const KEYS = {
  ArrowLeft: { yaw: -0.12 }, ArrowRight: { yaw: 0.12 }, ArrowUp: { pitch: 0.1 }, ArrowDown: { pitch: -0.1 },
  "+": { zoom: 1.15 }, "=": { zoom: 1.15 }, "-": { zoom: 1 / 1.15 },
};
const STEEPEST = 1.5;
const DISTANCE = 3.4; // distance of the eye in radii of the figures
const EASE = 0.08; // share of the change of bounds per frame, which keeps the view steady
const HIDDEN_OPACITY = 0.42; // opacity of hidden parts and parts outside the image

export class View3D {
  #canvas;
  #view = { ...HOME };
  /** @type {import("./scene.js").Figure[]} */ #figures = [];
  /** @type {{middle: Vector, reach: number, floor: number} | null} */ #bounds = null;
  #isScheduled = false;
  #isSeen = true;
  #shown = "";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
      if (buttons) this.#turn({ yaw: movementX * 0.01, pitch: movementY * 0.01 });
    });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls unless the view has the focus
      event.preventDefault();
      this.#turn({ zoom: Math.exp(-event.deltaY * 0.0012) });
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.#home());
    new ResizeObserver(() => this.#ask()).observe(canvas);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#isSeen = isIntersecting;
      this.#ask();
    }).observe(canvas);
  }

  /** @param {Record<string, any>} frame @param {{index?: number}} [seen] `index`: number of an image of a folder */
  draw(frame, { index } = {}) {
    const figures = figuresOf(frame);
    const shown = `${index ?? ""} ${figures.map(({ kind, points }) => kind + points.length).sort()}`;
    if (shown !== this.#shown) this.#bounds = null; // another image: fit the view at once
    this.#shown = shown;
    this.show(figures);
  }

  /** @param {import("./scene.js").Figure[]} figures in one space */
  show(figures) {
    this.#figures = figures;
    this.#ask();
  }

  clear() {
    this.#figures = [];
    this.#bounds = null;
    this.#render();
  }

  /** Draw once with the next frame of the screen, only while the view is visible. */
  #ask() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      if (this.#isSeen) this.#render();
    });
  }

  /** @param {{yaw?: number, pitch?: number, zoom?: number}} by */
  #turn({ yaw = 0, pitch = 0, zoom = 1 }) {
    const view = this.#view;
    view.yaw += yaw;
    view.pitch = Math.min(Math.max(view.pitch + pitch, -STEEPEST), STEEPEST);
    view.zoom = Math.min(Math.max(view.zoom * zoom, 0.4), 4);
    this.#ask();
  }

  #home() {
    this.#view = { ...HOME };
    this.#ask();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key === "Home") this.#home();
    else if (event.key in KEYS) this.#turn(KEYS[/** @type {keyof KEYS} */ (event.key)]);
    else return;
    event.preventDefault();
  }

  #render() {
    const canvas = this.#canvas;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    fit(canvas, width, height);
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    ctx.clearRect(0, 0, width, height);
    canvas.dataset.figures = String(this.#figures.length);
    if (!this.#figures.length) return;
    const project = this.#projection(width, height);
    ctx.lineCap = "round";
    drawFloor(ctx, project, /** @type {any} */ (this.#bounds));
    const figures = this.#figures.map((figure) => ({ ...figure, projected: figure.points.map(project) }));
    figures.sort((a, b) => b.projected[0].depth - a.projected[0].depth);
    for (const figure of figures) drawFigure(ctx, figure, Math.min(width, height) / 400);
  }

  /** Return the projection from metres to the canvas: rotation about the centre, then perspective. @param {number} width @param {number} height */
  #projection(width, height) {
    const { middle, reach } = this.#settledBounds();
    const { yaw, pitch, zoom } = this.#view;
    const [cosYaw, sinYaw, cosPitch, sinPitch] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const scale = (Math.min(width, height) * 0.43 * zoom * DISTANCE) / reach;
    return (/** @type {Vector} */ point) => {
      const x = point[0] - middle[0];
      const y = point[1] - middle[1];
      const z = point[2] - middle[2];
      const x1 = x * cosYaw + z * sinYaw;
      const z1 = z * cosYaw - x * sinYaw;
      const y2 = y * cosPitch + z1 * sinPitch;
      const z2 = z1 * cosPitch - y * sinPitch;
      const away = DISTANCE + z2 / reach; // in radii
      const shrink = scale / Math.max(away, 0.2);
      return { x: width / 2 + x1 * shrink, y: height / 2 + y2 * shrink, depth: z2 / reach };
    };
  }

  /** Move the bounds slowly towards the figures. */
  #settledBounds() {
    const now = boundsOf(this.#figures);
    now.reach = Math.max(now.reach, 0.05);
    const last = this.#bounds ?? now;
    const ease = (/** @type {number} */ from, /** @type {number} */ to) => from + (to - from) * EASE;
    const middle = /** @type {Vector} */ (last.middle.map((value, axis) => ease(value, now.middle[axis])));
    const away = Math.hypot(...middle.map((value, axis) => value - now.middle[axis]));
    // fast parts stay in view
    this.#bounds = { middle, reach: Math.max(ease(last.reach, now.reach), now.reach + away), floor: ease(last.floor, now.floor) };
    return this.#bounds;
  }
}

/** Draw rings on the floor, which show the orientation of the space. @param {CanvasRenderingContext2D} ctx @param {Function} project @param {any} bounds */
function drawFloor(ctx, project, { middle, reach, floor }) {
  ctx.strokeStyle = "#8b93a6";
  ctx.lineWidth = devicePixelRatio;
  for (const [share, alpha] of [[0.4, 0.4], [0.8, 0.28], [1.2, 0.16]]) {
    ctx.globalAlpha = alpha;
    ctx.beginPath();
    for (let step = 0; step <= 64; step += 1) {
      const turn = (step / 64) * 2 * Math.PI;
      const spot = project([middle[0] + Math.cos(turn) * reach * share, floor + reach * 0.08, middle[2] + Math.sin(turn) * reach * share]);
      ctx.lineTo(spot.x, spot.y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

/**
 * Draw bones and points from far to near; invisible ones are dashed and hollow.
 *
 * @param {CanvasRenderingContext2D} ctx @param {any} figure @param {number} unit size of a pixel of the screen
 */
function drawFigure(ctx, { kind, projected, skeleton, visible }, unit) {
  const isVisible = (/** @type {number} */ k) => visible?.[k] ?? true;
  const xs = projected.map((/** @type {any} */ point) => point.x);
  const ys = projected.map((/** @type {any} */ point) => point.y);
  const size = Math.hypot(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  unit *= Math.min(Math.max(size / (260 * unit), 0.25), 1); // a hand of a complete person has thinner lines
  const near = (/** @type {number} */ depth) => Math.min(Math.max(0.5 - depth * 0.6, 0), 1);
  const line = (/** @type {number} */ a, /** @type {number} */ b) => {
    ctx.beginPath();
    ctx.moveTo(projected[a].x, projected[a].y);
    ctx.lineTo(projected[b].x, projected[b].y);
    ctx.stroke();
  };
  const edges = skeleton.edges ?? [];
  ctx.globalAlpha = 0.22;
  ctx.strokeStyle = "#8b93a6";
  ctx.lineWidth = unit * 0.8;
  ctx.beginPath();
  for (const [a, b] of edges) {
    ctx.moveTo(projected[a].x, projected[a].y);
    ctx.lineTo(projected[b].x, projected[b].y);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
  const bold = kind === "face" ? 1.6 : 5;
  const depth = (/** @type {[number, number]} */ [a, b]) => projected[a].depth + projected[b].depth;
  for (const [a, b] of [...skeleton.connections].sort((one, other) => depth(other) - depth(one))) {
    const close = near((projected[a].depth + projected[b].depth) / 2);
    const isHidden = !isVisible(a) || !isVisible(b);
    ctx.strokeStyle = shade(lineColour(skeleton, a, b), close);
    ctx.lineWidth = unit * bold * (0.5 + 0.8 * close) * (isHidden ? 0.6 : 1);
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    ctx.setLineDash(isHidden ? [unit * 5, unit * 8] : []);
    line(a, b);
  }
  ctx.setLineDash([]);
  if (kind === "face") return;
  const order = [...projected.keys()].sort((a, b) => projected[b].depth - projected[a].depth);
  for (const k of order) {
    const close = near(projected[k].depth);
    ctx.fillStyle = ctx.strokeStyle = shade(skeleton.colours[k], close + 0.2);
    ctx.beginPath();
    ctx.arc(projected[k].x, projected[k].y, unit * (2.4 + 4.2 * close) * (isVisible(k) ? 1 : 0.8), 0, 2 * Math.PI);
    ctx.globalAlpha = isVisible(k) ? 1 : HIDDEN_OPACITY;
    ctx.lineWidth = unit * 1.5;
    isVisible(k) ? ctx.fill() : ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
