/**
 * Shows an avatar that moves with a person: three.js and @pixiv/three-vrm, which pages load late.
 */

import {
  AmbientLight,
  CircleGeometry,
  DirectionalLight,
  Euler,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  PerspectiveCamera,
  Quaternion,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";

import { PARENTS } from "./bones.js";
import type { Blendshapes } from "./expressions.js";
import { figureOf, ModelError, type Figure } from "./figure.js";
import { turnsOf, turnsOfHand, type BodyPoints, type Points } from "./pose.js";

export { ModelError };

/** a keypoint of an answer; metres in `keypoints3D` */
type Keypoint = {
  x: number;
  y: number;
  z?: number;
  score?: number;
  presence?: number;
  name?: string;
};
type Instance = { id?: number | null; keypoints: Keypoint[]; keypoints3D?: Keypoint[] };
type Hand = Instance & { handedness?: string | null };
type Face = Instance & { blendshapes?: Blendshapes; transform?: number[][] };
type Person = {
  id?: number | null;
  body?: Instance | null;
  leftHand?: Hand | null;
  rightHand?: Hand | null;
  face?: Face | null;
};
/** an answer of the detectors: `GET /v1/stream`, a line of a .jsonl table, or the module's result */
export type AvatarFrame = {
  width?: number;
  height?: number;
  people?: Person[];
  bodies?: Instance[];
  hands?: Hand[];
  faces?: Face[];
};
/** what moves in a model: bones of 52, blendshapes of 51 */
export type AvatarState = { name: string; bones: number; blendshapes: number };

type Observed = {
  body: BodyPoints | null;
  left: Points | null;
  right: Points | null;
  face: Face | null;
};
type View = "whole" | "upper" | "face";

const FOV_DEG = 26;
const FOLLOW_S = 0.07; // time constant of the way to a new pose
const SETTLE_S = 0.7; // time after which a pose is reached
const SWING_S = 3; // time in which hair and clothes come to rest
const LOST_S = 1; // time after which a person who is not seen goes back to rest
const PARTS_SEEN = 5; // frames with a hand that make a body certain; a face does at once
const VIEW_FRAMES = 12; // frames in which another part of the person is seen before the camera moves
const MAX_RATIO = 1.5; // pixels of the canvas per CSS pixel
const HANGING = turnOf(0, 0, -1.2);
const REST: ReadonlyMap<string, Quaternion> = new Map([
  ["leftUpperArm", HANGING],
  ["rightUpperArm", mirrored(HANGING)],
  ["leftLowerArm", turnOf(0, -0.12, 0)],
  ["rightLowerArm", turnOf(0, 0.12, 0)],
]);
/** arm of a person of whom only a hand is seen, in space */
const SHOWING = { UpperArm: turnOf(0, -0.5, -1.15), LowerArm: turnOf(0, -0.6, 1.2) };
const TRUNK = ["hips", "spine", "chest", "upperChest", "neck"];

/**
 * Show an avatar in an element.
 *
 * @param container element with a size; it gets a canvas
 * @param options `sample`: address of the model that is shown first
 * @throws {Error} the browser has no WebGL 2
 */
export async function mount(container: HTMLElement, { sample }: { sample: string }) {
  const canvas = document.createElement("canvas");
  const renderer = new WebGLRenderer({ canvas, alpha: true, antialias: true });
  container.append(canvas);
  const scene = new Scene();
  const camera = new PerspectiveCamera(FOV_DEG, 1, 0.01, 100);
  const shadow = new Mesh(
    new CircleGeometry(0.42, 40).rotateX(-Math.PI / 2),
    new MeshBasicMaterial({ color: 0x8b93a6, transparent: true, opacity: 0.22, depthWrite: false }),
  );
  const light = new DirectionalLight(0xffffff, 2.4);
  light.position.set(0.6, 1.4, 2);
  scene.add(light, new AmbientLight(0xffffff, 1.3), shadow);

  let figure: Figure | null = null;
  let name = "";
  let wanted = new Map(REST);
  const shown = new Map(REST);
  let face: Blendshapes = {};
  const faceShown: Record<string, number> = {};
  let view: View = "whole";
  let nextView: View = view;
  let nextFrames = 0;
  let [eye, target] = [new Vector3(), new Vector3()];
  let isPlaced = false; // whether the camera has a place to move from
  let [activeUntil, latest, seen] = [0, 0, 0];
  const parts = new Map<number, number>(); // frames with a face or hands by person
  let request = 0;
  let loads = 0; // number of the latest file, which replaces earlier ones
  const resized = new ResizeObserver(() => ask(0));
  resized.observe(container);
  const restored = () => ask(0);
  canvas.addEventListener("webglcontextrestored", restored);

  /** Draw until a time in seconds from now. */
  function ask(seconds: number) {
    activeUntil = Math.max(activeUntil, performance.now() + 1000 * seconds);
    if (!request) request = requestAnimationFrame(draw);
  }

  function draw(now: number) {
    request = 0;
    const seconds = Math.min((now - (latest || now)) / 1000, 0.3);
    latest = now;
    const [width, height] = [container.clientWidth, container.clientHeight];
    if (!width || !height || !figure) return;
    const ratio = Math.min(devicePixelRatio, MAX_RATIO);
    if (
      canvas.width !== Math.round(width * ratio) ||
      canvas.height !== Math.round(height * ratio)
    ) {
      renderer.setPixelRatio(ratio);
      renderer.setSize(width, height, false);
    }
    const share = 1 - Math.exp(-seconds / FOLLOW_S);
    for (const bone of PARENTS.keys()) {
      const from = shown.get(bone) ?? new Quaternion();
      shown.set(bone, from.clone().slerp(wanted.get(bone) ?? new Quaternion(), share));
    }
    for (const key of new Set([...Object.keys(faceShown), ...Object.keys(face)])) {
      const from = faceShown[key] ?? 0;
      faceShown[key] = from + ((face[key] ?? 0) - from) * share;
    }
    const isPlaying = figure.moves && !seen;
    if (isPlaying) figure.play(seconds);
    else {
      figure.pose(shown);
      figure.express(faceShown);
      figure.update(seconds);
    }
    place(width / height, share / 2);
    renderer.render(scene, camera);
    if (isPlaying || now < activeUntil) request = requestAnimationFrame(draw);
    else latest = 0;
  }

  /** Move the camera to where the seen part of the person fits. */
  function place(aspect: number, share: number) {
    const { box, eyes } = figure!;
    const height = box.max.y - box.min.y;
    const [low, high] = {
      whole: [box.min.y - 0.02 * height, box.max.y + 0.26 * height], // raised hands
      upper: [box.min.y + 0.42 * height, box.max.y + 0.12 * height],
      face: [eyes - 0.16 * height, eyes + 0.12 * height],
    }[view] as [number, number];
    const width = { whole: 0.62, upper: 0.6, face: 0.26 }[view] * height;
    const tall = Math.max(high - low, width / aspect);
    const away = tall / 2 / Math.tan((FOV_DEG * Math.PI) / 360) + (box.max.z - box.min.z) / 2;
    const to = new Vector3((box.min.x + box.max.x) / 2, (low + high) / 2, 0);
    const from = to.clone().add(new Vector3(0, 0.04 * tall, away));
    target = isPlaced ? target.lerp(to, share) : to;
    eye = isPlaced ? eye.lerp(from, share) : from;
    isPlaced = true;
    camera.aspect = aspect;
    [camera.near, camera.far] = [away / 50, away * 10];
    camera.position.copy(eye);
    camera.lookAt(target);
    camera.updateProjectionMatrix();
    shadow.position.y = box.min.y;
    shadow.scale.setScalar(height / 1.7);
  }

  /** Go back to the rest pose. */
  function rest() {
    wanted = new Map(REST);
    face = {};
    seen = 0;
    setView("whole", true);
    ask(SETTLE_S);
  }

  function setView(next: View, isSure = false) {
    nextFrames = next === nextView ? nextFrames + 1 : 1;
    nextView = next;
    if (isSure || nextFrames >= VIEW_FRAMES) view = next;
  }

  /**
   * Move the avatar as the first person of an answer.
   *
   * @returns false if the person is none for certain, which leaves the rest pose
   */
  function show(frame: AvatarFrame): boolean {
    const certain = (frame.people ?? []).filter(isCertain);
    const isNobody = Boolean(frame.people?.length) && !certain.length;
    if (isNobody) {
      if (seen) rest();
      return false;
    }
    move(observedOf({ ...frame, people: certain }));
    return true;
  }

  /** Check whether a tracked body has its own face or hands. A body that is seen into a hand has none. */
  function isCertain({ id, face: own, leftHand, rightHand }: Person) {
    if (id === null || id === undefined) return true;
    const count = (parts.get(id) ?? 0) + (own ? PARTS_SEEN : leftHand || rightHand ? 1 : 0);
    parts.set(id, count);
    return count >= PARTS_SEEN;
  }

  function move(observed: Observed) {
    if (!observed.body && !observed.left && !observed.right && !observed.face) {
      if (seen && performance.now() - seen > 1000 * LOST_S) rest();
      return;
    }
    const isFirst = !seen;
    seen = performance.now();
    wanted = poseOf(observed, wanted);
    if (observed.face?.blendshapes) face = observed.face.blendshapes;
    const { body } = observed;
    const hasLegs = body && [25, 26, 27, 28].some((k) => body.presence[k]! >= 0.5);
    setView(
      hasLegs ? "whole" : body || observed.left || observed.right ? "upper" : "face",
      isFirst,
    );
    ask(figure?.swings ? SWING_S : SETTLE_S);
  }

  /**
   * Show another model.
   *
   * @throws {ModelError} the file is not a model, or requires an unsupported extension
   */
  async function load(file: Blob, called: string): Promise<AvatarState> {
    const number = (loads += 1);
    const next = await figureOf(await file.arrayBuffer());
    if (number !== loads) {
      next.dispose();
      return state();
    }
    if (figure) {
      scene.remove(figure.scene);
      figure.dispose();
    }
    [figure, name, isPlaced] = [next, called, false];
    scene.add(next.scene);
    ask(SETTLE_S);
    return state();
  }

  const state = (): AvatarState => ({
    name,
    bones: figure?.bones ?? 0,
    blendshapes: figure?.blendshapes ?? 0,
  });

  async function loadSample() {
    const answer = await fetch(sample);
    if (answer.ok) await load(await answer.blob(), "");
  }
  await loadSample();

  return {
    show,
    /** Show the sample figure again. */
    loadSample,
    load: (file: File) => load(file, file.name),
    rest,
    /** Show the mirror image, as of a camera. */
    mirror: (isMirrored: boolean) => canvas.classList.toggle("mirrored", isMirrored),
    /** Return what moves in the model. */
    state,
    /** Return the position of a bone in metres; null if the model lacks it. */
    place: (bone: string) => figure?.place(bone)?.toArray() ?? null,
    dispose() {
      cancelAnimationFrame(request);
      resized.disconnect();
      canvas.removeEventListener("webglcontextrestored", restored);
      figure?.dispose();
      renderer.dispose();
      renderer.forceContextLoss(); // browsers keep few contexts
      canvas.remove();
    },
  };
}

export type Avatar = Awaited<ReturnType<typeof mount>>;

/** Return what is seen of the first person. */
function observedOf({ people, bodies, hands, faces }: AvatarFrame): Observed {
  const person = people?.[0];
  const sideOf = (side: string) => hands?.find(({ handedness }) => handedness === side);
  return {
    body: bodyOf(person?.body ?? bodies?.[0]),
    left: pointsOf(person?.leftHand ?? sideOf("Left")),
    right: pointsOf(person?.rightHand ?? sideOf("Right")),
    face: person?.face ?? faces?.[0] ?? null,
  };
}

function bodyOf(body: Instance | undefined): BodyPoints | null {
  const points = pointsOf(body);
  if (!points || points.length !== 33) return null;
  return { points, presence: body!.keypoints.map(({ presence, score }) => presence ?? score ?? 1) };
}

function pointsOf(instance: Instance | undefined): Points | null {
  const points = instance?.keypoints3D?.map(({ x, y, z = 0 }) => [x, y, z] as const);
  return points?.length && points.flat().every(Number.isFinite) ? points : null;
}

/** Return the turns of the bones; those that are not seen go to rest. */
function poseOf({ body, left, right, face }: Observed, before: Map<string, Quaternion>) {
  const turns = new Map(REST);
  const hands = { left, right };
  if (body) {
    const found = turnsOf(body, hands);
    const hasLegs = found.has("leftUpperLeg") || found.has("rightUpperLeg");
    for (const [bone, turn] of found) turns.set(bone, turn);
    // the height of a person who sits behind a table is unknown
    if (!hasLegs) turns.set("hips", upright(turns.get("hips")!));
  } else {
    for (const side of ["left", "right"] as const) {
      if (!hands[side]) continue;
      const [inSpace, fingers] = turnsOfHand(hands[side], side);
      const flip = (turn: Quaternion) => (side === "left" ? turn.clone() : mirrored(turn));
      const [upper, lower] = [flip(SHOWING.UpperArm), flip(SHOWING.LowerArm)];
      turns.set(`${side}UpperArm`, upper).set(`${side}LowerArm`, lower);
      turns.set(`${side}Hand`, upper.clone().multiply(lower).invert().multiply(inSpace));
      for (const [bone, turn] of fingers) turns.set(bone, turn);
    }
  }
  for (const side of ["left", "right"] as const) {
    if (hands[side] || !body) continue; // fingers that are lost for a moment keep their pose
    for (const [bone, turn] of before)
      if (bone.startsWith(side) && /Thumb|Index|Middle|Ring|Little/.test(bone))
        turns.set(bone, turn);
  }
  if (face?.transform) {
    const above = TRUNK.reduce(
      (turn, bone) => turn.multiply(turns.get(bone) ?? new Quaternion()),
      new Quaternion(),
    );
    turns.set("head", above.invert().multiply(headOf(face.transform)));
  }
  return turns;
}

/** Return the turn of a head from the pose of a face, whose axes are those of the avatar. */
function headOf(transform: readonly (readonly number[])[]): Quaternion {
  const columns = [0, 1, 2].map((k) =>
    new Vector3(transform[0]![k], transform[1]![k], transform[2]![k]).normalize(),
  );
  return new Quaternion().setFromRotationMatrix(
    new Matrix4().makeBasis(columns[0]!, columns[1]!, columns[2]!),
  );
}

/** Return the part of a turn that is about y. */
function upright({ y, w }: Quaternion) {
  return new Quaternion(0, y, 0, w).normalize();
}

/** Return a turn of the left side for the right one. */
function mirrored({ x, y, z, w }: Quaternion) {
  return new Quaternion(x, -y, -z, w);
}

function turnOf(x: number, y: number, z: number) {
  return new Quaternion().setFromEuler(new Euler(x, y, z));
}
