/** The state of the live view, which its parts read and change. */

import type { Store } from "./common.js";
import type { Settings } from "./settings.js";

export type Phase =
  "idle" | "connecting" | "loading" | "running" | "paused" | "stopped" | "error" | "waiting";
/** what a phase adds: progress of loading, or seconds until the next attempt */
export type Detail = { model?: string; done?: number; of?: number; retryIn?: number };
/** the chosen source; `still`: whether it has single images */
export type ChosenSource = { kind: "camera" | "sample" | "files"; name: string; still: boolean };

/** `searching`: whether an image is being processed; `hidden`: number of instances not shown */
export type State = Settings & {
  phase: Phase;
  detail: Detail;
  source: ChosenSource | null;
  started: boolean;
  paused: boolean;
  recording: boolean;
  searching: boolean;
  hidden: number;
};
export type AppStore = Store<State>;
