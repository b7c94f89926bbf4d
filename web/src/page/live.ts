/** The live view: its source, detectors and views, and what it records. */

import { avatarView } from "./avatar.js";
import { find, make, onLanguage, PageError, save, showError, text, textOr } from "./common.js";
import { Capture, Detectors, type ShownImage } from "./detectors.js";
import { hasNoServer } from "./endpoints.js";
import { createMapEditor } from "./gestures/map.js";
import { createTrainer, type Obstacle } from "./gestures/teach.js";
import { classes, kinds, type Frame, type FrameEvent } from "./kinds.js";
import { plotView } from "./live-plot.js";
import { offerView } from "./offer.js";
import { hidingOf, overlayView, whomToHide } from "./overlay.js";
import { gesturesView, inspector, latencyMeter, liveTable, paced } from "./panels.js";
import { task } from "./places.js";
import { wireClasses } from "./saliency.js";
import { configuredDetectors, isMirrored, kindsOn, WHOLE, type Configured } from "./settings.js";
import { sourceChooser, wireTransport } from "./source-chooser.js";
import { listRecording, nameNow, recorderOf, Table } from "./tables.js";
import { view3D } from "./view3d.js";
import type { AppStore, Phase } from "./state.js";
import { wireStatus } from "./status.js";
const CONFIGURE_AFTER_MS = 120; // delay, so that dragging a slider sends one message

