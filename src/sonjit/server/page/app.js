// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  BY_INSTANCE,
  FACE_OF_BODY,
  STYLE_SCHEMAS,
  TARGETS,
  USUAL_STYLE,
  accepts,
  checkedStyle,
  gestureOf,
  headOf,
  mean,
  nameOf,
  paint,
  targetName,
  wireClasses,
  wireSaliencyLegend
} from "./shared-painter.js";
import {
  view3D
} from "./shared-view3d.js";
import {
  $,
  A,
  ENGINE,
  O,
  PageError,
  Q,
  ServerError,
  Store,
  T,
  a,
  addressOf,
  annotates,
  around,
  below,
  call,
  classes,
  clearedContext,
  columns,
  downloads,
  find,
  fit,
  frameMessage,
  hasNoServer,
  instancesOf,
  kinds,
  kindsInPage,
  kindsWhere,
  listOf,
  loadKinds,
  make,
  makeRow,
  memory,
  onLanguage,
  onNextFrame,
  put,
  r,
  repetitions_default,
  responseOf,
  results,
  save,
  setLabel,
  showError,
  startLanguage,
  text,
  textOr,
  thisServer,
  useComputed,
  useSignal,
  useSignalEffect,
  w,
  withToken,
  x,
  y
} from "./shared-strokes.js";

// src/page/model.ts
var ENDINGS = /\.(glb|vrm)$/i;
var SAMPLE = new URL("./avatar/sample.vrm", import.meta.url).href;
var model = y(null);
var isResultWanted = y(false);
var isModel = ({ name }) => ENDINGS.test(name);
async function mountAvatar(place2) {
  if (!document.createElement("canvas").getContext("webgl2")) throw new PageError("no_webgl");
  const { mount } = await import("./avatar/scene.js");
  const avatar2 = await mount(place2, { sample: SAMPLE });
  if (model.peek()) await loadModel(avatar2, model.peek());
  return avatar2;
}
async function loadSample(avatar2) {
  await avatar2.loadSample();
  model.value = null;
}
async function loadModel(avatar2, file) {
  try {
    await avatar2.load(file);
  } catch (error) {
    if (model.peek() === file) model.value = null;
    const { message, extensions = [] } = error;
    throw extensions.length ? new PageError("model_extension", { name: file.name, extensions: extensions.join(", ") }) : new PageError("model_damaged", { name: file.name, reason: message });
  }
  model.value = file;
}

// src/page/places.ts
var TASKS = ["watch", "measure", "gestures", "avatar"];
var FIRST = { task: "watch", result: null, compared: null };
var settings = location.hash;
var place = y(placeOf(location.hash) ?? FIRST);
var task = O(() => place.value.task);
function placeOf(hash) {
  const parameters = new URLSearchParams(hash.slice(1));
  const wanted = parameters.get("page");
  if (wanted === null) return parameters.size && hash !== settings ? null : FIRST;
  return {
    task: TASKS.find((name) => name === wanted) ?? FIRST.task,
    result: parameters.get("result"),
    compared: parameters.get("with")
  };
}
function hashOf({ task: name, result, compared }) {
  if (name === FIRST.task) return "#";
  const parameters = new URLSearchParams({ page: name });
  if (result) parameters.set("result", result);
  if (compared) parameters.set("with", compared);
  return `#${parameters}`;
}
function go(changes) {
  const next = { ...FIRST, ...changes };
  if (hashOf(next) === hashOf(place.value)) return;
  history.pushState(null, "", hashOf(next));
  place.value = next;
}
globalThis.addEventListener("hashchange", () => {
  const next = placeOf(location.hash);
  if (next) place.value = next;
  else location.reload();
});

// src/page/settings.ts
var OF_A_ROW = ["model", "max_instances", "measures"];
var FIRST2 = "hands";
var LONGEST = [0, 1280, 640, 320];
var STORED = [
  "detectors",
  "options",
  "mirrors",
  "style",
  "compare",
  "longest",
  "here"
];
var MIRRORS = { camera: true, files: false };
var WHOLE = "holistic";
var PARTS = ["hands", "face", "body"];
var isWithin = (part, whole) => whole === WHOLE && PARTS.includes(part);
function switched(chosen, kind, on) {
  const others = chosen.filter(
    (one) => one !== kind && !(on && (isWithin(one, kind) || isWithin(kind, one)))
  );
  return on ? [...others, kind] : others;
}
var kindsOn = (detectors2) => Object.keys(detectors2).filter((kind) => detectors2[kind].on);
var withOnly = (detectors2, wanted) => Object.fromEntries(
  Object.entries(detectors2).map(([kind, one]) => [kind, { ...one, on: wanted.includes(kind) }])
);
var hasEffect = (name, here, still) => name !== "search" || still || !here;
function formOptions(here = hasNoServer, still = true) {
  const all = Object.assign(
    {},
    ...Object.values(kindsWhere(here)).map(({ options }) => options)
  );
  const shown2 = Object.entries(all).filter(
    ([name]) => !OF_A_ROW.includes(name) && hasEffect(name, here, still)
  );
  const isSwitch = ([, { type }]) => Number(type === "boolean");
  return Object.fromEntries(shown2.sort((a2, b) => isSwitch(a2) - isSwitch(b)));
}
var rememberedSettings = () => settingsFrom({ ...memory.read("settings"), ...settingsOf(location.hash) });
function settingsFrom({
  detectors: detectors2 = null,
  options = {},
  mirrors = {},
  style = {},
  compare = "",
  longest = 0,
  here = false
} = {}) {
  const known = Object.entries(kinds).map(([kind, { models }]) => {
    const usual = { on: detectors2 === null && kind === FIRST2, model: null, max: null };
    const { on = false, model: model2, max } = detectors2?.[kind] ?? usual;
    const setting = { on: on === true, model: modelOf({ models }, model2), max: within(kind, max) };
    return [kind, setting];
  });
  const schemas = formOptions();
  const valid = Object.entries(options).filter(
    ([name, value]) => accepts(schemas[name], value)
  );
  return {
    detectors: Object.fromEntries(known),
    options: Object.fromEntries(valid),
    mirrors: { ...MIRRORS, ...mirrors },
    style: checkedStyle(style),
    compare: String(compare),
    longest: LONGEST.find((side) => side === longest) ?? 0,
    here: hasNoServer || here === true && hasEngine()
  };
}
var hasEngine = () => Object.keys(kindsInPage).length > 0;
var isMirrored = ({ mirrors, source }) => mirrors[ofCamera(source)];
var ofCamera = (source) => (source?.kind ?? "camera") === "camera" ? "camera" : "files";
function configuredDetectors({ detectors: detectors2, options, here }, still) {
  const { smoothing, ...others } = options;
  const given = still ? { ...others, static_image: true } : options;
  const there = kindsWhere(here);
  return Object.entries(detectors2).filter(([kind, { on }]) => on && kind in there).map(([kind, { model: model2, max }]) => {
    const known = Object.entries(given).filter(
      ([name, value]) => accepts(there[kind].options[name], value) && hasEffect(name, here, still)
    );
    return {
      kind,
      model: modelOf(there[kind], model2),
      ...max === null ? {} : { max_instances: max },
      ...Object.fromEntries(known)
    };
  });
}
var modelOf = ({ models }, wanted) => models.find((name) => name === wanted) ?? models[0];
function within(kind, value) {
  const { minimum = 1, maximum = Infinity } = kinds[kind].options.max_instances;
  if (!Number.isInteger(value) || Number(value) < 1) return null;
  return Math.min(maximum, Math.max(minimum, Number(value)));
}
function linkOf({
  detectors: detectors2,
  options,
  style,
  mirrors,
  source,
  compare,
  longest,
  here
}, usual) {
  const address = new URL(location.href);
  const on = Object.entries(detectors2).filter(([, detector]) => detector.on);
  const detectorOf = ([kind, { model: model2, max }]) => [kind, model2, ...max === null ? [] : [max]].join(":");
  const parameters = new URLSearchParams({ detectors: on.map(detectorOf).join(",") });
  for (const [name, value] of Object.entries(options)) parameters.set(name, String(value));
  const differences = [
    ["style", style, usual.style],
    ["mirror", mirrors, usual.mirrors]
  ];
  for (const [part, now, before] of differences) {
    const known = new Map(Object.entries(before));
    for (const [name, value] of Object.entries(now))
      if (value !== known.get(name)) parameters.set(`${part}.${name}`, String(value));
  }
  if (compare) parameters.set("compare", compare);
  if (longest) parameters.set("longest", String(longest));
  if (here && !usual.here) parameters.set("here", "true");
  if (source?.kind === "sample") parameters.set("source", "sample");
  address.hash = parameters.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return address.href;
}
function settingsOf(hash) {
  const parameters = [...new URLSearchParams(hash.replace(/^#/, ""))];
  if (!parameters.length || parameters.some(([name]) => name === "page")) return {};
  const groups = { style: {}, mirror: {} };
  const [options, others] = [{}, {}];
  let detectors2;
  for (const [name, value] of parameters) {
    const [part = "", member] = name.split(".");
    if (name === "detectors") {
      const parts = value.split(",").filter(Boolean).map((detector) => detector.split(":"));
      detectors2 = Object.fromEntries(
        parts.map(([kind, model2, max]) => [kind, { on: true, model: model2, max: Number(max) }])
      );
    } else if (groups[part] && member) groups[part][member] = valueOf(value);
    else
      (["source", "compare", "longest", "here"].includes(name) ? others : options)[name] = valueOf(value);
  }
  return {
    options,
    style: groups["style"],
    mirrors: groups["mirror"],
    ...detectors2 ? { detectors: detectors2 } : {},
    ...others
  };
}
function valueOf(value) {
  if (value === "true" || value === "false") return value === "true";
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

// src/page/avatar.ts
var MOVERS = ["holistic", "face"];
function avatarView(store2) {
  let loading = null;
  let avatar2 = null;
  let latest2 = null;
  let shown2 = null;
  const [input, tab] = [find("avatar-file"), find("tab-avatar")];
  input.onchange = () => {
    open(input.files[0]).catch(showError);
    input.value = "";
  };
  tab.addEventListener("click", () => void opened().catch(showError));
  find("avatar-detect").onclick = detect;
  find("avatar-measure").hidden = hasNoServer;
  find("avatar-measure").onclick = () => {
    isResultWanted.value = true;
    go({ task: "measure" });
  };
  find("avatar-sample").onclick = () => showSample().catch(showError);
  model.subscribe((file) => {
    if (!avatar2 || file === shown2) return;
    (file ? show(file) : showSample()).catch(showError);
  });
  store2.watch(["mirrors", "source"], (state) => avatar2?.mirror(isMirrored(state)));
  store2.watch(["detectors", "here"], showStatus);
  onLanguage(showStatus);
  function opened() {
    loading ??= mounted().catch((error) => {
      loading = null;
      throw error;
    });
    return loading;
  }
  async function mounted() {
    avatar2 = await mountAvatar(find("avatar"));
    shown2 = model.peek();
    avatar2.mirror(isMirrored(store2.state));
    if (latest2) avatar2.show(latest2);
    showStatus();
    return avatar2;
  }
  async function show(file) {
    const target = await opened();
    shown2 = file;
    await loadModel(target, file);
    showStatus();
  }
  async function showSample() {
    const target = await opened();
    shown2 = null;
    await loadSample(target);
    showStatus();
  }
  async function open(file) {
    if (task.peek() === "measure") {
      model.value = file;
      return;
    }
    await show(file);
    follow();
  }
  function follow() {
    tab.click();
    detect();
  }
  function detect() {
    const { detectors: detectors2, here, options } = store2.state;
    const kind = moverOf(here);
    if (!kind) return;
    store2.set({
      detectors: withOnly(detectors2, [kind]),
      options: { ...options, blendshapes: true, transform: true }
    });
  }
  function showStatus() {
    const { detectors: detectors2, here } = store2.state;
    const kind = moverOf(here);
    find("avatar-detect").hidden = !kind || Boolean(detectors2[kind]?.on);
    if (!avatar2) return;
    const { name, ...counts } = avatar2.state();
    find("avatar-sample").hidden = !name;
    find("avatar-state").textContent = text(name ? "avatar.moves" : "avatar.hint", {
      name,
      ...counts
    });
  }
  return {
    open,
    follow,
    draw(frame) {
      latest2 = frame;
      avatar2?.show(frame);
    },
    clear() {
      latest2 = null;
      avatar2?.rest();
    }
  };
}
function moverOf(here) {
  const known = kindsWhere(here);
  return MOVERS.find((mover) => {
    const kind = known[mover];
    return kind && kind.models.some((name) => !kind.missing[name]);
  });
}

// src/page/connection.ts
var FIRST_RETRY_S = 0.5;
var LONGEST_RETRY_S = 8;
var REFUSED = 1008;
var TOO_LARGE = 1009;
var FULL = 1013;
var IDLE = 4408;
var closed = () => new ServerError("closed", "The connection is closed.");
var WithState = class extends EventTarget {
  state = "closed";
  become(state, more = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { ...more, state } }));
  }
};
var Connection = class extends WithState {
  #socket = null;
  #url;
  #token;
  #requested;
  /** last configuration that the server accepted */
  #accepted = null;
  /** in order of sending */
  #pending = [];
  /** in order of sending */
  #frames = /* @__PURE__ */ new Map();
  /** in order of the requests */
  #finishing = [];
  #opening = null;
  #next = 0;
  #failures = 0;
  #isClosed = false;
  #timer;
  constructor({
    url = thisServer,
    token,
    detectors: detectors2 = [],
    measures = false,
    control = null,
    gestures_file = null,
    anonymise = null
  } = {}) {
    super();
    this.#url = url;
    this.#token = token ?? null;
    this.#requested = {
      detectors: detectors2,
      measures,
      ...control === null ? {} : { control },
      ...gestures_file === null ? {} : { gestures_file },
      ...anonymise === null ? {} : { anonymise }
    };
  }
  /** Number of images without an answer. */
  get inFlight() {
    return this.#frames.size;
  }
  /**
   * Connect and stay connected until `close()`.
   *
   * @returns the "ready" message; the promise waits until a server is available
   * @throws {ServerError} if the server refuses, or after `close()`
   */
  open() {
    if (this.#isClosed) return Promise.reject(closed());
    if (!this.#opening) {
      this.#expect();
      this.#connect();
    }
    return this.#opening?.promise;
  }
  /**
   * Change detectors or measures. Omitted members do not change. Without a connection the change
   * applies to the next one.
   *
   * @returns the "ready" message
   * @throws {ServerError} if the server refuses; the stream then continues unchanged
   */
  configure(configuration2) {
    this.#requested = { ...this.#requested, ...configuration2 };
    return this.#isOpen() ? this.#ask(this.#requested) : this.open();
  }
  /** Forget all tracked instances. */
  reset() {
    if (this.#isOpen()) this.#socket?.send(JSON.stringify({ type: "reset" }));
  }
  /**
   * Return the motions and events that end with the stream, after all images sent so far.
   *
   * @throws {ServerError} if the server is not available
   */
  finish() {
    if (!this.#isOpen()) return Promise.resolve({ motions: [], events: [] });
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#finishing.push({ resolve, reject });
    this.#socket?.send(JSON.stringify({ type: "finish" }));
    return promise;
  }
  /** Close the connection and reject all pending promises. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1e3);
    this.#end(closed());
  }
  /**
   * Send an image.
   *
   * @param image encoded, with its `time` in seconds
   * @returns the server's "frame" message
   * @throws {ServerError} "dropped" if the server processed a newer image instead, "gone" if it is
   *   not available
   */
  async send({ blob, time }) {
    if (this.state === "idle") await this.open();
    const socket = this.#socket;
    if (!this.#isOpen() || !socket) {
      throw new ServerError(
        this.state === "closed" ? "closed" : "gone",
        "No connection is open: wait for the state ready."
      );
    }
    const frame = this.#next;
    this.#next = (frame + 1) % 2 ** 32;
    socket.send(frameMessage(frame, time, blob));
    return new Promise((resolve, reject) => this.#frames.set(frame, { resolve, reject }));
  }
  #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }
  /** Let `open()` wait for the next "ready". */
  #expect() {
    const last = this.#opening;
    this.#opening = Promise.withResolvers();
    this.#opening.promise.then(last?.resolve, last?.reject ?? (() => {
    }));
  }
  #connect() {
    this.become("connecting");
    const address = below(this.#url.replace(/^http/, "ws"), "v1/stream");
    const encoded = this.#token && btoa(this.#token).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
    const socket = new WebSocket(address, encoded ? ["sonjit", `sonjit.token.${encoded}`] : []);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#ask(this.#requested).then(
        (ready) => this.#opening?.resolve(ready),
        (error) => error.code === "gone" || this.#opening?.reject(error)
      );
    };
    socket.onmessage = ({ data }) => this.#socket === socket && this.#receive(JSON.parse(data));
    socket.onclose = (event) => this.#socket === socket && this.#lost(event, opened);
  }
  #ask(configuration2) {
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#pending.push({ configuration: configuration2, resolve, reject });
    this.#socket?.send(JSON.stringify({ type: "configure", ...configuration2 }));
    return promise;
  }
  #receive(message) {
    if (message.type === "frame") this.#take(message.frame)?.resolve(message);
    else if (message.type === "finished") this.#finishing.shift()?.resolve(message);
    else if (message.type === "loading") this.become("loading", message);
    else if (message.type === "ready") this.#ready(message);
    else if (message.type === "error") this.#failed(message);
  }
  /**
   * Remove a pending frame and return it. Frames before it were dropped, because answers arrive in
   * order.
   */
  #take(number) {
    for (const [frame, waiting] of this.#frames) {
      this.#frames.delete(frame);
      if (frame === number) return waiting;
      waiting.reject(new ServerError("dropped", "The server processed a newer image instead."));
    }
    return void 0;
  }
  #ready(message) {
    const pending = this.#pending.shift();
    this.#failures = 0;
    if (pending) this.#accepted = pending.configuration;
    if (!this.#pending.length) this.become("ready", message);
    pending?.resolve(message);
  }
  #failed({ code, message, frame }) {
    const error = new ServerError(code, message);
    if (frame === void 0 || frame === null) {
      this.#pending.shift()?.reject(error);
      this.#requested = this.#pending.at(-1)?.configuration ?? this.#accepted ?? this.#requested;
      if (this.#accepted && this.state === "loading" && !this.#pending.length) this.become("ready");
    } else {
      this.#take(frame)?.reject(error);
    }
    this.dispatchEvent(new CustomEvent("error", { detail: { code, message, frame } }));
  }
  #lost({ code, reason }, opened) {
    this.#socket = null;
    if (code === IDLE) {
      this.#forget(new ServerError("gone", reason));
      this.#opening = null;
      return this.become("idle", { reason });
    }
    if (opened) this.#expect();
    const why = reason || "The server is not available. Retrying.";
    this.#forget(
      code === TOO_LARGE ? new ServerError("too_large", reason || "The image is too large.") : new ServerError("gone", why)
    );
    if (code === REFUSED)
      return this.#end(new ServerError("closed", reason || "The server refused the connection."));
    const seconds = Math.min(FIRST_RETRY_S * 2 ** this.#failures++, LONGEST_RETRY_S);
    this.#timer = setTimeout(() => this.#connect(), seconds * 1e3);
    this.become("waiting", {
      retryIn: seconds,
      reason: code === FULL && !reason ? "The server is full." : why
    });
    if (opened) return;
    call(below(this.#url, "healthz"), this.#token).catch((error) => {
      if (error.code === "gone" || this.state !== "waiting") return;
      clearTimeout(this.#timer);
      this.#end(error);
    });
  }
  /** Close the connection for good. */
  #end(error) {
    this.#forget(error);
    this.#opening?.reject(error);
    this.#opening = null;
    if (this.state !== "closed") this.become("closed", { code: error.code, reason: error.message });
  }
  /** Reject all pending promises. */
  #forget(error) {
    const waiting = [
      ...this.#pending.splice(0),
      ...this.#frames.values(),
      ...this.#finishing.splice(0)
    ];
    this.#frames.clear();
    for (const { reject } of waiting) reject(error);
  }
};

// src/page/frames.ts
function scaledSize(width, height, { width: wide = 0, height: high = 0, longest = 0 }) {
  const size = wide || high ? [wide || width * high / height, high || height * wide / width] : [width, height];
  const scale = longest ? Math.min(1, longest / Math.max(...size)) : 1;
  const [one, other] = size.map((side) => Math.max(1, Math.round(side * scale)));
  return [one, other];
}

