/** What hands say, as labels at the top of the image. */

import { onLanguage, text, textOr } from "./i18n.js";
import { instancesOf } from "./kinds.js";

/**
 * Every hand's gesture that has a name.
 *
 * @param {Record<string, any>} frame
 * @returns {{name: string, side: string, label: string}[]}
 */
export function gesturesOf(frame) {
  return instancesOf(frame).flatMap(({ kind, one }) => {
    const name = one.gesture?.name;
    if (kind !== "hand" || !name || name === "none") return [];
    return [{ name, side: one.handedness, label: `${text(`hand.${one.handedness}`)}: ${textOr(`gesture.${name}`, name)}` }];
  });
}

/** The labels over the stage. */
export class GestureView {
  #place;
  #shown = "";
  /** @type {Record<string, any>} the frame that is shown */ #frame = {};

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
    onLanguage(() => this.draw(this.#frame));
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    this.#frame = frame;
    const labels = gesturesOf(frame);
    const shown = labels.map(({ label }) => label).join("\n");
    if (shown === this.#shown) return; // a layout per frame would cost more than the drawing
    this.#shown = shown;
    this.#place.replaceChildren(...labels.map(({ name, side, label }) => {
      const pill = Object.assign(document.createElement("span"), { className: "pill", textContent: label });
      pill.dataset.gesture = name;
      pill.dataset.side = side;
      return pill;
    }));
  }

  clear() {
    this.draw({});
  }
}
