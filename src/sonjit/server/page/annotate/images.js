/** Images of all views by frame: asked for once, kept for a while, fetched before they are needed. */

import { getImage } from "./project.js";

const KEPT = 60; // bitmaps

export class Images {
  /** @type {Map<string, Promise<ImageBitmap>>} the last used one last */ #kept = new Map();
  #turn = 0;

  /** @param {string} view @param {number} frame @param {number} longest */
  get(view, frame, longest) {
    const key = `${frame} ${longest} ${view}`;
    const known = this.#kept.get(key) ?? getImage(view, frame, longest);
    this.#kept.delete(key);
    this.#kept.set(key, known);
    known.catch(() => this.#kept.delete(key)); // it may be there the next time
    this.#forget();
    return known;
  }

  /**
   * Fetch what comes next, one after the other so that what is looked at goes first.
   *
   * @param {import("./project.js").View[]} views @param {number[]} frames the most likely one first @param {number} longest
   */
  async prepare(views, frames, longest) {
    const turn = (this.#turn += 1);
    for (const frame of frames) {
      if (turn !== this.#turn) return; // somebody turned the page meanwhile
      const there = views.filter(({ missing }) => !missing.includes(frame));
      await Promise.allSettled(there.map(({ name }) => this.get(name, frame, longest)));
    }
  }

  #forget() {
    for (const [key, image] of this.#kept) {
      if (this.#kept.size <= KEPT) return;
      this.#kept.delete(key);
      // It may be on the screen for a moment still.
      setTimeout(() => image.then((bitmap) => bitmap.close(), () => {}), 2000);
    }
  }
}
