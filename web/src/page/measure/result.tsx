/** One result: picture, curves, repetitions and table of all frames, and the files. */

import { useComputed, useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

import type { Avatar } from "../avatar/scene.js";
import { find, showError, text, textOr } from "../common.js";
import { isImage } from "../sources.js";
import { kinds } from "../kinds.js";
import {
  areJobsKnown,
  dateText,
  headlinesOf,
  inLanguage,
  isActive,
  jobs,
  kindsText,
  notesOf,
  shareOf,
  startJobs,
  stateText,
  titleOf,
  type FollowedJob,
  type Job,
  type Setup,
} from "../jobs.js";
import { measureName, shown, sideName, sideOf, withoutSide } from "../measure-names.js";
import { isResultWanted, model } from "../model.js";
import { go, hashOf, place } from "../places.js";
import {
  extentText,
  extremesOf,
  FrameReader,
  isAngle,
  loadCurves,
  measuresOf,
  seriesOf,
  type Curves,
  type Repetition,
  type Tracked,
  type Values,
} from "./curves.js";
import { Downloads, FirstDownloads } from "./downloads.js";
import { Figure, FigureControls, peopleOf } from "./figure.js";
import { extentOf, Graphs, type Compared } from "./graph.js";
import { clock, Picture, Transport } from "./picture.js";
import { Player } from "./player.js";

/** The open result, by its id. */
export function Result({ id, setup }: { id: string; setup: Setup }) {
  const followed = jobs.value.find(({ job }) => job.value.id === id);
  const curves = useSignal<Curves | null>(null);
  const state = followed?.job.value.state;
  useEffect(() => {
    curves.value = null;
    if (followed && state === "done")
      loadCurves(followed.job.peek()).then(
        (loaded) => (curves.value = loaded),
        (error: unknown) => followed.explain(error),
      );
  }, [id, state]);
  return (
    <article class="result" aria-labelledby="result-title">
      <p class="breadcrumb">
        <BackLink />
        {followed && <span>{titleOf(followed.job.value)}</span>}
        {followed && <KindsTag job={followed.job.value} />}
      </p>
      {!followed && areJobsKnown.value && (
        <section class="card">
          <h2 id="result-title">{text("result.gone")}</h2>
        </section>
      )}
      {followed && <Head followed={followed} curves={curves.value} />}
      {followed && state === "done" && <About followed={followed} />}
      {followed && curves.value && hasValues(curves.value) && (
        <Views key={id} curves={curves.value} followed={followed} />
      )}
      {followed && curves.value && !hasValues(curves.value) && (
        <Nothing key={id} curves={curves.value} followed={followed} setup={setup} />
      )}
    </article>
  );
}

const hasValues = ({ instances }: Curves) => instances.length > 0;

/** A result in which nothing was found: its picture, and the way to another one. */
function Nothing({ curves, followed, setup }: ViewProps & { setup: Setup }) {
  const player = useMemo(() => new Player(curves.times), [curves]);
  const reader = useMemo(() => new FrameReader(curves), [curves]);
  useEffect(() => () => player.dispose(), [player]);
  const { kind } = curves.job;
  const other = OTHERS[kind];
  const { files } = followed;
  const measure = async (wanted: string) => {
    const detectors = setup.detectorsOf([wanted], files.every(isImage));
    const [job] = await startJobs(files, detectors, setup.store.state.style);
    const id = job?.job.peek().id;
    if (id) go({ task: "measure", result: id });
  };
  return (
    <div class="result-grid">
      <section class="card result-view" aria-label={text("result.picture")}>
        <Picture {...{ curves, player, reader }} series={() => []} />
        <Transport curves={curves} player={player} />
      </section>
      <section class="card result-moments">
        <h3 id="result-none">{textOr(`result.none.${kind}`, text("result.none"))}</h3>
        <p class="row">
          {other && other in kinds && files.length ? (
            <button
              id="result-other"
              class="button small primary"
              type="button"
              onClick={() => void measure(other).catch(showError)}
            >
              {text(`result.instead.${other}`)}
            </button>
          ) : (
            <button
              id="result-other"
              class="button small primary"
              type="button"
              onClick={() => go({ task: "measure" })}
            >
              {text("result.again")}
            </button>
          )}
        </p>
      </section>
    </div>
  );
}

/** What is offered where nothing was found. */
const OTHERS: Record<string, string> = {
  body: "hands",
  holistic: "hands",
  hands: "body",
  face: "body",
};

function BackLink() {
  const target = { task: "measure", result: null, compared: null } as const;
  return (
    <a
      class="back"
      href={hashOf(target)}
      onClick={(event) => {
        event.preventDefault();
        go(target);
      }}
    >
      ← {text("result.back")}
    </a>
  );
}

type HeadProps = { followed: FollowedJob; curves: Curves | null };

function Head({ followed, curves }: HeadProps) {
  const job = followed.job.value;
  const lines = curves ? headlinesOf(curves) : headlinesOf(job);
  const isLoading = job.state === "done" && !curves;
  return (
    <header class="result-head" data-state={job.state}>
      <div>
        <h2 id="result-title">
          {(lines.length ? lines : [titleOf(job)]).map((line) => (
            <span class="headline" key={line}>
              {line}
            </span>
          ))}
        </h2>
        {curves?.summaries.map(({ id, sides }) => sides && <p key={id}>{inLanguage(sides)}</p>)}
        <p class="hint" role="status">
          {isLoading ? text("result.loading") : curves ? extentText(curves) : stateText(job)}
        </p>
        {isActive(job) && <Progress job={job} />}
        {notesOf(job).map((note) => (
          <p class="hint" key={note}>
            {note}
          </p>
        ))}
      </div>
      <div class="row result-actions">
        {curves && hasValues(curves) && <FirstDownloads curves={curves} followed={followed} />}
        <Remove followed={followed} onRemoved={() => go({ task: "measure" })} />
      </div>
    </header>
  );
}

/** The texts that the user writes about a result. */
function About({ followed }: { followed: FollowedJob }) {
  const job = followed.job.value;
  const field = (name: "title" | "client" | "note", placeholder = "") => (
    <label class="field" for={`result-${name}`}>
      <span>{text(`job.${name}`)}</span>
      <input
        id={`result-${name}`}
        type="text"
        maxLength={200}
        value={job[name] ?? ""}
        placeholder={placeholder}
        onChange={({ currentTarget }) => void followed.describe({ [name]: currentTarget.value })}
      />
    </label>
  );
  return (
    <div class="about">
      {field("client")}
      {field("title", job.name)}
      {field("note")}
    </div>
  );
}

/** What was measured, in the words of the page. The tooltip names the models. */
export const KindsTag = ({ job }: { job: Job }) => (
  <span class="tag" title={job.model}>
    {kindsText(job)}
  </span>
);

/** The progress of a job. */
export function Progress({ job }: { job: Job }) {
  const share = shareOf(job);
  const label = text("job.progress", { name: job.name });
  return <progress max={1} aria-label={label} {...(share === null ? {} : { value: share })} />;
}

/** The buttons that cancel a job, run it again, or remove it. */
export function Remove({ followed, onRemoved }: { followed: FollowedJob; onRemoved?: () => void }) {
  const job = followed.job.value;
  const button = (key: string, onClick: () => void, kind = "") => (
    <button
      class={`button small ${kind}`}
      type="button"
      aria-label={`${text(key)}: ${titleOf(job)}`}
      onClick={onClick}
    >
      {text(key)}
    </button>
  );
  if (followed.isRemoved.value) return button("job.undo", () => followed.undo());
  if (isActive(job)) return button("job.cancel", () => void followed.cancel());
  const remove = () => {
    followed.remove();
    onRemoved?.();
  };
  return (
    <span class="row">
      {job.repeatable && button("job.again", () => void followed.repeat())}
      {button("job.remove", remove, "quiet-button")}
    </span>
  );
}

type ViewProps = { curves: Curves; followed: FollowedJob };

function Views({ curves, followed }: ViewProps) {
  const player = useMemo(() => new Player(curves.times), [curves]);
  const reader = useMemo(() => new FrameReader(curves), [curves]);
  useEffect(() => () => player.dispose(), [player]);
  const measures = useSignal(measuresOf(curves).slice(0, 1));
  const compared = useSignal<Compared | null>(null);
  const range = useSignal(extentOf(curves, null));
  const hasFigure = useSignal(model.peek() !== null || isResultWanted.peek());
  const avatar = useSignal<Avatar | null>(null);
  const name = useSignal("");
  const person = useSignal(peopleOf(curves)[0] ?? null);
  useEffect(() => {
    isResultWanted.value = false; // it was found
  }, []);
  const angles = () =>
    measures.value.filter(isAngle).flatMap((measure) => seriesOf(curves, measure));
  useEffect(() => {
    range.value = extentOf(curves, compared.value);
  }, [compared.value]);
  useSignalEffect(() => {
    if (model.value) hasFigure.value = true;
  });
  useKeys(curves, player);
  return (
    <div class={`result-grid${hasFigure.value ? " with-figure" : ""}`}>
      <section class="card result-view" aria-label={text("result.picture")}>
        <div class="result-panes">
          <Picture {...{ curves, player, reader }} series={angles} />
          {hasFigure.value && <Figure {...{ player, reader, person, avatar, name }} />}
        </div>
        <Transport curves={curves} player={player} />
        <FigureControls {...{ curves, person, avatar, name }} isOn={hasFigure} />
        <Keys />
      </section>
      <section class="card result-moments" aria-labelledby="moments-title">
        <h3 id="moments-title">{text("result.moments")}</h3>
        <Moments curves={curves} player={player} />
      </section>
      <section class="card result-curves" aria-labelledby="curves-title">
        <div class="card-head">
          <h3 id="curves-title">{text("result.curves")}</h3>
          <Comparison curves={curves} compared={compared} />
        </div>
        <Graphs {...{ curves, player, measures, range }} compared={compared.value} />
      </section>
      <section class="card result-values" aria-labelledby="values-title">
        <h3 id="values-title">{text("result.values")}</h3>
        <ValueTable curves={curves} player={player} />
      </section>
      <section class="card result-files" aria-labelledby="files-title">
        <h3 id="files-title">{text("files")}</h3>
        <Downloads curves={curves} followed={followed} />
      </section>
    </div>
  );
}

/** Control the position with the keys that `KEYS` lists, outside fields and buttons that use them. */
function useKeys(curves: Curves, player: Player) {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const { key, shiftKey } = event;
      const target = event.target as HTMLElement;
      const isUsed = target.closest("input, select, textarea, dialog, [role=tab], canvas");
      const isClicked = key === " " && target.closest("a, button, summary");
      if (isUsed || isClicked || event.ctrlKey || event.metaKey || event.altKey) return;
      const moments = timesOf(curves);
      const now = player.time.peek();
      const last = player.times.length;
      const actions: Record<string, () => unknown> = {
        " ": () => (player.playing.peek() ? player.pause() : player.play()),
        ArrowLeft: () => player.step(shiftKey ? -FAR : -1),
        ArrowRight: () => player.step(shiftKey ? FAR : 1),
        Home: () => player.step(-last),
        End: () => player.step(last),
        j: () =>
          jumpTo(
            player,
            moments.findLast((time) => time < now - SAME_S),
          ),
        k: () =>
          jumpTo(
            player,
            moments.find((time) => time > now + SAME_S),
          ),
        "?": () => find<HTMLDialogElement>("result-keys")?.showModal(),
      };
      const action = actions[key] ?? actions[key.toLowerCase()];
      const number = /^[1-9]$/.test(key) ? Number(key) : 0;
      if (!action && !number) return;
      event.preventDefault();
      if (number) jumpTo(player, moments[number - 1]);
      else action!();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [curves, player]);
}

