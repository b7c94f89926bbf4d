/** Tables of the processed frames, in the format of `sonjit KIND INPUT --save`. */

import { make, onLanguage, PageError, text } from "./common.js";
import {
  columns,
  instancesOf,
  kinds,
  listOf,
  results,
  type Box,
  type Frame,
  type FrameEvent,
  type Instance,
} from "./kinds.js";
import type { Overlay } from "./overlay.js";

const EXTRA = ["gesture", "gesture_score"];
const ERROR = "error_px"; // only of tables with refined hands
const OPTIONAL = ["blendshapes", "transform", "distanceM"]; // members that options add to instances
const INSTANCE_COLUMNS = [
  "source",
  "frame",
  "time",
  "instance",
  "key",
  "id",
  "kind",
  "handedness",
  "score",
  "x_min",
  "y_min",
  "x_max",
  "y_max",
];
const EVENT_COLUMNS = [
  "source",
  "frame",
  "name",
  "type",
  "id",
  "handedness",
  "begin",
  "end",
  "duration_s",
  "value",
  "phase",
];
const PART_LENGTH = 240_000; // characters of a blob; browsers store blobs outside the page's memory

/** a line of a table */
type Row = { index: number; time: number | null; source?: string; events?: FrameEvent[] };

/** Frames of a run as lines of JSON. */
export class Table {
  #blobs: Blob[] = [];
  /** Lines of a stream that are not in a blob yet. */ #part = "";
  /** lines of still images by index, because users return to them */
  #stills: Map<number, string> = new Map();
  #header: Record<string, unknown> = {};
  count = 0;

  /** Start a new table. */
  begin({ source, detectors }: { source: string; detectors: { kind: string; model?: unknown }[] }) {
    [this.#blobs, this.#part, this.#stills, this.count] = [[], "", new Map(), 0];
    const [first] = detectors;
    const kind = kinds[first?.kind ?? ""]?.list ?? "hands";
    const model = detectors.map((detector) => `${detector.kind}-${detector.model}`).join("+");
    this.#header = {
      source,
      width: null,
      height: null,
      fps: null,
      model,
      ...(kind === "hands" ? {} : { kind }),
    };
  }

