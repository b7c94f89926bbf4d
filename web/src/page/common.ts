/**
 * Elements, state, stored values, texts and messages of errors: what all modules of the page share.
 */

import { signal, type Signal } from "@preact/signals-core";

/** Return an element of the page. */
export const find = <T extends HTMLElement = HTMLInputElement>(id: string) =>
  document.getElementById(id) as T;

/** Return a new element. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  members: Members = {},
  ...inside: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}

/** properties of a new element */
type Members = Record<string, unknown>;

/** Return a button. */
export const makeButton = (label: string, onclick: () => void, members: Members = {}) =>
  make("button", { type: "button", className: "button small", onclick, ...members }, label);

/** Return a row of a table. */
export function makeRow(head: string, cells: (string | number)[], tag: "td" | "th" = "td") {
  const title = head ? make("th", { scope: tag === "th" ? "col" : "row" }, head) : make("td");
  return make(
    "tr",
    {},
    title,
    ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))),
  );
}

/** Write a text only if it differs, because each change lays out the page. */
export function put(element: Element, content: string) {
  if (element.textContent !== content) element.textContent = content;
}

/** Set the size of a canvas if it differs, which clears it. */
export function fit(canvas: HTMLCanvasElement, width: number, height: number) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

/**
 * Fit a canvas to its pixels of the screen and clear it. The unit of the context is a CSS pixel.
 */
