/** Calls of the server's endpoints, frames of streams and errors; see docs/http-api.md. */

const HEADER_BYTES = 24;

// address of the server of this file, with the path of a proxy; one page is in a folder of its own
export const thisServer = new URL(
  /\/annotate\/[^/]*$/.test(import.meta.url) ? "../" : "./",
  import.meta.url,
).href;

/** Return the address of an endpoint of a server, below the path of its address. */
export const below = (server: string | URL, path: string) =>
  new URL(path.replace(/^\//, ""), String(server).replace(/\/?$/, "/"));

// the module that runs networks in the page
export const ENGINE = new URL("./engine/sonjit-web.js", import.meta.url).href;

/** True if `sonjit page` wrote this page. It has no server and runs the detectors itself. */
export const hasNoServer = globalThis.document?.documentElement.dataset.computes === "here";

/**
 * Error of the server or the connection. `code`: one of docs/http-api.md, "gone", "closed" or
 * "dropped".
 */
export class ServerError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "ServerError";
    this.code = code;
  }
}

/** Add parameters to an address; lists become several, and null none. */
export function withQuery(address: URL, query: Record<string, unknown>) {
  for (const [name, value] of Object.entries(query)) {
    for (const item of [value].flat())
      if (item !== null && item !== undefined) address.searchParams.append(name, String(item));
  }
  return address;
}

/**
 * Call an endpoint that answers JSON or nothing.
 *
 * @param token token of another server
 * @throws {ServerError}
 */
export async function call<T>(
  endpoint: URL,
  token: string | null = null,
  request: RequestInit = {},
): Promise<T> {
  const answer = await responseOf(endpoint, token, request);
  if (answer.status === 204) return {} as T;
  return (await answer.json().catch(() => Promise.reject(gone(endpoint)))) as T;
}

/**
 * Call an endpoint.
 *
 * @param token token of another server
 * @throws {ServerError}
 */
export async function responseOf(
  endpoint: URL,
  token: string | null = null,
  request: RequestInit = {},
) {
  const headers = new Headers(request.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetch(endpoint, { ...request, headers }).catch(() => null);
  if (answer?.ok) return answer;
  const refusal = await answer?.json().catch(() => null);
  throw refusal
    ? new ServerError(refusal.error?.code ?? "failed", refusal.error?.message ?? answer?.statusText)
    : gone(endpoint);
}

function gone({ origin }: URL) {
  const here = globalThis.location?.origin;
  const allowed = here === origin ? "" : ` --allow-origin ${here}`;
  return new ServerError("gone", `No answer from ${origin}: start it with sonjit serve${allowed}.`);
}

/** Return the address of an endpoint of this server. */
export const addressOf = (path: string) => below(thisServer, path);

const page = globalThis.location;
const parameters = new URLSearchParams(page?.hash.slice(1));
const handedIn = parameters.get("token");
if (handedIn !== null && page.origin === new URL(thisServer).origin) {
  // exchange it for a cookie, and remove it from the address of the page
  parameters.delete("token");
  history.replaceState(
    history.state,
    "",
    `${page.pathname}${page.search}${parameters.size ? `#${parameters}` : ""}`,
  );
  // the next call reports the reason
  await call(addressOf("/v1/token"), handedIn, { method: "POST" }).catch(() => {});
}

/**
 * Return an encoded image as a message of the stream.
 *
 * @param time seconds
 */
export function frameMessage(frame: number, time: number, image: Blob) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, 0x534e4a31); // SNJ1
  header.setUint32(4, frame, true);
  header.setFloat64(8, time, true);
  return new Blob([header, image]);
}
