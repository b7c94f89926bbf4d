/** Read NumPy's `.npz` files as Sonjit writes them. */

import { FileError, fetchFile } from "./files.js";
import { membersOf, unpacked } from "./zip.js";

/** An array of numbers or strings, row by row. The shape of a single value is empty. */
export interface NumpyArray {
  readonly shape: readonly number[];
  readonly values: readonly number[] | readonly string[];
}

/**
 * Return the arrays of a file by name.
 *
 * @throws {Error} the file has another format
 */
async function readArrays(file: Uint8Array<ArrayBuffer>): Promise<Map<string, NumpyArray>> {
  const arrays = new Map<string, NumpyArray>();
  for (const [name, member] of membersOf(file)) arrays.set(name.replace(/\.npy$/, ""), arrayFrom(await unpacked(member)));
  return arrays;
}

/** Return the arrays of the file at an address; `what`: content of the file in error messages. */
export async function fetchArrays(url: string, what: string): Promise<Map<string, NumpyArray>> {
  const file = await fetchFile(url, `the file of ${what}`);
  try {
    return await readArrays(file);
  } catch (error) {
    throw new FileError(`${url}: not a file of ${what} (${error instanceof Error ? error.message : error})`);
  }
}

/** Return the array of a `.npy` file. */
function arrayFrom(file: Uint8Array): NumpyArray {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x934e554d) throw new Error("it contains something other than arrays");
  const isFirst = view.getUint8(6) === 1;
  const start = isFirst ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  const header = new TextDecoder().decode(file.subarray(isFirst ? 10 : 12, start));
  const [, kind, size] = /'descr': '[<|]([fiU])(\d+)'/.exec(header) ?? [];
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)?.[1]?.split(",").filter((side) => side.trim()).map(Number);
  const isByColumns = header.includes("'fortran_order': True");
  if (!kind || !shape || (isByColumns && shape.length > 2)) throw new Error(`its array ${header.trim()} has an unsupported format`);
  const count = shape.reduce((product, length) => product * length, 1);
  const bytes = Number(size) * (kind === "U" ? 4 : 1);
  const read = kind === "U" ? (at: number) => textAt(view, at, Number(size)) : numberReader(view, kind + size);
  const [rows = 1, columns = 1] = shape;
  const indexOf = (i: number) => (isByColumns ? (i % columns) * rows + Math.floor(i / columns) : i);
  const values = Array.from({ length: count }, (_, i) => read(start + indexOf(i) * bytes));
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
      throw new Error(`its numbers have the unsupported type ${type}`);
  }
}

function halfFloat(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >> 15 ? -size : size;
}

/** Return a string of at most this number of characters, four bytes each, padded with zeros. */
function textAt(view: DataView, at: number, characters: number): string {
  const codes = Array.from({ length: characters }, (_, i) => view.getUint32(at + 4 * i, true));
  return String.fromCodePoint(...codes.filter((code) => code !== 0));
}
