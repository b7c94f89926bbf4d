/** Draws results in image pixels, for overlay, snapshots and recordings. */

import { text, textOr } from "./common.js";
import {
  coloured,
  DRAWING,
  INK,
  instancesOf,
  LEFT,
  lineColour,
  NEUTRAL,
  RESULTS,
  RIGHT,
  skeletonOf,
  type Frame,
  type Instance,
  type Person,
  type Point as Keypoint,
  type Skeleton,
} from "./kinds.js";
import { drawLabels, type Area, type Label, type Point, type Size } from "./labels.js";
import { paintSaliency, saliencyLabel } from "./saliency.js";
import { around, edgeOf, shade, Strokes } from "./strokes.js";
import { BY_INSTANCE, USUAL_STYLE, type Style } from "./style.js";

/** what tells the side of a hand */
type Sided = { handedness?: string | null; handednessScore?: number };

/** drawn in this order; hands are usually in front */
const DEPTHS: Record<string, number> = { body: -2, face: -1 };
const UP = { x: 0, y: -1 };
const ASIDE = { x: 1, y: 0 };

/**
 * Draw a frame's instances.
 *
 * @param ctx scaled to pixels of the image
 * @param how `mirrored`: x counted from the right; `unit`: image pixels per screen pixel, which
 *   keeps text readable; `mask`: overlay of the background
 */
export function paint(
  ctx: CanvasRenderingContext2D,
  frame: Frame | { width: number; height: number },
  {
    mirrored = false,
    unit = 1,
    mask = null,
    style = USUAL_STYLE,
  }: { mirrored?: boolean; unit?: number; mask?: CanvasImageSource | null; style?: Style } = {},
) {
  if (!style.drawing) return;
  const { width, height } = frame;
  const image = { width, height };
  const longest = Math.max(width, height);
  const found = instancesOf(frame).toSorted(
    (a, b) => (DEPTHS[a.kind] ?? 0) - (DEPTHS[b.kind] ?? 0),
  );
  const maps = found.flatMap(({ instance }) => instance.map ?? []);
  ctx.save();
  ctx.lineCap = ctx.lineJoin = "round";
  if (mirrored) ctx.transform(-1, 0, 0, 1, width, 0);
  if (mask) ctx.drawImage(mask, 0, 0, width, height);
  for (const map of maps) paintSaliency(ctx, map);
  for (const [number, { kind, instance, person }] of found.entries()) {
    const colour = colourOf(style, (person ?? instance).id || number);
    const visible = kind === "body" ? joined(instance, person) : instance;
    const strokes = new Strokes(ctx, visible.keypoints, longest, style.thickness);
    const skeleton = colour ? coloured(skeletonOf(instance), colour) : skeletonOf(instance);
    if (kind === "face")
      paintFace(ctx, skeleton, strokes, areaOf(kind, instance), { ...style, colour }, image);
    else paintSkeleton(skeleton, strokes, visible, kind === "body", style);
    if (style.errors) paintErrors(skeleton, strokes, instance);
    if (style.boxes && !(kind === "face" && !skeleton.edges))
      paintBox(ctx, areaOf(kind, instance), strokes, colour || accentOf(kind, instance), image);
  }
  ctx.restore();
  const place = ({ x, y }: Point) => ({ x: mirrored ? width - x : x, y });
  const placed = ([left, top, right, bottom]: Area) =>
    (mirrored ? [width - right, top, width - left, bottom] : [left, top, right, bottom]) as Area;
  const least = 11 * unit;
  const look = { width, height, least, most: Math.max(Math.min(width, height) * 0.02, least) };
  const own = style.labels ? found.filter(({ kind, person }) => kind === "body" || !person) : [];
  const labels = [
    ...own.map(({ kind, instance, person }) =>
      labelOf(kind, { person, ...instance }, place, placed(areaOf(kind, instance)), style),
    ),
    ...maps.map((map) => saliencyLabel(map, mirrored ? width : null)),
  ];
  drawLabels(
    ctx,
    labels,
    look,
    found.flatMap(({ kind, instance }) => headOf(kind, instance)).map(placed),
  );
}

