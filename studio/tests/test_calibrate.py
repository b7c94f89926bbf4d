import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.rotations import align_rigidly, matrix_from_rotation_vector
from sonjit_studio import camera_commands
from sonjit_studio.board_recognition import find_targets
from sonjit_studio.boards import BoardObservation, BoardObservations, target_from_text
from sonjit_studio.calibration import calibrate, calibrate_lens
from sonjit_studio.consistency import planar_ambiguity
from sonjit_studio.estimates import angle_between, poses_from_points
from sonjit_studio.triangulation import triangulate

from .drawn_boards import held_places, middled
from .rigs import FISHEYE, RATIONAL, random_rig, with_lenses

BOARD = target_from_text("charuco:9x7:24mm:17mm:4x4_50")


def seen_by(rig, frames, *, board=BOARD, noise=0.15, seed=0, steepest=0.45):
    """Return the points that each camera sees of a board in all orientations, with noise."""
    rng, found = np.random.default_rng(seed), []
    for frame in range(frames):
        R, t = middled(board, held_places(1, seed * 1000 + frame, towards=rng.normal(size=3))[0])
        points = board.points_m @ R.T + t
        for view in rig:
            away = points.mean(0) - view.centre_m
            if board.is_flat and away @ R[:, 2] / np.linalg.norm(away) < steepest:
                continue
            pixels = view.project(points)
            inside = view.inside(pixels)
            if inside.sum() >= 8:
                noisy = pixels[inside] + rng.normal(0, noise, (inside.sum(), 2))
                found.append(BoardObservation(board, view.name, frame, np.flatnonzero(inside), noisy))
    return BoardObservations(tuple(found), {view.name: (view.width, view.height) for view in rig})


def assert_is_rig(got, rig, *, centres_m, turns_rad):
    R, t = align_rigidly(got.centres_m, rig.centres_m)
    got = got.moved(R, t)
    assert np.linalg.norm(got.centres_m - rig.centres_m, axis=1).max() < centres_m
    assert max(angle_between(a.R, b.R) for a, b in zip(got, rig, strict=True)) < turns_rad


@pytest.fixture(scope="module")
def truth():
    return random_rig(5, 7, half=True)


@pytest.fixture(scope="module")
def seen(truth):
    return seen_by(truth, 60)


@pytest.fixture(scope="module")
def calibrated(seen):
    return calibrate(seen)


def test_a_board_gives_the_rig_back(truth, calibrated):
    assert calibrated.rms_px == pytest.approx(0.15 * 2**0.5, rel=0.1)
    assert_is_rig(calibrated.rig, truth, centres_m=0.01, turns_rad=0.03)  # lens and turn hang together; points do not:
    points = np.random.default_rng(1).normal(0, 0.07, (40, 3))
    found = triangulate(calibrated.rig, truth.project(points)).points_m
    R, t = align_rigidly(found, points)
    assert np.linalg.norm(found @ R.T + t - points, axis=1).max() < 5e-4
    apart = [np.linalg.norm(rig.centres_m[1:] - rig.centres_m[0], axis=1) for rig in (calibrated.rig, truth)]
    np.testing.assert_allclose(apart[0], apart[1], rtol=0.005)
    for name in truth.names:
        assert calibrated.rig[name].camera.K[0, 0] == pytest.approx(truth[name].camera.K[0, 0], rel=0.01)
    assert set(calibrated.rms_by_view()) == set(truth.names)


def test_distances_between_cameras_are_off_by_their_standard_errors(truth, calibrated):
    apart_m = [np.linalg.norm(rig.centres_m[:, None] - rig.centres_m, axis=2) for rig in (calibrated.rig, truth)]
    pairs = np.triu_indices(len(truth), 1)
    off = (apart_m[0] - apart_m[1])[pairs] / calibrated.distance_std_m[pairs]
    assert np.sqrt(np.square(off).mean()) < 3
    assert (calibrated.distance_std_m[pairs] < 0.005).all()


def test_a_lens_is_calibrated_from_a_separate_recording(truth, seen):
    own = calibrate_lens(BoardObservations(tuple(seen.of("cam1")), {"cam1": seen.sizes["cam1"]}))
    off = np.subtract(own.rig["cam1"].camera.intrinsics, truth["cam1"].camera.intrinsics)
    assert np.sqrt(np.square(off / own.lens_std["cam1"][:4]).mean()) < 3


