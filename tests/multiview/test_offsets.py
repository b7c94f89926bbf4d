import numpy as np
import pytest

from sonjit.errors import InputError
from sonjit.multiview.automatic.detection import ChunkDetections
from sonjit.multiview.automatic.offsets import fit_offsets, joint_axes, load_offsets, triangulate_detections

from .projects import hands
from .rigs import random_rig

FRAMES, MARKED = 40, 30


@pytest.fixture(scope="module")
def truth():
    return hands(FRAMES, 3).reshape(FRAMES, 2, 21, 3) * (1, 1, -1)


@pytest.fixture(scope="module")
def rig():
    return random_rig(6)


def detected(rig, truth, by_view_m, noise_px=0.0):
    """What a detector sees that is off by 4 mm across each joint, and more on the side that a view sees."""
    axes = joint_axes(truth)
    to_camera = rig.centres_m[:, None, None, None] - truth
    to_camera /= np.linalg.norm(to_camera, axis=-1, keepdims=True)
    across = np.einsum("nsji,cnsji->cnsj", axes[..., 0], to_camera)
    off = axes[..., 0] * (0.004 + by_view_m * across[..., None])
    pixels = np.stack([camera.project(there) for camera, there in zip(rig, truth + off, strict=True)], 1)
    pixels += np.random.default_rng(0).normal(0, noise_px, pixels.shape)
    return ChunkDetections(np.arange(FRAMES), pixels.astype(np.float32), np.ones(pixels.shape[:-1], np.float32), ())


def error_mm(points, truth):
    return 1000 * float(np.linalg.norm(points - truth, axis=-1).mean())


@pytest.mark.parametrize("by_view_m", [0.0, 0.006])
def test_offsets_that_go_with_the_hand_and_the_view_are_learned(rig, truth, by_view_m):
    seen = detected(rig, truth, by_view_m, noise_px=0.5)
    human, new = truth.copy(), np.arange(FRAMES) >= MARKED
    human[new] = np.nan
    offsets = fit_offsets(rig, seen, human)
    assert (offsets.frames == MARKED).all()
    without, corrected = (triangulate_detections(rig, seen.part(new), one).points_m for one in (None, offsets))
    assert error_mm(without, truth[new]) > 3.5
    assert error_mm(corrected, truth[new]) < 0.8


def test_a_mirrored_hand_has_mirrored_axes(truth):
    mirror = np.array([-1, 1, 1])
    other = joint_axes(truth[:, ::-1] * mirror)[:, ::-1] * mirror[:, None]
    np.testing.assert_allclose(other, joint_axes(truth), atol=1e-9)


def test_what_is_unknown_or_another_hand_stays_and_teaches_nothing(rig, truth):
    seen = detected(rig, truth, 0.0)
    wrong = seen.exchanged(np.arange(FRAMES) % 10 == 0)
    wrong.points_px[1, :, 0, 8] = np.nan
    offsets = fit_offsets(rig, wrong, truth)
    found = triangulate_detections(rig, wrong)
    same = offsets.correct(rig, wrong, found.points_m)
    assert np.isnan(same.points_px[1, :, 0, 8]).all()
    right = np.arange(FRAMES) % 10 > 1
    assert error_mm(triangulate_detections(rig, same.part(right)).points_m, truth[right]) < 0.3


def test_offsets_come_back_from_their_file_and_damage_is_named(rig, truth, tmp_path):
    offsets = fit_offsets(rig, detected(rig, truth, 0.0), truth)
    offsets.save(tmp_path / "offsets.json")
    np.testing.assert_array_equal(load_offsets(tmp_path / "offsets.json").values_m, offsets.values_m)
    (tmp_path / "offsets.json").write_text("{")
    with pytest.raises(InputError, match="no offsets"):
        load_offsets(tmp_path / "offsets.json")


def test_too_few_frame_sets_teach_nothing(rig, truth):
    human = np.full_like(truth, np.nan)
    human[:3] = truth[:3]
    with pytest.raises(InputError, match="3 frames"):
        fit_offsets(rig, detected(rig, truth, 0.0), human)
