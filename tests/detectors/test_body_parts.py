"""Steps of body detection: alignment, crops, heatmaps, masks, smoothing."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.detectors.kinds.body import (
    Bodies,
    BodyObservation,
    BodySmoother,
    MaskSmoother,
    box_from_alignment,
    refine_by_heatmaps,
)
from sonjit.detectors.search.bodies import body_oks
from sonjit.geometry.boxes import RotatedBox
from sonjit.results.skeletons import load_skeleton, mirrored_order


class FakeNetwork:
    """Landmark network with constant output."""

    precision = "f32"

    def __init__(self, image, world, mask=None, score=0.9):
        self.input = np.zeros((1, 256, 256, 3), np.uint8)
        heatmaps = np.full((1, 64, 64, 39), -9, np.float32)
        self.outputs = [image, np.array([[score]], np.float32), heatmaps, world]
        self.outputs += [] if mask is None else [mask]

    def run(self):
        return self.outputs


def seen(shift=0.0, visibility=1.0, mask=None):
    rng = np.random.default_rng(0)
    points = rng.uniform(100, 300, (33, 3)).astype(np.float32) + np.float32(shift)
    return BodyObservation(
        score=0.9,
        keypoints=points,
        keypoints_3d=points / 200,
        visibility=np.full(33, visibility, np.float32),
        presence=np.ones(33, np.float32),
        alignment=np.array([[200 + shift, 200], [200 + shift, 80]], np.float32),
        mask=mask,
    )


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_mask_smoothing_is_the_published_formula(before, now):
    smooth = MaskSmoother()
    smooth(np.array([[before]], np.float32))
    t = (now - 0.5) ** 2
    series = t * (5.68842 + t * (-0.748699 + t * (-57.8051 + t * (291.309 - 624.717 * t))))
    expected = now + (before - now) * (1 - min(1, series)) * 0.7
    assert smooth(np.array([[now]], np.float32))[0, 0] == pytest.approx(expected, abs=1e-3)


def one_euro(values, step_s, scale, min_cutoff, beta):
    """Return values (N,) filtered as Casiez et al. (2012) publish it, with the derivative's cut-off at 1 Hz."""

    def weight(cutoff):
        return 1 / (1 + 1 / (2 * np.pi * cutoff * step_s))

    smooth, speed = [values[0]], 0.0
    for before, now in pairwise(values):
        speed += weight(1.0) * ((now - before) / (scale * step_s) - speed)
        smooth.append(smooth[-1] + weight(min_cutoff + beta * abs(speed)) * (now - smooth[-1]))
    return smooth


@pytest.mark.parametrize("alignment", [True, False])
def test_bodies_are_smoothed_with_the_parameters_of_mediapipes_graph(alignment):
    """Its options are min_cutoff and beta: 0.05 and 80 of keypoints, 0.1 and 40 in the world, 0.01 and 10 of the box.

    The size is twice the radius of the circle around the body, and 1.25 times as large in a pose landmarker.
    """
    shifts, smoother = [0.0, 2.0, 3.0, 3.5, 9.0], BodySmoother(alignment=alignment)
    frames = [smoother(seen(shift, 0.1 * number), number / 30) for number, shift in enumerate(shifts)]
    size, first = 240 * (1 if alignment else 1.25), seen()

    def filtered(start, factor, scale, *parameters):
        return one_euro([start + factor * shift for shift in shifts], 1 / 30, scale, *parameters)

    for name, factor, scale, parameters in (
        ("keypoints", 1, size, (0.05, 80)),
        ("keypoints_3d", 1 / 200, 1, (0.1, 40)),
    ):
        expected = filtered(getattr(first, name)[5, 1], factor, scale, *parameters)
        np.testing.assert_allclose([getattr(frame, name)[5, 1] for frame in frames], expected, rtol=1e-6)
    expected = filtered(200, 1, size, 0.01, 10) if alignment else [200 + shift for shift in shifts]
    np.testing.assert_allclose([frame.alignment[0, 0] for frame in frames], expected, rtol=1e-6)
    visibility = [0.0, 0.01, 0.029, 0.0561, 0.09049]  # a new frame counts a tenth
    np.testing.assert_allclose([frame.visibility[0] for frame in frames], visibility, atol=1e-6)


def test_a_selfie_view_changes_the_names_of_left_and_right():
    rng = np.random.default_rng(2)
    image, world = rng.uniform(0, 256, (1, 195)).astype(np.float32), rng.normal(size=(1, 117)).astype(np.float32)
    box, rgb = RotatedBox(50, 50, 90, 90, 0.3), np.zeros((100, 100, 3), np.uint8)
    plain, selfie = (
        Bodies(None, FakeNetwork(image, world), mirrored=mirrored).observe(rgb, box) for mirrored in (False, True)
    )
    index = load_skeleton("body_blazepose33").index
    left, right, nose = index("left_wrist"), index("right_wrist"), index("nose")
    for name in ("keypoints", "keypoints_3d", "visibility", "presence"):
        a, b = getattr(plain, name), getattr(selfie, name)
        np.testing.assert_array_equal(a[[left, right, nose]], b[[right, left, nose]])
    np.testing.assert_array_equal(plain.alignment, selfie.alignment)


