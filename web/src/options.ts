/** Check the options of a detector by the records from Python. */

import { constants, KINDS, type KindRecord, type OptionRecord } from "./data.js";
import { limitsFromText, type EventLimits } from "./events.js";
import type { DetectorOptions } from "./option-types.js";
import type { Smoothing } from "./smoothing.js";

export type { DetectorOptions } from "./option-types.js";

export type OptionValue = boolean | number | string | null | undefined;

/** Options of a detector in a page. */
export interface LocalOptions extends DetectorOptions {
  /**
   * How `detect` searches images. fast searches the full image once, auto also searches for small
   * and hidden instances, and thorough searches everywhere. `track` always searches fast and refuses
   * thorough.
   */
  readonly search?: "fast" | "thorough" | "auto";
  /**
   * Measures whose limits make events in streams, each as `NAME:BEGIN:END`, with limits of angles
   * in degrees.
   */
  readonly events?: readonly string[];
}

/** All options of a detector, with "auto" replaced in `smoothing`. */
export type Settings = Required<Omit<DetectorOptions, "smoothing">> & {
  readonly kind: string;
  readonly instances: readonly string[]; // kinds of the instances with keypoints
  readonly smoothing: Smoothing;
  readonly still_instances: number; // maximum number of instances in a still
  readonly events: readonly EventLimits[];
};

const BUNDLE_MODEL = "attention";

/** Return the record of a kind. */
export function kindOf(name: string): KindRecord {
  const kind = KINDS[name];
  if (!kind)
    throw new Error(
      `Unknown kind ${JSON.stringify(name)}. Choose from ${Object.keys(KINDS).join(", ")}.`,
    );
  return kind;
}

/** Check options and add the defaults of the kind and its model. */
export function settingsOf(name: string, { events = [], ...options }: LocalOptions): Settings {
  const kind = kindOf(name);
  // it follows from the call of `detect` or `track`
  const { static_image: _, ...known } = kind.options;
  const all: Record<string, OptionValue> = {};
  for (const [option, { default: value = null }] of Object.entries(known)) all[option] = value;
  for (const [option, value] of Object.entries(options as Readonly<Record<string, OptionValue>>)) {
    const record = Object.hasOwn(known, option) ? known[option] : undefined;
    if (!record)
      throw new Error(
        `${name} has no option ${option}. Choose from ${Object.keys(known).join(", ")}.`,
      );
    if (value === null || value === undefined) continue;
    if (record.requires_server && value !== record.default) {
      throw new Error(`${option}=${JSON.stringify(value)} requires a Sonjit server`);
    }
    if (!isAllowed(record, value))
      throw new Error(`${option}=${JSON.stringify(value)}: expected ${expectedValue(record)}`);
    all[option] = value;
  }
  const bundleOption = ["blendshapes", "transform"].find((option) => all[option]);
  if (bundleOption && all.model !== BUNDLE_MODEL) {
    throw new Error(
      `${bundleOption}=true cannot be combined with model=${JSON.stringify(all.model)}: ` +
        "face_landmarker.task has its own networks",
    );
  }
  all.still_instances = options.max_instances ?? constants.options.STILL_INSTANCES;
  all.min_detection_score ??= kind.min_detection_score[String(all.model)]!;
  if (all.smoothing === "auto") all.smoothing = kind.stream_smoothing;
  if (!Array.isArray(events)) throw new Error("events requires a list of NAME:BEGIN:END");
  const limits = events.map((text) => limitsFromText(text, kind.instances));
  // every option of the kind is filled in and checked
  return { ...all, kind: name, instances: kind.instances, events: limits } as unknown as Settings;
}

function isAllowed({ type, choices, minimum, maximum }: OptionRecord, value: OptionValue): boolean {
  if (type === "boolean") return typeof value === "boolean";
  if (type === "string") return typeof value === "string" && (choices?.includes(value) ?? true);
  if (
    typeof value !== "number" ||
    !(type === "integer" ? Number.isInteger(value) : Number.isFinite(value))
  )
    return false;
  return value >= (minimum ?? -Infinity) && value <= (maximum ?? Infinity);
}

function expectedValue({ type, choices, minimum, maximum }: OptionRecord): string {
  if (choices) return `one of ${choices.join(", ")}`;
  if (type === "boolean") return "true or false";
  const noun = type === "integer" ? "a whole number" : type === "number" ? "a number" : "text";
  return `${noun}${minimum === undefined ? "" : ` from ${minimum}`}${maximum === undefined ? "" : ` to ${maximum}`}`;
}
