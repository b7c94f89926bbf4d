from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit.media import draw, draw_frame
from sonjit.media.drawing import draw_regions
from sonjit.media.drawing.strokes import INK, LEFT, RIGHT, Label, draw_captions, draw_labels
from sonjit.results import Body, Face, Frame, Hand, Person

WILD = st.floats(width=32) | st.floats(-1000, 1000, width=32)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 200))


def test_expected_errors_are_rings_around_refined_keypoints():
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = [[60 + 40 * (k % 7), 60 + 120 * (k // 7)] for k in range(21)]
    refined = Hand("Left", 0.9, points, points, error_px=np.full(21, 15, np.float32))
    black, frame = np.zeros((400, 400, 3), np.uint8), Frame(0, None, hands=[refined])
    plain, ringed = (draw_frame(black, frame, labels=False, errors=errors) for errors in (False, True))
    changed = (plain != ringed).any(2)
    y, x = np.nonzero(changed)
    distances = np.hypot(x[:, None] - points[:, 0], y[:, None] - points[:, 1]).min(1)
    assert changed.sum() > 200
    assert 10 < distances.min() <= distances.max() < 20
    published = Frame(0, None, hands=[replace(refined, error_px=None)])
    np.testing.assert_array_equal(draw_frame(black, published, labels=False, errors=True), plain)


def test_nearer_is_larger_and_lighter():
    def tip(z):
        points = np.zeros((21, 3), np.float32)
        points[:, 0] = np.linspace(60, 340, 21)
        points[:, 1] = 200 + 60 * (np.arange(21) % 2)
        points[8, 2] = z
        one = Hand("Left", 0.9, points, np.zeros((21, 3), np.float32))
        drawn = draw(np.zeros((400, 400, 3), np.uint8), [one], labels=False)
        x, y = points[8, :2].astype(int)
        return drawn[y - 14 : y + 15, x - 12 : x + 13].astype(int)

    near, far = tip(-100), tip(100)
    assert near.sum() > far.sum()
    assert near[14, 12].sum() > far[14, 12].sum()


def wild(count, axes=3):
    return arrays(np.float32, (count, axes) if axes else count, elements=WILD, fill=WILD)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.builds(Body, st.floats(), wild(33), wild(33), wild(33, None), wild(33, None), st.none() | st.integers()),
    hand=st.builds(Hand, st.sampled_from(["Left", "Right"]), st.floats(), wild(21), wild(21)),
    face=st.sampled_from([6, 468, 478]).flatmap(
        lambda count: st.builds(Face, st.floats(), wild(count), st.tuples(*[WILD] * 4), st.none() | st.integers())
    ),
    mask=st.none() | arrays(np.float32, SIZES, elements=WILD, fill=WILD),
    size=SIZES,
    note=st.text(max_size=30),
)
def test_nothing_found_is_too_wild(body, hand, face, mask, size, note):
    body.mask = mask
    frame = Frame(0, None, [hand], faces=[face], bodies=[body], people=[Person(body, hand, None, face), Person(body)])
    assert draw_frame(np.zeros((*size, 3), np.uint8), frame, notes=[note] * 2).shape == (*size, 3)


def assert_regions_contain_the_drawing(frame, rgb, notes=()):
    stale = np.full_like(rgb, 77)
    regions = draw_regions(stale, rgb, frame, notes=notes)
    expected, outside = draw_frame(rgb, frame, notes=notes), np.ones(rgb.shape[:2], bool)
    for region in regions:
        np.testing.assert_array_equal(stale[region.slices], expected[region.slices])
        outside[region.slices] = False
    np.testing.assert_array_equal(expected[outside], rgb[outside])
    return outside


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.builds(Body, st.floats(), wild(33), wild(33), wild(33, None), wild(33, None), st.none() | st.integers()),
    hand=st.builds(Hand, st.sampled_from(["Left", "Right"]), st.floats(), wild(21), wild(21)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    note=st.text(max_size=30),
)
def test_regions_contain_every_wild_drawing(body, hand, size, note):
    rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    frame = Frame(0, None, [hand], bodies=[body], people=[Person(body, hand), Person(body)])
    assert_regions_contain_the_drawing(frame, rgb, [note] * 2)


def test_regions_contain_the_drawing(hand, body, face, person):
    rgb = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    for make in (lambda: Frame(0, None, [hand()]), lambda: Frame(0, None, bodies=[body()])):
        for shift in (0, 600, 1500):
            frame = make()
            for _, instance in frame.instances():
                instance.keypoints[:, :2] = instance.keypoints[:, :2] * 0.3 + shift
            assert assert_regions_contain_the_drawing(frame, rgb).mean() > 0.8
    far_apart = Frame(0, None, [hand(), hand()])
    far_apart.hands[0].keypoints *= np.float32(0.3)
    far_apart.hands[1].keypoints[:, :2] = far_apart.hands[1].keypoints[:, :2] * 0.3 + (1500, 700)
    assert assert_regions_contain_the_drawing(far_apart, rgb).mean() > 0.8
    for complete in (Frame(0, None, faces=[face()]), Frame(0, None, people=[person()])):  # a mesh may extend further
        assert not assert_regions_contain_the_drawing(complete, rgb).any()
    assert assert_regions_contain_the_drawing(Frame(0, None), rgb).all()


@pytest.mark.parametrize("long_side", [320, 3840])
@pytest.mark.slow
def test_everything_is_drawn_at_every_size(hand, face, body, person, long_side):
    rgb = np.full((long_side * 9 // 16, long_side, 3), 128, np.uint8)
    for found in (
        Frame(0, None, [hand()]),
        Frame(0, None, faces=[face(6)]),
        Frame(0, None, faces=[face(468)]),
        Frame(0, None, faces=[face()]),
        Frame(0, None, bodies=[body()]),
        Frame(0, None, people=[person()]),
    ):
        for _, part in found.instances():
            part.keypoints *= np.float32(long_side / 700)
        drawn = draw_frame(rgb, found, labels=False)
        labelled = draw_frame(rgb, found)
        assert 0.0005 < (drawn != rgb).mean() < 0.5
        assert (labelled != drawn).any()
    assert (rgb == 128).all()


def upright(body):
    """Return a body seen from the front, 200 pixels high, in an image of 300 x 300."""
    at = {"left": 180, "right": 120, "nose": 150, "mouth": 150}
    rows = {"shoulder": 110, "elbow": 150, "wrist": 180, "hip": 190, "knee": 230, "ankle": 260}
    one = body()
    for k, name in enumerate(one.skeleton.keypoints):
        first, last = name.split("_")[0], name.split("_")[-1]
        x = at["right" if "right" in name else "left" if "left" in name else "nose"]
        y = rows.get(last, 60 if k < 11 else 195 if k < 23 else 270)
        one.keypoints[k] = x + (20 if first == "left" else -20) * (last in ("elbow", "wrist")), y, 0
    one.visibility[:] = 1
    return one


def colour_at(drawn, point, colour, reach=3):
    x, y = (int(v) for v in point[:2])
    patch = drawn[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].astype(int)
    return np.abs(patch - np.array(colour)).sum(axis=-1).min()


def test_left_is_warm_and_right_is_blue(body):
    one = upright(body)
    drawn = draw_frame(np.zeros((300, 300, 3), np.uint8), Frame(0, None, bodies=[one]), labels=False)
    for name, colour, other in (("left_knee", LEFT, RIGHT), ("right_knee", RIGHT, LEFT)):
        below = one.keypoints[one.skeleton.index(name)] + np.float32([0, 14, 0])
        assert colour_at(drawn, below, colour) < 60 < colour_at(drawn, below, other)


def test_hidden_limbs_are_fainter_than_seen_ones(body):
    black = np.zeros((300, 300, 3), np.uint8)
    sums = []
    for visibility in (1.0, np.nan, 0.2):
        one = upright(body)
        one.visibility[:] = visibility
        sums.append(draw_frame(black, Frame(0, None, bodies=[one]), labels=False).sum(dtype=int))
    assert sums[0] == sums[1] > 3 * sums[2] > 0


def test_a_person_s_arm_reaches_to_its_own_hand(body, hand):
    one, own = upright(body), hand()
    own.handedness = "Left"
    own.keypoints[:] = [(250 + 2 * k, 170 + 2 * (k % 5), 0) for k in range(21)]
    black = np.zeros((300, 300, 3), np.uint8)
    before = draw_frame(black, Frame(0, None, bodies=[one]), labels=False)
    drawn = draw_frame(black, Frame(0, None, people=[Person(one, own)]), labels=False)
    wrist, elbow = one.keypoints[one.skeleton.index("left_wrist")], one.keypoints[one.skeleton.index("left_elbow")]
    assert colour_at(before, wrist, (0, 0, 0), 0) > 200
    assert colour_at(drawn, wrist, (0, 0, 0), 0) == 0
    assert colour_at(drawn, (elbow + own.keypoints[0]) / 2, LEFT) < 60
    assert (one.keypoints[one.skeleton.index("left_wrist")] == wrist).all()


def test_a_mask_cuts_its_person_out(body):
    one = replace(upright(body), mask=np.zeros((30, 30), np.float32))
    one.keypoints[:] = np.nan
    one.mask[10:20, 10:20] = 1
    one.mask[0, 0] = np.nan
    drawn = draw_frame(np.full((300, 300, 3), 100, np.uint8), Frame(0, None, bodies=[one]), labels=False)
    assert (drawn[120:180, 120:180] == 100).all()
    for outside in (drawn[:80], drawn[220:], drawn[:, :80]):
        assert set(np.unique(outside)) == {204, 255}


def test_a_label_adds_a_note_and_a_part_shows_only_the_note(body, hand):
    one, own = upright(body), hand()
    own.keypoints[:, :2] = own.keypoints[:, :2] / 4 + 150
    grey = np.full((300, 300, 3), 128, np.uint8)
    for frame, notes in (
        (Frame(0, None, [own]), ["fist 0.90"]),
        (Frame(0, None, people=[Person(one, own)]), ["", "fist"]),
    ):
        plain, noted = draw_frame(grey, frame), draw_frame(grey, frame, notes=notes)
        ink = [(np.abs(drawn.astype(int) - INK).sum(axis=-1) < 80).sum() for drawn in (plain, noted)]
        assert ink[1] > ink[0] + 100
        assert (draw_frame(grey, frame, labels=False, notes=notes) == draw_frame(grey, frame, labels=False)).all()


def test_captions_stand_at_the_top_and_shrink_to_fit():
    grey = np.full((360, 480, 3), 200, np.uint8)
    for captions in (["Right: victory 0.93", "Left: fist 0.80"], ["a very long line " * 5]):
        canvas = grey.copy()
        draw_captions(canvas, captions)
        changed = (canvas != grey).any(axis=-1)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert 0 < rows.min() < rows.max() < 120
        assert 0 < columns.min() < columns.max() < 479
    tiny = np.zeros((6, 6, 3), np.uint8)
    draw_captions(tiny, ["too much"])
    assert not tiny.any()


def test_labels_hide_neither_each_other_nor_faces():
    canvas = np.full((400, 600, 3), 120, np.uint8)
    up, aside = np.array([0.0, -1.0]), np.array([1.0, 0.0])
    points = [np.array([300.0 + 10 * k, 200.0]) for k in range(3)]
    labels = [Label("Person 0.9", point, (up, aside, -aside), (9, 9, 250), 300.0) for point in points]
    face = (250.0, 130.0, 350.0, 195.0)
    draw_labels(canvas, labels, [face])
    x_min, y_min, x_max, y_max = map(int, face)
    assert (canvas[y_min:y_max, x_min:x_max] == 120).mean() > 0.9
    bars, _ = cv2.connectedComponents(((canvas == (9, 9, 250)).all(axis=2)).astype(np.uint8))
    assert bars - 1 == 3


def test_labels_stay_inside_the_image_and_unknown_places_have_none():
    canvas = np.full((60, 120, 3), 120, np.uint8)
    up = (np.array([0.0, -1.0]),)
    draw_labels(canvas, [Label("Hand 1.00", np.full(2, np.nan), up, (9, 9, 250), 50.0)])
    draw_labels(canvas, [Label("far too long for an image this small", np.zeros(2), up, (9, 9, 250), 50.0)])
    assert (canvas == 120).all()
    draw_labels(canvas, [Label("Hand", np.array([500.0, -80.0]), up, (9, 9, 250), 50.0)])
    assert (canvas[0] != 120).any()
