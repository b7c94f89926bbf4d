/**
 * Measures of hands, bodies and faces, as in Python's `sonjit.measures`. Names contain the units;
 * NaN is unknown.
 */

import { MEASURES } from "./data.js";
import { rotationFrom, type Vector } from "./metric-faces.js";
import { wrapAngle } from "./observations.js";
import { mirroredPoints, type Points } from "./results.js";

const { hand: HAND, body: BODY, face: FACE } = MEASURES;
const NAMES: Readonly<Record<string, readonly string[]>> = MEASURES.names;
const UP: Vector = [0, -1, 0];

/** An instance to measure. */
export interface Measured {
  readonly kind: string; // `hand`, `body` or `face`
  readonly handedness: "Left" | "Right" | null;
  /** The keypoints show the mirror image of the person. */
  readonly mirrored?: boolean;
  readonly keypoints: Points; // keypoints in pixels
  readonly keypoints3D?: Points; // keypoints in metres; faces have none
  /** Hands of the person to whom a body belongs, left and right. */
  readonly hands?: readonly ({ readonly keypoints3D?: Points } | null | undefined)[];
}

type At = (index: number) => Vector;

/** Return the names of the measures of a kind of instance. */
export const measureNames = (kind: string): readonly string[] => NAMES[kind] ?? [];

/** Return all measures of an instance by name, those of the image that is not mirrored. */
export function measuresOf(instance: Measured): ReadonlyMap<string, number> {
  const values = VALUES[instance.kind]?.(instance.mirrored ? unmirrored(instance) : instance) ?? [];
  return new Map(measureNames(instance.kind).map((name, i) => [name, values[i]!]));
}

function unmirrored({ keypoints, keypoints3D, hands, ...rest }: Measured): Measured {
  const turned = hands?.map((hand) => hand && { ...hand, ...metresOf(hand.keypoints3D) });
  return {
    ...rest,
    keypoints: mirroredPoints(keypoints, 0),
    ...metresOf(keypoints3D),
    ...(turned ? { hands: turned } : {}),
  };
}

const metresOf = (points?: Points) => (points ? { keypoints3D: mirroredPoints(points, 0) } : {});

type PageInstance = {
  readonly mirrored?: boolean;
  readonly handedness?: "Left" | "Right";
  readonly keypoints: readonly PagePoint[];
  readonly keypoints3D?: readonly PagePoint[];
};
type PagePoint = {
  readonly x: number;
  readonly y: number;
  readonly z?: number;
  readonly score?: number;
};

/**
 * Return the measures of an instance of a `LocalAnswer` by name, as a server does with `measures`;
 * null is unknown.
 *
 * @param kind `hand`, `body` or `face`
 * @param person the person of a body, with whose hands the wrists are known
 */
export function measuresOfInstance(
  kind: string,
  { handedness, mirrored = false, keypoints, keypoints3D = [] }: PageInstance,
  person: {
    readonly leftHand?: PageInstance | null;
    readonly rightHand?: PageInstance | null;
  } = {},
): Record<string, number | null> {
  const arrays = (points: readonly PagePoint[]): Points => ({
    values: Float32Array.from(points.flatMap(({ x, y, z = NaN }) => [x, y, z])),
    score: Float32Array.from(points, ({ score = 1 }) => score),
  });
  const hands = [person.leftHand, person.rightHand].map(
    (hand) => hand && { keypoints3D: arrays(hand.keypoints3D ?? []) },
  );
  const values = measuresOf({
    kind,
    handedness: handedness ?? null,
    mirrored,
    keypoints: arrays(keypoints),
    keypoints3D: arrays(keypoints3D),
    hands,
  });
  return Object.fromEntries(
    [...values].map(([name, value]) => [name, Number.isFinite(value) ? value : null]),
  );
}