export function clearedContext(canvas: HTMLCanvasElement) {
  fit(
    canvas,
    Math.round(canvas.clientWidth * devicePixelRatio),
    Math.round(canvas.clientHeight * devicePixelRatio),
  );
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

/** Return a function that requests one call of another with the next frame of the screen. */
export function onNextFrame(draw: () => void) {
  let request = 0;
  return () => {
    cancelAnimationFrame(request);
    request = requestAnimationFrame(draw);
  };
}

/** Download a file. */
export function save(blob: Blob | null, name: string) {
  if (!blob) return;
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Values by name, as a signal that components read, and with listeners. */
export class Store<S extends object> {
  readonly now: Signal<Readonly<S>>;
  #watchers: { names: (keyof S)[]; react: (state: Readonly<S>) => void }[] = [];

  /** @param values initial values of all names */
  constructor(values: S) {
    this.now = signal(Object.freeze({ ...values }));
  }

  /** The current values. Objects are replaced, not changed. */
  get state(): Readonly<S> {
    return this.now.peek();
  }

  set(changes: Partial<S>) {
    const before = this.state;
    const changed = (Object.keys(changes) as (keyof S)[]).filter(
      (name) => before[name] !== changes[name],
    );
    if (!changed.length) return; // such as of most frames
    this.now.value = Object.freeze({ ...before, ...changes });
    for (const { names, react } of [...this.#watchers]) {
      if (names.some((name) => changed.includes(name))) react(this.state);
    }
  }

  /** Call a listener now and after every change of these values. */
  watch(names: (keyof S)[], react: (state: Readonly<S>) => void) {
    this.#watchers.push({ names, react });
    react(this.state);
  }
}

/** Use the browser's storage of this page. Return null if it is blocked, full or damaged. */
function attempt<T>(use: () => T): T | null {
  try {
    return use();
  } catch {
    return null;
  }
}

/** Values that the browser stores for this page; null for those that it does not. */
export const memory = {
  read: <T>(name: string) =>
    attempt(() => JSON.parse(localStorage.getItem(`sonjit.${name}`) ?? "null") as T | null),
  write: (name: string, value: unknown) =>
    attempt(() => localStorage.setItem(`sonjit.${name}`, JSON.stringify(value))),
};

/** Return a colour of the theme as canvases know it. */
export function colourOf(place: HTMLElement, name: string) {
  place.style.color = `var(${name})`;
  const { color } = getComputedStyle(place);
  place.style.color = "";
  return color;
}

/** Use the theme selected before, otherwise that of the system; connect the choice of a theme. */
function startTheme() {
  const choice = find<HTMLSelectElement>("theme");
  const root = document.documentElement;
  const use = (theme: string) => {
    root.dataset["theme"] = theme;
    // charts read colours
    root.dispatchEvent(new Event("theme"));
  };
  use(memory.read<string>("theme") ?? "");
  if (!choice) return;
  choice.value = root.dataset["theme"] ?? "";
  choice.onchange = () => {
    memory.write("theme", choice.value);
    use(choice.value);
  };
}

/** texts of the selected language; components that show one are drawn again after a change */
const texts = signal<Readonly<Record<string, string>>>({});
const listeners: (() => void)[] = [showMessage];

/**
 * Speak the language selected before, otherwise the browser's, otherwise the first of the
 * list; connect the choice of a language.
 *
 * @param folders of texts; the first one has the list of languages
 */
export async function startLanguage(...folders: URL[]) {
  startTheme();
  const choice = find("language");
  const list = await fetch(new URL("languages.json", folders[0]));
  const names: Record<string, string> = await list.json();
  const options = Object.entries(names).map(([value, name]) =>
    make("option", { value, lang: value }, name),
  );
  choice.replaceChildren(...options);
  const wanted = [
    memory.read<string>("language") ?? "",
    ...navigator.languages.map((tag) => tag.slice(0, 2)),
  ];
  choice.value =
    wanted.find((language) => Object.hasOwn(names, language)) ?? Object.keys(names)[0] ?? "";
  choice.onchange = () => {
    memory.write("language", choice.value);
    return speak(choice.value, ...folders);
  };
  await speak(choice.value, ...folders);
}

/**
 * Load a language and write its texts to the page.
 *
 * @param folders with more texts than those of this folder
 */
export async function speak(language: string, ...folders: URL[]) {
  const loaded = folders.map(async (folder) =>
    (await fetch(new URL(`${language}.json`, folder))).json(),
  );
  texts.value = Object.assign({}, ...(await Promise.all(loaded)));
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}

/** Call a listener now and after every change of the language. */
export function onLanguage(listener: () => void) {
  listeners.push(listener);
  if (Object.keys(texts.peek()).length) listener();
}

/** Return a text; the key if there is none. */
export const text = (key: string, values: Record<string, unknown> = {}): string =>
  textOr(key, key).replace(/\{(\w+)\}/g, (placeholder, name) =>
    String(values[name] ?? placeholder),
  );

/** Return a text, or another one if it does not exist. */
export const textOr = (key: string, otherwise: string) => texts.value[key] ?? otherwise;

/** Fill in all elements under a node that refer to a text. */
export function translate(root: ParentNode) {
  for (const node of root.querySelectorAll("[data-i18n]") as NodeListOf<HTMLElement>) {
    node.textContent = text(node.dataset.i18n ?? "");
  }
  for (const node of root.querySelectorAll("[data-i18n-label]") as NodeListOf<HTMLElement>)
    setLabel(node, node.dataset.i18nLabel ?? "");
}

/** Name an element for screen readers, and a button also for the pointer. */
export function setLabel(node: HTMLElement, key: string) {
  node.ariaLabel = text(key);
  if (node instanceof HTMLButtonElement) node.title = node.ariaLabel;
}

/** Error of the page. `code` is the key of its text. */
export class PageError extends Error {
  readonly code: string;
  readonly values: Record<string, unknown>;

  /** @param values for the text */
  constructor(code: string, values: Record<string, unknown> = {}) {
    super(code);
    this.name = "PageError";
    this.code = code;
    this.values = values;
  }
}

/** codes whose message of the server is the exact reason */
const REASONED = ["bad_image", "bad_option", "too_large", "too_many_pixels", "busy"];
let shown: unknown = null;

/**
 * Show an error in place of the last one; null for none.
 *
 * @param error a PageError, a ServerError or any other error
 */
export function showError(error: unknown) {
  shown = error;
  showMessage();
}

/** Show the last error, its remedy and the server's own message. */
function showMessage() {
  const place = find<HTMLElement>("message");
  if (!place) return;
  place.hidden = shown === null;
  if (shown === null) {
    delete place.dataset["code"];
    return place.replaceChildren();
  }
  const error = shown as { code?: string; message?: string; values?: Record<string, unknown> };
  const code = `error.${error.code}` in texts.peek() ? error.code : "unknown";
  place.dataset["code"] = code;
  const values = {
    host: location.hostname,
    port: location.port || 80,
    message: error.message ?? String(shown),
    ...error.values,
  };
  const isReason = !(shown instanceof PageError) && REASONED.includes(code!);
  const lines = [
    ["strong", isReason ? values.message : text(`error.${code}`, values)],
    ["span", text(`error.${code}.do`, values)],
    ["small", shown instanceof PageError || isReason ? "" : values.message],
  ] as const;
  const close = make(
    "button",
    {
      type: "button",
      className: "close",
      ariaLabel: text("close"),
      onclick: () => showError(null),
    },
    "×",
  );
  place.replaceChildren(
    ...lines.map(([tag, content]) => make(tag, { hidden: !content }, content)),
    close,
  );
}
