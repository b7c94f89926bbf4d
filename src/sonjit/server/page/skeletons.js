/** Names, bones and triangles of what is found, from the server's own tables, and the colours that they are drawn in. */

/** @typedef {{keypoints: string[], connections: [number, number][], groups: Record<string, number[]>, colours: string[],
 *   edges?: [number, number][]}} Skeleton */

export const INK = "#12141c";
export const NEUTRAL = "#ececf2";
export const LEFT = "#ffaa33"; // the person's own left is warm, their right blue
export const RIGHT = "#38bdff";

const FINGERS = { thumb: "#ffaa33", indexFinger: "#76db5c", middleFinger: "#38bdff", ringFinger: "#9e7fff", pinky: "#ff6398" };
const FACE = {
  lips: "#ff96a5", leftEye: "#ffd08c", leftEyebrow: "#ffd08c", leftIris: "#ffe8be",
  rightEye: "#8cd6ff", rightEyebrow: "#8cd6ff", rightIris: "#c4ecff", faceOval: "#d6dce8",
};
const TABLES = { 21: "hand_mediapipe21", 33: "body_blazepose33", 478: "face_mediapipe478", 468: "face_mediapipe468", 6: "face_blazeface6" };

/** @type {Map<number, Skeleton>} by number of keypoints, which no two conventions share */
const skeletons = new Map();

/** Read every table, once. */
export async function loadSkeletons() {
  const { triangles } = await table("face_mediapipe_tesselation");
  const edges = edgesOf(triangles);
  await Promise.all(Object.entries(TABLES).map(async ([count, name]) => {
    const skeleton = { ...(await table(name)), colours: [] };
    skeleton.colours = skeleton.keypoints.map((/** @type {string} */ _, /** @type {number} */ k) => colourOf(skeleton, k));
    if (skeleton.keypoints.length > 100) skeleton.edges = edges;
    skeletons.set(Number(count), skeleton);
  }));
}

/** @param {number} count of keypoints @returns {Skeleton} */
export function skeletonOf(count) {
  const skeleton = skeletons.get(count);
  if (!skeleton) throw new RangeError(`no skeleton has ${count} keypoints`);
  return skeleton;
}

/** Colour of a line: that of both ends where they agree. @param {Skeleton} skeleton @param {number} a @param {number} b */
export function lineColour({ colours, groups }, a, b) {
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b)) ? colours[a] : NEUTRAL;
}

/**
 * Everything with keypoints of its own in a frame: people by their parts.
 *
 * @param {Record<string, any>} frame
 * @returns {{kind: "hand" | "face" | "body", number: number, one: any, person?: any}[]}
 */
export function instancesOf(frame) {
  const people = frame.people ?? [];
  return [
    ...tagged("hand", frame.hands), ...tagged("face", frame.faces), ...tagged("body", frame.bodies),
    ...people.flatMap((/** @type {any} */ person, /** @type {number} */ number) => [
      { kind: "body", number, one: person.body, person }, { kind: "hand", number, one: person.leftHand, person },
      { kind: "hand", number, one: person.rightHand, person }, { kind: "face", number, one: person.face, person },
    ].filter(({ one }) => one)),
  ];
}

/** @param {"hand" | "face" | "body"} kind @param {any[] | undefined} list */
function tagged(kind, list) {
  return (list ?? []).map((one, number) => ({ kind, number, one }));
}

/** @param {string} name */
async function table(name) {
  return (await fetch(new URL(`./skeletons/${name}.json`, import.meta.url))).json();
}

/** @param {Omit<Skeleton, "colours">} skeleton @param {number} k */
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
