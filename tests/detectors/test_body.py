"""Bodies compared with MediaPipe and tfjs-models on the same images, and several people at once."""

import json
import math
from functools import cache
from itertools import islice
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from conftest import reused
from sonjit.media import VIDEO_ENDINGS, open_source

from .conftest import boxes_from, keypoint_distances

pytestmark = pytest.mark.golden
STILLS = pytest.mark.files("goldens/mediapipe/pose.*.static*.json")
VIDEOS = pytest.mark.files("goldens/mediapipe/pose.*.track*.json")
MODELS = ("lite", "full", "heavy")
SETTLED = 8  # frames after which the filters depend little on what was before
FRAMES = 24  # of a golden that are compared


@pytest.fixture(scope="module")
def bodies(need):
    """Return a function that gives a new or reset body detector. Detectors are shared by tests."""
    need("pose-detector", *(f"body-{model}" for model in MODELS))
    with reused("body") as get:
        yield get


@pytest.fixture(scope="module")
def replay(golden_frames, bodies):
    """Return pairs of a golden frame and Sonjit's results, with tracking and in the golden's box; cached."""

    @cache
    def run(file, **options):
        golden = json.loads(file.read_text("utf-8"))
        config = golden["config"]
        options |= {
            "model": MODELS[config["model_complexity"]],
            "static_image": config["static_image_mode"],
            "smoothing": "published" if config.get("smooth_landmarks", True) else None,
            "segmentation": config.get("enable_segmentation", False),
            "max_instances": 1,  # as the reference, which finds one body
        }
        by_index = {frame["frame"]: frame for frame in golden["frames"][:FRAMES]}
        frames = list(islice(enumerate(golden_frames(file, golden)[1]), max(by_index) + 1))
        runs = []
        for is_forced in (False, True):
            detector = bodies(**options)
            seen = []
            for index, rgb in frames:
                before = by_index.get(index - 1, {}).get("roi_next") if is_forced else None
                boxes = boxes_from([before], rgb.shape[1], rgb.shape[0]) if before else None
                seen.append(detector.detect(rgb, boxes=boxes))
            runs.append(seen)
        return [SimpleNamespace(golden=by_index[i], free=runs[0][i], forced=runs[1][i]) for i in by_index]

    return run


def distances(pairs, name):
    """Check the number of bodies in every frame, and return distances (N, 33) in pixels to the golden."""
    ours = [getattr(pair, name) for pair in pairs]
    assert [len(bodies) for bodies in ours] == [len(pair.golden["instances"]) for pair in pairs]
    return np.array(
        [
            keypoint_distances(body, instance)
            for pair, seen in zip(pairs, ours, strict=True)
            for body, instance in zip(seen, pair.golden["instances"], strict=True)
        ]
    )


@pytest.mark.nightly_after(2)
@STILLS
@pytest.mark.parametrize(("precision", "limit"), [("f32", 0.5), ("auto", 1.5)])
def test_stills(file, replay, precision, limit):
    (pair,) = replay(file, precision=precision)
    found = distances([pair], "free")
    if not found.size:
        return
    assert found.mean() < limit
    (body,), (instance,) = pair.free, pair.golden["instances"]
    points = np.array(instance["keypoints"])
    np.testing.assert_allclose(body.visibility, points[:, 3], atol=0.01)
    np.testing.assert_allclose(body.keypoints_3d, instance["world"], atol=0.01)
    assert np.abs(body.keypoints[:, 2] - points[:, 2]).mean() < 3
    assert body.mask is None or body.mask.shape == tuple(reversed(json.loads(file.read_text("utf-8"))["size"]))


@pytest.mark.nightly_after(2)
@pytest.mark.files("goldens/mediapipe/pose.*.static*.mask.png")
def test_masks(file, replay):
    (pair,) = replay(file.with_name(file.name.replace(".mask.png", ".json")), precision="f32")
    expected = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) / 255
    mask = pair.free[0].mask
    ours, theirs = mask > 0.5, expected > 0.5
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97
    assert np.abs(mask - expected).mean() < 1e-3


@pytest.mark.nightly_after(2)
@VIDEOS
def test_videos_tracked_freely(file, replay):
    """Compare only the mean, because the tracker feeds its landmarks back and so amplifies rounding."""
    assert distances(replay(file, precision="f32"), "free").mean() < 1.5


@pytest.mark.files("goldens/mediapipe/pose.pose_squats.track.full.json")
def test_a_video_tracked_freely_as_precisely_as_this_cpu_is_fast(file, replay):
    assert distances(replay(file, precision="auto"), "free").mean() < 1.5


@pytest.mark.nightly_after(2)
@VIDEOS
def test_videos_in_the_references_own_boxes(file, replay):
    pairs = replay(file, precision="f32")
    if pairs[0].golden["frame"] > 0:  # only later frames have the boxes of the reference
        pairs = pairs[SETTLED:]
    if not pairs:
        pytest.skip(f"{file.name} has too few frames")
    found = distances(pairs, "forced")
    assert found.mean() < 0.15
    assert np.percentile(found, 95) < 0.4
    for pair in pairs:
        if not pair.forced:  # behind a gap our filters start anew; MediaPipe carries those of these two over it
            break
        instance = pair.golden["instances"][0]
        np.testing.assert_allclose(pair.forced[0].visibility, np.array(instance["keypoints"])[:, 3], atol=0.01)
        np.testing.assert_allclose(pair.forced[0].keypoints_3d, instance["world"], atol=0.03)


