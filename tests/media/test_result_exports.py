import base64
import copy
import gc
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from sonjit import Frame, Hand, InputError, MissingExtraError, Results
from sonjit.results import Gesture, MotionEvent

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages


@pytest.fixture
def image():
    return np.full((120, 160, 3), 90, np.uint8)


@pytest.fixture
def hand():
    k = np.arange(21, dtype=np.float32)
    return Hand("Left", 0.75, np.column_stack([20 + 5 * k, 100 - 3 * k, k]), np.column_stack([k, k, k]) / 100, id=4)


def test_draw_takes_a_list_one_result_or_a_frame(image, hand):
    drawn = sonjit.draw(image, [hand])
    assert drawn.shape == image.shape
    assert (drawn != image).any()
    np.testing.assert_array_equal(drawn, sonjit.draw(image, hand))
    np.testing.assert_array_equal(drawn, sonjit.draw(image, Frame(0, None, [hand])))
    assert (sonjit.draw(image, hand, labels=False) != drawn).any()
    np.testing.assert_array_equal(sonjit.draw(image, []), image)


def test_results_are_a_list_that_draws_itself(image, hand):
    results = Results([hand], image)
    assert results == [hand]
    np.testing.assert_array_equal(results.draw(), sonjit.draw(image, [hand]))
    assert results.image is image


@pytest.mark.slow
def test_results_do_not_keep_the_image(image, hand):
    own = image.copy()
    results = Results([hand], own)
    del own
    gc.collect()
    with pytest.raises(InputError, match=r"the image of these results is not in memory. Keep it and call sonjit\.draw"):
        results.draw()
    assert "<table>" in results._repr_html_()
    assert "<img" not in results._repr_html_()


def test_results_of_a_file_read_it_again(tmp_path, image, hand):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), image)
    np.testing.assert_array_equal(Results([hand], str(path)).draw(), sonjit.draw(image, [hand]))


def test_results_are_copied_and_pickled_as_lists(image, hand):
    results = Results([hand], image)
    for again in (copy.deepcopy(results), pickle.loads(pickle.dumps(results))):
        assert type(again) is Results
        assert again == results
    frame = Frame.of(Frame(3, 0.1, [hand]), image)
    assert pickle.loads(pickle.dumps(frame)) == copy.deepcopy(frame) == Frame(3, 0.1, [hand])


def test_a_notebook_shows_a_picture_and_a_line_each(image, hand):
    page = Results([hand], image)._repr_html_()
    assert page.startswith('<img alt="what was found" src="data:image/jpeg;base64,')
    assert "<td>Left hand</td><td>0.75</td><td>4</td><td>20, 40, 120, 100</td>" in page
    assert Results([], image)._repr_html_().endswith("<p>nothing found</p>")


def test_a_notebook_shows_small_images_in_their_size_and_large_ones_smaller(image, hand):
    for factor in (1, 12):
        page = Results([hand], shown := np.tile(image, (factor, factor, 1)))._repr_html_()
        data = base64.b64decode(page.partition("base64,")[2].partition('"')[0])
        height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        assert max(height, width) == (160 if factor == 1 else 480)
        assert width / height == pytest.approx(shown.shape[1] / shown.shape[0], abs=0.02)


def test_show_opens_a_file_or_displays_in_a_notebook(monkeypatch, image, hand):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    results = Results([hand], image)
    results.show()
    shown = cv2.imread(opened[0].removeprefix("file://"))
    np.testing.assert_array_equal(shown[..., ::-1], results.draw())
    displayed = []
    notebook = SimpleNamespace(get_ipython=lambda: object(), display=SimpleNamespace(display=displayed.append))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    results.show()
    assert displayed == [results]
    assert len(opened) == 1


def test_pictures_of_show_are_removed_after_the_end_of_the_program(tmp_path):
    code = """
import webbrowser
from pathlib import Path
from urllib.request import url2pathname
import numpy as np
from sonjit.media import Results
opened = []
webbrowser.open = opened.append
image = np.zeros((9, 9, 3), np.uint8)
results = Results([], image)
for _ in range(3):
    results.show()
assert len({Path(url2pathname(url[7:])).read_bytes() for url in opened}) == 1
assert len(set(opened)) == 3
"""
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    while any(tmp_path.iterdir()):
        time.sleep(0.1)


def test_results_become_types_of_supervision(image, hand):
    pytest.importorskip("supervision")
    left, right = replace(hand, id=4), replace(hand, id=2, handedness="Right", score=0.5)
    found = Results([left, right, left], image)
    boxes, points = found.to_supervision("detections"), found.to_supervision()
    np.testing.assert_allclose(boxes.xyxy, [left.box, right.box, left.box])
    np.testing.assert_allclose(points.xy, [one.keypoints[:, :2] for one in found])
    for shown in (boxes, points):
        assert shown.class_id.tolist() == [0, 1, 0]
        assert shown.data["class_name"].tolist() == ["Left hand", "Right hand", "Left hand"]
    np.testing.assert_allclose(boxes.confidence, [left.score, 0.5, left.score])
    assert boxes.tracker_id.tolist() == points.data["tracker_id"].tolist() == [4, 2, 4]
    unknown = Results([left, replace(right, id=None)], image)
    assert unknown.to_supervision("detections").tracker_id is None
    assert "tracker_id" not in unknown.to_supervision().data
    assert [len(Results([], image).to_supervision(form)) for form in ("keypoints", "detections")] == [0, 0]
    with pytest.raises(InputError, match=r"Unknown form 'boxes'\. Choose from keypoints, detections"):
        found.to_supervision("boxes")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_data_frame_has_a_row_per_keypoint(library, image, hand):
    pytest.importorskip(library)
    table = Results([hand, hand], image).to_dataframe(library)
    assert table.shape == (42, 16)
    assert list(table["name"][:2]) == ["wrist", "thumb_cmc"]
    assert float(table["y"][1]) == 97
    for one in (table, sonjit.to_dataframe([hand], library)):
        assert set(one["frame"]) == {0}
    both = sonjit.to_dataframe([Frame(0, 0.0), Frame(1, 0.1, [hand])], library)
    assert both.shape == (22, 16)
    assert sonjit.to_dataframe([], library).shape == (0, 16)


