"""Labels compared with pixels, meshes and independent ray tracing."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from sonjit_lab.synthesis import hands, layouts, scenes
from sonjit_lab.synthesis.drawables import Drawable, Light, Lighting, Material

from .ray_causes import ray_causes, scene_drawables

LIGHT = Lighting((Light((0.0, -0.6, -0.8), (1.0, 1.0, 1.0)),), (0.3, 0.3, 0.3))


@cache
def scene(index, *factors):
    return next(layouts.SynthSettings(99, seed=3, factors=("distance=0.3..0.5", *factors)).sampler().make(index))


@pytest.mark.slow
def test_causes_agree_with_rays_followed_through_the_meshes(renderer, rigs):
    agree, seen = [], set()
    for index in range(9):
        made = scene(index, "hands=1,2,interacting", "occluders=0..1")
        ((sample, _),) = scenes.render_samples(renderer, made)
        given = [cause for instance in sample.instances for cause in instance.extra["causes"]]
        expected = ray_causes(made, scene_drawables(made), made.cameras[0])
        for cause, other in zip(given, expected, strict=True):
            seen.add(cause)
            if cause != "outside":
                agree.append(cause == other)
    assert np.mean(agree) >= 0.99
    assert {"visible", "self", "object"} <= seen


@pytest.mark.slow
def test_keypoints_lie_inside_the_hand_that_shows_them(renderer, rigs):
    """Check that the skin in front of a visible keypoint belongs to its hand, and is at most a bone's length nearer."""
    for index in range(6):
        made = scene(index, "hands=1")
        ((sample, buffers),) = scenes.render_samples(renderer, made)
        for number, instance in enumerate(sample.instances, 1):
            seen = instance.visible & instance.valid_px & (np.arange(21) % 4 != 1) & (np.arange(21) > 2)
            columns, rows = np.floor(instance.keypoints_px[seen]).astype(int).T
            on_skin = buffers.instances[rows, columns] == number
            assert on_skin.mean() > 0.9  # others lie just beyond an edge
            gap = instance.keypoints_m[seen, 2] - buffers.depth[rows, columns]
            assert (gap[on_skin] > -0.002).all()
            assert (gap[on_skin] < 0.055).all()
            np.testing.assert_allclose(sample.camera.project(instance.keypoints_m), instance.keypoints_px, atol=0.01)


def test_a_board_before_a_hand_hides_it_and_the_image_ends_somewhere(renderer, rigs):
    made = scene(1, "hands=1", "cut=0")
    (hand,) = made.hands
    points = hands.keypoints_from_hand(hand)
    drawables = hands.drawables_from_hand(hand, 1)
    corners = points[:, :2].mean(axis=0) * 0.5 + 0.3 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    nearest = drawables[0].vertices[:, 2].min()
    board = Drawable(
        np.column_stack([corners, np.full(4, nearest / 2)]),
        np.tile([0.0, 0, -1], (4, 1)),
        np.array([[0, 1, 2], [0, 2, 3]]),
        Material("wood", (0.3, 0.2, 0.1)),
        200,
    )
    camera, size = made.cameras[0], made.sizes[0]

    def causes(*drawn, size=size):
        buffers = renderer.render(drawn, camera, size, LIGHT, made.background[0])
        (label,) = scenes.label_hands([points], drawn, camera, buffers)
        return label

    assert "visible" in causes(*drawables).causes
    hidden = causes(*drawables, board)
    assert set(hidden.causes) == {"object"}
    assert hidden.box is None
    assert not hidden.mask.any()
    cut = int(np.median(label_px := causes(*drawables).keypoints_px[:, 0]))
    for cause, x in zip(causes(*drawables, size=(cut, size[1])).causes, label_px, strict=True):
        assert (cause == "outside") == (x >= cut)


def test_a_glove_is_the_hand_and_what_else_lies_on_it_is_not(renderer, rigs):
    made = scene(2, "hands=1", "cut=0")
    points = hands.keypoints_from_hand(made.hands[0])
    (skin, *_) = hands.drawables_from_hand(made.hands[0], 1)

    def label(instance):
        worn = replace(skin, vertices=skin.vertices + 0.002 * skin.normals, instance=instance)
        buffers = renderer.render([skin, worn], made.cameras[0], made.sizes[0], LIGHT, made.background[0])
        (found,) = scenes.label_hands([points], [skin, worn], made.cameras[0], buffers)
        return found

    as_glove, as_other = label(101), label(200)
    assert "visible" in as_glove.causes
    assert "object" not in as_glove.causes
    assert set(as_other.causes) == {"object"}
    assert as_glove.mask.sum() > as_other.mask.sum()
