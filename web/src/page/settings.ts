/** The form of detectors and options, generated from the server's kinds. The browser stores it. */

import { find, make, memory, onLanguage, text, textOr, translate, type Store } from "./common.js";
import { hasNoServer } from "./endpoints.js";
import { controlOf, copyOf } from "./form.js";
import { kinds, kindsInPage, kindsWhere, type Schema } from "./kinds.js";
import { targetName, TARGETS } from "./saliency.js";
import { accepts, BY_INSTANCE, checkedStyle, STYLE_SCHEMAS, type Style } from "./style.js";

/** by kind */
type Detectors = Record<string, { on: boolean; model: string; max: number }>;
/** that differ from the server's defaults */
type Options = Record<string, boolean | number | string>;
/** whether each kind of source is mirrored */
type Mirrors = { camera: boolean; files: boolean };

const OF_A_ROW = ["model", "max_instances", "measures"]; // set per detector or by the page
const FIRST = "hands";
const LONGEST = [0, 1280, 640, 320]; // sizes to which images can be scaled before sending
const STORED = ["detectors", "options", "mirrors", "style", "compare", "longest", "here"];
const MIRRORS = { camera: true, files: false }; // people expect to see themselves in a mirror

/** Check whether an option has an effect. Detectors of this page always search streams fast. */
const hasEffect = (name: string, here: boolean, still: boolean) =>
  name !== "search" || still || !here;

/**
 * Return the options of all kinds in the form, switches last.
 *
 * @param here whether detectors run in this page
 * @param still whether the source has single images
 */
