/** The endpoints under /v1/annotate (see docs/annotation.md). */

import { memory } from "../common.js";
import { addressOf, call, responseOf, ServerError, withQuery } from "../endpoints.js";

/** @typedef {"seen" | "occluded" | "uncertain" | "absent" | "cleared"} MarkState */
/** @typedef {"H" | "M" | "H+M"} MarkSource */
/** @typedef {{id: string, frame: number, view: string, joint: number, annotator?: string, state: MarkState, x: number | null,
 *   y: number | null, source: MarkSource, version?: number}} Mark */
/** @typedef {Mark & {annotator: string, version: number}} StoredMark */
/** @typedef {{name: string, width: number, height: number, rotation: number[][], translation_m: number[], missing: number[]}} View */
/** @typedef {[number, number]} Point pixels of an image */
/** @typedef {[number, number, number]} Point3D metres */
/** @typedef {{name: string, frames: number[], views: View[], joints: string[], bones: [number, number][], annotators: string[],
 *   version: number}} Project */
/** @typedef {{view: string, joint: number, annotators: string[], apart_px: number | null}} Conflict */
/** @typedef {{bone: [number, number], length_mm: number, expected_mm: number, against: "frames" | "anatomy"}} BoneWarning */
/**
 * One frame set as an annotator sees it; `points_m` and `sigma_mm` by joint, `projected` and `residuals_px` by view and joint.
 *
 * @typedef {{frame: number, version: number, marks: StoredMark[], others: StoredMark[], machine: StoredMark[], conflicts: Conflict[],
 *   points_m: (Point3D | null)[], sigma_mm: (number | null)[], projected: Record<string, (Point | null)[]>,
 *   residuals_px: Record<string, (number | null)[]>, lines: Record<string, Point[]>, bones: BoneWarning[]}} FrameState
 */
/** @typedef {{score: number, why: string}} Need */
/** @typedef {{version: number, joints: number, frames: Record<string, number>, needs: Record<string, Need>}} Progress */
/** @typedef {{written: {id: string, version: number}[], refused: {id: string, there: StoredMark}[], state: FrameState}} MarkAnswer */
/** @typedef {{version: number, frames: Record<string, string[]>}} Changes */
/** @typedef {{pairs: number, mean_px: number | null, median_px: number | null, p95_px: number | null,
 *   within: Record<string, number>}} Distances */
/** @typedef {{thresholds_px: number[], all: Distances, joints: Record<string, Distances>, annotators: Record<string, Distances>}} Agreement */

/** @param {string} path @param {Record<string, unknown>} [query] lists become several parameters */
const endpoint = (path, query = {}) => withQuery(addressOf(`/v1/annotate${path}`), query);

/** Call an endpoint. @param {string} path @param {Record<string, unknown>} [query] @param {RequestInit} [request] @returns {Promise<any>} */
export const ask = (path, query, request) => call(endpoint(path, query), null, request);

/** Return an image as a file. @param {string} view @param {number} frame @param {number} longest pixels */
export const getImage = async (view, frame, longest) => (await responseOf(endpoint("/image", { view, frame, longest }))).blob();

const AT_ONCE = 500;
const AGAIN_MS = 1500;

/** Return the position of a mark; null without one. @param {{x: number | null, y: number | null} | undefined} mark @returns {Point | null} */
export const spotOf = (mark) => (mark?.x == null || mark.y === null ? null : [mark.x, mark.y]);

/** @param {{frame: number, view: string, joint: number}} mark */
export const placeOf = ({ frame, view, joint }) => `${frame} ${joint} ${view}`;

/**
 * Return the marks that the server has not confirmed.
 *
 * @param {{answer: (state: FrameState) => void, refused: (refused: MarkAnswer["refused"]) => void,
 *   error: (error: unknown, lost: boolean) => void,
 *   changed: () => void, query: (frame: number) => Record<string, unknown>}} on
 */
export function outboxOf(on) {
  /** @type {Map<string, Mark>} unsent marks by key; a newer mark replaces an older one */ const waiting = new Map();
  /** @type {Mark[]} */ let sent = [];
  /** @type {Map<string, number>} versions on the server by key */ const versions = new Map();
  let annotator = "";
  let name = "";
  let running = false;

  /** Start as an annotator, and send stored marks. @param {string} project @param {string} person */
  function open(project, person) {
    annotator = person;
    name = `annotate.unsent.${project}.${annotator}`;
    waiting.clear();
    for (const mark of memory.read(name) ?? []) waiting.set(placeOf(mark), mark);
    run();
  }

  /** @param {Mark[]} marks */
  function add(marks) {
    for (const mark of marks) {
      waiting.delete(placeOf(mark));
      waiting.set(placeOf(mark), mark);
    }
    keep();
    run();
  }

  function keep() {
    memory.write(name, [...sent, ...waiting.values()]);
    on.changed();
  }

  async function run() {
    if (running) return;
    running = true;
    while (waiting.size) {
      const marks = [...waiting.values()].slice(0, AT_ONCE);
      sent = marks;
      for (const mark of marks) waiting.delete(placeOf(mark));
      const answer = await send(marks);
      sent = [];
      keep();
      if (answer) on.answer(answer.state);
    }
    running = false;
  }

  /** @param {Mark[]} marks @returns {Promise<MarkAnswer | null>} null if the server refuses them */
  async function send(marks) {
    const based = marks.map((mark) => ({ ...mark, base: versions.get(placeOf(mark)) ?? 0 }));
    const query = on.query(marks[marks.length - 1].frame);
    for (;;) {
      try {
        /** @type {MarkAnswer} */ const answer = await ask("/marks", query, { method: "POST", body: JSON.stringify({ annotator, marks: based }) });
        const places = new Map(marks.map((mark) => [mark.id, placeOf(mark)]));
        for (const { id, version } of answer.written) versions.set(places.get(id) ?? "", version);
        for (const { there } of answer.refused) versions.set(placeOf(there), there.version);
        if (answer.refused.length) on.refused(answer.refused);
        return answer;
      } catch (error) {
        const lost = error instanceof ServerError && error.code === "bad_option";
        on.error(error, lost);
        if (lost) return null;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  return {
    open,
    add,
    /** Return the unconfirmed marks of a frame. @param {number} frame @returns {Mark[]} */
    pending: (frame) => [...sent, ...waiting.values()].filter((mark) => mark.frame === frame),
    /** Store the versions on the server. @param {Mark[]} marks of this annotator */
    learn: (marks) => marks.forEach((mark) => versions.set(placeOf(mark), mark.version ?? 0)),
    count: () => waiting.size + sent.length,
  };
}
