"""Modules, images, containers and drawings of `mp.tasks`."""

import importlib

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp

vision, ImageFormat = mp.tasks.vision, mp.ImageFormat


def image_of(data, image_format=ImageFormat.SRGB):
    return mp.Image(image_format=image_format, data=data)


def test_modules_of_python_are_those_of_solutions():
    module = importlib.import_module("sonjit.compat.mediapipe.python.solutions.face_mesh")
    assert module is mp.solutions.face_mesh
    assert mp.tasks.python.vision is mp.tasks.vision
    with pytest.raises(
        AttributeError,
        match=r"has no 'ObjectDetector', because its networks find other things.*; covered: .*FaceDetector",
    ):
        vision.ObjectDetector  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from {}.tasks.python.vision import ObjectDetector", "'ObjectDetector', because its networks find other"),
        ("from {}.solutions import objectron", "'objectron', because it finds boxes"),
        ("import {}.python.solution_base", "'solution_base', because no graph"),
        ("from {} import Matrix", "'Matrix', because no graph"),
        ("from {} import SolutionBase", "'SolutionBase', because no graph"),
        ("from {} import get_graph_config", "'get_graph_config', because no graph"),
    ],
)
def test_imports_of_names_not_covered_give_the_reason(statement, words):
    with pytest.raises(ImportError, match=words):
        exec(statement.format("sonjit.compat.mediapipe"))


def test_images():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image = image_of(pixels)
    assert (image.width, image.height, image.channels, image[1, 2, 0]) == (4, 2, 3, 18)
    assert image.is_aligned(1)
    assert image.is_aligned(4)
    assert not image.is_aligned(8)  # rows of 12 bytes
    pixels[:] = 0
    assert image[1, 2, 0] == 18
    assert (image.step, image.is_contiguous(), image.is_empty(), image.uses_gpu()) == (12, True, False, False)
    padded = image_of(np.zeros((2, 5, 3), np.uint8))
    assert (padded.step, padded.is_contiguous(), padded.numpy_view().shape) == (16, False, (2, 5, 3))
    with pytest.raises(ValueError, match="read-only"):
        image.numpy_view()[0] = 0
    assert image.numpy_view().base is image
    assert padded.numpy_view().base is not padded
    with pytest.raises(IndexError, match="Invalid index dimension"):
        image[0, 0]
    grey = image_of(np.zeros((2, 4, 1), np.uint8), ImageFormat.GRAY8)
    assert grey.numpy_view().shape == (2, 4)
    assert grey[1, 3] == 0
    assert image_of(np.ones((2, 4), np.float32), ImageFormat.VEC32F1)[1, 1] == 1.0
    assert image_of(np.arange(8, dtype=np.float32).reshape(2, 2, 2), ImageFormat.VEC32F2)[0, 1, 1] == 3.0
    assert image_of(np.arange(300, 312, dtype=np.uint16).reshape(2, 2, 3), ImageFormat.SRGB48)[1, 0, 0] == 306
    for data, image_format in (
        (np.zeros((2, 4, 3), np.float32), ImageFormat.SRGB),
        (np.zeros((2, 4, 3), np.uint8), ImageFormat.SRGBA),
        (None, ImageFormat.SRGB),
    ):
        for error in (ValueError, RuntimeError):
            with pytest.raises(error, match="data is "):
                image_of(data, image_format)


def test_image_files(tmp_path):
    for name, shape, image_format in (
        ("a.png", (5, 6, 3), ImageFormat.SRGB),
        ("b.png", (5, 6, 4), ImageFormat.SRGBA),
        ("c.png", (5, 6), ImageFormat.GRAY8),
    ):
        pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        cv2.imwrite(str(tmp_path / name), pixels)
        image = mp.Image.create_from_file(str(tmp_path / name))
        assert image.image_format == image_format
        bgr = pixels[..., [2, 1, 0, 3][: shape[2]]] if len(shape) == 3 else pixels
        np.testing.assert_array_equal(image.numpy_view(), bgr)
    for error in (RuntimeError, FileNotFoundError):
        with pytest.raises(error, match="can't fopen"):
            mp.Image.create_from_file(str(tmp_path / "none.png"))


