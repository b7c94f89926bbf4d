"""Augmentation: what is painted moves with its label, and a mirror changes sides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.training.augment import (
    Augmentation,
    AugmentationOptions,
    Labelled,
    augment,
    draw_augmentation,
    flipped,
    mirrored_order,
    moved,
)

HEIGHT, WIDTH = 60, 80
NAMES = ["nose", "left_eye", "right_eye"]
PLACES = st.lists(st.tuples(st.integers(14, WIDTH - 15), st.integers(14, HEIGHT - 15)), min_size=2, max_size=2)


def painted(places, kind=torch.float32):
    """Squares of 5 pixels, each in a channel of its own, with a keypoint in their middle."""
    image = torch.zeros(3, HEIGHT, WIDTH)
    masks = torch.zeros(len(places), HEIGHT, WIDTH, dtype=torch.bool)
    for number, (x, y) in enumerate(places):
        image[number, y - 2 : y + 3, x - 2 : x + 3] = 1
        masks[number, y - 2 : y + 3, x - 2 : x + 3] = True
    points = torch.tensor(places).float()[:, None] + 0.5  # (N, 1, 2), the middle of a pixel
    boxes = torch.cat([points[:, 0] - 2.5, points[:, 0] + 2.5], 1)
    known, left = torch.ones(len(places), 1, dtype=torch.bool), torch.tensor([True, False])
    image = image if kind == torch.float32 else (255 * image).to(kind)
    return Labelled(image, points.repeat(1, 3, 1), known.repeat(1, 3), boxes, masks, left)


def centre(weights):
    """Middle of what is painted in a channel, in continuous pixels."""
    ys, xs = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([(weights * xs).sum(), (weights * ys).sum()]) / weights.sum()


SHIFTS = st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
MOVES = st.tuples(st.booleans(), st.floats(-0.4, 0.4), st.floats(0.7, 1.2), SHIFTS).map(lambda one: Augmentation(*one))


@given(PLACES, MOVES, st.sampled_from([torch.float32, torch.uint8]))
def test_a_painted_dot_follows_its_keypoint(places, drawn, kind):
    changed = augment(painted(places, kind), drawn)
    for number, (image, points, box, mask) in enumerate(
        zip(changed.image.float(), changed.keypoints, changed.boxes, changed.masks, strict=False)
    ):
        fill = image.flatten().mode().values
        dot = (image - fill).clamp(min=0)
        x, y = points[0].tolist()
        if not (4 < x < WIDTH - 4 and 4 < y < HEIGHT - 4):
            continue
        where = torch.zeros(HEIGHT, WIDTH)
        where[max(0, int(y) - 6) : int(y) + 7, max(0, int(x) - 6) : int(x) + 7] = 1  # corners are filled otherwise
        torch.testing.assert_close(centre(dot * where), points[0], atol=0.3, rtol=0)
        torch.testing.assert_close(centre(mask.float()), points[0], atol=0.7, rtol=0)
        torch.testing.assert_close((box[:2] + box[2:]) / 2, points[0], atol=0.8, rtol=0)
        assert changed.left[number].item() == ((number == 0) != drawn.flip)


@given(PLACES)
def test_a_mirror_of_a_mirror_is_the_image(places):
    sample, mirror = painted(places), mirrored_order(NAMES)
    for one, again in zip(sample, flipped(flipped(sample, mirror), mirror), strict=True):
        torch.testing.assert_close(one, again)


def test_a_mirror_changes_keypoint_pairs():
    sample = painted([(20, 20), (60, 30)])
    points = torch.arange(12).float().reshape(2, 3, 2)
    known = torch.tensor([[True, True, False], [False, False, True]])
    mirrored = flipped(sample._replace(keypoints=points, known=known), mirrored_order(NAMES))
    assert mirrored.keypoints[0].tolist() == [[WIDTH, 1], [WIDTH - 4, 5], [WIDTH - 2, 3]]
    assert mirrored.known.tolist() == [[True, False, True], [False, True, False]]


@given(st.floats(-3, 3), st.floats(0.5, 2), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_boxes_without_masks_stay_in_the_image_and_hold_their_corners(turn, scale, x, y):
    sample = painted([(30, 20), (50, 40)])._replace(masks=None, left=None)
    corners = sample.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(1, (4, 2))
    changed = moved(sample._replace(keypoints=corners), turn, scale, (x, y))
    inside = changed.keypoints.clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT]))
    torch.testing.assert_close(changed.boxes[:, :2], inside.amin(1))
    torch.testing.assert_close(changed.boxes[:, 2:], inside.amax(1))
    assert changed.left is None


def test_light_moves_no_label_and_stays_in_range():
    sample = painted([(20, 20), (60, 30)])
    drawn = Augmentation(light=(1.4, 0.7, 1.3), hue=0.1, channels=(1.2, 0.9, 0.8), blur_px=2.0, erased=(0, 0, 0.5, 0.5))
    for kind, most in ((torch.float32, 1), (torch.uint8, 255)):
        given_one = painted([(20, 20), (60, 30)], kind)
        changed = augment(given_one, drawn)
        assert changed.image.dtype == kind
        assert 0 <= changed.image.min() <= changed.image.max() <= most
        assert not torch.equal(changed.image, given_one.image)
        assert (changed.image[:, : HEIGHT // 2, : WIDTH // 2].float().std((1, 2)) < 1e-5).all()
        assert all(one is two for one, two in zip(given_one[1:], changed[1:], strict=True))
    assert torch.equal(augment(sample, Augmentation()).image, sample.image)


@given(st.integers(0, 2**32))
def test_what_is_drawn_lies_within_the_options_and_comes_from_the_generator(seed):
    options = AugmentationOptions(flip=1, rotation_rad=0.2, scale=(0.9, 1.1), shift=0.05, blur_px=1, erase=1)
    drawn = draw_augmentation(options, np.random.default_rng(seed))
    assert drawn == draw_augmentation(options, np.random.default_rng(seed))
    assert drawn.flip
    assert abs(drawn.rotation_rad) <= 0.2
    assert 0.9 <= drawn.scale <= 1.1
    assert 0 <= drawn.blur_px <= 1
    x, y, width, height = drawn.erased
    assert 0 <= x <= x + width <= 1
    assert 0 <= y <= y + height <= 1
    assert width * height <= 0.2
    nothing = AugmentationOptions(0, 0, (1, 1), 0, 0, 0, 0, 0, 0)
    assert draw_augmentation(nothing, np.random.default_rng(seed)) == Augmentation()


@pytest.mark.parametrize("wrong", [{"flip": 2}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"hue": 1}, {"blur_px": -1}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        AugmentationOptions(**wrong)
