/** Measures as people read them: names in words, angles in degrees, lengths in centimetres. */

import { hasText, text } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { nameOf, sideOf } from "./painter.js";

/** @typedef {{key: string, kind: string, label: string, one: any}} Tracked an instance that is the same in every frame; `label`: as people call it */

const UNITS = [
  { ending: "_rad", unit: "°", scale: 180 / Math.PI, digits: 0 },
  { ending: "_m", unit: " cm", scale: 100, digits: 1 },
];
const CM_PER_M = 100;
const PLAIN = { ending: "", unit: "", scale: 1, digits: 2 };

/** What a measure is shown in. @param {string} name */
export const unitOf = (name) => UNITS.find(({ ending }) => name.endsWith(ending)) ?? PLAIN;

/** A value with its unit; a dash where it is not known. @param {string} name @param {unknown} value */
export function shown(name, value) {
  const { unit, scale, digits } = unitOf(name);
  return typeof value === "number" ? `${(value * scale).toFixed(digits)}${unit}` : "–";
}

/** A measure in words, part by part where it has no text of its own. @param {string} name */
export function measureName(name) {
  const bare = name.slice(0, name.length - unitOf(name).ending.length);
  const words = bare.split("_").map((word) => (hasText(`measure.${word}`) ? text(`measure.${word}`) : word)).join(" ").trim();
  const ofFist = name.endsWith("_curl") ? " (0–1)" : ""; // beside the same in degrees
  return words.charAt(0).toUpperCase() + words.slice(1) + ofFist;
}

/** What is measured of an instance: a face's blendshapes too, and where its head is. @param {any} one @returns {Record<string, number>} */
function measuresOf({ measures, blendshapes, transform }) {
  const place = transform && Object.fromEntries(["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row][3] / CM_PER_M]));
  return { ...measures, ...place, ...blendshapes };
}

/** Everything that is measured in a frame. @param {Record<string, any>} frame @returns {Tracked[]} */
export function trackedOf(frame) {
  const seen = new Map();
  const isMeasured = (/** @type {any} */ one) => one.measures || one.blendshapes || one.transform;
  return instancesOf(frame).filter(({ one }) => isMeasured(one)).map(({ kind, number, one, person }) => {
    const id = one.id ?? person?.id ?? null;
    const part = person && kind === "hand" ? one.handedness : "";
    let key = `${kind}${part}${id === null ? `:${number}` : `#${id}`}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    if (seen.get(key) > 1) key += `/${seen.get(key)}`;
    const name = nameOf(kind, one);
    return { key, kind, label: id === null ? name : `${name} #${id}`, side: sideOf(kind, one), one: { ...one, measures: measuresOf(one) } };
  });
}
