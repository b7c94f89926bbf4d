from dataclasses import replace

import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.studio.calibration.consistency import check_views
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.association import count_mirrored_hands, hand_chirality

from .rigs import random_rig

FRAMES = 30


@pytest.fixture(scope="module")
def seen():
    """Return six cameras and their pixels of a moving hand (6, F, 21, 2)."""
    rng = np.random.default_rng(2)
    rig = random_rig(6, 11)
    hand = rng.normal(0, 0.06, (21, 3))
    path = np.cumsum(rng.normal(0, 0.03, (FRAMES, 3)), 0)
    path -= path.mean(0)
    pixels = rig.project(hand + 0.6 * path[:, None])
    return rig, pixels + rng.normal(0, 1, pixels.shape)


def _kinds(rig, pixels):
    return {fault.camera: fault.kind for fault in check_views(rig, pixels)[1]}


def test_a_rig_that_fits_is_unchanged(seen):
    rig, pixels = seen
    assert check_views(rig, pixels) == (rig.names, ())
    assert check_views(rig, pixels.reshape(6, -1, 2))[0] == rig.names


def test_swapped_cameras_are_named_together(seen):
    rig, pixels = seen
    _, faults = check_views(rig, pixels[[0, 4, 2, 3, 1, 5]])
    assert {fault.kind for fault in faults} == {"swapped"}
    assert {fault.camera for fault in faults} == {"cam1", "cam4"}
    assert "'cam1' and 'cam4' are swapped" in faults[0].message


def _mistakes():
    def pixels_of(change):
        def made(rig, pixels):
            pixels = pixels.copy()
            pixels[2] = change(pixels[2])
            return rig, pixels

        return made

    def camera_of(**change):
        def made(rig, pixels):
            views = list(rig)
            given = {name: value(views[2]) for name, value in change.items()}
            views[2] = replace(views[2], camera=replace(views[2].camera, **given))
            return CameraRig(views), pixels

        return made

    def wrong_lens(view):
        K = view.camera.K.copy()
        K[[0, 1], [0, 1]] *= 1.4
        return K

    turn = matrix_from_rotation_vector(np.array([0.05, -0.3, 0.02]))
    yield "mirrored", pixels_of(lambda seen: np.stack([640 - seen[..., 0], seen[..., 1]], -1))
    yield "mirrored", pixels_of(lambda seen: np.stack([seen[..., 0], 480 - seen[..., 1]], -1))
    yield "turned", pixels_of(lambda seen: np.array([640, 480]) - seen)
    yield "turned", pixels_of(lambda seen: np.stack([480 - seen[..., 1], seen[..., 0]], -1))
    yield "turned", pixels_of(lambda seen: np.stack([seen[..., 1], 640 - seen[..., 0]], -1))
    yield "resized", pixels_of(lambda seen: seen / 2)
    yield "late", pixels_of(lambda seen: np.roll(seen, 4, axis=0))
    yield "late", pixels_of(lambda seen: np.roll(seen, -3, axis=0))
    yield "unknown", pixels_of(lambda seen: np.random.default_rng(0).uniform(0, 480, seen.shape))
    yield "unchecked", pixels_of(lambda seen: np.full_like(seen, np.nan))
    yield "lens", camera_of(K=wrong_lens)
    yield "moved", camera_of(R=lambda view: turn @ view.R, t=lambda view: turn @ view.t + [0.1, 0, 0.05])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mistake"), [pytest.param(*mistake, id=f"{mistake[0]}{n}") for n, mistake in enumerate(_mistakes())]
)
def test_a_mistake_is_called_by_its_name(seen, kind, mistake):
    assert _kinds(*mistake(*seen)) == {"cam2": kind}


def test_one_cameras_images_given_to_two_are_noticed(seen):
    rig, pixels = seen
    pixels = pixels.copy()
    pixels[3] = pixels[5]
    assert _kinds(rig, pixels) == {"cam3": "duplicate"}


def test_of_two_cameras_neither_is_believed(seen):
    rig, pixels = seen
    two = rig.subset(["cam0", "cam1"])
    assert check_views(two, pixels[:2])[0] == two.names
    with pytest.raises(InputError, match="no two of the cameras cam0, cam1 agree"):
        check_views(two, pixels[[1, 0]])
    with pytest.raises(InputError, match="points_px must have shape"):
        check_views(two, pixels)


def test_a_third_camera_decides_which_of_two_is_wrong(seen):
    rig, pixels = seen
    three = rig.subset(["cam0", "cam1", "cam2"])
    wrong = pixels[:3].copy()
    wrong[0] = wrong[0] + [60, 90]
    assert check_views(three, wrong)[0] == ("cam1", "cam2")


def test_right_hands_turn_one_way_and_left_ones_the_other(demo_clip):
    _, _, truth = demo_clip
    hands = [(hand["handedness"], np.array(hand["xyz_m"])) for frame in truth for hand in frame["hands"]]
    right, wrong = count_mirrored_hands(hands)
    assert right > 100
    assert wrong == 0
    mirrored = [(side, points * [-1, 1, 1]) for side, points in hands]
    assert count_mirrored_hands(mirrored) == (0, right)
    together = np.stack([points for _, points in hands])
    np.testing.assert_allclose(hand_chirality(together), [hand_chirality(points) for _, points in hands])
    assert count_mirrored_hands([("Left", np.full((21, 3), np.nan))]) == (0, 0)
