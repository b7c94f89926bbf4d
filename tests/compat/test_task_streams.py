"""Videos and live streams of `tasks.vision`: repeated stills, and callbacks that are slow or fail."""

import logging
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe.tasks.python.vision._task import LiveStream

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages

vision, BaseOptions = mp.tasks.vision, mp.tasks.BaseOptions
MODES = vision.RunningMode
MARGIN = 0.03
"""In parts of the image; that of MediaPipe's own tests."""


def points_of(result):
    """Return all landmarks (K, 2) of a result by the name of their list, with NaN for invisible ones."""
    found = {}
    for name, value in vars(result).items():
        if name.endswith("landmarks") and "world" not in name and value:
            marks = value if isinstance(value[0], list) else [value]
            found[name] = np.array([(mark.x, mark.y) for one in marks for mark in one])
            seen = [not mark.visibility or mark.visibility > 0.5 for one in marks for mark in one]
            found[name][~np.array(seen)] = np.nan
    return found


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "verb", "model", "photo", "options"),
    [
        ("HandLandmarker", "detect", "hand_landmarker.task", "mps_thumb_up.jpg", {"num_hands": 2}),
        ("GestureRecognizer", "recognize", "gesture_recognizer.task", "mps_thumb_up.jpg", {"num_hands": 2}),
        ("PoseLandmarker", "detect", "pose_landmarker_full.task", "mps_pose.jpg", {"output_segmentation_masks": True}),
        ("HolisticLandmarker", "detect", "holistic_landmarker.task", "ai-body.jpg", {"output_segmentation_mask": True}),
        ("ImageSegmenter", "segment", "selfie_segmenter.tflite", "mps_business.png", {"output_category_mask": True}),
        ("FaceDetector", "detect", "blaze_face_short_range.tflite", "mps_business.png", {}),
        (
            "FaceLandmarker",
            "detect",
            "real/tasks/face_landmarker.task",
            "mps_business.png",
            {"output_face_blendshapes": True, "output_facial_transformation_matrixes": True},
        ),
    ],
)
def test_a_still_shown_as_a_video_and_live_gives_what_the_still_gives(data, need, name, verb, model, photo, options):
    need(
        "palm-full", "hand-full", "pose-detector", "body-full", "selfie", "hand-recrop", "face-attention", "face-short"
    )  # fmt: skip
    path, bundle = data / "real" / "wild" / photo, data / model
    if not path.is_file() or ("/" in model and not bundle.is_file()):
        pytest.skip(f"{path} or {bundle} is not there")
    pixels = cv2.cvtColor(cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5), cv2.COLOR_BGR2RGB)
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
    base = BaseOptions(model_asset_buffer=bundle.read_bytes()) if "/" in model else BaseOptions(model_asset_path=model)
    task, options_type = getattr(vision, name), getattr(vision, f"{name}Options")

    def make(mode, callback=None):
        return task.create_from_options(options_type(base, running_mode=mode, result_callback=callback, **options))

    def compare(result):
        points = points_of(result)
        assert points.keys() == truth.keys()
        for key, marks in points.items():
            assert marks.shape == truth[key].shape
            assert np.nanmax(abs(marks - truth[key])) < MARGIN, key
        if name == "ImageSegmenter":
            person = result.category_mask.numpy_view() == 0
            assert (person == (still.category_mask.numpy_view() == 0)).mean() > 0.98
            one, other = (found.confidence_masks[0].numpy_view() for found in (result, still))
            assert np.minimum(one, other).sum() > 0.98 * np.maximum(one, other).sum()
        elif name == "FaceDetector":
            assert result == still
            assert result.detections[0].keypoints
        elif name == "FaceLandmarker":
            one, other = ([shape.score for shape in found.face_blendshapes[0]] for found in (result, still))
            np.testing.assert_allclose(one, other, atol=0.31)  # MediaPipe's margin in videos; its own differ by 0.28
            one, other = (found.facial_transformation_matrixes[0][:3, :3] for found in (result, still))
            np.testing.assert_allclose(one, other, atol=0.02)
        elif name == "PoseLandmarker":
            assert [mask.numpy_view().shape for mask in result.segmentation_masks] == [pixels.shape[:2]]
        elif name == "HolisticLandmarker":
            assert result.segmentation_mask.numpy_view().shape == pixels.shape[:2]
            assert result.face_blendshapes is None

    with make(MODES.IMAGE) as made:
        still = getattr(made, verb)(image)
    truth = points_of(still)
    assert truth or name in ("ImageSegmenter", "FaceDetector")
    with make(MODES.VIDEO) as made:
        for timestamp in range(0, 120, 30):
            compare(getattr(made, f"{verb}_for_video")(image, timestamp))
    live, got = [], threading.Event()

    def callback(result, shown, timestamp):
        live.append((result, shown, timestamp))
        got.set()

    with make(MODES.LIVE_STREAM, callback) as made:
        for timestamp in range(0, 90, 30):
            got.clear()
            getattr(made, f"{verb}_async")(image, timestamp)
            assert got.wait(30)
    assert [timestamp for _, _, timestamp in live] == [0, 30, 60]
    for result, shown, _ in live:
        assert shown is image
        compare(result)


