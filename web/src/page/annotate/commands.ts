/**
 * The table of keyboard commands, also shown in the help, and commands that place marks
 * automatically.
 */

import { find, make, showError, text } from "../common.js";
import { ask, placeOf, spotOf, type FrameState, type MarkState } from "./project.js";
import type { Studio } from "./studio.js";
import type { Wall } from "./wall.js";

const ZOOM = 1.25;
const PAN_PX = 60;
const PER_HAND = 21;

/** @returns the keys of the help; `all` contains all keys */
export function commands(studio: Studio, wall: Wall): Key[] & { all: Key[] } {
  const view = () => studio.state.shown[studio.state.active]!;
  const state = (how: MarkState) => () => studio.setState(view(), how);
  const key = (keys: string, name: string, run: () => void) => ({
    keys: keys.split(" "),
    name: `key.${name}`,
    run,
  });

  /**
   * Return the joint's position in the active view: its mark, otherwise its projection or automatic
   * label.
   */
  const known = (): [number, number] | null => {
    const { seen, joint } = studio.state;
    return (
      spotOf(studio.ownMark(view(), joint)) ??
      seen.projected[view()]?.[joint] ??
      spotOf(studio.machineMark(view(), joint))
    );
  };

  /**
   * Return the position for keys: the cursor, otherwise the joint, otherwise the middle of the
   * view.
   */
  const spot = () => wall.cursor ?? known() ?? wall.active!.middle;

  const move = (dx: number, dy: number) => () => wall.moveCursor([spot()[0] + dx, spot()[1] + dy]);
  const arrows = (before: string, by: number) =>
    [
      [-1, 0, "←"],
      [1, 0, "→"],
      [0, -1, "↑"],
      [0, 1, "↓"],
    ].map(([dx, dy, arrow]) => ({
      keys: [before + arrow],
      name: "",
      run: move(Number(dx) * by, Number(dy) * by),
    }));

  const put = () => {
    const [x, y] = spot();
    wall.moveCursor(null);
    studio.mark(view(), studio.state.joint, x, y);
  };

  const centre = () => {
    const place = known();
    if (place) wall.active!.centre(place[0], place[1]);
  };

  /** Zoom all views to the hand of the joint, by marks, projections or automatic labels. */
  const zoomToHand = () => {
    const { joint, seen, shown } = studio.state;
    const joints = Array.from({ length: PER_HAND }, (_, k) => joint - (joint % PER_HAND) + k);
    shown.forEach((name, k) => {
      const places = joints.map(
        (at) =>
          spotOf(studio.ownMark(name, at)) ??
          spotOf(studio.machineMark(name, at)) ??
          seen.projected[name]?.[at],
      );
      wall.tiles[k]?.fitTo(places.filter(Boolean) as [number, number][]);
    });
  };

  const step = (id: string, by: number) => () => {
    find(id).value = String(Number(find(id).value) + by);
    find(id).dispatchEvent(new Event("input"));
  };

  const flip = (id: string) => () => find(id).click();

  const listed = [
    key(". N", "joint.next", () => studio.chooseJoint(studio.state.joint + 1)),
    key(", P", "joint.previous", () => studio.chooseJoint(studio.state.joint - 1)),
    key("W", "joint.wrist", () =>
      studio.chooseJoint(studio.state.joint - (studio.state.joint % PER_HAND)),
    ),
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
    key("C", "copy", () => copyPrevious(studio).catch(showError)),
    key("L", "label", () => askMachine(studio)),
    key("M", "accept", () => acceptMachine(studio, studio.state.joint)),
    key("Shift+M", "accept.all", () => acceptMachine(studio, null)),
    key("Z Ctrl+Z", "undo", () => studio.undo()),
    key("Y Ctrl+Y Ctrl+Shift+Z", "redo", () => studio.redo()),
    key("+ =", "zoom.in", () => wall.active!.zoomBy(ZOOM)),
    key("-", "zoom.out", () => wall.active!.zoomBy(1 / ZOOM)),
    key("0", "zoom.fit", () => wall.active!.fit()),
    key("R", "zoom.hand", zoomToHand),
    key("J", "centre", centre),
    key("I", "pan.up", () => wall.active!.panBy(0, PAN_PX)),
    key("K", "pan.down", () => wall.active!.panBy(0, -PAN_PX)),
    key("Shift+J", "pan.left", () => wall.active!.panBy(PAN_PX, 0)),
    key("Shift+L", "pan.right", () => wall.active!.panBy(-PAN_PX, 0)),
    key("B", "brighter", step("brightness", 0.1)),
    key("Shift+B", "darker", step("brightness", -0.1)),
    key("T", "contrast.more", step("contrast", 0.1)),
    key("Shift+T", "contrast.less", step("contrast", -0.1)),
    key("F", "single", () => wall.toggleSingle()),
    key("V", "others", flip("show-others")),
    key("E", "everyone", flip("everyone")),
    key("?", "help", () => find<HTMLDialogElement>("help").showModal()),
  ];
  const unlisted = [
    ...arrows("", 1),
    ...arrows("Shift+", 10),
    ...arrows("Alt+", 0.25),
    ...Array.from({ length: 9 }, (_, k) => ({
      keys: [String(k + 1)],
      name: "",
      run: () => wall.tiles[k]?.overlay.focus(),
    })),
  ];
  return Object.assign(listed, { all: [...listed, ...unlisted] });
}

