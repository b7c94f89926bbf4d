"""Tables, labels and captions of fixed results are those stored, so that no file changes without notice."""

import re

import cv2
import numpy as np
import pytest

from sonjit.media import DrawingStyle, Header, draw_frame, open_writer
from sonjit.media.drawing.heat_maps import panel
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.tables import CHARACTER_ENDINGS, FORMATS
from sonjit.results import Frame, Gesture
from sonjit.runs import annotate, table_columns

from ..support import drawings  # noqa: TID252
from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages
from .conftest import make_body, make_hand, make_person

MODELS = {"hands": "hands-full", "bodies": "body-full", "people": "holistic-full"}
TEXTS = [ending for ending in FORMATS if ending not in (*CHARACTER_ENDINGS, ".parquet", ".xlsx", ".rrd")]
OPTIONS = {"usual": {}, "instance": {"rows": "instance", "degrees": True}, "wide": {"rows": "wide"}}
CASES = [
    (kind, ending, name)
    for kind in MODELS
    for ending in TEXTS
    for name in OPTIONS
    if (name == "usual" or FORMATS[ending].rows) and (ending, kind) != (".yolo.yaml", "people")
]


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


@pytest.mark.parametrize(("kind", "ending", "name"), CASES)
def test_text_of_each_format_is_as_stored(tmp_path, kind, ending, name):
    columns = table_columns(MODELS[kind], measures=True, gestures=True)
    header = Header("clip.mp4", 320, 240, 25.0, MODELS[kind], kind, "1.0", {"search": "fast"}, start_s=0.5)
    with open_writer(tmp_path / f"x{ending}", header, columns, **OPTIONS[name]) as writer:
        for frame in frames_of(kind):
            writer.write(frame, annotate(frame, columns).extras)
    texts = {}
    for path in sorted(tmp_path.rglob("*.*")):
        parts = re.split(r"(-?\d+\.\d+)", path.read_text("utf-8")) if path.is_file() else []
        texts[path.relative_to(tmp_path).as_posix()] = [*parts[::2], *map(float, parts[1::2])]
    assert_as_stored(f"tables.{kind}.{name}{ending}", texts, absolute=2e-4)


STYLES = {
    "labels": {"labels": True},
    "large": {"labels": True, "thickness": 2.5, "boxes": True},
    "instances": {"labels": True, "colour": "instance", "points": False},
    "thin": {"thickness": 0.5, "boxes": True, "errors": True},
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("size", [240, 700])
def test_drawings_with_labels_are_as_stored(name, size):
    """Compare means of cells, because versions of OpenCV smooth edges differently."""
    scale = size / drawings.WIDTH
    right, left = drawings.hand(60, 160, 140, id=1), drawings.hand(180, 150, 60, "Left")
    right.gesture = Gesture("Open_Palm", 0.9)
    every = [
        Frame(0, None, [right, left]),
        Frame(0, None, faces=[drawings.face(80, 90, 80), drawings.face(200, 50, 30, 6)]),
        Frame(0, None, bodies=[drawings.body(70, 165, id=2), drawings.body(170, 165)]),
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
    assert_as_stored(f"labels.{name}.{size}", shown, relative=0, absolute=2)


@pytest.mark.parametrize("size", [(60, 90), (180, 240), (900, 500)])
def test_captions_and_maps_are_as_stored(size):
    """Write lines that fit, that need smaller letters, and that are cut, and draw a map with its colours."""
    canvas = np.full((*size, 3), 90, np.uint8)
    draw_captions(canvas, ["short", "a line with thirty-three letters." * 2, "M" * 300, "last"])
    values = np.linspace(-1, 3, size[0] * size[1], dtype=np.float32).reshape(size)
    images = [canvas, panel(np.full((*size, 3), 200, np.uint8), values, "title")]
    shown = [cv2.resize(image, (20, 20), interpolation=cv2.INTER_AREA) for image in images]
    assert_as_stored(f"captions.{size[0]}", shown, relative=0, absolute=2)
