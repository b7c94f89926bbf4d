/** The switches of the detectors, and the panel with all other options of the live view. */

import { render } from "preact";

import { text, textOr } from "./common.js";
import { Control, Select, Switch, type Choice, type Group } from "./controls.js";
import { hasNoServer } from "./endpoints.js";
import { Icon } from "./icon.js";
import { kinds, kindsWhere, type Schema } from "./kinds.js";
import { targetName, TARGETS } from "./saliency.js";
import {
  formOptions,
  hasEngine,
  isMirrored,
  kindsOn,
  LONGEST,
  modelOf,
  ofCamera,
  switched,
  within,
  withOnly,
  type DetectorSetting,
} from "./settings.js";
import type { AppStore } from "./state.js";
import { accepts, BY_INSTANCE, checkedStyle, STYLE_SCHEMAS, type Style } from "./style.js";

const USUAL_COLOUR = "#38bdff";

/** Build the forms and connect them to the store. */
export function mountOptions(store: AppStore, detectors: HTMLElement, options: HTMLElement) {
  render(<Detectors store={store} />, detectors);
  render(<Options store={store} />, options);
}

type Props = { store: AppStore };

const nameOfKind = (kind: string) => textOr(`kind.${kind}`, kind);

/** The switch of each detector. */
function Detectors({ store }: Props) {
  const { here, detectors } = store.now.value;
  return (
    <>
      {Object.keys(kindsWhere(here)).map((kind) => (
        <div key={kind} class={`detector${detectors[kind]?.on ? " on" : ""}`}>
          <Switch
            id={`detector-${kind}`}
            label={nameOfKind(kind)}
            isOn={detectors[kind]?.on ?? false}
            icon={<Icon name={kind} />}
            onChange={(on) => switchKind(store, kind, on)}
          />
        </div>
      ))}
      <Hiding store={store} id="style-anonymise" />
    </>
  );
}

const HIDING = ["none", "blur", "persons", "black"];

/** The choice of whom the view, recordings and measured files hide. */
export function Hiding({ store, id }: Props & { id: string }) {
  const schema = STYLE_SCHEMAS["anonymise"]!;
  return (
    <Control
      id={id}
      name="style.anonymise"
      schema={schema}
      value={store.now.value.style.anonymise}
      words={text("style.anonymise")}
      hint={text("style.anonymise.hint")}
      choices={HIDING.map((value) => ({ value, label: text(`style.anonymise.${value}`) }))}
      onChange={(anonymise) => {
        if (accepts(schema, anonymise))
          store.set({ style: checkedStyle({ ...store.state.style, anonymise }) });
      }}
    />
  );
}

/** Switch a detector on or off. */
export function switchKind(store: AppStore, kind: string, on: boolean) {
  const { detectors } = store.state;
  const wanted = switched(kindsOn(detectors), kind, on);
  store.set({ detectors: withOnly(detectors, wanted) });
}

function change(store: AppStore, kind: string, changes: Partial<DetectorSetting>) {
  const { detectors } = store.state;
  store.set({ detectors: { ...detectors, [kind]: { ...detectors[kind]!, ...changes } } });
}

function Options({ store }: Props) {
  const { here, source, mirrors, longest } = store.now.value;
  const mirrored = isMirrored({ mirrors, source });
  const where = ["server", "page"].map((value) => ({ value, label: text(`here.${value}`) }));
  return (
    <>
      <Switch
        id="mirror"
        label={text("mirror")}
        isOn={mirrored}
        onChange={(on) => store.set({ mirrors: { ...mirrors, [ofCamera(source)]: on } })}
      />
      {!hasNoServer && hasEngine() && (
        <Field id="here" label={text("here")}>
          <Select
            id="here"
            value={here ? "page" : "server"}
            choices={where}
            onChange={(value) => store.set({ here: value === "page" })}
          />
        </Field>
      )}
      {Object.keys(kindsWhere(here)).map((kind) => (
        <Models key={kind} store={store} kind={kind} />
      ))}
      <div class="option">
        <Field id="longest" label={text("size")}>
          <Select
            id="longest"
            value={String(longest)}
            choices={LONGEST.map((side) => ({
              value: String(side),
              label: side ? text("size.longest", { side }) : text("size.own"),
            }))}
            onChange={(value) => store.set({ longest: Number(value) })}
          />
        </Field>
        <p class="hint">{text("size.hint")}</p>
      </div>
      <DetectorOptions store={store} />
      <details class="part" id="style-card">
        <summary>
          <h3>{text("style")}</h3>
        </summary>
        <Drawing store={store} />
      </details>
      <details class="part compare">
        <summary>
          <h3>{text("compare")}</h3>
        </summary>
        <Rivals store={store} />
      </details>
    </>
  );
}

type FieldProps = { id: string; label: string; children: preact.ComponentChildren };

const Field = ({ id, label, children }: FieldProps) => (
  <div class="field">
    <label for={id}>{label}</label>
    {children}
  </div>
);

