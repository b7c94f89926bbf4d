/** Files that the networks and searches are read from. */

/** A file that is not there, or is another one. */
export class FileError extends Error {}

/** The bytes at an address; `what` they are, for messages. */
export async function fetchFile(url: string, what: string): Promise<Uint8Array<ArrayBuffer>> {
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch {
    throw new FileError(`${url} cannot be reached: is the device offline, or does that site allow other pages to read it?`);
  }
  if (!answer.ok) throw new FileError(`${url}: ${answer.status} ${answer.statusText}; put ${what} there, or give its address`);
  return new Uint8Array(await answer.arrayBuffer());
}
