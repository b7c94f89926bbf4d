"""Detectors of a scripted kind: regions, sizes, batches, and the end of their life. No network is needed."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.detectors import Detector, interfaces, tracking
from sonjit.detectors.crops import check_shapes, crop_for
from sonjit.detectors.kinds import options_for
from sonjit.detectors.loop import Loop
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.pipeline import check_region
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import Hand

from .fakes import Scene, seen_at

IMAGE = np.zeros((100, 1000, 3), np.uint8)


class Street(Scene):
    """Scene whose instances have scores, and whose boxes of two instances overlap from a distance of 50 px."""

    scores = (0.95, 0.8, 0.6, 0.4)

    def find(self, rgb, min_score):
        boxes = super().find(rgb, min_score)
        return [*boxes, *(box._replace(cx=box.cx + 30) for box in boxes[::2])]

    def observe(self, rgb, box):
        seen = super().observe(rgb, box)
        if seen.score < 0.5:
            return seen
        x = seen.keypoints[:, 0].mean()
        return replace(seen, score=self.scores[round(float(x)) // 90 % 4], keypoints=seen.keypoints + np.float32(0.5))


class Handed(Scene):
    """Scene whose results are hands."""

    def result(self, rgb, observation, track):
        return Hand("Left", observation.score, observation.keypoints, observation.keypoints_3d)


class SearchedStreet(interfaces.SearchedKind):
    """Scene whose search gives the observations, best first."""

    refusal = "no boxes"

    def __init__(self):
        self.places, self.searches, self.looks = [], [], []

    def show(self, *places):
        self.places = places

    def search(self, rgb, min_score):
        self.searches.append(min_score)
        return [seen_at(x, 50) for x in self.places]

    def box_after(self, observation):
        return RotatedBox(float(observation.keypoints[:, 0].mean()), 50, 100, 100)

    result = Scene.result


@pytest.mark.parametrize("flip", [False, True])
def test_results_of_a_region_have_coordinates_of_the_image(flip):
    scene = Handed()
    detector = Detector(Loop(scene, tracking.Tracker(), CommonOptions(static_image=True, flip_horizontal=flip)))
    scene.show(100)
    (plain,), (moved,) = detector.detect(IMAGE[:, :400]), detector.detect(IMAGE, roi=(300, 20, 400, 80))
    shift = (1000 - 300 - 400 if flip else 300, 20)
    np.testing.assert_allclose(moved.keypoints[:, :2], plain.keypoints[:, :2] + shift, atol=1e-3)


@pytest.mark.parametrize("roi", [(-1, 0, 9, 9), (0, -1, 9, 9), (0, 0, 0, 9), (0, 0, 9, 0)])
def test_a_region_has_a_place_and_a_size(roi):
    with pytest.raises(InputError, match="give x and y of at least 0, and width and height of at least 1"):
        check_region(roi, CommonOptions())
    check_region((0, 0, 1, 1), CommonOptions())
    for kind, option in (("hands", "distance"), ("face", "transform")):
        with pytest.raises(InputError, match=f"roi 0,0,1,1: cannot be combined with {option}"):
            check_region((0, 0, 1, 1), options_for(kind, **{option: True}))


@pytest.mark.parametrize(
    ("size", "outputs", "message"),
    [
        (None, (3, 1), None),
        (8, (1, 3), None),
        (9, (1, 3), "it takes 8 x 8 px and gives 1 + 3 numbers, not 9 x 9 px and 1 + 3"),
        (None, (1, 4), "it takes 8 x 8 px and gives 1 + 3 numbers, not any square and 1 + 4"),
        (None, (1, 3, 1), "gives 1 + 3 numbers, not any square and 1 + 3 + 1"),
    ],
)
def test_a_network_of_another_shape_is_described_in_one_line(size, outputs, message):
    engine = SimpleNamespace(input=np.zeros((1, 8, 8, 3), np.uint8), output_sizes=[1, 3])
    if message is None:
        check_shapes(engine, Path("own.onnx"), "palm detector", size=size, outputs=outputs)
        return
    with pytest.raises(InputError, match=re.escape(message)):
        check_shapes(engine, Path("own.onnx"), "palm detector", size=size, outputs=outputs)


def test_a_network_of_another_aspect_is_described_in_one_line():
    engine = SimpleNamespace(input=np.zeros((1, 6, 8, 3), np.uint8), output_sizes=[1])
    with pytest.raises(InputError, match=r"own\.onnx is not a palm detector: it takes 8 x 6 px"):
        check_shapes(engine, Path("own.onnx"), "palm detector", size=None, outputs=(1,))


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_crop_fills_the_input_of_a_network(precision):
    rgb = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 4)
    network = SimpleNamespace(input=np.zeros((1, 40, 40, 3), np.uint8), precision=precision)
    crop_for(network, rgb, RotatedBox(50, 40, 40, 40))
    assert np.abs(network.input[0].astype(int) - rgb[20:60, 30:70]).max() < 8


@pytest.mark.parametrize("side", [32_766, 32_767])
def test_an_image_has_a_maximum_side(side):
    with Detector(Loop(Street(), tracking.Tracker(), CommonOptions(static_image=True))) as detector:
        for shape in ((1, side, 3), (side, 1, 3)):
            if side == 32_766:
                assert detector.detect(np.zeros(shape, np.uint8)) == []
                continue
            words = f"image of {shape[1]} x {shape[0]} px: shrink it to at most 32766 px a side"
            with pytest.raises(InputError, match=words):
                detector.detect(np.zeros(shape, np.uint8))


def test_a_detector_ends_its_threads_searches_and_networks():
    scene, calls = Street(), []
    scene.at_close.callback(calls.append, "kind")
    detector = Detector(Loop(scene, tracking.Tracker(), CommonOptions()))
    assert detector.kind == ""
    detector.close()
    detector.close()
    assert calls == ["kind"]
    for use in (lambda: detector.graph, lambda: detector.detect_batch([IMAGE]), lambda: detector.detect(IMAGE)):
        with pytest.raises(InputError, match="this detector is closed"):
            use()


@pytest.mark.parametrize("missing", ["find", "observe", "result", "search"])
def test_a_kind_has_all_its_methods(missing):
    base = interfaces.SearchedKind if missing == "search" else interfaces.Kind
    methods = {
        name: getattr(Scene, name) for name in ("find", "observe", "follow", "result", "show") if name != missing
    }
    with pytest.raises(TypeError, match=f"abstract method '?{missing}"):
        type("Part", (base,), methods)()
    scene = SearchedStreet() if missing == "search" else Street()
    scene.show(100)
    with Detector(Loop(scene, tracking.Tracker(), CommonOptions(static_image=True))) as detector:
        assert len(detector.detect(IMAGE)) == 1
