/** Options of a detector, checked by the records that Python has of them. */

import { KINDS, type KindRecord, type OptionRecord } from "./data.js";
import type { Smoothing } from "./smoothing.js";

export type OptionValue = boolean | number | string | null | undefined;

/** A detector's options as they are given; names and bounds are those of `sonjit.create_detector`. */
export interface DetectorOptions {
  readonly model?: string;
  readonly max_instances?: number;
  readonly mirrored?: boolean;
  readonly flip_horizontal?: boolean;
  readonly smoothing?: Smoothing;
  readonly min_detection_score?: number;
  readonly min_presence_score?: number;
  readonly search_interval?: number;
  readonly search?: "fast" | "auto" | "thorough";
  readonly segmentation?: boolean;
  readonly smooth_segmentation?: boolean;
  /** Of hands: `canned` for the shipped ones, `asl` for the letters of a manual alphabet before these. */
  readonly gestures?: "none" | "canned" | "asl";
  /** Of faces; both need MediaPipe's `face_landmarker.task`. */
  readonly blendshapes?: boolean;
  readonly transform?: boolean;
}

/** The same, filled in. */
export type Settings = Required<DetectorOptions> & { readonly kind: string };

const LEFT_TO_THE_CALL = ["static_image"];
/** Whether an option's value asks for what only a server computes. */
const isBeyondTheBrowser = (name: string, option: string, value: OptionValue) =>
  (option === "search" && value === "thorough" && name === "holistic") || // of streams; images have it by default
  (option === "visibility" && value === true) ||
  (option === "blendshapes" && value === true && name !== "face");
const BUNDLE_MODEL = "attention";

/** The record of a kind. */
export function kindOf(name: string): KindRecord {
  const kind = KINDS[name];
  if (!kind) throw new Error(`unknown kind ${JSON.stringify(name)}; in the browser: ${Object.keys(KINDS).join(", ")}`);
  return kind;
}

/** Options filled in with the defaults of the kind and its model. */
export function settingsOf(name: string, given: Readonly<Record<string, OptionValue>>): Settings {
  const kind = kindOf(name);
  const known = Object.values(kind.options).filter((one) => !LEFT_TO_THE_CALL.includes(one.name));
  const all: Record<string, OptionValue> = {};
  for (const one of known) all[one.name] = one.default;
  for (const [option, value] of Object.entries(given)) {
    const record = known.find((one) => one.name === option);
    if (!record) throw new Error(`${name} has no option ${option}; known: ${known.map((one) => one.name).join(", ")}`);
    if (value === null || value === undefined) continue;
    if (isBeyondTheBrowser(name, option, value)) {
      throw new Error(`${option}=${JSON.stringify(value)} runs on a Sonjit server only; leave it out here`);
    }
    if (!isAllowed(record, value)) throw new Error(`${option}=${JSON.stringify(value)}: give ${wanted(record)}`);
    all[option] = value;
  }
  const ofBundle = ["blendshapes", "transform"].find((option) => all[option]);
  if (ofBundle && all.model !== BUNDLE_MODEL) {
    throw new Error(`${ofBundle}=true with model=${JSON.stringify(all.model)}: face_landmarker.task has networks of its own; leave model out`);
  }
  if (all.search === "thorough" && !kind.models[String(all.model)]!.landmark) {
    throw new Error(`search="thorough": ${name} ${all.model} has none for streams; leave it out`);
  }
  all.max_instances ??= kind.max_instances;
  all.min_detection_score ??= kind.min_detection_score[String(all.model)]!;
  all.smoothing ??= "published";
  return { ...all, kind: name } as unknown as Settings; // every option of the kind is filled in and checked
}

function isAllowed({ type, choices, minimum, maximum }: OptionRecord, value: OptionValue): boolean {
  if (type === "boolean") return typeof value === "boolean";
  if (type === "string") return typeof value === "string" && (!choices.length || choices.includes(value));
  if (typeof value !== "number" || !(type === "integer" ? Number.isInteger(value) : Number.isFinite(value))) return false;
  return (minimum === null || value >= minimum) && (maximum === null || value <= maximum);
}

function wanted({ type, choices, minimum, maximum }: OptionRecord): string {
  if (choices.length) return `one of ${choices.join(", ")}`;
  if (type === "boolean") return "true or false";
  const noun = type === "integer" ? "a whole number" : type === "number" ? "a number" : "text";
  return `${noun}${minimum === null ? "" : ` from ${minimum}`}${maximum === null ? "" : ` to ${maximum}`}`;
}
