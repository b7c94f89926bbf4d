/** Updates all texts together a few times per second, because each update lays out the page. */

import { call, thisServer } from "./endpoints.js";
import { instancesOf } from "./kinds.js";
import { gestureOf, nameOf } from "./painter.js";
import { measureName, shown, trackedOf } from "./plot.js";
import { onLanguage, text } from "./texts.js";

const EVERY_MS = 250;

export class Pace {
  #write;
  #turn = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #last;

  /** @param {() => void} write */
  constructor(write) {
    this.#write = write;
  }

  /** Request an update: at once if none ran in this interval, otherwise at its end. */
  ask() {
    if (Math.floor(performance.now() / EVERY_MS) !== this.#turn) this.now();
    else this.#last ??= setTimeout(() => this.now(), EVERY_MS);
  }

  now() {
    this.stop();
    this.#turn = Math.floor(performance.now() / EVERY_MS);
    this.#write();
  }

  /** Cancel the requested update. */
  stop() {
    clearTimeout(this.#last);
    this.#last = undefined;
  }
}

/** @param {Element} element @param {string} content */
export function put(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

const WINDOW_MS = 3000;
const PARTS = ["capture", "send", "detect", "draw"];

export class Meter {
  #places;
  /** @type {{at: number, [part: string]: number}[]} */ #samples = [];
  #dropped = 0;
  #pace = new Pace(() => this.#show());

  /** @param {{fps: HTMLElement, latency: HTMLElement, dropped: HTMLElement}} places */
  constructor(places) {
    this.#places = places;
  }

  /** @param {import("./detectors.js").Latency} latency @param {number} dropped in all */
  add(latency, dropped) {
    const at = performance.now();
    this.#samples.push({ at, ...latency });
    this.#samples = this.#samples.filter((sample) => sample.at > at - WINDOW_MS);
    this.#dropped = dropped;
    this.#pace.ask();
  }

  clear() {
    this.#pace.stop();
    this.#samples = [];
    const { fps, latency, dropped } = this.#places;
    fps.textContent = "–";
    dropped.textContent = "0";
    /** @type {HTMLElement} */ (latency.querySelector(".latency-text")).textContent = "–";
    for (const part of PARTS) {
      /** @type {HTMLElement} */ (latency.querySelector(`.bar .${part}`)).style.flexGrow = "0";
      delete (/** @type {HTMLElement} */ (latency.querySelector(`.legend .${part}`)).dataset.ms);
    }
    for (const name of [...PARTS, "total", "p95"]) delete latency.dataset[name];
  }

  #show() {
    const samples = this.#samples;
    const { fps, latency, dropped } = this.#places;
    const seconds = (samples[samples.length - 1].at - samples[0].at) / 1000;
    put(fps, samples.length > 1 ? ((samples.length - 1) / seconds).toFixed(1) : "–");
    put(dropped, String(this.#dropped));
    for (const part of PARTS) {
      const ms = mean(samples.map((sample) => sample[`${part}_ms`]));
      latency.dataset[part] = ms.toFixed(1);
      const bar = /** @type {HTMLElement} */ (latency.querySelector(`.bar .${part}`));
      bar.style.flexGrow = ms.toFixed(1);
      /** @type {HTMLElement} */ (latency.querySelector(`.legend .${part}`)).dataset.ms = ms.toFixed(0);
    }
    const totals = samples.map((sample) => sample.total_ms).sort((a, b) => a - b);
    latency.dataset.total = mean(totals).toFixed(1);
    latency.dataset.p95 = totals[Math.min(Math.floor(totals.length * 0.95), totals.length - 1)].toFixed(1);
    const label = text("latency.value", { total: Number(latency.dataset.total).toFixed(0), p95: Number(latency.dataset.p95).toFixed(0) });
    put(/** @type {HTMLElement} */ (latency.querySelector(".latency-text")), label);
  }
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {HTMLElement} list of buttons with the role "tab", each of which names its panel in `aria-controls` */
export function wireTabs(list) {
  const tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=tab]")]);
  const choose = (/** @type {HTMLElement} */ chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !isChosen;
    }
  };
  for (const [k, tab] of tabs.entries()) {
    tab.onclick = () => choose(tab);
    tab.onkeydown = ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(k + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    };
  }
  choose(tabs[0]);
}

const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** @param {(error: unknown) => void} failed */
export function wirePhone(failed) {
  /** @type {Record<string, any> | null} */ let found = null;
  const show = () => {
    if (!found) return;
    const { https, addresses, fingerprint } = found;
    find("phone-addresses").replaceChildren(...addresses.map(addressItem));
    find("phone-words").textContent = text(!addresses.length ? "phone.none" : https ? "phone.https" : "phone.http");
    find("phone-fingerprint").textContent = addresses.length && fingerprint ? `SHA-256 ${fingerprint}` : "";
  };
  find("phone").onclick = async () => {
    try {
      found = await call(new URL("/v1/addresses", thisServer));
    } catch (error) {
      return failed(error);
    }
    show();
    find("phone-dialog").showModal();
  };
  onLanguage(show);
}

/** @param {{url: string, qr: string | null}} address */
function addressItem({ url, qr }) {
  const node = document.createElement("li");
  if (qr) node.append(Object.assign(document.createElement("img"), { src: qr, alt: text("phone.qr", { url }) }));
  node.append(Object.assign(document.createElement("a"), { href: url, textContent: url }));
  return node;
}

const MAX_CHARACTERS = 60; // maximum number of characters of a text; masks are long

export class Inspector {
  #container;
  #at = 0;
  /** @type {Record<string, any> | null} */ #waiting = null;
  #seen = false;

  /** @param {HTMLElement} container */
  constructor(container) {
    this.#container = container;
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#seen = isIntersecting;
      this.#write();
    }).observe(container);
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const first = this.#waiting === null;
    this.#waiting = frame;
    if (first || (performance.now() - this.#at > EVERY_MS && this.#seen && !this.#isBeingRead())) this.#write();
  }

  clear() {
    this.#waiting = null;
    this.#container.textContent = "";
  }

  #write() {
    if (!this.#waiting) return;
    this.#at = performance.now();
    const { type, sent_ms, answered_ms, ...frame } = this.#waiting;
    this.#container.textContent = pretty(frame, "");
  }

  /** Check whether the user selects text, which new text would undo. */
  #isBeingRead() {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && this.#container.contains(selection.anchorNode));
  }
}

/** Return JSON with each object of plain values on one line. @param {any} value @param {string} indent @returns {string} */
function pretty(value, indent) {
  const isObject = value !== null && typeof value === "object";
  const values = isObject ? Object.values(value) : [];
  if (typeof value === "string" && value.length > MAX_CHARACTERS) return JSON.stringify(`${value.slice(0, MAX_CHARACTERS)}…`);
  if (!isObject || !values.length) return JSON.stringify(value);
  if (values.every((item) => typeof item === "number") && Array.isArray(value)) return JSON.stringify(value);
  const isFlat = !Array.isArray(value) && values.length <= 6 && values.every((item) => item === null || typeof item !== "object");
  if (isFlat) return `{${Object.entries(value).map(([key, item]) => `"${key}": ${JSON.stringify(item)}`).join(", ")}}`;
  const further = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => further + pretty(item, further))
    : Object.entries(value).map(([key, item]) => `${further}"${key}": ${pretty(item, further)}`);
  return `${Array.isArray(value) ? "[" : "{"}\n${lines.join(",\n")}\n${indent}${Array.isArray(value) ? "]" : "}"}`;
}

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

