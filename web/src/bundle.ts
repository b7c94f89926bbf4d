/**
 * Task bundles: MediaPipe's `.task` files, zip files of networks and their data.
 *
 * Source: the encoding page of Protocol Buffers' documentation.
 */

import { constants } from "./data.js";
import { membersOf, unpacked, type Member } from "./files.js";
import type { CanonicalFace } from "./metric-faces.js";
import type { Network, NetworkShape } from "./network.js";

const OF = constants.face_bundle;
const GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb";
const [VARINT, FIXED64, LENGTH, FIXED32] = [0, 1, 2, 5];

/** Compiles the network of a file. */
export type Compile = (file: Uint8Array, what: string, shape: NetworkShape) => Promise<Network>;

/** Members of a bundle. */
export class Bundle {
  readonly #members: ReadonlyMap<string, Member>;

  /** @throws {Error} the file is not a zip file */
  constructor(
    private readonly url: string,
    file: Uint8Array<ArrayBuffer>,
    private readonly compile: Compile,
  ) {
    try {
      this.#members = membersOf(file);
    } catch (error) {
      throw new Error(
        `${url} is not a task bundle: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  /** Compile a network of the bundle. */
  async open(name: string, shape: NetworkShape): Promise<Network> {
    return this.compile(await this.#read(name), `${name} of ${this.url}`, shape);
  }

  /** Return the canonical face, from which transforms start. */
  async canonicalFace(): Promise<CanonicalFace> {
    const data = await this.#read(GEOMETRY);
    try {
      return canonicalFaceFrom(data);
    } catch {
      throw new Error(`${this.url}: ${GEOMETRY} is damaged. Download the bundle again.`);
    }
  }

  async #read(name: string): Promise<Uint8Array> {
    const member = this.#members.get(name);
    if (!member)
      throw new Error(
        `${this.url} contains no ${name}, only ${[...this.#members.keys()].join(", ")}`,
      );
    return unpacked(member);
  }
}

function canonicalFaceFrom(data: Uint8Array): CanonicalFace {
  const values: number[] = [];
  const weights = new Float64Array(OF.MESH);
  for (const [number, content] of fieldsOf(data)) {
    if (number === OF.CANONICAL_MESH) {
      for (const [inner, floats] of fieldsOf(content)) {
        if (inner !== OF.VERTICES) continue;
        const view = viewOf(floats);
        for (let i = 0; i + 4 <= floats.length; i += 4) values.push(view.getFloat32(i, true));
      }
    } else if (number === OF.BASIS) {
      const basis = new Map(fieldsOf(content));
      weights[integerFrom(basis.get(OF.LANDMARK) ?? Uint8Array.of(0))] = viewOf(
        basis.get(OF.WEIGHT)!,
      ).getFloat32(0, true);
    }
  }
  const points = new Float64Array(3 * OF.MESH);
  points.forEach((_, i) => (points[i] = values[OF.VERTEX * Math.floor(i / 3) + (i % 3)]!));
  if (values.length !== OF.VERTEX * OF.MESH || weights.filter(Boolean).length < 3)
    throw new Error("not a face");
  return { points, weights };
}

/**
 * Return the number and the content of each field of a message. The content of a varint field is
 * the varint.
 */
function* fieldsOf(data: Uint8Array): Generator<[number, Uint8Array]> {
  let at = 0;
  const varint = () => {
    const start = at;
    while (data[at]! & 0x80) at++;
    return data.subarray(start, ++at);
  };
  while (at < data.length) {
    const key = integerFrom(varint());
    const kind = key % 8;
    if (kind === VARINT) yield [Math.floor(key / 8), varint()];
    else {
      if (![FIXED64, LENGTH, FIXED32].includes(kind))
        throw new Error(`a field of wire type ${kind}`);
      const size = kind === LENGTH ? integerFrom(varint()) : kind === FIXED64 ? 8 : 4;
      if (at + size > data.length) throw new Error("a field past the end");
      yield [Math.floor(key / 8), data.subarray(at, at + size)];
      at += size;
    }
  }
}

const integerFrom = (varint: Uint8Array): number =>
  varint.reduce((sum, byte, index) => sum + (byte & 0x7f) * 2 ** (7 * index), 0);

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);
