/**
 * The user's avatar, a .glb or .vrm file, with the expressions and the head pose of the first face.
 */

import { find, fit, onLanguage, onNextFrame, PageError, showError, text } from "./common.js";
import {
  driversOf,
  readModel,
  targetWeights,
  type Driver,
  type Geometry,
  type Material,
  type Model,
} from "./gltf.js";
import { instancesOf, kindsWhere } from "./kinds.js";
import { isMirrored } from "./settings.js";
import type { AppStore } from "./state.js";
import { extent, type Vector } from "./view3d.js";

/**
 * `head`: node of the head, -1 if the model has a single part; `arms`: angle about z that lowers
 * the arms, by node; `turned`: matrix that makes the avatar look along +z; `centre`, `size`: of its
 * head at rest
 */
type Avatar = {
  model: Model;
  name: string;
  drivers: Driver[];
  head: number;
  arms: Map<number, number>;
  turned: DOMMatrix;
  centre: number[];
  size: number;
};

const FOV_Y = (63 * Math.PI) / 180; // field of view of the camera of face transforms
const HEAD_CM = 24; // high, with hair
const AWAY_CM = 48; // distance beyond which a head is not shown smaller
const [NEAREST, HORIZON] = [1, 1000];
const HANGING_DEG = 68.75; // from a horizontal arm
const HEAD = /^(mixamorig:?)?head$/i;
const ENDINGS = /\.(glb|vrm)$/i;

/** Check whether a file may be an avatar. */
export const isModel = ({ name }: File) => ENDINGS.test(name);

/** Return the view of the avatar. */
export function avatarView(store: AppStore) {
  const canvas = find<HTMLCanvasElement>("avatar");
  let drawModel: ReturnType<typeof painterOf> | null = null;
  let avatar: Avatar | null = null;
  let blendshapes: Record<string, number> = {};
  let pose = ahead();
  let aspect = 0; // width over height of the image; 0 without an image
  const ask = onNextFrame(render);
  const input = find("avatar-file");
  input.onchange = () => {
    open(input.files![0]!).catch(showError);
    input.value = ""; // so that the same file can be selected again
  };
  store.watch(["mirrors", "source"], ask);
  onLanguage(showStatus);
  new ResizeObserver(ask).observe(canvas);
  canvas.addEventListener("webglcontextlost", (event: Event) => {
    event.preventDefault(); // otherwise the browser never restores it
    drawModel = null;
  });
  canvas.addEventListener("webglcontextrestored", upload);

  /** Show a file, and detect faces with the options that move the avatar. */
  async function open(file: File) {
    const { detectors, here } = store.state;
    const canMove = (where: boolean) => "blendshapes" in (kindsWhere(where).face?.options ?? {});
    if (!canMove(here) && !canMove(false)) throw new PageError("avatar_server");
    if (!canvas.getContext("webgl2")) throw new PageError("no_webgl");
    avatar = avatarOf(await readModel(file), file.name);
    upload();
    showStatus();
    find("tab-avatar").click();
    store.set({
      here: here && canMove(here),
      detectors: { ...detectors, face: { ...detectors["face"]!, on: true } },
      options: { ...store.state.options, blendshapes: true, transform: true },
    });
  }

  function draw(frame: Record<string, any>) {
    const face = instancesOf(frame).find(
      ({ kind, instance }) => kind === "face" && (instance.blendshapes || instance.transform),
    )?.instance;
    if (!face) return; // without a face it keeps its last expression
    blendshapes = face.blendshapes ?? {};
    pose = face.transform
      ? new DOMMatrix([0, 1, 2, 3].flatMap((column) => face.transform!.map((row) => row[column]!)))
      : ahead();
    aspect = frame.width / frame.height;
    ask();
  }

  function clear() {
    blendshapes = {};
    pose = ahead();
    ask();
  }

  /** Upload the model to the graphics card, again after a lost context is restored. */
  function upload() {
    const gl = canvas.getContext("webgl2")!;
    if (!avatar || gl.isContextLost()) return;
    drawModel = painterOf(gl, avatar.model);
    ask();
  }

  function showStatus() {
    if (!avatar) return;
    const { name, drivers, head } = avatar;
    const count = new Set(drivers.flatMap(({ terms }) => terms.map(([blendshape]) => blendshape)))
      .size;
    find("avatar-state").textContent = text(head < 0 ? "avatar.whole" : "avatar.head", {
      name,
      count,
    });
  }

  function render() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) =>
      Math.round(side * devicePixelRatio),
    );
    if (!avatar || !drawModel || !width || !height) return;
    fit(canvas, width, height);
    const mirrored = isMirrored(store.state);
    const shrink = Math.min(1, width / height / (aspect || 1)); // the view shows the complete image
    // half of the visible height per centimetre of distance
    const half = Math.tan(FOV_Y / 2) / shrink;
    const halves = [(half * width) / height, half];
    const depth = NEAREST - HORIZON;
    const camera = new DOMMatrix([
      (mirrored ? -1 : 1) / halves[0]!,
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
      (2 * HORIZON * NEAREST) / depth,
      0,
    ]);
    drawModel(
      camera,
      posed(avatar, pose, halves),
      targetWeights(avatar.model, avatar.drivers, blendshapes),
      mirrored,
    );
  }

  return { open, draw, clear };
}

