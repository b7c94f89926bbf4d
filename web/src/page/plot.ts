/** Measured instances, counted repetitions, and the plot of a measure over time. */

import { clearedContext, find, make, onLanguage, onNextFrame, text } from "./common.js";
import { instancesOf, REPETITIONS, type Frame, type FrameEvent, type Instance } from "./kinds.js";
import {
  lineColours,
  measureLabel,
  measureName,
  shown,
  sideOf,
  unitOf,
  type Side,
} from "./measure-names.js";
import { RepetitionCounter } from "../repetitions.js";
import { nameOf } from "./painter.js";

/** an instance with the same key in every frame; `label`: its displayed name */
export type Tracked = {
  key: string;
  kind: string;
  id: number | null;
  label: string;
  instance: Instance & { measures: Record<string, number | null> };
};

const CM_PER_M = 100;

/** Return about four round numbers between two limits. */
function roundNumbers(low: number, high: number) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4));
  const step = power * ([1, 2, 5].find((factor) => 5 * factor * power >= high - low) ?? 10);
  return [...Array(9).keys()]
    .map((k) => (Math.ceil(low / step) + k) * step)
    .filter((number) => number <= high);
}

/**
 * Return the measured instances of a frame. Blendshapes and the position of the head are measures
 * too.
 */
export function trackedOf(frame: object): Tracked[] {
  const seen = new Map<string, number>();
  const isMeasured = (instance: Instance) =>
    instance.measures ||
    instance.blendshapes ||
    instance.transform ||
    instance.distanceM !== undefined;
  return instancesOf(frame)
    .filter(({ instance }) => isMeasured(instance))
    .map(({ kind, number, instance, person }) => {
      const id = instance.id ?? person?.id ?? null;
      const part = person && kind === "hand" ? instance.handedness : "";
      let key = `${kind}${part}${id === null ? `:${number}` : `#${id}`}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      if (seen.get(key)! > 1) key += `/${seen.get(key)}`;
      const name = nameOf(kind, instance, person);
      const { blendshapes, transform, distanceM } = instance;
      const place =
        transform &&
        Object.fromEntries(
          ["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row]![3]! / CM_PER_M]),
        );
      const measures = {
        ...instance.measures,
        ...(distanceM !== undefined && { distance_m: distanceM }),
        ...place,
        ...blendshapes,
      };
      return {
        key,
        kind,
        id,
        label: id === null ? name : `${name} #${id}`,
        instance: { ...instance, measures },
      };
    });
}

const WINDOW_S = 20;
const BENT_RAD = (REPETITIONS.low_deg * Math.PI) / 180;
const STRAIGHT_RAD = (REPETITIONS.high_deg * Math.PI) / 180;
const MARGIN = { left: 44, right: 10, top: 10, bottom: 22 };

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
  const canvas = find<HTMLCanvasElement>("plot");
  const select = find<HTMLSelectElement>("plot-measure");
  const isCounting = find("count");
  const limitFields = [find("count-low"), find("count-high")];
  let history: { time: number; values: Map<string, Measured> }[] = [];
  const counters: Map<string, RepetitionCounter> = new Map();
  let known = "";
  const ask = onNextFrame(() => canvas.clientWidth && render());
  select.onchange = isCounting.onchange = restart;
  for (const field of limitFields) field.oninput = recount;
  new ResizeObserver(ask).observe(canvas);
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
    const place = find("counts");
    if (lines.length && place.innerText !== lines.join("\n"))
      place.replaceChildren(...lines.map((line) => make("span", { className: "count" }, line)));
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
    const { clientWidth: width, clientHeight: height } = canvas;
    const ctx = clearedContext(canvas);
    const lines = series();
    const name = select.value;
    const latest = lines.map(
      ({ label, points }) => `${label}: ${shown(name, points.at(-1)?.value)}`,
    );
    canvas.dataset.points = String(lines.reduce((sum, { points }) => sum + points.length, 0));
    canvas.ariaLabel = lines.length
      ? `${measureName(name)}: ${latest.join(", ")}`
      : text("live.empty");
    if (!lines.length) return;
    const colours = lineColours(lines.map(({ side }) => side));
    find("plot-legend").replaceChildren(
      ...latest.map((line, k) => make("li", { style: `--colour: ${colours[k]}` }, line)),
    );
    const shownLimits = isCounting.checked ? limits() : [];
    const values = [
      ...lines.flatMap(({ points }) => points.map(({ value }) => value)),
      ...shownLimits,
    ].filter(Number.isFinite);
    if (values.length === shownLimits.length) return; // the measure is unknown: no axis
    const [minimum, maximum] = [Math.min(...values), Math.max(...values)];
    const margin = (maximum - minimum || Math.abs(maximum) || 1) * 0.08;
    const [low, high] = [minimum - margin, maximum + margin];
    const end = history[history.length - 1]!.time;
    const start = Math.max(history[0]!.time, end - WINDOW_S);
    const span = Math.max(end - start, 2);
    const x = (time: number) =>
      MARGIN.left + ((time - start) / span) * (width - MARGIN.left - MARGIN.right);
    const y = (value: number) =>
      MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    const style = getComputedStyle(canvas);
    const level = (value: number, colour: string) => {
      ctx.strokeStyle = style.getPropertyValue(colour);
      ctx.beginPath();
      ctx.moveTo(MARGIN.left, y(value));
      ctx.lineTo(width - MARGIN.right, y(value));
      ctx.stroke();
    };
    ctx.font = `12px ${style.fontFamily}`;
    ctx.fillStyle = style.getPropertyValue("--muted");
    ctx.lineWidth = 1;
    ctx.textAlign = "right";
    const { scale } = unitOf(name);
    for (const value of roundNumbers(low * scale, high * scale)) {
      level(value / scale, "--line");
      ctx.fillText(
        shown(name, value / scale).replace(" cm", ""),
        MARGIN.left - 5,
        y(value / scale) + 4,
      );
    }
    ctx.textAlign = "center";
    for (const time of roundNumbers(start, start + 0.95 * span))
      ctx.fillText(`${Number(time.toFixed(1))} s`, x(time), height - 5);
    ctx.setLineDash([6, 5]);
    for (const limit of shownLimits) level(limit, "--muted");
    ctx.setLineDash([]);
    ctx.lineWidth = 2;
    ctx.lineJoin = "round";
    lines.forEach(({ points }, k) => {
      ctx.strokeStyle = ctx.fillStyle = colours[k]!;
      ctx.beginPath();
      let before = NaN;
      for (const { time, value } of points) {
        if (Number.isFinite(value))
          time - before < 1 ? ctx.lineTo(x(time), y(value)) : ctx.moveTo(x(time), y(value));
        before = Number.isFinite(value) ? time : NaN;
      }
      ctx.stroke();
      const last = points[points.length - 1];
      ctx.beginPath();
      if (Number.isFinite(last!.value)) ctx.arc(x(last!.time), y(last!.value), 3.5, 0, 2 * Math.PI);
      ctx.fill();
    });
  }

  return { draw, clear, begin, events: () => events };
}
