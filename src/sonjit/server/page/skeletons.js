/** Skeletons by their names: keypoints and bones as the server has them, and the colours that they are drawn in. */

/**
 * @typedef {{keypoints: string[], connections: [number, number][], groups: Record<string, number[]>}} Table as the server has it
 * @typedef {Table & {colours: string[], edges?: [number, number][], single?: string}} Skeleton `edges`: of the mesh between the keypoints;
 *   `single`: the one colour of all of it
 */

export const INK = "#12141c";
export const NEUTRAL = "#ececf2";
export const LEFT = "#ffaa33"; // the person's own left is warm, their right blue
export const RIGHT = "#38bdff";

const FINGERS = { thumb: "#ffaa33", indexFinger: "#76db5c", middleFinger: "#38bdff", ringFinger: "#9e7fff", pinky: "#ff6398" };
const FACE = {
  lips: "#ff96a5", leftEye: "#ffd08c", leftEyebrow: "#ffd08c", leftIris: "#ffe8be",
  rightEye: "#8cd6ff", rightEyebrow: "#8cd6ff", rightIris: "#c4ecff", faceOval: "#d6dce8",
};
const MESH = "face_mediapipe_tesselation";
const MESH_FROM = 100; // keypoints: as many are a face's mesh

/** @type {Map<string, Skeleton>} by name */
const skeletons = new Map();

/** Make skeletons known. @param {Record<string, Table>} tables by name */
export async function addSkeletons(tables) {
  const mesh = await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url));
  const edges = edgesOf((await mesh.json()).triangles);
  for (const [name, table] of Object.entries(tables)) {
    const colours = table.keypoints.map((_, k) => colourOf(table, k));
    skeletons.set(name, { ...table, colours, ...(table.keypoints.length > MESH_FROM ? { edges } : {}) });
  }
}

/** @param {{skeleton: string}} one an instance of an answer @returns {Skeleton} */
export function skeletonOf({ skeleton: name }) {
  const skeleton = skeletons.get(name);
  if (!skeleton) throw new RangeError(`unknown skeleton ${name}; known: ${[...skeletons.keys()].join(", ")}`);
  return skeleton;
}

/** The same in one colour. @param {Skeleton} skeleton @param {string} colour @returns {Skeleton} */
export function coloured(skeleton, colour) {
  return { ...skeleton, colours: skeleton.colours.map(() => colour), single: colour };
}

/** Colour of a line: that of both ends where they agree. @param {Skeleton} skeleton @param {number} a @param {number} b */
export function lineColour({ colours, groups, single }, a, b) {
  if (single) return single;
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b)) ? colours[a] : NEUTRAL;
}

/** @param {Table} skeleton @param {number} k */
function colourOf({ keypoints, groups }, k) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k) && (name in FINGERS || name in FACE)) ?? "";
  const known = { ...FINGERS, ...FACE }[group];
  if (known) return known;
  if (/^left/.test(keypoints[k]) || /_left/.test(keypoints[k])) return LEFT;
  return /^right/.test(keypoints[k]) || /_right/.test(keypoints[k]) ? RIGHT : NEUTRAL;
}

/** Each side of the triangles once. @param {number[][]} triangles @returns {[number, number][]} */
function edgesOf(triangles) {
  const keys = triangles.flatMap(([a, b, c]) => [[a, b], [b, c], [c, a]].map(([p, q]) => Math.min(p, q) * 1000 + Math.max(p, q)));
  return [...new Set(keys)].map((key) => [Math.floor(key / 1000), key % 1000]);
}
