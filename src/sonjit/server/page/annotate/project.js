/** The endpoints below /v1/annotate, as docs/annotation.md has them. */

import { ServerError, call, thisServer, tokenOfPage } from "../endpoints.js";

/** @typedef {{id: string, frame: number, view: string, joint: number, annotator?: string, state: string, x: number | null,
 *   y: number | null, source: string, version?: number}} Mark */
/** @typedef {{name: string, width: number, height: number, rotation: number[][], translation_m: number[], missing: number[]}} View */
/** @typedef {{name: string, frames: number[], views: View[], joints: string[], bones: [number, number][], annotators: string[],
 *   version: number}} Project */

const token = tokenOfPage(thisServer);

/** @param {string} path @param {Record<string, unknown>} [query] lists become several parameters */
function endpoint(path, query = {}) {
  const address = new URL(`/v1/annotate${path}`, thisServer);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined) address.searchParams.append(name, String(one));
    }
  }
  return address;
}

/** @returns {Promise<any>} */
export const getProject = () => call(endpoint(""), token);

/** @param {number} frame @param {Record<string, unknown>} query @returns {Promise<any>} */
export const getFrame = (frame, query) => call(endpoint(`/frames/${frame}`, query), token);

/** @param {string} annotator @param {object[]} marks @param {Record<string, unknown>} query @returns {Promise<any>} */
export const postMarks = (annotator, marks, query) =>
  call(endpoint("/marks", query), token, { method: "POST", body: JSON.stringify({ annotator, marks }) });

/** @param {Record<string, unknown>} query @returns {Promise<any>} */
export const prelabel = (query) => call(endpoint("/prelabel", query), token, { method: "POST" });

/** @returns {Promise<any>} */
export const getProgress = () => call(endpoint("/progress"), token);

/** @param {number} since @returns {Promise<any>} */
export const getChanges = (since) => call(endpoint("/changes", { since }), token);

/** @returns {Promise<any>} */
export const getAgreement = () => call(endpoint("/agreement"), token);

/**
 * One image, or `region` x, y, width, height of it.
 *
 * @param {string} view @param {number} frame @param {number} longest pixels @param {number[]} [region]
 * @returns {Promise<ImageBitmap>}
 */
export async function getImage(view, frame, longest, region) {
  const address = endpoint("/image", { view, frame, longest, region: region?.join(",") });
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  let answer;
  try {
    answer = await fetch(address, { headers });
  } catch {
    throw new ServerError("gone", `No answer from ${thisServer}`);
  }
  if (answer.ok) return createImageBitmap(await answer.blob());
  const { error } = await answer.json();
  throw new ServerError(error.code, error.message);
}
