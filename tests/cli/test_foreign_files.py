"""Commands keep every file that Sonjit did not create, in each folder that they write to."""

import json
import shutil

import numpy as np
import pytest

from .conftest import NEEDS_LAB


@pytest.fixture
def short_demo(media, tmp_path, monkeypatch):
    """`sonjit demo` with a clip of a few frames."""
    shutil.copy(media / "clip.mp4", tmp_path / "demo.mp4")
    monkeypatch.setattr("sonjit.cli.find.ASSETS", tmp_path)


@pytest.mark.nightly_after(6)
@pytest.mark.slow
@pytest.mark.usefixtures("short_demo")
@pytest.mark.parametrize(
    "command",
    [
        "hands {stills} --search fast --draw {mine}", "hands {stills} --search fast --save {mine}/{{name}}.json",
        "hands {stills} --search fast --save {mine}/t.csv",
        "hands {clip} --search fast --save {mine}/t.jsonl --draw {mine}/d.mp4",
        "body {clip} --save {mine}/t.csv --events left_elbow_angle_rad:60:120", "body {clip} --save {mine}/t.glb",
        "motions {clip} --save {mine}/t.csv", "mesh {stills} --save {mine}", "demo --out {mine}", "page {mine}",
        "synth {mine} --count 1 --size 64x64", "datasets convert folder {mine} --root {stills}",
        "gestures record wave {stills} --to {mine}/own.npz", "gestures export {clip} --out {mine}/t.csv",
        "annotate board charuco:8x6:30mm:22mm:4x4_50 --out {mine}/board.svg",
        "stream {clip} --to osc://127.0.0.1:9 --limit 2 --model lite", "explain {stills} --draw {mine}",
        "explain {stills} --save {mine}/t.json",
        "segment {tiny} --weights demo --min-side 64 --draw {mine}/drawn.png --save {mine}/found.json",
        "train cam --smoke --steps 1 --out {mine}", "train cam --smoke --sweep steps=1,2 --out {mine}",
        "bench --media {clip} --model lite --repeat 0 --save {mine}/b.json",
    ],
)  # fmt: skip
def test_foreign_files_stay(sonjit, planted, media, stills, write_image, monkeypatch, command):
    folder, changed = planted
    monkeypatch.chdir(folder)
    tiny = write_image(stills.parent / "tiny.png", np.full((40, 60, 3), 90, np.uint8))
    paths = {"mine": folder, "stills": stills, "clip": media / "clip.mp4", "tiny": tiny}
    status, _, errors = sonjit(*(word.format(**paths) for word in command.split()))
    assert status in (0, 1, 2)
    assert status == 0 or errors, "a refusal is explained"
    assert changed() == []


@NEEDS_LAB
@pytest.mark.slow
def test_foreign_files_stay_next_to_evaluations(sonjit, planted, write_image, tmp_path):
    folder, changed = planted
    root = tmp_path / "data"
    root.mkdir()
    write_image(root / "a.png", np.full((120, 160, 3), 90, np.uint8))
    label = {"width": 160, "height": 120, "hands": [{"box": [10, 10, 60, 60], "side": "Left"}]}
    (root / "hands.json").write_text(json.dumps({"a.png": label}), "utf-8")
    evaluation = ["eval", "--protocol", "detection", "--model", "hands-lite", "--search", "fast", "--root", root]
    assert sonjit(*evaluation, "--out", folder)[0] == 0
    assert changed() == []
    assert sonjit("card", folder / "eval.json", "--out", folder)[0] == 0
    assert changed() == []
    sonjit("compare", folder, folder, "--root", root, "--save", folder / "compare.png")
    assert changed() == []


@NEEDS_LAB
def test_a_refused_evaluation_leaves_no_folder(sonjit, tmp_path):
    out = tmp_path / "new" / "evaluation"
    arguments = ("eval", "--protocol", "stb", "--root", tmp_path, "--model", "hands", "--out", out)
    assert sonjit(*arguments)[0] == 2
    assert not out.exists()
