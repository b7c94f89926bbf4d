"""A kind is its own files and one line: without them, everything else works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import sonjit

PACKAGE = Path(sonjit.__file__).parent
FILES = ("detectors/kinds/holistic.py", "detectors/search/people.py")
LINE = '        "holistic": "sonjit.detectors.kinds.holistic:HOLISTIC",\n'

PROGRAM = """
import sonjit
from pathlib import Path
from sonjit.detectors.kinds import KINDS
from sonjit.server.app import create_app
from sonjit.server.settings import Settings
from starlette.testclient import TestClient

assert sonjit.__file__.startswith({folder!r}), sonjit.__file__
assert [*KINDS] == ["hands", "face", "body"]
for kind in KINDS:
    with sonjit.create_detector(kind, static_image=True, search="fast") as detector:
        detector.detect({photo!r})
with TestClient(create_app(Settings()), base_url="http://127.0.0.1:8000") as client:
    kinds = client.get("/v1/kinds").json()["kinds"]
    assert [*kinds] == ["hands", "face", "body"], kinds
    assert client.get("/").status_code == 200
    data = Path({photo!r}).read_bytes()
    for kind in kinds:
        assert client.post("/v1/" + kind, content=data).status_code == 200
print("all work")
"""


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """Return a folder with a copy of the package without people."""
    folder = tmp_path_factory.mktemp("without")
    shutil.copytree(PACKAGE, folder / "sonjit", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    (folder / "sonjit" / "_util" / "assets").symlink_to(PACKAGE / "_util" / "assets")
    for name in FILES:
        (folder / "sonjit" / name).unlink()
    kinds = folder / "sonjit" / "detectors" / "kinds" / "__init__.py"
    text = kinds.read_text("utf-8")
    assert text.count(LINE) == 1
    kinds.write_text(text.replace(LINE, ""), "utf-8")
    return folder


def test_everything_else_works_without_a_kind(without, photo, need):
    need("palm-full", "hand-full", "face-full", "face-attention", "pose-detector", "body-full")
    photo_file = without / "photo.png"
    Image.fromarray(photo).save(photo_file)
    environment = os.environ | {"PYTHONPATH": str(without)}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], env=environment, cwd=without, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = run("-m", "sonjit", "--help")
    assert "hands" in shown
    assert "holistic" not in shown
    for kind in ("hands", "face", "body"):
        assert f'"{kind}"' not in run("-m", "sonjit", kind, str(photo_file), "--search", "fast")
    assert "all work" in run("-c", PROGRAM.format(folder=str(without), photo=str(photo_file)))
