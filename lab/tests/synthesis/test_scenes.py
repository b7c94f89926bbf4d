"""Scenes, cameras and factors: deterministic by seed, changes only of pinned factors."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit_lab.synthesis import layouts, scenes
from sonjit_lab.synthesis.factors import FACTORS, Choice, Factors
from sonjit_lab.synthesis.hands import keypoints_from_hand


def make(index, *factors, seed=1, **more):
    return next(layouts.SynthSettings(99, seed=seed, factors=factors, **more).sampler().make(index))


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


def test_a_name_is_one_person_in_all_folders(rigs):
    """Two folders show the same person exactly if they have the same seed, whatever else differs."""
    one, again, other = (make(index, "person=7", seed=seed) for index, seed in ((0, 1), (5, 1), (0, 2)))
    assert one.subject == again.subject != other.subject
    assert one.hands[0].shape.tolist() == again.hands[0].shape.tolist() != other.hands[0].shape.tolist()
    assert one.subject != make(0, "person=8").subject


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("index", range(3))
def test_tone_pinned_changes_only_the_skin_colour(renderer, rigs, index):
    light, dark = (make(index, "hands=1,2", f"tone={tone}") for tone in (1, 10))
    assert numbers(light) == numbers(dark)
    assert [hand.appearance.tone for hand in dark.hands] == [10] * len(dark.hands)
    ((a, seen_a),), ((b, seen_b),) = scenes.render_samples(renderer, light), scenes.render_samples(renderer, dark)
    np.testing.assert_array_equal(seen_a.instances, seen_b.instances)
    np.testing.assert_array_equal(seen_a.depth, seen_b.depth)
    skin = (seen_a.instances > 0) & (seen_a.instances < 100)
    assert seen_a.rgb[skin].mean() > seen_b.rgb[skin].mean() + 20
    bare = seen_a.cover == 0
    np.testing.assert_array_equal(seen_a.rgb[bare], seen_b.rgb[bare])
    for instance, other in zip(a.instances, b.instances, strict=True):
        assert instance.extra["causes"] == other.extra["causes"]


def test_side_and_distance_hold(rigs):
    for index in range(8):
        scene = make(index, "hands=1", "side=left", "distance=0.5")
        assert scene.hands[0].side == "Left"
        assert abs(np.median(keypoints_from_hand(scene.hands[0])[:, 2]) - 0.5) < 0.1


MIDDLE = np.array([0.0, 0, 0.6])


@pytest.mark.parametrize("views", [1, 2, 7, scenes.MAX_VIEWS])
def test_a_dome_looks_at_its_middle_from_all_sides(views):
    cameras = scenes.camera_rig("dome", views, (320, 240), 60, MIDDLE)
    assert len(cameras) == views
    places = np.stack([-camera.R.T @ camera.t for camera in cameras])
    for camera in cameras:
        np.testing.assert_allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.R) > 0
        np.testing.assert_allclose(camera.project(camera.from_world(MIDDLE)), (160, 120), atol=1e-6)
        assert camera.R[1] @ (0, 1, 0) >= 0  # no image hangs upside down
    np.testing.assert_allclose(np.linalg.norm(places - MIDDLE, axis=1), 0.6)
    np.testing.assert_allclose(places[0], 0, atol=1e-12)
    away = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(views)
    assert away.min() > 0.4 * 0.6 / np.sqrt(views)


def test_the_longer_side_has_the_requested_angle():
    for size in ((320, 240), (240, 320)):
        (camera,) = scenes.camera_rig("webcam", 1, size, 90, MIDDLE)
        edge = np.array([1.0, 0, 1]) if size[0] > size[1] else np.array([0, 1.0, 1])
        assert camera.project(edge).max() == pytest.approx(320)


@pytest.mark.parametrize(("rig", "views"), [("webcam", 2), ("glasses", 1), ("dome", 0), ("dome", scenes.MAX_VIEWS + 1)])
def test_a_rig_refuses_what_it_has_not(rig, views):
    with pytest.raises(InputError, match=f"--rig {rig} with --views {views}: requires"):
        scenes.camera_rig(rig, views, (64, 64), 60, MIDDLE)


def setting(factor, rng):
    """Return a text that narrows a factor, and a function that checks whether a value obeys it."""
    if isinstance(factor.values, Choice):
        values = rng.permutation([str(value).lower() for value in factor.values.values])[:2].tolist()
        return f"{factor.name}={','.join(values)}", lambda value: str(value).lower() in values
    low, high = np.sort(rng.uniform(factor.values.low, factor.values.high, 2)).round(2)
    if factor.values.integer:
        low, high = int(low), int(high) + 1
    return f"{factor.name}={low}..{high}", lambda value: low <= value <= high


@pytest.mark.nightly_after(4)
@pytest.mark.parametrize("factor", FACTORS, ids=lambda one: one.name)
def test_narrowing_one_factor_works_and_changes_no_other(factor):
    rng = np.random.default_rng(3)
    text, holds = setting(factor, rng)
    free, pinned = Factors(FACTORS), Factors(FACTORS, [text])
    for index in range(20):
        before, after = free.draw(5, index), pinned.draw(5, index)
        assert holds(after[factor.name]), (text, after[factor.name])
        moved = {name for name in before if before[name] != after[name]}
        of_person = {one.name for one in FACTORS if one.of == "person"} if factor.name == "person" else set()
        assert moved <= {factor.name} | of_person


def test_the_same_seed_draws_the_same_and_a_person_keeps_what_is_theirs():
    factors = Factors(FACTORS)
    assert factors.draw(4, 9) == Factors(FACTORS).draw(4, 9)
    assert factors.draw(4, 9) != factors.draw(5, 9)
    someone = Factors(FACTORS, ["person=7"])
    first, second = someone.draw(4, 1), someone.draw(4, 2)
    theirs = [factor.name for factor in FACTORS if factor.of == "person"]
    assert {name: first[name] for name in theirs} == {name: second[name] for name in theirs}
    assert first != second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tone", "give factor=value"), ("tone=", "requires whole numbers"),
        ("colour=3", "Unknown factor 'colour'. Choose from person, tone"),
        ("tone=11", "requires whole numbers from 1..10"), ("tone=2.5", "requires whole numbers"),
        ("distance=far", "requires numbers from"), ("distance=nan", "requires numbers from"),
        ("distance=0.9..0.4", "the minimum is above the maximum"), ("hands=three", "Choose from 0, 1, 2, interacting"),
    ],
)  # fmt: skip
def test_a_wrong_setting_lists_known_values(text, says):
    with pytest.raises(InputError, match=says.replace(".", r"\.")) as error:
        Factors(FACTORS, [text])
    assert "\n" not in str(error.value)
