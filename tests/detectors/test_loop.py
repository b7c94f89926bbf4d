"""The detector pipeline, with a kind that needs no network."""

import logging
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError, OneEuro
from sonjit.detectors import Detector, smoothing, tracking
from sonjit.detectors.loop import Loop
from sonjit.detectors.options import CommonOptions, HandOptions
from sonjit.geometry.boxes import RotatedBox
from sonjit.gestures import Gesture
from sonjit.gestures.custom import LearnedGestures
from sonjit.gestures.custom_motions import CustomMotions
from sonjit.results import Hand

from .fakes import Scene

IMAGE = np.zeros((100, 1000, 3), np.uint8)
times = st.none() | st.floats() | st.sampled_from([0.0, -1.0, 1.0, 1 / 30, 1e17, 5e-324, math.nan, math.inf, -math.inf])


def make(smoother=lambda: None, **options):
    scene = Scene()
    return scene, Detector(Loop(scene, tracking.Tracker(smoother), CommonOptions(**{"max_instances": 2} | options)))


def play(scene, detector, frames):
    """Return the results of each frame of positions."""
    results = []
    for places in frames:
        scene.show(*places)
        results.append(detector.detect(IMAGE))
    return results


class FollowedScene(Scene):
    """Scene whose observations have a box in the next frame."""

    def box_after(self, observation):
        x, y = observation.keypoints[:2, :2].mean(axis=0).tolist()
        return RotatedBox(x, y, 100, 100)


def test_an_error_of_a_recording_follows_the_results_of_the_frames_before_it():
    scene = FollowedScene([100])
    trackers = (tracking.Tracker(lambda: None) for _ in range(2))
    search = lambda rgb: ([scene.observe(rgb, box) for box in scene.find(rgb, 0)], True)  # noqa: E731
    detector = Detector(Loop(scene, next(trackers), CommonOptions(), search=search, backward=next(trackers)))

    def frames():
        yield from ((IMAGE, number / 30) for number in range(5))
        raise OSError("the disk was removed")

    counts = []
    with pytest.raises(OSError, match="removed"):
        counts += (len(results) for results in detector.detect_frames(frames()))
    assert counts == [1] * 5


def test_the_graph_shows_the_loop_that_runs():
    _, stream = make()
    _, stills = make(static_image=True)
    back = [edge for edge in stream.graph.edges if edge.next_frame]
    assert [(one.source, one.target) for one in back] == [("tracks", "landmarks")]
    assert "tracks -. boxes .-> landmarks" in stream.graph.mermaid()
    assert "(next frame)" in str(stream.graph)
    assert not any(edge.next_frame for edge in stills.graph.edges)
    for graph in (stream.graph, stills.graph):
        assert {name for edge in graph.edges for name in edge[:2]} == graph.nodes.keys()
    assert "every 3" in make(search_interval=3)[1].graph.nodes["search"]


class HandScene(Scene):
    """Scene whose results are hands."""

    def result(self, rgb, observation, track):
        id = None if track is None else track.id
        return Hand("Left", observation.score, observation.keypoints, observation.keypoints_3d, id)


@pytest.mark.parametrize("smoother", [lambda: None, lambda: smoothing.KeypointSmoother(OneEuro())])
def test_an_edit_of_results_is_an_error_and_changes_no_track(smoother):
    scene = HandScene()
    detector = Detector(Loop(scene, tracking.Tracker(smoother), CommonOptions(max_instances=2)))
    for places in ((100, 220), (102, 222), (104, 224)):
        scene.show(*places)
        for hand in detector.detect_async(IMAGE).result():
            with pytest.raises(ValueError, match="read-only"):
                hand.keypoints /= (IMAGE.shape[1], IMAGE.shape[0], 1)
            with pytest.raises(ValueError, match="read-only"):
                hand.keypoints_3d[:] = 0
            (track,) = (track for track in detector._loop.tracker.active if track.id == hand.id)
            for observation in (track.observation, track.smoothed):
                assert not np.shares_memory(observation.keypoints, hand.keypoints)
        assert [track.id for track in detector._loop.tracker.active] == [1, 2]


def test_empty_results_of_a_detector_have_the_shape_of_its_keypoints():
    scene = HandScene()
    detector = Detector(Loop(scene, tracking.Tracker(), CommonOptions()), keypoint_count=21)
    assert detector.detect(IMAGE).xy.shape == (0, 21, 2)


class RefiningScene(Scene):
    """Scene that refines every observation by a pixel."""

    def refine(self, observation):
        return replace(observation, keypoints=observation.keypoints + 1)


@pytest.mark.parametrize("smoother", [lambda: None, lambda: smoothing.KeypointSmoother(OneEuro())])
def test_results_are_refined_once_in_stills_and_streams_and_tracking_uses_the_plain_keypoints(smoother):
    found, boxes = {}, []
    for still in (False, True):
        scene = RefiningScene()
        detector = Detector(Loop(scene, tracking.Tracker(smoother), CommonOptions(static_image=still)))
        found[still] = play(scene, detector, [(300,)] * 4)
        boxes += [track.box.cx for track in detector._loop.tracker.active]
    assert [x for ((_, x),) in found[True]] == [x for ((_, x),) in found[False]] == [301] * 4
    assert boxes == pytest.approx([300])


