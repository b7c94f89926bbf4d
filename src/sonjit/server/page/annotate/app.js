// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  view3D
} from "../shared-view3d.js";
import {
  INK,
  LEFT,
  NEUTRAL,
  RIGHT,
  ServerError,
  Store,
  addressOf,
  call,
  clearedContext,
  find,
  make,
  makeRow,
  memory,
  onLanguage,
  onNextFrame,
  put,
  responseOf,
  showError,
  startLanguage,
  text,
  withQuery,
  withToken
} from "../shared-strokes.js";

// src/page/annotate/project.ts
var endpoint = (path, query = {}) => withQuery(addressOf(`/v1/annotate${path}`), query);
var ask = (path, query, request) => call(endpoint(path, query), null, request);
var getImage = async (view, frame, longest) => (await responseOf(endpoint("/image", { view, frame, longest }))).blob();
var AT_ONCE = 500;
var AGAIN_MS = 1500;
var spotOf = (mark) => mark?.x == null || mark.y === null ? null : [mark.x, mark.y];
var placeOf = ({ frame, view, joint }) => `${frame} ${joint} ${view}`;
var isComplete = ({ frames, joints }, frame) => frame in joints && (frames[frame] ?? 0) >= joints[frame];
function outboxOf(project, annotator, on) {
  const name = `annotate.unsent.${project}.${annotator}`;
  const stored = memory.read(name) ?? [];
  const waiting = new Map(stored.map((mark) => [placeOf(mark), mark]));
  let sent = [];
  const versions = /* @__PURE__ */ new Map();
  let running = false;
  function add(marks) {
    for (const mark of marks) {
      waiting.delete(placeOf(mark));
      waiting.set(placeOf(mark), { ...mark, base: versions.get(placeOf(mark)) ?? 0 });
    }
    keep();
    void run();
  }
  function keep() {
    memory.write(name, [...sent, ...waiting.values()]);
    on.changed();
  }
  async function run() {
    if (running) return;
    running = true;
    while (waiting.size) {
      const marks = [...waiting.values()].slice(0, AT_ONCE);
      sent = marks;
      for (const mark of marks) waiting.delete(placeOf(mark));
      const answer = await send(marks);
      sent = [];
      keep();
      if (answer) on.answer(answer.state);
    }
    running = false;
  }
  async function send(marks) {
    const based = marks.map((mark) => ({
      ...mark,
      base: versions.get(placeOf(mark)) ?? mark.base ?? 0
    }));
    const query = { ...on.query(marks[marks.length - 1].frame), annotator };
    for (; ; ) {
      try {
        const answer = await ask("/marks", query, {
          method: "POST",
          body: JSON.stringify({ annotator, marks: based })
        });
        const places = new Map(marks.map((mark) => [mark.id, placeOf(mark)]));
        for (const { id, version } of answer.written) versions.set(places.get(id) ?? "", version);
        for (const { there } of answer.refused) versions.set(placeOf(there), there.version);
        if (answer.refused.length) on.refused(answer.refused);
        return answer;
      } catch (error) {
        const lost = error instanceof ServerError && error.code === "bad_option";
        on.error(error, lost);
        if (lost) return null;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
  void run();
  return {
    add,
    /** Return the unconfirmed marks of a frame. */
    pending: (frame) => [...sent, ...waiting.values()].filter((mark) => mark.frame === frame),
    /**
     * Store the versions on the server.
     *
     * @param marks of this annotator
     */
    learn: (marks) => marks.forEach((mark) => versions.set(placeOf(mark), mark.version ?? 0)),
    count: () => waiting.size + sent.length
  };
}

// src/page/annotate/commands.ts
var ZOOM = 1.25;
var PAN_PX = 60;
var PER_HAND = 21;
function commands(studio2, wall2) {
  const view = () => studio2.state.shown[studio2.state.active];
  const state = (how) => () => studio2.setState(view(), how);
  const key = (keys2, name, run) => ({
    keys: keys2.split(" "),
    name: `key.${name}`,
    run
  });
  const known = () => {
    const { seen, joint } = studio2.state;
    return spotOf(studio2.ownMark(view(), joint)) ?? seen.projected[view()]?.[joint] ?? spotOf(studio2.machineMark(view(), joint));
  };
  const spot = () => wall2.cursor ?? known() ?? wall2.active.middle;
  const move = (dx, dy) => () => wall2.moveCursor([spot()[0] + dx, spot()[1] + dy]);
  const arrows = (before, by) => [
    [-1, 0, "←"],
    [1, 0, "→"],
    [0, -1, "↑"],
    [0, 1, "↓"]
  ].map(([dx, dy, arrow]) => ({
    keys: [before + arrow],
    name: "",
    run: move(Number(dx) * by, Number(dy) * by)
  }));
  const put2 = () => {
    const [x, y] = spot();
    wall2.moveCursor(null);
    studio2.mark(view(), studio2.state.joint, x, y);
  };
  const centre = () => {
    const place = known();
    if (place) wall2.active.centre(place[0], place[1]);
  };
  const zoomToHand = () => {
    const { joint, seen, shown } = studio2.state;
    const joints = Array.from({ length: PER_HAND }, (_, k) => joint - joint % PER_HAND + k);
    shown.forEach((name, k) => {
      const places = joints.map(
        (at) => spotOf(studio2.ownMark(name, at)) ?? spotOf(studio2.machineMark(name, at)) ?? seen.projected[name]?.[at]
      );
      wall2.tiles[k]?.fitTo(places.filter(Boolean));
    });
  };
  const step = (id, by) => () => {
    find(id).value = String(Number(find(id).value) + by);
    find(id).dispatchEvent(new Event("input"));
  };
  const flip = (id) => () => find(id).click();
  const listed = [
    key(". N", "joint.next", () => studio2.chooseJoint(studio2.state.joint + 1)),
    key(", P", "joint.previous", () => studio2.chooseJoint(studio2.state.joint - 1)),
    key(
      "W",
      "joint.wrist",
      () => studio2.chooseJoint(studio2.state.joint - studio2.state.joint % PER_HAND)
    ),
    key("H", "joint.hand", () => studio2.chooseJoint(studio2.state.joint + 21)),
    key("D PageDown", "frame.next", () => studio2.step(1)),
    key("A PageUp", "frame.previous", () => studio2.step(-1)),
    key("G", "frame.need", () => studio2.goToNeed()),
    { keys: ["1", "…", "9"], name: "key.view", run: () => {
    } },
    { keys: ["← ↑ ↓ →"], name: "key.cursor", run: () => {
    } },
    key("Enter Space", "put", put2),
    key("S", "seen", state("seen")),
    key("O", "occluded", state("occluded")),
    key("U", "uncertain", state("uncertain")),
    key("X", "absent", state("absent")),
    key("Delete Backspace", "clear", state("cleared")),
    key("C", "copy", () => copyPrevious(studio2).catch(showError)),
    key("L", "label", () => askMachine(studio2)),
    key("M", "accept", () => acceptMachine(studio2, studio2.state.joint)),
    key("Shift+M", "accept.all", () => acceptMachine(studio2, null)),
    key("Z Ctrl+Z", "undo", () => studio2.undo()),
    key("Y Ctrl+Y Ctrl+Shift+Z", "redo", () => studio2.redo()),
    key("+ =", "zoom.in", () => wall2.active.zoomBy(ZOOM)),
    key("-", "zoom.out", () => wall2.active.zoomBy(1 / ZOOM)),
    key("0", "zoom.fit", () => wall2.active.fit()),
    key("R", "zoom.hand", zoomToHand),
    key("J", "centre", centre),
    key("I", "pan.up", () => wall2.active.panBy(0, PAN_PX)),
    key("K", "pan.down", () => wall2.active.panBy(0, -PAN_PX)),
    key("Shift+J", "pan.left", () => wall2.active.panBy(PAN_PX, 0)),
    key("Shift+L", "pan.right", () => wall2.active.panBy(-PAN_PX, 0)),
    key("B", "brighter", step("brightness", 0.1)),
    key("Shift+B", "darker", step("brightness", -0.1)),
    key("T", "contrast.more", step("contrast", 0.1)),
    key("Shift+T", "contrast.less", step("contrast", -0.1)),
    key("F", "single", () => wall2.toggleSingle()),
    key("V", "others", flip("show-others")),
    key("E", "everyone", flip("everyone")),
    key("?", "help", () => find("help").showModal())
  ];
  const unlisted = [
    ...arrows("", 1),
    ...arrows("Shift+", 10),
    ...arrows("Alt+", 0.25),
    ...Array.from({ length: 9 }, (_, k) => ({
      keys: [String(k + 1)],
      name: "",
      run: () => wall2.tiles[k]?.overlay.focus()
    }))
  ];
  return Object.assign(listed, { all: [...listed, ...unlisted] });
}
var NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };
function nameOf(event) {
  const isLetter = event.code.startsWith("Key") && !/^[a-z]$/i.test(event.key);
  const key = isLetter ? event.code.slice(3) : event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const isPlain = event.key.length === 1 && !/^[a-z ]$/i.test(event.key) && !isLetter;
  const parts = [
    event.ctrlKey || event.metaKey ? "Ctrl" : "",
    event.shiftKey && !isPlain ? "Shift" : "",
    event.altKey ? "Alt" : ""
  ];
  return [...parts.filter(Boolean), NAMES[key] ?? key].join("+");
}
var CONTROL_KEYS = /* @__PURE__ */ new Set([
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
  "Tab"
]);
var WITHOUT_TEXT = /* @__PURE__ */ new Set(["range", "checkbox"]);
function isKeyOf(target, key) {
  if (target.tagName === "SUMMARY") return true;
  if (target instanceof HTMLSelectElement) return CONTROL_KEYS.has(key);
  if (target instanceof HTMLInputElement)
    return !WITHOUT_TEXT.has(target.type) || CONTROL_KEYS.has(key);
  if (target instanceof HTMLButtonElement) return key === "Enter" || key === " ";
  return target.id === "view3d" && (key.startsWith("Arrow") || "+-=".includes(key));
}
function listenToKeys(table, isOn) {
  const actions = new Map(table.flatMap(({ keys: keys2, run }) => keys2.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const action = actions.get(nameOf(event));
    if (!action || !isOn() || target instanceof HTMLElement && isKeyOf(target, event.key)) return;
    event.preventDefault();
    action();
  });
}
function showKeys(place, table) {
  place.replaceChildren(
    ...table.map(({ keys: keys2, name }) => {
      const caps = keys2.flatMap((key, k) => [k ? " " : "", make("kbd", {}, key)]);
      return make("div", {}, make("dt", {}, ...caps), make("dd", {}, text(name)));
    })
  );
}
async function askMachine(studio2) {
  const { frame, annotator, joint, shown } = studio2.state;
  studio2.notify("labelling");
  try {
    studio2.take(
      await ask("/prelabel", { frame, annotator, joint, view: shown }, { method: "POST" }),
      annotator
    );
    const { length: count } = studio2.state.seen.machine;
    studio2.notify(count ? "labelled" : "no_hands", { count });
  } catch (error) {
    studio2.notify("no_hands");
    showError(error);
  }
}
function acceptMachine(studio2, joint) {
  const { frame, seen, shown } = studio2.state;
  const marks = studio2.marksOf(frame);
  const wanted = seen.machine.filter(
    (item) => (joint === null || item.joint === joint) && shown.includes(item.view) && !marks.has(placeOf(item))
  );
  if (!wanted.length) return studio2.notify("nothing_to_accept");
  studio2.write(
    wanted.map(({ view, joint: k, x, y }) => ({
      id: "",
      frame,
      view,
      joint: k,
      x,
      y,
      state: "seen",
      source: "H+M"
    }))
  );
  return studio2.notify("accepted", { count: wanted.length });
}
async function copyPrevious(studio2) {
  const { frame, annotator, shown } = studio2.state;
  const { frames } = studio2.project;
  const from = frames[frames.indexOf(frame) - 1];
  if (from === void 0) return studio2.notify("nothing_to_copy");
  const { marks } = await ask(`/frames/${from}`, { annotator, view: shown });
  const own = studio2.marksOf(frame);
  const lacking = marks.map((mark) => ({ ...mark, frame })).filter((mark) => !own.has(placeOf(mark)));
  if (!lacking.length) return studio2.notify("nothing_to_copy");
  studio2.write(
    lacking.map(({ view, joint, x, y, state, source }) => ({
      id: "",
      frame,
      view,
      joint,
      x,
      y,
      state: x === null ? state : "uncertain",
      source
    }))
  );
  return studio2.notify("copied", { count: lacking.length, frame: from });
}

// src/page/annotate/studio.ts
var HAND = 21;
var SHOWN = 6;
var MOST_EDITS = 500;
var NOTHING = {
  frame: -1,
  version: -1,
  marks: [],
  others: [],
  machine: [],
  conflicts: [],
  points_m: [],
  projected: {},
  residuals_px: {},
  lines: {},
  bones: [],
  sigma_mm: []
};
var Studio = class {
  project;
  // known after `open`
  store = new Store({
    annotator: "",
    frame: -1,
    joint: 0,
    shown: [],
    active: 0,
    everyone: false,
    seen: NOTHING,
    progress: { version: -1, joints: {}, frames: {}, needs: {} },
    unsent: 0,
    offline: false,
    notice: null
  });
  /** Groups of marks before and after each edit, for undo and redo. */
  edits = { done: [], undone: [] };
  /** Unconfirmed marks by annotator; each continues to send after another annotator begins. */
  #outboxes = /* @__PURE__ */ new Map();
  get #outbox() {
    return this.#outboxes.get(this.state.annotator);
  }
  get state() {
    return this.store.state;
  }
  async open() {
    this.project = await ask("");
    const views = this.project.views.map(({ name }) => name);
    const before = memory.read(`annotate.views.${this.project.name}`) ?? [];
    this.store.set({
      shown: before.length && before.every((name) => views.includes(name)) ? before : spread(views)
    });
  }
  async begin(annotator) {
    memory.write("annotate.annotator", annotator);
    this.edits = { done: [], undone: [] };
    this.store.set({ annotator, frame: -1, seen: NOTHING });
    if (!this.#outbox) this.#outboxes.set(annotator, this.#newOutbox(annotator));
    this.#showUnsent();
    const last = memory.read(`annotate.frame.${this.project.name}`);
    await Promise.all([
      this.goTo(this.project.frames.find((frame) => frame === last) ?? this.project.frames[0]),
      this.loadProgress()
    ]);
  }
  #newOutbox(annotator) {
    return outboxOf(this.project.name, annotator, {
      answer: (answer) => this.take(answer, annotator),
      refused: (refused) => this.notify("refused", { count: refused.length }),
      error: (error, isLost) => isLost ? showError(error) : this.store.set({ offline: true }),
      changed: () => this.#showUnsent(),
      query: (frame) => this.#query(frame === this.state.frame)
    });
  }
  #showUnsent() {
    this.store.set({ unsent: this.#outbox?.count() ?? 0 });
  }
  /** @param key of a text */
  notify(key, values = {}) {
    this.store.set({ notice: { key, values } });
  }
  /** Return the marks of this annotator by key, including unconfirmed ones. */
  marksOf(frame) {
    const known = this.state.seen.frame === frame ? this.state.seen.marks : [];
    const marks = new Map(known.map((mark) => [placeOf(mark), mark]));
    for (const mark of this.#outbox?.pending(frame) ?? []) marks.set(placeOf(mark), mark);
    for (const [place, mark] of marks) if (mark.state === "cleared") marks.delete(place);
    return marks;
  }
  /** Return the mark of this annotator of a joint in a view of the frame. */
  ownMark(view, joint) {
    const { frame } = this.state;
    return this.marksOf(frame).get(placeOf({ frame, view, joint }));
  }
  /** Return the automatic mark of a joint in a view. */
  machineMark(view, joint) {
    return this.state.seen.machine.find((item) => item.view === view && item.joint === joint);
  }
  async goTo(frame) {
    if (frame === this.state.frame || !this.project.frames.includes(frame)) return;
    this.store.set({ frame, seen: NOTHING });
    memory.write(`annotate.frame.${this.project.name}`, frame);
    await this.reload();
  }
  step(by) {
    const { frames } = this.project;
    const place = Math.min(Math.max(frames.indexOf(this.state.frame) + by, 0), frames.length - 1);
    return this.goTo(frames[place]);
  }
  /**
   * Return the unfinished frame with the highest review priority; without a ranking the next one.
   */
  async goToNeed() {
    await this.loadProgress();
    const { frames } = this.project;
    const { progress } = this.state;
    const { needs } = progress;
    const here = frames.indexOf(this.state.frame);
    const open = [...frames.slice(here + 1), ...frames.slice(0, here)].filter(
      (frame) => !isComplete(progress, frame)
    );
    const ranked = open.filter((frame) => frame in needs).sort((a, b) => needs[b].score - needs[a].score);
    const wanted = ranked[0] ?? open[0];
    if (wanted === void 0) return this.notify("all_done");
    this.notify(needs[wanted]?.why ? "need" : "moved", { frame: wanted, why: needs[wanted]?.why });
    return this.goTo(wanted);
  }
  async reload() {
    const { frame, annotator } = this.state;
    if (annotator && frame >= 0)
      await ask(`/frames/${frame}`, this.#query(true)).then((state) => this.take(state, annotator)).catch(showError);
  }
  chooseJoint(joint) {
    const wanted = (joint + 2 * HAND) % (2 * HAND);
    if (wanted === this.state.joint) return void 0;
    this.store.set({ joint: wanted });
    return this.reload();
  }
  chooseView(tile, name) {
    const shown = [...this.state.shown];
    const other = shown.indexOf(name);
    if (other >= 0) shown[other] = shown[tile];
    shown[tile] = name;
    return this.#show(shown);
  }
  /** @param count of views at once */
  showCount(count) {
    const all = this.project.views.map(({ name }) => name);
    return this.#show([.../* @__PURE__ */ new Set([...this.state.shown, ...all])].slice(0, count));
  }
  /** @param shown names of views */
  #show(shown) {
    memory.write(`annotate.views.${this.project.name}`, shown);
    this.store.set({ shown, active: Math.min(this.state.active, shown.length - 1) });
    return this.reload();
  }
  /**
   * Mark a joint in a view. All changes of single marks use this method.
   *
   * @param source H, or H+M if an automatic mark was moved
   */
  mark(view, joint, x, y, state, source) {
    const before = this.ownMark(view, joint);
    const how = state ?? (before?.state === "occluded" ? "occluded" : "seen");
    const by = source ?? (before?.source === "H+M" ? "H+M" : "H");
    this.write([{ id: "", frame: this.state.frame, view, joint, x, y, state: how, source: by }]);
  }
  /** Set the visibility of the selected joint. */
  setState(view, state) {
    const { joint, seen } = this.state;
    const mark = this.ownMark(view, joint);
    const spot = state === "absent" || state === "cleared" ? [null, null] : spotOf(mark) ?? seen.projected[view]?.[joint];
    if (!spot) this.notify("place_first");
    else if (mark || state !== "cleared") this.mark(view, joint, spot[0], spot[1], state);
  }
  undo = () => this.#reapply(this.edits.done, this.edits.undone, "before", "undone");
  redo = () => this.#reapply(this.edits.undone, this.edits.done, "after", "redone");
  loadProgress = () => ask("/progress").then((progress) => this.store.set({ progress })).catch(showError);
  /** Fetch the marks of other annotators. */
  async poll() {
    const { seen, frame, annotator, progress } = this.state;
    if (!annotator || seen === NOTHING) return;
    try {
      const { version, frames } = await ask("/changes", { since: seen.version });
      this.store.set({ offline: false });
      if (version !== progress.version) await this.loadProgress();
      if (version === seen.version) return;
      if (String(frame) in frames) await this.reload();
      else this.store.set({ seen: { ...this.state.seen, version } });
    } catch {
      this.store.set({ offline: true });
    }
  }
  /** Write the marks of the last edit of one list, and move it to the other. */
  async #reapply(from, to, when, word) {
    const edit = from.pop();
    if (!edit) return this.notify(`nothing_${word}`);
    to.push(edit);
    const marks = edit[when];
    if (marks[0].frame !== this.state.frame) await this.goTo(marks[0].frame);
    this.#send(marks);
    return this.notify(word);
  }
  /** Apply an edit: marks of one frame that are undone together. */
  write(after) {
    const marks = this.marksOf(after[0].frame);
    const before = after.map(
      (mark) => marks.get(placeOf(mark)) ?? { ...mark, x: null, y: null, state: "cleared", source: "H" }
    );
    this.edits = { done: [...this.edits.done, { before, after }].slice(-MOST_EDITS), undone: [] };
    this.#send(after);
  }
  #send(marks) {
    this.#outbox?.add(
      marks.map(({ frame, view, joint, x, y, state, source }) => ({
        id: newId(),
        frame,
        view,
        joint,
        x,
        y,
        state,
        source
      }))
    );
    this.store.set({ seen: { ...this.state.seen } });
  }
  /** Store the server's state of a frame as an annotator sees it. */
  take(answer, annotator) {
    this.#outboxes.get(annotator)?.learn(answer.marks);
    if (annotator !== this.state.annotator) return;
    this.store.set({
      offline: false,
      ...answer.frame === this.state.frame ? { seen: answer } : {}
    });
  }
  #query(isHere) {
    const { annotator, joint, everyone, shown } = this.state;
    return {
      annotator,
      view: shown,
      ...isHere ? { joint } : {},
      ...everyone ? { points: "all" } : {}
    };
  }
};
var spread = (names) => names.length <= SHOWN ? names : Array.from({ length: SHOWN }, (_, k) => names[Math.floor(k * names.length / SHOWN)]);
var newId = () => Array.from(
  crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, "0")
).join("");

