from contextlib import contextmanager
from inspect import signature
from typing import Literal, get_origin, get_overloads

import cv2
import numpy as np
import pytest
from PIL import Image

import sonjit
from sonjit import InputError
from sonjit._util import InputNote, InputWarning
from sonjit.detectors import Detector
from sonjit.detectors.kinds import KINDS
from sonjit.media.result_exports import Results
from sonjit.runs import tracked_frames

from ..support.scripted import Clip, Script, body, hand  # noqa: TID252  # one helper for all packages

BUILT_IN = tuple(KINDS)  # tests of extensions register more


class Finds(Detector):
    """Network of a detector that finds one hand whose score is the brightness of the image."""

    def __init__(self):
        """Load no network."""

    def detect_frames(self, frames, *, roi=None, copy=True):
        for rgb, time in frames:
            yield self.detect(rgb, time=time, roi=roi)

    def detect(self, image, *, time=None, roi=None):
        points = np.full((21, 3), 5, np.float32)
        return Results([sonjit.Hand("Left", float(image.max()) / 255, points, points)])

    def finish(self):
        return []

    def reset(self):
        pass


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30, 3), 50 * number, np.uint8))
    return tmp_path


def test_frames_contain_the_instances_and_the_image(folder):
    scores = []
    for frame in sonjit.track(folder, Finds()):
        assert frame.image.shape == (20, 30, 3)
        assert frame.image.max() == 50 * frame.index
        assert frame.source == f"{frame.index}.png"
        assert frame.draw().shape == (20, 30, 3)
        scores += [hand.score for hand in frame.hands]
    np.testing.assert_allclose(scores, [0, 50 / 255, 100 / 255])


def test_a_named_detector_takes_the_options_of_create_detector(folder):
    with pytest.raises(InputError, match="Unknown kind 'paws'"):
        next(sonjit.track(folder, "paws"))
    with pytest.raises(InputError, match="no such file"):
        next(sonjit.track(folder / "none.mp4"))


@pytest.mark.usefixtures("weights")
def test_a_folder_is_searched_as_stills_with_the_published_networks(folder):
    frames = list(sonjit.track(folder, "hands", search="fast"))
    assert [(frame.index, frame.time, frame.hands) for frame in frames] == [(0, None, []), (1, None, []), (2, None, [])]
    with pytest.raises(InputError, match="the image of these results is not in memory"):
        frames[0].draw()


def test_options_apply_only_to_names(folder):
    with pytest.raises(InputError, match="max_instances: options apply only to the name of a detector"):
        sonjit.track(folder, Finds(), max_instances=1)
    with pytest.raises(InputError, match="unknown angle"):
        sonjit.track(folder, "body", count="tail_angle_rad")


