/** `util` of tfjs-models: connections of keypoints and contours of faces. */

/** @typedef {number[][]} Pairs */
/** @typedef {{hand: {connections: Pairs}, body: {connections: Pairs}, mesh: {triangles: Pairs}, face: {groups: Record<string, number[]>}}} Skeletons */

/** @param {Skeletons} skeletons as they are in src/sonjit/results/skeletons */
export function skeletonHelpers({ hand, face, mesh, body }) {
  /** @type {Record<string, Pairs>} */
  const pairs = {
    MediaPipeHands: hand.connections,
    MediaPipeFaceMesh: mesh.triangles.flatMap(([a, b, c]) => [[a, b], [b, c], [c, a]]),
    BlazePose: body.connections,
  };
  return Object.freeze({
    /**
     * Pairs of keypoints to draw lines between: bones, for a face mesh the sides of its triangles.
     *
     * @param {string} model of SupportedModels
     */
    getAdjacentPairs: (model) => structuredClone(of(pairs, model)),
    /**
     * Keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye, rightEyebrow, rightIris, faceOval.
     *
     * @param {string} model "MediaPipeFaceMesh"
     */
    getKeypointIndexByContour: (model) => structuredClone(of({ MediaPipeFaceMesh: face.groups }, model)),
  });
}

/** @template T @param {Record<string, T>} table @param {string} model @returns {T} */
function of(table, model) {
  if (!Object.hasOwn(table, model)) throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model];
}
