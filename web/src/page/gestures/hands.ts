/** Hands of frames in the form that the server learns from. */

import { instancesOf } from "../kinds.js";

type Point = { x: number; y: number; z: number };
export type Hand = {
  handedness: string;
  keypoints: Point[];
  keypoints3D: Point[];
  id?: number | undefined;
};

/** Return the hands of a frame without unknown keypoints. */
export function knownHands(frame: Record<string, unknown>): Hand[] {
  const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
  const known = hands.filter(({ instance }) =>
    [...instance.keypoints, ...(instance.keypoints3D ?? [])].every(({ z }) => Number.isFinite(z)),
  );
  return known.map(({ instance, person }) => {
    // gestures are learned from the published keypoints
    const { keypoints, keypoints3D } = instance.published ?? instance;
    return {
      id: instance.id ?? person?.id ?? undefined,
      handedness: instance.handedness ?? "",
      keypoints: plain(keypoints),
      keypoints3D: plain(keypoints3D ?? []),
    };
  });
}

const plain = (points: readonly { x: number; y: number; z?: number | undefined }[]): Point[] =>
  points.map(({ x, y, z }) => ({ x: rounded(x), y: rounded(y), z: rounded(z!) }));

const rounded = (value: number) => Number(value.toFixed(5)); // 0.01 mm; browsers keep few megabytes
