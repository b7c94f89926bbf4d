/** Custom gestures: the page records static gestures and motions; the server trains and tests them and stores nothing. */

import { addressOf, call } from "./endpoints.js";
import { instancesOf } from "./kinds.js";
import { save } from "./tables.js";
import { onLanguage, text } from "./texts.js";

const SAMPLES = 20;
const LASTS_MS = 3000;
const PATIENCE_MS = 10_000; // maximum time without a hand
const LEAST = 5;

const MAX_FRAMES = 600; // frame rate and maximum length of a motion's recording on the server

/**
 * @typedef {{handedness: string, keypoints: any[], keypoints3D: any[], id?: number}} Hand
 * @typedef {{name: string, hands?: Hand[], frames?: {time: number, hands: Hand[]}[], count?: number}} Recording of static gestures or motions; `count`: number of motions
 * @typedef {{file: string, names: string[]}} Trained last trained gestures; `file` in base64
 */

export class Trainer {
  /** @type {(id: string) => any} */ #find;
  /** @type {(error: unknown) => void} */ #fail;
  /** @type {Recording[]} */ #recordings = [];
  /** @type {{name: string, hands: Hand[], until: number, next: number} | null} */ #taking = null;
  /** @type {{name: string, frames: {time: number, hands: Hand[]}[]} | null} */ #following = null;
  /** @type {{names: string[], counts: number[][]}[]} */ #tested = [];
  /** @type {Trained | null} */ #trained = null;
  /** @type {(trained: Trained, isTried: boolean) => void} */ #use;
  /** @type {() => boolean} */ #hasStream;

  /**
   * @param {(id: string) => any} find
   * @param {(error: unknown) => void} fail
   * @param {(trained: Trained, isTried: boolean) => void} use function that receives the trained gestures and whether the stream uses them
   * @param {() => boolean} hasStream whether a camera or video runs
   */
  constructor(find, fail, use, hasStream) {
    [this.#find, this.#fail, this.#use, this.#hasStream] = [find, fail, use, hasStream];
    find("trainer-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (this.#following) this.#endMotion();
      else this.#begin();
    };
    find("trainer-name").oninvalid = () => this.#showStatus(text("trainer.name_hint"));
    find("trainer-moving").onchange = () => this.#write();
    find("trainer-try").onchange = () => this.#use(/** @type {Trained} */ (this.#trained), find("trainer-try").checked);
    find("trainer-train").onclick = () => this.#ask("train", ({ file, names }) => {
      save(new Blob([Uint8Array.from(atob(file), (character) => character.charCodeAt(0))]), "gestures.npz");
      this.#showStatus(text("trainer.trained", { names: names.join(", ") }));
      this.#trained = { file, names };
      this.#use(this.#trained, find("trainer-try").checked);
      this.#write();
    });
    find("trainer-test").onclick = () => this.#ask("test", ({ tables }) => {
      this.#tested = tables;
      this.#write();
    });
    onLanguage(() => this.#write());
  }

  /** Use the trained gestures in the stream if a map names them. @param {string} map */
  tryFor(map) {
    const box = this.#find("trainer-try");
    if (box.checked || !this.#trained?.names.some((name) => map.includes(JSON.stringify(name)))) return;
    box.checked = true;
    this.#use(this.#trained, true);
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const taking = this.#taking;
    if (this.#following) this.#follow(this.#following.frames, frame);
    if (!taking) return;
    const now = performance.now();
    const known = knownHands(frame);
    if (known.length && now >= taking.next) {
      taking.hands.push(...known);
      taking.next = now + LASTS_MS / SAMPLES;
      taking.until = now + PATIENCE_MS;
    }
    this.#find("trainer-progress").value = taking.hands.length / SAMPLES;
    if (taking.hands.length >= SAMPLES || now > taking.until) this.#end();
  }

  clear() {
    if (this.#taking) this.#end();
    if (this.#following) this.#endMotion();
  }

  /** @param {{time: number, hands: Hand[]}[]} frames @param {Record<string, any>} frame */
  #follow(frames, frame) {
    const hands = knownHands(frame).filter(({ id }) => Number.isInteger(id));
    const isBack = frame.time <= (frames.at(-1)?.time ?? -Infinity); // a new clip starts
    if (hands.length && !isBack) frames.push({ time: frame.time, hands });
    this.#find("trainer-progress").value = frames.length / MAX_FRAMES;
    if (isBack || frames.length >= MAX_FRAMES) this.#endMotion();
  }

  /** Let the server split the recording at pauses, and store it if it contains a motion. */
  #endMotion() {
    const recording = /** @type {Recording} */ (this.#following);
    this.#following = null;
    this.#find("trainer-progress").value = 0;
    this.#write();
    this.#ask("train", ({ examples }) => this.#keep({ ...recording, count: examples[0] }), [recording]);
  }

  /** @param {Recording} recording */
  #keep(recording) {
    this.#recordings.push(recording);
    this.#tested = [];
    this.#showStatus(text("trainer.taken", { name: recording.name, count: countOf(recording) }));
    this.#write();
  }

  #begin() {
    const name = this.#find("trainer-name").value.trim();
    if (!name) return;
    if (!this.#hasStream()) {
      this.#showStatus(text("trainer.start"));
      return;
    }
    if (this.#find("trainer-moving").checked) {
      this.#following = { name, frames: [] };
      this.#showStatus(text("trainer.move", { name }));
      this.#write();
      return;
    }
    const now = performance.now();
    this.#taking = { name, hands: [], until: now + PATIENCE_MS, next: now };
    this.#find("trainer-record").disabled = true;
    this.#showStatus(text("trainer.taking", { name }));
  }

  #end() {
    const { name, hands } = /** @type {{name: string, hands: Hand[]}} */ (this.#taking);
    this.#taking = null;
    this.#find("trainer-record").disabled = false;
    this.#find("trainer-progress").value = 0;
    if (hands.length < LEAST) {
      this.#showStatus(text("trainer.few"));
      return;
    }
    this.#keep({ name, hands: hands.slice(0, SAMPLES) });
  }

  /** @param {"train" | "test"} what @param {(answer: any) => void} show @param {Recording[]} [recordings] */
  async #ask(what, show, recordings = this.#recordings) {
    try {
      const body = JSON.stringify({ recordings });
      show(await call(new URL(addressOf(`/v1/gestures/${what}`)), null, { method: "POST", body }));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {string} message */
  #showStatus(message) {
    this.#find("trainer-words").textContent = message;
  }

  #write() {
    const names = this.#recordings.map(({ name }) => name);
    const isEach = names.length > 0 && names.every((name) => names.filter((other) => other === name).length > 1);
    const record = this.#find("trainer-record");
    record.textContent = text(this.#following ? "trainer.stop" : this.#find("trainer-moving").checked ? "trainer.begin" : "trainer.record");
    this.#find("trainer-moving").disabled = this.#following !== null;
    this.#find("trainer-try").disabled = this.#trained === null;
    this.#find("trainer-train").disabled = !names.length;
    this.#find("trainer-test").disabled = !isEach;
    this.#find("trainer-recordings").replaceChildren(...this.#recordings.map((recording) => {
      const item = document.createElement("li");
      const remove = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: text("trainer.remove") });
      remove.setAttribute("aria-label", `${text("trainer.remove")}: ${recording.name}`);
      remove.onclick = () => {
        this.#recordings = this.#recordings.filter((other) => other !== recording);
        this.#tested = [];
        this.#write();
      };
      item.append(text(recording.frames ? "trainer.motions" : "trainer.recording", { name: recording.name, count: countOf(recording) }), " ", remove);
      return item;
    }));
    this.#find("trainer-table").replaceChildren(...this.#tested.map(tableOf));
  }
}

