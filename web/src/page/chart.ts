/** Curves over time, drawn by uPlot. The page loads this module with the first chart. */

import uPlot from "uplot";

import { colourOf } from "./common.js";

export type Line = {
  label: string;
  colour: string;
  dashed: boolean;
  times: number[];
  values: (number | null)[];
};
/** `dots`: moments on lines */
export type Band = {
  begin: number;
  end: number;
  label: string;
  dots: { time: number; value: number }[];
};
/** an event */
export type Mark = { begin: number; end: number; label: string };
/** `ofTime`: returns the text of a time; `from`, `to`: the shown range */
export type Content = {
  lines: Line[];
  bands: Band[];
  marks: Mark[];
  unit: string;
  digits: number;
  ofTime: (time: number) => string;
};
export type Chart = ReturnType<typeof createChart>;

const FONT_PX = 12;
const DOT_PX = 4;
const MARK_PX = 15; // height of the row of events

/** Return one list of times, and the values of each line at them. */
function aligned(lines: Line[]): uPlot.AlignedData {
  const [first] = lines;
  if (!first) return [[], []];
  if (lines.every(({ times }) => times === first.times))
    return [first.times, ...lines.map(({ values }) => values)];
  return uPlot.join(lines.map(({ times, values }) => [times, values]));
}

/**
 * @param onSeek called with the time where the pointer presses or drags
 * @param onZoom called with a factor and the time that stays where it is
 */
