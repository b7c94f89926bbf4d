/** NumPy's files of arrays, `.npz`, as Sonjit writes them. */

import { FileError, fetchFile } from "./files.js";
import { membersOf, unpacked } from "./zip.js";

/** An array of numbers, or of texts, row by row; a single value has no shape. */
export interface NumpyArray {
  readonly shape: readonly number[];
  readonly values: readonly number[] | readonly string[];
}

/** The arrays of a file by their names; an Error where it is none. */
async function readArrays(file: Uint8Array<ArrayBuffer>): Promise<Map<string, NumpyArray>> {
  const arrays = new Map<string, NumpyArray>();
  for (const [name, member] of membersOf(file)) arrays.set(name.replace(/\.npy$/, ""), arrayFrom(await unpacked(member)));
  return arrays;
}

/** The arrays of a file at an address; `what` it is of, for messages. */
export async function fetchArrays(url: string, what: string): Promise<Map<string, NumpyArray>> {
  const file = await fetchFile(url, `the file of ${what}`);
  try {
    return await readArrays(file);
  } catch (error) {
    throw new FileError(`${url}: no file of ${what} (${error instanceof Error ? error.message : error})`);
  }
}

/** What a `.npy` file holds. */
function arrayFrom(file: Uint8Array): NumpyArray {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x934e554d) throw new Error("it holds something else than arrays");
  const isFirst = view.getUint8(6) === 1;
  const start = isFirst ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  const header = new TextDecoder().decode(file.subarray(isFirst ? 10 : 12, start));
  const [, kind, size] = /'descr': '[<|]([fiU])(\d+)'/.exec(header) ?? [];
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)?.[1]?.split(",").filter((one) => one.trim()).map(Number);
  const isByColumns = header.includes("'fortran_order': True");
  if (!kind || !shape || (isByColumns && shape.length > 2)) throw new Error(`its array ${header.trim()} is not read here`);
  const count = shape.reduce((product, one) => product * one, 1);
  const bytes = Number(size) * (kind === "U" ? 4 : 1);
  const read = kind === "U" ? (at: number) => textAt(view, at, Number(size)) : numberReader(view, kind + size);
  const [rows = 1, columns = 1] = shape;
  const place = (i: number) => (isByColumns ? (i % columns) * rows + Math.floor(i / columns) : i);
  const values = Array.from({ length: count }, (_, i) => read(start + place(i) * bytes));
  return { shape, values: values as number[] | string[] };
}

function numberReader(view: DataView, type: string): (at: number) => number {
  switch (type) {
    case "f2":
      return (at) => halfFloat(view.getUint16(at, true));
    case "f4":
      return (at) => view.getFloat32(at, true);
    case "f8":
      return (at) => view.getFloat64(at, true);
    case "i8":
      return (at) => Number(view.getBigInt64(at, true));
    default:
      throw new Error(`its numbers of type ${type} are not read here`);
  }
}

function halfFloat(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >> 15 ? -size : size;
}

/** Text of so many characters, four bytes each, filled up with zeros. */
function textAt(view: DataView, at: number, characters: number): string {
  const codes = Array.from({ length: characters }, (_, i) => view.getUint32(at + 4 * i, true));
  return String.fromCodePoint(...codes.filter((code) => code !== 0));
}
