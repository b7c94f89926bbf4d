/** What was found, drawn in pixels of its image; overlay, snapshots and recordings are all drawn by this. */

import { gesturesOf } from "./gestures.js";
import { text, textOr } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { labelSaliency, paintSaliency } from "./saliency.js";
import { INK, LEFT, NEUTRAL, RIGHT, lineColour, skeletonOf } from "./skeletons.js";
import { Strokes, drawLabel, shade } from "./strokes.js";

const LEAST_SIDE_SCORE = 0.8; // from which the side of a hand is known
const SEEN = 0.5; // visibility from which a keypoint of a body counts as seen
const BACK_TO_FRONT = ["body", "face"]; // before all others: hands are in front mostly

/**
 * Draw a frame's instances.
 *
 * @param {CanvasRenderingContext2D} ctx scaled to pixels of the image
 * @param {Record<string, any>} frame
 * @param {{mirrored?: boolean, gestures?: boolean, unit?: number, mask?: CanvasImageSource | null}} [how] `mirrored`: x counted from the right; `gestures`: at the
 *   top too; `unit`: pixels of the image in one of the screen, so that letters stay readable; `mask`: what lies over the background
 */
export function paint(ctx, frame, { mirrored = false, gestures = false, unit = 1, mask = null } = {}) {
  const { width, height } = frame;
  const longest = Math.max(width, height);
  const place = (/** @type {any[]} */ points) => (mirrored ? points.map((p) => ({ ...p, x: width - p.x })) : points);
  ctx.lineCap = ctx.lineJoin = "round";
  const found = instancesOf(frame).sort((a, b) => depthOf(a.kind) - depthOf(b.kind));
  const maps = found.flatMap(({ one }) => one.map ?? []);
  ctx.save();
  if (mirrored) ctx.transform(-1, 0, 0, 1, width, 0);
  if (mask) ctx.drawImage(mask, 0, 0, width, height);
  for (const map of maps) paintSaliency(ctx, map);
  ctx.restore();
  for (const { kind, one, person } of found) {
    if (kind === "body") paintBody(ctx, joined(one, person), place, longest);
    else if (kind === "face") paintFace(ctx, one, place, longest);
    else paintSkeleton(skeletonOf(one), new Strokes(ctx, place(one.keypoints), longest));
  }
  const size = Math.max(longest * 0.018, 11 * unit);
  for (const { kind, one, person } of found) {
    if (kind === "body" || !person) paintLabel(ctx, kind, one, place(one.keypoints), { width, height, size });
  }
  for (const map of maps) labelSaliency(ctx, map, { width, height, size, mirrored });
  if (gestures) {
    const words = gesturesOf(frame).map(({ label }) => label).join("   ");
    if (words) drawLabel(ctx, words, width / 2, size * 2.4, { width, height, size: size * 1.5 });
  }
}

/** Whether a kind is drawn before others. @param {string} kind */
function depthOf(kind) {
  const place = BACK_TO_FRONT.indexOf(kind);
  return place < 0 ? BACK_TO_FRONT.length : place;
}

/** Connections and keypoints; of a hand a colour per finger. Far parts first, near ones over them. @param {import("./skeletons.js").Skeleton} skeleton @param {Strokes} strokes */
function paintSkeleton(skeleton, strokes) {
  const { near } = strokes;
  const width = strokes.width(0.017);
  const edge = Math.max(0.5, width * 0.27);
  const lines = [...skeleton.connections].sort(([a, b], [c, d]) => near[a] + near[b] - near[c] - near[d]);
  strokes.lines(lines, INK, width + 2 * edge);
  for (const [a, b] of lines) strokes.line(a, b, shade(lineColour(skeleton, a, b), (near[a] + near[b]) / 2), width);
  const order = near.map((_, k) => k).sort((a, b) => near[a] - near[b]);
  for (const k of order) {
    const radius = width * (0.7 + 1.2 * near[k]);
    strokes.dot(k, INK, radius + edge);
    strokes.dot(k, shade(skeleton.colours[k], near[k] + 0.15), radius);
    if (radius >= 3) strokes.dot(k, shade(skeleton.colours[k], near[k] + 0.6), radius * 0.42);
  }
}

/**
 * Contours over a quiet mesh; a face that is only a box as a rounded box.
 *
 * @param {CanvasRenderingContext2D} ctx @param {any} face @param {(points: any[]) => any[]} place @param {number} longest
 */
