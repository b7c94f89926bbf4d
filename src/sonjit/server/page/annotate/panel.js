/** Side panel: marked joints, warnings, skeletons of the 3D view and agreement of annotators. */

import { text } from "../i18n.js";
import { LEFT, RIGHT } from "../skeletons.js";
import { FAR_PX } from "./drawing.js";

const FINGERS = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]];
const NAMES = ["thumb", "index", "middle", "ring", "pinky"];

/** @param {string} tag @param {object} [members] @param {(Node | string)[]} inside */
export function make(tag, members = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}

/** Return the name of a joint. @param {number} joint @param {string[]} names */
export function jointName(joint, names) {
  const [side, ...rest] = names[joint].split("_");
  return `${text(`side.${side}`)} ${rest.map((word) => text(`part.${word}`)).filter(Boolean).join(" ")}`;
}

export class JointGrid {
  /** @type {HTMLButtonElement[]} */ #buttons = [];
  /** @type {[HTMLElement, string][]} texts around the joints and their keys */ #captions = [];

  /** @param {HTMLElement} element @param {(joint: number) => void} choose */
  constructor(element, choose) {
    for (const side of [1, 0]) { // in the order in which people see their own hands
      const hand = make("div", { className: `hand ${side ? "left" : "right"}` });
      const caption = (/** @type {string} */ key, /** @type {string} */ area) => {
        const node = make("span", { className: "caption" });
        node.style.gridArea = area;
        node.setAttribute("aria-hidden", "true"); // screen readers read the full name of each joint
        this.#captions.push([node, key]);
        hand.append(node);
      };
      const column = (/** @type {number} */ f) => (side ? 5 - f : f + 1);
      const cell = (/** @type {number} */ k, /** @type {number} */ row, /** @type {number} */ f) => {
        const button = /** @type {HTMLButtonElement} */ (make("button", { type: "button", className: "joint" }));
        button.style.gridArea = `${row} / ${column(f)}`;
        button.onclick = () => choose(21 * side + k);
        this.#buttons[21 * side + k] = button;
        hand.append(button);
      };
      FINGERS.forEach((finger, f) => finger.forEach((k, step) => cell(k, 5 - step, f)));
      cell(0, 6, 2);
      NAMES.forEach((name, f) => caption(`letter.${name}`, `1 / ${column(f)}`));
      caption(side ? "side.left" : "side.right", "7 / 1 / 8 / 6");
      element.append(hand);
    }
  }

  /**
   * @param {{joint: number, names: string[], views: number[], placed: number[], odd: Set<number>, disputed: Set<number>}} status
   *   `views`: number of views in which each joint is marked; `placed`: number with a position
   */
  show({ joint, names, views, placed, odd, disputed }) {
    for (const [node, key] of this.#captions) node.textContent = text(key);
    this.#buttons.forEach((button, k) => {
      const state = placed[k] > 1 ? "done" : views[k] ? "begun" : "none";
      button.dataset.state = state;
      button.classList.toggle("odd", odd.has(k) || disputed.has(k));
      button.setAttribute("aria-pressed", String(k === joint));
      const words = [jointName(k, names), text(`joint.${state}`, { count: views[k] })];
      if (odd.has(k)) words.push(text("joint.odd"));
      if (disputed.has(k)) words.push(text("joint.disputed"));
      button.setAttribute("aria-label", words.join(", "));
      button.title = words.join(", ");
    });
  }
}

/**
 * Show bones and marks to check, in the displayed views.
 *
 * @param {HTMLElement} element @param {import("./project.js").FrameState} seen @param {string[]} names @param {(joint: number) => void} choose
 */
export function showWarnings(element, seen, names, choose) {
  const row = (/** @type {number} */ joint, /** @type {string} */ words) =>
    make("li", {}, make("button", { type: "button", className: "warning", textContent: words, onclick: () => choose(joint) }));
  const bones = seen.bones.map(({ bone, length_mm: length, expected_mm: expected, against }) =>
    row(bone[1], text(`warn.${against}`, { joint: jointName(bone[1], names), length, expected })));
  const disputes = seen.conflicts.map(({ joint, view, annotators, apart_px: apart }) => row(joint, text(
    apart === null ? "warn.states" : "warn.conflict",
    { joint: jointName(joint, names), view, who: annotators.join(", "), apart: apart?.toFixed(1) ?? "" })));
  const far = names.flatMap((_, joint) => {
    const off = Object.entries(seen.residuals_px).map(([view, px]) => ({ view, px: px[joint] ?? 0 })).filter(({ px }) => px > FAR_PX);
    const where = off.sort((a, b) => b.px - a.px).map(({ view, px }) => text("warn.off", { view, px: px.toFixed(1) })).join(", ");
    return where ? [row(joint, text("warn.residual", { joint: jointName(joint, names), where }))] : [];
  });
  element.replaceChildren(...disputes, ...far, ...bones);
}

/** @param {HTMLElement} element @param {import("./project.js").Agreement} result @param {string[]} names */
export function showAgreement(element, result, names) {
  if (!result.all.pairs) return element.replaceChildren(make("p", { className: "hint", textContent: text("agreement.none") }));
  const cells = (/** @type {string} */ head, /** @type {import("./project.js").Distances} */ { pairs, mean_px: mean, median_px: middle, within }) => make("tr", {},
    make("th", { scope: "row", textContent: head }), ...[pairs, mean?.toFixed(2) ?? "–", middle?.toFixed(2) ?? "–",
      within["5"] === undefined ? "–" : `${Math.round(100 * within["5"])}%`].map((value) => make("td", { textContent: String(value) })));
  const heads = ["agreement.of", "agreement.pairs", "agreement.mean", "agreement.median", "agreement.within"]
    .map((key) => make("th", { scope: "col", textContent: text(key, { px: 5 }) }));
  const rows = [
    cells(text("agreement.all"), result.all),
    ...Object.entries(result.annotators).map(([pair, numbers]) => cells(pair, numbers)),
    ...Object.entries(result.joints).map(([name, numbers]) => cells(jointName(names.indexOf(name), names), numbers)),
  ];
  return element.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
}

/**
 * Return the joints as figures of the 3D view: each hand with the bones whose ends are known.
 *
 * @param {(import("./project.js").Point3D | null)[]} points in the world
 * @param {[number, number][]} bones
 * @param {import("./project.js").View} view whose axes the figures are in
 * @returns {import("../scene.js").Figure[]}
 */
export function skeletonsOfJoints(points, bones, { rotation, translation_m: shift }) {
  return [0, 1].flatMap((side) => {
    const known = points.flatMap((point, joint) => (point && Math.floor(joint / 21) === side ? [joint] : []));
    if (known.length < 2) return [];
    const element = new Map(known.map((joint, k) => [joint, k]));
    const connections = /** @type {[number, number][]} */ (
      bones.filter((bone) => bone.every((joint) => element.has(joint))).map((bone) => bone.map((joint) => element.get(joint))));
    const turned = known.map((joint) => rotation.map((row, axis) => dot(row, points[joint] ?? [0, 0, 0]) + shift[axis]));
    const colours = known.map(() => (side ? LEFT : RIGHT));
    return [/** @type {any} */ ({ kind: "hand", points: turned, skeleton: { keypoints: known, connections, groups: {}, colours } })];
  });
}

/** @param {number[]} a @param {number[]} b */
const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
