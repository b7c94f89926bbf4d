/** The tasks of the app and their addresses. Results have an address, so that they open again. */

import { computed, signal } from "@preact/signals";

export const TASKS = ["watch", "measure", "gestures", "avatar"] as const;
export type Task = (typeof TASKS)[number];
/** `result`: id of a job whose result is open; `compared`: id of another one on the same chart */
export type Place = { task: Task; result: string | null; compared: string | null };

const FIRST: Place = { task: "watch", result: null, compared: null };
const settings = location.hash; // of a link with settings, which is the address of the first task

export const place = signal(placeOf(location.hash) ?? FIRST);
export const task = computed(() => place.value.task);

/** Return the place of an address; null for an address with settings. */
function placeOf(hash: string): Place | null {
  const parameters = new URLSearchParams(hash.slice(1));
  const wanted = parameters.get("page");
  if (wanted === null) return parameters.size && hash !== settings ? null : FIRST;
  return {
    task: TASKS.find((name) => name === wanted) ?? FIRST.task,
    result: parameters.get("result"),
    compared: parameters.get("with"),
  };
}

/** Return the address of a place below that of the page. */
export function hashOf({ task: name, result, compared }: Place): string {
  if (name === FIRST.task) return "#";
  const parameters = new URLSearchParams({ page: name });
  if (result) parameters.set("result", result);
  if (compared) parameters.set("with", compared);
  return `#${parameters}`;
}

/** Go to a place. */
export function go(changes: Partial<Place>) {
  const next = { ...FIRST, ...changes };
  if (hashOf(next) === hashOf(place.value)) return;
  history.pushState(null, "", hashOf(next));
  place.value = next;
}

globalThis.addEventListener("hashchange", () => {
  const next = placeOf(location.hash);
  if (next) place.value = next;
  else location.reload(); // a link with settings was opened in this tab
});
