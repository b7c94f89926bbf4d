/** What is looked for, and how: the form's detectors and options, remembered, and as a stream's configuration. */

import { targetName } from "./heat.js";
import { onLanguage, text, translate } from "./i18n.js";
import { skeletonOf } from "./skeletons.js";
import { memory } from "./state.js";

/** Each kind of detector: its list in a frame, its models (the first is the default) and how many it looks for. */
export const KINDS = {
  hands: { list: "hands", models: ["full", "lite"], max: 2 },
  face: { list: "faces", models: ["attention", "mesh", "box", "box-full"], max: 1 },
  body: { list: "bodies", models: ["full", "lite", "heavy"], max: 1 },
  holistic: { list: "people", models: ["full", "lite", "heavy"], max: 1 },
};

const OPTIONS = {
  flip: false, mirror: false, static: false, selfie: false, cutout: false, explain: "none", smoothing: "", minDetection: 0.5, minPresence: 0.5,
};
const FIELDS = {
  flip: "flip", mirror: "mirror", static: "static", selfie: "selfie", cutout: "cutout", explain: "explain",
  smoothing: "smoothing", minDetection: "min-detection", minPresence: "min-presence",
};

/** @returns {{detectors: Record<string, {on: boolean, model: string, max: number}>, options: typeof OPTIONS}} */
export function rememberedSettings() {
  const { detectors = {}, options = {} } = memory.read("settings") ?? {};
  const known = Object.entries(KINDS).map(([kind, { models, max }]) => {
    const { on, model, max: most } = detectors[kind] ?? {};
    return [kind, { on: on ?? kind === "hands", model: models.includes(model) ? model : models[0], max: atMost(most, max) }];
  });
  return { detectors: Object.fromEntries(known), options: { ...OPTIONS, ...options } };
}

/**
 * The detectors of a stream or a job, as docs/server.md names their options.
 *
 * @param {any} state the store's @param {boolean} still whether single images come
 * @returns {{kind: string, [option: string]: unknown}[]}
 */
export function configuredDetectors({ detectors, options }, still) {
  const common = {
    static_image: still || options.static,
    flip_horizontal: options.flip,
    min_detection_score: options.minDetection,
    min_presence_score: options.minPresence,
    ...(options.smoothing && !still ? { smoothing: options.smoothing } : {}),
  };
  const sides = { mirrored: options.selfie };
  const person = { ...sides, ...(options.cutout ? { segmentation: true } : {}) };
  /** @type {Record<string, object>} */
  const own = { hands: { ...sides, ...(options.explain === "none" ? {} : { explain: options.explain }) }, body: person, holistic: person };
  return Object.entries(detectors)
    .filter(([, { on }]) => on)
    .map(([kind, { model, max }]) => ({ kind, model, max_instances: max, ...common, ...own[kind] }));
}

/**
 * Tie the form to the store.
 *
 * @param {import("./state.js").Store} store @param {Document} page
 */
export function wireSettings(store, page) {
  listTargets(/** @type {HTMLSelectElement} */ (page.getElementById("explain")));
  for (const kind of Object.keys(KINDS)) wireDetector(store, page, kind);
  for (const [name, id] of Object.entries(FIELDS)) wireOption(store, page, name, id);
  store.watch(["detectors", "options"], ({ detectors, options }) => memory.write("settings", { detectors, options }));
}

/** @param {import("./state.js").Store} store @param {Document} page @param {string} kind */
function wireDetector(store, page, kind) {
  const template = /** @type {HTMLTemplateElement} */ (page.getElementById("detector-row"));
  const row = /** @type {HTMLElement} */ (template.content.cloneNode(true)).firstElementChild;
  const part = (/** @type {string} */ selector) => /** @type {any} */ (row?.querySelector(selector));
  const [on, model, max] = [part("[type=checkbox]"), part("select"), part("[type=number]")];
  on.id = `detector-${kind}`;
  model.id = part(".model-label").htmlFor = `model-${kind}`;
  max.id = part(".max-label").htmlFor = `max-${kind}`;
  part("use").setAttribute("href", `icons.svg#${kind}`);
  part(".name").dataset.i18n = `kind.${kind}`;
  const change = (/** @type {object} */ changes) => {
    const { detectors } = store.state;
    store.set({ detectors: { ...detectors, [kind]: { ...detectors[kind], ...changes } } });
  };
  on.onchange = () => change({ on: on.checked });
  model.onchange = () => change({ model: model.value });
  max.onchange = () => change({ max: atMost(Number(max.value), store.state.detectors[kind].max) });
  page.getElementById("detectors")?.append(/** @type {Element} */ (row));
  const nameModels = () => {
    translate(/** @type {Element} */ (row));
    const missing = store.state.missing;
    model.replaceChildren(...KINDS[/** @type {keyof KINDS} */ (kind)].models.map((name) => {
      const absent = missing.includes(`${kind}-${name}`);
      const option = new Option(text(`model.${name}`) + (absent ? ` – ${text("model.missing")}` : ""), name);
      option.disabled = absent;
      return option;
    }));
    model.value = store.state.detectors[kind].model;
  };
  onLanguage(nameModels);
  store.watch(["missing"], nameModels);
  store.watch(["detectors"], ({ detectors }) => {
    on.checked = detectors[kind].on;
    model.value = detectors[kind].model;
    max.value = detectors[kind].max;
    row?.classList.toggle("on", on.checked);
  });
}

/** Everything whose reasons can be looked at. @param {HTMLSelectElement} chooser */
function listTargets(chooser) {
  const places = skeletonOf(21).keypoints.flatMap((name) => [`${name}.x`, `${name}.y`]);
  onLanguage(() => {
    const { value } = chooser;
    chooser.replaceChildren(...["none", "handedness", "presence", ...places].map((target) => new Option(targetName(target), target)));
    if (value) chooser.value = value;
  });
}

/** @param {import("./state.js").Store} store @param {Document} page @param {string} name @param {string} id */
function wireOption(store, page, name, id) {
  const field = /** @type {HTMLInputElement} */ (page.getElementById(id));
  const output = page.querySelector(`output[for="${id}"]`);
  const isSwitch = field.type === "checkbox";
  const isNumber = field.type === "range";
  field.oninput = () => {
    const value = isSwitch ? field.checked : isNumber ? Number(field.value) : field.value;
    store.set({ options: { ...store.state.options, [name]: value } });
  };
  store.watch(["options"], ({ options }) => {
    if (isSwitch) field.checked = options[name];
    else field.value = options[name];
    if (output) output.textContent = options[name].toFixed(2);
  });
}

/** @param {unknown} value @param {number} otherwise @returns {number} 1 to 10 */
function atMost(value, otherwise) {
  return Number.isInteger(value) ? Math.min(10, Math.max(1, Number(value))) : otherwise;
}
