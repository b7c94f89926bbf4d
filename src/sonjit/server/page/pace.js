/** Updates all texts together a few times per second, because each update lays out the page. */

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
