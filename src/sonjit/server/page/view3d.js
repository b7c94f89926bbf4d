/** Results as points in one space: metres, camera axes (x right, y down, z forward). */

import { clearedContext, onNextFrame } from "./common.js";
import { instancesOf, lineColour, RESULTS, skeletonOf } from "./kinds.js";
import { around, shade, Strokes } from "./strokes.js";

/** @typedef {[number, number, number]} Vector */
/** @typedef {{kind: string, points: Vector[], skeleton: import("./kinds.js").Skeleton, visible?: boolean[]}} Figure
 *   `visible`: whether each point is visible in the image; without it all points are */

const FACE_M = 0.19; // assumed height of a face, because its mesh is in pixels
const NOSE_OF_FACE = 1;

/**
 * Return figures at their relative positions in the image, with the parts of a person connected.
 *
 * Each figure has its own origin. Its position follows from the image and its scale.
 *
 * @param {Record<string, any>} frame @returns {Figure[]}
 */
export function figuresOf(frame) {
  /** @type {Map<any, Figure>} */ const bodies = new Map();
  return instancesOf(frame).flatMap(({ kind, instance, person }) => {
    const skeleton = skeletonOf(instance);
    if (!instance.keypoints3D && !(kind === "face" && "z" in instance.keypoints[0])) return []; // without depth
    const points = kind === "face" ? facePoints(instance) : instance.keypoints3D.map((/** @type {any} */ { x, y, z }) => [x, y, z]);
    const visible = instance.keypoints.map((/** @type {any} */ { x, y, score }) => !(score < RESULTS.visible_score) && x >= 0 && y >= 0 && x <= frame.width && y <= frame.height);
    const figure = { kind, skeleton, points, visible };
    const body = bodies.get(person);
    if (kind === "body" && person) bodies.set(person, figure);
    if (!body) return [moved(figure, placeInImage(figure, instance, frame))];
    const anchor = kind === "face" ? body.points[0] : body.points[instance.handedness === "Left" ? 15 : 16];
    const own = figure.points[kind === "face" ? NOSE_OF_FACE : 0];
    return [moved(figure, [anchor[0] - own[0], anchor[1] - own[1], anchor[2] - own[2]])];
  });
}

/** @param {any} face @returns {Vector[]} metres, as if every face were of one height; origin at its middle */
function facePoints({ keypoints, box }) {
  const scale = FACE_M / (box.height || 1);
  const [cx, cy] = [(box.xMin + box.xMax) / 2, (box.yMin + box.yMax) / 2];
  return keypoints.map((/** @type {any} */ { x, y, z }) => [(x - cx) * scale, (y - cy) * scale, z * scale]);
}

/** Return the origin of a figure if the middle of the image is the origin of the space. @param {Figure} figure @param {any} instance @param {any} frame */
function placeInImage({ points }, { keypoints }, frame) {
  const [low, high] = extent(points);
  const [left, top, right, bottom] = around(keypoints);
  const scale = (Math.hypot(high[0] - low[0], high[1] - low[1]) || 1) / (Math.hypot(right - left, bottom - top) || 1);
  const shift = (/** @type {"x" | "y"} */ name, /** @type {number} */ axis, /** @type {number} */ size) =>
    points.reduce((sum, point, k) => sum + (keypoints[k][name] - size / 2) * scale - point[axis], 0) / points.length;
  return /** @type {Vector} */ ([shift("x", 0, frame.width), shift("y", 1, frame.height), 0]);
}

/** Return the minimum and maximum along each axis. @param {Vector[]} points @returns {[Vector, Vector]} */
export function extent(points) {
  /** @type {Vector} */ const low = [Infinity, Infinity, Infinity];
  /** @type {Vector} */ const high = [-Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    for (let axis = 0; axis < 3; axis += 1) {
      const value = points[k][axis];
      if (value < low[axis]) low[axis] = value;
      if (value > high[axis]) high[axis] = value;
    }
  }
  return [low, high];
}

/** Move a figure in place, because later parts refer to it. @param {Figure} figure @param {Vector} by @returns {Figure} */
function moved(figure, by) {
  for (const point of figure.points) for (let axis = 0; axis < 3; axis += 1) point[axis] += by[axis];
  return figure;
}

const HOME = { yaw: 0.5, pitch: 0.22, zoom: 1 };
const KEYS = {
  ArrowLeft: { yaw: -0.12 }, ArrowRight: { yaw: 0.12 }, ArrowUp: { pitch: 0.1 }, ArrowDown: { pitch: -0.1 },
  "+": { zoom: 1.15 }, "=": { zoom: 1.15 }, "-": { zoom: 1 / 1.15 }, Home: null,
};
const FLOOR = "#8b93a6";
const STEEPEST = 1.5;
const DISTANCE = 3.4; // distance of the eye in radii of the figures
const EASE = 0.08; // share of the change of bounds per frame, which keeps the view steady
const HIDDEN_OPACITY = 0.42; // opacity of hidden parts and parts outside the image

