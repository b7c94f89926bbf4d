"""Hands compared with MediaPipe and tfjs-models on the same images."""

import json
from itertools import islice

import numpy as np
import pytest

from sonjit.engines import EngineOptions, load_engine
from sonjit.media import VIDEO_ENDINGS, open_source

from .conftest import FRAMES, is_inside, keypoint_distances, matched

pytestmark = pytest.mark.golden
STILLS = pytest.mark.files("goldens/mediapipe/hands.*.static*.json")
VIDEOS = pytest.mark.files("goldens/mediapipe/hands.*.track*.json")


@pytest.mark.nightly_after(3)
@STILLS
def test_stills(file, replay):
    (pair,) = replay(file).pairs
    assert len(pair.free) == len(pair.expected)
    if not pair.expected:
        return
    pairs = matched(pair.free, pair.expected)
    assert [hand.handedness for hand, _ in pairs] == [instance["handedness"] for _, instance in pairs]
    assert np.mean([keypoint_distances(*pair) for pair in pairs]) < 0.3
    for hand, instance in pairs:
        assert hand.handedness_score == pytest.approx(instance["score"], abs=0.01)
        np.testing.assert_allclose(hand.keypoints_3d, instance["world"], atol=1e-3)
        np.testing.assert_allclose(hand.keypoints[:, 2], np.array(instance["keypoints"])[:, 2], atol=1.5)


@pytest.mark.nightly_after(2)
@VIDEOS
def test_videos_tracked_freely(file, replay):
    """Compare only mean and p95, because the tracker feeds its landmarks back and so amplifies rounding."""
    run = replay(file)
    pairs = [match for pair in run.pairs for match in matched(pair.free, pair.expected)]
    if not run.synthetic:  # there hands enter and leave between two frames: when exactly is a matter of rounding
        assert [len(pair.free) for pair in run.pairs] == [len(pair.expected) for pair in run.pairs]
        assert [hand.handedness for hand, _ in pairs] == [instance["handedness"] for _, instance in pairs]
    if pairs:
        distances = np.array([keypoint_distances(*pair) for pair in pairs])
        assert distances.mean() < (2 if run.synthetic else 1)
        assert run.synthetic or np.percentile(distances, 95) < 3


@pytest.mark.nightly_after(2)
@VIDEOS
def test_videos_in_the_references_own_boxes(file, replay):
    run = replay(file)
    pairs = [pair for pair in run.pairs if pair.forced is not None]
    if not pairs:
        pytest.skip(f"{file.name} has no two frames in a row")
    assert [len(pair.forced) for pair in pairs] == [len(pair.expected) for pair in pairs]
    distances = [
        keypoint_distances(hand, instance)
        for pair in pairs
        for hand, instance in zip(pair.forced, pair.expected, strict=True)
    ]
    if distances:
        assert np.mean(distances) < 0.1
        assert np.percentile(distances, 95) < 0.3


@pytest.mark.nightly_after(1)
@VIDEOS
def test_bf16_stays_within_a_pixel_of_f32(file, replay):
    run = replay(file)
    pairs = [pair for pair in run.pairs if pair.forced_bf16 is not None]
    complete = [
        (exact.keypoints[:, :2], rough.keypoints[:, :2])
        for pair in pairs
        if len(pair.forced) == len(pair.forced_bf16)  # the presence of a hand cut by the edge can pass 0.5 in between
        for exact, rough in zip(pair.forced, pair.forced_bf16, strict=True)
        if is_inside(exact.keypoints[:, :2], run.size)
    ]
    if not complete:
        pytest.skip("this CPU has no bf16, or no whole hand is in two golden frames in a row")
    assert np.mean([np.linalg.norm(exact - rough, axis=1) for exact, rough in complete]) < 1


@pytest.mark.nightly_after(1)
@pytest.mark.files("real/tfjs-models/hand-pose-detection/test_data/*.full.json")
def test_videos_match_tfjs_models_expectations(file, tfjs_run):
    stem, in_metres = file.name.removesuffix(".full.json"), "_3d" in file.name
    videos = [v for v in file.parent.glob(f"{stem.removesuffix('_3d')}*") if v.suffix in VIDEO_ENDINGS]
    if not videos:
        pytest.skip(f"no video beside {file.name}")
    expected = np.array(json.loads(file.read_text("utf-8"))[:FRAMES])
    frames = tfjs_run(videos[0])
    assert [len(hands) for hands in frames] == [1] * len(expected)
    points = np.array([hand.keypoints_3d if in_metres else hand.keypoints for (hand,) in frames])
    axes = 3 if in_metres else 2
    distances = np.abs(points - expected)[..., :axes]
    assert distances.max() < (0.012 if in_metres else 22)
    assert distances.mean() < (0.001 if in_metres else 1)


@pytest.fixture(scope="module")
def tfjs_run(hands):
    """Return the hands of each frame of a video, cached for tests of pixels and of metres."""
    known = {}

    def run(video):
        if video not in known:
            detector = hands(model="full", precision="f32", search_interval=1)
            with open_source(video) as source:
                known[video] = [detector.detect(frame.rgb) for frame in islice(source, FRAMES)]
        return known[video]

    return run


NETWORKS = {
    "face_detection_full_range_sparse": "face-full", "face_detection_short_range": "face-short",
    "face_landmark": "face-mesh", "face_landmark_with_attention": "face-attention",
    "hand_landmark_full": "hand-full", "hand_landmark_lite": "hand-lite",
    "palm_detection_full": "palm-full", "palm_detection_lite": "palm-lite",
    "pose_detection": "pose-detector",
}  # fmt: skip
"""Networks of tensors. Those of the landmarks of bodies are compared in `test_body.py`, with their masks."""


@pytest.mark.nightly_after(3)
@pytest.mark.files("goldens/mediapipe/tensors/*.npz")
def test_tensors(file, need):
    if file.stem not in NETWORKS:
        pytest.skip(f"{file.stem} is no network that is compared here")
    golden = np.load(file)
    (path,) = need(NETWORKS[file.stem]).values()
    options, value_range = EngineOptions(precision="f32"), tuple(golden["crop_range"])
    network = load_engine(path, options, value_range=value_range)
    images = {"rand": golden["rand_u8"]} if "rand_u8" in golden else {}
    for name, image in (images | {"real": golden["crop_u8"]}).items():
        network.input[0] = image
        outputs = network.run()
        expected = [golden[key] for key in golden if key.startswith(f"{name}.")]
        for output, reference in zip(outputs, expected, strict=True):
            step = 1 if output[0].size == reference.size else 2  # large maps are stored at every second pixel
            thinned = output[0] if step == 1 else output[0][::step, ::step]
            tolerance = 1e-3 if reference.dtype == np.float32 else 1e-2
            limit = tolerance * max(float(np.ptp(reference)), 1.0)
            np.testing.assert_allclose(thinned.ravel(), reference.ravel(), atol=limit)
