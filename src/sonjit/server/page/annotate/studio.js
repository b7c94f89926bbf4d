/** The work on one project: which frame and joint, what is marked, and every deed that changes it. */

import { Store, memory } from "../state.js";
import { Deeds } from "./deeds.js";
import { Outbox, placeOf } from "./outbox.js";
import { getChanges, getFrame, getProgress, getProject } from "./project.js";

/** @typedef {import("./project.js").Mark} Mark */

const HAND = 21;
const SHOWN = 6;
const NOTHING = { marks: [], others: [], machine: [], conflicts: [], points_m: [], projected: {}, residuals_px: {}, lines: {}, bones: [], sigma_mm: [] };

export class Studio {
  /** @type {import("./project.js").Project} */ project = /** @type {any} */ (null);
  store = new Store({
    annotator: "", frame: -1, joint: 0, shown: [], active: 0, everyone: false, seen: NOTHING, progress: { frames: {}, needs: {} },
    unsent: 0, offline: false, said: null,
  });
  #deeds = new Deeds();
  #outbox;

  /** @param {(error: any) => void} onError */
  constructor(onError) {
    this.onError = onError;
    this.#outbox = new Outbox({
      answer: (answer) => this.take(answer),
      refused: (refused) => this.say("refused", { count: refused.length }),
      error: (error, isLost) => (isLost ? onError(error) : this.store.set({ offline: true })),
      changed: () => this.store.set({ unsent: this.#outbox.count }),
      query: (frame) => this.#query(frame === this.state.frame),
    });
  }

  get state() {
    return this.store.state;
  }

  get canUndo() {
    return this.#deeds.canUndo;
  }

  get canRedo() {
    return this.#deeds.canRedo;
  }

  async open() {
    this.project = await getProject();
    const views = this.project.views.map(({ name }) => name);
    /** @type {string[]} */ const before = memory.read(`annotate.views.${this.project.name}`) ?? [];
    this.store.set({ shown: before.length && before.every((name) => views.includes(name)) ? before : spread(views) });
  }

  /** @param {string} annotator */
  async begin(annotator) {
    memory.write("annotate.annotator", annotator);
    this.store.set({ annotator });
    this.#outbox.open(this.project.name, annotator);
    const last = memory.read(`annotate.frame.${this.project.name}`);
    await Promise.all([this.goTo(this.project.frames.includes(last) ? last : this.project.frames[0]), this.loadProgress()]);
  }

  /** @param {string} key of a text @param {object} [values] */
  say(key, values = {}) {
    this.store.set({ said: { key, values } });
  }