const VALUES: Readonly<Record<string, (instance: Measured) => number[]>> = {
  hand: ({ keypoints3D, handedness }) =>
    handValues(pointsOf(keypoints3D!), handedness === "Right" ? 1 : -1),
  body: ({ keypoints, keypoints3D, hands = [] }) =>
    bodyValues(pointsOf(visible(keypoints)), pointsOf(visible(keypoints3D!)), hands),
  face: ({ keypoints }) =>
    keypoints.values.length < 3 * FACE_POINTS
      ? NAMES.face!.map(() => NaN)
      : faceValues(pointsOf(keypoints)),
};
const FACE_POINTS = 468;

function handValues(at: At, side: number): number[] {
  const bends = HAND.JOINTS.map((joint) => Math.PI - jointAngle(at, joint));
  const curls = HAND.CHAINS.map((_, finger) => sum(bends.slice(3 * finger, 3 * finger + 3)));
  const lengths = HAND.CHAINS.map((chain) =>
    sum(chain.slice(1).map((k, i) => length(at, [chain[i]!, k]))),
  );
  const [across, along, normal] = palmAxes(at);
  const inPlane = HAND.DIRECTIONS.map(([from, to]) => {
    const direction = unit(minus(at(to!), at(from!)));
    const [u, v] = [dot(direction, across), dot(direction, along)];
    return Math.hypot(u, v) >= Math.cos(HAND.MAX_TILT_RAD) ? Math.atan2(u, v) : NaN;
  });
  const spread = ([first, second]: readonly [number, number]) =>
    wrapAngle(inPlane[first]! - inPlane[second]!);
  const palm = normal.map((value) => side * value);
  return [
    ...curls,
    ...curls.map((curl, finger) => Math.min(Math.max(curl / HAND.FULL_CURL_RAD[finger]!, 0), 1)),
    ...HAND.CHAINS.map(
      (chain, finger) => length(at, [HAND.WRIST, chain.at(-1)!]) / (lengths[finger]! || NaN),
    ),
    ...(
      [
        [0, 1],
        [2, 3],
        [3, 4],
        [4, 5],
      ] as const
    ).map(spread),
    ...HAND.PINCHES.map((pair) => length(at, pair)),
    ...palm,
    -palm[2]!,
    lengths[2]!,
    length(at, [HAND.INDEX_MCP, HAND.PINKY_MCP]),
  ];
}

/** Return unit vectors towards the thumb and the fingers, and a right hand's palm normal. */
function palmAxes(at: At): [Vector, Vector, Vector] {
  const [wrist, index, pinky] = [at(HAND.WRIST), at(HAND.INDEX_MCP), at(HAND.PINKY_MCP)];
  const normal = unit(cross(minus(index, wrist), minus(pinky, wrist)));
  const along = unit(minus(mean([index, pinky]), wrist));
  return [cross(along, normal), along, normal];
}

function bodyValues(inImage: At, at: At, hands: NonNullable<Measured["hands"]>): number[] {
  const pairs = [BODY.TORSO_POINTS.slice(0, 2), BODY.TORSO_POINTS.slice(2), BODY.EARS];
  const [shoulders, hips, ears] = pairs.map((pair) => mean(pair.map(at)));
  const torso = minus(shoulders!, hips!);
  const shoulderLine = minus(at(BODY.TORSO_POINTS[0]!), at(BODY.TORSO_POINTS[1]!));
  const angles = boneAngles(at);
  const flat: At = (index) => [inImage(index)[0], inImage(index)[1], 0];
  return [
    ...angles,
    ...BODY.PAIRS.map((pair) => length(at, pair)),
    norm(torso),
    angleBetween(torso, UP),
    Math.atan2(torso[0], -torso[1]),
    ...boneAngles(flat),
    signedAngle(torso, cross(shoulderLine, UP), UP),
    signedAngle(minus(ears!, shoulders!), cross(shoulderLine, torso), torso),
    ...angles.flatMap((angle, i) => (i % 2 ? [] : [angle - angles[i + 1]!])),
    ...BODY.FOREARMS.flatMap(([elbow, wrist], side) => {
      if (!hands[side]) return [NaN, NaN];
      const forearm = minus(at(wrist!), at(elbow!));
      const [across, along, normal] = palmAxes(pointsOf(hands[side].keypoints3D!));
      return [
        signedAngle(
          forearm,
          normal.map((value) => (side ? -value : value)) as unknown as Vector,
          along,
        ),
        signedAngle(forearm, across, along),
      ];
    }),
  ];
}