/** Model and maximum of a detector that is on. */
function Models({ store, kind }: Props & { kind: string }) {
  const { here, detectors, source } = store.now.value;
  const [there, setting] = [kindsWhere(here)[kind], detectors[kind]];
  if (!there || !setting?.on) return null;
  const { minimum, maximum } = kinds[kind]!.options.max_instances!;
  const usual = source?.still ? text("max.usual") : String(there.max_instances);
  return (
    <div class="detector-options">
      <Field id={`model-${kind}`} label={`${nameOfKind(kind)}: ${text("model")}`}>
        <select
          id={`model-${kind}`}
          onInput={({ currentTarget }) => change(store, kind, { model: currentTarget.value })}
        >
          {there.models.map((name) => (
            <option
              key={name}
              value={name}
              disabled={name in there.missing}
              selected={name === modelOf(there, setting.model)}
            >
              {textOr(`model.${name}`, name)}
              {name in there.missing ? ` – ${text("model.missing")}` : ""}
            </option>
          ))}
        </select>
      </Field>
      <Field id={`max-${kind}`} label={text("max")}>
        <input
          id={`max-${kind}`}
          type="number"
          inputMode="numeric"
          min={minimum}
          max={maximum}
          step={1}
          placeholder={usual}
          value={setting.max ?? ""}
          onChange={({ currentTarget: { value } }) =>
            change(store, kind, { max: value === "" ? null : within(kind, Number(value)) })
          }
        />
      </Field>
    </div>
  );
}

/** The options of the detectors. */
function DetectorOptions({ store }: Props) {
  const { here, source, options } = store.now.value;
  return (
    <>
      {Object.entries(formOptions(here, source?.still ?? false)).map(([name, schema]) => {
        const usual = schema.default;
        const chosen = options[name];
        return (
          <Control
            key={name}
            id={`option-${name}`}
            name={name}
            schema={schema}
            value={chosen !== undefined && accepts(schema, chosen) ? chosen : usual}
            words={textOr(`option.${name}`, name.replaceAll("_", " "))}
            hint={textOr(`option.${name}.hint`, schema.description)}
            choices={choicesOf(name, schema)}
            onChange={(value) => {
              const { [name]: _, ...others } = store.state.options;
              const isChosen = value !== (usual ?? false) && accepts(schema, value);
              store.set({ options: isChosen ? { ...others, [name]: value } : others });
            }}
          />
        );
      })}
    </>
  );
}

/**
 * Return the choices of an option, including a default without a name; outputs in groups, all
 * without a text in one.
 */
function choicesOf(
  name: string,
  { enum: values = [], default: usual }: Schema,
): (Choice | Group)[] {
  const best = { value: "", label: textOr(`${name}.auto`, text("option.default")) };
  if (name !== "explain") {
    const listed = values.map((value) => ({ value, label: textOr(`${name}.${value}`, value) }));
    return usual === undefined ? [best, ...listed] : listed;
  }
  const grouped = Object.values(TARGETS).flat();
  const others = values.filter((value) => value !== "none" && !grouped.includes(value));
  const choice = (value: string) => ({ value, label: targetName(value) });
  const groups = Object.entries({ ...TARGETS, others }).map(([group, targets]) => ({
    label: text(`target.group.${group}`),
    choices: targets.filter((target) => values.includes(target)).map(choice),
  }));
  return [choice("none"), ...groups];
}

/** The settings of the drawing. */
function Drawing({ store }: Props) {
  const { style } = store.now.value;
  const changeStyle = (changes: Partial<Style>) =>
    store.set({ style: { ...store.state.style, ...changes } });
  const { colour: _, anonymise: __, ...others } = STYLE_SCHEMAS;
  const values = new Map<string, unknown>(Object.entries(style));
  const isSingle = !["", BY_INSTANCE].includes(style.colour);
  const palette = [
    { value: "", label: text("style.colour.part") },
    { value: BY_INSTANCE, label: text("style.colour.instance") },
    { value: "single", label: text("style.colour.single") },
  ];
  return (
    <>
      {Object.entries(others).map(([name, schema]) => (
        <Control
          key={name}
          id={`style-${name}`}
          name={`style.${name}`}
          schema={schema}
          value={values.get(name) as boolean | number | string}
          words={textOr(`style.${name}`, schema.description)}
          hint={textOr(`style.${name}.hint`, "")}
          choices={(schema.enum ?? []).map((value) => ({
            value,
            label: textOr(`style.${name}.${value}`, value),
          }))}
          onChange={(value) => {
            if (accepts(schema, value)) changeStyle({ [name]: value });
          }}
        />
      ))}
      <Field id="style-palette" label={text("style.colour")}>
        <Select
          id="style-palette"
          value={isSingle ? "single" : style.colour}
          choices={palette}
          onChange={(value) => changeStyle({ colour: value === "single" ? USUAL_COLOUR : value })}
        />
      </Field>
      {isSingle && (
        <input
          id="style-colour"
          type="color"
          aria-label={text("style.colour.single")}
          value={style.colour}
          onInput={({ currentTarget }) => changeStyle({ colour: currentTarget.value })}
        />
      )}
    </>
  );
}

/** The choice of a second model on the same images. */
function Rivals({ store }: Props) {
  const { detectors, here, compare } = store.now.value;
  const there = kindsWhere(here);
  const on = Object.entries(detectors).filter(([kind, { on: isOn }]) => isOn && kind in there);
  const others = on.flatMap(([kind, { model }]) => {
    const { models, missing } = there[kind]!;
    return models
      .filter((name) => name !== model && !(name in missing))
      .map((name) => ({
        value: `${kind}:${name}`,
        label: `${nameOfKind(kind)}: ${textOr(`model.${name}`, name)}`,
      }));
  });
  const isKnown = others.some(({ value }) => value === compare);
  return (
    <Field id="compare" label={text("compare.with")}>
      <Select
        id="compare"
        value={isKnown ? compare : ""}
        choices={[{ value: "", label: text("compare.off") }, ...others]}
        onChange={(value) => store.set({ compare: value })}
      />
    </Field>
  );
}
