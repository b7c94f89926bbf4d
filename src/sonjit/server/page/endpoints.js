/** Calls of the server's endpoints, frames of streams and errors; see docs/http-api.md. */

/** @typedef {{blob: Blob} | {rgba: ImageData}} Image */

const HEADER_BYTES = 24;
const RGBA = 1;

/** Origin of this file. */
export const thisServer = new URL(import.meta.url).origin;

/** True if `sonjit page` wrote this page. It has no server and runs the detectors itself. */
export const hasNoServer = globalThis.document?.documentElement.dataset.computes === "here";

/** Error of the server or the connection. `code`: one of docs/http-api.md, "gone", "closed" or "dropped". */
export class ServerError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ServerError";
    this.code = code;
  }
}

/**
 * Detect instances in one image.
 *
 * @param {string} kind "hands", "face", "body" or "holistic"
 * @param {Blob} blob an encoded image
 * @param {Record<string, unknown>} [options] options of the detector
 * @param {{url?: string, token?: string | null}} [server]
 * @returns {Promise<Record<string, any>>} the answer of `POST /v1/KIND`
 * @throws {ServerError}
 */
export async function detectImage(kind, blob, options = {}, { url = thisServer, token } = {}) {
  const endpoint = new URL(`/v1/${kind}`, url);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && value !== null) endpoint.searchParams.set(name, String(value));
  }
  return call(endpoint, token, { method: "POST", body: blob });
}

/**
 * Call an endpoint that answers JSON.
 *
 * @param {URL} endpoint
 * @param {string | null} [token] token of another server
 * @param {RequestInit} [request]
 * @returns {Promise<Record<string, any>>}
 * @throws {ServerError}
 */
export async function call(endpoint, token = null, request = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  let answer, body;
  try {
    answer = await fetch(endpoint, { ...request, headers });
    body = await answer.json();
  } catch {
    const here = globalThis.location?.origin;
    const allowed = here === endpoint.origin ? "" : ` --allow-origin ${here}`;
    throw new ServerError("gone", `No answer from ${endpoint.origin}: start it with sonjit serve${allowed}.`);
  }
  if (!answer.ok) throw new ServerError(body.error?.code ?? "failed", body.error?.message ?? answer.statusText);
  return body;
}

/** Exchange the token after the # of the page's address for a cookie, and remove it from the address. */
async function handInToken() {
  const page = globalThis.location;
  const parameters = new URLSearchParams(page?.hash.slice(1));
  const token = parameters.get("token");
  if (token === null || page.origin !== new URL(thisServer).origin) return;
  parameters.delete("token");
  history.replaceState(history.state, "", `${page.pathname}${page.search}${parameters.size ? `#${parameters}` : ""}`);
  const headers = { Authorization: `Bearer ${token}` };
  await fetch(new URL("/v1/token", thisServer), { method: "POST", headers }).catch(() => {}); // the next call reports the reason
}

await handInToken();

/** @param {string} path @returns {string} the complete address of an endpoint */
export const addressOf = (path) => new URL(path, thisServer).href;

/**
 * Return an image as a message of the stream.
 *
 * @param {number} frame @param {number} time seconds @param {Image} image
 * @returns {Blob | Uint8Array<ArrayBuffer>}
 */
export function frameMessage(frame, time, image) {
  const bytes = new Uint8Array(HEADER_BYTES + ("rgba" in image ? image.rgba.data.length : 0));
  const header = new DataView(bytes.buffer);
  bytes.set([0x53, 0x4e, 0x4a, 0x31]); // SNJ1
  header.setUint32(4, frame, true);
  header.setFloat64(8, time, true);
  if ("blob" in image) return new Blob([bytes, image.blob]);
  header.setUint8(16, RGBA);
  header.setUint16(20, image.rgba.width, true);
  header.setUint16(22, image.rgba.height, true);
  bytes.set(image.rgba.data, HEADER_BYTES);
  return bytes;
}
