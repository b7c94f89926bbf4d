// Made by `npm --prefix web run page` from web/src/page. Change it there.

// node_modules/@preact/signals-core/dist/signals-core.module.js
var i = /* @__PURE__ */ Symbol.for("preact-signals");
function t() {
  if (!(v > 1)) {
    var i4, t4 = false;
    !(function() {
      var i5 = c;
      c = void 0;
      while (void 0 !== i5) {
        var t5 = i5.S;
        if (t5.v === i5.v) {
          for (var r5 = t5.t; void 0 !== r5; r5 = r5.x) if (r5.i === i5.i) r5.i = t5.i;
        }
        i5 = i5.o;
      }
    })();
    while (void 0 !== h) {
      var r4 = h;
      h = void 0;
      s++;
      while (void 0 !== r4) {
        var n3 = r4.u;
        r4.u = void 0;
        r4.f &= -3;
        if (!(8 & r4.f) && w(r4)) try {
          r4.c();
        } catch (r5) {
          if (!t4) {
            i4 = r5;
            t4 = true;
          }
        }
        r4 = n3;
      }
    }
    s = 0;
    v--;
    if (t4) throw i4;
  } else v--;
}
function r(i4) {
  if (v > 0) return i4();
  u = ++e;
  v++;
  try {
    return i4();
  } finally {
    t();
  }
}
var n;
var o = void 0;
function f(i4) {
  var t4 = o, r4 = n;
  o = void 0;
  n = void 0;
  try {
    return i4();
  } finally {
    o = t4;
    n = r4;
  }
}
var h = void 0;
var v = 0;
var s = 0;
var e = 0;
var u = 0;
var c = void 0;
var a = 0;
function d(i4) {
  if (void 0 !== o) {
    var t4 = i4.n;
    if (void 0 === t4 || t4.t !== o) {
      t4 = { i: 0, S: i4, p: o.s, n: void 0, t: o, e: void 0, x: void 0, r: t4 };
      if (void 0 !== o.s) o.s.n = t4;
      o.s = t4;
      i4.n = t4;
      if (32 & o.f) i4.S(t4);
      return t4;
    } else if (-1 === t4.i) {
      t4.i = 0;
      if (void 0 !== t4.n) {
        t4.n.p = t4.p;
        if (void 0 !== t4.p) t4.p.n = t4.n;
        t4.p = o.s;
        t4.n = void 0;
        o.s.n = t4;
        o.s = t4;
      }
      return t4;
    }
  }
}
function l(i4, t4) {
  this.v = i4;
  this.i = 0;
  this.n = void 0;
  this.t = void 0;
  this.l = 0;
  this.W = null == t4 ? void 0 : t4.watched;
  this.Z = null == t4 ? void 0 : t4.unwatched;
  this.name = null == t4 ? void 0 : t4.name;
}
l.prototype.brand = i;
l.prototype.h = function() {
  return true;
};
l.prototype.S = function(i4) {
  var t4 = this, r4 = this.t;
  if (r4 !== i4 && void 0 === i4.e) {
    i4.x = r4;
    this.t = i4;
    if (void 0 !== r4) r4.e = i4;
    else f(function() {
      var i5;
      null == (i5 = t4.W) || i5.call(t4);
    });
  }
};
l.prototype.U = function(i4) {
  var t4 = this;
  if (void 0 !== this.t) {
    var r4 = i4.e, n3 = i4.x;
    if (void 0 !== r4) {
      r4.x = n3;
      i4.e = void 0;
    }
    if (void 0 !== n3) {
      n3.e = r4;
      i4.x = void 0;
    }
    if (i4 === this.t) {
      this.t = n3;
      if (void 0 === n3) f(function() {
        var i5;
        null == (i5 = t4.Z) || i5.call(t4);
      });
    }
  }
};
l.prototype.subscribe = function(i4) {
  var t4 = this;
  return x(function() {
    var r4 = t4.value;
    f(function() {
      return i4(r4);
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
  var i4 = this;
  return f(function() {
    return i4.value;
  });
};
Object.defineProperty(l.prototype, "value", { get: function() {
  var i4 = d(this);
  if (void 0 !== i4) i4.i = this.i;
  return this.v;
}, set: function(i4) {
  if (i4 !== this.v) {
    if (s > 100) throw new Error("Cycle detected");
    !(function(i5) {
      if (0 !== v && 0 === s) {
        if (i5.l !== u) {
          i5.l = u;
          c = { S: i5, v: i5.v, i: i5.i, o: c };
        }
      }
    })(this);
    this.v = i4;
    this.i++;
    a++;
    v++;
    try {
      for (var r4 = this.t; void 0 !== r4; r4 = r4.x) r4.t.N();
    } finally {
      t();
    }
  }
} });
function y(i4, t4) {
  return new l(i4, t4);
}
function w(i4) {
  for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) if (t4.S.i !== t4.i || !t4.S.h() || t4.S.i !== t4.i) return true;
  return false;
}
function b(i4) {
  for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) {
    var r4 = t4.S.n;
    if (void 0 !== r4) t4.r = r4;
    t4.S.n = t4;
    t4.i = -1;
    if (void 0 === t4.n) {
      i4.s = t4;
      break;
    }
  }
}
function _(i4) {
  var t4 = i4.s, r4 = void 0;
  while (void 0 !== t4) {
    var n3 = t4.p;
    if (-1 === t4.i) {
      t4.S.U(t4);
      if (void 0 !== n3) n3.n = t4.n;
      if (void 0 !== t4.n) t4.n.p = n3;
    } else r4 = t4;
    t4.S.n = t4.r;
    if (void 0 !== t4.r) t4.r = void 0;
    t4 = n3;
  }
  i4.s = r4;
}
function j(i4, t4) {
  l.call(this, void 0, t4);
  this.x = i4;
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
  var i4 = o;
  try {
    b(this);
    o = this;
    var t4 = this.x();
    if (16 & this.f || this.v !== t4 || 0 === this.i) {
      this.v = t4;
      this.f &= -17;
      this.i++;
    }
  } catch (i5) {
    this.v = i5;
    this.f |= 16;
    this.i++;
  }
  o = i4;
  _(this);
  this.f &= -2;
  return true;
};
j.prototype.S = function(i4) {
  if (void 0 === this.t) {
    this.f |= 36;
    for (var t4 = this.s; void 0 !== t4; t4 = t4.n) t4.S.S(t4);
  }
  l.prototype.S.call(this, i4);
};
j.prototype.U = function(i4) {
  if (void 0 !== this.t) {
    l.prototype.U.call(this, i4);
    if (void 0 === this.t) {
      this.f &= -33;
      for (var t4 = this.s; void 0 !== t4; t4 = t4.n) t4.S.U(t4);
    }
  }
};
j.prototype.N = function() {
  if (!(2 & this.f)) {
    this.f |= 6;
    for (var i4 = this.t; void 0 !== i4; i4 = i4.x) i4.t.N();
  }
};
Object.defineProperty(j.prototype, "value", { get: function() {
  if (1 & this.f) throw new Error("Cycle detected");
  var i4 = d(this);
  this.h();
  if (void 0 !== i4) i4.i = this.i;
  if (16 & this.f) throw this.v;
  return this.v;
} });
function O(i4, t4) {
  return new j(i4, t4);
}
function p(i4) {
  var r4 = i4.j;
  i4.j = void 0;
  if ("function" == typeof r4) {
    v++;
    var n3 = o;
    o = void 0;
    try {
      r4();
    } catch (t4) {
      i4.f &= -2;
      i4.f |= 8;
      g(i4);
      throw t4;
    } finally {
      o = n3;
      t();
    }
  }
}
function g(i4) {
  for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) t4.S.U(t4);
  i4.x = void 0;
  i4.s = void 0;
  p(i4);
}
function S(i4) {
  if (o !== this) throw new Error("Out-of-order effect");
  _(this);
  o = i4;
  this.f &= -2;
  try {
    if (8 & this.f) g(this);
  } finally {
    t();
  }
}
function m(i4, t4) {
  this.x = i4;
  this.j = void 0;
  this.s = void 0;
  this.u = void 0;
  this.f = 32;
  this.name = null == t4 ? void 0 : t4.name;
  if (n) n.push(this);
}
m.prototype.c = function() {
  var i4 = this.S();
  try {
    if (8 & this.f) return;
    if (void 0 === this.x) return;
    var t4 = this.x();
    if ("function" == typeof t4) this.j = t4;
  } finally {
    i4();
  }
};
m.prototype.S = function() {
  if (1 & this.f) throw new Error("Cycle detected");
  this.f |= 1;
  this.f &= -9;
  p(this);
  b(this);
  v++;
  var i4 = o;
  o = this;
  return S.bind(this, i4);
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
function x(i4, t4) {
  var r4 = new m(i4, t4);
  try {
    r4.c();
  } catch (i5) {
    r4.d();
    throw i5;
  }
  var n3 = r4.d.bind(r4);
  n3[Symbol.dispose] = n3;
  return n3;
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
    const changed = Object.keys(changes).filter(
      (name) => before[name] !== changes[name]
    );
    if (!changed.length) return;
    this.now.value = Object.freeze({ ...before, ...changes });
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
var downloads = [];
var annotates = false;
async function loadKinds() {
  const answer = await call(
    hasNoServer ? new URL("./kinds.json", import.meta.url) : addressOf("/v1/kinds")
  );
  ({ kinds, in_page: kindsInPage, results, columns } = answer);
  ({ classes = [], annotates = false, downloads = [] } = answer);
  const { triangles } = await (await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url))).json();
  const sides = triangles.flatMap(
    ([a5, b3, c4]) => [
      [a5, b3],
      [b3, c4],
      [c4, a5]
    ].map(([p5, q3]) => Math.min(p5, q3) * 1e3 + Math.max(p5, q3))
  );
  const edges = [...new Set(sides)].map((side) => [Math.floor(side / 1e3), side % 1e3]);
  for (const [name, table] of Object.values(results).flatMap(
    (result) => Object.entries(result.skeletons)
  )) {
    const colours = table.keypoints.map((_4, k4) => colourOf(table, k4));
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
function lineColour({ colours, groups, single }, a5, b3) {
  if (single) return single;
  const { torso } = groups;
  return colours[a5] === colours[b3] && !(torso?.includes(a5) && torso.includes(b3)) ? colours[a5] : NEUTRAL;
}
function colourOf({ keypoints, groups }, k4) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k4) && name in PARTS);
  if (group) return PARTS[group];
  return /(?:^|_)left/.test(keypoints[k4]) ? LEFT : /(?:^|_)right/.test(keypoints[k4]) ? RIGHT : NEUTRAL;
}

