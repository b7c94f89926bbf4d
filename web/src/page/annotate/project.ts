/** The endpoints under /v1/annotate (see docs/annotation.md). */

import { memory } from "../common.js";
import { addressOf, call, responseOf, ServerError, withQuery } from "../endpoints.js";

export type MarkState = "seen" | "occluded" | "uncertain" | "absent" | "cleared";
export type MarkSource = "H" | "M" | "H+M";
export type Mark = {
  id: string;
  frame: number;
  view: string;
  joint: number;
  annotator?: string;
  state: MarkState;
  x: number | null;
  y: number | null;
  source: MarkSource;
  version?: number;
  /** version on the server when this mark was made */
  base?: number;
};
export type StoredMark = Mark & { annotator: string; version: number };
export type View = {
  name: string;
  width: number;
  height: number;
  rotation: number[][];
  translation_m: number[];
  missing: number[];
};
/** pixels of an image */
type Point = [number, number];
/** metres */
export type Point3D = [number, number, number];
export type Project = {
  name: string;
  frames: number[];
  views: View[];
  joints: string[];
  bones: [number, number][];
  annotators: string[];
  version: number;
};
type Conflict = { view: string; joint: number; annotators: string[]; apart_px: number | null };
type BoneWarning = {
  bone: [number, number];
  length_mm: number;
  expected_mm: number;
  against: "frames" | "anatomy";
};
/**
 * One frame set as an annotator sees it; `points_m` and `sigma_mm` by joint, `projected` and
 * `residuals_px` by view and joint.
 */
export type FrameState = {
  frame: number;
  version: number;
  marks: StoredMark[];
  others: StoredMark[];
  machine: StoredMark[];
  conflicts: Conflict[];
  points_m: (Point3D | null)[];
  sigma_mm: (number | null)[];
  projected: Record<string, (Point | null)[]>;
  residuals_px: Record<string, (number | null)[]>;
  lines: Record<string, Point[]>;
  bones: BoneWarning[];
};
type Need = { score: number; why: string };
/** By frame: `frames` known joints, and `joints` that complete a frame with marks. */
export type Progress = {
  version: number;
  joints: Record<string, number>;
  frames: Record<string, number>;
  needs: Record<string, Need>;
};
type MarkAnswer = {
  written: { id: string; version: number }[];
  refused: { id: string; there: StoredMark }[];
  state: FrameState;
};
export type Changes = { version: number; frames: Record<string, string[]> };
export type Distances = {
  pairs: number;
  mean_px: number | null;
  median_px: number | null;
  p95_px: number | null;
  within: Record<string, number>;
};
export type Agreement = {
  thresholds_px: number[];
  all: Distances;
  joints: Record<string, Distances>;
  annotators: Record<string, Distances>;
};

/** @param query lists become several parameters */
const endpoint = (path: string, query: Record<string, unknown> = {}) =>
  withQuery(addressOf(`/v1/annotate${path}`), query);

/** Call an endpoint. */
export const ask = <T>(
  path: string,
  query?: Record<string, unknown>,
  request?: RequestInit,
): Promise<T> => call<T>(endpoint(path, query), null, request);

/**
 * Return an image as a file.
 *
 * @param longest pixels
 */
export const getImage = async (view: string, frame: number, longest: number) =>
  (await responseOf(endpoint("/image", { view, frame, longest }))).blob();

const AT_ONCE = 500;
const AGAIN_MS = 1500;

/** Return the position of a mark; null without one. */
export const spotOf = (mark: { x: number | null; y: number | null } | undefined): Point | null =>
  mark?.x == null || mark.y === null ? null : [mark.x, mark.y];

export const placeOf = ({ frame, view, joint }: { frame: number; view: string; joint: number }) =>
  `${frame} ${joint} ${view}`;

/** Check whether all joints of a frame's annotated hands are known. */
export const isComplete = ({ frames, joints }: Progress, frame: number) =>
  frame in joints && (frames[frame] ?? 0) >= joints[frame]!;

/** Return the marks of an annotator that the server has not confirmed, and send them. */
export function outboxOf(
  project: string,
  annotator: string,
  on: {
    answer: (state: FrameState) => void;
    refused: (refused: MarkAnswer["refused"]) => void;
    error: (error: unknown, lost: boolean) => void;
    changed: () => void;
    query: (frame: number) => Record<string, unknown>;
  },
) {
  const name = `annotate.unsent.${project}.${annotator}`;
  /** unsent marks by key; a newer mark replaces an older one */
  const stored = memory.read<Mark[]>(name) ?? [];
  const waiting = new Map(stored.map((mark) => [placeOf(mark), mark]));
  let sent: Mark[] = [];
  /** versions on the server by key */
  const versions: Map<string, number> = new Map();
  let running = false;

  function add(marks: Mark[]) {
    for (const mark of marks) {
      waiting.delete(placeOf(mark));
      waiting.set(placeOf(mark), { ...mark, base: versions.get(placeOf(mark)) ?? 0 });
    }
    keep();
    void run();
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

  /** @returns null if the server refuses them */
  async function send(marks: Mark[]): Promise<MarkAnswer | null> {
    const based = marks.map((mark) => ({
      ...mark,
      base: versions.get(placeOf(mark)) ?? mark.base ?? 0,
    }));
    const query = { ...on.query(marks[marks.length - 1]!.frame), annotator };
    for (;;) {
      try {
        const answer: MarkAnswer = await ask("/marks", query, {
          method: "POST",
          body: JSON.stringify({ annotator, marks: based }),
        });
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

  void run();
  return {
    add,
    /** Return the unconfirmed marks of a frame. */
    pending: (frame: number): Mark[] =>
      [...sent, ...waiting.values()].filter((mark) => mark.frame === frame),
    /**
     * Store the versions on the server.
     *
     * @param marks of this annotator
     */
    learn: (marks: Mark[]) =>
      marks.forEach((mark) => versions.set(placeOf(mark), mark.version ?? 0)),
    count: () => waiting.size + sent.length,
  };
}
