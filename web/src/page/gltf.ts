/**
 * Models of binary glTF and VRM, and the morph targets that blendshapes move. Matrices are column
 * by column, as in WebGL.
 */

import { PageError } from "./common.js";

/**
 * Return the rotation of a quaternion.
 *
 * @param quaternion of length 1, the real part last
 */
function rotationOf([x, y, z, w]: number[]) {
  const length = Math.hypot(x!, y!, z!);
  const degrees = (2 * Math.atan2(length, w!) * 180) / Math.PI;
  return length ? new DOMMatrix().rotateAxisAngle(x, y, z, degrees) : new DOMMatrix();
}

/** offsets of a morph target */
type Target = { positions: Float32Array; normals: Float32Array | null };
/**
 * vertices, three numbers each (`uv` two, `joints` and `weights` four), and the triangles of each
 * material among them
 */
export type Geometry = {
  positions: Float32Array;
  normals: Float32Array;
  uv: Float32Array | null;
  joints: Float32Array | null;
  weights: Float32Array | null;
  targets: Target[];
  parts: { indices: Uint32Array; material: Material }[];
};
/** `colour`: linear RGBA; `wrap`: wrapping modes of the image, as WebGL's constants */
export type Material = {
  colour: number[];
  image: ImageBitmap | null;
  wrap: number[];
  isUnlit: boolean;
  isTwoSided: boolean;
  alpha: "OPAQUE" | "MASK" | "BLEND";
  cutoff: number;
};
/** `parent`, `mesh`, `skin`: -1 for none; `weights`: weights of its mesh's morph targets at rest */
type Node = {
  name: string;
  local: DOMMatrix;
  parent: number;
  mesh: number;
  skin: number;
  weights: number[];
};
/** `inverses`: one for each joint */
type Skin = { joints: number[]; inverses: DOMMatrix[] };
/** `order`: the nodes of the scene, parents first; `targets`: names of the morph targets */
export type Model = {
  nodes: Node[];
  order: number[];
  meshes: { geometries: Geometry[]; targets: string[] }[];
  skins: Skin[];
  extensions: Record<string, any>;
};

const MAGIC = 0x46546c67;
const [JSON_CHUNK, BINARY_CHUNK] = [0x4e4f534a, 0x004e4942];
const UNDERSTOOD = [
  "KHR_materials_unlit",
  "KHR_mesh_quantization",
  "EXT_texture_webp",
  "VRM",
  "VRMC_vrm",
];
const TRIANGLES = 4;
const REPEAT = 10497;
const WIDTHS: Record<string, number> = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
/**
 * Number of bytes, method of DataView, and value of 1.0 in normalised numbers, by component type.
 */
const COMPONENTS: Record<
  number,
  [number, "getInt8" | "getUint8" | "getInt16" | "getUint16" | "getUint32" | "getFloat32", number]
> = {
  5120: [1, "getInt8", 127],
  5121: [1, "getUint8", 255],
  5122: [2, "getInt16", 32767],
  5123: [2, "getUint16", 65535],
  5125: [4, "getUint32", 1],
  5126: [4, "getFloat32", 1],
};

/**
 * Read a model.
 *
 * @throws {PageError} the file is not binary glTF 2.0, is damaged, or requires an unknown extension
 */
export async function readModel(file: File): Promise<Model> {
  const { name } = file;
  try {
    const { json, binary } = chunksOf(await file.arrayBuffer());
    const missing = (json.extensionsRequired ?? []).filter(
      (extension: string) => !UNDERSTOOD.includes(extension),
    );
    if (missing.length)
      throw new PageError("model_extension", { name, extensions: missing.join(", ") });
    return await modelFrom(json, buffersOf(json, binary));
  } catch (error) {
    throw error instanceof PageError
      ? error
      : new PageError("model_damaged", {
          name,
          reason: error instanceof Error ? error.message : String(error),
        });
  }
}

function chunksOf(data: ArrayBuffer): { json: any; binary: DataView } {
  const view = new DataView(data);
  if (view.byteLength < 20 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2)
    throw new Error("not binary glTF 2.0");
  const chunks: Map<number, DataView> = new Map();
  for (let at = 12; at + 8 <= view.byteLength;) {
    const [length, kind] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    chunks.set(kind, new DataView(data, at + 8, length));
    at += 8 + length + (-length & 3);
  }
  const text = chunks.get(JSON_CHUNK);
  if (!text) throw new Error("no JSON chunk");
  return {
    json: JSON.parse(new TextDecoder().decode(text)),
    binary: chunks.get(BINARY_CHUNK) ?? new DataView(new ArrayBuffer(0)),
  };
}

