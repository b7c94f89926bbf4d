/** The user's avatar, a .glb or .vrm file, with the expressions and the head pose of the first face. */

import { AvatarPainter } from "./avatar-painter.js";
import { driversOf, targetWeights } from "./expressions.js";
import { readModel } from "./gltf.js";
import { onLanguage, text } from "./i18n.js";
import { instancesOf, kindsWhere } from "./kinds.js";
import { IDENTITY, moved, perspective, product, rotation, scaling, translation, transposed, turnOf } from "./matrices.js";
import { PageError } from "./messages.js";
import { isMirrored } from "./settings.js";

/** @typedef {import("./gltf.js").Model} Model */
/** @typedef {{model: Model, name: string, drivers: import("./expressions.js").Driver[], head: number, arms: Map<number, number>, turned: number[],
 *   centre: number[], size: number}} Avatar `head`: node of the head, -1 if the model has a single part; `arms`: angle about z that lowers
 *   the arms, by node; `turned`: matrix that makes the avatar look along +z; `centre`, `size`: of its head at rest */

const FOV_Y = (63 * Math.PI) / 180; // field of view of the camera of face transforms
const HEAD_CM = 24; // high, with hair
const AWAY_CM = 48; // distance beyond which a head is not shown smaller
const [NEAREST, HORIZON] = [1, 1000];
const HALF_TURN = rotation([0, 1, 0, 0]);
const HANGING = 1.2; // radians from a horizontal arm
const HEAD = /^(mixamorig:?)?head$/i;
const ENDINGS = /\.(glb|vrm)$/i;
const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** Check whether a file may be an avatar. @param {File} file */
export const isModel = ({ name }) => ENDINGS.test(name);

export class AvatarView {
  #canvas;
  #store;
  /** @type {AvatarPainter | null} */ #painter = null;
  /** @type {Avatar | null} */ #avatar = null;
  /** @type {Record<string, number>} */ #blendshapes = {};
  #pose = ahead();
  #aspect = 0; // width over height of the image; 0 without an image
  #isScheduled = false;

  /** @param {import("./state.js").Store} store @param {(error: unknown) => void} onError */
  constructor(store, onError) {
    this.#store = store;
    this.#canvas = find("avatar");
    const input = find("avatar-file");
    input.onchange = () => {
      this.open(input.files[0]).catch(onError);
      input.value = ""; // so that the same file can be selected again
    };
    store.watch(["mirrors", "source"], () => this.#ask());
    onLanguage(() => this.#tell());
    new ResizeObserver(() => this.#ask()).observe(this.#canvas);
    this.#canvas.addEventListener("webglcontextlost", (/** @type {Event} */ event) => {
      event.preventDefault(); // otherwise the browser never restores it
      this.#painter = null;
    });
    this.#canvas.addEventListener("webglcontextrestored", () => this.#paint());
  }

  /** Show a file, and detect faces with the options that move the avatar. @param {File} file */
  async open(file) {
    const { detectors, here } = this.#store.state;
    const canMove = (/** @type {boolean} */ where) => "blendshapes" in (kindsWhere(where).face?.options ?? {});
    if (!canMove(here) && !canMove(false)) throw new PageError("avatar_server");
    const gl = this.#canvas.getContext("webgl2");
    if (!gl) throw new PageError("no_webgl");
    const model = await readModel(file);
    this.#avatar = avatarOf(model, file.name);
    this.#paint();
    this.#tell();
    find("tab-avatar").click();
    this.#store.set({
      here: here && canMove(here),
      detectors: { ...detectors, face: { ...detectors.face, on: true } },
      options: { ...this.#store.state.options, blendshapes: true, transform: true },
    });
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const face = instancesOf(frame).find(({ kind, instance }) => kind === "face" && (instance.blendshapes || instance.transform))?.instance;
    if (!face) return; // without a face it keeps its last expression
    this.#blendshapes = face.blendshapes ?? {};
    this.#pose = face.transform ? transposed(face.transform.flat()) : ahead();
    this.#aspect = frame.width / frame.height;
    this.#ask();
  }

  clear() {
    this.#blendshapes = {};
    this.#pose = ahead();
    this.#ask();
  }

  /** Upload the model to the graphics card, again after a lost context is restored. */
  #paint() {
    const gl = this.#canvas.getContext("webgl2");
    if (!this.#avatar || gl.isContextLost()) return;
    this.#painter ??= new AvatarPainter(gl);
    this.#painter.use(this.#avatar.model);
    this.#ask();
  }

  #tell() {
    if (!this.#avatar) return;
    const { name, drivers, head } = this.#avatar;
    const count = new Set(drivers.flatMap(({ terms }) => terms.map(([blendshape]) => blendshape))).size;
    find("avatar-state").textContent = text(head < 0 ? "avatar.whole" : "avatar.head", { name, count });
  }

