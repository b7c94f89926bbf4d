import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit.detectors.search.finds import (
    LogisticRegression,
    Place,
    is_same_find,
    logit,
    merged,
    oks,
    tiles,
    window_around,
)
from sonjit.detectors.tracking import is_same_object
from sonjit.geometry.boxes import RotatedBox

WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_tiles_of_each_size_cover_the_image_once(width, height):
    windows = tiles(width, height)
    assert windows[0] == (0, 0, width, height)
    areas = [(w.right - w.left) * (w.bottom - w.top) for w in windows]
    assert sum(areas) == width * height * {1: 1, 5: 2, 14: 3}[len(windows)]
    assert all(0 <= w.left < w.right <= width and 0 <= w.top < w.bottom <= height for w in windows[:1])


def test_a_window_is_cut_off_at_the_image_and_none_where_nothing_is_left():
    rgb = np.zeros((100, 200, 3), np.uint8)
    assert window_around(10, 10, 60, rgb) == (0, 0, 40, 40)
    assert window_around(-100, 50, 60, rgb) is None


def test_similarity_falls_with_distance_and_counts_weights():
    points = np.random.default_rng(0).random((21, 2)) * 100
    assert oks(points, points) == pytest.approx(1)
    assert 1 > oks(points, points + 3) > oks(points, points + 10) > 0
    moved = points.copy()
    moved[0] += 1000
    assert oks(points, moved, weights=np.r_[0, np.ones(20)]) > 0.99 * oks(points, points)


def test_a_score_is_a_logistic_regression():
    regression = LogisticRegression(-1.0, {"a": 2.0})
    assert regression({"a": 0.5, "unused": 9}) == pytest.approx(0.5)
    assert LogisticRegression(0, {"p": 1.0})({"p": logit(0.8)}) == pytest.approx(0.8)


def test_places_that_show_the_same_are_one_with_all_their_votes():
    near, far = RotatedBox(50, 50, 40, 40, 0.0), RotatedBox(90, 50, 40, 40, 0.0)
    (first, second) = merged([Place(near, 0.4, {1}), Place(near._replace(cx=51), 0.9, {2}), Place(far, 0.3, {3})], 400)
    assert (first.score, first.votes, second.votes) == (0.9, {1, 2}, {3})


def test_one_inside_the_other_is_one_find_and_one_reading():
    class Seen:
        def __init__(self, points, left):
            self.keypoints, self.left = points, left

    points = np.random.default_rng(1).random((21, 3)).astype(np.float32) * 100
    inside = 50 + 0.7 * (points[::-1] - 50)
    assert is_same_find(points, inside)
    assert is_same_object(Seen(points, 0.1), Seen(inside, 0.2), one_reading=True)
    assert not is_same_object(Seen(points, 0.1), Seen(inside, 0.9), one_reading=True)
    assert not is_same_object(Seen(points, 0.1), Seen(inside, 0.2))


def test_boxes_of_faces_have_no_thorough_search():
    with pytest.raises(sonjit.InputError, match="search='thorough': face box has none"):
        sonjit.create_detector("face", model="box", search="thorough", static_image=True)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hands", "face", "body"])
def test_photographs_of_several_hold_a_third_more_than_the_published_search_finds(kind):
    """The first few; `benchmarks/wild.py` scores them all."""
    name, each = ("hands", "hands") if kind == "hands" else ("people", "people")
    if not (WILD / f"{name}.json").is_file():
        pytest.skip("photographs labelled by eye are missing")
    labels = json.loads((WILD / f"{name}.json").read_text("utf-8"))
    files = [file for file, entry in labels.items() if file[0] != "_" and 3 <= len(entry[each]) <= 8][:6]
    if not files:
        pytest.skip("no photograph of several")
    with (
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="fast") as fast,
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="thorough") as thorough,
    ):
        found = [(len(fast.detect(WILD / file)), thorough.detect(WILD / file)) for file in files]
    assert sum(len(many) for _, many in found) >= 1.33 * sum(few for few, _ in found)
    assert all(0.5 < one.score <= 1 for _, many in found for one in many)
