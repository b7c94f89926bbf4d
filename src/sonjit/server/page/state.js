/** One store of what the page knows: plain values by name, and who wants to hear when they change. */

export class Store {
  #values;
  /** @type {Set<{names: string[], react: (state: any) => void}>} */ #watchers = new Set();

  /** @param {Record<string, any>} values all names that there are */
  constructor(values) {
    this.#values = Object.freeze({ ...values });
  }

  /** The values now; they never change in place. */
  get state() {
    return this.#values;
  }

  /** @param {Record<string, any>} changes */
  set(changes) {
    const before = this.#values;
    this.#values = Object.freeze({ ...before, ...changes });
    const changed = new Set(Object.keys(changes).filter((name) => before[name] !== changes[name]));
    for (const { names, react } of [...this.#watchers]) {
      if (names.some((name) => changed.has(name))) react(this.#values);
    }
  }

  /**
   * Hear now, and after every change of one of these values.
   *
   * @param {string[]} names @param {(state: any) => void} react
   */
  watch(names, react) {
    this.#watchers.add({ names, react });
    react(this.#values);
  }
}

/** What the browser remembers of this page; a browser may keep nothing. */
export const memory = {
  /** @param {string} name @returns {any} null where there is nothing */
  read(name) {
    try {
      return JSON.parse(localStorage.getItem(`sonjit.${name}`) ?? "null");
    } catch {
      return null;
    }
  },
  /** @param {string} name @param {unknown} value */
  write(name, value) {
    try {
      localStorage.setItem(`sonjit.${name}`, JSON.stringify(value));
    } catch {
      // storage is blocked or full
    }
  },
};
