/** The page that measures files. */

import { render } from "preact";

import type { Setup } from "../jobs.js";
import { place, task } from "../places.js";
import { Result } from "./result.js";
import { Start, type Given } from "./start.js";

/** Show the page in a section while its task is chosen. */
export function mountMeasure(section: HTMLElement, setup: Setup, given: () => Given) {
  render(<Measure setup={setup} given={given} />, section);
}

function Measure({ setup, given }: { setup: Setup; given: () => Given }) {
  if (task.value !== "measure") return null;
  const { result } = place.value;
  return result ? (
    <Result key={result} id={result} setup={setup} />
  ) : (
    <Start setup={setup} given={given()} />
  );
}
