/** The gestures that hands make now, the motions of the last minute, and what a map would send. */

import { onLanguage, text } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { gestureOf, nameOf } from "./painter.js";

const MOST_EVENTS = 30;

/** @typedef {{node: HTMLElement, isOpen: boolean}} Shown */

export class GesturesView {
  #now;
  #events;
  /** @type {Map<string, Shown>} by motion and hand, those that go on */ #open = new Map();
  #said = "";
  /** @type {Record<string, any>} */ #frame = {};

  /** @param {HTMLElement} now list of hands @param {HTMLElement} events list of motions, the newest first */
  constructor(now, events) {
    this.#now = now;
    this.#events = events;
    onLanguage(() => {
      this.#said = "";
      this.#write();
    });
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    this.#frame = frame;
    this.#write();
    for (const event of frame.motions ?? []) this.#follow(event);
  }

  clear() {
    this.#frame = {};
    this.#open.clear();
    this.#events.replaceChildren();
    this.#write();
  }

  #write() {
    const hands = instancesOf(this.#frame).filter(({ kind }) => kind === "hand");
    const lines = hands.map(({ kind, one, person }) => {
      const made = "gesture" in one ? gestureOf(one) || text("gestures.nothing") : text("gestures.off");
      return `${nameOf(kind, one)} #${one.id ?? person?.id ?? "–"}: ${made}`;
    });
    const said = lines.join("\n") || text("gestures.empty");
    if (said === this.#said) return;
    this.#said = said;
    this.#now.replaceChildren(...said.split("\n").map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }

  /** @param {{name: string, phase: string, id: number, handedness: string, strength: number, count: number, time: number}} event */
  #follow(event) {
    const key = `${event.name} ${event.id} ${event.handedness}`;
    let shown = this.#open.get(key);
    if (!shown) {
      shown = { node: document.createElement("li"), isOpen: true };
      this.#open.set(key, shown);
      this.#events.prepend(shown.node);
      while (this.#events.children.length > MOST_EVENTS) this.#events.lastElementChild?.remove();
    }
    const bar = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: event.strength });
    bar.setAttribute("aria-label", text("gestures.strength"));
    const words = `${event.time.toFixed(1)} s · ${event.name.replaceAll("_", " ")} · #${event.id}`;
    const phase = Object.assign(document.createElement("span"), { className: "tag", textContent: text(`gestures.${event.phase}`) });
    const count = event.count ? ` × ${event.count.toFixed(1)}` : "";
    shown.node.replaceChildren(phase, ` ${words}${count} `, bar);
    if (event.phase === "end" || event.phase === "cancel") this.#open.delete(key);
  }
}
