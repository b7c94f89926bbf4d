// Made by `npm --prefix web run page` from web/src/page. Change it there.

// node_modules/@preact/signals-core/dist/signals-core.module.js
var i = /* @__PURE__ */ Symbol.for("preact-signals");
function t() {
  if (!(v > 1)) {
    var i2, t2 = false;
    !(function() {
      var i3 = c;
      c = void 0;
      while (void 0 !== i3) {
        var t3 = i3.S;
        if (t3.v === i3.v) {
          for (var r3 = t3.t; void 0 !== r3; r3 = r3.x) if (r3.i === i3.i) r3.i = t3.i;
        }
        i3 = i3.o;
      }
    })();
    while (void 0 !== h) {
      var r2 = h;
      h = void 0;
      s++;
      while (void 0 !== r2) {
        var n2 = r2.u;
        r2.u = void 0;
        r2.f &= -3;
        if (!(8 & r2.f) && w(r2)) try {
          r2.c();
        } catch (r3) {
          if (!t2) {
            i2 = r3;
            t2 = true;
          }
        }
        r2 = n2;
      }
    }
    s = 0;
    v--;
    if (t2) throw i2;
  } else v--;
}
function r(i2) {
  if (v > 0) return i2();
  u = ++e;
  v++;
  try {
    return i2();
  } finally {
    t();
  }
}
var n;
var o = void 0;
function f(i2) {
  var t2 = o, r2 = n;
  o = void 0;
  n = void 0;
  try {
    return i2();
  } finally {
    o = t2;
    n = r2;
  }
}
var h = void 0;
var v = 0;
var s = 0;
var e = 0;
var u = 0;
var c = void 0;
var a = 0;
function d(i2) {
  if (void 0 !== o) {
    var t2 = i2.n;
    if (void 0 === t2 || t2.t !== o) {
      t2 = { i: 0, S: i2, p: o.s, n: void 0, t: o, e: void 0, x: void 0, r: t2 };
      if (void 0 !== o.s) o.s.n = t2;
      o.s = t2;
      i2.n = t2;
      if (32 & o.f) i2.S(t2);
      return t2;
    } else if (-1 === t2.i) {
      t2.i = 0;
      if (void 0 !== t2.n) {
        t2.n.p = t2.p;
        if (void 0 !== t2.p) t2.p.n = t2.n;
        t2.p = o.s;
        t2.n = void 0;
        o.s.n = t2;
        o.s = t2;
      }
      return t2;
    }
  }
}
function l(i2, t2) {
  this.v = i2;
  this.i = 0;
  this.n = void 0;
  this.t = void 0;
  this.l = 0;
  this.W = null == t2 ? void 0 : t2.watched;
  this.Z = null == t2 ? void 0 : t2.unwatched;
  this.name = null == t2 ? void 0 : t2.name;
}
l.prototype.brand = i;
l.prototype.h = function() {
  return true;
};
l.prototype.S = function(i2) {
  var t2 = this, r2 = this.t;
  if (r2 !== i2 && void 0 === i2.e) {
    i2.x = r2;
    this.t = i2;
    if (void 0 !== r2) r2.e = i2;
    else f(function() {
      var i3;
      null == (i3 = t2.W) || i3.call(t2);
    });
  }
};
l.prototype.U = function(i2) {
  var t2 = this;
  if (void 0 !== this.t) {
    var r2 = i2.e, n2 = i2.x;
    if (void 0 !== r2) {
      r2.x = n2;
      i2.e = void 0;
    }
    if (void 0 !== n2) {
      n2.e = r2;
      i2.x = void 0;
    }
    if (i2 === this.t) {
      this.t = n2;
      if (void 0 === n2) f(function() {
        var i3;
        null == (i3 = t2.Z) || i3.call(t2);
      });
    }
  }
};
l.prototype.subscribe = function(i2) {
  var t2 = this;
  return x(function() {
    var r2 = t2.value;
    f(function() {
      return i2(r2);
    });
  }, { name: "sub" });
};
l.prototype.valueOf = function() {
  return this.value;
};
l.prototype.toString = function() {
  return this.value + "";
};
l.prototype.toJSON = function() {
  return this.value;
};
l.prototype.peek = function() {
  var i2 = this;
  return f(function() {
    return i2.value;
  });
};
Object.defineProperty(l.prototype, "value", { get: function() {
  var i2 = d(this);
  if (void 0 !== i2) i2.i = this.i;
  return this.v;
}, set: function(i2) {
  if (i2 !== this.v) {
    if (s > 100) throw new Error("Cycle detected");
    !(function(i3) {
      if (0 !== v && 0 === s) {
        if (i3.l !== u) {
          i3.l = u;
          c = { S: i3, v: i3.v, i: i3.i, o: c };
        }
      }
    })(this);
    this.v = i2;
    this.i++;
    a++;
    v++;
    try {
      for (var r2 = this.t; void 0 !== r2; r2 = r2.x) r2.t.N();
    } finally {
      t();
    }
  }
} });
function y(i2, t2) {
  return new l(i2, t2);
}
function w(i2) {
  for (var t2 = i2.s; void 0 !== t2; t2 = t2.n) if (t2.S.i !== t2.i || !t2.S.h() || t2.S.i !== t2.i) return true;
  return false;
}
function b(i2) {
  for (var t2 = i2.s; void 0 !== t2; t2 = t2.n) {
    var r2 = t2.S.n;
    if (void 0 !== r2) t2.r = r2;
    t2.S.n = t2;
    t2.i = -1;
    if (void 0 === t2.n) {
      i2.s = t2;
      break;
    }
  }
}
function _(i2) {
  var t2 = i2.s, r2 = void 0;
  while (void 0 !== t2) {
    var n2 = t2.p;
    if (-1 === t2.i) {
      t2.S.U(t2);
      if (void 0 !== n2) n2.n = t2.n;
      if (void 0 !== t2.n) t2.n.p = n2;
    } else r2 = t2;
    t2.S.n = t2.r;
    if (void 0 !== t2.r) t2.r = void 0;
    t2 = n2;
  }
  i2.s = r2;
}
function j(i2, t2) {
  l.call(this, void 0, t2);
  this.x = i2;
  this.s = void 0;
  this.g = a - 1;
  this.f = 4;
}
j.prototype = new l();
j.prototype.h = function() {
  this.f &= -3;
  if (1 & this.f) return false;
  if (32 == (36 & this.f)) return true;
  this.f &= -5;
  if (this.g === a) return true;
  this.g = a;
  this.f |= 1;
  if (this.i > 0 && !w(this)) {
    this.f &= -2;
    return true;
  }
  var i2 = o;
  try {
    b(this);
    o = this;
    var t2 = this.x();
    if (16 & this.f || this.v !== t2 || 0 === this.i) {
      this.v = t2;
      this.f &= -17;
      this.i++;
    }
  } catch (i3) {
    this.v = i3;
    this.f |= 16;
    this.i++;
  }
  o = i2;
  _(this);
  this.f &= -2;
  return true;
};
j.prototype.S = function(i2) {
  if (void 0 === this.t) {
    this.f |= 36;
    for (var t2 = this.s; void 0 !== t2; t2 = t2.n) t2.S.S(t2);
  }
  l.prototype.S.call(this, i2);
};
j.prototype.U = function(i2) {
  if (void 0 !== this.t) {
    l.prototype.U.call(this, i2);
    if (void 0 === this.t) {
      this.f &= -33;
      for (var t2 = this.s; void 0 !== t2; t2 = t2.n) t2.S.U(t2);
    }
  }
};
j.prototype.N = function() {
  if (!(2 & this.f)) {
    this.f |= 6;
    for (var i2 = this.t; void 0 !== i2; i2 = i2.x) i2.t.N();
  }
};
Object.defineProperty(j.prototype, "value", { get: function() {
  if (1 & this.f) throw new Error("Cycle detected");
  var i2 = d(this);
  this.h();
  if (void 0 !== i2) i2.i = this.i;
  if (16 & this.f) throw this.v;
  return this.v;
} });
function O(i2, t2) {
  return new j(i2, t2);
}
function p(i2) {
  var r2 = i2.j;
  i2.j = void 0;
  if ("function" == typeof r2) {
    v++;
    var n2 = o;
    o = void 0;
    try {
      r2();
    } catch (t2) {
      i2.f &= -2;
      i2.f |= 8;
      g(i2);
      throw t2;
    } finally {
      o = n2;
      t();
    }
  }
}
function g(i2) {
  for (var t2 = i2.s; void 0 !== t2; t2 = t2.n) t2.S.U(t2);
  i2.x = void 0;
  i2.s = void 0;
  p(i2);
}
function S(i2) {
  if (o !== this) throw new Error("Out-of-order effect");
  _(this);
  o = i2;
  this.f &= -2;
  try {
    if (8 & this.f) g(this);
  } finally {
    t();
  }
}
function m(i2, t2) {
  this.x = i2;
  this.j = void 0;
  this.s = void 0;
  this.u = void 0;
  this.f = 32;
  this.name = null == t2 ? void 0 : t2.name;
  if (n) n.push(this);
}
m.prototype.c = function() {
  var i2 = this.S();
  try {
    if (8 & this.f) return;
    if (void 0 === this.x) return;
    var t2 = this.x();
    if ("function" == typeof t2) this.j = t2;
  } finally {
    i2();
  }
};
m.prototype.S = function() {
  if (1 & this.f) throw new Error("Cycle detected");
  this.f |= 1;
  this.f &= -9;
  p(this);
  b(this);
  v++;
  var i2 = o;
  o = this;
  return S.bind(this, i2);
};
m.prototype.N = function() {
  if (!(2 & this.f)) {
    this.f |= 2;
    this.u = h;
    h = this;
  }
};
m.prototype.d = function() {
  this.f |= 8;
  if (!(1 & this.f)) g(this);
};
m.prototype.dispose = function() {
  this.d();
};
function x(i2, t2) {
  var r2 = new m(i2, t2);
  try {
    r2.c();
  } catch (i3) {
    r2.d();
    throw i3;
  }
  var n2 = r2.d.bind(r2);
  n2[Symbol.dispose] = n2;
  return n2;
}