def test_a_slow_callback_gets_the_newest_and_does_not_block():
    free, entered, ran, delivered = threading.Event(), threading.Event(), [], []

    def deliver(frame, result):
        delivered.append((frame, result))
        entered.set()
        free.wait(30)

    stream = LiveStream(lambda frame: ran.append(frame) or -frame, deliver, lambda: ran.append("end"))
    stream.send(1)
    assert entered.wait(30)
    for frame in range(2, 40):
        stream.send(frame)
        wait_until(lambda frame=frame: ran[-1] == frame)
    assert ran == list(range(1, 40))  # the callback is still at its first
    entered.clear()
    free.set()
    assert entered.wait(30)
    stream.close()
    assert delivered == [(1, -1), (39, -39)]
    assert ran[-1] == "end"


def test_errors_of_a_live_stream_are_reported_and_it_continues(caplog, monkeypatch):
    reported = []
    monkeypatch.setattr("threading.excepthook", lambda error: reported.append(str(error.exc_value)))
    done = threading.Event()

    def run(frame):
        if frame == 1:
            raise RuntimeError("a bad frame")
        return frame

    def deliver(frame, result):
        done.set()
        raise RuntimeError("a bad callback")

    ended = threading.Event()
    stream = LiveStream(run, deliver, ended.set)
    with caplog.at_level(logging.ERROR, "sonjit"):
        for frame in (1, 2, 3):
            stream.send(frame)
            if frame > 1:
                assert done.wait(30)
                done.clear()
            else:
                wait_until(lambda: "a bad frame" in caplog.text)
        stream.close()
    assert ended.wait(30)
    assert reported == ["a bad callback"] * 2


QUIET = """
import numpy as np
import sonjit
from sonjit.compat.mediapipe.tasks.python.vision._task import LiveStream

def callback(frame, result):
    raise RuntimeError("a bad callback")

stream = LiveStream(lambda frame: 1 // frame, callback, lambda: None)
stream.send(1)
stream.close()
stream = LiveStream(lambda frame: 1 // frame, callback, lambda: None)
stream.send(0)
stream.close()
with sonjit.create_detector("hands", model="lite", search="fast") as detector:
    for time in (1.0, 0.5):
        detector.detect(np.zeros((40, 40, 3), np.uint8), time=time)
"""


def test_a_program_without_logging_shows_errors_and_warnings(weights):
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert done.stderr.count("RuntimeError: a bad callback") == 1
    assert done.stderr.count("ZeroDivisionError: integer division or modulo by zero") == 1
    assert "time 0.5 does not move forward from 1.0" in done.stderr


@pytest.mark.slow
def test_close_does_not_wait_for_a_stuck_callback(caplog):
    stuck, entered = threading.Event(), threading.Event()
    stream = LiveStream(lambda frame: frame, lambda *_: entered.set() or stuck.wait(60), lambda: None)
    stream.send(1)
    assert entered.wait(30)
    stream.close()
    assert "the callback is not waited for" in caplog.text
    stuck.set()
