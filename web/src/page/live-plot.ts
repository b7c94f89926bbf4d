/** The plot of a measure over time, and the counted repetitions. */

import type { Chart } from "./chart.js";
import { colourOf, find, make, onLanguage, onNextFrame, text } from "./common.js";
import { REPETITIONS, type Frame, type FrameEvent } from "./kinds.js";
import {
  lineColours,
  measureLabel,
  measureName,
  shown,
  sideOf,
  unitOf,
  type Side,
} from "./measure-names.js";
import { trackedOf } from "./measured.js";
import { RepetitionCounter } from "../repetitions.js";

const WINDOW_S = 20;
const BENT_RAD = (REPETITIONS.low_deg * Math.PI) / 180;
const STRAIGHT_RAD = (REPETITIONS.high_deg * Math.PI) / 180;
const LEAST_S = 2; // shown range at the start of a run
const GAP_S = 1; // time without a value that breaks a line

/** an instance with its measures */
type Measured = {
  id: number | null;
  handedness: string | null;
  label: string;
  measures: Record<string, number | null>;
};

export function plotView() {
  /** repetitions that ended in the latest frame, as events */
  let events: FrameEvent[] = [];
  const place = find<HTMLElement>("plot");
  const select = find<HTMLSelectElement>("plot-measure");
  const isCounting = find("count");
  const limitFields = [find("count-low"), find("count-high")];
  let history: { time: number; values: Map<string, Measured> }[] = [];
  const counters: Map<string, RepetitionCounter> = new Map();
  let known = "";
  let chart: Chart | null = null;
  let isLoading = false;
  const ask = onNextFrame(() => place.clientWidth && render());
  select.onchange = isCounting.onchange = restart;
  for (const field of limitFields) field.oninput = recount;
  new ResizeObserver(ask).observe(place);
  onLanguage(() => {
    known = "";
    offer();
    ask();
  });

  function draw(frame: Frame) {
    events = [];
    const last = history.at(-1)?.time ?? -Infinity;
    const restarts = frame.time < last - REPETITIONS.max_step_back_s;
    // a damaged video may step back a little
    const time = restarts ? frame.time : Math.max(frame.time, last);
    if (restarts) begin();
    else if (time === last) history.pop();
    const measured = trackedOf(frame).filter(
      ({ instance }) => Object.keys(instance.measures).length,
    );
    if (!measured.length && !history.length) return;
    const values = new Map(
      measured.map(({ key, id, label, instance }) => [
        key,
        { id, label, handedness: instance.handedness ?? null, measures: instance.measures },
      ]),
    );
    history.push({ time, values });
    while (history[0]!.time < time - WINDOW_S) history.shift();
    offer();
    const [low, high] = limits();
    if (low === high) restart(); // nothing moved yet
    events = count(time, values);
    ask();
  }

  /** End a run. The plot stays until the next run starts. */
  function clear() {
    find("counts").replaceChildren();
  }

  /** Clear the plot for another source. */
  function begin() {
    history = [];
    counters.clear();
    ask();
  }

  /** Fill the list of measures. */
  function offer() {
    const newest = [...(history.at(-1)?.values.values() ?? [])];
    const names = [...new Set(newest.flatMap(({ measures }) => Object.keys(measures)))];
    if (!names.length || names.join() === known) return;
    known = names.join();
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(measureLabel(name), name)));
    select.value = names.includes(chosen)
      ? chosen
      : (names.find((name) => name.endsWith("_angle_rad")) ?? names[0]!);
    if (select.value !== chosen) restart();
  }

  /** Set the limits of another measure: those of a joint, or thirds of the observed range. */
  function restart() {
    find("count-limits").hidden = !isCounting.checked;
    const { scale, digits } = unitOf(select.value);
    const values = series()
      .flatMap(({ points }) => points.map(({ value }) => value))
      .filter(Number.isFinite);
    const [minimum, maximum] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const third = (maximum - minimum) / 3;
    const usual = select.value.endsWith("_angle_rad")
      ? [BENT_RAD, STRAIGHT_RAD]
      : [minimum + third, maximum - third];
    usual.forEach((limit, k) => (limitFields[k]!.value = (limit * scale).toFixed(digits)));
    recount();
  }

  /** Return the limits in the measure's own unit. */
  const limits = () => limitFields.map(({ value }) => Number(value) / unitOf(select.value).scale);

  /** Count the repetitions of the stored history again. */
  function recount() {
    counters.clear();
    find("counts").replaceChildren();
    for (const { time, values } of history) count(time, values);
    ask();
  }

  /**
   * Count the repetitions of all instances.
   *
   * @returns the repetitions that ended, as events
   */
  function count(time: number, values: Map<string, Measured>): FrameEvent[] {
    const [low, high] = limits();
    if (!isCounting.checked || !(low! < high!)) return [];
    const ended: FrameEvent[] = [];
    const name = select.value;
    for (const [key, counter] of counters) if (!values.has(key)) counter.update(NaN, time);
    const lines = [...values]
      .filter(([, { measures }]) => name in measures)
      .map(([key, { id, handedness, label, measures }]) => {
        const counter = counters.get(key) ?? new RepetitionCounter(low!, high!);
        counters.set(key, counter);
        const before = counter.count;
        counter.update(measures[name] ?? NaN, time);
        if (counter.count > before) {
          const { lowest: value, ...times } = counter.last!;
          const what = { name, type: "repetition", phase: "end", id };
          ended.push({ ...what, ...times, handedness, value });
        }
        return `${label}: ${counter.count}`;
      });
    const counts = find("counts");
    if (lines.length && counts.innerText !== lines.join("\n"))
      counts.replaceChildren(...lines.map((line) => make("span", { className: "count" }, line)));
    return ended;
  }

  /** Return the selected measure of each instance. */
  function series() {
    const name = select.value;
    const lines: Map<
      string,
      { label: string; side: Side; points: { time: number; value: number }[] }
    > = new Map();
    for (const { time, values } of history) {
      for (const [key, { label, handedness, measures }] of values) {
        if (!(name in measures)) continue;
        const side = sideOf(name, handedness);
        const line = lines.get(key) ?? { label, side, points: [] };
        line.points.push({ time, value: measures[name] ?? NaN });
        lines.set(key, { ...line, label, side });
      }
    }
    return [...lines.values()];
  }

  function render() {
    const lines = series();
    const name = select.value;
    const latest = lines.map(
      ({ label, points }) => `${label}: ${shown(name, points.at(-1)?.value)}`,
    );
    place.dataset.points = String(lines.reduce((sum, { points }) => sum + points.length, 0));
    place.ariaLabel = lines.length
      ? `${measureName(name)}: ${latest.join(", ")}`
      : text("live.empty");
    if (!lines.length) return;
    const colours = lineColours(lines.map(({ side }) => side));
    find("plot-legend").replaceChildren(
      ...latest.map((line, k) => make("li", { style: `--colour: ${colours[k]}` }, line)),
    );
    if (!chart) return void load();
    const { scale, unit, digits } = unitOf(name);
    const end = history.at(-1)!.time;
    const start = Math.max(history[0]!.time, end - WINDOW_S);
    const range: [number, number] = [start, Math.max(end, start + LEAST_S)];
    const drawn = lines.map(({ label, points }, k) => ({
      label,
      colour: colours[k]!,
      dashed: false,
      ...lineOf(points, scale),
    }));
    const muted = colourOf(place, "--muted");
    const levels = (isCounting.checked ? limits() : []).map((limit) => ({
      label: "",
      colour: muted,
      dashed: true,
      times: [...range],
      values: range.map(() => limit * scale),
    }));
    const ofTime = (time: number) => `${Number(time.toFixed(1))} s`;
    const content = { lines: [...drawn, ...levels], bands: [], marks: [], unit, digits, ofTime };
    chart.show(content, range);
  }

  /** Load what draws charts, once. */
  async function load() {
    if (isLoading) return;
    isLoading = true;
    const { createChart } = await import("./chart.js");
    chart = createChart(place);
    ask();
  }

  return { draw, clear, begin, events: () => events };
}

/** Return the line through points. Values that are missing for a moment do not break it. */
function lineOf(points: { time: number; value: number }[], scale: number) {
  const times: number[] = [];
  const values: (number | null)[] = [];
  let before = NaN;
  for (const { time, value } of points) {
    if (!Number.isFinite(value)) continue;
    if (time - before >= GAP_S) {
      times.push((time + before) / 2);
      values.push(null);
    }
    times.push(time);
    values.push(value * scale);
    before = time;
  }
  return { times, values };
}
