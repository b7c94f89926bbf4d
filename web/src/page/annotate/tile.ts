/**
 * Pointer input of a view: tap to mark, drag a mark or the image, zoom with two fingers or the
 * wheel.
 */

import { clearedContext, onNextFrame, showError } from "../common.js";
import { INK, LEFT, NEUTRAL, RIGHT } from "../kinds.js";
import { getImage, spotOf, type MarkState, type View } from "./project.js";

const GRAB_PX = 9; // distance in screen pixels within which a pointer selects a mark
const MOVED_PX = 4; // a longer movement is not a tap

/** Connect a tile with pointers. */
function wirePointers(tile: Tile, on: Handlers) {
  const { overlay } = tile;
  const pointers: Map<number, { x: number; y: number }> = new Map();
  let drag: { joint: number | null; x: number; y: number; moved: boolean } | null = null;
  const placeAt = (u: number, v: number) => tile.inside(...tile.take(u, v));

  /** Return the mark under a pointer, preferably that of the selected joint. */
  function jointAt(u: number, v: number): number | null {
    const { scene } = tile;
    const near = [...(scene?.marks ?? []), ...(scene?.machine ?? [])]
      .map(([joint, mark]) => {
        const [x, y] = tile.put(mark.x ?? Infinity, mark.y ?? Infinity);
        return { joint, away: Math.hypot(x - u, y - v) };
      })
      .filter(({ away }) => away <= GRAB_PX)
      .sort((a, b) => a.away - b.away);
    return near.find(({ joint }) => joint === scene?.joint)?.joint ?? near[0]?.joint ?? null;
  }

  /** Return the distance of two fingers; 0 with one. */
  function spread() {
    const [a, b] = [...pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  const end = ({ type, pointerId, offsetX: x, offsetY: y }: PointerEvent) => {
    if (!pointers.delete(pointerId) || pointers.size) return;
    const ended = drag;
    drag = null;
    if (!ended || type === "pointercancel" || !tile.hasImage) return;
    if (!ended.moved) on.tap(...placeAt(x, y), ended.joint);
    else if (ended.joint !== null) on.drag(ended.joint, ...placeAt(x, y), true);
  };

  overlay.onpointerdown = ({ pointerId, button, offsetX: x, offsetY: y }) => {
    overlay.setPointerCapture(pointerId);
    pointers.set(pointerId, { x, y });
    const isSingle = button === 0 && pointers.size === 1;
    drag = { joint: isSingle ? jointAt(x, y) : null, x, y, moved: !isSingle };
  };
  overlay.onpointermove = ({ pointerId, offsetX: x, offsetY: y }) => {
    const last = pointers.get(pointerId);
    if (!last || !drag) return;
    const before = spread();
    pointers.set(pointerId, { x, y });
    drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > MOVED_PX;
    if (!drag.moved) return;
    if (drag.joint !== null) return void on.drag(drag.joint, ...placeAt(x, y), false);
    tile.panBy((x - last.x) / pointers.size, (y - last.y) / pointers.size);
    const [a, b] = [...pointers.values()];
    if (pointers.size === 2 && before)
      tile.zoomBy(spread() / before, [(a!.x + b!.x) / 2, (a!.y + b!.y) / 2]);
  };
  overlay.onpointerup = overlay.onpointercancel = end;
  overlay.oncontextmenu = (event) => event.preventDefault();
  overlay.onfocus = () => on.activate();
  overlay.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // browsers report pinch gestures of a touch pad this way
      const speed = event.ctrlKey ? 0.01 : 0.0015;
      tile.zoomBy(Math.exp(-event.deltaY * speed), [event.offsetX, event.offsetY]);
    },
    { passive: false },
  );
}

const WARNING = "#ff5c5c";
const LINE = "#f6f078";
const MACHINE = "#c9a7ff";
export const FAR_PX = 5; // minimum residual that should be checked, in pixels of the image

/** canvas pixels */
type Spot = [number, number];
export type DrawnMark = {
  joint: number;
  x: number | null;
  y: number | null;
  state: MarkState;
  source: string;
};
/** places are in pixels of the image */
type Scene = {
  marks: Map<number, DrawnMark>;
  machine: Map<number, DrawnMark>;
  others: (DrawnMark & { annotator: string })[];
  projected: (Spot | null)[];
  residuals: (number | null)[];
  line: [number, number][];
  bones: [number, number][];
  odd: Set<string>;
  joint: number;
  name: string;
  conflicts: Set<number>;
  cursor: Spot | null;
};

const handColour = (joint: number) => (joint < 21 ? RIGHT : LEFT);

/**
 * @param ctx one unit is a pixel of the screen
 * @param put from the image to the screen
 */
