/** Editor of maps for `sonjit control`: edit, check on the server, try without sending, download. */

import { addressOf, call } from "./endpoints.js";
import { onLanguage, text } from "./i18n.js";
import { save } from "./tables.js";

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
