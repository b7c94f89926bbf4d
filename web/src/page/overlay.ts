/** The view of images with the drawings over them, and of hidden people. */

import { fit } from "./common.js";
import { type ShownImage } from "./detectors.js";
import { instancesOf, skeletonOf, type Covered, type Frame, type Instance } from "./kinds.js";
import { type Area, type Point } from "./labels.js";
import { headOf, mean, paint } from "./painter.js";
import { around } from "./strokes.js";
import { USUAL_STYLE, type Style } from "./style.js";

const MAX_SCALE = 3; // scale of the overlay, so that lines are sharp on high-resolution screens
const LARGEST = 1920;
const CELLS = 3; // cells along a hidden head or person
// margin around a hidden head, and around a person, relative to the longer side
const HEAD_MARGIN = 0.35;
const PERSON_MARGIN = 0.1;
const HEAD_SHARE = 0.2; // half of the height of a head, relative to the torso or the shoulders
const SHOULDERS = [11, 12];
const HIPS = [23, 24];

/**
 * Return the areas to hide with their margins: heads, also those in profile, and for "persons"
 * bodies.
 */
function hiddenAreas(kind: string, instance: Instance, how: string): Area[] {
  const areas = headOf(kind, instance).map((head) => withMargin(head, HEAD_MARGIN));
  if (kind !== "body") return areas;
  const points = instance.keypoints;
  const [left, right] = SHOULDERS.map((k) => points[k]!) as [Point, Point];
  const [shoulders, hips] = [mean([left, right]), mean(HIPS.map((k) => points[k]!))];
  const torso = Math.hypot(shoulders.x - hips.x, shoulders.y - hips.y);
  const half = HEAD_SHARE * Math.max(torso, Math.hypot(left.x - right.x, left.y - right.y));
  const { x, y } = mean(skeletonOf(instance).groups["face"]!.map((k) => points[k]!));
  areas.push(withMargin([x - half, y - half, x + half, y + half], HEAD_MARGIN));
  return how === "persons" ? [...areas, withMargin(around(points), PERSON_MARGIN)] : areas;
}

/** @param share of the longer side */
function withMargin([left, top, right, bottom]: Area, share: number): Area {
  const margin = share * Math.max(right - left, bottom - top);
  return [left - margin, top - margin, right + margin, bottom + margin];
}

/** Return how the image below a drawing is hidden: a black background hides all. */
export const hidingOf = ({ background, anonymise }: Style) =>
  background === "black" ? background : anonymise;

/** Return whom detectors have to find because the image hides them; null for nobody. */
export function whomToHide(style: Style): "blur" | "persons" | null {
  const how = hidingOf(style);
  return how === "blur" || how === "persons" ? how : null;
}

/** Areas of an image that become few cells. */
type Hidden = { area: Area; cells: number }[];

/**
 * Return the areas to hide in an image, with their margins; null if the people are not known, so
 * that the image becomes black.
 *
 * @param own areas of the found instances
 */
function hiddenBy(covered: Covered | undefined, own: Area[], how: string): Hidden | null {
  if (!covered || (how === "persons" && !covered.people)) return null;
  const margins: [Area[], number, number][] = [
    [own, 0, CELLS],
    [covered.faces, HEAD_MARGIN, CELLS],
    [how === "persons" ? covered.people! : [], PERSON_MARGIN, CELLS],
    [covered.again, HEAD_MARGIN, 1],
  ];
  return margins.flatMap(([areas, margin, cells]) =>
    areas.map((area) => ({ area: withMargin(area, margin), cells })),
  );
}

/** Reduce areas to a few cells. Without areas the image becomes black. */
function hidePeople(ctx: CanvasRenderingContext2D, hidden: Hidden | null) {
  const { width, height } = ctx.canvas;
  if (!hidden) ctx.fillRect(0, 0, width, height);
  const small = document.createElement("canvas");
  for (const { area, cells } of hidden ?? []) {
    const [left, top] = [Math.max(Math.trunc(area[0]), 0), Math.max(Math.trunc(area[1]), 0)];
    const right = Math.min(Math.ceil(area[2]), width);
    const bottom = Math.min(Math.ceil(area[3]), height);
    if (right - left < 1 || bottom - top < 1) continue;
    const part: [number, number, number, number] = [left, top, right - left, bottom - top];
    Object.assign(small, { width: cells, height: cells });
    const pen = small.getContext("2d") as CanvasRenderingContext2D;
    pen.imageSmoothingQuality = "high"; // the mean of a cell, not one of its pixels
    pen.drawImage(ctx.canvas, ...part, 0, 0, cells, cells);
    ctx.drawImage(small, 0, 0, cells, cells, ...part);
  }
}