/** Return the pose of a face in the middle of the image that looks at the camera. */
const ahead = () => new DOMMatrix().translate(0, 0, -AWAY_CM);

/** Return the parts of a model that the avatar moves. */
function avatarOf(model: Model, name: string): Avatar {
  const { nodes, extensions } = model;
  const joints = model.skins.flatMap((skin) => skin.joints);
  const named = boneOf(model, "head");
  const head = named >= 0 ? named : (joints.find((joint) => HEAD.test(nodes[joint]!.name)) ?? -1);
  // models of VRM 0 look along -z
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
      joint.m43,
    ];
  const arms = new Map([
    [boneOf(model, "leftUpperArm"), -HANGING_DEG],
    [boneOf(model, "rightUpperArm"), HANGING_DEG],
  ]);
  return {
    model,
    name,
    drivers: driversOf(model),
    head,
    arms,
    turned,
    centre: low.map((value, axis) => (value + high[axis]!) / 2),
    size: Math.max(high[1] - low[1], 1e-6),
  };
}

/** Return the node of a VRM bone; -1 if there is none. */
function boneOf({ extensions }: Model, name: string): number {
  const former = extensions.VRM?.humanoid?.humanBones?.find(({ bone }: any) => bone === name);
  return extensions.VRMC_vrm?.humanoid?.humanBones?.[name]?.node ?? former?.node ?? -1;
}

/**
 * Return the transforms from each node to the scene.
 *
 * @param turns rotation of a node about its own origin, in the axes of the scene
 */
function worldsOf(
  { nodes, order }: Model,
  root: DOMMatrix,
  turns: Map<number, DOMMatrix> = new Map(),
): Map<number, DOMMatrix> {
  const worlds = new Map();
  for (const node of order) {
    const world = (worlds.get(nodes[node]!.parent) ?? root).multiply(nodes[node]!.local);
    const turn = turns.get(node);
    const { m41: x, m42: y, m43: z } = world;
    worlds.set(
      node,
      turn
        ? new DOMMatrix().translate(x, y, z).multiply(turn).translate(-x, -y, -z).multiply(world)
        : world,
    );
  }
  return worlds;
}

