"""Modules of the page that need no browser run in node and are compared with Python."""

import csv
import io
import json
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.media import Header, open_writer
from sonjit.results import Body, Event, Face, Frame, Gesture, Hand, Person
from sonjit.results.measures import measure_names
from sonjit.results.skeletons import load_skeleton
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs.annotations import annotate, table_columns
from sonjit.server.kinds import kinds_answer

from ...support.page_modules import run_module  # noqa: TID252  # one build for all packages


def test_a_link_contains_the_settings_without_the_token():
    usual = {"style": {"points": True, "thickness": 1}, "mirrors": {"camera": True}}
    state = {
        "detectors": {
            "hands": {"on": True, "model": "lite", "max": 2},
            "face": {"on": False, "model": "box", "max": 1},
        },
        "options": {"search": "fast", "min_detection_score": 0.35, "visibility": True},
        "style": {"points": False, "thickness": 1},
        "mirrors": {"camera": False},
        "source": {"kind": "sample"},
    }
    link, back = run_module(
        """
        const {linkOf, settingsOf} = await page("settings.js");
        const link = linkOf(input.state, input.usual);
        output([link, settingsOf(new URL(link).hash)]);
        """,
        {"state": state, "usual": usual},
    )
    assert link.startswith("http://host:1/#detectors=hands:lite:2&search=fast")
    assert "secret" not in link
    assert back == {
        "detectors": {"hands": {"on": True, "model": "lite", "max": 2}},
        "options": state["options"],
        "style": {"points": False},
        "mirrors": {"camera": False},
        "source": "sample",
    }


def test_lines_of_a_side_have_the_colours_of_drawings():
    hues = run_module(
        """
        const {lineColours, sideOf} = await page("measure-names.js");
        const hue = (colour) => parseInt(colour.slice(1, 3), 16) - parseInt(colour.slice(5, 7), 16);
        output(input.map(([name, hand]) => hue(lineColours([sideOf(name, hand)])[0])));
        """,
        [["left_knee_angle_rad", None], ["right_knee_angle_rad", None], ["curl_rad", "Left"], ["curl_rad", "Right"]],
    )
    assert [hue > 0 for hue in hues] == [True, False, True, False]


NAMES = ["left_knee_angle_rad", "left_knee_angle_2d_rad", "symmetry_knee_rad", "right_upper_arm_m", "torso_lean_rad",
         "torso_side_lean_rad", "trunk_lean_rad"]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("en", ["Left knee angle", "Left knee angle in the image", "Left − right knee", "Right upper arm"]),
        ("ko", ["왼쪽 무릎 각도", "왼쪽 무릎 각도(이미지 평면)", "무릎 좌우 차이", "오른쪽 위팔"]),
    ],
)
def test_names_of_measures_follow_the_language_and_differ(language, names):
    texts = json.loads((files("sonjit.server") / "page" / "i18n" / f"{language}.json").read_text("utf-8"))
    shown = run_module(
        """
        const texts = input.texts;
        globalThis.document = {documentElement: {}, querySelectorAll: () => [], getElementById: () => null};
        globalThis.fetch = async () => ({json: async () => texts});
        const {speak} = await page("common.js");
        const {measureName} = await page("measure-names.js");
        await speak("en", "http://host:1/");
        output(input.names.map(measureName));
        """,
        {"texts": texts, "names": [*NAMES, *measure_names("body")]},
    )
    assert shown[:4] == names
    assert len({name.casefold() for name in shown}) == len(measure_names("body"))


TABLE = """
    globalThis.URL = class extends URL { get origin() { return "http://host:1"; } };  // that of a file is null
    await page("kinds.js");
    const answer = {kinds: {}, results: {}, ...input.kinds, triangles: []};
    globalThis.fetch = async () => ({ok: true, status: 200, json: async () => answer});
    await (await page("kinds.js")).loadKinds();
    const {Table} = await page("tables.js");
    const table = new Table();
"""


