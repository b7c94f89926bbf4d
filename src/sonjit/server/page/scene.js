/** What was found as points in one space: metres, the camera's axes (x right, y down, z forward). */

import { instancesOf } from "./kinds.js";
import { skeletonOf } from "./skeletons.js";

/** @typedef {[number, number, number]} Vector */
/** @typedef {{kind: string, points: Vector[], skeleton: import("./skeletons.js").Skeleton, seen?: boolean[]}} Figure
 *   `seen`: of each point whether it is in the image and not hidden, rather than guessed; without it all are */

const FACE_M = 0.19; // height of a face, for its mesh comes in pixels alone
const NOSE_OF_FACE = 1;
const SEEN = 0.5; // visibility from which a keypoint counts as seen

/**
 * Figures beside each other as the image has them, parts of a person where they belong.
 *
 * Each comes with an origin of its own; its place among the others is that of its image, by its own scale.
 *
 * @param {Record<string, any>} frame
 * @returns {Figure[]}
 */
export function figuresOf(frame) {
  /** @type {Map<any, Figure>} */ const bodies = new Map();
  return instancesOf(frame).flatMap(({ kind, one, person }) => {
    const skeleton = skeletonOf(one);
    if (!one.keypoints3D && !(kind === "face" && "z" in one.keypoints[0])) return []; // without depth
    const figure = { kind, skeleton, points: /** @type {Vector[]} */ (kind === "face" ? facePoints(one) : worldPoints(one)), seen: seenOf(one, frame) };
    const body = bodies.get(person);
    if (kind === "body" && person) bodies.set(person, figure);
    if (!body) return [moved(figure, placeInImage(figure, one, frame))];
    const anchor = kind === "face" ? body.points[0] : body.points[one.handedness === "Left" ? 15 : 16];
    return [moved(figure, difference(anchor, figure.points[kind === "face" ? NOSE_OF_FACE : 0]))];
  });
}

/** The smallest sphere's rough likeness: middle of the box around all points, and the reach from it. @param {Figure[]} figures */
export function boundsOf(figures) {
  const points = figures.flatMap(({ points: all }) => all);
  const low = [0, 1, 2].map((axis) => Math.min(...points.map((p) => p[axis])));
  const high = [0, 1, 2].map((axis) => Math.max(...points.map((p) => p[axis])));
  const middle = /** @type {Vector} */ (low.map((value, axis) => (value + high[axis]) / 2));
  return { middle, reach: Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2, floor: high[1] };
}

/** @param {any} one @param {any} frame @returns {boolean[]} */
function seenOf({ keypoints }, { width, height }) {
  return keypoints.map((/** @type {any} */ { x, y, score }) => !(score < SEEN) && x >= 0 && y >= 0 && x <= width && y <= height);
}

/** @param {any} one @returns {Vector[]} */
function worldPoints(one) {
  return one.keypoints3D.map((/** @type {any} */ { x, y, z }) => [x, y, z]);
}

/** @param {any} face @returns {Vector[]} metres, as if every face were of one height; origin at its middle */
function facePoints({ keypoints, box }) {
  const scale = FACE_M / (box.height || 1);
  const [cx, cy] = [(box.xMin + box.xMax) / 2, (box.yMin + box.yMax) / 2];
  return keypoints.map((/** @type {any} */ { x, y, z }) => [(x - cx) * scale, (y - cy) * scale, z * scale]);
}

/** Where a figure's origin lies if the image's middle lies at the space's. @param {Figure} figure @param {any} one @param {any} frame */
function placeInImage({ points }, one, frame) {
  const span = (/** @type {number[]} */ xs, /** @type {number[]} */ ys) => Math.hypot(spread(xs), spread(ys)) || 1;
  const [xs, ys] = [one.keypoints.map((/** @type {any} */ p) => p.x), one.keypoints.map((/** @type {any} */ p) => p.y)];
  const scale = span(points.map((p) => p[0]), points.map((p) => p[1])) / span(xs, ys);
  const offset = (/** @type {number[]} */ px, /** @type {number} */ size, /** @type {number} */ axis) =>
    (mean(px) - size / 2) * scale - mean(points.map((p) => p[axis]));
  return /** @type {Vector} */ ([offset(xs, frame.width, 0), offset(ys, frame.height, 1), 0]);
}

/** In place, so that parts that come later find it there. @param {Figure} figure @param {Vector} by @returns {Figure} */
function moved(figure, by) {
  for (const point of figure.points) for (let axis = 0; axis < 3; axis += 1) point[axis] += by[axis];
  return figure;
}

/** @param {Vector} a @param {Vector} b @returns {Vector} */
function difference(a, b) {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {number[]} values */
function spread(values) {
  return Math.max(...values) - Math.min(...values);
}
