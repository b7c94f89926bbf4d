/**
 * Custom gestures: the page records static gestures and motions; the server trains and tests them
 * and stores nothing.
 */

import {
  find,
  make,
  makeButton,
  makeRow,
  onLanguage,
  save,
  showError,
  text,
  textOr,
} from "./common.js";
import { addressOf, call } from "./endpoints.js";
import { instancesOf } from "./kinds.js";
import { measureName } from "./measure-names.js";
import { bytesOf } from "../masks.js";

const SAMPLES = 20;
const LASTS_MS = 3000;
const PATIENCE_MS = 10_000; // maximum time without a hand
const LEAST = 5;

const MAX_FRAMES = 600; // frame rate and maximum length of a motion's recording on the server

type Hand = { handedness: string; keypoints: any[]; keypoints3D: any[]; id?: number };
/** of static gestures or motions; `count`: number of motions */
type Recording = {
  name: string;
  hands?: Hand[];
  frames?: { time: number; hands: Hand[] }[];
  count?: number;
};
/** last trained gestures; `file` in base64 */
type Trained = { file: string; names: string[] };

/**
 * @param use function that receives the trained gestures and whether the stream uses them
 * @param hasStream whether a camera or video runs
 */
export function createTrainer(
  use: (trained: Trained, isTried: boolean) => void,
  hasStream: () => boolean,
) {
  let recordings: Recording[] = [];
  let taking: {
    name: string;
    isMotion: boolean;
    frames: { time: number; hands: Hand[] }[];
    until: number;
    next: number;
  } | null = null;
  let tested: { names: string[]; counts: number[][] }[] = [];
  let trained: Trained | null = null;
  find("trainer-form").onsubmit = (event: Event) => {
    event.preventDefault();
    if (taking?.isMotion) end();
    else begin();
  };
  find("trainer-name").oninvalid = () => showStatus("trainer.name_hint");
  find("trainer-moving").onchange = write;
  find("trainer-try").onchange = useGestures;
  find("trainer-train").onclick = () =>
    ask("train", ({ file, names }) => {
      save(new Blob([bytesOf(file)]), "gestures.npz");
      showStatus("trainer.trained", { names: names.join(", ") });
      trained = { file, names };
      useGestures();
      write();
    });
  find("trainer-test").onclick = () =>
    ask("test", ({ tables }) => {
      tested = tables;
      write();
    });
  onLanguage(write);

  /** Use the trained gestures in the stream if a map names them. */
  function tryFor(map: string) {
    const box = find("trainer-try");
    if (box.checked || !trained?.names.some((name) => map.includes(JSON.stringify(name)))) return;
    box.checked = true;
    useGestures();
  }

  function draw(frame: Record<string, any>) {
    if (find("trainer-words").textContent === text("trainer.start"))
      find("trainer-words").textContent = "";
    if (!taking) return;
    const { isMotion, frames } = taking;
    const hands = knownHands(frame).filter(({ id }) => !isMotion || Number.isInteger(id));
    // a new clip starts
    const isBack = isMotion && frame.time <= (frames.at(-1)?.time ?? -Infinity);
    const now = performance.now();
    if (hands.length && !isBack && now >= taking.next) {
      frames.push({ time: frame.time, hands });
      if (!isMotion) [taking.next, taking.until] = [now + LASTS_MS / SAMPLES, now + PATIENCE_MS];
    }
    const share = isMotion ? frames.length / MAX_FRAMES : handsOf(frames).length / SAMPLES;
    find("trainer-progress").value = share;
    if (share >= 1 || isBack || now > taking.until) end();
  }

  function clear() {
    if (taking) end();
  }

  function useGestures() {
    if (trained) use(trained, find("trainer-try").checked);
  }

  function keep(recording: Recording) {
    recordings.push(recording);
    tested = [];
    showStatus("trainer.taken", { name: recording.name, count: countOf(recording) });
    write();
  }

  function begin() {
    const name = find("trainer-name").value.trim();
    if (!name) return undefined;
    if (!hasStream()) return showStatus("trainer.start");
    const isMotion = find("trainer-moving").checked;
    const now = performance.now();
    taking = {
      name,
      isMotion,
      frames: [],
      until: isMotion ? Infinity : now + PATIENCE_MS,
      next: now,
    };
    write();
    return showStatus(isMotion ? "trainer.move" : "trainer.taking", { name });
  }

  /** Store the recording. The server splits one of motions at pauses; it must contain one. */
  function end() {
    const { name, isMotion, frames } = taking as NonNullable<typeof taking>;
    taking = null;
    find("trainer-progress").value = 0;
    write();
    const hands = handsOf(frames).slice(0, SAMPLES);
    if (isMotion)
      ask("train", ({ examples }) => keep({ name, frames, count: examples[0] }), [
        { name, frames },
      ]);
    else if (hands.length < LEAST) showStatus("trainer.few");
    else keep({ name, hands });
  }

  function ask(
    what: "train" | "test",
    show: (answer: any) => void,
    sent: Recording[] = recordings,
  ) {
    call(addressOf(`/v1/gestures/${what}`), null, {
      method: "POST",
      body: JSON.stringify({ recordings: sent }),
    })
      .then(show)
      .catch(showError);
  }

  function write() {
    const names = recordings.map(({ name }) => name);
    const isEach =
      names.length > 0 && names.every((name) => names.filter((other) => other === name).length > 1);
    const moving = find("trainer-moving");
    const [record, isMotion] = [find("trainer-record"), taking?.isMotion ?? false];
    record.textContent = text(
      isMotion ? "trainer.stop" : moving.checked ? "trainer.begin" : "trainer.record",
    );
    record.disabled = taking !== null && !isMotion;
    moving.disabled = isMotion;
    find("trainer-try").disabled = trained === null;
    find("trainer-train").disabled = !names.length;
    find("trainer-test").disabled = !isEach;
    find("trainer-recordings").replaceChildren(
      ...recordings.map((recording) => {
        const { name } = recording;
        const remove = () => {
          recordings = recordings.filter((other) => other !== recording);
          tested = [];
          write();
        };
        const label = text(recording.frames ? "trainer.motions" : "trainer.recording", {
          name,
          count: countOf(recording),
        });
        return make(
          "li",
          {},
          label,
          " ",
          makeButton(text("trainer.remove"), remove, {
            ariaLabel: `${text("trainer.remove")}: ${name}`,
          }),
        );
      }),
    );
    find("trainer-table").replaceChildren(
      ...tested.map(({ names: tried, counts }) =>
        make(
          "table",
          {}, // the confusion matrix
          makeRow(text("trainer.is"), [...tried, text("gestures.nothing")], "th"),
          ...tried.map((name, k) => makeRow(name, counts[k]!)),
        ),
      ),
    );
  }

  return { tryFor, draw, clear };
}