@pytest.mark.parametrize("rows", ["instance", "wide", "keypoint"])
def test_rows_of_instances_are_those_of_python(rows, tmp_path):
    rng = np.random.default_rng(5)
    hands = [
        Hand(side, 0.5, *rng.uniform(0, 99, (2, 21, 3)).astype(np.float32), id=number, gesture=gesture)
        for number, (side, gesture) in enumerate([("Left", Gesture("Fist", 0.5)), ("Right", None)])
    ]
    hands[0].error_px = rng.uniform(0, 9, 21).astype(np.float32)
    body = Body(0.5, *rng.uniform(0, 99, (2, 33, 3)).astype(np.float32), *rng.uniform(0, 1, (2, 33)), id=4)
    frames = [Frame(0, 0.0, people=[Person(body, left_hand=hands[0])]), Frame(1, 0.5)]
    answers = [{"time": frame.time, "width": 9, "height": 9, **frame.to_dict(("people",))} for frame in frames]
    columns = {"gesture": str, "gesture_score": float}
    with open_writer(tmp_path / "table.csv", Header(kind="people"), columns, rows=rows) as table:
        table.write(frames[0], [{}, {"gesture": "Fist", "gesture_score": 0.5}])
        table.write(frames[1], [])
    text = run_module(
        TABLE
        + """
        table.begin({source: "clip.mp4", detectors: [{kind: "holistic", model: "full"}]});
        for (const answer of input.answers) table.add(answer);
        output(await (await table.csv(input.rows)).text());
        """,
        {"answers": answers, "rows": rows, "kinds": kinds_answer(tmp_path)},
    )
    ours = list(csv.DictReader(io.StringIO(text)))
    theirs = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text("utf-8-sig"))))
    for mine, row in zip(ours, theirs, strict=True):
        for name in row.keys() - {"right_hand"}:
            if mine.get(name, "") != row[name]:
                assert float(mine[name]) == pytest.approx(float(row[name]), abs=0.01), name


@pytest.mark.parametrize("rows", ["instance", "keypoint"])
@pytest.mark.parametrize("kind", ["hands", "face"])
def test_options_add_the_columns_of_python(rows, kind, tmp_path):
    rng = np.random.default_rng(6)
    if kind == "hands":
        found = Hand("Left", 0.5, *rng.uniform(0, 99, (2, 21, 3)).astype(np.float32), id=3)
        found.distance_m, found.distance_error_m = 0.5, 0.125
        found.error_px = np.ones(21, np.float32)
        model, options = "hands-full", SimpleNamespace(distance=True)
    else:
        expressions = dict(zip(BLENDSHAPES, (rng.integers(0, 16, len(BLENDSHAPES)) / 16).tolist(), strict=True))
        pose = np.arange(16, dtype=np.float32).reshape(4, 4)
        points = rng.uniform(0, 99, (478, 3)).astype(np.float32)
        found = Face(0.5, points, (1.0, 2.0, 3.0, 4.0), 3, expressions, pose)
        model, options = "face-attention", SimpleNamespace(blendshapes=True, transform=True)
    frame = Frame(1, 0.5, **{found.list_name: [found]})
    columns = table_columns(model, measures=False, options=options)
    with open_writer(tmp_path / "table.csv", Header(kind=found.list_name), columns, rows=rows) as table:
        table.write(frame, annotate(frame, columns).extras)
    text = run_module(
        TABLE
        + """
        table.begin({source: "clip.mp4", detectors: [{kind: input.kind, model: "full"}]});
        for (const answer of input.answers) table.add(answer);
        output(await (await table.csv(input.rows)).text());
        """,
        {
            "answers": [{"time": 0, "width": 9, "height": 9}, {"width": 9, "height": 9, **frame.to_dict()}],
            "kind": kind,
            "rows": rows,
            "kinds": kinds_answer(tmp_path),
        },
    )
    _, *ours = csv.DictReader(io.StringIO(text))
    theirs = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text("utf-8-sig"))))
    assert {"distance_m", "transform_33"} & theirs[0].keys()
    assert [name for name in ours[0] if name not in ("gesture", "gesture_score")] == [*theirs[0]]
    for mine, row in zip(ours, theirs, strict=True):
        for name in columns:
            assert float(mine[name]) == float(row[name]), name


def test_events_are_rows_of_their_own():
    text = run_module(
        TABLE
        + """
        table.begin({source: "clip.mp4", detectors: [{kind: "hands", model: "full"}]});
        for (const event of input) table.add({time: event.end ?? event.begin, events: [event]});
        output(await (await table.csv("event")).text());
        """,
        [
            Event("Fist", "gesture", phase, 1, end, 2, "Left", 0.9).to_dict()
            for phase, end in (("begin", None), ("end", 2.5))
        ],
    )
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["frame"], row["name"], row["begin"], row["end"], row["duration_s"]) == ("1", "Fist", "1", "2.5", "1.5")


SOCKETS = """
    const sockets = [];
    globalThis.WebSocket = class {
        static OPEN = 1;
        readyState = 0;
        constructor() { sockets.push(this); }
        send(message) {
            if (typeof message !== "string") return;
            queueMicrotask(() => this.onmessage({data: JSON.stringify({type: "ready", detectors: []})}));
        }
        close() { this.readyState = 3; }
        accept() { this.readyState = 1; this.onopen(); }
    };
    const codeOf = (error) => error.code;
"""