@pytest.mark.parametrize("begins", [lambda one: one.reset(), lambda one: one.detect(IMAGE, time=0.1)])
def test_a_new_stream_does_not_smooth_gestures_with_those_of_the_last(begins):
    scene, made = HandScene(), ["open"]
    detector = Detector(Loop(scene, tracking.Tracker(lambda: None), HandOptions(max_instances=1)))
    detector.set_gestures(LearnedGestures(lambda hand: Gesture(made[0], 1.0), CustomMotions.learn([])))
    scene.show(100)
    for i in range(10):
        detector.detect(IMAGE, time=1 + i / 30)
    made[0] = "fist"
    assert detector.detect(IMAGE, time=1 + 10 / 30)[0].gesture.name == "open"
    begins(detector)
    assert detector.detect(IMAGE, time=1 + 11 / 30)[0].gesture.name == "fist"


def test_never_more_than_requested():
    scene, detector = make(max_instances=3, search_interval=1)
    results = play(scene, detector, [(100,), (100, 300), (100, 300, 500, 700, 900)])
    assert [len(result) for result in results] == [1, 2, 3]


def test_the_fast_search_of_stills_counts_proposals_beyond_the_maximum():
    scene, detector = make(static_image=True, max_instances=2)
    scene.show(100, 300, 500, 700)
    found = detector.detect(IMAGE)
    assert (len(found), found.total) == (2, 4)


def test_stills_have_no_state_and_no_ids():
    scene, detector = make(static_image=True)
    frames = [(100,), (500, 100), (), (100,)]
    assert play(scene, detector, frames) == [[(None, x) for x in frame] for frame in frames]
    assert scene.searches == [0, 1, 2, 3]


def test_given_boxes_replace_searching_and_carrying():
    scene, detector = make()
    play(scene, detector, [(100, 500)])
    scene.show(110, 500, 900)
    boxes = [RotatedBox(900, 50, 100, 100), RotatedBox(105, 50, 100, 100)]
    assert detector.detect(IMAGE, boxes=boxes) == [(1, 110), (3, 900)]
    assert scene.searches == [0]
    assert detector.detect(IMAGE, boxes=[]) == []


@pytest.mark.parametrize("smoother", [None, OneEuro], ids=["raw", "one-euro"])
@given(stamps=st.lists(times, min_size=1, max_size=12))
@pytest.mark.slow
def test_no_time_is_an_error_and_none_costs_an_instance(smoother, stamps):
    scene, detector = make(lambda: smoothing.KeypointSmoother(smoother()) if smoother else None)
    for i, stamp in enumerate(stamps):
        scene.show(100 + i, 500 - i)
        (first, left), (second, right) = detector.detect(IMAGE, time=stamp)
        assert (first, second) == (1, 2)
        assert (left, right) == pytest.approx((100 + i, 500 - i), abs=20)  # a filter may lag; NaN fails too


def test_a_time_that_decreases_is_reported_once(caplog):
    scene, detector = make()
    scene.show(100)
    with caplog.at_level(logging.WARNING, "sonjit"):
        for time in (1.0, 0.5, 0.5, math.nan):
            detector.detect(IMAGE, time=time)
    assert [record.message for record in caplog.records] == ["time 0.5 does not move forward from 1.0: filters restart"]


def test_a_stream_that_starts_again_continues_from_its_own_time(caplog):
    scene, detector = make()
    scene.show(100)
    with caplog.at_level(logging.WARNING, "sonjit"):
        for time in (9.0, 2.0, 1.5):
            detector._warned = False  # a stream reports it once
            detector.detect(IMAGE, time=time)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "time 2.0 does not move forward from 9.0",
        "time 1.5 does not move forward from 2.0",
    ]


def test_a_batch_is_consecutive_frames():
    scene, detector = make()
    scene.show(100)
    assert detector.detect_batch([IMAGE] * 3) == [[(1, 100)]] * 3
    assert scene.searches == [0]


def test_async_calls_are_worked_off_in_order_in_one_thread():
    scene, detector = make()
    scene.show(100)
    order, threads = [], set()
    observe = scene.observe

    def noted(rgb, box):
        order.append(rgb.shape[1])
        threads.add(threading.current_thread().name)
        return observe(rgb, box)

    scene.observe = noted
    with detector:
        futures = [detector.detect_async(np.zeros((100, 1000 + i, 3), np.uint8), time=i) for i in range(20)]
        results = [future.result(timeout=30) for future in futures]
    assert results == [[(1, 100)]] * 20
    assert order == list(range(1000, 1020))
    assert len(threads) == 1
    assert threading.main_thread().name not in threads


def test_an_async_error_arrives_in_its_future():
    _, detector = make()
    with detector:
        future = detector.detect_async(np.zeros((4, 4)))
        with pytest.raises(InputError):
            future.result(timeout=30)


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_a_closed_detector_refuses_images(used):
    scene, detector = make()
    scene.show(100)
    with detector:
        if used:
            detector.detect_async(IMAGE).result(timeout=30)
    detector.close()
    with pytest.raises(InputError, match="this detector is closed"):
        detector.detect(IMAGE)
    with pytest.raises(InputError, match="this detector is closed"):
        detector.detect_async(IMAGE).result(timeout=30)


@pytest.mark.parametrize(
    "image", [None, "nowhere.jpg", np.zeros((3, 3)), np.zeros((0, 5, 3), np.uint8), np.zeros((1, 32_767, 3), np.uint8)]
)
def test_no_image_is_an_input_error(image):
    _, detector = make()
    with pytest.raises(InputError):
        detector.detect(image)


@pytest.mark.parametrize(
    ("roi", "is_inside"), [((900, 40, 100, 60), True), ((901, 40, 100, 60), False), ((900, 41, 100, 60), False)]
)
def test_a_region_ends_at_the_edges_of_the_image(roi, is_inside):
    _, detector = make(static_image=True)
    if is_inside:
        assert detector.detect(IMAGE, roi=roi) == []
        return
    with pytest.raises(InputError, match=r"not in the image of 1000 x 100 px"):
        detector.detect(IMAGE, roi=roi)
