/** Elements of the page. */

/** @param {string} id @returns {any} */
export const find = (id) => document.getElementById(id);

/** Return a new element. @param {string} tag @param {Record<string, any>} [members] @param {(Node | string)[]} inside @returns {any} */
export function make(tag, members = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}

/** Return a button. @param {string} label @param {() => void} onclick @param {Record<string, any>} [members] */
export const makeButton = (label, onclick, members = {}) => make("button", { type: "button", className: "button small", onclick, ...members }, label);

/** Return a row of a table. @param {string} head @param {(string | number)[]} cells @param {"td" | "th"} [tag] */
export function makeRow(head, cells, tag = "td") {
  const title = head ? make("th", { scope: tag === "th" ? "col" : "row" }, head) : make("td");
  return make("tr", {}, title, ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))));
}

/** Write a text only if it differs, because each change lays out the page. @param {Element} element @param {string} content */
export function put(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/** Set the size of a canvas if it differs, which clears it. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

/** Fit a canvas to its pixels of the screen and clear it. The unit of the context is a CSS pixel. @param {HTMLCanvasElement} canvas */
export function clearedContext(canvas) {
  fit(canvas, Math.round(canvas.clientWidth * devicePixelRatio), Math.round(canvas.clientHeight * devicePixelRatio));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

/** Return a function that requests one call of another with the next frame of the screen. @param {() => void} draw */
export function onNextFrame(draw) {
  let request = 0;
  return () => {
    cancelAnimationFrame(request);
    request = requestAnimationFrame(draw);
  };
}

/** Download a file. @param {Blob | null} blob @param {string} name */
export function save(blob, name) {
  if (!blob) return;
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
