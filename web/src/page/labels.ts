/** Labels next to instances, where they hide neither each other nor faces. */

import { INK } from "./kinds.js";

export type Point = { x: number; y: number };
export type Size = { width: number; height: number };
/** left, top, right, bottom in pixels of the image */
export type Area = [number, number, number, number];
/**
 * `anchor`: the point that the label belongs to; `directions`: unit vectors from there to where the
 * text may be, best first; `size`: of the instance in pixels
 */
export type Label = {
  text: string;
  anchor: Point;
  directions: Point[];
  accent: string;
  size: number;
};
/** size of a text with its margin */
export type Plate = Size & { pad: number };

const STEPS = 4;
const HIDING = 6; // cost of a completely covered area, in label heights of distance
const SHARE = 0.055; // letter height as a share of the instance's size

/**
 * Draw labels. The first label has the best position.
 *
 * @param ctx scaled to pixels of the image
 * @param look size of the image, and limits of the letter height
 * @param avoid such as faces
 */
export function drawLabels(
  ctx: CanvasRenderingContext2D,
  labels: Label[],
  { width, height, least, most }: Size & { least: number; most: number },
  avoid: Area[],
) {
  const occupied = avoid.filter((area) => area.every(Number.isFinite));
  for (const { text: words, anchor, directions, accent, size } of labels) {
    if (!Number.isFinite(anchor.x + anchor.y)) continue;
    // integers, because browsers cache a font for every size
    const letters = Math.ceil(Math.min(Math.max(size * SHARE || 0, least), most));
    ctx.font = `600 ${letters}px system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif`;
    const pad = letters * 0.5;
    const plate = {
      width: ctx.measureText(words).width + letters * 2.05,
      height: letters * 1.7,
      pad,
    };
    if (plate.width > width || plate.height > height) continue;
    const { left, top } = placeLabel(anchor, directions, plate, { width, height }, occupied);
    occupied.push([left, top, left + plate.width, top + plate.height]);
    ctx.globalAlpha = 0.78;
    ctx.fillStyle = INK;
    ctx.beginPath();
    ctx.roundRect(left, top, plate.width, plate.height, plate.height / 2);
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.fillStyle = accent;
    ctx.beginPath();
    ctx.arc(left + letters * 0.8, top + plate.height / 2, letters * 0.26, 0, 2 * Math.PI);
    ctx.fill();
    Object.assign(ctx, { fillStyle: "#ffffff", textAlign: "left", textBaseline: "middle" });
    ctx.fillText(words, left + letters * 1.4, top + plate.height / 2 + letters * 0.06);
  }
}

/**
 * Return the position of a label: near its anchor, in a preferred direction, with little overlap.
 */
export function placeLabel(
  anchor: Point,
  directions: Point[],
  plate: Plate,
  image: Size,
  occupied: Area[],
): { left: number; top: number } {
  let [best, least] = [{ left: 0, top: 0 }, Infinity];
  for (let step = 0; step < STEPS; step += 1) {
    directions.forEach(({ x, y }, rank) => {
      const away =
        2 * plate.pad +
        (Math.abs(x) * plate.width + Math.abs(y) * plate.height) / 2 +
        step * 1.1 * plate.height;
      const [wantedX, wantedY] = [
        anchor.x + x * away - plate.width / 2,
        anchor.y + y * away - plate.height / 2,
      ];
      const left = Math.min(Math.max(wantedX, 0), image.width - plate.width);
      const top = Math.min(Math.max(wantedY, 0), image.height - plate.height);
      const moved = Math.hypot(left - wantedX, top - wantedY) / plate.height;
      const covered = occupied.reduce(
        (area, [x0, y0, x1, y1]) =>
          area +
          Math.max(Math.min(x1, left + plate.width) - Math.max(x0, left), 0) *
            Math.max(Math.min(y1, top + plate.height) - Math.max(y0, top), 0),
        0,
      );
      const cost =
        moved + 0.7 * step + 0.2 * rank + (HIDING * covered) / (plate.width * plate.height);
      if (cost < least) [best, least] = [{ left, top }, cost];
    });
  }
  return best;
}
