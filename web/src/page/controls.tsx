/** Controls of options and of settings of drawings, made from their JSON schemas. */

import { useMemo } from "preact/hooks";

import { text } from "./common.js";
import type { Schema } from "./kinds.js";

export type Value = boolean | number | string;
/** a choice, or a group of choices */
export type Choice = { value: string; label: string };
export type Group = { label: string; choices: Choice[] };

type Props = {
  id: string;
  /** exact name of the option, as in links and on the command line */
  name: string;
  schema: Schema;
  /** undefined for a default without a name */
  value: Value | undefined;
  words: string;
  hint: string;
  choices: (Choice | Group)[];
  /** called with "" for no value */
  onChange: (value: Value) => void;
};

const STEP = 0.05; // of sliders

/** The control of a value: a switch, a choice, a slider or a number. */
export function Control(props: Props) {
  const { id, name, hint } = props;
  return (
    <div class="option" title={name}>
      <Field {...props} />
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

function Field({ id, schema, value, words, hint, choices, onChange }: Props) {
  const { minimum, maximum } = schema;
  const shared = { id, ...(hint ? { "aria-describedby": `${id}-hint` } : {}) };
  if (schema.type === "boolean")
    return (
      <Switch {...shared} label={words} isOn={value === true} onChange={(isOn) => onChange(isOn)} />
    );
  if (schema.enum)
    return (
      <div class="field">
        <label for={id}>{words}</label>
        <Select {...shared} value={String(value ?? "")} choices={choices} onChange={onChange} />
      </div>
    );
  if (schema.type === "number" && maximum !== undefined)
    return (
      <div class="field slider">
        <label for={id}>{words}</label>
        <output for={id}>
          {value === undefined ? text("option.default") : Number(value).toFixed(2)}
        </output>
        <input
          {...shared}
          type="range"
          min={minimum ?? 0}
          max={maximum}
          step={STEP}
          value={Number(value ?? ((minimum ?? 0) + maximum) / 2)}
          onInput={({ currentTarget }) => onChange(Number(currentTarget.value))}
        />
      </div>
    );
  return (
    <div class="field number">
      <label for={id}>{words}</label>
      <input
        {...shared}
        type="number"
        inputMode="decimal"
        min={minimum}
        max={maximum}
        step={schema.type === "integer" ? 1 : "any"}
        placeholder={String(schema.default ?? "")}
        value={typeof value === "number" ? value : ""}
        onInput={({ currentTarget: { value: given } }) => onChange(given && Number(given))}
      />
    </div>
  );
}

type SwitchProps = {
  id: string;
  label: string;
  isOn: boolean;
  onChange: (isOn: boolean) => void;
  icon?: preact.ComponentChildren;
};

export const Switch = ({ id, label, isOn, onChange, icon, ...others }: SwitchProps) => (
  <label class="switch">
    <input
      id={id}
      type="checkbox"
      checked={isOn}
      onChange={({ currentTarget }) => onChange(currentTarget.checked)}
      {...others}
    />
    {icon}
    <span class="words">{label}</span>
  </label>
);

type SelectProps = {
  id: string;
  value: string;
  choices: (Choice | Group)[];
  onChange: (value: string) => void;
};

export function Select({ value: selected, choices, onChange, ...others }: SelectProps) {
  // drawn again only after changes: a list that is open would lose the entry that is marked in it
  return useMemo(
    () => (
      <select
        {...others}
        value={selected}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      >
        {choices.map((one) =>
          "choices" in one ? (
            <optgroup key={one.label} label={one.label}>
              {one.choices.map((choice) => (
                <Entry key={choice.value} {...choice} selected={selected} />
              ))}
            </optgroup>
          ) : (
            <Entry key={one.value} {...one} selected={selected} />
          ),
        )}
      </select>
    ),
    [selected, JSON.stringify(choices)],
  );
}

const Entry = ({ value, label, selected }: Choice & { selected: string }) => (
  <option value={value} selected={value === selected}>
    {label}
  </option>
);
