/** Names, units, sides and colours of measures. */

import { text, textOr } from "./common.js";

const UNITS = [
  { ending: "_rad", unit: "°", scale: 180 / Math.PI, digits: 0 },
  { ending: "_m", unit: " cm", scale: 100, digits: 1 },
];

/** `scale`: factor to the displayed unit */
export type Unit = (typeof UNITS)[number];

/** Return the displayed unit of a measure. */
export const unitOf = (name: string): Unit =>
  UNITS.find(({ ending }) => name.endsWith(ending)) ?? {
    ending: "",
    unit: "",
    scale: 1,
    digits: 2,
  };

/** Return a value with its unit; a dash if unknown. */
export function shown(name: string, value: unknown) {
  const { unit, scale, digits } = unitOf(name);
  return typeof value === "number" && Number.isFinite(value)
    ? `${(value * scale).toFixed(digits)}${unit}`
    : "–";
}

/** Return the name of a measure as text, composed of its parts if it has no own text. */
export function measureName(name: string) {
  const words = wordsOf(name.slice(0, name.length - unitOf(name).ending.length));
  // distinguishes it from the same in degrees
  const ofFist = name.endsWith("_curl") ? " (0–1)" : "";
  return words.charAt(0).toUpperCase() + words.slice(1) + ofFist;
}

const BLENDSHAPE = /^([a-z]+[A-Z]\w*?)(Left|Right)?$/;

/** Return a measure's name without its unit as words, in the order of the language. */
function wordsOf(bare: string): string {
  const [difference, image] = ["symmetry_", "_2d"];
  if (bare.startsWith(difference))
    return text("measure.symmetry", { measure: wordsOf(bare.slice(difference.length)) });
  if (bare.endsWith(image))
    return text("measure.2d", { measure: wordsOf(bare.slice(0, -image.length)) });
  const [, shape, side] = BLENDSHAPE.exec(bare) ?? [];
  if (shape)
    return [side ?? "", ...shape.split(/(?=[A-Z])/)]
      .filter(Boolean)
      .map((word) => textOr(`shape.${word.toLowerCase()}`, word.toLowerCase()))
      .join(" ");
  const words = bare.split(/_(?!arm)/).map((word) => textOr(`measure.${word}`, word));
  return textOr(`measure.${bare}`, words.join(" ").trim());
}

const JOINT_ANGLE = /^(knee|elbow|hip)_angle(_2d)?_rad$/;

/** Return a note about what the values of a measure without its side mean; "" for none. */
export const noteOf = (name: string) => (JOINT_ANGLE.test(name) ? text("measure.straight") : "");

/** Return the name of a measure with its unit. */
export const measureLabel = (name: string) =>
  measureName(name) + (unitOf(name).unit && ` (${unitOf(name).unit.trim()})`);

/** colours of lines: warm for the person's left as in drawings, cold for the right */
const COLOURS = {
  left: ["#d98600", "#e2518a", "#8a6d3b"],
  right: ["#2f9ede", "#7c5cf0", "#1d9a63"],
  "": ["#7c5cf0", "#1d9a63", "#8a6d3b", "#e2518a", "#2f9ede", "#d98600"],
};

export type Side = keyof typeof COLOURS;

/** Return the side of a measure by its name, or of the hand that has it. */
export function sideOf(name: string, handedness?: string | null): Side {
  if (name.startsWith("left_") || handedness === "Left") return "left";
  return name.startsWith("right_") || handedness === "Right" ? "right" : "";
}

/** Return the side as a word; nothing for none. */
export const sideName = (side: Side) => (side ? text(`measure.${side}`) : "");

/** Return a measure's name without its side. */
export const withoutSide = (name: string) => name.replace(/^(left|right)_/, "");

/** Return a colour for each line, by its side. */
export function lineColours(sides: Side[]): string[] {
  const used = { left: 0, right: 0, "": 0 };
  return sides.map((side) => COLOURS[side][used[side]++ % COLOURS[side].length]!);
}