/** Return functions that read buffer views and the numbers of accessors. */
function buffersOf(json: any, binary: DataView) {
  const known: Map<number, Float32Array> = new Map();

  /** Return the bytes of a buffer view. */
  function view(index: number): DataView {
    const { buffer, byteOffset = 0, byteLength } = json.bufferViews[index];
    if (buffer !== 0 || json.buffers[0].uri !== undefined)
      throw new Error("its data is in other files. Export it as one .glb file.");
    return new DataView(binary.buffer, binary.byteOffset + byteOffset, byteLength);
  }

  /** Return all numbers of an accessor in a new array. */
  function floats(index: number): Float32Array {
    const read = known.get(index);
    if (read) return read;
    const {
      bufferView,
      byteOffset = 0,
      componentType,
      count,
      type,
      normalized = false,
      sparse,
    } = json.accessors[index];
    const width = WIDTHS[type]!;
    const values = new Float32Array(count * width);
    if (bufferView !== undefined)
      fill(values, { bufferView, byteOffset, componentType, normalized, width });
    if (sparse) {
      const at = new Float32Array(sparse.count);
      fill(at, { ...sparse.indices, width: 1 });
      const some = new Float32Array(sparse.count * width);
      fill(some, { ...sparse.values, componentType, normalized, width });
      at.forEach((place, k) =>
        values.set(some.subarray(k * width!, (k + 1) * width!), place * width!),
      );
    }
    known.set(index, values);
    return values;
  }

  function fill(
    values: Float32Array,
    {
      bufferView,
      byteOffset = 0,
      componentType,
      normalized = false,
      width,
    }: {
      bufferView: number;
      byteOffset?: number;
      componentType: number;
      normalized?: boolean;
      width: number;
    },
  ) {
    const bufferBytes = view(bufferView);
    const [bytes, get, unit] = COMPONENTS[componentType]!;
    const stride = json.bufferViews[bufferView].byteStride ?? bytes * width;
    for (let k = 0; k < values.length; k += 1) {
      const value = bufferBytes[get](
        byteOffset + Math.floor(k / width) * stride + (k % width) * bytes,
        true,
      );
      values[k] = normalized ? Math.max(value / unit, -1) : value;
    }
  }

  return { view, floats };
}

type Buffers = ReturnType<typeof buffersOf>;

async function modelFrom(json: any, buffers: Buffers): Promise<Model> {
  const images = await Promise.all(
    (json.images ?? []).map(({ bufferView, mimeType: type }: any) =>
      createImageBitmap(new Blob([buffers.view(bufferView) as any], { type }), {
        premultiplyAlpha: "none",
        colorSpaceConversion: "none",
      }),
    ),
  );
  const materials = (json.materials ?? []).map((material: any) =>
    materialFrom(material, json, images),
  );
  const nodes = nodesFrom(json);
  return {
    nodes,
    order: orderOf(json, nodes),
    meshes: (json.meshes ?? []).map((mesh: any) => meshFrom(mesh, materials, buffers)),
    skins: (json.skins ?? []).map(({ joints, inverseBindMatrices: at }: any) => {
      const values = at === undefined ? null : buffers.floats(at);
      return {
        joints,
        inverses: joints.map(
          (_: number, k: number) =>
            new DOMMatrix(values ? [...values.subarray(16 * k, 16 * k + 16)] : undefined),
        ),
      };
    }),
    extensions: json.extensions ?? {},
  };
}

function materialFrom(
  {
    pbrMetallicRoughness: surface = {},
    alphaMode = "OPAQUE",
    alphaCutoff = 0.5,
    doubleSided = false,
    extensions = {},
  }: any,
  json: any,
  images: ImageBitmap[],
): Material {
  const texture = json.textures?.[surface.baseColorTexture?.index];
  const { wrapS = REPEAT, wrapT = REPEAT } = json.samplers?.[texture?.sampler] ?? {};
  return {
    colour: surface.baseColorFactor ?? [1, 1, 1, 1],
    image: images[texture?.extensions?.EXT_texture_webp?.source ?? texture?.source] ?? null,
    wrap: [wrapS, wrapT],
    isUnlit: "KHR_materials_unlit" in extensions,
    isTwoSided: doubleSided,
    alpha: alphaMode,
    cutoff: alphaCutoff,
  };
}

