"""Motions: performed ones stay in view, and those of a video are reproduced."""

import json

import av
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import assumed_camera
from sonjit.lab.hand_models.rig import RigPose
from sonjit.lab.synthesis.hands import keypoints_from_hand
from sonjit.lab.synthesis.job import synthesize
from sonjit.lab.synthesis.layouts import SynthSettings
from sonjit.lab.synthesis.motions import load_motion
from sonjit.lab.synthesis.person import rig_from_shape
from sonjit.media import Header, open_writer
from sonjit.results import Frame, Hand

SIZE = (320, 240)
COUNT = 8


@pytest.fixture(scope="module")
def seen(tmp_path_factory, rigs):
    """Return a table with two detected hands, the second from the fourth frame on."""
    camera = assumed_camera(*SIZE)
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("seen") / "hands.json"
    points = {}
    for number, side in enumerate(("Right", "Left")):
        rig = rig_from_shape(side, rng.normal(size=36) * 0.5)
        angles = np.zeros((COUNT, 5, 3, 3))
        angles[..., 1] = 0.5 + 0.3 * np.sin(np.linspace(0, 3, COUNT))[:, None, None]
        angles[:, 0, 0] = 0
        place = np.array([0.12 * (1 if number else -1), 0.02, 0.5]) + np.linspace(0, 0.03, COUNT)[:, None]
        points[side] = rig.keypoints(RigPose(np.tile(np.eye(3), (COUNT, 1, 1)), place, angles))
    with open_writer(path, Header("clip.mp4", *SIZE, 25.0, "full")) as writer:
        for index in range(COUNT):
            hands = [
                Hand(
                    handedness=side,
                    score=1.0,
                    id=number,
                    keypoints=np.column_stack([camera.project(own[index]), own[index, :, 2]]).astype(np.float32),
                    keypoints_3d=(own[index] - own[index].mean(0)).astype(np.float32),
                )
                for number, (side, own) in enumerate(points.items())
                if number == 0 or index >= 3
            ]
            writer.write(Frame(index, index / 25, hands))
    return path, points, camera


def test_hands_are_rendered_at_their_detected_positions(seen):
    path, points, camera = seen
    sampler = SynthSettings(1, size=SIZE, poses=str(path)).sampler()
    scenes = list(sampler.make(0))
    assert [len(scene.hands) for scene in scenes] == [1] * 3 + [2] * (COUNT - 3)
    np.testing.assert_allclose([scene.time_s for scene in scenes], np.arange(COUNT) / 25)
    for index, scene in enumerate(scenes):
        for hand in scene.hands:
            own = scene.cameras[0].project(keypoints_from_hand(hand))
            away = np.linalg.norm(own - camera.project(points[hand.side][index]), axis=1)
            assert np.median(away) < 4, (index, hand.side)
    assert len({scene.hands[0].shape.tobytes() for scene in scenes}) == 1


def test_a_table_without_hands_is_refused(tmp_path):
    with open_writer(tmp_path / "none.json", Header("clip.mp4", *SIZE, 25.0, "full")) as writer:
        writer.write(Frame(0, 0.0, []))
    with pytest.raises(InputError, match="has no hand"):
        load_motion(str(tmp_path / "none.json"))


@pytest.mark.parametrize("kind", ["peak", "rom"])
def test_a_sequence_is_in_view_and_smooth(rigs, kind):
    sampler = SynthSettings(3, size=SIZE, sequence=kind, fps=6, factors=("cut=0",)).sampler()
    scenes = list(sampler.make(1))
    assert len(scenes) > 6
    assert {len(scene.hands) for scene in scenes} <= {1, 2}
    first = scenes[0]
    for scene in scenes:
        assert scene.factors == first.factors
        assert scene.sequence == first.sequence
        np.testing.assert_array_equal(scene.background[0], first.background[0])
    for number in range(len(first.hands)):
        points = np.stack([keypoints_from_hand(scene.hands[number]) for scene in scenes])
        pixels = first.cameras[0].project(points)
        assert ((pixels >= 0) & (pixels < SIZE)).all()
        assert np.linalg.norm(np.diff(points, axis=0), axis=-1).max() < 0.42  # 2.5 m/s


@pytest.mark.slow
def test_videos_with_truth_for_each_camera(tmp_path, seen, renderer):
    path, _, _ = seen
    settings = SynthSettings(1, size=SIZE, rig="glasses", views=2, format="video", poses=str(path))
    synthesize(tmp_path / "out", settings)
    videos = sorted((tmp_path / "out" / "videos").rglob("*.mp4"))
    assert len(videos) == 2
    for video in videos:
        truth = json.loads(video.with_suffix(".json").read_text("utf-8"))
        with av.open(str(video)) as container:
            frames = [(float(frame.time), frame.width, frame.height) for frame in container.decode(video=0)]
        assert len(frames) == len(truth["frames"]) == COUNT
        np.testing.assert_allclose(
            [time for time, _, _ in frames], [frame["time"] for frame in truth["frames"]], atol=1e-3
        )
        assert frames[0][1:] == (truth["width"], truth["height"]) == SIZE
        for frame in truth["frames"]:
            for hand in frame["hands"]:
                points = np.array(hand["xyz_m"])
                x = truth["fx"] * points[:, 0] / points[:, 2] + truth["cx"]
                np.testing.assert_allclose(x, np.array(hand["xy"])[:, 0], atol=0.02)
    again = tmp_path / "again"
    synthesize(again, settings)
    for video in videos:
        assert (again / video.relative_to(tmp_path / "out")).read_bytes() == video.read_bytes()
