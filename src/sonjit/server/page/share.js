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
  const on = Object.entries(/** @type {Settings["detectors"]} */ (detectors)).filter(([, one]) => one.on);
  const words = new URLSearchParams({ detectors: on.map(([kind, { model, max }]) => `${kind}:${model}:${max}`).join(",") });
  for (const [name, value] of Object.entries(options)) words.set(name, String(value));
  for (const [part, now, before] of [["style", style, usual.style], ["mirror", mirrors, usual.mirrors]]) {
    for (const [name, value] of Object.entries(now)) if (value !== before[name]) words.set(`${part}.${name}`, String(value));
  }
  if (compare) words.set("compare", compare);
  if (longest) words.set("longest", String(longest));
  if (here && !usual.here) words.set("here", "true");
  if (source?.kind === "sample") words.set("source", "sample");
  address.hash = words.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return address.href;
}

/** Return the settings of a link without checks; empty without settings. @param {string} hash @returns {Shared} */
export function settingsOf(hash) {
  const words = [...new URLSearchParams(hash.replace(/^#/, ""))];
  if (!words.length) return {};
  /** @type {Shared & {options: Record<string, any>, style: Record<string, any>, mirrors: Record<string, any>}} */
  const shared = { options: {}, style: {}, mirrors: {} };
  for (const [name, word] of words) {
    const [part, member] = name.split(".");
    if (name === "detectors") shared.detectors = detectorsOf(word);
    else if (name === "source" || name === "compare") shared[name] = word;
    else if (name === "longest") shared.longest = Number(word);
    else if (name === "here") shared.here = word === "true";
    else if (part === "style" && member) shared.style[member] = valueOf(word);
    else if (part === "mirror" && member) shared.mirrors[member] = valueOf(word);
    else shared.options[name] = valueOf(word);
  }
  return shared;
}

/** @param {string} words `hands:full:2,face:attention:1` */
function detectorsOf(words) {
  const parts = words.split(",").filter(Boolean).map((one) => one.split(":"));
  return Object.fromEntries(parts.map(([kind, model, max]) => [kind, { on: true, model, max: Number(max) }]));
}

/** @param {string} word */
function valueOf(word) {
  if (word === "true" || word === "false") return word === "true";
  return word !== "" && Number.isFinite(Number(word)) ? Number(word) : word;
}
