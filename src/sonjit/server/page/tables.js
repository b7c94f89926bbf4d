/** What was seen, frame by frame, as the tables that `sonjit KIND INPUT --save` writes. */

import { KINDS } from "./settings.js";
import { instancesOf } from "./skeletons.js";

const COLUMNS = ["frame", "time", "instance", "id", "kind", "handedness", "score", "keypoint", "name", "x", "y", "z", "x_m", "y_m", "z_m", "visibility"];
const EXTRA = ["gesture", "gesture_score"];
const LISTS = Object.values(KINDS).map(({ list }) => list);
const LINES_PER_BLOB = 200; // a browser keeps blobs outside the page's memory, so that a long run does not fill it

/** Frames since a start, kept as lines of JSON. */
export class Table {
  /** @type {Blob[]} */ #blobs = [];
  /** @type {string[]} */ #lines = [];
  /** @type {Record<string, unknown>} */ #header = {};
  #count = 0;
  #lastIndex = -1;

  /** Begin anew. @param {{source: string, detectors: {kind: string, model?: unknown}[]}} of */
  begin({ source, detectors }) {
    [this.#blobs, this.#lines, this.#count, this.#lastIndex] = [[], [], 0, -1];
    const [first] = detectors;
    const kind = KINDS[/** @type {keyof KINDS} */ (first?.kind)]?.list ?? "hands";
    const model = detectors.map((one) => `${one.kind}-${one.model}`).join("+");
    this.#header = { source, width: null, height: null, fps: null, model, ...(kind === "hands" ? {} : { kind }) };
  }

  get count() {
    return this.#count;
  }

  /**
   * One more frame; a still image that is looked at again takes the place of its last answer.
   *
   * @param {Record<string, any>} frame @param {{source?: string, index?: number}} [seen]
   */
  add(frame, { source, index = this.#lastIndex + 1 } = {}) {
    if (index === this.#lastIndex) this.#lines.pop();
    else this.#count += 1;
    this.#lastIndex = index;
    this.#header.width ??= frame.width;
    this.#header.height ??= frame.height;
    const lists = Object.fromEntries(LISTS.filter((list) => list in frame).map((list) => [list, frame[list].map(plain)]));
    const row = { index, time: source === undefined ? frame.time : null, ...(source === undefined ? {} : { source }), ...lists };
    this.#lines.push(JSON.stringify(row));
    if (this.#lines.length > LINES_PER_BLOB) {
      const last = /** @type {string} */ (this.#lines.pop());
      this.#blobs.push(new Blob([`${this.#lines.join("\n")}\n`]));
      this.#lines = [last];
    }
  }

  /** `{"source", …, "frames": […]}` */
  async json() {
    const lines = (await this.#all()).join(",\n");
    return new Blob([`${JSON.stringify(this.#header).slice(0, -1)},"frames":[\n${lines}\n]}\n`], { type: "application/json" });
  }

  /** A header line, then one frame a line. */
  async jsonLines() {
    const lines = [JSON.stringify(this.#header), ...(await this.#all())].join("\n");
    return new Blob([`${lines}\n`], { type: "application/x-ndjson" });
  }

  /** One row per frame, instance and keypoint. */
  async csv() {
    const lines = await this.#all();
    const withSource = lines.some((line) => "source" in JSON.parse(line));
    const columns = [...COLUMNS, ...(withSource ? ["source"] : []), ...EXTRA];
    const parts = [`${columns.join(",")}\r\n`];
    for (const line of lines) parts.push(rowsOf(JSON.parse(line), withSource));
    return new Blob(parts, { type: "text/csv" });
  }

  /** @returns {Promise<string[]>} */
  async #all() {
    const texts = await Promise.all(this.#blobs.map((blob) => blob.text()));
    return [...texts.flatMap((part) => part.trimEnd().split("\n")), ...this.#lines];
  }
}

/** Give a file to the reader. @param {Blob | null} blob @param {string} name */
export function save(blob, name) {
  if (!blob) return;
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A file's name that sorts by time. @param {string} ending */
export function nameNow(ending) {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000);
  return `sonjit-${now.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}${ending}`;
}

/** An instance without its mask and its map, which no table holds. @param {any} one @returns {any} */
function plain({ segmentation, map, ...one }) {
  return one.body ? { ...one, body: plain(one.body) } : one;
}

/** @param {Record<string, any>} frame @param {boolean} withSource */
function rowsOf(frame, withSource) {
  const source = withSource ? [frame.source] : [];
  const found = instancesOf(frame);
  if (!found.length) return rowOf([frame.index, frame.time, ...Array(COLUMNS.length - 2), ...source, ...EXTRA.map(() => null)]);
  return found.flatMap(({ kind, number, one }) => {
    const start = [frame.index, frame.time, number, one.id, kind, one.handedness, one.score];
    return one.keypoints.map((/** @type {any} */ point, /** @type {number} */ k) => {
      const world = one.keypoints3D?.[k] ?? {};
      const values = [point.x, point.y, point.z, world.x, world.y, world.z, point.score];
      return rowOf([...start, k, point.name, ...values, ...source, one.gesture?.name, one.gesture?.score]);
    });
  }).join("");
}

/** RFC 4180. @param {unknown[]} values */
function rowOf(values) {
  const cells = values.map((value) => {
    const words = String(value ?? "");
    return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  });
  return `${cells.join(",")}\r\n`;
}
