import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.studio.automatic.learning import fit_offsets, load_offsets, triangulate_detections
from sonjit.studio.automatic.run_folder import ChunkDetections

from .projects import hands
from .rigs import random_rig

FRAMES, MARKED = 40, 30


@pytest.fixture(scope="module")
def truth():
    return hands(FRAMES, 3).reshape(FRAMES, 2, 21, 3) * (1, 1, -1)


@pytest.fixture(scope="module")
def rig():
    return random_rig(6)


def detected(rig, truth, by_view_m, noise_px=0.0, behind_m=0.0):
    """What a detector sees that is off by 4 mm across the palm, and more on the side that a view sees.

    behind_m: noise of what is seen of the back of a hand.
    """
    rng = np.random.default_rng(0)
    across = truth[:, :, 17] - truth[:, :, 5]
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    to_camera = rig.centres_m[:, None, None, None] - truth
    to_camera /= np.linalg.norm(to_camera, axis=-1, keepdims=True)
    faces = np.einsum("nsi,cnsji->cnsj", across, to_camera)[..., None]
    off = across[:, :, None] * (0.004 + by_view_m * faces)
    off = off + rng.normal(0, 1, off.shape) * behind_m * seen_from_behind(rig, truth)[..., None, None]
    pixels = np.stack([camera.project(there) for camera, there in zip(rig, truth + off, strict=True)], 1)
    pixels += rng.normal(0, noise_px, pixels.shape)
    return ChunkDetections(np.arange(FRAMES), pixels.astype(np.float32), np.ones(pixels.shape[:-1], np.float32), ())


def seen_from_behind(rig, truth):
    """Return which views (C, n, 2) see the back of which hands."""
    out = np.cross(truth[:, :, 17] - truth[:, :, 5], truth[:, :, 9] - truth[:, :, 0])
    out[:, 1] *= -1
    return ((rig.centres_m[:, None, None] - truth[:, :, 9]) * out).sum(-1) > 0


def error_mm(points, truth):
    return 1000 * float(np.linalg.norm(points - truth, axis=-1).mean())


@pytest.mark.parametrize("by_view_m", [0.0, 0.006])
def test_offsets_that_depend_on_hand_and_view_are_learned(rig, truth, by_view_m):
    seen = detected(rig, truth, by_view_m, noise_px=0.5)
    human, new = truth.copy(), np.arange(FRAMES) >= MARKED
    human[new] = np.nan
    offsets = fit_offsets(rig, seen, human)
    assert (offsets.frames == MARKED).all()
    without, corrected = (triangulate_detections(rig, seen.part(new), one).points_m for one in (None, offsets))
    assert error_mm(without, truth[new]) > 3.5
    assert error_mm(corrected, truth[new]) < 0.8


def test_marks_of_right_hands_teach_left_ones(rig, truth):
    seen, human = detected(rig, truth, 0.0), truth.copy()
    human[:, 1] = np.nan
    corrected = triangulate_detections(rig, seen, fit_offsets(rig, seen, human)).points_m
    assert error_mm(triangulate_detections(rig, seen).points_m[:, 1], truth[:, 1]) > 3.5
    assert error_mm(corrected[:, 1], truth[:, 1]) < 2


def test_offsets_load_from_their_file_and_damage_is_reported(rig, truth, tmp_path):
    some = slice(0, 6)
    offsets = fit_offsets(rig, detected(rig, truth, 0.0).part(some), truth[some])
    file = tmp_path / "offsets.json"
    offsets.save(file)
    again = load_offsets(file)
    for name, values in vars(offsets).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    for damaged in ("{", '{"format": "sonjit-view-offsets", "values_m": [], "frames": []}', "[]"):
        file.write_text(damaged)
        with pytest.raises(InputError, match="no offsets"):
            load_offsets(file)


def test_too_few_frame_sets_teach_nothing(rig, truth):
    human = np.full_like(truth, np.nan)
    human[:3] = truth[:3]
    with pytest.raises(InputError, match="3 frames"):
        fit_offsets(rig, detected(rig, truth, 0.0), human)