class SeeingNetwork(FakeNetwork):
    """Landmark network that places all keypoints at the brightest column of the crop, too far to the left."""

    def __init__(self):
        super().__init__(np.zeros((1, 195), np.float32), np.zeros((1, 117), np.float32))

    def run(self):
        column = float(self.input[0, ..., 0].mean(0).argmax())
        image = np.full((39, 5), 5, np.float32)
        image[:, 0] = column - 20 + np.arange(39)
        image[:, 1] = 128
        image[34] = (128, 20, 0, 5, 5)
        world = np.random.default_rng(0).uniform(-1, 1, (39, 3)).astype(np.float32)
        return [image.reshape(1, -1), *self.outputs[1:3], world.reshape(1, -1)]


@pytest.mark.parametrize("rotation", [0.0, 0.4])
def test_a_mirrored_image_has_the_mirrored_means(rotation):
    rgb = np.zeros((400, 500, 3), np.uint8)
    rgb[:, 180:190] = 250
    bodies = Bodies(None, SeeingNetwork(), averages_mirrored=True)
    box = RotatedBox(210.0, 200.0, 256.0, 256.0, rotation)
    other = box._replace(cx=499 - box.cx, rotation=-rotation)
    first, second = bodies.observe(rgb, box), bodies.observe(np.ascontiguousarray(rgb[:, ::-1]), other)
    order = mirrored_order(load_skeleton("body_blazepose33").keypoints)
    mirrored = second.keypoints[order] * [-1, 1, 1] + [499, 0, 0]
    np.testing.assert_allclose(first.keypoints, mirrored, atol=0.3)
    np.testing.assert_allclose(first.keypoints_3d, second.keypoints_3d[order] * [-1, 1, 1], atol=1e-5)
    np.testing.assert_allclose(first.alignment, second.alignment * [-1, 1] + [499, 0], atol=0.3)


def test_limbs_whose_sides_the_mirrored_crop_exchanges_do_not_collapse():
    rng = np.random.default_rng(1)
    order = np.array(mirrored_order(load_skeleton("body_blazepose33").keypoints))
    image, world = rng.uniform(20, 230, (39, 5)).astype(np.float32), rng.uniform(-1, 1, (39, 3)).astype(np.float32)
    image[:, 3:] = 5
    mirrored = image.copy()
    mirrored[:33] = mirrored[order]
    mirrored[:, 0] = 256 - mirrored[:, 0]
    legs = np.arange(23, 33)
    mirrored[legs] = mirrored[order[legs]]
    mirrored[legs, 3] = 0  # less visible
    network = FakeNetwork(image.reshape(1, -1), world.reshape(1, -1))
    plain = Bodies(None, network).observe(np.zeros((256, 256, 3), np.uint8), RotatedBox(128, 128, 256, 256))
    outputs = iter([image, mirrored])
    network.run = lambda: [next(outputs).reshape(1, -1), *network.outputs[1:]]
    found = Bodies(None, network, averages_mirrored=True).observe(
        np.zeros((256, 256, 3), np.uint8), RotatedBox(128, 128, 256, 256)
    )
    np.testing.assert_allclose(found.keypoints[:, :2], plain.keypoints[:, :2], atol=1e-3)


def test_keypoints_outside_the_image_do_not_count_in_the_agreement_of_bodies():
    body, image = seen(), np.zeros((400, 400, 3), np.uint8)
    away = body.keypoints.copy()
    away[::3] = -500
    assert body_oks(body, body, image) == pytest.approx(1)
    assert body_oks(body, replace(body, keypoints=away), image) == pytest.approx(1)
    assert body_oks(body, seen(shift=300), image) == 0
    assert 0 < body_oks(body, seen(shift=8), image) < 1


