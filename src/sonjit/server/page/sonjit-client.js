// Made by `npm --prefix web run page` from web/src/page. Change it there.

// src/page/endpoints.ts
var HEADER_BYTES = 24;
var thisServer = new URL(
  /\/annotate\/[^/]*$/.test(import.meta.url) ? "../" : "./",
  import.meta.url
).href;
var below = (server, path) => new URL(path.replace(/^\//, ""), String(server).replace(/\/?$/, "/"));
var ENGINE = new URL("./engine/sonjit-web.js", import.meta.url).href;
var hasNoServer = globalThis.document?.documentElement.dataset.computes === "here";
var ServerError = class extends Error {
  code;
  constructor(code, message) {
    super(message);
    this.name = "ServerError";
    this.code = code;
  }
};
function withQuery(address, query) {
  for (const [name, value] of Object.entries(query)) {
    for (const item of [value].flat())
      if (item !== null && item !== void 0) address.searchParams.append(name, String(item));
  }
  return address;
}
async function call(endpoint, token = null, request = {}) {
  const answer = await responseOf(endpoint, token, request);
  if (answer.status === 204) return {};
  return await answer.json().catch(() => Promise.reject(gone(endpoint)));
}
async function responseOf(endpoint, token = null, request = {}) {
  const headers = new Headers(request.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetch(endpoint, { ...request, headers }).catch(() => null);
  if (answer?.ok) return answer;
  const refusal = await answer?.json().catch(() => null);
  throw refusal ? new ServerError(refusal.error?.code ?? "failed", refusal.error?.message ?? answer?.statusText) : gone(endpoint);
}
function gone({ origin }) {
  const here = globalThis.location?.origin;
  const allowed = here === origin ? "" : ` --allow-origin ${here}`;
  return new ServerError("gone", `No answer from ${origin}: start it with sonjit serve${allowed}.`);
}
var addressOf = (path) => below(thisServer, path);
var page = globalThis.location;
var parameters = new URLSearchParams(page?.hash.slice(1));
var handedIn = parameters.get("token");
if (handedIn !== null && page.origin === new URL(thisServer).origin) {
  parameters.delete("token");
  history.replaceState(
    history.state,
    "",
    `${page.pathname}${page.search}${parameters.size ? `#${parameters}` : ""}`
  );
  await call(addressOf("/v1/token"), handedIn, { method: "POST" }).catch(() => {
  });
}
function frameMessage(frame, time, image) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, 1397639729);
  header.setUint32(4, frame, true);
  header.setFloat64(8, time, true);
  return new Blob([header, image]);
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
    detectors = [],
    measures = false,
    control = null,
    gestures_file = null,
    anonymise = null
  } = {}) {
    super();
    this.#url = url;
    this.#token = token ?? null;
    this.#requested = {
      detectors,
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
  configure(configuration) {
    this.#requested = { ...this.#requested, ...configuration };
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
  #ask(configuration) {
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#pending.push({ configuration, resolve, reject });
    this.#socket?.send(JSON.stringify({ type: "configure", ...configuration }));
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

// src/masks.ts
var bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
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

// src/tfjs.ts
var SupportedModels = Object.freeze({
  MediaPipeHands: "MediaPipeHands",
  MediaPipeFaceMesh: "MediaPipeFaceMesh",
  MediaPipeFaceDetector: "MediaPipeFaceDetector",
  BlazePose: "BlazePose"
});
var IGNORED = ["runtime", "solutionPath"];
async function openDetector(model, config, { where, own, open: open2 }) {
  if (!Object.hasOwn(MODELS, model)) throw unknown("model", model, Object.keys(MODELS));
  const given = Object.entries(config ?? {}).filter(
    ([, value]) => value !== void 0 && value !== null
  );
  const ignored = given.filter(([name]) => IGNORED.includes(name)).map(([name]) => name);
  if (ignored.length) console.info(`Sonjit: ${ignored.join(" and ")} ignored: ${where} computes`);
  const tfjs = Object.fromEntries(
    given.filter(([name]) => !IGNORED.includes(name) && !own.includes(name))
  );
  const chosen = checked(tfjs, { ...MODELS[model].config, ...EVERY_ESTIMATION }, [
    ...own,
    ...IGNORED
  ]);
  const wanted = wantedOf(MODELS[model], chosen);
  const backend = await open2(
    Object.fromEntries(given.filter(([name]) => own.includes(name))),
    wanted
  );
  return detectorOf(MODELS[model], chosen, backend);
}
var wantedOf = (model, options) => ({
  kind: model.kind,
  search: options.staticImageMode ? "auto" : "fast",
  ...model.wanted(options)
});
function detectorOf(model, chosen, backend) {
  const rules = Object.entries({ ...EVERY_ESTIMATION, ...model.estimation });
  const known = Object.fromEntries(
    rules.map(([name, [rule, value]]) => [name, [rule, chosen[name] ?? value]])
  );
  let [isFlipped, isDisposed] = [false, false];
  function track(image, wanted, flip, timestamp) {
    const time = timestamp ?? (image instanceof HTMLVideoElement ? image.currentTime * 1e3 : performance.now());
    if (flip !== isFlipped) backend.reset();
    isFlipped = flip;
    return backend.track(image, { wanted, flip, time: time / 1e3 });
  }
  async function estimate(image, options, timestamp) {
    const requested = checked(options ?? {}, known);
    if (isDisposed) throw new Error("this detector is disposed of. Create a new one.");
    if (image === null || image === void 0) {
      backend.reset();
      return [];
    }
    const wanted = wantedOf(model, { ...chosen, ...requested });
    const flip = requested.flipHorizontal;
    const isStill = requested.staticImageMode || image instanceof HTMLImageElement || image instanceof Blob;
    const answer = await (isStill ? backend.detect(image, { wanted, flip }) : track(image, wanted, flip, timestamp));
    const found = answer[model.list].map((result) => model.shape(result, answer));
    return Object.assign(
      found,
      answer.motions && { motions: answer.motions, events: answer.events }
    );
  }
  return {
    [model.estimate]: estimate,
    /** Forget all tracked instances. The next image starts a new stream. */
    reset: () => backend.reset(),
    /** Release the networks. */
    dispose() {
      isDisposed = true;
      backend.close();
    }
  };
}
var MOST_INSTANCES = 50;
var EVERY_ESTIMATION = {
  flipHorizontal: ["flag", false],
  staticImageMode: ["flag", false]
};
var FACES = {
  kind: "face",
  list: "faces",
  estimate: "estimateFaces",
  shape: ({ keypoints, box }) => ({ keypoints, box })
};
var MODELS = {
  MediaPipeHands: {
    kind: "hands",
    list: "hands",
    estimate: "estimateHands",
    config: {
      maxHands: ["count", 2],
      modelType: [["lite", "full"], "full"],
      handedness: [["tfjs", "own"], "tfjs"],
      gestures: [["none", "canned", "asl"], "none"]
    },
    wanted: ({ maxHands, modelType, handedness, gestures, flipHorizontal }) => ({
      model: modelType,
      max_instances: maxHands,
      mirrored: handedness === "tfjs" || flipHorizontal,
      // tfjs assumes selfie views
      smoothing: "published",
      gestures
    }),
    shape: ({ keypoints, keypoints3D, handedness, score, gesture }) => ({
      keypoints: keypoints.map(({ x, y, name }) => ({ x, y, name })),
      keypoints3D,
      handedness,
      score,
      ...gesture === void 0 ? {} : { gesture }
    })
  },
  MediaPipeFaceMesh: {
    ...FACES,
    config: { maxFaces: ["count", 1], refineLandmarks: ["flag", false] },
    wanted: ({ maxFaces, refineLandmarks }) => ({
      model: refineLandmarks ? "attention" : "mesh",
      max_instances: maxFaces,
      smoothing: "published"
    })
  },
  MediaPipeFaceDetector: {
    ...FACES,
    config: { maxFaces: ["count", 1], modelType: [["short", "full"], "short"] },
    wanted: ({ maxFaces, modelType }) => ({
      model: modelType === "full" ? "box-full" : "box",
      max_instances: maxFaces
    })
  },
  BlazePose: {
    kind: "body",
    list: "bodies",
    estimate: "estimatePoses",
    config: {
      modelType: [["lite", "full", "heavy"], "full"],
      enableSmoothing: ["flag", true],
      enableSegmentation: ["flag", false],
      smoothSegmentation: ["flag", true]
    },
    estimation: { maxPoses: ["count", 1] },
    wanted: ({ modelType, maxPoses, enableSmoothing, enableSegmentation, smoothSegmentation }) => ({
      model: modelType,
      max_instances: maxPoses,
      smoothing: enableSmoothing ? "published" : "none",
      ...enableSegmentation ? { segmentation: true, smooth_segmentation: smoothSegmentation } : {}
    }),
    shape: ({ score, keypoints, keypoints3D, segmentation }, { width, height }) => ({
      score,
      keypoints: keypoints.map(({ presence, ...point }) => point),
      keypoints3D,
      ...segmentation ? { segmentation: segmentationFrom(segmentation, { width, height }) } : {}
    })
  }
};
function checked(given, known, others = []) {
  const all = Object.fromEntries(Object.entries(known).map(([name, [, value]]) => [name, value]));
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) {
      console.warn(
        `Sonjit: ${unknown("option", name, [...Object.keys(known), ...others]).message}`
      );
    } else if (value !== void 0 && value !== null) {
      const [rule] = known[name];
      if (rule === "flag" && typeof value !== "boolean")
        throw unknown(name, value, ["true", "false"]);
      if (rule === "count" && !(Number.isInteger(value) && value >= 1 && value <= MOST_INSTANCES))
        throw unknown(name, value, [`1 to ${MOST_INSTANCES}`]);
      if (typeof rule !== "string" && !rule.includes(value)) throw unknown(name, value, rule);
      all[name] = value;
    }
  }
  return all;
}
var unknown = (what, value, known) => new Error(`unknown ${what} ${JSON.stringify(value)}; known: ${known.join(", ")}`);
function segmentationFrom(segmentation, image) {
  let pixels = null;
  async function decodeMask() {
    const mask2 = await greyOf(segmentation, image.width, image.height);
    const { data } = mask2;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at];
      data[at + 1] = data[at + 2] = 0;
    }
    return mask2;
  }
  const mask = {
    /** Return the mask in the size of the image. */
    toImageData: () => pixels ??= decodeMask(),
    async toCanvasImageSource() {
      const canvas = Object.assign(document.createElement("canvas"), image);
      canvas.getContext("2d")?.putImageData(await mask.toImageData(), 0, 0);
      return canvas;
    },
    /** @returns a tensor (height, width, 4) of the page's own tfjs, 0 to 255 */
    async toTensor() {
      const { tf } = globalThis;
      if (typeof tf?.browser?.fromPixels !== "function") {
        throw new Error(
          "toTensor: the page has no global tf; load tfjs before, or use toImageData()"
        );
      }
      return tf.browser.fromPixels(await mask.toImageData(), 4);
    },
    getUnderlyingType: () => "imagedata"
  };
  return {
    maskValueToLabel(value) {
      if (!(Number.isInteger(value) && value >= 0 && value <= 255))
        throw new Error(`mask value ${value}: give a whole number from 0 to 255`);
      return "person";
    },
    mask
  };
}
async function fileOf(image, { flip, type }) {
  if (image instanceof Blob && !flip) return image;
  const drawable = image instanceof Blob ? decode(image) : image instanceof ImageData ? createImageBitmap(image) : image;
  const canvas = draw(drawable instanceof Promise ? await drawable : drawable, flip);
  return canvas.convertToBlob({ type, quality: 0.95 }).catch(({ message }) => {
    throw new Error(
      `the pixels may not be read (${message}): load the image from this page's origin or with crossorigin`
    );
  });
}
function decode(file) {
  return createImageBitmap(file).catch(() => {
    throw new Error(
      `this browser cannot read the image (${file.type || "no type"}, ${file.size} bytes)`
    );
  });
}
function draw(image, flip, canvas = new OffscreenCanvas(1, 1)) {
  const [width, height] = sizeOf(image);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}
