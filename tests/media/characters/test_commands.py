"""Characters of real videos on the command line."""

import numpy as np
import pytest

from sonjit.geometry.cameras import assumed_camera, translation_to_view
from sonjit.media import convert_table, load_frames
from sonjit.media.tables.characters import BONES, FINGER_PARTS, FINGERS, PARENTS

from .actors import FROM_CAMERA, JOINTS, Bvh, Gltf

SQUATS = "real/tfjs-models/pose-detection/test_data/pose_squats.mp4"
LIMBS = [bone for bone in JOINTS if bone.endswith(("Hand", "UpperLeg", "Foot", "UpperArm"))]
FRAMES = 16  # of the video, in which a person squats
MOST_PX = 15  # of a video 1280 pixels high


@pytest.fixture(params=[SQUATS])
def squats(request, data, weights):
    file = data / request.param
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    return file


def similarity_px(places, pixels, size):
    """Return the mean distance of projected joints from pixels (F, J, 2), with the best camera position."""
    camera = assumed_camera(*size)
    errors = []
    for points, xy in zip(places * FROM_CAMERA, pixels, strict=True):
        projected = camera.project(points + translation_to_view(points, xy, camera))
        errors.append(np.linalg.norm(projected - xy, axis=1).mean())
    return float(np.mean(errors))


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["body", "holistic"])
def test_character_of_a_video_projects_onto_the_person(sonjit, squats, tmp_path, kind):
    table = tmp_path / "x.jsonl"
    assert sonjit(kind, squats, "--save", table, "--limit", FRAMES)[0] == 0
    convert_table(table, tmp_path / "x.bvh")
    for ending, limit in ((".glb", FRAMES), (".vrma", 2)):
        status, _, lines = sonjit(kind, squats, "--save", tmp_path / f"x{ending}", "--limit", limit)
        assert status == 0, lines
    header, frames = load_frames(table)
    bodies = [(frame.people[0].body if kind == "holistic" else frame.bodies[0]) for frame in frames]
    pixels = np.array([body.keypoints[[JOINTS[bone] for bone in LIMBS], :2] for body in bodies])
    bvh, glb = Bvh(tmp_path / "x.bvh"), Gltf(tmp_path / "x.glb")
    assert bvh.count == len(glb.times) == len(frames)
    assert bvh.frame_time == pytest.approx(1 / header.fps)
    rows = range(0, len(frames), 4)
    places = [glb.positions(row) for row in rows]
    joints = np.array([[place[bone] for bone in LIMBS] for place in places])
    assert similarity_px(joints, pixels[::4], (header.width, header.height)) < MOST_PX
    for row, place in zip(rows, places, strict=True):
        expected = bvh.positions(row)
        assert np.array([expected[bone] for bone in BONES]) == pytest.approx(
            np.array([place[bone] for bone in BONES]), abs=1e-4
        )
    lengths = np.array(
        [[np.linalg.norm(place[bone] - place[above]) for bone, above in PARENTS.items() if above] for place in places]
    )
    assert np.ptp(lengths, axis=0).max() < 1e-5
    feet = np.array([[place[f"{side}Toes"][1] for side in ("left", "right")] for place in places])
    assert abs(np.median(feet)) < 0.06  # metres: the feet of squats are on the ground


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["body", "c.mp4", "--save", "x.csv", "--bones", "vrm"], "--bones vrm requires --save with a .bvh, .glb"),
        (["body", "c.mp4", "--bones", "vrm"], "--bones vrm requires --save"),
        (["body", "c.mp4", "--save", "x.BVH", "--rows", "wide"], "--rows wide requires --save with a .csv"),
        (["body", "c.mp4", "--save", "x.bvh", "--bones", "maya"], 'Choose from: "vrm", "mixamo", "unreal", "webxr"'),
    ],
)
def test_options_that_do_not_apply_are_refused(sonjit, write_video, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "c.mp4", [np.full((64, 64, 3), 128, np.uint8)] * 2)
    status, _, lines = sonjit(*arguments)
    assert status == 2
    assert message in "\n".join(lines)
    assert [file.name for file in tmp_path.iterdir()] == ["c.mp4"]


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("squats", [SQUATS, SQUATS.replace("squats", "1")], indirect=True)
def test_fingers_of_a_video_bend_as_their_keypoints(sonjit, squats, tmp_path):
    assert sonjit("holistic", squats, "--save", tmp_path / "x.jsonl", "--limit", 64)[0] == 0
    header, frames = load_frames(tmp_path / "x.jsonl")
    convert_table(tmp_path / "x.jsonl", tmp_path / "x.glb")
    glb = Gltf(tmp_path / "x.glb")
    for side in ("left", "right"):
        held = set(glb.nodes[0]["extras"][f"framesThatHoldThe{side.title()}Hand"])
        rows = sorted(set(range(len(frames))) - held)
        hands = np.array([getattr(frames[row].people[0], f"{side}_hand").keypoints_3d for row in rows])
        for finger, parts in enumerate(FINGER_PARTS.values()):
            bones = np.diff(hands[:, 1 + 4 * finger : 5 + 4 * finger], axis=1)
            bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
            truth = np.rad2deg(np.arccos((bones[:, 1:] * bones[:, :-1]).sum(-1)))
            for part, expected in zip(parts[1:], truth.T, strict=True):
                bends = glb.bends(f"{side}{FINGERS[finger]}{part}")
                errors = abs(bends[rows] - expected)[expected < 80]  # wrong keypoints are bent more, or backwards
                assert errors.mean() < 5
                assert np.percentile(errors, 95) < 15
                assert bends.max() < 140
                assert header.fps < 30 or abs(np.diff(bends)).max() < 60