function nodesFrom(json: any): Node[] {
  const nodes = json.nodes.map(
    ({
      name = "",
      matrix,
      translation: t = [0, 0, 0],
      rotation: r = [0, 0, 0, 1],
      scale: s = [1, 1, 1],
      mesh = -1,
      skin = -1,
      weights,
    }: any) => ({
      name,
      local: matrix
        ? new DOMMatrix(matrix)
        : new DOMMatrix()
            .translate(...t)
            .multiply(rotationOf(r))
            .scale(...s),
      parent: -1,
      mesh,
      skin,
      weights: weights ?? json.meshes?.[mesh]?.weights ?? [],
    }),
  );
  json.nodes.forEach(({ children = [] }: any, parent: number) => {
    for (const child of children) nodes[child].parent = parent;
  });
  return nodes;
}

function orderOf(json: any, nodes: Node[]): number[] {
  const roots =
    json.scenes?.[json.scene ?? 0]?.nodes ?? [...nodes.keys()].filter((k) => nodes[k]!.parent < 0);
  const order = [...roots];
  for (let k = 0; k < order.length; k += 1) {
    // the loop appends to it
    if (order.length > nodes.length) throw new Error("its nodes form a circle");
    order.push(...(json.nodes[order[k]].children ?? []));
  }
  return order;
}

function meshFrom({ primitives, extras }: any, materials: Material[], buffers: Buffers) {
  const standard = materialFrom({}, {}, []);
  /** by shared accessors, because many files split one set of vertices among materials */
  const geometries: Map<string, Geometry> = new Map();
  for (const { attributes, targets = [], indices, material, mode = TRIANGLES } of primitives) {
    if (mode !== TRIANGLES) continue;
    const key = JSON.stringify([attributes, targets]);
    const known = geometries.get(key);
    const own =
      indices === undefined
        ? Uint32Array.from({ length: buffers.floats(attributes.POSITION).length / 3 }, (_, k) => k)
        : Uint32Array.from(buffers.floats(indices)); // exact below 2^24 vertices
    const geometry = known ?? geometryFrom(attributes, targets, own, buffers);
    if (own.some((vertex) => vertex * 3 >= geometry.positions.length))
      throw new Error("a triangle names a vertex that is not there");
    geometry.parts.push({ indices: own, material: materials[material] ?? standard });
    geometries.set(key, geometry);
  }
  return {
    geometries: [...geometries.values()],
    targets: extras?.targetNames ?? primitives[0]?.extras?.targetNames ?? [],
  };
}

function geometryFrom(
  attributes: Record<string, number>,
  targets: Record<string, number>[],
  indices: Uint32Array,
  buffers: Buffers,
): Geometry {
  const read = (at: number | undefined) => (at === undefined ? null : buffers.floats(at));
  const positions = buffers.floats(attributes.POSITION!);
  return {
    positions,
    normals: read(attributes.NORMAL) ?? normalsOf(positions, indices),
    uv: read(attributes.TEXCOORD_0),
    joints: read(attributes.JOINTS_0),
    weights: read(attributes.WEIGHTS_0),
    targets: targets.map(({ POSITION, NORMAL }) => ({
      positions: read(POSITION) ?? new Float32Array(positions.length),
      normals: read(NORMAL),
    })),
    parts: [],
  };
}

/**
 * Return the normal of each vertex from its triangles.
 *
 * @returns normals that are not normalised
 */
function normalsOf(positions: Float32Array, indices: Uint32Array): Float32Array {
  const normals = new Float32Array(positions.length);
  for (let k = 0; k + 2 < indices.length; k += 3) {
    const [a, b, c] = [indices[k]! * 3, indices[k + 1]! * 3, indices[k + 2]! * 3];
    const [u, v] = [b, c].map((corner) =>
      [0, 1, 2].map((axis) => positions[corner + axis]! - positions[a + axis]!),
    );
    const normal = [
      u![1]! * v![2]! - u![2]! * v![1]!,
      u![2]! * v![0]! - u![0]! * v![2]!,
      u![0]! * v![1]! - u![1]! * v![0]!,
    ];
    for (const corner of [a, b, c])
      for (let axis = 0; axis < 3; axis += 1) normals[corner + axis]! += normal[axis]!;
  }
  return normals;
}

/** morph targets that move by a weighted sum of blendshapes */
export type Driver = {
  terms: [string, number][];
  binds: { node: number; target: number; weight: number }[];
  isBinary: boolean;
};

