/** The settings of the live view: detectors, options and drawing. The browser stores them. */

import { memory } from "./common.js";
import { hasNoServer } from "./endpoints.js";
import { kinds, kindsInPage, kindsWhere, type Schema } from "./kinds.js";
import { accepts, checkedStyle, type Style } from "./style.js";

/** `max`: maximum number of instances; null for the usual one of the source */
export type DetectorSetting = { on: boolean; model: string; max: number | null };
/** by kind */
export type DetectorSettings = Record<string, DetectorSetting>;
/** that differ from the server's defaults */
export type Options = Record<string, boolean | number | string>;
/** whether each kind of source is mirrored */
export type Mirrors = { camera: boolean; files: boolean };
/** a detector of a stream or a job with its options */
export type Configured = { kind: string; model: string; [option: string]: unknown };

const OF_A_ROW = ["model", "max_instances", "measures"]; // set per detector or by the page
const FIRST = "hands";
export const LONGEST = [0, 1280, 640, 320]; // sizes to which images can be scaled before sending
export const STORED = [
  "detectors",
  "options",
  "mirrors",
  "style",
  "compare",
  "longest",
  "here",
] as const;
const MIRRORS = { camera: true, files: false }; // people expect to see themselves in a mirror

export const WHOLE = "holistic"; // a whole person
const PARTS = ["hands", "face", "body"];
const isWithin = (part: string, whole: string) => whole === WHOLE && PARTS.includes(part);

/** Return chosen kinds with one switched on or off. A whole person and its parts exclude each other. */
export function switched(chosen: readonly string[], kind: string, on: boolean): string[] {
  const others = chosen.filter(
    (one) => one !== kind && !(on && (isWithin(one, kind) || isWithin(kind, one))),
  );
  return on ? [...others, kind] : others;
}

/** Return the kinds that are on. */
export const kindsOn = (detectors: DetectorSettings): string[] =>
  Object.keys(detectors).filter((kind) => detectors[kind]!.on);

/** Return detectors of which only these kinds are on. */
export const withOnly = (detectors: DetectorSettings, wanted: readonly string[]) =>
  Object.fromEntries(
    Object.entries(detectors).map(([kind, one]) => [kind, { ...one, on: wanted.includes(kind) }]),
  );

/** Check whether an option has an effect. Detectors of this page always search streams fast. */
const hasEffect = (name: string, here: boolean, still: boolean) =>
  name !== "search" || still || !here;

/**
 * Return the options of all kinds in the form, switches last.
 *
 * @param here whether detectors run in this page
 */
export function formOptions(here: boolean = hasNoServer, still = true): Record<string, Schema> {
  const all: Record<string, Schema> = Object.assign(
    {},
    ...Object.values(kindsWhere(here)).map(({ options }) => options),
  );
  const shown = Object.entries(all).filter(
    ([name]) => !OF_A_ROW.includes(name) && hasEffect(name, here, still),
  );
  const isSwitch = ([, { type }]: [string, Schema]) => Number(type === "boolean");
  return Object.fromEntries(shown.sort((a, b) => isSwitch(a) - isSwitch(b)));
}

/**
 * `compare`: kind and model, as in "hands:lite", that run in addition for comparison; "" for none;
 * `longest`: side to which images are scaled, 0 for their original size; `here`: whether detectors
 * run in this page
 */
export type Settings = {
  detectors: DetectorSettings;
  options: Options;
  mirrors: Mirrors;
  style: Style;
  compare: string;
  longest: number;
  here: boolean;
};

/** settings of a link or of the browser, whose values are not checked */
type Given = {
  detectors?: Record<string, Partial<Record<keyof DetectorSetting, unknown>>> | null;
  options?: Record<string, unknown>;
  mirrors?: Record<string, unknown>;
  style?: Record<string, unknown>;
  compare?: unknown;
  longest?: unknown;
  here?: unknown;
  source?: unknown;
};

/** Return the stored settings, overridden by those of the page's address. */
export const rememberedSettings = (): Settings =>
  settingsFrom({ ...memory.read<Given>("settings"), ...settingsOf(location.hash) });

/** Return settings with all defaults. Values that the server does not know are ignored. */
export function settingsFrom({
  detectors = null,
  options = {},
  mirrors = {},
  style = {},
  compare = "",
  longest = 0,
  here = false,
}: Given = {}): Settings {
  const known = Object.entries(kinds).map(([kind, { models }]) => {
    const usual = { on: detectors === null && kind === FIRST, model: null, max: null };
    const { on = false, model, max } = detectors?.[kind] ?? usual;
    const setting = { on: on === true, model: modelOf({ models }, model), max: within(kind, max) };
    return [kind, setting];
  });
  const schemas = formOptions();
  const valid = Object.entries(options as Options).filter(([name, value]) =>
    accepts(schemas[name], value),
  );
  return {
    detectors: Object.fromEntries(known),
    options: Object.fromEntries(valid),
    mirrors: { ...MIRRORS, ...mirrors },
    style: checkedStyle(style),
    compare: String(compare),
    longest: LONGEST.find((side) => side === longest) ?? 0,
    here: hasNoServer || (here === true && hasEngine()),
  };
}