// src/masks.ts
var DARK = [18, 20, 28];
var OPACITY = 0.9;
var bytesOf = (text2) => Uint8Array.from(atob(text2), (letter) => letter.charCodeAt(0));
async function greyOf({ png }, width, height) {
  const bitmap = await createImageBitmap(new Blob([bytesOf(png)], { type: "image/png" }), {
    colorSpaceConversion: "none"
  });
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true
  });
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
async function maskOverlay(masks) {
  if (!masks.length) return null;
  const { width, height } = masks[0];
  const greys = await Promise.all(masks.map((mask) => greyOf(mask, width, height)));
  const overlay2 = new ImageData(width, height);
  const alpha = OPACITY / 255;
  for (let at = 0; at < overlay2.data.length; at += 4) {
    let most = 0;
    for (const { data } of greys) most = Math.max(most, data[at]);
    overlay2.data.set(DARK, at);
    overlay2.data[at + 3] = (255 - most) * alpha * 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(overlay2, 0, 0);
  return canvas;
}

// src/page/detectors.ts
var MAX_IN_FLIGHT = 2;
var FINISH_MS = 5e3;
var NOTHING_ENDED = { motions: [], events: [] };
var Detectors = class {
  #views;
  #rivalView;
  #capture;
  #listener;
  #connection = null;
  /** connection of the compared model, which gets the same images */
  #rival = null;
  #source = null;
  /** further requests; only servers support a map */
  #extras = { control: null, gestures_file: null, anonymise: null };
  #runsInPage = false;
  // whether the networks run in this page
  #ready = false;
  #flipped = false;
  #taking = false;
  #skipped = 0;
  #shown = -1;
  // number of the displayed frame
  #size = "";
  // of the video's last image
  #hasFailed = false;
  // whether the last image failed
  #late = [];
  // events of the run in answers after its end
  /** still image whose results are or will be displayed */
  #still = null;
  /**
   * @param views views that show each frame
   * @param rivalView view of the compared detectors
   * @param listener `searching`: a still image is being processed; null: it is processed again
   */
  constructor(views2, rivalView2, capture2, listener) {
    this.#views = views2;
    this.#rivalView = rivalView2;
    this.#capture = capture2;
    this.#listener = listener;
  }
  /** @param here in this page, not on the server */
  start(source, detectors2, rivals2, here) {
    void this.stop();
    [this.#skipped, this.#shown, this.#hasFailed, this.#size] = [0, -1, false, ""];
    this.#late = [];
    this.#source = source;
    this.#runsInPage = here;
    this.#capture.encodes = !here;
    const connection = this.#connect(detectors2, true);
    this.#connection = connection;
    connection.addEventListener("state", (event) => {
      if (this.#connection === connection) this.#become(event.detail);
    });
    source.play(
      (tick) => this.#take(tick),
      (error) => this.#source === source && this.#unshown(error)
    );
    connection.open().catch((error) => this.#connection === connection && this.#failed(error));
    this.#compare(rivals2);
  }
  #connect(detectors2, measures) {
    const also = measures ? this.#extras : {};
    return this.#runsInPage ? new LocalConnection({ detectors: detectors2, ...also }) : new Connection({ detectors: detectors2, measures, ...also });
  }
  /**
   * Request the commands of a map for `sonjit control` without sending them, the gestures of a
   * file, in base64, in addition to the shipped ones, or the boxes of people to hide; null for
   * none.
   */
  ask(wanted) {
    this.#extras = { ...this.#extras, ...wanted };
    if (this.#runsInPage && "control" in wanted) return;
    this.#connection?.configure(wanted).catch(showError);
  }
  /** Change the detectors from the next image on. */
  configure(detectors2, rivals2) {
    const connection = this.#connection;
    if (!connection) return;
    this.#ready = false;
    this.#compare(rivals2);
    connection.configure({ detectors: detectors2 }).catch((error) => this.#connection === connection && this.#failed(error));
  }
  /** Process the same images with other detectors for comparison; null to stop. */
  #compare(detectors2) {
    this.#rivalView.clear();
    if (!detectors2) {
      this.#rival?.close();
      this.#rival = null;
      return;
    }
    const rival = this.#rival ??= this.#connect(detectors2, false);
    rival.configure({ detectors: detectors2 }).then(
      () => this.#rival === rival && this.#source?.refresh(),
      (error) => this.#rival === rival && showError(error)
    );
  }
  /**
   * End the run and clear all views.
   *
   * @returns what ends with the stream; nothing if the answer takes too long
   */
  async stop() {
    const [connection, source, late] = [this.#connection, this.#source, this.#late];
    [this.#connection, this.#source, this.#ready, this.#taking] = [null, null, false, false];
    this.#compare(null);
    source?.close();
    this.#clear();
    if (!connection) return NOTHING_ENDED;
    const tooLate = new Promise(
      (resolve) => setTimeout(() => resolve(NOTHING_ENDED), FINISH_MS)
    );
    const { motions, events } = await Promise.race([
      connection.finish().catch(() => NOTHING_ENDED),
      tooLate
    ]);
    connection.close();
    return { motions, events: [...late, ...events] };
  }
  #become({ state, ...detail }) {
    this.#ready = state === "ready" || state === "idle";
    if (state === "ready") {
      this.#flipped = detail.detectors?.some(({ flip_horizontal }) => flip_horizontal) ?? this.#flipped;
      this.#listener.phase("running");
      this.#source?.refresh();
    } else if (state === "waiting") {
      this.#clear();
      this.#listener.phase("connecting", detail);
    } else if (state === "closed") {
      this.#failed(new ServerError(detail.code ?? "closed", detail.reason ?? ""));
    } else if (state === "connecting" || state === "loading") {
      this.#listener.phase(state, detail);
    }
  }
  #failed(error) {
    this.#ready = false;
    this.#clear();
    this.#listener.phase("error");
    showError(error);
  }
  /**
   * Report an image that cannot be shown or processed, or a lost source. The run continues with the
   * next image.
   */
  #unshown(error) {
    const isReady = this.#ready;
    this.#failed(error);
    [this.#ready, this.#hasFailed] = [isReady, true];
  }
  /**
   * Process one image and draw the answer.
   *
   * @returns whether it succeeded
   */
  async #take(tick) {
    const [connection, late] = [this.#connection, this.#late];
    if (!connection || !this.#ready) return false;
    if (this.#taking || connection.inFlight >= MAX_IN_FLIGHT) {
      this.#skipped += 1;
      return false;
    }
    this.#taking = true;
    if (this.#hasFailed) this.#listener.phase("running");
    this.#hasFailed = false;
    const { bitmap, file, video } = tick;
    const size = video ? `${video.videoWidth} × ${video.videoHeight}` : "";
    const isResized = this.#size !== "" && this.#size !== size;
    this.#size = size;
    if (isResized) showError(new PageError("resized", { size }));
    if (isResized || tick.jumped) for (const open of [connection, this.#rival]) open?.reset();
    const flipped = this.#flipped;
    try {
      const shot = await (bitmap && file ? this.#capture.still(bitmap, file) : this.#capture.take(video));
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const { blob, image } = shot;
      if (file) {
        this.#listener.searching(file === this.#still ? null : image);
        this.#still = file;
      }
      const [rival, time] = [this.#rival, tick.time];
      const also = (
        // missed images are not shown
        rival?.state === "ready" ? rival.send({ blob, image, time }).catch(() => null) : null
      );
      const frame = await connection.send({ blob, image, time });
      if (this.#connection !== connection) {
        late.push(...frame.events ?? []);
        return false;
      }
      const other = await also;
      const mask = await maskOverlay(
        instancesOf(frame).flatMap(({ instance }) => instance.segmentation ?? [])
      );
      if (this.#connection !== connection) return false;
      if (frame.frame < this.#shown) return true;
      this.#shown = frame.frame;
      const shown2 = { image, flipped, mask, source: tick.source, index: tick.index };
      if (other && this.#rival === rival)
        this.#rivalView.draw({ ...other, covered: frame.covered }, { ...shown2, mask: null });
      for (const view of this.#views) view.draw(frame, shown2);
      this.#listener.frame(
        frame,
        performance.now() - tick.since,
        (frame.dropped ?? 0) + this.#skipped
      );
      return true;
    } catch (error) {
      if (this.#connection !== connection) return false;
      this.#taking = false;
      const code = error.code ?? "";
      if (["dropped", "gone", "closed"].includes(code)) return false;
      this.#unshown(
        file && code === "bad_image" ? new PageError("damaged", { name: file.name }) : error
      );
      return true;
    }
  }
  #clear() {
    this.#still = null;
    for (const view of [...this.#views, this.#rivalView]) view.clear();
  }
};
var PATIENCE_MS = 8e3;
var FILE = "data:application/octet-stream;base64,";
var LocalConnection = class extends WithState {
  #requested;
  #gestures;
  #anonymise;
  /** finds people to hide; null if nobody is hidden */
  #hiding = null;
  #running = [];
  /** resolves when loading ends */
  #loading = Promise.resolve();
  #turn = 0;
  // number of the last configuration; it replaces earlier ones
  #isEnding = false;
  // whether nothing that still loads is needed
  #next = 0;
  inFlight = 0;
  constructor({ detectors: detectors2 = [], gestures_file = null, anonymise = null } = {}) {
    super();
    [this.#requested, this.#gestures, this.#anonymise] = [detectors2, gestures_file, anonymise];
  }
  /** Load the networks. */
  open = () => this.configure({});
  /**
   * Change detectors. Detectors with the same kind, model and gestures keep their tracked
   * instances.
   */
  configure({
    detectors: detectors2 = this.#requested,
    gestures_file = this.#gestures,
    anonymise = this.#anonymise
  }) {
    const turn = ++this.#turn;
    [this.#requested, this.#gestures, this.#anonymise] = [detectors2, gestures_file, anonymise];
    this.become("loading");
    const result = this.#loading.then(() => this.#make(turn, detectors2, gestures_file));
    this.#loading = result.catch(() => {
    });
    return result;
  }
  /** @param turn number of the configuration */
  async #make(turn, detectors2, gestures_file) {
    if (turn !== this.#turn) return {};
    await keeper();
    const { LocalDetector, measuresOfInstance } = await import(ENGINE);
    measure = measuresOfInstance;
    if (this.#anonymise === null) {
      this.#hiding?.close();
      this.#hiding = null;
    } else if (this.#hiding === null) {
      const hiding = await LocalDetector.create("holistic", { search: "fast" });
      if (this.#isEnding) {
        hiding.close();
        return {};
      }
      this.#hiding = hiding;
    }
    const before = this.#running;
    const outcomes = await Promise.allSettled(
      detectors2.map(async ({ kind, static_image: isStill = false, ...options }) => {
        const gesturesUrl = gestures_file !== null && "gestures" in (kindsWhere(true)[kind]?.options ?? {}) ? `${FILE}${gestures_file}` : void 0;
        const reused = before.find(
          (running2) => running2.kind === kind && running2.model === options.model && running2.gesturesUrl === gesturesUrl
        )?.detector;
        reused?.configure(options);
        const detector = reused ?? await LocalDetector.create(
          kind,
          options,
          gesturesUrl === void 0 ? {} : { gesturesUrl }
        );
        return { kind, model: options.model, gesturesUrl, isStill: Boolean(isStill), detector };
      })
    );
    const running = outcomes.flatMap(
      (outcome) => outcome.status === "fulfilled" ? outcome.value : []
    );
    const [failed] = outcomes.filter((outcome) => outcome.status === "rejected");
    this.#running = this.state === "closed" ? [] : running;
    for (const { detector } of [...before, ...running])
      if (!this.#running.some((other) => other.detector === detector)) detector.close();
    if (turn !== this.#turn) return {};
    if (failed) throw failed.reason;
    this.become("ready", { detectors: detectors2 });
    return { detectors: detectors2 };
  }
  /** Forget all tracked instances. */
  reset() {
    for (const { detector } of this.#running) detector.reset();
    this.#hiding?.reset();
  }
  /** Return the motions and events that end with the stream. */
  async finish() {
    this.#isEnding = true;
    const ended = await Promise.all(this.#running.map(({ detector }) => detector.finish()));
    return {
      motions: ended.flatMap(({ motions }) => motions),
      events: ended.flatMap(({ events }) => events)
    };
  }
  /** End the workers. */
  close() {
    this.#turn += 1;
    this.#isEnding = true;
    for (const { detector } of this.#running.splice(0)) detector.close();
    this.#hiding?.close();
    this.#hiding = null;
    this.state = "closed";
  }
  /**
   * One image of the stream.
   *
   * @param shot `time` in seconds
   */
  async send({ image, time }) {
    const start2 = performance.now();
    const frame = this.#next++;
    this.inFlight += 1;
    try {
      const areAllStill = this.#running.every(({ isStill }) => isStill);
      const covering = this.#hiding?.cover(image, { time: areAllStill ? null : time });
      const found = await Promise.all(
        this.#running.map(
          ({ detector, isStill }) => isStill ? detector.detect(image) : detector.track(image, { time })
        )
      );
      const covered = await covering;
      const timing = { detect_ms: performance.now() - start2 };
      const { width, height } = image;
      const motions = found.flatMap((answer) => answer.motions ?? []);
      const events = found.flatMap((answer) => answer.events ?? []);
      const lists = Object.entries(results).flatMap(
        ([kind, result]) => found.flatMap((answer) => {
          const list = answer[result.list];
          return list ? [[result.list, list.map((instance) => withSkeletons(instance, kind, result))]] : [];
        })
      );
      const hidden = found.reduce((sum, { total }) => sum + total, 0) - lists.flatMap(([, list]) => list).length;
      return {
        type: "frame",
        frame,
        time,
        width,
        height,
        dropped: 0,
        timing,
        ...Object.fromEntries(lists),
        motions,
        events,
        hidden,
        ...covered ? { covered } : {}
      };
    } finally {
      this.inFlight -= 1;
    }
  }
};
async function keeper() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return;
  await new Promise((resolve) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    workers.register("sw.js").catch(resolve);
    setTimeout(resolve, PATIENCE_MS);
  });
}
var measure = () => ({});
function withSkeletons(instance, kindName, { members, skeletons }, person = {}) {
  const parts = Object.entries(members).map(([key, part]) => {
    const own = instance[key];
    return [key, own && withSkeletons(own, part, results[part], instance)];
  });
  if (parts.length) return { ...instance, ...Object.fromEntries(parts) };
  const skeleton = Object.entries(skeletons).find(
    ([, { keypoints }]) => keypoints.length === instance.keypoints?.length
  )?.[0];
  return { ...instance, skeleton, measures: measure(kindName, instance, person) };
}
var NOTHING = new Blob();
var SLOTS = 4;
var Capture = class {
  /** True if images are encoded, as a server requires. */
  encodes = true;
  /** Maximum side of a sent image in pixels; 0 for the original size. */
  longest = 0;
  #slots = Array.from({ length: SLOTS }, () => make("canvas"));
  #next = 0;
  #worker = new Worker(new URL("./encoder.js", import.meta.url), { type: "module" });
  /** in order of the requests */
  #waiting = [];
  #copy = make("canvas");
  #pixels = new ImageData(1, 1);
  constructor() {
    this.#worker.onmessage = ({ data }) => this.#waiting.shift()?.(data);
  }
  /**
   * Capture the current image of a video.
   *
   * It is encoded as JPEG even on one machine: a browser takes longer to copy raw pixels (20 ms for
   * 640x480 in Chromium) than to compress them (5 ms).
   */
  async take(video) {
    const pixels = this.encodes ? null : await this.#pixelsOf(video);
    const [width, height] = scaledSize(video.videoWidth, video.videoHeight, this);
    if (!pixels) return this.#encoded(this.#slotFor(video, width, height));
    const isScaled = width !== pixels.width || height !== pixels.height;
    const image = isScaled ? this.#copy : this.#slot(width, height);
    fit(image, pixels.width, pixels.height);
    image.getContext("2d", { alpha: false })?.putImageData(pixels, 0, 0);
    return this.#encoded(isScaled ? this.#slotFor(image, width, height) : image);
  }
  /**
   * Return the current pixels of a video, valid until the next call; null if they cannot be copied.
   *
   * Without a graphics card Chromium stores drawn images of a video until they take 512 MB.
   */
  async #pixelsOf(video) {
    if (!("VideoFrame" in globalThis)) return null;
    const frame = new VideoFrame(video);
    try {
      const { displayWidth: width, displayHeight: height, visibleRect, rotation, flip } = frame;
      const isUpright = rotation === 0 && flip === false && visibleRect?.width === width && visibleRect.height === height;
      if (!isUpright || width !== video.videoWidth || height !== video.videoHeight) return null;
      if (this.#pixels.width !== width || this.#pixels.height !== height)
        this.#pixels = new ImageData(width, height);
      const { data } = this.#pixels;
      await frame.copyTo(data, { format: "RGBA" });
      return this.#pixels;
    } catch {
      return null;
    } finally {
      frame.close();
    }
  }
  /** Capture a still image. Its file is sent unchanged unless the image is too large. */
  async still(bitmap, file) {
    const [width, height] = scaledSize(bitmap.width, bitmap.height, this);
    const image = this.#slotFor(bitmap, width, height);
    return width === bitmap.width && height === bitmap.height ? { image, blob: file } : this.#encoded(image);
  }
  async #encoded(image) {
    if (!this.encodes) return { image, blob: NOTHING };
    const bitmap = await createImageBitmap(image);
    this.#worker.postMessage(bitmap, [bitmap]);
    return { image, blob: await new Promise((resolve) => this.#waiting.push(resolve)) };
  }
  #slotFor(image, width, height) {
    const slot = this.#slot(width, height);
    slot.getContext("2d", { alpha: false })?.drawImage(image, 0, 0, width, height);
    return slot;
  }
  #slot(width, height) {
    const slot = this.#slots[this.#next];
    this.#next = (this.#next + 1) % SLOTS;
    fit(slot, width, height);
    return slot;
  }
};

// src/page/measure-names.ts
var UNITS = [
  { ending: "_rad", unit: "°", scale: 180 / Math.PI, digits: 0 },
  { ending: "_m", unit: " cm", scale: 100, digits: 1 }
];
var unitOf = (name) => UNITS.find(({ ending }) => name.endsWith(ending)) ?? {
  ending: "",
  unit: "",
  scale: 1,
  digits: 2
};
function shown(name, value) {
  const { unit, scale, digits } = unitOf(name);
  return typeof value === "number" && Number.isFinite(value) ? `${(value * scale).toFixed(digits)}${unit}` : "–";
}
function measureName(name) {
  const words = wordsOf(name.slice(0, name.length - unitOf(name).ending.length));
  const ofFist = name.endsWith("_curl") ? " (0–1)" : "";
  return words.charAt(0).toUpperCase() + words.slice(1) + ofFist;
}
var BLENDSHAPE = /^([a-z]+[A-Z]\w*?)(Left|Right)?$/;
function wordsOf(bare) {
  const [difference, image] = ["symmetry_", "_2d"];
  if (bare.startsWith(difference))
    return text("measure.symmetry", { measure: wordsOf(bare.slice(difference.length)) });
  if (bare.endsWith(image))
    return text("measure.2d", { measure: wordsOf(bare.slice(0, -image.length)) });
  const [, shape, side] = BLENDSHAPE.exec(bare) ?? [];
  if (shape)
    return [side ?? "", ...shape.split(/(?=[A-Z])/)].filter(Boolean).map((word) => textOr(`shape.${word.toLowerCase()}`, word.toLowerCase())).join(" ");
  const words = bare.split(/_(?!arm)/).map((word) => textOr(`measure.${word}`, word));
  return textOr(`measure.${bare}`, words.join(" ").trim());
}
var JOINT_ANGLE = /^(knee|elbow|hip)_angle(_2d)?_rad$/;
var noteOf = (name) => JOINT_ANGLE.test(name) ? text("measure.straight") : "";
var measureLabel = (name) => measureName(name) + (unitOf(name).unit && ` (${unitOf(name).unit.trim()})`);
var COLOURS = {
  left: ["#d98600", "#e2518a", "#8a6d3b"],
  right: ["#2f9ede", "#7c5cf0", "#1d9a63"],
  "": ["#7c5cf0", "#1d9a63", "#8a6d3b", "#e2518a", "#2f9ede", "#d98600"]
};
function sideOf(name, handedness) {
  if (name.startsWith("left_") || handedness === "Left") return "left";
  return name.startsWith("right_") || handedness === "Right" ? "right" : "";
}
var sideName = (side) => side ? text(`measure.${side}`) : "";
var withoutSide = (name) => name.replace(/^(left|right)_/, "");
function lineColours(sides) {
  const used = { left: 0, right: 0, "": 0 };
  return sides.map((side) => COLOURS[side][used[side]++ % COLOURS[side].length]);
}

// src/page/gestures/map.tsx
var MOST_COMMANDS = 30;
var EXAMPLE = ", as in ";
var FIRST3 = `[[rule]]
on = "Swipe_Left"
key = "right"

[[rule]]
measure = "pinch_index_m"
from = [0.02, 0.12]
smooth_s = 0.1
osc = "127.0.0.1:9000/volume"
`;
function createMapEditor(place2, dryRun) {
  const known = y({ gestures: [], motions: [], measures: [], actions: {} });
  const custom = y([]);
  const map = y(FIRST3);
  const checked = y(null);
  const isRunning = y(false);
  const commands = y([]);
  const on = y("");
  const action = y("");
  const target = y("");
  const chosenAction = O(() => action.value || (Object.keys(known.value.actions)[0] ?? ""));
  function targetHint() {
    const name = chosenAction.value;
    return textOr(`map.target.${name}`, known.value.actions[name] ?? "");
  }
  async function load() {
    known.value = await call(addressOf("/v1/control"));
  }
  function draw(frame) {
    if (!isRunning.peek()) return;
    const added = (frame["commands"] ?? []).map(
      (one) => JSON.stringify(one)
    );
    if (added.length)
      commands.value = [...added.reverse(), ...commands.peek()].slice(0, MOST_COMMANDS);
  }
  function add2(first) {
    if (!target.peek().trim()) {
      checked.value = { isRight: false, text: targetHint };
      find("map-target").focus();
      return;
    }
    const before = map.peek().trimEnd();
    const rule = `${on.peek() || first}
${chosenAction.peek()} = ${JSON.stringify(target.peek())}`;
    change2(`${before}${before ? "\n\n" : ""}[[rule]]
${rule}
`);
    void check();
  }
  function change2(value) {
    map.value = value;
    stop2();
  }
  async function check() {
    try {
      const address = addressOf("/v1/control");
      for (const name of custom.peek()) address.searchParams.append("gesture", name);
      const { rules } = await call(address, null, {
        method: "POST",
        body: map.peek()
      });
      checked.value = { isRight: true, text: () => text("map.right", { count: rules }) };
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== "bad_option") showError(error);
      const { message } = error;
      checked.value = { isRight: false, text: () => wrongText(message) };
    }
    return checked.peek()?.isRight ?? false;
  }
  async function download() {
    if (await check()) save(new Blob([map.peek()], { type: "application/toml" }), "map.toml");
  }
  async function run(wanted) {
    if (!wanted) return stop2();
    isRunning.value = await check();
    if (isRunning.peek()) dryRun(map.peek());
  }
  function stop2() {
    commands.value = [];
    if (isRunning.peek()) dryRun(null);
    isRunning.value = false;
  }
  function Editor() {
    const { gestures, motions, measures, actions } = known.value;
    const gestureName = (name) => textOr(`gesture.${name}`, name);
    const choice = (key, name, label) => ({
      value: `${key} = ${JSON.stringify(name)}`,
      label
    });
    const groups = [
      { key: "map.motions", choices: motions.map((one) => choice("on", one, gestureName(one))) },
      {
        key: "map.gestures",
        choices: [...custom.value, ...gestures].map((one) => choice("on", one, gestureName(one)))
      },
      {
        key: "map.measures",
        choices: measures.map((one) => choice("measure", one, measureName(one)))
      }
    ];
    const hint = actions[chosenAction.value] ?? "";
    return /* @__PURE__ */ a($, { children: [
      /* @__PURE__ */ a("p", { class: "hint", children: text("map.hint") }),
      /* @__PURE__ */ a("div", { class: "row", children: [
        /* @__PURE__ */ a("label", { for: "map-on", children: text("map.on") }),
        /* @__PURE__ */ a(
          "select",
          {
            id: "map-on",
            class: "compact",
            onInput: ({ currentTarget }) => on.value = currentTarget.value,
            children: groups.map(({ key, choices }) => /* @__PURE__ */ a("optgroup", { label: text(key), children: choices.map(({ value, label }) => /* @__PURE__ */ a("option", { value, selected: value === on.value, children: label }, value)) }, key))
          }
        ),
        /* @__PURE__ */ a("label", { for: "map-action", children: text("map.action") }),
        /* @__PURE__ */ a(
          "select",
          {
            id: "map-action",
            class: "compact",
            onInput: ({ currentTarget }) => action.value = currentTarget.value,
            children: Object.keys(actions).map((name) => /* @__PURE__ */ a("option", { value: name, selected: name === chosenAction.value, children: textOr(`map.action.${name}`, name) }, name))
          }
        ),
        /* @__PURE__ */ a("label", { class: "visually-hidden", for: "map-target", children: text("map.target") }),
        /* @__PURE__ */ a(
          "input",
          {
            id: "map-target",
            type: "text",
            autoComplete: "off",
            spellcheck: false,
            "aria-describedby": "map-target-hint",
            placeholder: hint.split(EXAMPLE)[1] ?? "",
            value: target.value,
            onInput: ({ currentTarget }) => target.value = currentTarget.value
          }
        ),
        /* @__PURE__ */ a(
          "button",
          {
            id: "map-add",
            class: "button small",
            type: "button",
            onClick: () => add2(groups.flatMap(({ choices }) => choices)[0]?.value ?? ""),
            children: text("map.add")
          }
        )
      ] }),
      /* @__PURE__ */ a("p", { id: "map-target-hint", class: "hint", children: targetHint() }),
      /* @__PURE__ */ a("details", { class: "part", children: [
        /* @__PURE__ */ a("summary", { children: /* @__PURE__ */ a("h3", { children: text("map.text") }) }),
        /* @__PURE__ */ a(
          "textarea",
          {
            id: "map-text",
            class: "map-text",
            rows: 11,
            spellcheck: false,
            "aria-label": text("map.text"),
            value: map.value,
            onInput: ({ currentTarget }) => change2(currentTarget.value)
          }
        )
      ] }),
      /* @__PURE__ */ a(
        "p",
        {
          id: "map-words",
          class: "map-words",
          role: "status",
          "data-state": checked.value ? checked.value.isRight ? "right" : "wrong" : "",
          children: checked.value?.text()
        }
      ),
      /* @__PURE__ */ a("div", { class: "row", children: [
        /* @__PURE__ */ a("button", { id: "map-check", class: "button small", type: "button", onClick: () => void check(), children: text("map.check") }),
        /* @__PURE__ */ a(
          "button",
          {
            id: "map-download",
            class: "button small",
            type: "button",
            onClick: () => void download(),
            children: text("map.download")
          }
        ),
        /* @__PURE__ */ a("label", { class: "switch", children: [
          /* @__PURE__ */ a(
            "input",
            {
              id: "map-run",
              type: "checkbox",
              checked: isRunning.value,
              onChange: ({ currentTarget }) => void run(currentTarget.checked)
            }
          ),
          /* @__PURE__ */ a("span", { children: text("map.run") })
        ] })
      ] }),
      /* @__PURE__ */ a("ul", { id: "map-commands", class: "lines commands", "aria-label": text("map.commands"), children: commands.value.map((command, k) => /* @__PURE__ */ a("li", { children: command }, k)) })
    ] });
  }
  Q(/* @__PURE__ */ a(Editor, {}), place2);
  return {
    load,
    /** Own gestures that rules may name too. */
    setCustom: (names) => custom.value = names,
    draw,
    clear() {
    }
  };
}
var NO_RULE = /: no rule;/;
var WRONG_TARGET = /, rule (\d+): (\w+) = .*: give /;
function wrongText(message) {
  if (NO_RULE.test(message)) return text("map.wrong.none");
  const [, number, name] = WRONG_TARGET.exec(message) ?? [];
  const needs = textOr(`map.target.${name}`, "");
  if (!needs) return text("map.wrong", { message });
  return text("map.wrong.target", { number, action: text(`map.action.${name}`), needs });
}

// src/page/gestures/hands.ts
function knownHands(frame) {
  const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
  const known = hands.filter(
    ({ instance }) => [...instance.keypoints, ...instance.keypoints3D ?? []].every(({ z }) => Number.isFinite(z))
  );
  return known.map(({ instance, person }) => {
    const { keypoints, keypoints3D } = instance.published ?? instance;
    return {
      id: instance.id ?? person?.id ?? void 0,
      handedness: instance.handedness ?? "",
      keypoints: plain(keypoints),
      keypoints3D: plain(keypoints3D ?? [])
    };
  });
}
var plain = (points) => points.map(({ x: x2, y: y2, z }) => ({ x: rounded(x2), y: rounded(y2), z: rounded(z) }));
var rounded = (value) => Number(value.toFixed(5));

// src/page/gestures/teach.tsx
var SAMPLES = 20;
var LASTS_MS = 3e3;
var PATIENCE_MS2 = 1e4;
var LEAST = 5;
var STORED2 = "gestures";
var MAX_FRAMES = 600;
function createTrainer(place2, use, obstacle) {
  const recordings = y(remembered());
  const tested = y([]);
  const trained = y(null);
  const isTried = y(false);
  const isMoving = y(false);
  const words = y(null);
  const share2 = y(0);
  const running = y(null);
  const name = y("");
  let taking = null;
  let isRefused = false;
  let isKept = true;
  recordings.subscribe((all) => isKept = memory.write(STORED2, all) !== null);
  globalThis.addEventListener("beforeunload", (event) => {
    if (!isKept && recordings.peek().length) event.preventDefault();
  });
  const canTest = O(() => {
    const names = recordings.value.map((one) => one.name);
    const count = (wanted) => names.filter((other) => other === wanted).length;
    return names.length > 0 && names.every((one) => count(one) > 1);
  });
  function tryFor(map) {
    const names = trained.peek()?.names ?? [];
    if (!isTried.peek() && names.some((one) => map.includes(JSON.stringify(one)))) setTried(true);
  }
  function setTried(on) {
    isTried.value = on;
    const now = trained.peek();
    if (now) use(now, on);
  }
  function draw(frame) {
    if (!taking) return;
    const { isMotion, frames } = taking;
    const time = Number(frame["time"]);
    const hands = knownHands(frame).filter(({ id }) => !isMotion || Number.isInteger(id));
    const isBack = isMotion && time <= (frames.at(-1)?.time ?? -Infinity);
    const now = performance.now();
    if (hands.length && !isBack && now >= taking.next) {
      frames.push({ time, hands });
      if (!isMotion) [taking.next, taking.until] = [now + LASTS_MS / SAMPLES, now + PATIENCE_MS2];
    }
    share2.value = isMotion ? frames.length / MAX_FRAMES : handsOf(frames).length / SAMPLES;
    if (share2.peek() >= 1 || isBack || now > taking.until) end2();
  }
  function keep2(recording) {
    recordings.value = [...recordings.peek(), recording];
    tested.value = [];
    const values = { name: recording.name, count: countOf(recording) };
    words.value = { key: recording.frames ? "trainer.motions" : "trainer.taken", values };
  }
  function begin() {
    const wanted = name.peek().trim();
    if (!wanted) return;
    if (refuse()) return;
    const isMotion = isMoving.peek();
    const now = performance.now();
    const until = isMotion ? Infinity : now + PATIENCE_MS2;
    taking = { name: wanted, isMotion, frames: [], until, next: now };
    running.value = isMotion ? "motion" : "still";
    const key = isMotion ? "trainer.move" : "trainer.taking";
    words.value = { key, values: { name: wanted } };
  }
  function refuse() {
    const why = obstacle();
    isRefused = why !== null;
    if (why) words.value = { key: `trainer.${why}` };
    return isRefused;
  }
  function check() {
    if (taking && obstacle()) end2();
    else if (isRefused && !refuse()) words.value = null;
  }
  function end2() {
    if (!taking) return;
    const { name: of, isMotion, frames } = taking;
    taking = null;
    running.value = null;
    share2.value = 0;
    const hands = handsOf(frames).slice(0, SAMPLES);
    const isEmpty = isMotion ? !frames.length : hands.length < LEAST;
    if (isEmpty) {
      if (!refuse())
        words.value = { key: "trainer.few", values: { count: hands.length, least: LEAST } };
    } else if (isMotion) {
      const sent = [{ name: of, frames }];
      ask(
        "train",
        sent,
        ({ examples }) => keep2({ name: of, frames, count: examples[0] ?? 0 })
      );
    } else keep2({ name: of, hands });
  }
  function ask(what, sent, show) {
    call(addressOf(`/v1/gestures/${what}`), null, {
      method: "POST",
      body: JSON.stringify({ recordings: sent })
    }).then(show).catch(showError);
  }
  function train() {
    ask("train", recordings.peek(), ({ file, names }) => {
      save(new Blob([bytesOf(file)]), "gestures.npz");
      words.value = { key: "trainer.trained", values: { names: names.join(", ") } };
      trained.value = { file, names };
      use(trained.value, isTried.peek());
    });
  }
  function test() {
    const show = ({ tables }) => tested.value = tables;
    ask("test", recordings.peek(), show);
  }
  function remove(recording) {
    recordings.value = recordings.peek().filter((other) => other !== recording);
    tested.value = [];
    words.value = null;
  }
  function Teach() {
    const isMotion = running.value === "motion";
    const recordKey = isMoving.value ? "trainer.begin" : "trainer.record";
    return /* @__PURE__ */ a($, { children: [
      /* @__PURE__ */ a("ol", { class: "steps", children: ["trainer.step1", "trainer.step2", "trainer.step3", "trainer.step4"].map((key) => /* @__PURE__ */ a("li", { children: text(key) }, key)) }),
      /* @__PURE__ */ a(
        "form",
        {
          id: "trainer-form",
          class: "row",
          onSubmit: (event) => {
            event.preventDefault();
            if (isMotion) end2();
            else begin();
          },
          children: [
            /* @__PURE__ */ a("label", { for: "trainer-name", children: text("trainer.name") }),
            /* @__PURE__ */ a(
              "input",
              {
                id: "trainer-name",
                type: "text",
                maxLength: 40,
                pattern: "[\\p{L}\\p{N} _\\-]+",
                required: true,
                autoComplete: "off",
                value: name.value,
                onInput: ({ currentTarget }) => name.value = currentTarget.value,
                onInvalid: () => words.value = { key: "trainer.name_hint" }
              }
            ),
            /* @__PURE__ */ a("label", { class: "switch", children: [
              /* @__PURE__ */ a(
                "input",
                {
                  id: "trainer-moving",
                  type: "checkbox",
                  checked: isMoving.value,
                  disabled: isMotion,
                  onChange: ({ currentTarget }) => isMoving.value = currentTarget.checked
                }
              ),
              /* @__PURE__ */ a("span", { children: text("trainer.moving") })
            ] }),
            /* @__PURE__ */ a(
              "button",
              {
                id: "trainer-record",
                class: "button primary",
                disabled: running.value !== null && !isMotion,
                children: text(isMotion ? "trainer.stop" : recordKey)
              }
            )
          ]
        }
      ),
      running.value && /* @__PURE__ */ a(
        "progress",
        {
          id: "trainer-progress",
          max: 1,
          value: share2.value,
          "aria-label": text("trainer.progress")
        }
      ),
      /* @__PURE__ */ a("p", { id: "trainer-words", class: "hint", role: "status", children: words.value && text(words.value.key, words.value.values) }),
      /* @__PURE__ */ a("ul", { id: "trainer-recordings", class: "lines", "aria-label": text("trainer.recordings"), children: recordings.value.map((recording, k) => /* @__PURE__ */ a(Item2, { recording }, k)) }),
      /* @__PURE__ */ a("div", { class: "row", children: [
        /* @__PURE__ */ a(
          "button",
          {
            id: "trainer-test",
            class: "button small",
            type: "button",
            disabled: !canTest.value,
            "aria-describedby": "trainer-test-needs",
            onClick: test,
            children: text("trainer.test")
          }
        ),
        /* @__PURE__ */ a(
          "button",
          {
            id: "trainer-train",
            class: "button small",
            type: "button",
            disabled: !recordings.value.length,
            onClick: train,
            children: text("trainer.train")
          }
        ),
        /* @__PURE__ */ a("label", { class: "switch", children: [
          /* @__PURE__ */ a(
            "input",
            {
              id: "trainer-try",
              type: "checkbox",
              checked: isTried.value,
              disabled: !trained.value,
              onChange: ({ currentTarget }) => setTried(currentTarget.checked)
            }
          ),
          /* @__PURE__ */ a("span", { children: text("trainer.try") })
        ] })
      ] }),
      /* @__PURE__ */ a("p", { id: "trainer-test-needs", class: "hint", children: !canTest.value && text("trainer.test.needs") }),
      /* @__PURE__ */ a(
        "div",
        {
          id: "trainer-table",
          class: "live-table",
          tabIndex: 0,
          role: "region",
          "aria-label": text("trainer.table"),
          children: tested.value.map((table2) => /* @__PURE__ */ a(Table, { ...table2 }, table2.names.join()))
        }
      )
    ] });
  }
  function Item2({ recording }) {
    const same = recordings.value.filter((other) => other.name === recording.name);
    const values = {
      name: recording.name,
      number: same.indexOf(recording) + 1,
      count: countOf(recording)
    };
    const label = text("trainer.remove");
    return /* @__PURE__ */ a("li", { children: [
      text(recording.frames ? "trainer.recording.motions" : "trainer.recording", values),
      " ",
      /* @__PURE__ */ a(
        "button",
        {
          class: "button small",
          type: "button",
          "aria-label": `${label}: ${recording.name} ${values.number}`,
          onClick: () => remove(recording),
          children: label
        }
      )
    ] });
  }
  Q(/* @__PURE__ */ a(Teach, {}), place2);
  return { tryFor, draw, check, clear: end2 };
}
function Table({ names, counts }) {
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a("ul", { class: "lines", children: names.map((name, k) => {
      const total = counts[k].reduce((sum, count) => sum + count, 0);
      return /* @__PURE__ */ a("li", { children: text("trainer.right", { name, right: counts[k][k], total }) }, name);
    }) }),
    /* @__PURE__ */ a("table", { children: [
      /* @__PURE__ */ a("caption", { class: "hint", children: text("trainer.caption") }),
      /* @__PURE__ */ a("thead", { children: /* @__PURE__ */ a("tr", { children: [
        /* @__PURE__ */ a("th", { scope: "col", children: text("trainer.shown") }),
        [...names, text("gestures.nothing")].map((name) => /* @__PURE__ */ a("th", { scope: "col", children: text("trainer.as", { name }) }, name))
      ] }) }),
      /* @__PURE__ */ a("tbody", { children: names.map((name, k) => /* @__PURE__ */ a("tr", { children: [
        /* @__PURE__ */ a("th", { scope: "row", children: name }),
        counts[k].map((count, column) => /* @__PURE__ */ a("td", { class: column === k ? "right" : count ? "wrong" : "", children: count }, column))
      ] }, name)) })
    ] })
  ] });
}
function remembered() {
  const stored = memory.read(STORED2);
  return Array.isArray(stored) ? stored : [];
}
var handsOf = (frames) => frames.flatMap(({ hands }) => hands);
var countOf = ({ hands, count }) => count ?? hands?.length ?? 0;

// src/page/sources.ts
var RETRY_MS = 60;
var RESUMING = ["resume", "visibilitychange"];
var JUMP_S = 1;
var SHOWN_BY_ALL = /\.(jpe?g|png|webp|bmp|gif)$/i;
var IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?|avif|heic)$/i;
var VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|ts)$/i;
var isImage = (file) => file.type.startsWith("image/") || !file.type && IMAGE.test(file.name);
var isVideo = (file) => file.type.startsWith("video/") || !file.type && VIDEO.test(file.name);
var notMedia = ({ name }) => new PageError(/\.npz$/i.test(name) ? "trained_gestures" : "no_media", { name });
var CAMERA = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_none",
  OverconstrainedError: "camera_none",
  NotReadableError: "camera_busy",
  AbortError: "camera_busy"
};
async function openCamera(video, deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) throw new PageError("insecure");
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  const chosen = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
  const stream = await navigator.mediaDevices.getUserMedia({ video: chosen }).catch((error) => {
    throw new PageError(CAMERA[error?.name] ?? "camera_failed", {
      reason: String(error)
    });
  });
  video.srcObject = stream;
  const [track] = stream.getVideoTracks();
  const resume = () => video.paused && !document.hidden && video.play().catch(() => {
  });
  const listening = new AbortController();
  for (const event of RESUMING)
    document.addEventListener(event, resume, { signal: listening.signal });
  const source = streamSource(
    video,
    track.label,
    null,
    () => performance.now() / 1e3,
    () => {
      listening.abort();
      track.stop();
      video.srcObject = null;
    }
  );
  const { play } = source;
  source.play = (onTick, onError) => {
    track.onended = () => onError(new PageError("camera_gone"));
    play(async (tick) => track.readyState === "ended" || onTick(tick), onError);
  };
  return source;
}
async function openVideo(video, what, loop = false) {
  const [name, address] = typeof what === "string" ? [what, what] : [what.name, URL.createObjectURL(what)];
  video.loop = loop;
  video.src = address;
  const loaded = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(video.videoWidth > 0);
    video.onerror = () => resolve(false);
  });
  video.onloadeddata = video.onerror = null;
  const listening = new AbortController();
  const player = videoPlayer(video, listening.signal);
  const leave = () => {
    listening.abort();
    if (address !== what) URL.revokeObjectURL(address);
    video.removeAttribute("src");
    video.load();
  };
  if (!loaded) {
    leave();
    throw new PageError("no_video", { name });
  }
  return streamSource(video, name, player, (mediaTime) => mediaTime, leave);
}
function streamSource(video, name, player, timeOf, leave) {
  let [open, begun, last] = [true, false, 0];
  let [shown2, processed] = [0, 0];
  let [jumps, known] = [0, 0];
  let onTick = async () => true;
  let onError = () => {
  };
  const processAt = (mediaTime) => {
    const time = timeOf(mediaTime);
    if (time < last || time > last + JUMP_S) jumps += 1;
    last = time;
    void process(time, jumps, jumps !== known);
  };
  const process = async (time, jump, jumped) => {
    const number = ++shown2;
    while (open && number === shown2) {
      const isDone = await onTick({ time, since: performance.now(), video, jumped });
      if (isDone) [known, processed] = [jump, number];
      if (isDone || !video.paused) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  let current = 0;
  const next = () => video.requestVideoFrameCallback((_, { mediaTime }) => {
    if (!open) return;
    current = mediaTime;
    processAt(mediaTime);
    next();
  });
  const begin = () => {
    begun = true;
    next();
    video.onpause = () => open && processed !== shown2 && processAt(current);
    video.play().catch((error) => open && onError(error));
  };
  return {
    name,
    player,
    play(tick, failed) {
      [onTick, onError] = [tick, failed];
      if (!player) begin();
    },
    refresh() {
      if (!begun) begin();
      else if (video.paused) processAt(current);
    },
    close() {
      open = false;
      video.onpause = null;
      video.pause();
      leave();
    }
  };
}
async function openImages(files) {
  const isSeveral = files.length > 1;
  if (!isSeveral) (await decoded(files[0])).close();
  let [turn, speed, open] = [0, 1, true];
  let onTick = async () => true;
  let onError = () => {
  };
  let timer2;
  const state = { length: files.length, position: 0, paused: true, loop: false };
  async function process() {
    const number = ++turn;
    const isCurrent = () => open && number === turn;
    const index = state.position;
    const file = files[index];
    const bitmap = await decoded(file).catch((error) => isCurrent() && onError(error));
    const tick = { time: index, bitmap, file, index, source: file.webkitRelativePath || file.name };
    while (bitmap && isCurrent() && !await onTick({ ...tick, bitmap, since: performance.now() })) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    if (isCurrent()) schedule();
  }
  function schedule() {
    clearTimeout(timer2);
    const isLast = state.position + 1 >= state.length;
    if (state.paused) return void 0;
    if (isLast && !state.loop) return player.pause();
    timer2 = setTimeout(() => show(isLast ? 0 : state.position + 1), DWELL_MS / speed);
    return void 0;
  }
  function show(position) {
    state.position = position;
    void process();
    player.onChange();
  }
  function rest() {
    clearTimeout(timer2);
    state.paused = true;
  }
  const player = {
    kind: "images",
    files,
    state,
    onChange() {
    },
    set(changes) {
      [state.loop, speed] = [changes.loop ?? state.loop, changes.speed ?? speed];
      player.onChange();
    },
    play() {
      state.paused = false;
      if (state.position + 1 < state.length) schedule();
      else show(0);
      player.onChange();
    },
    pause() {
      rest();
      player.onChange();
    },
    seek: (position) => show(Math.min(Math.max(Math.round(position), 0), files.length - 1)),
    step(by) {
      rest();
      show((state.position + by + files.length) % files.length);
    }
  };
  return {
    name: isSeveral ? `${files.length}` : files[0].name,
    player: isSeveral ? player : null,
    play(tick, failed) {
      [onTick, onError] = [tick, failed];
    },
    refresh: process,
    close() {
      open = false;
      rest();
    }
  };
}
function decoded(file) {
  return createImageBitmap(file).catch(() => {
    throw new PageError(SHOWN_BY_ALL.test(file.name) ? "damaged" : "unsupported", {
      name: file.name
    });
  });
}
var DWELL_MS = 1e3;
var USUAL_STEP_S = 1 / 30;
var LEAST_STEP_S = 1 / 240;
var EVENTS = ["play", "pause", "ended", "seeked", "timeupdate", "ratechange", "durationchange"];
function videoPlayer(video, signal) {
  let stepS = USUAL_STEP_S;
  const player = {
    kind: "video",
    onChange() {
    },
    get state() {
      const { duration, currentTime: position, paused, loop } = video;
      return { length: Number.isFinite(duration) ? duration : 0, position, paused, loop };
    },
    set({ loop = video.loop, speed = video.playbackRate }) {
      Object.assign(video, { loop, playbackRate: speed });
      player.onChange();
    },
    play: () => void video.play().catch(() => player.onChange()),
    pause: () => video.pause(),
    seek(position) {
      video.currentTime = Math.min(Math.max(position, 0), player.state.length);
    },
    step(by) {
      video.pause();
      const { position, length } = player.state;
      const middle = (Math.floor(position / stepS + 1e-3) + by + 0.5) * stepS;
      player.seek(Math.min(middle, length - stepS / 2));
    }
  };
  video.playbackRate = 1;
  for (const name of EVENTS) video.addEventListener(name, () => player.onChange(), { signal });
  let [least, time, count] = [Infinity, NaN, 0];
  const measure2 = () => video.requestVideoFrameCallback((_, { mediaTime, presentedFrames }) => {
    if (signal.aborted) return;
    const step = (mediaTime - time) / (presentedFrames - count);
    if (step > LEAST_STEP_S && step < least && !video.paused) stepS = least = step;
    [time, count] = [mediaTime, presentedFrames];
    measure2();
  });
  measure2();
  return player;
}

// src/page/jobs.ts
var inLanguage = (texts) => texts[document.documentElement.lang] ?? texts["en"] ?? "";
var jobs = y([]);
var areJobsKnown = y(false);
async function loadJobs() {
  const listed = await call(addressOf("/v1/jobs"));
  for (const job of listed.reverse()) add(job).follow(job);
  areJobsKnown.value = true;
}
function add(job) {
  const followed = new FollowedJob(job);
  jobs.value = [followed, ...jobs.value];
  return followed;
}
async function startJobs(files, detectors2, { drawing: _, gestures, ...style }) {
  if (!detectors2.length) throw new PageError("no_detector");
  const showsGestures = gestures && detectors2.some((each) => (each.gestures ?? "none") !== "none");
  const query = new URLSearchParams({
    detectors: JSON.stringify(detectors2.map(optionsOfJob)),
    style: JSON.stringify({ ...style, gestures: showsGestures })
  });
  const images = files.filter(isImage);
  const kind = detectors2.map((detector) => detector.kind).join("+");
  const model2 = detectors2.map((detector) => `${detector.kind}-${detector.model}`).join("+");
  const uploads = [images, ...files.filter(isVideo).map((file) => [file])].filter((set) => set.length).map(async (set) => {
    const [{ name: first, webkitRelativePath: path }] = set;
    const name = set.length === 1 ? first : path.split("/")[0] || text("job.images", { count: set.length });
    const job = add({ name, kind, model: model2, state: "uploading", share: 0 });
    return await job.upload(set, `/v1/jobs?${query}`) ? [job] : [];
  });
  return (await Promise.all(uploads)).flat();
}
function optionsOfJob({ kind, ...options }) {
  const known = kinds[kind].job_options.filter((name) => name !== "static_image");
  return {
    kind,
    ...Object.fromEntries(
      Object.entries({ ...options, measures: true }).filter(([name]) => known.includes(name))
    )
  };
}
var shareOf = ({ state, share: share2 = 0, frames = 0, of }) => state === "uploading" ? share2 : of ? frames / of : null;
function stateText({ state, share: share2 = 0, frames = 0, of, instances = 0, seconds = 0 }) {
  const values = {
    frames,
    of,
    instances,
    seconds: seconds.toFixed(1),
    percent: Math.round(share2 * 100)
  };
  if (state === "running" && !of) return text(frames ? "job.frames" : "job.starting", values);
  return text(`job.${state}`, values);
}
var kindsText = ({ kind }) => kind.split("+").map((each) => textOr(`kind.${each}`, each)).join(", ");
function dateText({ ended }) {
  if (!ended) return "";
  const style = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(document.documentElement.lang, style).format(new Date(ended));
}
function headlinesOf({ summaries = [] }) {
  return summaries.map(({ id, texts }) => {
    const words = inLanguage(texts);
    return summaries.length > 1 ? `${text("one.holistic")} #${id}: ${words}` : words;
  });
}
var notesOf = ({ message, problems = [] }) => [message, ...problems].filter((note) => Boolean(note));
var isActive = ({ state }) => !["done", "failed", "cancelled"].includes(state);
var made = 0;
var FollowedJob = class {
  job;
  key = `job-${++made}`;
  /** the files of a job that was started here */
  files = [];
  #request = new XMLHttpRequest();
  #events;
  constructor(job) {
    this.job = y(job);
  }
  #update(changes) {
    this.job.value = { ...this.job.value, ...changes };
  }
  /**
   * Send files and report the progress, which `fetch` cannot do.
   *
   * @returns whether the server accepted them
   */
  async upload(files, path) {
    this.files = files;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    const request = this.#request;
    request.open("POST", addressOf(path));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => this.#update({ share: loaded / total });
    request.send(form);
    const end2 = await new Promise(
      (resolve) => request.onloadend = request.onabort = request.onerror = ({ type }) => resolve(type)
    );
    if (end2 !== "abort" && request.status === 202) {
      this.follow(request.response);
      return true;
    }
    const refusal = request.response;
    const { code = end2 === "error" ? "gone" : "failed", message = "" } = refusal?.error ?? {};
    if (end2 !== "abort") showError(new ServerError(code, message));
    this.#remove();
    return false;
  }
  /** Follow the progress of a job of the server. */
  follow(job) {
    this.#update(job);
    if (!isActive(job)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    this.#events = events;
    events.onmessage = ({ data }) => {
      this.#update(JSON.parse(data));
      if (!isActive(this.job.value)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED)
        this.#update({ state: "failed", message: text("job.lost") });
    };
  }
  async cancel() {
    const { id } = this.job.value;
    if (id === void 0) this.#request.abort();
    else await call(addressOf(`/v1/jobs/${id}/cancel`), null, { method: "POST" }).catch(showError);
  }
  /** Remove the job and its files from the server. */
  async erase() {
    const address = addressOf(`/v1/jobs/${this.job.value.id}`);
    const refusal = await call(address, null, { method: "DELETE" }).catch(
      (error) => error
    );
    if (refusal instanceof ServerError && refusal.code !== "not_found") showError(refusal);
    else this.#remove();
  }
  /** Show the error of a request. If the job was removed elsewhere, remove it from the list instead. */
  async explain(error) {
    const isMissing = error instanceof ServerError && error.code === "not_found";
    const address = addressOf(`/v1/jobs/${this.job.value.id}`);
    const answer = isMissing ? await call(address).catch((reason) => reason) : null;
    if (answer instanceof ServerError && answer.code === "not_found") this.#remove();
    else showError(error);
  }
  #remove() {
    this.#events?.close();
    jobs.value = jobs.value.filter((other) => other !== this);
  }
};

// src/page/measured.ts
var CM_PER_M = 100;
function trackedOf(frame) {
  const seen = /* @__PURE__ */ new Map();
  const isMeasured = (instance) => instance.measures || instance.blendshapes || instance.transform || instance.distanceM !== void 0;
  return instancesOf(frame).filter(({ instance }) => isMeasured(instance)).map(({ kind, number, instance, person }) => {
    const id = instance.id ?? person?.id ?? null;
    const part = person && kind === "hand" ? instance.handedness : "";
    let key = `${kind}${part}${id === null ? `:${number}` : `#${id}`}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    if (seen.get(key) > 1) key += `/${seen.get(key)}`;
    const name = nameOf(kind, instance, person);
    const { blendshapes, transform, distanceM } = instance;
    const place2 = transform && Object.fromEntries(
      ["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row][3] / CM_PER_M])
    );
    const measures = {
      ...instance.measures,
      ...distanceM !== void 0 && { distance_m: distanceM },
      ...place2,
      ...blendshapes
    };
    return {
      key,
      kind,
      id,
      label: id === null ? name : `${name} #${id}`,
      instance: { ...instance, measures }
    };
  });
}

// src/repetitions.ts
var {
  min_duration_s: MIN_DURATION_S,
  min_hold_s: MIN_HOLD_S,
  max_gap_s: MAX_GAP_S
} = repetitions_default;
var RepetitionCounter = class {
  count = 0;
  /** The newest finished repetition, with times in seconds. */
  last = null;
  #low;
  #high;
  #state = "unknown";
  #side = "unknown";
  #sideSince = -Infinity;
  #sideFirst = -Infinity;
  #left = -Infinity;
  #lowest = Infinity;
  #seen = -Infinity;
  #last = -Infinity;
  /**
   * @param low limit at or below which the value is low
   * @param high limit at or above which it is high
   */
  constructor(low, high) {
    this.#low = low;
    this.#high = high;
  }
  /**
   * @param value NaN if unknown
   * @param time seconds, not decreasing
   * @returns the count
   */
  update(value, time) {
    const before = this.#last;
    this.#last = time;
    if (Number.isNaN(value)) return this.count;
    if (time - this.#seen > MAX_GAP_S) {
      this.#state = this.#side = "unknown";
      this.#sideSince = this.#sideFirst = this.#left = -Infinity;
      this.#lowest = Infinity;
    }
    this.#seen = time;
    const side = value <= this.#low ? "low" : value >= this.#high ? "high" : "between";
    if (side !== this.#side) [this.#side, this.#sideSince, this.#sideFirst] = [side, before, time];
    if (side === "high" && this.#state === "high") [this.#left, this.#lowest] = [time, value];
    this.#lowest = Math.min(this.#lowest, value);
    const isStable = time - this.#sideSince >= MIN_HOLD_S;
    if (side === "between" || side === this.#state || !isStable) return this.count;
    if (side === "high" && this.#state === "low" && time - this.#left >= MIN_DURATION_S) {
      this.count += 1;
      this.last = { begin: this.#left, end: this.#sideFirst, lowest: this.#lowest };
    }
    if (side === "high" || this.#state === "high") this.#state = side;
    if (side === "high") [this.#left, this.#lowest] = [time, value];
    return this.count;
  }
};

// src/page/live-plot.ts
var WINDOW_S = 20;
var BENT_RAD = repetitions_default.low_deg * Math.PI / 180;
var STRAIGHT_RAD = repetitions_default.high_deg * Math.PI / 180;
var LEAST_S = 2;
var GAP_S = 1;
function plotView() {
  let events = [];
  const place2 = find("plot");
  const select = find("plot-measure");
  const isCounting = find("count");
  const limitFields = [find("count-low"), find("count-high")];
  let history2 = [];
  const counters = /* @__PURE__ */ new Map();
  let known = "";
  let chart = null;
  let isLoading = false;
  const ask = onNextFrame(() => place2.clientWidth && render());
  select.onchange = isCounting.onchange = restart;
  for (const field of limitFields) field.oninput = recount;
  new ResizeObserver(ask).observe(place2);
  onLanguage(() => {
    known = "";
    offer();
    ask();
  });
  function draw(frame) {
    events = [];
    const last = history2.at(-1)?.time ?? -Infinity;
    const restarts = frame.time < last - repetitions_default.max_step_back_s;
    const time = restarts ? frame.time : Math.max(frame.time, last);
    if (restarts) begin();
    else if (time === last) history2.pop();
    const measured = trackedOf(frame).filter(
      ({ instance }) => Object.keys(instance.measures).length
    );
    if (!measured.length && !history2.length) return;
    const values = new Map(
      measured.map(({ key, id, label, instance }) => [
        key,
        { id, label, handedness: instance.handedness ?? null, measures: instance.measures }
      ])
    );
    history2.push({ time, values });
    while (history2[0].time < time - WINDOW_S) history2.shift();
    offer();
    const [low, high] = limits();
    if (low === high) restart();
    events = count(time, values);
    ask();
  }
  function clear() {
    find("counts").replaceChildren();
  }
  function begin() {
    history2 = [];
    counters.clear();
    ask();
  }
  function offer() {
    const newest = [...history2.at(-1)?.values.values() ?? []];
    const names = [...new Set(newest.flatMap(({ measures }) => Object.keys(measures)))];
    if (!names.length || names.join() === known) return;
    known = names.join();
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(measureLabel(name), name)));
    select.value = names.includes(chosen) ? chosen : names.find((name) => name.endsWith("_angle_rad")) ?? names[0];
    if (select.value !== chosen) restart();
  }
  function restart() {
    find("count-limits").hidden = !isCounting.checked;
    const { scale, digits } = unitOf(select.value);
    const values = series().flatMap(({ points }) => points.map(({ value }) => value)).filter(Number.isFinite);
    const [minimum, maximum] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const third = (maximum - minimum) / 3;
    const usual = select.value.endsWith("_angle_rad") ? [BENT_RAD, STRAIGHT_RAD] : [minimum + third, maximum - third];
    usual.forEach((limit, k) => limitFields[k].value = (limit * scale).toFixed(digits));
    recount();
  }
  const limits = () => limitFields.map(({ value }) => Number(value) / unitOf(select.value).scale);
  function recount() {
    counters.clear();
    find("counts").replaceChildren();
    for (const { time, values } of history2) count(time, values);
    ask();
  }
  function count(time, values) {
    const [low, high] = limits();
    if (!isCounting.checked || !(low < high)) return [];
    const ended = [];
    const name = select.value;
    for (const [key, counter] of counters) if (!values.has(key)) counter.update(NaN, time);
    const lines = [...values].filter(([, { measures }]) => name in measures).map(([key, { id, handedness, label, measures }]) => {
      const counter = counters.get(key) ?? new RepetitionCounter(low, high);
      counters.set(key, counter);
      const before = counter.count;
      counter.update(measures[name] ?? NaN, time);
      if (counter.count > before) {
        const { lowest: value, ...times } = counter.last;
        const what = { name, type: "repetition", phase: "end", id };
        ended.push({ ...what, ...times, handedness, value });
      }
      return `${label}: ${counter.count}`;
    });
    const counts = find("counts");
    if (lines.length && counts.innerText !== lines.join("\n"))
      counts.replaceChildren(...lines.map((line) => make("span", { className: "count" }, line)));
    return ended;
  }
  function series() {
    const name = select.value;
    const lines = /* @__PURE__ */ new Map();
    for (const { time, values } of history2) {
      for (const [key, { label, handedness, measures }] of values) {
        if (!(name in measures)) continue;
        const side = sideOf(name, handedness);
        const line = lines.get(key) ?? { label, side, points: [] };
        line.points.push({ time, value: measures[name] ?? NaN });
        lines.set(key, { ...line, label, side });
      }
    }
    return [...lines.values()];
  }
  function render() {
    const lines = series();
    const name = select.value;
    const latest2 = lines.map(
      ({ label, points }) => `${label}: ${shown(name, points.at(-1)?.value)}`
    );
    place2.dataset.points = String(lines.reduce((sum, { points }) => sum + points.length, 0));
    place2.ariaLabel = lines.length ? `${measureName(name)}: ${latest2.join(", ")}` : text("live.empty");
    if (!lines.length) return;
    const colours = lineColours(lines.map(({ side }) => side));
    find("plot-legend").replaceChildren(
      ...latest2.map((line, k) => make("li", { style: `--colour: ${colours[k]}` }, line))
    );
    if (!chart) return void load();
    const { scale, unit, digits } = unitOf(name);
    const end2 = history2.at(-1).time;
    const start2 = Math.max(history2[0].time, end2 - WINDOW_S);
    const range = [start2, Math.max(end2, start2 + LEAST_S)];
    const drawn = lines.map(({ label, points }, k) => ({
      label,
      colour: colours[k],
      dashed: false,
      ...lineOf(points, scale)
    }));
    const muted = getComputedStyle(place2).getPropertyValue("--muted");
    const levels = (isCounting.checked ? limits() : []).map((limit) => ({
      label: "",
      colour: muted,
      dashed: true,
      times: [...range],
      values: range.map(() => limit * scale)
    }));
    const ofTime = (time) => `${Number(time.toFixed(1))} s`;
    const content = { lines: [...drawn, ...levels], bands: [], marks: [], unit, digits, ofTime };
    chart.show(content, range);
  }
  async function load() {
    if (isLoading) return;
    isLoading = true;
    const { createChart } = await import("./chart.js");
    chart = createChart(place2);
    ask();
  }
  return { draw, clear, begin, events: () => events };
}
function lineOf(points, scale) {
  const times = [];
  const values = [];
  let before = NaN;
  for (const { time, value } of points) {
    if (!Number.isFinite(value)) continue;
    if (time - before >= GAP_S) {
      times.push((time + before) / 2);
      values.push(null);
    }
    times.push(time);
    values.push(value * scale);
    before = time;
  }
  return { times, values };
}

// src/page/measure/curves.ts
async function loadCurves(job) {
  const path = job.downloads?.["curves.json"];
  if (!path) throw new ServerError("not_found", text("result.old"));
  const answer = await call(new URL(path, thisServer));
  const isVideo2 = answer.times.every((time) => time !== null) && answer.times.length > 1;
  return {
    ...answer,
    job,
    isVideo: isVideo2,
    times: answer.times.map((time, index) => isVideo2 ? Number(time) : index + 1),
    instances: answer.instances.map((one) => ({
      ...one,
      // in the language of the page, which may change
      get label() {
        return labelOf(one);
      }
    }))
  };
}
function labelOf({ kind, id, handedness }) {
  const name = nameOf(kind, { handedness });
  return id === null ? name : `${name} #${id}`;
}
function measuresOf(curves) {
  const names = /* @__PURE__ */ new Set();
  for (const { measure: measure2 } of curves.summaries) if (measure2) names.add(withoutSide(measure2));
  const all = curves.instances.flatMap(({ measures }) => Object.keys(measures));
  const rank2 = (name) => Number(!name.endsWith("_angle_rad")) + 2 * Number(name.includes("_2d_"));
  for (const name of all.map(withoutSide).sort((a2, b) => rank2(a2) - rank2(b))) names.add(name);
  return [...names];
}
var seriesOf = ({ instances }, wanted) => instances.flatMap(
  (tracked) => Object.entries(tracked.measures).filter(([measure2]) => withoutSide(measure2) === wanted).map(([measure2, values]) => ({
    tracked,
    measure: measure2,
    values,
    side: sideOf(measure2, tracked.handedness)
  }))
);
function extentText({ times, isVideo: isVideo2, instances, job }) {
  const frames = /* @__PURE__ */ new Map();
  for (const { kind, handedness, measures } of instances) {
    const name = kind === "body" ? text("one.holistic") : nameOf(kind, { handedness });
    const seen = frames.get(name) ?? /* @__PURE__ */ new Set();
    frames.set(name, seen);
    for (const values of Object.values(measures))
      values.forEach((value, index) => value !== null && seen.add(index));
  }
  const found = [...frames].filter(([, { size }]) => size).map(([name, { size }]) => text("job.found", { name, count: size }));
  const length = isVideo2 ? [text("job.length", { seconds: times.at(-1).toFixed(1) })] : [];
  const counts = [...length, text("job.frames", { frames: times.length }), ...found];
  return text("job.measured", {
    found: counts.join(", "),
    seconds: (job.seconds ?? 0).toFixed(1)
  });
}
function extremesOf(values) {
  let [low, high] = [-1, -1];
  values.forEach((value, index) => {
    if (value === null) return;
    if (low < 0 || value < values[low]) low = index;
    if (high < 0 || value > values[high]) high = index;
  });
  return low < 0 ? null : { low, high };
}
function indexAt(times, time) {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle] <= time + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}
var isAngle = (name) => unitOf(name).unit === "°";
var BLOCK = 16;
var BLOCKS = 24;
var FrameReader = class {
  #curves;
  #blocks = /* @__PURE__ */ new Map();
  constructor(curves) {
    this.#curves = curves;
  }
  /** Return the results of a frame; undefined if they are not loaded. */
  loaded(index) {
    const frames = this.#blocks.get(Math.floor(index / BLOCK))?.frames;
    if (frames) void this.#prepare(index + BLOCK / 2);
    return frames && (frames[index % BLOCK] ?? null);
  }
  /** Return the results of a frame. */
  async read(index) {
    const frames = await this.#prepare(index);
    void this.#prepare(index + BLOCK / 2);
    return frames[index % BLOCK] ?? null;
  }
  /** Load the block of a frame if it is missing. */
  #prepare(index) {
    const number = Math.floor(index / BLOCK);
    const block = this.#blocks.get(number) ?? { loading: this.#load(number) };
    this.#blocks.delete(number);
    this.#blocks.set(number, block);
    block.loading.then(
      (frames) => block.frames = frames,
      () => this.#blocks.delete(number)
      // the next request tries again
    );
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > BLOCKS) this.#blocks.delete(oldest);
    return block.loading;
  }
  async #load(number) {
    const { offsets, job } = this.#curves;
    const path = job.downloads?.["jsonl"];
    const first = offsets[number * BLOCK];
    const end2 = offsets[Math.min((number + 1) * BLOCK, offsets.length - 1)];
    if (path === void 0 || first === void 0 || end2 === void 0 || end2 <= first) return [];
    const lines = await textOf(new URL(path, thisServer), first, end2);
    return lines.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }
};
var partOf = (address, first, end2) => responseOf(address, null, { headers: { Range: `bytes=${first}-${end2 - 1}` } });
var textOf = async (address, first, end2) => (await partOf(address, first, end2)).text();
async function pictureOf({ pictures, job }, index) {
  const [path, part] = [job.downloads?.["drawn"], pictures[index]];
  if (!path || !part) return null;
  const [offset, size] = part;
  return (await partOf(new URL(path, thisServer), offset, offset + size)).blob();
}

// src/page/measure/downloads.tsx
var GROUPS = ["tables", "report", "formats"];
function textsOf({ name, texts }) {
  const known = texts[document.documentElement.lang] ?? texts["en"];
  return known ?? [textOr(`file.${name}`, name), textOr(`file.${name}.hint`, "")];
}
var OF_BODIES = /^report\.|^angles\.mot$|^points\.trc$/;
function addressOf2({ job, instances }, name) {
  const language = document.documentElement.lang;
  const { downloads: downloads2 = {} } = job;
  if (OF_BODIES.test(name) && !instances.some(({ kind }) => kind === "body")) return null;
  const path = downloads2[name.replace(/(report\.)?/, `$1${language}.`)] ?? downloads2[name];
  return path === void 0 ? null : new URL(path, thisServer).href;
}
var FIRST4 = ["xlsx", "report.pdf"];
function FirstDownloads({ curves, followed }) {
  return /* @__PURE__ */ a("p", { class: "row first-files", children: FIRST4.flatMap((name) => downloads.filter((one) => one.name === name)).map((one) => {
    const href = addressOf2(curves, one.name);
    return href && /* @__PURE__ */ a(
      FileLink,
      {
        ...{ href, followed },
        label: textsOf(one)[0],
        isButton: true
      },
      one.name
    );
  }) });
}
function FileLink({ href, followed, label, ending, isButton = false }) {
  const isBusy = useSignal(false);
  const start2 = (event) => {
    if (isBusy.value) return event.preventDefault();
    isBusy.value = true;
    void responseOf(new URL(href), null, { headers: { Range: "bytes=0-0" } }).then(
      (answer) => answer.body?.cancel(),
      (error) => followed.explain(error)
    ).finally(() => isBusy.value = false);
  };
  return /* @__PURE__ */ a(
    "a",
    {
      class: isButton ? "button small" : "",
      href,
      download: "",
      "aria-disabled": isBusy.value,
      onClick: start2,
      children: [
        isBusy.value ? text("file.making", { file: label }) : isButton ? label : /* @__PURE__ */ a("b", { children: label }),
        ending && /* @__PURE__ */ a("small", { children: [
          " .",
          ending
        ] })
      ]
    }
  );
}
function Downloads({ curves, followed }) {
  const groups = GROUPS.map((group) => ({
    group,
    files: downloads.flatMap((one) => {
      const href = one.group === group ? addressOf2(curves, one.name) : null;
      return href ? [{ one, href }] : [];
    })
  })).filter(({ files }) => files.length);
  return /* @__PURE__ */ a("div", { class: "downloads", id: "downloads", children: groups.map(({ group, files }) => /* @__PURE__ */ a("section", { "aria-label": text(`files.${group}`), children: [
    /* @__PURE__ */ a("h3", { children: text(`files.${group}`) }),
    /* @__PURE__ */ a("ul", { children: files.map(({ one, href }) => {
      const [label, hint] = textsOf(one);
      const ending = (one.name === "drawn" ? href : one.name).split(".").at(-1);
      return /* @__PURE__ */ a("li", { children: [
        /* @__PURE__ */ a(FileLink, { ...{ href, followed, ending, label } }),
        /* @__PURE__ */ a("span", { class: "hint", children: hint })
      ] }, one.name);
    }) })
  ] }, group)) });
}

// src/page/measure/figure.tsx
function Figure({ player, reader, person, avatar: avatar2, name }) {
  const place2 = T(null);
  A(() => {
    let isGone = false;
    const mounted = mountAvatar(place2.current);
    mounted.then((made2) => {
      if (isGone) return;
      avatar2.value = made2;
      name.value = made2.state().name;
    }, showError);
    return () => {
      isGone = true;
      avatar2.value = null;
      mounted.then(
        (made2) => made2.dispose(),
        () => {
        }
      );
    };
  }, []);
  useSignalEffect(() => {
    const [shown2, index, id] = [avatar2.value, player.shown.value, person.value];
    if (!shown2 || index < 0) return;
    void reader.read(index).then((details) => {
      if (avatar2.peek() === shown2 && player.shown.peek() === index)
        shown2.show(details ? ofPerson(details, id) : {});
    }, showError);
  });
  const loaded = T(model.peek());
  useSignalEffect(() => {
    const [shown2, file] = [avatar2.value, model.value];
    if (!shown2 || file === loaded.current) return;
    loaded.current = file;
    (file ? loadModel(shown2, file) : loadSample(shown2)).then(
      () => name.value = shown2.state().name,
      showError
    );
  });
  return /* @__PURE__ */ a("div", { ref: place2, id: "result-figure", class: "space", role: "img", "aria-label": text("avatar") });
}
function ofPerson(frame, id) {
  const isWanted = (one) => id === null || (one.id ?? null) === id;
  const { people, bodies } = frame;
  return {
    ...frame,
    ...people ? { people: people.filter(isWanted) } : {},
    ...bodies ? { bodies: bodies.filter(isWanted) } : {}
  };
}
function FigureControls({ curves, isOn, person, avatar: avatar2, name }) {
  const ids = peopleOf(curves);
  const shown2 = avatar2.value?.state();
  return /* @__PURE__ */ a("div", { class: "avatar-foot", children: [
    /* @__PURE__ */ a(
      "button",
      {
        id: "result-avatar",
        class: "button small",
        type: "button",
        "aria-pressed": isOn.value,
        onClick: () => isOn.value = !isOn.value,
        children: text("avatar")
      }
    ),
    isOn.value && shown2 && /* @__PURE__ */ a($, { children: [
      ids.length > 1 && /* @__PURE__ */ a(
        "select",
        {
          class: "compact",
          "aria-label": text("avatar.person"),
          onChange: ({ currentTarget }) => person.value = Number(currentTarget.value),
          children: ids.map((id) => /* @__PURE__ */ a("option", { value: id, selected: id === person.value, children: [
            text("one.holistic"),
            " #",
            id
          ] }, id))
        }
      ),
      /* @__PURE__ */ a("label", { class: "button small", children: [
        /* @__PURE__ */ a(
          "input",
          {
            id: "result-model",
            class: "visually-hidden",
            type: "file",
            accept: ".glb,.vrm",
            onChange: ({ currentTarget }) => {
              model.value = currentTarget.files?.[0] ?? model.peek();
              currentTarget.value = "";
            }
          }
        ),
        text("avatar.file")
      ] }),
      name.value && /* @__PURE__ */ a("button", { class: "button small", type: "button", onClick: () => model.value = null, children: text("avatar.sample") }),
      /* @__PURE__ */ a("p", { id: "result-figure-state", class: "hint", role: "status", children: name.value ? text("avatar.moves", { ...shown2 }) : text("avatar.own") })
    ] })
  ] });
}
function peopleOf({ instances }) {
  const ids = instances.flatMap(({ kind, id }) => kind === "body" && id !== null ? [id] : []);
  return [...new Set(ids)];
}

// src/page/icon.tsx
var Icon = ({ name }) => /* @__PURE__ */ a("svg", { "aria-hidden": "true", children: /* @__PURE__ */ a("use", { href: `icons.svg#${name}` }) });

// src/page/measure/angle.ts
var JOINTS = {
  elbow: ["shoulder", "elbow", "wrist"],
  shoulder: ["elbow", "shoulder", "hip"],
  hip: ["shoulder", "hip", "knee"],
  knee: ["hip", "knee", "ankle"],
  ankle: ["knee", "ankle", "foot_index"]
};
var LEAST_VISIBLE = 0.5;
var LINE_PX = 3;
var ARC_PX = 34;
var FONT_PX = 17;
function paintAngles(ctx, unit, details, series, index) {
  const colours = lineColours(series.map(({ side }) => side));
  series.forEach(({ measure: measure2, values, tracked, side }, k) => {
    const joint = /^(\w+?)_angle_(?:2d_)?rad$/.exec(withoutSide(measure2))?.[1] ?? "";
    const names = JOINTS[joint];
    const value = values[index];
    if (!names || tracked.kind !== "body" || typeof value !== "number") return;
    const points = pointsOf(details, tracked.id, names, sideOf(measure2));
    if (points) paintAngle(ctx, unit, points, colours[k], shown(measure2, value), side);
  });
}
function pointsOf({ bodies = [], people = [] }, id, names, side) {
  const body = bodies.find((one) => (one.id ?? null) === id) ?? people.find((one) => (one.id ?? one.body?.id ?? null) === id)?.body;
  const found = names.map(
    (name) => body?.keypoints.find((point) => point.name === `${side}_${name}`)
  );
  const isSeen = found.every((point) => point && (point.score ?? 1) >= LEAST_VISIBLE);
  return isSeen ? found : null;
}
function paintAngle(ctx, unit, [from, joint, to], colour, label, side) {
  const [first, second] = [from, to].map(({ x: x3, y: y2 }) => Math.atan2(y2 - joint.y, x3 - joint.x));
  const turn = (second - first + 3 * Math.PI) % (2 * Math.PI) - Math.PI;
  const reach = ARC_PX * unit;
  ctx.save();
  ctx.lineCap = ctx.lineJoin = "round";
  for (const [stroke, width2] of [
    ["#000000a0", LINE_PX + 3],
    ["#ffffff", LINE_PX]
  ]) {
    ctx.strokeStyle = stroke;
    ctx.lineWidth = width2 * unit;
    ctx.beginPath();
    ctx.moveTo(from.x, from.y);
    ctx.lineTo(joint.x, joint.y);
    ctx.lineTo(to.x, to.y);
    ctx.stroke();
  }
  ctx.beginPath();
  ctx.moveTo(joint.x, joint.y);
  ctx.arc(joint.x, joint.y, reach, first, second, turn < 0);
  ctx.closePath();
  ctx.fillStyle = colour;
  ctx.globalAlpha = 0.75;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.font = `700 ${FONT_PX * unit}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  const { width } = ctx.measureText(label);
  const height = FONT_PX * 1.5 * unit;
  const pad = 7 * unit;
  const isRight = side === "left";
  const left = isRight ? joint.x + 12 * unit : joint.x - width - 2 * pad - 12 * unit;
  const { a: zoom, e: margin } = ctx.getTransform();
  const end2 = (ctx.canvas.width - margin) / zoom - width - 2 * pad - 2 * unit;
  const x2 = Math.max(Math.min(left, end2), 2 * unit);
  ctx.fillStyle = "#12141ce0";
  ctx.beginPath();
  ctx.roundRect(x2, joint.y - height / 2, width + 2 * pad, height, height / 2);
  ctx.fill();
  ctx.fillStyle = "#ffffff";
  ctx.fillText(label, x2 + pad, joint.y + unit);
  ctx.restore();
}

// src/page/measure/picture.tsx
var MINUTE_S = 60;
function Picture({ curves, player, reader, series }) {
  const path = curves.job.downloads?.["drawn"];
  const { width, height } = curves;
  const ratio = width && height ? `${width} / ${height}` : "4 / 3";
  return /* @__PURE__ */ a("div", { class: "result-picture", style: { aspectRatio: ratio }, children: [
    !path && /* @__PURE__ */ a("p", { class: "hint", children: text("result.no_picture") }),
    path?.endsWith(".mp4") && /* @__PURE__ */ a(Video, { curves, path, player }),
    path && !path.endsWith(".mp4") && /* @__PURE__ */ a(Still, { curves, path, player }),
    /* @__PURE__ */ a(Angles, { curves, player, reader, series })
  ] });
}
function Video({ curves, path, player }) {
  const video = T(null);
  const canvas = T(null);
  const size = useSize(canvas);
  const hasFailed = useSignal(false);
  A(() => {
    if (video.current) player.attach(video.current);
  }, [player]);
  useSignalEffect(() => {
    void size.value;
    if (player.shown.value < 0 || hasFailed.value) return;
    const { ctx, width, height } = contextOf(canvas.current, curves);
    ctx.drawImage(video.current, 0, 0, width, height);
  });
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a(
      "video",
      {
        ref: video,
        src: new URL(path, thisServer).href,
        muted: true,
        playsInline: true,
        preload: "auto",
        "aria-label": text("result.picture"),
        onError: () => {
          hasFailed.value = true;
          player.detach();
        },
        onClick: () => player.playing.value ? player.pause() : player.play()
      }
    ),
    /* @__PURE__ */ a("canvas", { ref: canvas, id: "result-frame", "aria-hidden": "true" }),
    hasFailed.value && /* @__PURE__ */ a("p", { class: "hint", children: text("result.no_video") })
  ] });
}
function Still({ curves, path, player }) {
  const [address, of] = [useSignal(""), T(0)];
  A(() => player.showImage(null), [player]);
  useSignalEffect(() => {
    const index = player.index.value;
    const show = (shown2) => {
      if (player.index.peek() !== index) return;
      URL.revokeObjectURL(address.peek());
      [address.value, of.current] = [shown2, index];
      if (!shown2) player.showImage(index);
    };
    if (!path.endsWith(".zip")) return show(new URL(path, thisServer).href);
    return void pictureOf(curves, index).then(
      (blob) => show(blob ? URL.createObjectURL(blob) : ""),
      showError
    );
  });
  return /* @__PURE__ */ a(
    "img",
    {
      src: address.value,
      alt: text("result.picture"),
      onLoad: () => player.showImage(of.current)
    }
  );
}
function Angles({ curves, player, reader, series }) {
  const canvas = T(null);
  const size = useSize(canvas);
  useSignalEffect(() => {
    const [index, lines] = [player.shown.value, series()];
    void size.value;
    let isCurrent = true;
    const draw = (details) => {
      if (!isCurrent || !canvas.current) return;
      const { ctx, scale } = contextOf(canvas.current, curves);
      if (details) paintAngles(ctx, 1 / scale, details, lines, index);
      canvas.current.dataset["index"] = details ? String(index) : "";
    };
    const known = reader.loaded(index);
    draw(known ?? null);
    if (known === void 0 && index >= 0) void reader.read(index).then(draw, showError);
    return () => isCurrent = false;
  });
  return /* @__PURE__ */ a("canvas", { ref: canvas, id: "result-angles", "aria-hidden": "true" });
}
function useSize(canvas) {
  const size = useSignal("");
  A(() => {
    const resized = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      size.value = `${width} ${height}`;
    });
    resized.observe(canvas.current);
    return () => resized.disconnect();
  }, []);
  return size;
}
function contextOf(canvas, curves) {
  const ctx = clearedContext(canvas);
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [curves.width || clientWidth, curves.height || clientHeight];
  const scale = Math.min(clientWidth / width, clientHeight / height);
  ctx.translate((clientWidth - width * scale) / 2, (clientHeight - height * scale) / 2);
  ctx.scale(scale, scale);
  return { ctx, scale, width, height };
}
function clock({ isVideo: isVideo2, times }, time) {
  if (!isVideo2) return String(Math.round(time));
  const rounded2 = Math.round(time * 100) / 100;
  if ((times.at(-1) ?? 0) < MINUTE_S) return `${rounded2.toFixed(2)} s`;
  const seconds = (rounded2 % MINUTE_S).toFixed(2).padStart(5, "0");
  return `${Math.floor(rounded2 / MINUTE_S)}:${seconds}`;
}
function Transport({ curves, player }) {
  const { times, isVideo: isVideo2 } = curves;
  const label = useComputed(
    () => `${clock(curves, times[player.index.value] ?? 0)} / ${clock(curves, times.at(-1) ?? 0)}`
  );
  const step = (by, key) => /* @__PURE__ */ a(
    "button",
    {
      class: "icon-button",
      type: "button",
      title: text(key),
      "aria-label": text(key),
      onClick: () => player.step(by),
      children: /* @__PURE__ */ a(Icon, { name: by < 0 ? "back" : "forward" })
    }
  );
  const playKey = player.playing.value ? "transport.pause" : "transport.play";
  return /* @__PURE__ */ a("div", { class: "transport", role: "group", "aria-label": text("transport"), children: [
    step(-1, isVideo2 ? "transport.back" : "transport.previous"),
    /* @__PURE__ */ a(
      "button",
      {
        id: "result-play",
        class: "icon-button",
        type: "button",
        title: text(playKey),
        "aria-label": text(playKey),
        onClick: () => player.playing.value ? player.pause() : player.play(),
        children: /* @__PURE__ */ a(Icon, { name: player.playing.value ? "pause" : "play" })
      }
    ),
    step(1, isVideo2 ? "transport.forward" : "transport.next"),
    /* @__PURE__ */ a(
      "input",
      {
        id: "result-position",
        type: "range",
        min: 0,
        max: times.length - 1,
        step: 1,
        value: player.index.value,
        "aria-label": text("transport.position"),
        "aria-valuetext": label.value,
        onInput: ({ currentTarget }) => {
          player.pause();
          player.seek(times[Number(currentTarget.value)] ?? 0);
        }
      }
    ),
    /* @__PURE__ */ a("span", { id: "result-time", class: "position-text", children: label }),
    isVideo2 && /* @__PURE__ */ a(
      "select",
      {
        class: "compact",
        "aria-label": text("transport.speed"),
        onChange: ({ currentTarget }) => player.speed = Number(currentTarget.value),
        children: [0.1, 0.25, 0.5, 1, 2].map((speed) => /* @__PURE__ */ a("option", { value: speed, selected: speed === 1, children: [
          speed,
          "×"
        ] }, speed))
      }
    )
  ] });
}

// src/page/measure/graph.tsx
var ZOOM = 1.6;
var MOST_CHARTS = 4;
function Graphs({ curves, compared, player, measures, range }) {
  const names = measuresOf(curves);
  const all = extentOf(curves, compared);
  const zoom = (factor, around2 = player.time.peek()) => {
    const [from, to] = range.peek();
    const width = Math.min(Math.max((to - from) * factor, 1), all[1] - all[0]);
    const share2 = to > from ? (around2 - from) / (to - from) : 0.5;
    const start2 = Math.min(Math.max(around2 - share2 * width, all[0]), all[1] - width);
    range.value = [start2, start2 + width];
  };
  useSignalEffect(() => {
    const now = player.time.value;
    const [from, to] = range.peek();
    if (now >= from && now <= to) return;
    const start2 = Math.min(Math.max(now - (to - from) * 0.1, all[0]), all[1] - (to - from));
    range.value = [start2, start2 + to - from];
  });
  const button = (label, key, onClick, isOff = false) => /* @__PURE__ */ a(
    "button",
    {
      class: "icon-button text",
      type: "button",
      title: text(key),
      "aria-label": text(key),
      disabled: isOff,
      onClick,
      children: label
    }
  );
  const isAll = range.value[1] - range.value[0] >= all[1] - all[0] - 1e-6;
  return /* @__PURE__ */ a($, { children: [
    measures.value.map((name, k) => /* @__PURE__ */ a("div", { class: "graph", children: [
      /* @__PURE__ */ a("div", { class: "graph-head", children: [
        /* @__PURE__ */ a(
          "select",
          {
            id: k === 0 ? "result-measure" : `result-measure-${k}`,
            class: "compact",
            "aria-label": text("live.measure"),
            onChange: ({ currentTarget }) => {
              const { value } = currentTarget;
              measures.value = measures.value.map((old, at) => at === k ? value : old);
            },
            children: names.map((each) => /* @__PURE__ */ a("option", { value: each, selected: each === name, children: measureLabel(each) }, each))
          }
        ),
        noteOf(name) && /* @__PURE__ */ a("span", { class: "hint", children: noteOf(name) }),
        k > 0 && button("×", "result.curve_less", () => {
          measures.value = measures.value.filter((_, at) => at !== k);
        }),
        k === 0 && /* @__PURE__ */ a("span", { class: "zoom", children: [
          button("−", "result.zoom_out", () => zoom(ZOOM), isAll),
          button("+", "result.zoom_in", () => zoom(1 / ZOOM))
        ] })
      ] }),
      /* @__PURE__ */ a(Graph, { ...{ curves, compared, player, range, name, zoom } })
    ] }, k)),
    measures.value.length < MOST_CHARTS && measures.value.length < names.length && /* @__PURE__ */ a(
      "button",
      {
        id: "result-more",
        class: "button small",
        type: "button",
        onClick: () => {
          const next = names.find((name) => !measures.value.includes(name));
          if (next) measures.value = [...measures.value, next];
        },
        children: text("result.curve_more")
      }
    )
  ] });
}
function Graph({ curves, compared, player, range, name, zoom }) {
  const place2 = T(null);
  const chart = T(null);
  const isReady = useSignal(false);
  const hidden = useSignal(/* @__PURE__ */ new Set());
  const lines = linesOf(curves, compared, name);
  A(() => {
    let isGone = false;
    void import("./chart.js").then(({ createChart }) => {
      if (isGone || !place2.current) return;
      const seek = (time) => {
        player.pause();
        player.seek(time);
      };
      chart.current = createChart(place2.current, seek, zoom);
      isReady.value = true;
    });
    return () => {
      isGone = true;
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);
  const language = document.documentElement.lang;
  const shownLines = lines.filter(({ key }) => !hidden.value.has(key));
  A(() => {
    chart.current?.show(contentOf(curves, shownLines, name), range.peek());
    chart.current?.moveTo(player.time.peek());
  }, [isReady.value, curves, compared, name, hidden.value, language]);
  useSignalEffect(() => {
    const shownRange = range.value;
    chart.current?.zoom(shownRange);
  });
  useSignalEffect(() => {
    const now = player.time.value;
    chart.current?.moveTo(now);
  });
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a(
      "div",
      {
        ref: place2,
        class: "chart",
        role: "img",
        "aria-label": `${measureLabel(name)}: ${lines.map(({ label }) => label).join(", ")}`,
        "data-points": lines.reduce((sum, { series }) => sum + series.values.length, 0)
      }
    ),
    /* @__PURE__ */ a("ul", { class: "plot-legend", "aria-label": measureLabel(name), children: lines.map((line) => /* @__PURE__ */ a("li", { children: /* @__PURE__ */ a(
      "button",
      {
        type: "button",
        class: `legend${line.isOther ? " dashed" : ""}`,
        style: { "--colour": line.colour },
        "aria-pressed": !hidden.value.has(line.key),
        onClick: () => {
          const next = new Set(hidden.value);
          if (!next.delete(line.key)) next.add(line.key);
          hidden.value = next;
        },
        children: [
          line.label,
          " ",
          /* @__PURE__ */ a(Now, { ...{ player, line } })
        ]
      }
    ) }, line.key)) })
  ] });
}
function Now({ player, line }) {
  const { times, series } = line;
  const now = player.time.value;
  const isInside = now >= times[0] - 1e-6 && now <= times.at(-1) + 1e-6;
  const value = isInside ? series.values[indexAt(times, now)] : null;
  return /* @__PURE__ */ a("b", { children: shown(series.measure, value) });
}
function extentOf({ times }, compared) {
  const others = compared ? shiftedTimes(compared) : [];
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1];
  const from = Math.min(first, others[0] ?? first);
  return [from, Math.max(last, others.at(-1) ?? last, from + 1e-3)];
}
var shifted = /* @__PURE__ */ new WeakMap();
function shiftedTimes(compared) {
  const known = shifted.get(compared) ?? compared.curves.times.map((time) => time + compared.shift);
  shifted.set(compared, known);
  return known;
}
function titlesOf(own, compared) {
  const other = compared?.curves ?? own;
  if (own.name !== other.name) return [own.name, other.name];
  const dates = [dateText(own.job), dateText(other.job)];
  const [first, second] = dates[0] === dates[1] ? ["1", "2"] : dates;
  return [`${own.name} (${first})`, `${other.name} (${second})`];
}
function linesOf(curves, compared, name) {
  const own = seriesOf(curves, name);
  const others = compared ? seriesOf(compared.curves, name) : [];
  const isOne = new Set([...own, ...others].map(({ tracked }) => tracked.label)).size === 1;
  const drawn = (list, times, isOther) => {
    const title = titlesOf(curves, compared)[Number(isOther)];
    const colours = lineColours(list.map(({ side }) => side));
    return list.map((series, k) => {
      const side = sideName(series.side);
      const who = isOne && side ? side : [series.tracked.label, side].filter(Boolean).join(" ");
      return {
        key: `${isOther} ${series.tracked.label} ${series.measure}`,
        label: compared ? `${title}: ${who}` : who,
        colour: colours[k],
        times,
        series,
        isOther
      };
    });
  };
  return [
    ...drawn(own, curves.times, false),
    ...compared ? drawn(others, shiftedTimes(compared), true) : []
  ];
}
function contentOf(curves, lines, name) {
  const { scale, unit, digits } = unitOf(name);
  return {
    lines: lines.map(({ label, colour, isOther, times, series }) => ({
      label,
      colour,
      dashed: isOther,
      times,
      values: scale === 1 ? series.values : series.values.map((value) => value && value * scale)
    })),
    bands: curves.repetitions.map(({ begin, end: end2, lowest }, k) => ({
      begin,
      end: end2,
      label: String(k + 1),
      dots: Object.entries(lowest).filter(([measure2]) => withoutSide(measure2) === name).map(([, { time, value }]) => ({ time, value: value * scale }))
    })),
    marks: curves.events.map(({ begin, end: end2, name: event }) => ({
      begin,
      end: end2,
      label: textOr(`gesture.${event}`, event.replaceAll("_", " "))
    })),
    unit,
    digits,
    ofTime: (time) => clock(curves, time).replace(/\.00?(?= s|$)/, "")
  };
}

// src/page/measure/player.ts
var DWELL_MS2 = 700;
var Player = class {
  time;
  index;
  /** index of the frame in the picture, -1 before the first one; of the position without a picture */
  shown;
  playing = y(false);
  times;
  #pictured = y(-1);
  #hasPicture = y(false);
  #video = null;
  #isFollowing = false;
  // whether the position follows the video
  #wanted = null;
  #timer;
  /** @param times of the frames, ascending */
  constructor(times) {
    this.times = times;
    this.time = y(times[0] ?? 0);
    this.index = O(() => indexAt(this.times, this.time.value));
    this.shown = O(() => this.#hasPicture.value ? this.#pictured.value : this.index.value);
  }
  /** Control a video, which has the times of the frames. */
  attach(video) {
    this.#video = video;
    this.#hasPicture.value = true;
    const follow = () => video.requestVideoFrameCallback((_, { mediaTime }) => {
      if (this.#video !== video) return;
      follow();
      const index = nearestTo(this.times, mediaTime);
      r(() => {
        this.#pictured.value = index;
        if (this.#isFollowing && !video.seeking) this.time.value = this.times[index] ?? 0;
      });
    });
    follow();
    video.onplay = () => {
      this.playing.value = true;
      this.#isFollowing = true;
    };
    video.onpause = () => this.playing.value = false;
    video.onloadeddata = video.onseeked = () => this.#seekVideo();
    this.#wanted = this.time.peek();
    this.#seekVideo();
  }
  /** Do without a picture. */
  detach() {
    this.#video = null;
    this.#hasPicture.value = false;
  }
  /** Note that the picture shows the image of a frame; null for the time until the first one. */
  showImage(index) {
    this.#hasPicture.value = true;
    if (index !== null) this.#pictured.value = index;
  }
  /** Show the frame at a time. */
  seek(time) {
    const { times } = this;
    const last = times.at(-1) ?? 0;
    this.#isFollowing = false;
    this.time.value = Math.min(Math.max(time, times[0] ?? 0), last);
    this.#wanted = this.time.peek();
    this.#seekVideo();
  }
  /** Show another frame. */
  step(by) {
    this.pause();
    const index = Math.min(Math.max(this.index.peek() + by, 0), this.times.length - 1);
    this.seek(this.times[index] ?? 0);
  }
  play() {
    const isAtEnd = this.index.peek() >= this.times.length - 1;
    if (isAtEnd) this.seek(this.times[0] ?? 0);
    if (this.#video) return void this.#video.play().catch(() => this.playing.value = false);
    this.playing.value = true;
    return this.#next();
  }
  pause() {
    this.#video?.pause();
    clearTimeout(this.#timer);
    this.playing.value = false;
  }
  set speed(value) {
    if (this.#video) this.#video.playbackRate = value;
  }
  dispose() {
    this.pause();
    this.#video = null;
  }
  #next() {
    this.#timer = setTimeout(() => {
      const next = this.index.peek() + 1;
      if (next >= this.times.length) return this.pause();
      this.seek(this.times[next]);
      return this.#next();
    }, DWELL_MS2);
  }
  /** Seek the video to the latest wanted frame. While it seeks, later wishes replace each other. */
  #seekVideo() {
    const video = this.#video;
    if (!video || this.#wanted === null) return;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.seeking) return;
    const index = indexAt(this.times, this.#wanted);
    const [from, to] = [this.times[index] ?? 0, this.times[index + 1]];
    video.currentTime = from + (to === void 0 ? 1e-3 : (to - from) / 2);
    this.#wanted = null;
  }
};
function nearestTo(times, time) {
  const index = indexAt(times, time);
  const [from, to] = [times[index] ?? 0, times[index + 1] ?? Infinity];
  return to - time < time - from ? index + 1 : index;
}

// src/page/measure/result.tsx
function Result({ id, setup }) {
  const followed = jobs.value.find(({ job }) => job.value.id === id);
  const curves = useSignal(null);
  const state = followed?.job.value.state;
  A(() => {
    curves.value = null;
    if (followed && state === "done")
      loadCurves(followed.job.peek()).then(
        (loaded) => curves.value = loaded,
        (error) => followed.explain(error)
      );
  }, [id, state]);
  const name = followed?.job.value.name ?? "";
  return /* @__PURE__ */ a("article", { class: "result", "aria-labelledby": "result-title", children: [
    /* @__PURE__ */ a("p", { children: /* @__PURE__ */ a(BackLink, {}) }),
    !followed && areJobsKnown.value && /* @__PURE__ */ a("section", { class: "card", children: /* @__PURE__ */ a("h2", { id: "result-title", children: text("result.gone") }) }),
    followed && /* @__PURE__ */ a(Head, { followed, curves: curves.value, name }),
    followed && curves.value && hasValues(curves.value) && /* @__PURE__ */ a(Views, { curves: curves.value, followed }, id),
    followed && curves.value && !hasValues(curves.value) && /* @__PURE__ */ a(Nothing, { curves: curves.value, followed, setup }, id)
  ] });
}
var hasValues = ({ instances }) => instances.length > 0;
function Nothing({ curves, followed, setup }) {
  const player = w(() => new Player(curves.times), [curves]);
  const reader = w(() => new FrameReader(curves), [curves]);
  A(() => () => player.dispose(), [player]);
  const { kind } = curves.job;
  const other = OTHERS[kind];
  const { files } = followed;
  const measure2 = async (wanted) => {
    const detectors2 = setup.detectorsOf([wanted], files.every(isImage));
    const [job] = await startJobs(files, detectors2, setup.store.state.style);
    const id = job?.job.peek().id;
    if (id) go({ task: "measure", result: id });
  };
  return /* @__PURE__ */ a("div", { class: "result-grid", children: [
    /* @__PURE__ */ a("section", { class: "card result-view", "aria-label": text("result.picture"), children: [
      /* @__PURE__ */ a(Picture, { ...{ curves, player, reader }, series: () => [] }),
      /* @__PURE__ */ a(Transport, { curves, player })
    ] }),
    /* @__PURE__ */ a("section", { class: "card result-moments", children: [
      /* @__PURE__ */ a("h3", { id: "result-none", children: textOr(`result.none.${kind}`, text("result.none")) }),
      /* @__PURE__ */ a("p", { class: "row", children: other && other in kinds && files.length ? /* @__PURE__ */ a(
        "button",
        {
          id: "result-other",
          class: "button small primary",
          type: "button",
          onClick: () => void measure2(other).catch(showError),
          children: text(`result.instead.${other}`)
        }
      ) : /* @__PURE__ */ a(
        "button",
        {
          id: "result-other",
          class: "button small primary",
          type: "button",
          onClick: () => go({ task: "measure" }),
          children: text("result.again")
        }
      ) })
    ] })
  ] });
}
var OTHERS = {
  body: "hands",
  holistic: "hands",
  hands: "body",
  face: "body"
};
function BackLink() {
  const target = { task: "measure", result: null, compared: null };
  return /* @__PURE__ */ a(
    "a",
    {
      class: "back",
      href: hashOf(target),
      onClick: (event) => {
        event.preventDefault();
        go(target);
      },
      children: [
        "← ",
        text("result.back")
      ]
    }
  );
}
function Head({ followed, curves, name }) {
  const job = followed.job.value;
  const lines = curves ? headlinesOf(curves) : headlinesOf(job);
  const isLoading = job.state === "done" && !curves;
  return /* @__PURE__ */ a("header", { class: "result-head", "data-state": job.state, children: [
    /* @__PURE__ */ a("div", { children: [
      /* @__PURE__ */ a("h2", { id: "result-title", children: [
        name,
        " ",
        /* @__PURE__ */ a(KindsTag, { job })
      ] }),
      lines.map((line) => /* @__PURE__ */ a("p", { class: "headline", children: line }, line)),
      curves?.summaries.map(({ id, sides }) => sides && /* @__PURE__ */ a("p", { children: inLanguage(sides) }, id)),
      /* @__PURE__ */ a("p", { class: "hint", role: "status", children: isLoading ? text("result.loading") : curves ? extentText(curves) : stateText(job) }),
      isActive(job) && /* @__PURE__ */ a(Progress, { job }),
      notesOf(job).map((note) => /* @__PURE__ */ a("p", { class: "hint", children: note }, note))
    ] }),
    /* @__PURE__ */ a("div", { class: "row", children: [
      curves && hasValues(curves) && /* @__PURE__ */ a(FirstDownloads, { curves, followed }),
      /* @__PURE__ */ a(Remove, { followed, onRemoved: () => go({ task: "measure" }) })
    ] })
  ] });
}
var KindsTag = ({ job }) => /* @__PURE__ */ a("span", { class: "tag", title: job.model, children: kindsText(job) });
function Progress({ job }) {
  const share2 = shareOf(job);
  const label = text("job.progress", { name: job.name });
  return /* @__PURE__ */ a("progress", { max: 1, "aria-label": label, ...share2 === null ? {} : { value: share2 } });
}
function Remove({ followed, onRemoved }) {
  const isAsked = useSignal(false);
  const job = followed.job.value;
  const { name } = job;
  const button = (key, onClick, kind = "") => /* @__PURE__ */ a(
    "button",
    {
      class: `button small ${kind}`,
      type: "button",
      "aria-label": `${text(key)}: ${name}`,
      onClick,
      children: text(key)
    }
  );
  if (isActive(job)) return button("job.cancel", () => void followed.cancel());
  if (!isAsked.value) return button("job.remove", () => isAsked.value = true, "quiet-button");
  const remove = async () => {
    await followed.erase();
    onRemoved?.();
  };
  return /* @__PURE__ */ a("span", { class: "row", children: [
    button("job.remove.sure", () => void remove(), "danger"),
    button("job.keep", () => isAsked.value = false)
  ] });
}
function Views({ curves, followed }) {
  const player = w(() => new Player(curves.times), [curves]);
  const reader = w(() => new FrameReader(curves), [curves]);
  A(() => () => player.dispose(), [player]);
  const measures = useSignal(measuresOf(curves).slice(0, 1));
  const compared = useSignal(null);
  const range = useSignal(extentOf(curves, null));
  const hasFigure = useSignal(model.peek() !== null || isResultWanted.peek());
  const avatar2 = useSignal(null);
  const name = useSignal("");
  const person = useSignal(peopleOf(curves)[0] ?? null);
  A(() => {
    isResultWanted.value = false;
  }, []);
  const angles = () => measures.value.filter(isAngle).flatMap((measure2) => seriesOf(curves, measure2));
  A(() => {
    range.value = extentOf(curves, compared.value);
  }, [compared.value]);
  useSignalEffect(() => {
    if (model.value) hasFigure.value = true;
  });
  return /* @__PURE__ */ a("div", { class: `result-grid${hasFigure.value ? " with-figure" : ""}`, children: [
    /* @__PURE__ */ a("section", { class: "card result-view", "aria-label": text("result.picture"), children: [
      /* @__PURE__ */ a("div", { class: "result-panes", children: [
        /* @__PURE__ */ a(Picture, { ...{ curves, player, reader }, series: angles }),
        hasFigure.value && /* @__PURE__ */ a(Figure, { ...{ player, reader, person, avatar: avatar2, name } })
      ] }),
      /* @__PURE__ */ a(Transport, { curves, player }),
      /* @__PURE__ */ a(FigureControls, { ...{ curves, person, avatar: avatar2, name }, isOn: hasFigure })
    ] }),
    /* @__PURE__ */ a("section", { class: "card result-moments", "aria-labelledby": "moments-title", children: [
      /* @__PURE__ */ a("h3", { id: "moments-title", children: text("result.moments") }),
      /* @__PURE__ */ a(Moments, { curves, player })
    ] }),
    /* @__PURE__ */ a("section", { class: "card result-curves", "aria-labelledby": "curves-title", children: [
      /* @__PURE__ */ a("div", { class: "card-head", children: [
        /* @__PURE__ */ a("h3", { id: "curves-title", children: text("result.curves") }),
        /* @__PURE__ */ a(Comparison, { curves, compared })
      ] }),
      /* @__PURE__ */ a(Graphs, { ...{ curves, player, measures, range }, compared: compared.value })
    ] }),
    /* @__PURE__ */ a("section", { class: "card result-values", "aria-labelledby": "values-title", children: [
      /* @__PURE__ */ a("h3", { id: "values-title", children: text("result.values") }),
      /* @__PURE__ */ a(ValueTable, { curves, player })
    ] }),
    /* @__PURE__ */ a("section", { class: "card result-files", "aria-labelledby": "files-title", children: [
      /* @__PURE__ */ a("h3", { id: "files-title", children: text("files") }),
      /* @__PURE__ */ a(Downloads, { curves, followed })
    ] })
  ] });
}
function Comparison({ curves, compared }) {
  const others = jobs.value.filter(
    ({ job }) => job.value.state === "done" && job.value.id !== curves.job.id
  );
  const chosen = place.value.compared;
  const other = others.find(({ job }) => job.value.id === chosen);
  A(() => {
    if (!other) compared.value = null;
    else if (compared.value?.curves.job.id !== chosen)
      loadCurves(other.job.peek()).then(
        (loaded) => compared.value = { curves: loaded, shift: 0 },
        (error) => other.explain(error)
      );
  }, [other, chosen]);
  if (!others.length) return null;
  const [own, theirs] = [curves.repetitions[0], compared.value?.curves.repetitions[0]];
  return /* @__PURE__ */ a("div", { class: "comparison", children: [
    /* @__PURE__ */ a("label", { for: "result-with", children: text("result.with") }),
    /* @__PURE__ */ a(
      "select",
      {
        id: "result-with",
        class: "compact",
        onChange: ({ currentTarget }) => go({ ...place.value, compared: currentTarget.value || null }),
        children: [
          /* @__PURE__ */ a("option", { value: "", selected: !other, children: text("compare.off") }),
          others.map(({ job: { value } }) => /* @__PURE__ */ a("option", { value: value.id, selected: value.id === chosen, children: [value.name, kindsText(value), dateText(value)].filter(Boolean).join(" · ") }, value.id))
        ]
      }
    ),
    own && theirs && compared.value && /* @__PURE__ */ a("label", { class: "switch", children: [
      /* @__PURE__ */ a(
        "input",
        {
          id: "result-align",
          type: "checkbox",
          checked: compared.value.shift !== 0,
          onChange: ({ currentTarget }) => {
            const shift = currentTarget.checked ? own.begin - theirs.begin : 0;
            compared.value = { curves: compared.value.curves, shift };
          }
        }
      ),
      /* @__PURE__ */ a("span", { children: text("result.align") })
    ] })
  ] });
}
function Moments({ curves, player }) {
  const { repetitions, uncounted, events } = curves;
  const jump = (time) => {
    player.pause();
    player.seek(time);
    document.querySelector(".result-picture")?.scrollIntoView({ block: "nearest" });
  };
  if (!repetitions.length && !uncounted.length && !events.length)
    return /* @__PURE__ */ a(Extremes, { ...{ curves, jump } });
  const moments = [
    ...repetitions.map((one, k) => ({
      time: one.begin,
      item: /* @__PURE__ */ a("li", { children: /* @__PURE__ */ a("button", { type: "button", onClick: () => jump(deepestOf(one).time), children: [
        /* @__PURE__ */ a("b", { children: text("result.repetition", {
          number: k + 1,
          joint: textOr(`measure.${one.joint}`, one.joint)
        }) }),
        /* @__PURE__ */ a("span", { children: [
          clock(curves, one.begin),
          "–",
          clock(curves, one.end)
        ] }),
        Object.entries(one.lowest).map(([name, { value, error, time }]) => /* @__PURE__ */ a("span", { children: text("result.lowest", {
          measure: measureName(name),
          value: [shown(name, value), ...error ? [shown(name, error)] : []].join(" ± "),
          time: clock(curves, time)
        }) }, name))
      ] }) }, `r${k}`)
    })),
    ...uncounted.map(({ measure: measure2, value, time, texts }, k) => ({
      time,
      item: /* @__PURE__ */ a("li", { class: "uncounted", children: /* @__PURE__ */ a("button", { type: "button", onClick: () => jump(time), children: [
        /* @__PURE__ */ a("b", { children: text("result.uncounted") }),
        /* @__PURE__ */ a("span", { children: text("result.lowest", {
          measure: measureName(measure2),
          value: shown(measure2, value),
          time: clock(curves, time)
        }) }),
        /* @__PURE__ */ a("span", { class: "hint", children: inLanguage(texts) })
      ] }) }, `u${k}`)
    })),
    ...events.map(({ name, begin, end: end2, id, handedness }, k) => ({
      time: begin,
      item: /* @__PURE__ */ a("li", { children: /* @__PURE__ */ a("button", { type: "button", onClick: () => jump(begin), children: [
        /* @__PURE__ */ a("b", { children: textOr(`gesture.${name}`, name.replaceAll("_", " ")) }),
        /* @__PURE__ */ a("span", { children: [
          clock(curves, begin),
          "–",
          clock(curves, end2)
        ] }),
        /* @__PURE__ */ a("span", { children: [sideName(sideOf("", handedness)), `#${id}`].filter(Boolean).join(" ") })
      ] }) }, `e${k}`)
    }))
  ].sort((one, other) => one.time - other.time);
  return /* @__PURE__ */ a("ol", { class: "moments", children: moments.map(({ item }) => item) });
}
var deepestOf = ({ lowest, begin }) => Object.values(lowest).reduce((least, one) => one.value < least.value ? one : least, {
  value: Infinity,
  time: begin
});
function Extremes({ curves, jump }) {
  const [first] = measuresOf(curves);
  const series = first === void 0 ? [] : seriesOf(curves, first);
  if (!series.length) return /* @__PURE__ */ a("p", { class: "hint", children: text("result.nothing") });
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a("p", { class: "hint", children: text("result.no_repetition") }),
    /* @__PURE__ */ a("ol", { class: "moments", children: series.flatMap(({ tracked, measure: measure2, values }) => {
      const found = extremesOf(values);
      if (!found) return [];
      return ["low", "high"].map((end2) => {
        const [index, time] = [found[end2], curves.times[found[end2]]];
        return /* @__PURE__ */ a("li", { children: /* @__PURE__ */ a("button", { type: "button", onClick: () => jump(time), children: [
          /* @__PURE__ */ a("b", { children: text(`result.${end2}`) }),
          /* @__PURE__ */ a("span", { children: [
            tracked.label,
            ": ",
            measureName(measure2),
            " ",
            shown(measure2, values[index])
          ] }),
          /* @__PURE__ */ a("span", { children: clock(curves, time) })
        ] }) }, `${tracked.label} ${measure2} ${end2}`);
      });
    }) })
  ] });
}
function ValueTable({ curves, player }) {
  const here = useComputed(() => clock(curves, player.times[player.index.value] ?? 0));
  return /* @__PURE__ */ a("div", { class: "live-table", tabIndex: 0, role: "group", "aria-labelledby": "values-title", children: curves.instances.map((tracked) => /* @__PURE__ */ a("table", { children: [
    /* @__PURE__ */ a("thead", { children: /* @__PURE__ */ a("tr", { children: [
      /* @__PURE__ */ a("th", { scope: "col", children: tracked.label }),
      /* @__PURE__ */ a("th", { scope: "col", children: here }),
      /* @__PURE__ */ a("th", { scope: "col", children: text("result.low") }),
      /* @__PURE__ */ a("th", { scope: "col", children: text("result.high") })
    ] }) }),
    /* @__PURE__ */ a("tbody", { children: rowsOf(tracked).map(({ name, values, low, high }) => /* @__PURE__ */ a("tr", { children: [
      /* @__PURE__ */ a("th", { scope: "row", children: measureName(name) }),
      /* @__PURE__ */ a(ValueCell, { ...{ player, name, values } }),
      /* @__PURE__ */ a("td", { children: shown(name, low) }),
      /* @__PURE__ */ a("td", { children: shown(name, high) })
    ] }, name)) })
  ] }, `${tracked.label} ${tracked.handedness}`)) });
}
function ValueCell({ player, name, values }) {
  const value = useComputed(() => shown(name, values[player.index.value]));
  return /* @__PURE__ */ a("td", { children: value });
}
var rows = /* @__PURE__ */ new WeakMap();
function rowsOf(tracked) {
  const known = rows.get(tracked);
  if (known) return known;
  const made2 = Object.entries(tracked.measures).flatMap(([name, values]) => {
    const found = extremesOf(values);
    return found ? [{ name, values, low: values[found.low], high: values[found.high] }] : [];
  }).sort((a2, b) => rank(a2.name) - rank(b.name));
  rows.set(tracked, made2);
  return made2;
}
var rank = (name) => withoutSide(name).endsWith("_angle_rad") ? 0 : 1;