@pytest.mark.nightly
@pytest.mark.slow
def test_late_images_of_a_moving_board_are_given_their_times(truth):
    """Show the board where it was up to 60 mm earlier, as webcams that are read in sequence."""
    rng, rig = np.random.default_rng(4), truth.subset(["cam0", "cam1", "cam2"])
    late = {"cam0": 0.0, "cam1": -0.5, "cam2": 0.1}
    found, times = [], {name: [] for name in rig.names}
    board = target_from_text("charuco:5x4:40mm:30mm:4x4_50")
    middle = board.points_m.mean(0)
    facing = held_places(1, 1, towards=rig.centres_m.mean(0))[0][0]
    for frame in range(24):
        for view in rig:
            time = frame + late[view.name] + rng.normal(0, 0.1)
            turn = 0.45 * np.sin(time * np.array([0.09, 0.07, 0.11]) + [0, 1, 2])
            place = 0.14 * np.sin(time * np.array([0.13, 0.16, 0.11]) + [2, 0, 1])
            points = (board.points_m - middle) @ (facing @ matrix_from_rotation_vector(turn)).T + place
            pixels = view.project(points) + rng.normal(0, 0.15, (len(points), 2))
            if view.inside(pixels).all():
                found.append(BoardObservation(board, view.name, frame, np.arange(len(points)), pixels))
                times[view.name].append(time - frame)
    seen = BoardObservations(tuple(found), {view.name: (view.width, view.height) for view in rig})
    lenses = {view.name: view.camera for view in rig}
    problems = calibrate(seen, lenses=lenses).problems
    assert any("estimate a time for each image with --image-times" in line for line in problems)
    made = calibrate(seen, lenses=lenses, image_times=True)
    assert made.rms_px < 0.3
    assert any("those of cam1 are older than the others' by 0.3" in line for line in made.problems)
    for name in rig.names:
        off = made.times[name] - times[name]
        assert np.std(off) < 0.08  # a frame set's own time is its images' mean
        assert abs(off.mean() + np.mean([np.mean(own) for own in times.values()])) < 0.05
    apart_m = [np.linalg.norm(one.centres_m[:, None] - one.centres_m, axis=2) for one in (made.rig, rig)]
    off_m, pairs = apart_m[0] - apart_m[1], np.triu_indices(3, 1)
    assert np.abs(off_m).max() < 0.002  # 15 mm where images are taken to be of one time
    assert np.abs(off_m[pairs] / made.distance_std_m[pairs]).max() < 3


def test_times_are_refused_where_images_have_none(truth, seen):
    rig = truth.subset(["cam0", "cam1"])
    sizes = {view.name: (view.width, view.height) for view in rig}
    at_once = BoardObservations(tuple(one for one in seen.found if one.view in sizes), sizes)
    with pytest.raises(InputError, match=r"no synchronisation error found: .* --image-times applies only"):
        calibrate(at_once, lenses={view.name: view.camera for view in rig}, image_times=True)


def test_a_world_of_second_solutions_is_caught(calibrated):
    rig, places = calibrated.rig.subset(["cam0"]), {}
    observations = [observation for observation in calibrated.observations if observation.view == "cam0"]
    for one in observations:
        both = poses_from_points(BOARD.points_m[one.points], one.pixels, rig["cam0"].camera, flat=True)
        view = rig["cam0"]
        places[one.pose_key] = (view.R.T @ both[-1].R, view.R.T @ (both[-1].t - view.t))
    ambiguity = planar_ambiguity(replace(calibrated, rig=rig, target_poses=places, observations=tuple(observations)))
    assert ambiguity.is_mirrored
    assert "mirrored" in str(ambiguity)


def test_boards_that_single_cameras_missed_join_one_rig(truth, seen):
    """Use two boards that are each missing in some cameras, and frame sets that show both."""
    other, lenses = target_from_text("checkerboard:7x4:30mm"), {v.name: v.camera for v in truth}
    first = [one for one in seen.found if one.view in truth.names[:3] and one.frame < 12]
    second = seen_by(truth.subset(truth.names[2:]), 12, board=other, seed=5).found
    found = calibrate(BoardObservations((*second, *first), seen.sizes), lenses=lenses)
    assert_is_rig(found.rig, truth, centres_m=0.004, turns_rad=0.005)
    assert {target for _, target in found.target_poses} == {BOARD, other}
    for lone in (first, second):
        with pytest.raises(InputError, match=r"cameras? .* saw the board in no frame set together"):
            calibrate(BoardObservations(tuple(lone), seen.sizes), lenses=lenses)


def test_boards_are_found_in_one_image_and_distinguished(tmp_path):
    texts = "charuco:5x4:30mm:22mm:4x4_50", "charuco:4x3:30mm:22mm:5x5_50", "checkerboard:4x3:30mm"
    boards = [target_from_text(text) for text in texts]
    drawn = [np.pad(board.draw(40, 40), ((0, 320 - board.rows * 40), (0, 0)), constant_values=255) for board in boards]
    cv2.imwrite(str(tmp_path / "0.png"), np.hstack(drawn))
    found = find_targets(boards, {"cam0": tmp_path}).found
    assert [(one.target, len(one.points)) for one in found] == [(board, len(board.points_m)) for board in boards]
    with pytest.raises(InputError, match="no camera shows board 2 of 2"):
        find_targets([boards[0], target_from_text("aruco:3x3:30mm:6mm:6x6_50")], {"cam0": tmp_path})
    for alike in ("aruco:2x2:30mm:6mm:4x4_100", texts[0]):
        with pytest.raises(InputError, match="boards 1 and 2 of 2 look alike"):
            find_targets([boards[0], target_from_text(alike)], {"cam0": tmp_path})
    with pytest.raises(InputError, match="of several, describe each"):
        camera_commands.calibrate([str(tmp_path)], board=["auto:30mm", texts[0]], out=tmp_path / "rig.json")


