/** Files that the networks and searches are read from. */

/** A file that is not there, or is another one. */
export class FileError extends Error {}

const IN_ADDRESS = /^data:[^,]*;base64,/;

/** The bytes at an address; `what` they are, for messages. */
export async function fetchFile(url: string, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (IN_ADDRESS.test(url)) return bytesOf(url.replace(IN_ADDRESS, ""), what); // which a page's policy may not let it fetch
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch {
    throw new FileError(`${url} cannot be reached: is the device offline, or does that site allow other pages to read it?`);
  }
  if (!answer.ok) throw new FileError(`${url}: ${answer.status} ${answer.statusText}; put ${what} there, or give its address`);
  return new Uint8Array(await answer.arrayBuffer());
}

function bytesOf(base64: string, what: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  } catch {
    throw new FileError(`${what}: its data: address is no base64`);
  }
}