/** Return the view of points in space. @param {HTMLCanvasElement} canvas */
export function view3D(canvas) {
  let view = { ...HOME };
  /** @type {Figure[]} */ let figures = [];
  /** @type {{middle: Vector, reach: number, floor: number} | null} */ let bounds = null;
  let isSeen = true;
  let shown = "";
  const ask = onNextFrame(() => isSeen && render());
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    turn(KEYS[/** @type {keyof KEYS} */ (event.key)]);
    event.preventDefault();
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
    if (buttons) turn({ yaw: movementX * 0.01, pitch: movementY * 0.01 });
  });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // the page scrolls unless the view has the focus
    event.preventDefault();
    turn({ zoom: Math.exp(-event.deltaY * 0.0012) });
  }, { passive: false });
  canvas.addEventListener("dblclick", () => turn(null));
  new ResizeObserver(ask).observe(canvas);
  new IntersectionObserver(([{ isIntersecting }]) => {
    isSeen = isIntersecting;
    ask();
  }).observe(canvas);

  /** @param {Record<string, any>} frame @param {{index?: number}} [seen] `index`: number of an image of a folder */
  function draw(frame, { index } = {}) {
    figures = figuresOf(frame);
    const now = `${index ?? ""} ${figures.map(({ kind, points }) => kind + points.length).sort()}`;
    if (now !== shown) bounds = null; // another image: fit the view at once
    shown = now;
    ask();
  }

  /** @param {Figure[]} others figures in one space */
  function show(others) {
    figures = others;
    ask();
  }

  function clear() {
    figures = [];
    bounds = null;
    render();
  }

  /** @param {{yaw?: number, pitch?: number, zoom?: number} | null} by null for the view at the begin */
  function turn(by) {
    const { yaw = 0, pitch = 0, zoom = 1 } = by ?? {};
    const from = by ? view : HOME;
    view = {
      yaw: from.yaw + yaw,
      pitch: Math.min(Math.max(from.pitch + pitch, -STEEPEST), STEEPEST),
      zoom: Math.min(Math.max(from.zoom * zoom, 0.4), 4),
    };
    ask();
  }

  function render() {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ctx = clearedContext(canvas);
    canvas.dataset.figures = String(figures.length);
    if (!figures.length) return;
    const project = projection(width, height);
    ctx.lineCap = "round";
    drawFloor(ctx, project, /** @type {any} */ (bounds));
    const projected = figures.map((figure) => ({ ...figure, projected: figure.points.map(project) }));
    projected.sort((a, b) => b.projected[0].depth - a.projected[0].depth);
    for (const figure of projected) drawFigure(ctx, figure, Math.min(width, height) / 400);
  }

  /** Return the projection from metres to the canvas: rotation about the centre, then perspective. @param {number} width @param {number} height */
  function projection(width, height) {
    const { middle, reach } = settledBounds();
    const { yaw, pitch, zoom } = view;
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

  /** Move the bounds, approximately a sphere around the figures, slowly towards them. */
  function settledBounds() {
    const [low, high] = extent(figures.flatMap(({ points }) => points));
    const reach = Math.max(Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2, 0.05);
    const now = { middle: /** @type {Vector} */ (low.map((value, axis) => (value + high[axis]) / 2)), reach, floor: high[1] };
    const last = bounds ?? now;
    const ease = (/** @type {number} */ from, /** @type {number} */ to) => from + (to - from) * EASE;
    const middle = /** @type {Vector} */ (last.middle.map((value, axis) => ease(value, now.middle[axis])));
    const away = Math.hypot(...middle.map((value, axis) => value - now.middle[axis]));
    // fast parts stay in view
    bounds = { middle, reach: Math.max(ease(last.reach, reach), reach + away), floor: ease(last.floor, now.floor) };
    return bounds;
  }

  return { draw, show, clear };
}

/** Draw rings on the floor, which show the orientation of the space. @param {CanvasRenderingContext2D} ctx @param {Function} project @param {any} bounds */
function drawFloor(ctx, project, { middle, reach, floor }) {
  ctx.strokeStyle = FLOOR;
  ctx.lineWidth = 1;
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

/** Draw bones and points from far to near; invisible ones are dashed and hollow. @param {CanvasRenderingContext2D} ctx @param {any} figure @param {number} unit size of a pixel of the screen */
function drawFigure(ctx, { kind, projected, skeleton, visible }, unit) {
  const isVisible = (/** @type {number} */ k) => visible?.[k] ?? true;
  const strokes = new Strokes(ctx, projected, 0, 1);
  const { size } = strokes;
  unit *= Math.min(Math.max(size / (260 * unit), 0.25), 1); // a hand of a complete person has thinner lines
  const near = (/** @type {number} */ depth) => Math.min(Math.max(0.5 - depth * 0.6, 0), 1);
  ctx.globalAlpha = 0.22;
  strokes.lines(skeleton.edges ?? [], FLOOR, unit * 0.8);
  const bold = kind === "face" ? 1.6 : 5;
  const depth = (/** @type {[number, number]} */ [a, b]) => projected[a].depth + projected[b].depth;
  for (const [a, b] of [...skeleton.connections].sort((one, other) => depth(other) - depth(one))) {
    const close = near((projected[a].depth + projected[b].depth) / 2);
    const isHidden = !isVisible(a) || !isVisible(b);
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    ctx.setLineDash(isHidden ? [unit * 5, unit * 8] : []);
    strokes.lines([[a, b]], shade(lineColour(skeleton, a, b), close), unit * bold * (0.5 + 0.8 * close) * (isHidden ? 0.6 : 1));
  }
  ctx.setLineDash([]);
  if (kind === "face") return;
  for (const k of [...projected.keys()].sort((a, b) => projected[b].depth - projected[a].depth)) {
    const [close, isHidden] = [near(projected[k].depth), !isVisible(k)];
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    strokes.dot(k, shade(skeleton.colours[k], close + 0.2), unit * (2.4 + 4.2 * close) * (isHidden ? 0.8 : 1), isHidden ? unit * 1.5 : 0);
  }
  ctx.globalAlpha = 1;
}