/** Return the colour of everything of an instance; "" for a colour per part. */
const colourOf = ({ colour }: Style, number: number): string =>
  colour === BY_INSTANCE ? DRAWING.instances[number % DRAWING.instances.length]! : colour;

/**
 * Draw connections and keypoints, far parts first. Fingers and the sides of a body have their own
 * colours; hidden parts are thin and hollow.
 *
 * @param visible part of an instance
 */
function paintSkeleton(
  skeleton: Skeleton,
  strokes: Strokes,
  { keypoints, leftOut = new Set() }: { keypoints: Keypoint[]; leftOut?: Set<number> },
  isBody: boolean,
  { points }: Style,
) {
  const { ctx } = strokes;
  const near = isBody ? strokes.near.map((value) => 0.3 + 0.5 * value) : strokes.near;
  const head = new Set(isBody ? skeleton.groups.face : []);
  const width = strokes.width(isBody ? DRAWING.body_width : DRAWING.hand_width);
  const edge = edgeOf(width);
  const lines = farFirst(
    skeleton.connections.filter(([a, b]) => !leftOut.has(a) && !leftOut.has(b)),
    near,
  );
  const isBold = ([a, b]: [number, number]) => isSeen(keypoints[a]!) && isSeen(keypoints[b]!);
  const bold = lines.filter(isBold);
  const shown = farthestFirst(near).filter((k) => points && !leftOut.has(k));
  const thickness = (k: number) => width * (head.has(k) ? 0.4 : 1);
  ctx.globalAlpha = isBody ? 0.4 : 0.55;
  lines.forEach(
    (line) =>
      isBold(line) || strokes.lines([line], lineColour(skeleton, line[0], line[1]), width * 0.5),
  );
  ctx.globalAlpha = isBody ? 0.4 : 1;
  for (const k of shown)
    if (!isSeen(keypoints[k]!))
      strokes.dot(
        k,
        skeleton.colours[k]!,
        width * (isBody ? 1 : 0.7 + 1.2 * near[k]!),
        width * (isBody ? 0.4 : 0.45),
      );
  ctx.globalAlpha = 1;
  for (const isHead of [false, true])
    strokes.lines(
      bold.filter(([a]) => head.has(a) === isHead),
      INK,
      width * (isHead ? 0.4 : 1) + 2 * edge,
    );
  bold.forEach((line) =>
    strokes.lines(
      [line],
      shade(lineColour(skeleton, line[0], line[1]), (near[line[0]]! + near[line[1]]!) / 2),
      thickness(line[0]),
    ),
  );
  const [least, more, light] = isBody ? [0.55, 1.1, 0.2] : [0.7, 1.2, 0.15];
  for (const k of shown.filter((point) => isSeen(keypoints[point]!))) {
    const radius = width * (least + more * near[k]!) * (head.has(k) ? 0.45 : 1);
    strokes.dot(k, INK, radius + edge);
    strokes.dot(k, shade(skeleton.colours[k]!, near[k]! + light), radius);
    if (!isBody && radius >= 3)
      strokes.dot(k, shade(skeleton.colours[k]!, near[k]! + 0.6), radius * 0.42);
  }
}

/** Draw rings with the expected errors of refined keypoints as radii. */
function paintErrors(skeleton: Skeleton, strokes: Strokes, { keypoints }: Instance) {
  const width = strokes.width(0.004);
  keypoints.forEach(({ errorPx }, k) => {
    if (errorPx === undefined) return;
    strokes.dot(k, INK, errorPx, width + 2 * edgeOf(width));
    strokes.dot(k, shade(skeleton.colours[k]!, 1), errorPx, width);
  });
}

/** Return lines sorted from far to near. Math.sign avoids an allocation per comparison. */
const farFirst = (lines: [number, number][], near: Float64Array) =>
  lines.toSorted((a, b) => Math.sign(near[a[0]]! + near[a[1]]! - near[b[0]]! - near[b[1]]!));

/** Return keypoints sorted from far to near. */
const farthestFirst = (near: Float64Array) =>
  [...near.keys()].sort((a, b) => Math.sign(near[a]! - near[b]!));

/**
 * Draw contours with a dark edge, visible on any skin, over a faint mesh. A face without a mesh is
 * a rounded box.
 */
