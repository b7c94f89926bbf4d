"""Tables, labels and captions of fixed results are those stored, so that no file changes without notice."""

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit.geometry.boxes import RotatedBox
from sonjit.media import DrawingStyle, Header, draw_frame, open_writer
from sonjit.media.drawing import draw_regions, instances, labels, strokes
from sonjit.media.drawing.heat_maps import draw_feature_maps, panel, place
from sonjit.media.drawing.labels import Label, Plate, draw_captions, place_labels
from sonjit.media.tables import CHARACTER_ENDINGS, FORMATS
from sonjit.results import Frame, Gesture, Person
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


DRAWS = (
    *("line", "circle", "polylines", "putText", "addWeighted", "drawContours", "blendLinear", "resize", "warpAffine"),
    *("copyMakeBorder", "applyColorMap"),
)
"""Functions of OpenCV with which all marks are drawn."""
EXACT = {"relative": 1e-5, "absolute": 2e-5}


class Marks:
    """What is drawn: the arguments of each call of OpenCV, with which marks are exact in every version of it."""

    def __init__(self, monkeypatch):
        self._calls = {}
        for library in (instances.cv2, labels.cv2, strokes.cv2, cv2):
            for name in DRAWS:
                monkeypatch.setattr(library, name, self._recorder(name, getattr(library, name)))

    def _recorder(self, name, draw):
        def recorded(*arguments, **options):
            texts, numbers = [], []
            self._add([*arguments, *(options[key] for key in sorted(options))], texts, numbers)
            self._calls.setdefault(f"{name} {len(numbers)}", []).append((texts, numbers))
            return draw(*arguments, **options)

        return recorded

    def _add(self, values, texts, numbers):
        """Append the numbers and texts in the arguments of a call, and the shapes of images."""
        for value in values:
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, np.ndarray) and value.size > 100:
                numbers += value.shape
            elif isinstance(value, list | tuple | np.ndarray):
                self._add(np.ravel(value).tolist() if isinstance(value, np.ndarray) else value, texts, numbers)
            else:
                numbers.append(-1.0 if value is None else float(value))

    def take(self):
        """Return the calls since the last time by function: their number, texts, and means of every few."""
        found, self._calls = self._calls, {}
        taken = {}
        for name, calls in sorted(found.items()):
            parts = [[numbers for _, numbers in calls[start : start + 16]] for start in range(0, len(calls), 16)]
            taken[name] = [len(calls), [texts for texts, _ in calls if texts], [np.mean(part, 0) for part in parts]]
        return taken


@pytest.fixture
def marks(monkeypatch):
    return Marks(monkeypatch)


def test_marks_of_all_kinds_and_styles_are_as_stored(marks):
    drawings.drawings()
    assert_as_stored("marks.drawings", marks.take(), **EXACT)


