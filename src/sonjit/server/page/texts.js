/** The store of the page's state: plain values by name, with listeners. */

export class Store {
  #values;
  /** @type {Set<{names: string[], react: (state: any) => void}>} */ #watchers = new Set();

  /** @param {Record<string, any>} values initial values of all names */
  constructor(values) {
    this.#values = Object.freeze({ ...values });
  }

  /** The current values. Objects are replaced, not changed. */
  get state() {
    return this.#values;
  }

  /** @param {Record<string, any>} changes */
  set(changes) {
    const before = this.#values;
    this.#values = Object.freeze({ ...before, ...changes });
    const changed = new Set(Object.keys(changes).filter((name) => before[name] !== changes[name]));
    for (const { names, react } of [...this.#watchers]) {
      if (names.some((name) => changed.has(name))) react(this.#values);
    }
  }

  /**
   * Call a listener now and after every change of these values.
   *
   * @param {string[]} names @param {(state: any) => void} react
   */
  watch(names, react) {
    this.#watchers.add({ names, react });
    react(this.#values);
  }
}

/** The browser's storage of this page, which may be unavailable. */
export const memory = {
  /** @param {string} name @returns {any} null without a value */
  read(name) {
    try {
      return JSON.parse(localStorage.getItem(`sonjit.${name}`) ?? "null");
    } catch {
      return null;
    }
  },
  /** @param {string} name @param {unknown} value */
  write(name, value) {
    try {
      localStorage.setItem(`sonjit.${name}`, JSON.stringify(value));
    } catch {
      // storage is blocked or full
    }
  },
};

const LANGUAGES = ["en", "ko"];
/** @type {Record<string, string>} */ let texts = {};
const folders = [new URL("i18n/", import.meta.url)];
/** @type {Set<() => void>} */ const listeners = new Set();

/** @returns {string} the language selected before, otherwise the browser's, otherwise English */
export function preferredLanguage() {
  const wanted = [memory.read("language"), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return wanted.find((language) => LANGUAGES.includes(language)) ?? "en";
}

/** Add a folder of texts; call this before `speak`. @param {URL} folder */
export function addTexts(folder) {
  folders.push(folder);
}

/** Load a language and write its texts to the page. @param {string} language */
export async function speak(language) {
  const answers = await Promise.all(folders.map((folder) => fetch(new URL(`${language}.json`, folder))));
  texts = Object.assign({}, ...(await Promise.all(answers.map((answer) => answer.json()))));
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}

/** Call a listener now and after every change of the language. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
  if (Object.keys(texts).length) listener();
}

/**
 * Return a text.
 *
 * @param {string} key @param {Record<string, unknown>} [values] @returns {string} the key if there is no text
 */
export function text(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (placeholder, name) => String(values[name] ?? placeholder));
}

/** Return a text, or another one if it does not exist. @param {string} key @param {string} otherwise */
export function textOr(key, otherwise) {
  return texts[key] ?? otherwise;
}

/** @param {string} key */
export function hasText(key) {
  return key in texts;
}

/** Fill in all elements under a node that refer to a text. @param {ParentNode} root */
export function translate(root) {
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n]"))) {
    node.textContent = text(node.dataset.i18n ?? "");
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-i18n-label]"))) {
    node.setAttribute("aria-label", text(node.dataset.i18nLabel ?? ""));
    if (node instanceof HTMLButtonElement) node.title = text(node.dataset.i18nLabel ?? "");
  }
}

const CAMERA = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_none",
  OverconstrainedError: "camera_none",
  NotReadableError: "camera_busy",
  AbortError: "camera_busy",
};

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

/**
 * Return the error of a camera.
 *
 * @param {unknown} error of getUserMedia
 */
export function cameraError(error) {
  const name = error instanceof Error ? error.name : "";
  return new PageError(CAMERA[/** @type {keyof CAMERA} */ (name)] ?? "camera_failed", { reason: String(error) });
}

/**
 * Return an error's message and remedy.
 *
 * @param {any} error a PageError, a ServerError or any other error
 * @returns {{code: string, title: string, action: string, detail: string}} `detail`: the server's message, or ""
 */
export function explain(error) {
  const code = hasText(`error.${error?.code}`) ? error.code : "unknown";
  const values = { host: location.hostname, port: location.port || 80, message: error?.message ?? String(error), ...error?.values };
  const detail = error instanceof PageError ? "" : values.message;
  return { code, title: text(`error.${code}`, values), action: text(`error.${code}.do`, values), detail };
}

/**
 * Show the last error in an element.
 *
 * @param {HTMLElement} container
 */
export function messagesIn(container) {
  /** @type {unknown} */ let shown = null;
  const render = () => {
    container.hidden = shown === null;
    if (shown === null) return container.replaceChildren();
    const { code, title, action, detail } = explain(shown);
    container.dataset.code = code;
    const close = Object.assign(document.createElement("button"), { type: "button", className: "close", textContent: "×" });
    close.setAttribute("aria-label", text("close"));
    close.onclick = () => api.clear();
    container.replaceChildren(line("strong", title), line("span", action), line("small", detail), close);
  };
  const api = {
    /** @param {unknown} error */
    show(error) {
      shown = error;
      render();
    },
    /** @param {string} [code] only if it is this one */
    clear(code) {
      if (code && container.dataset.code !== code) return;
      shown = null;
      delete container.dataset.code;
      render();
    },
    render,
  };
  return api;
}

/** @param {string} tag @param {string} content */
function line(tag, content) {
  const node = document.createElement(tag);
  node.textContent = content;
  node.hidden = !content;
  return node;
}