function formOptions(here: boolean = hasNoServer, still = true): Record<string, Schema> {
  const all = Object.assign({}, ...Object.values(kindsWhere(here)).map(({ options }) => options));
  const shown = (Object.entries(all) as [string, Schema][]).filter(
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
type Settings = {
  detectors: Detectors;
  options: Options;
  mirrors: Mirrors;
  style: Style;
  compare: string;
  longest: number;
  here: boolean;
};

/** Return the stored settings, overridden by those of the page's address. */
export const rememberedSettings = (): Settings =>
  settingsFrom({ ...memory.read("settings"), ...settingsOf(location.hash) });

/** Return settings with all defaults. Values that the server does not know are ignored. */
export function settingsFrom({
  detectors = null,
  options = {},
  mirrors = {},
  style = {},
  compare = "",
  longest = 0,
  here = false,
}: any = {}): Settings {
  const known = Object.entries(kinds).map(([kind, { models, max_instances }]) => {
    const {
      on = false,
      model,
      max,
    } = detectors?.[kind] ?? { on: detectors === null && kind === FIRST };
    return [kind, { on, model: modelOf({ models }, model), max: within(kind, max, max_instances) }];
  });
  const schemas = formOptions();
  const valid = Object.entries<Options[string]>(options).filter(([name, value]) =>
    accepts(schemas[name], value),
  );
  return {
    detectors: Object.fromEntries(known),
    options: Object.fromEntries(valid),
    mirrors: { ...MIRRORS, ...mirrors },
    style: checkedStyle(style),
    compare: String(compare),
    longest: LONGEST.includes(longest) ? longest : 0,
    here: hasNoServer || (here === true && hasEngine()),
  };
}

/** Check whether this page supports any kind without a server. */
const hasEngine = () => Object.keys(kindsInPage).length > 0;

/**
 * Check whether the view of the selected source is mirrored.
 *
 * @param state state of the store
 */
export const isMirrored = ({ mirrors, source }: any): boolean => mirrors[ofCamera(source)];

const ofCamera = (source: { kind: string } | null): keyof Mirrors =>
  (source?.kind ?? "camera") === "camera" ? "camera" : "files";

/**
 * Return the detectors of a stream or a job with their options, limited to the page's kinds if
 * detectors run in it.
 *
 * @param state state of the store
 * @param still whether the source has single images
 */
export function configuredDetectors(
  { detectors, options, here }: any,
  still: boolean,
): { kind: string; [option: string]: unknown }[] {
  const { smoothing, ...others } = options;
  const given = still ? { ...others, static_image: true } : options; // stills are not smoothed
  const there = kindsWhere(here);
  return Object.entries(detectors as Detectors)
    .filter(([kind, { on }]) => on && kind in there)
    .map(([kind, { model, max }]) => {
      const known = Object.entries(given).filter(
        ([name, value]) =>
          accepts(there[kind]!.options[name], value) && hasEffect(name, here, still),
      );
      return {
        kind,
        model: modelOf(there[kind]!, model),
        max_instances: max,
        ...Object.fromEntries(known),
      };
    });
}

/** Build the form and connect it to the store. */
export function wireSettings(store: Store) {
  for (const kind of Object.keys(kinds)) addDetector(store, kind);
  for (const [name, schema] of Object.entries(formOptions())) addOption(store, name, schema);
  const [mirror, here] = ["mirror", "here"].map(find);
  mirror.onchange = () =>
    store.set({
      mirrors: { ...store.state.mirrors, [ofCamera(store.state.source)]: mirror.checked },
    });
  store.watch(["mirrors", "source"], (state) => (mirror.checked = isMirrored(state)));
  here.parentElement.hidden = hasNoServer || !hasEngine();
  here.onchange = () => store.set({ here: here.value === "page" });
  store.watch(["here"], (state) => (here.value = state.here ? "page" : "server"));
  wireSelect(store, "compare", ["detectors", "here"], String, () => [
    new Option(text("compare.off"), ""),
    ...rivalOptions(store.state),
  ]);
  wireSelect(store, "longest", [], Number, () =>
    LONGEST.map(
      (side) => new Option(side ? text("size.longest", { side }) : text("size.own"), String(side)),
    ),
  );
  wireStyle(store);
  store.watch(STORED, (state) =>
    memory.write("settings", Object.fromEntries(STORED.map((name) => [name, state[name]]))),
  );
}

/**
 * Connect a choice to a value of the store.
 *
 * @param sources values on which the options depend
 */
function wireSelect(
  store: Store,
  name: string,
  sources: string[],
  read: (value: string) => unknown,
  options: () => HTMLOptionElement[],
) {
  const select = find(name);
  select.onchange = () => store.set({ [name]: read(select.value) });
  const offer = () => {
    select.replaceChildren(...options());
    select.value = String(store.state[name]);
    if (select.selectedIndex < 0) store.set({ [name]: read("") });
  };
  onLanguage(offer);
  store.watch([name, ...sources], offer);
}

/**
 * Return the models with which those of the detectors can be compared.
 *
 * @param state state of the store
 */
function rivalOptions({ detectors, here }: any) {
  const there = kindsWhere(here);
  const on = Object.entries(detectors as Detectors).filter(
    ([kind, detector]) => detector.on && kind in there,
  );
  return on.flatMap(([kind, { model }]) => {
    const { models, missing } = there[kind]!;
    const others = models.filter((name) => name !== model && !(name in missing));
    return others.map(
      (name) =>
        new Option(
          `${textOr(`kind.${kind}`, kind)}: ${textOr(`model.${name}`, name)}`,
          `${kind}:${name}`,
        ),
    );
  });
}

function addDetector(store: Store, kind: string) {
  const { minimum: min, maximum: max } = kinds[kind]!.options.max_instances!;
  const [row, part] = copyOf("detector-row");
  const [on, model, most] = [part("[type=checkbox]"), part("select"), part("[type=number]")];
  on.id = `detector-${kind}`;
  model.id = part(".model-label").htmlFor = `model-${kind}`;
  Object.assign(most, { id: `max-${kind}`, min, max });
  part(".max-label").htmlFor = most.id;
  part("use").setAttribute("href", `icons.svg#${kind}`);
  const change = (changes: object) => {
    const { detectors } = store.state;
    store.set({ detectors: { ...detectors, [kind]: { ...detectors[kind], ...changes } } });
  };
  on.onchange = () => change({ on: on.checked });
  model.onchange = () => change({ model: model.value });
  most.onchange = () =>
    change({ max: within(kind, Number(most.value), store.state.detectors[kind].max) });
  find("detectors").append(row);
  const show = () => {
    const there = kindsWhere(store.state.here)[kind];
    const chosen = store.state.detectors[kind];
    row.hidden = !there;
    on.checked = chosen.on;
    model.value = there && modelOf(there, chosen.model);
    most.value = chosen.max;
    row.classList.toggle("on", chosen.on);
  };
  const offer = () => {
    translate(row);
    part(".name").textContent = textOr(`kind.${kind}`, kind);
    const { models = [], missing = {} } = kindsWhere(store.state.here)[kind] ?? {};
    model.replaceChildren(
      ...models.map((name) => {
        const note = name in missing ? ` – ${text("model.missing")}` : "";
        return make(
          "option",
          { value: name, disabled: name in missing },
          textOr(`model.${name}`, name) + note,
        );
      }),
    );
    show();
  };
  onLanguage(offer);
  store.watch(["here"], offer);
  store.watch(["detectors"], show);
}

/** Add the control of an option of the detectors. */
function addOption(store: Store, name: string, schema: Schema) {
  const usual = schema.default;
  const control = controlOf(`option-${name}`, schema);
  control.field.oninput = () => {
    const { [name]: _, ...options } = store.state.options;
    const value = control.read();
    const isChosen = value !== (usual ?? false) && accepts(schema, value);
    store.set({ options: isChosen ? { ...options, [name]: value } : options });
  };
  find("options").append(control.row);
  const schemaNow = () => formOptions(store.state.here, store.state.source?.still ?? false)[name];
  const show = () => {
    const [now, chosen] = [schemaNow(), store.state.options[name]];
    control.show(accepts(now, chosen) ? chosen : usual);
    control.row.hidden = !now;
  };
  const offer = () => {
    const words = textOr(`option.${name}`, name.replaceAll("_", " "));
    const hint = textOr(`option.${name}.hint`, schema.description);
    control.describe(words, hint, choicesOf(name, schemaNow() ?? schema));
    show();
  };
  onLanguage(offer);
  store.watch(["here", "source"], offer);
  store.watch(["options"], show);
}

/**
 * Return the choices of an option, including a default without a name; outputs in groups, all
 * without a text in one.
 */
function choicesOf(name: string, { enum: values = [], default: usual }: Schema): HTMLElement[] {
  const best =
    usual === undefined ? [new Option(textOr(`${name}.auto`, text("option.default")), "")] : [];
  if (name !== "explain")
    return [
      ...best,
      ...values.map((value) => new Option(textOr(`${name}.${value}`, value), value)),
    ];
  const grouped = Object.values(TARGETS).flat();
  const others = values.filter((value) => value !== "none" && !grouped.includes(value));
  const groups = Object.entries({ ...TARGETS, others }).map(([group, targets]) =>
    make(
      "optgroup",
      { label: text(`target.group.${group}`) },
      ...targets
        .filter((target) => values.includes(target))
        .map((target) => new Option(targetName(target), target)),
    ),
  );
  return [new Option(targetName("none"), "none"), ...groups];
}

/** Return the requested model, or the kind's default if it does not exist. */
const modelOf = ({ models }: { models: string[] }, wanted: unknown) =>
  models.find((name) => name === wanted) ?? models[0];

/** Return a number of instances within the server's limits. */
function within(kind: string, value: unknown, otherwise: number): number {
  const { minimum = 1, maximum = Infinity } = kinds[kind]!.options.max_instances!;
  return Number.isInteger(value) ? Math.min(maximum, Math.max(minimum, Number(value))) : otherwise;
}

/** settings of a link */
type Shared = Partial<Settings> & { source?: string };

/**
 * Return the page's address with settings.
 *
 * @param state state of the store
 */
export function linkOf(
  { detectors, options, style, mirrors, source, compare, longest, here }: any,
  usual: Settings,
): string {
  const address = new URL(location.href);
  const on = Object.entries(detectors as Settings["detectors"]).filter(
    ([, detector]) => detector.on,
  );
  const parameters = new URLSearchParams({
    detectors: on.map(([kind, { model, max }]) => `${kind}:${model}:${max}`).join(","),
  });
  for (const [name, value] of Object.entries(options)) parameters.set(name, String(value));
  for (const [part, now, before] of [
    ["style", style, usual.style],
    ["mirror", mirrors, usual.mirrors],
  ]) {
    for (const [name, value] of Object.entries(now))
      if (value !== before[name]) parameters.set(`${part}.${name}`, String(value));
  }
  if (compare) parameters.set("compare", compare);
  if (longest) parameters.set("longest", String(longest));
  if (here && !usual.here) parameters.set("here", "true");
  if (source?.kind === "sample") parameters.set("source", "sample");
  address.hash = parameters.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return address.href;
}

/** Return the settings of a link without checks; empty without settings. */
export function settingsOf(hash: string): Shared {
  const parameters = [...new URLSearchParams(hash.replace(/^#/, ""))];
  if (!parameters.length) return {};
  const [options, style, mirrors, others]: Record<string, any>[] = [{}, {}, {}, {}];
  for (const [name, value] of parameters) {
    const [part, member] = name.split(".");
    const group = { style, mirror: mirrors }[part!];
    if (name === "detectors") {
      // such as hands:full:2,face:attention:1
      const parts = value
        .split(",")
        .filter(Boolean)
        .map((detector) => detector.split(":"));
      others!.detectors = Object.fromEntries(
        parts.map(([kind, model, max]) => [kind, { on: true, model, max: Number(max) }]),
      );
    } else if (group && member) group[member] = valueOf(value);
    else
      (["source", "compare", "longest", "here"].includes(name) ? others : options)![name] =
        valueOf(value);
  }
  return { options, style, mirrors, ...others } as any;
}

/** Return the switch, number or text that a parameter of a link means. */
function valueOf(value: string) {
  if (value === "true" || value === "false") return value === "true";
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** Connect the form of drawings to the store's `style`. */
function wireStyle(store: Store) {
  const { colour: _, ...others } = STYLE_SCHEMAS;
  for (const [name, schema] of Object.entries(others)) addStyle(store, name, schema);
  const [palette, colour] = [find("style-palette"), find("style-colour")];
  const changeColour = () =>
    changeStyle(store, { colour: palette.value === "single" ? colour.value : palette.value });
  palette.onchange = colour.oninput = changeColour;
  store.watch(["style"], ({ style }) => {
    const isSingle = !["", BY_INSTANCE].includes(style.colour);
    palette.value = isSingle ? "single" : style.colour;
    colour.hidden = !isSingle;
    if (isSingle) colour.value = style.colour;
  });
}

/** Add the control of a setting of drawings. */
function addStyle(store: Store, name: string, schema: Schema) {
  const control = controlOf(`style-${name}`, schema);
  control.field.oninput = () => changeStyle(store, { [name]: control.read() });
  find("style-settings").append(control.row);
  const show = () => control.show(store.state.style[name]);
  onLanguage(() => {
    const words = textOr(`style.${name}`, schema.description);
    const choice = (value: string) => new Option(textOr(`style.${name}.${value}`, value), value);
    control.describe(words, textOr(`style.${name}.hint`, ""), (schema.enum ?? []).map(choice));
    show();
  });
  store.watch(["style"], show);
}

const changeStyle = (store: Store, changes: Partial<Style>) =>
  store.set({ style: { ...store.state.style, ...changes } });
