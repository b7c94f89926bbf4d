/** Read zip files. Source: PKWARE's APPNOTE. */

const END_MARK = 0x06054b50;
const ENTRY_MARK = 0x02014b50;
const END_BYTES = 22;
const [STORED, DEFLATED] = [0, 8];

/** A file of the archive, as it is stored. */
export interface Member {
  readonly method: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Return the files of an archive by name.
 *
 * @throws {Error} it is not a zip file, or damaged
 */
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
    const [method, size, start] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
    const [nameBytes, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true)) as [number, number, number];
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
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
