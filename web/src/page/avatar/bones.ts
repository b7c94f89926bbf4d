/** Bones of a VRM humanoid, and how other programs name them; as Python's `NAMES`. */

const SIDES = ["left", "right"] as const;
const FINGERS = ["Thumb", "Index", "Middle", "Ring", "Little"] as const;
const PARTS = ["Proximal", "Intermediate", "Distal"];

/** Names of a finger's three bones, from the palm to the tip. */
export const fingerBones = (side: Side, finger: number): string[] =>
  (finger ? PARTS : ["Metacarpal", "Proximal", "Distal"]).map(
    (part) => `${side}${FINGERS[finger]}${part}`,
  );

export type Side = (typeof SIDES)[number];

// VRM, parent, Mixamo, Unreal, WebXR
const TRUNK = [
  ["hips", "", "Hips", "pelvis", "hips"],
  ["spine", "hips", "Spine", "spine_01", "spine-lower"],
  ["chest", "spine", "Spine1", "spine_02", "spine-middle"],
  ["upperChest", "chest", "Spine2", "spine_03", "spine-upper"],
  ["neck", "upperChest", "Neck", "neck_01", "neck"],
  ["head", "neck", "Head", "head", "head"],
];
// each for a side
const LIMBS = [
  ["Shoulder", "upperChest", "Shoulder", "clavicle", "shoulder"],
  ["UpperArm", "Shoulder", "Arm", "upperarm", "arm-upper"],
  ["LowerArm", "UpperArm", "ForeArm", "lowerarm", "arm-lower"],
  ["Hand", "LowerArm", "Hand", "hand", "hand-wrist"],
  ["UpperLeg", "hips", "UpLeg", "thigh", "upper-leg"],
  ["LowerLeg", "UpperLeg", "Leg", "calf", "lower-leg"],
  ["Foot", "LowerLeg", "Foot", "foot", "foot-ankle"],
  ["Toes", "Foot", "ToeBase", "ball", "foot-ball"],
];

const rows = [...TRUNK, ...SIDES.flatMap((side) => [...limbs(side), ...fingers(side)])];

/** Parent of each bone. A parent comes before its children; that of the hips is empty. */
export const PARENTS: ReadonlyMap<string, string> = new Map(
  rows.map(([bone, parent]) => [bone!, parent!]),
);

const BY_NAME = new Map(
  rows.flatMap(([bone, , ...names]) => [bone!, ...names].map((name) => [plain(name!), bone!])),
);

/** Return the bone that a node's name means in VRM, Mixamo, Unreal or WebXR; undefined for others. */
export const boneNamed = (name: string) => BY_NAME.get(plain(name));

function limbs(side: Side) {
  const title = side === "left" ? "Left" : "Right";
  return LIMBS.map(([bone, parent, mixamo, unreal, webxr]) => [
    side + bone,
    /^[a-z]/.test(parent!) ? parent! : side + parent,
    title + mixamo,
    `${unreal}_${side[0]}`,
    `${side}-${webxr}`,
  ]);
}

function fingers(side: Side) {
  const title = side === "left" ? "Left" : "Right";
  return FINGERS.flatMap((finger, which) =>
    fingerBones(side, which).map((bone, k, bones) => {
      const other = finger === "Little" ? "Pinky" : finger;
      const part = bone.slice(side.length + finger.length).toLowerCase();
      const phalanx = part === "metacarpal" ? part : `phalanx-${part}`;
      return [
        bone,
        k ? bones[k - 1]! : `${side}Hand`,
        `${title}Hand${other}${k + 1}`,
        `${other.toLowerCase()}_0${k + 1}_${side[0]}`,
        `${side}-hand-${finger.toLowerCase()}-${phalanx}`,
      ];
    }),
  );
}

function plain(name: string) {
  return name
    .replace(/^mixamorig\d*[:_]?/i, "")
    .replace(/[^a-z0-9]/gi, "")
    .toLowerCase();
}
