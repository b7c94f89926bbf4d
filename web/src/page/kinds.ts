/** Values that the page and Python share; `spec/README.md` describes them. */

import DRAWING from "../../../src/sonjit/spec/drawing.json";
import REPETITIONS from "../../../src/sonjit/spec/repetitions.json";
import RESULTS from "../../../src/sonjit/spec/results.json";
import { addressOf, call, hasNoServer } from "./endpoints.js";

export { DRAWING, REPETITIONS, RESULTS };

/** of an option */
export type Schema = {
  type: string;
  description: string;
  default?: boolean | number | string;
  enum?: readonly string[];
  minimum?: number;
  maximum?: number;
  pattern?: string;
};
type Kind = {
  list: string;
  plural: string;
  models: string[];
  missing: Record<string, string[]>;
  max_instances: number;
  options: Record<string, Schema>;
  job_options: string[];
};
type Field = { key: string; columns?: string[]; scores?: Record<string, string | null> };
export type Result = {
  list: string;
  fields: Field[];
  members: Record<string, string>;
  skeletons: Record<string, Table>;
};
export type Point = {
  x: number;
  y: number;
  z?: number;
  score?: number;
  name?: string;
  errorPx?: number;
};
export type Box = {
  xMin: number;
  yMin: number;
  xMax: number;
  yMax: number;
  width: number;
  height: number;
};
/** A hand, face or body of a frame; fields that options add may be missing. */
export type Instance = {
  skeleton: string;
  keypoints: Point[];
  keypoints3D?: Point[];
  score: number;
  id?: number | null;
  box?: Box;
  handedness?: "Left" | "Right" | null;
  handednessScore?: number;
  gesture?: { name: string; score: number } | null;
  measures?: Record<string, number | null> | undefined;
  blendshapes?: Record<string, number>;
  transform?: number[][];
  distanceM?: number;
  distanceErrorM?: number;
  map?: SaliencyMap;
  segmentation?: { width: number; height: number; png: string };
  published?: { keypoints: Point[]; keypoints3D: Point[] };
};
/** Evidence of the hand network for one of its outputs; `size`: rows and columns. */
export type SaliencyMap = {
  of: string;
  value: number;
  unit: string;
  size: [number, number];
  values: number[];
  box: { cx: number; cy: number; width: number; height: number; rotation: number };
};
/** A person with parts by the names of members. */
export type Person = {
  id?: number | null;
  score: number;
  body?: Instance | null;
  face?: Instance | null;
  leftHand?: Instance | null;
  rightHand?: Instance | null;
};
/** `end`: null at the begin */
export type FrameEvent = {
  name: string;
  type: string;
  phase: string;
  begin: number;
  end: number | null;
  id: number | null;
  handedness: string | null;
  value: number | null;
};
export type Motion = {
  name: string;
  phase: string;
  id: number;
  handedness: string | null;
  strength: number;
  count: number;
  time: number;
};
/** left, top, right, bottom */
type Corners = [number, number, number, number];
/** Boxes to cover in an image in pixels, see docs/http-api.md; `people` only if they are hidden. */
export type Covered = { faces: Corners[]; people?: Corners[]; again: Corners[] };
/** The answer to an image. Lists of results are below their names. */
export type Frame = {
  frame: number;
  width: number;
  height: number;
  time: number;
  index?: number;
  source?: string;
  dropped?: number;
  hidden?: number;
  timing?: { detect_ms: number };
  motions?: Motion[];
  events?: FrameEvent[];
  commands?: unknown[];
  covered?: Covered | undefined;
};

/** Return the results of a list of a frame. */
export const listOf = (frame: object, list: string) =>
  (frame as Record<string, (Instance & Person)[] | undefined>)[list] ?? [];

/** a part with its own keypoints */
export type Part = { kind: string; number: number; instance: Instance; person?: Person };

/** a file of finished jobs: its texts are name and description by language, if the page has none */
export type Download = { name: string; group: string; texts: Record<string, [string, string]> };

/** of `GET /v1/kinds` */
type KindsAnswer = {
  kinds: Record<string, Kind>;
  in_page: Record<string, Kind>;
  results: Record<string, Result>;
  columns: string[];
  classes?: string[];
  annotates?: boolean;
  downloads?: Download[];
};