def test_containers_are_messages_too():
    containers = mp.tasks.components.containers
    box, point = containers.BoundingBox(1, 2, 3, 4), containers.NormalizedKeypoint(0.5, 0.25, "eye", 0.125)
    category, nameless = containers.Category(3, 0.5, "shown", "name"), containers.Category(score=0.25)
    found = containers.Detection(box, [category, nameless], [point])
    for one in (
        containers.Landmark(1.0, 2.0, 3.0, 0.5, 0.25), containers.NormalizedLandmark(1.0, 2.0, 3.0, 0.5, 0.25),
        containers.NormalizedRect(0.5, 0.25, 0.125, 1.0, 0.5, 7), box, point, category, found,
        containers.DetectionResult([found, containers.Detection(box, [], [])]),
    ):  # fmt: skip
        assert type(one).create_from_pb2(one.to_pb2()) == one
    named = containers.Classifications([category], 1, "head")
    marks = [containers.NormalizedLandmark(1.0, 2.0, 3.0, 0.5, 0.25)], [category]
    region = containers.NormalizedRect(0.5, 0.25, 0.125, 1.0, 0.5, 7)
    found = containers.LandmarksDetectionResult(*marks, [containers.Landmark(1.0, 2.0, 3.0, 0.5, 0.25)], region)
    for one in (named, containers.ClassificationResult([named, named], 7), found):
        message = one.to_pb2()
        assert type(one).create_from_pb2(type(message).FromString(message.SerializeToString())) == one
    for unknown in (None, 0.0):
        assert not containers.Landmark(1.0, 2.0, 3.0, unknown).to_pb2().HasField("visibility")
    # bytes of MediaPipe's own messages
    encoded = containers.ClassificationResult([named], 7).to_pb2().SerializeToString()
    assert encoded.hex() == "0a2010011a046865616422160a140803150000003f1a046e616d65220573686f776e1007"
    bare = containers.NormalizedLandmark(1.0, 2.0, 3.0)
    encoded = containers.LandmarksDetectionResult([bare], [category], None, region).to_pb2().SerializeToString()
    assert encoded.hex() == (
        "0a110a0f0d0000803f15000000401d0000404012160a140803150000003f1a046e616d65220573686f776e"
        "1a00221b0d0000003f150000803e1d0000803f250000003e2d0000003f3007"
    )
    assert region.to_pb2().SerializeToString().hex() == "0d0000003f150000803e1d0000803f250000003e2d0000003f3007"
    first = containers.Detection(box, [containers.Category(0, 0.5)], [containers.NormalizedKeypoint(0.0, 0.25, "", 0)])
    assert first.to_pb2().SerializeToString().hex() == "1a040000003f22130801120808011002180320042a05150000803e"


def test_drawings_are_those_of_solutions():
    marks = [(0.2 + 0.03 * k, 0.3 + 0.02 * (k % 5), 0.0) for k in range(21)]
    message = mp.framework.formats.landmark_pb2.NormalizedLandmarkList()
    for x, y, z in marks:
        message.landmark.add(x=x, y=y, z=z)
    points = [mp.tasks.components.containers.NormalizedLandmark(*mark) for mark in marks]
    drawn = [np.zeros((120, 160, 3), np.uint8) for _ in range(2)]
    utils, styles = vision.drawing_utils, vision.drawing_styles
    style = styles.get_default_hand_landmarks_style(), styles.get_default_hand_connections_style()
    utils.draw_landmarks(drawn[0], points, vision.HandLandmarksConnections.HAND_CONNECTIONS, *style)
    mp.solutions.drawing_utils.draw_landmarks(drawn[1], message, sorted(mp.solutions.hands.HAND_CONNECTIONS), *style)
    assert drawn[0].any()
    np.testing.assert_array_equal(*drawn)
    containers = mp.tasks.components.containers
    for utilities, landmarks, connections in (
        (utils, message, mp.solutions.hands.HAND_CONNECTIONS),
        (mp.solutions.drawing_utils, points, vision.HandLandmarksConnections.HAND_CONNECTIONS),
    ):
        other = np.zeros((120, 160, 3), np.uint8)
        utilities.draw_landmarks(other, landmarks, connections, *style)
        assert (other.any(axis=2) == drawn[0].any(axis=2)).all()
    found = containers.Detection(containers.BoundingBox(10, 20, 30, 40), [], [containers.NormalizedKeypoint(0.5, 0.5)])
    utils.draw_detection(drawn[0], found)
    assert (drawn[0][20, 10] == utils.WHITE_COLOR).all()
