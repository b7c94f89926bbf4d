/** Draws results in image pixels, for overlay, snapshots and recordings. */

import { fit, text, textOr } from "./common.js";
import { coloured, DRAWING, INK, instancesOf, LEFT, lineColour, NEUTRAL, RESULTS, RIGHT, skeletonOf } from "./kinds.js";
import { paintSaliency, saliencyLabel } from "./saliency.js";
import { around, edgeOf, shade, Strokes } from "./strokes.js";

/** @typedef {{drawing: boolean, colour: string, thickness: number, points: boolean, boxes: boolean, labels: boolean, gestures: boolean, errors: boolean, anonymise: string}} Style
 *   `drawing`: whether anything is drawn; `colour`: colour of everything, or "" for each part's colour; `thickness`: factor of line widths; `anonymise`: how people are hidden */

/** @type {Style} */
export const USUAL_STYLE = { drawing: true, colour: "", thickness: 1, points: true, boxes: false, labels: true, gestures: false, errors: false, anonymise: "none" };

/** @type {Record<string, number>} drawn in this order; hands are usually in front */ const DEPTHS = { body: -2, face: -1 };
const UP = { x: 0, y: -1 };
const ASIDE = { x: 1, y: 0 };

/**
 * Draw a frame's instances.
 *
 * @param {CanvasRenderingContext2D} ctx scaled to pixels of the image @param {Record<string, any>} frame
 * @param {{mirrored?: boolean, unit?: number, mask?: CanvasImageSource | null, style?: Style}} [how] `mirrored`: x counted from the
 *   right; `unit`: image pixels per screen pixel, which keeps text readable; `mask`: overlay of the background
 */
export function paint(ctx, frame, { mirrored = false, unit = 1, mask = null, style = USUAL_STYLE } = {}) {
  if (!style.drawing) return;
  const { width, height } = frame;
  const image = { width, height };
  const longest = Math.max(width, height);
  const found = instancesOf(frame).toSorted((a, b) => (DEPTHS[a.kind] ?? 0) - (DEPTHS[b.kind] ?? 0));
  const maps = found.flatMap(({ instance }) => instance.map ?? []);
  ctx.save();
  ctx.lineCap = ctx.lineJoin = "round";
  if (mirrored) ctx.transform(-1, 0, 0, 1, width, 0);
  if (mask) ctx.drawImage(mask, 0, 0, width, height);
  for (const map of maps) paintSaliency(ctx, map);
  for (const { kind, instance, person } of found) {
    const visible = kind === "body" ? joined(instance, person) : instance;
    const strokes = new Strokes(ctx, visible.keypoints, longest, style.thickness);
    const skeleton = style.colour ? coloured(skeletonOf(instance), style.colour) : skeletonOf(instance);
    if (kind === "face") paintFace(ctx, skeleton, strokes, areaOf(kind, instance), style, image);
    else paintSkeleton(skeleton, strokes, visible, kind === "body", style);
    if (style.errors) paintErrors(skeleton, strokes, instance);
    if (style.boxes && !(kind === "face" && !skeleton.edges)) paintBox(ctx, areaOf(kind, instance), strokes, style.colour || accentOf(kind, instance), image);
  }
  ctx.restore();
  const place = (/** @type {Point} */ { x, y }) => ({ x: mirrored ? width - x : x, y });
  const placed = (/** @type {Area} */ [left, top, right, bottom]) =>
    /** @type {Area} */ (mirrored ? [width - right, top, width - left, bottom] : [left, top, right, bottom]);
  const least = 11 * unit;
  const look = { width, height, least, most: Math.max(Math.min(width, height) * 0.02, least) };
  const own = style.labels ? found.filter(({ kind, person }) => kind === "body" || !person) : [];
  const labels = [...own.map(({ kind, instance, person }) => labelOf(kind, { person, ...instance }, place, placed(areaOf(kind, instance)), style)),
    ...maps.map((map) => saliencyLabel(map, mirrored ? width : null))];
  drawLabels(ctx, labels, look, found.flatMap(({ kind, instance }) => headOf(kind, instance)).map(placed));
}