/** Kinds of detectors by name; the first model of each is its default. */
export let kinds: Record<string, Kind> = {};
/** Kinds that this page supports without a server, with their models and options. */
export let kindsInPage: Record<string, Kind> = {};
/** Types of results by name. */
export let results: Record<string, Result> = {};
/** Columns of row tables. */
export let columns: string[] = [];
/** Names of the classes of photographs, if this page classifies without a server. */
export let classes: string[] = [];
/** Files that jobs of the server offer. */
export let downloads: Download[] = [];
/** True if the server has an annotation project. */
export let annotates = false;

/** Load the kinds from the server or from the folder that `sonjit page` wrote. */
export async function loadKinds() {
  const answer = await call<KindsAnswer>(
    hasNoServer ? new URL("./kinds.json", import.meta.url) : addressOf("/v1/kinds"),
  );
  ({ kinds, in_page: kindsInPage, results, columns } = answer);
  ({ classes = [], annotates = false, downloads = [] } = answer);
  const { triangles } = (await (
    await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url))
  ).json()) as { triangles: number[][] };
  const sides = triangles.flatMap(([a, b, c]) =>
    [
      [a, b],
      [b, c],
      [c, a],
    ].map(([p, q]) => Math.min(p!, q!) * 1000 + Math.max(p!, q!)),
  );
  const edges = [...new Set(sides)].map((side) => [Math.floor(side / 1000), side % 1000]) as [
    number,
    number,
  ][];
  for (const [name, table] of Object.values(results).flatMap((result) =>
    Object.entries(result.skeletons),
  )) {
    const colours = table.keypoints.map((_, k) => colourOf(table, k));
    skeletons.set(name, {
      ...table,
      colours,
      ...(table.keypoints.length > MIN_MESH_KEYPOINTS ? { edges } : {}),
    });
  }
}

/**
 * Return the kinds that are available.
 *
 * @param here whether detectors run in this page
 */
export const kindsWhere = (here: boolean) => (here ? kindsInPage : kinds);

/** all views request the same frame */
let last: { frame: object; instances: readonly Part[] } | null = null;

/** Return all parts of a frame that have keypoints. People are split into their parts. */
export function instancesOf(frame: object): readonly Part[] {
  if (last?.frame === frame) return last.instances;
  const instances = Object.entries(results).flatMap(([kind, { list, members }]): Part[] => {
    const parts = Object.entries(members) as [keyof Person, string][];
    return listOf(frame, list).flatMap((found, number): Part[] =>
      parts.length
        ? parts.flatMap(([key, part]) => {
            const instance = found[key] as Instance | null | undefined;
            return instance ? [{ kind: part, number, instance, person: found }] : [];
          })
        : [{ kind, number, instance: found }],
    );
  });
  last = { frame, instances };
  return instances;
}

/** as the server describes it */
type Table = {
  keypoints: string[];
  connections: [number, number][];
  groups: Record<string, number[]>;
};
/**
 * `edges`: lines of the mesh between the keypoints; `single`: one colour for the complete skeleton
 */
export type Skeleton = Table & { colours: string[]; edges?: [number, number][]; single?: string };

export const { ink: INK, neutral: NEUTRAL, left: LEFT, right: RIGHT } = DRAWING.colours;

/** colours of fingers and contours */
const PARTS: Record<string, string> = { ...DRAWING.fingers, ...DRAWING.face_contours };
const MESH = "face_mediapipe_tesselation";
const MIN_MESH_KEYPOINTS = 100; // a skeleton with more keypoints is a face mesh

/** by name */
const skeletons: Map<string, Skeleton> = new Map();

/** @param instance instance of an answer */
export function skeletonOf({ skeleton: name }: { skeleton: string }): Skeleton {
  const skeleton = skeletons.get(name);
  if (!skeleton)
    throw new RangeError(`unknown skeleton ${name}; known: ${[...skeletons.keys()].join(", ")}`);
  return skeleton;
}

/** Return a skeleton in one colour. */
export const coloured = (skeleton: Skeleton, colour: string): Skeleton => ({
  ...skeleton,
  colours: skeleton.colours.map(() => colour),
  single: colour,
});

/** Return the colour of a line: that of its ends if they are equal. */
export function lineColour({ colours, groups, single }: Skeleton, a: number, b: number): string {
  if (single) return single;
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b))
    ? colours[a]!
    : NEUTRAL;
}

function colourOf({ keypoints, groups }: Table, k: number): string {
  const group = Object.keys(groups).find((name) => groups[name]!.includes(k) && name in PARTS);
  if (group) return PARTS[group]!;
  return /(?:^|_)left/.test(keypoints[k]!)
    ? LEFT
    : /(?:^|_)right/.test(keypoints[k]!)
      ? RIGHT
      : NEUTRAL;
}
