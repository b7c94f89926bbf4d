/** What keys do. */

import { acceptMachine, askMachine, copyPrevious } from "./labels.js";
import { placeOf } from "./outbox.js";

const ZOOM = 1.25;
const PAN_PX = 60;

/**
 * @param {import("./studio.js").Studio} studio @param {import("./wall.js").Wall} wall @param {{help: () => void}} page
 * @returns {import("./keys.js").Key[] & {all: import("./keys.js").Key[]}} those that the help shows; `all` has every one
 */
export function commands(studio, wall, page) {
  const view = () => studio.state.shown[studio.state.active];
  const state = (/** @type {string} */ how) => () => studio.setState(view(), how);
  const key = (/** @type {string} */ keys, /** @type {string} */ name, /** @type {() => void} */ run) => ({ keys: keys.split(" "), name: `key.${name}`, run });

  const own = () => {
    const { frame, joint } = studio.state;
    return studio.marksOf(frame).get(placeOf({ frame, view: view(), joint }));
  };

  /** Where the keyboard points: the cursor, else the joint, else the middle of what is seen. @returns {[number, number]} */
  const spot = () => {
    const mark = own();
    const seen = studio.state.seen.projected[view()]?.[studio.state.joint];
    return wall.cursor ?? (mark?.x != null ? [mark.x, mark.y ?? 0] : seen ?? wall.active.middle);
  };

  const move = (/** @type {number} */ dx, /** @type {number} */ dy) => () => wall.moveCursor([spot()[0] + dx, spot()[1] + dy]);
  const arrows = (/** @type {string} */ before, /** @type {number} */ by) =>
    [[-1, 0, "←"], [1, 0, "→"], [0, -1, "↑"], [0, 1, "↓"]].map(([dx, dy, arrow]) => ({
      keys: [before + arrow], name: "", run: move(Number(dx) * by, Number(dy) * by),
    }));

  const put = () => {
    const [x, y] = spot();
    wall.moveCursor(null);
    studio.mark(view(), studio.state.joint, x, y);
  };

  const centre = () => {
    const place = own()?.x != null ? spot() : studio.state.seen.projected[view()]?.[studio.state.joint];
    if (place) wall.active.centre(place[0], place[1]);
  };

  const step = (/** @type {string} */ id, /** @type {number} */ by) => () => {
    const field = /** @type {HTMLInputElement} */ (document.getElementById(id));
    field.value = String(Number(field.value) + by);
    field.dispatchEvent(new Event("input"));
  };

  const flip = (/** @type {string} */ id) => () => /** @type {HTMLInputElement} */ (document.getElementById(id)).click();

  const focus = (/** @type {number} */ k) => () => wall.tiles[k]?.overlay.focus();

  const listed = [
    key(". N", "joint.next", () => studio.chooseJoint(studio.state.joint + 1)),
    key(", P", "joint.previous", () => studio.chooseJoint(studio.state.joint - 1)),
    key("H", "joint.hand", () => studio.chooseJoint(studio.state.joint + 21)),
    key("D PageDown", "frame.next", () => studio.step(1)),
    key("A PageUp", "frame.previous", () => studio.step(-1)),
    key("G", "frame.need", () => studio.goToNeed()),
    { keys: ["1", "…", "9"], name: "key.view", run: () => {} },
    { keys: ["← ↑ ↓ →"], name: "key.cursor", run: () => {} },
    key("Enter Space", "put", put),
    key("S", "seen", state("seen")),
    key("O", "occluded", state("occluded")),
    key("U", "uncertain", state("uncertain")),
    key("X", "absent", state("absent")),
    key("Delete Backspace", "clear", state("cleared")),
    key("C", "copy", () => copyPrevious(studio)),
    key("L", "label", () => askMachine(studio)),
    key("M", "accept", () => acceptMachine(studio, studio.state.joint)),
    key("Shift+M", "accept.all", () => acceptMachine(studio, null)),
    key("Z Ctrl+Z", "undo", () => studio.undo()),
    key("Y Ctrl+Y Ctrl+Shift+Z", "redo", () => studio.redo()),
    key("+ =", "zoom.in", () => wall.active.zoomBy(ZOOM)),
    key("-", "zoom.out", () => wall.active.zoomBy(1 / ZOOM)),
    key("0", "zoom.fit", () => wall.active.fit()),
    key("J", "centre", centre),
    key("I", "pan.up", () => wall.active.panBy(0, PAN_PX)),
    key("K", "pan.down", () => wall.active.panBy(0, -PAN_PX)),
    key("Shift+J", "pan.left", () => wall.active.panBy(PAN_PX, 0)),
    key("Shift+L", "pan.right", () => wall.active.panBy(-PAN_PX, 0)),
    key("B", "brighter", step("brightness", 0.1)),
    key("Shift+B", "darker", step("brightness", -0.1)),
    key("T", "contrast.more", step("contrast", 0.1)),
    key("Shift+T", "contrast.less", step("contrast", -0.1)),
    key("F", "single", () => wall.toggleSingle()),
    key("V", "others", flip("show-others")),
    key("E", "everyone", flip("everyone")),
    key("?", "help", page.help),
  ];
  const unlisted = [
    ...arrows("", 1), ...arrows("Shift+", 10), ...arrows("Alt+", 0.25),
    ...Array.from({ length: 9 }, (_, k) => ({ keys: [String(k + 1)], name: "", run: focus(k) })),
  ];
  return Object.assign(listed, { all: [...listed, ...unlisted] });
}