def test_photographs_and_videos_of_a_folder_are_all_tracked(folder):
    writer = cv2.VideoWriter(str(folder / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (30, 20))
    for _ in range(2):
        writer.write(np.full((20, 30, 3), 90, np.uint8))
    writer.release()
    (folder / "a-bad.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="a-bad.png"):
        found = [(frame.source, frame.index, frame.time is None) for frame in sonjit.track(folder, Finds())]
    stills = [(f"{number}.png", number, True) for number in range(3)]
    assert found == [*stills, ("a.mp4", 0, False), ("a.mp4", 1, False)]
    listed = [str(folder / "a.mp4"), folder / "2.png"]
    assert [frame.source for frame in sonjit.track(listed, Finds())] == [listed[0], listed[0], str(listed[1])]
    with pytest.raises(InputError, match="can be read"):
        list(sonjit.track([folder / "a-bad.png", folder / "a-bad.png"], Finds()))


def test_arrays_and_encoded_images_are_tracked(folder):
    grey = [np.full((20, 30, 3), level, np.uint8) for level in (10, 20)]
    encoded = (folder / "2.png").read_bytes()

    def names(source):
        return [(frame.index, frame.source, int(frame.image.max())) for frame in sonjit.track(source, Finds())]

    assert names(grey[1]) == [(0, "image 0", 20)]
    assert names(np.stack(grey)) == names(iter(grey)) == [(0, "image 0", 10), (1, "image 1", 20)]
    assert names(encoded) == [(0, "image 0", 100)]
    path = folder / "1.png"
    assert names([path, encoded]) == [(0, str(path), 50), (1, "image 1", 100)]
    assert names(path for path in [folder / "2.png", path]) == [(0, str(folder / "2.png"), 100), (1, str(path), 50)]
    with pytest.warns(UserWarning, match="image 1: "):
        assert names([grey[0], b"no image"]) == [(0, "image 0", 10)]
    with (
        pytest.warns(UserWarning, match="image 0: "),
        pytest.raises(InputError, match="none of the images can be read"),
    ):
        names([b"no image"])


def test_measures_of_frames_become_columns(folder):
    frames = list(sonjit.track(folder, Finds(), measures=True))
    assert frames[0].measures[0].keys() >= {"palm_facing", "gesture"}
    table = sonjit.to_dataframe(frames, rows="instance")
    assert len(table) == 3
    assert "palm_facing" in table


def test_each_built_in_detector_has_typed_options():
    kinds = [signature(one).parameters["detector"].annotation for one in get_overloads(sonjit.track)]
    assert [kind for kind in kinds if get_origin(kind) is Literal] == [Literal[name] for name in BUILT_IN]


@pytest.fixture
def opened(monkeypatch):
    """Let names of detectors open those of a script, and return name, options, kind of input and script of each."""
    found = []

    @contextmanager
    def open_detector(name, options, source, *, is_live):
        script = Script(name, lambda _: [body(45)] if name == "body" else [])
        found.append((name, {**options}, source, script))
        try:
            yield script
        finally:
            script.close()

    monkeypatch.setattr(tracked_frames, "detector_for_input", open_detector)
    return found


@pytest.fixture
def mixed(tmp_path, write_video):
    """Return a folder with two videos of 4 and 3 frames between images."""
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((16, 16, 3), np.uint8))
    for name, count in (("b.mp4", 4), ("d.mp4", 3)):
        write_video(tmp_path / name, [np.full((16, 16, 3), 40 * k, np.uint8) for k in range(count)], fps=10)
    return tmp_path


def test_files_of_a_folder_share_a_detector_for_their_kind_which_begins_anew_with_each_video(opened, mixed):
    frames = list(sonjit.track(mixed, "body", search="fast"))
    assert [(name, options, source) for name, options, source, _ in opened] == [
        ("body", {"search": "fast"}, "image"), ("body", {"search": "fast"}, "video")
    ]  # fmt: skip
    assert [(script.resets, script.closes) for *_, script in opened] == [(0, 1), (2, 1)]
    videos = [("b.mp4", k) for k in range(4)], [("d.mp4", k) for k in range(3)]
    assert [(frame.source, frame.index) for frame in frames] == [("a.png", 0), *videos[0], ("c.png", 2), *videos[1]]


@pytest.mark.parametrize("start_s", [0.0, 0.5])
def test_a_detector_begins_anew_with_each_source(weights, demo_clip, caplog, start_s):
    """A second recording has its own identities and filters, as if the detector were new."""

    def seen(detector):
        frames = sonjit.track(demo_clip[0], detector, start_s=start_s, end_s=start_s + 0.2)
        return [[(hand.id, hand.keypoints.tobytes()) for hand in frame.hands] for frame in frames]

    with sonjit.create_detector("hands") as detector:
        first = seen(detector)
        assert seen(detector) == first
    assert any(first)
    assert "does not move forward" not in caplog.text


def test_one_video_is_read_in_part(opened, mixed):
    frames = list(sonjit.track(mixed / "b.mp4", "body", start_s=0.1, end_s=0.3, every=2, roi=(1, 2, 3, 4)))
    assert [(frame.index, frame.source) for frame in frames] == [(2, str(mixed / "b.mp4"))]
    ((_, options, _, script),) = opened
    assert (options, script.calls) == ({}, [(0.2, (1, 2, 3, 4))])
    with pytest.warns(InputNote, match="Gaps are not visible"):
        recording = list(sonjit.track(str(mixed / "*.png"), "body", fps=4))
    assert [(frame.index, frame.time) for frame in recording] == [(0, 0.0), (1, 0.25)]


def test_a_detector_is_closed_where_a_program_leaves_the_loop(opened, mixed):
    frames = sonjit.track(mixed, "body")
    next(frames)
    frames.close()
    assert [script.closes for *_, script in opened] == [1]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("hands", {}, {}),
        ("hands", {"measures": True}, {"gestures": "canned"}),
        ("hands", {"measures": True, "gestures": None}, {"gestures": None}),
        ("hands", {"count": "index_curl"}, {}),
        ("face", {"measures": True}, {}),
        ("holistic", {"measures": True}, {"gestures": "canned"}),
    ],
)
def test_measures_of_hands_include_gestures(opened, mixed, kind, given, expected):
    list(sonjit.track(mixed / "a.png", kind, **given))
    assert [options for _, options, *_ in opened] == [expected]


