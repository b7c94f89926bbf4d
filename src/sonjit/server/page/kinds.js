/** Values that the page and Python share; `spec/README.md` describes them. */

import { addressOf, call, hasNoServer } from "./endpoints.js";

/** @param {string} name @returns {Promise<any>} */
const load = async (name) => (await fetch(new URL(name, import.meta.url))).json();

/** @type {[typeof import("../../spec/drawing.json"), typeof import("../../spec/results.json"), typeof import("../../spec/repetitions.json")]} */
export const [DRAWING, RESULTS, REPETITIONS] = /** @type {any} */ (await Promise.all(["./spec/drawing.json", "./spec/results.json", "./spec/repetitions.json"].map(load)));

/**
 * @typedef {{type: string, description: string, default?: any, enum?: string[], minimum?: number, maximum?: number}} Schema of an option
 * @typedef {{list: string, plural: string, models: string[], missing: Record<string, string[]>, max_instances: number,
 *   options: Record<string, Schema>, job_options: string[]}} Kind
 * @typedef {{key: string, columns?: string[], scores?: Record<string, string | null>}} Field
 * @typedef {{list: string, fields: Field[], members: Record<string, string>,
 *   skeletons: Record<string, Table>}} Result
 * @typedef {{kind: string, number: number, instance: any, person?: any}} Instance a part with its own keypoints
 */

/** Kinds of detectors by name; the first model of each is its default. @type {Record<string, Kind>} */
export let kinds = {};
/** Kinds that this page supports without a server, with their models and options. @type {Record<string, Kind>} */
export let kindsInPage = {};
/** Types of results by name. @type {Record<string, Result>} */
export let results = {};
/** Columns of row tables. @type {string[]} */
export let columns = [];
/** Names of the classes of photographs, if this page classifies without a server. @type {string[]} */
export let classes = [];
/** True if the server has an annotation project. */
export let annotates = false;

/** Load the kinds from the server or from the folder that `sonjit page` wrote. */
export async function loadKinds() {
  const answer = await call(hasNoServer ? new URL("./kinds.json", import.meta.url) : addressOf("/v1/kinds"));
  ({ kinds, in_page: kindsInPage, results, columns, classes = [], annotates = false } = /** @type {any} */ (answer));
  const { triangles } = /** @type {{triangles: number[][]}} */ (await load(`./skeletons/${MESH}.json`));
  const sides = triangles.flatMap(([a, b, c]) => [[a, b], [b, c], [c, a]].map(([p, q]) => Math.min(p, q) * 1000 + Math.max(p, q)));
  const edges = /** @type {[number, number][]} */ ([...new Set(sides)].map((side) => [Math.floor(side / 1000), side % 1000]));
  for (const [name, table] of Object.values(results).flatMap((result) => Object.entries(result.skeletons))) {
    const colours = table.keypoints.map((_, k) => colourOf(table, k));
    skeletons.set(name, { ...table, colours, ...(table.keypoints.length > MIN_MESH_KEYPOINTS ? { edges } : {}) });
  }
}

/** Return the kinds that are available. @param {boolean} here whether detectors run in this page */
export const kindsWhere = (here) => (here ? kindsInPage : kinds);

/** @type {{frame: Record<string, any>, instances: readonly Instance[]} | null} all views request the same frame */ let last = null;

/** Return all parts of a frame that have keypoints. People are split into their parts. @param {Record<string, any>} frame @returns {readonly Instance[]} */
export function instancesOf(frame) {
  if (last?.frame === frame) return last.instances;
  const instances = Object.entries(results).flatMap(([kind, { list, members }]) => {
    const parts = Object.entries(members);
    return (frame[list] ?? []).flatMap((/** @type {any} */ instance, /** @type {number} */ number) => parts.length
      ? parts.filter(([key]) => instance[key]).map(([key, part]) => ({ kind: part, number, instance: instance[key], person: instance }))
      : [{ kind, number, instance }]);
  });
  last = { frame, instances };
  return instances;
}

/**
 * @typedef {{keypoints: string[], connections: [number, number][], groups: Record<string, number[]>}} Table as the server describes it
 * @typedef {Table & {colours: string[], edges?: [number, number][], single?: string}} Skeleton `edges`: lines of the mesh between the keypoints;
 *   `single`: one colour for the complete skeleton
 */

export const { ink: INK, neutral: NEUTRAL, left: LEFT, right: RIGHT } = DRAWING.colours;

/** @type {Record<string, string>} colours of fingers and contours */
const PARTS = { ...DRAWING.fingers, ...DRAWING.face_contours };
const MESH = "face_mediapipe_tesselation";
const MIN_MESH_KEYPOINTS = 100; // a skeleton with more keypoints is a face mesh

/** @type {Map<string, Skeleton>} by name */
const skeletons = new Map();

/** @param {{skeleton: string}} instance instance of an answer @returns {Skeleton} */
export function skeletonOf({ skeleton: name }) {
  const skeleton = skeletons.get(name);
  if (!skeleton) throw new RangeError(`unknown skeleton ${name}; known: ${[...skeletons.keys()].join(", ")}`);
  return skeleton;
}

/** Return a skeleton in one colour. @param {Skeleton} skeleton @param {string} colour @returns {Skeleton} */
export const coloured = (skeleton, colour) => ({ ...skeleton, colours: skeleton.colours.map(() => colour), single: colour });

/** Return the colour of a line: that of its ends if they are equal. @param {Skeleton} skeleton @param {number} a @param {number} b */
export function lineColour({ colours, groups, single }, a, b) {
  if (single) return single;
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b)) ? colours[a] : NEUTRAL;
}

/** @param {Table} skeleton @param {number} k */
function colourOf({ keypoints, groups }, k) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k) && name in PARTS);
  if (group) return PARTS[group];
  return /(?:^|_)left/.test(keypoints[k]) ? LEFT : /(?:^|_)right/.test(keypoints[k]) ? RIGHT : NEUTRAL;
}