// src/page/annotate/tile.ts
var GRAB_PX = 9;
var MOVED_PX = 4;
function wirePointers(tile, on) {
  const { overlay } = tile;
  const pointers = /* @__PURE__ */ new Map();
  let drag = null;
  const placeAt = (u, v) => tile.inside(...tile.take(u, v));
  function jointAt(u, v) {
    const { scene } = tile;
    const near = [...scene?.marks ?? [], ...scene?.machine ?? []].map(([joint, mark]) => {
      const [x, y] = tile.put(mark.x ?? Infinity, mark.y ?? Infinity);
      return { joint, away: Math.hypot(x - u, y - v) };
    }).filter(({ away }) => away <= GRAB_PX).sort((a, b) => a.away - b.away);
    return near.find(({ joint }) => joint === scene?.joint)?.joint ?? near[0]?.joint ?? null;
  }
  function spread2() {
    const [a, b] = [...pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }
  const end = ({ type, pointerId, offsetX: x, offsetY: y }) => {
    if (!pointers.delete(pointerId) || pointers.size) return;
    const ended = drag;
    drag = null;
    if (!ended || type === "pointercancel" || !tile.hasImage) return;
    if (!ended.moved) on.tap(...placeAt(x, y), ended.joint);
    else if (ended.joint !== null) on.drag(ended.joint, ...placeAt(x, y), true);
  };
  overlay.onpointerdown = ({ pointerId, button, offsetX: x, offsetY: y }) => {
    overlay.setPointerCapture(pointerId);
    pointers.set(pointerId, { x, y });
    const isSingle = button === 0 && pointers.size === 1;
    drag = { joint: isSingle ? jointAt(x, y) : null, x, y, moved: !isSingle };
  };
  overlay.onpointermove = ({ pointerId, offsetX: x, offsetY: y }) => {
    const last = pointers.get(pointerId);
    if (!last || !drag) return;
    const before = spread2();
    pointers.set(pointerId, { x, y });
    drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > MOVED_PX;
    if (!drag.moved) return;
    if (drag.joint !== null) return void on.drag(drag.joint, ...placeAt(x, y), false);
    tile.panBy((x - last.x) / pointers.size, (y - last.y) / pointers.size);
    const [a, b] = [...pointers.values()];
    if (pointers.size === 2 && before)
      tile.zoomBy(spread2() / before, [(a.x + b.x) / 2, (a.y + b.y) / 2]);
  };
  overlay.onpointerup = overlay.onpointercancel = end;
  overlay.oncontextmenu = (event) => event.preventDefault();
  overlay.onfocus = () => on.activate();
  overlay.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const speed = event.ctrlKey ? 0.01 : 15e-4;
      tile.zoomBy(Math.exp(-event.deltaY * speed), [event.offsetX, event.offsetY]);
    },
    { passive: false }
  );
}
var WARNING = "#ff5c5c";
var LINE = "#f6f078";
var MACHINE = "#c9a7ff";
var FAR_PX = 5;
var handColour = (joint) => joint < 21 ? RIGHT : LEFT;
function drawScene(ctx, put2, scene) {
  const { marks, machine, others, projected, residuals, line, bones, odd, joint: active } = scene;
  const pen = penOf(ctx);
  ctx.lineCap = ctx.lineJoin = "round";
  if (line.length) pen.guide(line.map((spot) => put2(...spot)));
  const places = projected.map((spot, joint) => spotOf(marks.get(joint)) ?? spot);
  for (const [a, b] of bones) {
    const [from, to] = [a, b].map(
      (joint) => places[joint] ?? (marks.has(joint) ? null : spotOf(machine.get(joint)))
    );
    if (!from || !to) continue;
    const isKnown = places[a] && places[b];
    const isOdd = isKnown && odd.has(`${a} ${b}`);
    pen.stroke(
      [put2(...from), put2(...to)],
      isOdd ? WARNING : handColour(a),
      isOdd ? 4 : isKnown ? 2 : 1.25,
      isOdd ? 1 : isKnown ? 0.75 : 0.6
    );
  }
  for (const [joint, mark] of machine) {
    const spot = spotOf(mark);
    if (spot && !marks.has(joint)) pen.diamond(put2(...spot), handColour(joint), joint === active);
  }
  for (const mark of others) {
    const spot = spotOf(mark);
    if (spot) pen.cross(put2(...spot), mark.joint === active ? mark.annotator : "");
  }
  projected.forEach((spot, joint) => {
    if (!spot) return;
    const marked = spotOf(marks.get(joint));
    if (marked) pen.gap(put2(...marked), put2(...spot), residuals[joint] ?? 0);
    else pen.ring(put2(...spot), joint === active ? 6 : 3.25, handColour(joint), 1.5);
  });
  for (const [joint, mark] of marks) {
    const spot = spotOf(mark);
    if (spot) pen.mark(put2(...spot), mark, joint === active, scene.conflicts.has(joint));
  }
  const place = places[active];
  const words = [scene.name, residuals[active] == null ? "" : `${residuals[active].toFixed(1)} px`].filter(Boolean).join("  ");
  if (place && words) pen.label(put2(...place), 12, -16, words);
  if (scene.cursor) pen.crosshair(put2(...scene.cursor));
}
function penOf(ctx) {
  function stroke(path, colour, width, alpha = 1) {
    Object.assign(ctx, { globalAlpha: alpha, strokeStyle: colour, lineWidth: width });
    ctx.beginPath();
    for (const spot of path) ctx.lineTo(...spot);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  function sign([x, y], lines, colour, width, edge, alpha) {
    for (const [tint, bold] of [
      [INK, edge],
      [colour, width]
    ]) {
      for (const line of lines) {
        const path = Array.from(
          { length: line.length / 2 },
          (_, k) => [x + line[2 * k], y + line[2 * k + 1]]
        );
        stroke(path, tint, bold, alpha);
      }
    }
  }
  function guide(path) {
    stroke(path, INK, 4, 0.5);
    ctx.setLineDash([7, 5]);
    stroke(path, LINE, 1.75);
    ctx.setLineDash([]);
  }
  function ring(at, radius, colour, width) {
    for (const [strokeStyle, lineWidth] of [
      [INK, width + 2],
      [colour, width]
    ]) {
      Object.assign(ctx, { strokeStyle, lineWidth });
      ctx.beginPath();
      ctx.arc(...at, radius, 0, 2 * Math.PI);
      ctx.stroke();
    }
  }
  function mark(at, { joint, state, source }, isActive, isDisputed) {
    const colour = handColour(joint);
    const radius = isActive ? 6 : 4;
    if (state === "uncertain") ctx.setLineDash([3, 3]);
    ctx.fillStyle = colour;
    if (state === "seen") {
      Object.assign(ctx, { strokeStyle: source === "H+M" ? MACHINE : INK, lineWidth: 1.25 });
      ctx.beginPath();
      ctx.arc(...at, radius, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    } else {
      ring(at, radius, colour, 2);
      ctx.fillRect(at[0] - 1, at[1] - 1, 2, 2);
    }
    ctx.setLineDash([]);
    if (isActive) ring(at, radius + 5, NEUTRAL, 1.5);
    if (isDisputed) ring(at, radius + 3, WARNING, 1.5);
  }
  function gap(from, to, px) {
    if (px < 0.5) return;
    const colour = px > FAR_PX ? WARNING : NEUTRAL;
    stroke([from, to], colour, 1.5);
    ring(to, 2.5, colour, 1);
  }
  function diamond(at, colour, isActive) {
    const size = isActive ? 7 : 4.5;
    sign(at, [[0, -size, size, 0, 0, size, -size, 0, 0, -size]], colour, 1.5, 3.5);
    if (isActive) label(at, 10, 0, "M");
  }
  function cross(at, name) {
    sign(
      at,
      [
        [-4, -4, 4, 4],
        [-4, 4, 4, -4]
      ],
      NEUTRAL,
      1.5,
      3.5,
      0.85
    );
    if (name) label(at, 8, 9, name);
  }
  function crosshair(at) {
    sign(
      at,
      [
        [4, 0, 14, 0],
        [-4, 0, -14, 0],
        [0, 4, 0, 14],
        [0, -4, 0, -14]
      ],
      NEUTRAL,
      1.25,
      3
    );
  }
  function label([x, y], dx, dy, content) {
    ctx.font = "600 12px system-ui, sans-serif";
    const width = ctx.measureText(content).width + 10;
    const left = Math.min(x + dx, Math.max(ctx.canvas.clientWidth - width - 2, 0));
    Object.assign(ctx, { globalAlpha: 0.78, fillStyle: INK });
    ctx.beginPath();
    ctx.roundRect(left, y + dy - 9, width, 18, 9);
    ctx.fill();
    Object.assign(ctx, { globalAlpha: 1, fillStyle: "#ffffff", textBaseline: "middle" });
    ctx.fillText(content, left + 5, y + dy + 0.5);
  }
  return { stroke, guide, ring, mark, gap, diamond, cross, crosshair, label };
}
var MOST_ZOOM = 60;
var AROUND = 0.7;
var LEAST = 0.05;
var DETAIL_AFTER_MS = 140;
var MOST_PX = 8192;
var Tile = class {
  node;
  chooser;
  overlay;
  view = null;
  scene = null;
  #image;
  #note;
  #reason;
  #frame = -1;
  #bitmap = null;
  #timer;
  // screen pixels per image pixel, and position of the image's corner
  #zoom = { scale: 1, x: 0, y: 0 };
  #fitted = true;
  #schedule = onNextFrame(() => this.render());
  /** @param node made of the template */
  constructor(node, on) {
    this.node = node;
    this.chooser = node.querySelector("select");
    this.overlay = node.querySelector(".overlay");
    this.#image = node.querySelector(".image");
    this.#note = node.querySelector(".note");
    this.#reason = node.querySelector(".reason");
    wirePointers(this, on);
    new ResizeObserver(() => {
      if (this.#fitted) this.#fit();
      this.render();
    }).observe(node);
  }
  get hasImage() {
    return this.#bitmap !== null;
  }
  /** Return the longer side of the tile in device pixels. */
  get longest() {
    return Math.max(this.node.clientWidth, this.node.clientHeight) * devicePixelRatio;
  }
  choose(view) {
    if (view === this.view) return;
    this.view = view;
    this.#fitted = true;
    this.blank(-1, "");
    this.#fit();
  }
  show(frame, image) {
    this.#bitmap?.close();
    [this.#frame, this.#bitmap] = [frame, image];
    this.#reason.textContent = "";
    if (this.#fitted) this.#fit();
    this.#refine();
    this.render();
  }
  /** Show the reason why there is no image. */
  blank(frame, why) {
    this.#bitmap?.close();
    [this.#frame, this.#bitmap] = [frame, null];
    this.#reason.textContent = why;
    this.render();
  }
  /**
   * @param note text in the corner
   * @param description for screen readers
   */
  annotate(scene, note, description) {
    this.scene = scene;
    this.#note.textContent = note;
    this.overlay.setAttribute("aria-label", description);
    this.#schedule();
  }
  /** @param at screen pixels of the tile; by default its middle */
  zoomBy(by, at = [this.node.clientWidth / 2, this.node.clientHeight / 2]) {
    const zoom = this.#zoom;
    const scale = Math.min(
      Math.max(zoom.scale * by, this.#fitScale() / 2),
      this.#fitScale() * MOST_ZOOM
    );
    zoom.x = at[0] - (at[0] - zoom.x) * scale / zoom.scale;
    zoom.y = at[1] - (at[1] - zoom.y) * scale / zoom.scale;
    zoom.scale = scale;
    this.#moved();
  }
  /** @param dy screen pixels */
  panBy(dx, dy) {
    this.#zoom.x += dx;
    this.#zoom.y += dy;
    this.#moved();
  }
  fit() {
    this.#fitted = true;
    this.#fit();
    this.render();
  }
  /** Centre the view on a point and zoom in. */
  centre(x, y) {
    const [u, v] = this.put(x, y);
    this.panBy(this.node.clientWidth / 2 - u, this.node.clientHeight / 2 - v);
  }
  /** Zoom so that all points are visible. */
  fitTo(places) {
    if (!places.length || !this.view) return;
    const [low, high] = [Math.min, Math.max].map(
      (end) => [0, 1].map((axis) => end(...places.map((place) => place[axis])))
    );
    const [wide, tall] = [0, 1].map(
      (axis) => Math.max(high[axis] - low[axis], LEAST * (this.view?.width ?? 1))
    );
    this.zoomBy(
      AROUND * Math.min(this.node.clientWidth / wide, this.node.clientHeight / tall) / this.#zoom.scale
    );
    this.centre((low[0] + high[0]) / 2, (low[1] + high[1]) / 2);
  }
  /** Return the middle of the visible part in the image. */
  get middle() {
    return this.take(this.node.clientWidth / 2, this.node.clientHeight / 2);
  }
  /** Clamp a point to the image. */
  inside(x, y) {
    const { width = 0, height = 0 } = this.view ?? {};
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }
  render() {
    const { scale, x, y } = this.#zoom;
    const image = clearedContext(this.#image);
    image.imageSmoothingEnabled = scale * devicePixelRatio < 6;
    if (this.#bitmap && this.view)
      image.drawImage(this.#bitmap, x, y, this.view.width * scale, this.view.height * scale);
    const overlay = clearedContext(this.overlay);
    if (this.scene && this.#bitmap) drawScene(overlay, (u, v) => this.put(u, v), this.scene);
  }
  #moved() {
    this.#fitted = false;
    this.#refine();
    this.#schedule();
  }
  #fitScale() {
    const { width = 1, height = 1 } = this.view ?? {};
    return Math.min(this.node.clientWidth / width, this.node.clientHeight / height) || 1;
  }
  #fit() {
    const scale = this.#fitScale();
    const { width = 1, height = 1 } = this.view ?? {};
    this.#zoom = {
      scale,
      x: (this.node.clientWidth - width * scale) / 2,
      y: (this.node.clientHeight - height * scale) / 2
    };
  }
  /** Map an image point to the tile. */
  put(x, y) {
    return [this.#zoom.x + x * this.#zoom.scale, this.#zoom.y + y * this.#zoom.scale];
  }
  /** Map a tile point to the image. */
  take(u, v) {
    return [(u - this.#zoom.x) / this.#zoom.scale, (v - this.#zoom.y) / this.#zoom.scale];
  }
  /** Fetch the image at full size if it is coarser than the screen. */
  #refine() {
    clearTimeout(this.#timer);
    const { view } = this;
    if (!view || !this.#bitmap) return;
    const resolution = this.#bitmap.width / view.width;
    if (resolution >= 1 || resolution >= this.#zoom.scale * devicePixelRatio * 0.95) return;
    this.#timer = setTimeout(async () => {
      const frame = this.#frame;
      try {
        const bitmap = await createImageBitmap(
          await getImage(view.name, frame, Math.min(Math.max(view.width, view.height), MOST_PX))
        );
        if (frame !== this.#frame || view !== this.view) return bitmap.close();
        this.#bitmap?.close();
        this.#bitmap = bitmap;
        this.#schedule();
      } catch (error) {
        showError(error);
      }
    }, DETAIL_AFTER_MS);
  }
};

// src/page/annotate/wall.ts
var STEP_PX = 320;
var LEAST_PX = 640;
var MOST_PX2 = 2560;
var Wall = class {
  tiles = [];
  #studio;
  #place = find("views");
  #options = { advance: "view", machine: true, others: true };
  #dragged = null;
  cursor = null;
  // time from the request of a frame until all images are displayed in milliseconds; -1 while it
  // loads
  turnMs = -1;
  constructor(studio2) {
    this.#studio = studio2;
  }
  /** The tile that receives keys. */
  get active() {
    return this.tiles[this.#studio.state.active];
  }
  begin() {
    const { store } = this.#studio;
    store.watch(["shown"], () => this.#build());
    store.watch(["frame", "shown", "annotator"], () => this.#turn());
    store.watch(["seen", "joint", "active"], () => this.refresh());
    store.watch(["joint", "active", "frame"], () => this.cursor = null);
    onLanguage(() => this.#nameTiles());
  }
  show(options) {
    Object.assign(this.#options, options);
    this.refresh();
  }
  /** Switch between one view and all views. */
  toggleSingle() {
    this.#place.classList.toggle("single");
    this.#layOut();
  }
  /** @param cursor in the active view */
  moveCursor(cursor) {
    this.cursor = cursor && this.active.inside(...cursor);
    this.refresh();
  }
  /** Redraw all drawings over the images. */
  refresh() {
    const { state, project } = this.#studio;
    if (!project || state.frame < 0) return;
    const marks = this.#studio.marksOf(state.frame);
    this.tiles.forEach((tile, k) => {
      tile.node.classList.toggle("active", k === state.active);
      if (tile.view)
        this.#annotate(
          tile,
          [...marks.values()].filter((mark) => mark.view === tile.view?.name),
          k === state.active
        );
    });
  }
  /** @param list of this annotator in this view */
  #annotate(tile, list, isActive) {
    const { seen, joint } = this.#studio.state;
    const { bones, joints } = this.#studio.project;
    const view = tile.view.name;
    const marks = new Map(list.map((mark2) => [mark2.joint, mark2]));
    const dragged = this.#dragged?.view === view ? this.#dragged : null;
    if (dragged)
      marks.set(dragged.joint, {
        source: "H",
        state: "seen",
        ...marks.get(dragged.joint),
        joint: dragged.joint,
        x: dragged.x,
        y: dragged.y
      });
    const here = (all) => all.filter((item) => item.view === view && item.x !== null);
    const name = jointName(joint, joints);
    const scene = {
      marks,
      joint,
      bones,
      name: isActive ? name : "",
      cursor: isActive ? this.cursor : null,
      machine: new Map(
        this.#options.machine ? here(seen.machine).map((mark2) => [mark2.joint, mark2]) : []
      ),
      others: this.#options.others ? here(seen.others) : [],
      projected: seen.projected[view] ?? [],
      residuals: seen.residuals_px[view] ?? [],
      line: seen.lines[view] ?? [],
      odd: new Set(seen.bones.map((item) => item.bone.join(" "))),
      conflicts: new Set(
        seen.conflicts.filter((item) => item.view === view).map((item) => item.joint)
      )
    };
    const mark = marks.get(joint);
    const where = mark?.x != null ? text("tile.marked", {
      x: mark.x.toFixed(1),
      y: mark.y?.toFixed(1) ?? "",
      state: text(`state.${mark.state}`)
    }) : mark ? text(`state.${mark.state}`) : text("tile.unmarked");
    tile.annotate(
      scene,
      mark && mark.state !== "seen" ? text(`state.${mark.state}`) : "",
      text("tile.label", { view, joint: name, where, count: marks.size, all: joints.length })
    );
  }
  /** Create the tiles of the displayed views. */
  #build() {
    const { shown } = this.#studio.state;
    while (this.tiles.length > shown.length) this.tiles.pop()?.node.remove();
    while (this.tiles.length < shown.length) this.tiles.push(this.#newTile(this.tiles.length));
    shown.forEach((name, k) => {
      this.tiles[k].chooser.value = name;
      this.tiles[k].choose(this.#studio.project.views.find((view) => view.name === name));
    });
    this.#layOut();
    this.#nameTiles();
  }
  #newTile(k) {
    const studio2 = this.#studio;
    const copy = find("tile").content.cloneNode(true);
    const node = copy.firstElementChild;
    const view = () => studio2.state.shown[k];
    const tile = new Tile(node, {
      tap: (x, y, under) => this.#tap(view(), x, y, under),
      drag: (joint, x, y, isDone) => this.#drag(view(), joint, x, y, isDone),
      activate: () => studio2.store.set({ active: k })
    });
    tile.chooser.replaceChildren(...studio2.project.views.map(({ name }) => new Option(name, name)));
    tile.chooser.onchange = () => studio2.chooseView(k, tile.chooser.value);
    this.#place.append(node);
    return tile;
  }
  #nameTiles() {
    this.tiles.forEach((tile, k) => {
      const label = tile.node.querySelector("label");
      tile.chooser.id = label.htmlFor = `view-${k + 1}`;
      label.textContent = text("tile.which", { number: k + 1 });
      tile.node.ariaLabel = text("tile.name", { number: k + 1, view: tile.view?.name });
    });
  }
  #layOut() {
    const count = this.#place.classList.contains("single") ? 1 : this.tiles.length;
    this.#place.style.setProperty(
      "--columns",
      String(count <= 2 ? count : count <= 4 ? 2 : count <= 9 ? 3 : 4)
    );
  }
  /** @param under joint of the mark at this position */
  #tap(view, x, y, under) {
    const studio2 = this.#studio;
    const { joint } = studio2.state;
    const [own, machine] = [studio2.ownMark(view, joint), studio2.machineMark(view, joint)];
    if (under !== null && under !== joint && own) void studio2.chooseJoint(under);
    else if (under === joint && own) {
      if (own.state === "uncertain") studio2.mark(view, joint, own.x, own.y);
    } else {
      if (under === joint && machine) studio2.mark(view, joint, machine.x, machine.y, "seen", "H+M");
      else studio2.mark(view, joint, x, y);
      this.#goOn();
    }
  }
  /**
   * Continue after a mark: with the next visible view without a mark of the joint, or with the next
   * joint in the first view.
   */
  #goOn() {
    const studio2 = this.#studio;
    const { joint, shown, active } = studio2.state;
    const { advance } = this.#options;
    if (advance === "stay") return;
    const visible = this.tiles.map((_, k) => k).filter((k) => this.tiles[k].node.offsetParent !== null);
    const order = [...visible.filter((k) => k > active), ...visible.filter((k) => k < active)];
    const next = order.find((k) => !studio2.ownMark(shown[k], joint));
    if (advance === "joint" || next === void 0) void studio2.chooseJoint(joint + 1);
    if (advance === "view") this.tiles[next ?? visible[0]].overlay.focus({ preventScroll: true });
  }
  #drag(view, joint, x, y, isDone) {
    const studio2 = this.#studio;
    this.#dragged = isDone ? null : { joint, view, x, y };
    if (joint !== studio2.state.joint) void studio2.chooseJoint(joint);
    if (!isDone) return this.refresh();
    return studio2.ownMark(view, joint) ? studio2.mark(view, joint, x, y) : studio2.mark(view, joint, x, y, "seen", "H+M");
  }
  /** Show the images of the frame, and fetch those of near frames into the browser's cache. */
  async #turn() {
    const { frame, shown, annotator } = this.#studio.state;
    if (frame < 0 || !annotator) return;
    const start = performance.now();
    this.turnMs = -1;
    const wanted = Math.max(...this.tiles.map((tile) => tile.longest));
    const longest = Math.min(Math.max(Math.ceil(wanted / STEP_PX) * STEP_PX, LEAST_PX), MOST_PX2);
    await Promise.all(this.tiles.map((tile) => this.#fill(tile, frame, longest)));
    if (frame !== this.#studio.state.frame || shown !== this.#studio.state.shown) return;
    this.turnMs = performance.now() - start;
    const { frames } = this.#studio.project;
    const place = frames.indexOf(frame);
    for (const near of [1, -1, 2].map((by) => frames[place + by])) {
      if (near === void 0 || frame !== this.#studio.state.frame) continue;
      const views = this.tiles.flatMap(
        ({ view }) => view?.missing.includes(near) ? [] : view ?? []
      );
      await Promise.allSettled(views.map(({ name }) => getImage(name, near, longest)));
    }
  }
  async #fill(tile, frame, longest) {
    const view = tile.view;
    const isCurrent = () => tile.view === view && frame === this.#studio.state.frame;
    if (view.missing.includes(frame)) return tile.blank(frame, text("tile.missing"));
    try {
      const image = await createImageBitmap(await getImage(view.name, frame, longest));
      if (isCurrent()) tile.show(frame, image);
      else image.close();
    } catch (error) {
      if (isCurrent()) tile.blank(frame, error.message);
    }
    return void 0;
  }
};
var FINGERS = [
  [1, 2, 3, 4],
  [5, 6, 7, 8],
  [9, 10, 11, 12],
  [13, 14, 15, 16],
  [17, 18, 19, 20]
];
var NAMES2 = ["thumb", "index", "middle", "ring", "pinky"];
function jointName(joint, names) {
  const [side, ...rest] = names[joint].split("_");
  return `${text(`side.${side}`)} ${rest.map((word) => text(`part.${word}`)).filter(Boolean).join(" ")}`;
}
function jointGrid(element, choose) {
  const buttons = [];
  for (const side of [1, 0]) {
    const hand = make("div", { className: `hand ${side ? "left" : "right"}` });
    const add = (node, area, dataset = {}) => {
      Object.assign(node.dataset, dataset);
      node.style.gridArea = area;
      hand.append(node);
    };
    const column = (f) => side ? 5 - f : f + 1;
    const caption = () => make("span", { className: "caption", ariaHidden: "true" });
    const button = (k) => buttons[21 * side + k] = make("button", {
      type: "button",
      className: "joint",
      onclick: () => choose(21 * side + k)
    });
    FINGERS.forEach(
      (finger, f) => finger.forEach((k, step) => add(button(k), `${5 - step} / ${column(f)}`))
    );
    add(button(0), `6 / ${column(2)}`);
    NAMES2.forEach((name, f) => add(caption(), `1 / ${column(f)}`, { i18n: `letter.${name}` }));
    add(caption(), "7 / 1 / 8 / 6", { i18n: side ? "side.left" : "side.right" });
    element.append(hand);
  }
  return ({ joint, names, views, placed, odd, disputed }) => {
    buttons.forEach((button, k) => {
      const state = placed[k] > 1 ? "done" : views[k] ? "begun" : "none";
      button.dataset.state = state;
      button.classList.toggle("odd", odd.has(k) || disputed.has(k));
      button.ariaPressed = String(k === joint);
      const words = [jointName(k, names), text(`joint.${state}`, { count: views[k] })];
      if (odd.has(k)) words.push(text("joint.odd"));
      if (disputed.has(k)) words.push(text("joint.disputed"));
      button.title = button.ariaLabel = words.join(", ");
    });
  };
}
function showWarnings(element, seen, names, choose) {
  const row = (joint, words) => make(
    "li",
    {},
    make("button", {
      type: "button",
      className: "warning",
      textContent: words,
      onclick: () => choose(joint)
    })
  );
  const bones = seen.bones.map(
    ({ bone, length_mm: length, expected_mm: expected, against }) => row(bone[1], text(`warn.${against}`, { joint: jointName(bone[1], names), length, expected }))
  );
  const disputes = seen.conflicts.map(
    ({ joint, view, annotators, apart_px: apart }) => row(
      joint,
      text(apart === null ? "warn.states" : "warn.conflict", {
        joint: jointName(joint, names),
        view,
        who: annotators.join(", "),
        apart: apart?.toFixed(1) ?? ""
      })
    )
  );
  const far = names.flatMap((_, joint) => {
    const off = Object.entries(seen.residuals_px).map(([view, px]) => ({ view, px: px[joint] ?? 0 })).filter(({ px }) => px > FAR_PX);
    const where = off.sort((a, b) => b.px - a.px).map(({ view, px }) => text("warn.off", { view, px: px.toFixed(1) })).join(", ");
    return where ? [row(joint, text("warn.residual", { joint: jointName(joint, names), where }))] : [];
  });
  const rows = [...disputes, ...far, ...bones];
  element.replaceChildren(...rows.length ? rows : [make("li", {}, text("warnings.none"))]);
}
function showAgreement(element, result, names) {
  if (!result.all.pairs)
    return element.replaceChildren(make("p", { className: "hint" }, text("agreement.none")));
  const row = (head, { pairs, mean_px: mean, median_px: middle, within }) => makeRow(head, [
    pairs,
    mean?.toFixed(2) ?? "–",
    middle?.toFixed(2) ?? "–",
    within["5"] === void 0 ? "–" : `${Math.round(100 * within["5"])}%`
  ]);
  const [first, ...heads] = ["of", "pairs", "mean", "median", "within"].map(
    (key) => text(`agreement.${key}`, { px: 5 })
  );
  const rows = [
    row(text("agreement.all"), result.all),
    ...Object.entries(result.annotators).map(([pair, numbers]) => row(pair, numbers)),
    ...Object.entries(result.joints).map(
      ([name, numbers]) => row(jointName(names.indexOf(name), names), numbers)
    )
  ];
  return element.replaceChildren(
    make("table", {}, make("thead", {}, makeRow(first, heads, "th")), make("tbody", {}, ...rows))
  );
}
function skeletonsOfJoints(points, bones, { rotation, translation_m: shift }) {
  return [0, 1].flatMap((side) => {
    const known = points.flatMap(
      (point, joint) => point && Math.floor(joint / 21) === side ? [joint] : []
    );
    if (known.length < 2) return [];
    const element = new Map(known.map((joint, k) => [joint, k]));
    const connections = bones.filter((bone) => bone.every((joint) => element.has(joint))).map((bone) => bone.map((joint) => element.get(joint)));
    const turned = known.map(
      (joint) => rotation.map(
        (row, axis) => row.reduce((sum, value, k) => sum + value * (points[joint]?.[k] ?? 0), shift[axis])
      )
    );
    const colours = known.map(() => side ? LEFT : RIGHT);
    return [
      {
        kind: "hand",
        points: turned,
        skeleton: { keypoints: known.map(String), connections, groups: {}, colours }
      }
    ];
  });
}

// src/page/annotate/app.ts
var POLL_MS = 2e3;
var COUNTS = [1, 2, 3, 4, 6, 8, 9, 12];
var SWITCHES = { "show-machine": "machine", "show-others": "others" };
var studio = new Studio();
var wall = new Wall(studio);
var space = view3D(find("view3d"));
var showJoints = jointGrid(find("joints"), (joint) => studio.chooseJoint(joint));
var keys = commands(studio, wall);
function showFrame() {
  const { frame, progress } = studio.state;
  if (frame < 0) return;
  const { frames } = studio.project;
  const place = frames.indexOf(frame);
  const count = frames.length;
  const slider = find("frame");
  slider.value = String(place);
  slider.ariaValueText = text("frame.at", { frame, place: place + 1, count });
  put(find("frame-number"), text("frame.number", { frame, place: place + 1, count }));
  find("previous").disabled = place === 0;
  find("next").disabled = place === count - 1;
  const done = frames.filter((each) => isComplete(progress, each)).length;
  find("progress").value = done / count;
  find("progress-text").textContent = text("progress.text", {
    done,
    begun: Object.keys(progress.frames).length,
    count
  });
}
function showSaved() {
  const { unsent, offline, annotator } = studio.state;
  const key = offline ? "saved.offline" : unsent ? "saved.sending" : annotator ? "saved" : "saved.nobody";
  put(find("saved"), text(key, { count: unsent }));
  find("saved").dataset.state = offline ? "error" : unsent ? "connecting" : "running";
  find("who").textContent = annotator || text("enter");
}
function showPanel() {
  const { seen, joint, frame, shown, active } = studio.state;
  if (!studio.project || frame < 0) return;
  const { joints: names, bones, views } = studio.project;
  const marks = [...studio.marksOf(frame).values()];
  const count = (fits) => names.map((_, k) => marks.filter((mark2) => mark2.joint === k && fits(mark2)).length);
  const [marked, placed] = [count(() => true), count((mark2) => mark2.x !== null)];
  showJoints({
    joint,
    names,
    views: marked,
    placed,
    odd: new Set(seen.bones.flatMap((item) => item.bone)),
    disputed: new Set(seen.conflicts.map((item) => item.joint))
  });
  find("joint-name").textContent = jointName(joint, names);
  const mark = marks.find((item) => item.joint === joint && item.view === shown[active]);
  for (const state of find("states").querySelectorAll("button"))
    state.ariaPressed = String(state.dataset.state === mark?.state);
  find("joint-status").textContent = seen.points_m[joint] ? text("joint.known", { count: placed[joint], mm: seen.sigma_mm[joint]?.toFixed(1) ?? "–" }) : text("joint.unknown");
  showWarnings(find("warnings"), seen, names, (wanted) => studio.chooseJoint(wanted));
  find("undo").disabled = !studio.edits.done.length;
  find("redo").disabled = !studio.edits.undone.length;
  const view = views.find(({ name }) => name === shown[0]);
  if (view) space.show(skeletonsOfJoints(seen.points_m, bones, view));
}
function showNotice() {
  const { notice } = studio.state;
  find("notice").textContent = notice ? text(`notice.${notice.key}`, notice.values) : "";
}
function refreshAgreement() {
  if (!find("agreement-card").open || !studio.project) return;
  ask("/agreement").then((agreement) => showAgreement(find("agreement"), agreement, studio.project.joints)).catch(showError);
}
function enter() {
  find("annotator").value = studio.state.annotator || memory.read("annotate.annotator") || "";
  find("enter").showModal();
  find("annotator").focus();
}
Object.defineProperty(globalThis, "sonjitAnnotation", {
  value: Object.freeze({
    studio,
    wall,
    get state() {
      return {
        ...studio.state,
        marks: [...studio.marksOf(studio.state.frame).values()],
        turnMs: wall.turnMs
      };
    }
  })
});
await startLanguage(new URL("../i18n/", import.meta.url), new URL("i18n/", import.meta.url));
for (const button of document.querySelectorAll("[data-command]")) {
  button.onclick = keys.find(({ name }) => name === `key.${button.dataset.command}`)?.run ?? null;
}
find("who").onclick = enter;
find("enter").onclose = () => {
  const name = find("annotator").value.trim();
  if (name && name !== studio.state.annotator) studio.begin(name).catch(showError);
  else if (!name && !studio.state.annotator) enter();
};
find("agreement-card").ontoggle = refreshAgreement;
listenToKeys(
  keys.all,
  () => studio.state.annotator !== "" && !document.querySelector("dialog[open]")
);
studio.store.watch(["unsent", "offline", "annotator"], showSaved);
studio.store.watch(["notice"], showNotice);
studio.store.watch(["frame", "progress"], showFrame);
studio.store.watch(["seen", "joint", "shown", "active"], showPanel);
for (const show of [showFrame, showSaved, showPanel, showNotice, refreshAgreement])
  onLanguage(show);
onLanguage(() => showKeys(find("keys"), keys));
onLanguage(() => wall.refresh());
setInterval(() => document.hidden || studio.poll(), POLL_MS);
try {
  await withToken(() => studio.open());
  find("project-name").textContent = studio.project.name;
  const [frame, count, views] = [find("frame"), find("count"), find("views")];
  const { frames, views: all } = studio.project;
  frame.max = String(frames.length - 1);
  frame.oninput = () => studio.goTo(frames[Number(frame.value)]);
  for (const [id, name] of Object.entries(SWITCHES))
    find(id).onchange = () => wall.show({ [name]: find(id).checked });
  find("advance").onchange = () => wall.show({ advance: find("advance").value });
  find("everyone").onchange = () => {
    studio.store.set({ everyone: find("everyone").checked });
    void studio.reload();
  };
  for (const id of ["brightness", "contrast"]) {
    const slider = find(id);
    const show = () => {
      views.style.setProperty(`--${id}`, slider.value);
      slider.previousElementSibling.textContent = Number(slider.value).toFixed(1);
    };
    slider.oninput = show;
    show();
  }
  count.replaceChildren(
    ...COUNTS.filter((number) => number <= all.length).map(
      (number) => new Option(String(number), String(number))
    )
  );
  count.onchange = () => studio.showCount(Number(count.value));
  studio.store.watch(["shown"], ({ shown }) => count.value = String(shown.length));
  wall.begin();
  enter();
} catch (error) {
  const isMissing = error instanceof ServerError && error.code === "not_found";
  showError(isMissing ? new ServerError("no_project", error.message) : error);
}
document.documentElement.dataset.ready = "true";
