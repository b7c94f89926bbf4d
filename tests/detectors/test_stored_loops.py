"""The loop of streams and stills is stored: what is searched, looked at, tracked and counted. No network is needed."""

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.detectors import Detector, interfaces, tracking
from sonjit.detectors.options import CommonOptions, GraphThresholds
from sonjit.detectors.pipeline import check_region, check_shapes, crop_for
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import Hand

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages
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


class Strict(interfaces.Verifier):
    """Verifier that refuses what is in the last third of the image, and every ninth look at a track."""

    verifies = True
    looks = 0

    def accepts_new(self, rgb, observation):
        return observation.keypoints[0, 0] < 660

    def verify(self, rgb, track, observation, tracked):
        self.looks += 1
        return None if self.looks % 9 == 0 else observation


class Recorded:
    """Search of a stream that keeps the arguments of its steps, and now and then finds an instance."""

    def __init__(self, scene, seed):
        self.scene, self.rng, self.steps, self.check = scene, np.random.default_rng(seed), [], Strict()

    @property
    def is_verifying(self):
        return len(self.steps) % 50 > 40

    @property
    def is_first_pass(self):
        return len(self.steps) % 70 < 5

    def is_changed(self, rgb):
        self.steps.append("changed?")
        return self.rng.random() < 0.3

    def step(self, rgb, active, new, lost, *, spent, room):
        self.steps.append([len(active), len(new), [box.cx for box in lost], spent, room])
        places = self.scene.places
        return [*new, *(seen_at(places[-1], 50, score=0.7) for _ in range(self.rng.random() < 0.2 and len(places)))]

    def reset(self):
        self.steps.append("reset")