// src/page/common.ts
var find = (id) => document.getElementById(id);
function make(tag, members = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}
var makeButton = (label, onclick, members = {}) => make("button", { type: "button", className: "button small", onclick, ...members }, label);
function makeRow(head, cells, tag = "td") {
  const title = head ? make("th", { scope: tag === "th" ? "col" : "row" }, head) : make("td");
  return make(
    "tr",
    {},
    title,
    ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell)))
  );
}
function put(element, content) {
  if (element.textContent !== content) element.textContent = content;
}
function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}
function clearedContext(canvas) {
  fit(
    canvas,
    Math.round(canvas.clientWidth * devicePixelRatio),
    Math.round(canvas.clientHeight * devicePixelRatio)
  );
  const context = canvas.getContext("2d");
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}
function onNextFrame(draw) {
  let request = 0;
  return () => {
    cancelAnimationFrame(request);
    request = requestAnimationFrame(draw);
  };
}
function save(blob, name) {
  if (!blob) return;
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 6e4);
}
var Store = class {
  now;
  #watchers = [];
  /** @param values initial values of all names */
  constructor(values) {
    this.now = y(Object.freeze({ ...values }));
  }
  /** The current values. Objects are replaced, not changed. */
  get state() {
    return this.now.peek();
  }
  set(changes) {
    const before = this.state;
    this.now.value = Object.freeze({ ...before, ...changes });
    const changed = Object.keys(changes).filter(
      (name) => before[name] !== changes[name]
    );
    for (const { names, react } of [...this.#watchers]) {
      if (names.some((name) => changed.includes(name))) react(this.state);
    }
  }
  /** Call a listener now and after every change of these values. */
  watch(names, react) {
    this.#watchers.push({ names, react });
    react(this.state);
  }
};
function attempt(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
var memory = {
  read: (name) => attempt(() => JSON.parse(localStorage.getItem(`sonjit.${name}`) ?? "null")),
  write: (name, value) => attempt(() => localStorage.setItem(`sonjit.${name}`, JSON.stringify(value)))
};
var texts = y({});
var listeners = [showMessage];
async function startLanguage(...folders) {
  const choice = find("language");
  const list = await fetch(new URL("languages.json", folders[0]));
  const names = await list.json();
  const options = Object.entries(names).map(
    ([value, name]) => make("option", { value, lang: value }, name)
  );
  choice.replaceChildren(...options);
  const wanted = [
    memory.read("language") ?? "",
    ...navigator.languages.map((tag) => tag.slice(0, 2))
  ];
  choice.value = wanted.find((language) => Object.hasOwn(names, language)) ?? Object.keys(names)[0] ?? "";
  choice.onchange = () => {
    memory.write("language", choice.value);
    return speak(choice.value, ...folders);
  };
  await speak(choice.value, ...folders);
}
async function speak(language, ...folders) {
  const loaded = folders.map(
    async (folder) => (await fetch(new URL(`${language}.json`, folder))).json()
  );
  texts.value = Object.assign({}, ...await Promise.all(loaded));
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}
function onLanguage(listener) {
  listeners.push(listener);
  if (Object.keys(texts.peek()).length) listener();
}
var text = (key, values = {}) => textOr(key, key).replace(
  /\{(\w+)\}/g,
  (placeholder, name) => String(values[name] ?? placeholder)
);
var textOr = (key, otherwise) => texts.value[key] ?? otherwise;
function translate(root) {
  for (const node of root.querySelectorAll("[data-i18n]")) {
    node.textContent = text(node.dataset.i18n ?? "");
  }
  for (const node of root.querySelectorAll("[data-i18n-label]"))
    setLabel(node, node.dataset.i18nLabel ?? "");
}
function setLabel(node, key) {
  node.ariaLabel = text(key);
  if (node instanceof HTMLButtonElement) node.title = node.ariaLabel;
}
var PageError = class extends Error {
  code;
  values;
  /** @param values for the text */
  constructor(code, values = {}) {
    super(code);
    this.name = "PageError";
    this.code = code;
    this.values = values;
  }
};
var shown = null;
function showError(error) {
  shown = error;
  showMessage();
}
function showMessage() {
  const place = find("message");
  if (!place) return;
  place.hidden = shown === null;
  if (shown === null) {
    delete place.dataset["code"];
    return place.replaceChildren();
  }
  const error = shown;
  const code = `error.${error.code}` in texts.peek() ? error.code : "unknown";
  place.dataset["code"] = code;
  const values = {
    host: location.hostname,
    port: location.port || 80,
    message: error.message ?? String(shown),
    ...error.values
  };
  const lines = [
    ["strong", text(`error.${code}`, values)],
    ["span", text(`error.${code}.do`, values)],
    ["small", shown instanceof PageError ? "" : values.message]
  ];
  const close = make(
    "button",
    {
      type: "button",
      className: "close",
      ariaLabel: text("close"),
      onclick: () => showError(null)
    },
    "×"
  );
  place.replaceChildren(
    ...lines.map(([tag, content]) => make(tag, { hidden: !content }, content)),
    close
  );
}

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

// ../src/sonjit/spec/drawing.json
var drawing_default = {
  colours: { ink: "#12141c", neutral: "#ececf2", left: "#ffaa33", right: "#38bdff" },
  fingers: {
    thumb: "#ffaa33",
    indexFinger: "#76db5c",
    middleFinger: "#38bdff",
    ringFinger: "#9e7fff",
    pinky: "#ff6398"
  },
  instances: ["#6084ff", "#2ecca0", "#ff8a5c", "#d670f0", "#f4ca3e", "#5ac8fa"],
  face_contours: {
    lips: "#ff96a5",
    leftEye: "#ffd08c",
    leftEyebrow: "#ffd08c",
    leftIris: "#ffe8be",
    rightEye: "#8cd6ff",
    rightEyebrow: "#8cd6ff",
    rightIris: "#c4ecff",
    faceOval: "#d6dce8"
  },
  hand_width: 0.017,
  body_width: 75e-4,
  max_width_share: 8e-3,
  edge_share: 0.27,
  min_edge_px: 0.5,
  depth_range: 0.38
};

// ../src/sonjit/spec/repetitions.json
var repetitions_default = {
  low_deg: 110,
  high_deg: 150,
  min_duration_s: 0.3,
  min_hold_s: 0.05,
  max_gap_s: 1,
  max_step_back_s: 0.5
};

// ../src/sonjit/spec/results.json
var results_default = {
  visible_score: 0.5,
  known_side_score: 0.8
};

// src/page/kinds.ts
var listOf = (frame, list) => frame[list] ?? [];
var kinds = {};
var kindsInPage = {};
var results = {};
var columns = [];
var classes = [];
var annotates = false;
async function loadKinds() {
  const answer = await call(
    hasNoServer ? new URL("./kinds.json", import.meta.url) : addressOf("/v1/kinds")
  );
  ({ kinds, in_page: kindsInPage, results, columns, classes = [], annotates = false } = answer);
  const { triangles } = await (await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url))).json();
  const sides = triangles.flatMap(
    ([a2, b2, c2]) => [
      [a2, b2],
      [b2, c2],
      [c2, a2]
    ].map(([p2, q]) => Math.min(p2, q) * 1e3 + Math.max(p2, q))
  );
  const edges = [...new Set(sides)].map((side) => [Math.floor(side / 1e3), side % 1e3]);
  for (const [name, table] of Object.values(results).flatMap(
    (result) => Object.entries(result.skeletons)
  )) {
    const colours = table.keypoints.map((_2, k) => colourOf(table, k));
    skeletons.set(name, {
      ...table,
      colours,
      ...table.keypoints.length > MIN_MESH_KEYPOINTS ? { edges } : {}
    });
  }
}
var kindsWhere = (here) => here ? kindsInPage : kinds;
var last = null;
function instancesOf(frame) {
  if (last?.frame === frame) return last.instances;
  const instances = Object.entries(results).flatMap(([kind, { list, members }]) => {
    const parts = Object.entries(members);
    return listOf(frame, list).flatMap(
      (found, number) => parts.length ? parts.flatMap(([key, part]) => {
        const instance = found[key];
        return instance ? [{ kind: part, number, instance, person: found }] : [];
      }) : [{ kind, number, instance: found }]
    );
  });
  last = { frame, instances };
  return instances;
}
var { ink: INK, neutral: NEUTRAL, left: LEFT, right: RIGHT } = drawing_default.colours;
var PARTS = { ...drawing_default.fingers, ...drawing_default.face_contours };
var MESH = "face_mediapipe_tesselation";
var MIN_MESH_KEYPOINTS = 100;
var skeletons = /* @__PURE__ */ new Map();
function skeletonOf({ skeleton: name }) {
  const skeleton = skeletons.get(name);
  if (!skeleton)
    throw new RangeError(`unknown skeleton ${name}; known: ${[...skeletons.keys()].join(", ")}`);
  return skeleton;
}
var coloured = (skeleton, colour) => ({
  ...skeleton,
  colours: skeleton.colours.map(() => colour),
  single: colour
});
function lineColour({ colours, groups, single }, a2, b2) {
  if (single) return single;
  const { torso } = groups;
  return colours[a2] === colours[b2] && !(torso?.includes(a2) && torso.includes(b2)) ? colours[a2] : NEUTRAL;
}
function colourOf({ keypoints, groups }, k) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k) && name in PARTS);
  if (group) return PARTS[group];
  return /(?:^|_)left/.test(keypoints[k]) ? LEFT : /(?:^|_)right/.test(keypoints[k]) ? RIGHT : NEUTRAL;
}

