"""Drawing on images without networks."""

import sys

import cv2
import numpy as np
import pytest
from sonjit.compat.mediapipe.framework.formats.detection_pb2 import Detection
from sonjit.compat.mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList
from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData

from sonjit.compat import mediapipe as mp

drawing, styles, hands = mp.solutions.drawing_utils, mp.solutions.drawing_styles, mp.solutions.hands


@pytest.fixture
def image():
    return np.zeros((100, 200, 3), np.uint8)


def hand(*points):
    return NormalizedLandmarkList(landmark=[NormalizedLandmark(x=x, y=y) for x, y in points])


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
            for error in (ValueError, IndexError):
                with pytest.raises(error, match=r"Input image must contain three channel bgr data\."):
                    draw(wrong)


@pytest.mark.parametrize(
    ("x", "y", "pixel"),
    [(0, 0, (0, 0)), (1, 1, (199, 99)), (0.5, 0.999, (100, 99)), (-0.01, 0.5, None), (0.5, 1.01, None)],
)
def test_pixel_coordinates(x, y, pixel):
    assert drawing._normalized_to_pixel_coordinates(x, y, 200, 100) == pixel


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


def dot(image, place, spec):
    cv2.circle(image, place, spec.circle_radius + 1, (224, 224, 224), spec.thickness)
    cv2.circle(image, place, spec.circle_radius, spec.color, spec.thickness)


@pytest.mark.parametrize(
    ("points", "places", "lines"),
    [
        ([(0.1, 0.1)], [(10, 10)], []),
        ([(0.1, 0.1), (0.5, 0.5, 0.0)], [(10, 10)], []),  # it is not visible
        ([(0.1, 0.5), (0.5, 0.1)], [(10, 50), (50, 10)], [(0, 1)]),
        ([(0.0, 1.0), (1.0, 0.0, 0.5)], [(0, 99), (99, 0)], [(0, 1)]),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_landmarks_are_drawn_to_the_pixel(points, places, lines, own):
    drawn, expected = np.zeros((2, 100, 100, 3), np.uint8)
    marks = NormalizedLandmarkList()
    for x, y, *visibility in points:
        marks.landmark.add(x=x, y=y, visibility=visibility[0] if visibility else None)
    dots = drawing.DrawingSpec((0, 0, 255), 5, 4) if own else drawing.DrawingSpec(drawing.RED_COLOR)
    links = drawing.DrawingSpec((255, 0, 0), 3) if own else drawing.DrawingSpec()
    for a, b in lines:
        cv2.line(expected, places[a], places[b], links.color, links.thickness)
    for place in places:
        dot(expected, place, dots)
    drawing.draw_landmarks(drawn, marks, lines, *((dots, links) if own else ()))
    np.testing.assert_array_equal(drawn, expected)


def test_detections_and_axes_are_drawn_to_the_pixel():
    red, plain = drawing.DrawingSpec(drawing.RED_COLOR), drawing.DrawingSpec()
    drawn, expected = np.zeros((2, 100, 100, 3), np.uint8)
    points = [LocationData.RelativeKeypoint(x=x, y=1 - x) for x in (0, 1)]
    drawing.draw_detection(drawn, Detection(location_data=LocationData(format=2, relative_keypoints=points)))
    for place in ((0, 99), (99, 0)):
        cv2.circle(expected, place, red.circle_radius, red.color, red.thickness)
    np.testing.assert_array_equal(drawn, expected)
    drawn, expected = np.zeros((2, 100, 100, 3), np.uint8)
    box = LocationData.RelativeBoundingBox(xmin=0, ymin=0, width=1, height=1)
    drawing.draw_detection(drawn, Detection(location_data=LocationData(format=2, relative_bounding_box=box)))
    cv2.rectangle(expected, (0, 0), (99, 99), plain.color, plain.thickness)
    np.testing.assert_array_equal(drawn, expected)
    half = np.sqrt(0.5)
    eighth = np.array([[1, 0, 0], [0, half, -half], [0, half, half]])
    for turn, place, tips in (
        (eighth, [0, 0, -0.2], [(75, 50), (50, 22), (50, 77)]),
        (np.eye(3), [0, 0, 0], [(0, 50), (50, 100), (50, 50)]),
    ):
        drawn, expected = np.zeros((2, 100, 100, 3), np.uint8)
        for tip, color in zip(tips, (drawing.RED_COLOR, drawing.GREEN_COLOR, drawing.BLUE_COLOR), strict=True):
            cv2.arrowedLine(expected, (50, 50), tip, color, plain.thickness)
        drawing.draw_axis(drawn, turn, np.array(place))
        np.testing.assert_array_equal(drawn, expected)


def test_a_detection_without_a_place_or_a_box_draws_none(image):
    drawing.draw_detection(image, Detection(score=[0.9]))
    assert not image.any()
    drawing.draw_detection(image, Detection(location_data=LocationData(format=2)))
    assert not image.any()


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
