/** Elements, state, stored values, texts and messages of errors: what all modules of the page share. */

/** @param {string} id @returns {any} */
export const find = (id) => document.getElementById(id);

/** Return a new element. @param {string} tag @param {Record<string, any>} [members] @param {(Node | string)[]} inside @returns {any} */
export function make(tag, members = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}

/** Return a button. @param {string} label @param {() => void} onclick @param {Record<string, any>} [members] */
export const makeButton = (label, onclick, members = {}) => make("button", { type: "button", className: "button small", onclick, ...members }, label);

/** Return a row of a table. @param {string} head @param {(string | number)[]} cells @param {"td" | "th"} [tag] */
export function makeRow(head, cells, tag = "td") {
  const title = head ? make("th", { scope: tag === "th" ? "col" : "row" }, head) : make("td");
  return make("tr", {}, title, ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))));
}

/** Write a text only if it differs, because each change lays out the page. @param {Element} element @param {string} content */
export function put(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/** Set the size of a canvas if it differs, which clears it. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

/** Fit a canvas to its pixels of the screen and clear it. The unit of the context is a CSS pixel. @param {HTMLCanvasElement} canvas */
export function clearedContext(canvas) {
  fit(canvas, Math.round(canvas.clientWidth * devicePixelRatio), Math.round(canvas.clientHeight * devicePixelRatio));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

/** Return a function that requests one call of another with the next frame of the screen. @param {() => void} draw */
export function onNextFrame(draw) {
  let request = 0;
  return () => {
    cancelAnimationFrame(request);
    request = requestAnimationFrame(draw);
  };
}

/** Download a file. @param {Blob | null} blob @param {string} name */
export function save(blob, name) {
  if (!blob) return;
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Plain values by name, with listeners. */
export class Store {
  /** The current values. Objects are replaced, not changed. @type {Record<string, any>} */ state;
  /** @type {{names: string[], react: (state: any) => void}[]} */ #watchers = [];

  /** @param {Record<string, any>} values initial values of all names */
  constructor(values) {
    this.state = Object.freeze({ ...values });
  }

  /** @param {Record<string, any>} changes */
  set(changes) {
    const before = this.state;
    this.state = Object.freeze({ ...before, ...changes });
    const changed = new Set(Object.keys(changes).filter((name) => before[name] !== changes[name]));
    for (const { names, react } of [...this.#watchers]) {
      if (names.some((name) => changed.has(name))) react(this.state);
    }
  }

  /** Call a listener now and after every change of these values. @param {string[]} names @param {(state: any) => void} react */
  watch(names, react) {
    this.#watchers.push({ names, react });
    react(this.state);
  }
}

/** Use the browser's storage of this page. Return null if it is blocked, full or damaged. @param {() => any} use */
function attempt(use) {
  try {
    return use();
  } catch {
    return null;
  }
}

/** Values that the browser stores for this page; null for those that it does not. */
export const memory = {
  read: (/** @type {string} */ name) => attempt(() => JSON.parse(localStorage.getItem(`sonjit.${name}`) ?? "null")),
  write: (/** @type {string} */ name, /** @type {unknown} */ value) => attempt(() => localStorage.setItem(`sonjit.${name}`, JSON.stringify(value))),
};

const LANGUAGES = ["en", "ko"];
/** @type {Record<string, string>} */ let texts = {};
/** @type {(() => void)[]} */ const listeners = [showMessage];

/** Speak the language selected before, otherwise the browser's, otherwise English; connect the choice of a language. @param {URL[]} folders of texts */
export async function startLanguage(...folders) {
  const choice = find("language");
  const wanted = [memory.read("language"), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  choice.value = wanted.find((language) => LANGUAGES.includes(language)) ?? "en";
  choice.onchange = () => {
    memory.write("language", choice.value);
    return speak(choice.value, ...folders);
  };
  await speak(choice.value, ...folders);
}

/** Load a language and write its texts to the page. @param {string} language @param {URL[]} folders with more texts than those of this folder */
export async function speak(language, ...folders) {
  const all = [new URL("i18n/", import.meta.url), ...folders];
  const loaded = all.map(async (folder) => (await fetch(new URL(`${language}.json`, folder))).json());
  texts = Object.assign({}, ...(await Promise.all(loaded)));
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}

/** Call a listener now and after every change of the language. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.push(listener);
  if (Object.keys(texts).length) listener();
}

/** Return a text; the key if there is none. @param {string} key @param {Record<string, unknown>} [values] @returns {string} */
export const text = (key, values = {}) => textOr(key, key).replace(/\{(\w+)\}/g, (placeholder, name) => String(values[name] ?? placeholder));

/** Return a text, or another one if it does not exist. @param {string} key @param {string} otherwise */
export const textOr = (key, otherwise) => texts[key] ?? otherwise;

/** Fill in all elements under a node that refer to a text. @param {ParentNode} root */
export function translate(root) {
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n]"))) {
    node.textContent = text(node.dataset.i18n ?? "");
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n-label]"))) setLabel(node, node.dataset.i18nLabel ?? "");
}

/** Name an element for screen readers, and a button also for the pointer. @param {HTMLElement} node @param {string} key */
export function setLabel(node, key) {
  node.ariaLabel = text(key);
  if (node instanceof HTMLButtonElement) node.title = node.ariaLabel;
}

/** Error of the page. `code` is the key of its text. */
export class PageError extends Error {
  /** @param {string} code @param {Record<string, unknown>} [values] for the text */
  constructor(code, values = {}) {
    super(code);
    this.name = "PageError";
    this.code = code;
    this.values = values;
  }
}

/** @type {any} */ let shown = null;

/** Show an error in place of the last one; null for none. @param {unknown} error a PageError, a ServerError or any other error */
export function showError(error) {
  shown = error;
  showMessage();
}

/** Show the last error, its remedy and the server's own message. */
function showMessage() {
  const place = find("message");
  if (!place) return;
  place.hidden = shown === null;
  if (shown === null) {
    delete place.dataset.code;
    return place.replaceChildren();
  }
  const code = `error.${shown?.code}` in texts ? shown.code : "unknown";
  place.dataset.code = code;
  const values = { host: location.hostname, port: location.port || 80, message: shown?.message ?? String(shown), ...shown?.values };
  const lines = [["strong", text(`error.${code}`, values)], ["span", text(`error.${code}.do`, values)], ["small", shown instanceof PageError ? "" : values.message]];
  const close = make("button", { type: "button", className: "close", ariaLabel: text("close"), onclick: () => showError(null) }, "×");
  place.replaceChildren(...lines.map(([tag, content]) => make(tag, { hidden: !content }, content)), close);
}