/** Connect the live view to the page. */
export function createLive(store: AppStore) {
  const overlay = overlayView(find("image"), find("overlay"), find("stage"));
  const plot = plotView();
  const avatar = avatarView(store);
  const trainer = createTrainer(
    find("panel-trainer"),
    ({ file, names }, isTried) => {
      detectors.ask({ gestures_file: isTried ? file : null });
      mapEditor.setCustom(names);
    },
    whyNotRecorded,
  );
  const mapEditor = createMapEditor(find("panel-map"), (map) => {
    if (map !== null) trainer.tryFor(map);
    detectors.ask({ control: map });
  });
  const space = view3D(find("view3d"));
  const views = [
    overlay,
    space,
    avatar,
    liveTable(find("live-table")),
    plot,
    inspector(find("json")),
    offerView(store),
    gesturesView(),
    trainer,
    mapEditor,
  ];
  const meter = latencyMeter();
  const table = new Table();
  const recorder = recorderOf(overlay);
  let latest: Frame | null = null;
  let attempt = 0; // number of the last attempt to start; it replaces earlier ones
  const tablePace = paced(showTable);
  let asked: string | null = null; // whom the detectors find to hide
  let hiddenSince = 0; // performance.now(); 0 if no image was missed

  const rivalOverlay = overlayView(find("rival-image"), find("rival-overlay"), find("rival-stage"));
  const overlays = [overlay, rivalOverlay];
  let latestRival: Frame | null = null;
  const rivalView = {
    draw: (frame: Frame, shown: ShownImage) => {
      latestRival = frame;
      rivalOverlay.draw(frame, shown);
      showPane("rival-pane-name", rivals(), frame);
    },
    clear: () => {
      latestRival = null;
      rivalOverlay.clear();
    },
  };
  const capture = new Capture();
  const detectors = new Detectors(
    [...views, { draw: keep, clear: () => (latest = null) }],
    rivalView,
    capture,
    {
      phase: (phase, detail = {}) => {
        if (detail.retryIn !== undefined) showError(new PageError("server_gone", detail));
        else if (phase === "running" && store.state.phase !== "running") showError(null);
        if (phase !== "running") meter.clear();
        store.set({ phase, detail });
      },
      searching: (image) => {
        if (image) {
          overlay.clear();
          overlay.show(image);
        }
        store.set({ searching: true });
      },
      frame: ({ hidden = 0 }, latency, dropped) => {
        store.set({ searching: false, hidden });
        meter.add(latency, dropped);
      },
    },
  );
  const chooser = sourceChooser(store, overlay, {
    changed: onSource,
    model: (file) => avatar.open(file),
  });
  const usePlayer = wireTransport((paused) => store.set({ paused }));
  const clearClasses = wireClasses(() => chooser.files());

  /** Store an answer for tables and recordings. */
  function keep(frame: Frame, shown: ShownImage) {
    latest = frame;
    if (latestRival) showPane("pane-name", configuration(), frame);
    const repetitions = plot.events();
    const counted = repetitions.length
      ? { ...frame, events: [...(frame.events ?? []), ...repetitions] }
      : frame;
    table.add(counted, shown);
    recorder.add(counted, shown);
    tablePace.ask();
  }

  const configuration = () => configuredDetectors(store.state, chooser.isStill());

  /** Return the detectors with the compared model; null without a comparison. */
  function rivals() {
    const [kind, model] = store.state.compare.split(":");
    const own = configuration();
    const isOther = (detector: Configured) => detector.kind === kind && detector.model !== model;
    return model && own.some(isOther)
      ? own.map((detector) => (detector.kind === kind ? { ...detector, model } : detector))
      : null;
  }

  /** Show the models of one half of the stage and their time. */
  function showPane(id: string, wanted: Configured[] | null, frame: Frame) {
    const names = (wanted ?? []).map(
      ({ kind, model }) =>
        `${textOr(`kind.${kind}`, kind)}: ${textOr(`model.${model}`, String(model))}`,
    );
    find(id).textContent = `${names.join(" · ")} – ${Math.round(frame.timing?.detect_ms ?? 0)} ms`;
  }

  async function start() {
    const number = ++attempt;
    showError(null);
    store.set({ phase: "connecting", detail: {}, started: true, searching: true });
    try {
      const source = await chooser.open();
      // the user stopped or selected another source while the camera opened
      if (number !== attempt) return source.close();
      plot.begin();
      await chooser.showImage();
      table.begin({ source: source.name, detectors: configuration() });
      tablePace.now();
      usePlayer(source.player);
      detectors.start(source, configuration(), rivals(), store.state.here);
    } catch (error) {
      if (number !== attempt) return;
      await stop("error");
      find("stage").classList.remove("chosen"); // nothing can be shown
      showError(error);
    }
  }

  /** End the run. Gestures that are still shown end with it. */
  async function end(phase: Phase) {
    const number = ++attempt;
    store.set({ started: false });
    usePlayer(null);
    const ending = detectors.stop();
    for (const view of overlays) view.clearImage();
    clearClasses();
    meter.clear();
    store.set({ phase, detail: {} });
    const ended = ending.then(({ events }) => {
      if (number === attempt) table.end(events);
      return events;
    });
    if (recorder.isOn()) await stopRecording(await ended);
  }

  async function stop(phase: Phase = "stopped") {
    await end(phase);
    await chooser.preview();
  }

  /** Show the tab of the selected view. */
  async function onSource() {
    await end("stopped");
    await start();
  }

  async function record() {
    if (recorder.isOn()) return stopRecording();
    recorder.start({ source: chooser.name(), detectors: configuration() });
    return store.set({ recording: true });
  }

  /** @param events that end with the stream */
  async function stopRecording(events: FrameEvent[] = []) {
    const recorded = await recorder.stop(events);
    store.set({ recording: false });
    if (recorded) listRecording(find("recordings"), recorded, nameNow(""));
  }

  /** Return why no gesture can be recorded. */
  function whyNotRecorded(): Obstacle | null {
    const { started, phase, paused, detectors: chosen } = store.state;
    if (!started) return "start";
    if (chooser.isStill()) return "still";
    if (phase !== "running") return "wait";
    if (paused) return "paused";
    return kindsOn(chosen).some((kind) => kind === WHOLE || kinds[kind]!.list === "hands")
      ? null
      : "hands";
  }

  /** Draw as the settings say. The page of gestures always shows their names. */
  function applyStyle() {
    const { style } = store.state;
    const gestures = style.gestures || task.peek() === "gestures";
    for (const view of overlays) view.setStyle({ ...style, gestures });
  }

  function snapshot() {
    const canvas = make("canvas");
    overlay.compose(canvas);
    canvas.toBlob((blob: Blob | null) => save(blob, nameNow(".png")));
  }

  function showTable() {
    find("table-state").textContent = table.count
      ? text("table.frames", { count: table.count })
      : text("table.empty");
    for (const id of ["download-rows", "download-csv", "download-json"])
      find(id).disabled = !table.count;
  }

  Object.defineProperty(globalThis, "sonjitPage", {
    value: Object.freeze({
      get state() {
        return { ...store.state, frames: table.count, latest, latestRival };
      },
    }),
  });

  store.watch(["longest"], ({ longest }) => (capture.longest = longest));
  store.watch(["style"], ({ style }) => {
    applyStyle();
    find("thumbnails").classList.toggle("anonymous", hidingOf(style) !== "none");
    const anonymise = whomToHide(style);
    if (anonymise !== asked) detectors.ask({ anonymise });
    asked = anonymise;
  });
  store.watch(["mirrors", "source"], (state) => {
    for (const view of [...overlays, space]) view.mirror(isMirrored(state));
  });
  store.watch(
    ["source"],
    async ({ source }) =>
      (find("classes").hidden =
        (hasNoServer && !classes.length) || !source?.still || (await chooser.files()).length > 1),
  );
  store.watch(["detectors", "source"], ({ detectors: wanted, source }) => {
    // the sample of the live view shows only hands
    const lacksSome = Object.entries(wanted).some(
      ([kind, { on }]) => on && kinds[kind]!.list !== "hands",
    );
    const isHands = source?.kind === "sample" && source.name === "sample.mp4";
    find("sample-note").hidden = !isHands || !lacksSome;
  });
  find("start").onclick = start;
  find("fullscreen").onclick = () =>
    document.fullscreenElement ? document.exitFullscreen() : find("viewer").requestFullscreen();
  // Stop appears in the place of Start, and gets the second click of a double click.
  find("stop").onclick = ({ detail }) => detail < 2 && stop();
  find("snapshot").onclick = snapshot;
  find("record").onclick = () => record().catch(showError);
  find("download-csv").onclick = async () =>
    save(await table.csv(find("download-rows").value), nameNow(".csv"));
  find("download-json").onclick = async () => save(await table.json(), nameNow(".json"));
  onLanguage(showTable);
  wireStatus(store, chooser.isStill, () => latest);
  store.watch(["phase", "started", "paused", "detectors", "source"], () => trainer.check());
  let timer: ReturnType<typeof setTimeout> | undefined;
  const requestedDetectors = () => JSON.stringify([configuration(), rivals()]);
  let requested = requestedDetectors();
  store.watch(["here"], ({ started }) => {
    requested = requestedDetectors(); // a new run starts with it
    if (started) void onSource();
  });
  store.watch(["detectors", "options", "source", "compare", "here"], () => {
    find("panes").classList.toggle("comparing", rivals() !== null);
    find("pane-name").textContent = find("rival-pane-name").textContent = "";
    const wanted = requestedDetectors();
    if (wanted === requested) return;
    requested = wanted;
    clearTimeout(timer);
    timer = setTimeout(() => detectors.configure(configuration(), rivals()), CONFIGURE_AFTER_MS);
  });
  globalThis.addEventListener("pagehide", () => void detectors.stop());
  document.addEventListener("visibilitychange", () => {
    // show how long a stream had no images because its tab was hidden
    if (!document.hidden && hiddenSince)
      showError(
        new PageError("hidden", { seconds: Math.ceil((performance.now() - hiddenSince) / 1000) }),
      );
    const { phase, paused } = store.state;
    hiddenSince =
      document.hidden && phase === "running" && !paused && !chooser.isStill()
        ? performance.now()
        : 0;
  });

  return { avatar, chooser, mapEditor, stop, applyStyle };
}
