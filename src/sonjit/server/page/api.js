// Made by `npm --prefix web run page` from web/src/page. Change it there.

// src/page/common.ts
var find = (id) => document.getElementById(id);
function make(tag, members = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), members);
  node.append(...inside);
  return node;
}
function makeRow(head, cells, tag = "td") {
  const title = head ? make("th", { scope: tag === "th" ? "col" : "row" }, head) : make("td");
  return make(
    "tr",
    {},
    title,
    ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell)))
  );
}
var texts = {};
var listeners = [showMessage];
async function speak(language, ...folders) {
  const loaded = folders.map(
    async (folder) => (await fetch(new URL(`${language}.json`, folder))).json()
  );
  texts = Object.assign({}, ...await Promise.all(loaded));
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}
var text = (key, values = {}) => textOr(key, key).replace(
  /\{(\w+)\}/g,
  (placeholder, name) => String(values[name] ?? placeholder)
);
var textOr = (key, otherwise) => texts[key] ?? otherwise;
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
    delete place.dataset.code;
    return place.replaceChildren();
  }
  const code = `error.${shown?.code}` in texts ? shown.code : "unknown";
  place.dataset.code = code;
  const values = {
    host: location.hostname,
    port: location.port || 80,
    message: shown?.message ?? String(shown),
    ...shown?.values
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
var thisServer = new URL(import.meta.url).origin;
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
async function call(endpoint2, token = null, request = {}) {
  const answer = await responseOf(endpoint2, token, request);
  return answer.status === 204 ? {} : answer.json().catch(() => Promise.reject(gone(endpoint2)));
}
async function responseOf(endpoint2, token = null, request = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(endpoint2, { ...request, headers }).catch(() => null);
  if (answer?.ok) return answer;
  const refusal = await answer?.json().catch(() => null);
  throw refusal ? new ServerError(refusal.error?.code ?? "failed", refusal.error?.message ?? answer?.statusText) : gone(endpoint2);
}
function gone({ origin }) {
  const here = globalThis.location?.origin;
  const allowed = here === origin ? "" : ` --allow-origin ${here}`;
  return new ServerError("gone", `No answer from ${origin}: start it with sonjit serve${allowed}.`);
}
var addressOf = (path) => new URL(path, thisServer);
var page = globalThis.location;
var parameters = new URLSearchParams(page?.hash.slice(1));
var handedIn = parameters.get("token");
if (handedIn !== null && page.origin === thisServer) {
  parameters.delete("token");
  history.replaceState(
    history.state,
    "",
    `${page.pathname}${page.search}${parameters.size ? `#${parameters}` : ""}`
  );
  await call(addressOf("/v1/token"), handedIn, { method: "POST" }).catch(() => {
  });
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

// ../src/sonjit/spec/results.json
var results_default = {
  visible_score: 0.5,
  known_side_score: 0.8
};

// src/page/kinds.ts
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
  ({
    kinds,
    in_page: kindsInPage,
    results,
    columns,
    classes = [],
    annotates = false
  } = answer);
  const { triangles } = await (await fetch(new URL(`./skeletons/${MESH}.json`, import.meta.url))).json();
  const sides = triangles.flatMap(
    ([a, b, c]) => [
      [a, b],
      [b, c],
      [c, a]
    ].map(([p, q]) => Math.min(p, q) * 1e3 + Math.max(p, q))
  );
  const edges = [...new Set(sides)].map((side) => [Math.floor(side / 1e3), side % 1e3]);
  for (const [name, table] of Object.values(results).flatMap(
    (result) => Object.entries(result.skeletons)
  )) {
    const colours = table.keypoints.map((_, k) => colourOf(table, k));
    skeletons.set(name, {
      ...table,
      colours,
      ...table.keypoints.length > MIN_MESH_KEYPOINTS ? { edges } : {}
    });
  }
}
var last = null;
function instancesOf(frame) {
  if (last?.frame === frame) return last.instances;
  const instances = Object.entries(results).flatMap(([kind, { list, members }]) => {
    const parts = Object.entries(members);
    return (frame[list] ?? []).flatMap(
      (instance, number) => parts.length ? parts.filter(([key]) => instance[key]).map(([key, part]) => ({
        kind: part,
        number,
        instance: instance[key],
        person: instance
      })) : [{ kind, number, instance }]
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
function lineColour({ colours, groups, single }, a, b) {
  if (single) return single;
  const { torso } = groups;
  return colours[a] === colours[b] && !(torso?.includes(a) && torso.includes(b)) ? colours[a] : NEUTRAL;
}
function colourOf({ keypoints, groups }, k) {
  const group = Object.keys(groups).find((name) => groups[name].includes(k) && name in PARTS);
  if (group) return PARTS[group];
  return /(?:^|_)left/.test(keypoints[k]) ? LEFT : /(?:^|_)right/.test(keypoints[k]) ? RIGHT : NEUTRAL;
}

// src/page/labels.ts
var STEPS = 4;
var HIDING = 6;
var SHARE = 0.055;
function drawLabels(ctx, labels, { width, height, least, most }, avoid) {
  const occupied = avoid.filter((area) => area.every(Number.isFinite));
  for (const { text: words, anchor, directions, accent, size } of labels) {
    if (!Number.isFinite(anchor.x + anchor.y)) continue;
    const letters = Math.ceil(Math.min(Math.max(size * SHARE || 0, least), most));
    ctx.font = `600 ${letters}px system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif`;
    const pad = letters * 0.5;
    const plate = {
      width: ctx.measureText(words).width + letters * 2.05,
      height: letters * 1.7,
      pad
    };
    if (plate.width > width || plate.height > height) continue;
    const { left, top } = placeLabel(anchor, directions, plate, { width, height }, occupied);
    occupied.push([left, top, left + plate.width, top + plate.height]);
    ctx.globalAlpha = 0.78;
    ctx.fillStyle = INK;
    ctx.beginPath();
    ctx.roundRect(left, top, plate.width, plate.height, plate.height / 2);
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.fillStyle = accent;
    ctx.beginPath();
    ctx.arc(left + letters * 0.8, top + plate.height / 2, letters * 0.26, 0, 2 * Math.PI);
    ctx.fill();
    Object.assign(ctx, { fillStyle: "#ffffff", textAlign: "left", textBaseline: "middle" });
    ctx.fillText(words, left + letters * 1.4, top + plate.height / 2 + letters * 0.06);
  }
}
function placeLabel(anchor, directions, plate, image, occupied) {
  let [best, least] = [{ left: 0, top: 0 }, Infinity];
  for (let step = 0; step < STEPS; step += 1) {
    directions.forEach(({ x, y }, rank) => {
      const away = 2 * plate.pad + (Math.abs(x) * plate.width + Math.abs(y) * plate.height) / 2 + step * 1.1 * plate.height;
      const [wantedX, wantedY] = [
        anchor.x + x * away - plate.width / 2,
        anchor.y + y * away - plate.height / 2
      ];
      const left = Math.min(Math.max(wantedX, 0), image.width - plate.width);
      const top = Math.min(Math.max(wantedY, 0), image.height - plate.height);
      const moved = Math.hypot(left - wantedX, top - wantedY) / plate.height;
      const covered = occupied.reduce(
        (area, [x0, y0, x1, y1]) => area + Math.max(Math.min(x1, left + plate.width) - Math.max(x0, left), 0) * Math.max(Math.min(y1, top + plate.height) - Math.max(y0, top), 0),
        0
      );
      const cost = moved + 0.7 * step + 0.2 * rank + HIDING * covered / (plate.width * plate.height);
      if (cost < least) [best, least] = [{ left, top }, cost];
    });
  }
  return best;
}

// src/page/saliency.ts
var MIN_OPACITY = 30;
var STRONG = 190;
var STEPS2 = 64;
var HEAT = { lightness: [0.3, 0.93], chroma: [0.11, 0.16], hue: [275, 100] };
var POINTS = [
  "wrist",
  "thumb_tip",
  "index_finger_tip",
  "middle_finger_tip",
  "ring_finger_tip",
  "pinky_tip"
];
var TARGETS = {
  decision: ["handedness", "presence"],
  sideways: POINTS.map((name) => `${name}.x`),
  height: POINTS.map((name) => `${name}.y`)
};
var GROUPED = new Set(Object.values(TARGETS).flat());
var targetName = (target) => textOr(`target.${target}`, GROUPED.has(target) ? text(`target.${target.split(".")[0]}`) : target);
function paintSaliency(ctx, { size: [rows, columns2], values, box }) {
  const cells = new OffscreenCanvas(columns2, rows);
  const pixels = new ImageData(columns2, rows);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  values.forEach((value, cell) => {
    const share = (value - low) / span;
    const colour = 4 * Math.round(share * (STEPS2 - 1));
    pixels.data.set(
      [...heat().data.subarray(colour, colour + 3), MIN_OPACITY + (STRONG - MIN_OPACITY) * share],
      4 * cell
    );
  });
  cells.getContext("2d")?.putImageData(pixels, 0, 0);
  ctx.save();
  ctx.translate(box.cx, box.cy);
  ctx.rotate(box.rotation);
  ctx.beginPath();
  ctx.roundRect(-box.width / 2, -box.height / 2, box.width, box.height, box.width * 0.04);
  ctx.clip();
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(cells, -box.width / 2, -box.height / 2, box.width, box.height);
  ctx.restore();
}
function saliencyLabel(map, mirroredIn) {
  const { rotation, cx, cy, height } = map.box;
  const up = { x: Math.sin(rotation), y: -Math.cos(rotation) };
  const x = cx + up.x * height / 2;
  const direction = { x: mirroredIn === null ? up.x : -up.x, y: up.y };
  const anchor = { x: mirroredIn === null ? x : mirroredIn - x, y: cy + up.y * height / 2 };
  return {
    text: answerOf(map),
    anchor,
    directions: [direction, { x: -direction.x, y: -direction.y }],
    accent: NEUTRAL,
    size: height
  };
}
function answerOf({ of, value, unit }) {
  const percent = Math.round(100 / (1 + Math.exp(-Math.abs(value))));
  if (of === "handedness") return text(`saliency.${value > 0 ? "right" : "left"}`, { percent });
  if (of === "presence") return text(`saliency.${value > 0 ? "hand" : "no_hand"}`, { percent });
  return `${targetName(of)}: ${value.toFixed(unit === "m" ? 3 : 0)} ${unit}`;
}
var scale = null;
function heat() {
  if (scale) return scale;
  const context = new OffscreenCanvas(STEPS2, 1).getContext(
    "2d"
  );
  for (let step = 0; step < STEPS2; step += 1) {
    const [lightness, chroma, hue] = [HEAT.lightness, HEAT.chroma, HEAT.hue].map(
      ([from, to]) => from + (to - from) * step / (STEPS2 - 1)
    );
    context.fillStyle = `oklch(${lightness} ${chroma} ${hue})`;
    context.fillRect(step, 0, 1, 1);
  }
  scale = context.getImageData(0, 0, STEPS2, 1);
  return scale;
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
    this.drawable = points.map(({ x, y }) => Math.abs(x) < 1e5 && Math.abs(y) < 1e5);
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
    steps = Array.from({ length: SHADES + 1 }, (_, step) => {
      const share = step / SHADES;
      const mixed = channels.map(
        (c) => share < 0.5 ? c * (0.5 + share) : c + (255 - c) * (share - 0.5) * 0.9
      );
      return `rgb(${mixed.map(Math.round).join(" ")})`;
    });
    shades.set(colour, steps);
  }
  return steps[Math.round(Math.min(Math.max(near, 0), 1) * SHADES)];
}
function around(points, chosen2) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 1) {
    if (chosen2 && !chosen2[k]) continue;
    const { x, y } = points[k];
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
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

// src/drawing-style.ts
var DRAWING_STYLE = {
  "colour": {
    "default": "",
    "description": "Colour of drawings such as #ff8800, or instance for one per instance. Default: by part.",
    "pattern": "(instance|#[0-9a-fA-F]{6})?",
    "type": "string"
  },
  "thickness": {
    "default": 1,
    "description": "Factor of line widths, 0.5 to 3.",
    "maximum": 3,
    "minimum": 0.5,
    "type": "number"
  },
  "points": {
    "default": true,
    "description": "Draw keypoints.",
    "type": "boolean"
  },
  "boxes": {
    "default": false,
    "description": "Draw the box of each instance.",
    "type": "boolean"
  },
  "labels": {
    "default": true,
    "description": "Write name, score and id next to each instance.",
    "type": "boolean"
  },
  "gestures": {
    "default": true,
    "description": "Write gestures into the labels.",
    "type": "boolean"
  },
  "errors": {
    "default": false,
    "description": "Draw a ring around each refined hand keypoint, with its expected error as radius.",
    "type": "boolean"
  },
  "background": {
    "default": "image",
    "description": "What is below the drawing.",
    "enum": [
      "image",
      "black"
    ],
    "type": "string"
  },
  "anonymise": {
    "default": "none",
    "description": "In drawings and masks: black draws on black, blur blurs all faces and heads that a search finds, persons all people. Each removes the sound.",
    "enum": [
      "none",
      "black",
      "blur",
      "persons"
    ],
    "type": "string"
  }
};

// src/page/style.ts
var BY_INSTANCE = "instance";
var STYLE_SCHEMAS = {
  drawing: { type: "boolean", description: "Draw detections.", default: true },
  ...DRAWING_STYLE,
  // gestures are computed on request only
  gestures: { ...DRAWING_STYLE.gestures, default: false }
};
var USUAL_STYLE = Object.fromEntries(
  Object.entries(STYLE_SCHEMAS).map(([name, schema]) => [name, schema.default])
);

// src/page/painter.ts
var DEPTHS = { body: -2, face: -1 };
var UP = { x: 0, y: -1 };
var ASIDE = { x: 1, y: 0 };
function paint(ctx, frame, {
  mirrored = false,
  unit = 1,
  mask = null,
  style = USUAL_STYLE
} = {}) {
  if (!style.drawing) return;
  const { width, height } = frame;
  const image = { width, height };
  const longest = Math.max(width, height);
  const found = instancesOf(frame).toSorted(
    (a, b) => (DEPTHS[a.kind] ?? 0) - (DEPTHS[b.kind] ?? 0)
  );
  const maps = found.flatMap(({ instance }) => instance.map ?? []);
  ctx.save();
  ctx.lineCap = ctx.lineJoin = "round";
  if (mirrored) ctx.transform(-1, 0, 0, 1, width, 0);
  if (mask) ctx.drawImage(mask, 0, 0, width, height);
  for (const map of maps) paintSaliency(ctx, map);
  for (const [number, { kind, instance, person }] of found.entries()) {
    const colour = colourOf2(style, (person ?? instance).id || number);
    const visible = kind === "body" ? joined(instance, person) : instance;
    const strokes = new Strokes(ctx, visible.keypoints, longest, style.thickness);
    const skeleton = colour ? coloured(skeletonOf(instance), colour) : skeletonOf(instance);
    if (kind === "face")
      paintFace(ctx, skeleton, strokes, areaOf(kind, instance), { ...style, colour }, image);
    else paintSkeleton(skeleton, strokes, visible, kind === "body", style);
    if (style.errors) paintErrors(skeleton, strokes, instance);
    if (style.boxes && !(kind === "face" && !skeleton.edges))
      paintBox(ctx, areaOf(kind, instance), strokes, colour || accentOf(kind, instance), image);
  }
  ctx.restore();
  const place = ({ x, y }) => ({ x: mirrored ? width - x : x, y });
  const placed = ([left, top, right, bottom]) => mirrored ? [width - right, top, width - left, bottom] : [left, top, right, bottom];
  const least = 11 * unit;
  const look = { width, height, least, most: Math.max(Math.min(width, height) * 0.02, least) };
  const own = style.labels ? found.filter(({ kind, person }) => kind === "body" || !person) : [];
  const labels = [
    ...own.map(
      ({ kind, instance, person }) => labelOf(kind, { person, ...instance }, place, placed(areaOf(kind, instance)), style)
    ),
    ...maps.map((map) => saliencyLabel(map, mirrored ? width : null))
  ];
  drawLabels(
    ctx,
    labels,
    look,
    found.flatMap(({ kind, instance }) => headOf(kind, instance)).map(placed)
  );
}
var colourOf2 = ({ colour }, number) => colour === BY_INSTANCE ? drawing_default.instances[number % drawing_default.instances.length] : colour;
function paintSkeleton(skeleton, strokes, { keypoints, leftOut = /* @__PURE__ */ new Set() }, isBody, { points }) {
  const { ctx } = strokes;
  const near = isBody ? strokes.near.map((value) => 0.3 + 0.5 * value) : strokes.near;
  const head = new Set(isBody ? skeleton.groups.face : []);
  const width = strokes.width(isBody ? drawing_default.body_width : drawing_default.hand_width);
  const edge = edgeOf(width);
  const lines = farFirst(
    skeleton.connections.filter(([a, b]) => !leftOut.has(a) && !leftOut.has(b)),
    near
  );
  const isBold = ([a, b]) => isSeen(keypoints[a]) && isSeen(keypoints[b]);
  const bold = lines.filter(isBold);
  const shown2 = farthestFirst(near).filter((k) => points && !leftOut.has(k));
  const thickness = (k) => width * (head.has(k) ? 0.4 : 1);
  ctx.globalAlpha = isBody ? 0.4 : 0.55;
  lines.forEach(
    (line) => isBold(line) || strokes.lines([line], lineColour(skeleton, line[0], line[1]), width * 0.5)
  );
  ctx.globalAlpha = isBody ? 0.4 : 1;
  for (const k of shown2)
    if (!isSeen(keypoints[k]))
      strokes.dot(
        k,
        skeleton.colours[k],
        width * (isBody ? 1 : 0.7 + 1.2 * near[k]),
        width * (isBody ? 0.4 : 0.45)
      );
  ctx.globalAlpha = 1;
  for (const isHead of [false, true])
    strokes.lines(
      bold.filter(([a]) => head.has(a) === isHead),
      INK,
      width * (isHead ? 0.4 : 1) + 2 * edge
    );
  bold.forEach(
    (line) => strokes.lines(
      [line],
      shade(lineColour(skeleton, line[0], line[1]), (near[line[0]] + near[line[1]]) / 2),
      thickness(line[0])
    )
  );
  const [least, more, light] = isBody ? [0.55, 1.1, 0.2] : [0.7, 1.2, 0.15];
  for (const k of shown2.filter((point) => isSeen(keypoints[point]))) {
    const radius = width * (least + more * near[k]) * (head.has(k) ? 0.45 : 1);
    strokes.dot(k, INK, radius + edge);
    strokes.dot(k, shade(skeleton.colours[k], near[k] + light), radius);
    if (!isBody && radius >= 3)
      strokes.dot(k, shade(skeleton.colours[k], near[k] + 0.6), radius * 0.42);
  }
}
function paintErrors(skeleton, strokes, { keypoints }) {
  const width = strokes.width(4e-3);
  keypoints.forEach(({ errorPx }, k) => {
    if (errorPx === void 0) return;
    strokes.dot(k, INK, errorPx, width + 2 * edgeOf(width));
    strokes.dot(k, shade(skeleton.colours[k], 1), errorPx, width);
  });
}
var farFirst = (lines, near) => lines.toSorted((a, b) => Math.sign(near[a[0]] + near[a[1]] - near[b[0]] - near[b[1]]));
var farthestFirst = (near) => [...near.keys()].sort((a, b) => Math.sign(near[a] - near[b]));
function paintFace(ctx, skeleton, strokes, area, { points, colour: single }, image) {
  if (!skeleton.edges) {
    paintBox(ctx, area, strokes, single || NEUTRAL, image);
    const radius = Math.max(strokes.width(0.03), 2);
    if (points) for (const k of skeleton.colours.keys()) strokes.dot(k, INK, radius + 1);
    if (points) skeleton.colours.forEach((colour, k) => strokes.dot(k, colour, radius));
    return;
  }
  const width = Math.max(strokes.width(65e-4), 1.2 * strokes.thickness);
  ctx.globalAlpha = 0.22;
  strokes.lines(skeleton.edges, "#e8f0ff", Math.max(width * 0.35, 0.4));
  const steps = 5;
  for (let step = 0; points && step < steps; step += 1) {
    const members = [...strokes.near.subarray(0, 468).keys()].filter(
      (k) => Math.min(Math.floor(strokes.near[k] * steps), steps - 1) === step
    );
    const near = (step + 0.5) / steps;
    ctx.globalAlpha = 0.35;
    strokes.dots(members, INK, width * (0.55 + 0.5 * near));
    ctx.globalAlpha = 0.8;
    strokes.dots(members, shade(single || "#c3d0ea", near), width * (0.25 + 0.5 * near));
  }
  ctx.globalAlpha = 0.62;
  strokes.lines(skeleton.connections, INK, width + 2 * Math.max(0.6, width * 0.4));
  ctx.globalAlpha = 1;
  skeleton.connections.forEach(
    (line) => strokes.lines([line], lineColour(skeleton, line[0], line[1]), width)
  );
}
function paintBox(ctx, area, strokes, colour, image) {
  if (!area.every(Number.isFinite)) return;
  const width = Math.min(Math.max(strokes.width(6e-3), 1.5), strokes.longest / 320) * strokes.thickness;
  const [left, right] = [Math.max(area[0], width), Math.min(area[2], image.width - width)];
  const [top, bottom] = [Math.max(area[1], width), Math.min(area[3], image.height - width)];
  if (right <= left || bottom <= top) return;
  for (const [strokeStyle, lineWidth] of [
    [INK, width + 2],
    [colour, width]
  ]) {
    Object.assign(ctx, { strokeStyle, lineWidth });
    ctx.beginPath();
    ctx.roundRect(
      left,
      top,
      right - left,
      bottom - top,
      Math.min(right - left, bottom - top) * 0.06
    );
    ctx.stroke();
  }
}
function joined(body, person) {
  const { groups } = skeletonOf(body);
  const keypoints = [...body.keypoints];
  const leftOut = new Set(person?.face ? groups.face : []);
  for (const [hand, wrist] of [
    [person?.leftHand, 15],
    [person?.rightHand, 16]
  ]) {
    if (!hand) continue;
    keypoints[wrist] = {
      ...keypoints[wrist],
      x: hand.keypoints[0].x,
      y: hand.keypoints[0].y,
      score: 1
    };
    for (const finger of [2, 4, 6]) leftOut.add(wrist + finger);
  }
  return { keypoints, leftOut };
}
var isSeen = ({ score }) => !(score < results_default.visible_score);
var areaOf = (kind, { box, keypoints }) => kind === "face" ? [box.xMin, box.yMin, box.xMax, box.yMax] : around(keypoints, keypoints.map(isSeen));
function headOf(kind, instance) {
  if (kind === "face") return [areaOf(kind, instance)];
  if (kind !== "body") return [];
  const head = skeletonOf(instance).groups.face.map((k) => instance.keypoints[k]);
  const [left, top, right, bottom] = around(head);
  const { x, y } = mean(head);
  const half = Math.max(right - left, bottom - top) * 0.7;
  return [[x - half, y - half, x + half, y + half]];
}
function mean(points) {
  const sum = points.reduce((all, { x, y }) => ({ x: all.x + x, y: all.y + y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}
var sideOf = (kind, instance) => kind === "hand" && !(instance.handednessScore < results_default.known_side_score) ? instance.handedness : null;
function accentOf(kind, instance) {
  const side = sideOf(kind, instance);
  return side ? side === "Left" ? LEFT : RIGHT : NEUTRAL;
}
function nameOf(kind, instance, person) {
  const side = sideOf(kind, instance);
  return side ? text(`hand.${side}`) : textOr(person && kind === "body" ? "one.holistic" : `one.${kind}`, kind);
}
function gestureOf(instance) {
  const name = instance.gesture?.name;
  return name ? textOr(`gesture.${name}`, name) : "";
}
function labelOf(kind, instance, place, area, { gestures }) {
  const id = instance.id == null ? "" : ` #${instance.id}`;
  const gesture = gestures ? gestureOf(instance) : "";
  const name = nameOf(kind, instance, instance.person);
  const [left, top, right, bottom] = area;
  const common = {
    text: `${name} ${Number(instance.score).toFixed(2)}${id}${gesture && ` · ${gesture}`}`,
    accent: accentOf(kind, instance),
    size: Math.hypot(right - left, bottom - top)
  };
  if (kind === "hand") {
    const [wrist, thumb, knuckle] = [0, 1, 9].map((k) => place(instance.keypoints[k]));
    const length = Math.hypot(wrist.x - knuckle.x, wrist.y - knuckle.y);
    const away = length > 0 ? { x: (wrist.x - knuckle.x) / length, y: (wrist.y - knuckle.y) / length } : { x: 0, y: 1 };
    const side = { x: -away.y, y: away.x };
    const isThumbs = side.x * (thumb.x - wrist.x) + side.y * (thumb.y - wrist.y) > 0;
    const aside = isThumbs ? turned(side) : side;
    return { ...common, anchor: wrist, directions: [away, aside, turned(aside)] };
  }
  if (kind === "body") {
    const { groups, keypoints } = skeletonOf(instance);
    const head = place(mean(groups.face.map((k) => instance.keypoints[k])));
    const neck = place(
      mean(
        ["left_shoulder", "right_shoulder"].map(
          (shoulder) => instance.keypoints[keypoints.indexOf(shoulder)]
        )
      )
    );
    const crown = { x: 1.5 * head.x - 0.5 * neck.x, y: 1.5 * head.y - 0.5 * neck.y };
    return { ...common, anchor: crown, directions: [UP, ASIDE, turned(ASIDE)] };
  }
  return {
    ...common,
    anchor: { x: (left + right) / 2, y: top },
    directions: kind === "face" ? [UP, ASIDE, turned(ASIDE)] : [UP, turned(UP)]
  };
}
var turned = ({ x, y }) => ({ x: -x, y: -y });

// src/page/api.ts
var MAX_ANSWER = 2e4;
var description = await (await fetch("/openapi.json")).json();
await Promise.all([speak("en", new URL("i18n/", import.meta.url)), loadKinds().catch(() => {
})]);
var images = Object.entries(description.paths).filter(([, endpoints]) => endpoints.post?.tags?.includes("images")).map(([path, endpoints]) => ({ path, parameters: [], ...endpoints.post }));
var chosen = () => images.find(({ path }) => path === find("kind").value) ?? images[0];
var choices = (schema) => schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
function showOptions() {
  find("options").replaceChildren(
    ...chosen().parameters.map(({ name, schema }) => {
      const id = `option-${name}`;
      const listed = choices(schema);
      const input = listed ? make(
        "select",
        { id, name },
        make("option", { value: "" }, "default"),
        ...listed.map((one) => make("option", { value: one }, one))
      ) : make("input", {
        id,
        name,
        type: "number",
        min: schema.minimum,
        max: schema.maximum,
        placeholder: "default",
        step: schema.type === "integer" ? 1 : "any"
      });
      return make(
        "p",
        {},
        make("label", { htmlFor: id, title: schema.description ?? "" }, name),
        input
      );
    })
  );
  find("options").querySelector("[name=full]").value = "true";
  showCommand();
}
function endpoint() {
  const fields = [...find("options").querySelectorAll("input, select")];
  return withQuery(
    addressOf(chosen().path),
    Object.fromEntries(fields.map(({ name, value }) => [name, value || null]))
  );
}
function showCommand() {
  const name = find("image").files[0]?.name ?? "photo.jpg";
  find("shell").textContent = `curl --data-binary '@${name.replaceAll("'", "")}' '${endpoint()}'`;
}
async function send(event) {
  event.preventDefault();
  const start = performance.now();
  find("state").textContent = "Sending…";
  find("answer").textContent = "";
  find("drawn").hidden = true;
  const file = find("image").files[0];
  try {
    const answer = await call(endpoint(), null, { method: "POST", body: file });
    const bitmap = endpoint().searchParams.get("full") === "true" && await createImageBitmap(file).catch(() => null);
    if (bitmap) {
      const canvas = Object.assign(find("drawn"), {
        width: answer.width,
        height: answer.height,
        hidden: false
      });
      const ctx = canvas.getContext("2d");
      ctx.drawImage(bitmap, 0, 0, answer.width, answer.height);
      paint(ctx, answer, { unit: answer.width / canvas.clientWidth });
    }
    const text2 = JSON.stringify(answer, null, 1);
    find("answer").textContent = text2.length > MAX_ANSWER ? `${text2.slice(0, MAX_ANSWER)}
…` : text2;
    find("state").textContent = `Answered in ${Math.round(performance.now() - start)} ms.`;
  } catch (error) {
    const { code, message } = error;
    find("state").textContent = `${code}: ${message}`;
  }
}
var referred = (schema) => schema.$ref ? description.components.schemas[schema.$ref.split("/").at(-1) ?? ""] : schema;
function shapeOf(schema, indent = "") {
  const { type, properties, items, anyOf, enum: values } = referred(schema);
  if (anyOf) return `${shapeOf(anyOf[0], indent)} | null`;
  if (values) return values.map((value) => JSON.stringify(value)).join(" | ");
  if (items) return `[${shapeOf(items, indent)}, …]`;
  if (!properties) return [type ?? "any"].flat().join(" | ");
  const plain = Object.values(properties).map(referred).every((one) => !one.properties && !one.items && !one.anyOf);
  const members = Object.entries(properties).map(
    ([name, one]) => `"${name}": ${shapeOf(one, `${indent}  `)}`
  );
  if (plain && members.join(", ").length < 90) return `{${members.join(", ")}}`;
  return `{
${members.map((line) => `${indent}  ${line}`).join(",\n")}
${indent}}`;
}
function answerOf2(responses) {
  return Object.entries(responses).flatMap(([status, { description: details, content = {} }]) => {
    const schema = content["application/json"]?.schema && referred(content["application/json"].schema);
    if (!schema || status === "422" || !(schema.properties || schema.items)) return [];
    return [
      make("p", {}, make("strong", {}, status), ` ${details}`),
      make("pre", { tabIndex: 0 }, shapeOf(schema))
    ];
  });
}
var MOST_LISTED = 12;
var listOf = (values) => values && values.length > MOST_LISTED ? `${values.slice(0, MOST_LISTED / 2).join(", ")}, … (${values.length})` : values?.join(", ");
function endpointRow(path, method, { description: details, summary, parameters: parameters2 = [], responses = {} }) {
  const title = [
    make("code", { className: "method" }, method.toUpperCase()),
    " ",
    make("code", {}, path)
  ];
  const what = make("p", {}, details ?? summary ?? "");
  const rows = parameters2.filter((one) => one.in === "query").map(({ name, schema }) => {
    const range = listOf(schema.enum) ?? (schema.minimum === void 0 ? schema.type : `${schema.minimum} to ${schema.maximum}`);
    return makeRow(name, [range, schema.description ?? ""]);
  });
  const table = rows.length ? [make("table", {}, make("tbody", {}, ...rows))] : [];
  return make("details", {}, make("summary", {}, ...title), what, ...table, ...answerOf2(responses));
}
find("kind").append(
  ...images.map(({ path }) => make("option", { value: path }, path.split("/").at(-1) ?? path))
);
find("kind").onchange = showOptions;
find("options").oninput = find("image").onchange = showCommand;
find("try").onsubmit = send;
find("endpoints").append(
  ...Object.entries(description.paths).flatMap(
    ([path, endpoints]) => Object.entries(endpoints).map(([method, one]) => endpointRow(path, method, one))
  )
);
showOptions();
document.documentElement.dataset.ready = "true";
