/** Saliency maps of the hand network: drawn as heat over the crop that it was given. */

import { textOr } from "./i18n.js";
import { drawLabel } from "./strokes.js";

const HEAT = [[56, 88, 233], [52, 190, 220], [140, 222, 92], [250, 190, 50], [232, 48, 40]]; // lowers to raises the output
const FAINT = 40; // least opacity, of 255
const STRONG = 160;

/** @typedef {{of: string, value: number, unit: string, size: [number, number], values: number[],
 *   box: {cx: number, cy: number, width: number, height: number, rotation: number}}} SaliencyMap */

/** What an output of the network is called. @param {string} target */
export function targetName(target) {
  return textOr(`target.${target}`, target.replaceAll("_", " ").replace(".", " · "));
}

/**
 * One map over its box.
 *
 * @param {CanvasRenderingContext2D} ctx scaled to pixels of the image @param {SaliencyMap} map
 */
export function paintSaliency(ctx, { size: [rows, columns], values, box }) {
  const cells = new OffscreenCanvas(columns, rows);
  cells.getContext("2d")?.putImageData(colours(values, columns, rows), 0, 0);
  ctx.save();
  ctx.translate(box.cx, box.cy);
  ctx.rotate(box.rotation);
  ctx.beginPath();
  ctx.roundRect(-box.width / 2, -box.height / 2, box.width, box.height, box.width * 0.04);
  ctx.clip();
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(cells, -box.width / 2, -box.height / 2, box.width, box.height);
  ctx.restore();
}

/**
 * The output that a map is of, at the upper edge of its box.
 *
 * @param {CanvasRenderingContext2D} ctx @param {SaliencyMap} map
 * @param {{width: number, height: number, size: number, mirrored: boolean}} look
 */
export function labelSaliency(ctx, { of, value, unit, box }, { mirrored, ...look }) {
  const reach = box.height / 2;
  const x = box.cx + Math.sin(box.rotation) * reach;
  const words = `${targetName(of)}: ${value.toFixed(unit === "m" ? 3 : 1)} ${unit}`;
  drawLabel(ctx, words, mirrored ? look.width - x : x, box.cy - Math.cos(box.rotation) * reach, look);
}

/** Red where a map is greatest, blue where least. @param {number[]} values @param {number} columns @param {number} rows */
function colours(values, columns, rows) {
  const pixels = new ImageData(columns, rows);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  values.forEach((value, cell) => {
    const share = (value - low) / span;
    const place = Math.min(share * (HEAT.length - 1), HEAT.length - 1.001);
    const [from, to, part] = [HEAT[Math.floor(place)], HEAT[Math.floor(place) + 1], place % 1];
    from.forEach((channel, i) => (pixels.data[4 * cell + i] = channel + (to[i] - channel) * part));
    pixels.data[4 * cell + 3] = FAINT + (STRONG - FAINT) * share;
  });
  return pixels;
}