// src/page/strokes.ts
var SHADES = 20;
var shades = /* @__PURE__ */ new Map();
var Strokes = class {
  thickness;
  ctx;
  points;
  drawable;
  /** Diagonal of the box around the drawable points in pixels; 0 without points. */
  size;
  /**
   * Depth of each point within the instance: 0 far, 1 near; 0.5 if unknown, close to 0.5 if flat.
   */
  near;
  longest;
  /**
   * @param ctx scaled to pixels of the image
   * @param points in pixels of the image; those that are not finite are skipped
   * @param longest side of the image, pixels
   * @param thickness factor of line widths
   */
  constructor(ctx, points, longest, thickness) {
    this.thickness = thickness;
    this.ctx = ctx;
    this.points = points;
    this.drawable = points.map(({ x: x2, y: y2 }) => Math.abs(x2) < 1e5 && Math.abs(y2) < 1e5);
    const [left, top, right, bottom] = around(points, this.drawable);
    this.size = left <= right ? Math.hypot(right - left, bottom - top) : 0;
    this.near = nearness(points, this.size);
    this.longest = longest;
  }
  /** Return the width of a line: a share of the instance's size within limits. */
  width(share) {
    return this.thickness * Math.min(
      Math.max(this.size * share, this.longest / 640),
      this.longest * drawing_default.max_width_share + 1
    );
  }
  /** Draw many lines of one style in one stroke. */
  lines(pairs, colour, width) {
    const { ctx, points, drawable } = this;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    pairs.forEach((pair) => {
      if (!drawable[pair[0]] || !drawable[pair[1]]) return;
      const from = points[pair[0]];
      const to = points[pair[1]];
      ctx.moveTo(from.x, from.y);
      ctx.lineTo(to.x, to.y);
    });
    ctx.stroke();
  }
  /** Draw a disc, or a ring of this width. */
  dot(k, colour, radius, ring) {
    this.dots([k], colour, radius, ring);
  }
  /** Draw discs, or rings of this width, of one style in one path. */
  dots(members, colour, radius, ring = 0) {
    const { ctx, points } = this;
    ctx.fillStyle = ctx.strokeStyle = colour;
    ctx.beginPath();
    for (const k of members) {
      if (!this.drawable[k]) continue;
      if (members.length > 1) ctx.moveTo(points[k].x + radius, points[k].y);
      ctx.arc(points[k].x, points[k].y, radius, 0, 2 * Math.PI);
    }
    if (ring) ctx.lineWidth = ring;
    ring ? ctx.stroke() : ctx.fill();
  }
};
var edgeOf = (width) => Math.max(drawing_default.min_edge_px, width * drawing_default.edge_share);
function shade(colour, near) {
  let steps = shades.get(colour);
  if (!steps) {
    const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    steps = Array.from({ length: SHADES + 1 }, (_2, step) => {
      const share = step / SHADES;
      const mixed = channels.map(
        (c2) => share < 0.5 ? c2 * (0.5 + share) : c2 + (255 - c2) * (share - 0.5) * 0.9
      );
      return `rgb(${mixed.map(Math.round).join(" ")})`;
    });
    shades.set(colour, steps);
  }
  return steps[Math.round(Math.min(Math.max(near, 0), 1) * SHADES)];
}
function around(points, chosen) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    if (chosen && !chosen[k]) continue;
    const { x: x2, y: y2 } = points[k];
    if (x2 < left) left = x2;
    if (x2 > right) right = x2;
    if (y2 < top) top = y2;
    if (y2 > bottom) bottom = y2;
  }
  return [left, top, right, bottom];
}
function nearness(points, size) {
  let [least, most] = [Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    const z = points[k].z ?? NaN;
    if (z < least) least = z;
    if (z > most) most = z;
  }
  const near = new Float64Array(points.length).fill(0.5);
  if (!Number.isFinite(most - least) || !size) return near;
  const nearest = (most + least) / 2 - drawing_default.depth_range / 2 * size;
  for (let k = 0; k < near.length; k += 1) {
    const away = ((points[k].z ?? NaN) - nearest) / (drawing_default.depth_range * size);
    if (!Number.isNaN(away)) near[k] = 1 - (away < 0 ? 0 : away > 1 ? 1 : away);
  }
  return near;
}

export {
  r,
  l,
  y,
  O,
  x,
  find,
  make,
  makeButton,
  makeRow,
  put,
  fit,
  clearedContext,
  onNextFrame,
  save,
  Store,
  memory,
  startLanguage,
  speak,
  onLanguage,
  text,
  textOr,
  setLabel,
  PageError,
  showError,
  thisServer,
  below,
  ENGINE,
  hasNoServer,
  ServerError,
  withQuery,
  call,
  responseOf,
  addressOf,
  frameMessage,
  drawing_default,
  repetitions_default,
  results_default,
  listOf,
  kinds,
  kindsInPage,
  results,
  columns,
  classes,
  annotates,
  loadKinds,
  kindsWhere,
  instancesOf,
  INK,
  NEUTRAL,
  LEFT,
  RIGHT,
  skeletonOf,
  coloured,
  lineColour,
  Strokes,
  edgeOf,
  shade,
  around
};