function paintFace(ctx, face, place, longest) {
  const strokes = new Strokes(ctx, place(face.keypoints), longest);
  const skeleton = skeletonOf(face);
  if (!skeleton.edges) return paintFaceBox(ctx, strokes, skeleton, face.box, place);
  const width = strokes.width(0.005);
  ctx.globalAlpha = 0.16;
  strokes.lines(skeleton.edges, "#e8f0ff", Math.max(width * 0.4, 0.5));
  ctx.globalAlpha = 0.75;
  const steps = 5;
  for (let step = 0; step < steps; step += 1) {
    const members = strokes.near.flatMap((near, k) => (k < 468 && Math.min(Math.floor(near * steps), steps - 1) === step ? [k] : []));
    const near = (step + 0.5) / steps;
    strokes.dots(members, shade("#c3d0ea", near), width * (0.3 + 0.6 * near));
  }
  ctx.globalAlpha = 1;
  for (const [a, b] of skeleton.connections) {
    const colour = lineColour(skeleton, a, b);
    strokes.line(a, b, colour, width * 1.05);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {Strokes} strokes @param {any} skeleton @param {any} box @param {Function} place */
function paintFaceBox(ctx, strokes, skeleton, box, place) {
  const [a, b] = place([{ x: box.xMin, y: box.yMin }, { x: box.xMax, y: box.yMax }]);
  const width = Math.max(strokes.width(0.02), 1.5);
  const [x, wide] = [Math.min(a.x, b.x), Math.abs(a.x - b.x)];
  for (const [colour, line] of [[INK, width + 2], [NEUTRAL, width]]) {
    ctx.strokeStyle = /** @type {string} */ (colour);
    ctx.lineWidth = /** @type {number} */ (line);
    ctx.beginPath();
    ctx.roundRect(x, a.y, wide, b.y - a.y, wide * 0.12);
    ctx.stroke();
  }
  skeleton.colours.forEach((/** @type {string} */ colour, /** @type {number} */ k) => {
    strokes.dot(k, INK, width * 1.5 + 1);
    strokes.dot(k, colour, width * 1.5);
  });
}

/**
 * Limbs by side, thick where seen, thin and hollow where hidden.
 *
 * @param {CanvasRenderingContext2D} ctx @param {{skeleton: string, keypoints: any[], leftOut: Set<number>}} body
 * @param {(points: any[]) => any[]} place @param {number} longest
 */
function paintBody(ctx, { keypoints, leftOut, ...body }, place, longest) {
  const skeleton = skeletonOf(body);
  const strokes = new Strokes(ctx, place(keypoints), longest);
  const near = strokes.near.map((value) => 0.3 + 0.5 * value);
  const seen = keypoints.map(({ score }) => !(score < SEEN));
  const head = new Set(skeleton.groups.face);
  const width = strokes.width(0.0075);
  const edge = Math.max(0.5, width * 0.27);
  const lines = skeleton.connections.filter(([a, b]) => !leftOut.has(a) && !leftOut.has(b));
  const bold = lines.filter(([a, b]) => seen[a] && seen[b]).sort(([a, b], [c, d]) => near[a] + near[b] - near[c] - near[d]);
  const shown = near.map((_, k) => k).filter((k) => !leftOut.has(k)).sort((a, b) => near[a] - near[b]);
  const thickness = (/** @type {number} */ k) => width * (head.has(k) ? 0.4 : 1);
  ctx.globalAlpha = 0.4;
  for (const [a, b] of lines) if (!seen[a] || !seen[b]) strokes.line(a, b, lineColour(skeleton, a, b), width * 0.5);
  for (const k of shown) if (!seen[k]) strokes.dot(k, skeleton.colours[k], width, width * 0.4);
  ctx.globalAlpha = 1;
  for (const [a, b] of bold) strokes.line(a, b, INK, thickness(a) + 2 * edge);
  for (const [a, b] of bold) strokes.line(a, b, shade(lineColour(skeleton, a, b), (near[a] + near[b]) / 2), thickness(a));
  for (const k of shown.filter((point) => seen[point])) {
    const radius = width * (0.55 + 1.1 * near[k]) * (head.has(k) ? 0.45 : 1);
    strokes.dot(k, INK, radius + edge);
    strokes.dot(k, shade(skeleton.colours[k], near[k] + 0.2), radius);
  }
}

/** A body that reaches to its person's hands and leaves out what they and the face show better. @param {any} body @param {any} person */
function joined(body, person) {
  const { groups } = skeletonOf(body);
  const keypoints = [...body.keypoints];
  const leftOut = new Set(person?.face ? groups.face : []);
  for (const [hand, wrist] of [[person?.leftHand, 15], [person?.rightHand, 16]]) {
    if (!hand) continue;
    keypoints[wrist] = { ...keypoints[wrist], x: hand.keypoints[0].x, y: hand.keypoints[0].y, score: 1 };
    for (const finger of [2, 4, 6]) leftOut.add(wrist + finger);
  }
  return { skeleton: body.skeleton, keypoints, leftOut };
}

/**
 * Whose hand, or what it is, with score and id.
 *
 * @param {CanvasRenderingContext2D} ctx @param {string} kind @param {any} one @param {any[]} points
 * @param {{width: number, height: number, size: number}} look
 */
function paintLabel(ctx, kind, one, points, look) {
  const side = kind === "hand" && !(one.handednessScore < LEAST_SIDE_SCORE) ? one.handedness : null;
  const name = side ? text(`hand.${side}`) : textOr(`one.${kind}`, kind);
  const words = `${name} ${Number(one.score).toFixed(2)}${one.id === null || one.id === undefined ? "" : ` #${one.id}`}`;
  const accent = side ? (side === "Left" ? LEFT : RIGHT) : NEUTRAL;
  let { x, y } = points[0];
  if (kind === "hand") {
    const [dx, dy] = [x - points[9].x, y - points[9].y]; // away from the fingers
    const reach = (look.size * 2.6) / (Math.hypot(dx, dy) || 1);
    [x, y] = [x + dx * reach, y + dy * reach];
  } else {
    y = Math.min(...points.map((point) => point.y)) - look.size * (kind === "body" ? 3.2 : 1.6);
  }
  if (Number.isFinite(x) && Number.isFinite(y)) drawLabel(ctx, words, x, y, { ...look, accent });
}
