/** Settings as a link: those that differ from the defaults follow the # of the page's address. */

/**
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {{detectors?: Settings["detectors"], options?: Settings["options"], style?: Record<string, any>, mirrors?: Partial<Settings["mirrors"]>,
 *   source?: string, compare?: string, longest?: number, here?: boolean}} Shared
 */

/**
 * Return the page's address with settings.
 *
 * @param {any} state state of the store @param {Settings} usual
 * @returns {string}
 */
export function linkOf({ detectors, options, style, mirrors, source, compare, longest, here }, usual) {
  const address = new URL(location.href);
  const on = Object.entries(/** @type {Settings["detectors"]} */ (detectors)).filter(([, detector]) => detector.on);
  const parameters = new URLSearchParams({ detectors: on.map(([kind, { model, max }]) => `${kind}:${model}:${max}`).join(",") });
  for (const [name, value] of Object.entries(options)) parameters.set(name, String(value));
  for (const [part, now, before] of [["style", style, usual.style], ["mirror", mirrors, usual.mirrors]]) {
    for (const [name, value] of Object.entries(now)) if (value !== before[name]) parameters.set(`${part}.${name}`, String(value));
  }
  if (compare) parameters.set("compare", compare);
  if (longest) parameters.set("longest", String(longest));
  if (here && !usual.here) parameters.set("here", "true");
  if (source?.kind === "sample") parameters.set("source", "sample");
  address.hash = parameters.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return address.href;
}

/** Return the settings of a link without checks; empty without settings. @param {string} hash @returns {Shared} */
export function settingsOf(hash) {
  const parameters = [...new URLSearchParams(hash.replace(/^#/, ""))];
  if (!parameters.length) return {};
  /** @type {Shared & {options: Record<string, any>, style: Record<string, any>, mirrors: Record<string, any>}} */
  const shared = { options: {}, style: {}, mirrors: {} };
  for (const [name, value] of parameters) {
    const [part, member] = name.split(".");
    if (name === "detectors") shared.detectors = detectorsOf(value);
    else if (name === "source" || name === "compare") shared[name] = value;
    else if (name === "longest") shared.longest = Number(value);
    else if (name === "here") shared.here = value === "true";
    else if (part === "style" && member) shared.style[member] = valueOf(value);
    else if (part === "mirror" && member) shared.mirrors[member] = valueOf(value);
    else shared.options[name] = valueOf(value);
  }
  return shared;
}

/** @param {string} parameters `hands:full:2,face:attention:1` */
function detectorsOf(parameters) {
  const parts = parameters.split(",").filter(Boolean).map((detector) => detector.split(":"));
  return Object.fromEntries(parts.map(([kind, model, max]) => [kind, { on: true, model, max: Number(max) }]));
}

/** @param {string} value */
function valueOf(value) {
  if (value === "true" || value === "false") return value === "true";
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}