// node_modules/preact/dist/preact.mjs
var n2;
var t2;
var r2;
var u2;
var i2;
var f2;
var o2;
var e2;
var l2;
var c2;
var a2;
var s2;
var h2 = /* @__PURE__ */ Symbol.for("pv");
var p2 = {};
var y2 = [];
var v2 = /^m(i|n|o|s|text|space)$/;
var w2 = Array.isArray;
var d2 = y2.slice;
var _2 = Object.assign;
function g2(n3) {
  n3 && n3.parentNode && n3.remove();
}
function k(n3, t4, r4) {
  var u4, i4, f5, o5 = {}, e4 = arguments.length;
  for (f5 in t4) "key" == f5 ? u4 = t4[f5] : "ref" == f5 && "function" != typeof n3 ? i4 = t4[f5] : o5[f5] = t4[f5];
  return e4 > 2 && (o5.children = e4 > 3 ? d2.call(arguments, 2) : r4), m2(n3, o5, u4, i4, null);
}
function m2(r4, u4, i4, f5, o5) {
  var e4 = { type: r4, props: u4, key: i4, ref: f5, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: h2, __v: o5 || ++t2, __i: -1, __u: 0 };
  return !o5 && n2.vnode && n2.vnode(e4), e4;
}
function $(n3) {
  return n3.children;
}
function x2(n3, t4) {
  this.props = n3, this.context = t4, this.__g = 0;
}
function S2(n3, t4) {
  if (null == t4) return n3.__ && S2(n3.__, n3.__i + 1);
  for (var r4; t4 < n3.__k.length; t4++) if ((r4 = n3.__k[t4]) && r4.__e) return r4.__e;
  return "function" != typeof n3.type || n3.props.__P ? null : S2(n3);
}
function C(t4) {
  var r4, u4 = t4.__v, i4 = u4.__e, f5 = [], o5 = [], e4 = t4.__P;
  e4 && ((r4 = _2({ constructor: h2 }, u4)).__v = u4.__v + 1, n2.vnode && n2.vnode(r4), z(e4, r4, u4, t4.__n, e4.namespaceURI, 32 & u4.__u ? [i4] : null, f5, i4 || S2(u4), 32 & u4.__u, o5), r4.__v = u4.__v, r4.__.__k[r4.__i] = r4, E(f5, r4, o5), u4.__ = u4.__e = null, r4.__e != i4 && j2(r4));
}
function j2(n3) {
  if ((n3 = n3.__) && n3.__c && !n3.props.__P) return n3.__e = null, n3.__k.some(function(t4) {
    return t4 && (n3.__e = t4.__e);
  }), j2(n3);
}
function L(t4) {
  (8 & t4.__g || (t4.__g |= 8, u2.push(t4), f2++)) && i2 == n2.debounceRendering || ((i2 = n2.debounceRendering) || queueMicrotask)(H);
}
function H() {
  try {
    for (var n3, t4 = 1; u2.length; ) u2.length > t4 && u2.sort(o2), n3 = u2.shift(), t4 = u2.length, 8 & n3.__g && C(n3);
  } finally {
    (f2 = u2.length) && (i2 || queueMicrotask)(H);
  }
}
function I(n3, t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
  var s4, h5, v4, w5, d4, _4, g5 = u4.__k || y2, k4 = t4.length;
  for (l4 = q(r4, t4, g5, l4, k4), s4 = 0; s4 < k4; s4++) null != (v4 = r4.__k[s4]) && (h5 = ~v4.__i && g5[v4.__i] || p2, v4.__i = s4, _4 = z(n3, v4, h5, i4, f5, o5, e4, l4, c4, a5), w5 = v4.__e, (h5.ref != v4.ref || 8 & h5.__u) && (h5.ref && G(h5.ref, null, v4, h5), v4.ref && a5.push(v4.ref, v4.__c || w5, v4)), d4 = d4 || w5, 4 & v4.__u ? (l4 = A(v4, l4, n3, !h5.__v), h5.__e && (h5.__e = null)) : "function" == typeof v4.type && void 0 !== _4 ? l4 = _4 : w5 && (l4 = w5.nextSibling), v4.__u &= -21);
  return r4.__e = d4, l4;
}
function q(n3, t4, r4, u4, i4) {
  var f5, o5, e4, l4, c4, a5, s4, p5, y5, v4 = r4.length, d4 = v4, _4 = 0, g5 = 0, k4 = n3.__k = Array(i4);
  for (f5 = 0; f5 < i4; f5++) null != (o5 = t4[f5]) && "boolean" != typeof o5 && "function" != typeof o5 ? ("object" != typeof o5 || o5.constructor === String ? o5 = k4[f5] = m2(null, o5) : w2(o5) ? o5 = k4[f5] = m2($, { children: o5 }) : o5.constructor === h2 && o5.__b ? o5 = k4[f5] = m2(o5.type, o5.props, o5.key, o5.ref, o5.__v) : k4[f5] = o5, l4 = f5 + _4, o5.__ = n3, o5.__b = n3.__b + 1, e4 = null, ~(c4 = o5.__i = P(o5, r4, l4, d4)) && (d4--, (e4 = r4[c4]) && (e4.__u |= 2)), e4 && e4.__v ? (o5.__u |= 16, c4 == l4 - 1 ? _4-- : c4 == l4 + 1 ? _4++ : c4 != l4 && (c4 > l4 ? _4-- : _4++, g5 = 1)) : (~c4 || (i4 > v4 ? _4-- : i4 < v4 && _4++), "function" != typeof o5.type && (o5.__u |= 4))) : k4[f5] = null;
  if (g5) {
    for (a5 = [], s4 = [], f5 = 0; f5 < i4; f5++) if ((o5 = k4[f5]) && 16 & o5.__u) {
      for (_4 = 0, p5 = a5.length; _4 < p5; ) a5[y5 = _4 + p5 >> 1] < o5.__i ? _4 = y5 + 1 : p5 = y5;
      a5[_4] = o5.__i, s4[f5] = _4 + 1;
    }
    for (_4 = a5.length; f5--; ) s4[f5] && (s4[f5] == _4 ? _4-- : k4[f5].__u |= 4);
  }
  if (d4) for (f5 = 0; f5 < v4; f5++) !(e4 = r4[f5]) || 2 & e4.__u || (e4.__e == u4 && (u4 = S2(e4)), J(e4, e4));
  return u4;
}
function A(n3, t4, r4, u4) {
  var i4, f5, o5, e4;
  if ("function" == typeof n3.type) {
    if (n3.props.__P) return t4;
    if (i4 = n3.__k) for (f5 = 0; f5 < i4.length; f5++) i4[f5] && (i4[f5].__ = n3, t4 = A(i4[f5], t4, r4, false));
    return t4;
  }
  for (t4 && !t4.parentNode && (t4 = S2(n3)) && !t4.parentNode && (t4 = null), o5 = n3.__e, e4 = t4; e4 && 8 == e4.nodeType; ) e4 = e4.nextSibling;
  for (o5 != e4 && (!u4 && r4.moveBefore && o5.parentNode ? r4.moveBefore(o5, t4) : r4.insertBefore(o5, t4 || null)), t4 = o5; (t4 = t4 && t4.nextSibling) && 8 == t4.nodeType && !t4.data.startsWith("$s"); ) ;
  return t4;
}
function P(n3, t4, r4, u4) {
  var i4, f5 = n3.key, o5 = n3.type, e4 = t4[r4], l4 = e4 && !(2 & e4.__u);
  if (null === e4 && null == f5 || l4 && f5 == e4.key && o5 == e4.type) return r4;
  if (u4 > (l4 ? 1 : 0)) {
    for (i4 = r4 - 1; i4 >= 0; i4--) if ((e4 = t4[i4]) && !(2 & e4.__u) && f5 == e4.key && o5 == e4.type) return i4;
    for (i4 = r4 + 1; i4 < t4.length; i4++) if ((e4 = t4[i4]) && !(2 & e4.__u) && f5 == e4.key && o5 == e4.type) return i4;
  }
  return -1;
}
function T(n3, t4, r4) {
  null == r4 && (r4 = ""), "-" == t4[0] ? n3.setProperty(t4, r4) : n3[t4] = r4;
}
function N(n3, t4, r4, u4, i4) {
  var f5, o5;
  if ("style" == t4) if ("string" == typeof r4) n3.style.cssText = r4;
  else {
    if ("string" == typeof u4 && (n3.style.cssText = u4 = ""), u4) for (t4 in u4) r4 && t4 in r4 || T(n3.style, t4);
    if (r4) for (t4 in r4) u4 && r4[t4] == u4[t4] || T(n3.style, t4, r4[t4]);
  }
  else if ("o" == t4[0] && "n" == t4[1]) "function" != typeof r4 && (r4 = null), "function" != typeof u4 && (u4 = null), (n3.__e || (n3.__e = {}))[t4] = r4, r4 && u4 || (o5 = a2[t4] || (a2[t4] = V(t4)), (n3.__a || (n3.__a = {}))[t4] = c2, f5 = t4 != (t4 = t4.replace(l2, "$1")), (t4 = t4.slice(2))[0] < "a" && (t4 = t4.toLowerCase()), r4 ? n3.addEventListener(t4, o5, f5) : n3.removeEventListener(t4, o5, f5));
  else {
    if ("http://www.w3.org/2000/svg" == i4) t4 = t4.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
    else if ("width" != t4 && "height" != t4 && "href" != t4 && "list" != t4 && "form" != t4 && "tabIndex" != t4 && "download" != t4 && "rowSpan" != t4 && "colSpan" != t4 && "role" != t4 && "popover" != t4 && t4 in n3) try {
      return void (n3[t4] = null == r4 ? "" : r4);
    } catch (n4) {
    }
    if ("function" == typeof r4) return;
    null == r4 || false === r4 && "-" != t4[4] ? n3.removeAttribute(t4) : n3.setAttribute(t4, "popover" == t4 && 1 == r4 ? "" : r4);
  }
}
function V(t4) {
  return function(r4) {
    var u4 = this.__e;
    if (u4) {
      if (u4 = u4[t4], null == r4[e2]) r4[e2] = c2++;
      else if (r4[e2] < this.__a[t4]) return;
      return u4(n2.event ? n2.event(r4) : r4);
    }
  };
}
function z(t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
  var s4, p5, v4, d4, k4, b3, m5, M2, C3, j3, L2, H2, q3, A4, O2, P2, T5, N2, V2 = r4.type;
  if (r4.constructor !== h2) return null;
  128 & u4.__u && (c4 = 32 & u4.__u, s4 = u4.__c.__z) && (r4.__u |= c4, p5 = o5 = [], 8 == s4.nodeType ? l4 = B(s4, o5) : o5.push(s4), l4 = o5[0] || l4), (s4 = n2.__b) && s4(r4);
  n: if ("function" == typeof V2) {
    v4 = e4.length;
    try {
      if (M2 = r4.props, C3 = (s4 = V2.prototype) && s4.render, j3 = (s4 = V2.contextType) && i4[s4.__c], L2 = s4 ? j3 ? j3.props.value : s4.__ : i4, (d4 = u4.__c) ? (r4.__c = d4, 2 & d4.__g && (d4.__g |= 1)) : (C3 ? r4.__c = d4 = new V2(M2, L2) : (r4.__c = d4 = new x2(M2, L2), d4.constructor = V2, d4.render = K), j3 && j3.sub(d4), d4.state || (d4.state = {}), d4.__n = i4, d4.__g |= 8, d4.__h = [], d4.__k = []), C3 && (d4.__s || (d4.__s = d4.state), V2.getDerivedStateFromProps && (d4.__s == d4.state && (d4.__s = _2({}, d4.__s)), _2(d4.__s, V2.getDerivedStateFromProps(M2, d4.__s)))), k4 = d4.props, b3 = d4.state, d4.__v = r4, u4.__c) {
        if (M2 !== k4 && C3 && !V2.getDerivedStateFromProps && d4.componentWillReceiveProps && d4.componentWillReceiveProps(M2, L2), r4.__v == u4.__v && !(8 & d4.__g) || !(4 & d4.__g) && d4.shouldComponentUpdate && false === d4.shouldComponentUpdate(M2, d4.__s, L2)) {
          r4.__v != u4.__v && (d4.props = M2, d4.state = d4.__s, d4.__g &= -9), r4.__e = u4.__e, r4.__k = u4.__k, r4.__k.some(function(n3) {
            n3 && (n3.__ = r4);
          }), y2.push.apply(d4.__h, d4.__k), d4.__k = [], d4.__h.length && e4.push(d4), l4 = S2(u4);
          break n;
        }
        d4.componentWillUpdate && d4.componentWillUpdate(M2, d4.__s, L2), C3 && d4.componentDidUpdate && d4.__h.push(function() {
          d4.componentDidUpdate(k4, b3, m5);
        });
      } else C3 && !V2.getDerivedStateFromProps && d4.componentWillMount && d4.componentWillMount(), C3 && d4.componentDidMount && d4.__h.push(d4.componentDidMount);
      d4.context = L2, d4.props = M2, d4.__P = t4, d4.__g &= -5, H2 = n2.__r, q3 = C3 ? 25 : 0;
      do {
        d4.__g &= -9, H2 && H2(r4), s4 = d4.render(d4.props, d4.state = d4.__s, d4.context);
      } while (8 & d4.__g && ++q3 < 25);
      C3 && (y2.push.apply(d4.__h, d4.__k), d4.__k = []), d4.state = d4.__s, d4.getChildContext && (i4 = _2({}, i4, d4.getChildContext())), C3 && u4.__c && d4.getSnapshotBeforeUpdate && (m5 = d4.getSnapshotBeforeUpdate(k4, b3)), A4 = s4 && s4.type === $ && null == s4.key ? s4.props.children : s4, M2.__P && (s4 = l4, f5 = (t4 = M2.__P).namespaceURI, c4 = o5 = null, u4.props && u4.props.__P != t4 && (u4.__k.some(function(n3) {
        n3 && J(n3, n3);
      }), u4.__k = null), l4 = u4.__k ? S2(u4, 0) : null), l4 = I(t4, w2(A4) ? A4 : [A4], r4, u4, i4, f5, o5, e4, l4, c4, a5), M2.__P && (r4.__e = null, l4 = s4), r4.__u &= -161, p5 && p5.some(g2), d4.__h.length && e4.push(d4), 1 & d4.__g && (d4.__g &= -4);
    } catch (t5) {
      if (e4.length = v4, r4.__v = null, c4 || o5) if (t5 && t5.then) {
        if (r4.__u |= 128 | c4, o5) {
          for (~(T5 = o5.indexOf(l4 || void 0)) || (T5 = o5.length); (N2 = o5[T5 - 1]) && 8 == N2.nodeType; ) T5--;
          for (; T5 < o5.length; T5++) if (N2 = o5[T5]) if (o5[T5] = null, O2) {
            if (N2 == P2) break;
          } else {
            if (8 != N2.nodeType) break;
            N2.data.startsWith("$s") && (P2 = B(O2 = N2));
          }
        }
        if (!O2) {
          for (; l4 && 8 == l4.nodeType && l4.nextSibling; ) l4 = l4.nextSibling;
          O2 = l4;
        }
        (s4 = B(O2 = r4.__c.__z || (r4.__c.__z = O2))) ? (r4.__e = O2, l4 = s4) : r4.__e = l4, l4 = l4 && l4.nextSibling;
      } else o5 && o5.some(g2);
      else r4.__e = u4.__e;
      r4.__k || (r4.__k = u4.__k || []), t5 && t5.then || D(r4), n2.__e(t5, r4, u4);
    }
  } else l4 = r4.__e = F(u4.__e, r4, u4, i4, f5, o5, e4, c4, a5, t4);
  return (s4 = n2.diffed) && s4(r4), l4;
}
function B(n3, t4) {
  if (n3 && 8 == n3.nodeType && n3.data.startsWith("$s")) for (var r4 = 1; n3 = n3.nextSibling; ) {
    if (8 == n3.nodeType) {
      if (n3.data.startsWith("$s")) r4++;
      else if (n3.data.startsWith("/$s") && !--r4) return n3;
    }
    t4 && t4.push(n3);
  }
}
function D(n3) {
  n3 && (n3.__c && (n3.__c.__g |= 4), n3.__k && n3.__k.some(D));
}
function E(t4, r4, u4) {
  for (var i4 = 0; i4 < u4.length; ) G(u4[i4++], u4[i4++], u4[i4++]);
  n2.__c && n2.__c(r4, t4), t4.some(function(r5) {
    try {
      t4 = r5.__h, r5.__h = [], t4.some(function(n3) {
        n3.call(r5);
      });
    } catch (t5) {
      n2.__e(t5, r5.__v);
    }
  });
}
function F(t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
  var s4, h5, y5, _4, k4, b3, m5, M2, $2 = u4.props || p2, x4 = r4.props, C3 = r4.type;
  if ("svg" == C3 ? f5 = "http://www.w3.org/2000/svg" : "math" == C3 ? f5 = "http://www.w3.org/1998/Math/MathML" : f5 || (f5 = "http://www.w3.org/1999/xhtml"), o5) {
    for (s4 = 0; s4 < o5.length; s4++) if ((k4 = o5[s4]) && (C3 ? k4.localName == C3 : 3 == k4.nodeType)) {
      t4 = k4, o5[s4] = null;
      break;
    }
  }
  if (!t4) {
    if (M2 = a5.ownerDocument || document, !C3) return M2.createTextNode(x4);
    t4 = M2.createElementNS(f5, C3, x4.is ? x4 : a5), l4 && (n2.__m && n2.__m(r4, o5), l4 = false), o5 = null;
  }
  if (C3) {
    if (a5 = "template" == C3 && t4.content || t4, o5 = "textarea" == C3 && null != x4.defaultValue ? null : o5 && d2.call(a5.childNodes), !l4 && o5) for ($2 = {}, s4 = 0; s4 < t4.attributes.length; s4++) $2[(k4 = t4.attributes[s4]).name] = k4.value;
    for (s4 in $2) k4 = $2[s4], "dangerouslySetInnerHTML" == s4 ? y5 = k4 : "children" == s4 || s4 in x4 || "value" == s4 && "defaultValue" in x4 || "checked" == s4 && "defaultChecked" in x4 || N(t4, s4, null, k4, f5);
    for (s4 in x4) k4 = x4[s4], "children" == s4 ? _4 = k4 : "dangerouslySetInnerHTML" == s4 ? h5 = k4 : "value" == s4 ? b3 = k4 : "checked" == s4 ? m5 = k4 : l4 && "function" != typeof k4 || $2[s4] === k4 || N(t4, s4, k4, $2[s4], f5);
    h5 ? (l4 || y5 && (h5.__html == y5.__html || h5.__html == t4.innerHTML) || (t4.innerHTML = h5.__html), r4.__k = []) : (y5 && (t4.textContent = ""), ("foreignObject" == C3 || "http://www.w3.org/1998/Math/MathML" == f5 && v2.test(C3)) && (f5 = "http://www.w3.org/1999/xhtml"), I(a5, w2(_4) ? _4 : [_4], r4, u4, i4, f5, o5, e4, o5 ? o5[0] : u4.__k && S2(u4, 0), l4, c4), o5 && o5.some(g2)), l4 && "textarea" != C3 || (s4 = "value", "progress" == C3 && null == b3 ? t4.removeAttribute(s4) : null == b3 || b3 === t4[s4] && ("progress" != C3 || b3) || N(t4, s4, b3, $2[s4], f5), s4 = "checked", null != m5 && m5 != t4[s4] && N(t4, s4, m5, $2[s4], f5));
  } else $2 === x4 || l4 && t4.data == x4 || (t4.data = x4);
  return t4;
}
function G(t4, r4, u4, i4) {
  try {
    "function" == typeof t4 ? r4 ? r4.__x = t4(r4) || 1 : i4 && (i4 = i4.__c || i4.__e) && (r4 = i4.__x) && (i4.__x = null, "function" == typeof r4 ? r4() : t4(null)) : t4.current = r4;
  } catch (t5) {
    n2.__e(t5, u4);
  }
}
function J(t4, r4, u4) {
  var i4, f5, o5, e4;
  if (n2.unmount && n2.unmount(t4), !(i4 = t4.ref) || i4.current && i4.current != t4.__e || G(i4, null, r4, t4), i4 = t4.__c) {
    if (i4.componentWillUnmount) try {
      i4.componentWillUnmount();
    } catch (t5) {
      n2.__e(t5, r4);
    }
    i4.__P = i4.__n = null;
  }
  if (i4 = t4.__k) for (e4 = 0; e4 < i4.length; e4++) i4[e4] && J(i4[e4], r4, "function" != typeof t4.type || u4 && !t4.props.__P);
  !u4 && (i4 = t4.__c) && (i4 = i4.__z) && (f5 = B(i4, o5 = [])) && (i4 == t4.__e && o5.some(g2), g2(f5), g2(i4)), u4 || g2(t4.__e), t4.__e = t4.__c = t4.__ = null;
}
function K(n3, t4, r4) {
  return this.constructor(n3, r4);
}
function Q(t4, r4) {
  var u4, i4, f5, o5;
  n2.__ && n2.__(t4, r4), 9 == r4.nodeType && (r4 = r4.documentElement), i4 = (u4 = t4 && 32 & t4.__u) ? null : r4.__k, r4.__k = m2($, { children: [t4] }), f5 = [], o5 = [], z(r4, r4.__k, i4 || p2, p2, r4.namespaceURI, i4 ? null : r4.firstChild ? d2.call(r4.childNodes) : null, f5, i4 ? i4.__e : r4.firstChild, u4, o5), E(f5, r4.__k, o5), r4.__k.props.children = null;
}
n2 = { __e: function(n3, t4, r4, u4) {
  for (var i4, o5, e4; t4 = t4.__; ) if ((i4 = t4.__c) && !(1 & i4.__g)) {
    i4.__g |= 4;
    try {
      if ((e4 = (o5 = i4.constructor) && o5.getDerivedStateFromError) && i4.setState(o5.getDerivedStateFromError(n3)), i4.componentDidCatch && (i4.componentDidCatch(n3, u4 || {}), e4 = 1), e4 && 8 & i4.__g) return void (i4.__g |= 2);
    } catch (t5) {
      n3 = t5;
    }
  }
  throw f2 = 0, n3;
} }, t2 = 0, r2 = function(n3) {
  return null != n3 && n3.constructor === h2;
}, x2.prototype.setState = function(n3, t4) {
  var r4 = this.__s;
  r4 && r4 != this.state || (r4 = this.__s = _2({}, this.state)), "function" == typeof n3 && (n3 = n3(_2({}, r4), this.props)), n3 && (_2(r4, n3), this.__v && (t4 && this.__k.push(t4), L(this)));
}, x2.prototype.forceUpdate = function(n3) {
  this.__v && (this.__g |= 4, n3 && this.__h.push(n3), L(this));
}, x2.prototype.render = $, u2 = [], f2 = 0, o2 = function(n3, t4) {
  return n3.__v.__b - t4.__v.__b;
}, e2 = /* @__PURE__ */ Symbol(), l2 = /(PointerCapture)$|Capture$/i, c2 = 0, a2 = {}, s2 = 0;

