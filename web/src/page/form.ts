/** Controls of options and of settings of drawings, made from their JSON schemas. */

import { find, text } from "./common.js";
import type { Schema } from "./kinds.js";

type Value = boolean | number | string;
const STEP = 0.05; // of sliders

/** Return a copy of a template, and a function that finds its parts. */
export function copyOf(id: string): [HTMLElement, (selector: string) => any] {
  const row = find(id).content.cloneNode(true).firstElementChild;
  return [row, (selector) => row.querySelector(selector)];
}

/** Return the control of a value: a switch, a choice, a slider or a number. */
export function controlOf(id: string, schema: Schema) {
  const { default: usual, minimum, maximum } = schema;
  const form = formOf(schema);
  const [row, part] = copyOf(`option-${form}`);
  const [field, hint, output] = [part("input, select"), part(".hint"), part("output")];
  field.id = part(".field label, label.switch").htmlFor = id;
  hint.id = `${id}-hint`;
  field.setAttribute("aria-describedby", hint.id);
  if (output) output.htmlFor = id;
  if (form === "slider") Object.assign(field, { min: minimum ?? 0, max: maximum, step: STEP });
  if (form === "number")
    Object.assign(field, {
      min: minimum ?? "",
      max: maximum ?? "",
      step: schema.type === "integer" ? 1 : "any",
      placeholder: usual ?? "",
    });

  /** Return the selected value; "" for none. */
  function read(): Value {
    if (form === "switch") return field.checked;
    return form === "choice" || field.value === "" ? field.value : Number(field.value);
  }

  /** Show a value; undefined for a default without a name. */
  function show(value: Value | undefined) {
    if (form === "switch") field.checked = value ?? false;
    else field.value = value ?? (form === "slider" ? ((minimum ?? 0) + Number(maximum)) / 2 : "");
    if (output)
      output.textContent = value === undefined ? text("option.default") : Number(value).toFixed(2);
  }

  /** Write name, explanation and choices in the selected language. */
  function describe(words: string, explanation: string, choices: HTMLElement[]) {
    part(".words").textContent = words;
    hint.textContent = explanation;
    hint.hidden = !explanation;
    if (form === "choice") field.replaceChildren(...choices);
  }

  return { row, field, read, show, describe };
}

function formOf({ type, enum: choices, maximum }: Schema) {
  if (type === "boolean") return "switch";
  if (choices) return "choice";
  return type === "number" && maximum !== undefined ? "slider" : "number";
}
