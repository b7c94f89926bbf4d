/**
 * Turns of a humanoid's bones from the keypoints of one person, as Python's characters compute them
 * for one frame. `src/sonjit/spec/cases/characters.json` has the cases of both.
 *
 * Axes are x to the person's left, y up and z forward. In the rest pose, a T with the palms down, no
 * bone is turned.
 */

import { Matrix4, Quaternion, Vector3 } from "three";

import { fingerBones, PARENTS, type Side } from "./bones.js";

/** positions in metres, in the camera's axes: x right, y down, z forward */
export type Points = readonly (readonly [number, number, number])[];
/** `presence`: probability that each of the 33 keypoints is in the image */
export type BodyPoints = { points: Points; presence: readonly number[] };

const X = new Vector3(1, 0, 0);
const Y = new Vector3(0, 1, 0);
const Z = new Vector3(0, 0, 1);
const FACE = new Vector3(0, -0.2, 0.98); // from the ears to the nose
const NECK = new Vector3(0, 0.95, 0.31); // the ears are in front of the shoulders
const THUMB = [0.75, 0, 0.66] as const;
const MIN_PRESENCE = 0.5;
const MIN_BEND_M = 0.02; // of an elbow or knee that gives the plane of a limb
const [STRAIGHT, BENT] = [0.1, 0.5]; // sines of a joint's angle between which its plane gets certain
const [TWIST_LOW, TWIST_HIGH] = [radians(-170), radians(95)]; // that a hand reaches about x
const LIMITS = [
  // least and greatest bend of the joints of the thumb, and of the other fingers
  [
    [-40, 60],
    [-25, 75],
    [-30, 95],
  ],
  [
    [-40, 115],
    [-15, 125],
    [-25, 95],
  ],
] as const;
const MAX_SIDEWAYS = 60;

/**
 * Return the turn of each bone against its parent.
 *
 * Bones of limbs outside the image and of hands that are not found are missing.
 *
 * @param hands 21 keypoints of the left and the right hand
 */
export function turnsOf(
  { points, presence }: BodyPoints,
  hands: Record<Side, Points | null>,
): Map<string, Quaternion> {
  const figure = new Figure(points.map(fromCamera), presence);
  figure.addTrunk();
  figure.addArms({
    left: hands.left?.map(fromCamera) ?? null,
    right: hands.right?.map(fromCamera) ?? null,
  });
  figure.addLegs();
  return figure.turns();
}

/** Return the turn of a hand in space, and of its fingers against their parents. */
export function turnsOfHand(points: Points, side: Side): [Quaternion, Map<string, Quaternion>] {
  const hand = points.map(fromCamera);
  const turn = handTurn(hand, side);
  return [turn, fingerTurns(hand, side, turn)];
}

class Figure {
  private readonly inSpace = new Map<string, Quaternion>();
  private readonly places = new Map<string, Vector3>();
  private readonly unknown = new Set<string>();
  private neck = new Vector3(); // relative to the upper chest

  constructor(
    private readonly body: Vector3[],
    private readonly presence: readonly number[],
  ) {}

  addTrunk() {
    const [hips, shoulders, ears] = [this.middle(23, 24), this.middle(11, 12), this.middle(7, 8)];
    const [acrossHips, acrossShoulders] = [this.between(24, 23), this.between(12, 11)];
    const up = minus(shoulders, hips);
    this.inSpace.set("hips", aligned(acrossHips, up, X, Y));
    this.places.set("hips", hips);
    let offset = times(Y, 0.1 * up.length());
    const spine = minus(up, turned(offset, this.of("hips")));
    const step = times(Y, spine.length() / 3);
    ["spine", "chest", "upperChest"].forEach((bone, k) => {
      const across = times(unit(acrossHips), 2 - k).addScaledVector(unit(acrossShoulders), k + 1);
      this.add(bone, offset, aligned(spine, across, Y, X));
      offset = step;
    });
    this.neck = offset;
    const chest = this.of("upperChest");
    const neck = minus(ears, this.placeIn("upperChest", offset));
    this.add("neck", offset, swung(chest, NECK, neck));
    const head = aligned(this.between(8, 7), minus(this.body[0]!, ears), X, FACE);
    this.add("head", times(unit(NECK), 0.55 * neck.length()), head);
  }

