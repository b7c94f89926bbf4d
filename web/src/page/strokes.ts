/** Draws the keypoints of one instance. A point near the camera is lighter and larger. */

import DRAWING from "../../../src/sonjit/spec/drawing.json";

type Point = { x: number; y: number; z?: number | null };

const SHADES = 20;
/** colours from dark to light, by the original colour */
const shades: Map<string, string[]> = new Map();

export class Strokes {
  readonly thickness: number;
  readonly ctx: CanvasRenderingContext2D;
  readonly points: Point[];
  readonly drawable: boolean[];
  /** Diagonal of the box around the drawable points in pixels; 0 without points. */
  readonly size: number;
  /**
   * Depth of each point within the instance: 0 far, 1 near; 0.5 if unknown, close to 0.5 if flat.
   */
  readonly near: Float64Array;
  readonly longest: number;

  /**
   * @param ctx scaled to pixels of the image
   * @param points in pixels of the image; those that are not finite are skipped
   * @param longest side of the image, pixels
   * @param thickness factor of line widths
   */
  constructor(ctx: CanvasRenderingContext2D, points: Point[], longest: number, thickness: number) {
    this.thickness = thickness;
    this.ctx = ctx;
    this.points = points;
    this.drawable = points.map(({ x, y }) => Math.abs(x) < 1e5 && Math.abs(y) < 1e5);
    const [left, top, right, bottom] = around(points, this.drawable);
    this.size = left <= right ? Math.hypot(right - left, bottom - top) : 0;
    this.near = nearness(points, this.size);
    this.longest = longest;
  }

  /** Return the width of a line: a share of the instance's size within limits. */
  width(share: number) {
    return (
      this.thickness *
      Math.min(
        Math.max(this.size * share, this.longest / 640),
        this.longest * DRAWING.max_width_share + 1,
      )
    );
  }

  /** Draw many lines of one style in one stroke. */
  lines(pairs: [number, number][], colour: string, width: number) {
    const { ctx, points, drawable } = this;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    pairs.forEach((pair) => {
      if (!drawable[pair[0]] || !drawable[pair[1]]) return;
      const from = points[pair[0]];
      const to = points[pair[1]];
      ctx.moveTo(from!.x, from!.y);
      ctx.lineTo(to!.x, to!.y);
    });
    ctx.stroke();
  }

  /** Draw a disc, or a ring of this width. */
  dot(k: number, colour: string, radius: number, ring?: number) {
    this.dots([k], colour, radius, ring);
  }

  /** Draw discs, or rings of this width, of one style in one path. */
  dots(members: number[], colour: string, radius: number, ring: number = 0) {
    const { ctx, points } = this;
    ctx.fillStyle = ctx.strokeStyle = colour;
    ctx.beginPath();
    for (const k of members) {
      if (!this.drawable[k]) continue;
      if (members.length > 1) ctx.moveTo(points[k]!.x + radius, points[k]!.y);
      ctx.arc(points[k]!.x, points[k]!.y, radius, 0, 2 * Math.PI);
    }
    if (ring) ctx.lineWidth = ring;
    ring ? ctx.stroke() : ctx.fill();
  }
}

/** Return the width of the dark edge of a line. */
export const edgeOf = (width: number) => Math.max(DRAWING.min_edge_px, width * DRAWING.edge_share);

/**
 * Return the colour for a depth: darker if far (0), unchanged in the middle, towards white if near
 * (1).
 */
export function shade(colour: string, near: number): string {
  let steps = shades.get(colour);
  if (!steps) {
    const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    steps = Array.from({ length: SHADES + 1 }, (_, step) => {
      const share = step / SHADES;
      const mixed = channels.map((c) =>
        share < 0.5 ? c * (0.5 + share) : c + (255 - c) * (share - 0.5) * 0.9,
      );
      return `rgb(${mixed.map(Math.round).join(" ")})`;
    });
    shades.set(colour, steps);
  }
  return steps[Math.round(Math.min(Math.max(near, 0), 1) * SHADES)]!;
}

/**
 * Return the box around points, all or the chosen ones. It compares instead of calling Math.min,
 * because until browsers compile the caller, they allocate an object for every returned number, and
 * this runs for every image.
 *
 * @returns left, top, right, bottom
 */
export function around(points: Point[], chosen?: boolean[]): [number, number, number, number] {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    if (chosen && !chosen[k]) continue;
    const { x, y } = points[k]!;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  return [left, top, right, bottom];
}

function nearness(points: Point[], size: number): Float64Array {
  let [least, most] = [Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    const z = points[k]!.z ?? NaN;
    if (z < least) least = z;
    if (z > most) most = z;
  }
  const near = new Float64Array(points.length).fill(0.5);
  if (!Number.isFinite(most - least) || !size) return near;
  const nearest = (most + least) / 2 - (DRAWING.depth_range / 2) * size;
  for (let k = 0; k < near.length; k += 1) {
    const away = ((points[k]!.z ?? NaN) - nearest) / (DRAWING.depth_range * size);
    if (!Number.isNaN(away)) near[k] = 1 - (away < 0 ? 0 : away > 1 ? 1 : away);
  }
  return near;
}
