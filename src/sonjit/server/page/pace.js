/** When text is written anew: everything in one moment a few times a second, for each time the browser lays the whole page out. */

const EVERY_MS = 250;

export class Pace {
  #write;
  #turn = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #last;

  /** @param {() => void} write */
  constructor(write) {
    this.#write = write;
  }

  /** Something is new: write it now if nothing was written in this turn, else when nothing else comes. */
  ask() {
    if (Math.floor(performance.now() / EVERY_MS) !== this.#turn) this.now();
    else this.#last ??= setTimeout(() => this.now(), EVERY_MS);
  }

  now() {
    this.stop();
    this.#turn = Math.floor(performance.now() / EVERY_MS);
    this.#write();
  }

  /** Leave out what waits to be written. */
  stop() {
    clearTimeout(this.#last);
    this.#last = undefined;
  }
}

/** @param {Element} place @param {string} words */
export function put(place, words) {
  if (place.textContent !== words) place.textContent = words;
}
