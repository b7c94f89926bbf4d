"""Fixtures for tests of commands: media, output folders and the command line."""

import hashlib
from importlib.metadata import entry_points

import cv2
import numpy as np
import pytest

from sonjit.runs.inputs import LOG

FRAMES = 8
INSTALLED = {point.name for point in entry_points(group="sonjit.extensions")}
NEEDS_LAB, NEEDS_STUDIO = (
    pytest.mark.skipif(name not in INSTALLED, reason=f"sonjit-{name} is not installed") for name in ("lab", "studio")
)
FOREIGN = {
    "thesis/chapter1.md": "precious",
    "job.json": "{}",
    ".hidden": "kept",
    "settings.json": "{}",
    "input/photo.jpg": "not a photo",
    "0123456789abcdef/holiday.jpg": "not a job",
    "t.csv.work/note.txt": "not a work folder",
    ".t.csv.work/note.txt": "not a table of one file",
    ".t.csv.work/notes.jsonl": "not a table of one file either",
    "notes.part.csv": "not a draft",
    ".thesis.20241128.part": "not a draft of Sonjit",
}


@pytest.fixture(scope="session")
def write_image():
    """Write an image and return its path."""
    return _write_image


@pytest.fixture(scope="session")
def frame_count():
    """Return the number of frames of the clip of `media`."""
    return FRAMES


@pytest.fixture
def names_in():
    """Return the names of all files below a folder, including hidden ones, without the log of finished files."""
    return lambda folder: sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != LOG
    )


def _write_image(path, rgb):
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


@pytest.fixture(scope="session")
def media(tmp_path_factory, demo_clip, photo, write_video, weights):
    """Return paths of an image and a clip with hands, which tests must not change."""
    folder = tmp_path_factory.mktemp("media")
    _, frames, truth = demo_clip
    start = next(i for i, record in enumerate(truth) if len(record["hands"]) == 2)
    write_video(folder / "clip.mp4", frames[start + 30 : start + 30 + FRAMES])
    _write_image(folder / "photo.png", photo)
    return folder


@pytest.fixture
def stills(tmp_path, photo, weights):
    """Return a folder with three images. The second is empty."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for name, rgb in (("f2.png", photo), ("f9.png", np.zeros_like(photo)), ("f10.png", photo[:, ::-1])):
        _write_image(folder / name, rgb)
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def planted(tmp_path):
    """Return a folder with files that Sonjit did not create, and a function that lists the changed ones."""
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
