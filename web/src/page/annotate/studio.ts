/** The state of a project: frame, joint and marks, and all edits. */

import { memory, showError, Store } from "../common.js";
import {
  ask,
  isComplete,
  outboxOf,
  placeOf,
  spotOf,
  type Changes,
  type FrameState,
  type Mark,
  type MarkSource,
  type MarkState,
  type Progress,
  type Project,
} from "./project.js";

type Edit = { before: Mark[]; after: Mark[] };
type State = {
  annotator: string;
  frame: number;
  joint: number;
  shown: string[];
  active: number;
  everyone: boolean;
  seen: FrameState;
  progress: Progress;
  unsent: number;
  offline: boolean;
  notice: { key: string; values: Record<string, unknown> } | null;
};

const HAND = 21;
const SHOWN = 6;
const MOST_EDITS = 500;
const NOTHING: FrameState = {
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
  sigma_mm: [],
};

export class Studio {
  project!: Project; // known after `open`
  store = new Store<State>({
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
    notice: null,
  });
  /** Groups of marks before and after each edit, for undo and redo. */
  edits = { done: [] as Edit[], undone: [] as Edit[] };
  /** Unconfirmed marks by annotator; each continues to send after another annotator begins. */
  #outboxes = new Map<string, ReturnType<typeof outboxOf>>();

