/** Maps a face's blendshapes to the morph targets of a model: ARKit's names and VRM's expressions. */

/** @typedef {{terms: [string, number][], binds: {node: number, target: number, weight: number}[], isBinary: boolean}} Driver
 *   morph targets that move by a weighted sum of blendshapes */

const SIDED = ["browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "jaw",
  "mouth", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"];
const SINGLE = ["browInnerUp", "cheekPuff", "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"];
/** ARKit's names, as the detectors use them, without `_neutral`, which is not an expression. */
export const BLENDSHAPES = [...SINGLE, ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`])];

/** VRM 1.0's presets as sums of blendshapes; emotions use their visible blendshapes. @type {Map<string, [string, number][]>} */
const PRESETS = new Map(Object.entries({
  aa: [["jawOpen", 1]], ih: both("mouthStretch"), ou: [["mouthPucker", 1]], ee: both("mouthDimple"), oh: [["mouthFunnel", 1]],
  happy: both("mouthSmile"), sad: both("mouthFrown"), angry: both("browDown"), surprised: both("browOuterUp"),
  blinkLeft: [["eyeBlinkLeft", 1]], blinkRight: [["eyeBlinkRight", 1]],
  lookUp: both("eyeLookUp"), lookDown: both("eyeLookDown"),
  lookLeft: [["eyeLookOutLeft", 0.5], ["eyeLookInRight", 0.5]], lookRight: [["eyeLookInLeft", 0.5], ["eyeLookOutRight", 0.5]],
}));
/** Names of these presets in VRM 0. */
const VRM0_NAMES = new Map(Object.entries({
  a: "aa", i: "ih", u: "ou", e: "ee", o: "oh", joy: "happy", sorrow: "sad", angry: "angry", blink_l: "blinkLeft", blink_r: "blinkRight",
  lookup: "lookUp", lookdown: "lookDown", lookleft: "lookLeft", lookright: "lookRight",
}));
const BY_PLAIN_NAME = new Map(BLENDSHAPES.map((name) => [plain(name), name]));

/** Return the mean of both sides. @param {string} name @returns {[string, number][]} */
function both(name) {
  return [[`${name}Left`, 0.5], [`${name}Right`, 0.5]];
}

/** Normalise names of different tools: `eyeBlinkLeft`, `EyeBlink_L`, `blendShape1.eyeBlink_L`. @param {string} name */
function plain(name) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  return last.replace(/_l$/i, "left").replace(/_r$/i, "right").replace(/[^a-z]/gi, "").toLowerCase();
}

/**
 * Return the drivers of a model. Presets apply only without ARKit's names; both would move the same parts twice.
 *
 * @param {import("./gltf.js").Model} model @returns {Driver[]}
 */
export function driversOf(model) {
  const own = model.nodes.flatMap(({ mesh }, node) => (model.meshes[mesh]?.targets ?? []).map((name, target) => (
    { name, binds: [{ node, target, weight: 1 }], isBinary: false })));
  const expressions = [...vrm1Expressions(model), ...vrm0Expressions(model)];
  const named = [...own, ...expressions].flatMap(({ name, binds, isBinary }) => {
    const blendshape = BY_PLAIN_NAME.get(plain(name));
    return blendshape ? [driver([[blendshape, 1]], binds, isBinary)] : [];
  });
  return named.length ? named : expressions.flatMap(({ name, binds, isBinary }) => {
    const terms = PRESETS.get(name);
    return terms ? [driver(terms, binds, isBinary)] : [];
  });
}

/** @param {Driver["terms"]} terms @param {Driver["binds"]} binds @param {boolean} isBinary @returns {Driver} */
const driver = (terms, binds, isBinary) => ({ terms, binds, isBinary });

/** Return the expressions of VRM 1.0. @param {import("./gltf.js").Model} model */
function vrm1Expressions({ extensions }) {
  const { preset = {}, custom = {} } = extensions.VRMC_vrm?.expressions ?? {};
  return Object.entries({ ...custom, ...preset }).map(([name, { morphTargetBinds = [], isBinary = false }]) => (
    { name, isBinary, binds: morphTargetBinds.map((/** @type {any} */ { node, index, weight = 1 }) => ({ node, target: index, weight })) }));
}

/** Return the expressions of VRM 0, which refers to meshes instead of nodes and uses percent. @param {import("./gltf.js").Model} model */
function vrm0Expressions({ extensions, nodes }) {
  const groups = extensions.VRM?.blendShapeMaster?.blendShapeGroups ?? [];
  return groups.map((/** @type {any} */ { name = "", presetName = "unknown", binds = [], isBinary = false }) => ({
    name: VRM0_NAMES.get(presetName) ?? name,
    isBinary,
    binds: binds.flatMap((/** @type {any} */ { mesh, index, weight }) => nodes.flatMap((node, k) => (node.mesh === mesh ? [{ node: k, target: index, weight: weight / 100 }] : []))),
  }));
}

/**
 * Return the weights of each node's morph targets.
 *
 * @param {import("./gltf.js").Model} model @param {Driver[]} drivers @param {Record<string, number>} blendshapes
 * @returns {Map<number, Float32Array>} by node; 0..1 if a blendshape moves them, otherwise the weights at rest
 */
export function targetWeights(model, drivers, blendshapes) {
  const weights = new Map(model.nodes.flatMap(({ mesh, weights: rest }, node) => {
    const geometries = model.meshes[mesh]?.geometries ?? [];
    const all = new Float32Array(Math.max(0, ...geometries.map(({ targets }) => targets.length)));
    all.set(rest.slice(0, all.length));
    return all.length ? [[node, all]] : [];
  }));
  for (const { binds } of drivers) for (const { node, target } of binds) weights.get(node)?.fill(0, target, target + 1);
  for (const { terms, binds, isBinary } of drivers) {
    const sum = terms.reduce((total, [name, factor]) => total + factor * (blendshapes[name] ?? 0), 0);
    const value = isBinary ? Math.round(sum) : sum;
    for (const { node, target, weight } of binds) {
      const all = weights.get(node);
      if (all && target < all.length) all[target] = Math.min(Math.max(all[target] + value * weight, 0), 1);
    }
  }
  return weights;
}
