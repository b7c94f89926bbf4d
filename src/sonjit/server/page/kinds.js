/** What can be found, by this server and by this page itself, from `GET /v1/kinds`: kinds of detectors, types of results and their skeletons. */

import { call, hasNoServer, thisServer } from "./endpoints.js";
import { addSkeletons } from "./skeletons.js";

/**
 * @typedef {{type: string, description: string, default?: any, enum?: string[], minimum?: number, maximum?: number}} Schema of an option
 * @typedef {{list: string, plural: string, models: string[], missing: Record<string, string[]>, max_instances: number,
 *   options: Record<string, Schema>, job_options: string[]}} Kind
 * @typedef {{key: string, columns?: string[], scores?: Record<string, string | null>}} Field
 * @typedef {{list: string, fields: Field[], members: Record<string, string>,
 *   skeletons: Record<string, import("./skeletons.js").Table>}} Result
 * @typedef {{kind: string, number: number, one: any, person?: any}} Instance something with keypoints of its own
 */

/** Kinds of detectors by name; the first model of each is its default. @type {Record<string, Kind>} */
export let kinds = {};
/** Those that this page can find itself, with what it has of their models and options. @type {Record<string, Kind>} */
export let kindsInPage = {};
/** Types of results by name. @type {Record<string, Result>} */
export let results = {};
/** Columns of row tables. @type {string[]} */
export let columns = [];
/** The server has a project's annotation page. */
export let annotates = false;

/** Ask the server, or the folder that `sonjit page` wrote, once. */
export async function loadKinds() {
  const place = hasNoServer ? new URL("./kinds.json", import.meta.url) : new URL("/v1/kinds", thisServer);
  const answer = await call(place);
  ({ kinds, in_page: kindsInPage, results, columns, annotates = false } = /** @type {any} */ (answer));
  await addSkeletons(Object.assign({}, ...Object.values(results).map(({ skeletons }) => skeletons)));
}

/** The kinds that can be found where it is computed. @param {boolean} here in this page, not on the server */
export const kindsWhere = (here) => (here ? kindsInPage : kinds);

/** @type {{frame: Record<string, any>, instances: readonly Instance[]} | null} views ask one after the other */ let last = null;

/**
 * Everything with keypoints of its own in a frame: people by their parts.
 *
 * @param {Record<string, any>} frame
 * @returns {readonly Instance[]}
 */
export function instancesOf(frame) {
  if (last?.frame === frame) return last.instances;
  const instances = Object.entries(results).flatMap(([kind, { list, members }]) => {
    const parts = Object.entries(members);
    return (frame[list] ?? []).flatMap((/** @type {any} */ one, /** @type {number} */ number) => parts.length
      ? parts.filter(([key]) => one[key]).map(([key, part]) => ({ kind: part, number, one: one[key], person: one }))
      : [{ kind, number, one }]);
  });
  last = { frame, instances };
  return instances;
}
