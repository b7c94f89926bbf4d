/** The store of the page's state: plain values by name, with listeners. */

export class Store {
  #values;
  /** @type {Set<{names: string[], react: (state: any) => void}>} */ #watchers = new Set();

  /** @param {Record<string, any>} values initial values of all names */
  constructor(values) {
    this.#values = Object.freeze({ ...values });
  }

  /** The current values. Objects are replaced, not changed. */
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
   * Call a listener now and after every change of these values.
   *
   * @param {string[]} names @param {(state: any) => void} react
   */
  watch(names, react) {
    this.#watchers.add({ names, react });
    react(this.#values);
  }
}

/** The browser's storage of this page, which may be unavailable. */
export const memory = {
  /** @param {string} name @returns {any} null without a value */
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