export function createChart(
  place: HTMLElement,
  onSeek: (time: number) => void = () => {},
  onZoom: (factor: number, time: number) => void = () => {},
) {
  let plot: uPlot | null = null;
  let content: Content | null = null;
  let range: [number, number] = [0, 1];
  let now = NaN;
  const head = document.createElement("div");
  head.className = "playhead";
  const resized = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = place;
    if (plot && width && height) plot.setSize({ width, height });
    moveHead();
  });
  resized.observe(place);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", rebuild);
  document.documentElement.addEventListener("theme", rebuild);

  const colour = (name: string) => colourOf(place, name);

  function rebuild() {
    if (content) build(content);
    moveHead();
  }

  /** Draw lines, and show a range of times. */
  function show(next: Content, wanted: [number, number]) {
    const isSame = content !== null && lookOf(content) === lookOf(next);
    content = next;
    range = wanted;
    if (!isSame) build(next);
    else plot?.setData(aligned(next.lines));
    moveHead();
  }

  function build(next: Content) {
    plot?.destroy();
    const { fontFamily } = getComputedStyle(place);
    const axis: uPlot.Axis = {
      stroke: colour("--muted"),
      font: `${FONT_PX}px ${fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
    };
    plot = new uPlot(
      {
        width: Math.max(place.clientWidth, 100),
        height: Math.max(place.clientHeight, 80),
        padding: [next.marks.length ? MARK_PX + 4 : 6, 12, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        scales: { x: { time: false, range: () => range } },
        axes: [
          {
            ...axis,
            values: (_, splits) => splits.map((time) => content!.ofTime(time)),
            space: 70,
          },
          { ...axis, size: 58, values: (_, splits) => splits.map((value) => ofValue(next, value)) },
        ],
        series: [
          {},
          ...next.lines.map(({ label, colour: stroke, dashed }) => ({
            label,
            stroke,
            width: 2,
            points: { show: false },
            ...(dashed ? { dash: [7, 5] } : {}),
          })),
        ],
        hooks: { drawClear: [drawBands], draw: [drawMarks, moveHead] },
      },
      aligned(next.lines),
      place,
    );
    plot.over.append(head);
    plot.over.addEventListener("pointerdown", (event) => {
      plot?.over.setPointerCapture(event.pointerId);
      seek(event);
    });
    plot.over.addEventListener("pointermove", (event) => event.buttons && seek(event));
    plot.over.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return; // the page scrolls
        event.preventDefault();
        onZoom(Math.exp(event.deltaY * 0.002), timeAt(event));
      },
      { passive: false },
    );
  }

  /** Show another range of times of the same lines. */
  function zoom(wanted: [number, number]) {
    range = wanted;
    plot?.setScale("x", { min: wanted[0], max: wanted[1] });
    moveHead();
  }

  const timeAt = ({ clientX }: MouseEvent) =>
    plot ? plot.posToVal(clientX - plot.over.getBoundingClientRect().left, "x") : 0;
  const seek = (event: PointerEvent) => onSeek(timeAt(event));

  /** Show the current time. */
  function moveTo(time: number) {
    now = time;
    moveHead();
  }

  function moveHead() {
    if (!plot) return;
    const x = plot.valToPos(now, "x");
    head.hidden = !(x >= -1 && x <= plot.over.clientWidth + 1);
    head.style.transform = `translateX(${x.toFixed(1)}px)`;
  }

  function drawBands(self: uPlot) {
    const { ctx, bbox } = self;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
    ctx.clip();
    ctx.fillStyle = colour("--accent");
    for (const { begin, end } of content?.bands ?? []) {
      const [from, to] = [begin, end].map((time) => self.valToPos(time, "x", true)) as Pair;
      ctx.globalAlpha = 0.1;
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
    }
    ctx.restore();
  }

  function drawMarks(self: uPlot) {
    const { ctx, bbox } = self;
    const scale = devicePixelRatio;
    const dotsOf = (bands: Band[]) => bands.flatMap(({ dots }) => dots);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
    ctx.clip();
    ctx.font = `600 ${FONT_PX * scale}px ${getComputedStyle(place).fontFamily}`;
    ctx.textBaseline = "top";
    ctx.fillStyle = colour("--accent");
    for (const { begin, label } of content?.bands ?? [])
      ctx.fillText(label, self.valToPos(begin, "x", true) + 4 * scale, bbox.top + 3 * scale);
    ctx.strokeStyle = colour("--surface");
    ctx.fillStyle = colour("--ink");
    ctx.lineWidth = 2 * scale;
    for (const { time, value } of dotsOf(content?.bands ?? [])) {
      ctx.beginPath();
      const [x, y] = [self.valToPos(time, "x", true), self.valToPos(value, "y", true)];
      ctx.arc(x, y, DOT_PX * scale, 0, 2 * Math.PI);
      ctx.stroke();
      ctx.fill();
    }
    ctx.font = `${(FONT_PX - 1) * scale}px ${getComputedStyle(place).fontFamily}`;
    let free = -Infinity;
    for (const { begin, end, label } of content?.marks ?? []) {
      const [from, to] = [begin, end].map((time) => self.valToPos(time, "x", true)) as Pair;
      ctx.fillStyle = colour("--good");
      ctx.fillRect(from, bbox.top - 4 * scale, Math.max(to - from, 2 * scale), 3 * scale);
      if (from < free) continue; // no place for its name
      ctx.fillStyle = colour("--muted");
      ctx.fillText(label, from, bbox.top - (MARK_PX + 2) * scale);
      free = from + ctx.measureText(label).width + 6 * scale;
    }
    ctx.restore();
  }

  function dispose() {
    resized.disconnect();
    scheme.removeEventListener("change", rebuild);
    document.documentElement.removeEventListener("theme", rebuild);
    plot?.destroy();
  }

  return { show, zoom, moveTo, dispose };
}

type Pair = [number, number];

/** Return what a plot is built for: all but the values of its lines. */
const lookOf = ({ lines, marks, unit, digits }: Content) =>
  JSON.stringify([
    lines.map(({ label, colour, dashed }) => [label, colour, dashed]),
    marks.length > 0,
    unit,
    digits,
  ]);

const ofValue = ({ unit, digits }: Content, value: number) =>
  `${Number(value.toFixed(Math.max(digits, 1)))}${unit}`;
