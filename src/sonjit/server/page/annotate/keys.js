/** The keyboard: what each key does, in one table that the help shows as well. */

import { text } from "../i18n.js";

/** @typedef {{keys: string[], name: string, run: () => void}} Key `keys`: as they are shown, such as "Shift+M" */

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };

/** A key as the table writes it; letters by their place, so that they work while Hangul is typed. @param {KeyboardEvent} event */
export function nameOf(event) {
  const isLetter = event.code.startsWith("Key") && !/^[a-z]$/i.test(event.key);
  const key = isLetter ? event.code.slice(3) : event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const isPlain = event.key.length === 1 && !/^[a-z ]$/i.test(event.key) && !isLetter; // "?" needs Shift itself
  const parts = [event.ctrlKey || event.metaKey ? "Ctrl" : "", event.shiftKey && !isPlain ? "Shift" : "", event.altKey ? "Alt" : ""];
  return [...parts.filter(Boolean), NAMES[/** @type {keyof NAMES} */ (key)] ?? key].join("+");
}

/** @param {Key[]} table @param {() => boolean} isOn */
export function listenToKeys(table, isOn) {
  const deeds = new Map(table.flatMap(({ keys, run }) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const isField = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    const isButton = target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ");
    const isOwn = target instanceof HTMLElement && target.id === "view3d" && (event.key.startsWith("Arrow") || "+-=".includes(event.key));
    if (!isOn() || isField || isButton || isOwn || (target instanceof HTMLElement && target.tagName === "SUMMARY")) return;
    const deed = deeds.get(nameOf(event));
    if (!deed) return;
    event.preventDefault();
    deed();
  });
}

/** Write the table. @param {HTMLElement} place a dl @param {Key[]} table */
export function showKeys(place, table) {
  place.replaceChildren(...table.map(({ keys, name }) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const said = document.createElement("dd");
    term.append(...keys.flatMap((key, k) => [...(k ? [" "] : []), Object.assign(document.createElement("kbd"), { textContent: key })]));
    said.textContent = text(name);
    row.append(term, said);
    return row;
  }));
}
