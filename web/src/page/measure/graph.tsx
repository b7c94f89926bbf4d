/** The curves of a result: a choice of measures, the chart of each, and its legend. */

import { useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { text, textOr } from "../common.js";
import {
  lineColours,
  measureLabel,
  noteOf,
  shown,
  sideName,
  unitOf,
  withoutSide,
} from "../measure-names.js";
import type { Chart, Content } from "../chart.js";
import { dateText } from "../jobs.js";
import { indexAt, measuresOf, seriesOf, type Curves, type Series } from "./curves.js";
import { clock } from "./picture.js";
import type { Player } from "./player.js";

/** `shift`: seconds by which the times of the other recording are moved */
export type Compared = { curves: Curves; shift: number };

type Props = {
  curves: Curves;
  compared: Compared | null;
  player: Player;
  measures: Signal<string[]>;
  range: Signal<[number, number]>;
};

const ZOOM = 1.6;
const MOST_CHARTS = 4;

/** All charts and their controls. */
export function Graphs({ curves, compared, player, measures, range }: Props) {
  const names = measuresOf(curves);
  const all: [number, number] = extentOf(curves, compared);
  const zoom = (factor: number, around = player.time.peek()) => {
    const [from, to] = range.peek();
    const width = Math.min(Math.max((to - from) * factor, 1), all[1] - all[0]);
    const share = to > from ? (around - from) / (to - from) : 0.5;
    const start = Math.min(Math.max(around - share * width, all[0]), all[1] - width);
    range.value = [start, start + width];
  };
  useSignalEffect(() => {
    // the range follows the position
    const now = player.time.value;
    const [from, to] = range.peek();
    if (now >= from && now <= to) return;
    const start = Math.min(Math.max(now - (to - from) * 0.1, all[0]), all[1] - (to - from));
    range.value = [start, start + to - from];
  });
  const button = (label: string, key: string, onClick: () => void, isOff = false) => (
    <button
      class="icon-button text"
      type="button"
      title={text(key)}
      aria-label={text(key)}
      disabled={isOff}
      onClick={onClick}
    >
      {label}
    </button>
  );
  const isAll = range.value[1] - range.value[0] >= all[1] - all[0] - 1e-6;
  return (
    <>
      {measures.value.map((name, k) => (
        <div class="graph" key={k}>
          <div class="graph-head">
            <select
              id={k === 0 ? "result-measure" : `result-measure-${k}`}
              class="compact"
              aria-label={text("live.measure")}
              onChange={({ currentTarget }) => {
                const { value } = currentTarget;
                measures.value = measures.value.map((old, at) => (at === k ? value : old));
              }}
            >
              {names.map((each) => (
                <option key={each} value={each} selected={each === name}>
                  {measureLabel(each)}
                </option>
              ))}
            </select>
            {noteOf(name) && <span class="hint">{noteOf(name)}</span>}
            {k > 0 &&
              button("×", "result.curve_less", () => {
                measures.value = measures.value.filter((_, at) => at !== k);
              })}
            {k === 0 && (
              <span class="zoom">
                {button("−", "result.zoom_out", () => zoom(ZOOM), isAll)}
                {button("+", "result.zoom_in", () => zoom(1 / ZOOM))}
              </span>
            )}
          </div>
          <Graph {...{ curves, compared, player, range, name, zoom }} />
        </div>
      ))}
      {measures.value.length < MOST_CHARTS && measures.value.length < names.length && (
        <button
          id="result-more"
          class="button small"
          type="button"
          onClick={() => {
            const next = names.find((name) => !measures.value.includes(name));
            if (next) measures.value = [...measures.value, next];
          }}
        >
          {text("result.curve_more")}
        </button>
      )}
    </>
  );
}

type GraphProps = Omit<Props, "measures"> & {
  name: string;
  zoom: (factor: number, around: number) => void;
};

function Graph({ curves, compared, player, range, name, zoom }: GraphProps) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<Chart | null>(null);
  const isReady = useSignal(false);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const lines = linesOf(curves, compared, name);
  useEffect(() => {
    let isGone = false;
    void import("../chart.js").then(({ createChart }) => {
      if (isGone || !place.current) return;
      const seek = (time: number) => {
        player.pause();
        player.seek(time);
      };
      chart.current = createChart(place.current, seek, zoom);
      isReady.value = true;
    });
    return () => {
      isGone = true;
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);
  const language = document.documentElement.lang;
  const shownLines = lines.filter(({ key }) => !hidden.value.has(key));
  useEffect(() => {
    chart.current?.show(contentOf(curves, shownLines, name), range.peek());
    chart.current?.moveTo(player.time.peek());
  }, [isReady.value, curves, compared, name, hidden.value, language]);
  useSignalEffect(() => {
    const shownRange = range.value;
    chart.current?.zoom(shownRange);
  });
  useSignalEffect(() => {
    const now = player.time.value;
    chart.current?.moveTo(now);
  });
  return (
    <>
      <div
        ref={place}
        class="chart"
        role="img"
        aria-label={`${measureLabel(name)}: ${lines.map(({ label }) => label).join(", ")}`}
        data-points={lines.reduce((sum, { series }) => sum + series.values.length, 0)}
      />
      <ul class="plot-legend" aria-label={measureLabel(name)}>
        {lines.map((line) => (
          <li key={line.key}>
            <button
              type="button"
              class={`legend${line.isOther ? " dashed" : ""}`}
              style={{ "--colour": line.colour }}
              aria-pressed={!hidden.value.has(line.key)}
              onClick={() => {
                const next = new Set(hidden.value);
                if (!next.delete(line.key)) next.add(line.key);
                hidden.value = next;
              }}
            >
              {line.label} <Now {...{ player, line }} />
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The value of a line at the position. */
function Now({ player, line }: { player: Player; line: Drawn }) {
  const { times, series } = line;
  const now = player.time.value;
  const isInside = now >= times[0]! - 1e-6 && now <= times.at(-1)! + 1e-6;
  const value = isInside ? series.values[indexAt(times, now)] : null;
  return <b>{shown(series.measure, value)}</b>;
}

/** a line as it is drawn; `isOther`: of the compared recording */
type Drawn = {
  key: string;
  label: string;
  colour: string;
  times: number[];
  series: Series;
  isOther: boolean;
};

/** Return the range of times of a chart. */
export function extentOf({ times }: Curves, compared: Compared | null): [number, number] {
  const others = compared ? shiftedTimes(compared) : [];
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1];
  const from = Math.min(first, others[0] ?? first);
  return [from, Math.max(last, others.at(-1) ?? last, from + 1e-3)];
}

const shifted: WeakMap<Compared, number[]> = new WeakMap();

function shiftedTimes(compared: Compared) {
  const known = shifted.get(compared) ?? compared.curves.times.map((time) => time + compared.shift);
  shifted.set(compared, known);
  return known;
}

/** Return the names of both recordings, with their times or numbers where the names are equal. */
function titlesOf(own: Curves, compared: Compared | null): [string, string] {
  const other = compared?.curves ?? own;
  if (own.name !== other.name) return [own.name, other.name];
  const dates = [dateText(own.job), dateText(other.job)] as const;
  const [first, second] = dates[0] === dates[1] ? ["1", "2"] : dates;
  return [`${own.name} (${first})`, `${other.name} (${second})`];
}

function linesOf(curves: Curves, compared: Compared | null, name: string): Drawn[] {
  const own = seriesOf(curves, name);
  const others = compared ? seriesOf(compared.curves, name) : [];
  const isOne = new Set([...own, ...others].map(({ tracked }) => tracked.label)).size === 1;
  const drawn = (list: Series[], times: number[], isOther: boolean) => {
    const title = titlesOf(curves, compared)[Number(isOther)];
    const colours = lineColours(list.map(({ side }) => side));
    return list.map((series, k) => {
      const side = sideName(series.side);
      const who = isOne && side ? side : [series.tracked.label, side].filter(Boolean).join(" ");
      return {
        key: `${isOther} ${series.tracked.label} ${series.measure}`,
        label: compared ? `${title}: ${who}` : who,
        colour: colours[k]!,
        times,
        series,
        isOther,
      };
    });
  };
  return [
    ...drawn(own, curves.times, false),
    ...(compared ? drawn(others, shiftedTimes(compared), true) : []),
  ];
}

function contentOf(curves: Curves, lines: Drawn[], name: string): Content {
  const { scale, unit, digits } = unitOf(name);
  return {
    lines: lines.map(({ label, colour, isOther, times, series }) => ({
      label,
      colour,
      dashed: isOther,
      times,
      values: scale === 1 ? series.values : series.values.map((value) => value && value * scale),
    })),
    bands: curves.repetitions.map(({ begin, end, lowest }, k) => ({
      begin,
      end,
      label: String(k + 1),
      dots: Object.entries(lowest)
        .filter(([measure]) => withoutSide(measure) === name)
        .map(([, { time, value }]) => ({ time, value: value * scale })),
    })),
    marks: curves.events.map(({ begin, end, name: event }) => ({
      begin,
      end,
      label: textOr(`gesture.${event}`, event.replaceAll("_", " ")),
    })),
    unit,
    digits,
    ofTime: (time) => clock(curves, time).replace(/\.00?(?= s|$)/, ""),
  };
}
