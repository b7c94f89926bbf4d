"""Typical MediaPipe scripts run after their import lines are changed."""

import csv
import json
import runpy
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPTS = Path(__file__).parent / "scripts"
CLIP = str(resources.files("sonjit") / "_util" / "assets" / "demo.mp4")
NEW_IMPORTS = {
    "import mediapipe as mp": "from sonjit.compat import mediapipe as mp",
    "from mediapipe": "from sonjit.compat.mediapipe",
    "from google.protobuf.json_format": "from sonjit.compat.mediapipe.json_format",
}
ESCAPE = 27


@pytest.fixture
def run(tmp_path, monkeypatch):
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
    """Capture that ends after some frames of a clip, independent of the requested file."""

    path, frames = CLIP, 30

    def __init__(self, source):
        self._capture, self._left = _open(self.path), self.frames

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self._left > 0

    def read(self):
        self._left -= 1
        return self._capture.read() if self._left >= 0 else (False, None)

    def release(self):
        self._capture.release()


_open = cv2.VideoCapture


@pytest.fixture
def shown(monkeypatch):
    """Return the images that a script shows. The escape key is pressed after twenty images."""
    images = []
    monkeypatch.setattr(cv2, "VideoCapture", Clip)
    monkeypatch.setattr(cv2, "imshow", lambda _, image: images.append(image), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ESCAPE if len(images) == 20 else -1, raising=False)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None, raising=False)
    return images


@pytest.fixture
def plays(monkeypatch):
    """Return a function that sets the clip of a script, and the number of its frames."""

    def plays(path, frames=30):
        monkeypatch.setattr(Clip, "path", str(path))
        monkeypatch.setattr(Clip, "frames", frames)

    return plays


@pytest.fixture
def source_of(data):
    """Return the first image or clip of the reference data that has a golden with a person."""

    def source_of(pattern):
        for file in sorted((data / "goldens" / "mediapipe").glob(pattern)):
            golden = json.loads(file.read_text("utf-8"))
            if golden["frames"][0]["instances"] and (data / golden["source"]).is_file():
                return data / golden["source"]
        pytest.skip(f"no {pattern} with its image in {data}")

    return source_of


@pytest.fixture
def images(source_of, tmp_path):
    """Write such an image, or the clip's first one, for a script as images/a.png, and a black one as b.png."""

    def images(pattern=None):
        (tmp_path / "images").mkdir()
        image = cv2.imread(str(source_of(pattern))) if pattern else _open(CLIP).read()[1]
        cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
        cv2.imwrite(str(tmp_path / "images" / "b.png"), image * 0)
        return image

    return images


@pytest.mark.slow
def test_webcam_loop(run, weights, shown):
    run("webcam_loop")
    assert len(shown) == 20
    capture = _open(CLIP)
    for image in shown:
        _, plain = capture.read()
        assert (image != cv2.flip(plain, 1)).any()


def test_static_images(run, weights, images, capsys, tmp_path):
    images()
    run("static_images")
    printed = capsys.readouterr().out
    assert 'label: "Right"' in printed
    assert "index finger tip: (" in printed
    assert "b.png handedness: None" in printed
    drawn = cv2.imread(str(tmp_path / "annotated_0.png"))
    assert (drawn == (250, 44, 250)).all(axis=2).any()
    assert not (tmp_path / "annotated_1.png").exists()


@pytest.mark.slow
def test_fingertip_distance(run, weights, shown, tmp_path):
    run("fingertip_distance")
    with (tmp_path / "distances.csv").open(newline="") as file:
        rows = [(int(frame), label, float(distance)) for frame, label, distance in csv.reader(file)]
    assert {frame for frame, _, _ in rows} == set(range(Clip.frames))
    assert all(1 < distance < 200 for _, _, distance in rows)


@pytest.mark.slow
def test_face_mesh_images(run, need, images, capsys, tmp_path):
    need("face-short", "face-attention")
    image = images("facemesh.*static*.json")
    run("face_mesh_images")
    printed = capsys.readouterr().out
    assert "a.png landmarks: 478" in printed
    assert "b.png no face" in printed
    assert 0 < float(printed.split("eye ratio: ")[1].split()[0]) < 1
    drawn = cv2.imread(str(tmp_path / "face_0.png"))
    for color in ((48, 255, 48), (48, 48, 255), (224, 224, 224)):
        assert ((drawn == color).all(axis=2) & (image != color).any(axis=2)).any()


def test_face_boxes(run, need, images, capsys, tmp_path):
    need("face-short")
    images("facedet.*short.json")
    run("face_boxes")
    printed = capsys.readouterr().out
    assert "label 0 nose 0." in printed
    assert "RELATIVE_BOUNDING_BOX" in printed
    assert (cv2.imread(str(tmp_path / "boxes.png")) == (255, 0, 255)).all(axis=2).any()


@pytest.mark.slow
def test_pose_angles(run, need, source_of, plays, shown, capsys):
    need("pose-detector", "body-full")
    plays(source_of("pose.*track.full.json"), 8)
    run("pose_angles")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(shown) == 8
    assert all(0 <= float(angle) <= 180 and 0 <= float(visibility) <= 1 for _, angle, visibility in lines)
    assert all((image == 192).all(axis=2).mean() > 0.1 for image in shown)


@pytest.mark.slow
def test_holistic_features(run, need, images, tmp_path):
    need("pose-detector", "body-full", "hand-full", "face-short", "face-mesh")
    image = images("pose.*static.full.json")
    run("holistic_features")
    features = np.load(tmp_path / "features.npy")
    assert features.shape == (33 * 4 + 468 * 3 + 2 * 21 * 3,)
    assert features[: 33 * 4].all()
    assert (cv2.imread(str(tmp_path / "holistic.png")) != image).any()


@pytest.mark.slow
def test_selfie_background(run, need, source_of, plays, shown):
    need("selfie-landscape")
    plays(source_of("pose.*track.full.json"))
    run("selfie_background")
    assert len(shown) == 20
    grey = [(image == 192).all(axis=2).mean() for image in shown]
    assert all(0.1 < share < 0.99 for share in grey)


def test_tasks_notebook(run, weights, capsys, tmp_path):
    _, image = _open(CLIP).read()
    cv2.imwrite(str(tmp_path / "image.jpg"), image)
    run("tasks_notebook")
    printed = capsys.readouterr().out
    assert "HandLandmarkerResult(handedness=[[Category(index=" in printed
    drawn = cv2.imread(str(tmp_path / "annotated.png"))
    assert (drawn == (48, 48, 255)).all(axis=2).any()


@pytest.mark.slow
def test_tasks_live_poses(run, need, source_of, plays, shown, capsys):
    need("pose-detector", "body-lite")
    plays(source_of("pose.*track.full.json"))
    run("tasks_live_poses")
    assert len(shown) == 20
    assert "results: " in capsys.readouterr().out
    assert any((image == (245, 66, 230)).all(axis=2).any() for image in shown)
