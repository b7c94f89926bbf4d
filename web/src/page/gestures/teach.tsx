/**
 * Own gestures: the page records static gestures and motions; the server trains and tests them and
 * stores nothing.
 */

import { computed, signal } from "@preact/signals";
import { render } from "preact";

import { memory, save, showError, text } from "../common.js";
import { addressOf, call } from "../endpoints.js";
import { bytesOf } from "../../masks.js";
import { knownHands, type Hand } from "./hands.js";

const SAMPLES = 20;
const LASTS_MS = 3000;
const PATIENCE_MS = 10_000; // maximum time without a hand
const LEAST = 5;
const STORED = "gestures";
const MAX_FRAMES = 600; // frame rate and maximum length of a motion's recording on the server

type Frame = { time: number; hands: Hand[] };
/** of a static gesture, or of motions; `count`: number of motions */
type Recording = { name: string; hands?: Hand[]; frames?: Frame[]; count?: number };
/** last trained gestures; `file` in base64 */
type Trained = { file: string; names: string[] };
/** how often each gesture was recognised as each other one, and at last as none */
type Tested = { names: string[]; counts: number[][] };
type Taking = { name: string; isMotion: boolean; frames: Frame[]; until: number; next: number };
/** a text of the page with its values */
type Words = { key: string; values?: Record<string, unknown> };
/** why nothing can be recorded: no stream, one that waits, or no detector of hands */
export type Obstacle = "start" | "wait" | "still" | "paused" | "hands";

/**
 * @param use function that receives the trained gestures and whether the stream uses them
 * @param obstacle why nothing can be recorded now; null if it can
 */
