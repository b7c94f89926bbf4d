/** Formats measures: names as text, angles in degrees, lengths in centimetres. */

import { hasText, text } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { nameOf, sideOf } from "./painter.js";

/** @typedef {{key: string, kind: string, id: number | null, label: string, instance: any}} Tracked an instance with the same key in every frame; `label`: its displayed name */

const UNITS = [
  { ending: "_rad", unit: "°", scale: 180 / Math.PI, digits: 0 },
  { ending: "_m", unit: " cm", scale: 100, digits: 1 },
];
const CM_PER_M = 100;
const PLAIN = { ending: "", unit: "", scale: 1, digits: 2 };

/** Return the displayed unit of a measure. @param {string} name */
export const unitOf = (name) => UNITS.find(({ ending }) => name.endsWith(ending)) ?? PLAIN;

/** Return a value with its unit; a dash if unknown. @param {string} name @param {unknown} value */
export function shown(name, value) {
  const { unit, scale, digits } = unitOf(name);
  return typeof value === "number" && Number.isFinite(value) ? `${(value * scale).toFixed(digits)}${unit}` : "–";
}

/** Return the name of a measure as text, composed of its parts if it has no own text. @param {string} name */
export function measureName(name) {
  const bare = name.slice(0, name.length - unitOf(name).ending.length);
  const words = bare.split(/_(?!arm)/).map((word) => (hasText(`measure.${word}`) ? text(`measure.${word}`) : word)).join(" ").trim();
  const ofFist = name.endsWith("_curl") ? " (0–1)" : ""; // distinguishes it from the same in degrees
  return words.charAt(0).toUpperCase() + words.slice(1) + ofFist;
}

/** Return the measures of an instance, including blendshapes and head position. @param {any} instance @returns {Record<string, number>} */
function measuresOf({ measures, blendshapes, transform, distanceM }) {
  const place = transform && Object.fromEntries(["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row][3] / CM_PER_M]));
  return { ...measures, ...(distanceM !== undefined && { distance_m: distanceM }), ...place, ...blendshapes };
}

/** Return the measured instances of a frame. @param {Record<string, any>} frame @returns {Tracked[]} */
export function trackedOf(frame) {
  const seen = new Map();
  const isMeasured = (/** @type {any} */ instance) => instance.measures || instance.blendshapes || instance.transform || instance.distanceM !== undefined;
  return instancesOf(frame).filter(({ instance }) => isMeasured(instance)).map(({ kind, number, instance, person }) => {
    const id = instance.id ?? person?.id ?? null;
    const part = person && kind === "hand" ? instance.handedness : "";
    let key = `${kind}${part}${id === null ? `:${number}` : `#${id}`}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    if (seen.get(key) > 1) key += `/${seen.get(key)}`;
    const name = nameOf(kind, instance);
    return { key, kind, id, label: id === null ? name : `${name} #${id}`, side: sideOf(kind, instance), instance: { ...instance, measures: measuresOf(instance) } };
  });
}
