/** The page's texts by key, from i18n/LANGUAGE.json. `{name}` in a text is a placeholder. */

import { memory } from "./state.js";

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