export function createTrainer(
  place: HTMLElement,
  use: (trained: Trained, isTried: boolean) => void,
  obstacle: () => Obstacle | null,
) {
  const recordings = signal<readonly Recording[]>(remembered());
  const tested = signal<readonly Tested[]>([]);
  const trained = signal<Trained | null>(null);
  const isTried = signal(false);
  const isMoving = signal(false);
  const words = signal<Words | null>(null);
  const share = signal(0);
  const running = signal<"still" | "motion" | null>(null);
  const name = signal("");
  let taking: Taking | null = null;
  let isRefused = false; // whether the words name an obstacle
  let isKept = true; // whether the browser stores all recordings
  recordings.subscribe((all) => (isKept = memory.write(STORED, all) !== null));
  globalThis.addEventListener("beforeunload", (event) => {
    if (!isKept && recordings.peek().length) event.preventDefault();
  });

  const canTest = computed(() => {
    const names = recordings.value.map((one) => one.name);
    const count = (wanted: string) => names.filter((other) => other === wanted).length;
    return names.length > 0 && names.every((one) => count(one) > 1);
  });

  /** Use the trained gestures in the stream if a map names them. */
  function tryFor(map: string) {
    const names = trained.peek()?.names ?? [];
    if (!isTried.peek() && names.some((one) => map.includes(JSON.stringify(one)))) setTried(true);
  }

  function setTried(on: boolean) {
    isTried.value = on;
    const now = trained.peek();
    if (now) use(now, on);
  }

  function draw(frame: Record<string, unknown>) {
    if (!taking) return;
    const { isMotion, frames } = taking;
    const time = Number(frame["time"]);
    const hands = knownHands(frame).filter(({ id }) => !isMotion || Number.isInteger(id));
    // a new clip starts
    const isBack = isMotion && time <= (frames.at(-1)?.time ?? -Infinity);
    const now = performance.now();
    if (hands.length && !isBack && now >= taking.next) {
      frames.push({ time, hands });
      if (!isMotion) [taking.next, taking.until] = [now + LASTS_MS / SAMPLES, now + PATIENCE_MS];
    }
    share.value = isMotion ? frames.length / MAX_FRAMES : handsOf(frames).length / SAMPLES;
    if (share.peek() >= 1 || isBack || now > taking.until) end();
  }

  function keep(recording: Recording) {
    recordings.value = [...recordings.peek(), recording];
    tested.value = [];
    const values = { name: recording.name, count: countOf(recording) };
    words.value = { key: recording.frames ? "trainer.motions" : "trainer.taken", values };
  }

  function begin() {
    const wanted = name.peek().trim();
    if (!wanted) return;
    if (refuse()) return;
    const isMotion = isMoving.peek();
    const now = performance.now();
    const until = isMotion ? Infinity : now + PATIENCE_MS;
    taking = { name: wanted, isMotion, frames: [], until, next: now };
    running.value = isMotion ? "motion" : "still";
    const key = isMotion ? "trainer.move" : "trainer.taking";
    words.value = { key, values: { name: wanted } };
  }

  /** Name the obstacle. Return whether there is one. */
  function refuse() {
    const why = obstacle();
    isRefused = why !== null;
    if (why) words.value = { key: `trainer.${why}` };
    return isRefused;
  }

  /** After a change of the stream: end a recording that gets no images, or renew the words. */
  function check() {
    if (taking && obstacle()) end();
    else if (isRefused && !refuse()) words.value = null;
  }

  /** Store the recording. The server splits one of motions at pauses; it must contain one. */
  function end() {
    if (!taking) return;
    const { name: of, isMotion, frames } = taking;
    taking = null;
    running.value = null;
    share.value = 0;
    const hands = handsOf(frames).slice(0, SAMPLES);
    const isEmpty = isMotion ? !frames.length : hands.length < LEAST;
    if (isEmpty) {
      if (!refuse())
        words.value = { key: "trainer.few", values: { count: hands.length, least: LEAST } };
    } else if (isMotion) {
      const sent = [{ name: of, frames }];
      ask<{ examples: number[] }>("train", sent, ({ examples }) =>
        keep({ name: of, frames, count: examples[0] ?? 0 }),
      );
    } else keep({ name: of, hands });
  }

  function ask<T>(what: "train" | "test", sent: readonly Recording[], show: (answer: T) => void) {
    call<T>(addressOf(`/v1/gestures/${what}`), null, {
      method: "POST",
      body: JSON.stringify({ recordings: sent }),
    })
      .then(show)
      .catch(showError);
  }

  function train() {
    ask<Trained>("train", recordings.peek(), ({ file, names }) => {
      save(new Blob([bytesOf(file)]), "gestures.npz");
      words.value = { key: "trainer.trained", values: { names: names.join(", ") } };
      trained.value = { file, names };
      use(trained.value, isTried.peek());
    });
  }

  function test() {
    const show = ({ tables }: { tables: Tested[] }) => (tested.value = tables);
    ask<{ tables: Tested[] }>("test", recordings.peek(), show);
  }

  function remove(recording: Recording) {
    recordings.value = recordings.peek().filter((other) => other !== recording);
    tested.value = [];
    words.value = null;
  }

  function Teach() {
    const isMotion = running.value === "motion";
    const recordKey = isMoving.value ? "trainer.begin" : "trainer.record";
    return (
      <>
        <ol class="steps">
          {["trainer.step1", "trainer.step2", "trainer.step3", "trainer.step4"].map((key) => (
            <li key={key}>{text(key)}</li>
          ))}
        </ol>
        <form
          id="trainer-form"
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            if (isMotion) end();
            else begin();
          }}
        >
          <label for="trainer-name">{text("trainer.name")}</label>
          <input
            id="trainer-name"
            type="text"
            maxLength={40}
            pattern="[\p{L}\p{N} _\-]+"
            required
            autoComplete="off"
            value={name.value}
            onInput={({ currentTarget }) => (name.value = currentTarget.value)}
            onInvalid={() => (words.value = { key: "trainer.name_hint" })}
          />
          <label class="switch">
            <input
              id="trainer-moving"
              type="checkbox"
              checked={isMoving.value}
              disabled={isMotion}
              onChange={({ currentTarget }) => (isMoving.value = currentTarget.checked)}
            />
            <span>{text("trainer.moving")}</span>
          </label>
          <button
            id="trainer-record"
            class="button primary"
            disabled={running.value !== null && !isMotion}
          >
            {text(isMotion ? "trainer.stop" : recordKey)}
          </button>
        </form>
        {running.value && (
          <progress
            id="trainer-progress"
            max={1}
            value={share.value}
            aria-label={text("trainer.progress")}
          />
        )}
        <p id="trainer-words" class="hint" role="status">
          {words.value && text(words.value.key, words.value.values)}
        </p>
        <ul id="trainer-recordings" class="lines" aria-label={text("trainer.recordings")}>
          {recordings.value.map((recording, k) => (
            <Item key={k} recording={recording} />
          ))}
        </ul>
        <div class="row">
          <button
            id="trainer-test"
            class="button small"
            type="button"
            disabled={!canTest.value}
            aria-describedby="trainer-test-needs"
            onClick={test}
          >
            {text("trainer.test")}
          </button>
          <button
            id="trainer-train"
            class="button small"
            type="button"
            disabled={!recordings.value.length}
            onClick={train}
          >
            {text("trainer.train")}
          </button>
          <label class="switch">
            <input
              id="trainer-try"
              type="checkbox"
              checked={isTried.value}
              disabled={!trained.value}
              onChange={({ currentTarget }) => setTried(currentTarget.checked)}
            />
            <span>{text("trainer.try")}</span>
          </label>
        </div>
        <p id="trainer-test-needs" class="hint">
          {!canTest.value && text("trainer.test.needs")}
        </p>
        <div
          id="trainer-table"
          class="live-table"
          tabIndex={0}
          role="region"
          aria-label={text("trainer.table")}
        >
          {tested.value.map((table) => (
            <Table key={table.names.join()} {...table} />
          ))}
        </div>
      </>
    );
  }

  function Item({ recording }: { recording: Recording }) {
    const same = recordings.value.filter((other) => other.name === recording.name);
    const values = {
      name: recording.name,
      number: same.indexOf(recording) + 1,
      count: countOf(recording),
    };
    const label = text("trainer.remove");
    return (
      <li>
        {text(recording.frames ? "trainer.recording.motions" : "trainer.recording", values)}{" "}
        <button
          class="button small"
          type="button"
          aria-label={`${label}: ${recording.name} ${values.number}`}
          onClick={() => remove(recording)}
        >
          {label}
        </button>
      </li>
    );
  }

  render(<Teach />, place);
  return { tryFor, draw, check, clear: end };
}

/** How often each recorded gesture was recognised. */
function Table({ names, counts }: Tested) {
  return (
    <>
      <ul class="lines">
        {names.map((name, k) => {
          const total = counts[k]!.reduce((sum, count) => sum + count, 0);
          return <li key={name}>{text("trainer.right", { name, right: counts[k]![k], total })}</li>;
        })}
      </ul>
      <table>
        <caption class="hint">{text("trainer.caption")}</caption>
        <thead>
          <tr>
            <th scope="col">{text("trainer.shown")}</th>
            {[...names, text("gestures.nothing")].map((name) => (
              <th key={name} scope="col">
                {text("trainer.as", { name })}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.map((name, k) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {counts[k]!.map((count, column) => (
                <td key={column} class={column === k ? "right" : count ? "wrong" : ""}>
                  {count}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Return the recordings that the browser stores. */
function remembered(): Recording[] {
  const stored = memory.read<unknown>(STORED);
  return Array.isArray(stored) ? (stored as Recording[]) : [];
}

const handsOf = (frames: Frame[]) => frames.flatMap(({ hands }) => hands);

/** Return the number of examples of a recording. */
const countOf = ({ hands, count }: Recording) => count ?? hands?.length ?? 0;