def test_a_body_of_markers_calibrates_too(tmp_path):
    side, half = 0.05, 0.04
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 - [0, 0, half]
    turns = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [2, 0, 0]]) * np.pi / 2
    markers = {str(n): (square @ matrix_from_rotation_vector(turn).T * 1000).tolist() for n, turn in enumerate(turns)}
    path = tmp_path / "cube.json"
    path.write_text(json.dumps({"unit": "mm", "dictionary": "4x4_50", "markers": markers}))
    cube = target_from_text(str(path))
    assert not cube.is_flat
    rig = random_rig(3, 5)
    found = calibrate(seen_by(rig, 40, board=cube, noise=0.1), lenses={v.name: v.camera for v in rig})
    assert_is_rig(found.rig, rig, centres_m=0.003, turns_rad=0.004)


def test_cameras_that_never_met_are_named(seen):
    lonely = [one for one in seen.found if (one.view == "cam3") == (one.frame % 2 == 0)]
    with pytest.raises(InputError, match="camera cam3 saw the board in no frame set together with cam0, cam"):
        calibrate(BoardObservations(tuple(lonely), seen.sizes))


def test_views_that_are_not_of_one_frame_set_are_named(truth, seen):
    late = [replace(one, frame=one.frame + 1) if one.view == "cam2" else one for one in seen.found]
    with pytest.raises(InputError, match=r"cam2.* agree on their relative pose in only \d of"):
        calibrate(BoardObservations(tuple(late), seen.sizes), lenses={v.name: v.camera for v in truth})


@pytest.mark.slow
def test_a_camera_that_fits_badly_is_named(truth, seen):
    lenses = {v.name: v.camera for v in truth}
    bent = truth["cam1"].camera.distortion * 8
    made = calibrate(seen, lenses=lenses | {"cam1": replace(truth["cam1"].camera, distortion=bent)})
    assert any("camera cam1 fits badly" in line for line in made.problems)
    assert not calibrate(seen, lenses=lenses).problems


def test_too_few_images_and_flat_boards_are_named(truth):
    few = seen_by(truth.subset(["cam0"]), 40)
    with pytest.raises(InputError, match="'cam0': 3 images show the board, and its lens needs at least 4"):
        calibrate(BoardObservations(few.found[:3], few.sizes))
    facing, rng, view = [], np.random.default_rng(0), random_rig(1, lens=False).cameras[0]
    for frame in range(6):
        points = (BOARD.points_m - BOARD.points_m.mean(0)) + [0.01 * frame, 0, 1]
        pixels = view.camera.project(points) + rng.normal(0, 0.2, (len(points), 2))
        facing.append(BoardObservation(BOARD, "cam0", frame, np.arange(len(points)), pixels))
    with pytest.raises(InputError, match="'cam0': 6 images do not fix its focal length: tilt"):
        calibrate(BoardObservations(tuple(facing), few.sizes))


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(("model", "lens"), [("fisheye", FISHEYE), ("rational", RATIONAL)])
def test_wide_lenses_are_found(model, lens):
    rig = with_lenses(random_rig(3, 7, half=True, distance_m=0.5), [lens], zoom=0.45)
    found = calibrate(seen_by(rig, 24), lens=model)
    assert found.rms_px == pytest.approx(0.15 * 2**0.5, rel=0.1)
    points = np.random.default_rng(1).normal(0, 0.07, (40, 3))
    got = triangulate(found.rig, rig.project(points)).points_m
    R, t = align_rigidly(got, points)
    assert np.linalg.norm(got @ R.T + t - points, axis=1).max() < 1e-3
    for view in found.rig:
        assert len(view.camera.distortion) == len(lens)
        assert len(found.lens_std[view.name]) == 4 + len(lens)
        spread_px = found.lens_std[view.name][0]
        assert abs(view.camera.K[0, 0] - rig[view.name].camera.K[0, 0]) < 4 * spread_px


@pytest.mark.parametrize(("tilt_deg", "is_doubted"), [(8, True), (35, False)])
def test_a_board_that_faces_the_camera_leaves_the_lens_open(tilt_deg, is_doubted):
    """Check that a calibration says that its lens is not determined, however small its residual is."""
    rng, found = np.random.default_rng(0), []
    K = np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]])
    turns = np.radians(tilt_deg) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [-0.7, 0.7]])
    for frame, (about_x, about_y) in enumerate(turns):
        R = matrix_from_rotation_vector(np.array([about_x, about_y, 0.1 * frame]))
        place = np.array([0.05 * (frame % 3 - 1), 0.04 * (frame % 2), 0.3 + 0.05 * frame])
        points = (BOARD.points_m - BOARD.points_m.mean(0)) @ R.T + place
        pixels = points @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, 0.02, (len(points), 2))
        found.append(BoardObservation(BOARD, "a", frame, np.arange(len(points)), pixels))
    calibration = calibrate_lens(BoardObservations(tuple(found), {"a": (1280, 720)}))
    assert calibration.rms_px < 0.1
    assert any("its lens is not determined" in line for line in calibration.problems) == is_doubted
