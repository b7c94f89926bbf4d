/** Results as points in one space: metres, camera axes (x right, y down, z forward). */

import { clearedContext, onNextFrame } from "./common.js";
import {
  instancesOf,
  lineColour,
  RESULTS,
  skeletonOf,
  type Frame,
  type Instance,
  type Person,
  type Skeleton,
} from "./kinds.js";
import type { Size } from "./labels.js";
import { around, shade, Strokes } from "./strokes.js";

export type Vector = [number, number, number];
/** `visible`: whether each point is visible in the image; without it all points are */
export type Figure = { kind: string; points: Vector[]; skeleton: Skeleton; visible?: boolean[] };

const FACE_M = 0.19; // assumed height of a face, because its mesh is in pixels
const NOSE_OF_FACE = 1;

/**
 * Return figures at their relative positions in the image, with the parts of a person connected.
 *
 * Each figure has its own origin. Its position follows from the image and its scale.
 */
export function figuresOf(frame: Frame): Figure[] {
  const bodies: Map<Person, Figure> = new Map();
  return instancesOf(frame).flatMap(({ kind, instance, person }) => {
    const skeleton = skeletonOf(instance);
    // without depth
    const isFlat = kind !== "face" || instance.keypoints[0]?.z === undefined;
    if (!instance.keypoints3D && isFlat) return [];
    const points =
      kind === "face"
        ? facePoints(instance)
        : (instance.keypoints3D ?? []).map(({ x, y, z = 0 }): Vector => [x, y, z]);
    const visible = instance.keypoints.map(
      ({ x, y, score = 1 }) =>
        !(score < RESULTS.visible_score) &&
        x >= 0 &&
        y >= 0 &&
        x <= frame.width &&
        y <= frame.height,
    );
    const figure = { kind, skeleton, points, visible };
    const body = person && bodies.get(person);
    if (kind === "body" && person) bodies.set(person, figure);
    if (!body) return [moved(figure, placeInImage(figure, instance, frame))];
    const anchor =
      kind === "face" ? body.points[0] : body.points[instance.handedness === "Left" ? 15 : 16];
    const own = figure.points[kind === "face" ? NOSE_OF_FACE : 0]!;
    return [moved(figure, [anchor![0] - own[0], anchor![1] - own[1], anchor![2] - own[2]])];
  });
}

/** @returns metres, as if every face were of one height; origin at its middle */
function facePoints({ keypoints, box }: Instance): Vector[] {
  if (!box) return [];
  const scale = FACE_M / (box.height || 1);
  const [cx, cy] = [(box.xMin + box.xMax) / 2, (box.yMin + box.yMax) / 2];
  return keypoints.map(({ x, y, z = 0 }) => [(x - cx) * scale, (y - cy) * scale, z * scale]);
}

/** Return the origin of a figure if the middle of the image is the origin of the space. */
function placeInImage({ points }: Figure, { keypoints }: Instance, frame: Size) {
  const [low, high] = extent(points);
  const [left, top, right, bottom] = around(keypoints);
  const scale =
    (Math.hypot(high[0] - low[0], high[1] - low[1]) || 1) /
    (Math.hypot(right - left, bottom - top) || 1);
  const shift = (name: "x" | "y", axis: number, size: number) =>
    points.reduce(
      (sum, point, k) => sum + (keypoints[k]![name] - size / 2) * scale - point[axis]!,
      0,
    ) / points.length;
  return [shift("x", 0, frame.width), shift("y", 1, frame.height), 0] as Vector;
}

/** Return the minimum and maximum along each axis. */
export function extent(points: Vector[]): [Vector, Vector] {
  const low: Vector = [Infinity, Infinity, Infinity];
  const high: Vector = [-Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    for (let axis = 0; axis < 3; axis += 1) {
      const value = points[k]![axis]!;
      if (value < low[axis]!) low[axis] = value;
      if (value > high[axis]!) high[axis] = value;
    }
  }
  return [low, high];
}