// node_modules/preact/hooks/dist/hooks.mjs
var t3;
var r3;
var u3;
var i3;
var o3 = Object.is;
var f3 = 0;
var c3 = [];
var e3 = [];
var a3 = n2;
var v3 = a3.__b;
var l3 = a3.__r;
var m3 = a3.diffed;
var h3 = a3.__c;
var s3 = a3.unmount;
var p3 = a3.__;
function y3(n3, t4) {
  a3.__h && a3.__h(r3, n3, f3 || t4), f3 = 0;
  var u4 = r3.__H || (r3.__H = { __: [], __h: [] });
  return n3 >= u4.__.length && u4.__.push({}), u4.__[n3];
}
function A2(n3, u4) {
  var i4 = y3(t3++, 3);
  !a3.__s && E2(i4.__H, u4) && (i4.__P = true, i4.__ = n3, i4.u = u4, r3.__H.__h.push(i4));
}
function T2(n3) {
  return f3 = 5, w3(function() {
    return { current: n3 };
  }, []);
}
function w3(n3, r4) {
  var u4 = y3(t3++, 7);
  return E2(u4.__H, r4) && (u4.__ = n3(), u4.__H = r4), u4.__;
}
function g3() {
  var n3;
  do {
    for (; n3 = e3.shift(); ) try {
      C2(n3);
    } catch (t5) {
      a3.__e(t5, { __: (n3 = n3.__P) && n3.__v });
    }
    for (; n3 = c3.shift(); ) {
      var t4 = n3.__H;
      if (n3.__P && t4) try {
        t4.__h.some(C2), t4.__h.some(D2), t4.__h = [];
      } catch (r4) {
        t4.__h = [], a3.__e(r4, n3.__v);
      }
    }
  } while (e3.length);
}
a3.__b = function(n3) {
  r3 = null, v3 && v3(n3);
}, a3.__ = function(n3, t4) {
  n3 && t4.__k && t4.__k.__m && (n3.__m = t4.__k.__m), p3 && p3(n3, t4);
}, a3.__r = function(n3) {
  l3 && l3(n3), t3 = 0;
  var i4 = (r3 = n3.__c).__H;
  i4 && (u3 == r3 ? r3.__h = [] : (i4.__h.some(C2), i4.__h.some(D2), t3 = 0), i4.__h = [], i4.__.some(function(n4) {
    n4.__N && (n4.__ = n4.__N), n4.u = n4.__N = void 0;
  })), u3 = r3;
}, a3.diffed = function(n3) {
  m3 && m3(n3);
  var t4 = n3.__c;
  t4 && t4.__H && (t4.__H.__h.length && B2(c3.push(t4)), t4.__H.__.some(function(n4) {
    n4.u && (n4.__H = n4.u);
  })), u3 = r3 = null;
}, a3.__c = function(n3, t4) {
  t4.some(function(n4) {
    try {
      n4.__h.some(C2), n4.__h = n4.__h.filter(function(n5) {
        return !n5.__ || D2(n5);
      });
    } catch (t5) {
      n4.__h = [function() {
        throw t5;
      }];
    }
  }), h3 && h3(n3, t4);
}, a3.unmount = function(n3) {
  s3 && s3(n3);
  var t4, r4, u4 = n3.__c;
  u4 && u4.__H && (u4.__H.__.some(function(u5) {
    try {
      if (u5.__P && u5.__c) {
        if (void 0 === r4) {
          for (r4 = n3.__; r4 && (!r4.__c || !r4.__c.__P); ) r4 = r4.__;
          r4 = r4 && r4.__c;
        }
        u5.__P = r4, B2(e3.push(u5));
      } else C2(u5);
    } catch (n4) {
      t4 = n4;
    }
  }), u4.__H = void 0, t4 && a3.__e(t4, u4.__v));
};
var k2 = "function" == typeof requestAnimationFrame;
function z2(n3) {
  var t4, r4 = function() {
    clearTimeout(u4), k2 && cancelAnimationFrame(t4), setTimeout(n3);
  }, u4 = setTimeout(r4, 35);
  k2 && (t4 = requestAnimationFrame(r4));
}
function B2(n3) {
  1 != n3 && i3 == a3.requestAnimationFrame || ((i3 = a3.requestAnimationFrame) || z2)(g3);
}
function C2(n3) {
  var t4 = r3, u4 = n3.__c;
  "function" == typeof u4 && (n3.__c = void 0, u4()), r3 = t4;
}
function D2(n3) {
  var t4 = r3;
  n3.__c = n3.__(), r3 = t4;
}
function E2(n3, t4) {
  return !n3 || n3.length != t4.length || t4.some(function(t5, r4) {
    return !o3(t5, n3[r4]);
  });
}

