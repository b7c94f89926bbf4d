"""Scripts in the style people write them for MediaPipe run with only their import lines changed."""

import csv
import runpy
from importlib import resources
from pathlib import Path

import cv2
import pytest

SCRIPTS = Path(__file__).parent / "scripts"
CLIP = str(resources.files("sonjit") / "assets" / "demo.mp4")
NEW_IMPORTS = {
    "import mediapipe as mp": "from sonjit.compat import mediapipe as mp",
    "from mediapipe.framework.formats": "from sonjit.compat.mediapipe.framework.formats",
    "from google.protobuf.json_format": "from sonjit.compat.mediapipe.json_format",
}
ESCAPE = 27


@pytest.fixture
def run(tmp_path, monkeypatch, weights):
    """Run a script in an empty folder, after its import lines are changed."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        text = (SCRIPTS / f"{name}.py.txt").read_text("utf-8")
        for old, new in NEW_IMPORTS.items():
            text = text.replace(old, new)
        Path(f"{name}.py").write_text(text, "utf-8")
        runpy.run_path(f"{name}.py", run_name="__main__")

    return run


class Clip:
    """A capture that ends after some frames of the demo clip, whatever it was asked to open."""

    frames = 30

    def __init__(self, source):
        self._capture, self._left = _open(CLIP), self.frames

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self._left > 0

    def read(self):
        self._left -= 1
        return self._capture.read() if self._left >= 0 else (False, None)

    def release(self):
        self._capture.release()


_open = cv2.VideoCapture


def test_webcam_loop(run, monkeypatch):
    shown = []
    monkeypatch.setattr(cv2, "VideoCapture", Clip)
    monkeypatch.setattr(cv2, "imshow", lambda _, image: shown.append(image), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ESCAPE if len(shown) == 20 else -1, raising=False)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None, raising=False)
    run("webcam_loop")
    assert len(shown) == 20
    capture = _open(CLIP)
    for image in shown:
        _, plain = capture.read()
        assert (image != cv2.flip(plain, 1)).any()


def test_static_images(run, capsys, tmp_path):
    (tmp_path / "pictures").mkdir()
    _, image = _open(CLIP).read()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), image)
    cv2.imwrite(str(tmp_path / "pictures" / "b.png"), image * 0)
    run("static_images")
    printed = capsys.readouterr().out
    assert 'label: "Right"' in printed
    assert "index finger tip: (" in printed
    assert "b.png handedness: None" in printed
    drawn = cv2.imread(str(tmp_path / "annotated_0.png"))
    assert (drawn == (250, 44, 250)).all(axis=2).any()
    assert not (tmp_path / "annotated_1.png").exists()


def test_fingertip_distance(run, monkeypatch, tmp_path):
    monkeypatch.setattr(cv2, "VideoCapture", Clip)
    run("fingertip_distance")
    with (tmp_path / "distances.csv").open(newline="") as file:
        rows = [(int(frame), label, float(distance)) for frame, label, distance in csv.reader(file)]
    assert {frame for frame, _, _ in rows} == set(range(Clip.frames))
    assert all(1 < distance < 200 for _, _, distance in rows)