def walks(seed, frames):
    """Yield the places of each frame: up to five instances that move, leave and return."""
    rng = np.random.default_rng(seed)
    middle, reach, speed, phase = rng.uniform((100, 30, 0.005, 0), (900, 90, 0.03, 6), (5, 4)).T
    absent = np.zeros(5, int)
    for index in range(frames):
        absent = np.where((absent <= 0) & (rng.random(5) < 0.015), rng.choice([1, 2, 4, 30], 5), absent - 1)
        shown = (absent <= 0) & (np.arange(5) <= (1, 4, 2, 0, 3)[index // 66])
        yield [round(x) for x in (middle + reach * np.sin(speed * index + phase))[shown].tolist()]


LOOPS = {
    "fast": (Street, {"search": "fast", "max_instances": 3}, False),
    "one": (Street, {"max_instances": 1, "search_interval": 3}, True),
    "some": (Street, {"max_instances": 3, "min_presence_score": 0.5}, True),
    "sparse": (Street, {"max_instances": 4, "sparse_from": 2, "search_interval": 2}, True),
    "same": (Street, {"max_instances": 4, "thresholds": GraphThresholds(same_overlap=0.2)}, False),
    "searched": (SearchedStreet, {"max_instances": 2}, False),
    "searched-stills": (SearchedStreet, {"max_instances": 2, "static_image": True}, False),
    "stills": (Street, {"max_instances": 3, "static_image": True}, False),
    "blended-stills": (
        Street,
        {"max_instances": 3, "static_image": True, "thresholds": GraphThresholds(overlap=0.5)},
        False,
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_streams_are_searched_and_tracked_as_stored(name):
    kind, options, searches = LOOPS[name]
    scene = kind()
    options = CommonOptions(min_detection_score=0.45, **options)
    search = Recorded(scene, 2) if searches else None
    fast = {"merge_nested": True, "propagate": scene.propagate, "max_tracks": options.max_instances}
    tracker = tracking.Tracker(**({} if options.search == "fast" else fast))
    rows = []
    with Detector(scene, tracker, options, stream_search=search) as detector:
        for index, places in enumerate(walks(7, 330)):
            scene.show(*places)
            found = detector.detect(IMAGE, time=None if index < 9 else index / 25 - 20 * (index > 250))
            rows.append(
                [[list(one) for one in found], found.total, found.complete, scene.looks[-1:], len(scene.searches)]
            )
            if index == 300:
                detector.reset()
    assert_as_stored(f"loops.{name}", [rows, search.steps if search else []])


@pytest.mark.parametrize("flip", [False, True])
def test_results_of_a_region_have_coordinates_of_the_image(flip):
    scene = Handed()
    detector = Detector(scene, tracking.Tracker(), CommonOptions(static_image=True, flip_horizontal=flip))
    scene.show(100)
    (plain,), (moved,) = detector.detect(IMAGE[:, :400]), detector.detect(IMAGE, roi=(300, 20, 400, 80))
    shift = (1000 - 300 - 400 if flip else 300, 20)
    np.testing.assert_allclose(moved.keypoints[:, :2], plain.keypoints[:, :2] + shift, atol=1e-3)


@pytest.mark.parametrize("roi", [(-1, 0, 9, 9), (0, -1, 9, 9), (0, 0, 0, 9), (0, 0, 9, 0)])
def test_a_region_has_a_place_and_a_size(roi):
    with pytest.raises(InputError, match="give x and y of at least 0, and width and height of at least 1"):
        check_region(roi, CommonOptions())
    check_region((0, 0, 1, 1), CommonOptions())
    for option in ("distance", "transform"):
        with pytest.raises(InputError, match=f"roi 0,0,1,1: cannot be combined with {option}"):
            check_region((0, 0, 1, 1), SimpleNamespace(**{option: True}))


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
    assert_as_stored(f"crops.{precision}", network.input[0], absolute=1.5)


@pytest.mark.parametrize("name", LOOPS)
def test_graphs_show_the_steps_that_are_stored(name):
    kind, options, searches = LOOPS[name]
    scene, options = kind(), CommonOptions(smoothing="none" if "min_presence_score" in options else "auto", **options)
    search = Recorded(scene, 2) if searches else None
    still = (lambda rgb: ([], True)) if options.static_image else None
    used = {} if name == "fast" else {"detector": "found.onnx", "landmark": "points.onnx", "recrop": "again.onnx"}
    with Detector(scene, tracking.Tracker(), options, search=still, stream_search=search, networks=used) as detector:
        graph = detector.graph
        assert_as_stored(f"graphs.{name}", [graph.nodes, str(graph), graph.mermaid()])


class Clock(tracking.Tracker):
    """Tracker that records the times of its frames, and None where its clock restarts."""

    def __init__(self):
        super().__init__()
        self.times = []

    def update(self, carried, new, now_s):
        self.times.append(now_s)
        return super().update(carried, new, now_s)

    def restart_clock(self):
        self.times.append(None)
        super().restart_clock()


@pytest.mark.parametrize(
    ("given", "times"),
    [
        ([None] * 4, [0, 1 / 30, 2 / 30, 3 / 30]),
        ([None, 2.5, None, 2.6], [0, 2.5, 2.5 + 1 / 30, 2.6]),
        ([-3.0, None], [-3.0, -3 + 1 / 30]),
        ([1.0, 1 + 2e-6, 1 + 2.5e-6], [1.0, 1 + 2e-6, None, 1 + 2.5e-6]),
        ([1.0, 1.0, 0.5, 0.6], [1.0, None, 1.0, None, 0.5, 0.6]),
        ([1.0, math.nan, 0.1], [1.0, None, 0, 0.1]),
        ([math.inf, 0.1], [None, 0, 0.1]),
    ],
)
def test_a_stream_has_30_frames_a_second_unless_times_are_given(given, times):
    clock, scene = Clock(), Street()
    scene.show(100)
    with Detector(scene, clock, CommonOptions()) as detector:
        for time in given:
            detector.detect(IMAGE, time=time)
    assert clock.times == pytest.approx(times, abs=1e-9)


@pytest.mark.parametrize("side", [32_766, 32_767])
def test_an_image_has_a_maximum_side(side):
    with Detector(Street(), tracking.Tracker(), CommonOptions(static_image=True)) as detector:
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
    detector = Detector(scene, tracking.Tracker(), CommonOptions(), stream_search=Recorded(scene, 1))
    assert detector.kind == ""
    detector.close()
    detector.close()
    assert calls == ["kind"]
    for use in (lambda: detector.graph, lambda: detector.detect_batch([IMAGE]), lambda: detector.detect(IMAGE)):
        with pytest.raises(InputError, match="this detector is closed"):
            use()


@pytest.mark.parametrize(("threads", "images", "siblings"), [(2, 3, True), (1, 3, False), (2, 1, False)])
def test_batches_of_stills_run_in_threads_with_a_detector_each(monkeypatch, threads, images, siblings):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    scene, made, used = Street(), [], []
    options = CommonOptions(static_image=True, max_instances=2, threads=threads)
    scene.show(100, 500)

    def sibling():
        made.append(Detector(scene, tracking.Tracker(), options))
        close = made[-1].close
        made[-1].close = lambda: used.append("closed") or close()
        return made[-1]

    with Detector(scene, tracking.Tracker(), options, create_sibling=sibling) as detector:
        found = detector.detect_batch([IMAGE] * images)
        assert [sorted(one.x for one in each) for each in found] == [[100, 500]] * images
        assert (0 < len(made) <= 2) == siblings
        detector.detect_batch([IMAGE] * images)
        assert len(made) <= 2
    assert used == ["closed"] * len(made)


@pytest.mark.parametrize(("score", "count"), [(0.5, 0), (0.51, 1)])
@pytest.mark.parametrize("still", [False, True])
def test_an_instance_has_more_than_the_minimum_score(still, score, count):
    scene = Scene()
    scene.observe = lambda rgb, box: seen_at(box.cx, 50, score=score)
    scene.show(100)
    with Detector(scene, tracking.Tracker(), CommonOptions(static_image=still)) as detector:
        assert len(detector.detect(IMAGE)) == count


@pytest.mark.parametrize(("shift", "count"), [(33, 1), (34, 2)])
def test_boxes_that_overlap_by_more_than_half_show_one_instance(shift, count):
    """Boxes of 100 have an IoU of 67 / 133 or 66 / 134."""
    scene = Scene()
    scene.observe = lambda rgb, box: seen_at(5 * box.cx, 50)
    scene.show(50, 50 + shift)
    with Detector(scene, tracking.Tracker(), CommonOptions(static_image=True, max_instances=9)) as detector:
        assert len(detector.detect(IMAGE)) == count


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
    with Detector(scene, tracking.Tracker(), CommonOptions(static_image=True)) as detector:
        assert len(detector.detect(IMAGE)) == 1


@pytest.mark.parametrize("still", [False, True])
def test_instances_of_the_search_of_stills_are_those_stored(still):
    """A stream is searched like a still where that is due."""
    scene, rows, searches = Street(), [], []
    options = CommonOptions(search="thorough", max_instances=2, search_interval=4, static_image=still)

    def search(rgb):
        searches.append(len(rows))
        return [seen_at(x, 50, score=0.3 + 0.15 * index) for index, x in enumerate(scene.places)], len(rows) % 3 > 0

    tracker = tracking.Tracker(merge_nested=True, propagate=scene.propagate, max_tracks=2)
    with Detector(scene, tracker, options, search=search) as detector:
        for places in walks(3, 200):
            scene.show(*places)
            found = detector.detect(IMAGE)
            rows.append([[list(one) for one in found], found.total, found.complete])
        boxes = detector.detect(IMAGE, boxes=[RotatedBox(100, 50, 100, 100), RotatedBox(500, 50, 100, 100)])
    assert_as_stored(f"loops.thorough.{still}", [rows, searches, [list(one) for one in boxes]])
