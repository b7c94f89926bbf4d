/** Draws bones, marks, projections, other annotators' marks and epipolar lines over an image. */

import { INK, LEFT, NEUTRAL, RIGHT } from "../skeletons.js";

const WARNING = "#ff5c5c";
const LINE = "#f6f078";
const MACHINE = "#c9a7ff";
/** Minimum residual that should be checked, in pixels of the image. */
export const FAR_PX = 5;

/** @typedef {[number, number]} Spot canvas pixels */
/** @typedef {{joint: number, x: number | null, y: number | null, state: import("./project.js").MarkState, source: string}} DrawnMark */
/**
 * @typedef {{marks: Map<number, DrawnMark>, machine: Map<number, DrawnMark>, others: (DrawnMark & {annotator: string})[],
 *   projected: (Spot | null)[], residuals: (number | null)[],
 *   line: [number, number][], bones: [number, number][], odd: Set<string>, joint: number, name: string, conflicts: Set<number>,
 *   cursor: Spot | null}} Scene places are in pixels of the image
 */

/** Return the position of a mark; null without one. @param {DrawnMark | undefined} mark @returns {Spot | null} */
const spotOf = (mark) => (mark?.x == null || mark.y === null ? null : [mark.x, mark.y]);

/** @param {number} joint */
const handColour = (joint) => (joint < 21 ? RIGHT : LEFT);

/**
 * @param {CanvasRenderingContext2D} ctx one unit is a pixel of the screen
 * @param {(x: number, y: number) => Spot} put from the image to the screen
 * @param {Scene} scene
 */
export function drawScene(ctx, put, scene) {
  ctx.lineCap = ctx.lineJoin = "round";
  if (scene.line.length) drawLine(ctx, put, scene.line);
  const places = scene.projected.map((spot, joint) => {
    return spotOf(scene.marks.get(joint)) ?? spot;
  });
  for (const [a, b] of scene.bones) {
    const [from, to] = [places[a], places[b]];
    if (!from || !to) continue;
    const isOdd = scene.odd.has(`${a} ${b}`);
    stroke(ctx, [put(from[0], from[1]), put(to[0], to[1])], isOdd ? WARNING : handColour(a), isOdd ? 4 : 2, isOdd ? 1 : 0.75);
  }
  for (const [a, b] of scene.bones) {
    const [from, to] = [a, b].map((joint) => places[joint] ?? (scene.marks.has(joint) ? null : spotOf(scene.machine.get(joint))));
    if (from && to && !(places[a] && places[b])) stroke(ctx, [put(...from), put(...to)], handColour(a), 1.25, 0.6);
  }
  for (const [joint, mark] of scene.machine) {
    const spot = spotOf(mark);
    if (spot && !scene.marks.has(joint)) diamond(ctx, put(...spot), handColour(joint), joint === scene.joint);
  }
  for (const mark of scene.others) {
    const spot = spotOf(mark);
    if (spot) cross(ctx, put(...spot), mark.joint === scene.joint ? mark.annotator : "");
  }
  scene.projected.forEach((spot, joint) => {
    if (!spot) return;
    const at = put(...spot);
    const marked = spotOf(scene.marks.get(joint));
    if (marked) gap(ctx, put(...marked), at, scene.residuals[joint] ?? 0);
    else ring(ctx, at, joint === scene.joint ? 6 : 3.25, handColour(joint), 1.5);
  });
  for (const [joint, mark] of scene.marks) {
    const spot = spotOf(mark);
    if (spot) drawMark(ctx, put(...spot), mark, joint === scene.joint, scene.conflicts.has(joint));
  }
  nameJoint(ctx, put, scene, places[scene.joint]);
  if (scene.cursor) crosshair(ctx, put(...scene.cursor));
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot[]} path @param {string} colour @param {number} width @param {number} [alpha] */
function stroke(ctx, path, colour, width, alpha = 1) {
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.beginPath();
  for (const spot of path) ctx.lineTo(...spot);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} ctx @param {(x: number, y: number) => Spot} put @param {[number, number][]} line */
