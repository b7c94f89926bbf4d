import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.media.tables import load_video_table, open_writer
from sonjit.media.tables.base import Header
from sonjit.results import Body, Face, Frame, Hand, Person
from sonjit.results.skeletons import load_skeleton, mirrored_order
from sonjit_studio import association, bones, camera_files, commands, exports, views
from sonjit_studio.bones import Part
from sonjit_studio.people import Detections, load_detections, load_people, part_slices
from sonjit_studio.refinement import refine_poses
from sonjit_studio.rig import CameraRig
from sonjit_studio.triangulation import triangulate

from .projects import hands
from .rigs import random_rig

FRAMES = 6
BODY = bones.Part("bodies", "body_blazepose33")
NAMES = load_skeleton(BODY.skeleton).keypoints
PLACES = {
    "shoulder": (0.18, 1.42), "elbow": (0.3, 1.15), "wrist": (0.35, 0.9), "pinky": (0.38, 0.82),
    "index": (0.36, 0.8), "thumb": (0.33, 0.84), "hip": (0.1, 0.95), "knee": (0.11, 0.5), "ankle": (0.12, 0.08),
    "heel": (0.11, 0.03), "foot_index": (0.16, 0.02), "ear": (0.08, 1.65), "eye": (0.03, 1.68),
}  # fmt: skip


def body(seed):
    """Return a standing body (33, 3) in metres, y down, with random bends."""
    rng = np.random.default_rng(seed)
    points = np.zeros((33, 3))
    for row, name in enumerate(NAMES):
        side = -1 if "right" in name else 1
        x, y = next((place for part, place in PLACES.items() if part in name), (0.0 if name == "nose" else 0.02, 1.63))
        points[row] = side * x, 0.9 - y, rng.uniform(-0.15, 0.15)
    return points


def walking(count=3):
    """Return people (FRAMES, count, 33, 3) who walk past each other."""
    start = np.array([(-0.7, 0, -0.3), (0.7, 0, 0.2), (0, 0, 0.9)])[:count]
    step = np.array([(0.06, 0, 0), (-0.06, 0, 0), (0, 0, -0.05)])[:count]
    still = np.stack([body(seed) for seed in range(count)]) + start[:, None]
    return still + np.arange(FRAMES)[:, None, None, None] * step[:, None]


def one_body(pixels, seen=0.9):
    keypoints = np.concatenate([pixels, np.zeros((33, 1))], 1).astype(np.float32)
    scores = np.full(33, seen, np.float32)
    return Body(0.9, keypoints, keypoints * 0, scores, scores)


def one_face(pixels):
    keypoints = np.concatenate([pixels, np.zeros((len(pixels), 1))], 1).astype(np.float32)
    return Face(0.9, keypoints, (0.0, 0.0, 1.0, 1.0))


def write_tables(folder, rig, people_of, kind, frames=FRAMES):
    """Write a rig and a table per camera. `people_of(view, row)` returns the results of one image."""
    camera_files.save_cameras(rig, folder / "rig.json")
    (folder / "tables").mkdir()
    for view, name in enumerate(rig.names):
        with open_writer(folder / "tables" / f"{name}.json", Header(kind=kind)) as writer:
            for row in range(frames):
                writer.write(Frame.from_results(row, row / 30, people_of(view, row)))
    return folder / "rig.json", [str(folder / "tables")]


