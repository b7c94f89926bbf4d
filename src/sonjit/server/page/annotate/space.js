/** The joints in space as figures of the 3D view: each hand with the bones whose ends are both known. */

import { LEFT, RIGHT } from "../skeletons.js";

/**
 * @param {([number, number, number] | null)[]} points metres in the world
 * @param {[number, number][]} bones
 * @param {import("./project.js").View} view whose axes show what is up
 */
export function figuresOfJoints(points, bones, { rotation, translation_m: shift }) {
  return [0, 1].flatMap((side) => {
    const known = points.flatMap((point, joint) => (point && Math.floor(joint / 21) === side ? [joint] : []));
    if (known.length < 2) return [];
    const place = new Map(known.map((joint, k) => [joint, k]));
    const connections = /** @type {[number, number][]} */ (
      bones.filter((bone) => bone.every((joint) => place.has(joint))).map((bone) => bone.map((joint) => place.get(joint))));
    const turned = known.map((joint) => rotation.map((row, axis) => dot(row, points[joint] ?? [0, 0, 0]) + shift[axis]));
    const colours = known.map(() => (side ? LEFT : RIGHT));
    return [/** @type {any} */ ({ kind: "hand", points: turned, skeleton: { keypoints: known, connections, groups: {}, colours } })];
  });
}

/** @param {number[]} a @param {number[]} b */
const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