  addArms(hands: Record<Side, Vector3[] | null>) {
    const chest = this.of("upperChest");
    const width = this.between(12, 11).length();
    const rise = times(this.neck, 0.95);
    const offsets = { left: sideways("left", width, rise), right: sideways("right", width, rise) };
    const collars = {
      left: minus(this.body[11]!, this.placeIn("upperChest", offsets.left)),
      right: minus(this.body[12]!, this.placeIn("upperChest", offsets.right)),
    };
    const collar = (collars.left.length() + collars.right.length()) / 2;
    const lengths = this.lengths([11, 13, 15], [12, 14, 16]);
    for (const side of ["left", "right"] as const) {
      const outward = outwardOf(side);
      const hand = hands[side];
      const [elbow, wrist] = side === "left" ? [13, 15] : [14, 16];
      const isKnown = this.isVisible(wrist) || hand !== null;
      this.add(`${side}Shoulder`, offsets[side], swung(chest, outward, collars[side]));
      this.addLimb([`${side}UpperArm`, `${side}LowerArm`], {
        rest: outward,
        offset: times(outward, collar),
        lengths,
        hinge: times(Y, -outward.x),
        middle: this.body[elbow]!,
        end: this.body[wrist]!,
        bend: times(turned(Z, chest), -1),
        isKnown: [isKnown || this.isVisible(elbow), isKnown],
      });
      this.addHand(side, hand, isKnown);
    }
  }

  addLegs() {
    const hips = this.of("hips");
    const half = this.between(24, 23).length() / 2;
    const lengths = this.lengths([23, 25, 27], [24, 26, 28]);
    for (const side of ["left", "right"] as const) {
      const [knee, ankle, heel, toes] = side === "left" ? [25, 27, 29, 31] : [26, 28, 30, 32];
      const isKnown = this.isVisible(ankle);
      const offset = times(X, side === "left" ? half : -half);
      const start = this.placeIn("hips", offset);
      const target = this.body[ankle]!;
      const forward = unit(minus(target, start).cross(turned(X, hips)));
      const behind = Math.min(minus(this.body[knee]!, start).dot(forward), 0);
      this.addLimb([`${side}UpperLeg`, `${side}LowerLeg`], {
        rest: times(Y, -1),
        offset,
        lengths,
        hinge: X,
        middle: this.body[knee]!.clone().addScaledVector(forward, -behind), // knees bend one way
        end: target,
        bend: forward,
        isKnown: [isKnown || this.isVisible(knee), isKnown],
      });
      const foot = aligned(this.between(heel, toes), this.between(heel, ankle), Z, Y);
      for (const bone of [`${side}Foot`, `${side}Toes`]) {
        this.inSpace.set(bone, foot);
        if (!isKnown) this.unknown.add(bone);
      }
    }
  }

  /** Return the turns of the known bones against their parents. */
  turns(): Map<string, Quaternion> {
    const found = new Map<string, Quaternion>();
    for (const [bone, turn] of this.inSpace) {
      const parent = PARENTS.get(bone)!;
      if (this.unknown.has(bone)) continue;
      found.set(bone, parent ? inverse(this.of(parent)).multiply(turn) : turn.clone());
    }
    return found;
  }

  private addLimb(
    [upper, lower]: [string, string],
    limb: {
      rest: Vector3;
      offset: Vector3;
      lengths: [number, number];
      hinge: Vector3;
      middle: Vector3;
      end: Vector3;
      bend: Vector3;
      isKnown: [boolean, boolean];
    },
  ) {
    const { rest, offset, lengths, hinge, middle, end, bend, isKnown } = limb;
    const parent = this.of(PARENTS.get(upper)!);
    const start = this.placeIn(PARENTS.get(upper)!, offset);
    const [first, second] = bentLimb(start, middle, end, lengths, bend);
    const across = first.clone().cross(second);
    const share = clip((across.length() - STRAIGHT) / (BENT - STRAIGHT), 0, 1);
    const axis = times(unit(across), share).addScaledVector(
      turned(hinge, swung(parent, rest, first)),
      1 - share,
    );
    this.add(upper, offset, aligned(first, axis, rest, hinge));
    this.add(lower, times(rest, lengths[0]), aligned(second, axis, rest, hinge));
    [upper, lower].forEach((bone, k) => isKnown[k] || this.unknown.add(bone));
  }