@pytest.mark.parametrize("cameras", [2, 5])
def test_people_are_who_they_are_in_every_view_and_frame_set(tmp_path, capsys, cameras):
    rng, rig, truth = np.random.default_rng(0), random_rig(cameras, 3, distance_m=4.0, half=True), walking()
    pixels = rig.project(truth) + rng.normal(0, 2, (cameras, *truth.shape[:-1], 2))

    def seen(view, row):
        found = [one_body(pixels[view, row, person]) for person in range(3)]
        found += [one_body(rng.uniform(0, 400, (33, 2)))] if view == 1 and row == 2 else []
        found += [one_body(pixels[view, row, 0], seen=0.1)] if view == 0 and row == 4 else []  # nothing certain
        return [found[place] for place in rng.permutation(len(found))]

    given = write_tables(tmp_path, rig, seen, "bodies")
    assert commands.triangulate_tables(*given, out=tmp_path / "bodies.json") == 0
    output = capsys.readouterr().err
    assert "cam1: 1 detection fits no other view's" in output
    assert "of 3 people" in output
    found = load_people(tmp_path / "bodies.json")
    assert found.points_m.shape == (FRAMES, 3, 33, 3)
    apart = np.linalg.norm(found.points_m[:, :, None] - truth[:, None], axis=-1)  # (F, found, true, 33)
    order = np.nanmedian(apart, (0, 3)).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    right = apart[:, np.arange(3), order]
    assert np.nanmax(np.nanmedian(right, -1)) < 0.03  # nobody is another one in any frame set
    assert np.isfinite(right).mean() > 0.9