  /** Draw once with the next frame of the screen. */
  #ask() {
    if (this.#isScheduled || !this.#avatar) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#render();
    });
  }

  #render() {
    const canvas = this.#canvas;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    if (!this.#avatar || !this.#painter || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const mirrored = isMirrored(this.#store.state);
    const fit = Math.min(1, width / height / (this.#aspect || 1)); // the view shows the complete image
    const projection = product(scaling([mirrored ? -fit : fit, fit, 1]), perspective(FOV_Y, width / height, NEAREST, HORIZON));
    const half = Math.tan(FOV_Y / 2) / fit; // half of the visible height per centimetre of distance
    const weights = targetWeights(this.#avatar.model, this.#avatar.drivers, this.#blendshapes);
    this.#painter.draw(projection, posed(this.#avatar, this.#pose, [(half * width) / height, half]), weights, mirrored);
  }
}

/** Return the pose of a face in the middle of the image that looks at the camera. */
const ahead = () => translation([0, 0, -AWAY_CM]);

/** Return the parts of a model that the avatar moves. @param {Model} model @param {string} name @returns {Avatar} */
function avatarOf(model, name) {
  const { nodes, extensions } = model;
  const isVrm0 = "VRM" in extensions; // models of VRM 0 look along -z
  const joints = model.skins.flatMap((skin) => skin.joints);
  const named = boneOf(model, "head");
  const head = named >= 0 ? named : joints.find((joint) => HEAD.test(nodes[joint].name)) ?? -1;
  const turned = isVrm0 ? HALF_TURN : [...IDENTITY];
  const worlds = worldsOf(model, turned);
  const box = boundsOf(model, worlds);
  const joint = worlds.get(head)?.slice(12, 15);
  const low = joint ? [joint[0], joint[1], joint[2]] : box.low;
  const high = joint ? [joint[0], box.high[1], joint[2]] : box.high;
  const arms = new Map([[boneOf(model, "leftUpperArm"), -HANGING], [boneOf(model, "rightUpperArm"), HANGING]]);
  return { model, name, drivers: driversOf(model), head, arms, turned, centre: low.map((value, axis) => (value + high[axis]) / 2), size: Math.max(high[1] - low[1], 1e-6) };
}

/** Return the node of a VRM bone; -1 if there is none. @param {Model} model @param {string} name @returns {number} */
function boneOf({ extensions }, name) {
  const former = extensions.VRM?.humanoid?.humanBones?.find((/** @type {any} */ { bone }) => bone === name);
  return extensions.VRMC_vrm?.humanoid?.humanBones?.[name]?.node ?? former?.node ?? -1;
}

/** Return the transforms from each node to the scene. @param {Model} model @param {number[]} root @param {Map<number, number[]>} [turns] rotation of a node about its own origin, in the axes of the scene @returns {Map<number, number[]>} */
function worldsOf({ nodes, order }, root, turns = new Map()) {
  const worlds = new Map();
  for (const node of order) {
    const world = product(worlds.get(nodes[node].parent) ?? root, nodes[node].local);
    const turn = turns.get(node);
    const place = world.slice(12, 15);
    worlds.set(node, turn ? product(translation(place), turn, translation(place.map((value) => -value)), world) : world);
  }
  return worlds;
}

/** @param {Model} model @param {Map<number, number[]>} worlds @returns {{low: number[], high: number[]}} */
function boundsOf({ nodes, meshes, skins, order }, worlds) {
  const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  for (const node of order) {
    const { joints, inverses } = skins[nodes[node].skin] ?? {};
    const world = joints ? product(worlds.get(joints[0]) ?? IDENTITY, inverses.subarray(0, 16)) : worlds.get(node) ?? IDENTITY;
    for (const { positions } of meshes[nodes[node].mesh]?.geometries ?? []) {
      for (let k = 0; k < positions.length; k += 3) {
        moved(world, [positions[k], positions[k + 1], positions[k + 2]]).forEach((value, axis) => {
          low[axis] = Math.min(low[axis], value);
          high[axis] = Math.max(high[axis], value);
        });
      }
    }
  }
  return { low, high };
}

/**
 * Return the transforms from each node to camera space in centimetres. The head has the pose of the face.
 *
 * @param {Avatar} avatar @param {number[]} pose pose of the face @param {number[]} half half of the visible width and height per centimetre of distance
 * @returns {Map<number, number[]>}
 */
function posed({ model, head, arms, turned, centre, size }, pose, half) {
  const turn = turnOf(pose);
  const away = Math.min(-pose[14], AWAY_CM);
  const inView = half.map((share, axis) => { // an enlarged head may leave the view
    const reach = Math.max(share * away - HEAD_CM * 0.65, 0);
    return Math.min(Math.max((pose[12 + axis] * away) / -pose[14], -reach), reach);
  });
  const scale = HEAD_CM / size;
  const root = product(translation([...inView, -away]), head < 0 ? turn : IDENTITY, scaling([scale, scale, scale]), translation(centre.map((value) => -value)), turned);
  const turns = new Map([...arms].map(([node, angle]) => [node, rotation([0, 0, Math.sin(angle / 2), Math.cos(angle / 2)])]));
  if (head >= 0) turns.set(head, turn);
  return worldsOf(model, root, turns);
}
