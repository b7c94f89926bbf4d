/** Plots a measure of all instances over the last seconds and counts its repetitions. */

import { onLanguage, text } from "./i18n.js";
import { measureName, shown, trackedOf, unitOf } from "./measures.js";
import { fit } from "./overlay.js";
import { RepetitionCounter } from "./repetitions.js";
import { REPETITIONS } from "./spec.js";

const WINDOW_S = 20;
const COLOURS = ["#2f9ede", "#d98600", "#7c5cf0", "#1d9a63", "#e2518a", "#8a6d3b"];
const BENT_RAD = (REPETITIONS.low_deg * Math.PI) / 180;
const STRAIGHT_RAD = (REPETITIONS.high_deg * Math.PI) / 180;
const MARGIN = { left: 44, right: 10, top: 10, bottom: 22 };

const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** @typedef {{id: number | null, handedness: string | null, label: string, measures: Record<string, number | null>}} Measured an instance with its measures */

export class Plot {
  /** Repetitions that ended in the latest frame, as events. @type {object[]} */ events = [];
  #canvas = find("plot");
  /** @type {{time: number, values: Map<string, Measured>}[]} */ #history = [];
  /** @type {Map<string, RepetitionCounter>} */ #counters = new Map();
  #isScheduled = false;
  #known = "";