function paintFace(
  ctx: CanvasRenderingContext2D,
  skeleton: Skeleton,
  strokes: Strokes,
  area: Area,
  { points, colour: single }: Style,
  image: Size,
) {
  if (!skeleton.edges) {
    paintBox(ctx, area, strokes, single || NEUTRAL, image);
    const radius = Math.max(strokes.width(0.03), 2);
    if (points) for (const k of skeleton.colours.keys()) strokes.dot(k, INK, radius + 1);
    if (points) skeleton.colours.forEach((colour, k) => strokes.dot(k, colour, radius));
    return;
  }
  const width = Math.max(strokes.width(0.0065), 1.2 * strokes.thickness);
  ctx.globalAlpha = 0.22;
  strokes.lines(skeleton.edges, "#e8f0ff", Math.max(width * 0.35, 0.4));
  const steps = 5;
  for (let step = 0; points && step < steps; step += 1) {
    const members = [...strokes.near.subarray(0, 468).keys()].filter(
      (k) => Math.min(Math.floor(strokes.near[k]! * steps), steps - 1) === step,
    );
    const near = (step + 0.5) / steps;
    ctx.globalAlpha = 0.35;
    strokes.dots(members, INK, width * (0.55 + 0.5 * near));
    ctx.globalAlpha = 0.8;
    strokes.dots(members, shade(single || "#c3d0ea", near), width * (0.25 + 0.5 * near));
  }
  ctx.globalAlpha = 0.62;
  strokes.lines(skeleton.connections, INK, width + 2 * Math.max(0.6, width * 0.4));
  ctx.globalAlpha = 1;
  skeleton.connections.forEach((line) =>
    strokes.lines([line], lineColour(skeleton, line[0], line[1]), width),
  );
}

/** Draw a box, clipped to the image. */
function paintBox(
  ctx: CanvasRenderingContext2D,
  area: Area,
  strokes: Strokes,
  colour: string,
  image: Size,
) {
  if (!area.every(Number.isFinite)) return;
  const width =
    Math.min(Math.max(strokes.width(0.006), 1.5), strokes.longest / 320) * strokes.thickness;
  const [left, right] = [Math.max(area[0], width), Math.min(area[2], image.width - width)];
  const [top, bottom] = [Math.max(area[1], width), Math.min(area[3], image.height - width)];
  if (right <= left || bottom <= top) return;
  for (const [strokeStyle, lineWidth] of [
    [INK, width + 2],
    [colour, width],
  ]) {
    Object.assign(ctx, { strokeStyle, lineWidth });
    ctx.beginPath();
    ctx.roundRect(
      left,
      top,
      right - left,
      bottom - top,
      Math.min(right - left, bottom - top) * 0.06,
    );
    ctx.stroke();
  }
}

/**
 * Return a body that is connected to the person's hands, without the keypoints that hands and face
 * replace.
 */
function joined(body: Instance, person: Person | undefined) {
  const { groups } = skeletonOf(body);
  const keypoints = [...body.keypoints];
  const leftOut = new Set(person?.face ? groups["face"] : []);
  for (const [hand, wrist] of [
    [person?.leftHand, 15],
    [person?.rightHand, 16],
  ] as const) {
    if (!hand) continue;
    const { x, y } = hand.keypoints[0]!;
    keypoints[wrist] = { ...keypoints[wrist], x, y, score: 1 };
    for (const finger of [2, 4, 6]) leftOut.add(wrist + finger);
  }
  return { keypoints, leftOut };
}

const isSeen = ({ score }: { score?: number }) => !((score as number) < RESULTS.visible_score);

/**
 * Return the box of an instance: the answer's box of a face, otherwise the box around visible
 * keypoints.
 */
const areaOf = (kind: string, { box, keypoints }: Instance): Area =>
  kind === "face" && box
    ? [box.xMin, box.yMin, box.xMax, box.yMax]
    : around(keypoints, keypoints.map(isSeen));

/** Side of the box of a body's face, relative to the extent of its keypoints. */
export const FACE_OF_BODY = 1.4;