// src/page/controls.tsx
var STEP = 0.05;
function Control(props) {
  const { id, name, hint } = props;
  return /* @__PURE__ */ a("div", { class: "option", title: name, children: [
    /* @__PURE__ */ a(Field, { ...props }),
    hint && /* @__PURE__ */ a("p", { class: "hint", id: `${id}-hint`, children: hint })
  ] });
}
function Field({ id, schema, value, words, hint, choices, onChange }) {
  const { minimum, maximum } = schema;
  const shared = { id, ...hint ? { "aria-describedby": `${id}-hint` } : {} };
  if (schema.type === "boolean")
    return /* @__PURE__ */ a(Switch, { ...shared, label: words, isOn: value === true, onChange: (isOn) => onChange(isOn) });
  if (schema.enum)
    return /* @__PURE__ */ a("div", { class: "field", children: [
      /* @__PURE__ */ a("label", { for: id, children: words }),
      /* @__PURE__ */ a(Select, { ...shared, value: String(value ?? ""), choices, onChange })
    ] });
  if (schema.type === "number" && maximum !== void 0)
    return /* @__PURE__ */ a("div", { class: "field slider", children: [
      /* @__PURE__ */ a("label", { for: id, children: words }),
      /* @__PURE__ */ a("output", { for: id, children: value === void 0 ? text("option.default") : Number(value).toFixed(2) }),
      /* @__PURE__ */ a(
        "input",
        {
          ...shared,
          type: "range",
          min: minimum ?? 0,
          max: maximum,
          step: STEP,
          value: Number(value ?? ((minimum ?? 0) + maximum) / 2),
          onInput: ({ currentTarget }) => onChange(Number(currentTarget.value))
        }
      )
    ] });
  return /* @__PURE__ */ a("div", { class: "field number", children: [
    /* @__PURE__ */ a("label", { for: id, children: words }),
    /* @__PURE__ */ a(
      "input",
      {
        ...shared,
        type: "number",
        inputMode: "decimal",
        min: minimum,
        max: maximum,
        step: schema.type === "integer" ? 1 : "any",
        placeholder: String(schema.default ?? ""),
        value: typeof value === "number" ? value : "",
        onInput: ({ currentTarget: { value: given } }) => onChange(given && Number(given))
      }
    )
  ] });
}
var Switch = ({ id, label, isOn, onChange, icon, ...others }) => /* @__PURE__ */ a("label", { class: "switch", children: [
  /* @__PURE__ */ a(
    "input",
    {
      id,
      type: "checkbox",
      checked: isOn,
      onChange: ({ currentTarget }) => onChange(currentTarget.checked),
      ...others
    }
  ),
  icon,
  /* @__PURE__ */ a("span", { class: "words", children: label })
] });
function Select({ value: selected, choices, onChange, ...others }) {
  return w(
    () => /* @__PURE__ */ a(
      "select",
      {
        ...others,
        value: selected,
        onInput: ({ currentTarget }) => onChange(currentTarget.value),
        children: choices.map(
          (one) => "choices" in one ? /* @__PURE__ */ a("optgroup", { label: one.label, children: one.choices.map((choice) => /* @__PURE__ */ a(Entry, { ...choice, selected }, choice.value)) }, one.label) : /* @__PURE__ */ a(Entry, { ...one, selected }, one.value)
        )
      }
    ),
    [selected, JSON.stringify(choices)]
  );
}
var Entry = ({ value, label, selected }) => /* @__PURE__ */ a("option", { value, selected: value === selected, children: label });

