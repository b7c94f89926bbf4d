/** Pairs of landmarks to draw as lines, as arrays. */

import { FACE as FACE_LINES, HAND_CONNECTIONS as HAND_LINES, POSE_CONNECTIONS as POSE_LINES, type Connection } from "../tasks/connections.js";

export type LandmarkConnectionArray = [number, number][];

const pairs = (lines: readonly Connection[]): LandmarkConnectionArray => lines.map(({ start, end }) => [start, end]);

export const HAND_CONNECTIONS = pairs(HAND_LINES);
export const POSE_CONNECTIONS = pairs(POSE_LINES);
export const FACEMESH_LIPS = pairs(FACE_LINES.LIPS);
export const FACEMESH_LEFT_EYE = pairs(FACE_LINES.LEFT_EYE);
export const FACEMESH_LEFT_EYEBROW = pairs(FACE_LINES.LEFT_EYEBROW);
export const FACEMESH_LEFT_IRIS = pairs(FACE_LINES.LEFT_IRIS);
export const FACEMESH_RIGHT_EYE = pairs(FACE_LINES.RIGHT_EYE);
export const FACEMESH_RIGHT_EYEBROW = pairs(FACE_LINES.RIGHT_EYEBROW);
export const FACEMESH_RIGHT_IRIS = pairs(FACE_LINES.RIGHT_IRIS);
export const FACEMESH_FACE_OVAL = pairs(FACE_LINES.FACE_OVAL);
export const FACEMESH_CONTOURS = pairs(FACE_LINES.CONTOURS);
export const FACEMESH_TESSELATION = pairs(FACE_LINES.TESSELATION);