  constructor() {
    find("plot-measure").onchange = () => this.#restart();
    find("count").onchange = () => this.#restart();
    for (const id of ["count-low", "count-high"]) find(id).oninput = () => this.#recount();
    new ResizeObserver(() => this.#ask()).observe(this.#canvas);
    onLanguage(() => {
      this.#known = "";
      this.#offer();
      this.#ask();
    });
  }

  /** @param {Record<string, any>} frame */
  draw(frame) {
    const { time } = frame;
    this.events = [];
    const last = this.#history.at(-1)?.time ?? -Infinity;
    if (time < last) this.#forget(); // the source restarted
    else if (time === last) this.#history.pop();
    const measured = trackedOf(frame).filter(({ instance }) => Object.keys(instance.measures).length);
    if (!measured.length && !this.#history.length) return;
    const values = new Map(measured.map(({ key, id, label, instance }) => [key, { id, label, handedness: instance.handedness ?? null, measures: instance.measures }]));
    this.#history.push({ time, values });
    while (this.#history[0].time < time - WINDOW_S) this.#history.shift();
    this.#offer();
    this.events = this.#count(time, values);
    this.#ask();
  }

  /** End a run. The plot stays until the next run starts. */
  clear() {
    find("counts").replaceChildren();
  }

  /** Clear the plot for another source. */
  begin() {
    this.#forget();
    this.#ask();
  }

  get #measure() {
    return find("plot-measure").value;
  }

  #forget() {
    this.#history = [];
    this.#counters.clear();
  }

  /** Fill the list of measures. */
  #offer() {
    const names = [...new Set(this.#history.slice(-1).flatMap(({ values }) => [...values.values()].flatMap(({ measures }) => Object.keys(measures))))];
    if (!names.length || names.join() === this.#known) return;
    this.#known = names.join();
    const select = find("plot-measure");
    const chosen = select.value;
    const label = (/** @type {string} */ name) => measureName(name) + (unitOf(name).unit && ` (${unitOf(name).unit.trim()})`);
    select.replaceChildren(...names.map((name) => new Option(label(name), name)));
    select.value = names.includes(chosen) ? chosen : names.find((name) => name.endsWith("_angle_rad")) ?? names[0];
    if (select.value !== chosen) this.#restart();
  }

  /** Set the limits of another measure. */
  #restart() {
    const isOn = find("count").checked;
    find("count-limits").hidden = !isOn;
    const { scale, digits } = unitOf(this.#measure);
    const [low, high] = this.#usualLimits();
    find("count-low").value = (low * scale).toFixed(digits);
    find("count-high").value = (high * scale).toFixed(digits);
    this.#recount();
  }

  /** Return the default limits of a joint, or thirds of the observed range. @returns {[number, number]} */
  #usualLimits() {
    if (this.#measure.endsWith("_angle_rad")) return [BENT_RAD, STRAIGHT_RAD];
    const values = this.#series().flatMap(({ points }) => points.map(({ value }) => value)).filter(Number.isFinite);
    const [minimum, maximum] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    return [minimum + (maximum - minimum) / 3, maximum - (maximum - minimum) / 3];
  }

  /** @returns {[number, number]} in the measure's own unit */
  #limits() {
    const { scale } = unitOf(this.#measure);
    return [Number(find("count-low").value) / scale, Number(find("count-high").value) / scale];
  }

  /** Count the repetitions of the stored history again. */
  #recount() {
    this.#counters.clear();
    find("counts").replaceChildren();
    for (const { time, values } of this.#history) this.#count(time, values);
    this.#ask();
  }

  /** Count the repetitions of all instances. @param {number} time @param {Map<string, Measured>} values @returns {object[]} the repetitions that ended, as events */
  #count(time, values) {
    const [low, high] = this.#limits();
    if (!find("count").checked || !(low < high)) return [];
    /** @type {object[]} */ const events = [];
    const name = this.#measure;
    const lines = [...values].filter(([, { measures }]) => name in measures).map(([key, { id, handedness, label, measures }]) => {
      const counter = this.#counters.get(key) ?? new RepetitionCounter(low, high);
      this.#counters.set(key, counter);
      const before = counter.count;
      const count = counter.update(measures[name] ?? NaN, time);
      if (count > before && counter.last) {
        const { begin, end, lowest } = counter.last;
        events.push({ name, type: "repetition", phase: "end", begin, end, id, handedness, value: lowest });
      }
      return `${label}: ${count}`;
    });
    const place = find("counts");
    if (lines.length && place.innerText !== lines.join("\n")) {
      place.replaceChildren(...lines.map((line) => Object.assign(document.createElement("span"), { className: "count", textContent: line })));
    }
    return events;
  }

  /** Return the selected measure of each instance. */
  #series() {
    /** @type {Map<string, {label: string, points: {time: number, value: number}[]}>} */ const series = new Map();
    for (const { time, values } of this.#history) {
      for (const [key, { label, measures }] of values) {
        if (!(this.#measure in measures)) continue;
        const line = series.get(key) ?? { label, points: [] };
        line.label = label;
        line.points.push({ time, value: measures[this.#measure] ?? NaN });
        series.set(key, line);
      }
    }
    return [...series.values()];
  }

  #ask() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      if (this.#canvas.clientWidth) this.#render();
    });
  }

  #render() {
    const canvas = this.#canvas;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const scale = devicePixelRatio;
    fit(canvas, Math.round(width * scale), Math.round(height * scale));
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const series = this.#series();
    canvas.dataset.points = String(series.reduce((sum, { points }) => sum + points.length, 0));
    const name = this.#measure;
    canvas.setAttribute("aria-label", series.length
      ? `${measureName(name)}: ${series.map(({ label, points }) => `${label} ${shown(name, points.at(-1)?.value)}`).join(", ")}` : text("live.empty"));
    if (!series.length) return;
    this.#legend(series);
    const limits = find("count").checked ? this.#limits() : [];
    const values = [...series.flatMap(({ points }) => points.map(({ value }) => value)), ...limits].filter(Number.isFinite);
    if (values.length === limits.length) return; // the measure is unknown: no axis
    const [minimum, maximum] = [Math.min(...values), Math.max(...values)];
    const margin = (maximum - minimum || Math.abs(maximum) || 1) * 0.08;
    const [low, high] = [minimum - margin, maximum + margin];
    const end = this.#history[this.#history.length - 1].time;
    const start = Math.max(this.#history[0].time, end - WINDOW_S);
    const span = Math.max(end - start, 2);
    const x = (/** @type {number} */ time) => MARGIN.left + ((time - start) / span) * (width - MARGIN.left - MARGIN.right);
    const y = (/** @type {number} */ value) => MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    const style = getComputedStyle(canvas);
    ctx.font = `12px ${style.fontFamily}`;
    ctx.lineWidth = 1;
    for (let step = 0; step <= 4; step += 1) {
      const value = low + ((high - low) * step) / 4;
      ctx.strokeStyle = style.getPropertyValue("--line");
      ctx.fillStyle = style.getPropertyValue("--muted");
      ctx.beginPath();
      ctx.moveTo(MARGIN.left, y(value));
      ctx.lineTo(width - MARGIN.right, y(value));
      ctx.stroke();
      ctx.textAlign = "right";
      ctx.fillText(shown(name, value).replace(" cm", ""), MARGIN.left - 5, y(value) + 4);
      ctx.textAlign = step === 4 ? "right" : "center";
      if (step) ctx.fillText(`${(start + (span * step) / 4).toFixed(span < 8 ? 1 : 0)} s`, x(start + (span * step) / 4), height - 5);
    }
    ctx.setLineDash([6, 5]);
    ctx.strokeStyle = style.getPropertyValue("--muted");
    for (const limit of limits) {
      ctx.beginPath();
      ctx.moveTo(MARGIN.left, y(limit));
      ctx.lineTo(width - MARGIN.right, y(limit));
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.lineWidth = 2;
    ctx.lineJoin = "round";
    series.forEach(({ points }, k) => {
      ctx.strokeStyle = ctx.fillStyle = COLOURS[k % COLOURS.length];
      ctx.beginPath();
      let before = NaN;
      for (const { time, value } of points) {
        if (Number.isFinite(value)) (time - before < 1 ? ctx.lineTo(x(time), y(value)) : ctx.moveTo(x(time), y(value)));
        before = Number.isFinite(value) ? time : NaN;
      }
      ctx.stroke();
      const last = points[points.length - 1];
      ctx.beginPath();
      if (Number.isFinite(last.value)) ctx.arc(x(last.time), y(last.value), 3.5, 0, 2 * Math.PI);
      ctx.fill();
    });
  }

  /** @param {{label: string, points: {value: number}[]}[]} series */
  #legend(series) {
    find("plot-legend").replaceChildren(...series.map(({ label, points }, k) => {
      const item = Object.assign(document.createElement("li"), { textContent: `${label}: ${shown(this.#measure, points.at(-1)?.value)}` });
      item.style.setProperty("--colour", COLOURS[k % COLOURS.length]);
      return item;
    }));
  }
}
