/** Skeletons by name: keypoints and bones as the server describes them, and their colours. */

import { DRAWING } from "./spec.js";

/**
 * @typedef {{keypoints: string[], connections: [number, number][], groups: Record<string, number[]>}} Table as the server describes it
 * @typedef {Table & {colours: string[], edges?: [number, number][], single?: string}} Skeleton `edges`: lines of the mesh between the keypoints;
 *   `single`: one colour for the complete skeleton
 */

export const { ink: INK, neutral: NEUTRAL, left: LEFT, right: RIGHT } = DRAWING.colours;

/** @type {Record<string, string>} colours of fingers and contours */
const PARTS = { ...DRAWING.fingers, ...DRAWING.face_contours };
const MESH = "face_mediapipe_tesselation";
const MIN_MESH_KEYPOINTS = 100; // a skeleton with more keypoints is a face mesh

/** @type {Map<string, Skeleton>} by name */
const skeletons = new Map();

/** Add skeletons. @param {Record<string, Table>} tables by name */
export async function addSkeletons(tables) {
  const mesh = await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url));
  const edges = edgesOf((await mesh.json()).triangles);
  for (const [name, table] of Object.entries(tables)) {
    const colours = table.keypoints.map((_, k) => colourOf(table, k));
    skeletons.set(name, { ...table, colours, ...(table.keypoints.length > MIN_MESH_KEYPOINTS ? { edges } : {}) });
  }
}

/** @param {{skeleton: string}} instance instance of an answer @returns {Skeleton} */
export function skeletonOf({ skeleton: name }) {
  const skeleton = skeletons.get(name);
  if (!skeleton) throw new RangeError(`unknown skeleton ${name}; known: ${[...skeletons.keys()].join(", ")}`);
  return skeleton;
}

/** Return a skeleton in one colour. @param {Skeleton} skeleton @param {string} colour @returns {Skeleton} */
export function coloured(skeleton, colour) {
  return { ...skeleton, colours: skeleton.colours.map(() => colour), single: colour };
}

/** Return the colour of a line: that of its ends if they are equal. @param {Skeleton} skeleton @param {number} a @param {number} b */
export function lineColour({ colours, groups, single }, a, b) {
  if (single) return single;
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b)) ? colours[a] : NEUTRAL;
}

/** @param {Table} skeleton @param {number} k */
function colourOf({ keypoints, groups }, k) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k) && name in PARTS);
  if (group) return PARTS[group];
  if (/^left/.test(keypoints[k]) || /_left/.test(keypoints[k])) return LEFT;
  return /^right/.test(keypoints[k]) || /_right/.test(keypoints[k]) ? RIGHT : NEUTRAL;
}

/** Return each side of the triangles once. @param {number[][]} triangles @returns {[number, number][]} */
function edgesOf(triangles) {
  const keys = triangles.flatMap(([a, b, c]) => [[a, b], [b, c], [c, a]].map(([p, q]) => Math.min(p, q) * 1000 + Math.max(p, q)));
  return [...new Set(keys)].map((key) => [Math.floor(key / 1000), key % 1000]);
}