/** Move a figure in place, because later parts refer to it. */
function moved(figure: Figure, by: Vector): Figure {
  for (const point of figure.points)
    for (let axis = 0; axis < 3; axis += 1) point[axis]! += by[axis]!;
  return figure;
}

/** a point of the canvas; `depth` in radii of the figures */
type Spot = { x: number; y: number; depth: number };
type Projection = (point: Vector) => Spot;
type Bounds = { middle: Vector; reach: number; floor: number };

const HOME = { yaw: 0.5, pitch: 0.22, zoom: 1 };
const KEYS = {
  ArrowLeft: { yaw: -0.12 },
  ArrowRight: { yaw: 0.12 },
  ArrowUp: { pitch: 0.1 },
  ArrowDown: { pitch: -0.1 },
  "+": { zoom: 1.15 },
  "=": { zoom: 1.15 },
  "-": { zoom: 1 / 1.15 },
  Home: null,
};
const FLOOR = "#8b93a6";
const RINGS = [
  [0.4, 0.4],
  [0.8, 0.28],
  [1.2, 0.16],
] as const; // radius as a share of the reach, and opacity
const STEEPEST = 1.5;
const DISTANCE = 3.4; // distance of the eye in radii of the figures
const EASE = 0.08; // share of the change of bounds per frame, which keeps the view steady
const HIDDEN_OPACITY = 0.42; // opacity of hidden parts and parts outside the image

/** Return the view of points in space. */
export function view3D(canvas: HTMLCanvasElement) {
  let view = { ...HOME };
  let figures: Figure[] = [];
  let bounds: Bounds | null = null;
  let isSeen = true;
  let shown = "";
  let isMirrored = false;
  let isFlipped = false; // whether the x of the frame count from the right
  const ask = onNextFrame(() => isSeen && render());
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    turn(KEYS[event.key as keyof typeof KEYS]);
    event.preventDefault();
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
    if (buttons) turn({ yaw: movementX * 0.01, pitch: movementY * 0.01 });
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      // the page scrolls unless the view has the focus
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      turn({ zoom: Math.exp(-event.deltaY * 0.0012) });
    },
    { passive: false },
  );
  canvas.addEventListener("dblclick", () => turn(null));
  new ResizeObserver(ask).observe(canvas);
  new IntersectionObserver(([entry]) => {
    isSeen = entry!.isIntersecting;
    ask();
  }).observe(canvas);

  /** @param seen `index`: number of an image of a folder */
  function draw(
    frame: Frame,
    { index, flipped = false }: { index?: number | undefined; flipped?: boolean } = {},
  ) {
    figures = figuresOf(frame);
    isFlipped = flipped;
    const now = `${index ?? ""} ${figures.map(({ kind, points }) => kind + points.length).sort()}`;
    if (now !== shown) bounds = null; // another image: fit the view at once
    shown = now;
    ask();
  }

  /** @param others figures in one space */
  function show(others: Figure[]) {
    figures = others;
    ask();
  }

  function clear() {
    figures = [];
    bounds = null;
    render();
  }

  /** Mirror the view or not, as the picture. */
  function mirror(on: boolean) {
    isMirrored = on;
    ask();
  }

  /** @param by null for the view at the begin */
  function turn(by: { yaw?: number; pitch?: number; zoom?: number } | null) {
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
    drawFloor(ctx, project, bounds ?? settledBounds());
    const projected = figures.map((figure) => ({
      ...figure,
      projected: figure.points.map(project),
    }));
    projected.sort((a, b) => b.projected[0]!.depth - a.projected[0]!.depth);
    for (const figure of projected) drawFigure(ctx, figure, Math.min(width, height) / 400);
  }

  /**
   * Return the projection from metres to the canvas: rotation about the centre, then perspective.
   */
  function projection(width: number, height: number) {
    const { middle, reach } = settledBounds();
    const { yaw, pitch, zoom } = view;
    const sign = isMirrored === isFlipped ? 1 : -1;
    const [cosYaw, sinYaw, cosPitch, sinPitch] = [
      Math.cos(yaw),
      Math.sin(yaw),
      Math.cos(pitch),
      Math.sin(pitch),
    ];
    const scale = (Math.min(width, height) * 0.43 * zoom * DISTANCE) / reach;
    return (point: Vector) => {
      const x = (point[0] - middle[0]) * sign;
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
    const reach = Math.max(Math.hypot(...low.map((value, axis) => high[axis]! - value)) / 2, 0.05);
    const now = {
      middle: low.map((value, axis) => (value + high[axis]!) / 2) as Vector,
      reach,
      floor: high[1],
    };
    const last = bounds ?? now;
    const ease = (from: number, to: number) => from + (to - from) * EASE;
    const middle = last.middle.map((value, axis) => ease(value, now.middle[axis]!)) as Vector;
    const away = Math.hypot(...middle.map((value, axis) => value - now.middle[axis]!));
    // fast parts stay in view
    bounds = {
      middle,
      reach: Math.max(ease(last.reach, reach), reach + away),
      floor: ease(last.floor, now.floor),
    };
    return bounds;
  }

  return { draw, show, clear, mirror };
}

