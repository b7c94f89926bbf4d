"""BVH, GLB and VRMA of characters, read by readers of the tests."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from sonjit import InputError, JobError
from sonjit.media import Header, convert_table, load_frames, open_writer
from sonjit.media.tables.characters import BONES, FINGER_PARTS, NAMES, PARENTS, BoneNames
from sonjit.results import Face, Frame, Person

from ...support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages
from .actors import FPS, HEADER, JOINTS, PEOPLE, Bvh, Gltf, actor, body_of, frames_of, hand_of, people_of

TIMES = np.arange(20) / FPS
REQUIRED = {
    "hips", "spine", "head",
    *(side + bone for side in ("left", "right") for bone in
      ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")),
}  # fmt: skip


def write(path, frames, header=HEADER, **options):
    with open_writer(path, header, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return writer


def moved_to_origin(times):
    """Return the keypoints of the actor with the hips above the origin and the soles on the ground."""
    points = np.array([actor(time) for time in times])
    points -= points[0, [23, 24]].mean(0) * [1, 0, 1]
    return points - [0, points[..., 1].min(), 0]


def test_bvh_replays_the_actor(tmp_path):
    write(tmp_path / "x.bvh", frames_of(TIMES))
    bvh, truth = Bvh(tmp_path / "x.bvh"), moved_to_origin(TIMES)
    assert bvh.parents == {bone: parent or None for bone, parent in PARENTS.items()}
    assert bvh.count == len(TIMES)
    assert bvh.frame_time == pytest.approx(1 / FPS)
    assert set(bvh.ends) == {bone for bone in BONES if bone not in PARENTS.values()}
    for row in range(3, 17):
        places = bvh.positions(row)
        for bone, keypoint in JOINTS.items():
            assert places[bone] == pytest.approx(truth[row, keypoint], abs=0.03), (row, bone)


def test_a_part_of_a_video_has_the_rows_of_its_frames(tmp_path):
    write(tmp_path / "all.bvh", frames_of(TIMES))
    frames = frames_of(TIMES)
    for frame in frames:
        frame.time += 7
    write(tmp_path / "late.bvh", frames)
    late, usual = Bvh(tmp_path / "late.bvh"), Bvh(tmp_path / "all.bvh")
    assert (late.count, late.frame_time) == (len(TIMES), usual.frame_time)
    assert late.positions(9)["rightHand"] == pytest.approx(usual.positions(9)["rightHand"], abs=1e-3)


def test_glb_has_the_motion_of_bvh(tmp_path):
    for ending in (".bvh", ".glb", ".vrma"):
        write(tmp_path / f"x{ending}", frames_of(TIMES))
    bvh, glb, vrma = Bvh(tmp_path / "x.bvh"), Gltf(tmp_path / "x.glb"), Gltf(tmp_path / "x.vrma")
    assert glb.times == pytest.approx(TIMES)
    for row in (0, 7, 19):
        for gltf in (glb, vrma):
            places, expected = gltf.positions(row), bvh.positions(row)
            assert np.array([places[bone] for bone in BONES]) == pytest.approx(
                np.array([expected[bone] for bone in BONES]), abs=1e-5
            )


def test_vrma_has_the_blendshapes_of_the_face(tmp_path):
    frames, _ = people_of(TIMES, 0.3)
    mesh = np.zeros((478, 3), np.float32)
    for row in range(4, 12):
        weights = {"_neutral": 0.5, "jawOpen": (row - 6) / 4, "eyeBlinkLeft": 1.0}
        frames[row].people[0].face = Face(1.0, mesh, (0, 0, 1, 1), blendshapes=weights)
    write(tmp_path / "x.vrma", frames, PEOPLE)
    gltf = Gltf(tmp_path / "x.vrma")
    expressions = gltf.g["extensions"]["VRMC_vrm_animation"]["expressions"]["custom"]
    assert set(expressions) == {"jawOpen", "eyeBlinkLeft"}
    node = expressions["jawOpen"]["node"]
    assert node in gltf.g["scenes"][0]["nodes"]
    (channel,) = [c for c in gltf.animation["channels"] if c["target"] == {"node": node, "path": "translation"}]
    values = gltf.get(gltf.animation["samplers"][channel["sampler"]]["output"])
    jaw = (np.arange(len(TIMES)).clip(4, 11) - 6) / 4  # others repeat the latest weight
    assert values[:, 0] == pytest.approx(jaw.clip(0, 1))
    assert not values[:, 1:].any()


def test_a_face_of_one_frame_is_the_expression_of_all(tmp_path):
    frames, _ = people_of(TIMES, 0.3)
    frames[2].people[0].face = Face(1.0, np.zeros((478, 3), np.float32), (0, 0, 1, 1), blendshapes={"jawOpen": 0.25})
    write(tmp_path / "x.vrma", frames, PEOPLE)
    gltf = Gltf(tmp_path / "x.vrma")
    assert set(gltf.g["extensions"]["VRMC_vrm_animation"]["expressions"]["custom"]) == {"jawOpen"}


def test_figure_of_glb_is_bound_to_the_rest_pose(tmp_path):
    write(tmp_path / "x.glb", frames_of(TIMES))
    glb = Gltf(tmp_path / "x.glb")
    (skin,), (mesh,) = glb.g["skins"], glb.g["meshes"]
    rest = glb.positions(None)
    inverse = glb.get(skin["inverseBindMatrices"])
    for joint, matrix in zip(skin["joints"], inverse, strict=True):
        assert matrix @ np.append(rest[glb.nodes[joint]["name"]], 1) == pytest.approx([0, 0, 0, 1], abs=1e-6)
    parts = [{name: glb.get(at) for name, at in part["attributes"].items()} for part in mesh["primitives"]]
    heights = np.concatenate([part["POSITION"][:, 1] for part in parts])
    assert heights.min() == pytest.approx(0, abs=0.05)
    assert 1.4 < heights.max() < 2.0
    for part in parts:
        assert np.linalg.norm(part["NORMAL"], axis=1) == pytest.approx(1, abs=0.01)
        assert part["WEIGHTS_0"].sum(1) == pytest.approx(1, abs=0.01)
        assert part["JOINTS_0"].max() < len(skin["joints"])
    joints = np.array([rest[glb.nodes[node]["name"]] for node in skin["joints"]])
    for part in parts:  # the surface is around the bones that move it
        nearest = joints[part["JOINTS_0"][:, 0].astype(int)]
        assert np.linalg.norm(part["POSITION"] - nearest, axis=1).max() < 0.55


def test_vrma_names_the_bones_of_a_humanoid(tmp_path):
    write(tmp_path / "x.vrma", frames_of(TIMES), bones="mixamo")
    vrma = Gltf(tmp_path / "x.vrma")
    extension = vrma.g["extensions"]["VRMC_vrm_animation"]
    assert vrma.g["extensionsUsed"] == ["VRMC_vrm_animation"]
    assert extension["specVersion"] == "1.0"
    bones = {bone: vrma.nodes[entry["node"]]["name"] for bone, entry in extension["humanoid"]["humanBones"].items()}
    assert set(bones) >= REQUIRED
    assert bones["leftUpperArm"] == "mixamorig:LeftArm"
    assert "meshes" not in vrma.g


@pytest.mark.parametrize("convention", get_args(BoneNames))
def test_each_convention_names_every_bone(tmp_path, convention):
    names = NAMES[convention]
    assert set(names) == set(BONES)
    assert len(set(names.values())) == len(BONES) == 52
    write(tmp_path / "x.bvh", frames_of(TIMES[:5]), bones=convention)
    write(tmp_path / "x.glb", frames_of(TIMES[:5]), bones=convention)
    assert set(Bvh(tmp_path / "x.bvh").parents) == set(names.values())
    assert set(names.values()) <= {node["name"] for node in Gltf(tmp_path / "x.glb").nodes}


HINGES = [f"{finger}{part}" for finger, parts in FINGER_PARTS.items() for part in parts[1:]]


@pytest.mark.parametrize(("side", "curl"), [("left", 0.0), ("left", 0.6), ("right", 1.1), ("right", 1.5)])
def test_fingers_bend_as_their_keypoints(tmp_path, side, curl):
    frames = []
    for index, time in enumerate(TIMES):
        hand, _ = hand_of(actor(time)[15 if side == "left" else 16], curl, side.title())
        hand.keypoints_3d *= 0.7 + 0.6 * (index % 2)  # the network estimates the size of a hand in each frame
        frames.append(Frame(index, time, people=[Person(body_of(actor(time)), **{f"{side}_hand": hand})]))
    write(tmp_path / "x.glb", frames, PEOPLE)
    bends = np.array([Gltf(tmp_path / "x.glb").bends(f"{side}{joint}") for joint in HINGES])
    assert bends == pytest.approx(np.full_like(bends, np.rad2deg(curl)), abs=1)


@pytest.mark.parametrize(("first", "count"), [(20, 12), (20, 30), (0, 25), (35, 25), (2, 58)])
def test_fingers_ease_to_the_rest_pose_in_long_gaps(tmp_path, first, count):
    times, gap = np.arange(60) / FPS, range(first, first + count)
    frames, _ = people_of(times, 1.2)
    for row in {first - 2, first - 1, *gap, first + count} & set(range(len(frames))):
        (person,) = frames[row].people
        weak, _ = hand_of(actor(times[row])[15], -2.0, "Left")  # a wrong pose at the edges
        weak.keypoints_3d[8, 2] = np.inf if row in gap else 0
        person.left_hand = None if row in gap and row % 3 else replace(weak, score=0.7)
    write(tmp_path / "x.glb", frames, PEOPLE)
    gltf = Gltf(tmp_path / "x.glb")
    bends = gltf.bends("leftRingIntermediate")
    is_held = np.isin(np.arange(60), gltf.nodes[0]["extras"]["framesThatHoldTheLeftHand"])
    assert is_held.tolist() == [first - 2 <= row <= first + count for row in range(60)]
    assert "framesThatHoldTheRightHand" not in gltf.nodes[0]["extras"]
    assert bends[~is_held] == pytest.approx(np.rad2deg(1.2), abs=0.1)
    assert abs(np.diff(bends)).max() < 15
    assert bends[is_held].min() == pytest.approx(0 if count > 20 else np.rad2deg(1.2), abs=0.1)
    assert bends.max() < 70


def test_frames_without_the_person_repeat_the_pose_and_are_reported(tmp_path):
    frames = frames_of(TIMES)
    for index in (0, 1, 8, 9, 10):
        frames[index] = Frame(index, float(TIMES[index]))
    writer = write(tmp_path / "x.bvh", frames)
    bvh = Bvh(tmp_path / "x.bvh")
    assert bvh.count == len(TIMES)
    assert (bvh.rows[[0, 1]] == bvh.rows[2]).all()
    assert (bvh.rows[[8, 9, 10]] == bvh.rows[7]).all()
    assert not np.allclose(bvh.rows[11], bvh.rows[7])
    assert writer.notes == [f"{tmp_path / 'x.bvh'}: person1 is missing in 5 of 20 frames, which repeat the latest pose"]
    write(tmp_path / "x.glb", frames)
    assert Gltf(tmp_path / "x.glb").nodes[0]["extras"] == {"framesThatHoldThePose": [0, 1, 8, 9, 10]}


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e20])
@pytest.mark.parametrize("ending", [".bvh", ".glb", ".vrma"])
def test_bodies_without_bones_are_missing_and_times_rise(tmp_path, ending, value):
    frames = frames_of([0.0, 0.04, 0.04, *TIMES[3:]])
    frames[6].bodies[0].keypoints_3d[13 * bool(np.isnan(value)) :] = value
    assert "is missing in 1 of 20 frames" in write(tmp_path / f"x{ending}", frames).notes[0]
    read = Bvh(tmp_path / "x.bvh") if ending == ".bvh" else Gltf(tmp_path / f"x{ending}")
    assert all(np.isfinite(list(read.positions(row).values())).all() for row in (0, 5, 6, 7, 19))


def test_times_of_equal_frames_rise_by_a_millisecond(tmp_path):
    write(tmp_path / "x.glb", frames_of([0.5, 0.5, 0.4, 0.6]))
    assert Gltf(tmp_path / "x.glb").times == pytest.approx([0, 0.001, 0.002, 0.1], abs=1e-6)


def two_people():
    frames = []
    for index, time in enumerate(TIMES):
        bodies = [body_of(actor(time, -0.5), 7)] if index >= 5 else []
        bodies.append(body_of(actor(time, 0.5), 3))
        bodies += [body_of(actor(time, 2.0), 9)] if index < 3 else []
        frames.append(Frame(index, float(time), bodies=bodies))
    return frames


@pytest.mark.parametrize("ending", [".bvh", ".vrma"])
def test_each_person_has_a_file(tmp_path, ending):
    path, second = tmp_path / f"x{ending}", tmp_path / f"x-2{ending}"
    writer = write(path, two_people())
    assert writer.more_paths == [str(second)]
    assert sorted(tmp_path.iterdir()) == [second, path]
    read = Bvh if ending == ".bvh" else Gltf
    longest, other = (read(file).positions(15)["hips"] for file in (path, second))
    assert longest[[0, 2]] == pytest.approx([0, 0], abs=0.01)
    assert other[0] == pytest.approx(-1, abs=0.03)  # metres from the first person
    assert f"{path}: 1 person in less than 5 frames omitted" in writer.notes


def test_glb_has_all_people(tmp_path):
    assert write(tmp_path / "x.glb", two_people()).more_paths == []
    glb = Gltf(tmp_path / "x.glb")
    assert [skin["name"] for skin in glb.g["skins"]] == ["person1", "person2"]
    roots = glb.g["scenes"][0]["nodes"]
    first, second = (glb.positions(15, root)["hips"] for root in roots if "children" in glb.nodes[root])
    assert (second - first)[0] == pytest.approx(-1, abs=0.03)
    materials = glb.g["materials"]
    first, second = ([materials[part["material"]] for part in mesh["primitives"]] for mesh in glb.g["meshes"])
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1  # the shirt


def test_people_have_four_colours_in_turn(tmp_path):
    bodies = [body_of(actor(0, 0.4 * number), number + 1) for number in range(5)]
    write(tmp_path / "x.glb", [Frame(0, 0.0, bodies=bodies)])
    glb = Gltf(tmp_path / "x.glb")
    colours = [
        str([glb.g["materials"][part["material"]]["pbrMetallicRoughness"] for part in mesh["primitives"]])
        for mesh in glb.g["meshes"]
    ]
    assert len(set(colours)) == 4
    assert colours[4] == colours[0]


def test_bvh_has_constant_steps_where_the_video_has_none(tmp_path):
    times = np.array([0, 0.1, 0.2, 0.4, 0.5, 0.6])
    write(tmp_path / "x.bvh", frames_of(times), Header("camera:0", 640, 480, None, "body-full", "bodies"))
    bvh = Bvh(tmp_path / "x.bvh")
    assert bvh.frame_time == pytest.approx(0.1)
    assert bvh.count == 7
    write(tmp_path / "y.bvh", frames_of(times), HEADER)
    assert Bvh(tmp_path / "y.bvh").count == 0.6 * FPS + 1
    places = [np.array([*bvh.positions(row).values()]) for row in range(7)]
    assert np.abs(places[3] - (places[2] + places[4]) / 2).max() < 0.01  # metres
    assert np.abs(places[3] - places[2]).max() > 0.02


def test_tables_become_characters(tmp_path):
    frames, _ = people_of(TIMES, 0.3)
    write(tmp_path / "x.jsonl", frames, PEOPLE)
    convert_table(tmp_path / "x.jsonl", tmp_path / "x.bvh", bones="unreal")
    write(tmp_path / "y.bvh", frames, PEOPLE, bones="unreal")
    assert Bvh(tmp_path / "x.bvh").parents["thumb_01_l"] == "hand_l"
    assert Bvh(tmp_path / "x.bvh").rows == pytest.approx(Bvh(tmp_path / "y.bvh").rows, abs=1e-3)


def test_one_image_is_one_pose(tmp_path):
    header = Header("photo.jpg", 640, 480, None, "body-full", "bodies")
    write(tmp_path / "x.bvh", [Frame(0, None, bodies=[body_of(actor(0), None)])], header)
    bvh = Bvh(tmp_path / "x.bvh")
    assert (bvh.count, bvh.frame_time) == (1, pytest.approx(1 / 30))
    assert bvh.positions(0)["leftHand"] == pytest.approx(moved_to_origin([0])[0, 15], abs=0.03)


def test_several_images_and_videos_without_a_person_leave_no_file(tmp_path):
    frames = [Frame(index, None, bodies=[body_of(actor(0), None)]) for index in range(2)]
    with pytest.raises(InputError, match="describe one video or photograph"):
        write(tmp_path / "x.glb", frames, Header("photos", 640, 480, None, "body-full", "bodies"))
    with pytest.raises(JobError, match=r"x\.vrma: no person was found"):
        write(tmp_path / "x.vrma", [Frame(0, 0.0), Frame(1, 0.1)])
    assert not list(tmp_path.iterdir())


def test_a_clock_that_jumps_by_hours_leaves_the_pause_out_of_a_bvh_and_keeps_it_in_a_glb(tmp_path):
    jumped = [*TIMES, *(TIMES + 3 * 3600)]
    notes = write(tmp_path / "x.bvh", frames_of(jumped)).notes
    bvh = Bvh(tmp_path / "x.bvh")
    assert bvh.count == 2 * len(TIMES)
    pause_s = 3 * 3600 - (TIMES[-1] - TIMES[0]) - 1 / 30
    assert any(f"{pause_s:.1f} s without frames are left out, by which later rows are early" in note for note in notes)
    write(tmp_path / "x.glb", frames_of(jumped))
    assert Gltf(tmp_path / "x.glb").times == pytest.approx(jumped)
    for row in (0, 7, 19):
        assert bvh.positions(len(TIMES) + row)["rightHand"] == pytest.approx(
            Gltf(tmp_path / "x.glb").positions(len(TIMES) + row)["rightHand"], abs=1e-3
        )


def failing_after(frames, error):
    yield from frames
    raise error


def test_interrupted_runs_leave_a_valid_file(tmp_path):
    frames = frames_of(TIMES[:9])
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "x.bvh", failing_after(frames, KeyboardInterrupt))
    assert Bvh(tmp_path / "x.bvh").count == 9


def test_failed_runs_leave_an_older_file(tmp_path):
    path = tmp_path / "x.bvh"
    path.write_text("older")
    with pytest.raises(ValueError, match="broken"):
        write(path, failing_after(frames_of(TIMES[:9]), ValueError("broken")))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (Header("c.mp4", 640, 480, 30.0, "hands-full"), "requires sonjit body or sonjit holistic"),
        (Header("c.mp4", 640, 480, 30.0, "face", "faces"), "requires sonjit body or sonjit holistic"),
        (Header("photos", None, None, None, "body-full", "bodies"), "require images of one size"),
        (Header("photos", 640, None, None, "body-full", "bodies"), "require images of one size"),
        (Header("photos", None, 480, None, "body-full", "bodies"), "require images of one size"),
    ],
)
def test_other_headers_are_refused(tmp_path, header, message):
    with pytest.raises(InputError, match=f"x.glb: .*{message}"):
        open_writer(tmp_path / "x.glb", header)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="Characters cannot be read back"):
        load_frames(tmp_path / "x.glb")


@pytest.mark.parametrize(("ending", "convention"), [(".bvh", "mixamo"), (".glb", "webxr")])
def test_files_of_a_moving_person_are_as_stored(tmp_path, ending, convention):
    frames = people_of(TIMES[:5], 0.6)[0]
    path = tmp_path / f"x{ending}"
    with open_writer(path, PEOPLE, bones=convention) as writer:
        for frame in frames:
            writer.write(frame)
    data = path.read_bytes()
    if ending == ".bvh":
        content = [[number(word) for word in line.split()] for line in data.decode().splitlines()]
    else:
        content = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
        glb = Gltf(path)
        (mesh,) = glb.g["meshes"]
        attributes = mesh["primitives"][0]["attributes"]
        content["vertices"] = {name: glb.get(number)[::50] for name, number in sorted(attributes.items())}
        content["indices"] = glb.get(mesh["primitives"][0]["indices"])[::100]
    assert_as_stored(f"characters{ending}", content)


def number(word):
    """Return a word as a number if it is one."""
    try:
        return float(word)
    except ValueError:
        return word
