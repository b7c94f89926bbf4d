/** Shows current gestures, the latest motions and held gestures, and the commands of a map. */

import { onLanguage, text } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { gestureOf, nameOf } from "./painter.js";

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
    let shown = this.#open.get(key);
    if (!shown) {
      shown = { node: document.createElement("li"), isOpen: true };
      this.#open.set(key, shown);
      this.#events.prepend(shown.node);
      while (this.#events.children.length > MOST_EVENTS) this.#events.lastElementChild?.remove();
    }
    const bar = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: event.strength });
    bar.setAttribute("aria-label", text("gestures.strength"));
    const label = `${event.time.toFixed(1)} s · ${event.name.replaceAll("_", " ")} · #${event.id}`;
    const phase = Object.assign(document.createElement("span"), { className: "tag", textContent: text(`gestures.${event.phase}`) });
    const count = event.count ? ` × ${event.count.toFixed(1)}` : "";
    shown.node.replaceChildren(phase, ` ${label}${count} `, bar);
    if (event.phase === "end" || event.phase === "cancel") this.#open.delete(key);
  }
}
