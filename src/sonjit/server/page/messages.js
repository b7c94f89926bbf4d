/** Error messages with remedies. */

import { hasText, text } from "./i18n.js";

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
