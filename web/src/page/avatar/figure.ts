/** A model of a .vrm or .glb file, posed by turns of a humanoid's bones. */

import {
  VRMHumanoid,
  VRMLoaderPlugin,
  VRMUtils,
  type VRM,
  type VRMHumanBones,
} from "@pixiv/three-vrm";
import {
  AnimationMixer,
  Box3,
  MathUtils,
  Quaternion,
  TextureLoader,
  Vector3,
  type AnimationClip,
  type Group,
  type Mesh,
  type Object3D,
} from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

import { boneNamed, PARENTS } from "./bones.js";
import { countOf, driversOf, express, gazeOf, type Blendshapes } from "./expressions.js";

/** a file cannot be shown; `extensions`: those of glTF that it requires and the loader lacks */
export class ModelError extends Error {
  constructor(
    reason: string,
    readonly extensions: readonly string[] = [],
  ) {
    super(reason);
    this.name = "ModelError";
  }
}

const UNSUPPORTED =
  /^(KHR_draco_mesh_compression|(KHR|EXT)_meshopt_compression|KHR_texture_basisu)$/;
const FEET = ["leftFoot", "rightFoot", "leftToes", "rightToes"];
/**
 * Pitches of a standing foot in degrees: it is made flat between the inner two, and stays as it is
 * beyond the outer two; as Python's `_FLAT_PITCHES`, because the network's heel is above its toes.
 */
const FLAT_PITCHES = [-60, -40, 20, 40] as const;
const LEAST_UPRIGHT = 0.5; // cosine of the tilt of a foot that can stand
const STEP = 0.06; // height of a foot above the other one, relative to the model, that still stands
const T_POSE: readonly (readonly [string, string, Vector3])[] = (
  ["left", "right"] as const
).flatMap((side) => {
  const outward = new Vector3(side === "left" ? 1 : -1, 0, 0);
  const down = new Vector3(0, -1, 0);
  return [
    [`${side}UpperArm`, `${side}LowerArm`, outward],
    [`${side}LowerArm`, `${side}Hand`, outward],
    [`${side}UpperLeg`, `${side}LowerLeg`, down],
    [`${side}LowerLeg`, `${side}Foot`, down],
  ] as const;
});

type Bones = Map<string, Object3D>;

/** Read a model and return it as a figure. */
export async function figureOf(data: ArrayBuffer): Promise<Figure> {
  refuseUnsupported(data);
  const loader = new GLTFLoader();
  loader.register((parser) => new VRMLoaderPlugin(parser));
  loader.register((parser) => {
    // the page's policy allows images from blobs, but no requests to them
    Object.assign(parser, { textureLoader: new TextureLoader(parser.options.manager) });
    return { name: "sonjit-images" };
  });
  const gltf = await loader.parseAsync(data, "").catch((error: unknown) => {
    throw new ModelError(error instanceof Error ? error.message : String(error));
  });
  const vrm = gltf.userData.vrm as VRM | undefined;
  return new Figure(vrm?.scene ?? gltf.scene, vrm, gltf.animations[0]);
}

/** Throw a ModelError for a file that is not a complete GLB, or requires an unsupported extension. */
function refuseUnsupported(data: ArrayBuffer) {
  const view = new DataView(data);
  if (data.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67)
    throw new ModelError("it is not a binary glTF file");
  if (view.getUint32(8, true) > data.byteLength) throw new ModelError("it is not complete");
  const text = new TextDecoder().decode(new Uint8Array(data, 20, view.getUint32(12, true)));
  const { extensionsRequired = [] } = JSON.parse(text) as { extensionsRequired?: string[] };
  const missing = extensionsRequired.filter((name) => UNSUPPORTED.test(name));
  if (missing.length) throw new ModelError(`it requires ${missing.join(", ")}`, missing);
}

/** A model in the scene. Its axes are x to its left, y up and z forward. */
export class Figure {
  /** number of a humanoid's 52 bones that move */
  readonly bones: number;
  /** number of ARKit's 51 blendshapes that move something */
  readonly blendshapes: number;
  /** corners of the model in the rest pose */
  readonly box: Box3;
  /** height of the eyes in the rest pose */
  readonly eyes: number;
  private readonly drivers: ReturnType<typeof driversOf>;
  private readonly humanoid: VRMHumanoid | null;
  private readonly mixer: AnimationMixer | null; // of the motion in the file
  private readonly isReversed: boolean; // whether its own axes look along -z
  private readonly restHips: Vector3 | null;
  private readonly restHeights: ReadonlyMap<string, number>; // of the bones of the feet

