/** Which blendshapes of ARKit move the expressions and morph targets of a model. */

import type { VRMExpressionManager } from "@pixiv/three-vrm";
import type { Mesh, Object3D } from "three";

import AVATARS from "../../../../src/sonjit/spec/avatars.json";

export type Blendshapes = Readonly<Record<string, number>>;
type Terms = readonly (readonly [name: string, factor: number])[];
type Driver = { terms: Terms; set(value: number): void };

const SIDED = [
  "browDown",
  "browOuterUp",
  "cheekSquint",
  "eyeBlink",
  "eyeLookDown",
  "eyeLookIn",
  "eyeLookOut",
  "eyeLookUp",
  "eyeSquint",
  "eyeWide",
  "jaw",
  "mouth",
  "mouthDimple",
  "mouthFrown",
  "mouthLowerDown",
  "mouthPress",
  "mouthSmile",
  "mouthStretch",
  "mouthUpperUp",
  "noseSneer",
];
const SINGLE = [
  "browInnerUp",
  "cheekPuff",
  "jawForward",
  "jawOpen",
  "mouthClose",
  "mouthFunnel",
  "mouthPucker",
  "mouthRollLower",
  "mouthRollUpper",
  "mouthShrugLower",
  "mouthShrugUpper",
];
/** ARKit's names, as the detectors use them, without `_neutral`, which is not an expression. */
export const BLENDSHAPES: readonly string[] = [
  ...SINGLE,
  ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`]),
];
const BY_PLAIN_NAME = new Map(BLENDSHAPES.map((name) => [plain(name), name]));

/** VRM 1.0's presets as sums of blendshapes; emotions use their visible blendshapes. */
const PRESETS: ReadonlyMap<string, Terms> = new Map(
  Object.entries(AVATARS.presets).map(([name, terms]) => [name, Object.entries(terms)]),
);
const GAZE_DEG = AVATARS.gaze_deg; // turn of the eyes at a blendshape of 1

/**
 * Return what moves the face of a model.
 *
 * Expressions with ARKit's names come first, then morph targets with these names, then VRM's
 * presets. One kind only moves a face, because two would move the same parts twice.
 */
export function driversOf(
  scene: Object3D,
  expressions: VRMExpressionManager | undefined,
): Driver[] {
  const all = Object.keys(expressions?.expressionMap ?? {});
  const ofExpression = (name: string, terms: Terms): Driver => ({
    terms,
    set: (value) => expressions!.setValue(name, value),
  });
  const named = all.flatMap((name) => termsNamed(name).map((terms) => ofExpression(name, terms)));
  if (named.length) return named;
  const targets: Driver[] = [];
  scene.traverse((node) => {
    const { morphTargetDictionary = {}, morphTargetInfluences } = node as Mesh;
    for (const [name, index] of Object.entries(morphTargetDictionary))
      for (const terms of termsNamed(name))
        targets.push({ terms, set: (value) => (morphTargetInfluences![index] = value) });
  });
  if (targets.length) return targets;
  const hasSides = all.includes("blinkLeft") && all.includes("blinkRight");
  const presets = all.filter((name) => PRESETS.has(name) && !(hasSides && name === "blink"));
  return presets.map((name) => ofExpression(name, PRESETS.get(name)!));
}

/** Move a face. */
export function express(drivers: readonly Driver[], blendshapes: Blendshapes) {
  for (const { terms, set } of drivers) {
    const sum = terms.reduce((all, [name, factor]) => all + factor * (blendshapes[name] ?? 0), 0);
    set(Math.min(Math.max(sum, 0), 1));
  }
}

/** Return how many of the blendshapes move something. */
export const countOf = (drivers: readonly Driver[]) =>
  new Set(drivers.flatMap(({ terms }) => terms.map(([name]) => name))).size;

/** Return the direction of the eyes in degrees: to the person's left, and up. */
export function gazeOf(blendshapes: Blendshapes): { yaw: number; pitch: number } {
  const at = (name: string) => blendshapes[name] ?? 0;
  const left = at("eyeLookOutLeft") + at("eyeLookInRight");
  const right = at("eyeLookInLeft") + at("eyeLookOutRight");
  const up = at("eyeLookUpLeft") + at("eyeLookUpRight");
  const down = at("eyeLookDownLeft") + at("eyeLookDownRight");
  return { yaw: ((left - right) / 2) * GAZE_DEG, pitch: ((up - down) / 2) * GAZE_DEG };
}

function termsNamed(name: string): Terms[] {
  const blendshape = BY_PLAIN_NAME.get(plain(name));
  return blendshape ? [[[blendshape, 1]]] : [];
}

/** Normalise names of different tools: `eyeBlinkLeft`, `EyeBlink_L`, `blendShape1.eyeBlink_L`. */
function plain(name: string) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  return last
    .replace(/_l$/i, "left")
    .replace(/_r$/i, "right")
    .replace(/[^a-z]/gi, "")
    .toLowerCase();
}