// node_modules/@preact/signals/dist/signals.module.js
var h4;
var d3;
var p4;
var m4 = "undefined" != typeof window && !!window.__PREACT_SIGNALS_DEVTOOLS__;
var _3 = [];
var g4 = [];
x(function() {
  h4 = this.N;
})();
function b2(i4, n3) {
  n2[i4] = n3.bind(null, n2[i4] || function() {
  });
}
function y4(i4) {
  if (p4) {
    var n3 = p4;
    p4 = void 0;
    n3();
  }
  p4 = i4 && i4.S();
}
function w4(i4) {
  var n3 = this, r4 = i4.data, t4 = useSignal(r4);
  t4.name = "ReactiveDom";
  t4.value = r4;
  var e4 = w3(function() {
    var i5 = n3, r5 = n3.__v;
    while (r5 = r5.__) if (r5.__c) {
      r5.__c.__$f |= 4;
      break;
    }
    var o5 = O(function() {
      var i6 = t4.value.value;
      return 0 === i6 ? 0 : true === i6 ? "" : i6 || "";
    }), e5 = O(function() {
      return !Array.isArray(o5.value) && !r2(o5.value);
    }), u5 = x(function() {
      this.N = M;
      if (e5.value) {
        var n4 = o5.value;
        if (i5.__v && i5.__v.__e && 3 === i5.__v.__e.nodeType) i5.__v.__e.data = n4;
      }
    }), c5 = n3.__$u.d;
    n3.__$u.d = function() {
      u5();
      c5.call(this);
    };
    return [e5, o5];
  }, []), u4 = e4[0], c4 = e4[1];
  return u4.value ? c4.peek() : c4.value;
}
w4.displayName = "ReactiveTextNode";
Object.defineProperties(l.prototype, { constructor: { configurable: true, value: k($, null).constructor }, type: { configurable: true, value: w4 }, props: { configurable: true, get: function() {
  var i4 = this;
  return { data: { get value() {
    return i4.value;
  } } };
} }, __b: { configurable: true, value: 1 } });
b2("__b", function(i4, n3) {
  y4();
  d3 = void 0;
  if ("string" == typeof n3.type) {
    var r4, t4 = n3.props;
    for (var f5 in t4) if ("children" !== f5) {
      var o5 = t4[f5];
      if (o5 instanceof l) {
        if (!r4) n3.__np = r4 = {};
        r4[f5] = o5;
        t4[f5] = o5.peek();
      }
    }
  }
  i4(n3);
});
b2("__r", function(i4, r4) {
  i4(r4);
  if (r4.type !== $) {
    y4();
    var t4, f5 = r4.__c;
    if (f5) {
      f5.__$f &= -2;
      if (void 0 === (t4 = f5.__$u)) f5.__$u = t4 = (function(i5, n3) {
        var r5;
        x(function() {
          r5 = this;
        }, { name: n3 });
        r5.c = i5;
        return r5;
      })(/* @__PURE__ */ (function(i5) {
        return function() {
          var n3;
          if (m4) null == (n3 = this.y) || n3.call(this);
          i5.__$f |= 1;
          i5.setState({});
        };
      })(f5), "function" == typeof r4.type ? r4.type.displayName || r4.type.name : "");
    }
    d3 = f5;
    y4(t4);
  }
});
b2("__e", function(i4, n3, r4, t4) {
  y4();
  d3 = void 0;
  i4(n3, r4, t4);
});
b2("diffed", function(i4, n3) {
  y4();
  d3 = void 0;
  var r4;
  if ("string" == typeof n3.type && (r4 = n3.__e)) {
    var t4 = n3.__np, f5 = n3.props, o5 = r4.U;
    if (o5) for (var e4 in o5) {
      var u4 = o5[e4];
      if (!(void 0 === u4 || t4 && e4 in t4)) {
        u4.d();
        o5[e4] = void 0;
      }
    }
    if (t4) {
      if (!o5) {
        o5 = {};
        r4.U = o5;
      }
      for (var a5 in t4) {
        var c4 = o5[a5], v4 = t4[a5];
        if (void 0 === c4) {
          c4 = k3(r4, a5, v4, f5);
          o5[a5] = c4;
        } else c4.o(v4, f5);
      }
    }
  }
  i4(n3);
});
function k3(i4, n3, r4, t4) {
  var f5 = n3 in i4 && void 0 === i4.ownerSVGElement, o5 = y(r4);
  return { o: function(i5, n4) {
    o5.value = i5;
    t4 = n4;
  }, d: x(function() {
    this.N = M;
    var r5 = o5.value.value;
    if (t4[n3] !== r5) {
      t4[n3] = r5;
      if (f5) i4[n3] = r5;
      else if (null != r5 && (false !== r5 || "-" === n3[4])) i4.setAttribute(n3, r5);
      else i4.removeAttribute(n3);
    }
  }) };
}
b2("unmount", function(i4, n3) {
  if ("string" == typeof n3.type) {
    var r4 = n3.__e;
    if (r4) {
      var t4 = r4.U;
      if (t4) {
        r4.U = void 0;
        for (var f5 in t4) {
          var o5 = t4[f5];
          if (o5) o5.d();
        }
      }
    }
    var e4 = n3.__np;
    if (e4) {
      var u4 = n3.props;
      for (var a5 in e4) u4[a5] = e4[a5];
    }
    n3.__np = void 0;
  } else {
    var c4 = n3.__c;
    if (c4) {
      c4.__$f |= 8;
      var v4 = c4.__$u;
      if (v4) {
        c4.__$u = void 0;
        v4.d();
      }
    }
  }
  i4(n3);
});
b2("__h", function(i4, n3, r4, t4) {
  if (t4 < 3) n3.__$f |= 2;
  i4(n3, r4, t4);
});
x2.prototype.shouldComponentUpdate = function(i4, n3) {
  if (this.__R) return true;
  var r4 = this.__$u, t4 = r4 && void 0 !== r4.s;
  for (var f5 in n3) return true;
  if (this.__f || "boolean" == typeof this.u && true === this.u) {
    var o5 = 2 & this.__$f;
    if (!(t4 || o5 || 4 & this.__$f)) return true;
    if (1 & this.__$f) return true;
  } else {
    if (!(t4 || 4 & this.__$f)) return true;
    if (3 & this.__$f) return true;
  }
  for (var e4 in i4) if ("__source" !== e4 && i4[e4] !== this.props[e4]) return true;
  for (var u4 in this.props) if (!(u4 in i4)) return true;
  return false;
};
function useSignal(i4, n3) {
  return w3(function() {
    return y(i4, n3);
  }, []);
}
function useComputed(i4, n3) {
  var r4 = T2(i4);
  r4.current = i4;
  d3.__$f |= 4;
  return w3(function() {
    return O(function() {
      return r4.current();
    }, n3);
  }, []);
}
var q2 = "undefined" == typeof requestAnimationFrame ? setTimeout : function(i4) {
  var n3 = function() {
    clearTimeout(r4);
    cancelAnimationFrame(t4);
    i4();
  }, r4 = setTimeout(n3, 35), t4 = requestAnimationFrame(n3);
};
var A3 = function(i4) {
  queueMicrotask(function() {
    queueMicrotask(i4);
  });
};
function T4() {
  r(function() {
    var i4;
    while (i4 = _3.shift()) h4.call(i4);
  });
}
function x3() {
  if (1 === _3.push(this)) (n2.requestAnimationFrame || q2)(T4);
}
function F2() {
  r(function() {
    var i4;
    while (i4 = g4.shift()) h4.call(i4);
  });
}
function M() {
  if (1 === g4.push(this)) (n2.requestAnimationFrame || A3)(F2);
}
function useSignalEffect(i4, n3) {
  var r4 = T2(i4);
  r4.current = i4;
  var t4 = d3;
  A2(function() {
    return x(function() {
      this.N = x3;
      if (!(t4 && 8 & t4.__$f)) return r4.current();
    }, n3);
  }, []);
}

