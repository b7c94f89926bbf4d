/** Custom gestures: the page records static gestures and motions; the server trains and tests them and stores nothing. */

import { find, make, makeButton, makeRow, save } from "./dom.js";
import { addressOf, call } from "./endpoints.js";
import { instancesOf } from "./kinds.js";
import { bytesOf } from "./masks.js";
import { onLanguage, showError, text } from "./texts.js";

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
  /** @type {Recording[]} */ #recordings = [];
  /** @type {{name: string, hands: Hand[], until: number, next: number} | null} */ #taking = null;
  /** @type {{name: string, frames: {time: number, hands: Hand[]}[]} | null} */ #following = null;
  /** @type {{names: string[], counts: number[][]}[]} */ #tested = [];
  /** @type {Trained | null} */ #trained = null;
  #use;
  #hasStream;

  /**
   * @param {(trained: Trained, isTried: boolean) => void} use function that receives the trained gestures and whether the stream uses them
   * @param {() => boolean} hasStream whether a camera or video runs
   */
  constructor(use, hasStream) {
    this.#use = use;
    this.#hasStream = hasStream;
    find("trainer-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (this.#following) this.#endMotion();
      else this.#begin();
    };
    find("trainer-name").oninvalid = () => showStatus("trainer.name_hint");
    find("trainer-moving").onchange = () => this.#write();
    find("trainer-try").onchange = () => this.#useGestures();
    find("trainer-train").onclick = () => this.#ask("train", ({ file, names }) => {
      save(new Blob([bytesOf(file)]), "gestures.npz");
      showStatus("trainer.trained", { names: names.join(", ") });
      this.#trained = { file, names };
      this.#useGestures();
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
    const box = find("trainer-try");
    if (box.checked || !this.#trained?.names.some((name) => map.includes(JSON.stringify(name)))) return;
    box.checked = true;
    this.#useGestures();
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    if (find("trainer-words").textContent === text("trainer.start")) find("trainer-words").textContent = "";
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
    find("trainer-progress").value = taking.hands.length / SAMPLES;
    if (taking.hands.length >= SAMPLES || now > taking.until) this.#end();
  }

  clear() {
    if (this.#taking) this.#end();
    if (this.#following) this.#endMotion();
  }

  #useGestures() {
    if (this.#trained) this.#use(this.#trained, find("trainer-try").checked);
  }

  /** @param {{time: number, hands: Hand[]}[]} frames @param {Record<string, any>} frame */
  #follow(frames, frame) {
    const hands = knownHands(frame).filter(({ id }) => Number.isInteger(id));
    const isBack = frame.time <= (frames.at(-1)?.time ?? -Infinity); // a new clip starts
    if (hands.length && !isBack) frames.push({ time: frame.time, hands });
    find("trainer-progress").value = frames.length / MAX_FRAMES;
    if (isBack || frames.length >= MAX_FRAMES) this.#endMotion();
  }

  /** Let the server split the recording at pauses, and store it if it contains a motion. */
  #endMotion() {
    const recording = /** @type {Recording} */ (this.#following);
    this.#following = null;
    find("trainer-progress").value = 0;
    this.#write();
    this.#ask("train", ({ examples }) => this.#keep({ ...recording, count: examples[0] }), [recording]);
  }

  /** @param {Recording} recording */
  #keep(recording) {
    this.#recordings.push(recording);
    this.#tested = [];
    showStatus("trainer.taken", { name: recording.name, count: countOf(recording) });
    this.#write();
  }

  #begin() {
    const name = find("trainer-name").value.trim();
    if (!name) return undefined;
    if (!this.#hasStream()) return showStatus("trainer.start");
    if (find("trainer-moving").checked) {
      this.#following = { name, frames: [] };
      this.#write();
      return showStatus("trainer.move", { name });
    }
    const now = performance.now();
    this.#taking = { name, hands: [], until: now + PATIENCE_MS, next: now };
    find("trainer-record").disabled = true;
    return showStatus("trainer.taking", { name });
  }

  #end() {
    const { name, hands } = /** @type {{name: string, hands: Hand[]}} */ (this.#taking);
    this.#taking = null;
    find("trainer-record").disabled = false;
    find("trainer-progress").value = 0;
    if (hands.length < LEAST) showStatus("trainer.few");
    else this.#keep({ name, hands: hands.slice(0, SAMPLES) });
  }

  /** @param {"train" | "test"} what @param {(answer: any) => void} show @param {Recording[]} [recordings] */
  async #ask(what, show, recordings = this.#recordings) {
    try {
      show(await call(addressOf(`/v1/gestures/${what}`), null, { method: "POST", body: JSON.stringify({ recordings }) }));
    } catch (error) {
      showError(error);
    }
  }

  #write() {
    const names = this.#recordings.map(({ name }) => name);
    const isEach = names.length > 0 && names.every((name) => names.filter((other) => other === name).length > 1);
    const moving = find("trainer-moving");
    find("trainer-record").textContent = text(this.#following ? "trainer.stop" : moving.checked ? "trainer.begin" : "trainer.record");
    moving.disabled = this.#following !== null;
    find("trainer-try").disabled = this.#trained === null;
    find("trainer-train").disabled = !names.length;
    find("trainer-test").disabled = !isEach;
    find("trainer-recordings").replaceChildren(...this.#recordings.map((recording) => {
      const { name } = recording;
      const remove = () => {
        this.#recordings = this.#recordings.filter((other) => other !== recording);
        this.#tested = [];
        this.#write();
      };
      const label = text(recording.frames ? "trainer.motions" : "trainer.recording", { name, count: countOf(recording) });
      return make("li", {}, label, " ", makeButton(text("trainer.remove"), remove, { ariaLabel: `${text("trainer.remove")}: ${name}` }));
    }));
    find("trainer-table").replaceChildren(...this.#tested.map(tableOf));
  }
}

