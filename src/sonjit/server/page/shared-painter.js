// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  ENGINE,
  INK,
  LEFT,
  NEUTRAL,
  RIGHT,
  Strokes,
  addressOf,
  around,
  call,
  classes,
  coloured,
  drawing_default,
  edgeOf,
  find,
  hasNoServer,
  instancesOf,
  lineColour,
  makeButton,
  onLanguage,
  put,
  results_default,
  shade,
  showError,
  skeletonOf,
  text,
  textOr
} from "./shared-strokes.js";

// src/page/saliency.ts
var MIN_OPACITY = 30;
var STRONG = 190;
var STEPS = 64;
var LEAST = 0.5;
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
function paintSaliency(ctx, { size: [rows, columns], values, box }) {
  const cells = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  values.forEach((value, cell) => {
    const share = (value - low) / span;
    const colour = 4 * Math.round(share * (STEPS - 1));
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
function wireSaliencyLegend(store) {
  const legend = find("legend");
  const bar = Object.assign(legend.querySelector("canvas"), { width: STEPS, height: 1 });
  bar.getContext("2d").putImageData(heat(), 0, 0);
  onLanguage(() => bar.ariaLabel = `${text("saliency.low")} – ${text("saliency.high")}`);
  store.watch(
    ["options", "started", "here"],
    ({ options, started, here }) => legend.hidden = !started || here || (options.explain ?? "none") === "none"
  );
}
function wireClasses(files) {
  const canvas = find("class-map");
  const list = find("class-list");
  const unsure = find("class-unsure");
  const clear = () => {
    canvas.hidden = unsure.hidden = true;
    list.replaceChildren();
  };
  onLanguage(() => put(unsure, text("classes.unsure", { percent: Math.round(100 * LEAST) })));
  const show = async () => {
    clear();
    const file = (await files())[0];
    const {
      width,
      height,
      classes: found
    } = await (hasNoServer ? classifyHere(file) : call(addressOf("/v1/classes?top=5"), null, { method: "POST", body: file }));
    const sure = found.filter(({ probability }) => probability >= LEAST);
    unsure.hidden = sure.length > 0;
    list.replaceChildren(
      ...sure.map((one) => {
        const button = makeButton(
          `${one.name} ${Math.round(100 * one.probability)}%`,
          () => {
            for (const other of list.children)
              other.setAttribute("aria-pressed", String(other === button));
            Object.assign(canvas, { width, height, hidden: false });
            paintSaliency(canvas.getContext("2d"), {
              ...one,
              box: { cx: width / 2, cy: height / 2, width, height, rotation: 0 }
            });
          },
          { lang: "en" }
        );
        return button;
      })
    );
    list.querySelector("button")?.click();
  };
  find("classify").onclick = () => show().catch(showError);
  return clear;
}
async function classifyHere(file) {
  const { classify } = await import(ENGINE);
  const image = await createImageBitmap(file);
  const found = await classify(image);
  return {
    width: image.width,
    height: image.height,
    classes: found.map((one) => ({ ...one, name: classes[one.label] ?? "" }))
  };
}
var scale = null;
function heat() {
  if (scale) return scale;
  const context = new OffscreenCanvas(STEPS, 1).getContext(
    "2d"
  );
  for (let step = 0; step < STEPS; step += 1) {
    const [lightness, chroma, hue] = [HEAT.lightness, HEAT.chroma, HEAT.hue].map(
      ([from, to]) => from + (to - from) * step / (STEPS - 1)
    );
    context.fillStyle = `oklch(${lightness} ${chroma} ${hue})`;
    context.fillRect(step, 0, 1, 1);
  }
  scale = context.getImageData(0, 0, STEPS, 1);
  return scale;
}

// src/page/labels.ts
var STEPS2 = 4;
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
  for (let step = 0; step < STEPS2; step += 1) {
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
    "description": "In drawings and masks: black draws on black, blur blurs all heads that a search finds, persons all people. Each removes the sound.",
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
function checkedStyle(given) {
  const right = Object.entries(given).filter(
    ([name, value]) => accepts(STYLE_SCHEMAS[name], value)
  );
  return { ...USUAL_STYLE, ...Object.fromEntries(right) };
}
function accepts(schema, value) {
  if (!schema) return false;
  const { type, enum: values, minimum = -Infinity, maximum = Infinity, pattern } = schema;
  if (values) return values.includes(value);
  if (type === "boolean") return typeof value === "boolean";
  if (pattern) return typeof value === "string" && new RegExp(`^(?:${pattern})$`).test(value);
  return typeof value === "number" && value >= minimum && value <= maximum && (type === "number" || Number.isInteger(value));
}

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
    const colour = colourOf(style, (person ?? instance).id || number);
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
var colourOf = ({ colour }, number) => colour === BY_INSTANCE ? drawing_default.instances[number % drawing_default.instances.length] : colour;
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
  const shown = farthestFirst(near).filter((k) => points && !leftOut.has(k));
  const thickness = (k) => width * (head.has(k) ? 0.4 : 1);
  ctx.globalAlpha = isBody ? 0.4 : 0.55;
  lines.forEach(
    (line) => isBold(line) || strokes.lines([line], lineColour(skeleton, line[0], line[1]), width * 0.5)
  );
  ctx.globalAlpha = isBody ? 0.4 : 1;
  for (const k of shown)
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
  for (const k of shown.filter((point) => isSeen(keypoints[point]))) {
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
  const leftOut = new Set(person?.face ? groups["face"] : []);
  for (const [hand, wrist] of [
    [person?.leftHand, 15],
    [person?.rightHand, 16]
  ]) {
    if (!hand) continue;
    const { x, y } = hand.keypoints[0];
    keypoints[wrist] = { ...keypoints[wrist], x, y, score: 1 };
    for (const finger of [2, 4, 6]) leftOut.add(wrist + finger);
  }
  return { keypoints, leftOut };
}
var isSeen = ({ score }) => !(score < results_default.visible_score);
var areaOf = (kind, { box, keypoints }) => kind === "face" && box ? [box.xMin, box.yMin, box.xMax, box.yMax] : around(keypoints, keypoints.map(isSeen));
var FACE_OF_BODY = 1.4;
function headOf(kind, instance) {
  if (kind === "face") return [areaOf(kind, instance)];
  if (kind !== "body") return [];
  const head = skeletonOf(instance).groups["face"].map((k) => instance.keypoints[k]);
  const [left, top, right, bottom] = around(head);
  const { x, y } = mean(head);
  const half = Math.max(right - left, bottom - top) * FACE_OF_BODY / 2;
  return [[x - half, y - half, x + half, y + half]];
}
function mean(points) {
  const sum = points.reduce((all, { x, y }) => ({ x: all.x + x, y: all.y + y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}
var sideOf = (kind, { handedness, handednessScore = 1 }) => kind === "hand" && handednessScore >= results_default.known_side_score ? handedness ?? null : null;
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
    const head = place(mean(groups["face"].map((k) => instance.keypoints[k])));
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

export {
  BY_INSTANCE,
  STYLE_SCHEMAS,
  USUAL_STYLE,
  checkedStyle,
  accepts,
  TARGETS,
  targetName,
  wireSaliencyLegend,
  wireClasses,
  paint,
  FACE_OF_BODY,
  headOf,
  mean,
  nameOf,
  gestureOf
};