  /** Marks of this annotator by place, with those that are still on their way. @param {number} frame @returns {Map<string, Mark>} */
  marksOf(frame) {
    /** @type {Mark[]} */ const known = this.state.seen.frame === frame ? this.state.seen.marks : [];
    const marks = new Map(known.map((mark) => [placeOf(mark), mark]));
    for (const mark of this.#outbox.pending(frame)) marks.set(placeOf(mark), mark);
    for (const [place, mark] of marks) if (mark.state === "cleared") marks.delete(place);
    return marks;
  }

  /** @param {number} frame */
  async goTo(frame) {
    if (frame === this.state.frame || !this.project.frames.includes(frame)) return;
    this.store.set({ frame, seen: NOTHING });
    memory.write(`annotate.frame.${this.project.name}`, frame);
    await this.reload();
  }

  /** @param {number} by */
  step(by) {
    const { frames } = this.project;
    const place = Math.min(Math.max(frames.indexOf(this.state.frame) + by, 0), frames.length - 1);
    return this.goTo(frames[place]);
  }

  /** The unfinished frame that needs a human most; without a ranking the next unfinished one. */
  async goToNeed() {
    await this.loadProgress();
    const { frames } = this.project;
    const { frames: done, needs, joints } = this.state.progress;
    const here = frames.indexOf(this.state.frame);
    const open = [...frames.slice(here + 1), ...frames.slice(0, here)].filter((frame) => (done[frame] ?? 0) < joints);
    const ranked = open.filter((frame) => frame in needs).sort((a, b) => needs[b].score - needs[a].score);
    const wanted = ranked[0] ?? open[0];
    if (wanted === undefined) return this.say("all_done");
    this.say(needs[wanted]?.why ? "need" : "moved", { frame: wanted, why: needs[wanted]?.why });
    return this.goTo(wanted);
  }

  async reload() {
    const { frame, annotator } = this.state;
    if (!annotator || frame < 0) return;
    try {
      this.take(await getFrame(frame, this.#query(true)));
    } catch (error) {
      this.onError(error);
    }
  }

  /** @param {number} joint */
  chooseJoint(joint) {
    const wanted = (joint + 2 * HAND) % (2 * HAND);
    if (wanted === this.state.joint) return undefined;
    this.store.set({ joint: wanted });
    return this.reload();
  }

  /** @param {number} tile @param {string} name */
  chooseView(tile, name) {
    const shown = [...this.state.shown];
    const other = shown.indexOf(name);
    if (other >= 0) shown[other] = shown[tile];
    shown[tile] = name;
    memory.write(`annotate.views.${this.project.name}`, shown);
    this.store.set({ shown });
    return this.reload();
  }

  /** @param {number} count of views at once */
  showCount(count) {
    const all = this.project.views.map(({ name }) => name);
    const shown = [...new Set([...this.state.shown, ...all])].slice(0, count);
    memory.write(`annotate.views.${this.project.name}`, shown);
    this.store.set({ shown, active: Math.min(this.state.active, shown.length - 1) });
    return this.reload();
  }

  /**
   * Mark a joint in a view; everything that changes a single mark comes through here.
   *
   * @param {string} view @param {number} joint @param {number | null} x @param {number | null} y @param {string} [state]
   * @param {string} [source] by default H, or H+M where a machine's mark was moved
   */
  mark(view, joint, x, y, state, source) {
    const before = this.marksOf(this.state.frame).get(placeOf({ frame: this.state.frame, view, joint }));
    const how = state ?? (before?.state === "occluded" ? "occluded" : "seen");
    const by = source ?? (before?.source === "H+M" ? "H+M" : "H");
    this.write([{ id: "", frame: this.state.frame, view, joint, x, y, state: how, source: by }]);
  }

  /** Say how the chosen joint is seen. @param {string} view @param {string} state */
  setState(view, state) {
    const { frame, joint, seen } = this.state;
    const mark = this.marksOf(frame).get(placeOf({ frame, view, joint }));
    if (state === "cleared") {
      if (mark) this.mark(view, joint, null, null, state);
    } else if (state === "absent") this.mark(view, joint, null, null, state);
    else if (mark?.x != null) this.mark(view, joint, mark.x, mark.y, state);
    else if (seen.projected[view]?.[joint]) this.mark(view, joint, ...seen.projected[view][joint], state);
    else this.say("place_first");
  }

  undo() {
    return this.#again(this.#deeds.undo(), "undone");
  }

  redo() {
    return this.#again(this.#deeds.redo(), "redone");
  }

  async loadProgress() {
    try {
      this.store.set({ progress: await getProgress() });
    } catch (error) {
      this.onError(error);
    }
  }

  /** See what others wrote meanwhile. */
  async poll() {
    const { seen, frame, annotator, progress } = this.state;
    if (!annotator || seen === NOTHING) return;
    try {
      const { version, frames } = await getChanges(seen.version);
      this.store.set({ offline: false });
      if (version !== progress.version) await this.loadProgress();
      if (version === seen.version) return;
      if (String(frame) in frames) await this.reload();
      else this.store.set({ seen: { ...this.state.seen, version } });
    } catch {
      this.store.set({ offline: true });
    }
  }

  /** @param {Mark[] | null} marks @param {string} word */
  async #again(marks, word) {
    if (!marks) return this.say(`nothing_${word}`);
    if (marks[0].frame !== this.state.frame) await this.goTo(marks[0].frame);
    this.#send(marks);
    return this.say(word);
  }

  /** One deed: marks of one frame, to be undone together. @param {Mark[]} after */
  write(after) {
    const marks = this.marksOf(after[0].frame);
    const before = after.map((mark) => marks.get(placeOf(mark)) ?? { ...mark, x: null, y: null, state: "cleared", source: "H" });
    this.#deeds.add(before, after);
    this.#send(after);
  }

  /** @param {Mark[]} marks */
  #send(marks) {
    this.#outbox.add(marks.map(({ frame, view, joint, x, y, state, source }) =>
      ({ id: newId(), frame, view, joint, x, y, state, source })));
    this.store.set({ seen: { ...this.state.seen } });
  }

  /** What the server says of a frame. @param {any} answer */
  take(answer) {
    this.#outbox.learn(answer.marks);
    this.store.set({ offline: false, ...(answer.frame === this.state.frame ? { seen: answer } : {}) });
  }

  /** @param {boolean} isHere */
  #query(isHere) {
    const { annotator, joint, everyone, shown } = this.state;
    return { annotator, view: shown, ...(isHere ? { joint } : {}), ...(everyone ? { points: "all" } : {}) };
  }
}

/** Six views that look from all around, of a rig in order: every n-th. @param {string[]} names */
function spread(names) {
  if (names.length <= SHOWN) return names;
  return Array.from({ length: SHOWN }, (_, k) => names[Math.floor((k * names.length) / SHOWN)]);
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is for secure origins alone
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
