/** Shows the last answer as text, one keypoint per line. */

const EVERY_MS = 250;
const LONGEST = 60; // letters of a text: masks are long

export class Inspector {
  #place;
  #at = 0;
  /** @type {Record<string, any> | null} */ #waiting = null;
  #seen = false;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#seen = isIntersecting;
      this.#write();
    }).observe(place);
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const first = this.#waiting === null;
    this.#waiting = frame;
    if (first || (performance.now() - this.#at > EVERY_MS && this.#seen && !this.#isBeingRead())) this.#write();
  }

  clear() {
    this.#waiting = null;
    this.#place.textContent = "";
  }

  #write() {
    if (!this.#waiting) return;
    this.#at = performance.now();
    const { type, sent_ms, answered_ms, ...frame } = this.#waiting;
    this.#place.textContent = pretty(frame, "");
  }

  /** Check whether the user selects text, which new text would undo. */
  #isBeingRead() {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && this.#place.contains(selection.anchorNode));
  }
}

/** Return JSON with each object of plain values on one line. @param {any} value @param {string} indent @returns {string} */
function pretty(value, indent) {
  const isObject = value !== null && typeof value === "object";
  const values = isObject ? Object.values(value) : [];
  if (typeof value === "string" && value.length > LONGEST) return JSON.stringify(`${value.slice(0, LONGEST)}…`);
  if (!isObject || !values.length) return JSON.stringify(value);
  if (values.every((one) => typeof one === "number") && Array.isArray(value)) return JSON.stringify(value);
  const isFlat = !Array.isArray(value) && values.length <= 6 && values.every((one) => one === null || typeof one !== "object");
  if (isFlat) return `{${Object.entries(value).map(([key, one]) => `"${key}": ${JSON.stringify(one)}`).join(", ")}}`;
  const further = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((one) => further + pretty(one, further))
    : Object.entries(value).map(([key, one]) => `${further}"${key}": ${pretty(one, further)}`);
  return `${Array.isArray(value) ? "[" : "{"}\n${lines.join(",\n")}\n${indent}${Array.isArray(value) ? "]" : "}"}`;
}
