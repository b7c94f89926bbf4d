"""Drawing upon images, without networks."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe.framework.formats.detection_pb2 import Detection
from sonjit.compat.mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList
from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData

drawing, styles, hands = mp.solutions.drawing_utils, mp.solutions.drawing_styles, mp.solutions.hands


@pytest.fixture
def image():
    return np.zeros((100, 200, 3), np.uint8)


def hand(*points):
    return NormalizedLandmarkList(landmark=[NormalizedLandmark(x=x, y=y) for x, y in points])


def test_a_dot_has_its_colour_and_a_rim(image):
    spec = drawing.DrawingSpec(color=(1, 2, 3), thickness=-1, circle_radius=4)
    drawing.draw_landmarks(image, hand((0.5, 0.5)), None, spec)
    assert image[50, 100].tolist() == [1, 2, 3]
    assert image[50, 105].tolist() == list(drawing.WHITE_COLOR)
    assert not image[50, 107].any()


def test_lines_lie_below_dots_and_need_both_ends(image):
    drawing.draw_landmarks(image, hand((0.25, 0.5), (0.75, 0.5), (0.5, 1.2)), [(0, 1), (1, 2)])
    assert image[50, 100].tolist() == list(drawing.WHITE_COLOR)
    assert image[50, 50].tolist() == list(drawing.RED_COLOR)
    assert not image[60:].any()


@pytest.mark.parametrize("field", ["visibility", "presence"])
def test_unsure_landmarks_are_left_out(image, field):
    landmarks = hand((0.5, 0.5))
    setattr(landmarks.landmark[0], field, 0.4)
    drawing.draw_landmarks(image, landmarks)
    assert not image.any()
    setattr(landmarks.landmark[0], field, 0.5)
    drawing.draw_landmarks(image, landmarks)
    assert image.any()


def test_none_draws_nothing(image):
    points = hand((0.2, 0.5), (0.8, 0.5))
    drawing.draw_landmarks(image, None)
    drawing.draw_landmarks(image, points, [(0, 1)], None, None)
    drawing.draw_landmarks(image, points, is_drawing_landmarks=False)
    assert not image.any()


def test_wrong_calls_are_value_errors(image):
    with pytest.raises(
        ValueError, match=r"Landmark index is out of range\. Invalid connection from landmark #0 to landmark #7"
    ):
        drawing.draw_landmarks(image, hand((0.5, 0.5)), [(0, 7)])
    turn, place = np.eye(3), np.zeros(3)
    for wrong in (image[..., 0], np.zeros((5, 5, 4), np.uint8)):
        for draw in (
            lambda given: drawing.draw_landmarks(given, hand((0.5, 0.5))),
            lambda given: drawing.draw_detection(given, Detection()),
            lambda given: drawing.draw_axis(given, turn, place),
        ):
            with pytest.raises(ValueError, match=r"Input image must contain three channel bgr data\."):
                draw(wrong)


@pytest.mark.parametrize(
    ("x", "y", "pixel"),
    [(0, 0, (0, 0)), (1, 1, (199, 99)), (0.5, 0.999, (100, 99)), (-0.01, 0.5, None), (0.5, 1.01, None)],
)
def test_pixel_coordinates(x, y, pixel):
    assert drawing._normalized_to_pixel_coordinates(x, y, 200, 100) == pixel


def test_default_styles_cover_the_hand(image):
    dots, lines = styles.get_default_hand_landmarks_style(), styles.get_default_hand_connections_style()
    assert set(dots) == set(hands.HandLandmark)
    assert set(lines) == hands.HAND_CONNECTIONS
    assert dots[hands.HandLandmark.WRIST].color == dots[hands.HandLandmark.PINKY_MCP].color
    assert len({spec.color for spec in dots.values()}) == 6
    dots[hands.HandLandmark.WRIST].color = (1, 2, 3)
    assert styles.get_default_hand_landmarks_style()[hands.HandLandmark.WRIST].color != (1, 2, 3)
    drawing.draw_landmarks(image, hand(*np.random.default_rng(0).random((21, 2))), hands.HAND_CONNECTIONS, dots, lines)
    assert image.any()


def test_default_styles_of_faces_and_bodies():
    mesh, pose = mp.solutions.face_mesh, mp.solutions.pose
    contours, parts = (styles.get_default_face_mesh_contours_style(i) for i in (0, 1))
    assert set(contours) == mesh.FACEMESH_CONTOURS
    assert set(parts) == mesh.FACEMESH_CONTOURS | mesh.FACEMESH_NOSE
    assert len({spec.color for spec in contours.values()}) == 3
    assert len({spec.color for spec in parts.values()}) == 7
    with pytest.raises(ValueError, match="i=2: give 0 or 1"):
        styles.get_default_face_mesh_contours_style(2)
    irises = styles.get_default_face_mesh_iris_connections_style()
    assert set(irises) == mesh.FACEMESH_IRISES
    for side in ("LEFT", "RIGHT"):
        (color,) = {irises[pair].color for pair in getattr(mesh, f"FACEMESH_{side}_IRIS")}
        assert {contours[pair].color for pair in getattr(mesh, f"FACEMESH_{side}_EYE")} == {color}
    assert styles.get_default_face_mesh_tesselation_style().thickness == 1
    dots = styles.get_default_pose_landmarks_style()
    assert set(dots) == set(pose.PoseLandmark)
    assert dots[pose.PoseLandmark.NOSE].color == drawing.WHITE_COLOR
    sides = {side: {dots[mark].color for mark in dots if side in mark.name} for side in ("LEFT", "RIGHT")}
    assert [len(colors) for colors in sides.values()] == [1, 1]
    assert sides["LEFT"] != sides["RIGHT"]


def test_a_detection_beyond_the_image_is_drawn_as_far_as_it_lies_in_it(image):
    box = LocationData.RelativeBoundingBox(xmin=-0.5, ymin=0.25, width=0.75, height=2.0)
    points = [LocationData.RelativeKeypoint(x=x, y=0.5) for x in (0.5, 1.5)]
    location = LocationData(format=2, relative_bounding_box=box, relative_keypoints=points)
    drawing.draw_detection(image, Detection(location_data=location))
    assert image[25, 30].tolist() == image[60, 50].tolist() == list(drawing.WHITE_COLOR)
    assert image[50, 102].tolist() == list(drawing.RED_COLOR)
    location.format = LocationData.GLOBAL
    with pytest.raises(ValueError, match="relative"):
        drawing.draw_detection(image, Detection(location_data=location))


def test_a_detection_without_a_place_or_a_box_draws_none(image):
    drawing.draw_detection(image, Detection(score=[0.9]))
    assert not image.any()
    drawing.draw_detection(image, Detection(location_data=LocationData(format=2)))
    assert not image.any()


def test_axes_point_right_and_up_in_their_colours(image):
    drawing.draw_axis(image, np.eye(3), np.array([0, 0, -1.0]), axis_length=0.5)
    ys, xs = np.nonzero((image == drawing.RED_COLOR).all(axis=2))
    assert xs.max() >= 148
    assert np.ptp(ys) < 30
    ys, xs = np.nonzero((image == drawing.GREEN_COLOR).all(axis=2))
    assert ys.min() <= 26
    assert xs.min() > 80


class FakeAxes:
    def __init__(self):
        self.dots, self.lines = [], []

    def view_init(self, **_):
        pass

    def scatter3D(self, x, y, z, **style):  # noqa: N802 - matplotlib's name
        self.dots.append((x[0], y[0], z[0], style["color"]))

    def plot3D(self, x, y, z, **_):  # noqa: N802 - matplotlib's name
        self.lines.append((x, y, z))


def test_plot_landmarks(monkeypatch):
    axes = FakeAxes()
    pyplot = SimpleNamespace(figure=lambda **_: None, axes=lambda **_: axes, show=lambda: None)
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=pyplot))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    drawing.plot_landmarks(hand((0.25, 0.5), (0.5, 0.75)), [(0, 1)])
    assert axes.dots[0] == (0, 0.25, -0.5, (1, 0, 0))
    assert axes.lines == [((0, 0), (0.25, 0.5), (-0.5, -0.75))]


def test_plot_landmarks_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="plot_landmarks needs an optional dependency: pip install"):
        drawing.plot_landmarks(hand((0.5, 0.5)))


def test_thresholds_that_scripts_set_count(monkeypatch):
    points = mp.framework.formats.landmark_pb2.NormalizedLandmarkList()
    points.landmark.add(x=0.5, y=0.5, visibility=0.3, presence=0.3)

    def is_drawn():
        image = np.zeros((40, 40, 3), np.uint8)
        mp.solutions.drawing_utils.draw_landmarks(image, points)
        return image.any()

    assert not is_drawn()
    monkeypatch.setattr(mp.solutions.drawing_utils, "_VISIBILITY_THRESHOLD", 0.2)
    assert not is_drawn()
    monkeypatch.setattr(mp.solutions.drawing_utils, "_PRESENCE_THRESHOLD", 0.2)
    assert is_drawn()
