/**
 * The main module of the page. Controls write to the store; the store updates the detectors and the
 * views.
 */

import { isResultWanted } from "./model.js";
import { find, memory, PageError, showError, startLanguage, Store, text } from "./common.js";
import { hasNoServer } from "./endpoints.js";
import { keepJobs, loadJobs } from "./jobs.js";
import { annotates, loadKinds } from "./kinds.js";
import { mountMeasure } from "./measure/page.js";
import type { Given } from "./measure/start.js";
import { wirePhone, wireTabs } from "./panels.js";
import { go, task, TASKS, type Task } from "./places.js";
import { wireSaliencyLegend } from "./saliency.js";
import { mountOptions, switchKind } from "./options-panel.js";
import {
  configuredDetectors,
  kindsOn,
  linkOf,
  rememberedSettings,
  settingsFrom,
  settingsOf,
  STORED,
  WHOLE,
  withOnly,
  type DetectorSettings,
} from "./settings.js";
import type { State } from "./state.js";
import { mountTasks } from "./tasks.js";
import { withToken } from "./token.js";
import { createLive } from "./live.js";
const NOTICE_MS = 4000;

await Promise.all([
  withToken(loadKinds).catch(showError),
  startLanguage(new URL("i18n/", import.meta.url)),
]);
find("annotate").hidden = !annotates;
const store = new Store<State>({
  ...rememberedSettings(),
  phase: "idle",
  detail: {},
  source: null,
  started: false,
  paused: false,
  recording: false,
  searching: false,
  hidden: 0,
});
const { avatar, chooser, mapEditor, stop, applyStyle } = createLive(store);
const NOTHING_GIVEN: Given = { files: [], kinds: [] };
let toMeasure = NOTHING_GIVEN; // of the live view, for the page for files
const FIRST: Task = "watch";
let livePage: Task = FIRST; // shown last
const ofPages: Map<Task, DetectorSettings> = new Map(); // detectors of the other live pages

/** Use the detectors of a live page. Each one has its own, which begin as those of the first. */
function useDetectorsOf(page: Task) {
  if (page === "measure" || page === livePage) return;
  ofPages.set(livePage, store.state.detectors);
  livePage = page;
  store.set({ detectors: ofPages.get(page) ?? ofPages.get(FIRST)! });
  ofPages.delete(page);
}

/** Write the settings as a link to the address and, if available, to the clipboard. */
async function share() {
  const link = linkOf(store.state, settingsFrom());
  history.replaceState(null, "", new URL(link).hash);
  const copied = await navigator.clipboard?.writeText(link).then(
    () => true,
    () => false,
  );
  find("share-words").textContent = text(copied ? "share.copied" : "share.address");
  setTimeout(() => (find("share-words").textContent = ""), NOTICE_MS);
}

find<HTMLElement & { href: string }>("manifest").href = "manifest.webmanifest"; // the browser has its cookie now
mountOptions(store, find("detectors"), find("options"));
store.watch([...STORED], (state) => {
  const stored = Object.fromEntries(STORED.map((name) => [name, state[name]]));
  memory.write("settings", { ...stored, detectors: ofPages.get(FIRST) ?? state.detectors });
});
for (const id of ["data-tabs", "space-tabs", "gesture-tabs"]) wireTabs(find(id));
wirePhone();
wireSaliencyLegend(store);
find("share").onclick = share;
find("measure-all").onclick = async () => {
  toMeasure = { files: await chooser.files(), kinds: kindsOn(store.state.detectors) };
  go({ task: "measure" });
};
mountTasks(find("tasks"), hasNoServer ? TASKS.filter((name) => name === "watch") : TASKS);
mountMeasure(
  find("measure"),
  {
    detectorsOf: (chosen, still) => {
      const { state } = store;
      const settings = { ...state, detectors: withOnly(state.detectors, chosen), here: false };
      // avatars need the face of a person
      return configuredDetectors(settings, still).map((one) =>
        one.kind === WHOLE ? { ...one, blendshapes: true, transform: true } : one,
      );
    },
    store,
  },
  () => {
    const given = toMeasure;
    toMeasure = NOTHING_GIVEN;
    return given;
  },
);
task.subscribe((name) => {
  useDetectorsOf(name);
  applyStyle();
  if (name === "gestures") {
    find("tab-gestures").click();
    switchKind(store, "hands", true);
  }
  if (name === "avatar") {
    avatar.follow();
    chooser.usePerson();
  }
  if (name === "measure" && store.state.started) void stop();
  if (name !== "measure") isResultWanted.value = false;
});
const filled = hasNoServer ? [] : [loadJobs().catch(showError), mapEditor.load().catch(showError)];
await Promise.all([...filled, chooser.wire()]);
if (!hasNoServer) keepJobs(() => task.peek() === "measure");
if (!isSecureContext) showError(new PageError("insecure"));
// browsers refuse it if they do not trust the certificate
navigator.serviceWorker?.register("sw.js").catch(() => {});
if (hasNoServer && !crossOriginIsolated) {
  // the service worker isolates the page when it loads again, so that networks get threads
  navigator.serviceWorker?.addEventListener(
    "controllerchange",
    () => store.state.started || location.reload(),
    { once: true },
  );
}
document.documentElement.dataset.ready = "true";
if (settingsOf(location.hash).source === "sample") find("source-sample").click();
