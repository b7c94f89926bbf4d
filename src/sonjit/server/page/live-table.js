/** Table of current measures: a row for each measure, a column for each instance. */

import { onLanguage, text } from "./i18n.js";
import { measureName, shown, trackedOf } from "./measures.js";
import { Pace, put } from "./pace.js";
import { gestureOf } from "./painter.js";

const MOST_COLUMNS = 6;

export class LiveTable {
  #container;
  #pace = new Pace(() => this.#write());
  #layout = "";
  /** @type {Record<string, any>} */ #frame = {};
  /** @type {HTMLElement[]} in the order of the values */ #cells = [];

  /** @param {HTMLElement} container */
  constructor(container) {
    this.#container = container;
    onLanguage(() => {
      this.#layout = "";
      this.#write();
    });
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const isFirst = !Object.keys(this.#frame).length;
    this.#frame = frame;
    if (isFirst) this.#pace.now();
    else this.#pace.ask();
  }

  clear() {
    this.#frame = {};
    this.#pace.now();
  }

  #write() {
    const groups = Object.entries(Object.groupBy(trackedOf(this.#frame), ({ kind }) => kind));
    const tables = groups.map(([kind, found = []]) => ({ kind, found: found.slice(0, MOST_COLUMNS) }));
    const layout = JSON.stringify(tables.map(({ kind, found }) => [kind, found.map(({ label }) => label)]));
    if (layout !== this.#layout) this.#build(tables);
    this.#layout = layout;
    const values = tables.flatMap(({ found }) => rowsOf(found).flatMap(({ cells }) => cells));
    values.forEach((value, k) => put(this.#cells[k], value));
  }

  /** @param {{kind: string, found: import("./measures.js").Tracked[]}[]} tables */
  #build(tables) {
    const content = tables.map(({ found }) => {
      const head = row("th", "", ...found.map(({ label }) => label));
      for (const cell of head.children) cell.setAttribute("scope", "col");
      const body = document.createElement("tbody");
      body.append(...rowsOf(found).map(({ name, cells }) => {
        const line = row("td", name, ...cells);
        const title = Object.assign(document.createElement("th"), { textContent: name, scope: "row" });
        line.firstElementChild?.replaceWith(title);
        return line;
      }));
      const top = document.createElement("thead");
      top.append(head);
      const table = document.createElement("table");
      table.append(top, body);
      return table;
    });
    const nothing = Object.assign(document.createElement("p"), { className: "hint", textContent: text("live.empty") });
    this.#container.replaceChildren(...(content.length ? content : [nothing]));
    this.#cells = /** @type {HTMLElement[]} */ ([...this.#container.querySelectorAll("td")]);
  }
}

/** @param {import("./measures.js").Tracked[]} found of one kind @returns {{name: string, cells: string[]}[]} */
function rowsOf(found) {
  const names = [...new Set(found.flatMap(({ instance }) => Object.keys(instance.measures)))];
  const gestures = found.map(({ instance }) => gestureOf(instance) || "–");
  return [
    { name: text("live.score"), cells: found.map(({ instance }) => Number(instance.score).toFixed(2)) },
    ...(found.some(({ instance }) => "gesture" in instance) ? [{ name: text("live.gesture"), cells: gestures }] : []),
    ...names.map((name) => ({ name: measureName(name), cells: found.map(({ instance }) => shown(name, instance.measures[name])) })),
  ];
}

/** @param {"th" | "td"} tag @param {string[]} cells */
function row(tag, ...cells) {
  const line = document.createElement("tr");
  line.append(...cells.map((content) => Object.assign(document.createElement(tag), { textContent: content })));
  return line;
}
