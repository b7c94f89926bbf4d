/** The line of the live view's status, and the buttons that depend on it. */

import { find, onLanguage, put, text, textOr } from "./common.js";
import { listOf, results, type Frame } from "./kinds.js";
import type { AppStore } from "./state.js";

const RUNNING = ["connecting", "loading", "running", "error"];

/** Show the status now and after each change. */
export function wireStatus(
  store: AppStore,
  isStillNow: () => boolean,
  latestNow: () => Frame | null,
) {
  /** Return the text of an image, or of a stream that runs. */
  function runningKey(isStill: boolean) {
    if (isStill && store.state.searching) return "status.searching";
    if (!isStill && store.state.paused) return "status.paused";
    return latestNow()?.hidden ? "status.hidden" : isStill ? "status.still" : "status.running";
  }

  function showPhase() {
    const latest = latestNow();
    const { phase, detail, started, recording } = store.state;
    const [status, recordButton] = [find("status"), find("record")];
    const key =
      phase === "loading" && detail.of
        ? "status.loading.of"
        : detail.retryIn !== undefined
          ? "status.waiting"
          : phase === "running"
            ? runningKey(started && isStillNow())
            : `status.${phase}`;
    const shown = Object.values(results).reduce(
      (sum, { list }) => sum + (latest ? listOf(latest, list).length : 0),
      0,
    );
    status.dataset.state = phase;
    put(
      status,
      text(key, {
        ...detail,
        model: textOr(`kind.${String(detail.model).split("-")[0]}`, String(detail.model)),
        number: (detail.done ?? 0) + 1,
        shown,
        total: shown + (latest?.hidden ?? 0),
      }),
    );
    status.style.setProperty("--share", String(detail.of ? (detail.done ?? 0) / detail.of : 0));
    const isOn = started && RUNNING.includes(phase);
    find("stats").hidden = !isOn || isStillNow();
    find("start").disabled = find("start").hidden = isOn;
    find("stop").disabled = find("stop").hidden = !isOn;
    find("snapshot").disabled = phase !== "running";
    recordButton.disabled = phase !== "running" && !recording;
    recordButton.ariaPressed = String(recording);
    recordButton.querySelector("span")!.textContent = text(recording ? "record.stop" : "record");
    for (const id of ["stage", "rival-stage"]) find(id).classList.toggle("running", isOn);
  }

  onLanguage(showPhase);
  store.watch(
    ["phase", "detail", "started", "paused", "recording", "searching", "hidden"],
    showPhase,
  );
}