/**
 * Draw connections and keypoints, far parts first. Fingers and the sides of a body have their own colours; hidden parts are thin and hollow.
 *
 * @param {import("./kinds.js").Skeleton} skeleton @param {Strokes} strokes @param {{keypoints: any[], leftOut?: Set<number>}} visible part of an instance
 * @param {boolean} isBody @param {Style} style
 */
function paintSkeleton(skeleton, strokes, { keypoints, leftOut = new Set() }, isBody, { points }) {
  const { ctx } = strokes;
  const near = isBody ? strokes.near.map((value) => 0.3 + 0.5 * value) : strokes.near;
  const head = new Set(isBody ? skeleton.groups.face : []);
  const width = strokes.width(isBody ? DRAWING.body_width : DRAWING.hand_width);
  const edge = edgeOf(width);
  const lines = farFirst(skeleton.connections.filter(([a, b]) => !leftOut.has(a) && !leftOut.has(b)), near);
  const isBold = (/** @type {[number, number]} */ [a, b]) => isSeen(keypoints[a]) && isSeen(keypoints[b]);
  const bold = lines.filter(isBold);
  const shown = farthestFirst(near).filter((k) => points && !leftOut.has(k));
  const thickness = (/** @type {number} */ k) => width * (head.has(k) ? 0.4 : 1);
  ctx.globalAlpha = isBody ? 0.4 : 0.55;
  lines.forEach((line) => isBold(line) || strokes.lines([line], lineColour(skeleton, line[0], line[1]), width * 0.5));
  ctx.globalAlpha = isBody ? 0.4 : 1;
  for (const k of shown) if (!isSeen(keypoints[k])) strokes.dot(k, skeleton.colours[k], width * (isBody ? 1 : 0.7 + 1.2 * near[k]), width * (isBody ? 0.4 : 0.45));
  ctx.globalAlpha = 1;
  for (const isHead of [false, true]) strokes.lines(bold.filter(([a]) => head.has(a) === isHead), INK, width * (isHead ? 0.4 : 1) + 2 * edge);
  bold.forEach((line) => strokes.lines([line], shade(lineColour(skeleton, line[0], line[1]), (near[line[0]] + near[line[1]]) / 2), thickness(line[0])));
  const [least, more, light] = isBody ? [0.55, 1.1, 0.2] : [0.7, 1.2, 0.15];
  for (const k of shown.filter((point) => isSeen(keypoints[point]))) {
    const radius = width * (least + more * near[k]) * (head.has(k) ? 0.45 : 1);
    strokes.dot(k, INK, radius + edge);
    strokes.dot(k, shade(skeleton.colours[k], near[k] + light), radius);
    if (!isBody && radius >= 3) strokes.dot(k, shade(skeleton.colours[k], near[k] + 0.6), radius * 0.42);
  }
}

/** Draw rings with the expected errors of refined keypoints as radii. @param {import("./kinds.js").Skeleton} skeleton @param {Strokes} strokes @param {any} instance */
function paintErrors(skeleton, strokes, { keypoints }) {
  const width = strokes.width(0.004);
  keypoints.forEach((/** @type {{errorPx?: number}} */ { errorPx }, /** @type {number} */ k) => {
    if (errorPx === undefined) return;
    strokes.dot(k, INK, errorPx, width + 2 * edgeOf(width));
    strokes.dot(k, shade(skeleton.colours[k], 1), errorPx, width);
  });
}

/** Return lines sorted from far to near. Math.sign avoids an allocation per comparison. @param {[number, number][]} lines @param {Float64Array} near */
const farFirst = (lines, near) => lines.toSorted((a, b) => Math.sign(near[a[0]] + near[a[1]] - near[b[0]] - near[b[1]]));

/** Return keypoints sorted from far to near. @param {Float64Array} near */
const farthestFirst = (near) => [...near.keys()].sort((a, b) => Math.sign(near[a] - near[b]));

/**
 * Draw contours with a dark edge, visible on any skin, over a faint mesh. A face without a mesh is a rounded box.
 *
 * @param {CanvasRenderingContext2D} ctx @param {import("./kinds.js").Skeleton} skeleton @param {Strokes} strokes @param {Area} area @param {Style} style
 * @param {Size} image
 */
