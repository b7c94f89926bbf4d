// Made by `npm --prefix web run page` from web/src/page. Change it there.

// src/page/sw.ts
var CACHE = "sonjit-page";
var LARGE = /\/(engine|avatar)\//;
var ENDPOINT = /^(v1\/|healthz$)/;
var worker = self;
worker.addEventListener(
  "install",
  (event) => event.waitUntil(keepAll().then(() => worker.skipWaiting()))
);
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const path = pathname.slice(new URL("./", location.href).pathname.length);
  if (request.method === "GET" && origin === location.origin && !ENDPOINT.test(path))
    event.respondWith(newest(request));
});
async function keepAll() {
  const { files } = await (await fetch("files.json")).json();
  const cache = await caches.open(CACHE);
  await Promise.all(
    files.map(async (path) => {
      const answer = await fetch(path, { cache: "default" });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      await cache.put(path, isolated(answer));
    })
  );
}
async function newest(request) {
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
function isolated(answer) {
  if (answer.status !== 200 || answer.type !== "basic" || answer.headers.has("cross-origin-embedder-policy"))
    return answer;
  const headers = new Headers(answer.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  return new Response(answer.body, { status: answer.status, headers });
}
async function part(response, range) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (!from) return response;
  const all = await response.blob();
  const end = Math.min(to ? Number(to) + 1 : all.size, all.size);
  const headers = {
    "Content-Range": `bytes ${from}-${end - 1}/${all.size}`,
    "Content-Type": all.type
  };
  return new Response(all.slice(Number(from), end), { status: 206, headers });
}