function drawScene(
  ctx: CanvasRenderingContext2D,
  put: (x: number, y: number) => Spot,
  scene: Scene,
) {
  const { marks, machine, others, projected, residuals, line, bones, odd, joint: active } = scene;
  const pen = penOf(ctx);
  ctx.lineCap = ctx.lineJoin = "round";
  if (line.length) pen.guide(line.map((spot) => put(...spot)));
  const places = projected.map((spot, joint) => spotOf(marks.get(joint)) ?? spot);
  for (const [a, b] of bones) {
    const [from, to] = [a, b].map(
      (joint) => places[joint] ?? (marks.has(joint) ? null : spotOf(machine.get(joint))),
    );
    if (!from || !to) continue;
    const isKnown = places[a] && places[b];
    const isOdd = isKnown && odd.has(`${a} ${b}`);
    pen.stroke(
      [put(...from), put(...to)],
      isOdd ? WARNING : handColour(a),
      isOdd ? 4 : isKnown ? 2 : 1.25,
      isOdd ? 1 : isKnown ? 0.75 : 0.6,
    );
  }
  for (const [joint, mark] of machine) {
    const spot = spotOf(mark);
    if (spot && !marks.has(joint)) pen.diamond(put(...spot), handColour(joint), joint === active);
  }
  for (const mark of others) {
    const spot = spotOf(mark);
    if (spot) pen.cross(put(...spot), mark.joint === active ? mark.annotator : "");
  }
  projected.forEach((spot, joint) => {
    if (!spot) return;
    const marked = spotOf(marks.get(joint));
    if (marked) pen.gap(put(...marked), put(...spot), residuals[joint] ?? 0);
    else pen.ring(put(...spot), joint === active ? 6 : 3.25, handColour(joint), 1.5);
  });
  for (const [joint, mark] of marks) {
    const spot = spotOf(mark);
    if (spot) pen.mark(put(...spot), mark, joint === active, scene.conflicts.has(joint));
  }
  const place = places[active];
  const words = [scene.name, residuals[active] == null ? "" : `${residuals[active].toFixed(1)} px`]
    .filter(Boolean)
    .join("  ");
  if (place && words) pen.label(put(...place), 12, -16, words);
  if (scene.cursor) pen.crosshair(put(...scene.cursor));
}

/**
 * Return functions that draw the signs of a scene, with dark edges that are visible on any image.
 */
