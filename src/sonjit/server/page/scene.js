/** Results as points in one space: metres, camera axes (x right, y down, z forward). */

import { instancesOf } from "./kinds.js";
import { skeletonOf } from "./skeletons.js";
import { RESULTS } from "./spec.js";
import { around } from "./strokes.js";

/** @typedef {[number, number, number]} Vector */
/** @typedef {{kind: string, points: Vector[], skeleton: import("./skeletons.js").Skeleton, visible?: boolean[]}} Figure
 *   `visible`: whether each point is visible in the image; without it all points are */

const FACE_M = 0.19; // assumed height of a face, because its mesh is in pixels
const NOSE_OF_FACE = 1;

/**
 * Return figures at their relative positions in the image, with the parts of a person connected.
 *
 * Each figure has its own origin. Its position follows from the image and its scale.
 *
 * @param {Record<string, any>} frame
 * @returns {Figure[]}
 */
export function figuresOf(frame) {
  /** @type {Map<any, Figure>} */ const bodies = new Map();
  return instancesOf(frame).flatMap(({ kind, instance, person }) => {
    const skeleton = skeletonOf(instance);
    if (!instance.keypoints3D && !(kind === "face" && "z" in instance.keypoints[0])) return []; // without depth
    const figure = { kind, skeleton, points: /** @type {Vector[]} */ (kind === "face" ? facePoints(instance) : worldPoints(instance)), visible: visibleOf(instance, frame) };
    const body = bodies.get(person);
    if (kind === "body" && person) bodies.set(person, figure);
    if (!body) return [moved(figure, placeInImage(figure, instance, frame))];
    const anchor = kind === "face" ? body.points[0] : body.points[instance.handedness === "Left" ? 15 : 16];
    return [moved(figure, difference(anchor, figure.points[kind === "face" ? NOSE_OF_FACE : 0]))];
  });
}

/** Return an approximate bounding sphere: centre of the box around all points, and its radius. @param {Figure[]} figures */
export function boundsOf(figures) {
  const [low, high] = extent(figures.flatMap(({ points }) => points));
  const middle = /** @type {Vector} */ (low.map((value, axis) => (value + high[axis]) / 2));
  return { middle, reach: Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2, floor: high[1] };
}

/** @param {any} instance @param {any} frame @returns {boolean[]} */
function visibleOf({ keypoints }, { width, height }) {
  return keypoints.map((/** @type {any} */ { x, y, score }) => !(score < RESULTS.visible_score) && x >= 0 && y >= 0 && x <= width && y <= height);
}

/** @param {any} instance @returns {Vector[]} */
function worldPoints(instance) {
  return instance.keypoints3D.map((/** @type {any} */ { x, y, z }) => [x, y, z]);
}

/** @param {any} face @returns {Vector[]} metres, as if every face were of one height; origin at its middle */
function facePoints({ keypoints, box }) {
  const scale = FACE_M / (box.height || 1);
  const [cx, cy] = [(box.xMin + box.xMax) / 2, (box.yMin + box.yMax) / 2];
  return keypoints.map((/** @type {any} */ { x, y, z }) => [(x - cx) * scale, (y - cy) * scale, z * scale]);
}

/** Return the origin of a figure if the middle of the image is the origin of the space. @param {Figure} figure @param {any} instance @param {any} frame */
function placeInImage({ points }, { keypoints }, frame) {
  const [low, high] = extent(points);
  const [left, top, right, bottom] = around(keypoints);
  const scale = (Math.hypot(high[0] - low[0], high[1] - low[1]) || 1) / (Math.hypot(right - left, bottom - top) || 1);
  let [x, y] = [0, 0];
  for (let k = 0; k < points.length; k += 1) {
    x += (keypoints[k].x - frame.width / 2) * scale - points[k][0];
    y += (keypoints[k].y - frame.height / 2) * scale - points[k][1];
  }
  return /** @type {Vector} */ ([x / points.length, y / points.length, 0]);
}

/** Return the minimum and maximum along each axis. @param {Vector[]} points @returns {[Vector, Vector]} */
function extent(points) {
  /** @type {Vector} */ const low = [Infinity, Infinity, Infinity];
  /** @type {Vector} */ const high = [-Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    for (let axis = 0; axis < 3; axis += 1) {
      const value = points[k][axis];
      if (value < low[axis]) low[axis] = value;
      if (value > high[axis]) high[axis] = value;
    }
  }
  return [low, high];
}

/** Move a figure in place, because later parts refer to it. @param {Figure} figure @param {Vector} by @returns {Figure} */
function moved(figure, by) {
  for (const point of figure.points) for (let axis = 0; axis < 3; axis += 1) point[axis] += by[axis];
  return figure;
}

/** @param {Vector} a @param {Vector} b @returns {Vector} */
function difference(a, b) {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}