STYLES = {
    "labels": {"labels": True},
    "large": {"labels": True, "thickness": 2.5, "boxes": True, "errors": True},
    "instances": {"labels": True, "colour": "instance", "points": False},
    "thin": {"thickness": 0.5, "boxes": True, "errors": True},
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("size", [240, 700])
def test_drawings_with_labels_are_as_stored(name, size, marks):
    """Compare marks, and means of cells, because versions of OpenCV smooth edges differently."""
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
    shown, seen = [], []
    for frame in every:
        for one in frame.all_results():
            one.keypoints *= np.float32(scale)
            if one.kind == "face":
                one.box = tuple(value * scale for value in one.box)
        canvas = np.full((round(drawings.HEIGHT * scale), size, 3), 128, np.uint8)
        drawn = draw_frame(canvas, frame, DrawingStyle(**STYLES[name]))
        seen.append(marks.take())
        shown.append(cv2.resize(drawn, (24, 18), interpolation=cv2.INTER_AREA))
        marks.take()
    assert_as_stored(f"labels.{name}.{size}", shown, relative=0, absolute=2)
    assert_as_stored(f"marks.{name}.{size}", seen, **EXACT)


@pytest.mark.parametrize("size", [(60, 90), (180, 240), (900, 500)])
def test_captions_and_maps_are_as_stored(size, marks):
    """Write lines that fit, that need smaller letters, and that are cut, and draw a map with its colours."""
    canvas = np.full((*size, 3), 90, np.uint8)
    draw_captions(canvas, ["short", "a line with thirty-three letters." * 2, "M" * 300, "last"])
    values = np.linspace(-1, 3, size[0] * size[1], dtype=np.float32).reshape(size)
    images = [canvas, panel(np.full((*size, 3), 200, np.uint8), values, "title")]
    assert_as_stored(f"marks.captions.{size[0]}", marks.take(), **EXACT)
    shown = [cv2.resize(image, (20, 20), interpolation=cv2.INTER_AREA) for image in images]
    assert_as_stored(f"captions.{size[0]}", shown, relative=0, absolute=2)


class Glyph:
    """Result of a kind of its own, with a skeleton of three points."""

    kind, title, id, score, mask, drawing = "glyph", "Glyph", 7, 0.5, None, None
    skeleton = SimpleNamespace(connections=((0, 1), (1, 2)), keypoints=("a", "b", "c"), groups={})
    members = ()

    def __init__(self, points):
        self.keypoints = np.array(points, np.float32)
        self.box = (*self.keypoints[:, :2].min(0).tolist(), *self.keypoints[:, :2].max(0).tolist())
        self.parts = [self]


def test_results_of_other_kinds_are_lines_and_dots_with_a_label_above(marks):
    glyph = Glyph([(60, 90, 0), (90, 40, 30), (150, 120, -20)])
    frame = SimpleNamespace(all_results=lambda: [glyph])
    draw_frame(np.full((180, 240, 3), 90, np.uint8), frame, DrawingStyle(thickness=1.5))
    assert_as_stored("marks.glyph", marks.take(), **EXACT)


def test_regions_of_drawings_are_as_stored():
    """Regions are as small as the drawing allows, apart from drawings that need the complete image."""
    right, left = drawings.hand(80, 230, 90, id=1), drawings.hand(500, 380, 60, "Left")
    person = drawings.body(360, 165)
    frames = {
        "hands": Frame(0, None, [right, left]),
        "body": Frame(0, None, bodies=[person]),
        "person": Frame(0, None, people=[Person(person, left_hand=left)]),
        "face": Frame(0, None, faces=[drawings.face(80, 90, 80)]),
        "nobody": Frame(0, None),
    }
    rgb, found = np.full((480, 640, 3), 128, np.uint8), {}
    for name, frame in frames.items():
        for style in ({}, {"labels": False}, {"boxes": True}, {"thickness": 2.0}, {"errors": True}):
            regions = draw_regions(np.zeros_like(rgb), rgb, frame, DrawingStyle(**style), notes=("fist",))
            found[f"{name} {style}"] = sorted(map(tuple, regions))
    assert_as_stored("regions", found)


def test_positions_of_many_labels_are_as_stored():
    """Labels with several directions and sizes near the middle and the edges, and boxes in their way."""
    rng, placed = np.random.default_rng(8), []
    for width, height in ((200, 150), (640, 480), (3000, 2000)):
        given = []
        for _ in range(12):
            angle, anchor = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 1.1, 2) * (width, height)
            ways = [np.array([np.cos(angle + turn), np.sin(angle + turn)]) for turn in (0, 2, 4)]
            given.append(Label("Left 0.98 #1"[: rng.integers(4, 13)], anchor, ways, (1, 2, 3), rng.uniform(0, width)))
        boxes = [tuple(sorted(rng.uniform(0, width, 2))[i] for i in (0, 0, 1, 1)) for _ in range(2)]
        for number, some in enumerate((given, given[:1], given[3:5], [given[0]._replace(size=np.nan)])):
            shown = place_labels(some, width, height, boxes[: number % 3])
            placed += [(plate.left, plate.top, plate.width, plate.height, plate.pad) for plate in shown]
    label = Label("Left 0.90", np.array([100.0, 100.0]), [np.array([1.0, 0.0])], (1, 2, 3), 100.0)
    for right in range(110, 300, 10):  # the label moves on up to three steps
        (plate,) = place_labels([label], 640, 480, [(0, 0, right, 480)])
        placed.append((plate.left, plate.top))
    assert_as_stored("plates", placed)


@pytest.mark.parametrize("scale", [0.36, 0.8, 1.2, 2.4])
def test_pixels_of_a_plate_are_as_stored(scale, marks):
    """The text is blank, because versions of OpenCV draw letters differently."""
    plate = Plate("  ", scale, (200, 100, 50))
    plate.left, plate.top = 2, 1
    canvas = np.arange(plate.height + 3)[:, None, None] * np.full((1, plate.width + 4, 3), (3, 2, 1))
    canvas = canvas.astype(np.uint8)
    plate.draw(canvas)
    assert_as_stored(f"plate.{scale}", canvas[::3], relative=0, absolute=0)
    assert_as_stored(f"marks.plate.{scale}", marks.take(), **EXACT)


def test_panels_of_maps_and_maps_in_boxes_are_as_stored(marks):
    rng, rgb = np.random.default_rng(3), np.full((40, 56, 3), 90, np.uint8)
    shapes = ((3, 4), (2, 5, 6), (1, 1), (40, 56), (3, 2, 2))
    maps = {f"m{number}": rng.normal(size=shape).astype(np.float32) for number, shape in enumerate(shapes)}
    image = draw_feature_maps(maps, rgb)
    assert image.shape == (80, 224, 3)
    assert (image[40:, 112:] == 24).all()  # two panels are missing
    placed = place(rng.normal(size=(7, 5)).astype(np.float32), RotatedBox(28, 20, 30, 20, 0.4), 56, 40)
    assert_as_stored("marks.maps", marks.take(), **EXACT)
    assert_as_stored("maps", image[22:40:3, ::4], relative=0, absolute=2)
    assert_as_stored("maps.placed", placed[::4, ::4], relative=0, absolute=0.02)


def test_cuts_of_long_captions_are_as_stored(marks):
    for size in ((200, 300), (900, 500), (600, 2000)):
        for count in (40, 79, 80, 120, 400, 1500):
            draw_captions(np.zeros((*size, 3), np.uint8), [("a long caption of words, " * 60)[:count]])
    for width in range(20, 60, 2):
        for count in range(1, 9):
            draw_captions(np.zeros((400, width, 3), np.uint8), ["M" * count, "i"])
    assert_as_stored("marks.cuts", marks.take(), **EXACT)
