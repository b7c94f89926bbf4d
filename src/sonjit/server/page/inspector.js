/** Shows the last answer as text, one keypoint per line. */

const EVERY_MS = 250;
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