def test_images_of_one_frame_set_are_matched_by_their_numbers_or_by_a_file(tmp_path):
    rig, truth = random_rig(3, 3, distance_m=4.0, half=True), walking(1)
    pixels = rig.project(truth)
    tables = {name: tmp_path / f"take2_{name}.jsonl" for name in rig.names}
    for view, name in enumerate(rig.names):
        lost = 2 if view == 1 else None  # the third image of a folder
        with open_writer(tables[name], Header(kind="bodies")) as writer:
            for index, row in enumerate(row for row in range(FRAMES) if row != lost):
                body_there = [one_body(pixels[view, row, 0])]
                writer.write(Frame.from_results(index, None, body_there, source=f"cam{view}_{10 * row:04}.png"))
    found = load_detections(rig, tables)
    assert found.frames == tuple(range(0, 10 * FRAMES, 10))
    seen = np.isfinite(found.points_px[:, :, 0, 0, 0])
    assert [tuple(np.flatnonzero(~own)) for own in seen] == [(), (2,), ()]
    np.testing.assert_allclose(found.points_px[:, 3], pixels[:, 3], atol=1e-3)
    assert not np.isfinite(found.times_s).any()
    np.testing.assert_allclose(load_detections(rig, tables, fps=25).times_s, np.arange(FRAMES) * 10 / 25)
    with pytest.raises(InputError, match=r"--fps 0: give frames per second"):
        load_detections(rig, tables, fps=0)

    camera_files.save_cameras(rig, tmp_path / "rig.json")
    late = {name: 3 * view for view, name in enumerate(rig.names)}  # images by which each began earlier
    for view, name in enumerate(rig.names):
        with open_writer(tables[name], Header(kind="bodies")) as writer:
            for row in range(FRAMES):
                writer.write(
                    Frame.from_results(row + late[name], (row + late[name]) / 30, [one_body(pixels[view, row, 0])])
                )
    with pytest.raises(InputError, match="--fps applies only to tables without times"):
        load_detections(rig, tables, fps=25)
    with open_writer(tmp_path / "two.jsonl", Header(kind="bodies")) as writer:
        for row in range(4):
            writer.write(Frame.from_results(row // 2, row // 2 / 30, [], source=f"{row % 2}.mp4"))
    for load in (load_video_table, lambda table: load_detections(rig, dict.fromkeys(rig.names, table))):
        with pytest.raises(InputError, match=r"files, such as 0\.mp4: save a table of one video"):
            load(tmp_path / "two.jsonl")
    times = tuple(7 + row / 30 for row in range(FRAMES))
    matched = {
        f"boards_{name}": views.CameraFrames({row + by: row for row in range(FRAMES)}, times_s=times)
        for name, by in late.items()
    }
    views.save_frame_sets(tmp_path / "sync.json", matched)
    commands.triangulate_tables(
        tmp_path / "rig.json", [str(tmp_path)], out=tmp_path / "people.json", frame_sets=tmp_path / "sync.json"
    )
    people = load_people(tmp_path / "people.json")
    np.testing.assert_allclose(people.points_m[:, 0], truth[:, 0], atol=1e-4)
    np.testing.assert_allclose(people.times_s, times, atol=1e-6)


def test_faces_of_several(tmp_path):
    rig, rng = random_rig(4, 3, distance_m=2.0, half=True), np.random.default_rng(2)
    truth = rng.normal(0, 0.06, (478, 3)) + np.array([(-0.3, 0, 0), (0.3, 0, 0)])[:, None]
    pixels = rig.project(truth)

    def seen(view, _):
        return [one_face(pixels[view, person]) for person in rng.permutation(2)]

    given = write_tables(tmp_path, rig, seen, "faces", frames=2)
    commands.triangulate_tables(*given, out=tmp_path / "faces.json")
    found = load_people(tmp_path / "faces.json")
    nearest = np.linalg.norm(found.points_m[:, :, None] - truth, axis=-1).max((0, 3))
    assert np.sort(nearest, 1)[:, 0].max() < 1e-3
    with pytest.raises(InputError, match="--constant-bones applies only to hands"):
        commands.triangulate_tables(*given, out=tmp_path / "faces.json", constant_bones=True)


@pytest.fixture(scope="module")
def holistic(tmp_path_factory):
    """Write two people with meshes, the second without a right hand, and return the positions of their hands."""
    folder, rig = tmp_path_factory.mktemp("people"), random_rig(3, 3, distance_m=4.0, half=True)
    bodies = walking(2)
    both = hands(1, 5).reshape(2, 21, 3) * (1, 1, -1) + np.array([(-0.8, 0, 0), (0.8, 0, 0)])[:, None, None]
    meshes = (
        np.random.default_rng(3).normal(0, 0.06, (2, 478, 3)) + np.array([(-0.8, -0.7, 0), (0.8, -0.7, 0)])[:, None]
    )

    def seen(view, row):
        people = []
        for person in range(2):
            sides = []
            for side, name in enumerate(("Right", "Left")):
                keypoints = np.zeros((21, 3), np.float32)
                keypoints[:, :2] = rig.cameras[view].project(both[person, side])
                sides.append(Hand(name, 0.9, keypoints, keypoints * 0))
            face = one_face(rig.cameras[view].project(meshes[person]))
            own = one_body(rig.cameras[view].project(bodies[row, person]))
            people.append(Person(own, sides[1], None if person else sides[0], face))
        return people[:: 1 if view else -1]

    given = write_tables(folder, rig, seen, "people", frames=3)
    commands.triangulate_tables(*given, out=folder / "people.json", constant_bones=True)
    return folder / "people.json", both


def test_a_person_is_one_in_all_lists(holistic):
    path, both = holistic
    frame = json.loads(path.read_text())["frames"][0]
    assert {name: [one["id"] for one in frame[name]] for name in ("bodies", "hands", "faces")} == {
        "bodies": [1, 2], "hands": [1, 1, 2] if frame["hands"][1]["id"] == 1 else [1, 2, 2], "faces": [1, 2],
    }  # fmt: skip
    assert len(frame["faces"][0]["keypoints_m"]) == 478
    own = {hand["id"]: hand["keypoints_m"] for hand in frame["hands"] if hand["handedness"] == "Left"}
    body_x = {body["id"]: body["keypoints_m"][0][0] for body in frame["bodies"]}
    for person, points in own.items():
        np.testing.assert_allclose(points, both[int(body_x[person] > 0), 1], atol=1e-4)


def test_several_people_are_exported(holistic, tmp_path):
    people = load_people(holistic[0])
    (c3d,) = exports.export_people(people, tmp_path / "people.c3d")
    data = c3d.read_bytes()
    count, start = struct.unpack_from("<h", data, 2)[0], struct.unpack_from("<h", data, 16)[0]
    assert count == 2 * (33 + 42 + 478)
    names, place = {}, 512 + 4
    while data[place]:
        size = data[place]
        name, place = data[place + 2 : place + 2 + size].decode(), place + 2 + size
        names[name] = place
        place += struct.unpack_from("<h", data, place)[0]
    labels = [name for name in names if name.startswith("LABELS")]
    assert labels == ["LABELS", "LABELS2", "LABELS3", "LABELS4", "LABELS5"]
    assert sum(data[names[name] + 5] for name in labels) == count
    width = data[names["LABELS2"] + 4]
    assert data[names["LABELS2"] + 6 :][:width].decode().strip() == "person1:face_180"  # after 33 + 42 others
    values = np.frombuffer(data, "<f4", 3 * count * 4, 512 * (start - 1)).reshape(3, 2, -1, 4)
    np.testing.assert_allclose(values[:, :, :33, :3], 1000 * people.points_m[:, :, :33], atol=2e-3)
    (csv,) = exports.export_people(people, tmp_path / "people.csv")
    rows = csv.read_text().splitlines()
    assert sum(",body,left_knee," in row for row in rows) == 2 * 3
    assert len({tuple(row.split(",")[2:4]) for row in rows[1:]}) == 7  # one lacks a hand
    (svg,) = exports.export_people(people, tmp_path / "people.svg")
    assert svg.read_text().count("<line") == 3 * (2 * 35 + 3 * 20 + 2 * 132)


def test_bodies_have_no_rigged_mesh_and_kinds_are_not_mixed(tmp_path):
    rig, truth = random_rig(2, 3, distance_m=4.0, half=True), walking(1)
    pixels = rig.project(truth)
    given = write_tables(tmp_path, rig, lambda view, row: [one_body(pixels[view, row, 0])], "bodies")
    commands.triangulate_tables(*given, out=tmp_path / "body.json")
    with pytest.raises(InputError, match="a rigged mesh requires hands"):
        exports.export_people(load_people(tmp_path / "body.json"), tmp_path / "body.glb")
    with open_writer(tmp_path / "tables" / "cam1.json", Header(kind="faces")) as writer:
        writer.write(Frame.from_results(0, 0.0, [one_face(pixels[1, 0, 0, :6])]))
    with pytest.raises(InputError, match="bodies and faces in"):
        commands.triangulate_tables(*given, out=tmp_path / "body.json")


def test_who_comes_back_after_a_while_is_new():
    tracker, here, there = association.Tracker(), np.zeros((5, 3)), np.ones((5, 3))
    assert tracker.assign(0.0, [here, there]) == [0, 1]
    assert tracker.assign(0.1, [there, here]) == [1, 0]
    assert tracker.assign(0.5, [there]) == [1]
    assert tracker.assign(1.4, [here + 0.1, there]) == [2, 1]


@pytest.mark.parametrize(("height_px", "expected"), [(900, 54.0), (100, 10.0)])
def test_the_usual_threshold_grows_with_the_size_of_bodies(height_px, expected):
    body, hand = Part("bodies", "body_blazepose33"), Part("hands", "hand_mediapipe21", "Right")
    points = np.random.default_rng(0).uniform(0, 0.5 * height_px, (2, 3, 1, 54, 2))
    points[..., 0, :], points[..., 1, :] = (0, 0), (0.1 * height_px, height_px)
    points[1, 0] = np.nan
    parts = (body, hand)
    found = Detections(parts, (0, 1, 2), np.arange(3) / 30, points, np.ones(points.shape[:-1]))
    assert found.usual_threshold_px() == pytest.approx(expected)
    hands_only = Detections((hand,), (0, 1, 2), np.arange(3) / 30, points[..., 33:, :], np.ones((2, 3, 1, 21)))
    assert hands_only.usual_threshold_px() == 10


def test_joint_angles_of_triangulated_bodies_are_those_of_their_points(tmp_path):
    rig, truth = random_rig(3, 3, distance_m=4.0, half=True), walking(2)
    pixels = rig.project(truth)
    given = write_tables(tmp_path, rig, lambda view, row: [one_body(one) for one in pixels[view, row]], "bodies")
    commands.triangulate_tables(*given, out=tmp_path / "people.json")
    commands.export(tmp_path / "people.json", out=tmp_path / "angles.csv", figure="angles")
    header, *rows = (tmp_path / "angles.csv").read_text().splitlines()
    names = header.split(",")
    values = np.array([[float(value or "nan") for value in row.split(",")] for row in rows])
    assert values.shape == (2 * FRAMES, 3 + 11)
    people = load_people(tmp_path / "people.json")
    starts = np.linalg.norm(people.points_m[0, :, None] - truth[0], axis=-1).mean(-1).argmin(1)
    for row in values:
        points = truth[int(row[0]), starts[int(row[2]) - 1]]
        shoulder, elbow, wrist = (points[NAMES.index(f"left_{joint}")] for joint in ("shoulder", "elbow", "wrist"))
        first, second = shoulder - elbow, wrist - elbow
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert row[names.index("left_elbow_angle_rad")] == pytest.approx(np.arccos(cosine), abs=1e-3)
        assert row[1] == pytest.approx(row[0] / 30, abs=1e-6)


def test_angles_are_of_bodies_and_go_to_csv(holistic, tmp_path):
    people = load_people(holistic[0])
    with pytest.raises(InputError, match=r"--as angles applies only to \.csv"):
        exports.export_people(people, tmp_path / "people.glb", "angles")
    with pytest.raises(InputError, match=r"--as skeleton applies only to \.glb"):
        exports.export_people(people, tmp_path / "people.csv", "skeleton")
    slices = dict(part_slices(people.parts))
    hand = next(part for part in slices if part.list_name == "hands")
    hands_only = replace(people, parts=(hand,), points_m=people.points_m[:, :, slices[hand]])
    with pytest.raises(InputError, match="--as angles applies only to bodies"):
        exports.export_people(hands_only, tmp_path / "angles.csv", "angles")
    lost = people.points_m.copy()
    lost[:, 0, NAMES.index("left_wrist")] = np.nan
    (csv,) = exports.export_people(replace(people, points_m=lost), tmp_path / "angles.csv", "angles")
    assert [row.split(",")[3] == "" for row in csv.read_text().splitlines()[1:]] == [True, False] * 3


@pytest.mark.parametrize("count", [1, 4, FRAMES])
@pytest.mark.parametrize("fault", ["left and right are exchanged in its table", "its images are turned by 180 degrees"])
def test_a_camera_that_contradicts_the_others_is_explained_also_in_short_recordings(tmp_path, capsys, count, fault):
    rig, truth = random_rig(4, 3, distance_m=4.0, half=True), walking(1)
    pixels = rig.project(truth)
    view = rig.cameras[2]
    exchanged = pixels[2][..., mirrored_order(NAMES), :]
    pixels[2] = exchanged if "exchanged" in fault else (view.width, view.height) - pixels[2]
    given = write_tables(tmp_path, rig, lambda row, image: [one_body(pixels[row, image, 0])], "bodies", frames=count)
    with pytest.raises(InputError, match="1 camera does not fit"):
        commands.triangulate_tables(*given, out=tmp_path / "people.json")
    assert f"camera 'cam2': {fault}" in capsys.readouterr().err


def turned_rig(rig, degrees, seed=0):
    """Return the rig with all cameras but the first turned by an angle about random axes, and moved by 20 mm."""
    rng, cameras = np.random.default_rng(seed), list(rig)
    for row, view in enumerate(cameras[1:], 1):
        turn, move = (axis / np.linalg.norm(axis) for axis in rng.normal(size=(2, 3)))
        R = matrix_from_rotation_vector(np.radians(degrees) * turn) @ view.R
        posed = replace(view.camera, R=R, t=-R @ (view.centre_m + 0.02 * move))
        cameras[row] = replace(view, camera=posed)
    return CameraRig(cameras)


def detected(rig, noise_px, seed=0, frames=40):
    """Return pixels and confidence of a person who walks about."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 0.08, (frames, 1, 3)), 0) * (1, 0.1, 1)
    truth = np.stack([body(row) for row in range(frames)]) + steps
    pixels = rig.project(truth)
    return truth, pixels + rng.normal(0, noise_px, pixels.shape), np.ones(pixels.shape[:-1])


@pytest.mark.parametrize(("cameras", "degrees"), [(4, 2.0), (5, 1.0), (6, 1.5)])
def test_poses_of_turned_cameras_are_refined_on_people(cameras, degrees):
    rig = random_rig(cameras, cameras, distance_m=4.0, half=True)
    _, pixels, confidence = detected(rig, 1.0)
    wrong = turned_rig(rig, degrees)
    found = refine_poses(wrong, pixels, confidence, threshold_px=10.0)
    assert found.after_px < 1.2 < 3 * found.after_px < found.before_px
    assert found.turned_rad[0] < 1e-6
    assert found.moved_m[0] < 1e-9
    apart = [np.linalg.norm(each.centres_m - each.centres_m[0], axis=1).mean() for each in (wrong, found.rig)]
    assert apart[0] == pytest.approx(apart[1])
    others = detected(rig, 0.0, seed=1)[0]
    errors_m = [
        np.linalg.norm(triangulate(each, rig.project(others)).points_m - others, axis=-1) for each in (wrong, found.rig)
    ]
    assert np.nanmean(errors_m[1]) < 0.4 * np.nanmean(errors_m[0])  # scale stays wrong where cameras were moved


def test_refinement_is_refused_where_it_does_not_help():
    rig = random_rig(4, 4, distance_m=4.0, half=True)
    _, pixels, confidence = detected(rig, 1.0)
    with pytest.raises(InputError, match="does not help: in frame sets left out, the median error is"):
        refine_poses(rig, pixels, confidence, threshold_px=10.0)
    with pytest.raises(InputError, match="requires 100 certain keypoints seen by 3 cameras"):
        refine_poses(turned_rig(rig, 1.0), pixels[:, :1], confidence[:, :1], threshold_px=10.0)
    with pytest.raises(InputError, match="requires 4 or more cameras that fit each other, not 3"):
        refine_poses(rig.subset(rig.names[:3]), pixels[:3], confidence[:3], threshold_px=10.0)
    with pytest.raises(InputError, match="there are 0"):
        refine_poses(turned_rig(rig, 1.0), pixels, 0.1 * confidence, threshold_px=10.0)


def test_triangulate_writes_refined_cameras_and_uses_them(tmp_path, capsys):
    rig, truth = random_rig(4, 4, distance_m=4.0, half=True), walking(1)
    pixels = rig.project(truth)
    given = write_tables(tmp_path, rig, lambda view, row: [one_body(pixels[view, row, 0])], "bodies")
    camera_files.save_cameras(turned_rig(rig, 1.5), given[0])
    refined, out = tmp_path / "refined.json", tmp_path / "people.json"
    assert commands.triangulate_tables(*given, out=out, refine_cameras=refined) == 0
    assert "px before and 0.0" in capsys.readouterr().err
    residuals = json.loads(out.read_text())["frames"][0]["bodies"][0]["residual_px"]
    assert max(max(values) for values in residuals.values()) < 0.2
    assert commands.triangulate_tables(refined, given[1], out=out) == 0
    with pytest.raises(InputError, match="does not help"):
        commands.triangulate_tables(refined, given[1], out=out, refine_cameras=tmp_path / "again.json")
    assert not (tmp_path / "again.json").exists()