def test_a_closed_connection_does_not_connect_again():
    outcome = run_module(
        SOCKETS
        + """
        const {Connection} = await page("connection.js");
        const connection = new Connection({url: "http://host:1"});
        const opening = connection.open().catch(codeOf);
        connection.close();
        const again = [connection.open(), connection.configure({measures: true}), connection.send({time: 0})];
        output([await opening, ...await Promise.all(again.map((one) => one.catch(codeOf))), sockets.length]);
        """
    )
    assert outcome == ["closed"] * 4 + [1]


@pytest.mark.parametrize("is_encoded", [False, True])
def test_an_image_that_waits_for_a_disposed_detector_does_not_connect_again(is_encoded):
    """An image waits for its encoding and for an earlier image."""
    outcome = run_module(
        SOCKETS
        + """
        const skeleton = {connections: [], triangles: [], keypoints: [], groups: {}};
        globalThis.fetch = async () => ({ok: true, status: 200, json: async () => skeleton});
        for (const name of ["HTMLImageElement", "HTMLVideoElement", "HTMLCanvasElement", "ImageBitmap", "ImageData"])
            globalThis[name] = class {};
        globalThis.OffscreenCanvas = class {
            constructor(width, height) { Object.assign(this, {width, height}); }
            getContext() { return {setTransform() {}, drawImage() {}}; }
            async convertToBlob() { return new Blob(["image"]); }
        };
        globalThis.URL = class extends URL { get origin() { return "http://host:1"; } };  // that of a file is null
        const {createDetector} = await page("sonjit-client.js");
        const creating = createDetector("MediaPipeHands", {server: "http://host:1"});
        while (!sockets.length) await new Promise((next) => setTimeout(next, 1));
        sockets[0].accept();
        const detector = await creating;
        const images = [1, 2].map((at) => detector.estimateHands(new OffscreenCanvas(4, 3), null, at).catch(codeOf));
        if (input) await new Promise((next) => setTimeout(next, 5));
        detector.dispose();
        output([...await Promise.all(images), sockets.length]);
        """,
        is_encoded,
    )
    assert outcome == ["closed", "closed", 1]


def test_a_load_for_hidden_people_that_ends_after_the_run_ends_its_worker():
    ended = run_module(
        """
        import { mkdirSync, rmSync, writeFileSync } from "node:fs";
        import { dirname } from "node:path";
        import { fileURLToPath } from "node:url";
        Object.defineProperty(globalThis, "navigator", {value: {}, configurable: true});
        const loads = [];
        globalThis.loads = loads;
        const {ENGINE} = await page("endpoints.js");
        const file = fileURLToPath(ENGINE);
        mkdirSync(dirname(file), {recursive: true});
        writeFileSync(file, `
            export const measuresOfInstance = () => ({});
            export const LocalDetector = {
                create: (kind) => new Promise((resolve) => globalThis.loads.push({kind, resolve})),
            };
        `);
        const {Detectors} = await page("detectors.js");
        const view = {draw() {}, clear() {}};
        const source = {play() {}, close() {}, refresh() {}};
        const detectors = new Detectors([], view, {}, {phase() {}, frame() {}, searching() {}});
        detectors.ask({anonymise: "faces"});
        detectors.start(source, [{kind: "hands"}], null, true);
        while (!loads.length) await new Promise((next) => setTimeout(next, 1));
        rmSync(dirname(file), {recursive: true});
        detectors.stop();
        let ended = 0;
        loads[0].resolve({close() { ended += 1; }});
        await new Promise((next) => setTimeout(next, 5));
        output([loads.map(({kind}) => kind), ended]);
        """
    )
    assert ended == [["holistic"], 1]


def test_keypoints_of_tfjs_bodies_have_sides_and_indices():
    body = load_skeleton("body_blazepose33")
    result = run_module(
        """
        const {calculators, skeletonHelpers} = await page("../tfjs.js");
        const util = skeletonHelpers({hand: {}, face: {}, mesh: {triangles: []}, body: input});
        const points = [{x: 32, y: 12, z: 8, name: "nose"}, {x: 64, y: 48}];
        output({
            sides: util.getKeypointIndexBySide("BlazePose"),
            index: util.getKeypointIndexByName("BlazePose"),
            normalized: calculators.keypointsToNormalizedKeypoints(points, {width: 64, height: 48}),
        });
        """,
        {"keypoints": list(body.keypoints)},
    )
    assert result["index"] == {name: i for i, name in enumerate(body.keypoints)}
    assert result["sides"] == {
        "left": [1, 2, 3, 7, *range(9, 33, 2)],
        "right": [4, 5, 6, *range(8, 33, 2)],
        "middle": [0],
    }
    assert result["normalized"] == [{"x": 0.5, "y": 0.25, "z": 0.125, "name": "nose"}, {"x": 1, "y": 1}]