/** Draw rings on the floor, which show the orientation of the space. */
function drawFloor(
  ctx: CanvasRenderingContext2D,
  project: Projection,
  { middle, reach, floor }: Bounds,
) {
  ctx.strokeStyle = FLOOR;
  ctx.lineWidth = 1;
  for (const [share, alpha] of RINGS) {
    ctx.globalAlpha = alpha;
    ctx.beginPath();
    for (let step = 0; step <= 64; step += 1) {
      const turn = (step / 64) * 2 * Math.PI;
      const spot = project([
        middle[0] + Math.cos(turn) * reach * share,
        floor + reach * 0.08,
        middle[2] + Math.sin(turn) * reach * share,
      ]);
      ctx.lineTo(spot.x, spot.y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

/**
 * Draw bones and points from far to near; invisible ones are dashed and hollow.
 *
 * @param unit size of a pixel of the screen
 */
function drawFigure(
  ctx: CanvasRenderingContext2D,
  { kind, projected, skeleton, visible }: Figure & { projected: Spot[] },
  unit: number,
) {
  const isVisible = (k: number) => visible?.[k] ?? true;
  const strokes = new Strokes(ctx, projected, 0, 1);
  const { size } = strokes;
  // a hand of a complete person has thinner lines
  unit *= Math.min(Math.max(size / (260 * unit), 0.25), 1);
  const near = (depth: number) => Math.min(Math.max(0.5 - depth * 0.6, 0), 1);
  ctx.globalAlpha = 0.22;
  strokes.lines(skeleton.edges ?? [], FLOOR, unit * 0.8);
  const bold = kind === "face" ? 1.6 : 5;
  const depth = ([a, b]: [number, number]) => projected[a]!.depth + projected[b]!.depth;
  for (const [a, b] of [...skeleton.connections].sort((one, other) => depth(other) - depth(one))) {
    const close = near((projected[a]!.depth + projected[b]!.depth) / 2);
    const isHidden = !isVisible(a) || !isVisible(b);
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    ctx.setLineDash(isHidden ? [unit * 5, unit * 8] : []);
    strokes.lines(
      [[a, b]],
      shade(lineColour(skeleton, a, b), close),
      unit * bold * (0.5 + 0.8 * close) * (isHidden ? 0.6 : 1),
    );
  }
  ctx.setLineDash([]);
  if (kind === "face") return;
  for (const k of [...projected.keys()].sort((a, b) => projected[b]!.depth - projected[a]!.depth)) {
    const [close, isHidden] = [near(projected[k]!.depth), !isVisible(k)];
    ctx.globalAlpha = isHidden ? HIDDEN_OPACITY : 1;
    strokes.dot(
      k,
      shade(skeleton.colours[k]!, close + 0.2),
      unit * (2.4 + 4.2 * close) * (isHidden ? 0.8 : 1),
      isHidden ? unit * 1.5 : 0,
    );
  }
  ctx.globalAlpha = 1;
}
