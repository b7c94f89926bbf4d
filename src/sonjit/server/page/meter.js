/** Shows frame rate and latency of the last seconds. */

import { text } from "./i18n.js";
import { Pace, put } from "./pace.js";

const WINDOW_MS = 3000;
const PARTS = ["capture", "send", "detect", "draw"];

export class Meter {
  #places;
  /** @type {{at: number, [part: string]: number}[]} */ #samples = [];
  #dropped = 0;
  #pace = new Pace(() => this.#show());

  /** @param {{fps: HTMLElement, latency: HTMLElement, dropped: HTMLElement}} places */
  constructor(places) {
    this.#places = places;
  }

  /** @param {import("./detectors.js").Latency} latency @param {number} dropped in all */
  add(latency, dropped) {
    const at = performance.now();
    this.#samples.push({ at, ...latency });
    this.#samples = this.#samples.filter((sample) => sample.at > at - WINDOW_MS);
    this.#dropped = dropped;
    this.#pace.ask();
  }

  clear() {
    this.#pace.stop();
    this.#samples = [];
    const { fps, latency, dropped } = this.#places;
    fps.textContent = "–";
    dropped.textContent = "0";
    /** @type {HTMLElement} */ (latency.querySelector(".latency-text")).textContent = "–";
    for (const part of PARTS) {
      /** @type {HTMLElement} */ (latency.querySelector(`.bar .${part}`)).style.flexGrow = "0";
      delete (/** @type {HTMLElement} */ (latency.querySelector(`.legend .${part}`)).dataset.ms);
    }
    for (const name of [...PARTS, "total", "p95"]) delete latency.dataset[name];
  }

  #show() {
    const samples = this.#samples;
    const { fps, latency, dropped } = this.#places;
    const seconds = (samples[samples.length - 1].at - samples[0].at) / 1000;
    put(fps, samples.length > 1 ? ((samples.length - 1) / seconds).toFixed(1) : "–");
    put(dropped, String(this.#dropped));
    for (const part of PARTS) {
      const ms = mean(samples.map((sample) => sample[`${part}_ms`]));
      latency.dataset[part] = ms.toFixed(1);
      const bar = /** @type {HTMLElement} */ (latency.querySelector(`.bar .${part}`));
      bar.style.flexGrow = ms.toFixed(1);
      /** @type {HTMLElement} */ (latency.querySelector(`.legend .${part}`)).dataset.ms = ms.toFixed(0);
    }
    const totals = samples.map((sample) => sample.total_ms).sort((a, b) => a - b);
    latency.dataset.total = mean(totals).toFixed(1);
    latency.dataset.p95 = totals[Math.min(Math.floor(totals.length * 0.95), totals.length - 1)].toFixed(1);
    const label = text("latency.value", { total: Number(latency.dataset.total).toFixed(0), p95: Number(latency.dataset.p95).toFixed(0) });
    put(/** @type {HTMLElement} */ (latency.querySelector(".latency-text")), label);
  }
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
