"""Web pages recognise the gestures and motions of Python for the same files and hands."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonjit._util.json_text import json_from
from sonjit.gestures import MOTIONS, GestureRecording, GestureSmoother, LearnedGestures, MotionRecognizer, find_gestures
from sonjit_lab.synthesis.gestures import gestures

WEB = Path(__file__).parents[2] / "web"
ASSETS = WEB.parent / "src" / "sonjit" / "_util" / "assets"
LOAD = """
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const [folder, assets] = process.argv.slice(1);
await build({ entryPoints: ["src/gestures.ts"], bundle: true, format: "esm", outfile: `${folder}/gestures.mjs` });
const { loadGestures, withGestures } = await import(`${folder}/gestures.mjs`);
const url = (path) => `data:application/octet-stream;base64,${readFileSync(path).toString("base64")}`;
"""
SCRIPT = """
const shipped = url(`${assets}/gestures.npz`);
const files = { canned: [shipped], asl: [url(`${assets}/asl.npz`), shipped],
  mine: [url(`${folder}/mine.npz`), shipped] };
const numbers = ({ x, y, z }) => [x, y, z].map((one) => one ?? NaN);
const points = (list) => ({ values: Float32Array.from(list.flatMap(numbers)) });
const hands = JSON.parse(readFileSync(`${folder}/hands.json`, "utf8"))
  .map((hand) => ({ ...hand, keypoints: points(hand.keypoints), keypoints3D: points(hand.keypoints3D) }));
const answers = {};
for (const [name, urls] of Object.entries(files)) answers[name] = hands.map((await loadGestures(urls)).recognize);
const stream = hands.map((hand) => ({ ...hand, id: 3 }));
const detector = withGestures({ track: async () => ({ found: [stream.shift()] }) }, await loadGestures([shipped]));
answers.steady = [];
for (const k of hands.keys()) answers.steady.push((await detector.track({}, k / 30)).found[0].gesture);
const person = { id: 1, body: {}, face: null, rightHand: null, leftHand: hands[0] };
const still = withGestures({ detect: async () => ({ found: [person] }) }, await loadGestures([shipped]));
answers.person = (await still.detect(null)).found[0].leftHand.gesture;
const over = ({ values }) => ({ values: values.map((value, i) => (i % 3 ? value : 640 - value)) });
const mirror = hands.map((hand) => ({ ...hand, keypoints: over(hand.keypoints), keypoints3D: over(hand.keypoints3D) }));
const flipped = withGestures({ detect: async () => ({ found: mirror }) }, await loadGestures([shipped]), true);
answers.flipped = (await flipped.detect(null)).found.map(({ gesture }) => gesture?.name);
answers.refused = [];
for (const bad of ["data:,hands", url(`${folder}/wrong.npz`)]) {
  await loadGestures([bad, shipped]).catch((error) => answers.refused.push(error.message));
}
writeFileSync(`${folder}/answers.json`, JSON.stringify(answers));
"""


@pytest.fixture
def answers_of(tmp_path):
    """Return a function that runs a script in Node and returns its answers, or skip the test."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")

    def answers_of(script):
        command = ["node", "--input-type=module", "-e", LOAD + script, tmp_path, ASSETS]
        subprocess.run(command, cwd=WEB, check=True, timeout=120)
        return json.loads((tmp_path / "answers.json").read_text("utf-8"))

    return answers_of


@pytest.mark.slow
def test_pages_recognise_what_python_does(posed, tmp_path, answers_of):
    """Check hands of all poses, other people, rotations and sides, and one with an unknown keypoint."""
    rng = np.random.default_rng(4)
    views = [("Right", 0, 0), ("Left", 80, 20), ("Right", 185, -30), ("Left", 0, 0)]
    hands = [posed(name, *views[k % 4], rng) for k, name in enumerate(list(gestures())[::5])]
    hands[7].keypoints[3] = np.nan
    claw, beak = ([posed(name, rng=rng) for _ in range(3)] for name in ("half", "pinch"))
    custom = [GestureRecording.of("claw", claw), GestureRecording.of("beak", beak)]
    hands += [claw[0], beak[0]]
    LearnedGestures.learn(custom).save(tmp_path / "mine.npz")
    np.savez(tmp_path / "wrong.npz", names=np.array(["a"]), means=np.zeros((1, 3), np.complex64))
    (tmp_path / "hands.json").write_text(json_from([hand.to_dict(full=True) for hand in hands]), "utf-8")
    answers = answers_of(SCRIPT)
    names = {}
    for known in ("canned", "asl", str(tmp_path / "mine.npz")):
        expected = list(map(find_gestures(known), hands))
        ours = answers[Path(known).stem]
        assert [one and one["name"] for one in ours] == [one and one.name for one in expected]
        scores = [[one["score"], other.score] for one, other in zip(ours, expected, strict=True) if one and other]
        np.testing.assert_allclose(*np.transpose(scores), atol=2e-4)
        names[Path(known).stem] = {one.name for one in expected if one}
    assert len(names["canned"]) >= 6
    assert len(names["asl"] - names["canned"]) >= 4
    assert {"claw", "beak"} <= names["mine"]
    assert answers["canned"][7] is None
    smoother = GestureSmoother()
    steady = [
        smoother.update(hands[k].handedness == "Left", find_gestures("canned")(hands[k]), k / 30)
        for k in range(len(hands))
    ]
    assert [one and one["name"] for one in answers["steady"]] == [one and one.name for one in steady]
    assert answers["person"] == answers["canned"][0]
    assert answers["flipped"] == [one and one["name"] for one in answers["canned"]]
    assert "not a file of gestures (it is not a zip file)" in answers["refused"][0]
    assert "has an unsupported format" in answers["refused"][1]