  private addHand(side: Side, hand: Vector3[] | null, isKnown: boolean) {
    const [wrist, little, index] = side === "left" ? [15, 17, 19] : [16, 18, 20];
    const turn = hand
      ? handTurn(hand, side)
      : aligned(
          minus(this.middle(little, index), this.body[wrist]!),
          this.between(little, index),
          outwardOf(side),
          Z,
        );
    this.inSpace.set(`${side}Hand`, turn);
    this.inSpace.set(`${side}LowerArm`, halfTwisted(this.of(`${side}LowerArm`), turn));
    if (!isKnown) this.unknown.add(`${side}Hand`);
    if (!hand) return;
    let above = turn;
    for (const [bone, bend] of fingerTurns(hand, side, turn)) {
      if (PARENTS.get(bone) === `${side}Hand`) above = turn;
      above = above.clone().multiply(bend);
      this.inSpace.set(bone, above);
    }
  }

  private lengths(left: [number, number, number], right: [number, number, number]) {
    const [first, second] = [0, 1].map((part) =>
      Math.max(...[left, right].map((limb) => this.between(limb[part]!, limb[part + 1]!).length())),
    );
    return [first!, second!] as [number, number];
  }

  private add(bone: string, offset: Vector3, turn: Quaternion) {
    this.places.set(bone, this.placeIn(PARENTS.get(bone)!, offset));
    this.inSpace.set(bone, turn);
  }

  private placeIn(bone: string, offset: Vector3) {
    return turned(offset, this.of(bone)).add(this.places.get(bone)!);
  }

  private of = (bone: string) => this.inSpace.get(bone)!;
  private isVisible = (keypoint: number) => this.presence[keypoint]! >= MIN_PRESENCE;
  private middle = (a: number, b: number) =>
    this.body[a]!.clone().add(this.body[b]!).multiplyScalar(0.5);
  private between = (from: number, to: number) => minus(this.body[to]!, this.body[from]!);
}

const fromCamera = ([x, y, z]: readonly [number, number, number]) => new Vector3(x, -y, -z);

const outwardOf = (side: Side) => times(X, side === "left" ? 1 : -1);

const sideways = (side: Side, width: number, rise: Vector3) =>
  times(outwardOf(side), 0.08 * width).add(rise);

/** Return the turn of a hand in space from its 21 keypoints. */
const handTurn = (hand: Vector3[], side: Side) =>
  aligned(minus(hand[9]!, hand[0]!), minus(hand[5]!, hand[17]!), outwardOf(side), Z);

/** Return the turns of the finger bones against their parents, within the limits of the joints. */
function fingerTurns(hand: Vector3[], side: Side, turn: Quaternion): Map<string, Quaternion> {
  const toHand = inverse(turn);
  const outward = outwardOf(side);
  const fold = -outward.x; // makes z positive where a finger bends to the palm
  const found = new Map<string, Quaternion>();
  for (let finger = 0; finger < 5; finger += 1) {
    const rest = finger
      ? outward
      : new Vector3(THUMB[0] * outward.x, THUMB[1], THUMB[2]).normalize();
    const limits = LIMITS[Math.min(finger, 1)]!;
    const above = new Quaternion();
    fingerBones(side, finger).forEach((bone, k) => {
      const from = 1 + 4 * finger + k;
      const way = turned(minus(hand[from + 1]!, hand[from]!), toHand);
      const bend = swing(rest, turned(way, inverse(above)));
      above.multiply(quaternionOf(bend));
      const [least, greatest] = [radians(limits[k]![0]), radians(limits[k]![1])];
      const isThumbBase = finger === 0 && k === 0;
      // the thumb's base is symmetric, because its axes are not those of the character
      found.set(
        bone,
        quaternionOf(within(bend, fold, isThumbBase ? -greatest : least, greatest, isThumbBase)),
      );
    });
  }
  return found;
}

function within(bend: Vector3, fold: number, low: number, high: number, isThumbBase: boolean) {
  const side = isThumbBase ? high : radians(MAX_SIDEWAYS);
  const middle = (low + high) / 2;
  const turn = 2 * Math.PI;
  const z = modulo(bend.z * fold - middle + Math.PI, turn) - Math.PI + middle;
  return new Vector3(
    clip(bend.x, -side, side),
    clip(bend.y, -side, side),
    fold * clip(z, low, high),
  );
}