function sizeOf(image) {
  if (typeof image?.dataSync === "function") {
    throw new Error(
      "a tensor cannot be sent: give the image it was made from, or draw it with tf.browser.toPixels(tensor, canvas)"
    );
  }
  const kinds = [
    HTMLImageElement,
    HTMLVideoElement,
    HTMLCanvasElement,
    OffscreenCanvas,
    ImageBitmap
  ];
  if (!kinds.some((kind) => image instanceof kind)) {
    const known = kinds.map(({ name }) => name).join(", ");
    throw new Error(
      `a ${image?.constructor?.name ?? typeof image} is not an image; known: ${known}, ImageData or Blob`
    );
  }
  const size = image instanceof HTMLVideoElement ? [image.videoWidth, image.videoHeight] : [image.width, image.height];
  if (size.includes(0) || image instanceof HTMLVideoElement && image.readyState < image.HAVE_CURRENT_DATA) {
    throw new Error(
      "the image is empty: wait until the image or video has loaded (image.decode(), the event loadeddata)"
    );
  }
  return size;
}
function skeletonHelpers({ hand: hand2, face: face2, mesh: mesh2, body: body2 }) {
  const pairs = {
    MediaPipeHands: hand2.connections,
    MediaPipeFaceMesh: mesh2.triangles.flatMap(
      (triangle) => [0, 1, 2].map((k) => [triangle[k], triangle[(k + 1) % 3]])
    ),
    BlazePose: body2.connections
  };
  return Object.freeze({
    /**
     * Return the pairs of keypoints to connect with lines: bones, or the sides of the triangles of
     * a face mesh.
     *
     * @param model of SupportedModels
     */
    getAdjacentPairs: (model) => structuredClone(of(pairs, model)),
    /**
     * Return the keypoints of each contour: lips, leftEye, leftEyebrow, leftIris, rightEye,
     * rightEyebrow, rightIris, faceOval.
     *
     * @param model "MediaPipeFaceMesh"
     */
    getKeypointIndexByContour: (model) => structuredClone(of({ MediaPipeFaceMesh: face2.groups }, model)),
    /**
     * Return the keypoints of each side: left, right, middle.
     *
     * @param model "BlazePose"
     */
    getKeypointIndexBySide: (model) => structuredClone(of({ BlazePose: sides(body2.keypoints) }, model)),
    /**
     * Return the index of each keypoint by its name.
     *
     * @param model "BlazePose"
     */
    getKeypointIndexByName: (model) => of({ BlazePose: Object.fromEntries(body2.keypoints.map((name, i) => [name, i])) }, model)
  });
}
var calculators = Object.freeze({
  /**
   * Convert keypoints to fractions of the image's size; z has the scale of x.
   *
   * @param keypoints in pixels
   * @param size of the image
   */
  keypointsToNormalizedKeypoints: (keypoints, { width, height }) => keypoints.map((point) => ({
    ...point,
    x: point.x / width,
    y: point.y / height,
    ...point.z === void 0 ? {} : { z: point.z / width }
  }))
});
function sides(names) {
  const positions = (wanted) => names.flatMap(
    (name, i) => (/(?:^|_)(left|right)(?:_|$)/.exec(name)?.[1] ?? null) === wanted ? [i] : []
  );
  return { left: positions("left"), right: positions("right"), middle: positions(null) };
}
function of(table, model) {
  if (!Object.hasOwn(table, model))
    throw new Error(`model ${model} has none of these; known: ${Object.keys(table).join(", ")}`);
  return table[model];
}

