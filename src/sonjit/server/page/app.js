// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  BY_INSTANCE,
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
  extent,
  view3D
} from "./shared-view3d.js";
import {
  ENGINE,
  PageError,
  ServerError,
  Store,
  addressOf,
  annotates,
  around,
  below,
  call,
  classes,
  clearedContext,
  columns,
  find,
  fit,
  frameMessage,
  hasNoServer,
  instancesOf,
  kinds,
  kindsInPage,
  kindsWhere,
  loadKinds,
  make,
  makeButton,
  makeRow,
  memory,
  onLanguage,
  onNextFrame,
  put,
  repetitions_default,
  results,
  save,
  setLabel,
  showError,
  skeletonOf,
  startLanguage,
  text,
  textOr,
  thisServer,
  translate
} from "./shared-strokes.js";

// src/page/gltf.ts
function rotationOf([x, y, z, w]) {
  const length = Math.hypot(x, y, z);
  const degrees = 2 * Math.atan2(length, w) * 180 / Math.PI;
  return length ? new DOMMatrix().rotateAxisAngle(x, y, z, degrees) : new DOMMatrix();
}
var MAGIC = 1179937895;
var [JSON_CHUNK, BINARY_CHUNK] = [1313821514, 5130562];
var UNDERSTOOD = [
  "KHR_materials_unlit",
  "KHR_mesh_quantization",
  "EXT_texture_webp",
  "VRM",
  "VRMC_vrm"
];
var TRIANGLES = 4;
var REPEAT = 10497;
var WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
var COMPONENTS = {
  5120: [1, "getInt8", 127],
  5121: [1, "getUint8", 255],
  5122: [2, "getInt16", 32767],
  5123: [2, "getUint16", 65535],
  5125: [4, "getUint32", 1],
  5126: [4, "getFloat32", 1]
};
async function readModel(file) {
  const { name } = file;
  try {
    const { json, binary } = chunksOf(await file.arrayBuffer());
    const missing = (json.extensionsRequired ?? []).filter(
      (extension) => !UNDERSTOOD.includes(extension)
    );
    if (missing.length)
      throw new PageError("model_extension", { name, extensions: missing.join(", ") });
    return await modelFrom(json, buffersOf(json, binary));
  } catch (error) {
    throw error instanceof PageError ? error : new PageError("model_damaged", {
      name,
      reason: error instanceof Error ? error.message : String(error)
    });
  }
}
function chunksOf(data) {
  const view = new DataView(data);
  if (view.byteLength < 20 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2)
    throw new Error("not binary glTF 2.0");
  const chunks = /* @__PURE__ */ new Map();
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const [length, kind] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    chunks.set(kind, new DataView(data, at + 8, length));
    at += 8 + length + (-length & 3);
  }
  const text2 = chunks.get(JSON_CHUNK);
  if (!text2) throw new Error("no JSON chunk");
  return {
    json: JSON.parse(new TextDecoder().decode(text2)),
    binary: chunks.get(BINARY_CHUNK) ?? new DataView(new ArrayBuffer(0))
  };
}
function buffersOf(json, binary) {
  const known = /* @__PURE__ */ new Map();
  function view(index) {
    const { buffer, byteOffset = 0, byteLength } = json.bufferViews[index];
    if (buffer !== 0 || json.buffers[0].uri !== void 0)
      throw new Error("its data is in other files. Export it as one .glb file.");
    return new DataView(binary.buffer, binary.byteOffset + byteOffset, byteLength);
  }
  function floats(index) {
    const read = known.get(index);
    if (read) return read;
    const {
      bufferView,
      byteOffset = 0,
      componentType,
      count,
      type,
      normalized = false,
      sparse
    } = json.accessors[index];
    const width = WIDTHS[type];
    const values = new Float32Array(count * width);
    if (bufferView !== void 0)
      fill2(values, { bufferView, byteOffset, componentType, normalized, width });
    if (sparse) {
      const at = new Float32Array(sparse.count);
      fill2(at, { ...sparse.indices, width: 1 });
      const some = new Float32Array(sparse.count * width);
      fill2(some, { ...sparse.values, componentType, normalized, width });
      at.forEach(
        (place, k) => values.set(some.subarray(k * width, (k + 1) * width), place * width)
      );
    }
    known.set(index, values);
    return values;
  }
  function fill2(values, {
    bufferView,
    byteOffset = 0,
    componentType,
    normalized = false,
    width
  }) {
    const bufferBytes = view(bufferView);
    const [bytes, get, unit] = COMPONENTS[componentType];
    const stride = json.bufferViews[bufferView].byteStride ?? bytes * width;
    for (let k = 0; k < values.length; k += 1) {
      const value = bufferBytes[get](
        byteOffset + Math.floor(k / width) * stride + k % width * bytes,
        true
      );
      values[k] = normalized ? Math.max(value / unit, -1) : value;
    }
  }
  return { view, floats };
}
async function modelFrom(json, buffers) {
  const images = await Promise.all(
    (json.images ?? []).map(
      ({ bufferView, mimeType: type }) => createImageBitmap(new Blob([buffers.view(bufferView)], { type }), {
        premultiplyAlpha: "none",
        colorSpaceConversion: "none"
      })
    )
  );
  const materials = (json.materials ?? []).map(
    (material) => materialFrom(material, json, images)
  );
  const nodes = nodesFrom(json);
  return {
    nodes,
    order: orderOf(json, nodes),
    meshes: (json.meshes ?? []).map((mesh) => meshFrom(mesh, materials, buffers)),
    skins: (json.skins ?? []).map(({ joints, inverseBindMatrices: at }) => {
      const values = at === void 0 ? null : buffers.floats(at);
      return {
        joints,
        inverses: joints.map(
          (_, k) => new DOMMatrix(values ? [...values.subarray(16 * k, 16 * k + 16)] : void 0)
        )
      };
    }),
    extensions: json.extensions ?? {}
  };
}
function materialFrom({
  pbrMetallicRoughness: surface = {},
  alphaMode = "OPAQUE",
  alphaCutoff = 0.5,
  doubleSided = false,
  extensions = {}
}, json, images) {
  const texture2 = json.textures?.[surface.baseColorTexture?.index];
  const { wrapS = REPEAT, wrapT = REPEAT } = json.samplers?.[texture2?.sampler] ?? {};
  return {
    colour: surface.baseColorFactor ?? [1, 1, 1, 1],
    image: images[texture2?.extensions?.EXT_texture_webp?.source ?? texture2?.source] ?? null,
    wrap: [wrapS, wrapT],
    isUnlit: "KHR_materials_unlit" in extensions,
    isTwoSided: doubleSided,
    alpha: alphaMode,
    cutoff: alphaCutoff
  };
}
function nodesFrom(json) {
  const nodes = json.nodes.map(
    ({
      name = "",
      matrix,
      translation: t = [0, 0, 0],
      rotation: r = [0, 0, 0, 1],
      scale: s = [1, 1, 1],
      mesh = -1,
      skin = -1,
      weights
    }) => ({
      name,
      local: matrix ? new DOMMatrix(matrix) : new DOMMatrix().translate(...t).multiply(rotationOf(r)).scale(...s),
      parent: -1,
      mesh,
      skin,
      weights: weights ?? json.meshes?.[mesh]?.weights ?? []
    })
  );
  json.nodes.forEach(({ children = [] }, parent) => {
    for (const child of children) nodes[child].parent = parent;
  });
  return nodes;
}
function orderOf(json, nodes) {
  const roots = json.scenes?.[json.scene ?? 0]?.nodes ?? [...nodes.keys()].filter((k) => nodes[k].parent < 0);
  const order = [...roots];
  for (let k = 0; k < order.length; k += 1) {
    if (order.length > nodes.length) throw new Error("its nodes form a circle");
    order.push(...json.nodes[order[k]].children ?? []);
  }
  return order;
}
function meshFrom({ primitives, extras }, materials, buffers) {
  const standard = materialFrom({}, {}, []);
  const geometries = /* @__PURE__ */ new Map();
  for (const { attributes, targets = [], indices, material, mode = TRIANGLES } of primitives) {
    if (mode !== TRIANGLES) continue;
    const key = JSON.stringify([attributes, targets]);
    const known = geometries.get(key);
    const own = indices === void 0 ? Uint32Array.from({ length: buffers.floats(attributes.POSITION).length / 3 }, (_, k) => k) : Uint32Array.from(buffers.floats(indices));
    const geometry = known ?? geometryFrom(attributes, targets, own, buffers);
    if (own.some((vertex) => vertex * 3 >= geometry.positions.length))
      throw new Error("a triangle names a vertex that is not there");
    geometry.parts.push({ indices: own, material: materials[material] ?? standard });
    geometries.set(key, geometry);
  }
  return {
    geometries: [...geometries.values()],
    targets: extras?.targetNames ?? primitives[0]?.extras?.targetNames ?? []
  };
}
function geometryFrom(attributes, targets, indices, buffers) {
  const read = (at) => at === void 0 ? null : buffers.floats(at);
  const positions = buffers.floats(attributes.POSITION);
  return {
    positions,
    normals: read(attributes.NORMAL) ?? normalsOf(positions, indices),
    uv: read(attributes.TEXCOORD_0),
    joints: read(attributes.JOINTS_0),
    weights: read(attributes.WEIGHTS_0),
    targets: targets.map(({ POSITION, NORMAL }) => ({
      positions: read(POSITION) ?? new Float32Array(positions.length),
      normals: read(NORMAL)
    })),
    parts: []
  };
}
function normalsOf(positions, indices) {
  const normals = new Float32Array(positions.length);
  for (let k = 0; k + 2 < indices.length; k += 3) {
    const [a, b, c] = [indices[k] * 3, indices[k + 1] * 3, indices[k + 2] * 3];
    const [u, v] = [b, c].map(
      (corner) => [0, 1, 2].map((axis) => positions[corner + axis] - positions[a + axis])
    );
    const normal = [
      u[1] * v[2] - u[2] * v[1],
      u[2] * v[0] - u[0] * v[2],
      u[0] * v[1] - u[1] * v[0]
    ];
    for (const corner of [a, b, c])
      for (let axis = 0; axis < 3; axis += 1) normals[corner + axis] += normal[axis];
  }
  return normals;
}
var SIDED = [
  "browDown",
  "browOuterUp",
  "cheekSquint",
  "eyeBlink",
  "eyeLookDown",
  "eyeLookIn",
  "eyeLookOut",
  "eyeLookUp",
  "eyeSquint",
  "eyeWide",
  "jaw",
  "mouth",
  "mouthDimple",
  "mouthFrown",
  "mouthLowerDown",
  "mouthPress",
  "mouthSmile",
  "mouthStretch",
  "mouthUpperUp",
  "noseSneer"
];
var SINGLE = [
  "browInnerUp",
  "cheekPuff",
  "jawForward",
  "jawOpen",
  "mouthClose",
  "mouthFunnel",
  "mouthPucker",
  "mouthRollLower",
  "mouthRollUpper",
  "mouthShrugLower",
  "mouthShrugUpper"
];
var BLENDSHAPES = [...SINGLE, ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`])];
var PRESETS = new Map(
  Object.entries({
    aa: [["jawOpen", 1]],
    ih: both("mouthStretch"),
    ou: [["mouthPucker", 1]],
    ee: both("mouthDimple"),
    oh: [["mouthFunnel", 1]],
    happy: both("mouthSmile"),
    sad: both("mouthFrown"),
    angry: both("browDown"),
    surprised: both("browOuterUp"),
    blinkLeft: [["eyeBlinkLeft", 1]],
    blinkRight: [["eyeBlinkRight", 1]],
    lookUp: both("eyeLookUp"),
    lookDown: both("eyeLookDown"),
    lookLeft: [
      ["eyeLookOutLeft", 0.5],
      ["eyeLookInRight", 0.5]
    ],
    lookRight: [
      ["eyeLookInLeft", 0.5],
      ["eyeLookOutRight", 0.5]
    ]
  })
);
var VRM0_NAMES = new Map(
  Object.entries({
    a: "aa",
    i: "ih",
    u: "ou",
    e: "ee",
    o: "oh",
    joy: "happy",
    sorrow: "sad",
    angry: "angry",
    blink_l: "blinkLeft",
    blink_r: "blinkRight",
    lookup: "lookUp",
    lookdown: "lookDown",
    lookleft: "lookLeft",
    lookright: "lookRight"
  })
);
var BY_PLAIN_NAME = new Map(
  BLENDSHAPES.map((name) => [plain(name), [[name, 1]]])
);
function both(name) {
  return [
    [`${name}Left`, 0.5],
    [`${name}Right`, 0.5]
  ];
}
function plain(name) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  return last.replace(/_l$/i, "left").replace(/_r$/i, "right").replace(/[^a-z]/gi, "").toLowerCase();
}
function driversOf(model) {
  const own = model.nodes.flatMap(
    ({ mesh }, node) => (model.meshes[mesh]?.targets ?? []).map((name, target) => ({
      name,
      binds: [{ node, target, weight: 1 }],
      isBinary: false
    }))
  );
  const expressions = [...vrm1Expressions(model), ...vrm0Expressions(model)];
  const driversFrom = (all, termsOf) => all.flatMap(
    ({ name, ...what }) => termsOf(name) ? [{ terms: termsOf(name), ...what }] : []
  );
  const named = driversFrom([...own, ...expressions], (name) => BY_PLAIN_NAME.get(plain(name)));
  return named.length ? named : driversFrom(expressions, (name) => PRESETS.get(name));
}
function vrm1Expressions({ extensions }) {
  const { preset = {}, custom = {} } = extensions.VRMC_vrm?.expressions ?? {};
  return Object.entries({ ...custom, ...preset }).map(
    ([name, { morphTargetBinds = [], isBinary = false }]) => ({
      name,
      isBinary,
      binds: morphTargetBinds.map(({ node, index, weight = 1 }) => ({
        node,
        target: index,
        weight
      }))
    })
  );
}
function vrm0Expressions({ extensions, nodes }) {
  const groups = extensions.VRM?.blendShapeMaster?.blendShapeGroups ?? [];
  return groups.map(({ name = "", presetName = "unknown", binds = [], isBinary = false }) => ({
    name: VRM0_NAMES.get(presetName) ?? name,
    isBinary,
    binds: binds.flatMap(
      ({ mesh, index, weight }) => nodes.flatMap(
        (node, k) => node.mesh === mesh ? [{ node: k, target: index, weight: weight / 100 }] : []
      )
    )
  }));
}
function targetWeights(model, drivers, blendshapes) {
  const weights = new Map(
    model.nodes.flatMap(({ mesh, weights: rest }, node) => {
      const geometries = model.meshes[mesh]?.geometries ?? [];
      const all = new Float32Array(Math.max(0, ...geometries.map(({ targets }) => targets.length)));
      all.set(rest.slice(0, all.length));
      return all.length ? [[node, all]] : [];
    })
  );
  for (const { binds } of drivers)
    for (const { node, target } of binds) weights.get(node)?.fill(0, target, target + 1);
  for (const { terms, binds, isBinary } of drivers) {
    const sum = terms.reduce(
      (total, [name, factor]) => total + factor * (blendshapes[name] ?? 0),
      0
    );
    const value = isBinary ? Math.round(sum) : sum;
    for (const { node, target, weight } of binds) {
      const all = weights.get(node);
      if (all && target < all.length)
        all[target] = Math.min(Math.max(all[target] + value * weight, 0), 1);
    }
  }
  return weights;
}

// src/page/form.ts
var STEP = 0.05;
function copyOf(id) {
  const row = find(id).content.cloneNode(true).firstElementChild;
  return [row, (selector) => row.querySelector(selector)];
}
function controlOf(id, schema) {
  const { default: usual, minimum, maximum } = schema;
  const form = formOf(schema);
  const [row, part] = copyOf(`option-${form}`);
  const [field, hint, output] = [part("input, select"), part(".hint"), part("output")];
  field.id = part(".field label, label.switch").htmlFor = id;
  hint.id = `${id}-hint`;
  field.setAttribute("aria-describedby", hint.id);
  if (output) output.htmlFor = id;
  if (form === "slider") Object.assign(field, { min: minimum ?? 0, max: maximum, step: STEP });
  if (form === "number")
    Object.assign(field, {
      min: minimum ?? "",
      max: maximum ?? "",
      step: schema.type === "integer" ? 1 : "any",
      placeholder: usual ?? ""
    });
  function read() {
    if (form === "switch") return field.checked;
    return form === "choice" || field.value === "" ? field.value : Number(field.value);
  }
  function show(value) {
    if (form === "switch") field.checked = value ?? false;
    else field.value = value ?? (form === "slider" ? ((minimum ?? 0) + Number(maximum)) / 2 : "");
    if (output)
      output.textContent = value === void 0 ? text("option.default") : Number(value).toFixed(2);
  }
  function describe(words, explanation, choices) {
    part(".words").textContent = words;
    hint.textContent = explanation;
    hint.hidden = !explanation;
    if (form === "choice") field.replaceChildren(...choices);
  }
  return { row, field, read, show, describe };
}
function formOf({ type, enum: choices, maximum }) {
  if (type === "boolean") return "switch";
  if (choices) return "choice";
  return type === "number" && maximum !== void 0 ? "slider" : "number";
}

// src/page/settings.ts
var OF_A_ROW = ["model", "max_instances", "measures"];
var FIRST = "hands";
var LONGEST = [0, 1280, 640, 320];
var STORED = ["detectors", "options", "mirrors", "style", "compare", "longest", "here"];
var MIRRORS = { camera: true, files: false };
var hasEffect = (name, here, still) => name !== "search" || still || !here;
function formOptions(here = hasNoServer, still = true) {
  const all = Object.assign({}, ...Object.values(kindsWhere(here)).map(({ options }) => options));
  const shown2 = Object.entries(all).filter(
    ([name]) => !OF_A_ROW.includes(name) && hasEffect(name, here, still)
  );
  const isSwitch = ([, { type }]) => Number(type === "boolean");
  return Object.fromEntries(shown2.sort((a, b) => isSwitch(a) - isSwitch(b)));
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
  const known = Object.entries(kinds).map(([kind, { models, max_instances }]) => {
    const {
      on = false,
      model,
      max
    } = detectors2?.[kind] ?? { on: detectors2 === null && kind === FIRST };
    return [kind, { on, model: modelOf({ models }, model), max: within(kind, max, max_instances) }];
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
    longest: LONGEST.includes(longest) ? longest : 0,
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
  return Object.entries(detectors2).filter(([kind, { on }]) => on && kind in there).map(([kind, { model, max }]) => {
    const known = Object.entries(given).filter(
      ([name, value]) => accepts(there[kind].options[name], value) && hasEffect(name, here, still)
    );
    return {
      kind,
      model: modelOf(there[kind], model),
      max_instances: max,
      ...Object.fromEntries(known)
    };
  });
}
function wireSettings(store2) {
  for (const kind of Object.keys(kinds)) addDetector(store2, kind);
  for (const [name, schema] of Object.entries(formOptions())) addOption(store2, name, schema);
  const [mirror, here] = ["mirror", "here"].map(find);
  mirror.onchange = () => store2.set({
    mirrors: { ...store2.state.mirrors, [ofCamera(store2.state.source)]: mirror.checked }
  });
  store2.watch(["mirrors", "source"], (state) => mirror.checked = isMirrored(state));
  here.parentElement.hidden = hasNoServer || !hasEngine();
  here.onchange = () => store2.set({ here: here.value === "page" });
  store2.watch(["here"], (state) => here.value = state.here ? "page" : "server");
  wireSelect(store2, "compare", ["detectors", "here"], String, () => [
    new Option(text("compare.off"), ""),
    ...rivalOptions(store2.state)
  ]);
  wireSelect(
    store2,
    "longest",
    [],
    Number,
    () => LONGEST.map(
      (side) => new Option(side ? text("size.longest", { side }) : text("size.own"), String(side))
    )
  );
  wireStyle(store2);
  store2.watch(
    STORED,
    (state) => memory.write("settings", Object.fromEntries(STORED.map((name) => [name, state[name]])))
  );
}
function wireSelect(store2, name, sources, read, options) {
  const select = find(name);
  select.onchange = () => store2.set({ [name]: read(select.value) });
  const offer = () => {
    select.replaceChildren(...options());
    select.value = String(store2.state[name]);
    if (select.selectedIndex < 0) store2.set({ [name]: read("") });
  };
  onLanguage(offer);
  store2.watch([name, ...sources], offer);
}
function rivalOptions({ detectors: detectors2, here }) {
  const there = kindsWhere(here);
  const on = Object.entries(detectors2).filter(
    ([kind, detector]) => detector.on && kind in there
  );
  return on.flatMap(([kind, { model }]) => {
    const { models, missing } = there[kind];
    const others = models.filter((name) => name !== model && !(name in missing));
    return others.map(
      (name) => new Option(
        `${textOr(`kind.${kind}`, kind)}: ${textOr(`model.${name}`, name)}`,
        `${kind}:${name}`
      )
    );
  });
}
function addDetector(store2, kind) {
  const { minimum: min, maximum: max } = kinds[kind].options.max_instances;
  const [row, part] = copyOf("detector-row");
  const [on, model, most] = [part("[type=checkbox]"), part("select"), part("[type=number]")];
  on.id = `detector-${kind}`;
  model.id = part(".model-label").htmlFor = `model-${kind}`;
  Object.assign(most, { id: `max-${kind}`, min, max });
  part(".max-label").htmlFor = most.id;
  part("use").setAttribute("href", `icons.svg#${kind}`);
  const change = (changes) => {
    const { detectors: detectors2 } = store2.state;
    store2.set({ detectors: { ...detectors2, [kind]: { ...detectors2[kind], ...changes } } });
  };
  on.onchange = () => change({ on: on.checked });
  model.onchange = () => change({ model: model.value });
  most.onchange = () => change({ max: within(kind, Number(most.value), store2.state.detectors[kind].max) });
  find("detectors").append(row);
  const show = () => {
    const there = kindsWhere(store2.state.here)[kind];
    const chosen = store2.state.detectors[kind];
    row.hidden = !there;
    on.checked = chosen.on;
    model.value = there && modelOf(there, chosen.model);
    most.value = chosen.max;
    row.classList.toggle("on", chosen.on);
  };
  const offer = () => {
    translate(row);
    part(".name").textContent = textOr(`kind.${kind}`, kind);
    const { models = [], missing = {} } = kindsWhere(store2.state.here)[kind] ?? {};
    model.replaceChildren(
      ...models.map((name) => {
        const note = name in missing ? ` – ${text("model.missing")}` : "";
        return make(
          "option",
          { value: name, disabled: name in missing },
          textOr(`model.${name}`, name) + note
        );
      })
    );
    show();
  };
  onLanguage(offer);
  store2.watch(["here"], offer);
  store2.watch(["detectors"], show);
}
function addOption(store2, name, schema) {
  const usual = schema.default;
  const control = controlOf(`option-${name}`, schema);
  control.field.oninput = () => {
    const { [name]: _, ...options } = store2.state.options;
    const value = control.read();
    const isChosen = value !== (usual ?? false) && accepts(schema, value);
    store2.set({ options: isChosen ? { ...options, [name]: value } : options });
  };
  find("options").append(control.row);
  const schemaNow = () => formOptions(store2.state.here, store2.state.source?.still ?? false)[name];
  const show = () => {
    const [now, chosen] = [schemaNow(), store2.state.options[name]];
    control.show(accepts(now, chosen) ? chosen : usual);
    control.row.hidden = !now;
  };
  const offer = () => {
    const words = textOr(`option.${name}`, name.replaceAll("_", " "));
    const hint = textOr(`option.${name}.hint`, schema.description);
    control.describe(words, hint, choicesOf(name, schemaNow() ?? schema));
    show();
  };
  onLanguage(offer);
  store2.watch(["here", "source"], offer);
  store2.watch(["options"], show);
}
function choicesOf(name, { enum: values = [], default: usual }) {
  const best = usual === void 0 ? [new Option(textOr(`${name}.auto`, text("option.default")), "")] : [];
  if (name !== "explain")
    return [
      ...best,
      ...values.map((value) => new Option(textOr(`${name}.${value}`, value), value))
    ];
  const grouped = Object.values(TARGETS).flat();
  const others = values.filter((value) => value !== "none" && !grouped.includes(value));
  const groups = Object.entries({ ...TARGETS, others }).map(
    ([group, targets]) => make(
      "optgroup",
      { label: text(`target.group.${group}`) },
      ...targets.filter((target) => values.includes(target)).map((target) => new Option(targetName(target), target))
    )
  );
  return [new Option(targetName("none"), "none"), ...groups];
}
var modelOf = ({ models }, wanted) => models.find((name) => name === wanted) ?? models[0];
function within(kind, value, otherwise) {
  const { minimum = 1, maximum = Infinity } = kinds[kind].options.max_instances;
  return Number.isInteger(value) ? Math.min(maximum, Math.max(minimum, Number(value))) : otherwise;
}
function linkOf({ detectors: detectors2, options, style, mirrors, source, compare, longest, here }, usual) {
  const address = new URL(location.href);
  const on = Object.entries(detectors2).filter(
    ([, detector]) => detector.on
  );
  const parameters = new URLSearchParams({
    detectors: on.map(([kind, { model, max }]) => `${kind}:${model}:${max}`).join(",")
  });
  for (const [name, value] of Object.entries(options)) parameters.set(name, String(value));
  for (const [part, now, before] of [
    ["style", style, usual.style],
    ["mirror", mirrors, usual.mirrors]
  ]) {
    for (const [name, value] of Object.entries(now))
      if (value !== before[name]) parameters.set(`${part}.${name}`, String(value));
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
  if (!parameters.length) return {};
  const [options, style, mirrors, others] = [{}, {}, {}, {}];
  for (const [name, value] of parameters) {
    const [part, member] = name.split(".");
    const group = { style, mirror: mirrors }[part];
    if (name === "detectors") {
      const parts = value.split(",").filter(Boolean).map((detector) => detector.split(":"));
      others.detectors = Object.fromEntries(
        parts.map(([kind, model, max]) => [kind, { on: true, model, max: Number(max) }])
      );
    } else if (group && member) group[member] = valueOf(value);
    else
      (["source", "compare", "longest", "here"].includes(name) ? others : options)[name] = valueOf(value);
  }
  return { options, style, mirrors, ...others };
}
function valueOf(value) {
  if (value === "true" || value === "false") return value === "true";
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}
function wireStyle(store2) {
  const { colour: _, ...others } = STYLE_SCHEMAS;
  for (const [name, schema] of Object.entries(others)) addStyle(store2, name, schema);
  const [palette, colour] = [find("style-palette"), find("style-colour")];
  const changeColour = () => changeStyle(store2, { colour: palette.value === "single" ? colour.value : palette.value });
  palette.onchange = colour.oninput = changeColour;
  store2.watch(["style"], ({ style }) => {
    const isSingle = !["", BY_INSTANCE].includes(style.colour);
    palette.value = isSingle ? "single" : style.colour;
    colour.hidden = !isSingle;
    if (isSingle) colour.value = style.colour;
  });
}
function addStyle(store2, name, schema) {
  const control = controlOf(`style-${name}`, schema);
  control.field.oninput = () => changeStyle(store2, { [name]: control.read() });
  find("style-settings").append(control.row);
  const show = () => control.show(store2.state.style[name]);
  onLanguage(() => {
    const words = textOr(`style.${name}`, schema.description);
    const choice = (value) => new Option(textOr(`style.${name}.${value}`, value), value);
    control.describe(words, textOr(`style.${name}.hint`, ""), (schema.enum ?? []).map(choice));
    show();
  });
  store2.watch(["style"], show);
}
var changeStyle = (store2, changes) => store2.set({ style: { ...store2.state.style, ...changes } });

// src/page/avatar.ts
var FOV_Y = 63 * Math.PI / 180;
var HEAD_CM = 24;
var AWAY_CM = 48;
var [NEAREST, HORIZON] = [1, 1e3];
var HANGING_DEG = 68.75;
var HEAD = /^(mixamorig:?)?head$/i;
var ENDINGS = /\.(glb|vrm)$/i;
var isModel = ({ name }) => ENDINGS.test(name);
function avatarView(store2) {
  const canvas = find("avatar");
  let drawModel = null;
  let avatar2 = null;
  let blendshapes = {};
  let pose = ahead();
  let aspect = 0;
  const ask = onNextFrame(render);
  const input = find("avatar-file");
  input.onchange = () => {
    open(input.files[0]).catch(showError);
    input.value = "";
  };
  store2.watch(["mirrors", "source"], ask);
  onLanguage(showStatus2);
  new ResizeObserver(ask).observe(canvas);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    drawModel = null;
  });
  canvas.addEventListener("webglcontextrestored", upload);
  async function open(file) {
    const { detectors: detectors2, here } = store2.state;
    const canMove = (where) => "blendshapes" in (kindsWhere(where).face?.options ?? {});
    if (!canMove(here) && !canMove(false)) throw new PageError("avatar_server");
    if (!canvas.getContext("webgl2")) throw new PageError("no_webgl");
    avatar2 = avatarOf(await readModel(file), file.name);
    upload();
    showStatus2();
    find("tab-avatar").click();
    store2.set({
      here: here && canMove(here),
      detectors: { ...detectors2, face: { ...detectors2.face, on: true } },
      options: { ...store2.state.options, blendshapes: true, transform: true }
    });
  }
  function draw(frame) {
    const face = instancesOf(frame).find(
      ({ kind, instance }) => kind === "face" && (instance.blendshapes || instance.transform)
    )?.instance;
    if (!face) return;
    blendshapes = face.blendshapes ?? {};
    pose = face.transform ? new DOMMatrix(
      [0, 1, 2, 3].flatMap((column) => face.transform.map((row) => row[column]))
    ) : ahead();
    aspect = frame.width / frame.height;
    ask();
  }
  function clear() {
    blendshapes = {};
    pose = ahead();
    ask();
  }
  function upload() {
    const gl = canvas.getContext("webgl2");
    if (!avatar2 || gl.isContextLost()) return;
    drawModel = painterOf(gl, avatar2.model);
    ask();
  }
  function showStatus2() {
    if (!avatar2) return;
    const { name, drivers, head } = avatar2;
    const count = new Set(drivers.flatMap(({ terms }) => terms.map(([blendshape]) => blendshape))).size;
    find("avatar-state").textContent = text(head < 0 ? "avatar.whole" : "avatar.head", {
      name,
      count
    });
  }
  function render() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(
      (side) => Math.round(side * devicePixelRatio)
    );
    if (!avatar2 || !drawModel || !width || !height) return;
    fit(canvas, width, height);
    const mirrored = isMirrored(store2.state);
    const shrink = Math.min(1, width / height / (aspect || 1));
    const half = Math.tan(FOV_Y / 2) / shrink;
    const halves = [half * width / height, half];
    const depth = NEAREST - HORIZON;
    const camera = new DOMMatrix([
      (mirrored ? -1 : 1) / halves[0],
      0,
      0,
      0,
      0,
      1 / half,
      0,
      0,
      0,
      0,
      (HORIZON + NEAREST) / depth,
      -1,
      0,
      0,
      2 * HORIZON * NEAREST / depth,
      0
    ]);
    drawModel(
      camera,
      posed(avatar2, pose, halves),
      targetWeights(avatar2.model, avatar2.drivers, blendshapes),
      mirrored
    );
  }
  return { open, draw, clear };
}
var ahead = () => new DOMMatrix().translate(0, 0, -AWAY_CM);
function avatarOf(model, name) {
  const { nodes, extensions } = model;
  const joints = model.skins.flatMap((skin) => skin.joints);
  const named = boneOf(model, "head");
  const head = named >= 0 ? named : joints.find((joint2) => HEAD.test(nodes[joint2].name)) ?? -1;
  const turned = new DOMMatrix().rotateAxisAngle(0, 1, 0, "VRM" in extensions ? 180 : 0);
  const worlds = worldsOf(model, turned);
  const [low, high] = extent(verticesOf(model, worlds));
  const joint = worlds.get(head);
  if (joint)
    [low[0], low[1], low[2], high[0], high[2]] = [
      joint.m41,
      joint.m42,
      joint.m43,
      joint.m41,
      joint.m43
    ];
  const arms = /* @__PURE__ */ new Map([
    [boneOf(model, "leftUpperArm"), -HANGING_DEG],
    [boneOf(model, "rightUpperArm"), HANGING_DEG]
  ]);
  return {
    model,
    name,
    drivers: driversOf(model),
    head,
    arms,
    turned,
    centre: low.map((value, axis) => (value + high[axis]) / 2),
    size: Math.max(high[1] - low[1], 1e-6)
  };
}
function boneOf({ extensions }, name) {
  const former = extensions.VRM?.humanoid?.humanBones?.find(({ bone }) => bone === name);
  return extensions.VRMC_vrm?.humanoid?.humanBones?.[name]?.node ?? former?.node ?? -1;
}
function worldsOf({ nodes, order }, root, turns = /* @__PURE__ */ new Map()) {
  const worlds = /* @__PURE__ */ new Map();
  for (const node of order) {
    const world = (worlds.get(nodes[node].parent) ?? root).multiply(nodes[node].local);
    const turn = turns.get(node);
    const { m41: x, m42: y, m43: z } = world;
    worlds.set(
      node,
      turn ? new DOMMatrix().translate(x, y, z).multiply(turn).translate(-x, -y, -z).multiply(world) : world
    );
  }
  return worlds;
}
function verticesOf({ nodes, meshes, skins, order }, worlds) {
  return order.flatMap((node) => {
    const { joints, inverses } = skins[nodes[node].skin] ?? {};
    const own = worlds.get(joints?.[0] ?? node) ?? new DOMMatrix();
    const world = joints ? own.multiply(inverses[0]) : own;
    return (meshes[nodes[node].mesh]?.geometries ?? []).flatMap(
      ({ positions }) => Array.from({ length: positions.length / 3 }, (_, k) => {
        const { x, y, z } = world.transformPoint({
          x: positions[3 * k],
          y: positions[3 * k + 1],
          z: positions[3 * k + 2]
        });
        return [x, y, z];
      })
    );
  });
}
function posed({ model, head, arms, turned, centre: [cx, cy, cz], size }, pose, half) {
  const columns2 = [
    [pose.m11, pose.m12, pose.m13],
    [pose.m21, pose.m22, pose.m23],
    [pose.m31, pose.m32, pose.m33]
  ];
  const unscaled = columns2.flatMap((column) => [
    ...column.map((value) => value / (Math.hypot(...column) || 1)),
    0
  ]);
  const turn = new DOMMatrix([...unscaled, 0, 0, 0, 1]);
  const away = Math.min(-pose.m43, AWAY_CM);
  const [x, y] = [pose.m41, pose.m42].map((shift, axis) => {
    const reach = Math.max(half[axis] * away - HEAD_CM * 0.65, 0);
    return Math.min(Math.max(shift * away / -pose.m43, -reach), reach);
  });
  const scale = HEAD_CM / size;
  const place = new DOMMatrix().translate(x, y, -away).multiply(head < 0 ? turn : new DOMMatrix());
  const root = place.scale(scale, scale, scale).translate(-cx, -cy, -cz).multiply(turned);
  const turns = new Map(
    [...arms].map(([node, angle]) => [node, new DOMMatrix().rotateAxisAngle(0, 0, 1, angle)])
  );
  if (head >= 0) turns.set(head, turn);
  return worldsOf(model, root, turns);
}
var VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
layout(location = 3) in vec4 joints;
layout(location = 4) in vec4 weights;
uniform mat4 projection, node;
uniform bool skinned;
uniform highp sampler2D bones; // the matrix of a joint in each row
out vec3 facing;
out vec2 place;
mat4 bone(float joint) {
  int row = int(joint);
  return mat4(
    texelFetch(bones, ivec2(0, row), 0), texelFetch(bones, ivec2(1, row), 0),
    texelFetch(bones, ivec2(2, row), 0), texelFetch(bones, ivec2(3, row), 0)
  );
}
void main() {
  mat4 world = node;
  if (skinned) {
    world = weights.x * bone(joints.x) + weights.y * bone(joints.y);
    world += weights.z * bone(joints.z) + weights.w * bone(joints.w);
  }
  facing = mat3(world) * normal;
  place = uv;
  gl_Position = projection * world * vec4(position, 1);
}`;
var FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 colour; // gamma-encoded
uniform sampler2D image;
uniform bool unlit;
uniform float cutoff;
uniform bool opaque;
in vec3 facing;
in vec2 place;
out vec4 seen;
void main() {
  vec4 base = colour * texture(image, place);
  if (base.a < cutoff) discard;
  vec3 normal = normalize(gl_FrontFacing ? facing : -facing);
  float light = unlit ? 1.0 : 0.45 + 0.55 * max(dot(normal, normalize(vec3(0.3, 0.5, 1.0))), 0.0);
  seen = vec4(base.rgb * light, opaque ? 1.0 : base.a);
}`;
var ATTRIBUTES = [
  ["uv", 2, 2],
  ["joints", 3, 4],
  ["weights", 4, 4]
];
var UNIFORMS = [
  "projection",
  "image",
  "bones",
  "skinned",
  "node",
  "colour",
  "unlit",
  "opaque",
  "cutoff"
];
var SCREEN_GAMMA = 2.2;
function painterOf(gl, model) {
  const program = programOf(gl);
  const textures = /* @__PURE__ */ new Map();
  const places = Object.fromEntries(
    UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)])
  );
  const white = texture(gl);
  gl.texImage2D(
    gl.TEXTURE_2D,
    0,
    gl.RGBA,
    1,
    1,
    0,
    gl.RGBA,
    gl.UNSIGNED_BYTE,
    new Uint8Array([255, 255, 255, 255])
  );
  const matrices = texture(gl);
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
    gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
  gl.enable(gl.DEPTH_TEST);
  gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const all = model.order.flatMap(
    (node) => (model.meshes[model.nodes[node].mesh]?.geometries ?? []).map(
      (geometry) => upload(node, geometry)
    )
  );
  function upload(node, geometry) {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const positions = attribute(gl, 0, 3, geometry.positions);
    const normals = attribute(gl, 1, 3, geometry.normals);
    for (const [name, at, width] of ATTRIBUTES)
      if (geometry[name]) attribute(gl, at, width, geometry[name]);
    const parts = geometry.parts.map(({ indices, material }) => {
      const triangles = gl.createBuffer();
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
      return {
        triangles,
        count: indices.length,
        material,
        texture: material.image && textureOf(material.image, material.wrap)
      };
    });
    gl.bindVertexArray(null);
    return {
      node,
      geometry,
      array,
      positions,
      normals,
      moved: new Float32Array(geometry.positions.length),
      turned: new Float32Array(geometry.normals.length),
      shown: "",
      parts
    };
  }
  function textureOf(image, [wrapS, wrapT]) {
    const known = textures.get(image);
    if (known) return known;
    const created = texture(gl);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, wrapS);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, wrapT);
    textures.set(image, created);
    return created;
  }
  function morph(drawn, weights = new Float32Array(0)) {
    const {
      geometry: { positions, normals, targets },
      moved: vertices,
      turned
    } = drawn;
    const shown2 = weights.join();
    if (drawn.shown === shown2) return;
    drawn.shown = shown2;
    vertices.set(positions);
    turned.set(normals);
    targets.forEach((target, k) => {
      if (!weights[k]) return;
      add(vertices, target.positions, weights[k]);
      if (target.normals) add(turned, target.normals, weights[k]);
    });
    for (const [buffer, values] of [
      [drawn.positions, vertices],
      [drawn.normals, turned]
    ]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    }
  }
  function place(node, worlds) {
    const { nodes, skins } = model;
    const skin = skins[nodes[node].skin];
    gl.uniform1i(places.skinned, Number(Boolean(skin)));
    gl.uniformMatrix4fv(
      places.node,
      false,
      (worlds.get(node) ?? new DOMMatrix()).toFloat32Array()
    );
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, matrices);
    const rows = skin?.joints.length ?? 1;
    const bones = new Float32Array(rows * 16);
    skin?.joints.forEach(
      (joint, k) => bones.set(
        (worlds.get(joint) ?? new DOMMatrix()).multiply(skin.inverses[k]).toFloat32Array(),
        k * 16
      )
    );
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4, rows, 0, gl.RGBA, gl.FLOAT, bones);
    gl.activeTexture(gl.TEXTURE0);
  }
  function drawPart({ triangles, count, material, texture: image }) {
    const [r, g, b, a] = material.colour;
    gl.uniform4fv(
      places.colour,
      [r, g, b].map((value) => value ** (1 / SCREEN_GAMMA)).concat(a)
    );
    gl.uniform1i(places.unlit, Number(material.isUnlit));
    gl.uniform1i(places.opaque, Number(material.alpha !== "BLEND"));
    gl.uniform1f(places.cutoff, material.alpha === "MASK" ? material.cutoff : 0);
    material.isTwoSided ? gl.disable(gl.CULL_FACE) : gl.enable(gl.CULL_FACE);
    gl.bindTexture(gl.TEXTURE_2D, image ?? white);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
  }
  return function draw(camera, worlds, weights, mirrored) {
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    gl.uniformMatrix4fv(places.projection, false, camera.toFloat32Array());
    gl.uniform1i(places.image, 0);
    gl.uniform1i(places.bones, 1);
    gl.frontFace(mirrored ? gl.CW : gl.CCW);
    for (const drawn of all) morph(drawn, weights.get(drawn.node));
    for (const alpha of ["OPAQUE", "MASK", "BLEND"]) {
      alpha === "BLEND" ? gl.enable(gl.BLEND) : gl.disable(gl.BLEND);
      for (const drawn of all) {
        const parts = drawn.parts.filter(({ material }) => material.alpha === alpha);
        if (!parts.length) continue;
        place(drawn.node, worlds);
        gl.bindVertexArray(drawn.array);
        for (const part of parts) drawPart(part);
      }
    }
    gl.bindVertexArray(null);
  };
}
function add(values, more, weight) {
  for (let k = 0; k < values.length; k += 1) values[k] += weight * more[k];
}
function attribute(gl, at, width, values) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(at);
  gl.vertexAttribPointer(at, width, gl.FLOAT, false, 0, 0);
  return buffer;
}
function texture(gl) {
  const created = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, created);
  return created;
}
function programOf(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT]
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(gl.getProgramInfoLog(program) ?? "no program");
  return program;
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
    const waiting = [...this.#pending.splice(0), ...this.#frames.values()];
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
    this.stop();
    [this.#skipped, this.#shown, this.#hasFailed, this.#size] = [0, -1, false, ""];
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
  /** End the run and clear all views. */
  stop() {
    const [connection, source] = [this.#connection, this.#source];
    [this.#connection, this.#source, this.#ready, this.#taking] = [null, null, false, false];
    connection?.close();
    this.#compare(null);
    source?.close();
    this.#clear();
  }
  #become({
    state,
    ...detail
  }) {
    this.#ready = state === "ready" || state === "idle";
    if (state === "ready") {
      this.#flipped = detail.detectors?.some(({ flip_horizontal }) => flip_horizontal) ?? this.#flipped;
      this.#listener.phase("running");
      this.#source?.refresh();
    } else if (state === "waiting") {
      this.#clear();
      this.#listener.phase("connecting", detail);
    } else if (state === "closed") {
      this.#failed(new ServerError(detail.code, detail.reason));
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
    const connection = this.#connection;
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
      if (this.state === "closed") {
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
  /** End the workers. */
  close() {
    this.#turn += 1;
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
      const [motions, events] = ["motions", "events"].map(
        (name) => found.flatMap((answer) => answer[name] ?? [])
      );
      const lists = Object.entries(results).flatMap(
        ([kind, result]) => found.flatMap(
          ({ [result.list]: list }) => list ? [[result.list, list.map((instance) => withSkeletons(instance, kind, result))]] : []
        )
      );
      const hidden = found.reduce((sum, { total }) => sum + total, 0) - lists.flatMap(([, list]) => list).length;
      return {
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
  const parts = Object.entries(members).map(([key, part]) => [
    key,
    instance[key] && withSkeletons(instance[key], part, results[part], instance)
  ]);
  if (parts.length) return { ...instance, ...Object.fromEntries(parts) };
  const skeleton = Object.entries(skeletons).find(
    ([, { keypoints }]) => keypoints.length === instance.keypoints.length
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
      const isUpright = rotation === 0 && flip === false && visibleRect.width === width && visibleRect.height === height;
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

// src/page/sources.ts
var RETRY_MS = 60;
var RESUMING = ["resume", "visibilitychange"];
var JUMP_S = 1;
var SHOWN_BY_ALL = /\.(jpe?g|png|webp|bmp|gif)$/i;
var IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?|avif|heic)$/i;
var VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|ts)$/i;
var isImage = (file) => file.type.startsWith("image/") || !file.type && IMAGE.test(file.name);
var isVideo = (file) => file.type.startsWith("video/") || !file.type && VIDEO.test(file.name);
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
var ENDED = ["done", "failed", "cancelled"];
function createJobs(list, onLatest) {
  const items = /* @__PURE__ */ new Set();
  let latest2 = null;
  onLanguage(() => items.forEach((item) => item.render()));
  function add2(job) {
    const item = new JobItem(job, (now) => {
      if (!now) items.delete(item);
      if (item === latest2) onLatest(now);
    });
    items.add(item);
    list.prepend(item.node);
    return item;
  }
  return {
    /** Load the jobs of the server. */
    async load() {
      const jobs2 = await call(addressOf("/v1/jobs"));
      for (const job of jobs2.reverse()) add2(job).follow(job);
    },
    /**
     * Create one job for all images and one for each video, with all detectors.
     *
     * @param detectors as of a stream
     * @param style of the drawings
     */
    async start(files, detectors2, { drawing: _, gestures, ...style }) {
      if (!detectors2.length) throw new PageError("no_detector");
      const showsGestures = gestures && detectors2.some((each) => (each.gestures ?? "none") !== "none");
      const query = new URLSearchParams({
        detectors: JSON.stringify(detectors2.map(optionsOfJob)),
        style: JSON.stringify({ ...style, gestures: showsGestures })
      });
      const images = files.filter(isImage);
      const model = detectors2.map((detector) => `${detector.kind}-${detector.model}`).join("+");
      const uploads = [images, ...files.filter(isVideo).map((file) => [file])].filter((set) => set.length).map((set) => {
        const [{ name: first, webkitRelativePath: path }] = set;
        const name = set.length === 1 ? first : path.split("/")[0] || text("job.images", { count: set.length });
        latest2 = add2({ name, model, state: "uploading", share: 0 });
        return latest2.upload(set, `/v1/jobs?${query}`);
      });
      await Promise.all(uploads);
    }
  };
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
function stateText({
  state,
  share: share2 = 0,
  frames = 0,
  of,
  instances = 0,
  seconds = 0
}) {
  const values = {
    frames,
    of: of ?? "?",
    instances,
    seconds: Number(seconds).toFixed(1),
    percent: Math.round(share2 * 100)
  };
  return text(`job.${state}`, values);
}
var isActive = ({ state }) => !ENDED.includes(state);
var TABLES = ["csv", "json", "jsonl", "parquet", "xlsx"];
var MORE_TABLES = [
  ["instances.csv", "job.instances"],
  ["wide.csv", "job.wide"],
  ["events.csv", "job.events"],
  ["motions.csv", "job.motions"],
  ["report.html", "job.report"],
  ["report.pdf", "job.report.pdf"]
];
var JobItem = class {
  job;
  node = make("li", { className: "job" });
  #onChange;
  #request = new XMLHttpRequest();
  #events;
  #rendered = "";
  /** @param onChange function that receives the job after every change; null if it was removed */
  constructor(job, onChange) {
    this.job = job;
    this.#onChange = onChange;
    this.render();
  }
  #update(changes) {
    this.job = { ...this.job, ...changes };
    if (this.job.state !== this.#rendered) this.render();
    else this.#progress();
    this.#onChange(this.job);
  }
  /** Send files and report the progress, which `fetch` cannot do. */
  async upload(files, path) {
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
    if (end2 !== "abort" && request.status === 202) return this.follow(request.response);
    const { code = end2 === "error" ? "gone" : "failed", message = "" } = request.response?.error ?? {};
    if (end2 !== "abort") showError(new ServerError(code, message));
    return this.#remove();
  }
  /** Show the progress of a job of the server. */
  follow(job) {
    this.#update(job);
    if (!isActive(job)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    this.#events = events;
    events.onmessage = ({ data }) => {
      this.#update(JSON.parse(data));
      if (!isActive(this.job)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED)
        this.#update({ state: "failed", message: text("job.lost") });
    };
  }
  async #cancel() {
    if (this.job.id === void 0) this.#request.abort();
    else
      await call(addressOf(`/v1/jobs/${this.job.id}/cancel`), null, { method: "POST" }).catch(
        showError
      );
  }
  async #erase() {
    const refusal = await call(addressOf(`/v1/jobs/${this.job.id}`), null, {
      method: "DELETE"
    }).catch((error) => error);
    return refusal instanceof ServerError && refusal.code !== "not_found" ? showError(refusal) : this.#remove();
  }
  #remove() {
    this.#events?.close();
    this.node.remove();
    this.#onChange(null);
  }
  /** Draw the item again for another state or language. */
  render() {
    const { name, model, state, message, problems = [] } = this.job;
    this.#rendered = this.node.dataset.state = state;
    const isOn = isActive(this.job);
    const label = text(isOn ? "job.cancel" : "job.remove");
    const end2 = makeButton(label, () => isOn ? this.#cancel() : this.#erase(), {
      ariaLabel: `${label}: ${name}`
    });
    this.node.replaceChildren(
      make(
        "p",
        { className: "job-title" },
        make("strong", {}, name),
        make("span", { className: "tag" }, model)
      ),
      make("p", { className: "job-state" }),
      make("progress", { max: 1, hidden: !isOn, ariaLabel: text("job.progress", { name }) }),
      ...[message, ...problems].filter(Boolean).map((note) => make("p", { className: "hint" }, String(note))),
      make("div", { className: "row" }, ...state === "done" ? this.#results() : [], end2)
    );
    this.#progress();
  }
  #progress() {
    showShare(this.node.querySelector("progress"), shareOf(this.job));
    this.node.querySelector(".job-state").textContent = stateText(this.job);
  }
  /** Return links to the results. */
  #results() {
    const { downloads = {}, name } = this.job;
    const link = (path, label) => make(
      "a",
      {
        className: "button small",
        href: new URL(path, thisServer),
        download: "",
        ariaLabel: `${label}: ${name}`
      },
      label
    );
    const language = document.documentElement.lang;
    const pathOf = (ending) => downloads[ending.replace("report.", `report.${language}.`)] ?? downloads[ending];
    const labels = [
      ...TABLES.map((ending) => [ending, ending.toUpperCase()]),
      ...MORE_TABLES.map(([ending, key]) => [ending, text(key)])
    ];
    const nodes = labels.filter(([ending]) => downloads[ending]).map(([ending, label]) => link(pathOf(ending), label));
    return downloads.drawn ? [...nodes, link(downloads.drawn, text("job.drawn"))] : nodes;
  }
};
function showShare(bar, share2) {
  if (share2 === null) bar.removeAttribute("value");
  else bar.value = share2;
}

// src/page/overlay.ts
var MAX_SCALE = 3;
var LARGEST = 1920;
var CELLS = 3;
var HEAD_MARGIN = 0.35;
var PERSON_MARGIN = 0.1;
var HEAD_SHARE = 0.2;
var SHOULDERS = [11, 12];
var HIPS = [23, 24];
function hiddenAreas(kind, instance, how) {
  const areas = headOf(kind, instance).map((head) => withMargin(head, HEAD_MARGIN));
  if (kind !== "body") return areas;
  const points = instance.keypoints;
  const [left, right] = SHOULDERS.map((k) => points[k]);
  const [shoulders, hips] = [mean([left, right]), mean(HIPS.map((k) => points[k]))];
  const torso = Math.hypot(shoulders.x - hips.x, shoulders.y - hips.y);
  const half = HEAD_SHARE * Math.max(torso, Math.hypot(left.x - right.x, left.y - right.y));
  const { x, y } = mean(skeletonOf(instance).groups.face.map((k) => points[k]));
  areas.push(withMargin([x - half, y - half, x + half, y + half], HEAD_MARGIN));
  return how === "persons" ? [...areas, withMargin(around(points), PERSON_MARGIN)] : areas;
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
  const margins = [
    [own, 0, CELLS],
    [covered.faces, HEAD_MARGIN, CELLS],
    [how === "persons" ? covered.people : [], PERSON_MARGIN, CELLS],
    [covered.again, HEAD_MARGIN, 1]
  ];
  return margins.flatMap(
    ([areas, margin, cells]) => areas.map((area) => ({ area: withMargin(area, margin), cells }))
  );
}
function hidePeople(ctx, hidden) {
  const { width, height } = ctx.canvas;
  if (!hidden) ctx.fillRect(0, 0, width, height);
  const small = document.createElement("canvas");
  for (const { area, cells } of hidden ?? []) {
    const [left, top] = [Math.max(Math.trunc(area[0]), 0), Math.max(Math.trunc(area[1]), 0)];
    const right = Math.min(Math.ceil(area[2]), width);
    const bottom = Math.min(Math.ceil(area[3]), height);
    if (right - left < 1 || bottom - top < 1) continue;
    const part = [left, top, right - left, bottom - top];
    Object.assign(small, { width: cells, height: cells });
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(ctx.canvas, ...part, 0, 0, cells, cells);
    ctx.drawImage(small, 0, 0, cells, cells, ...part);
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
    const areas = instancesOf(frame).flatMap(
      ({ kind, instance }) => hiddenAreas(kind, instance, style.anonymise)
    );
    const flip = ([left, top, right, bottom]) => [frame.width - right, top, frame.width - left, bottom];
    const own = seen.flipped ? areas.map(flip) : areas;
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

// src/page/plot.ts
var UNITS = [
  { ending: "_rad", unit: "°", scale: 180 / Math.PI, digits: 0 },
  { ending: "_m", unit: " cm", scale: 100, digits: 1 }
];
var CM_PER_M = 100;
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
  const bare = name.slice(0, name.length - unitOf(name).ending.length);
  const words = bare.split(/_(?!arm)/).map((word) => textOr(`measure.${word}`, word)).join(" ").trim();
  const ofFist = name.endsWith("_curl") ? " (0–1)" : "";
  return words.charAt(0).toUpperCase() + words.slice(1) + ofFist;
}
function roundNumbers(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4));
  const step = power * ([1, 2, 5].find((factor) => 5 * factor * power >= high - low) ?? 10);
  return [...Array(9).keys()].map((k) => (Math.ceil(low / step) + k) * step).filter((number) => number <= high);
}
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
    const place = transform && Object.fromEntries(
      ["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row][3] / CM_PER_M])
    );
    const measures = {
      ...instance.measures,
      ...distanceM !== void 0 && { distance_m: distanceM },
      ...place,
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
var WINDOW_S = 20;
var COLOURS = {
  left: ["#d98600", "#e2518a", "#8a6d3b"],
  right: ["#2f9ede", "#7c5cf0", "#1d9a63"],
  "": ["#7c5cf0", "#1d9a63", "#8a6d3b", "#e2518a", "#2f9ede", "#d98600"]
};
var BENT_RAD = repetitions_default.low_deg * Math.PI / 180;
var STRAIGHT_RAD = repetitions_default.high_deg * Math.PI / 180;
var MARGIN = { left: 44, right: 10, top: 10, bottom: 22 };
function sideOf(name, handedness) {
  if (/^(left|right)_/.test(name)) return name.split("_")[0];
  return ["Left", "Right"].includes(handedness ?? "") ? handedness.toLowerCase() : "";
}
function lineColours(sides) {
  const used = { left: 0, right: 0, "": 0 };
  return sides.map((side) => COLOURS[side][used[side]++ % COLOURS[side].length]);
}
function plotView() {
  let events = [];
  const [canvas, select, isCounting] = ["plot", "plot-measure", "count"].map(find);
  const limitFields = [find("count-low"), find("count-high")];
  let history2 = [];
  const counters = /* @__PURE__ */ new Map();
  let known = "";
  const ask = onNextFrame(() => canvas.clientWidth && render());
  select.onchange = isCounting.onchange = restart;
  for (const field of limitFields) field.oninput = recount;
  new ResizeObserver(ask).observe(canvas);
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
    const label = (name) => measureName(name) + (unitOf(name).unit && ` (${unitOf(name).unit.trim()})`);
    select.replaceChildren(...names.map((name) => new Option(label(name), name)));
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
        ended.push({ name, type: "repetition", phase: "end", ...times, id, handedness, value });
      }
      return `${label}: ${counter.count}`;
    });
    const place = find("counts");
    if (lines.length && place.innerText !== lines.join("\n"))
      place.replaceChildren(...lines.map((line) => make("span", { className: "count" }, line)));
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
    const { clientWidth: width, clientHeight: height } = canvas;
    const ctx = clearedContext(canvas);
    const lines = series();
    const name = select.value;
    const latest2 = lines.map(
      ({ label, points }) => `${label}: ${shown(name, points.at(-1)?.value)}`
    );
    canvas.dataset.points = String(lines.reduce((sum, { points }) => sum + points.length, 0));
    canvas.ariaLabel = lines.length ? `${measureName(name)}: ${latest2.join(", ")}` : text("live.empty");
    if (!lines.length) return;
    const colours = lineColours(lines.map(({ side }) => side));
    find("plot-legend").replaceChildren(
      ...latest2.map((line, k) => make("li", { style: `--colour: ${colours[k]}` }, line))
    );
    const shownLimits = isCounting.checked ? limits() : [];
    const values = [
      ...lines.flatMap(({ points }) => points.map(({ value }) => value)),
      ...shownLimits
    ].filter(Number.isFinite);
    if (values.length === shownLimits.length) return;
    const [minimum, maximum] = [Math.min(...values), Math.max(...values)];
    const margin = (maximum - minimum || Math.abs(maximum) || 1) * 0.08;
    const [low, high] = [minimum - margin, maximum + margin];
    const end2 = history2[history2.length - 1].time;
    const start2 = Math.max(history2[0].time, end2 - WINDOW_S);
    const span = Math.max(end2 - start2, 2);
    const x = (time) => MARGIN.left + (time - start2) / span * (width - MARGIN.left - MARGIN.right);
    const y = (value) => MARGIN.top + (high - value) / (high - low) * (height - MARGIN.top - MARGIN.bottom);
    const style = getComputedStyle(canvas);
    const level = (value, colour) => {
      ctx.strokeStyle = style.getPropertyValue(colour);
      ctx.beginPath();
      ctx.moveTo(MARGIN.left, y(value));
      ctx.lineTo(width - MARGIN.right, y(value));
      ctx.stroke();
    };
    ctx.font = `12px ${style.fontFamily}`;
    ctx.fillStyle = style.getPropertyValue("--muted");
    ctx.lineWidth = 1;
    ctx.textAlign = "right";
    const { scale } = unitOf(name);
    for (const value of roundNumbers(low * scale, high * scale)) {
      level(value / scale, "--line");
      ctx.fillText(
        shown(name, value / scale).replace(" cm", ""),
        MARGIN.left - 5,
        y(value / scale) + 4
      );
    }
    ctx.textAlign = "center";
    for (const time of roundNumbers(start2, start2 + 0.95 * span))
      ctx.fillText(`${Number(time.toFixed(1))} s`, x(time), height - 5);
    ctx.setLineDash([6, 5]);
    for (const limit of shownLimits) level(limit, "--muted");
    ctx.setLineDash([]);
    ctx.lineWidth = 2;
    ctx.lineJoin = "round";
    lines.forEach(({ points }, k) => {
      ctx.strokeStyle = ctx.fillStyle = colours[k];
      ctx.beginPath();
      let before = NaN;
      for (const { time, value } of points) {
        if (Number.isFinite(value))
          time - before < 1 ? ctx.lineTo(x(time), y(value)) : ctx.moveTo(x(time), y(value));
        before = Number.isFinite(value) ? time : NaN;
      }
      ctx.stroke();
      const last = points[points.length - 1];
      ctx.beginPath();
      if (Number.isFinite(last.value)) ctx.arc(x(last.time), y(last.value), 3.5, 0, 2 * Math.PI);
      ctx.fill();
    });
  }
  return { draw, clear, begin, events: () => events };
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
  const [fps, latency, dropped] = ["fps", "latency", "dropped"].map(find);
  let samples = [];
  let count = 0;
  const pace = paced(() => {
    const times = samples.map(({ ms }) => ms).sort((a, b) => a - b);
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
    const { type, ...frame } = waiting ?? {};
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
  let frame = {};
  const pace = paced(() => {
    const groups = Object.values(Object.groupBy(trackedOf(frame), ({ kind }) => kind)).map(
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
        make("tbody", {}, ...rowsOf(found).map(({ name, values }) => makeRow(name, values)))
      )
    );
    container.replaceChildren(
      ...tables.length ? tables : [make("p", { className: "hint" }, text("live.empty"))]
    );
  });
  onLanguage(pace.now);
  return showing(pace, (next) => frame = next ?? {});
}
function rowsOf(found) {
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
  let frame = {};
  const write = () => {
    const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
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
    const isLater = ({ dataset }) => dataset.time > time && dataset.time < time + 1;
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
      for (const event of frame.motions ?? []) follow(event);
      for (const event of frame.events ?? []) {
        if (event.type === "gesture")
          follow({ ...event, strength: event.value, count: 0, time: event.end ?? event.begin });
      }
    },
    clear() {
      frame = {};
      open.clear();
      events.replaceChildren();
      write();
    }
  };
}