def test_a_data_frame_requires_a_known_and_installed_library(monkeypatch, hand):
    with pytest.raises(InputError, match="Unknown library 'arrow'"):
        sonjit.to_dataframe([hand], "arrow")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        MissingExtraError, match=r"a data frame needs an optional dependency: pip install .*\[polars\]'"
    ):
        sonjit.to_dataframe([hand], "polars")


def test_a_notebook_shows_a_table_of_all_results(image, hand):
    found = [hand, replace(hand, id=None, score=0.126, handedness="Right")]
    assert Results(found, image)._repr_html_().partition(">")[2] == (
        "<table><tr><th>found</th><th>score</th><th>id</th><th>box (px)</th></tr>"
        "<tr><td>Left hand</td><td>0.75</td><td>4</td><td>20, 40, 120, 100</td></tr>"
        "<tr><td>Right hand</td><td>0.13</td><td></td><td>20, 40, 120, 100</td></tr></table>"
    )


def test_results_have_totals_and_keep_them_when_some_are_selected(image, hand):
    plain = Results([hand, hand], image)
    assert (plain.total, plain.complete, plain.motions) == (2, True, [])
    motions = [MotionEvent("wave", "begin", 4, "Left", 0.5, 1.0, (0, 0), 2)]
    cut = Results([hand, replace(hand, score=0.1)], image, motions, 0, False, keypoint_count=21)
    for one in (cut, cut[cut.scores > 0.5], pickle.loads(pickle.dumps(cut))):
        assert (one.total, one.complete, one.motions) == (0, False, motions)
    assert cut[cut.scores > 0.5].image is image
    empty = pickle.loads(pickle.dumps(Results([], image, keypoint_count=21)))
    assert [one.keypoints.shape[:2] for one in (empty, Results([], image))] == [(0, 21), (0, 0)]
    with pytest.raises(InputError, match="not in memory"):
        Results([hand], b"bytes").draw()


def test_tracked_frames_count_the_hidden_instances(image, hand):
    assert Frame(0, 0.0, [hand, hand]).total == 2
    tracked = Frame.of(Frame(3, 0.5, [hand], source="a.png"), image, 4)
    assert (tracked.total, tracked.index, tracked.time, tracked.source) == (5, 3, 0.5, "a.png")
    np.testing.assert_array_equal(tracked.draw(), sonjit.draw(image, hand))


def frames_of(hand, body, face):
    """Return frames of photographs with hands, a body and a face, and one without results."""
    hand.gesture = Gesture("Victory", 0.5)
    unknown = replace(hand, id=None, handedness="Right", error_px=np.linspace(1, 5, 21, dtype=np.float32))
    unknown.keypoints = np.where(np.arange(21)[:, None] == 3, np.float32(np.nan), hand.keypoints)
    return [
        Frame(0, None, [hand, unknown], source="a.png"),
        Frame(1, 0.25, source="b.png"),
        Frame(4, 0.75, bodies=[body(id=2)]),
        Frame(5, 1.0, faces=[face(6)], source="c.png"),
        Frame(6, None, faces=[face(6, blendshapes={"_neutral": 0.5, "jawOpen": 0.123456})]),
    ]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_are_as_stored(library, hand, body, face):
    module, found = pytest.importorskip(library), {}
    for rows in ("keypoint", "instance", "wide"):
        for options in ({}, {"measures": True, "degrees": True}):
            table = sonjit.to_dataframe(frames_of(hand, body, face), library, rows=rows, **options)
            shown = found[f"{rows} {len(options)}"] = {}
            for name in list(table.columns):
                values = table[name].to_list()
                is_known = [value is not None and (library == "polars" or not module.isna(value)) for value in values]
                shown[name] = [value if known else None for value, known in zip(values, is_known, strict=True)]
    assert_as_stored("frames", found)


def test_columns_of_measures_have_the_type_of_their_known_values(hand):
    pandas = pytest.importorskip("pandas")
    first = {"text": None, "count": 2, "share": 0.5, "unknown": None, "whole": 3}
    second = {"text": "Fist", "count": None, "share": None, "unknown": None, "whole": 4.5}
    for order in ([first, second], [second, first]):
        frame = Frame(0, 0.5, [hand, replace(hand, id=5)])
        frame.measures = order
        for measures in (False, True):  # those of a frame are always shown
            table = sonjit.to_dataframe(frame, rows="instance", measures=measures)
            assert str(table["count"].dtype) == "Int64"
            assert list(table["count"].fillna(-1)) == ([2, -1] if order[0] is first else [-1, 2])
            assert [value for value in table["text"] if not pandas.isna(value)] == ["Fist"]
            assert sum(table["share"].fillna(0)) == 0.5
            assert table["unknown"].isna().all()
            assert sorted(table["whole"]) == [3, 4.5]
