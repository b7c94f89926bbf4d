/** What was done, to be undone and done again: groups of marks as they were and as they became. */

/** @typedef {import("./project.js").Mark} Mark */
/** @typedef {{before: Mark[], after: Mark[]}} Deed */

const MOST = 500;

export class Deeds {
  /** @type {Deed[]} */ #done = [];
  /** @type {Deed[]} */ #undone = [];

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** @param {Mark[]} before @param {Mark[]} after of the same places */
  add(before, after) {
    this.#done.push({ before, after });
    if (this.#done.length > MOST) this.#done.shift();
    this.#undone = [];
  }

  /** @returns {Mark[] | null} the marks to write */
  undo() {
    const deed = this.#done.pop();
    if (!deed) return null;
    this.#undone.push(deed);
    return deed.before;
  }

  /** @returns {Mark[] | null} */
  redo() {
    const deed = this.#undone.pop();
    if (!deed) return null;
    this.#done.push(deed);
    return deed.after;
  }
}
