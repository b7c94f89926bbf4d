/** Custom gestures: hands are recorded here, trained and tested by the server, which keeps nothing. */

import { addressOf, call } from "./endpoints.js";
import { onLanguage, text } from "./i18n.js";
import { instancesOf } from "./kinds.js";
import { save } from "./tables.js";

const SAMPLES = 20;
const LASTS_MS = 3000;
const PATIENCE_MS = 10_000; // without a hand
const LEAST = 5;

/** @typedef {{name: string, hands: any[]}} Recording */

export class Trainer {
  /** @type {(id: string) => any} */ #find;
  /** @type {(error: unknown) => void} */ #fail;
  /** @type {Recording[]} */ #recordings = [];
  /** @type {{name: string, hands: any[], until: number, next: number} | null} */ #taking = null;
  /** @type {{names: string[], counts: number[][]} | null} */ #tested = null;

  /** @param {(id: string) => any} find @param {(error: unknown) => void} fail */
  constructor(find, fail) {
    [this.#find, this.#fail] = [find, fail];
    find("trainer-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#begin();
    };
    find("trainer-train").onclick = () => this.#ask("train", ({ file, names }) => {
      save(new Blob([Uint8Array.from(atob(file), (one) => one.charCodeAt(0))]), "gestures.npz");
      this.#say(text("trainer.trained", { names: names.join(", ") }));
    });
    find("trainer-test").onclick = () => this.#ask("test", (answer) => {
      this.#tested = answer;
      this.#write();
    });
    onLanguage(() => this.#write());
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const taking = this.#taking;
    if (!taking) return;
    const now = performance.now();
    const hands = instancesOf(frame).filter(({ kind }) => kind === "hand").map(({ one }) => one);
    const known = hands.filter(({ keypoints, keypoints3D }) => [...keypoints, ...keypoints3D].every(({ z }) => Number.isFinite(z)));
    if (known.length && now >= taking.next) {
      taking.hands.push(...known.map(({ handedness, keypoints, keypoints3D }) => ({ handedness, keypoints: plain(keypoints), keypoints3D: plain(keypoints3D) })));
      taking.next = now + LASTS_MS / SAMPLES;
      taking.until = now + PATIENCE_MS;
    }
    this.#find("trainer-progress").value = taking.hands.length / SAMPLES;
    if (taking.hands.length >= SAMPLES || now > taking.until) this.#end();
  }

  clear() {
    if (this.#taking) this.#end();
  }

  #begin() {
    const name = this.#find("trainer-name").value.trim();
    if (!name) return;
    const now = performance.now();
    this.#taking = { name, hands: [], until: now + PATIENCE_MS, next: now };
    this.#find("trainer-record").disabled = true;
    this.#say(text("trainer.taking", { name }));
  }

  #end() {
    const { name, hands } = /** @type {Recording} */ (this.#taking);
    this.#taking = null;
    this.#find("trainer-record").disabled = false;
    this.#find("trainer-progress").value = 0;
    if (hands.length < LEAST) {
      this.#say(text("trainer.few"));
      return;
    }
    this.#recordings.push({ name, hands: hands.slice(0, SAMPLES) });
    this.#tested = null;
    this.#say(text("trainer.taken", { name, count: Math.min(hands.length, SAMPLES) }));
    this.#write();
  }

  /** @param {"train" | "test"} what @param {(answer: any) => void} show */
  async #ask(what, show) {
    try {
      const body = JSON.stringify({ recordings: this.#recordings });
      show(await call(new URL(addressOf(`/v1/gestures/${what}`)), null, { method: "POST", body }));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {string} words */
  #say(words) {
    this.#find("trainer-words").textContent = words;
  }

  #write() {
    const names = this.#recordings.map(({ name }) => name);
    const isEach = names.length > 0 && names.every((name) => names.filter((other) => other === name).length > 1);
    this.#find("trainer-train").disabled = !names.length;
    this.#find("trainer-test").disabled = !isEach;
    this.#find("trainer-recordings").replaceChildren(...this.#recordings.map((one) => {
      const item = document.createElement("li");
      const remove = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: text("trainer.remove") });
      remove.setAttribute("aria-label", `${text("trainer.remove")}: ${one.name}`);
      remove.onclick = () => {
        this.#recordings = this.#recordings.filter((other) => other !== one);
        this.#tested = null;
        this.#write();
      };
      item.append(text("trainer.recording", { name: one.name, count: one.hands.length }), " ", remove);
      return item;
    }));
    this.#find("trainer-table").replaceChildren(...(this.#tested ? [tableOf(this.#tested)] : []));
  }
}

/** @param {{x: number, y: number, z: number}[]} points */
const plain = (points) => points.map(({ x, y, z }) => ({ x, y, z }));

/** What is recognised as what: a row for each gesture. @param {{names: string[], counts: number[][]}} tested */
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
  line(text("trainer.is"), [...names, text("gestures.none")], "th");
  names.forEach((name, k) => line(name, counts[k], "td"));
  return table;
}