// node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs
var f4 = /* @__PURE__ */ Symbol.for("pv");
var o4 = 0;
function a4(t4, e4, n3, u4, a5, i4) {
  e4 || (e4 = {});
  var c4, l4, p5 = e4;
  if ("ref" in p5 && "function" != typeof t4) for (l4 in p5 = {}, e4) "ref" == l4 ? c4 = e4[l4] : p5[l4] = e4[l4];
  var s4 = { type: t4, props: p5, key: n3, ref: c4, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: f4, __v: --o4, __i: -1, __u: 0 };
  return (a5 || i4) && (s4.__source = a5, s4.__self = i4), n2.vnode && n2.vnode(s4), s4;
}

// src/page/token.tsx
var wantsToken = (error) => error instanceof ServerError && error.code === "no_token";
async function withToken(use) {
  try {
    return await use();
  } catch (error) {
    if (!wantsToken(error)) throw error;
    await askForToken();
    return use();
  }
}
async function askForToken() {
  const dialog = document.createElement("dialog");
  dialog.className = "phone-dialog";
  dialog.setAttribute("aria-labelledby", "token-title");
  document.body.append(dialog);
  await new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault();
    Q(/* @__PURE__ */ a4(Question, { onAccepted: resolve }), dialog);
    dialog.showModal();
  });
  dialog.close();
  dialog.remove();
}
function Question({ onAccepted }) {
  const field = T2(null);
  const problem = useSignal("");
  A2(() => field.current?.focus(), []);
  async function check() {
    const token = field.current?.value.trim() ?? "";
    try {
      await call(addressOf("/v1/token"), token, { method: "POST" });
      onAccepted();
    } catch (error) {
      problem.value = wantsToken(error) ? "token.wrong" : "error.gone";
      field.current?.select();
    }
  }
  return /* @__PURE__ */ a4(
    "form",
    {
      class: "token-form",
      onSubmit: (event) => {
        event.preventDefault();
        void check();
      },
      children: [
        /* @__PURE__ */ a4("h2", { id: "token-title", children: text("token.title") }),
        /* @__PURE__ */ a4("p", { class: "hint", id: "token-hint", children: text("token.hint") }),
        /* @__PURE__ */ a4("label", { for: "token", children: text("token") }),
        /* @__PURE__ */ a4(
          "input",
          {
            ref: field,
            id: "token",
            type: "password",
            autoComplete: "current-password",
            required: true,
            "aria-describedby": "token-hint token-problem"
          }
        ),
        /* @__PURE__ */ a4("p", { id: "token-problem", class: "wrong", role: "alert", children: problem.value && text(problem.value) }),
        /* @__PURE__ */ a4("button", { id: "token-send", class: "button primary", children: text("token.send") })
      ]
    }
  );
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
    this.drawable = points.map(({ x: x4, y: y5 }) => Math.abs(x4) < 1e5 && Math.abs(y5) < 1e5);
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
  dot(k4, colour, radius, ring) {
    this.dots([k4], colour, radius, ring);
  }
  /** Draw discs, or rings of this width, of one style in one path. */
  dots(members, colour, radius, ring = 0) {
    const { ctx, points } = this;
    ctx.fillStyle = ctx.strokeStyle = colour;
    ctx.beginPath();
    for (const k4 of members) {
      if (!this.drawable[k4]) continue;
      if (members.length > 1) ctx.moveTo(points[k4].x + radius, points[k4].y);
      ctx.arc(points[k4].x, points[k4].y, radius, 0, 2 * Math.PI);
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
    steps = Array.from({ length: SHADES + 1 }, (_4, step) => {
      const share = step / SHADES;
      const mixed = channels.map(
        (c4) => share < 0.5 ? c4 * (0.5 + share) : c4 + (255 - c4) * (share - 0.5) * 0.9
      );
      return `rgb(${mixed.map(Math.round).join(" ")})`;
    });
    shades.set(colour, steps);
  }
  return steps[Math.round(Math.min(Math.max(near, 0), 1) * SHADES)];
}
function around(points, chosen) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k4 = 0; k4 < points.length; k4 += 1) {
    if (chosen && !chosen[k4]) continue;
    const { x: x4, y: y5 } = points[k4];
    if (x4 < left) left = x4;
    if (x4 > right) right = x4;
    if (y5 < top) top = y5;
    if (y5 > bottom) bottom = y5;
  }
  return [left, top, right, bottom];
}
function nearness(points, size) {
  let [least, most] = [Infinity, -Infinity];
  for (let k4 = 0; k4 < points.length; k4 += 1) {
    const z3 = points[k4].z ?? NaN;
    if (z3 < least) least = z3;
    if (z3 > most) most = z3;
  }
  const near = new Float64Array(points.length).fill(0.5);
  if (!Number.isFinite(most - least) || !size) return near;
  const nearest = (most + least) / 2 - drawing_default.depth_range / 2 * size;
  for (let k4 = 0; k4 < near.length; k4 += 1) {
    const away = ((points[k4].z ?? NaN) - nearest) / (drawing_default.depth_range * size);
    if (!Number.isNaN(away)) near[k4] = 1 - (away < 0 ? 0 : away > 1 ? 1 : away);
  }
  return near;
}

export {
  r,
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
  downloads,
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
  $,
  Q,
  A2 as A,
  T2 as T,
  w3 as w,
  useSignal,
  useComputed,
  useSignalEffect,
  a4 as a,
  Strokes,
  edgeOf,
  shade,
  around,
  withToken
};
