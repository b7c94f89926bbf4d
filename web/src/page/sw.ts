/**
 * Service worker that stores the page's files, so that the app can be installed and opens without
 * its server.
 */

const CACHE = "sonjit-page";
const LARGE = /\/(engine|avatar)\//; // networks and what shows avatars are stored after first use
const ENDPOINT = /^(v1\/|healthz$)/; // below the folder of this file
const worker = self as unknown as Scope;

/** what a service worker uses of its scope, which the types of pages lack */
type Scope = {
  addEventListener(name: string, react: (event: WorkerEvent) => void): void;
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
};
type WorkerEvent = {
  request: Request;
  waitUntil(work: Promise<unknown>): void;
  respondWith(answer: Promise<Response>): void;
};

worker.addEventListener("install", (event) =>
  event.waitUntil(keepAll().then(() => worker.skipWaiting())),
);
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const path = pathname.slice(new URL("./", location.href).pathname.length);
  if (request.method === "GET" && origin === location.origin && !ENDPOINT.test(path))
    event.respondWith(newest(request));
});

/**
 * Store all files of files.json. The browser's cache provides the files that the page has just
 * loaded.
 */
async function keepAll() {
  const { files } = (await (await fetch("files.json")).json()) as { files: string[] };
  const cache = await caches.open(CACHE);
  await Promise.all(
    files.map(async (path: string) => {
      const answer = await fetch(path, { cache: "default" });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      await cache.put(path, isolated(answer));
    }),
  );
}

/** Return the server's file and store it; without a server return the stored file. */
async function newest(request: Request) {
  const cache = await caches.open(CACHE);
  const stored = await cache.match(request, { ignoreSearch: true });
  const key = stored || LARGE.test(request.url) ? request.url.replace(/[?#].*/, "") : null;
  if (!key) return isolated(await fetch(request));
  try {
    const answer = isolated(await fetch(request));
    if (answer.status === 200) await cache.put(key, answer.clone());
    return answer.ok || !stored ? answer : stored;
  } catch (error) {
    if (!stored) throw error;
    return part(stored, request.headers.get("range"));
  }
}

/** Add the headers that give networks threads, which a plain web host does not send. */
function isolated(answer: Response) {
  if (
    answer.status !== 200 ||
    answer.type !== "basic" ||
    answer.headers.has("cross-origin-embedder-policy")
  )
    return answer;
  const headers = new Headers(answer.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  return new Response(answer.body, { status: answer.status, headers });
}

/**
 * Return the requested range of a video.
 *
 * @param range "bytes=0-"
 */
async function part(response: Response, range: string | null) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (!from) return response;
  const all = await response.blob();
  const end = Math.min(to ? Number(to) + 1 : all.size, all.size);
  const headers = {
    "Content-Range": `bytes ${from}-${end - 1}/${all.size}`,
    "Content-Type": all.type,
  };
  return new Response(all.slice(Number(from), end), { status: 206, headers });
}