/** @param key of a text */
function showStatus(key: string, values?: Record<string, unknown>) {
  find("trainer-words").textContent = text(key, values);
}

const handsOf = (frames: { hands: Hand[] }[]) => frames.flatMap(({ hands }) => hands);

/** Return the number of examples of a recording. */
const countOf = ({ hands, count }: Recording) => count ?? hands?.length ?? 0;

/** Return the hands of a frame without unknown keypoints, in the server's format. */
export function knownHands(frame: Record<string, any>): Hand[] {
  const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
  const known = hands.filter(({ instance }) =>
    [...instance.keypoints, ...instance.keypoints3D].every(({ z }) => Number.isFinite(z)),
  );
  return known.map(({ instance, person }) => {
    // gestures are learned from the published keypoints
    const { keypoints, keypoints3D } = instance.published ?? instance;
    return {
      id: instance.id ?? person?.id,
      handedness: instance.handedness,
      keypoints: plain(keypoints),
      keypoints3D: plain(keypoints3D),
    };
  });
}

const plain = (points: { x: number; y: number; z: number }[]) =>
  points.map(({ x, y, z }) => ({ x, y, z }));

const MOST_COMMANDS = 30;
const EXAMPLE = ", as in "; // before the example in the server's description of a target

/** @param dryRun request the commands of a checked map; null to stop */
export function createMapEditor(dryRun: (map: string | null) => void) {
  let isRunning = false;
  /** what rules may name */
  let known: { gestures: string[]; motions: string[]; measures: string[] } = {
    gestures: [],
    motions: [],
    measures: [],
  };
  /** forms of the targets of rules by action, in the words of the server */
  let actions: Record<string, string> = {};
  /** custom gestures that were trained here */
  let custom: string[] = [];
  const map = find("map-text");
  map.oninput = stop;
  find("map-add").onclick = add;
  find("map-download").onclick = async () =>
    (await check()) && save(new Blob([map.value], { type: "application/toml" }), "map.toml");
  find("map-check").onclick = check;
  find("map-run").onchange = run;
  find("map-action").onchange = showHint;

  /** Fill the lists of names for rules. */
  async function load() {
    const answer = (await call(addressOf("/v1/control"))) as any;
    ({ actions, ...known } = answer as typeof known & { actions: typeof actions });
    onLanguage(listNames);
  }

  /** Custom gestures that rules may name too. */
  function setCustom(names: string[]) {
    custom = names;
    listNames();
  }

  /** List names and actions in the selected language, and keep what is selected. */
  function listNames() {
    const { gestures, motions, measures } = known;
    const group = (label: string, names: string[], nameOf: (name: string) => string, key = "on") =>
      make(
        "optgroup",
        { label },
        ...names.map((name) => new Option(nameOf(name), `${key} = ${JSON.stringify(name)}`)),
      );
    const gestureName = (name: string) => textOr(`gesture.${name}`, name);
    fill("map-on", [
      group(text("map.motions"), motions, gestureName),
      group(text("map.gestures"), [...custom, ...gestures], gestureName),
      group(text("map.measures"), measures, measureName, "measure"),
    ]);
    const options = Object.entries(actions).map(([name, hint]) => {
      const option = new Option(textOr(`map.action.${name}`, name), name);
      option.dataset.hint = hint;
      return option;
    });
    fill("map-action", options);
    showHint();
  }

  function draw({ commands = [] }: Record<string, any>) {
    if (!isRunning) return; // an outdated answer
    const list = find("map-commands");
    for (const command of commands) list.prepend(make("li", {}, JSON.stringify(command)));
    while (list.children.length > MOST_COMMANDS) list.lastElementChild.remove();
  }

  function add() {
    const [on, action, target] = ["map-on", "map-action", "map-target"].map(find);
    const before = map.value.trimEnd();
    const rule = `${on.value}\n${action.value} = ${JSON.stringify(target.value)}`;
    map.value = `${before}${before ? "\n\n" : ""}[[rule]]\n${rule}\n`;
    stop();
    void check();
  }

  /** Check the map and show the errors. */
  async function check() {
    const state = find("map-words");
    try {
      const address = addressOf("/v1/control");
      for (const name of custom) address.searchParams.append("gesture", name);
      const { rules } = await call(address, null, { method: "POST", body: map.value });
      state.textContent = text("map.right", { count: rules });
      state.dataset.state = "right";
    } catch (error) {
      if ((error as any).code !== "bad_option") showError(error);
      state.textContent = text("map.wrong", { message: (error as Error).message });
      state.dataset.state = "wrong";
    }
    return state.dataset.state === "right";
  }

  async function run() {
    const box = find("map-run");
    if (!box.checked) return stop();
    box.checked = await check();
    if (!box.checked) return undefined;
    isRunning = true;
    return dryRun(map.value);
  }

  function stop() {
    find("map-run").checked = false;
    find("map-commands").replaceChildren();
    if (isRunning) dryRun(null);
    isRunning = false;
  }

  return { load, setCustom, draw, clear() {} };
}

/** Fill a choice, and keep what is selected. */
function fill(id: string, options: HTMLElement[]) {
  const select = find(id);
  const before = select.value;
  select.replaceChildren(...options);
  if (before) select.value = before;
}

/** Show the form and an example of the target of the selected action. */
function showHint() {
  const option = find("map-action").selectedOptions[0];
  const hint = option?.dataset.hint ?? "";
  find("map-target").placeholder = hint.split(EXAMPLE)[1] ?? "";
  find("map-target-hint").textContent = option && textOr(`map.target.${option.value}`, hint);
}
