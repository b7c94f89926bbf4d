/** Boxes in pixels, and points in them. Rotations are in radians, clockwise on the screen. */

export interface RotatedBox {
  readonly cx: number;
  readonly cy: number;
  readonly width: number;
  readonly height: number;
  readonly rotation: number;
}

/** Left, top, right and bottom of an upright box or window. */
export type Corners = readonly [number, number, number, number];

/** Return the box with these corners, rotated about its centre. */
export function boxBetween([left, top, right, bottom]: Corners, rotation = 0): RotatedBox {
  return { cx: (left + right) / 2, cy: (top + bottom) / 2, width: right - left, height: bottom - top, rotation };
}

/** Return the intersection over union of two upright boxes. */
export function cornersIou(a: Corners, b: Corners): number {
  const across = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const shared = across * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const areaOf = ([left, top, right, bottom]: Corners) => Math.max((right - left) * (bottom - top), 1e-6);
  return shared / (areaOf(a) + areaOf(b) - shared);
}

/** Return the same angle in [-pi, pi). */
export const wrapAngle = (angle: number): number => angle - 2 * Math.PI * Math.floor((angle + Math.PI) / (2 * Math.PI));

/** Shift a box along its own y axis by a part of its height, then square its long side and scale it. */
export function squareBox(box: RotatedBox, { scale, shift_y }: { scale: number; shift_y: number }): RotatedBox {
  const shift = box.height * shift_y;
  const side = Math.max(box.width, box.height) * scale;
  return {
    cx: box.cx - shift * Math.sin(box.rotation),
    cy: box.cy + shift * Math.cos(box.rotation),
    width: side,
    height: side,
    rotation: box.rotation,
  };
}

/** Return the smallest box with this rotation around the chosen points of (K, 3). */
export function rotatedBoxAround(points: Float32Array, chosen: readonly number[], rotation: number): RotatedBox {
  const cos = Math.cos(rotation);
  const sin = Math.sin(rotation);
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const i of chosen) {
    const x = points[3 * i]!;
    const y = points[3 * i + 1]!;
    const alongX = x * cos + y * sin;
    const alongY = y * cos - x * sin;
    left = Math.min(left, alongX);
    right = Math.max(right, alongX);
    top = Math.min(top, alongY);
    bottom = Math.max(bottom, alongY);
  }
  const { cx: x, cy: y, ...box } = boxBetween([left, top, right, bottom], rotation);
  return { ...box, cx: x * cos - y * sin, cy: x * sin + y * cos };
}

/** Return the intersection over union of two boxes. Rotations are ignored, as in MediaPipe's association. */
export function iou(a: RotatedBox, b: RotatedBox): number {
  const width = Math.min(a.cx + a.width / 2, b.cx + b.width / 2) - Math.max(a.cx - a.width / 2, b.cx - b.width / 2);
  const height = Math.min(a.cy + a.height / 2, b.cy + b.height / 2) - Math.max(a.cy - a.height / 2, b.cy - b.height / 2);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (a.width * a.height + b.width * b.height - shared);
}

/** Return the upright square around an image. */
export function squareAround(width: number, height: number): RotatedBox {
  const side = Math.max(width, height);
  return { cx: width / 2, cy: height / 2, width: side, height: side, rotation: 0 };
}

/** Map points (K, 3) in pixels of a square crop of a size to image pixels; z is divided by `depth` too. */
export function pointsFromCrop(points: Float32Array, box: RotatedBox, size: number, depth: number): Float32Array {
  const cos = Math.cos(box.rotation);
  const sin = Math.sin(box.rotation);
  const placed = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    const x = (points[i]! / size - 0.5) * box.width;
    const y = (points[i + 1]! / size - 0.5) * box.height;
    placed[i] = x * cos - y * sin + box.cx;
    placed[i + 1] = x * sin + y * cos + box.cy;
    placed[i + 2] = (points[i + 2]! / size / depth) * box.width;
  }
  return placed;
}

/** Return one box of each instance. Of two boxes of one instance the later stays, as in MediaPipe. */
export function latestBoxes<B extends RotatedBox>(boxes: readonly B[], isSame: (box: B, other: B) => boolean): B[] {
  let latest: B[] = [];
  for (const box of boxes) latest = [...latest.filter((other) => !isSame(box, other)), box];
  return latest;
}