// src/page/options-panel.tsx
var USUAL_COLOUR = "#38bdff";
function mountOptions(store2, detectors2, options) {
  Q(/* @__PURE__ */ a(Detectors2, { store: store2 }), detectors2);
  Q(/* @__PURE__ */ a(Options, { store: store2 }), options);
}
var nameOfKind = (kind) => textOr(`kind.${kind}`, kind);
function Detectors2({ store: store2 }) {
  const { here, detectors: detectors2 } = store2.now.value;
  return /* @__PURE__ */ a($, { children: [
    Object.keys(kindsWhere(here)).map((kind) => /* @__PURE__ */ a("div", { class: `detector${detectors2[kind]?.on ? " on" : ""}`, children: /* @__PURE__ */ a(
      Switch,
      {
        id: `detector-${kind}`,
        label: nameOfKind(kind),
        isOn: detectors2[kind]?.on ?? false,
        icon: /* @__PURE__ */ a(Icon, { name: kind }),
        onChange: (on) => switchKind(store2, kind, on)
      }
    ) }, kind)),
    /* @__PURE__ */ a(Hiding, { store: store2, id: "style-anonymise" })
  ] });
}
var HIDING = ["none", "blur", "persons", "black"];
function Hiding({ store: store2, id }) {
  const schema = STYLE_SCHEMAS["anonymise"];
  return /* @__PURE__ */ a(
    Control,
    {
      id,
      name: "style.anonymise",
      schema,
      value: store2.now.value.style.anonymise,
      words: text("style.anonymise"),
      hint: text("style.anonymise.hint"),
      choices: HIDING.map((value) => ({ value, label: text(`style.anonymise.${value}`) })),
      onChange: (anonymise) => {
        if (accepts(schema, anonymise))
          store2.set({ style: checkedStyle({ ...store2.state.style, anonymise }) });
      }
    }
  );
}
function switchKind(store2, kind, on) {
  const { detectors: detectors2 } = store2.state;
  const wanted = switched(kindsOn(detectors2), kind, on);
  store2.set({ detectors: withOnly(detectors2, wanted) });
}
function change(store2, kind, changes) {
  const { detectors: detectors2 } = store2.state;
  store2.set({ detectors: { ...detectors2, [kind]: { ...detectors2[kind], ...changes } } });
}
function Options({ store: store2 }) {
  const { here, source, mirrors, longest } = store2.now.value;
  const mirrored = isMirrored({ mirrors, source });
  const where = ["server", "page"].map((value) => ({ value, label: text(`here.${value}`) }));
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a(
      Switch,
      {
        id: "mirror",
        label: text("mirror"),
        isOn: mirrored,
        onChange: (on) => store2.set({ mirrors: { ...mirrors, [ofCamera(source)]: on } })
      }
    ),
    !hasNoServer && hasEngine() && /* @__PURE__ */ a(Field2, { id: "here", label: text("here"), children: /* @__PURE__ */ a(
      Select,
      {
        id: "here",
        value: here ? "page" : "server",
        choices: where,
        onChange: (value) => store2.set({ here: value === "page" })
      }
    ) }),
    Object.keys(kindsWhere(here)).map((kind) => /* @__PURE__ */ a(Models, { store: store2, kind }, kind)),
    /* @__PURE__ */ a("div", { class: "option", children: [
      /* @__PURE__ */ a(Field2, { id: "longest", label: text("size"), children: /* @__PURE__ */ a(
        Select,
        {
          id: "longest",
          value: String(longest),
          choices: LONGEST.map((side) => ({
            value: String(side),
            label: side ? text("size.longest", { side }) : text("size.own")
          })),
          onChange: (value) => store2.set({ longest: Number(value) })
        }
      ) }),
      /* @__PURE__ */ a("p", { class: "hint", children: text("size.hint") })
    ] }),
    /* @__PURE__ */ a(DetectorOptions, { store: store2 }),
    /* @__PURE__ */ a("details", { class: "part", id: "style-card", children: [
      /* @__PURE__ */ a("summary", { children: /* @__PURE__ */ a("h3", { children: text("style") }) }),
      /* @__PURE__ */ a(Drawing, { store: store2 })
    ] }),
    /* @__PURE__ */ a("details", { class: "part compare", children: [
      /* @__PURE__ */ a("summary", { children: /* @__PURE__ */ a("h3", { children: text("compare") }) }),
      /* @__PURE__ */ a(Rivals, { store: store2 })
    ] })
  ] });
}
var Field2 = ({ id, label, children }) => /* @__PURE__ */ a("div", { class: "field", children: [
  /* @__PURE__ */ a("label", { for: id, children: label }),
  children
] });
function Models({ store: store2, kind }) {
  const { here, detectors: detectors2, source } = store2.now.value;
  const [there, setting] = [kindsWhere(here)[kind], detectors2[kind]];
  if (!there || !setting?.on) return null;
  const { minimum, maximum } = kinds[kind].options.max_instances;
  const usual = source?.still ? text("max.usual") : String(there.max_instances);
  return /* @__PURE__ */ a("div", { class: "detector-options", children: [
    /* @__PURE__ */ a(Field2, { id: `model-${kind}`, label: `${nameOfKind(kind)}: ${text("model")}`, children: /* @__PURE__ */ a(
      "select",
      {
        id: `model-${kind}`,
        onInput: ({ currentTarget }) => change(store2, kind, { model: currentTarget.value }),
        children: there.models.map((name) => /* @__PURE__ */ a(
          "option",
          {
            value: name,
            disabled: name in there.missing,
            selected: name === modelOf(there, setting.model),
            children: [
              textOr(`model.${name}`, name),
              name in there.missing ? ` – ${text("model.missing")}` : ""
            ]
          },
          name
        ))
      }
    ) }),
    /* @__PURE__ */ a(Field2, { id: `max-${kind}`, label: text("max"), children: /* @__PURE__ */ a(
      "input",
      {
        id: `max-${kind}`,
        type: "number",
        inputMode: "numeric",
        min: minimum,
        max: maximum,
        step: 1,
        placeholder: usual,
        value: setting.max ?? "",
        onChange: ({ currentTarget: { value } }) => change(store2, kind, { max: value === "" ? null : within(kind, Number(value)) })
      }
    ) })
  ] });
}
function DetectorOptions({ store: store2 }) {
  const { here, source, options } = store2.now.value;
  return /* @__PURE__ */ a($, { children: Object.entries(formOptions(here, source?.still ?? false)).map(([name, schema]) => {
    const usual = schema.default;
    const chosen = options[name];
    return /* @__PURE__ */ a(
      Control,
      {
        id: `option-${name}`,
        name,
        schema,
        value: chosen !== void 0 && accepts(schema, chosen) ? chosen : usual,
        words: textOr(`option.${name}`, name.replaceAll("_", " ")),
        hint: textOr(`option.${name}.hint`, schema.description),
        choices: choicesOf(name, schema),
        onChange: (value) => {
          const { [name]: _, ...others } = store2.state.options;
          const isChosen = value !== (usual ?? false) && accepts(schema, value);
          store2.set({ options: isChosen ? { ...others, [name]: value } : others });
        }
      },
      name
    );
  }) });
}
function choicesOf(name, { enum: values = [], default: usual }) {
  const best = { value: "", label: textOr(`${name}.auto`, text("option.default")) };
  if (name !== "explain") {
    const listed = values.map((value) => ({ value, label: textOr(`${name}.${value}`, value) }));
    return usual === void 0 ? [best, ...listed] : listed;
  }
  const grouped = Object.values(TARGETS).flat();
  const others = values.filter((value) => value !== "none" && !grouped.includes(value));
  const choice = (value) => ({ value, label: targetName(value) });
  const groups = Object.entries({ ...TARGETS, others }).map(([group, targets]) => ({
    label: text(`target.group.${group}`),
    choices: targets.filter((target) => values.includes(target)).map(choice)
  }));
  return [choice("none"), ...groups];
}
function Drawing({ store: store2 }) {
  const { style } = store2.now.value;
  const changeStyle = (changes) => store2.set({ style: { ...store2.state.style, ...changes } });
  const { colour: _, anonymise: __, ...others } = STYLE_SCHEMAS;
  const values = new Map(Object.entries(style));
  const isSingle = !["", BY_INSTANCE].includes(style.colour);
  const palette = [
    { value: "", label: text("style.colour.part") },
    { value: BY_INSTANCE, label: text("style.colour.instance") },
    { value: "single", label: text("style.colour.single") }
  ];
  return /* @__PURE__ */ a($, { children: [
    Object.entries(others).map(([name, schema]) => /* @__PURE__ */ a(
      Control,
      {
        id: `style-${name}`,
        name: `style.${name}`,
        schema,
        value: values.get(name),
        words: textOr(`style.${name}`, schema.description),
        hint: textOr(`style.${name}.hint`, ""),
        choices: (schema.enum ?? []).map((value) => ({
          value,
          label: textOr(`style.${name}.${value}`, value)
        })),
        onChange: (value) => {
          if (accepts(schema, value)) changeStyle({ [name]: value });
        }
      },
      name
    )),
    /* @__PURE__ */ a(Field2, { id: "style-palette", label: text("style.colour"), children: /* @__PURE__ */ a(
      Select,
      {
        id: "style-palette",
        value: isSingle ? "single" : style.colour,
        choices: palette,
        onChange: (value) => changeStyle({ colour: value === "single" ? USUAL_COLOUR : value })
      }
    ) }),
    isSingle && /* @__PURE__ */ a(
      "input",
      {
        id: "style-colour",
        type: "color",
        "aria-label": text("style.colour.single"),
        value: style.colour,
        onInput: ({ currentTarget }) => changeStyle({ colour: currentTarget.value })
      }
    )
  ] });
}
function Rivals({ store: store2 }) {
  const { detectors: detectors2, here, compare } = store2.now.value;
  const there = kindsWhere(here);
  const on = Object.entries(detectors2).filter(([kind, { on: isOn }]) => isOn && kind in there);
  const others = on.flatMap(([kind, { model: model2 }]) => {
    const { models, missing } = there[kind];
    return models.filter((name) => name !== model2 && !(name in missing)).map((name) => ({
      value: `${kind}:${name}`,
      label: `${nameOfKind(kind)}: ${textOr(`model.${name}`, name)}`
    }));
  });
  const isKnown = others.some(({ value }) => value === compare);
  return /* @__PURE__ */ a(Field2, { id: "compare", label: text("compare.with"), children: /* @__PURE__ */ a(
    Select,
    {
      id: "compare",
      value: isKnown ? compare : "",
      choices: [{ value: "", label: text("compare.off") }, ...others],
      onChange: (value) => store2.set({ compare: value })
    }
  ) });
}

