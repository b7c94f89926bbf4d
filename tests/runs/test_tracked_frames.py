import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.media.found import Results


class Finds:
    """Network of a detector that finds one hand whose score is the brightness of the image."""

    def detect(self, image, *, time=None, roi=None):
        points = np.full((21, 3), 5, np.float32)
        return Results([sonjit.Hand("Left", float(image.max()) / 255, points, points)])


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30, 3), 50 * number, np.uint8))
    return tmp_path


def test_frames_contain_the_instances_and_the_image(monkeypatch, folder):
    monkeypatch.setattr("sonjit.runs.tracked_frames.Detector", Finds)
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


def test_options_apply_only_to_names(folder, monkeypatch):
    monkeypatch.setattr("sonjit.runs.tracked_frames.Detector", Finds)
    with pytest.raises(InputError, match="max_instances: options apply only to the name of a detector"):
        sonjit.track(folder, Finds(), max_instances=1)
    with pytest.raises(InputError, match="unknown angle"):
        sonjit.track(folder, "body", count="tail_angle_rad")


def test_photographs_and_videos_of_a_folder_are_all_tracked(folder, monkeypatch):
    monkeypatch.setattr("sonjit.runs.tracked_frames.Detector", Finds)
    monkeypatch.setattr(Finds, "reset", lambda self: None, raising=False)
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


def test_arrays_and_encoded_images_are_tracked(folder, monkeypatch):
    monkeypatch.setattr("sonjit.runs.tracked_frames.Detector", Finds)
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


def test_measures_of_frames_become_columns(folder, monkeypatch):
    monkeypatch.setattr("sonjit.runs.tracked_frames.Detector", Finds)
    frames = list(sonjit.track(folder, Finds(), measures=True))
    assert frames[0].measures[0].keys() >= {"palm_facing", "gesture"}
    table = sonjit.to_dataframe(frames, rows="instance")
    assert len(table) == 3
    assert "palm_facing" in table