@pytest.mark.nightly_after(1)
@pytest.mark.files("real/tfjs-models/pose-detection/test_data/*.full.json")
def test_videos_match_tfjs_models_expectations(file, tfjs_run):
    """Accept the tolerance of tfjs-models, because the older network has other frame times."""
    in_metres = "_3d" in file.name
    stem = file.name.removesuffix(".full.json").removesuffix("_3d")
    videos = [path for path in file.parent.glob(f"{stem}.*") if path.suffix in VIDEO_ENDINGS]
    if not videos:
        pytest.skip(f"no video beside {file.name}")
    expected = np.array(json.loads(file.read_text("utf-8")))
    frames = tfjs_run(videos[0])
    assert [len(people) for people in frames] == [1] * len(expected)
    points = np.array([body.keypoints_3d if in_metres else body.keypoints for (body,) in frames])
    axes = 3 if in_metres else 2
    assert np.abs(points - expected)[..., :axes].max() < (0.5 if in_metres else 28)


@pytest.fixture(scope="module")
def tfjs_run(bodies):
    """Return the bodies of each frame of a video, cached for tests of pixels and of metres."""

    @cache
    def run(video):
        detector = bodies(model="full")
        with open_source(video) as source:
            return [detector.detect(frame.rgb) for frame in source]

    return run


@pytest.fixture(scope="module")
def crowd(data, read_rgb):
    """Return a golden's image twice side by side with a box for each person, or skip what would not fit."""

    def make(file):
        golden = json.loads(file.read_text("utf-8"))
        roi = golden["frames"][0].get("roi_next")
        rgb = read_rgb(data / golden["source"])
        height, width = rgb.shape[:2]
        box = boxes_from([roi], width, height)[0] if roi else None
        reach = box and box.width / 2 * (abs(math.cos(box.rotation)) + abs(math.sin(box.rotation))) + 1
        if not reach or box.cx < reach or box.cx > width - reach:
            pytest.skip("nobody, or a crop that reaches over the seam between the images")
        return np.hstack([rgb, rgb]), box, box._replace(cx=box.cx + width)

    return make


@pytest.mark.nightly_after(2)
@STILLS
def test_two_people_have_the_results_of_single_images(file, crowd, bodies):
    scene, left, right = crowd(file)
    half = scene.shape[1] // 2
    detector = bodies(static_image=True, max_instances=2, segmentation=True)
    both = detector.detect(scene, boxes=[left, right])
    (single,) = detector.detect(scene[:, :half], boxes=[left])
    assert len(both) == 2
    for body, shift in zip(both, (0, half), strict=True):
        np.testing.assert_allclose(body.keypoints[:, :2], single.keypoints[:, :2] + (shift, 0), atol=1)
        np.testing.assert_allclose(body.keypoints_3d, single.keypoints_3d, atol=0.01)
        mask = np.roll(body.mask, -shift, axis=1)[:, :half]
        assert np.abs(mask - single.mask).mean() < 0.01
    found = detector.detect(scene)
    if len(found) != 2:  # the detector is not sure of everybody whom it sees smaller
        pytest.skip("the detector does not find both")
    found.sort(key=lambda body: body.box[0])
    for body, shift in zip(found, (0, half), strict=True):
        distance = np.linalg.norm(body.keypoints[:, :2] - single.keypoints[:, :2] - (shift, 0), axis=1)
        assert distance.mean() < 0.02 * left.width


@pytest.mark.nightly_after(2)
@STILLS
def test_two_people_keep_their_ids(file, crowd, bodies):
    scene, left, right = crowd(file)
    detector = bodies(max_instances=2)
    ids = [body.id for body in detector.detect(scene, boxes=[left, right])]
    assert len(set(ids)) == 2
    for step in range(8):
        shift = 4 * (4 - abs(step % 8 - 4))
        people = detector.detect(np.roll(scene, shift, axis=1))
        assert [body.id for body in people] == ids
        for body, box in zip(people, (left, right), strict=True):
            assert abs(body.keypoints[23:25, 0].mean() - shift - box.cx) < 0.1 * box.width


@pytest.mark.nightly_after(2)
@STILLS
def test_one_person_stays_one_where_two_are_looked_for(file, crowd, bodies):
    scene, left, _ = crowd(file)
    one_person = scene[:, : scene.shape[1] // 2]
    detector = bodies(max_instances=2, search_interval=1)
    (first,) = detector.detect(one_person, boxes=[left])
    for _ in range(4):
        people = detector.detect(one_person)
        assert [body.id for body in people][:1] == [first.id]
        centres = [body.keypoints[:, :2].mean(axis=0) for body in people]
        assert all(math.dist(centres[0], centre) > 0.1 * left.width for centre in centres[1:])
