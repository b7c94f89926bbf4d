import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from tests.support.gltf import GltfReader

from sonjit._util.errors import InputError, JobError
from sonjit._util.glb import Glb
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.hand_models.rig import load_rig
from sonjit_studio import bones, commands, exports
from sonjit_studio.ground import Y_UP
from sonjit_studio.people import HANDS, Detections, PeopleInSpace, fit_constant_bones, load_people, save_people
from sonjit_studio.rig import CameraRig, RigCamera
from sonjit_studio.triangulation import triangulate

from .projects import hands
from .rigs import random_rig

FRAMES = 12
BONE = ("index_finger_dip", "index_finger_tip")


def moving(frames=FRAMES):
    """Return the hands (frames, 1, 42, 3) of a person that move by 1 m/s at 30 frames per second."""
    still = np.repeat(hands(1, 5)[None], frames, 0)
    still[..., 0] += np.arange(frames)[:, None, None] / 30
    return still


def seen_by(rig, points, noise_px):
    pixels = rig.project(points) + np.random.default_rng(0).normal(0, noise_px, (len(rig), *points.shape[:-1], 2))
    frames = tuple(range(3, 3 + len(points)))
    return Detections(HANDS, frames, np.array(frames) / 30, pixels, np.ones(pixels.shape[:-1]))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write hands in space to a file without the sixth frame set, and return their positions."""
    rig, points = random_rig(3, 2), moving()
    points[5] = np.nan
    seen = seen_by(rig, points, 0)
    path = tmp_path_factory.mktemp("hands") / "hands.json"
    save_people(path, rig, seen, triangulate(rig, seen.points_px))
    return path, points


def test_bones_are_constant_and_joints_nearer():
    rig, points = random_rig(2, 4), moving(30)
    seen = seen_by(rig, points, 3)
    raw = triangulate(rig, seen.points_px)
    found = fit_constant_bones(rig, seen, raw)
    for own in (slice(21), slice(21, 42)):
        assert bones.bone_lengths(found.points_m[:, 0, own]).std(0).max() < 1e-6
        before, after = (
            np.linalg.norm(one.points_m[:, :, own] - points[:, :, own], axis=-1).mean() for one in (raw, found)
        )
        assert after < 0.7 * before
    with pytest.raises(InputError, match="--constant-bones requires the times"):
        fit_constant_bones(rig, replace(seen, times_s=seen.times_s * np.nan), raw)


def test_tables_hold_every_joint(written, tmp_path):
    path, points = written
    loaded = load_people(path)
    np.testing.assert_allclose(loaded.points_m, points, atol=2e-6)
    (csv,) = exports.export_people(loaded, tmp_path / "hands.csv")
    rows = [line.split(",") for line in csv.read_text().splitlines()]
    assert len(rows) == 1 + (FRAMES - 1) * 42
    assert rows[1][:5] == ["3", "0.100000", "1", "right_hand", "wrist"]
    np.testing.assert_allclose([float(value) for value in rows[1][5:]], points[0, 0, 0], atol=2e-6)
    (trc,) = exports.export_people(loaded, tmp_path / "hands.trc")
    lines = trc.read_text().splitlines()
    assert lines[2].split("\t")[2:5] == [str(FRAMES), "42", "mm"]
    values = lines[6].split("\t")
    np.testing.assert_allclose([float(value) for value in values[2:]], 1000 * points[0].ravel(), atol=2e-3)
    assert set(lines[11].split("\t")[2:]) == {""}


def test_c3d_contains_every_joint(written, tmp_path):
    path, points = written
    (c3d,) = exports.export_people(load_people(path), tmp_path / "hands.c3d")
    data = c3d.read_bytes()
    where, magic, count, _, first, last, _, scale, start, _, rate = struct.unpack_from("<BBhhHHhfhhf", data)
    assert (where, magic, count, first, last, scale) == (2, 0x50, 42, 1, FRAMES, -1)
    assert rate == pytest.approx(30, rel=1e-4)
    values = np.frombuffer(data, "<f4", FRAMES * 42 * 4, 512 * (start - 1)).reshape(FRAMES, 1, 42, 4)
    kept = np.arange(FRAMES) != 5
    np.testing.assert_allclose(values[kept, ..., :3], 1000 * points[kept], atol=2e-3)
    np.testing.assert_array_equal(values[..., 3], np.where(kept, 0, -1)[:, None, None] * np.ones((1, 42)))


@pytest.mark.parametrize(("frames", "labels", "letters"), [(65535, 1, 24), (1, 5500, 24), (1, 1, 256)])
def test_c3d_has_limits(frames, labels, letters):
    with pytest.raises(InputError, match=f"C3D cannot store {frames} frames of {labels} points"):
        exports.c3d_from_points([f"{k:0{letters}}" for k in range(labels)], np.zeros((frames, labels, 3)), 30)


@pytest.mark.slow
def test_the_rigged_hand_moves_with_the_joints(written, tmp_path):
    try:
        load_rig("Right")
    except InputError:
        pytest.skip("no rigs: sonjit models pull rigs")
    loaded = load_people(written[0])
    (glb,) = exports.export_people(loaded, tmp_path / "hands.glb")
    assert len(Glb(glb).document["animations"][0]["channels"]) > 30
    points = loaded.points_m.copy()
    points[:3, 0, 21:] = points[-2:, 0, :21] = np.nan  # one comes later, the other leaves earlier: one clock for both
    loaded = replace(loaded, points_m=points)
    right, left = exports.hand_motions(loaded)
    assert right.times is not None
    assert left.times is not None
    assert (right.times[0], left.times[0]) == (0, pytest.approx(0.1, abs=2e-6))
    files = exports.export_people(loaded, tmp_path / "hands.bvh")
    assert [file.name for file in files] == ["hands-right.bvh", "hands-left.bvh"]
    assert all(f"Frames: {FRAMES}\n" in file.read_text() for file in files)
    exports.export_people(replace(loaded, z_up=True), tmp_path / "up.bvh")
    roots = [
        np.array((tmp_path / f"{name}-right.bvh").read_text().splitlines()[-1].split()[:3], float)
        for name in ("hands", "up")
    ]
    np.testing.assert_allclose(roots[1], roots[0] * [1, -1, -1] @ Y_UP.T, atol=1e-3)


def test_who_is_never_seen_has_no_columns_and_rounded_times_keep_the_rate(tmp_path):
    rig, points = random_rig(2, 4), moving(100)
    points[:, :, 21:] = np.nan
    seen = seen_by(rig, points, 0)
    save_people(tmp_path / "hands.json", rig, seen, triangulate(rig, seen.points_px))
    (trc,) = exports.export_people(load_people(tmp_path / "hands.json"), tmp_path / "hands.trc")
    lines = trc.read_text().splitlines()
    assert lines[2].split("\t")[:4] == ["30.0000", "30.0000", "100", "21"]
    assert float(lines[-1].split("\t")[1]) == pytest.approx(3.3, abs=2e-6)


def ring(tilt_deg, towards_deg):
    """Return level or tilted cameras in directions that look at the origin, in a world with z up."""
    tilt, made = np.radians(tilt_deg), []
    for number, turn in enumerate(np.radians(towards_deg)):
        ahead = np.array([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), -np.sin(tilt)])
        right = np.array([np.sin(turn), -np.cos(turn), 0])
        R = np.stack([right, np.cross(ahead, right), ahead])
        K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
        made.append(RigCamera(f"cam{number}", 640, 480, CalibratedCamera(K, R, R @ ahead * 4.0)))
    return CameraRig(made)


@pytest.mark.parametrize("towards_deg", [(0, 90, 180, 270), (70, 110), (250, 290), (-20, 20), (160, 200)])
@pytest.mark.parametrize("tilt_deg", [0, 30, 60])
def test_models_stand_upright_from_a_floor_or_from_the_first_camera(tmp_path, tilt_deg, towards_deg):
    rig = ring(tilt_deg, towards_deg)
    names = load_skeleton("body_blazepose33").keypoints
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (3, 1, 33, 3))
    points[..., names.index("nose"), :], points[..., names.index("left_hip"), :] = (0.1, 0.2, 0.7), (0.1, 0.2, 0)
    for R, t_m in ((np.eye(3), np.zeros(3)), (rig.cameras[0].R, rig.cameras[0].t)):
        seen = Detections(
            (bones.Part("bodies", "body_blazepose33"),), (0, 1, 2), np.arange(3) / 30, rig.project(points),
            np.ones((len(rig), 3, 1, 33)),
        )  # fmt: skip
        own = rig.moved(R, t_m)
        save_people(tmp_path / "body.json", own, seen, triangulate(own, seen.points_px))
        people = load_people(tmp_path / "body.json")
        assert people.z_up == (R[2, 2] == 1)
        (file,) = exports.export_people(people, tmp_path / "body.glb", "skeleton")
        reader = GltfReader(file.read_bytes())
        there = {reader.g["nodes"][node]["name"]: world[:3, 3] for node, world in reader.worlds(np.float32(0)).items()}
        upwards = there["body nose"] - there["body left_hip"]
        expected = 0.7 if people.z_up else 0.7 * np.cos(np.radians(tilt_deg))  # the first camera is tilted itself
        assert upwards[1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("steady", [True, False])
def test_skeletons_move_with_the_joints_and_hide_what_is_unknown(written, tmp_path, steady):
    people = load_people(written[0])
    points = people.points_m.copy()
    if not steady:
        points[:, 0, 8] += np.linspace(0, 0.02, len(points))[:, None]  # the tip of the index leaves
    points[3:, 0, 30] = np.nan
    (file,) = exports.export_people(replace(people, points_m=points), tmp_path / "hands.glb", "skeleton")
    glb, up = GltfReader(file.read_bytes()), [1, -1, -1]
    for row, time_s in enumerate(people.times_s - people.times_s[0]):
        if row == 5:  # lost for a moment: they move on
            continue
        there = {glb.g["nodes"][node]["name"]: world for node, world in glb.worlds(np.float32(time_s)).items()}
        for side, hand in enumerate(("right_hand", "left_hand")):
            for joint, name in enumerate(load_skeleton("hand_mediapipe21").keypoints):
                place, known = there[f"{hand} {name}"], np.isfinite(points[row, 0, 21 * side + joint]).all()
                assert (np.abs(place[:3, :3]).max() > 0.5) == known
                if known:
                    np.testing.assert_allclose(place[:3, 3], points[row, 0, 21 * side + joint] * up, atol=1e-5)
            bone = there[f"{hand} {BONE[0]} to {BONE[1]}"]
            np.testing.assert_allclose((bone @ [0, 0, 1, 1])[:3], points[row, 0, 21 * side + 8] * up, atol=1e-5)
    animated = {(channel["target"]["path"]) for channel in glb.g["animations"][0]["channels"]}
    assert animated == {"translation", "rotation", "scale"}


def test_a_drawing_and_what_cannot_be_exported(written, tmp_path, capsys):
    path, _ = written
    commands.export(path, out=tmp_path / "hands.svg")
    assert (tmp_path / "hands.svg").read_text().count("<line") == 6 * 40
    assert "wrote" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"--as skeleton applies only to \.glb"):
        commands.export(path, out=tmp_path / "hands.bvh", figure="skeleton")
    with pytest.raises(InputError, match=r"Choose from \.c3d"):
        commands.export(path, out=tmp_path / "hands.fbx")
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        frame["time"] = None
    (tmp_path / "images.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="has no times of its frame sets"):
        load_people(tmp_path / "images.json")
    for frame in content["frames"]:
        frame["time"] = 0.5
    (tmp_path / "images.json").write_text(json.dumps(content))
    for ending in ("trc", "c3d", "csv", "glb"):
        with pytest.raises(InputError, match="the times of the frame sets do not ascend"):
            commands.export(tmp_path / "images.json", out=tmp_path / f"hands.{ending}")
    content["frames"][-1]["index"] = 10**30
    (tmp_path / "images.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not a file of sonjit annotate triangulate"):
        load_people(tmp_path / "images.json")
    (tmp_path / "other.json").write_text('{"skeletons": {"hands": "hand_mediapipe21"}, "frames": [{"hands": 3}]}')
    with pytest.raises(InputError, match="is not a file of sonjit annotate triangulate"):
        load_people(tmp_path / "other.json")


def recorded(numbers, times):
    """Return hands in space whose x coordinate is the time of the frame set in metres."""
    points = np.repeat(hands(1, 5)[None], len(times), 0)
    points[..., 0] = np.asarray(times)[:, None, None]
    return PeopleInSpace(HANDS, (1,), np.asarray(numbers, np.intp), np.asarray(times, np.float64), points)


def table_of(people, path):
    """Return the rate, the times and the x coordinates in metres of the first point of each row of a .trc or .c3d."""
    exports.export_people(people, path)
    if path.suffix == ".trc":
        lines = path.read_text().splitlines()
        rows = [line.split("\t") for line in lines[6:]]
        xs = [float(row[2] or "nan") / 1000 for row in rows]
        return float(lines[2].split("\t")[0]), np.array([float(row[1]) for row in rows]), np.array(xs)
    data = path.read_bytes()
    _, _, count, _, _, last, _, _, start, _, rate = struct.unpack_from("<BBhhHHhfhhf", data)
    values = np.frombuffer(data, "<f4", last * count * 4, 512 * (start - 1)).reshape(last, count, 4)
    xs = np.where(values[:, 0, 3] < 0, np.nan, values[:, 0, 0] / 1000)
    return rate, np.arange(last) / rate, xs


@pytest.mark.parametrize("ending", [".trc", ".c3d"])
def test_a_variable_rate_keeps_every_place_at_its_time(tmp_path, ending):
    times = [*(k / 30 for k in range(90)), *(3 + k / 5 for k in range(40))]
    rate, rows, xs = table_of(recorded(range(130), times), tmp_path / f"a{ending}")
    assert rate == pytest.approx(30, rel=1e-4)
    np.testing.assert_allclose(xs, rows, atol=2e-4)


@pytest.mark.parametrize("ending", [".trc", ".c3d", ".bvh", ".csv", ".svg"])
@pytest.mark.parametrize("unit", [10**6, 10**9])
def test_images_named_by_time_stamps_are_exported_with_a_row_for_each(tmp_path, ending, unit):
    times = np.round(np.arange(60) / 30, 6)
    numbers = [1_764_504_000 * unit + round(time * unit) for time in times]
    people = recorded(numbers, times)
    if ending in (".trc", ".c3d"):
        rate, rows, xs = table_of(people, tmp_path / f"a{ending}")
        assert rate == pytest.approx(30, rel=1e-3)
        np.testing.assert_allclose(xs, rows, atol=2e-4)
        assert len(xs) == 60
    elif ending != ".bvh":
        exports.export_people(people, tmp_path / f"a{ending}")


def test_frame_sets_that_are_missing_are_unknown_and_a_span_that_is_too_long_is_refused(tmp_path):
    times = np.delete(np.arange(60) / 30, [20, 21, 40])
    _, rows, xs = table_of(recorded(np.delete(np.arange(60), [20, 21, 40]), times), tmp_path / "a.trc")
    assert np.flatnonzero(np.isnan(xs)).tolist() == [20, 21, 40]
    np.testing.assert_allclose(xs[~np.isnan(xs)], rows[~np.isnan(xs)], atol=2e-4)
    with pytest.raises(JobError, match="more than 1000000 rows"):
        exports.export_people(recorded([0, 1, 2, 9], [0, 1 / 30, 2 / 30, 1e6]), tmp_path / "b.trc")