function verticesOf(
  { nodes, meshes, skins, order }: Model,
  worlds: Map<number, DOMMatrix>,
): Vector[] {
  return order.flatMap((node) => {
    const { joints, inverses } = skins[nodes[node]!.skin] ?? {};
    const own = worlds.get(joints?.[0] ?? node) ?? new DOMMatrix();
    const world = joints ? own.multiply(inverses![0]) : own;
    return (meshes[nodes[node]!.mesh]?.geometries ?? []).flatMap(({ positions }) =>
      Array.from({ length: positions.length / 3 }, (_, k) => {
        const { x, y, z } = world.transformPoint({
          x: positions[3 * k]!,
          y: positions[3 * k + 1]!,
          z: positions[3 * k + 2]!,
        });
        return [x, y, z] as Vector;
      }),
    );
  });
}

/**
 * Return the transforms from each node to camera space in centimetres. The head has the pose of the
 * face.
 *
 * @param pose pose of the face
 * @param half half of the visible width and height per centimetre of distance
 */
function posed(
  { model, head, arms, turned, centre: [cx, cy, cz], size }: Avatar,
  pose: DOMMatrix,
  half: number[],
) {
  const columns = [
    [pose.m11, pose.m12, pose.m13],
    [pose.m21, pose.m22, pose.m23],
    [pose.m31, pose.m32, pose.m33],
  ];
  const unscaled = columns.flatMap((column) => [
    ...column.map((value) => value / (Math.hypot(...column) || 1)),
    0,
  ]);
  const turn = new DOMMatrix([...unscaled, 0, 0, 0, 1]);
  const away = Math.min(-pose.m43, AWAY_CM);
  const [x, y] = [pose.m41, pose.m42].map((shift, axis) => {
    // an enlarged head may leave the view
    const reach = Math.max(half[axis]! * away - HEAD_CM * 0.65, 0);
    return Math.min(Math.max((shift * away) / -pose.m43, -reach), reach);
  });
  const scale = HEAD_CM / size;
  const place = new DOMMatrix().translate(x, y, -away).multiply(head < 0 ? turn : new DOMMatrix());
  const root = place.scale(scale, scale, scale).translate(-cx!, -cy!, -cz!).multiply(turned);
  const turns = new Map(
    [...arms].map(([node, angle]) => [node, new DOMMatrix().rotateAxisAngle(0, 0, 1, angle)]),
  );
  if (head >= 0) turns.set(head, turn);
  return worldsOf(model, root, turns);
}

/** one set of vertices at one node */
type Drawn = {
  node: number;
  geometry: Geometry;
  array: WebGLVertexArrayObject;
  positions: WebGLBuffer;
  normals: WebGLBuffer;
  moved: Float32Array;
  turned: Float32Array;
  shown: string;
  parts: {
    triangles: WebGLBuffer;
    count: number;
    material: Material;
    texture: WebGLTexture | null;
  }[];
};

const VERTEX = `#version 300 es
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
const FRAGMENT = `#version 300 es
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
const ATTRIBUTES = [
  ["uv", 2, 2],
  ["joints", 3, 4],
  ["weights", 4, 4],
] as const;
const UNIFORMS = [
  "projection",
  "image",
  "bones",
  "skinned",
  "node",
  "colour",
  "unlit",
  "opaque",
  "cutoff",
];
const SCREEN_GAMMA = 2.2;

/**
 * Return a function that draws a model. The browser frees its graphics memory when nothing refers
 * to the function.
 */