export type Overlay = ReturnType<typeof overlayView>;

/**
 * Return the view of images and the drawings over them.
 *
 * @param stage around both
 */
export function overlayView(
  image: HTMLCanvasElement,
  overlay: HTMLCanvasElement,
  stage: HTMLElement,
) {
  /** the drawn frame */
  let last: { frame: Frame; seen: ShownImage } | null = null;
  let isMirrored = false;
  let style = USUAL_STYLE;
  new ResizeObserver(redraw).observe(stage);

  /** Mirror the view or not. */
  function mirror(on: boolean) {
    isMirrored = on;
    // mirrors the image; the overlay is drawn again so that text stays readable
    stage.classList.toggle("mirrored", on);
    redraw();
  }

  /** Set the drawing style. */
  function setStyle(wanted: Style) {
    const hides = hidingOf(wanted) !== hidingOf(style);
    style = wanted;
    stage.classList.toggle("anonymous", hidingOf(style) !== "none");
    if (hides && last) draw(last.frame, last.seen);
    else if (hides) wipe(image);
    else redraw();
  }

  /**
   * Show an image.
   *
   * @param hidden areas to hide; null for all
   */
  function show(
    shown: HTMLCanvasElement | ImageBitmap,
    { width, height }: { width: number; height: number } = shown,
    hidden: Hidden | null = null,
  ) {
    fit(image, width, height);
    const ctx = image.getContext("2d") as CanvasRenderingContext2D;
    ctx.drawImage(shown, 0, 0, width, height);
    const hiding = hidingOf(style);
    if (hiding !== "none") hidePeople(ctx, hiding === "black" ? null : hidden);
    stage.style.aspectRatio = `${width} / ${height}`;
  }

  /** @param seen `flipped`: the frame's x count from the right */
  function draw(frame: Frame, seen: ShownImage) {
    last = { frame, seen };
    const areas = instancesOf(frame).flatMap(({ kind, instance }) =>
      hiddenAreas(kind, instance, style.anonymise),
    );
    const flip = ([left, top, right, bottom]: Area) =>
      [frame.width - right, top, frame.width - left, bottom] as Area;
    const own = seen.flipped ? areas.map(flip) : areas;
    show(seen.image, frame, hiddenBy(frame.covered, own, style.anonymise));
    redraw();
  }

  function clear() {
    last = null;
    wipe(overlay);
  }

  /** Draw the image and its results into a canvas, which gets the image's size. */
  function compose(canvas: HTMLCanvasElement) {
    const { width, height } = image;
    fit(canvas, width, height);
    const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
    if (isMirrored) ctx.setTransform(-1, 0, 0, 1, width, 0);
    ctx.drawImage(image, 0, 0);
    ctx.resetTransform();
    drawLast(ctx, 1);
  }

  function redraw() {
    wipe(overlay);
    if (!last) return;
    const { width, height } = last.frame;
    // of a pixel of the image
    const shown = Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1;
    const scale = Math.min(
      Math.max(shown * devicePixelRatio, 1),
      MAX_SCALE,
      Math.max(1, LARGEST / width),
    );
    fit(overlay, Math.round(width * scale), Math.round(height * scale));
    const ctx = overlay.getContext("2d") as CanvasRenderingContext2D;
    ctx.setTransform(overlay.width / width, 0, 0, overlay.height / height, 0, 0);
    drawLast(ctx, 1 / shown);
    ctx.resetTransform();
  }

  function drawLast(ctx: CanvasRenderingContext2D, unit: number) {
    if (!last) return;
    const {
      frame,
      seen: { flipped, mask },
    } = last;
    paint(ctx, frame, { mirrored: flipped !== isMirrored, unit, mask, style });
  }

  return { mirror, setStyle, show, draw, clear, clearImage: () => wipe(image), compose };
}

function wipe(canvas: HTMLCanvasElement) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}