const FAR = 10; // frames
const SAME_S = 0.01;
const KEYS = {
  arrows: "← →",
  far: "Shift ← →",
  ends: "Home End",
  jk: "J K",
  numbers: "1 – 9",
  list: "?",
};

/** Show a time; undefined for none. */
function jumpTo(player: Player, time: number | undefined) {
  if (time === undefined) return;
  player.pause();
  player.seek(time);
  document.querySelector(".result-picture")?.scrollIntoView({ block: "nearest" });
}

/** The list of the keys. */
function Keys() {
  return (
    <dialog id="result-keys" class="phone-dialog keys" aria-labelledby="keys-title">
      <form method="dialog">
        <h2 id="keys-title">{text("keys")}</h2>
        <button class="close" aria-label={text("close")}>
          ×
        </button>
        <dl>
          {Object.entries({ space: text("keys.space.key"), ...KEYS }).map(([name, key]) => (
            <div key={name}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{text(`keys.${name}`)}</dd>
            </div>
          ))}
        </dl>
      </form>
    </dialog>
  );
}

/** The choice of another recording on the same chart. */
function Comparison({ curves, compared }: { curves: Curves; compared: Signal<Compared | null> }) {
  const others = jobs.value.filter(
    ({ job }) => job.value.state === "done" && job.value.id !== curves.job.id,
  );
  const chosen = place.value.compared;
  const other = others.find(({ job }) => job.value.id === chosen);
  useEffect(() => {
    if (!other) compared.value = null;
    else if (compared.value?.curves.job.id !== chosen)
      loadCurves(other.job.peek()).then(
        (loaded) => (compared.value = { curves: loaded, shift: 0 }),
        (error: unknown) => other.explain(error),
      );
  }, [other, chosen]);
  if (!others.length) return null;
  const [own, theirs] = [curves.repetitions[0], compared.value?.curves.repetitions[0]];
  return (
    <div class="comparison">
      <label for="result-with">{text("result.with")}</label>
      <select
        id="result-with"
        class="compact"
        onChange={({ currentTarget }) =>
          go({ ...place.value, compared: currentTarget.value || null })
        }
      >
        <option value="" selected={!other}>
          {text("compare.off")}
        </option>
        {others.map(({ job: { value } }) => (
          <option key={value.id} value={value.id} selected={value.id === chosen}>
            {[value.name, kindsText(value), dateText(value)].filter(Boolean).join(" · ")}
          </option>
        ))}
      </select>
      {own && theirs && compared.value && (
        <label class="switch">
          <input
            id="result-align"
            type="checkbox"
            checked={compared.value.shift !== 0}
            onChange={({ currentTarget }) => {
              const shift = currentTarget.checked ? own.begin - theirs.begin : 0;
              compared.value = { curves: compared.value!.curves, shift };
            }}
          />
          <span>{text("result.align")}</span>
        </label>
      )}
    </div>
  );
}