// src/page/dropped.ts
async function filesOf({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const loose = [...files];
  return entries.length ? (await Promise.all(entries.map(filesOfEntry))).flat() : loose;
}
async function filesOfEntry(entry) {
  if (entry.isFile) {
    const file = entry;
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = entry.createReader();
  const files = [];
  for (; ; ) {
    const some = await new Promise(
      (resolve, reject) => reader.readEntries(resolve, reject)
    );
    if (!some.length) return files;
    for (const child of some) files.push(...await filesOfEntry(child));
  }
}

// src/page/measure/start.tsx
var SAMPLE2 = "squats.mp4";
var FIRST5 = "body";
function Start({ setup, given }) {
  const files = useSignal(given.files);
  const chosen = useSignal(given.kinds.length ? given.kinds : usualKinds());
  const isOver = useSignal(false);
  const isBusy = useSignal(false);
  const put2 = (some) => files.value = some;
  function take(some) {
    const usable = some.filter((file) => isImage(file) || isVideo(file));
    if (some.length && !usable.length) showError(notMedia(some[0]));
    else {
      showError(null);
      put2(usable);
    }
  }
  async function sample() {
    const answer = await fetch(SAMPLE2);
    take([new File([await answer.blob()], SAMPLE2, { type: "video/mp4" })]);
  }
  async function start2() {
    isBusy.value = true;
    const from = place.value;
    try {
      const still = files.value.every(isImage);
      const [job, ...others] = await startJobs(
        files.value,
        setup.detectorsOf(chosen.value, still),
        setup.store.state.style
      );
      put2([]);
      const id = job?.job.peek().id;
      if (id && !others.length && place.value === from) go({ task: "measure", result: id });
    } catch (error) {
      showError(error);
    } finally {
      isBusy.value = false;
    }
  }
  const [first] = files.value;
  return /* @__PURE__ */ a($, { children: [
    /* @__PURE__ */ a(
      "section",
      {
        class: `card measure-start${isOver.value ? " over" : ""}`,
        "aria-labelledby": "measure-title",
        onDragOver: (event) => {
          event.preventDefault();
          isOver.value = true;
        },
        onDragLeave: () => isOver.value = false,
        onDrop: (event) => {
          event.preventDefault();
          event.stopPropagation();
          isOver.value = false;
          if (event.dataTransfer) filesOf(event.dataTransfer).then(take, showError);
        },
        children: [
          /* @__PURE__ */ a("h2", { id: "measure-title", children: text("measure.title") }),
          /* @__PURE__ */ a("p", { children: text("measure.lead") }),
          /* @__PURE__ */ a("div", { class: "row", children: [
            /* @__PURE__ */ a(Choice, { id: "measure-file", icon: "file", label: text("measure.file"), take }),
            /* @__PURE__ */ a(
              Choice,
              {
                id: "measure-folder",
                icon: "folder",
                label: text("measure.folder"),
                take,
                isFolder: true
              }
            ),
            /* @__PURE__ */ a(
              "button",
              {
                id: "measure-sample",
                class: "button",
                type: "button",
                onClick: () => void sample().catch(showError),
                children: [
                  /* @__PURE__ */ a(Icon, { name: "sample" }),
                  text("measure.sample")
                ]
              }
            ),
            /* @__PURE__ */ a("span", { class: "hint drop-hint", children: text("measure.drop") })
          ] }),
          first && /* @__PURE__ */ a(
            "form",
            {
              class: "measure-form",
              onSubmit: (event) => {
                event.preventDefault();
                void start2();
              },
              children: [
                /* @__PURE__ */ a("p", { id: "measure-name", children: /* @__PURE__ */ a("b", { children: files.value.length > 1 ? text("source.several", {
                  name: first.webkitRelativePath.split("/")[0] || first.name,
                  count: files.value.length
                }) : first.name }) }),
                /* @__PURE__ */ a("fieldset", { class: "chips", children: [
                  /* @__PURE__ */ a("legend", { children: text("measure.what") }),
                  Object.keys(kinds).map((kind) => /* @__PURE__ */ a("label", { class: "chip", children: [
                    /* @__PURE__ */ a(
                      "input",
                      {
                        id: `measure-${kind}`,
                        type: "checkbox",
                        checked: chosen.value.includes(kind),
                        onChange: ({ currentTarget }) => {
                          chosen.value = switched(chosen.value, kind, currentTarget.checked);
                        }
                      }
                    ),
                    /* @__PURE__ */ a(Icon, { name: kind }),
                    /* @__PURE__ */ a("span", { children: textOr(`kind.${kind}`, kind) })
                  ] }, kind))
                ] }),
                /* @__PURE__ */ a(Hiding, { store: setup.store, id: "measure-anonymise" }),
                /* @__PURE__ */ a(
                  "button",
                  {
                    id: "job-start",
                    class: "button primary",
                    disabled: isBusy.value || !chosen.value.length,
                    children: [
                      /* @__PURE__ */ a(Icon, { name: "play" }),
                      text("measure.start")
                    ]
                  }
                )
              ]
            }
          )
        ]
      }
    ),
    /* @__PURE__ */ a("section", { class: "card", "aria-labelledby": "results-title", children: [
      /* @__PURE__ */ a("h2", { id: "results-title", children: text("measure.results") }),
      isResultWanted.value && /* @__PURE__ */ a("p", { id: "result-wanted", role: "status", children: text(jobs.value.length ? "avatar.choose" : "avatar.choose.none") }),
      jobs.value.length ? /* @__PURE__ */ a("ul", { id: "jobs", class: "jobs", children: jobs.value.map((followed) => /* @__PURE__ */ a(Item, { followed }, followed.key)) }) : /* @__PURE__ */ a("p", { class: "hint", children: text("measure.none") })
    ] })
  ] });
}
function usualKinds() {
  const wanted = isResultWanted.peek() ? [WHOLE, FIRST5] : [FIRST5];
  return [...wanted, ...Object.keys(kinds)].filter((kind) => kind in kinds).slice(0, 1);
}
function Choice({ id, icon, label, take, isFolder = false }) {
  const kind = isFolder ? { webkitdirectory: true } : { accept: "image/*,video/*" };
  return /* @__PURE__ */ a("label", { class: `button${isFolder ? "" : " primary"}`, children: [
    /* @__PURE__ */ a(
      "input",
      {
        id,
        class: "visually-hidden",
        type: "file",
        multiple: true,
        ...kind,
        onChange: ({ currentTarget }) => {
          take([...currentTarget.files ?? []]);
          currentTarget.value = "";
        }
      }
    ),
    /* @__PURE__ */ a(Icon, { name: icon }),
    label
  ] });
}
function Item({ followed }) {
  const job = followed.job.value;
  const target = { task: "measure", result: job.id ?? null, compared: null };
  const length = job.length ? text("job.length", { seconds: job.length.toFixed(1) }) : "";
  return /* @__PURE__ */ a("li", { class: "job", "data-state": job.state, children: [
    /* @__PURE__ */ a("p", { class: "job-title", children: [
      job.id && !["failed", "cancelled"].includes(job.state) ? /* @__PURE__ */ a(
        "a",
        {
          href: hashOf(target),
          onClick: (event) => {
            event.preventDefault();
            go(target);
          },
          children: job.name
        }
      ) : /* @__PURE__ */ a("strong", { children: job.name }),
      /* @__PURE__ */ a(KindsTag, { job })
    ] }),
    headlinesOf(job).map((line) => /* @__PURE__ */ a("p", { class: "job-headline", children: line }, line)),
    /* @__PURE__ */ a("p", { class: "job-state", children: [dateText(job), length, stateText(job)].filter(Boolean).join(" · ") }),
    isActive(job) && /* @__PURE__ */ a(Progress, { job }),
    notesOf(job).map((note) => /* @__PURE__ */ a("p", { class: "hint", children: note }, note)),
    /* @__PURE__ */ a("div", { class: "job-end", children: /* @__PURE__ */ a(Remove, { followed }) })
  ] });
}

// src/page/measure/page.tsx
function mountMeasure(section, setup, given) {
  Q(/* @__PURE__ */ a(Measure, { setup, given }), section);
}
function Measure({ setup, given }) {
  if (task.value !== "measure") return null;
  const { result } = place.value;
  return result ? /* @__PURE__ */ a(Result, { id: result, setup }, result) : /* @__PURE__ */ a(Start, { setup, given: given() });
}

// src/data.json
var covers = {
  ACROSS: 0.72,
  ALONG: 0.9,
  CELLS: 3,
  COVERED: 0.9,
  FACE_SHARE: 1.2,
  INSIDE: 0.6,
  PERSON_MARGIN: 0.1,
  RISE: 0.17,
  SAME_SIZE: 0.4,
  SOFT: 0.15,
  TORSO_SHARE: 0.3
};

// src/page/overlay.ts
var MAX_SCALE = 3;
var LARGEST = 1920;
var { ACROSS, ALONG, CELLS, PERSON_MARGIN, RISE, SOFT } = covers;
var SHOULDERS = [11, 12];
var HIPS = [23, 24];
function hiddenAreas(kind, instance, how) {
  const faces = headOf(kind, instance);
  if (kind !== "body") return { faces: faces.map(headAround), people: [] };
  const points = instance.keypoints;
  const [left, right] = SHOULDERS.map((k) => points[k]);
  const [shoulders, hips] = [mean([left, right]), mean(HIPS.map((k) => points[k]))];
  const torso = Math.hypot(shoulders.x - hips.x, shoulders.y - hips.y);
  const size = Math.max(torso, Math.hypot(left.x - right.x, left.y - right.y));
  const heads = faces.map(([x2, y2, xEnd, yEnd]) => {
    const extent = Math.max(xEnd - x2, yEnd - y2) / FACE_OF_BODY;
    const half = Math.max(covers.FACE_SHARE * extent, covers.TORSO_SHARE * size) / 2;
    const middle = [(x2 + xEnd) / 2, (y2 + yEnd) / 2];
    return headAround([middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half]);
  });
  return { faces: heads, people: how === "persons" ? [around(points)] : [] };
}
function headAround([left, top, right, bottom]) {
  const side = Math.max(right - left, bottom - top);
  const [x2, y2] = [(left + right) / 2, (top + bottom) / 2 - RISE * side];
  return [x2 - ACROSS * side, y2 - ALONG * side, x2 + ACROSS * side, y2 + ALONG * side];
}
function withMargin([left, top, right, bottom], share2) {
  const margin = share2 * Math.max(right - left, bottom - top);
  return [left - margin, top - margin, right + margin, bottom + margin];
}
var hidingOf = ({ background, anonymise }) => background === "black" ? background : anonymise;
function whomToHide(style) {
  const how = hidingOf(style);
  return how === "blur" || how === "persons" ? how : null;
}
function hiddenBy(covered, own, how) {
  if (!covered || how === "persons" && !covered.people) return null;
  const isInside = ([left, top, right, bottom], head2) => {
    const [x2, y2] = [(head2[0] + head2[2]) / 2, (head2[1] + head2[3]) / 2];
    return left < x2 && x2 < right && top < y2 && y2 < bottom;
  };
  const more = own.faces.filter((head2) => !covered.faces.some((other) => isInside(other, head2)));
  const people = how === "persons" ? [...own.people, ...covered.people] : [];
  const head = (area, cells) => ({ area, cells, isHead: true });
  return [
    ...people.map((area) => ({
      area: withMargin(area, PERSON_MARGIN),
      cells: CELLS,
      isHead: false
    })),
    ...[...covered.faces, ...more].map((area) => head(area, CELLS)),
    ...covered.again.map((area) => head(area, 1))
  ];
}
function hidePeople(ctx, hidden) {
  const { width, height } = ctx.canvas;
  if (!hidden) ctx.fillRect(0, 0, width, height);
  const small = document.createElement("canvas");
  const soft = document.createElement("canvas");
  for (const { area, cells, isHead } of hidden ?? []) {
    const [left, top] = [Math.max(Math.floor(area[0]), 0), Math.max(Math.floor(area[1]), 0)];
    const right = Math.min(Math.ceil(area[2]), width);
    const bottom = Math.min(Math.ceil(area[3]), height);
    if (right - left < 1 || bottom - top < 1) continue;
    const part = [left, top, right - left, bottom - top];
    Object.assign(small, { width: cells, height: cells });
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(ctx.canvas, ...part, 0, 0, cells, cells);
    if (!isHead) {
      ctx.drawImage(small, 0, 0, cells, cells, ...part);
      continue;
    }
    Object.assign(soft, { width: part[2], height: part[3] });
    const brush = soft.getContext("2d");
    brush.drawImage(small, 0, 0, cells, cells, 0, 0, part[2], part[3]);
    brush.globalCompositeOperation = "destination-in";
    brush.translate((area[0] + area[2]) / 2 - left, (area[1] + area[3]) / 2 - top);
    brush.scale((area[2] - area[0]) / 2, (area[3] - area[1]) / 2);
    const fade = brush.createRadialGradient(0, 0, 1 - SOFT, 0, 0, 1);
    fade.addColorStop(0, "#000");
    fade.addColorStop(1, "#0000");
    brush.fillStyle = fade;
    brush.fillRect(-9, -9, 18, 18);
    ctx.drawImage(soft, left, top);
  }
}
function overlayView(image, overlay2, stage) {
  let last = null;
  let isMirrored2 = false;
  let style = USUAL_STYLE;
  new ResizeObserver(redraw).observe(stage);
  function mirror(on) {
    isMirrored2 = on;
    stage.classList.toggle("mirrored", on);
    redraw();
  }
  function setStyle(wanted) {
    const hides = hidingOf(wanted) !== hidingOf(style);
    style = wanted;
    stage.classList.toggle("anonymous", hidingOf(style) !== "none");
    if (hides && last) draw(last.frame, last.seen);
    else if (hides) wipe(image);
    else redraw();
  }
  function show(shown2, { width, height } = shown2, hidden = null) {
    fit(image, width, height);
    const ctx = image.getContext("2d");
    ctx.drawImage(shown2, 0, 0, width, height);
    const hiding = hidingOf(style);
    if (hiding !== "none") hidePeople(ctx, hiding === "black" ? null : hidden);
    stage.style.aspectRatio = `${width} / ${height}`;
  }
  function draw(frame, seen) {
    last = { frame, seen };
    const found = instancesOf(frame).map(
      ({ kind, instance }) => hiddenAreas(kind, instance, style.anonymise)
    );
    const flip = ([left, top, right, bottom]) => [frame.width - right, top, frame.width - left, bottom];
    const [faces, people] = ["faces", "people"].map((name) => {
      const areas = found.flatMap((each) => each[name]);
      return seen.flipped ? areas.map(flip) : areas;
    });
    const own = { faces, people };
    show(seen.image, frame, hiddenBy(frame.covered, own, style.anonymise));
    redraw();
  }
  function clear() {
    last = null;
    wipe(overlay2);
  }
  function compose(canvas) {
    const { width, height } = image;
    fit(canvas, width, height);
    const ctx = canvas.getContext("2d");
    if (isMirrored2) ctx.setTransform(-1, 0, 0, 1, width, 0);
    ctx.drawImage(image, 0, 0);
    ctx.resetTransform();
    drawLast(ctx, 1);
  }
  function redraw() {
    wipe(overlay2);
    if (!last) return;
    const { width, height } = last.frame;
    const shown2 = Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1;
    const scale = Math.min(
      Math.max(shown2 * devicePixelRatio, 1),
      MAX_SCALE,
      Math.max(1, LARGEST / width)
    );
    fit(overlay2, Math.round(width * scale), Math.round(height * scale));
    const ctx = overlay2.getContext("2d");
    ctx.setTransform(overlay2.width / width, 0, 0, overlay2.height / height, 0, 0);
    drawLast(ctx, 1 / shown2);
    ctx.resetTransform();
  }
  function drawLast(ctx, unit) {
    if (!last) return;
    const {
      frame,
      seen: { flipped, mask }
    } = last;
    paint(ctx, frame, { mirrored: flipped !== isMirrored2, unit, mask, style });
  }
  return { mirror, setStyle, show, draw, clear, clearImage: () => wipe(image), compose };
}
function wipe(canvas) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}

// src/page/panels.ts
var EVERY_MS = 250;
function paced(write) {
  let turn = -1;
  let last;
  const stop2 = () => {
    clearTimeout(last);
    last = void 0;
  };
  const now = () => {
    stop2();
    turn = Math.floor(performance.now() / EVERY_MS);
    write();
  };
  const ask = () => {
    if (Math.floor(performance.now() / EVERY_MS) !== turn) now();
    else last ??= setTimeout(now, EVERY_MS);
  };
  return { ask, now, stop: stop2 };
}
function showing(pace, keep2) {
  let isFirst = true;
  return {
    draw(frame) {
      keep2(frame);
      if (isFirst) pace.now();
      else pace.ask();
      isFirst = false;
    },
    clear() {
      keep2(null);
      isFirst = true;
      pace.now();
    }
  };
}
var WINDOW_MS = 3e3;
function latencyMeter() {
  const [fps, latency, dropped] = [find("fps"), find("latency"), find("dropped")];
  let samples = [];
  let count = 0;
  const pace = paced(() => {
    const times = samples.map(({ ms }) => ms).sort((a2, b) => a2 - b);
    const total = times.reduce((sum, ms) => sum + ms, 0) / times.length;
    const p95 = times[Math.min(Math.floor(times.length * 0.95), times.length - 1)];
    const seconds = (samples[samples.length - 1].at - samples[0].at) / 1e3;
    put(fps, samples.length > 1 ? ((samples.length - 1) / seconds).toFixed(1) : "–");
    put(dropped, String(count));
    put(latency, text("latency.value", { total: total.toFixed(0), p95: p95.toFixed(0) }));
  });
  return {
    /**
     * @param ms from an image to its drawn results
     * @param all images dropped so far
     */
    add(ms, all) {
      const at = performance.now();
      samples = [...samples, { at, ms }].filter((other) => other.at > at - WINDOW_MS);
      count = all;
      pace.ask();
    },
    clear() {
      pace.stop();
      samples = [];
      fps.textContent = latency.textContent = "–";
      dropped.textContent = "0";
    }
  };
}
function wireTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const choose = (chosen) => {
    for (const tab of tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      find(tab.getAttribute("aria-controls") ?? "").hidden = tab !== chosen;
    }
  };
  for (const [k, tab] of tabs.entries()) {
    tab.onclick = () => choose(tab);
    tab.onkeydown = ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(k + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    };
  }
  choose(tabs[0]);
}
function wirePhone() {
  const open = async () => {
    const { https, addresses, fingerprint } = await call(addressOf("/v1/addresses"));
    find("phone-addresses").replaceChildren(
      ...addresses.map(
        ({ url, qr }) => make(
          "li",
          {},
          ...qr ? [make("img", { src: qr, alt: text("phone.qr", { url }) })] : [],
          make("a", { href: url }, url)
        )
      )
    );
    find("phone-words").textContent = text(
      !addresses.length ? "phone.none" : https ? "phone.https" : "phone.http"
    );
    find("phone-fingerprint").textContent = addresses.length && fingerprint ? `SHA-256 ${fingerprint}` : "";
    find("phone-dialog").showModal();
  };
  find("phone").onclick = () => open().catch(showError);
}
var MAX_CHARACTERS = 60;
function inspector(container) {
  let waiting = null;
  let isSeen = false;
  const isBeingRead = () => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && container.contains(selection.anchorNode);
  };
  const pace = paced(() => {
    const { type, ...frame } = { type: "", ...waiting };
    if (!waiting) container.textContent = "";
    else if (!container.textContent || isSeen && !isBeingRead())
      container.textContent = pretty(frame, "");
  });
  new IntersectionObserver(([entry]) => {
    isSeen = entry.isIntersecting;
    pace.now();
  }).observe(container);
  return showing(pace, (frame) => waiting = frame);
}
function pretty(value, indent) {
  const isObject = value !== null && typeof value === "object";
  const values = isObject ? Object.values(value) : [];
  if (typeof value === "string" && value.length > MAX_CHARACTERS)
    return JSON.stringify(`${value.slice(0, MAX_CHARACTERS)}…`);
  if (!values.length) return JSON.stringify(value);
  const isList = Array.isArray(value);
  if (isList && values.every((item) => typeof item === "number")) return JSON.stringify(value);
  const isFlat = !isList && values.length <= 6 && values.every((item) => item === null || typeof item !== "object");
  const further = isFlat ? "" : `${indent}  `;
  const lines = Object.entries(value).map(
    ([key, item]) => `${further}${isList ? "" : `"${key}": `}${pretty(item, further)}`
  );
  if (isFlat) return `{${lines.join(", ")}}`;
  return `${isList ? "[" : "{"}
${lines.join(",\n")}
${indent}${isList ? "]" : "}"}`;
}
var MOST_COLUMNS = 6;
function liveTable(container) {
  let frame = null;
  const pace = paced(() => {
    const groups = Object.values(Object.groupBy(trackedOf(frame ?? {}), ({ kind }) => kind)).map(
      (found = []) => found.slice(0, MOST_COLUMNS)
    );
    const tables = groups.map(
      (found) => make(
        "table",
        {},
        make(
          "thead",
          {},
          makeRow(
            "",
            found.map(({ label }) => label),
            "th"
          )
        ),
        make("tbody", {}, ...rowsOf2(found).map(({ name, values }) => makeRow(name, values)))
      )
    );
    container.replaceChildren(
      ...tables.length ? tables : [make("p", { className: "hint" }, text("live.empty"))]
    );
  });
  onLanguage(pace.now);
  return showing(pace, (next) => frame = next);
}
function rowsOf2(found) {
  const names = [...new Set(found.flatMap(({ instance }) => Object.keys(instance.measures)))];
  const row = (name, valueOf2) => ({
    name,
    values: found.map(({ instance }) => valueOf2(instance))
  });
  return [
    row(text("live.score"), ({ score }) => Number(score).toFixed(2)),
    ...found.some(({ instance }) => "gesture" in instance) ? [row(text("live.gesture"), (instance) => gestureOf(instance) || "–")] : [],
    ...names.map((name) => row(measureName(name), ({ measures }) => shown(name, measures[name])))
  ];
}
var MOST_EVENTS = 30;
function gesturesView() {
  const [now, events] = [find("gestures-now"), find("gestures-events")];
  const open = /* @__PURE__ */ new Map();
  let shownText = "";
  let frame = null;
  const write = () => {
    const hands = instancesOf(frame ?? {}).filter(({ kind }) => kind === "hand");
    const lines = hands.map(({ kind, instance, person }) => {
      const gesture = "gesture" in instance ? gestureOf(instance) || text("gestures.nothing") : text("gestures.off");
      return `${nameOf(kind, instance)} #${instance.id ?? person?.id ?? "–"}: ${gesture}`;
    });
    const wanted = lines.join("\n") || text("gestures.empty");
    if (wanted !== shownText)
      now.replaceChildren(...wanted.split("\n").map((line) => make("li", {}, line)));
    shownText = wanted;
  };
  const follow = ({ name, phase, id, handedness, strength, count, time }) => {
    const key = `${name} ${id} ${handedness}`;
    const node = open.get(key) ?? make("li");
    node.dataset.time = String(time);
    const isLater = (other) => {
      const at = Number(other.dataset["time"]);
      return at > time && at < time + 1;
    };
    events.insertBefore(
      node,
      [...events.children].find((other) => other !== node && !isLater(other)) ?? null
    );
    open.set(key, node);
    while (events.children.length > MOST_EVENTS) events.lastElementChild.remove();
    const title = textOr(`gesture.${name}`, name.replaceAll("_", " "));
    const times = count ? ` × ${count.toFixed(1)}` : "";
    const label = ` ${time.toFixed(1)} s · ${title} · #${id}${times} `;
    const bar = make("meter", {
      min: 0,
      max: 1,
      value: strength,
      ariaLabel: text("gestures.strength")
    });
    node.replaceChildren(make("span", { className: "tag" }, text(`gestures.${phase}`)), label, bar);
    if (phase === "end" || phase === "cancel") open.delete(key);
  };
  onLanguage(write);
  return {
    draw(next) {
      frame = next;
      write();
      for (const event of next.motions ?? []) follow(event);
      for (const event of next.events ?? []) {
        if (event.type === "gesture")
          follow({
            ...event,
            id: event.id ?? 0,
            strength: event.value ?? 0,
            count: 0,
            time: event.end ?? event.begin
          });
      }
    },
    clear() {
      frame = null;
      open.clear();
      events.replaceChildren();
      write();
    }
  };
}