/** Check whether this page supports any kind without a server. */
export const hasEngine = () => Object.keys(kindsInPage).length > 0;

/** what tells whether the view is mirrored */
type Mirrored = { mirrors: Mirrors; source: { kind: string } | null };

/** Check whether the view of the selected source is mirrored. */
export const isMirrored = ({ mirrors, source }: Mirrored): boolean => mirrors[ofCamera(source)];

export const ofCamera = (source: { kind: string } | null): keyof Mirrors =>
  (source?.kind ?? "camera") === "camera" ? "camera" : "files";

/**
 * Return the detectors of a stream or a job with their options, limited to the page's kinds if
 * detectors run in it.
 *
 * @param still whether the source has single images
 */
export function configuredDetectors(
  { detectors, options, here }: Pick<Settings, "detectors" | "options" | "here">,
  still: boolean,
): Configured[] {
  const { smoothing, ...others } = options;
  const given = still ? { ...others, static_image: true } : options; // stills are not smoothed
  const there = kindsWhere(here);
  return Object.entries(detectors)
    .filter(([kind, { on }]) => on && kind in there)
    .map(([kind, { model, max }]) => {
      const known = Object.entries(given).filter(
        ([name, value]) =>
          accepts(there[kind]!.options[name], value) && hasEffect(name, here, still),
      );
      return {
        kind,
        model: modelOf(there[kind]!, model),
        ...(max === null ? {} : { max_instances: max }),
        ...Object.fromEntries(known),
      };
    });
}

/** Return the requested model, or the kind's default if it does not exist. */
export const modelOf = ({ models }: { models: string[] }, wanted: unknown): string =>
  models.find((name) => name === wanted) ?? models[0]!;

/** Return a number of instances within the server's limits; null for none. */
export function within(kind: string, value: unknown): number | null {
  const { minimum = 1, maximum = Infinity } = kinds[kind]!.options.max_instances!;
  if (!Number.isInteger(value) || Number(value) < 1) return null;
  return Math.min(maximum, Math.max(minimum, Number(value)));
}

/** Return the page's address with settings. */
export function linkOf(
  {
    detectors,
    options,
    style,
    mirrors,
    source,
    compare,
    longest,
    here,
  }: Settings & { source: { kind: string } | null },
  usual: Settings,
): string {
  const address = new URL(location.href);
  const on = Object.entries(detectors).filter(([, detector]) => detector.on);
  const detectorOf = ([kind, { model, max }]: [string, DetectorSetting]) =>
    [kind, model, ...(max === null ? [] : [max])].join(":");
  const parameters = new URLSearchParams({ detectors: on.map(detectorOf).join(",") });
  for (const [name, value] of Object.entries(options)) parameters.set(name, String(value));
  const differences: [string, object, object][] = [
    ["style", style, usual.style],
    ["mirror", mirrors, usual.mirrors],
  ];
  for (const [part, now, before] of differences) {
    const known = new Map<string, unknown>(Object.entries(before));
    for (const [name, value] of Object.entries(now) as [string, unknown][])
      if (value !== known.get(name)) parameters.set(`${part}.${name}`, String(value));
  }
  if (compare) parameters.set("compare", compare);
  if (longest) parameters.set("longest", String(longest));
  if (here && !usual.here) parameters.set("here", "true");
  if (source?.kind === "sample") parameters.set("source", "sample");
  address.hash = parameters.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return address.href;
}

/** Return the settings of a link without checks; empty without settings. */
export function settingsOf(hash: string): Given {
  const parameters = [...new URLSearchParams(hash.replace(/^#/, ""))];
  if (!parameters.length || parameters.some(([name]) => name === "page")) return {};
  const groups: Record<string, Record<string, unknown>> = { style: {}, mirror: {} };
  const [options, others]: Record<string, unknown>[] = [{}, {}];
  let detectors: Given["detectors"];
  for (const [name, value] of parameters) {
    const [part = "", member] = name.split(".");
    if (name === "detectors") {
      // such as hands:full:2,face:attention
      const parts = value
        .split(",")
        .filter(Boolean)
        .map((detector) => detector.split(":"));
      detectors = Object.fromEntries(
        parts.map(([kind, model, max]) => [kind, { on: true, model, max: Number(max) }]),
      );
    } else if (groups[part] && member) groups[part][member] = valueOf(value);
    else
      (["source", "compare", "longest", "here"].includes(name) ? others : options)![name] =
        valueOf(value);
  }
  return {
    options: options!,
    style: groups["style"]!,
    mirrors: groups["mirror"]!,
    ...(detectors ? { detectors } : {}),
    ...others,
  };
}

/** Return the switch, number or text that a parameter of a link means. */
function valueOf(value: string) {
  if (value === "true" || value === "false") return value === "true";
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}
