// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  Strokes,
  around,
  clearedContext,
  instancesOf,
  lineColour,
  onNextFrame,
  results_default,
  shade,
  skeletonOf
} from "./shared-strokes.js";

// src/page/view3d.ts
var FACE_M = 0.19;
var NOSE_OF_FACE = 1;
function figuresOf(frame) {
  const bodies = /* @__PURE__ */ new Map();
  return instancesOf(frame).flatMap(({ kind, instance, person }) => {
    const skeleton = skeletonOf(instance);
    const isFlat = kind !== "face" || instance.keypoints[0]?.z === void 0;
    if (!instance.keypoints3D && isFlat) return [];
    const points = kind === "face" ? facePoints(instance) : (instance.keypoints3D ?? []).map(({ x, y, z = 0 }) => [x, y, z]);
    const visible = instance.keypoints.map(
      ({ x, y, score = 1 }) => !(score < results_default.visible_score) && x >= 0 && y >= 0 && x <= frame.width && y <= frame.height
    );
    const figure = { kind, skeleton, points, visible };
    const body = person && bodies.get(person);
    if (kind === "body" && person) bodies.set(person, figure);
    if (!body) return [moved(figure, placeInImage(figure, instance, frame))];
    const anchor = kind === "face" ? body.points[0] : body.points[instance.handedness === "Left" ? 15 : 16];
    const own = figure.points[kind === "face" ? NOSE_OF_FACE : 0];
    return [moved(figure, [anchor[0] - own[0], anchor[1] - own[1], anchor[2] - own[2]])];
  });
}
function facePoints({ keypoints, box }) {
  if (!box) return [];
  const scale = FACE_M / (box.height || 1);
  const [cx, cy] = [(box.xMin + box.xMax) / 2, (box.yMin + box.yMax) / 2];
  return keypoints.map(({ x, y, z = 0 }) => [(x - cx) * scale, (y - cy) * scale, z * scale]);
}
function placeInImage({ points }, { keypoints }, frame) {
  const [low, high] = extent(points);
  const [left, top, right, bottom] = around(keypoints);
  const scale = (Math.hypot(high[0] - low[0], high[1] - low[1]) || 1) / (Math.hypot(right - left, bottom - top) || 1);
  const shift = (name, axis, size) => points.reduce(
    (sum, point, k) => sum + (keypoints[k][name] - size / 2) * scale - point[axis],
    0
  ) / points.length;
  return [shift("x", 0, frame.width), shift("y", 1, frame.height), 0];
}
function extent(points) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    for (let axis = 0; axis < 3; axis += 1) {
      const value = points[k][axis];
      if (value < low[axis]) low[axis] = value;
      if (value > high[axis]) high[axis] = value;
    }
  }
  return [low, high];
}
function moved(figure, by) {
  for (const point of figure.points)
    for (let axis = 0; axis < 3; axis += 1) point[axis] += by[axis];
  return figure;
}
var HOME = { yaw: 0.5, pitch: 0.22, zoom: 1 };
var KEYS = {
  ArrowLeft: { yaw: -0.12 },
  ArrowRight: { yaw: 0.12 },
  ArrowUp: { pitch: 0.1 },
  ArrowDown: { pitch: -0.1 },
  "+": { zoom: 1.15 },
  "=": { zoom: 1.15 },
  "-": { zoom: 1 / 1.15 },
  Home: null
};
var FLOOR = "#8b93a6";
var RINGS = [
  [0.4, 0.4],
  [0.8, 0.28],
  [1.2, 0.16]
];
var STEEPEST = 1.5;
var DISTANCE = 3.4;
var EASE = 0.08;
var HIDDEN_OPACITY = 0.42;
function view3D(canvas) {
  let view = { ...HOME };
  let figures = [];
  let bounds = null;
  let isSeen = true;
  let shown = "";
  let isMirrored = false;
  let isFlipped = false;
  const ask = onNextFrame(() => isSeen && render());
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    turn(KEYS[event.key]);
    event.preventDefault();
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
    if (buttons) turn({ yaw: movementX * 0.01, pitch: movementY * 0.01 });
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      turn({ zoom: Math.exp(-event.deltaY * 12e-4) });
    },
    { passive: false }
  );
  canvas.addEventListener("dblclick", () => turn(null));
  new ResizeObserver(ask).observe(canvas);
  new IntersectionObserver(([entry]) => {
    isSeen = entry.isIntersecting;
    ask();
  }).observe(canvas);
  function draw(frame, { index, flipped = false } = {}) {
    figures = figuresOf(frame);
    isFlipped = flipped;
    const now = `${index ?? ""} ${figures.map(({ kind, points }) => kind + points.length).sort()}`;
    if (now !== shown) bounds = null;
    shown = now;
    ask();
  }
  function show(others) {
    figures = others;
    ask();
  }
  function clear() {
    figures = [];
    bounds = null;
    render();
  }
  function mirror(on) {
    isMirrored = on;
    ask();
  }
  function turn(by) {
    const { yaw = 0, pitch = 0, zoom = 1 } = by ?? {};
    const from = by ? view : HOME;
    view = {
      yaw: from.yaw + yaw,
      pitch: Math.min(Math.max(from.pitch + pitch, -STEEPEST), STEEPEST),
      zoom: Math.min(Math.max(from.zoom * zoom, 0.4), 4)
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
    drawFloor(ctx, project, bounds ?? settledBounds());
    const projected = figures.map((figure) => ({
      ...figure,
      projected: figure.points.map(project)
    }));
    projected.sort((a, b) => b.projected[0].depth - a.projected[0].depth);
    for (const figure of projected) drawFigure(ctx, figure, Math.min(width, height) / 400);
  }
  function projection(width, height) {
    const { middle, reach } = settledBounds();
    const { yaw, pitch, zoom } = view;
    const sign = isMirrored === isFlipped ? 1 : -1;
    const [cosYaw, sinYaw, cosPitch, sinPitch] = [
      Math.cos(yaw),
      Math.sin(yaw),
      Math.cos(pitch),
      Math.sin(pitch)
    ];
    const scale = Math.min(width, height) * 0.43 * zoom * DISTANCE / reach;
    return (point) => {
      const x = (point[0] - middle[0]) * sign;
      const y = point[1] - middle[1];
      const z = point[2] - middle[2];
      const x1 = x * cosYaw + z * sinYaw;
      const z1 = z * cosYaw - x * sinYaw;
      const y2 = y * cosPitch + z1 * sinPitch;
      const z2 = z1 * cosPitch - y * sinPitch;
      const away = DISTANCE + z2 / reach;
      const shrink = scale / Math.max(away, 0.2);
      return { x: width / 2 + x1 * shrink, y: height / 2 + y2 * shrink, depth: z2 / reach };
    };
  }
  function settledBounds() {
    const [low, high] = extent(figures.flatMap(({ points }) => points));
    const reach = Math.max(Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2, 0.05);
    const now = {
      middle: low.map((value, axis) => (value + high[axis]) / 2),
      reach,
      floor: high[1]
    };
    const last = bounds ?? now;
    const ease = (from, to) => from + (to - from) * EASE;
    const middle = last.middle.map((value, axis) => ease(value, now.middle[axis]));
    const away = Math.hypot(...middle.map((value, axis) => value - now.middle[axis]));
    bounds = {
      middle,
      reach: Math.max(ease(last.reach, reach), reach + away),
      floor: ease(last.floor, now.floor)
    };
    return bounds;
  }
  return { draw, show, clear, mirror };
}
function drawFloor(ctx, project, { middle, reach, floor }) {
  ctx.strokeStyle = FLOOR;
  ctx.lineWidth = 1;
  for (const [share, alpha] of RINGS) {
    ctx.globalAlpha = alpha;
    ctx.beginPath();
    for (let step = 0; step <= 64; step += 1) {
      const turn = step / 64 * 2 * Math.PI;
      const spot = project([
        middle[0] + Math.cos(turn) * reach * share,
        floor + reach * 0.08,
        middle[2] + Math.sin(turn) * reach * share
      ]);
      ctx.lineTo(spot.x, spot.y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
function drawFigure(ctx, { kind, projected, skeleton, visible }, unit) {
  const isVisible = (k) => visible?.[k] ?? true;
  const strokes = new Strokes(ctx, projected, 0, 1);
  const { size } = strokes;
  unit *= Math.min(Math.max(size / (260 * unit), 0.25), 1);
  const near = (depth2) => Math.min(Math.max(0.5 - depth2 * 0.6, 0), 1);
  ctx.globalAlpha = 0.22;
  strokes.lines(skeleton.edges ?? [], FLOOR, unit * 0.8);
  const bold = kind === "face" ? 1.6 : 5;
  const depth = ([a, b]) => projected[a].depth + projected[b].depth;
  for (const [a, b] of [...skeleton.connections].sort((one, other) => depth(other) - depth(one))) {
    const close = near((projected[a].depth + projected[b].depth) / 2);
    const isHidden = !isVisible(a) || !isVisible(b);
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    ctx.setLineDash(isHidden ? [unit * 5, unit * 8] : []);
    strokes.lines(
      [[a, b]],
      shade(lineColour(skeleton, a, b), close),
      unit * bold * (0.5 + 0.8 * close) * (isHidden ? 0.6 : 1)
    );
  }
  ctx.setLineDash([]);
  if (kind === "face") return;
  for (const k of [...projected.keys()].sort((a, b) => projected[b].depth - projected[a].depth)) {
    const [close, isHidden] = [near(projected[k].depth), !isVisible(k)];
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    strokes.dot(
      k,
      shade(skeleton.colours[k], close + 0.2),
      unit * (2.4 + 4.2 * close) * (isHidden ? 0.8 : 1),
      isHidden ? unit * 1.5 : 0
    );
  }
  ctx.globalAlpha = 1;
}

export {
  view3D
};
