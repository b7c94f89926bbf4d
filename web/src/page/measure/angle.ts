/** Draws the angle of a joint over the picture of a result. */

import { lineColours, shown, sideOf, withoutSide } from "../measure-names.js";
import type { AvatarFrame } from "../avatar/scene.js";
import type { Series } from "./curves.js";

/** joint of an angle between the two others, without their side */
const JOINTS: Record<string, [string, string, string]> = {
  elbow: ["shoulder", "elbow", "wrist"],
  shoulder: ["elbow", "shoulder", "hip"],
  hip: ["shoulder", "hip", "knee"],
  knee: ["hip", "knee", "ankle"],
  ankle: ["knee", "ankle", "foot_index"],
};
const LEAST_VISIBLE = 0.5;
const LINE_PX = 3;
const ARC_PX = 34;
const FONT_PX = 17;

type Point = { x: number; y: number };

/**
 * Draw the angles of a measure in one frame.
 *
 * @param ctx whose unit is a pixel of the source
 * @param unit size of a pixel of the screen in pixels of the source
 * @param index of the frame
 */
export function paintAngles(
  ctx: CanvasRenderingContext2D,
  unit: number,
  details: AvatarFrame,
  series: Series[],
  index: number,
) {
  const colours = lineColours(series.map(({ side }) => side));
  series.forEach(({ measure, values, tracked, side }, k) => {
    const joint = /^(\w+?)_angle_(?:2d_)?rad$/.exec(withoutSide(measure))?.[1] ?? "";
    const names = JOINTS[joint];
    const value = values[index];
    if (!names || tracked.kind !== "body" || typeof value !== "number") return;
    const points = pointsOf(details, tracked.id, names, sideOf(measure));
    if (points) paintAngle(ctx, unit, points, colours[k]!, shown(measure, value), side);
  });
}

/** Return three keypoints of a person; null if one is not visible. */
function pointsOf(
  { bodies = [], people = [] }: AvatarFrame,
  id: number | null,
  names: [string, string, string],
  side: string,
): [Point, Point, Point] | null {
  const body =
    bodies.find((one) => (one.id ?? null) === id) ??
    people.find((one) => (one.id ?? one.body?.id ?? null) === id)?.body;
  const found = names.map((name) =>
    body?.keypoints.find((point) => point.name === `${side}_${name}`),
  );
  const isSeen = found.every((point) => point && (point.score ?? 1) >= LEAST_VISIBLE);
  return isSeen ? (found as Point[] as [Point, Point, Point]) : null;
}

function paintAngle(
  ctx: CanvasRenderingContext2D,
  unit: number,
  [from, joint, to]: [Point, Point, Point],
  colour: string,
  label: string,
  side: string,
) {
  const [first, second] = [from, to].map(({ x, y }) => Math.atan2(y - joint.y, x - joint.x)) as [
    number,
    number,
  ];
  const turn = ((second - first + 3 * Math.PI) % (2 * Math.PI)) - Math.PI;
  const reach = ARC_PX * unit;
  ctx.save();
  ctx.lineCap = ctx.lineJoin = "round";
  for (const [stroke, width] of [
    ["#000000a0", LINE_PX + 3],
    ["#ffffff", LINE_PX],
  ] as const) {
    ctx.strokeStyle = stroke;
    ctx.lineWidth = width * unit;
    ctx.beginPath();
    ctx.moveTo(from.x, from.y);
    ctx.lineTo(joint.x, joint.y);
    ctx.lineTo(to.x, to.y);
    ctx.stroke();
  }
  ctx.beginPath();
  ctx.moveTo(joint.x, joint.y);
  ctx.arc(joint.x, joint.y, reach, first, second, turn < 0);
  ctx.closePath();
  ctx.fillStyle = colour;
  ctx.globalAlpha = 0.75;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.font = `700 ${FONT_PX * unit}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  const { width } = ctx.measureText(label);
  const height = FONT_PX * 1.5 * unit;
  const pad = 7 * unit;
  // away from the inside of the angle; the person's left is mostly on the right of the picture
  const isRight = side === "left";
  const left = isRight ? joint.x + 12 * unit : joint.x - width - 2 * pad - 12 * unit;
  const { a: zoom, e: margin } = ctx.getTransform();
  const end = (ctx.canvas.width - margin) / zoom - width - 2 * pad - 2 * unit;
  const x = Math.max(Math.min(left, end), 2 * unit);
  ctx.fillStyle = "#12141ce0";
  ctx.beginPath();
  ctx.roundRect(x, joint.y - height / 2, width + 2 * pad, height, height / 2);
  ctx.fill();
  ctx.fillStyle = "#ffffff";
  ctx.fillText(label, x + pad, joint.y + unit);
  ctx.restore();
}
