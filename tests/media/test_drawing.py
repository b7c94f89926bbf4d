from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit import InputError
from sonjit.media import draw_frame, rgb_from
from sonjit.media.drawing import USUAL, DrawingStyle, draw_regions, labels, strokes
from sonjit.media.drawing.covers import blur_faces, cover, distinct, head_around, head_of_keypoints, is_same_head
from sonjit.media.drawing.strokes import INK, LEFT, RIGHT
from sonjit.results import Body, Face, Frame, Hand, Person
from sonjit_lab.hand_models.drawing import draw_mesh

from ..support.drawings import STORED, drawings, sheet  # noqa: TID252

OTHER_LEVEL = 24  # versions of OpenCV smooth the edges of lines differently by less
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


def test_styles_change_lines_colours_and_background(body):
    rgb, frame = np.full((300, 300, 3), 128, np.uint8), Frame(0, None, bodies=[upright(body)])
    plain = draw_frame(rgb, frame, labels=False)
    black = draw_frame(rgb, frame, DrawingStyle(background="black", colour="#00ff00", thickness=2, labels=False))
    assert (black == 0).all(2).mean() > 0.5
    assert ((black != 0).any(2) > (plain != rgb).any(2)).sum() > 300
    assert not (black[..., 1] < black[..., (0, 2)].max(2))[black.min(2) > 20].any()
    assert (draw_frame(rgb, frame, DrawingStyle(boxes=True, points=False, labels=False)) != plain).any()
    assert_regions_contain_the_drawing(frame, rgb, style=DrawingStyle(boxes=True, thickness=3, colour="instance"))
    wrongs = {"colour": "red"}, {"thickness": 9}, {"anonymise": "all"}, {"background": "white"}, {"points": 1}
    for wrong in wrongs:
        with pytest.raises(InputError, match=next(iter(wrong))):
            DrawingStyle(**wrong)


def test_anonymous_drawings_hide_faces(body, hand):
    rgb = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    blurred = draw_frame(rgb, Frame(0, None, bodies=[upright(body)]), DrawingStyle(anonymise="blur", labels=False))
    assert blurred[40:60, 130:145].std() < 0.5 * rgb.std()
    assert (blurred[250:, :90] == rgb[250:, :90]).all()
    assert (draw_frame(rgb, Frame(0, None), DrawingStyle(anonymise="black")) == 0).all()
    for how in ("blur", "persons"):
        with pytest.raises(InputError, match="requires faces or bodies"):
            draw_frame(rgb, Frame(0, None, [hand()]), DrawingStyle(anonymise=how))
    persons = draw_frame(rgb, Frame(0, None, bodies=[upright(body)]), DrawingStyle(anonymise="persons", labels=False))
    assert (persons != rgb).any(2).sum() > 1.5 * (blurred != rgb).any(2).sum()


@pytest.mark.parametrize("side", [8, 40, 200])
def test_a_covered_head_of_any_size_has_the_detail_of_three_cells_in_an_ellipse_with_a_soft_border(side):
    rgb = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    area = slice(100, 100 + side), slice(100, 100 + side)
    shown = cover(rgb, [(100, 100, 100 + side, 100 + side)], [])
    cells = cv2.resize(rgb[area], (3, 3), interpolation=cv2.INTER_AREA)
    few = cv2.resize(cells, (side, side), interpolation=cv2.INTER_LINEAR)
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    radius = np.hypot(steps, steps[:, None])
    assert np.abs(shown[area].astype(int) - few)[radius < 0.8].max(initial=0) <= 1
    np.testing.assert_array_equal(shown[area][radius > 1.01], rgb[area][radius > 1.01])
    border = (radius > 0.87) & (radius < 0.98)
    assert (shown[area] != rgb[area]).any(2)[border].mean() > 0.8
    outside = np.ones(rgb.shape[:2], bool)
    outside[area] = False
    np.testing.assert_array_equal(shown[outside], rgb[outside])