function penOf(ctx: CanvasRenderingContext2D) {
  function stroke(path: Spot[], colour: string, width: number, alpha: number = 1) {
    Object.assign(ctx, { globalAlpha: alpha, strokeStyle: colour, lineWidth: width });
    ctx.beginPath();
    for (const spot of path) ctx.lineTo(...spot);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  /**
   * Draw lines from points of a sign to others, in a colour over a wider dark edge.
   *
   * @param lines x and y of each point, relative to the sign
   */
  function sign(
    [x, y]: Spot,
    lines: number[][],
    colour: string,
    width: number,
    edge: number,
    alpha?: number,
  ) {
    for (const [tint, bold] of [
      [INK, edge],
      [colour, width],
    ] as [string, number][]) {
      for (const line of lines) {
        const path = Array.from(
          { length: line.length / 2 },
          (_, k) => [x + line[2 * k]!, y + line[2 * k + 1]!] as Spot,
        );
        stroke(path, tint, bold, alpha);
      }
    }
  }

  function guide(path: Spot[]) {
    stroke(path, INK, 4, 0.5);
    ctx.setLineDash([7, 5]);
    stroke(path, LINE, 1.75);
    ctx.setLineDash([]);
  }

  function ring(at: Spot, radius: number, colour: string, width: number) {
    for (const [strokeStyle, lineWidth] of [
      [INK, width + 2],
      [colour, width],
    ]) {
      Object.assign(ctx, { strokeStyle, lineWidth });
      ctx.beginPath();
      ctx.arc(...at, radius, 0, 2 * Math.PI);
      ctx.stroke();
    }
  }

  /** Draw a mark: a dot if visible, a ring with a dot if hidden, a dashed ring if uncertain. */
  function mark(
    at: Spot,
    { joint, state, source }: DrawnMark,
    isActive: boolean,
    isDisputed: boolean,
  ) {
    const colour = handColour(joint);
    const radius = isActive ? 6 : 4;
    if (state === "uncertain") ctx.setLineDash([3, 3]);
    ctx.fillStyle = colour;
    if (state === "seen") {
      Object.assign(ctx, { strokeStyle: source === "H+M" ? MACHINE : INK, lineWidth: 1.25 });
      ctx.beginPath();
      ctx.arc(...at, radius, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    } else {
      ring(at, radius, colour, 2);
      ctx.fillRect(at[0] - 1, at[1] - 1, 2, 2);
    }
    ctx.setLineDash([]);
    if (isActive) ring(at, radius + 5, NEUTRAL, 1.5);
    if (isDisputed) ring(at, radius + 3, WARNING, 1.5);
  }

  /** Draw the line from a mark to the projected joint. */
  function gap(from: Spot, to: Spot, px: number) {
    if (px < 0.5) return;
    const colour = px > FAR_PX ? WARNING : NEUTRAL;
    stroke([from, to], colour, 1.5);
    ring(to, 2.5, colour, 1);
  }

  function diamond(at: Spot, colour: string, isActive: boolean) {
    const size = isActive ? 7 : 4.5;
    sign(at, [[0, -size, size, 0, 0, size, -size, 0, 0, -size]], colour, 1.5, 3.5);
    if (isActive) label(at, 10, 0, "M");
  }

  function cross(at: Spot, name: string) {
    sign(
      at,
      [
        [-4, -4, 4, 4],
        [-4, 4, 4, -4],
      ],
      NEUTRAL,
      1.5,
      3.5,
      0.85,
    );
    if (name) label(at, 8, 9, name);
  }

  function crosshair(at: Spot) {
    sign(
      at,
      [
        [4, 0, 14, 0],
        [-4, 0, -14, 0],
        [0, 4, 0, 14],
        [0, -4, 0, -14],
      ],
      NEUTRAL,
      1.25,
      3,
    );
  }

  function label([x, y]: Spot, dx: number, dy: number, content: string) {
    ctx.font = "600 12px system-ui, sans-serif";
    const width = ctx.measureText(content).width + 10;
    const left = Math.min(x + dx, Math.max(ctx.canvas.clientWidth - width - 2, 0));
    Object.assign(ctx, { globalAlpha: 0.78, fillStyle: INK });
    ctx.beginPath();
    ctx.roundRect(left, y + dy - 9, width, 18, 9);
    ctx.fill();
    Object.assign(ctx, { globalAlpha: 1, fillStyle: "#ffffff", textBaseline: "middle" });
    ctx.fillText(content, left + 5, y + dy + 0.5);
  }

  return { stroke, guide, ring, mark, gap, diamond, cross, crosshair, label };
}

const MOST_ZOOM = 60;
const AROUND = 0.7,
  LEAST = 0.05; // share of a tile that a hand fills, and minimum visible share of an image
const DETAIL_AFTER_MS = 140;
const MOST_PX = 8192; // of an image of the server

type Handlers = {
  tap: (x: number, y: number, joint: number | null) => void;
  activate: () => void;
  drag: (joint: number, x: number, y: number, done: boolean) => void;
};

export class Tile {
  readonly node: HTMLElement;
  readonly chooser: HTMLSelectElement;
  readonly overlay: HTMLCanvasElement;
  view: View | null = null;
  scene: Scene | null = null;
  #image;
  #note;
  #reason;
  #frame = -1;
  #bitmap: ImageBitmap | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  // screen pixels per image pixel, and position of the image's corner
  #zoom = { scale: 1, x: 0, y: 0 };
  #fitted = true;
  #schedule = onNextFrame(() => this.render());

  /** @param node made of the template */
  constructor(node: HTMLElement, on: Handlers) {
    this.node = node;
    this.chooser = node.querySelector("select") as HTMLSelectElement;
    this.overlay = node.querySelector(".overlay") as HTMLCanvasElement;
    this.#image = node.querySelector<HTMLCanvasElement>(".image")!;
    this.#note = node.querySelector<HTMLElement>(".note")!;
    this.#reason = node.querySelector<HTMLElement>(".reason")!;
    wirePointers(this, on);
    new ResizeObserver(() => {
      if (this.#fitted) this.#fit();
      this.render();
    }).observe(node);
  }

  get hasImage() {
    return this.#bitmap !== null;
  }

  /** Return the longer side of the tile in device pixels. */
  get longest() {
    return Math.max(this.node.clientWidth, this.node.clientHeight) * devicePixelRatio;
  }

  choose(view: View) {
    if (view === this.view) return;
    this.view = view;
    this.#fitted = true;
    this.blank(-1, "");
    this.#fit();
  }

  show(frame: number, image: ImageBitmap) {
    this.#bitmap?.close();
    [this.#frame, this.#bitmap] = [frame, image];
    this.#reason.textContent = "";
    if (this.#fitted) this.#fit();
    this.#refine();
    this.render();
  }

  /** Show the reason why there is no image. */
  blank(frame: number, why: string) {
    this.#bitmap?.close();
    [this.#frame, this.#bitmap] = [frame, null];
    this.#reason.textContent = why;
    this.render();
  }

  /**
   * @param note text in the corner
   * @param description for screen readers
   */
  annotate(scene: Scene, note: string, description: string) {
    this.scene = scene;
    this.#note.textContent = note;
    this.overlay.setAttribute("aria-label", description);
    this.#schedule();
  }

  /** @param at screen pixels of the tile; by default its middle */
  zoomBy(
    by: number,
    at: [number, number] = [this.node.clientWidth / 2, this.node.clientHeight / 2],
  ) {
    const zoom = this.#zoom;
    const scale = Math.min(
      Math.max(zoom.scale * by, this.#fitScale() / 2),
      this.#fitScale() * MOST_ZOOM,
    );
    zoom.x = at[0] - ((at[0] - zoom.x) * scale) / zoom.scale;
    zoom.y = at[1] - ((at[1] - zoom.y) * scale) / zoom.scale;
    zoom.scale = scale;
    this.#moved();
  }

  /** @param dy screen pixels */
  panBy(dx: number, dy: number) {
    this.#zoom.x += dx;
    this.#zoom.y += dy;
    this.#moved();
  }

  fit() {
    this.#fitted = true;
    this.#fit();
    this.render();
  }

  /** Centre the view on a point and zoom in. */
  centre(x: number, y: number) {
    const [u, v] = this.put(x, y);
    this.panBy(this.node.clientWidth / 2 - u, this.node.clientHeight / 2 - v);
  }

  /** Zoom so that all points are visible. */
  fitTo(places: [number, number][]) {
    if (!places.length || !this.view) return;
    const [low, high] = [Math.min, Math.max].map((end) =>
      [0, 1].map((axis) => end(...places.map((place) => place[axis]!))),
    );
    const [wide, tall] = [0, 1].map((axis) =>
      Math.max(high![axis]! - low![axis]!, LEAST * (this.view?.width ?? 1)),
    );
    this.zoomBy(
      (AROUND * Math.min(this.node.clientWidth / wide!, this.node.clientHeight / tall!)) /
        this.#zoom.scale,
    );
    this.centre((low![0]! + high![0]!) / 2, (low![1]! + high![1]!) / 2);
  }

  /** Return the middle of the visible part in the image. */
  get middle(): [number, number] {
    return this.take(this.node.clientWidth / 2, this.node.clientHeight / 2);
  }

  /** Clamp a point to the image. */
  inside(x: number, y: number): [number, number] {
    const { width = 0, height = 0 } = this.view ?? {};
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  render() {
    const { scale, x, y } = this.#zoom;
    const image = clearedContext(this.#image);
    // large pixels are drawn without interpolation
    image.imageSmoothingEnabled = scale * devicePixelRatio < 6;
    if (this.#bitmap && this.view)
      image.drawImage(this.#bitmap, x, y, this.view.width * scale, this.view.height * scale);
    const overlay = clearedContext(this.overlay);
    if (this.scene && this.#bitmap) drawScene(overlay, (u, v) => this.put(u, v), this.scene);
  }

  #moved() {
    this.#fitted = false;
    this.#refine();
    this.#schedule();
  }

  #fitScale() {
    const { width = 1, height = 1 } = this.view ?? {};
    return Math.min(this.node.clientWidth / width, this.node.clientHeight / height) || 1;
  }

  #fit() {
    const scale = this.#fitScale();
    const { width = 1, height = 1 } = this.view ?? {};
    this.#zoom = {
      scale,
      x: (this.node.clientWidth - width * scale) / 2,
      y: (this.node.clientHeight - height * scale) / 2,
    };
  }

  /** Map an image point to the tile. */
  put(x: number, y: number): [number, number] {
    return [this.#zoom.x + x * this.#zoom.scale, this.#zoom.y + y * this.#zoom.scale];
  }

  /** Map a tile point to the image. */
  take(u: number, v: number): [number, number] {
    return [(u - this.#zoom.x) / this.#zoom.scale, (v - this.#zoom.y) / this.#zoom.scale];
  }

  /** Fetch the image at full size if it is coarser than the screen. */
  #refine() {
    clearTimeout(this.#timer);
    const { view } = this;
    if (!view || !this.#bitmap) return;
    // share of the image's pixels that were requested
    const resolution = this.#bitmap.width / view.width;
    if (resolution >= 1 || resolution >= this.#zoom.scale * devicePixelRatio * 0.95) return;
    this.#timer = setTimeout(async () => {
      const frame = this.#frame;
      try {
        const bitmap = await createImageBitmap(
          await getImage(view.name, frame, Math.min(Math.max(view.width, view.height), MOST_PX)),
        );
        if (frame !== this.#frame || view !== this.view) return bitmap.close();
        this.#bitmap?.close();
        this.#bitmap = bitmap;
        this.#schedule();
      } catch (error) {
        showError(error);
      }
    }, DETAIL_AFTER_MS);
  }
}
