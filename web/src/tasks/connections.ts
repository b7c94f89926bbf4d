/** Pairs of landmarks to draw as lines, in the order of MediaPipe's tasks. */

import face from "../../../src/sonjit/results/skeletons/face_mediapipe478.json";
import mesh from "../../../src/sonjit/results/skeletons/face_mediapipe_tesselation.json";

/** A line from one landmark to another. */
export interface Connection {
  start: number;
  end: number;
}

const HAND_LINES = [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8], [5, 9, 10, 11, 12], [9, 13, 14, 15, 16], [13, 17], [0, 17, 18, 19, 20]];
const POSE_LINES = [
  ...[[0, 1, 2, 3, 7], [0, 4, 5, 6, 8], [9, 10], [11, 12], [11, 13, 15, 17], [15, 19], [15, 21], [17, 19]],
  ...[[12, 14, 16, 18], [16, 20], [16, 22], [18, 20], [11, 23], [12, 24], [23, 24], [23, 25], [24, 26]],
  ...[[25, 27], [26, 28], [27, 29], [28, 30], [29, 31], [30, 32], [27, 31], [28, 32]],
];
const CONTOURS = ["lips", "leftEye", "leftEyebrow", "rightEye", "rightEyebrow", "faceOval"] as const;

export const HAND_CONNECTIONS = HAND_LINES.flatMap(alongLine);
export const POSE_CONNECTIONS = POSE_LINES.flatMap(alongLine);
export const FACE = {
  LIPS: within("lips"),
  LEFT_EYE: within("leftEye"),
  LEFT_EYEBROW: within("leftEyebrow"),
  LEFT_IRIS: within("leftIris"),
  RIGHT_EYE: within("rightEye"),
  RIGHT_EYEBROW: within("rightEyebrow"),
  RIGHT_IRIS: within("rightIris"),
  FACE_OVAL: within("faceOval"),
  CONTOURS: CONTOURS.flatMap(within),
  TESSELATION: (mesh.triangles as [number, number, number][]).flatMap(([a, b, c]) => alongLine([a, b, c, a])),
};

function alongLine(points: readonly number[]): Connection[] {
  return points.slice(1).map((end, i) => ({ start: points[i]!, end }));
}

/** Connections within a group of face landmarks, along its contours. */
function within(group: keyof typeof face.groups): Connection[] {
  const members = new Set(face.groups[group]);
  return face.connections.map(([start, end]) => ({ start: start!, end: end! })).filter(({ start, end }) => members.has(start) && members.has(end));
}