  get #outbox() {
    return this.#outboxes.get(this.state.annotator);
  }

  get state(): State {
    return this.store.state;
  }

  async open() {
    this.project = await ask("");
    const views = this.project.views.map(({ name }) => name);
    const before = memory.read<string[]>(`annotate.views.${this.project.name}`) ?? [];
    this.store.set({
      shown: before.length && before.every((name) => views.includes(name)) ? before : spread(views),
    });
  }

  async begin(annotator: string) {
    memory.write("annotate.annotator", annotator);
    this.edits = { done: [], undone: [] };
    this.store.set({ annotator, frame: -1, seen: NOTHING });
    if (!this.#outbox) this.#outboxes.set(annotator, this.#newOutbox(annotator));
    this.#showUnsent();
    const last = memory.read<number>(`annotate.frame.${this.project.name}`);
    await Promise.all([
      this.goTo(this.project.frames.find((frame) => frame === last) ?? this.project.frames[0]!),
      this.loadProgress(),
    ]);
  }

  #newOutbox(annotator: string) {
    return outboxOf(this.project.name, annotator, {
      answer: (answer) => this.take(answer, annotator),
      refused: (refused) => this.notify("refused", { count: refused.length }),
      error: (error, isLost) => (isLost ? showError(error) : this.store.set({ offline: true })),
      changed: () => this.#showUnsent(),
      query: (frame) => this.#query(frame === this.state.frame),
    });
  }

  #showUnsent() {
    this.store.set({ unsent: this.#outbox?.count() ?? 0 });
  }

  /** @param key of a text */
  notify(key: string, values: Record<string, unknown> = {}) {
    this.store.set({ notice: { key, values } });
  }

  /** Return the marks of this annotator by key, including unconfirmed ones. */
  marksOf(frame: number): Map<string, Mark> {
    const known = this.state.seen.frame === frame ? this.state.seen.marks : [];
    const marks: Map<string, Mark> = new Map(known.map((mark) => [placeOf(mark), mark]));
    for (const mark of this.#outbox?.pending(frame) ?? []) marks.set(placeOf(mark), mark);
    for (const [place, mark] of marks) if (mark.state === "cleared") marks.delete(place);
    return marks;
  }

  /** Return the mark of this annotator of a joint in a view of the frame. */
  ownMark(view: string, joint: number) {
    const { frame } = this.state;
    return this.marksOf(frame).get(placeOf({ frame, view, joint }));
  }

  /** Return the automatic mark of a joint in a view. */
  machineMark(view: string, joint: number) {
    return this.state.seen.machine.find((item) => item.view === view && item.joint === joint);
  }

  async goTo(frame: number) {
    if (frame === this.state.frame || !this.project.frames.includes(frame)) return;
    this.store.set({ frame, seen: NOTHING });
    memory.write(`annotate.frame.${this.project.name}`, frame);
    await this.reload();
  }

  step(by: number) {
    const { frames } = this.project;
    const place = Math.min(Math.max(frames.indexOf(this.state.frame) + by, 0), frames.length - 1);
    return this.goTo(frames[place]!);
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
      (frame) => !isComplete(progress, frame),
    );
    const ranked = open
      .filter((frame) => frame in needs)
      .sort((a, b) => needs[b]!.score - needs[a]!.score);
    const wanted = ranked[0] ?? open[0];
    if (wanted === undefined) return this.notify("all_done");
    this.notify(needs[wanted]?.why ? "need" : "moved", { frame: wanted, why: needs[wanted]?.why });
    return this.goTo(wanted);
  }

  async reload() {
    const { frame, annotator } = this.state;
    if (annotator && frame >= 0)
      await ask<FrameState>(`/frames/${frame}`, this.#query(true))
        .then((state) => this.take(state, annotator))
        .catch(showError);
  }

  chooseJoint(joint: number) {
    const wanted = (joint + 2 * HAND) % (2 * HAND);
    if (wanted === this.state.joint) return undefined;
    this.store.set({ joint: wanted });
    return this.reload();
  }

  chooseView(tile: number, name: string) {
    const shown = [...this.state.shown];
    const other = shown.indexOf(name);
    if (other >= 0) shown[other] = shown[tile]!;
    shown[tile] = name;
    return this.#show(shown);
  }

  /** @param count of views at once */
  showCount(count: number) {
    const all = this.project.views.map(({ name }) => name);
    return this.#show([...new Set([...this.state.shown, ...all])].slice(0, count));
  }

  /** @param shown names of views */
  #show(shown: string[]) {
    memory.write(`annotate.views.${this.project.name}`, shown);
    this.store.set({ shown, active: Math.min(this.state.active, shown.length - 1) });
    return this.reload();
  }

  /**
   * Mark a joint in a view. All changes of single marks use this method.
   *
   * @param source H, or H+M if an automatic mark was moved
   */
  mark(
    view: string,
    joint: number,
    x: number | null,
    y: number | null,
    state?: MarkState,
    source?: MarkSource,
  ) {
    const before = this.ownMark(view, joint);
    const how = state ?? (before?.state === "occluded" ? "occluded" : "seen");
    const by = source ?? (before?.source === "H+M" ? "H+M" : "H");
    this.write([{ id: "", frame: this.state.frame, view, joint, x, y, state: how, source: by }]);
  }

  /** Set the visibility of the selected joint. */
  setState(view: string, state: MarkState) {
    const { joint, seen } = this.state;
    const mark = this.ownMark(view, joint);
    const spot =
      state === "absent" || state === "cleared"
        ? [null, null]
        : (spotOf(mark) ?? seen.projected[view]?.[joint]);
    if (!spot) this.notify("place_first");
    else if (mark || state !== "cleared") this.mark(view, joint, spot[0], spot[1], state);
  }

  undo = () => this.#reapply(this.edits.done, this.edits.undone, "before", "undone");

  redo = () => this.#reapply(this.edits.undone, this.edits.done, "after", "redone");

  loadProgress = () =>
    ask<State["progress"]>("/progress")
      .then((progress) => this.store.set({ progress }))
      .catch(showError);

  /** Fetch the marks of other annotators. */
  async poll() {
    const { seen, frame, annotator, progress } = this.state;
    if (!annotator || seen === NOTHING) return;
    try {
      const { version, frames } = (await ask("/changes", { since: seen.version })) as Changes;
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
  async #reapply(from: Edit[], to: Edit[], when: "before" | "after", word: string) {
    const edit = from.pop();
    if (!edit) return this.notify(`nothing_${word}`);
    to.push(edit);
    const marks = edit[when];
    if (marks[0]!.frame !== this.state.frame) await this.goTo(marks[0]!.frame);
    this.#send(marks);
    return this.notify(word);
  }

  /** Apply an edit: marks of one frame that are undone together. */
  write(after: Mark[]) {
    const marks = this.marksOf(after[0]!.frame);
    const before = after.map(
      (mark) =>
        marks.get(placeOf(mark)) ??
        ({ ...mark, x: null, y: null, state: "cleared", source: "H" } as Mark),
    );
    this.edits = { done: [...this.edits.done, { before, after }].slice(-MOST_EDITS), undone: [] };
    this.#send(after);
  }

  #send(marks: Mark[]) {
    this.#outbox?.add(
      marks.map(({ frame, view, joint, x, y, state, source }) => ({
        id: newId(),
        frame,
        view,
        joint,
        x,
        y,
        state,
        source,
      })),
    );
    this.store.set({ seen: { ...this.state.seen } });
  }

  /** Store the server's state of a frame as an annotator sees it. */
  take(answer: FrameState, annotator: string) {
    this.#outboxes.get(annotator)?.learn(answer.marks);
    if (annotator !== this.state.annotator) return;
    this.store.set({
      offline: false,
      ...(answer.frame === this.state.frame ? { seen: answer } : {}),
    });
  }

  #query(isHere: boolean) {
    const { annotator, joint, everyone, shown } = this.state;
    return {
      annotator,
      view: shown,
      ...(isHere ? { joint } : {}),
      ...(everyone ? { points: "all" } : {}),
    };
  }
}

/** Return six views around a rig whose cameras are in order. */
const spread = (names: string[]) =>
  names.length <= SHOWN
    ? names
    : Array.from({ length: SHOWN }, (_, k) => names[Math.floor((k * names.length) / SHOWN)]!);

/** Return a random id; `randomUUID` requires a secure origin. */
const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