/** Something to jump to, with the item that shows it. */
type Moment = { time: number; title: string; lines: string[]; hint?: string };

/** Return the repetitions, the uncounted positions and the events in their order. */
function momentsOf(curves: Curves): Moment[] {
  const { repetitions, uncounted, events } = curves;
  const span = (begin: number, end: number) => `${clock(curves, begin)}–${clock(curves, end)}`;
  const moments: Moment[] = repetitions.map((one, k) => {
    const joint = textOr(`measure.${one.joint}`, one.joint);
    return {
      time: deepestOf(one).time,
      title: text("result.repetition", { number: k + 1, joint }),
      lines: [sidesText(Object.entries(one.lowest)), span(one.begin, one.end)],
    };
  });
  const sides = Map.groupBy(uncounted, ({ id, measure, time, texts }) =>
    [id, withoutSide(measure), Math.round(time / NEAR_S), inLanguage(texts)].join(),
  );
  for (const positions of sides.values()) {
    const [{ time, texts }] = positions as [Curves["uncounted"][number]];
    moments.push({
      time,
      title: text("result.uncounted"),
      lines: [sidesText(positions.map((one) => [one.measure, one])), clock(curves, time)],
      hint: inLanguage(texts),
    });
  }
  for (const { name, begin, end, id, handedness } of events) {
    const whose = [sideName(sideOf("", handedness)), `#${id}`].filter(Boolean).join(" ");
    const title = textOr(`gesture.${name}`, name.replaceAll("_", " "));
    moments.push({ time: begin, title, lines: [span(begin, end), whose] });
  }
  return moments.sort((one, other) => one.time - other.time);
}

