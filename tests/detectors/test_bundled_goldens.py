"""The bundled clip and photograph against what MediaPipe finds in them: parity without reference data.

`tests/goldens/record_mediapipe.py` makes the files and describes them. Real images are in SONJIT_TEST_DATA.
"""

import numpy as np
import pytest

import sonjit
from sonjit._util.errors import SonjitError

from ..support.bundled_goldens import FOLDER, frames_of, read_golden  # noqa: TID252  # browser tests also read them
from .conftest import boxes_from, keypoint_distances, matched

GOLDENS = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
UNDECIDED = 0.52
"""Handedness scores below it may fall to either side by rounding."""
PIXELS = {"hands": (0.03, 0.1), "face": (0.3, 0.8), "body": (0.3, 1.0)}
"""Maximum of the mean and of the 95th percentile of the distances in MediaPipe's own boxes."""
METRES = {"hands": 0.002, "body": 0.05}
EVERY = 15  # Every so many frames of a video run in MediaPipe's own boxes.
TRACKED_FRAMES = 100  # The second hand of the clip enters in frame 78, and then both stay.


def runs(*words):
    """Return one case for each golden whose name contains all the words."""
    return pytest.mark.parametrize("name", [name for name in GOLDENS if set(words) <= set(name.split("."))])


def open_detector(golden, **options):
    """Return a detector with MediaPipe's settings for a golden, or skip the test."""
    config = golden["config"]
    smoothing = "published" if config.get("smooth_landmarks", True) else None
    options |= {"precision": "f32", "search_interval": 1, "search": "fast", "smoothing": smoothing}
    if golden["kind"] == "face":
        options |= {"model": "attention", "max_instances": config["max_num_faces"]}
    else:
        options |= {"model": ("lite", "full")[config["model_complexity"]]}
    if golden["kind"] == "hands":
        options |= {"max_instances": config["max_num_hands"], "mirrored": True}  # the labels of a selfie view
    try:
        return sonjit.create_detector(golden["kind"], **options)
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")


def test_there_are_goldens_of_every_kind():
    assert {read_golden(name)["kind"] for name in GOLDENS} == {"hands", "face", "body"}


ON_ONNX_RUNTIME = [name for name in GOLDENS if "stills" in name and "face" not in name]
"""The attention mesh has operators of its own, which only OpenVINO runs here."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, "openvino") for name in GOLDENS] + [(name, "onnxruntime") for name in ON_ONNX_RUNTIME],
)
def test_in_mediapipes_own_boxes(name, engine, demo_clip):
    golden = read_golden(name)
    images = frames_of(golden, demo_clip)
    pairs = []
    frames = golden["frames"][:: EVERY if "tracked" in name else 1]
    with open_detector(golden, static_image=True, engine=engine) as detector:
        for frame in frames:
            boxes = boxes_from(frame["boxes"], *golden["size"])
            if boxes:
                seen = detector.detect(images[frame["frame"]], boxes=boxes)
                pairs += zip(seen, frame["instances"], strict=True)
    assert pairs
    mean, p95 = PIXELS[golden["kind"]]
    distances = [keypoint_distances(*pair) for pair in pairs]
    assert np.mean(distances) < mean
    assert np.percentile(distances, 95) < p95
    for ours, theirs in pairs:
        if "world" in theirs:
            np.testing.assert_allclose(ours.keypoints_3d, theirs["world"], atol=METRES[golden["kind"]])
        if golden["kind"] == "hands":
            np.testing.assert_allclose(ours.keypoints[:, 2], np.array(theirs["keypoints"])[:, 2], atol=1.5)
            assert ours.handedness_score == pytest.approx(theirs["score"], abs=0.02)
            assert ours.handedness == theirs["handedness"] or theirs["score"] < UNDECIDED
        if golden["kind"] == "body":
            np.testing.assert_allclose(ours.visibility, np.array(theirs["keypoints"])[:, 3], atol=0.1)


def distances_in_frames(golden, demo_clip, **options):
    """Return the distances of all instances; each frame has as many as the golden."""
    images, distances = frames_of(golden, demo_clip), []
    with open_detector(golden, **options) as detector:
        for frame in golden["frames"][:TRACKED_FRAMES]:
            seen = detector.detect(images[frame["frame"]])
            assert len(seen) == len(frame["instances"])
            distances += [keypoint_distances(*pair) for pair in matched(seen, frame["instances"])]
    return distances


@runs("stills")
@pytest.mark.slow
def test_each_image_on_its_own(name, demo_clip):
    distances = distances_in_frames(read_golden(name), demo_clip, static_image=True)
    assert np.mean(distances) < 0.3


@pytest.mark.slow
@runs("tracked")
def test_instances_tracked_freely(name, demo_clip):
    """Compare only mean and p95, because the tracker feeds its landmarks back and so amplifies rounding.

    Sides are not compared: Sonjit averages them over a track, and MediaPipe classifies each frame.
    """
    distances = distances_in_frames(read_golden(name), demo_clip)
    assert np.mean(distances) < 1
    assert np.percentile(distances, 95) < 3