  /** Add a frame. A still image that is processed again replaces its earlier answer. */
  add(
    frame: Frame,
    {
      source,
      index = this.count,
    }: { source?: string | undefined; index?: number | undefined } = {},
  ) {
    if (!this.#stills.has(index)) this.count += 1;
    this.#header.width ??= frame.width;
    this.#header.height ??= frame.height;
    const row: Record<string, unknown> =
      source === undefined ? { index, time: frame.time } : { index, time: null, source };
    for (const { list, members } of Object.values(results)) {
      if (list in frame)
        row[list] = listOf(frame, list).map((one) => plain(one, Object.keys(members)));
    }
    if (frame.events?.length) row.events = frame.events;
    const line = JSON.stringify(row);
    if (source !== undefined) this.#stills.set(index, line);
    else {
      if (this.#part.length >= PART_LENGTH) {
        this.#blobs.push(new Blob([this.#part]));
        this.#part = "";
      }
      this.#part += `${line}\n`;
    }
  }

  /** Add the events that end with the stream to its last frame. */
  end(events: FrameEvent[]) {
    if (!events.length || !this.#part) return;
    const start = this.#part.lastIndexOf("\n", this.#part.length - 2) + 1;
    const row = JSON.parse(this.#part.slice(start)) as Row;
    row.events = [...(row.events ?? []), ...events];
    this.#part = `${this.#part.slice(0, start)}${JSON.stringify(row)}\n`;
  }

  /** `{"source", …, "frames": […]}` */
  async json() {
    const lines = (await this.#all()).join(",\n");
    return new Blob([`${JSON.stringify(this.#header).slice(0, -1)},"frames":[\n${lines}\n]}\n`], {
      type: "application/json",
    });
  }

  /** Return a header line and one line per frame. */
  async jsonLines() {
    const lines = [JSON.stringify(this.#header), ...(await this.#all())].join("\n");
    return new Blob([`${lines}\n`], { type: "application/x-ndjson" });
  }

  /**
   * Return a table.
   *
   * @param rows what a row describes: `keypoint`, `instance`, `wide` for an instance with a column
   *   per keypoint and axis, or `event` for an event that ended
   */
  async csv(rows: string = "keypoint") {
    const lines = await this.#all();
    if (rows !== "keypoint")
      return csvOf(
        lines.map((line) => JSON.parse(line)),
        rows,
      );
    const withSource = lines.some((line) => "source" in JSON.parse(line));
    const withError = lines.some((line) => line.includes('"errorPx"'));
    const names = [
      ...columns,
      ...(withError ? [ERROR] : []),
      ...(withSource ? ["source"] : []),
      ...EXTRA,
      ...optionalColumns(lines),
    ];
    return new Blob([rowOf(names), ...lines.map((line) => rowsOf(JSON.parse(line), names))], {
      type: "text/csv",
    });
  }

  async #all(): Promise<string[]> {
    const newest = this.#part; // before the others are read
    const texts = await Promise.all(this.#blobs.map((blob) => blob.text()));
    const stills = [...this.#stills].sort(([a], [b]) => a - b).map(([, line]) => line);
    return [...[...texts, newest].flatMap((part) => part.split("\n").slice(0, -1)), ...stills];
  }
}

/** Return a file name that sorts by time. */
export function nameNow(ending: string) {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000);
  return `sonjit-${now.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}${ending}`;
}

/**
 * Return an instance without members that tables omit.
 *
 * @param members its parts
 */
function plain(given: object, members: string[]): Record<string, unknown> {
  const { skeleton, segmentation, map, ...kept } = given as Record<string, unknown>;
  for (const key of members) if (kept[key]) kept[key] = plain(kept[key], []);
  return kept;
}

/** Return the columns of the options that some lines have. */
function optionalColumns(lines: readonly string[]): Set<string> {
  const names = new Set<string>();
  for (const line of lines.filter((content) =>
    OPTIONAL.some((key) => content.includes(`"${key}":`)),
  ))
    for (const { instance } of instancesOf(JSON.parse(line)))
      for (const name of Object.keys(optionalValues(instance))) names.add(name);
  return names;
}

/** Return expressions, head pose and distance of an instance by column, if options requested them. */
function optionalValues(instance: Instance): Record<string, unknown> {
  const { blendshapes, transform, distanceM, distanceErrorM } = instance;
  const numbers = (transform ?? []).flatMap((row, i) =>
    row.map((value, k) => [`transform_${i}${k}`, value]),
  );
  return {
    ...blendshapes,
    ...Object.fromEntries(numbers),
    ...(distanceM === undefined ? {} : { distance_m: distanceM, distance_error_m: distanceErrorM }),
  };
}

/**
 * Return a row per keypoint.
 *
 * @param names of the columns
 */
function rowsOf(frame: Row, names: string[]) {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const rows = instancesOf(frame).flatMap(({ kind, number, instance }) => {
    const { id, handedness, score, gesture } = instance;
    const own = {
      ...shared,
      instance: number,
      id,
      kind,
      handedness,
      score,
      gesture: gesture?.name,
      gesture_score: gesture?.score,
      ...optionalValues(instance),
    };
    return instance.keypoints.map(({ name }, keypoint) => ({
      ...own,
      ...valuesOf(kind, instance, keypoint),
      keypoint,
      name,
    }));
  });
  return linesOf(rows.length ? rows : [shared], names);
}

/** @param names of the columns */
const linesOf = (records: Record<string, unknown>[], names: string[]) =>
  records.map((record) => rowOf(names.map((name) => record[name]))).join("");

/** Return a table of instances or events, with a column for each value that occurs. */
function csvOf(frames: Row[], rows: string) {
  const isOfEvents = rows === "event";
  const eventsOf = ({ source, index, events = [] }: Row) =>
    events
      .filter(({ end }) => end !== null)
      .map((event) => ({
        source,
        frame: index,
        ...event,
        duration_s: (event.end ?? event.begin) - event.begin,
      }));
  const records = frames.flatMap((frame) =>
    isOfEvents ? eventsOf(frame) : recordsOf(frame, rows === "wide"),
  );
  const first = isOfEvents ? EVENT_COLUMNS : INSTANCE_COLUMNS;
  const names = [...new Set([...first, ...records.flatMap(Object.keys)])].filter(
    (name) => name !== "source" || records.some(({ source }) => source !== undefined),
  );
  return new Blob([rowOf(names), linesOf(records, names)], { type: "text/csv" });
}

function recordsOf(frame: Row, withKeypoints: boolean): Record<string, unknown>[] {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const found = instancesOf(frame).map(({ kind, number, instance, person }) => {
    const { handedness, score, gesture, measures, box } = instance;
    const { xMin, yMin, xMax, yMax }: Partial<Box> = box ?? {};
    const id = instance.id ?? person?.id;
    const record = {
      ...shared,
      instance: number,
      key: id ?? number,
      id,
      kind,
      handedness,
      score,
      x_min: xMin,
      y_min: yMin,
      x_max: xMax,
      y_max: yMax,
    };
    const named =
      gesture === undefined ? {} : { gesture: gesture?.name, gesture_score: gesture?.score };
    const names: (string | undefined)[] = instance.keypoints.map(({ name }) => name);
    const labels = names.map((name, k) =>
      name && names.indexOf(name) === names.lastIndexOf(name) ? name : `${name || "point"}_${k}`,
    );
    const columnsOf = (label: string, k: number) =>
      Object.entries(valuesOf(kind, instance, k)).map(([axis, value]) => [
        `${label}_${axis}`,
        value,
      ]);
    return {
      ...record,
      ...named,
      ...measures,
      ...optionalValues(instance),
      ...Object.fromEntries(withKeypoints ? labels.flatMap(columnsOf) : []),
    };
  });
  return found.length ? found : [shared];
}

/** Return the values of a keypoint by table column. */
function valuesOf(kind: string, instance: Instance, k: number): Record<string, unknown> {
  const pointsOf = (key: string) =>
    (instance as unknown as Record<string, Record<string, unknown>[] | undefined>)[key];
  const fields = results[kind]!.fields.filter(
    ({ key, columns: filled }) => filled?.length && pointsOf(key)?.[k],
  );
  return Object.assign(
    {},
    ...fields.map(({ key, columns: filled = [], scores = {} }) => {
      const point = pointsOf(key)![k]!;
      const known = Object.entries(scores).filter(([score, column]) => column && score in point);
      const scored = known.map(([score, column]) => [column, point[score]]);
      return Object.fromEntries([
        ...filled.map((column, axis) => [column, point["xyz"[axis]!]]),
        ...scored,
      ]);
    }),
  );
}

/** RFC 4180. */
function rowOf(values: unknown[]) {
  const cells = values.map((value) => {
    const content = String(value ?? "");
    return /[",\r\n]/.test(content) ? `"${content.replaceAll('"', '""')}"` : content;
  });
  return `${cells.join(",")}\r\n`;
}

const FORMATS = [
  ["video/webm;codecs=vp9", "webm"],
  ["video/webm;codecs=vp8", "webm"],
  ["video/webm", "webm"],
  ["video/mp4", "mp4"],
] as const;
const BITS_PER_PX_S = 6;

/** files of a recording and its length */
type Recorded = { files: { ending: string; blob: Blob }[]; frames: number; seconds: number };

/** Return a recorder of a view and its tables. */
export function recorderOf(overlay: Overlay) {
  const canvas = make("canvas");
  let media: MediaRecorder | null = null;
  let parts: Blob[] = [];
  const table = new Table();
  let ending = "";
  let began = 0; // performance.now()

  function start(of: { source: string; detectors: { kind: string }[] }) {
    const format = FORMATS.find(([type]) => globalThis.MediaRecorder?.isTypeSupported(type));
    if (!format) throw new PageError("no_recorder");
    ending = format[1];
    overlay.compose(canvas); // it determines the size of the video
    table.begin(of);
    parts = [];
    const { width, height } = canvas;
    const options = { mimeType: format[0], videoBitsPerSecond: width * height * BITS_PER_PX_S };
    media = new MediaRecorder(canvas.captureStream(0), options);
    media.ondataavailable = ({ data }) => parts.push(data);
    media.start(1000);
    began = performance.now();
  }

  /** Add the current frame. */
  function add(frame: Frame, seen: object) {
    if (!media) return;
    overlay.compose(canvas);
    const [track] = media.stream.getVideoTracks();
    (track as CanvasCaptureMediaStreamTrack).requestFrame();
    table.add(frame, seen);
  }

  /**
   * @param events that end with the stream
   * @returns video and tables; null without frames
   */
  async function stop(events: FrameEvent[]): Promise<Recorded | null> {
    const ended = media;
    if (!ended) return null;
    media = null;
    const seconds = (performance.now() - began) / 1000;
    await new Promise((resolve) => {
      ended.onstop = resolve;
      ended.stop();
    });
    for (const track of ended.stream.getTracks()) track.stop();
    const frames = table.count;
    if (!frames) return null;
    table.end(events);
    const files = [
      { ending, blob: new Blob(parts, { type: ended.mimeType }) },
      { ending: "jsonl", blob: await table.jsonLines() },
      { ending: "csv", blob: await table.csv() },
    ];
    return { files, frames, seconds };
  }

  return { start, add, stop, isOn: () => media !== null };
}

/** Add links to the files of a recording. */
export function listRecording(
  list: HTMLElement,
  { files, frames, seconds }: Recorded,
  name: string,
) {
  const title = make("span");
  const links = files.map(({ ending, blob }) =>
    make("a", {
      className: "button small",
      href: URL.createObjectURL(blob),
      download: `${name}.${ending}`,
    }),
  );
  onLanguage(() => {
    title.textContent = text("recording.made", { seconds: seconds.toFixed(1), frames });
    files.forEach(({ ending }, k) => (links[k]!.textContent = text(`recording.${ending}`)));
  });
  list.prepend(make("li", {}, title, ...links));
  list.hidden = false;
}