const NEAR_S = 1; // left and right of one movement

/** Return the times that keys jump to. */
const timesOf = (curves: Curves) => momentsOf(curves).map(({ time }) => time);

/** Return the least values of a movement, such as "left 75° ± 26° · right 79° ± 26°". */
const sidesText = (values: [string, { value: number | null; error?: number | null }][]) =>
  values
    .map(([name, { value, error }]) => {
      const side = sideName(sideOf(name)) || measureName(name);
      return `${side} ${shown(name, value)}${error ? ` ± ${shown(name, error)}` : ""}`;
    })
    .join(" · ");

/** The moments, which move the position to them. */
function Moments({ curves, player }: { curves: Curves; player: Player }) {
  const moments = momentsOf(curves);
  if (!moments.length) return <Extremes curves={curves} jump={(time) => jumpTo(player, time)} />;
  return (
    <ol class="moments">
      {moments.map(({ time, title, lines, hint }, k) => (
        <li key={k} class={hint ? "uncounted" : ""}>
          <button
            type="button"
            title={k < 9 ? text("keys.number", { number: k + 1 }) : ""}
            onClick={() => jumpTo(player, time)}
          >
            <b>{title}</b>
            {lines.map((line) => (
              <span key={line}>{line}</span>
            ))}
            {hint && <span class="hint">{hint}</span>}
          </button>
        </li>
      ))}
    </ol>
  );
}

