"""Commands keep every file that Sonjit did not create, in each folder that they write to."""

import hashlib
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

FOREIGN = {
    "thesis/chapter1.md": "precious",
    "job.json": "{}",
    ".hidden": "kept",
    "settings.json": "{}",
    "input/photo.jpg": "not a photo",
    "0123456789abcdef/holiday.jpg": "not a job",
    "t.csv.work/note.txt": "not a work folder",
    "notes.part.csv": "not a draft",
}


@pytest.fixture
def planted(tmp_path):
    """A folder with the files of somebody else, and a function that finds the changed ones."""
    folder = tmp_path / "mine"
    for name, text in FOREIGN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    before = {name: _digest(folder / name) for name in FOREIGN}

    def changed():
        return [name for name in FOREIGN if not (folder / name).is_file() or _digest(folder / name) != before[name]]

    return folder, changed


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def short_demo(media, tmp_path, monkeypatch):
    """`sonjit demo` with a clip of a few frames."""
    package = tmp_path / "package"
    (package / "_util" / "assets").mkdir(parents=True)
    shutil.copy(media / "clip.mp4", package / "_util" / "assets" / "demo.mp4")
    resources = SimpleNamespace(files=lambda _: package, as_file=nullcontext)
    monkeypatch.setattr("sonjit.cli.demo.resources", resources)


@pytest.mark.slow
@pytest.mark.usefixtures("short_demo")
@pytest.mark.parametrize(
    "command",
    [
        "hands {stills} --search fast --draw {mine}",
        "hands {stills} --search fast --save {mine}/{{name}}.json",
        "hands {stills} --search fast --save {mine}/t.csv",
        "hands {clip} --search fast --save {mine}/t.jsonl --draw {mine}/d.mp4",
        "hands {stills} --search fast --save {mine}/t.xlsx",
        "body {clip} --save {mine}/t.csv --events left_elbow_angle_rad:60:120",
        "body {clip} --save {mine}/t.glb",
        "motions {clip} --save {mine}/t.csv",
        "mesh {stills} --save {mine}",
        "demo --out {mine}",
        "page {mine}",
        "synth {mine} --count 1 --size 64x64",
        "datasets convert folder {mine} --root {stills}",
        "gestures record wave {stills} --to {mine}/own.npz",
        "gestures export {clip} --out {mine}/t.csv",
        "annotate board charuco:8x6:30mm:22mm:4x4_50 --out {mine}/board.svg",
        "export hand-lite --weights demo --set trunk=tiny --out {mine}/hand.onnx",
    ],
)
def test_foreign_files_stay(sonjit, planted, media, stills, command):
    folder, changed = planted
    words = command.split()
    arguments = [word.format(mine=folder, stills=stills, clip=media / "clip.mp4") for word in words]
    status, _, errors = sonjit(*arguments)
    assert status in (0, 1, 2)
    assert status == 0 or errors, "a refusal is explained"
    assert changed() == []
