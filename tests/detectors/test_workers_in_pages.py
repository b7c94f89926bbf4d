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


def test_a_solution_that_was_not_loaded_is_loaded_by_the_next_call():
    outcome = run_module(
        SOLUTION
        + """
        fails = 1;
        const hands = new Hands();
        const both = [hands.initialize(), hands.initialize()].map((call) => call.catch(messageOf));
        const first = await Promise.all(both);
        await hands.close();
        hands.reset();
        await hands.initialize();
        output([first, workers.map(({isEnded}) => isEnded)]);
        """
    )
    assert outcome == [["no network"] * 2, [True, False]]


def test_closing_a_solution_ends_a_worker_that_is_still_loading():
    outcome = run_module(
        SOLUTION
        + """
        const loaded = new Hands();
        const loading = loaded.initialize();
        await loaded.close();
        await loading;
        fails = 1;
        const failed = new Hands();
        const failing = failed.initialize().catch(messageOf);
        await failed.close();
        output([await failing, workers.map(({isEnded}) => isEnded)]);
        """
    )
    assert outcome == ["no network", [True, True]]


def test_a_solution_with_other_options_ends_its_former_worker():
    """Calls at the same time share a worker, also after a load that failed."""
    outcome = run_module(
        SOLUTION
        + """
        const hands = new Hands();
        await hands.initialize();
        fails = 1;
        hands.setOptions({maxNumHands: 1});
        const failed = await hands.initialize().catch(messageOf);
        hands.setOptions({maxNumHands: 3});
        await Promise.all([hands.initialize(), hands.initialize()]);
        output([failed, workers.map(({isEnded, sent}) => [isEnded, sent[0].settings.max_instances])]);
        """
    )
    assert outcome == ["no network", [[True, 2], [True, 1], [False, 3]]]


def test_what_failed_once_is_tried_again():
    outcome = run_module(
        """
        const {once} = await page("../kinds.js");
        let calls = 0;
        const made = once(async () => {
            calls += 1;
            if (calls === 1) throw new Error("no network");
            return calls;
        });
        const failed = await Promise.all([made(), made()].map((call) => call.catch((error) => error.message)));
        output([failed, await made(), await made()]);
        """
    )
    assert outcome == [["no network"] * 2, 2, 2]


def test_changed_options_keep_the_model():
    scores, kept, refused = run_module(
        LOCAL
        + """
        const boxes = await LocalDetector.create("face", {model: "box-full"}, files);
        boxes.configure({max_instances: 3});
        boxes.configure({max_instances: 2, model: "box-full"});
        const scores = workers[0].sent.map(({settings}) => [settings.model, settings.min_detection_score]);
        const mesh = await LocalDetector.create("face", {model: "mesh"}, files);
        const refused = [{transform: true}, {model: "attention"}, {model: "none"}].map((options) => {
            try {
                mesh.configure(options);
                return null;
            } catch (error) {
                return error.message;
            }
        });
        mesh.configure({model: "mesh"});
        output([scores, workers[1].sent.length, refused]);
        """
    )
    assert scores == [["box-full", 0.6]] * 3
    assert kept == 1
    assert "cannot be combined with model" in refused[0]
    assert all("this detector runs mesh. Create a new one." in message for message in refused[1:])


def test_changes_apply_after_the_image_that_waits():
    """Images are named by their width. The last one replaces the fourth one, which waits."""
    types, widths = run_module(
        LOCAL
        + """
        const detector = await LocalDetector.create("hands", {}, files);
        const [{sent}] = workers;
        const all = [1, 2].map((width) => detector.track(new ImageData(width)));
        detector.reset();
        all.push(detector.track(new ImageData(3)));
        detector.configure({max_instances: 1});
        for (const width of [4, 5]) all.push(detector.track(new ImageData(width)));
        for (let i = 0; i < sent.length; i++) {
            if (sent[i].type === "track") workers[0].answer(sent[i]);
            await pause();
        }
        const types = sent.slice(1).map(({type, image}) => image?.width ?? type);
        output([types, (await Promise.all(all)).map(({width}) => width)]);
        """
    )
    assert types == [1, 2, "reset", 3, "configure", 5]
    assert widths == [1, 2, 3, 5, 5]


def test_options_without_effect_are_named_once():
    warnings = run_module(
        """
        globalThis.OffscreenCanvas = class {};
        const {HolisticLandmarker} = await page("../tasks/landmarkers.js");
        const warnings = [];
        console.warn = (line) => warnings.push(line);
        const task = new HolisticLandmarker();
        for (const options of input) task.request(options);
        output(warnings);
        """,
        [
            {"minPoseDetectionConfidence": 0.4, "outputFaceBlendshapes": False},
            {"minFacePresenceConfidence": 0.4, "minHandLandmarksConfidence": 0},
            {"minFacePresenceConfidence": 0.3, "outputFaceBlendshapes": True},
        ],
    )
    assert warnings == [
        "Sonjit: HolisticLandmarker ignores minFacePresenceConfidence, minHandLandmarksConfidence",
        "Sonjit: HolisticLandmarker ignores outputFaceBlendshapes",
    ]
