/** Fetch the files of networks and other data. */

import { bytesOf } from "./masks.js";
import { fromHalf } from "./tflite.js";

/** A file is missing, or is not the expected one. */
export class FileError extends Error {}

const DATA_ADDRESS = /^data:[^,]*;base64,/;
const [GZIP_MARK, GZIP_MARK_2] = [0x1f, 0x8b];

/**
 * Return the bytes at an address, unpacked if they are packed with gzip; `what`: name of the file
 * in error messages.
 */
export async function fetchFile(url: string, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (DATA_ADDRESS.test(url)) {
    // a page's policy may forbid to fetch it
    try {
      return bytesOf(url.replace(DATA_ADDRESS, ""));
    } catch {
      throw new FileError(`${what}: its data: address is not base64`);
    }
  }
  const answer = await fetch(url).catch(() => {
    throw new FileError(
      `${url} cannot be reached. Check the network, and whether the site allows other pages to read it.`,
    );
  });
  if (!answer.ok)
    throw new FileError(
      `${url}: ${answer.status} ${answer.statusText}. Put ${what} there, or pass its address.`,
    );
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes[0] !== GZIP_MARK || bytes[1] !== GZIP_MARK_2) return bytes; // some hosts unpack it
  return inflated(bytes, "gzip").catch(() => {
    throw new FileError(`${url} is damaged: it cannot be unpacked. Download it again.`);
  });
}

/** Check whether a file exists. Hosts of apps can answer with a page of HTML instead of an error. */
export async function hasFile(url: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => null);
  await answer?.body?.cancel();
  return answer !== null && answer.ok && !answer.headers.get("Content-Type")?.includes("html");
}

/** An array of numbers or strings, row by row. The shape of a single value is empty. */
export type NumpyArray = {
  readonly shape: readonly number[];
  readonly values: readonly number[] | readonly string[];
};

/** Return the arrays of the file at an address; `what`: content of the file in error messages. */
export async function fetchArrays(url: string, what: string): Promise<Map<string, NumpyArray>> {
  const file = await fetchFile(url, `the file of ${what}`);
  try {
    const arrays = [...membersOf(file)].map(
      async ([name, member]) =>
        [name.replace(/\.npy$/, ""), arrayFrom(await unpacked(member))] as const,
    );
    return new Map(await Promise.all(arrays));
  } catch (error) {
    throw new FileError(
      `${url}: not a file of ${what} (${error instanceof Error ? error.message : error})`,
    );
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
  const shape = /'shape': \(([\d, ]*)\)/
    .exec(header)?.[1]
    ?.split(",")
    .filter((side) => side.trim())
    .map(Number);
  const isByColumns = header.includes("'fortran_order': True");
  if (!kind || !shape || (isByColumns && shape.length > 2))
    throw new Error(`its array ${header.trim()} has an unsupported format`);
  const count = shape.reduce((product, length) => product * length, 1);
  const bytes = Number(size) * (kind === "U" ? 4 : 1);
  const readNumber = NUMBERS[kind + size];
  if (kind !== "U" && !readNumber)
    throw new Error(`its numbers have the unsupported type ${kind}${size}`);
  const textAt = (at: number) => {
    // of four bytes a character, padded with zeros
    const codes = Array.from({ length: Number(size) }, (_, i) => view.getUint32(at + 4 * i, true));
    return String.fromCodePoint(...codes.filter((code) => code !== 0));
  };
  const [rows = 1, columns = 1] = shape;
  const indexOf = (i: number) => (isByColumns ? (i % columns) * rows + Math.floor(i / columns) : i);
  const values = Array.from({ length: count }, (_, i) => start + indexOf(i) * bytes).map(
    (at) => readNumber?.(view, at) ?? textAt(at),
  );
  return { shape, values: values as number[] | string[] };
}

/** Readers of numbers by NumPy's type. */
const NUMBERS: Readonly<Record<string, (view: DataView, at: number) => number>> = {
  f2: (view, at) => fromHalf(view.getUint16(at, true)),
  f4: (view, at) => view.getFloat32(at, true),
  f8: (view, at) => view.getFloat64(at, true),
  i8: (view, at) => Number(view.getBigInt64(at, true)),
};

const END_MARK = 0x06054b50;
const ENTRY_MARK = 0x02014b50;
const END_BYTES = 22;
const [STORED, DEFLATED] = [0, 8];

/** A file of the archive, as it is stored. */
export type Member = { readonly method: number; readonly bytes: Uint8Array<ArrayBuffer> };

/** Return the files of an archive by name. @throws {Error} it is not a zip file, or damaged */
export function membersOf(file: Uint8Array<ArrayBuffer>): Map<string, Member> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let end = file.length - END_BYTES;
  while (end >= 0 && view.getUint32(end, true) !== END_MARK) end -= 1;
  if (end < 0) throw new Error("it is not a zip file");
  const members = new Map<string, Member>();
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  for (let entry = 0; entry < count; entry++) {
    if (view.getUint32(at, true) !== ENTRY_MARK) throw new Error("its directory is damaged");
    const [method, size, start] = [
      view.getUint16(at + 10, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 42, true),
    ];
    const [nameBytes, extra, comment] = [28, 30, 32].map((offset) =>
      view.getUint16(at + offset, true),
    ) as [number, number, number];
    const name = new TextDecoder().decode(file.subarray(at + 46, at + 46 + nameBytes));
    const from = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    if (from + size > file.length) throw new Error(`its ${name} is cut off`);
    members.set(name, { method, bytes: file.subarray(from, from + size) });
    at += 46 + nameBytes + extra + comment;
  }
  return members;
}

/** Return a copy of the uncompressed bytes of a member. */
export async function unpacked({ method, bytes }: Member): Promise<Uint8Array<ArrayBuffer>> {
  if (method === STORED) return bytes.slice();
  if (method !== DEFLATED) throw new Error(`it uses an unsupported compression (${method})`);
  return inflated(bytes, "deflate-raw");
}

async function inflated(
  bytes: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(
    await new Response(
      new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)),
    ).arrayBuffer(),
  );
}