/** Turn a forearm by half of the twist to its hand. */
function halfTwisted(lower: Quaternion, hand: Quaternion): Quaternion {
  const local = inverse(lower).multiply(hand);
  const ahead = turned(X, local).x;
  const twist = vectorOf(swung(local, X, X)).x;
  return lower.clone().multiply(quaternionOf(times(X, halfOf(twist) * clip(2 + 2 * ahead, 0, 1))));
}

/** Return half of a twist within what a hand reaches; beyond, the way back to the other limit. */
function halfOf(twist: number) {
  if (twist >= TWIST_LOW && twist <= TWIST_HIGH) return twist / 2;
  const gap = 2 * Math.PI + TWIST_LOW - TWIST_HIGH;
  const share = modulo(twist - TWIST_HIGH, 2 * Math.PI) / gap;
  return (TWIST_HIGH + share * (TWIST_LOW - TWIST_HIGH)) / 2;
}

/** Return the directions of two bones with lengths that lead from a start to an end. */
function bentLimb(
  start: Vector3,
  middle: Vector3,
  end: Vector3,
  [first, second]: [number, number],
  bend: Vector3,
): [Vector3, Vector3] {
  const way = minus(end, start);
  const along = unit(way);
  const reach = clip(way.length(), Math.abs(first - second) + 1e-4, (first + second) * 0.99999);
  const out = across(minus(middle, start), along);
  out.addScaledVector(unit(across(bend, along)), Math.max(MIN_BEND_M - out.length(), 0));
  const forward = (first ** 2 - second ** 2 + reach ** 2) / (2 * reach);
  const side = Math.sqrt(Math.max(first ** 2 - forward ** 2, 0));
  const upper = times(along, forward).addScaledVector(unit(out), side);
  return [unit(upper), unit(times(along, reach).sub(upper))];
}

/** Return the turn that brings one rest direction to `first`, and another one close to `second`. */
const aligned = (first: Vector3, second: Vector3, restFirst: Vector3, restSecond: Vector3) =>
  axes(first, second).multiply(inverse(axes(restFirst, restSecond)));

function axes(first: Vector3, second: Vector3) {
  const x = unit(first);
  const y = unit(across(second, x));
  return new Quaternion().setFromRotationMatrix(new Matrix4().makeBasis(x, y, x.clone().cross(y)));
}

/** Turn by the shortest way so that a rest direction points to another one. */
const swung = (turn: Quaternion, rest: Vector3, way: Vector3) =>
  quaternionOf(swing(turned(rest, turn), way)).multiply(turn);

/** Return the shortest rotation vector between directions. */
function swing(from: Vector3, to: Vector3): Vector3 {
  const [a, b] = [unit(from), unit(to)];
  const axis = a.clone().cross(b);
  return times(unit(axis), Math.atan2(axis.length(), a.dot(b)));
}

function quaternionOf(vector: Vector3) {
  const angle = vector.length();
  return new Quaternion().setFromAxisAngle(unit(vector), angle);
}

function vectorOf({ x, y, z, w }: Quaternion): Vector3 {
  const sign = w < 0 ? -1 : 1;
  const axis = new Vector3(x, y, z).multiplyScalar(sign);
  const sine = axis.length();
  return axis.multiplyScalar((2 * Math.atan2(sine, w * sign)) / Math.max(sine, 1e-12));
}

/** Return the part of a vector that is perpendicular to a unit vector. */
const across = (vector: Vector3, along: Vector3) =>
  vector.clone().addScaledVector(along, -vector.dot(along));

function unit(vector: Vector3) {
  return vector.clone().divideScalar(Math.max(vector.length(), 1e-9));
}

function times(vector: Vector3, factor: number) {
  return vector.clone().multiplyScalar(factor);
}

const minus = (a: Vector3, b: Vector3) => a.clone().sub(b);
const turned = (vector: Vector3, turn: Quaternion) => vector.clone().applyQuaternion(turn);
const inverse = (turn: Quaternion) => turn.clone().invert();
const clip = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
const modulo = (value: number, period: number) => ((value % period) + period) % period;

function radians(degrees: number) {
  return (degrees * Math.PI) / 180;
}
