/** `util` and `calculators` of tfjs-models: connections, names and sides of keypoints, contours of faces. */

/** @typedef {number[][]} Pairs */
/** @typedef {{hand: {connections: Pairs}, body: {connections: Pairs, keypoints: string[]}, mesh: {triangles: Pairs}, face: {groups: Record<string, number[]>}}} Skeletons */

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
     * Return the pairs of keypoints to connect with lines: bones, or the sides of the triangles of a face mesh.
     *
     * @param {string} model of SupportedModels
     */
    getAdjacentPairs: (model) => structuredClone(of(pairs, model)),
    /**
     * Return the keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye, rightEyebrow, rightIris, faceOval.
     *
     * @param {string} model "MediaPipeFaceMesh"
     */
    getKeypointIndexByContour: (model) => structuredClone(of({ MediaPipeFaceMesh: face.groups }, model)),
    /**
     * Return the keypoints of each side: left, right, middle.
     *
     * @param {string} model "BlazePose"
     */
    getKeypointIndexBySide: (model) => structuredClone(of({ BlazePose: sides(body.keypoints) }, model)),
    /**
     * Return the index of each keypoint by its name.
     *
     * @param {string} model "BlazePose"
     */
    getKeypointIndexByName: (model) => of({ BlazePose: Object.fromEntries(body.keypoints.map((name, i) => [name, i])) }, model),
  });
}

export const calculators = Object.freeze({
  /**
   * Convert keypoints to fractions of the image's size; z has the scale of x.
   *
   * @template {{x: number, y: number, z?: number}} P
   * @param {readonly P[]} keypoints in pixels
   * @param {{width: number, height: number}} size of the image
   * @returns {P[]}
   */
  keypointsToNormalizedKeypoints: (keypoints, { width, height }) =>
    keypoints.map((point) => ({ ...point, x: point.x / width, y: point.y / height, ...(point.z === undefined ? {} : { z: point.z / width }) })),
});

/** @param {string[]} names */
function sides(names) {
  const positions = (/** @type {string | null} */ wanted) =>
    names.flatMap((name, i) => ((/(?:^|_)(left|right)(?:_|$)/.exec(name)?.[1] ?? null) === wanted ? [i] : []));
  return { left: positions("left"), right: positions("right"), middle: positions(null) };
}

/** @template T @param {Record<string, T>} table @param {string} model @returns {T} */
function of(table, model) {
  if (!Object.hasOwn(table, model)) throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model];
}