// src/page/source-chooser.ts
var SAMPLE3 = "sample.mp4";
var PERSON = "squats.mp4";
function sourceChooser(store2, overlay2, on) {
  let kind = "camera";
  let chosen = [];
  let sample = SAMPLE3;
  let shown2 = null;
  const images = () => kind === "files" ? chosen.filter(isImage) : [];
  const isStill = () => images().length > 0;
  function name() {
    if (kind === "camera") return "camera";
    if (kind === "sample") return sample;
    const [{ name: first, webkitRelativePath: path }] = chosen;
    return chosen.length > 1 && path.split("/")[0] || first;
  }
  async function files() {
    if (kind === "files") return chosen;
    const answer = await fetch(sample);
    return [new File([await answer.blob()], sample, { type: "video/mp4" })];
  }
  async function open() {
    leave();
    if (isStill()) return openImages(images());
    if (kind !== "camera") return openClip(kind === "sample");
    const source = await openCamera(find("video"), find("camera-chooser").value);
    await nameCameras();
    return source;
  }
  async function preview() {
    leave();
    overlay2.clearImage();
    const showClip = async () => shown2 = await openClip();
    if (kind !== "camera") await (isStill() ? showImage() : showClip()).catch(() => {
    });
  }
  async function showImage() {
    if (!isStill()) return;
    const { started } = store2.state;
    const bitmap = await decoded(images()[0]);
    if (store2.state.started === started) overlay2.show(bitmap);
    bitmap.close();
  }
  async function wire() {
    find("source-camera").onclick = () => choose("camera");
    find("source-sample").onclick = () => choose("sample");
    for (const input of [find("source-file"), find("source-folder")]) {
      input.onchange = () => {
        take([...input.files ?? []]);
        input.value = "";
      };
    }
    find("camera-chooser").onchange = () => {
      memory.write("camera", find("camera-chooser").value);
      on.changed();
    };
    const over = (isOver) => find("stage").classList.toggle("dropping", isOver);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      over(false);
      if (task.value !== "measure" && event.dataTransfer) take(await filesOf(event.dataTransfer));
    });
    onLanguage(show);
    onLanguage(nameCameras);
    navigator.mediaDevices?.addEventListener("devicechange", nameCameras);
    await nameCameras();
  }
  const openClip = (loop) => openVideo(find("video"), kind === "sample" ? sample : chosen[0], loop);
  function leave() {
    shown2?.close();
    shown2 = null;
  }
  function choose(wanted) {
    kind = wanted;
    sample = task.peek() === "avatar" ? PERSON : SAMPLE3;
    show();
    store2.set({ source: { kind, name: name(), still: isStill() } });
    on.changed();
  }
  function take(given) {
    if (!given.length) return void 0;
    const order = new Intl.Collator(void 0, { numeric: true });
    const path = (file) => file.webkitRelativePath || file.name;
    const usable = given.filter((file) => isImage(file) || isVideo(file)).sort((a2, b) => order.compare(path(a2), path(b)));
    const model2 = given.find(isModel);
    if (model2) on.model(model2).catch(showError);
    if (!usable.length) return model2 || showError(notMedia(given[0]));
    chosen = usable;
    return choose("files");
  }
  function show() {
    const isSeveral = kind === "files" && chosen.length > 1;
    const isFolder = isSeveral && Boolean(chosen[0].webkitRelativePath);
    for (const other of ["camera", "sample"])
      find(`source-${other}`).ariaPressed = String(kind === other);
    find("source-file").parentElement.classList.toggle("chosen", kind === "files" && !isFolder);
    find("source-folder").parentElement.classList.toggle("chosen", isFolder);
    find("stage").classList.toggle("chosen", kind !== "camera");
    find("camera-chooser").parentElement.hidden = kind !== "camera";
    find("measure-all").hidden = kind === "camera";
    find("source-name").hidden = kind !== "files";
    if (kind === "files")
      find("source-name").textContent = isSeveral ? text("source.several", { name: name(), count: chosen.length }) : name();
  }
  async function nameCameras() {
    const chooser2 = find("camera-chooser");
    const last = chooser2.value || memory.read("camera") || "";
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    const known = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
    const options = known.map(
      ({ deviceId, label }, number) => new Option(label || text("camera.number", { number: number + 1 }), deviceId)
    );
    chooser2.replaceChildren(new Option(text("camera.any"), ""), ...options);
    chooser2.value = known.some(({ deviceId }) => deviceId === last) ? last : "";
  }
  return { files, open, preview, showImage, wire, isStill, name };
}
function wireTransport(onChange) {
  let player = null;
  find("play-pause").onclick = () => player?.state.paused ? player.play() : player?.pause();
  find("step-back").onclick = () => player?.step(-1);
  find("step-forward").onclick = () => player?.step(1);
  find("loop").onclick = () => player?.set({ loop: !player.state.loop });
  find("position").oninput = () => player?.seek(Number(find("position").value));
  find("speed").onchange = () => player?.set({ speed: Number(find("speed").value) });
  onLanguage(show);
  function use(next) {
    if (player) player.onChange = () => {
    };
    player = next;
    makeThumbnails(player?.files ?? []);
    if (player) {
      player.onChange = show;
      find("speed").value = "1";
      find("position").step = player.kind === "video" ? "any" : "1";
    }
    show();
  }
  function show() {
    find("transport").hidden = !player;
    find("thumbnails").hidden = player?.kind !== "images";
    onChange(player?.state.paused ?? false);
    if (!player) return;
    const { length, position, paused, loop } = player.state;
    const isClip = player.kind === "video";
    const slider = find("position");
    slider.max = String(isClip ? length : length - 1);
    if (document.activeElement !== slider || !slider.matches(":active"))
      slider.value = String(position);
    const label = isClip ? `${clock2(position)} / ${clock2(length)}` : text("transport.image", { number: position + 1, count: length });
    find("position-text").textContent = slider.ariaValueText = label;
    find("loop").ariaPressed = String(loop);
    setLabel(find("play-pause"), paused ? "transport.play" : "transport.pause");
    setLabel(find("step-back"), isClip ? "transport.back" : "transport.previous");
    setLabel(find("step-forward"), isClip ? "transport.forward" : "transport.next");
    const [shape, icon] = [
      find("play-pause").querySelector("use"),
      `icons.svg#${paused ? "play" : "pause"}`
    ];
    if (shape.getAttribute("href") !== icon) shape.setAttribute("href", icon);
    if (isClip) return;
    const list = find("thumbnails");
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const current = list.children[position];
    current.ariaCurrent = "true";
    list.scrollTo({ left: current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2 });
  }
  function makeThumbnails(files) {
    const list = find("thumbnails");
    for (const { src } of list.querySelectorAll("img")) URL.revokeObjectURL(src);
    list.replaceChildren(
      ...files.map((file, index) => {
        const onclick = () => {
          player?.pause();
          player?.seek(index);
        };
        const onerror = () => button.classList.add("broken");
        const image = make("img", {
          alt: "",
          loading: "lazy",
          decoding: "async",
          onerror,
          src: URL.createObjectURL(file)
        });
        const button = make(
          "button",
          { type: "button", title: file.name, ariaLabel: file.name, onclick },
          image
        );
        return button;
      })
    );
  }
  return use;
}
var clock2 = (seconds) => `${Math.floor(seconds / 60)}:${(Math.floor(seconds * 100) / 100 % 60).toFixed(2).padStart(5, "0")}`;

