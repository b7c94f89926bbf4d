/** Fetch the files of networks and other data. */

/** A file is missing, or is not the expected one. */
export class FileError extends Error {}

const DATA_ADDRESS = /^data:[^,]*;base64,/;

/** Return the bytes at an address; `what`: name of the file in error messages. */
export async function fetchFile(url: string, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (DATA_ADDRESS.test(url)) return bytesOf(url.replace(DATA_ADDRESS, ""), what); // a page's policy may forbid to fetch it
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch {
    throw new FileError(`${url} cannot be reached. Check the network, and whether the site allows other pages to read it.`);
  }
  if (!answer.ok) throw new FileError(`${url}: ${answer.status} ${answer.statusText}. Put ${what} there, or pass its address.`);
  return new Uint8Array(await answer.arrayBuffer());
}

function bytesOf(base64: string, what: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    throw new FileError(`${what}: its data: address is not base64`);
  }
}