function paintFace(ctx, skeleton, strokes, area, { points, colour: single }, image) {
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
    const members = [...strokes.near.subarray(0, 468).keys()].filter((k) => Math.min(Math.floor(strokes.near[k] * steps), steps - 1) === step);
    const near = (step + 0.5) / steps;
    ctx.globalAlpha = 0.35;
    strokes.dots(members, INK, width * (0.55 + 0.5 * near));
    ctx.globalAlpha = 0.8;
    strokes.dots(members, shade(single || "#c3d0ea", near), width * (0.25 + 0.5 * near));
  }
  ctx.globalAlpha = 0.62;
  strokes.lines(skeleton.connections, INK, width + 2 * Math.max(0.6, width * 0.4));
  ctx.globalAlpha = 1;
  skeleton.connections.forEach((line) => strokes.lines([line], lineColour(skeleton, line[0], line[1]), width));
}

/** Draw a box, clipped to the image. @param {CanvasRenderingContext2D} ctx @param {Area} area @param {Strokes} strokes @param {string} colour @param {Size} image */
function paintBox(ctx, area, strokes, colour, image) {
  if (!area.every(Number.isFinite)) return;
  const width = Math.min(Math.max(strokes.width(0.006), 1.5), strokes.longest / 320) * strokes.thickness;
  const [left, right] = [Math.max(area[0], width), Math.min(area[2], image.width - width)];
  const [top, bottom] = [Math.max(area[1], width), Math.min(area[3], image.height - width)];
  if (right <= left || bottom <= top) return;
  for (const [strokeStyle, lineWidth] of [[INK, width + 2], [colour, width]]) {
    Object.assign(ctx, { strokeStyle, lineWidth });
    ctx.beginPath();
    ctx.roundRect(left, top, right - left, bottom - top, Math.min(right - left, bottom - top) * 0.06);
    ctx.stroke();
  }
}

/** Return a body that is connected to the person's hands, without the keypoints that hands and face replace. @param {any} body @param {any} person */
function joined(body, person) {
  const { groups } = skeletonOf(body);
  const keypoints = [...body.keypoints];
  const leftOut = new Set(person?.face ? groups.face : []);
  for (const [hand, wrist] of [[person?.leftHand, 15], [person?.rightHand, 16]]) {
    if (!hand) continue;
    keypoints[wrist] = { ...keypoints[wrist], x: hand.keypoints[0].x, y: hand.keypoints[0].y, score: 1 };
    for (const finger of [2, 4, 6]) leftOut.add(wrist + finger);
  }
  return { keypoints, leftOut };
}

/** @param {{score?: number}} keypoint */
const isSeen = ({ score }) => !(/** @type {number} */ (score) < RESULTS.visible_score);

/** Return the box of an instance: the answer's box of a face, otherwise the box around visible keypoints. @param {string} kind @param {any} instance @returns {Area} */
const areaOf = (kind, { box, keypoints }) => (kind === "face" ? [box.xMin, box.yMin, box.xMax, box.yMax] : around(keypoints, keypoints.map(isSeen)));

/** Return the box of a face or of a body's face, which labels should not hide. @param {string} kind @param {any} instance @returns {Area[]} */
function headOf(kind, instance) {
  if (kind === "face") return [areaOf(kind, instance)];
  if (kind !== "body") return [];
  const head = skeletonOf(instance).groups.face.map((k) => instance.keypoints[k]);
  const [left, top, right, bottom] = around(head);
  const { x, y } = mean(head);
  const half = Math.max(right - left, bottom - top) * 0.7;
  return [[x - half, y - half, x + half, y + half]];
}