// src/page/sonjit-client.ts
var read = async (name) => (await fetch(new URL(`skeletons/${name}.json`, import.meta.url))).json();
var [hand, face, mesh, body] = await Promise.all([
  read("hand_mediapipe21"),
  read("face_mediapipe478"),
  read("face_mediapipe_tesselation"),
  read("body_blazepose33")
]);
var util = skeletonHelpers({ hand, face, mesh, body });
var REFUSED2 = ["detectorModelUrl", "landmarkModelUrl"];
async function createDetector(model, config) {
  for (const name of REFUSED2) {
    if (config?.[name])
      throw new Error(
        `${name}: the server runs its own networks; leave it out and choose by modelType`
      );
  }
  return openDetector(model, config, { where: "the server", own: ["server", ...REFUSED2], open });
}
async function open({ server = thisServer }, configuration) {
  const { url = thisServer, token = null } = typeof server === "string" ? { url: server } : server;
  await call(below(url, "healthz"), token);
  const connection = new Connection({ url, token, detectors: [configuration] });
  let configured = configuration;
  let last = Promise.resolve();
  const lost = new Promise((_, reject) => {
    connection.addEventListener("state", (event) => {
      const { state, reason } = event.detail;
      if (state === "waiting") reject(new ServerError("gone", reason));
    });
  });
  await Promise.race([connection.open(), lost]).catch((error) => {
    connection.close();
    throw error;
  });
  async function send(blob, wanted, time) {
    if (JSON.stringify(wanted) !== JSON.stringify(configured)) {
      await connection.configure({ detectors: [wanted] }).then(() => configured = wanted);
    }
    for (; ; ) {
      await connection.open();
      try {
        return await connection.send({ blob, time });
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "gone") throw error;
      }
    }
  }
  return {
    async detect(image, { wanted: { kind, smoothing, ...options }, flip }) {
      const file = await fileOf(image, { flip, type: "image/png" });
      const address = withQuery(below(url, `v1/${kind}`), { ...options, full: true });
      return call(address, token, { method: "POST", body: file });
    },
    track(image, { wanted, flip, time }) {
      const file = fileOf(image, { flip, type: "image/jpeg" });
      const turn = Promise.all([file, last]).then(([blob]) => send(blob, wanted, time));
      last = turn.catch(() => {
      });
      return turn;
    },
    reset() {
      last = last.then(() => connection.reset());
    },
    close: () => connection.close()
  };
}
export {
  SupportedModels,
  calculators,
  createDetector,
  util
};