  /** @param {{kind: string, found: import("./plot.js").Tracked[]}[]} tables */
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

/** @param {import("./plot.js").Tracked[]} found of one kind @returns {{name: string, cells: string[]}[]} */
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

const MOST_EVENTS = 30;

/** @typedef {{node: HTMLElement, isOpen: boolean}} Shown */

export class GesturesView {
  #now;
  #events;
  /** @type {Map<string, Shown>} motions in progress by motion and hand */ #open = new Map();
  #shownText = "";
  /** @type {Record<string, any>} */ #frame = {};

  /** @param {HTMLElement} now list of hands @param {HTMLElement} events list of motions, the newest first */
  constructor(now, events) {
    this.#now = now;
    this.#events = events;
    onLanguage(() => {
      this.#shownText = "";
      this.#write();
    });
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    this.#frame = frame;
    this.#write();
    for (const event of frame.motions ?? []) this.#follow(event);
    for (const event of frame.events ?? []) {
      if (event.type === "gesture") this.#follow({ ...event, strength: event.value, count: 0, time: event.end ?? event.begin });
    }
  }

  clear() {
    this.#frame = {};
    this.#open.clear();
    this.#events.replaceChildren();
    this.#write();
  }

  #write() {
    const hands = instancesOf(this.#frame).filter(({ kind }) => kind === "hand");
    const lines = hands.map(({ kind, instance, person }) => {
      const gestureText = "gesture" in instance ? gestureOf(instance) || text("gestures.nothing") : text("gestures.off");
      return `${nameOf(kind, instance)} #${instance.id ?? person?.id ?? "–"}: ${gestureText}`;
    });
    const shownText = lines.join("\n") || text("gestures.empty");
    if (shownText === this.#shownText) return;
    this.#shownText = shownText;
    this.#now.replaceChildren(...shownText.split("\n").map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }

  /** @param {{name: string, phase: string, id: number, handedness: string, strength: number, count: number, time: number}} event */
  #follow(event) {
    const key = `${event.name} ${event.id} ${event.handedness}`;
    let entry = this.#open.get(key);
    if (!entry) {
      entry = { node: document.createElement("li"), isOpen: true };
      this.#open.set(key, entry);
      this.#events.prepend(entry.node);
      while (this.#events.children.length > MOST_EVENTS) this.#events.lastElementChild?.remove();
    }
    const bar = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: event.strength });
    bar.setAttribute("aria-label", text("gestures.strength"));
    const label = `${event.time.toFixed(1)} s · ${event.name.replaceAll("_", " ")} · #${event.id}`;
    const phase = Object.assign(document.createElement("span"), { className: "tag", textContent: text(`gestures.${event.phase}`) });
    const count = event.count ? ` × ${event.count.toFixed(1)}` : "";
    entry.node.replaceChildren(phase, ` ${label}${count} `, bar);
    if (event.phase === "end" || event.phase === "cancel") this.#open.delete(key);
  }
}