function faceValues(at: At): number[] {
  const template = Object.values(FACE.STABLE_POINTS) as unknown as Vector[];
  const placed = Object.keys(FACE.STABLE_POINTS).map((index) => at(Number(index)));
  const [from, to] = [mean(template), mean(placed)];
  const covariance = [0, 1, 2].map((i) =>
    [0, 1, 2].map((j) =>
      sum(template.map((point, k) => (point[i]! - from[i]!) * (placed[k]![j]! - to[j]!))),
    ),
  );
  const [a, b, c] = covariance as unknown as [Vector, Vector, Vector];
  const isMirrored =
    a[0] * (b[1] * c[2] - b[2] * c[1]) -
      a[1] * (b[0] * c[2] - b[2] * c[0]) +
      a[2] * (b[0] * c[1] - b[1] * c[0]) <
    0;
  if (isMirrored) for (const row of covariance) row[0]! *= -1;
  const isKnown = covariance.flat().every(Number.isFinite) && covariance.flat().some(Boolean);
  const rotation = isKnown
    ? rotationFrom(covariance)
    : [0, 1, 2].map((): Vector => [NaN, NaN, NaN]);
  const [right, down, forward] = rotation.map((row) => -row[2]) as unknown as Vector;
  return [
    Math.atan2(right, -forward),
    Math.asin(Math.min(Math.max(-down, -1), 1)),
    Math.atan2(rotation[1]![0], rotation[1]![1]),
    ...[FACE.LEFT_EYE, FACE.RIGHT_EYE, FACE.MOUTH].map((pairs) => {
      const lengths = pairs.map((pair) => length(at, pair));
      const width = lengths.pop()!;
      return sum(lengths) / lengths.length / (width || NaN);
    }),
  ];
}

/** Return the points with NaN for those that are less visible than measures require. */
const visible = ({ values, score }: Points): Points => ({
  values: values.map((value, i) =>
    score![Math.floor(i / 3)]! >= BODY.MIN_VISIBILITY ? value : NaN,
  ),
});

const pointsOf =
  ({ values }: Points): At =>
  (index) => [values[3 * index]!, values[3 * index + 1]!, values[3 * index + 2]!];

/** Return the angles of a body between pairs of bones, each from its begin to its end. */
const boneAngles = (at: At): number[] =>
  BODY.BONE_ENDS.map((bones) => {
    const [first, second] = bones.map(([begin, end]) => minus(at(end!), at(begin!)));
    return angleBetween(first!, second!);
  });

/** Return the angle between the two bones at the middle one of three points. */
const jointAngle = (at: At, [a, b, c]: readonly number[]): number =>
  angleBetween(minus(at(a!), at(b!)), minus(at(c!), at(b!)));

/** Return the angle between two vectors, 0..pi, in Kahan's form, which is exact near both ends. */
function angleBetween(u: Vector, v: Vector): number {
  const [a, b] = [unit(u), unit(v)];
  return (
    2 *
    Math.atan2(
      norm(minus(a, b)),
      norm(a.map((value, axis) => value + b[axis]!) as unknown as Vector),
    )
  );
}

/** Return the angle of a vector in a plane, from one axis of the plane to the other. */
const signedAngle = (vector: Vector, aside: Vector, ahead: Vector): number =>
  Math.atan2(dot(vector, unit(aside)), dot(vector, unit(ahead)));
const length = (at: At, [a, b]: readonly number[]): number => norm(minus(at(a!), at(b!)));
const norm = (vector: Vector): number => Math.hypot(...vector);
const unit = (vector: Vector): Vector =>
  vector.map((value) => value / (norm(vector) || NaN)) as unknown as Vector;
const minus = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);
const mean = (points: readonly Vector[]): Vector =>
  [0, 1, 2].map(
    (axis) => sum(points.map((point) => point[axis]!)) / points.length,
  ) as unknown as Vector;
