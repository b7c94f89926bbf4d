"""Scenes: deterministic by seed, changes only of pinned factors, and hands at the requested positions."""

import numpy as np
import pytest

from sonjit.lab.synthesis.hands import keypoints_from_hand
from sonjit.lab.synthesis.layouts import SynthSettings
from sonjit.lab.synthesis.samples import render_samples


def make(index, *factors, seed=1, **more):
    return next(SynthSettings(99, seed=seed, factors=factors, **more).sampler().make(index))


def numbers(scene):
    """Return all values of a scene except the skin tone."""
    hands = [
        (hand.side, hand.shape, hand.pose.rotation, hand.pose.translation, hand.pose.angles) for hand in scene.hands
    ]
    return repr([hands, [one.vertices.tolist() for one in scene.objects], scene.lighting])


def test_a_seed_makes_the_same_scene_and_another_seed_another(rigs):
    assert numbers(make(3)) == numbers(make(3))
    assert numbers(make(3, "hands=1")) != numbers(make(3, "hands=1", seed=2))
    np.testing.assert_array_equal(make(3).background[0], make(3).background[0])


@pytest.mark.slow
@pytest.mark.parametrize("index", range(3))
def test_tone_pinned_changes_only_the_skin_colour(renderer, rigs, index):
    light, dark = (make(index, "hands=1,2", f"tone={tone}") for tone in (1, 10))
    assert numbers(light) == numbers(dark)
    assert [hand.appearance.tone for hand in dark.hands] == [10] * len(dark.hands)
    ((a, seen_a),), ((b, seen_b),) = render_samples(renderer, light), render_samples(renderer, dark)
    np.testing.assert_array_equal(seen_a.instances, seen_b.instances)
    np.testing.assert_array_equal(seen_a.depth, seen_b.depth)
    skin = (seen_a.instances > 0) & (seen_a.instances < 100)
    assert seen_a.rgb[skin].mean() > seen_b.rgb[skin].mean() + 20
    bare = seen_a.cover == 0
    np.testing.assert_array_equal(seen_a.rgb[bare], seen_b.rgb[bare])
    for instance, other in zip(a.instances, b.instances, strict=True):
        assert instance.extra["causes"] == other.extra["causes"]


@pytest.mark.slow
@pytest.mark.parametrize(("hands", "count"), [("0", 0), ("1", 1), ("2", 2), ("interacting", 2)])
def test_as_many_hands_as_requested_of_one_person(rigs, hands, count):
    for index in range(3):
        scene = make(index, f"hands={hands}")
        assert len(scene.hands) == count
        assert len({hand.side for hand in scene.hands}) == count
        assert len({hand.shape.tobytes() for hand in scene.hands}) == min(count, 1)
        assert len({(hand.appearance.tone, hand.person) for hand in scene.hands}) == min(count, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("hands", "count"), [("1", 20), ("2", 10), ("interacting", 5)])
def test_hands_are_in_view_unless_cut(rigs, hands, count):
    outside = []
    for index in range(count):
        scene = make(index, f"hands={hands}", "cut=0", "distance=0.45..0.9")
        for hand in scene.hands:
            camera = scene.cameras[0]
            seen = camera.project(camera.from_world(keypoints_from_hand(hand)))
            outside.append(not ((seen >= 0) & (seen < scene.sizes[0])).all())
    assert np.mean(outside) < 0.05


def test_side_and_distance_hold(rigs):
    for index in range(8):
        scene = make(index, "hands=1", "side=left", "distance=0.5")
        assert scene.hands[0].side == "Left"
        assert abs(np.median(keypoints_from_hand(scene.hands[0])[:, 2]) - 0.5) < 0.1