/** Return the box of a face or of a body's face, which labels should not hide. */
export function headOf(kind: string, instance: Instance): Area[] {
  if (kind === "face") return [areaOf(kind, instance)];
  if (kind !== "body") return [];
  const head = skeletonOf(instance).groups["face"]!.map((k) => instance.keypoints[k]!);
  const [left, top, right, bottom] = around(head);
  const { x, y } = mean(head);
  const half = (Math.max(right - left, bottom - top) * FACE_OF_BODY) / 2;
  return [[x - half, y - half, x + half, y + half]];
}

export function mean(points: readonly Point[]) {
  const sum = points.reduce((all, { x, y }) => ({ x: all.x + x, y: all.y + y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}

/** Return the side of a hand; null if unknown. */
export const sideOf = (kind: string, { handedness, handednessScore = 1 }: Sided) =>
  kind === "hand" && handednessScore >= RESULTS.known_side_score ? (handedness ?? null) : null;

function accentOf(kind: string, instance: Instance) {
  const side = sideOf(kind, instance);
  return side ? (side === "Left" ? LEFT : RIGHT) : NEUTRAL;
}

/**
 * Return the displayed name of an instance.
 *
 * @param person whose part it is
 */
export function nameOf(kind: string, instance: Sided, person?: Person) {
  const side = sideOf(kind, instance);
  return side
    ? text(`hand.${side}`)
    : textOr(person && kind === "body" ? "one.holistic" : `one.${kind}`, kind);
}

/** Return the gesture of a hand as text; "" without one. */
export function gestureOf(instance: Pick<Instance, "gesture">) {
  const name = instance.gesture?.name;
  return name ? textOr(`gesture.${name}`, name) : "";
}

/**
 * Return the label of an instance with score and id: below the wrist of a hand, above other
 * instances.
 *
 * @param place maps a keypoint to its drawn position
 */
function labelOf(
  kind: string,
  instance: Instance & { person?: Person | undefined },
  place: (point: Point) => Point,
  area: Area,
  { gestures }: Style,
): Label {
  const id = instance.id == null ? "" : ` #${instance.id}`;
  const gesture = gestures ? gestureOf(instance) : "";
  const name = nameOf(kind, instance, instance.person);
  const [left, top, right, bottom] = area;
  const common = {
    text: `${name} ${Number(instance.score).toFixed(2)}${id}${gesture && ` · ${gesture}`}`,
    accent: accentOf(kind, instance),
    size: Math.hypot(right - left, bottom - top),
  };
  if (kind === "hand") {
    const [wrist, thumb, knuckle] = [0, 1, 9].map((k) => place(instance.keypoints[k]!)) as [
      Point,
      Point,
      Point,
    ];
    const length = Math.hypot(wrist.x - knuckle.x, wrist.y - knuckle.y);
    const away =
      length > 0
        ? { x: (wrist.x - knuckle.x) / length, y: (wrist.y - knuckle.y) / length }
        : { x: 0, y: 1 };
    const side = { x: -away.y, y: away.x };
    // prefer the side of the little finger
    const isThumbs = side.x * (thumb.x - wrist.x) + side.y * (thumb.y - wrist.y) > 0;
    const aside = isThumbs ? turned(side) : side;
    return { ...common, anchor: wrist, directions: [away, aside, turned(aside)] };
  }
  if (kind === "body") {
    const { groups, keypoints } = skeletonOf(instance);
    const head = place(mean(groups["face"]!.map((k) => instance.keypoints[k]!)));
    const neck = place(
      mean(
        ["left_shoulder", "right_shoulder"].map(
          (shoulder) => instance.keypoints[keypoints.indexOf(shoulder)]!,
        ),
      ),
    );
    // distance above the head equals the distance to the neck
    const crown = { x: 1.5 * head.x - 0.5 * neck.x, y: 1.5 * head.y - 0.5 * neck.y };
    return { ...common, anchor: crown, directions: [UP, ASIDE, turned(ASIDE)] };
  }
  return {
    ...common,
    anchor: { x: (left + right) / 2, y: top },
    directions: kind === "face" ? [UP, ASIDE, turned(ASIDE)] : [UP, turned(UP)],
  };
}

const turned = ({ x, y }: { x: number; y: number }) => ({ x: -x, y: -y });