function painterOf(gl: WebGL2RenderingContext, model: Model) {
  const program = programOf(gl);
  const textures: Map<ImageBitmap, WebGLTexture> = new Map();
  const places: Record<string, WebGLUniformLocation | null> = Object.fromEntries(
    UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]),
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
    new Uint8Array([255, 255, 255, 255]),
  );
  const matrices = texture(gl); // of bones
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
    gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
  gl.enable(gl.DEPTH_TEST);
  gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const all = model.order.flatMap((node) =>
    (model.meshes[model.nodes[node]!.mesh]?.geometries ?? []).map((geometry) =>
      upload(node, geometry),
    ),
  );

  function upload(node: number, geometry: Geometry): Drawn {
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
        texture: material.image && textureOf(material.image, material.wrap),
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
      parts,
    };
  }

  function textureOf(image: ImageBitmap, [wrapS, wrapT]: number[]) {
    const known = textures.get(image);
    if (known) return known;
    const created = texture(gl);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, wrapS!);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, wrapT!);
    textures.set(image, created);
    return created;
  }

  /** Add the morph targets to the vertices if their weights have changed. */
  function morph(drawn: Drawn, weights: Float32Array = new Float32Array(0)) {
    const {
      geometry: { positions, normals, targets },
      moved: vertices,
      turned,
    } = drawn;
    const shown = weights.join();
    if (drawn.shown === shown) return;
    drawn.shown = shown;
    vertices.set(positions);
    turned.set(normals);
    targets.forEach((target, k) => {
      if (!weights[k]) return;
      add(vertices, target.positions, weights[k]);
      if (target.normals) add(turned, target.normals, weights[k]);
    });
    for (const [buffer, values] of [
      [drawn.positions, vertices],
      [drawn.normals, turned],
    ] as const) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    }
  }

  function place(node: number, worlds: Map<number, DOMMatrix>) {
    const { nodes, skins } = model;
    const skin = skins[nodes[node]!.skin];
    gl.uniform1i(places.skinned!, Number(Boolean(skin)));
    gl.uniformMatrix4fv(
      places.node!,
      false,
      (worlds.get(node) ?? new DOMMatrix()).toFloat32Array(),
    );
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, matrices);
    const rows = skin?.joints.length ?? 1;
    const bones = new Float32Array(rows * 16);
    skin?.joints.forEach((joint, k) =>
      bones.set(
        (worlds.get(joint) ?? new DOMMatrix()).multiply(skin.inverses[k]).toFloat32Array(),
        k * 16,
      ),
    );
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4, rows, 0, gl.RGBA, gl.FLOAT, bones);
    gl.activeTexture(gl.TEXTURE0);
  }

  function drawPart({ triangles, count, material, texture: image }: Drawn["parts"][0]) {
    const [r, g, b, a] = material.colour;
    gl.uniform4fv(
      places.colour!,
      [r!, g!, b!].map((value) => value ** (1 / SCREEN_GAMMA)).concat(a!),
    );
    gl.uniform1i(places.unlit!, Number(material.isUnlit));
    gl.uniform1i(places.opaque!, Number(material.alpha !== "BLEND"));
    gl.uniform1f(places.cutoff!, material.alpha === "MASK" ? material.cutoff : 0);
    material.isTwoSided ? gl.disable(gl.CULL_FACE) : gl.enable(gl.CULL_FACE);
    gl.bindTexture(gl.TEXTURE_2D, image ?? white);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
  }

  /**
   * @param camera projection of the space that `worlds` maps to
   * @param worlds transform of each node
   * @param weights weights of the morph targets by node
   * @param mirrored whether the projection mirrors the image
   */
  return function draw(
    camera: DOMMatrix,
    worlds: Map<number, DOMMatrix>,
    weights: Map<number, Float32Array>,
    mirrored: boolean,
  ) {
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    gl.uniformMatrix4fv(places.projection!, false, camera.toFloat32Array());
    gl.uniform1i(places.image!, 0);
    gl.uniform1i(places.bones!, 1);
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

function add(values: Float32Array, more: Float32Array, weight: number) {
  for (let k = 0; k < values.length; k += 1) values[k]! += weight * more[k]!;
}

function attribute(gl: WebGL2RenderingContext, at: number, width: number, values: Float32Array) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(at);
  gl.vertexAttribPointer(at, width, gl.FLOAT, false, 0, 0);
  return buffer;
}

/** Create a texture and bind it. */
function texture(gl: WebGL2RenderingContext) {
  const created = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, created);
  return created;
}

function programOf(gl: WebGL2RenderingContext) {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind) as WebGLShader;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(gl.getProgramInfoLog(program) ?? "no program");
  return program;
}