def test_blurred_faces_have_a_margin():
    rgb = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    changed = (blur_faces(rgb, [(100, 100, 140, 140)]) != rgb).any(2)
    y, x = np.nonzero(changed)
    assert (x.min(), y.min(), x.max(), y.max()) == (86, 86, 153, 153)


def test_heads_outside_the_image_are_skipped_and_those_of_a_pixel_are_covered():
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    outside = [(-40, 5, -20, 9), (90, 5, 99, 9), (5, -40, 9, -20), (5, 70, 9, 90), (20, 30, 20, 30)]
    np.testing.assert_array_equal(cover(rgb, outside, outside, outside), rgb)
    inside = cover(rgb, [*outside, (30, 20, 40, 30)], [])
    assert (inside[20:30, 30:40] != rgb[20:30, 30:40]).any()
    edge = cover(rgb, [], [], [(-20, 10, 20, 40)])
    assert not edge[20:30, :10].std((0, 1)).any()
    assert (cover(rgb, [(30, 20, 31, 21)], [])[20, 30] == rgb[20, 30]).all()  # the mean of a pixel is the pixel


@pytest.mark.parametrize("down", [(0, 3), (0, -3), (2, 0), (-1, 1), (0, 0)])
def test_a_head_reaches_from_the_chin_to_above_the_face(down):
    x_min, y_min, x_max, y_max = head_around((100, 100, 140, 140), np.array(down, float))
    away = np.array([(x_min + x_max) / 2 - 120, (y_min + y_max) / 2 - 120])
    towards = np.array(down if any(down) else (0, 1), float)
    assert away @ towards < 0
    assert abs(away[0] * towards[1] - away[1] * towards[0]) < 1e-9
    assert min(x_max, y_max) > 140
    assert max(x_min, y_min) < 100
    assert (x_max - x_min) * (y_max - y_min) < 3 * 40 * 40


def test_one_box_remains_per_head():
    best, part, around, other = (50, 50, 100, 100), (60, 60, 75, 75), (45, 40, 110, 120), (100, 50, 150, 100)
    assert distinct([best, part, other]) == [best, other]
    assert distinct([best, other, around]) == [other, around]
    assert [is_same_head(best, box) for box in (part, around, other)] == [True, True, False]


def test_the_head_of_a_body_in_profile_is_as_large_as_the_torso_requires(body):
    points = upright(body).keypoints.copy()
    front = head_of_keypoints(points)
    points[:11, 0] = points[0, 0]  # from the side
    side = head_of_keypoints(points)
    assert side[2] - side[0] > 0.3 * (points[[23, 24], 1].mean() - points[[11, 12], 1].mean())
    assert front[2] - front[0] >= side[2] - side[0] - 1e-3


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


def assert_regions_contain_the_drawing(frame, rgb, notes=(), style=USUAL):
    stale = np.full_like(rgb, 77)
    regions = draw_regions(stale, rgb, frame, style, notes=notes)
    expected, outside = draw_frame(rgb, frame, style, notes=notes), np.ones(rgb.shape[:2], bool)
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