/** @param {any[]} points */
function mean(points) {
  const sum = points.reduce((all, { x, y }) => ({ x: all.x + x, y: all.y + y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}

/** Return the side of a hand; null if unknown. @param {string} kind @param {any} instance @returns {"Left" | "Right" | null} */
export const sideOf = (kind, instance) => (kind === "hand" && !(instance.handednessScore < RESULTS.known_side_score) ? instance.handedness : null);

/** @param {string} kind @param {any} instance */
function accentOf(kind, instance) {
  const side = sideOf(kind, instance);
  return side ? (side === "Left" ? LEFT : RIGHT) : NEUTRAL;
}

/** Return the displayed name of an instance. @param {string} kind @param {any} instance @param {any} [person] whose part it is */
export function nameOf(kind, instance, person) {
  const side = sideOf(kind, instance);
  return side ? text(`hand.${side}`) : textOr(person && kind === "body" ? "one.holistic" : `one.${kind}`, kind);
}

/** Return the gesture of a hand as text; "" without one. @param {any} instance */
export function gestureOf(instance) {
  const name = instance.gesture?.name;
  return name ? textOr(`gesture.${name}`, name) : "";
}

/**
 * Return the label of an instance with score and id: below the wrist of a hand, above other instances.
 *
 * @param {string} kind @param {any} instance @param {(point: any) => Point} place maps a keypoint to its drawn position @param {Area} area
 * @param {Style} style @returns {Label}
 */
function labelOf(kind, instance, place, area, { gestures }) {
  const id = instance.id == null ? "" : ` #${instance.id}`;
  const gesture = gestures ? gestureOf(instance) : "";
  const [left, top, right, bottom] = area;
  const common = {
    text: `${nameOf(kind, instance, instance.person)} ${Number(instance.score).toFixed(2)}${id}${gesture && ` · ${gesture}`}`,
    accent: accentOf(kind, instance),
    size: Math.hypot(right - left, bottom - top),
  };
  if (kind === "hand") {
    const [wrist, thumb, knuckle] = [0, 1, 9].map((k) => place(instance.keypoints[k]));
    const length = Math.hypot(wrist.x - knuckle.x, wrist.y - knuckle.y);
    const away = length > 0 ? { x: (wrist.x - knuckle.x) / length, y: (wrist.y - knuckle.y) / length } : { x: 0, y: 1 };
    const side = { x: -away.y, y: away.x };
    const isThumbs = side.x * (thumb.x - wrist.x) + side.y * (thumb.y - wrist.y) > 0; // prefer the side of the little finger
    const aside = isThumbs ? turned(side) : side;
    return { ...common, anchor: wrist, directions: [away, aside, turned(aside)] };
  }
  if (kind === "body") {
    const { groups, keypoints } = skeletonOf(instance);
    const head = place(mean(groups.face.map((k) => instance.keypoints[k])));
    const neck = place(mean(["left_shoulder", "right_shoulder"].map((name) => instance.keypoints[keypoints.indexOf(name)])));
    const crown = { x: 1.5 * head.x - 0.5 * neck.x, y: 1.5 * head.y - 0.5 * neck.y }; // distance above the head equals the distance to the neck
    return { ...common, anchor: crown, directions: [UP, ASIDE, turned(ASIDE)] };
  }
  return { ...common, anchor: { x: (left + right) / 2, y: top }, directions: kind === "face" ? [UP, ASIDE, turned(ASIDE)] : [UP, turned(UP)] };
}

/** @param {{x: number, y: number}} direction */
const turned = ({ x, y }) => ({ x: -x, y: -y });

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{width: number, height: number}} Size
 * @typedef {[number, number, number, number]} Area left, top, right, bottom in pixels of the image
 * @typedef {{text: string, anchor: Point, directions: Point[], accent: string, size: number}} Label `anchor`: the point that the label
 *   belongs to; `directions`: unit vectors from there to where the text may be, best first; `size`: of the instance in pixels
 * @typedef {Size & {pad: number}} Plate size of a text with its margin
 */

const STEPS = 4;
const HIDING = 6; // cost of a completely covered area, in label heights of distance
const SHARE = 0.055; // letter height as a share of the instance's size

/**
 * Draw labels. The first label has the best position.
 *
 * @param {CanvasRenderingContext2D} ctx scaled to pixels of the image @param {Label[]} labels
 * @param {Size & {least: number, most: number}} look size of the image, and limits of the letter height @param {Area[]} avoid such as faces
 */
function drawLabels(ctx, labels, { width, height, least, most }, avoid) {
  const occupied = avoid.filter((area) => area.every(Number.isFinite));
  for (const { text: words, anchor, directions, accent, size } of labels) {
    if (!Number.isFinite(anchor.x + anchor.y)) continue;
    const letters = Math.ceil(Math.min(Math.max(size * SHARE || 0, least), most)); // integers, because browsers cache a font for every size
    ctx.font = `600 ${letters}px system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif`;
    const pad = letters * 0.5;
    const plate = { width: ctx.measureText(words).width + letters * 2.05, height: letters * 1.7, pad };
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
 *
 * @param {Point} anchor @param {Point[]} directions @param {Plate} plate @param {Size} image @param {Area[]} occupied
 * @returns {{left: number, top: number}}
 */
export function placeLabel(anchor, directions, plate, image, occupied) {
  let [best, least] = [{ left: 0, top: 0 }, Infinity];
  for (let step = 0; step < STEPS; step += 1) {
    directions.forEach(({ x, y }, rank) => {
      const away = 2 * plate.pad + (Math.abs(x) * plate.width + Math.abs(y) * plate.height) / 2 + step * 1.1 * plate.height;
      const [wantedX, wantedY] = [anchor.x + x * away - plate.width / 2, anchor.y + y * away - plate.height / 2];
      const left = Math.min(Math.max(wantedX, 0), image.width - plate.width);
      const top = Math.min(Math.max(wantedY, 0), image.height - plate.height);
      const moved = Math.hypot(left - wantedX, top - wantedY) / plate.height;
      const covered = occupied.reduce((area, [x0, y0, x1, y1]) => area
        + Math.max(Math.min(x1, left + plate.width) - Math.max(x0, left), 0) * Math.max(Math.min(y1, top + plate.height) - Math.max(y0, top), 0), 0);
      const cost = moved + 0.7 * step + 0.2 * rank + (HIDING * covered) / (plate.width * plate.height);
      if (cost < least) [best, least] = [{ left, top }, cost];
    });
  }
  return best;
}

const MAX_SCALE = 3; // scale of the overlay, so that lines are sharp on high-resolution screens
const LARGEST = 1920;
const CELLS = 3; // cells along a hidden head or person
const HEAD_MARGIN = 0.35; // margin around a hidden head, and around a person, relative to the longer side
const PERSON_MARGIN = 0.1;
const HEAD_SHARE = 0.2; // half of the height of a head, relative to the torso or the shoulders

/** Return the areas to hide with their margins: heads, also those in profile, and for "persons" bodies. @param {string} kind @param {any} instance @param {string} how @returns {Area[]} */
function hiddenAreas(kind, instance, how) {
  const areas = headOf(kind, instance).map((head) => withMargin(head, HEAD_MARGIN));
  if (kind !== "body") return areas;
  const points = instance.keypoints;
  const [shoulders, hips] = [mean([points[11], points[12]]), mean([points[23], points[24]])];
  const size = Math.max(Math.hypot(shoulders.x - hips.x, shoulders.y - hips.y), Math.hypot(points[11].x - points[12].x, points[11].y - points[12].y));
  const { x, y } = mean(skeletonOf(instance).groups.face.map((k) => points[k]));
  const half = HEAD_SHARE * size;
  areas.push(withMargin([x - half, y - half, x + half, y + half], HEAD_MARGIN));
  return how === "persons" ? [...areas, withMargin(around(points), PERSON_MARGIN)] : areas;
}

/** @param {Area} area @param {number} share of the longer side @returns {Area} */
function withMargin([left, top, right, bottom], share) {
  const margin = share * Math.max(right - left, bottom - top);
  return [left - margin, top - margin, right + margin, bottom + margin];
}

/** Reduce areas to a few cells. An image without a known head becomes black. @param {CanvasRenderingContext2D} ctx @param {Area[]} areas */
function hidePeople(ctx, areas) {
  if (!areas.length) ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  const cells = Object.assign(document.createElement("canvas"), { width: CELLS, height: CELLS });
  for (const [left, top, right, bottom] of areas) {
    /** @type {[number, number, number, number]} */ const area = [left, top, right - left, bottom - top];
    cells.getContext("2d")?.drawImage(ctx.canvas, ...area, 0, 0, CELLS, CELLS);
    ctx.drawImage(cells, 0, 0, CELLS, CELLS, ...area);
  }
}

/** @typedef {ReturnType<typeof overlayView>} Overlay */

/** Return the view of images and the drawings over them. @param {HTMLCanvasElement} image @param {HTMLCanvasElement} overlay @param {HTMLElement} stage around both */
export function overlayView(image, overlay, stage) {
  /** @type {{frame: Record<string, any>, seen: import("./detectors.js").ShownImage} | null} the drawn frame */ let last = null;
  let isMirrored = false;
  let style = USUAL_STYLE;
  new ResizeObserver(redraw).observe(stage);

  /** Mirror the view or not. @param {boolean} on */
  function mirror(on) {
    isMirrored = on;
    stage.classList.toggle("mirrored", on); // mirrors the image; the overlay is drawn again so that text stays readable
    redraw();
  }

  /** Set the drawing style. @param {Style} wanted */
  function setStyle(wanted) {
    const hides = wanted.anonymise !== style.anonymise;
    style = wanted;
    stage.classList.toggle("anonymous", style.anonymise !== "none");
    if (hides && last) draw(last.frame, last.seen);
    else if (hides) wipe(image);
    else redraw();
  }

  /** Show an image. @param {HTMLCanvasElement | ImageBitmap} shown @param {{width: number, height: number}} [size] @param {Area[]} [areas] to hide */
  function show(shown, { width, height } = shown, areas = []) {
    fit(image, width, height);
    const ctx = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
    ctx.drawImage(shown, 0, 0, width, height);
    if (style.anonymise !== "none") hidePeople(ctx, style.anonymise === "black" ? [] : areas);
    stage.style.aspectRatio = `${width} / ${height}`;
  }

  /** @param {Record<string, any>} frame @param {import("./detectors.js").ShownImage} seen `flipped`: the frame's x count from the right */
  function draw(frame, seen) {
    last = { frame, seen };
    // instances beyond the maximum have no known place, so that the image becomes black
    const areas = frame.hidden ? [] : instancesOf(frame).flatMap(({ kind, instance }) => hiddenAreas(kind, instance, style.anonymise));
    const flip = (/** @type {Area} */ [left, top, right, bottom]) => /** @type {Area} */ ([frame.width - right, top, frame.width - left, bottom]);
    show(seen.image, /** @type {any} */ (frame), seen.flipped ? areas.map(flip) : areas);
    redraw();
  }

  function clear() {
    last = null;
    wipe(overlay);
  }

  /** Draw the image and its results into a canvas, which gets the image's size. @param {HTMLCanvasElement} canvas */
  function compose(canvas) {
    const { width, height } = image;
    fit(canvas, width, height);
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    if (isMirrored) ctx.setTransform(-1, 0, 0, 1, width, 0);
    ctx.drawImage(image, 0, 0);
    ctx.resetTransform();
    drawLast(ctx, 1);
  }

  function redraw() {
    wipe(overlay);
    if (!last) return;
    const { width, height } = last.frame;
    const shown = Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1; // of a pixel of the image
    const scale = Math.min(Math.max(shown * devicePixelRatio, 1), MAX_SCALE, Math.max(1, LARGEST / width));
    fit(overlay, Math.round(width * scale), Math.round(height * scale));
    const ctx = /** @type {CanvasRenderingContext2D} */ (overlay.getContext("2d"));
    ctx.setTransform(overlay.width / width, 0, 0, overlay.height / height, 0, 0);
    drawLast(ctx, 1 / shown);
    ctx.resetTransform();
  }

  /** @param {CanvasRenderingContext2D} ctx @param {number} unit */
  function drawLast(ctx, unit) {
    if (!last) return;
    const { frame, seen: { flipped, mask } } = last;
    paint(ctx, frame, { mirrored: flipped !== isMirrored, unit, mask, style });
  }

  return { mirror, setStyle, show, draw, clear, clearImage: () => wipe(image), compose };
}

/** @param {HTMLCanvasElement} canvas */
function wipe(canvas) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}
