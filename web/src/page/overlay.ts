/** The view of images with the drawings over them, and of hidden people. */

import { covers as COVERS } from "../data.json";
import { fit } from "./common.js";
import { type ShownImage } from "./detectors.js";
import { instancesOf, type Covered, type Frame, type Instance } from "./kinds.js";
import { type Area, type Point } from "./labels.js";
import { FACE_OF_BODY, headOf, mean, paint } from "./painter.js";
import { around } from "./strokes.js";
import { USUAL_STYLE, type Style } from "./style.js";

const MAX_SCALE = 3; // scale of the overlay, so that lines are sharp on high-resolution screens
const LARGEST = 1920;
const { ACROSS, ALONG, CELLS, PERSON_MARGIN, RISE, SOFT } = COVERS;
const SHOULDERS = [11, 12];
const HIPS = [23, 24];

/** Return the heads of an instance, also those in profile, and for "persons" the bodies. */
function hiddenAreas(kind: string, instance: Instance, how: string): Found {
  const faces = headOf(kind, instance);
  if (kind !== "body") return { faces: faces.map(headAround), people: [] };
  const points = instance.keypoints;
  const [left, right] = SHOULDERS.map((k) => points[k]!) as [Point, Point];
  const [shoulders, hips] = [mean([left, right]), mean(HIPS.map((k) => points[k]!))];
  const torso = Math.hypot(shoulders.x - hips.x, shoulders.y - hips.y);
  const size = Math.max(torso, Math.hypot(left.x - right.x, left.y - right.y));
  const heads = faces.map(([x, y, xEnd, yEnd]) => {
    const extent = Math.max(xEnd - x, yEnd - y) / FACE_OF_BODY;
    const half = Math.max(COVERS.FACE_SHARE * extent, COVERS.TORSO_SHARE * size) / 2;
    const middle = [(x + xEnd) / 2, (y + yEnd) / 2] as const;
    return headAround([middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half]);
  });
  return { faces: heads, people: how === "persons" ? [around(points)] : [] };
}

/** Return the box of an upright head from that of its face. */
function headAround([left, top, right, bottom]: Area): Area {
  const side = Math.max(right - left, bottom - top);
  const [x, y] = [(left + right) / 2, (top + bottom) / 2 - RISE * side];
  return [x - ACROSS * side, y - ALONG * side, x + ACROSS * side, y + ALONG * side];
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

/** Heads and people of found instances. */
type Found = { faces: Area[]; people: Area[] };
/** Areas of an image that become few cells; a head is the ellipse inside. */
type Hidden = { area: Area; cells: number; isHead: boolean }[];

/**
 * Return the areas to hide in an image; null if the people are not known, so that the image becomes
 * black.
 *
 * @param own found instances, whose heads are hidden where the search finds none
 */
function hiddenBy(covered: Covered | undefined, own: Found, how: string): Hidden | null {
  if (!covered || (how === "persons" && !covered.people)) return null;
  const isInside = ([left, top, right, bottom]: Area, head: Area) => {
    const [x, y] = [(head[0] + head[2]) / 2, (head[1] + head[3]) / 2];
    return left < x && x < right && top < y && y < bottom;
  };
  const more = own.faces.filter((head) => !covered.faces.some((other) => isInside(other, head)));
  const people = how === "persons" ? [...own.people, ...covered.people!] : [];
  const head = (area: Area, cells: number) => ({ area, cells, isHead: true });
  return [
    ...people.map((area) => ({
      area: withMargin(area, PERSON_MARGIN),
      cells: CELLS,
      isHead: false,
    })),
    ...[...covered.faces, ...more].map((area) => head(area, CELLS)),
    ...covered.again.map((area) => head(area, 1)),
  ];
}

/** Reduce areas to a few cells. Without areas the image becomes black. */
function hidePeople(ctx: CanvasRenderingContext2D, hidden: Hidden | null) {
  const { width, height } = ctx.canvas;
  if (!hidden) ctx.fillRect(0, 0, width, height);
  const small = document.createElement("canvas");
  const soft = document.createElement("canvas");
  for (const { area, cells, isHead } of hidden ?? []) {
    const [left, top] = [Math.max(Math.floor(area[0]), 0), Math.max(Math.floor(area[1]), 0)];
    const right = Math.min(Math.ceil(area[2]), width);
    const bottom = Math.min(Math.ceil(area[3]), height);
    if (right - left < 1 || bottom - top < 1) continue;
    const part: [number, number, number, number] = [left, top, right - left, bottom - top];
    Object.assign(small, { width: cells, height: cells });
    const pen = small.getContext("2d") as CanvasRenderingContext2D;
    pen.imageSmoothingQuality = "high"; // the mean of a cell, not one of its pixels
    pen.drawImage(ctx.canvas, ...part, 0, 0, cells, cells);
    if (!isHead) {
      ctx.drawImage(small, 0, 0, cells, cells, ...part);
      continue;
    }
    Object.assign(soft, { width: part[2], height: part[3] });
    const brush = soft.getContext("2d") as CanvasRenderingContext2D;
    brush.drawImage(small, 0, 0, cells, cells, 0, 0, part[2], part[3]);
    brush.globalCompositeOperation = "destination-in";
    brush.translate((area[0] + area[2]) / 2 - left, (area[1] + area[3]) / 2 - top);
    brush.scale((area[2] - area[0]) / 2, (area[3] - area[1]) / 2);
    const fade = brush.createRadialGradient(0, 0, 1 - SOFT, 0, 0, 1);
    fade.addColorStop(0, "#000");
    fade.addColorStop(1, "#0000");
    brush.fillStyle = fade;
    brush.fillRect(-9, -9, 18, 18);
    ctx.drawImage(soft, left, top);
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
    const found = instancesOf(frame).map(({ kind, instance }) =>
      hiddenAreas(kind, instance, style.anonymise),
    );
    const flip = ([left, top, right, bottom]: Area) =>
      [frame.width - right, top, frame.width - left, bottom] as Area;
    const [faces, people] = (["faces", "people"] as const).map((name) => {
      const areas = found.flatMap((each) => each[name]);
      return seen.flipped ? areas.map(flip) : areas;
    });
    const own = { faces: faces!, people: people! };
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
