/** Calls of the server's endpoints, frames of streams and errors; see docs/http-api.md. */

const HEADER_BYTES = 24;

export const thisServer = new URL(import.meta.url).origin; // origin of this file

export const ENGINE = new URL("./engine/sonjit-web.js", import.meta.url).href; // the module that runs networks in the page

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

/** Add parameters to an address; lists become several, and null none. @param {URL} address @param {Record<string, unknown>} query */
export function withQuery(address, query) {
  for (const [name, value] of Object.entries(query)) {
    for (const item of [value].flat()) if (item !== null && item !== undefined) address.searchParams.append(name, String(item));
  }
  return address;
}

/**
 * Call an endpoint that answers JSON or nothing.
 *
 * @param {URL} endpoint @param {string | null} [token] token of another server @param {RequestInit} [request] @returns {Promise<Record<string, any>>}
 * @throws {ServerError}
 */
export async function call(endpoint, token = null, request = {}) {
  const answer = await responseOf(endpoint, token, request);
  return answer.status === 204 ? {} : answer.json().catch(() => Promise.reject(gone(endpoint)));
}

/** Call an endpoint. @param {URL} endpoint @param {string | null} [token] token of another server @param {RequestInit} [request] @throws {ServerError} */
export async function responseOf(endpoint, token = null, request = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const answer = await fetch(endpoint, { ...request, headers }).catch(() => null);
  if (answer?.ok) return answer;
  const refusal = await answer?.json().catch(() => null);
  throw refusal ? new ServerError(refusal.error?.code ?? "failed", refusal.error?.message ?? answer?.statusText) : gone(endpoint);
}

/** @param {URL} endpoint */
function gone({ origin }) {
  const here = globalThis.location?.origin;
  const allowed = here === origin ? "" : ` --allow-origin ${here}`;
  return new ServerError("gone", `No answer from ${origin}: start it with sonjit serve${allowed}.`);
}

/** Return the address of an endpoint of this server. @param {string} path */
export const addressOf = (path) => new URL(path, thisServer);

const page = globalThis.location;
const parameters = new URLSearchParams(page?.hash.slice(1));
const handedIn = parameters.get("token");
if (handedIn !== null && page.origin === thisServer) { // exchange it for a cookie, and remove it from the address of the page
  parameters.delete("token");
  history.replaceState(history.state, "", `${page.pathname}${page.search}${parameters.size ? `#${parameters}` : ""}`);
  await call(addressOf("/v1/token"), handedIn, { method: "POST" }).catch(() => {}); // the next call reports the reason
}

/** Return an encoded image as a message of the stream. @param {number} frame @param {number} time seconds @param {Blob} image */
export function frameMessage(frame, time, image) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, 0x534e4a31); // SNJ1
  header.setUint32(4, frame, true);
  header.setFloat64(8, time, true);
  return new Blob([header, image]);
}
