/** Marks that are sent to the server until it confirms them, also after a reload of the page. */

import { ServerError } from "../endpoints.js";
import { memory } from "../state.js";
import { postMarks } from "./project.js";

/** @typedef {import("./project.js").Mark} Mark */
/** @typedef {import("./project.js").MarkAnswer} MarkAnswer */

const AT_ONCE = 500;
const AGAIN_MS = 1500;

/** @param {{frame: number, view: string, joint: number}} mark */
export const placeOf = ({ frame, view, joint }) => `${frame} ${joint} ${view}`;

export class Outbox {
  /** @type {Map<string, Mark>} unsent marks by key; a newer mark replaces an older one */ #waiting = new Map();
  /** @type {Mark[]} */ #sent = [];
  /** @type {Map<string, number>} versions on the server by key */ #versions = new Map();
  #annotator = "";
  #name = "";
  #running = false;
  #on;

  /**
   * @param {{answer: (state: import("./project.js").FrameState) => void, refused: (refused: MarkAnswer["refused"]) => void,
   *   error: (error: unknown, lost: boolean) => void,
   *   changed: () => void, query: (frame: number) => Record<string, unknown>}} on
   */
  constructor(on) {
    this.#on = on;
  }

  /** Start as an annotator, and send stored marks. @param {string} project @param {string} annotator */
  open(project, annotator) {
    this.#annotator = annotator;
    this.#name = `annotate.unsent.${project}.${annotator}`;
    this.#waiting.clear();
    for (const mark of memory.read(this.#name) ?? []) this.#waiting.set(placeOf(mark), mark);
    this.#run();
  }

  get count() {
    return this.#waiting.size + this.#sent.length;
  }

  /** Return the unconfirmed marks of a frame. @param {number} frame @returns {Mark[]} */
  pending(frame) {
    return [...this.#sent, ...this.#waiting.values()].filter((mark) => mark.frame === frame);
  }

  /** Store the versions on the server. @param {Mark[]} marks of this annotator */
  learn(marks) {
    for (const mark of marks) this.#versions.set(placeOf(mark), mark.version ?? 0);
  }

  /** @param {Mark[]} marks */
  add(marks) {
    for (const mark of marks) {
      this.#waiting.delete(placeOf(mark));
      this.#waiting.set(placeOf(mark), mark);
    }
    this.#keep();
    this.#run();
  }

  #keep() {
    memory.write(this.#name, [...this.#sent, ...this.#waiting.values()]);
    this.#on.changed();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting.size) {
      this.#sent = [...this.#waiting.values()].slice(0, AT_ONCE);
      for (const mark of this.#sent) this.#waiting.delete(placeOf(mark));
      const answer = await this.#send();
      this.#sent = [];
      this.#keep();
      if (answer) this.#on.answer(answer.state);
    }
    this.#running = false;
  }

  /** @returns {Promise<MarkAnswer | null>} null if the server refuses them */
  async #send() {
    const marks = this.#sent.map((mark) => ({ ...mark, base: this.#versions.get(placeOf(mark)) ?? 0 }));
    const query = this.#on.query(marks[marks.length - 1].frame);
    for (;;) {
      try {
        const answer = await postMarks(this.#annotator, marks, query);
        const places = new Map(this.#sent.map((mark) => [mark.id, placeOf(mark)]));
        for (const { id, version } of answer.written) this.#versions.set(places.get(id) ?? "", version);
        for (const { there } of answer.refused) this.#versions.set(placeOf(there), there.version);
        if (answer.refused.length) this.#on.refused(answer.refused);
        return answer;
      } catch (error) {
        const lost = error instanceof ServerError && error.code === "bad_option";
        this.#on.error(error, lost);
        if (lost) return null;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}