/** Return the number of examples of a recording. @param {Recording} recording */
const countOf = ({ hands, count }) => count ?? hands?.length ?? 0;

/** Return the hands of a frame without unknown keypoints, in the server's format. @param {Record<string, any>} frame @returns {Hand[]} */
export function knownHands(frame) {
  const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
  const known = hands.filter(({ instance }) => [...instance.keypoints, ...instance.keypoints3D].every(({ z }) => Number.isFinite(z)));
  return known.map(({ instance, person }) => {
    const { keypoints, keypoints3D } = instance.published ?? instance; // gestures are learned from the published keypoints
    return { id: instance.id ?? person?.id, handedness: instance.handedness, keypoints: plain(keypoints), keypoints3D: plain(keypoints3D) };
  });
}

/** @param {{x: number, y: number, z: number}[]} points */
const plain = (points) => points.map(({ x, y, z }) => ({ x, y, z }));

/** Return the confusion matrix as a table. @param {{names: string[], counts: number[][]}} tested */
function tableOf({ names, counts }) {
  const table = document.createElement("table");
  const line = (/** @type {string} */ head, /** @type {(string | number)[]} */ cells, /** @type {"td" | "th"} */ tag) => {
    const row = table.insertRow();
    const title = Object.assign(document.createElement("th"), { textContent: head, scope: tag === "th" ? "col" : "row" });
    row.append(title, ...cells.map((cell) => {
      const node = document.createElement(tag);
      if (node instanceof HTMLTableCellElement && tag === "th") node.scope = "col";
      node.textContent = String(cell);
      return node;
    }));
  };
  line(text("trainer.is"), [...names, text("gestures.nothing")], "th");
  names.forEach((name, k) => line(name, counts[k], "td"));
  return table;
}