  constructor(
    readonly scene: Group,
    private readonly vrm: VRM | undefined,
    clip: AnimationClip | undefined,
  ) {
    this.mixer = clip ? new AnimationMixer(scene) : null;
    if (clip) this.mixer!.clipAction(clip).play();
    this.isReversed = vrm?.meta.metaVersion === "0";
    if (vrm) {
      VRMUtils.rotateVRM0(vrm);
      vrm.humanoid.autoUpdateHumanBones = true;
      if (vrm.lookAt) vrm.lookAt.autoUpdate = false;
    } else this.isReversed = turnForward(scene);
    this.humanoid = vrm?.humanoid ?? humanoidOf(scene);
    if (this.humanoid && !vrm) scene.add(this.humanoid.normalizedHumanBonesRoot);
    this.drivers = driversOf(scene, vrm?.expressionManager);
    scene.traverse((node) => (node.frustumCulled = false)); // bones move meshes out of their boxes
    this.bones = [...PARENTS.keys()].filter((bone) => this.node(bone)).length;
    this.blendshapes = countOf(this.drivers);
    this.restHips = this.node("hips")?.position.clone() ?? null;
    scene.updateMatrixWorld(true);
    this.box = new Box3().setFromObject(scene, true);
    this.restHeights = new Map(
      FEET.flatMap((bone) => {
        const node = this.node(bone);
        return node ? [[bone, heightOf(node)]] : [];
      }),
    );
    const head = this.node("head");
    this.eyes = head
      ? head.getWorldPosition(new Vector3()).y * 0.6 + this.box.max.y * 0.4
      : (this.box.min.y + this.box.max.y) / 2;
  }

  /** Whether hair or clothes swing on after a movement. */
  get swings() {
    return (this.vrm?.springBoneManager?.joints.size ?? 0) > 0;
  }

  /** Whether the file has a motion. */
  get moves() {
    return this.mixer !== null;
  }

  /** Continue the motion of the file by some seconds. */
  play(seconds: number) {
    this.mixer?.update(seconds);
    this.vrm?.springBoneManager?.update(seconds);
  }

  /** Turn the bones against their parents. Feet stay on the floor. */
  pose(turns: ReadonlyMap<string, Quaternion>) {
    if (!this.humanoid) {
      // without bones the complete model turns with the head
      const total = new Quaternion();
      for (const bone of ["hips", "spine", "chest", "upperChest", "neck", "head"])
        total.multiply(turns.get(bone) ?? new Quaternion());
      this.scene.children[0]?.quaternion.copy(total);
      return;
    }
    for (const bone of PARENTS.keys()) {
      const node = this.node(bone);
      if (!node) continue;
      const turn = (turns.get(bone) ?? new Quaternion()).clone();
      // the turns of bones that the model lacks
      for (let above = PARENTS.get(bone)!; above && !this.node(above); above = PARENTS.get(above)!)
        turn.premultiply(turns.get(above) ?? new Quaternion());
      if (this.isReversed) turn.set(-turn.x, turn.y, -turn.z, turn.w);
      node.quaternion.copy(turn);
    }
    const hips = this.node("hips")!;
    hips.position.copy(this.restHips!);
    this.scene.updateMatrixWorld(true);
    for (const [bone, rest] of this.restHeights)
      if (bone.endsWith("Foot")) this.flatten(bone, rest);
    this.scene.updateMatrixWorld(true);
    const rises = [...this.restHeights].map(([bone, rest]) => rest - heightOf(this.node(bone)!));
    if (rises.length) hips.position.y += Math.max(...rises); // the lowest foot stands
  }

  /** Move the face and the eyes. */
  express(blendshapes: Blendshapes) {
    express(this.drivers, blendshapes);
    if (this.vrm?.lookAt) Object.assign(this.vrm.lookAt, gazeOf(blendshapes));
  }

