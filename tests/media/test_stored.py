"""Tables, labels and captions of fixed results are those stored, so that no file changes without notice."""

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit.media import DrawingStyle, Header, draw_frame, open_writer
from sonjit.media.tables import FORMATS
from sonjit.results import Frame, Gesture
from sonjit.runs import annotate, table_columns

from ..support import drawings  # noqa: TID252
from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages
from .conftest import make_body, make_hand, make_person

MODELS = {"bodies": "body-full", "people": "holistic-full"}
TEXTS = [
    *(ending for ending in FORMATS if re.search("json|^text/", FORMATS[ending].media_type)),
    *(ending for ending in FORMATS if FORMATS[ending].group == "labels"),
]
OPTIONS = {"usual": {}, "instance": {"rows": "instance", "degrees": True}, "wide": {"rows": "wide"}}


def frames_of(kind):
    """Return two frames of a kind with ids, gestures, errors and places outside the image, and one without results."""
    rng = np.random.default_rng(9)
    more = {"gesture": Gesture("Victory", 0.75), "distance_m": 0.5, "distance_error_m": 0.1, "id": 3}
    made = {
        "hands": [make_hand(rng, **more), make_hand(rng, error_px=np.linspace(1, 5, 21, dtype=np.float32))],
        "bodies": [make_body(rng, id=2)],
        "people": [make_person(rng), make_person(rng, left_hand=None, face=None)],
    }[kind]
    return [Frame(4, 0.16, **{kind: made[:1]}), Frame(5, None), Frame(7, 0.28, **{kind: made})]


def written(folder, kind, ending, name):
    """Return the files of a table by name: texts and numbers in turn."""
    columns = table_columns(MODELS[kind], measures=True, gestures=True)
    header = Header("clip.mp4", 320, 240, 25.0, MODELS[kind], kind, "1.0", {"search": "fast"}, start_s=0.5)
    with open_writer(folder / f"x{ending}", header, columns, **OPTIONS[name]) as writer:
        for frame in frames_of(kind):
            writer.write(frame, annotate(frame, columns).extras)
    texts = {}
    for path in sorted(folder.rglob("*.*")):
        parts = re.split(r"(-?\d+\.\d+)", path.read_text("utf-8")) if path.is_file() else []
        texts[path.relative_to(folder).as_posix()] = [*parts[::2], *map(float, parts[1::2])]
    return texts


@pytest.mark.parametrize("kind", MODELS)
def test_texts_of_all_formats_are_as_stored(tmp_path, kind):
    found = {}
    for ending in TEXTS:
        for name in OPTIONS if FORMATS[ending].rows else ("usual",):
            if (ending, kind) != (".yolo.yaml", "people"):
                (folder := tmp_path / f"{name}{ending}").mkdir()
                found[folder.name] = written(folder, kind, ending, name)
    assert_as_stored(f"tables.{kind}", found, absolute=2e-4)


STYLES = {
    "labels": {"labels": True},
    "large": {"labels": True, "thickness": 2.5, "boxes": True, "errors": True},
    "instances": {"labels": True, "colour": "instance", "points": False},
    "thin": {"thickness": 0.5, "boxes": True, "errors": True},
}


def drawn_with_labels(name, size):
    """Return images (18, 24, 3) of means of cells, because versions of OpenCV smooth edges differently."""
    scale = size / drawings.WIDTH
    right, left = drawings.hand(60, 160, 140, id=1), drawings.hand(180, 150, 60, "Left")
    right.gesture, right.error_px = Gesture("Open_Palm", 0.9), np.linspace(2, 30, 21, dtype=np.float32)
    boxless = drawings.face(100, 140, 25, 6)
    boxless.box = (np.nan,) * 4
    hidden = "left_wrist", "left_elbow", "right_knee", "nose"
    every = [
        Frame(0, None, [right, left]),
        Frame(
            0,
            None,
            faces=[drawings.face(80, 90, 80), drawings.face(200, 50, 30, 6), drawings.face(215, 150, 12), boxless],
        ),
        Frame(0, None, bodies=[drawings.body(70, 165, id=2), drawings.body(170, 165, hidden=hidden)]),
    ]
    shown = []
    for frame in every:
        for one in frame.all_results():
            one.keypoints *= np.float32(scale)
            if one.kind == "face":
                one.box = tuple(value * scale for value in one.box)
        canvas = np.full((round(drawings.HEIGHT * scale), size, 3), 128, np.uint8)
        drawn = draw_frame(canvas, frame, DrawingStyle(**STYLES[name]))
        shown.append(cv2.resize(drawn, (24, 18), interpolation=cv2.INTER_AREA))
    return shown


def test_drawings_with_labels_are_as_stored():
    found = {f"{name} {size}": drawn_with_labels(name, size) for name in STYLES for size in (240, 700)}
    assert_as_stored("drawings", found, relative=0, absolute=2)


class Glyph:
    """Result of a kind of its own, with a skeleton of three points."""

    kind, title, id, score, mask, drawing = "glyph", "Glyph", 7, 0.5, None, None
    skeleton = SimpleNamespace(connections=((0, 1), (1, 2)), keypoints=("a", "b", "c"), groups={})
    members = ()

    def __init__(self, points):
        self.keypoints = np.array(points, np.float32)
        self.box = (*self.keypoints[:, :2].min(0).tolist(), *self.keypoints[:, :2].max(0).tolist())
        self.parts = [self]


def test_results_of_other_kinds_are_lines_and_dots_with_a_label_above():
    glyph = Glyph([(60, 90, 0), (90, 40, 30), (150, 120, -20)])
    frame = SimpleNamespace(all_results=lambda: [glyph])
    image = np.full((180, 240, 3), 90, np.uint8)
    drawn, plain = (draw_frame(image.copy(), frame, DrawingStyle(labels=labels)) for labels in (True, False))
    assert all((plain[y, x] != 90).any() for x, y in ((60, 90), (90, 40), (150, 120), (75, 65), (120, 80)))
    assert (plain[130:] == 90).all()
    rows, _ = np.nonzero((drawn != plain).any(axis=2))
    assert rows.size
    assert rows.max() < 90
