"""Web pages recognise the gestures of Python for the same files and hands."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonjit._util.json_text import json_from
from sonjit.gestures import GestureRecording, LearnedGestures, find_gestures
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
    assert answers["person"] == answers["canned"][0]
    assert answers["flipped"] == [one and one["name"] for one in answers["canned"]]
    assert "not a file of gestures (it is not a zip file)" in answers["refused"][0]
    assert "has an unsupported format" in answers["refused"][1]
