/** Pairs of landmarks to draw as lines, as arrays, and the indices of landmarks by name. */

import { keypoints as BODY_NAMES } from "../../../src/sonjit/results/skeletons/body_blazepose33.json";
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

/** MediaPipe's packages give both corners of the mouth these names. */
const MOUTH: Readonly<Record<string, string>> = { mouth_left: "LEFT_RIGHT", mouth_right: "RIGHT_LEFT" };
const POSE_NAMES = BODY_NAMES.map((name, index) => [MOUTH[name] ?? name.toUpperCase(), index] as const);
const namedAs = (pattern: RegExp): Record<string, number> => Object.fromEntries(POSE_NAMES.filter(([name]) => pattern.test(name)));

export const POSE_LANDMARKS = namedAs(/./);
export const POSE_LANDMARKS_LEFT = namedAs(/^LEFT_/);
export const POSE_LANDMARKS_RIGHT = namedAs(/^RIGHT_/);
export const POSE_LANDMARKS_NEUTRAL = namedAs(/^NOSE$/);