// src/page/source-chooser.ts
var SAMPLE = "sample.mp4";
function sourceChooser(store2, overlay2, on) {
  let kind = "camera";
  let chosen = [];
  let shown2 = null;
  const images = () => kind === "files" ? chosen.filter(isImage) : [];
  const isStill = () => images().length > 0;
  function name() {
    if (kind === "camera") return "camera";
    if (kind === "sample") return SAMPLE;
    const [{ name: first, webkitRelativePath: path }] = chosen;
    return chosen.length > 1 && path.split("/")[0] || first;
  }
  async function files() {
    if (kind === "files") return chosen;
    const answer = await fetch(SAMPLE);
    return [new File([await answer.blob()], SAMPLE, { type: "video/mp4" })];
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
        take([...input.files]);
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
      const { items, files: dropped } = event.dataTransfer;
      const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const loose = [...dropped];
      take(entries.length ? (await Promise.all(entries.map(filesOfEntry))).flat() : loose);
    });
    onLanguage(show);
    onLanguage(nameCameras);
    navigator.mediaDevices?.addEventListener("devicechange", nameCameras);
    await nameCameras();
  }
  const openClip = (loop) => openVideo(find("video"), kind === "sample" ? SAMPLE : chosen[0], loop);
  function leave() {
    shown2?.close();
    shown2 = null;
  }
  function choose(wanted) {
    kind = wanted;
    show();
    store2.set({ source: { kind, name: name(), still: isStill() } });
    on.changed();
  }
  function take(given) {
    if (!given.length) return void 0;
    const order = new Intl.Collator(void 0, { numeric: true });
    const path = (file) => file.webkitRelativePath || file.name;
    const usable = given.filter((file) => isImage(file) || isVideo(file)).sort((a, b) => order.compare(path(a), path(b)));
    const model = given.find(isModel);
    if (model) on.model(model).catch(showError);
    if (!usable.length)
      return model || showError(new PageError("no_media", { name: given[0].name }));
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
    find("job-start").hidden = kind === "camera";
    find("job-start").querySelector("span").textContent = text(
      isSeveral ? "job.start.several" : "job.start"
    );
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
async function filesOfEntry(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (; ; ) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files;
    for (const child of some) files.push(...await filesOfEntry(child));
  }
}
function wireTransport(onChange) {
  let player = null;
  find("play-pause").onclick = () => player.state.paused ? player.play() : player.pause();
  find("step-back").onclick = () => player.step(-1);
  find("step-forward").onclick = () => player.step(1);
  find("loop").onclick = () => player.set({ loop: !player.state.loop });
  find("position").oninput = () => player.seek(Number(find("position").value));
  find("speed").onchange = () => player.set({ speed: Number(find("speed").value) });
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
    const label = isClip ? `${clock(position)} / ${clock(length)}` : text("transport.image", { number: position + 1, count: length });
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
          player.pause();
          player.seek(index);
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
var clock = (seconds) => `${Math.floor(seconds / 60)}:${(Math.floor(seconds * 100) / 100 % 60).toFixed(2).padStart(5, "0")}`;

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
var Table = class {
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
    const model = detectors2.map((detector) => `${detector.kind}-${detector.model}`).join("+");
    this.#header = {
      source,
      width: null,
      height: null,
      fps: null,
      model,
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
        row[list] = frame[list].map((instance) => plain2(instance, Object.keys(members)));
    }
    if (frame.events?.length) row.events = frame.events;
    const line = JSON.stringify(row);
    if (source !== void 0) this.#stills.set(index, line);
    else this.#part += `${line}
`;
    if (this.#part.length < PART_LENGTH) return;
    this.#blobs.push(new Blob([this.#part]));
    this.#part = "";
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
  async csv(rows = "keypoint") {
    const lines = await this.#all();
    if (rows !== "keypoint")
      return csvOf(
        lines.map((line) => JSON.parse(line)),
        rows
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
    return new Blob([rowOf(names), ...lines.map((line) => rowsOf2(JSON.parse(line), names))], {
      type: "text/csv"
    });
  }
  async #all() {
    const newest = this.#part;
    const texts = await Promise.all(this.#blobs.map((blob) => blob.text()));
    const stills = [...this.#stills].sort(([a], [b]) => a - b).map(([, line]) => line);
    return [...[...texts, newest].flatMap((part) => part.split("\n").slice(0, -1)), ...stills];
  }
};
function nameNow(ending) {
  const now = new Date(Date.now() - (/* @__PURE__ */ new Date()).getTimezoneOffset() * 6e4);
  return `sonjit-${now.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}${ending}`;
}
function plain2({ skeleton, segmentation, map, ...kept }, members) {
  for (const key of members) if (kept[key]) kept[key] = plain2(kept[key], []);
  return kept;
}
function optionalColumns(lines) {
  const names = /* @__PURE__ */ new Set();
  for (const line of lines.filter((text2) => OPTIONAL.some((key) => text2.includes(`"${key}":`))))
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
function rowsOf2(frame, names) {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const rows = instancesOf(frame).flatMap(({ kind, number, instance }) => {
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
  return linesOf(rows.length ? rows : [shared], names);
}
var linesOf = (records, names) => records.map((record2) => rowOf(names.map((name) => record2[name]))).join("");
function csvOf(frames, rows) {
  const isOfEvents = rows === "event";
  const eventsOf = ({ source, index, events = [] }) => events.filter(({ end: end2 }) => end2 !== null).map((event) => ({
    source,
    frame: index,
    ...event,
    duration_s: event.end - event.begin
  }));
  const records = frames.flatMap(
    (frame) => isOfEvents ? eventsOf(frame) : recordsOf(frame, rows === "wide")
  );
  const first = isOfEvents ? EVENT_COLUMNS : INSTANCE_COLUMNS;
  const names = [.../* @__PURE__ */ new Set([...first, ...records.flatMap(Object.keys)])].filter(
    (name) => name !== "source" || records.some(({ source }) => source !== void 0)
  );
  return new Blob([rowOf(names), linesOf(records, names)], { type: "text/csv" });
}
function recordsOf(frame, withKeypoints) {
  const shared = { source: frame.source, frame: frame.index, time: frame.time };
  const found = instancesOf(frame).map(({ kind, number, instance, person }) => {
    const {
      handedness,
      score,
      gesture,
      measures,
      box: { xMin, yMin, xMax, yMax }
    } = instance;
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
    const names = instance.keypoints.map((keypoint) => keypoint.name);
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
  const fields = results[kind].fields.filter(
    ({ key, columns: filled2 }) => filled2?.length && instance[key]?.[k]
  );
  return Object.assign(
    {},
    ...fields.map(({ key, columns: filled2 = [], scores = {} }) => {
      const point = instance[key][k];
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
  const table2 = new Table();
  let ending = "";
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
  }
  function add2(frame, seen) {
    if (!media) return;
    overlay2.compose(canvas);
    const [track] = media.stream.getVideoTracks();
    track.requestFrame();
    table2.add(frame, seen);
  }
  async function stop2() {
    const ended = media;
    if (!ended) return null;
    media = null;
    await new Promise((resolve) => {
      ended.onstop = resolve;
      ended.stop();
    });
    for (const track of ended.stream.getTracks()) track.stop();
    const frames = table2.count;
    if (!frames) return null;
    return [
      { ending, blob: new Blob(parts, { type: ended.mimeType }), frames },
      { ending: "jsonl", blob: await table2.jsonLines(), frames },
      { ending: "csv", blob: await table2.csv(), frames }
    ];
  }
  return { start: start2, add: add2, stop: stop2, isOn: () => media !== null };
}
function listRecording(list, files, name, title) {
  const links = files.map(
    ({ ending, blob }) => make(
      "a",
      { className: "button small", href: URL.createObjectURL(blob), download: `${name}.${ending}` },
      ending.toUpperCase()
    )
  );
  list.prepend(make("li", {}, make("span", {}, title), ...links));
  list.hidden = false;
}

// src/page/trainer.ts
var SAMPLES = 20;
var LASTS_MS = 3e3;
var PATIENCE_MS2 = 1e4;
var LEAST = 5;
var MAX_FRAMES = 600;
function createTrainer(use, hasStream) {
  let recordings = [];
  let taking = null;
  let tested = [];
  let trained = null;
  find("trainer-form").onsubmit = (event) => {
    event.preventDefault();
    if (taking?.isMotion) end2();
    else begin();
  };
  find("trainer-name").oninvalid = () => showStatus("trainer.name_hint");
  find("trainer-moving").onchange = write;
  find("trainer-try").onchange = useGestures;
  find("trainer-train").onclick = () => ask("train", ({ file, names }) => {
    save(new Blob([bytesOf(file)]), "gestures.npz");
    showStatus("trainer.trained", { names: names.join(", ") });
    trained = { file, names };
    useGestures();
    write();
  });
  find("trainer-test").onclick = () => ask("test", ({ tables }) => {
    tested = tables;
    write();
  });
  onLanguage(write);
  function tryFor(map) {
    const box = find("trainer-try");
    if (box.checked || !trained?.names.some((name) => map.includes(JSON.stringify(name)))) return;
    box.checked = true;
    useGestures();
  }
  function draw(frame) {
    if (find("trainer-words").textContent === text("trainer.start"))
      find("trainer-words").textContent = "";
    if (!taking) return;
    const { isMotion, frames } = taking;
    const hands = knownHands(frame).filter(({ id }) => !isMotion || Number.isInteger(id));
    const isBack = isMotion && frame.time <= (frames.at(-1)?.time ?? -Infinity);
    const now = performance.now();
    if (hands.length && !isBack && now >= taking.next) {
      frames.push({ time: frame.time, hands });
      if (!isMotion) [taking.next, taking.until] = [now + LASTS_MS / SAMPLES, now + PATIENCE_MS2];
    }
    const share2 = isMotion ? frames.length / MAX_FRAMES : handsOf(frames).length / SAMPLES;
    find("trainer-progress").value = share2;
    if (share2 >= 1 || isBack || now > taking.until) end2();
  }
  function clear() {
    if (taking) end2();
  }
  function useGestures() {
    if (trained) use(trained, find("trainer-try").checked);
  }
  function keep2(recording) {
    recordings.push(recording);
    tested = [];
    showStatus("trainer.taken", { name: recording.name, count: countOf(recording) });
    write();
  }
  function begin() {
    const name = find("trainer-name").value.trim();
    if (!name) return void 0;
    if (!hasStream()) return showStatus("trainer.start");
    const isMotion = find("trainer-moving").checked;
    const now = performance.now();
    taking = {
      name,
      isMotion,
      frames: [],
      until: isMotion ? Infinity : now + PATIENCE_MS2,
      next: now
    };
    write();
    return showStatus(isMotion ? "trainer.move" : "trainer.taking", { name });
  }
  function end2() {
    const { name, isMotion, frames } = taking;
    taking = null;
    find("trainer-progress").value = 0;
    write();
    const hands = handsOf(frames).slice(0, SAMPLES);
    if (isMotion)
      ask("train", ({ examples }) => keep2({ name, frames, count: examples[0] }), [
        { name, frames }
      ]);
    else if (hands.length < LEAST) showStatus("trainer.few");
    else keep2({ name, hands });
  }
  function ask(what, show, sent = recordings) {
    call(addressOf(`/v1/gestures/${what}`), null, {
      method: "POST",
      body: JSON.stringify({ recordings: sent })
    }).then(show).catch(showError);
  }
  function write() {
    const names = recordings.map(({ name }) => name);
    const isEach = names.length > 0 && names.every((name) => names.filter((other) => other === name).length > 1);
    const moving = find("trainer-moving");
    const [record2, isMotion] = [find("trainer-record"), taking?.isMotion ?? false];
    record2.textContent = text(
      isMotion ? "trainer.stop" : moving.checked ? "trainer.begin" : "trainer.record"
    );
    record2.disabled = taking !== null && !isMotion;
    moving.disabled = isMotion;
    find("trainer-try").disabled = trained === null;
    find("trainer-train").disabled = !names.length;
    find("trainer-test").disabled = !isEach;
    find("trainer-recordings").replaceChildren(
      ...recordings.map((recording) => {
        const { name } = recording;
        const remove = () => {
          recordings = recordings.filter((other) => other !== recording);
          tested = [];
          write();
        };
        const label = text(recording.frames ? "trainer.motions" : "trainer.recording", {
          name,
          count: countOf(recording)
        });
        return make(
          "li",
          {},
          label,
          " ",
          makeButton(text("trainer.remove"), remove, {
            ariaLabel: `${text("trainer.remove")}: ${name}`
          })
        );
      })
    );
    find("trainer-table").replaceChildren(
      ...tested.map(
        ({ names: tried, counts }) => make(
          "table",
          {},
          // the confusion matrix
          makeRow(text("trainer.is"), [...tried, text("gestures.nothing")], "th"),
          ...tried.map((name, k) => makeRow(name, counts[k]))
        )
      )
    );
  }
  return { tryFor, draw, clear };
}
function showStatus(key, values) {
  find("trainer-words").textContent = text(key, values);
}
var handsOf = (frames) => frames.flatMap(({ hands }) => hands);
var countOf = ({ hands, count }) => count ?? hands?.length ?? 0;
function knownHands(frame) {
  const hands = instancesOf(frame).filter(({ kind }) => kind === "hand");
  const known = hands.filter(
    ({ instance }) => [...instance.keypoints, ...instance.keypoints3D].every(({ z }) => Number.isFinite(z))
  );
  return known.map(({ instance, person }) => {
    const { keypoints, keypoints3D } = instance.published ?? instance;
    return {
      id: instance.id ?? person?.id,
      handedness: instance.handedness,
      keypoints: plain3(keypoints),
      keypoints3D: plain3(keypoints3D)
    };
  });
}
var plain3 = (points) => points.map(({ x, y, z }) => ({ x, y, z }));
var MOST_COMMANDS = 30;
var EXAMPLE = ", as in ";
function createMapEditor(dryRun) {
  let isRunning = false;
  let known = {
    gestures: [],
    motions: [],
    measures: []
  };
  let actions = {};
  let custom = [];
  const map = find("map-text");
  map.oninput = stop2;
  find("map-add").onclick = add2;
  find("map-download").onclick = async () => await check() && save(new Blob([map.value], { type: "application/toml" }), "map.toml");
  find("map-check").onclick = check;
  find("map-run").onchange = run;
  find("map-action").onchange = showHint;
  async function load() {
    const answer = await call(addressOf("/v1/control"));
    ({ actions, ...known } = answer);
    onLanguage(listNames);
  }
  function setCustom(names) {
    custom = names;
    listNames();
  }
  function listNames() {
    const { gestures, motions, measures } = known;
    const group = (label, names, nameOf2, key = "on") => make(
      "optgroup",
      { label },
      ...names.map((name) => new Option(nameOf2(name), `${key} = ${JSON.stringify(name)}`))
    );
    const gestureName = (name) => textOr(`gesture.${name}`, name);
    fill("map-on", [
      group(text("map.motions"), motions, gestureName),
      group(text("map.gestures"), [...custom, ...gestures], gestureName),
      group(text("map.measures"), measures, measureName, "measure")
    ]);
    const options = Object.entries(actions).map(([name, hint]) => {
      const option = new Option(textOr(`map.action.${name}`, name), name);
      option.dataset.hint = hint;
      return option;
    });
    fill("map-action", options);
    showHint();
  }
  function draw({ commands = [] }) {
    if (!isRunning) return;
    const list = find("map-commands");
    for (const command of commands) list.prepend(make("li", {}, JSON.stringify(command)));
    while (list.children.length > MOST_COMMANDS) list.lastElementChild.remove();
  }
  function add2() {
    const [on, action, target] = ["map-on", "map-action", "map-target"].map(find);
    const before = map.value.trimEnd();
    const rule = `${on.value}
${action.value} = ${JSON.stringify(target.value)}`;
    map.value = `${before}${before ? "\n\n" : ""}[[rule]]
${rule}
`;
    stop2();
    void check();
  }
  async function check() {
    const state = find("map-words");
    try {
      const address = addressOf("/v1/control");
      for (const name of custom) address.searchParams.append("gesture", name);
      const { rules } = await call(address, null, { method: "POST", body: map.value });
      state.textContent = text("map.right", { count: rules });
      state.dataset.state = "right";
    } catch (error) {
      if (error.code !== "bad_option") showError(error);
      state.textContent = text("map.wrong", { message: error.message });
      state.dataset.state = "wrong";
    }
    return state.dataset.state === "right";
  }
  async function run() {
    const box = find("map-run");
    if (!box.checked) return stop2();
    box.checked = await check();
    if (!box.checked) return void 0;
    isRunning = true;
    return dryRun(map.value);
  }
  function stop2() {
    find("map-run").checked = false;
    find("map-commands").replaceChildren();
    if (isRunning) dryRun(null);
    isRunning = false;
  }
  return { load, setCustom, draw, clear() {
  } };
}
function fill(id, options) {
  const select = find(id);
  const before = select.value;
  select.replaceChildren(...options);
  if (before) select.value = before;
}
function showHint() {
  const option = find("map-action").selectedOptions[0];
  const hint = option?.dataset.hint ?? "";
  find("map-target").placeholder = hint.split(EXAMPLE)[1] ?? "";
  find("map-target-hint").textContent = option && textOr(`map.target.${option.value}`, hint);
}

// src/page/app.ts
var RUNNING = ["connecting", "loading", "running", "error"];
var CONFIGURE_AFTER_MS = 120;
var NOTICE_MS = 4e3;
await Promise.all([startLanguage(new URL("i18n/", import.meta.url)), loadKinds().catch(showError)]);
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
  ({ file, names }, isTried) => {
    detectors.ask({ gestures_file: isTried ? file : null });
    mapEditor.setCustom(names);
  },
  () => store.state.phase === "running" && !store.state.paused && !chooser.isStill()
);
var mapEditor = createMapEditor((map) => {
  if (map !== null) trainer.tryFor(map);
  detectors.ask({ control: map });
});
var views = [
  overlay,
  view3D(find("view3d")),
  avatar,
  liveTable(find("live-table")),
  plot,
  inspector(find("json")),
  gesturesView(),
  trainer,
  mapEditor
];
var meter = latencyMeter();
var table = new Table();
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
      if ("retryIn" in detail) showError(new PageError("server_gone", detail));
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
var jobs = createJobs(find("jobs"), showJob);
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
  const [kind, model] = store.state.compare.split(":");
  const own = configuration();
  return model && own.some((detector) => detector.kind === kind) ? own.map((detector) => detector.kind === kind ? { ...detector, model } : detector) : null;
}
function showPane(id, wanted, frame) {
  const names = (wanted ?? []).map(
    ({ kind, model }) => `${textOr(`kind.${kind}`, kind)}: ${textOr(`model.${model}`, String(model))}`
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
  attempt += 1;
  store.set({ started: false });
  usePlayer(null);
  detectors.stop();
  for (const view of overlays) view.clearImage();
  clearClasses();
  meter.clear();
  store.set({ phase, detail: {} });
  await stopRecording();
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
async function stopRecording() {
  const files = await recorder.stop();
  store.set({ recording: false });
  if (files)
    listRecording(
      find("recordings"),
      files,
      nameNow(""),
      text("recording.made", { frames: files[0].frames })
    );
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
function showJob(job) {
  find("job-progress").hidden = !job;
  if (!job) return;
  find("job-bar").hidden = !isActive(job);
  showShare(find("job-bar"), shareOf(job));
  find("job-words").textContent = `${job.name}: ${stateText(job)}`;
  find("job-results").hidden = job.state !== "done";
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
  const key = phase === "loading" && detail.of ? "status.loading.of" : "retryIn" in detail ? "status.waiting" : phase === "running" ? runningKey(started && chooser.isStill()) : `status.${phase}`;
  const shown2 = Object.values(results).reduce(
    (sum, { list }) => sum + (latest?.[list]?.length ?? 0),
    0
  );
  status.dataset.state = phase;
  put(
    status,
    text(key, {
      ...detail,
      number: (detail.done ?? 0) + 1,
      shown: shown2,
      total: shown2 + (latest?.hidden ?? 0)
    })
  );
  status.style.setProperty("--share", String(detail.of ? detail.done / detail.of : 0));
  const isOn = started && RUNNING.includes(phase);
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
wireSettings(store);
for (const id of ["data-tabs", "space-tabs", "gesture-tabs"]) wireTabs(find(id));
wirePhone();
wireSaliencyLegend(store);
store.watch(["longest"], ({ longest }) => capture.longest = longest);
store.watch(["style"], ({ style }) => {
  overlays.forEach((view) => view.setStyle(style));
  find("thumbnails").classList.toggle("anonymous", hidingOf(style) !== "none");
  const anonymise = whomToHide(style);
  if (anonymise !== asked) detectors.ask({ anonymise });
  asked = anonymise;
});
store.watch(
  ["mirrors", "source"],
  (state) => overlays.forEach((view) => view.mirror(isMirrored(state)))
);
store.watch(
  ["source"],
  async ({ source }) => find("classes").hidden = hasNoServer && !classes.length || !source?.still || (await chooser.files()).length > 1
);
store.watch(["detectors", "source"], ({ detectors: wanted, source }) => {
  const lacksSome = Object.entries(wanted).some(
    ([kind, { on }]) => on && kinds[kind].list !== "hands"
  );
  find("sample-note").hidden = source?.kind !== "sample" || !lacksSome;
});
find("share").onclick = share;
globalThis.addEventListener("hashchange", () => location.reload());
find("start").onclick = start;
find("fullscreen").onclick = () => document.fullscreenElement ? document.exitFullscreen() : find("viewer").requestFullscreen();
find("stop").onclick = () => stop();
find("snapshot").onclick = snapshot;
find("record").onclick = () => record().catch(showError);
find("download-csv").onclick = async () => save(await table.csv(find("download-rows").value), nameNow(".csv"));
find("download-json").onclick = async () => save(await table.json(), nameNow(".json"));
find("job-start").onclick = async () => jobs.start(
  await chooser.files(),
  configuredDetectors({ ...store.state, here: false }, chooser.isStill()),
  store.state.style
).catch(showError);
onLanguage(showTable);
onLanguage(showPhase);
store.watch(
  ["phase", "detail", "started", "paused", "recording", "searching", "hidden"],
  showPhase
);
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
globalThis.addEventListener("pagehide", () => detectors.stop());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && hiddenSince)
    showError(
      new PageError("hidden", { seconds: Math.ceil((performance.now() - hiddenSince) / 1e3) })
    );
  const { phase, paused } = store.state;
  hiddenSince = document.hidden && phase === "running" && !paused && !chooser.isStill() ? performance.now() : 0;
});
var filled = hasNoServer ? [] : [jobs.load().catch(showError), mapEditor.load().catch(showError)];
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