def test_frames_have_measures_where_they_or_counts_are_requested(opened, mixed):
    found = {}
    for name, given in (("none", {}), ("all", {"measures": True}), ("one", {"count": "left_elbow"})):
        *_, frame = sonjit.track(mixed / "b.mp4", "body", **given)
        found[name] = frame.measures
    assert found["none"] == []
    assert found["one"][0].keys() - found["all"][0].keys() == {"repetitions"}
    *_, frame = sonjit.track(mixed / "b.mp4", "body", count=["left_elbow", "left_knee"])
    assert {"repetitions_left_elbow_angle", "repetitions_left_knee_angle"} <= frame.measures[0].keys()
    with pytest.raises(InputError, match="name each angle once"):
        sonjit.track(mixed / "b.mp4", "body", count=["left_elbow", "left_elbow"])


def test_events_end_with_the_last_frame_of_each_video(opened, tmp_path, write_video):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, [np.full((16, 16, 3), 40 * k, np.uint8) for k in range(5)], fps=10)
    frames = sonjit.track(tmp_path, "body", events=["left_elbow:60:90"])
    events = [(frame.source, frame.index, event.phase) for frame in frames for event in frame.events]
    assert events == [(name, *rest) for name in ("a.mp4", "b.mp4") for rest in ((1, "begin"), (4, "cancel"))]


def test_notes_and_problems_of_a_source_are_warnings_once():

    class Damaged(Clip):
        def _frames(self):
            self.problems += ["frame 3 is damaged"]
            self.notes += ["turned", "cut", "turned"]
            yield from super()._frames()

    with pytest.warns() as warned:
        frames = list(sonjit.track(Damaged(3), Script("body", lambda _: [])))
    assert [(str(one.message), one.category) for one in warned] == [
        ("turned", InputNote), ("cut", InputNote), ("frame 3 is damaged", InputWarning)
    ]  # fmt: skip
    assert [frame.index for frame in frames] == [0, 1, 2]


def test_images_in_memory_are_one_input_or_several(opened):
    rgb = np.zeros((4, 6, 3), np.uint8)
    image = Image.fromarray(rgb)
    png = cv2.imencode(".png", rgb)[1].tobytes()
    one = (rgb, rgb[..., 0], image, png, bytearray(png), memoryview(png))
    assert [[frame.source for frame in sonjit.track(source, "body")] for source in one] == [["image 0"]] * len(one)
    several = np.stack([rgb, rgb]), [image, png], iter([rgb, rgb])
    found = [[frame.source for frame in sonjit.track(source, "body")] for source in several]
    assert found == [["image 0", "image 1"]] * len(several)
    with pytest.raises(InputError, match="name an INPUT"):
        list(sonjit.track([], "body"))


def test_a_list_of_files_goes_on_after_one_that_cannot_be_read(opened, mixed):
    (mixed / "b.mp4").write_bytes(b"no video")
    with pytest.warns(InputWarning, match=r"b\.mp4"):
        found = [frame.source for frame in sonjit.track(mixed, "body")]
    assert found == ["a.png", "c.png", *["d.mp4"] * 3]
    for name in ("a.png", "c.png", "d.mp4"):
        (mixed / name).write_bytes(b"no image")
    with pytest.warns(InputWarning), pytest.raises(InputError, match="none of the 4 files can be read"):
        list(sonjit.track(mixed, "body"))


def test_held_gestures_end_with_the_last_frame_of_a_detector():
    def find(_):
        return [hand(gesture=("Fist", 0.5))]

    frames = list(sonjit.track(Clip(8), Script("hands", find)))
    assert [(frame.index, event.phase) for frame in frames for event in frame.events] == [(4, "begin"), (7, "end")]