/** `keys`: displayed names such as "Shift+M" */
type Key = { keys: string[]; name: string; run: () => void };

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };

/**
 * Return the name of a key. Letters are identified by position, so that they work with a Korean
 * layout.
 */
function nameOf(event: KeyboardEvent) {
  const isLetter = event.code.startsWith("Key") && !/^[a-z]$/i.test(event.key);
  const key = isLetter
    ? event.code.slice(3)
    : event.key.length === 1
      ? event.key.toUpperCase()
      : event.key;
  // "?" needs Shift itself
  const isPlain = event.key.length === 1 && !/^[a-z ]$/i.test(event.key) && !isLetter;
  const parts = [
    event.ctrlKey || event.metaKey ? "Ctrl" : "",
    event.shiftKey && !isPlain ? "Shift" : "",
    event.altKey ? "Alt" : "",
  ];
  return [...parts.filter(Boolean), NAMES[key as keyof typeof NAMES] ?? key].join("+");
}

const CONTROL_KEYS = new Set([
  "ArrowLeft",
  "ArrowRight",
  "ArrowUp",
  "ArrowDown",
  "Home",
  "End",
  "PageUp",
  "PageDown",
  "Enter",
  " ",
  "Escape",
  "Tab",
]);
const WITHOUT_TEXT = new Set(["range", "checkbox"]);

/**
 * Return whether a focused element needs a key for itself: every key in a text field, few in
 * others.
 */
function isKeyOf(target: HTMLElement, key: string) {
  if (target.tagName === "SUMMARY") return true;
  if (target instanceof HTMLSelectElement) return CONTROL_KEYS.has(key);
  if (target instanceof HTMLInputElement)
    return !WITHOUT_TEXT.has(target.type) || CONTROL_KEYS.has(key);
  if (target instanceof HTMLButtonElement) return key === "Enter" || key === " ";
  return target.id === "view3d" && (key.startsWith("Arrow") || "+-=".includes(key));
}

export function listenToKeys(table: Key[], isOn: () => boolean) {
  const actions = new Map(table.flatMap(({ keys, run }) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const action = actions.get(nameOf(event));
    if (!action || !isOn() || (target instanceof HTMLElement && isKeyOf(target, event.key))) return;
    event.preventDefault();
    action();
  });
}

/**
 * Show the table of commands.
 *
 * @param place a dl
 */
export function showKeys(place: HTMLElement, table: Key[]) {
  place.replaceChildren(
    ...table.map(({ keys, name }) => {
      const caps = keys.flatMap((key, k) => [k ? " " : "", make("kbd", {}, key)]);
      return make("div", {}, make("dt", {}, ...caps), make("dd", {}, text(name)));
    }),
  );
}

/** Mark the displayed views automatically. */
export async function askMachine(studio: Studio) {
  const { frame, annotator, joint, shown } = studio.state;
  studio.notify("labelling");
  try {
    studio.take(
      await ask("/prelabel", { frame, annotator, joint, view: shown }, { method: "POST" }),
      annotator,
    );
    const { length: count } = studio.state.seen.machine;
    studio.notify(count ? "labelled" : "no_hands", { count });
  } catch (error) {
    studio.notify("no_hands");
    showError(error);
  }
}

/**
 * Accept automatic marks where the annotator has none.
 *
 * @param joint null for all
 */
export function acceptMachine(studio: Studio, joint: number | null) {
  const { frame, seen, shown } = studio.state;
  const marks = studio.marksOf(frame);
  const wanted = seen.machine.filter(
    (item) =>
      (joint === null || item.joint === joint) &&
      shown.includes(item.view) &&
      !marks.has(placeOf(item)),
  );
  if (!wanted.length) return studio.notify("nothing_to_accept");
  studio.write(
    wanted.map(({ view, joint: k, x, y }) => ({
      id: "",
      frame,
      view,
      joint: k,
      x,
      y,
      state: "seen",
      source: "H+M",
    })),
  );
  return studio.notify("accepted", { count: wanted.length });
}

/** Copy missing marks from the previous frame. They are uncertain until they are checked. */
export async function copyPrevious(studio: Studio) {
  const { frame, annotator, shown } = studio.state;
  const { frames } = studio.project;
  const from = frames[frames.indexOf(frame) - 1];
  if (from === undefined) return studio.notify("nothing_to_copy");
  const { marks }: FrameState = await ask(`/frames/${from}`, { annotator, view: shown });
  const own = studio.marksOf(frame);
  const lacking = marks
    .map((mark) => ({ ...mark, frame }))
    .filter((mark) => !own.has(placeOf(mark)));
  if (!lacking.length) return studio.notify("nothing_to_copy");
  studio.write(
    lacking.map(({ view, joint, x, y, state, source }) => ({
      id: "",
      frame,
      view,
      joint,
      x,
      y,
      state: x === null ? state : "uncertain",
      source,
    })),
  );
  return studio.notify("copied", { count: lacking.length, frame: from });
}