@pytest.mark.parametrize("long_side", [320, 3840])
@pytest.mark.slow
def test_everything_is_drawn_at_every_size(hand, face, body, person, long_side):
    rgb = np.full((long_side * 9 // 16, long_side, 3), 128, np.uint8)
    faces = [Frame(0, None, faces=[face(count)]) for count in (6, 468, 478)]
    for found in (*faces, Frame(0, None, [hand()]), Frame(0, None, bodies=[body()]), Frame(0, None, people=[person()])):
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


WHITE = (255, 255, 255)


def ball(centre, radius, depth=0.0, rings=24):
    """Return a sphere in pixels with outward faces, x right, y down, z away."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings, False), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    index = np.arange(rings * rings).reshape(rings, rings)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return points.reshape(-1, 3) * radius + (*centre, depth), faces


@pytest.mark.parametrize("radius", [6, 40, 300])
def test_covers_its_outline_and_no_more(radius):
    size = radius * 3
    canvas = np.zeros((size, size, 3), np.uint8)
    vertices, faces = ball((size / 2, size / 2), radius)
    draw_mesh(canvas, vertices, faces, WHITE, opacity=1)
    y, x = np.mgrid[:size, :size] + 0.5
    far = np.hypot(x - size / 2, y - size / 2)
    margin = 1.5 + radius * 0.02
    assert (canvas[far < radius - margin] > 20).all()
    assert not canvas[far > radius + margin].any()


def test_light_comes_from_the_upper_left():
    canvas = np.zeros((120, 120, 3), np.uint8)
    draw_mesh(canvas, *ball((60, 60), 40), (200, 120, 60))
    assert canvas[40, 40, 0] > canvas[80, 80, 0] + 30
    assert canvas[60, 60, 0] > canvas[60, 60, 1] > canvas[60, 60, 2]


@pytest.mark.parametrize("centre", [(-500, 20), (20, 900), (1, 1), (63, 40)])
def test_leaves_the_image(centre):
    canvas = np.zeros((48, 64, 3), np.uint8)
    draw_mesh(canvas, *ball(centre, 20), WHITE)
    inside = 0 <= centre[0] < 64 and 0 <= centre[1] < 48
    assert canvas.any() == inside


@pytest.mark.parametrize("size", [300, 750, 1500])
def test_captions_are_below_each_other_with_a_margin_that_grows_with_the_image(size):
    canvas = np.full((size, size, 3), 255, np.uint8)
    labels.draw_captions(canvas, ["one", "two", "three"])
    drawn = (canvas != 255).any(2)
    margin = round(14 * max(size / 750, 0.45))
    starts = np.flatnonzero(np.diff(drawn.any(1).astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(drawn.any(1).astype(int), append=0) == -1) + 1
    assert np.flatnonzero(drawn.any(0))[0] == margin
    assert starts[0] == margin
    assert (starts[1:] - ends[:-1]).tolist() == [max(2, margin // 3)] * 2
    assert np.ptp(ends - starts) == 0


@pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, 1), (0, -1)], ids=str)
def test_a_label_is_centred_in_its_direction_from_its_point(direction):
    anchor, towards = np.array([200.0, 150.0]), np.array(direction, float)
    label = labels.Label("Left 0.90", anchor, [towards], (1, 2, 3), 100.0)
    (plate,) = labels.place_labels([label], 400, 300)
    middle = np.array([plate.left + plate.width / 2, plate.top + plate.height / 2])
    half = abs(towards) @ [plate.width / 2, plate.height / 2]
    np.testing.assert_allclose(middle - anchor, towards * (2 * plate.pad + half), atol=1)


@pytest.mark.parametrize(
    ("count", "width", "height", "least"),
    [(20, 750, 750, 0.6), (40, 750, 750, 0.9), (200, 750, 750, 0.9), (200, 300, 900, 0.9), (200, 900, 300, 0.9)],
)
def test_a_long_caption_is_smaller_and_then_cut_to_the_width_between_the_margins(count, width, height, least):
    canvas = np.full((height, width, 3), 255, np.uint8)
    labels.draw_captions(canvas, ["M" * count])
    columns = np.flatnonzero((canvas != 255).any((0, 2)))
    margin = round(14 * max(min(width, height) / 750, 0.45))
    assert columns[0] == margin
    assert least < len(columns) / (width - 2 * margin) <= 1
    assert (canvas != 255).any((1, 2)).sum() >= labels.Plate("M", 0.32).height


@pytest.mark.parametrize(("size", "count"), [((60, 750), 2), ((54, 750), 1), ((400, 16), 0)])
def test_captions_that_do_not_fit_are_left_out(size, count):
    canvas = np.full((*size, 3), 255, np.uint8)
    labels.draw_captions(canvas, ["one", "two", "three"])
    starts = np.diff((canvas != 255).any((1, 2)).astype(int), prepend=0) == 1
    assert starts.sum() == count


def test_the_letters_of_labels_grow_with_instance_and_image():
    def height(instance, image, text="Left 0.90"):
        label = labels.Label(text, np.array([image / 2] * 2), [np.array([1.0, 0.0])], (1, 2, 3), instance)
        return [plate.height for plate in labels.place_labels([label], image, image)]

    scaled = {scale: [labels.Plate("Left 0.90", scale).height] for scale in (0.36, 1.0, 2.4)}
    assert height(420.0, 1600) == scaled[1.0]
    assert height(5000.0, 1100) == scaled[1.0]
    assert height(9000.0, 9000) == scaled[2.4]
    assert height(10.0, 1600) == height(5000.0, 200) == height(np.nan, 1600) == scaled[0.36]
    assert height(420.0, 300, "M" * 80) == []  # wider than the image
    point = labels.Label("Left", np.array([np.nan, 5.0]), [np.array([1.0, 0.0])], (1, 2, 3), 100.0)
    assert labels.place_labels([point], 400, 300) == []


def test_a_plate_has_a_bar_and_dark_ground_below_its_text():
    canvas = np.full((100, 300, 3), 255, np.uint8)
    plate = labels.Plate("Left", 1.0, (1, 2, 3))
    plate.left, plate.top = 20, 10
    plate.draw(canvas)
    drawn = (canvas != 255).any(2)
    left, top, right, bottom = plate.box
    assert (right - left, bottom - top) == (plate.width, plate.height)
    outside = np.ones_like(drawn)
    outside[top:bottom, left:right] = False
    assert not drawn[outside].any()
    is_bar = (canvas == (1, 2, 3)).all(2)
    assert np.flatnonzero(is_bar.all(1) | is_bar.any(1)).tolist() == [*range(top, bottom)]
    assert is_bar.any(0).sum() == round(0.25 * labels.cv2.getTextSize("Left", 0, 1.0, 1)[0][1])
    ground = canvas[top + 1, right - 2].astype(int)
    assert (abs(ground - (255 * 0.2 + np.array(labels.INK) * 0.8)) <= 1).all()
    bright = (canvas[top:bottom, left:right] > 200).all(2)
    assert bright[plate.pad : -plate.pad].any()
    assert not bright[: plate.pad - 1].any()
    assert not bright[:, -plate.pad + 1 :].any()


@pytest.mark.parametrize("anchor", [(0.0, 0.0), (400.0, 300.0), (-50.0, 150.0), (200.0, 900.0)])
def test_labels_stay_inside_the_image(anchor):
    label = labels.Label("Left 0.90", np.array(anchor), [np.array([0.0, -1.0])], (1, 2, 3), 100.0)
    (plate,) = labels.place_labels([label], 400, 300)
    assert plate.left == int(min(max(anchor[0] - plate.width / 2, 0), 400 - plate.width))
    top = anchor[1] - 2 * plate.pad - plate.height
    assert plate.top == int(min(max(top, 0), 300 - plate.height))


def test_paths_with_an_unknown_point_are_not_drawn():
    canvas = np.zeros((30, 40, 3), np.uint8)
    for point in ((1e5, 10), (10, -1e5), (np.nan, 10)):
        strokes.draw_path(canvas, np.array([(5, 5), point, (5, 20)], float), (1, 2, 3), 2)
    assert not canvas.any()
    strokes.draw_path(canvas, np.array([(5, 5), (20, 5), (5, 20)], float), (1, 2, 3), 2)
    assert canvas.any()


@pytest.fixture(scope="module")
def drawn():
    return drawings()


def test_drawings_look_as_stored(drawn):
    shown, stored = sheet(drawn).astype(int), rgb_from(STORED)
    assert shown.shape == stored.shape
    height, width = drawn.shape[1:3]
    differs = (np.abs(shown - stored).max(2) > OTHER_LEVEL).reshape(-1, height, 3, width).transpose(0, 2, 1, 3)
    assert differs.sum((2, 3)).ravel().tolist() == [0] * len(drawn)