/** Return the smallest value of a repetition with its time. */
const deepestOf = ({ lowest, begin }: Repetition) =>
  Object.values(lowest).reduce((least, one) => (one.value < least.value ? one : least), {
    value: Infinity,
    time: begin,
  });

/** The smallest and largest values of the first measure, for a result without repetitions. */
function Extremes({ curves, jump }: { curves: Curves; jump: (time: number) => void }) {
  const [first] = measuresOf(curves);
  const series = first === undefined ? [] : seriesOf(curves, first);
  if (!series.length) return <p class="hint">{text("result.nothing")}</p>;
  return (
    <>
      <p class="hint">{text("result.no_repetition")}</p>
      <ol class="moments">
        {series.flatMap(({ tracked, measure, values }) => {
          const found = extremesOf(values);
          if (!found) return [];
          return (["low", "high"] as const).map((end) => {
            const [index, time] = [found[end], curves.times[found[end]]!];
            return (
              <li key={`${tracked.label} ${measure} ${end}`}>
                <button type="button" onClick={() => jump(time)}>
                  <b>{text(`result.${end}`)}</b>
                  <span>
                    {tracked.label}: {measureName(measure)} {shown(measure, values[index])}
                  </span>
                  <span>{clock(curves, time)}</span>
                </button>
              </li>
            );
          });
        })}
      </ol>
    </>
  );
}

/** All measures at the position, and their ranges. */
function ValueTable({ curves, player }: { curves: Curves; player: Player }) {
  const here = useComputed(() => clock(curves, player.times[player.index.value] ?? 0));
  const isAll = useSignal(false);
  const count = curves.instances.reduce((sum, one) => sum + rowsOf(one, true).length, 0);
  const isLong = curves.instances.some((one) => rowsOf(one, true).length > rowsOf(one).length);
  return (
    <div class="live-table" tabIndex={0} role="group" aria-labelledby="values-title">
      {curves.instances.map((tracked) => (
        <table key={`${tracked.label} ${tracked.handedness}`}>
          <thead>
            <tr>
              <th scope="col">{tracked.label}</th>
              <th scope="col">{here}</th>
              <th scope="col">{text("result.low")}</th>
              <th scope="col">{text("result.high")}</th>
            </tr>
          </thead>
          <tbody>
            {rowsOf(tracked, isAll.value).map(({ name, values, low, high }) => (
              <tr key={name}>
                <th scope="row">{measureName(name)}</th>
                <ValueCell {...{ player, name, values }} />
                <td>{shown(name, low)}</td>
                <td>{shown(name, high)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ))}
      {isLong && (
        <button
          id="values-all"
          class="button small"
          type="button"
          onClick={() => (isAll.value = !isAll.value)}
        >
          {text(isAll.value ? "result.values.less" : "result.values.all", { count })}
        </button>
      )}
    </div>
  );
}

/** The value of a measure at the position. Only its text changes, because tables are long. */
function ValueCell({ player, name, values }: { player: Player; name: string; values: Values }) {
  const value = useComputed(() => shown(name, values[player.index.value]));
  return <td>{value}</td>;
}

type Row = { name: string; values: Values; low: number; high: number };
const rows: WeakMap<Tracked, Row[]> = new WeakMap();

/** Return the measures of an instance with their ranges: those of joints, or all with them first. */
function rowsOf(tracked: Tracked, isAll = false): Row[] {
  const known =
    rows.get(tracked) ??
    Object.entries(tracked.measures).flatMap(([name, values]) => {
      const found = extremesOf(values);
      return found ? [{ name, values, low: values[found.low]!, high: values[found.high]! }] : [];
    });
  rows.set(tracked, known);
  const joints = known.filter(({ name }) => withoutSide(name).endsWith("_angle_rad"));
  if (!joints.length) return known;
  return isAll ? [...joints, ...known.filter((row) => !joints.includes(row))] : joints;
}
