/** Shows the most probable classes of a photograph. A click on a class draws its class activation map over the image. */

import { find, makeButton } from "./dom.js";
import { ENGINE, call, hasNoServer, thisServer } from "./endpoints.js";
import { classes } from "./kinds.js";
import { paintSaliency } from "./saliency.js";
import { showError } from "./texts.js";

/** Wire the button below a still image. @param {() => Promise<File[]>} files files of the source @returns {() => void} removes classes and map */
export function wireClasses(files) {
  const [canvas, list] = [find("class-map"), find("class-list")];
  const clear = () => {
    canvas.hidden = true;
    list.replaceChildren();
  };
  const show = async () => {
    clear();
    const [file] = await files();
    const answer = await (hasNoServer ? classifyHere(file) : call(new URL("/v1/classes?top=5", thisServer), null, { method: "POST", body: file }));
    list.replaceChildren(...answer.classes.map((/** @type {any} */ found) => {
      const button = makeButton(`${found.name} ${Math.round(100 * found.probability)}%`, () => {
        for (const other of list.children) other.setAttribute("aria-pressed", String(other === button));
        draw(canvas, answer, found);
      }, { lang: "en" });
      return button;
    }));
    list.firstChild.click();
  };
  find("classify").onclick = () => show().catch(showError);
  return clear;
}

/** Return the answer of the server's endpoint. @param {File | undefined} file */
async function classifyHere(file) {
  const { classify } = await import(ENGINE);
  const image = await createImageBitmap(/** @type {File} */ (file));
  const found = await classify(image);
  return { width: image.width, height: image.height, classes: found.map((/** @type {any} */ one) => ({ ...one, name: classes[one.label] })) };
}

/** @param {HTMLCanvasElement} canvas @param {any} answer with the size of the image @param {any} found */
function draw(canvas, { width, height }, found) {
  Object.assign(canvas, { width, height, hidden: false });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  paintSaliency(context, { ...found, box: { cx: width / 2, cy: height / 2, width, height, rotation: 0 } });
}