  /** Bring what depends on the pose up to date after some seconds. */
  update(seconds: number) {
    if (this.vrm) this.vrm.update(seconds);
    else this.humanoid?.update();
  }

  /** Return the position of a bone in the scene; null if the model lacks it. */
  place(bone: string): Vector3 | null {
    const node = this.humanoid?.getRawBoneNode(bone as keyof VRMHumanBones);
    return node ? node.getWorldPosition(new Vector3()) : null;
  }

  /** Free the memory of the graphics card. */
  dispose() {
    VRMUtils.deepDispose(this.scene);
  }

  /** Make a foot flat that is nearly flat and not higher than the other one by a step. */
  private flatten(bone: string, rest: number) {
    const node = this.node(bone)!;
    const lowest = Math.min(
      ...[...this.restHeights].map(([other, height]) => heightOf(this.node(other)!) - height),
    );
    if (heightOf(node) - rest - lowest > STEP * (this.box.max.y - this.box.min.y)) return;
    const turn = node.getWorldQuaternion(new Quaternion());
    const up = new Vector3(0, 1, 0).applyQuaternion(turn);
    if (up.y < LEAST_UPRIGHT) return;
    const ahead = new Vector3(0, 0, this.isReversed ? -1 : 1).applyQuaternion(turn);
    const pitch = MathUtils.radToDeg(Math.asin(MathUtils.clamp(ahead.y, -1, 1)));
    const [least, low, high, most] = FLAT_PITCHES;
    const share = MathUtils.clamp(
      Math.min((pitch - least) / (low - least), (most - pitch) / (most - high)),
      0,
      1,
    );
    const upright = new Quaternion().setFromUnitVectors(up, new Vector3(0, 1, 0));
    const flat = new Quaternion().slerp(upright, share).multiply(turn);
    node.quaternion.copy(node.parent!.getWorldQuaternion(new Quaternion()).invert().multiply(flat));
  }

  private node(bone: string): Object3D | null {
    return this.humanoid?.getNormalizedBoneNode(bone as keyof VRMHumanBones) ?? null;
  }
}

const heightOf = (node: Object3D) => node.getWorldPosition(new Vector3()).y;

/** Return the humanoid of a model whose bones have names of another program; null if it has none. */
function humanoidOf(scene: Group): VRMHumanoid | null {
  const bones = bonesOf(scene);
  if (!bones.has("hips") || !bones.has("head")) return null;
  scene.updateMatrixWorld(true);
  for (const [bone, child, way] of T_POSE) straighten(bones.get(bone), bones.get(child), way);
  scene.updateMatrixWorld(true);
  const given = Object.fromEntries([...bones].map(([bone, node]) => [bone, { node }]));
  return new VRMHumanoid(given as unknown as VRMHumanBones);
}

function bonesOf(scene: Group): Bones {
  const bones: Bones = new Map();
  scene.traverse((node) => {
    const bone = (node as Mesh).isMesh
      ? undefined
      : boneNamed((node.userData.name as string | undefined) ?? node.name);
    if (bone && !bones.has(bone)) bones.set(bone, node);
  });
  return bones;
}

/** Turn a model that looks along -z. Return whether it did. */
function turnForward(scene: Group) {
  const bones = bonesOf(scene);
  const [left, right] = [bones.get("leftUpperArm"), bones.get("rightUpperArm")];
  if (!left || !right) return false;
  scene.updateMatrixWorld(true);
  const x = (node: Object3D) => node.getWorldPosition(new Vector3()).x;
  if (x(left) >= x(right)) return false;
  scene.rotation.y = Math.PI;
  return true;
}

/** Turn a bone so that its child lies in a direction of the scene, as in a T. */
function straighten(bone: Object3D | undefined, child: Object3D | undefined, way: Vector3) {
  if (!bone?.parent || !child) return;
  bone.updateWorldMatrix(true, true);
  const from = child
    .getWorldPosition(new Vector3())
    .sub(bone.getWorldPosition(new Vector3()))
    .normalize();
  const inSpace = new Quaternion()
    .setFromUnitVectors(from, way)
    .multiply(bone.getWorldQuaternion(new Quaternion()));
  bone.quaternion.copy(bone.parent.getWorldQuaternion(new Quaternion()).invert().multiply(inSpace));
}