function drawLine(ctx, put, line) {
  const path = line.map(([x, y]) => put(x, y));
  stroke(ctx, path, INK, 4, 0.5);
  ctx.setLineDash([7, 5]);
  stroke(ctx, path, LINE, 1.75);
  ctx.setLineDash([]);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {number} radius @param {string} colour @param {number} width */
function ring(ctx, at, radius, colour, width) {
  for (const [tint, bold] of /** @type {[string, number][]} */ ([[INK, width + 2], [colour, width]])) {
    ctx.strokeStyle = tint;
    ctx.lineWidth = bold;
    ctx.beginPath();
    ctx.arc(...at, radius, 0, 2 * Math.PI);
    ctx.stroke();
  }
}

/** Draw a mark: a dot if visible, a ring with a dot if hidden, a dashed ring if uncertain.
 * @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {DrawnMark} mark @param {boolean} isActive @param {boolean} isDisputed */
function drawMark(ctx, at, mark, isActive, isDisputed) {
  const colour = handColour(mark.joint);
  const radius = isActive ? 6 : 4;
  if (mark.state === "uncertain") ctx.setLineDash([3, 3]);
  if (mark.state === "seen") {
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.arc(...at, radius, 0, 2 * Math.PI);
    ctx.fill();
    ctx.strokeStyle = mark.source === "H+M" ? MACHINE : INK;
    ctx.lineWidth = 1.25;
    ctx.stroke();
  } else {
    ring(ctx, at, radius, colour, 2);
    ctx.fillStyle = colour;
    ctx.fillRect(at[0] - 1, at[1] - 1, 2, 2);
  }
  ctx.setLineDash([]);
  if (isActive) ring(ctx, at, radius + 5, NEUTRAL, 1.5);
  if (isDisputed) ring(ctx, at, radius + 3, WARNING, 1.5);
}

/** Draw the line from a mark to the projected joint. @param {CanvasRenderingContext2D} ctx @param {Spot} from @param {Spot} to @param {number} px */
function gap(ctx, from, to, px) {
  if (px < 0.5) return;
  stroke(ctx, [from, to], px > FAR_PX ? WARNING : NEUTRAL, 1.5);
  ring(ctx, to, 2.5, px > FAR_PX ? WARNING : NEUTRAL, 1);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} colour @param {boolean} isActive */
function diamond(ctx, [x, y], colour, isActive) {
  const size = isActive ? 7 : 4.5;
  stroke(ctx, [[x, y - size], [x + size, y], [x, y + size], [x - size, y], [x, y - size]], INK, 3.5);
  stroke(ctx, [[x, y - size], [x + size, y], [x, y + size], [x - size, y], [x, y - size]], colour, 1.5);
  if (isActive) label(ctx, [x + 10, y], "M");
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} name */
function cross(ctx, [x, y], name) {
  for (const [colour, width] of /** @type {[string, number][]} */ ([[INK, 3.5], [NEUTRAL, 1.5]])) {
    stroke(ctx, [[x - 4, y - 4], [x + 4, y + 4]], colour, width, 0.85);
    stroke(ctx, [[x - 4, y + 4], [x + 4, y - 4]], colour, width, 0.85);
  }
  if (name) label(ctx, [x + 8, y + 9], name);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at */
function crosshair(ctx, [x, y]) {
  for (const [colour, width] of /** @type {[string, number][]} */ ([[INK, 3], [NEUTRAL, 1.25]])) {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      stroke(ctx, [[x + 4 * dx, y + 4 * dy], [x + 14 * dx, y + 14 * dy]], colour, width);
    }
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {(x: number, y: number) => Spot} put @param {Scene} scene @param {Spot | null} place */
function nameJoint(ctx, put, { name, joint, residuals }, place) {
  if (!place) return;
  const [x, y] = put(place[0], place[1]);
  const content = [name, residuals[joint] == null ? "" : `${residuals[joint]?.toFixed(1)} px`].filter(Boolean).join("  ");
  if (content) label(ctx, [x + 12, y - 16], content);
}

/** @param {CanvasRenderingContext2D} ctx @param {Spot} at @param {string} content */
function label(ctx, [x, y], content) {
  ctx.font = "600 12px system-ui, sans-serif";
  const width = ctx.measureText(content).width + 10;
  const left = Math.min(x, Math.max(ctx.canvas.clientWidth - width - 2, 0));
  ctx.globalAlpha = 0.78;
  ctx.fillStyle = INK;
  ctx.beginPath();
  ctx.roundRect(left, y - 9, width, 18, 9);
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.fillStyle = "#ffffff";
  ctx.textBaseline = "middle";
  ctx.fillText(content, left + 5, y + 0.5);
}
