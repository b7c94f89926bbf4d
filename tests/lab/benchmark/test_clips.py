import numpy as np
import pytest

from sonjit.lab.benchmark.cases import DRIFT_FRAMES, drifting, save_clip


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)


def test_saved_clip_is_an_npy_file(tmp_path):
    save_clip(None, tmp_path / "clip.npy", 4)
    frames = np.load(tmp_path / "clip.npy")
    assert frames.shape == (4, 480, 640, 3)
    assert frames.dtype == np.uint8


@pytest.mark.slow
def test_a_saved_clip_of_a_short_video_has_its_true_length(tmp_path):
    save_clip(None, tmp_path / "all.npy", 100_000)
    assert np.load(tmp_path / "all.npy", mmap_mode="r").shape[0] == 360


def test_copies_stand_side_by_side(tmp_path):
    save_clip(None, tmp_path / "one.npy", 2)
    save_clip(None, tmp_path / "two.npy", 2, copies=2)
    one, two = np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy")
    assert two.shape == (2, 480, 1280, 3)
    assert np.array_equal(two, np.concatenate([one, one], axis=2))


def test_a_image_drifts_by_integer_pixels(image):
    frames = list(drifting(image))
    assert len(frames) == DRIFT_FRAMES
    assert {frame.shape for frame in frames} == {(92, 142, 3)}
    places = [
        (x, y)
        for frame in frames
        for x in range(9)
        for y in range(9)
        if np.array_equal(image[y : y + 92, x : x + 142], frame)
    ]
    assert len(places) == DRIFT_FRAMES
    steps = np.abs(np.diff(places, axis=0, append=places[:1]))
    assert 0 < steps.max() <= 1
    assert np.array(places).min(axis=0).tolist() == [0, 0]
    assert np.array(places).max(axis=0).tolist() == [8, 8]


def test_saved_image_drifts(image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "one.png")
    save_clip(tmp_path / "one.png", tmp_path / "one.npy", 300)
    assert np.array_equal(np.load(tmp_path / "one.npy"), list(drifting(image)))
