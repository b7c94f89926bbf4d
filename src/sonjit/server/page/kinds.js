/** Kinds of detectors and types of results from `GET /v1/kinds`, for this server and for this page. */

import { call, hasNoServer, thisServer } from "./endpoints.js";
import { addSkeletons } from "./skeletons.js";

/**
 * @typedef {{type: string, description: string, default?: any, enum?: string[], minimum?: number, maximum?: number}} Schema of an option
 * @typedef {{list: string, plural: string, models: string[], missing: Record<string, string[]>, max_instances: number,
 *   options: Record<string, Schema>, job_options: string[]}} Kind
 * @typedef {{key: string, columns?: string[], scores?: Record<string, string | null>}} Field
 * @typedef {{list: string, fields: Field[], members: Record<string, string>,
 *   skeletons: Record<string, import("./skeletons.js").Table>}} Result
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
/** True if the server has an annotation project. */
export let annotates = false;

/** Load the kinds from the server or from the folder that `sonjit page` wrote. */
export async function loadKinds() {
  const address = hasNoServer ? new URL("./kinds.json", import.meta.url) : new URL("/v1/kinds", thisServer);
  const answer = await call(address);
  ({ kinds, in_page: kindsInPage, results, columns, annotates = false } = /** @type {any} */ (answer));
  await addSkeletons(Object.assign({}, ...Object.values(results).map(({ skeletons }) => skeletons)));
}

/** Return the kinds that are available. @param {boolean} here whether detectors run in this page */
export const kindsWhere = (here) => (here ? kindsInPage : kinds);

/** @type {{frame: Record<string, any>, instances: readonly Instance[]} | null} all views request the same frame */ let last = null;

/**
 * Return all parts of a frame that have keypoints. People are split into their parts.
 *
 * @param {Record<string, any>} frame
 * @returns {readonly Instance[]}
 */
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