// src/page/tables.ts
var EXTRA = ["gesture", "gesture_score"];
var ERROR = "error_px";
var OPTIONAL = ["blendshapes", "transform", "distanceM"];
var INSTANCE_COLUMNS = [
  "source",
  "frame",
  "time",
  "instance",
  "key",
  "id",
  "kind",
  "handedness",
  "score",
  "x_min",
  "y_min",
  "x_max",
  "y_max"
];
var EVENT_COLUMNS = [
  "source",
  "frame",
  "name",
  "type",
  "id",
  "handedness",
  "begin",
  "end",
  "duration_s",
  "value",
  "phase"
];
var PART_LENGTH = 24e4;
var Table2 = class {
  #blobs = [];
  /** Lines of a stream that are not in a blob yet. */
  #part = "";
  /** lines of still images by index, because users return to them */
  #stills = /* @__PURE__ */ new Map();
  #header = {};
  count = 0;
  /** Start a new table. */
  begin({ source, detectors: detectors2 }) {
    [this.#blobs, this.#part, this.#stills, this.count] = [[], "", /* @__PURE__ */ new Map(), 0];
    const [first] = detectors2;
    const kind = kinds[first?.kind ?? ""]?.list ?? "hands";
    const model2 = detectors2.map((detector) => `${detector.kind}-${detector.model}`).join("+");
    this.#header = {
      source,
      width: null,
      height: null,
      fps: null,
      model: model2,
      ...kind === "hands" ? {} : { kind }
    };
  }
  /** Add a frame. A still image that is processed again replaces its earlier answer. */
  add(frame, {
    source,
    index = this.count
  } = {}) {
    if (!this.#stills.has(index)) this.count += 1;
    this.#header.width ??= frame.width;
    this.#header.height ??= frame.height;
    const row = source === void 0 ? { index, time: frame.time } : { index, time: null, source };
    for (const { list, members } of Object.values(results)) {
      if (list in frame)
        row[list] = listOf(frame, list).map((one) => plain2(one, Object.keys(members)));
    }
    if (frame.events?.length) row.events = frame.events;
    const line = JSON.stringify(row);
    if (source !== void 0) this.#stills.set(index, line);
    else {
      if (this.#part.length >= PART_LENGTH) {
        this.#blobs.push(new Blob([this.#part]));
        this.#part = "";
      }
      this.#part += `${line}
`;
    }
  }
  /** Add the events that end with the stream to its last frame. */
  end(events) {
    if (!events.length || !this.#part) return;
    const start2 = this.#part.lastIndexOf("\n", this.#part.length - 2) + 1;
    const row = JSON.parse(this.#part.slice(start2));
    row.events = [...row.events ?? [], ...events];
    this.#part = `${this.#part.slice(0, start2)}${JSON.stringify(row)}
`;
  }
  /** `{"source", …, "frames": […]}` */
  async json() {
    const lines = (await this.#all()).join(",\n");
    return new Blob([`${JSON.stringify(this.#header).slice(0, -1)},"frames":[
${lines}
]}
`], {
      type: "application/json"
    });
  }
  /** Return a header line and one line per frame. */
  async jsonLines() {
    const lines = [JSON.stringify(this.#header), ...await this.#all()].join("\n");
    return new Blob([`${lines}
`], { type: "application/x-ndjson" });
  }
  /**
   * Return a table.
   *
   * @param rows what a row describes: `keypoint`, `instance`, `wide` for an instance with a column
   *   per keypoint and axis, or `event` for an event that ended
   */
  async csv(rows2 = "keypoint") {
    const lines = await this.#all();
    if (rows2 !== "keypoint")
      return csvOf(
        lines.map((line) => JSON.parse(line)),
        rows2
      );
    const withSource = lines.some((line) => "source" in JSON.parse(line));
    const withError = lines.some((line) => line.includes('"errorPx"'));
    const names = [
      ...columns,
      ...withError ? [ERROR] : [],
      ...withSource ? ["source"] : [],
      ...EXTRA,
      ...optionalColumns(lines)
    ];
    return new Blob([rowOf(names), ...lines.map((line) => rowsOf3(JSON.parse(line), names))], {
      type: "text/csv"
    });
  }
  async #all() {
    const newest = this.#part;
    const texts = await Promise.all(this.#blobs.map((blob) => blob.text()));
    const stills = [...this.#stills].sort(([a2], [b]) => a2 - b).map(([, line]) => line);
    return [...[...texts, newest].flatMap((part) => part.split("\n").slice(0, -1)), ...stills];
  }
};
function nameNow(ending) {
  const now = new Date(Date.now() - (/* @__PURE__ */ new Date()).getTimezoneOffset() * 6e4);
  return `sonjit-${now.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}${ending}`;
}
function plain2(given, members) {
  const { skeleton, segmentation, map, ...kept } = given;
  for (const key of members) if (kept[key]) kept[key] = plain2(kept[key], []);
  return kept;
}
function optionalColumns(lines) {
  const names = /* @__PURE__ */ new Set();
  for (const line of lines.filter(
    (content) => OPTIONAL.some((key) => content.includes(`"${key}":`))
  ))
    for (const { instance } of instancesOf(JSON.parse(line)))
      for (const name of Object.keys(optionalValues(instance))) names.add(name);
  return names;
}
function optionalValues(instance) {
  const { blendshapes, transform, distanceM, distanceErrorM } = instance;
  const numbers = (transform ?? []).flatMap(
    (row, i) => row.map((value, k) => [`transform_${i}${k}`, value])
  );
  return {
    ...blendshapes,
    ...Object.fromEntries(numbers),
    ...distanceM === void 0 ? {} : { distance_m: distanceM, distance_error_m: distanceErrorM }
  };
}
function rowsOf3(frame, names) {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const rows2 = instancesOf(frame).flatMap(({ kind, number, instance }) => {
    const { id, handedness, score, gesture } = instance;
    const own = {
      ...shared,
      instance: number,
      id,
      kind,
      handedness,
      score,
      gesture: gesture?.name,
      gesture_score: gesture?.score,
      ...optionalValues(instance)
    };
    return instance.keypoints.map(({ name }, keypoint) => ({
      ...own,
      ...valuesOf(kind, instance, keypoint),
      keypoint,
      name
    }));
  });
  return linesOf2(rows2.length ? rows2 : [shared], names);
}
var linesOf2 = (records, names) => records.map((record2) => rowOf(names.map((name) => record2[name]))).join("");
function csvOf(frames, rows2) {
  const isOfEvents = rows2 === "event";
  const eventsOf = ({ source, index, events = [] }) => events.filter(({ end: end2 }) => end2 !== null).map((event) => ({
    source,
    frame: index,
    ...event,
    duration_s: (event.end ?? event.begin) - event.begin
  }));
  const records = frames.flatMap(
    (frame) => isOfEvents ? eventsOf(frame) : recordsOf(frame, rows2 === "wide")
  );
  const first = isOfEvents ? EVENT_COLUMNS : INSTANCE_COLUMNS;
  const names = [.../* @__PURE__ */ new Set([...first, ...records.flatMap(Object.keys)])].filter(
    (name) => name !== "source" || records.some(({ source }) => source !== void 0)
  );
  return new Blob([rowOf(names), linesOf2(records, names)], { type: "text/csv" });
}
function recordsOf(frame, withKeypoints) {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const found = instancesOf(frame).map(({ kind, number, instance, person }) => {
    const { handedness, score, gesture, measures, box } = instance;
    const { xMin, yMin, xMax, yMax } = box ?? {};
    const id = instance.id ?? person?.id;
    const record2 = {
      ...shared,
      instance: number,
      key: id ?? number,
      id,
      kind,
      handedness,
      score,
      x_min: xMin,
      y_min: yMin,
      x_max: xMax,
      y_max: yMax
    };
    const named = gesture === void 0 ? {} : { gesture: gesture?.name, gesture_score: gesture?.score };
    const names = instance.keypoints.map(({ name }) => name);
    const labels = names.map(
      (name, k) => name && names.indexOf(name) === names.lastIndexOf(name) ? name : `${name || "point"}_${k}`
    );
    const columnsOf = (label, k) => Object.entries(valuesOf(kind, instance, k)).map(([axis, value]) => [
      `${label}_${axis}`,
      value
    ]);
    return {
      ...record2,
      ...named,
      ...measures,
      ...optionalValues(instance),
      ...Object.fromEntries(withKeypoints ? labels.flatMap(columnsOf) : [])
    };
  });
  return found.length ? found : [shared];
}
function valuesOf(kind, instance, k) {
  const pointsOf2 = (key) => instance[key];
  const fields = results[kind].fields.filter(
    ({ key, columns: filled2 }) => filled2?.length && pointsOf2(key)?.[k]
  );
  return Object.assign(
    {},
    ...fields.map(({ key, columns: filled2 = [], scores = {} }) => {
      const point = pointsOf2(key)[k];
      const known = Object.entries(scores).filter(([score, column]) => column && score in point);
      const scored = known.map(([score, column]) => [column, point[score]]);
      return Object.fromEntries([
        ...filled2.map((column, axis) => [column, point["xyz"[axis]]]),
        ...scored
      ]);
    })
  );
}
function rowOf(values) {
  const cells = values.map((value) => {
    const content = String(value ?? "");
    return /[",\r\n]/.test(content) ? `"${content.replaceAll('"', '""')}"` : content;
  });
  return `${cells.join(",")}\r
`;
}
var FORMATS = [
  ["video/webm;codecs=vp9", "webm"],
  ["video/webm;codecs=vp8", "webm"],
  ["video/webm", "webm"],
  ["video/mp4", "mp4"]
];
var BITS_PER_PX_S = 6;
function recorderOf(overlay2) {
  const canvas = make("canvas");
  let media = null;
  let parts = [];
  const table2 = new Table2();
  let ending = "";
  let began = 0;
  function start2(of) {
    const format = FORMATS.find(([type]) => globalThis.MediaRecorder?.isTypeSupported(type));
    if (!format) throw new PageError("no_recorder");
    ending = format[1];
    overlay2.compose(canvas);
    table2.begin(of);
    parts = [];
    const { width, height } = canvas;
    const options = { mimeType: format[0], videoBitsPerSecond: width * height * BITS_PER_PX_S };
    media = new MediaRecorder(canvas.captureStream(0), options);
    media.ondataavailable = ({ data }) => parts.push(data);
    media.start(1e3);
    began = performance.now();
  }
  function add2(frame, seen) {
    if (!media) return;
    overlay2.compose(canvas);
    const [track] = media.stream.getVideoTracks();
    track.requestFrame();
    table2.add(frame, seen);
  }
  async function stop2(events) {
    const ended = media;
    if (!ended) return null;
    media = null;
    const seconds = (performance.now() - began) / 1e3;
    await new Promise((resolve) => {
      ended.onstop = resolve;
      ended.stop();
    });
    for (const track of ended.stream.getTracks()) track.stop();
    const frames = table2.count;
    if (!frames) return null;
    table2.end(events);
    const files = [
      { ending, blob: new Blob(parts, { type: ended.mimeType }) },
      { ending: "jsonl", blob: await table2.jsonLines() },
      { ending: "csv", blob: await table2.csv() }
    ];
    return { files, frames, seconds };
  }
  return { start: start2, add: add2, stop: stop2, isOn: () => media !== null };
}
function listRecording(list, { files, frames, seconds }, name) {
  const title = make("span");
  const links = files.map(
    ({ ending, blob }) => make("a", {
      className: "button small",
      href: URL.createObjectURL(blob),
      download: `${name}.${ending}`
    })
  );
  onLanguage(() => {
    title.textContent = text("recording.made", { seconds: seconds.toFixed(1), frames });
    files.forEach(({ ending }, k) => links[k].textContent = text(`recording.${ending}`));
  });
  list.prepend(make("li", {}, title, ...links));
  list.hidden = false;
}

// src/page/tasks.tsx
function mountTasks(nav, offered = TASKS) {
  Q(/* @__PURE__ */ a(Tasks, { offered }), nav);
  x(() => {
    document.body.dataset["task"] = task.value;
    const current = nav.querySelector(`#task-${task.value}`);
    current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}
function Tasks({ offered }) {
  return /* @__PURE__ */ a("ul", { children: offered.map((name) => /* @__PURE__ */ a("li", { children: /* @__PURE__ */ a(
    "a",
    {
      id: `task-${name}`,
      href: hashOf({ task: name, result: null, compared: null }),
      "aria-current": task.value === name ? "page" : void 0,
      onClick: (event) => {
        event.preventDefault();
        go({ task: name });
      },
      children: text(`task.${name}`)
    }
  ) }, name)) });
}

// src/page/app.ts
var RUNNING = ["connecting", "loading", "running", "error"];
var CONFIGURE_AFTER_MS = 120;
var NOTICE_MS = 4e3;
await Promise.all([
  withToken(loadKinds).catch(showError),
  startLanguage(new URL("i18n/", import.meta.url))
]);
find("annotate").hidden = !annotates;
var store = new Store({
  ...rememberedSettings(),
  phase: "idle",
  detail: {},
  source: null,
  started: false,
  paused: false,
  recording: false,
  searching: false,
  hidden: 0
});
var overlay = overlayView(find("image"), find("overlay"), find("stage"));
var plot = plotView();
var avatar = avatarView(store);
var trainer = createTrainer(
  find("panel-trainer"),
  ({ file, names }, isTried) => {
    detectors.ask({ gestures_file: isTried ? file : null });
    mapEditor.setCustom(names);
  },
  whyNotRecorded
);
var mapEditor = createMapEditor(find("panel-map"), (map) => {
  if (map !== null) trainer.tryFor(map);
  detectors.ask({ control: map });
});
var space = view3D(find("view3d"));
var views = [
  overlay,
  space,
  avatar,
  liveTable(find("live-table")),
  plot,
  inspector(find("json")),
  gesturesView(),
  trainer,
  mapEditor
];
var meter = latencyMeter();
var table = new Table2();
var recorder = recorderOf(overlay);
var latest = null;
var attempt = 0;
var tablePace = paced(showTable);
var asked = null;
var hiddenSince = 0;
var rivalOverlay = overlayView(find("rival-image"), find("rival-overlay"), find("rival-stage"));
var overlays = [overlay, rivalOverlay];
var latestRival = null;
var rivalView = {
  draw: (frame, shown2) => {
    latestRival = frame;
    rivalOverlay.draw(frame, shown2);
    showPane("rival-pane-name", rivals(), frame);
  },
  clear: () => {
    latestRival = null;
    rivalOverlay.clear();
  }
};
var capture = new Capture();
var detectors = new Detectors(
  [...views, { draw: keep, clear: () => latest = null }],
  rivalView,
  capture,
  {
    phase: (phase, detail = {}) => {
      if (detail.retryIn !== void 0) showError(new PageError("server_gone", detail));
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
    }
  }
);
var chooser = sourceChooser(store, overlay, {
  changed: onSource,
  model: (file) => avatar.open(file)
});
var usePlayer = wireTransport((paused) => store.set({ paused }));
var clearClasses = wireClasses(() => chooser.files());
var NOTHING_GIVEN = { files: [], kinds: [] };
var toMeasure = NOTHING_GIVEN;
var FIRST6 = "watch";
var livePage = FIRST6;
var ofPages = /* @__PURE__ */ new Map();
function keep(frame, shown2) {
  latest = frame;
  if (latestRival) showPane("pane-name", configuration(), frame);
  const repetitions = plot.events();
  const counted = repetitions.length ? { ...frame, events: [...frame.events ?? [], ...repetitions] } : frame;
  table.add(counted, shown2);
  recorder.add(counted, shown2);
  tablePace.ask();
}
var configuration = () => configuredDetectors(store.state, chooser.isStill());
function rivals() {
  const [kind, model2] = store.state.compare.split(":");
  const own = configuration();
  const isOther = (detector) => detector.kind === kind && detector.model !== model2;
  return model2 && own.some(isOther) ? own.map((detector) => detector.kind === kind ? { ...detector, model: model2 } : detector) : null;
}
function showPane(id, wanted, frame) {
  const names = (wanted ?? []).map(
    ({ kind, model: model2 }) => `${textOr(`kind.${kind}`, kind)}: ${textOr(`model.${model2}`, String(model2))}`
  );
  find(id).textContent = `${names.join(" · ")} – ${Math.round(frame.timing?.detect_ms ?? 0)} ms`;
}
async function start() {
  const number = ++attempt;
  showError(null);
  store.set({ phase: "connecting", detail: {}, started: true, searching: true });
  try {
    const source = await chooser.open();
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
    find("stage").classList.remove("chosen");
    showError(error);
  }
}
async function end(phase) {
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
async function stop(phase = "stopped") {
  await end(phase);
  await chooser.preview();
}
async function onSource() {
  await end("stopped");
  await start();
}
async function record() {
  if (recorder.isOn()) return stopRecording();
  recorder.start({ source: chooser.name(), detectors: configuration() });
  return store.set({ recording: true });
}
async function stopRecording(events = []) {
  const recorded = await recorder.stop(events);
  store.set({ recording: false });
  if (recorded) listRecording(find("recordings"), recorded, nameNow(""));
}
function useDetectorsOf(page) {
  if (page === "measure" || page === livePage) return;
  ofPages.set(livePage, store.state.detectors);
  livePage = page;
  store.set({ detectors: ofPages.get(page) ?? ofPages.get(FIRST6) });
  ofPages.delete(page);
}
function whyNotRecorded() {
  const { started, phase, paused, detectors: chosen } = store.state;
  if (!started) return "start";
  if (chooser.isStill()) return "still";
  if (phase !== "running") return "wait";
  if (paused) return "paused";
  return kindsOn(chosen).some((kind) => kind === WHOLE || kinds[kind].list === "hands") ? null : "hands";
}
function applyStyle() {
  const { style } = store.state;
  const gestures = style.gestures || task.peek() === "gestures";
  for (const view of overlays) view.setStyle({ ...style, gestures });
}
async function share() {
  const link = linkOf(store.state, settingsFrom());
  history.replaceState(null, "", new URL(link).hash);
  const copied = await navigator.clipboard?.writeText(link).then(
    () => true,
    () => false
  );
  find("share-words").textContent = text(copied ? "share.copied" : "share.address");
  setTimeout(() => find("share-words").textContent = "", NOTICE_MS);
}
function snapshot() {
  const canvas = make("canvas");
  overlay.compose(canvas);
  canvas.toBlob((blob) => save(blob, nameNow(".png")));
}
function showTable() {
  find("table-state").textContent = table.count ? text("table.frames", { count: table.count }) : text("table.empty");
  for (const id of ["download-rows", "download-csv", "download-json"])
    find(id).disabled = !table.count;
}
function runningKey(isStill) {
  if (isStill && store.state.searching) return "status.searching";
  if (!isStill && store.state.paused) return "status.paused";
  return latest?.hidden ? "status.hidden" : isStill ? "status.still" : "status.running";
}
function showPhase() {
  const { phase, detail, started, recording } = store.state;
  const [status, recordButton] = [find("status"), find("record")];
  const key = phase === "loading" && detail.of ? "status.loading.of" : detail.retryIn !== void 0 ? "status.waiting" : phase === "running" ? runningKey(started && chooser.isStill()) : `status.${phase}`;
  const shown2 = Object.values(results).reduce(
    (sum, { list }) => sum + (latest ? listOf(latest, list).length : 0),
    0
  );
  status.dataset.state = phase;
  put(
    status,
    text(key, {
      ...detail,
      model: textOr(`kind.${String(detail.model).split("-")[0]}`, String(detail.model)),
      number: (detail.done ?? 0) + 1,
      shown: shown2,
      total: shown2 + (latest?.hidden ?? 0)
    })
  );
  status.style.setProperty("--share", String(detail.of ? (detail.done ?? 0) / detail.of : 0));
  const isOn = started && RUNNING.includes(phase);
  find("stats").hidden = !isOn || chooser.isStill();
  find("start").disabled = find("start").hidden = isOn;
  find("stop").disabled = find("stop").hidden = !isOn;
  find("snapshot").disabled = phase !== "running";
  recordButton.disabled = phase !== "running" && !recording;
  recordButton.ariaPressed = String(recording);
  recordButton.querySelector("span").textContent = text(recording ? "record.stop" : "record");
  for (const id of ["stage", "rival-stage"]) find(id).classList.toggle("running", isOn);
}
Object.defineProperty(globalThis, "sonjitPage", {
  value: Object.freeze({
    get state() {
      return { ...store.state, frames: table.count, latest, latestRival };
    }
  })
});
find("manifest").href = "manifest.webmanifest";
mountOptions(store, find("detectors"), find("options"));
store.watch([...STORED], (state) => {
  const stored = Object.fromEntries(STORED.map((name) => [name, state[name]]));
  memory.write("settings", { ...stored, detectors: ofPages.get(FIRST6) ?? state.detectors });
});
for (const id of ["data-tabs", "space-tabs", "gesture-tabs"]) wireTabs(find(id));
wirePhone();
wireSaliencyLegend(store);
store.watch(["longest"], ({ longest }) => capture.longest = longest);
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
  async ({ source }) => find("classes").hidden = hasNoServer && !classes.length || !source?.still || (await chooser.files()).length > 1
);
store.watch(["detectors", "source"], ({ detectors: wanted, source }) => {
  const lacksSome = Object.entries(wanted).some(
    ([kind, { on }]) => on && kinds[kind].list !== "hands"
  );
  const isHands = source?.kind === "sample" && source.name === "sample.mp4";
  find("sample-note").hidden = !isHands || !lacksSome;
});
find("share").onclick = share;
find("start").onclick = start;
find("fullscreen").onclick = () => document.fullscreenElement ? document.exitFullscreen() : find("viewer").requestFullscreen();
find("stop").onclick = ({ detail }) => detail < 2 && stop();
find("snapshot").onclick = snapshot;
find("record").onclick = () => record().catch(showError);
find("download-csv").onclick = async () => save(await table.csv(find("download-rows").value), nameNow(".csv"));
find("download-json").onclick = async () => save(await table.json(), nameNow(".json"));
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
      const settings2 = { ...state, detectors: withOnly(state.detectors, chosen), here: false };
      return configuredDetectors(settings2, still).map(
        (one) => one.kind === WHOLE ? { ...one, blendshapes: true, transform: true } : one
      );
    },
    store
  },
  () => {
    const given = toMeasure;
    toMeasure = NOTHING_GIVEN;
    return given;
  }
);
task.subscribe((name) => {
  useDetectorsOf(name);
  applyStyle();
  if (name === "gestures") {
    find("tab-gestures").click();
    switchKind(store, "hands", true);
  }
  if (name === "avatar") avatar.follow();
  if (name === "measure" && store.state.started) void stop();
  if (name !== "measure") isResultWanted.value = false;
});
onLanguage(showTable);
onLanguage(showPhase);
store.watch(
  ["phase", "detail", "started", "paused", "recording", "searching", "hidden"],
  showPhase
);
store.watch(["phase", "started", "paused", "detectors", "source"], () => trainer.check());
var timer;
var requestedDetectors = () => JSON.stringify([configuration(), rivals()]);
var requested = requestedDetectors();
store.watch(["here"], ({ started }) => {
  requested = requestedDetectors();
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
  if (!document.hidden && hiddenSince)
    showError(
      new PageError("hidden", { seconds: Math.ceil((performance.now() - hiddenSince) / 1e3) })
    );
  const { phase, paused } = store.state;
  hiddenSince = document.hidden && phase === "running" && !paused && !chooser.isStill() ? performance.now() : 0;
});
var filled = hasNoServer ? [] : [loadJobs().catch(showError), mapEditor.load().catch(showError)];
await Promise.all([...filled, chooser.wire()]);
if (!isSecureContext) showError(new PageError("insecure"));
navigator.serviceWorker?.register("sw.js").catch(() => {
});
if (hasNoServer && !crossOriginIsolated) {
  navigator.serviceWorker?.addEventListener(
    "controllerchange",
    () => store.state.started || location.reload(),
    { once: true }
  );
}
document.documentElement.dataset.ready = "true";
if (settingsOf(location.hash).source === "sample") find("source-sample").click();
