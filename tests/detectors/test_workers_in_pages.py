"""Detectors of web pages: their worker, its files, and what happens if it is not loaded."""

from ..support.page_modules import run_module  # noqa: TID252  # one build for all packages

WORKERS = """
    const workers = [];
    let fails = 0;  // number of the next loads that fail
    globalThis.Worker = class {
        sent = [];
        isEnded = false;
        constructor(url) {
            this.url = url;
            workers.push(this);
        }
        addEventListener(name, listener) { this[name] = listener; }
        postMessage(request) {
            this.sent.push(request);
            if (request.type !== "load") return;
            const reply = fails-- > 0 ? {error: "no network"} : {answer: null};
            queueMicrotask(() => this.message({data: {id: request.id, ...reply}}));
        }
        answer(request) {
            const {width, height} = request.image;
            this.message({data: {id: request.id, answer: {width, height, found: []}}});
        }
        terminate() { this.isEnded = true; }
    };
    globalThis.document = {baseURI: "http://host:1/pages/page.html"};
    for (const name of ["ImageBitmap", "OffscreenCanvas"]) globalThis[name] = class {};
    globalThis.ImageData = class {
        data = new Uint8ClampedArray(4);
        constructor(width) { Object.assign(this, {width, height: 1}); }
    };
    const messageOf = (error) => error.message;
    const pause = () => new Promise((next) => setTimeout(next, 2));
"""
LOCAL = WORKERS + """
    const {LocalDetector} = await page("../local.js");
    const files = {base: "http://host:1/sonjit-web/"};
"""  # fmt: skip
SOLUTION = WORKERS + """
    const asked = [];
    globalThis.fetch = async (url) => {
        asked.push(url);
        return {ok: url.startsWith("http://host:1/sonjit-web/"), headers: new Headers(), body: null};
    };
    const {Hands} = await page("../solutions/hands.js");
"""  # fmt: skip


def test_solutions_load_the_files_of_the_folder_that_the_page_names():
    """Folders of MediaPipe, of files that the page has copied, and names without folder give those of the module."""
    folders = [
        "/sonjit-web/",
        "../sonjit-web/",
        "https://cdn.jsdelivr.net/npm/@mediapipe/hands/",
        "/vendor/hands/",
        "",
    ]
    places, asked = run_module(
        SOLUTION
        + """
        const places = [];
        for (const folder of input) {
            await new Hands({locateFile: (file) => folder + file}).initialize();
            const {url, sent: [{places: {runtime, networks}}]} = workers.at(-1);
            places.push([url, runtime, networks.detector.url]);
        }
        output([places, asked]);
        """,
        folders,
    )
    for url, runtime, network in places[:2]:
        assert url == "http://host:1/sonjit-web/sonjit-web-worker.js"
        assert runtime == "http://host:1/sonjit-web/wasm/"
        assert network.startswith("http://host:1/sonjit-web/models/")
    assert all(runtime.startswith("file:") for _, runtime, _ in places[2:])
    assert asked == [
        *["http://host:1/sonjit-web/sonjit-web-worker.js"] * 2,
        "http://host:1/vendor/hands/sonjit-web-worker.js",
    ]
