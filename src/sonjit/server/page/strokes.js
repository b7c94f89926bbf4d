/** A pen for the keypoints of one instance: the lighter and larger a point, the nearer it is to the camera. */

/** @typedef {{x: number, y: number, z?: number | null}} Point */

export class Strokes {
  /**
   * @param {CanvasRenderingContext2D} ctx scaled to pixels of the image
   * @param {Point[]} points in pixels of the image; those that are not finite are left out
   * @param {number} longest side of the image, pixels
   * @param {number} thickness of lines, 1 is usual
   */
  constructor(ctx, points, longest, thickness) {
    this.thickness = thickness;
    this.ctx = ctx;
    this.points = points;
    this.drawable = points.map(({ x, y }) => Math.abs(x) < 1e5 && Math.abs(y) < 1e5);
    const known = points.filter((_, k) => this.drawable[k]);
    const span = (/** @type {"x" | "y"} */ axis) => Math.max(...known.map((p) => p[axis])) - Math.min(...known.map((p) => p[axis]));
    this.size = known.length ? Math.hypot(span("x"), span("y")) : 0;
    /** 0 far to 1 near within this instance, 0.5 where the depth is unknown; what is flat stays near 0.5. */
    this.near = nearness(points, this.size);
    this.longest = longest;
  }

  /** A line's width: a share of the instance's size, but neither a hair nor too bold. @param {number} share */
  width(share) {
    return this.thickness * Math.min(Math.max(this.size * share, this.longest / 640), this.longest * 0.008 + 1);
  }

  /** @param {number} a @param {number} b @param {string} colour @param {number} width */
  line(a, b, colour, width) {
    if (!this.drawable[a] || !this.drawable[b]) return;
    const { ctx, points } = this;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(points[a].x, points[a].y);
    ctx.lineTo(points[b].x, points[b].y);
    ctx.stroke();
  }

  /** Many lines of one style in one stroke. @param {[number, number][]} pairs @param {string} colour @param {number} width */
  lines(pairs, colour, width) {
    const { ctx, points } = this;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const [a, b] of pairs) {
      if (!this.drawable[a] || !this.drawable[b]) continue;
      ctx.moveTo(points[a].x, points[a].y);
      ctx.lineTo(points[b].x, points[b].y);
    }
    ctx.stroke();
  }

  /** A disc, or a ring of a given width. @param {number} k @param {string} colour @param {number} radius @param {number} [ring] */
  dot(k, colour, radius, ring = 0) {
    if (!this.drawable[k]) return;
    const { ctx, points } = this;
    ctx.beginPath();
    ctx.arc(points[k].x, points[k].y, radius, 0, 2 * Math.PI);
    if (ring) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = ring;
      ctx.stroke();
    } else {
      ctx.fillStyle = colour;
      ctx.fill();
    }
  }

  /** Small dots of one style in one path. @param {number[]} members @param {string} colour @param {number} radius */
  dots(members, colour, radius) {
    const { ctx, points } = this;
    ctx.fillStyle = colour;
    ctx.beginPath();
    for (const k of members) {
      if (!this.drawable[k]) continue;
      ctx.moveTo(points[k].x + radius, points[k].y);
      ctx.arc(points[k].x, points[k].y, radius, 0, 2 * Math.PI);
    }
    ctx.fill();
  }
}

/** Darker when far (0), the colour itself in the middle, towards white when near (1). @param {string} colour @param {number} near */
export function shade(colour, near) {
  const step = Math.round(Math.min(Math.max(near, 0), 1) * 20);
  const key = colour + step;
  let shaded = shades.get(key);
  if (!shaded) {
    const share = step / 20;
    const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const mixed = channels.map((c) => (share < 0.5 ? c * (0.5 + share) : c + (255 - c) * (share - 0.5) * 0.9));
    shaded = `rgb(${mixed.map(Math.round).join(" ")})`;
    shades.set(key, shaded);
  }
  return shaded;
}

/** @type {Map<string, string>} few colours in 21 steps each */
const shades = new Map();

/** @param {Point[]} points @param {number} size */
function nearness(points, size) {
  const known = points.flatMap(({ z }) => (typeof z === "number" && Number.isFinite(z) ? [z] : []));
  if (!known.length || !size) return points.map(() => 0.5);
  const middle = (Math.max(...known) + Math.min(...known)) / 2;
  return points.map(({ z }) => (typeof z === "number" ? Math.min(Math.max(0.5 - (z - middle) / (0.38 * size), 0), 1) : 0.5));
}