const EXAMPLE = `[[rule]]
on = "Swipe_Left"
key = "right"

[[rule]]
measure = "pinch_index_m"
from = [0.02, 0.12]
smooth_s = 0.1
osc = "127.0.0.1:9000/volume"
`;
const MOST_COMMANDS = 30;

export class MapEditor {
  /** @type {(id: string) => any} */ #find;
  /** @type {(error: unknown) => void} */ #fail;
  /** @type {(map: string | null) => void} */ #dryRun;
  #isRunning = false;
  /** @type {{gestures: string[], motions: string[], measures: string[]}} what rules may name */ #known = { gestures: [], motions: [], measures: [] };
  /** @type {string[]} custom gestures that were trained here */ #custom = [];

  /**
   * @param {(id: string) => any} find
   * @param {(error: unknown) => void} fail
   * @param {(map: string | null) => void} dryRun request the commands of a checked map; null to stop
   */
  constructor(find, fail, dryRun) {
    [this.#find, this.#fail, this.#dryRun] = [find, fail, dryRun];
    find("map-text").value = EXAMPLE;
    find("map-text").oninput = () => this.#stop();
    find("map-add").onclick = () => this.#add();
    find("map-download").onclick = async () => (await this.#check()) && save(new Blob([find("map-text").value], { type: "application/toml" }), "map.toml");
    find("map-check").onclick = () => this.#check();
    find("map-run").onchange = () => this.#run();
    find("map-action").onchange = () => this.#hint();
    onLanguage(() => this.#hint());
  }

  /** Fill the lists of names for rules. */
  async load() {
    const { actions, gestures, motions, measures } = await call(new URL(addressOf("/v1/control")));
    this.#known = { gestures, motions, measures };
    this.#list();
    this.#find("map-action").replaceChildren(...Object.entries(actions).map(([name, hint]) => {
      const option = new Option(name);
      option.dataset.hint = hint;
      return option;
    }));
    this.#hint();
  }

  /** Custom gestures that rules may name too. @param {string[]} names */
  set custom(names) {
    this.#custom = names;
    this.#list();
  }

  #list() {
    const { gestures, motions, measures } = this.#known;
    const group = (/** @type {string} */ label, /** @type {string[]} */ names, /** @type {string} */ key) => {
      const node = Object.assign(document.createElement("optgroup"), { label });
      node.append(...names.map((name) => new Option(name, `${key} = ${JSON.stringify(name)}`)));
      return node;
    };
    this.#find("map-on").replaceChildren(group(text("map.motions"), motions, "on"), group(text("map.gestures"), [...this.#custom, ...gestures], "on"), group(text("map.measures"), measures, "measure"));
  }

  /** @param {Record<string, any>} frame */
  draw({ commands = [] }) {
    if (!this.#isRunning) return; // an outdated answer
    const list = this.#find("map-commands");
    for (const command of commands) {
      const line = document.createElement("li");
      line.textContent = JSON.stringify(command);
      list.prepend(line);
    }
    while (list.children.length > MOST_COMMANDS) list.lastElementChild.remove();
  }

  clear() {}

  #hint() {
    const hint = this.#find("map-action").selectedOptions?.[0]?.dataset.hint ?? "";
    this.#find("map-target").placeholder = hint.split(", as in ").at(-1);
    this.#find("map-target-hint").textContent = hint;
  }

  #add() {
    const [on, action, target] = ["map-on", "map-action", "map-target"].map((id) => this.#find(id).value);
    const before = this.#find("map-text").value.trimEnd();
    this.#find("map-text").value = `${before}${before ? "\n\n" : ""}[[rule]]\n${on}\n${action} = ${JSON.stringify(target)}\n`;
    this.#stop();
    this.#check();
  }

  /** Check the map and show the errors. */
  async #check() {
    const state = this.#find("map-words");
    try {
      const address = new URL(addressOf("/v1/control"));
      for (const name of this.#custom) address.searchParams.append("gesture", name);
      const { rules } = await call(address, null, { method: "POST", body: this.#find("map-text").value });
      state.textContent = text("map.right", { count: rules });
      state.dataset.state = "right";
      return true;
    } catch (error) {
      if (/** @type {any} */ (error).code !== "bad_option") this.#fail(error);
      state.textContent = /** @type {Error} */ (error).message;
      state.dataset.state = "wrong";
      return false;
    }
  }

  async #run() {
    if (!this.#find("map-run").checked) return this.#stop();
    if (!(await this.#check())) {
      this.#find("map-run").checked = false;
      return;
    }
    this.#isRunning = true;
    this.#dryRun(this.#find("map-text").value);
  }

  #stop() {
    this.#find("map-run").checked = false;
    this.#find("map-commands").replaceChildren();
    if (this.#isRunning) this.#dryRun(null);
    this.#isRunning = false;
  }
}
