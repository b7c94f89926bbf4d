import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.media.found import Results


class Finds:
    """Stands for a detector's network: one hand whose score is the image's brightness."""

    def detect(self, image, *, time=None):
        points = np.full((21, 3), 5, np.float32)
        return Results([sonjit.Hand("Left", float(image.max()) / 255, points, points)])


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30, 3), 50 * number, np.uint8))
    return tmp_path


def test_frames_come_with_what_was_found_and_the_image(monkeypatch, folder):
    monkeypatch.setattr("sonjit.detectors.tracked_frames.Detector", Finds)
    scores = []
    for frame in sonjit.track(folder, Finds()):
        assert frame.image.shape == (20, 30, 3)
        assert frame.image.max() == 50 * frame.index
        assert frame.source == f"{frame.index}.png"
        assert frame.draw().shape == (20, 30, 3)
        scores += [hand.score for hand in frame.hands]
    np.testing.assert_allclose(scores, [0, 50 / 255, 100 / 255])


def test_a_named_detector_takes_the_options_of_create_detector(folder):
    with pytest.raises(InputError, match="unknown kind 'paws'"):
        next(sonjit.track(folder, "paws"))
    with pytest.raises(InputError, match="no such file"):
        next(sonjit.track(folder / "none.mp4"))


@pytest.mark.network
def test_a_folder_is_searched_as_stills_with_the_published_networks(folder):
    frames = list(sonjit.track(folder, "hands", search="fast"))
    assert [(frame.index, frame.time, frame.hands) for frame in frames] == [(0, None, []), (1, None, []), (2, None, [])]
    with pytest.raises(InputError, match="the image of these results is gone"):
        frames[0].draw()