PROJECT = Path(__file__).parents[2]
MOTION_SCRIPT = """
const shipped = `${assets}/gestures.npz`;
const image = { width: 640, height: 480 };
const loaded = await loadGestures([url(`${folder}/mine.npz`), url(shipped)]);
const points = (list) => ({ values: Float32Array.from(list.flat()) });
const streams = [];
for (const frames of JSON.parse(readFileSync(`${folder}/streams.json`, "utf8"))) {
  let hands = [];
  const detector = withGestures({ track: async () => ({ found: hands }), reset() {} }, loaded);
  const events = [];
  for (const frame of frames) {
    hands = frame.hands.map(([id, handedness, flat, metres]) =>
      ({ id, handedness, keypoints: points(flat), keypoints3D: points(metres) }));
    events.push(...(await detector.track(image, frame.time)).motions);
  }
  streams.push(events);
}
const refused = await loadGestures([url(`${folder}/wrong.npz`), url(shipped)]).catch((error) => error.message);
writeFileSync(`${folder}/answers.json`, JSON.stringify({ streams, refused }));
"""


@pytest.fixture(scope="module")
def paths(load_module):
    """Return the module `benchmarks/motions.py`, which generates paths."""
    return load_module(PROJECT / "benchmarks" / "motions.py")


def made(paths, name, number):
    """Yield frames (time, hands) of a motion. Each number has another person, size, speed and frame rate."""
    rng = np.random.default_rng([5, number, *name.encode()])
    person, fps = paths.Person(rng), paths.RATES[number % 3]
    over, hands_at = paths.motion(name, rng)
    for index in range(round((over + 1) * fps)):
        shown = enumerate(hands_at(index / fps), 1)
        yield (
            index / fps,
            [person.hand(rng, 0.01, shape, at, id=id, scale=s, roll=r) for id, (shape, at, s, r) in shown],
        )


def lost(frames, since, until, side=None):
    """Yield the frames without the hands, or without the hand of a side, for some time."""
    for time_s, hands in frames:
        yield time_s, [hand for hand in hands if not since <= time_s < until or side not in (None, hand.handedness)]


def plain(hand):
    return [hand.id, hand.handedness, hand.keypoints.tolist(), hand.keypoints_3d.tolist()]


@pytest.mark.slow
def test_pages_report_the_motions_that_python_reports(paths, motions, moved, posed, tmp_path, answers_of):
    """Check every motion, hands that are lost for a moment or for good, and custom motions."""
    complete = {name: list(made(paths, name, 1 + k % 2)) for k, name in enumerate((*paths.ONE_HAND, *paths.TWO_HANDS))}
    streams = [*complete.values()]
    for name, since, until, side in (
        ("Drag", 1.2, 1.6, None), ("Rotate", 1.5, 2.1, None), ("Push", 0.8, 1.5, None), ("Wave", 1.9, 2.3, None),
        ("Circle_Clockwise", 1.8, 2.5, None), ("Swipe_Left", 0.76, 1.3, None), ("Zoom", 1.6, 1.8, None),
        ("Zoom", 1.7, 3, "Left"), ("Clap", 0.74, 3, "Right"),
    ):  # fmt: skip
        streams.append(list(lost(complete[name], since, until, side)))
    for ways, how in (
        (("tick", "zigzag", "beckon"), {}),
        (("zigzag", [[0, 0], [0, 1.5]], "tick"), {"fps": 15, "seconds": 0.7, "side": "Left", "size": 1.2}),
    ):
        streams.append([(one.time, one.hands) for one in moved(*ways, seed=9, **how)])
    claws = GestureRecording.of("claw", [posed("claw")] * 3)
    learned = LearnedGestures(LearnedGestures.learn([claws]).static, motions)
    learned.save(tmp_path / "mine.npz")
    np.savez(tmp_path / "wrong.npz", **(motions.arrays() | {"motion_lengths": np.array([3])}))
    frames = [[{"time": time_s, "hands": list(map(plain, hands))} for time_s, hands in stream] for stream in streams]
    (tmp_path / "streams.json").write_text(json.dumps(frames), "utf-8")
    answer = answers_of(MOTION_SCRIPT)
    names, phases = set(), set()
    for stream, ours in zip(streams, answer["streams"], strict=True):
        recognizer = MotionRecognizer(custom=motions)
        theirs = [event for time_s, hands in stream for event in recognizer(hands, time_s)]
        assert [[one[key] for key in ("name", "phase", "id", "handedness")] for one in ours] == [
            [one.name, one.phase, one.id, one.handedness] for one in theirs
        ]
        numbers = [[one["time"], one["strength"], one["count"], *one["moved"]] for one in ours]
        np.testing.assert_allclose(
            np.reshape(numbers, (-1, 5)),
            np.reshape([[one.time, one.strength, one.count, *one.moved] for one in theirs], (-1, 5)),
            atol=1e-6,
        )
        names |= {one.name for one in theirs}
        phases |= {(one.name, one.phase) for one in theirs}
    assert names == {*MOTIONS, *motions.names}
    assert {name for name, phase in phases if phase == "cancel"} >= {"Drag", "Rotate", "Zoom", "Pinch", "Wave"}
    assert "its motions do not fit each other" in answer["refused"]