const SIDED = [
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
  "noseSneer",
];
const SINGLE = [
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
  "mouthShrugUpper",
];
/** ARKit's names, as the detectors use them, without `_neutral`, which is not an expression. */
export const BLENDSHAPES = [...SINGLE, ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`])];

/** VRM 1.0's presets as sums of blendshapes; emotions use their visible blendshapes. */
const PRESETS: Map<string, [string, number][]> = new Map(
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
      ["eyeLookInRight", 0.5],
    ],
    lookRight: [
      ["eyeLookInLeft", 0.5],
      ["eyeLookOutRight", 0.5],
    ],
  }),
);
/** Names of these presets in VRM 0. */
const VRM0_NAMES = new Map(
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
    lookright: "lookRight",
  }),
);
const BY_PLAIN_NAME: Map<string, [string, number][]> = new Map(
  BLENDSHAPES.map((name) => [plain(name), [[name, 1]]]),
);

/** Return the mean of both sides. */
function both(name: string): [string, number][] {
  return [
    [`${name}Left`, 0.5],
    [`${name}Right`, 0.5],
  ];
}

/** Normalise names of different tools: `eyeBlinkLeft`, `EyeBlink_L`, `blendShape1.eyeBlink_L`. */
function plain(name: string) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  return last
    .replace(/_l$/i, "left")
    .replace(/_r$/i, "right")
    .replace(/[^a-z]/gi, "")
    .toLowerCase();
}

/**
 * Return the drivers of a model. Presets apply only without ARKit's names; both would move the same
 * parts twice.
 */
export function driversOf(model: Model): Driver[] {
  const own = model.nodes.flatMap(({ mesh }, node) =>
    (model.meshes[mesh]?.targets ?? []).map((name, target) => ({
      name,
      binds: [{ node, target, weight: 1 }],
      isBinary: false,
    })),
  );
  const expressions = [...vrm1Expressions(model), ...vrm0Expressions(model)];
  const driversFrom = (all: typeof own, termsOf: (name: string) => Driver["terms"] | undefined) =>
    all.flatMap(({ name, ...what }) =>
      termsOf(name) ? [{ terms: termsOf(name) as Driver["terms"], ...what }] : [],
    );
  const named = driversFrom([...own, ...expressions], (name) => BY_PLAIN_NAME.get(plain(name)));
  return named.length ? named : driversFrom(expressions, (name) => PRESETS.get(name));
}

/** Return the expressions of VRM 1.0. */
function vrm1Expressions({ extensions }: Model) {
  const { preset = {}, custom = {} } = extensions.VRMC_vrm?.expressions ?? {};
  return Object.entries<any>({ ...custom, ...preset }).map(
    ([name, { morphTargetBinds = [], isBinary = false }]) => ({
      name,
      isBinary,
      binds: morphTargetBinds.map(({ node, index, weight = 1 }: any) => ({
        node,
        target: index,
        weight,
      })),
    }),
  );
}

/** Return the expressions of VRM 0, which refers to meshes instead of nodes and uses percent. */
function vrm0Expressions({ extensions, nodes }: Model) {
  const groups = extensions.VRM?.blendShapeMaster?.blendShapeGroups ?? [];
  return groups.map(({ name = "", presetName = "unknown", binds = [], isBinary = false }: any) => ({
    name: VRM0_NAMES.get(presetName) ?? name,
    isBinary,
    binds: binds.flatMap(({ mesh, index, weight }: any) =>
      nodes.flatMap((node, k) =>
        node.mesh === mesh ? [{ node: k, target: index, weight: weight / 100 }] : [],
      ),
    ),
  }));
}

/**
 * Return the weights of each node's morph targets: 0..1 if a blendshape moves them, otherwise the
 * weights at rest.
 *
 * @returns by node
 */
export function targetWeights(
  model: Model,
  drivers: Driver[],
  blendshapes: Record<string, number>,
): Map<number, Float32Array> {
  const weights = new Map(
    model.nodes.flatMap(({ mesh, weights: rest }, node) => {
      const geometries = model.meshes[mesh]?.geometries ?? [];
      const all = new Float32Array(Math.max(0, ...geometries.map(({ targets }) => targets.length)));
      all.set(rest.slice(0, all.length));
      return all.length ? [[node, all]] : [];
    }),
  );
  for (const { binds } of drivers)
    for (const { node, target } of binds) weights.get(node)?.fill(0, target, target + 1);
  for (const { terms, binds, isBinary } of drivers) {
    const sum = terms.reduce(
      (total, [name, factor]) => total + factor * (blendshapes[name] ?? 0),
      0,
    );
    const value = isBinary ? Math.round(sum) : sum;
    for (const { node, target, weight } of binds) {
      const all = weights.get(node);
      if (all && target < all.length)
        all[target] = Math.min(Math.max(all[target]! + value * weight, 0), 1);
    }
  }
  return weights;
}
