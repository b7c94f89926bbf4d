/** Service worker: the page's own files stay on the device, so that it installs as an app and opens without its server. */

const KEPT = "sonjit-page";
const LARGE = /\/engine\//; // networks and what runs them: kept once they were used
const ENDPOINT = /^\/(v1\/|healthz$)/;
const worker = /** @type {any} */ (self);

worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(keepAll().then(() => worker.skipWaiting())));
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method === "GET" && origin === location.origin && !ENDPOINT.test(pathname)) event.respondWith(newest(request));
});

/** Every file that files.json lists; what the browser has just loaded for the page is not asked for again. */
async function keepAll() {
  const { files } = await (await fetch("files.json")).json();
  const cache = await caches.open(KEPT);
  await Promise.all(files.map(async (/** @type {string} */ path) => cache.put(path, await loaded(path))));
}

/** @param {string} path */
async function loaded(path) {
  const answer = await fetch(path, { cache: "default" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

/** What the server gives, which then is kept in place of the last; without a server what is kept. @param {Request} request */
async function newest(request) {
  const cache = await caches.open(KEPT);
  const kept = await cache.match(request, { ignoreSearch: true });
  const place = kept?.url ?? (LARGE.test(request.url) ? request.url : null);
  if (!place) return fetch(request);
  try {
    const answer = await fetch(request);
    if (answer.status === 200) await cache.put(place, answer.clone());
    return answer.ok || !kept ? answer : kept;
  } catch (error) {
    if (!kept) throw error;
    return part(kept, request.headers.get("range"));
  }
}

/** What a video asks for. @param {Response} whole @param {string | null} range "bytes=0-" */
async function part(whole, range) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (!from) return whole;
  const all = await whole.blob();
  const end = Math.min(to ? Number(to) + 1 : all.size, all.size);
  const headers = { "Content-Range": `bytes ${from}-${end - 1}/${all.size}`, "Content-Type": all.type };
  return new Response(all.slice(Number(from), end), { status: 206, headers });
}
