/** The editor of control maps: rules from gestures, motions and measures to commands. */

import { computed, signal } from "@preact/signals";
import { render } from "preact";

import { find, save, showError, text, textOr } from "../common.js";
import { addressOf, call, ServerError } from "../endpoints.js";
import { measureName } from "../measure-names.js";

const MOST_COMMANDS = 30;
const EXAMPLE = ", as in "; // before the example in the server's description of a target
const FIRST = `[[rule]]
on = "Swipe_Left"
key = "right"

[[rule]]
measure = "pinch_index_m"
from = [0.02, 0.12]
smooth_s = 0.1
osc = "127.0.0.1:9000/volume"
`;

/** what rules may name, and forms of targets by action in the words of the server */
type Known = {
  gestures: string[];
  motions: string[];
  measures: string[];
  actions: Record<string, string>;
};

/** @param dryRun request the commands of a checked map; null to stop */
export function createMapEditor(place: HTMLElement, dryRun: (map: string | null) => void) {
  const known = signal<Known>({ gestures: [], motions: [], measures: [], actions: {} });
  /** own gestures that were trained here */
  const custom = signal<readonly string[]>([]);
  const map = signal(FIRST);
  const checked = signal<{ isRight: boolean; text: () => string } | null>(null);
  const isRunning = signal(false);
  const commands = signal<readonly string[]>([]);
  const on = signal("");
  const action = signal("");
  const target = signal("");
  const chosenAction = computed(() => action.value || (Object.keys(known.value.actions)[0] ?? ""));

  /** Return what the target of the chosen action is, in the language of the page. */
  function targetHint() {
    const name = chosenAction.value;
    return textOr(`map.target.${name}`, known.value.actions[name] ?? "");
  }

  /** Load the names for rules. */
  async function load() {
    known.value = await call<Known>(addressOf("/v1/control"));
  }

  function draw(frame: Record<string, unknown>) {
    if (!isRunning.peek()) return; // an outdated answer
    const added = ((frame["commands"] as unknown[] | undefined) ?? []).map((one) =>
      JSON.stringify(one),
    );
    if (added.length)
      commands.value = [...added.reverse(), ...commands.peek()].slice(0, MOST_COMMANDS);
  }

  function add(first: string) {
    if (!target.peek().trim()) {
      checked.value = { isRight: false, text: targetHint };
      find("map-target").focus();
      return;
    }
    const before = map.peek().trimEnd();
    const rule = `${on.peek() || first}\n${chosenAction.peek()} = ${JSON.stringify(target.peek())}`;
    change(`${before}${before ? "\n\n" : ""}[[rule]]\n${rule}\n`);
    void check();
  }

  function change(value: string) {
    map.value = value;
    stop();
  }

  /** Check the map and show the errors. */
  async function check() {
    try {
      const address = addressOf("/v1/control");
      for (const name of custom.peek()) address.searchParams.append("gesture", name);
      const { rules } = await call<{ rules: number }>(address, null, {
        method: "POST",
        body: map.peek(),
      });
      checked.value = { isRight: true, text: () => text("map.right", { count: rules }) };
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== "bad_option") showError(error);
      const { message } = error as Error;
      checked.value = { isRight: false, text: () => wrongText(message) };
    }
    return checked.peek()?.isRight ?? false;
  }

  async function download() {
    if (await check()) save(new Blob([map.peek()], { type: "application/toml" }), "map.toml");
  }

  async function run(wanted: boolean) {
    if (!wanted) return stop();
    isRunning.value = await check();
    if (isRunning.peek()) dryRun(map.peek());
  }

  function stop() {
    commands.value = [];
    if (isRunning.peek()) dryRun(null);
    isRunning.value = false;
  }

  function Editor() {
    const { gestures, motions, measures, actions } = known.value;
    const gestureName = (name: string) => textOr(`gesture.${name}`, name);
    const choice = (key: string, name: string, label: string) => ({
      value: `${key} = ${JSON.stringify(name)}`,
      label,
    });
    const groups = [
      { key: "map.motions", choices: motions.map((one) => choice("on", one, gestureName(one))) },
      {
        key: "map.gestures",
        choices: [...custom.value, ...gestures].map((one) => choice("on", one, gestureName(one))),
      },
      {
        key: "map.measures",
        choices: measures.map((one) => choice("measure", one, measureName(one))),
      },
    ];
    const hint = actions[chosenAction.value] ?? "";
    return (
      <>
        <p class="hint">{text("map.hint")}</p>
        <div class="row">
          <label for="map-on">{text("map.on")}</label>
          <select
            id="map-on"
            class="compact"
            onInput={({ currentTarget }) => (on.value = currentTarget.value)}
          >
            {groups.map(({ key, choices }) => (
              <optgroup key={key} label={text(key)}>
                {choices.map(({ value, label }) => (
                  <option key={value} value={value} selected={value === on.value}>
                    {label}
                  </option>
                ))}
              </optgroup>
            ))}
          </select>
          <label for="map-action">{text("map.action")}</label>
          <select
            id="map-action"
            class="compact"
            onInput={({ currentTarget }) => (action.value = currentTarget.value)}
          >
            {Object.keys(actions).map((name) => (
              <option key={name} value={name} selected={name === chosenAction.value}>
                {textOr(`map.action.${name}`, name)}
              </option>
            ))}
          </select>
          <label class="visually-hidden" for="map-target">
            {text("map.target")}
          </label>
          <input
            id="map-target"
            type="text"
            autoComplete="off"
            spellcheck={false}
            aria-describedby="map-target-hint"
            placeholder={hint.split(EXAMPLE)[1] ?? ""}
            value={target.value}
            onInput={({ currentTarget }) => (target.value = currentTarget.value)}
          />
          <button
            id="map-add"
            class="button small"
            type="button"
            onClick={() => add(groups.flatMap(({ choices }) => choices)[0]?.value ?? "")}
          >
            {text("map.add")}
          </button>
        </div>
        <p id="map-target-hint" class="hint">
          {targetHint()}
        </p>
        <details class="part">
          <summary>
            <h3>{text("map.text")}</h3>
          </summary>
          <textarea
            id="map-text"
            class="map-text"
            rows={11}
            spellcheck={false}
            aria-label={text("map.text")}
            value={map.value}
            onInput={({ currentTarget }) => change(currentTarget.value)}
          />
        </details>
        <p
          id="map-words"
          class="map-words"
          role="status"
          data-state={checked.value ? (checked.value.isRight ? "right" : "wrong") : ""}
        >
          {checked.value?.text()}
        </p>
        <div class="row">
          <button id="map-check" class="button small" type="button" onClick={() => void check()}>
            {text("map.check")}
          </button>
          <button
            id="map-download"
            class="button small"
            type="button"
            onClick={() => void download()}
          >
            {text("map.download")}
          </button>
          <label class="switch">
            <input
              id="map-run"
              type="checkbox"
              checked={isRunning.value}
              onChange={({ currentTarget }) => void run(currentTarget.checked)}
            />
            <span>{text("map.run")}</span>
          </label>
        </div>
        <ul id="map-commands" class="lines commands" aria-label={text("map.commands")}>
          {commands.value.map((command, k) => (
            <li key={k}>{command}</li>
          ))}
        </ul>
      </>
    );
  }

  render(<Editor />, place);
  return {
    load,
    /** Own gestures that rules may name too. */
    setCustom: (names: string[]) => (custom.value = names),
    draw,
    clear() {},
  };
}

const NO_RULE = /: no rule;/;
const WRONG_TARGET = /, rule (\d+): (\w+) = .*: give /;

/** Return why a map is refused, in the language of the page where it has a text. */
function wrongText(message: string) {
  if (NO_RULE.test(message)) return text("map.wrong.none");
  const [, number, name] = WRONG_TARGET.exec(message) ?? [];
  const needs = textOr(`map.target.${name}`, "");
  if (!needs) return text("map.wrong", { message });
  return text("map.wrong.target", { number, action: text(`map.action.${name}`), needs });
}
