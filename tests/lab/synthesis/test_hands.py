"""Hands of a scene as meshes: skin, seamless forearm, and clothing."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import RigPose
from sonjit.lab.synthesis.gestures import sample_angles
from sonjit.lab.synthesis.hands import ARM, GLOVE, SceneHand, drawables_from_hand, keypoints_from_hand, wrist_edge
from sonjit.lab.synthesis.person import HandAppearance, rig_from_shape

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")


def some_hand(side="Right", seed=0, **look):
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=36).clip(-2, 2)
    angles = sample_angles(rig_from_shape(side, shape), rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= np.linalg.det(turn)
    pose = RigPose(turn[None], rng.normal((0, 0, 0.6), 0.1, (1, 3)), angles[None])
    return SceneHand(side, shape, pose, HandAppearance(**look), bend=(rng.normal(0, 0.3), rng.normal(0, 0.15)))


@pytest.mark.parametrize("side", SIDES)
class TestSkin:
    def test_meshes_are_sound(self, side):
        for seed in range(5):
            for each in drawables_from_hand(some_hand(side, seed, glove="knit", sleeve="shirt", rings=(0, 3)), 2):
                assert np.isfinite(each.vertices).all()
                assert np.allclose(np.linalg.norm(each.normals, axis=1), 1, atol=1e-6)
                assert each.faces.min() >= 0
                assert each.faces.max() < len(each.vertices)
                for values in (each.rest, each.parts, each.marks):
                    assert values is None or len(values) == len(each.vertices)
                a, b, c = np.moveaxis(each.vertices[each.faces], 1, 0)
                outwards = (np.cross(b - a, c - a) * each.normals[each.faces].mean(1)).sum(1) > 0
                assert outwards.mean() > 0.97

    def test_instances(self, side):
        made = drawables_from_hand(some_hand(side, glove="latex", sleeve="rain", rings=(1,)), 3)
        assert made[0].instance == 3
        assert sorted({each.instance for each in made}) == [3, 3 + GLOVE, 3 + ARM]
        assert [each.parts is not None for each in made if each.instance == 3 + GLOVE] == [True]
        assert all(each.parts is None for each in made if each.instance == 3 + ARM)

    def test_keypoints_lie_within_the_skin(self, side):
        hand = some_hand(side, 3)
        skin = drawables_from_hand(hand, 1)[0]
        points = keypoints_from_hand(hand)
        for point in points[1:]:
            nearest = np.linalg.norm(skin.vertices - point, axis=1).argmin()
            depth = (skin.vertices[nearest] - point) @ skin.normals[nearest]
            assert 0.001 < depth < 0.03

    def test_the_forearm_begins_where_the_skin_ends(self, side):
        skin, arm, *_ = drawables_from_hand(some_hand(side, 4), 1)
        loop = wrist_edge(side).loop
        first = slice(0, len(loop))
        assert np.allclose(arm.vertices[first], skin.vertices[loop])
        assert np.allclose(arm.normals[first], skin.normals[loop])
        assert np.allclose(arm.rest[first], skin.rest[loop])
        assert np.allclose(arm.marks[first], skin.marks[loop], atol=1e-6)

    def test_the_edge_is_flat_and_the_rest_of_the_skin_has_none(self, side):
        edge, rig = wrist_edge(side), rig_from_shape(side, np.zeros(36))
        points = edge.extend(rig.vertices)[edge.loop]
        assert np.linalg.svd(points - points.mean(0))[1][2] < 1e-7
        ways = np.concatenate([edge.faces[:, [0, 1]], edge.faces[:, [1, 2]], edge.faces[:, [2, 0]]]).tolist()
        there = {tuple(way) for way in ways}
        assert len(there) == len(ways)
        open_ways = {way for way in there if way[::-1] not in there}
        assert open_ways == set(zip(edge.loop.tolist(), np.roll(edge.loop, -1).tolist(), strict=True))


def test_the_forearm_follows_the_wrists_bend():
    hand = replace(some_hand(seed=2), bend=(0.0, 0.0))
    back = hand.pose.rotation[0] @ rig_from_shape("Right", np.zeros(36)).frames[0]
    straight = drawables_from_hand(hand, 1)[1].vertices[-1]
    flexed = drawables_from_hand(replace(hand, bend=(0.6, 0.0)), 1)[1].vertices[-1]
    turned = drawables_from_hand(replace(hand, bend=(0.0, 0.3)), 1)[1].vertices[-1]
    thumb = keypoints_from_hand(hand)[5] - keypoints_from_hand(hand)[17]
    assert (flexed - straight) @ back[:, 1] < -0.05  # towards the palm
    assert (turned - straight) @ thumb > 0
    assert np.isclose(np.linalg.norm(flexed - straight), abs(2 * 0.24 * np.sin(0.3)), rtol=0.3)


def test_the_left_hand_mirrors_the_right():
    right = some_hand("Right", 5, glove="work", sleeve="jacket", rings=(2,))
    flip = np.diag([-1.0, 1, 1])
    pose = RigPose(flip @ right.pose.rotation @ flip, right.pose.translation @ flip, right.pose.angles)
    left = replace(right, side="Left", pose=pose)
    count = len(rig_from_shape("Right", right.shape).vertices)
    one, other = (drawables_from_hand(hand, 1)[0].vertices[:count] for hand in (right, left))
    assert np.allclose(one @ flip, other, atol=1e-6)
    one, other = (drawables_from_hand(hand, 1)[1].vertices.mean(0) for hand in (right, left))
    assert np.allclose(one @ flip, other, atol=1e-3)
    assert np.allclose(keypoints_from_hand(right) @ flip, keypoints_from_hand(left))


@pytest.mark.parametrize("look", [{"glove": "mitten"}, {"sleeve": "toga"}, {"rings": (7,)}, {"tone": 0}])
def test_what_there_is_not_is_refused_in_one_line(look):
    with pytest.raises(InputError) as caught:
        drawables_from_hand(some_hand(**look), 1)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_detector_finds_and_sides_plain_hands(hands, renderer):
    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.lab.synthesis.drawable import Light, Lighting
    from sonjit.lab.synthesis.gestures import Station, pose_from_station

    camera = CalibratedCamera(np.array([[400.0, 0, 160], [0, 400, 160], [0, 0, 1]]), np.eye(3), np.zeros(3))
    lighting = Lighting((Light((-0.5, -0.7, -0.5), (1.0, 1.0, 0.95), True),), (0.25, 0.25, 0.25))
    background = np.full((2, 2, 3), (110, 125, 135), np.uint8)
    detector = hands(static_image=True)
    seen = []
    for side in SIDES:
        for number, gesture in enumerate(("open", "victory", "point", "relaxed")):
            shape = np.random.default_rng(number).normal(size=36).clip(-2, 2)
            rig = rig_from_shape(side, shape)
            pose = pose_from_station(rig, Station(gesture, "camera", "up", (0.0, 0.0, 0.5)))
            hand = SceneHand(
                side, shape, pose, HandAppearance(tone=3 + 2 * number, sleeve="shirt" if number % 2 else None)
            )
            image = renderer.render(drawables_from_hand(hand, 1), camera, (320, 320), lighting, background).rgb
            found = detector.detect(image)
            seen.append([one.handedness for one in found] == [side])
            truth = camera.project(keypoints_from_hand(hand))
            if seen[-1]:
                assert np.linalg.norm(found[0].keypoints[:, :2] - truth, axis=1).mean() < 12
    assert np.mean(seen) >= 0.85