def refined_by_loops(point, heatmap, kernel):
    """Return x, y and the peak of a point in fractions of the crop, moved as MediaPipe describes it."""
    height, width = heatmap.shape
    column, row = int(point[0] * width), int(point[1] * height)
    if not (0 <= column < width and 0 <= row < height):
        return (*point[:2], 0.0)
    reach = range(-(kernel // 2), kernel // 2 + 1)
    cells = [(row + y, column + x) for y in reach for x in reach if 0 <= row + y < height and 0 <= column + x < width]
    shares = [1 / (1 + np.exp(-heatmap[cell])) for cell in cells]
    if max(shares) < 0.5:
        return (*point[:2], max(shares))
    y, x = np.average(cells, axis=0, weights=shares)
    return x / width, y / height, max(shares)


@pytest.mark.parametrize("kernel", [7, 9])
def test_keypoints_move_to_the_centre_of_their_heatmaps(kernel):
    rng = np.random.default_rng(4)
    points = rng.uniform(-0.1, 1.1, (80, 3)).astype(np.float32)
    points[:6, :2] = [(0, 0), (0.999, 0.999), (0.01, 0.5), (0.5, 0.01), (0.99, 0.5), (0.5, 0.99)]
    heatmaps = rng.normal(-2, 1, (20, 24, 80)).astype(np.float32)
    heatmaps[..., 40:] -= 3  # too low to move a keypoint
    found, peaks = refine_by_heatmaps(points, heatmaps, kernel)
    expected = [refined_by_loops(point, heatmaps[..., k].astype(float), kernel) for k, point in enumerate(points)]
    np.testing.assert_allclose(np.column_stack([found[:, :2], peaks]), expected, atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], points[:, 2])
    assert 10 < (found != points).any(1).sum() < 70


@pytest.mark.parametrize("turn", [0.0, 0.5, -2.0, 3.1])
def test_the_box_of_a_person_is_around_the_circle_of_its_alignment_points(turn):
    centre = np.array([200.0, 150.0])
    box = box_from_alignment(np.array([centre, centre + 40 * np.array([np.sin(turn), -np.cos(turn)])]))
    assert box == pytest.approx((200, 150, 100, 100, turn))


class Detector:
    """Detector of people with these alignment points in an image, and others in the mirrored image."""

    def __init__(self, points, mirrored):
        self.points, self.mirrored = points, mirrored

    def find(self, rgb, min_score):
        shown = self.points if rgb[0, 0, 0] else self.mirrored
        return [SimpleNamespace(keypoints=np.array([*pair, (0, 0)], float)) for pair in shown]


def test_people_have_the_mean_boxes_of_both_mirror_images():
    rgb = np.zeros((300, 500, 3), np.uint8)
    rgb[0, 0] = 1
    points = [((100, 150), (100, 100)), ((300, 150), (300, 110))]
    network = FakeNetwork(np.zeros((1, 195), np.float32), np.zeros((1, 117), np.float32))
    detector = Detector(points, [((399 - 8, 154), (399 - 8, 104)), ((199 - 20, 150), (199 - 20, 110))])
    plain, averaged = (Bodies(detector, network, averages_mirrored=twice).find(rgb, 0.5) for twice in (False, True))
    assert [box[:4] for box in plain] == [(100, 150, 125, 125), (300, 150, 100, 100)]
    assert [box[:4] for box in averaged] == [(104, 152, 125, 125), (300, 150, 100, 100)]  # the second one is another
    assert Bodies(None, network).find(rgb, 0.5) == []


def test_an_occluded_body_moves_without_visible_keypoints():
    network = FakeNetwork(np.zeros((1, 195), np.float32), np.zeros((1, 117), np.float32))
    body = seen(mask=np.ones((4, 4), np.float32))
    moved = Bodies(None, network).propagate(body, np.array([3, -4], np.float32), 0.25)
    np.testing.assert_allclose(moved.keypoints, body.keypoints + np.array([3, -4, 0]))
    np.testing.assert_allclose(moved.alignment, body.alignment + np.array([3, -4]))
    assert moved.score == 0.25
    assert not moved.visibility.any()
    assert not moved.mask.any()
    assert moved.mask.shape == (4, 4)
    assert Bodies(None, network).propagate(seen(), np.zeros(2, np.float32), 0.5).mask is None


def test_an_observation_has_the_places_masks_and_colours_of_the_crop():
    image = np.zeros((39, 5), np.float32)
    places = {11: (192, 64), 12: (64, 64), 23: (192, 192), 24: (64, 192)}  # in the crop of 256 px
    for index, place in places.items():
        image[index, :2] = place
    image[:33, 3:] = np.log(3), -np.log(3)
    image[33], image[34] = (128, 128, 0, 0, 0), (128, 28, 0, 0, 0)
    world = np.zeros((39, 3), np.float32)
    world[11] = 1, 2, 3
    logits = np.full((1, 256, 256, 1), -9, np.float32)
    logits[0, :128] = 9
    rgb = np.zeros((400, 400, 3), np.uint8)
    rgb[:176], rgb[176:224], rgb[224:] = (200, 10, 0), (0, 150, 20), (30, 0, 100)
    network = FakeNetwork(image.reshape(1, -1), world.reshape(1, -1), logits, score=0.75)
    found = Bodies(None, network).observe(rgb, RotatedBox(200, 200, 256, 256))
    np.testing.assert_allclose(found.keypoints[[11, 24], :2], [(264, 136), (136, 264)], atol=1e-3)
    np.testing.assert_allclose(found.keypoints_3d[11], (1, 2, 3), atol=1e-6)
    np.testing.assert_allclose(found.visibility, 0.75, atol=1e-6)
    np.testing.assert_allclose(found.presence, 0.25, atol=1e-6)
    np.testing.assert_allclose(found.alignment, [(200, 200), (200, 100)], atol=1e-3)
    assert found.score == 0.75
    assert found.heatmap_peak < 0.01
    assert found.mask.shape == (400, 400)
    np.testing.assert_allclose(found.mask[[100, 300, 20], [200, 200, 200]], (1, 0, 0), atol=1e-3)
    np.testing.assert_allclose(found.colours, [200, 10, 0, 0, 150, 20, 30, 0, 100])
    body = Bodies(None, network).result(rgb, found, SimpleNamespace(id=3))
    assert (body.id, body.score) == (3, 0.75)
    assert Bodies(None, network).result(rgb, found, None).id is None
