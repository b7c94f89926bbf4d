"""Fine-tuning of hand landmarks: the crops are the detector's, errors fall, and a keypoint of one's own is learned."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit import InputError
from sonjit.cli import main
from sonjit.detectors.hands import box_around_hand
from sonjit.geometry import crop_on_grid, points_from_crop
from sonjit.networks import create_network
from sonjit.skeletons import load_skeleton
from sonjit.training.landmark_crops import augmented, landmark_crops
from sonjit.training.landmark_figures import landmark_figures

NAMES = load_skeleton("hand_mediapipe21").keypoints
NAIL = "thumb_nail"


def write_coco(path, truth, *, names=(*NAMES, NAIL), every=30):
    """The clip's truth in COCO's format, with the thumb's nail halfway between its two last joints."""
    images, annotations = [], []
    for frame in truth[::every]:
        index = frame["index"]
        images.append({"id": index, "file_name": f"{index:06}.png", "width": 640, "height": 480})
        for hand in frame["hands"]:
            points = {name: (*xy, 2) for name, xy in zip(NAMES, hand["xy"], strict=True)}
            points[NAIL] = (*np.mean([points["thumb_ip"], points["thumb_tip"]], 0)[:2].tolist(), 2)
            low, high = np.min(hand["xy"], 0), np.max(hand["xy"], 0)
            keypoints = [value for name in names for value in points.get(name, (0, 0, 0))]
            box = [*low.tolist(), *(high - low).tolist()]
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": 1, "bbox": box, "keypoints": keypoints}
            )
    categories = [{"id": 1, "name": "hand", "keypoints": list(names)}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}), "utf-8")
    return path


@pytest.fixture(scope="module")
def coco(demo_clip, tmp_path_factory):
    clip, frames, truth = demo_clip
    size = frames[0].shape[:2]
    assert size == (480, 640)
    return write_coco(tmp_path_factory.mktemp("coco") / "hands.json", truth), clip


@pytest.fixture(scope="module")
def crops(coco):
    return landmark_crops(*coco, [NAIL])


def test_crops_are_those_that_the_detector_cuts(crops, demo_clip):
    _, frames, truth = demo_clip
    first = next(frame for frame in truth[::30] if frame["hands"])
    xy = np.array(first["hands"][0]["xy"], np.float32)
    box = box_around_hand(xy)
    seen = np.empty((224, 224, 3), np.uint8)
    crop_on_grid(frames[first["index"]], box, seen)
    different = np.abs(crops[0].image().astype(int) - seen)  # where rounding takes another place of the grid
    assert different.mean() < 1e-2
    assert different.max() <= 4
    fractions = np.column_stack([crops[0].keypoints / 224, np.zeros(22)])
    np.testing.assert_allclose(points_from_crop(fractions, box)[:21, :2], xy, atol=1e-3)
    np.testing.assert_allclose(crops[0].keypoints[21], crops[0].keypoints[[3, 4]].mean(0), atol=1e-3)


@given(st.integers(0, 2**32 - 1))
def test_augmented_keypoints_go_with_the_picture(crops, seed):
    """A white spot at a keypoint stays at that keypoint."""
    hand = crops[0]
    wide = np.zeros_like(hand.wide)
    x, y = 150, 130
    wide[y - 2 : y + 2, x - 2 : x + 2] = 255  # centred at the corner between four pixels
    marked = replace(hand, wide=wide, keypoints=np.array([[x - 56, y - 56]], np.float32))
    turned = augmented(marked, np.random.default_rng(seed))
    light = turned.image()[..., 0].astype(np.float32)
    light -= np.median(light)
    rows, columns = np.nonzero(light > light.max() / 2)
    np.testing.assert_allclose([columns.mean(), rows.mean()], turned.keypoints[0], atol=1)


def test_hands_without_palm_are_left_out(demo_clip, tmp_path):
    clip, _, truth = demo_clip
    path = write_coco(tmp_path / "hands.json", truth)
    data = json.loads(path.read_text("utf-8"))
    for index, annotation in enumerate(data["annotations"]):
        joint = NAMES.index("wrist" if index else "ring_finger_tip")
        annotation["keypoints"][3 * joint : 3 * joint + 3] = [0, 0, 0]
    path.write_text(json.dumps(data), "utf-8")
    (kept,) = landmark_crops(path, clip)
    assert kept.known.sum() == 20
    del data["annotations"][0]
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(InputError, match="no hand with wrist, palm and first joints annotated"):
        landmark_crops(path, clip)


def test_missing_keypoints_are_named(coco):
    with pytest.raises(InputError, match="no category with the keypoint 'little_nail'; needed are wrist, "):
        landmark_crops(*coco, [NAIL, "little_nail"])


def test_the_published_network_is_near_already(weights, crops):
    del weights
    network = create_network("hand-lite", "published")
    assert landmark_figures(network, landmarks_of(crops))["error_px"] < 8


def landmarks_of(crops):
    """The first crops with the 21 keypoints alone."""
    return [replace(crop, keypoints=crop.keypoints[:21], known=crop.known[:21], metres=crop.metres[:21]) for crop in crops[:4]]


def test_one_command_adds_a_keypoint_and_detectors_find_it(weights, coco, demo_clip, tmp_path, capfd):
    del weights
    annotations, clip = coco
    out = tmp_path / "run"
    command = ["train", "hand-lite", "--data", str(annotations), "--images", str(clip), "--out", str(out)]
    command += ["--extra-keypoints", NAIL, "--steps", "20", "--export", "onnx", "--set", "keep=0"]
    command += ["--set", "batch=4", "--set", "limit=4", "--set", "held_out=0", "--set", "augment=false"]
    assert main(command) == 0
    told = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert float(told["error_px"]) < 0.7 * float(told["error_before_px"])
    _, frames, truth = demo_clip
    index = next(frame["index"] for frame in truth[::30] if len(frame["hands"]) == 1)
    with sonjit.create_detector("hands", landmark_model=told["export"], static_image=True) as detector:
        (hand,) = detector.detect(frames[index])
    assert (hand.keypoints.shape, hand.keypoints_3d.shape) == ((21, 3), (21, 3))
    (nail,) = hand.extra_keypoints
    wanted = np.mean(np.array(truth[index]["hands"][0]["xy"])[[3, 4]], 0)
    palm = np.linalg.norm(hand.keypoints[0, :2] - hand.keypoints[9, :2])
    assert np.linalg.norm(nail - wanted) < 0.2 * palm
    assert hand.to_dict()["extraKeypoints"] == [{"x": pytest.approx(nail[0]), "y": pytest.approx(nail[1])}]
    assert sonjit.Hand.from_dict(hand.to_dict(full=True)) == hand


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the annotations, a COCO keypoints JSON, with --data"),
        (["--data", "absent.json"], "absent.json"),
        (["--set", "batch=0"], "batch must be at least 1"),
        (["--set", "batch"], "--set batch: give key=value"),
        (["--set", "colour=1"], "unknown setting 'colour'; known: steps"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(arguments, said, tmp_path, capfd):
    assert main(["train", "hand-full", "--out", str(tmp_path / "run"), *arguments]) == 2
    _, err = capfd.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
