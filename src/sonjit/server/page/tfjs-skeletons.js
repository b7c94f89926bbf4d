/** `util` of tfjs-models: which keypoints are joined, and which make a face's contours. */

/** @param {string} name @returns {Promise<any>} */
const read = async (name) => (await fetch(new URL(`/skeletons/${name}.json`, import.meta.url))).json();

const [hand, face, mesh, body] = await Promise.all(
  ["hand_mediapipe21", "face_mediapipe478", "face_mediapipe_tesselation", "body_blazepose33"].map(read),
);

/** @type {Record<string, [number, number][]>} */
const PAIRS = {
  MediaPipeHands: hand.connections,
  MediaPipeFaceMesh: mesh.triangles.flatMap((/** @type {number[]} */ [a, b, c]) => [[a, b], [b, c], [c, a]]),
  BlazePose: body.connections,
};

/**
 * Pairs of keypoints to draw lines between: bones, for a face mesh the sides of its triangles.
 *
 * @param {string} model of SupportedModels
 * @returns {[number, number][]}
 */
export function getAdjacentPairs(model) {
  return structuredClone(of(PAIRS, model));
}

/**
 * Keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye, rightEyebrow, rightIris, faceOval.
 *
 * @param {string} model "MediaPipeFaceMesh"
 * @returns {Record<string, number[]>}
 */
export function getKeypointIndexByContour(model) {
  return structuredClone(of({ MediaPipeFaceMesh: face.groups }, model));
}

/** @template T @param {Record<string, T>} table @param {string} model @returns {T} */
function of(table, model) {
  if (!Object.hasOwn(table, model)) throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model];
}