/** @param {string} key of a text @param {Record<string, unknown>} [values] */
function showStatus(key, values) {
  find("trainer-words").textContent = text(key, values);
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
  const head = makeRow(text("trainer.is"), [...names, text("gestures.nothing")], "th");
  return make("table", {}, head, ...names.map((name, k) => makeRow(name, counts[k])));
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
  #dryRun;
  #isRunning = false;
  /** @type {{gestures: string[], motions: string[], measures: string[]}} what rules may name */ #known = { gestures: [], motions: [], measures: [] };
  /** @type {string[]} custom gestures that were trained here */ #custom = [];

  /** @param {(map: string | null) => void} dryRun request the commands of a checked map; null to stop */
  constructor(dryRun) {
    this.#dryRun = dryRun;
    const map = find("map-text");
    map.value = EXAMPLE;
    map.oninput = () => this.#stop();
    find("map-add").onclick = () => this.#add();
    find("map-download").onclick = async () => (await this.#check()) && save(new Blob([map.value], { type: "application/toml" }), "map.toml");
    find("map-check").onclick = () => this.#check();
    find("map-run").onchange = () => this.#run();
    find("map-action").onchange = showHint;
  }

  /** Fill the lists of names for rules. */
  async load() {
    const { actions, ...known } = /** @type {any} */ (await call(addressOf("/v1/control")));
    this.#known = known;
    this.#list();
    find("map-action").replaceChildren(...Object.entries(actions).map(([name, hint]) => {
      const option = new Option(name);
      option.dataset.hint = hint;
      return option;
    }));
    showHint();
  }

  /** Custom gestures that rules may name too. @param {string[]} names */
  set custom(names) {
    this.#custom = names;
    this.#list();
  }

  #list() {
    const { gestures, motions, measures } = this.#known;
    const group = (/** @type {string} */ label, /** @type {string[]} */ names, key = "on") =>
      make("optgroup", { label }, ...names.map((name) => new Option(name, `${key} = ${JSON.stringify(name)}`)));
    find("map-on").replaceChildren(group(text("map.motions"), motions), group(text("map.gestures"), [...this.#custom, ...gestures]), group(text("map.measures"), measures, "measure"));
  }

  /** @param {Record<string, any>} frame */
  draw({ commands = [] }) {
    if (!this.#isRunning) return; // an outdated answer
    const list = find("map-commands");
    for (const command of commands) list.prepend(make("li", {}, JSON.stringify(command)));
    while (list.children.length > MOST_COMMANDS) list.lastElementChild.remove();
  }

  clear() {}

  #add() {
    const [map, on, action, target] = ["map-text", "map-on", "map-action", "map-target"].map(find);
    const before = map.value.trimEnd();
    map.value = `${before}${before ? "\n\n" : ""}[[rule]]\n${on.value}\n${action.value} = ${JSON.stringify(target.value)}\n`;
    this.#stop();
    this.#check();
  }

  /** Check the map and show the errors. */
  async #check() {
    const state = find("map-words");
    try {
      const address = addressOf("/v1/control");
      for (const name of this.#custom) address.searchParams.append("gesture", name);
      const { rules } = await call(address, null, { method: "POST", body: find("map-text").value });
      state.textContent = text("map.right", { count: rules });
      state.dataset.state = "right";
    } catch (error) {
      if (/** @type {any} */ (error).code !== "bad_option") showError(error);
      state.textContent = /** @type {Error} */ (error).message;
      state.dataset.state = "wrong";
    }
    return state.dataset.state === "right";
  }

  async #run() {
    const run = find("map-run");
    if (!run.checked) return this.#stop();
    run.checked = await this.#check();
    if (!run.checked) return undefined;
    this.#isRunning = true;
    return this.#dryRun(find("map-text").value);
  }

  #stop() {
    find("map-run").checked = false;
    find("map-commands").replaceChildren();
    if (this.#isRunning) this.#dryRun(null);
    this.#isRunning = false;
  }
}

/** Show an example of the selected action. */
function showHint() {
  const hint = find("map-action").selectedOptions[0]?.dataset.hint ?? "";
  find("map-target").placeholder = hint.split(", as in ").at(-1);
  find("map-target-hint").textContent = hint;
}
