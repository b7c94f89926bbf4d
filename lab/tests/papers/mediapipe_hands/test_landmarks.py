"""Training of hand landmarks: crops of the detector, rotated labels, mixed sources, and falling errors."""

import json
import sys
from dataclasses import replace
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit import InputError
from sonjit.cli import main
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.geometry.boxes import crop_on_grid, points_from_crop
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import convert_dataset, open_dataset
from sonjit_lab.networks import create_network, list_networks, registry
from sonjit_lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit_lab.training.hands.landmark_data import (
    LandmarkCrop,
    LandmarkCrops,
    augment,
    landmark_losses,
    landmark_metrics,
    to_batch,
)
from sonjit_lab.training.recipes import load_recipe, settings_from

NAMES = load_skeleton("hand_mediapipe21").keypoints
NAIL = "thumb_nail"
AUGMENTATION = settings_from(AugmentationSettings, load_recipe("hand-full").settings["augmentation"])


def write_coco(path, truth, *, names=(*NAMES, NAIL), every=30, sides=False):
    """Write the labels of the clip in COCO's format, with the thumb's nail halfway between its two last joints."""
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
            if sides:
                points_mm = 1000 * np.array(hand["xyz_m"])
                points_mm = np.concatenate([points_mm, points_mm[[3, 4]].mean(0)[None]])[: len(names)]
                annotations[-1] |= {"hand_side": hand["handedness"].lower(), "keypoints3d": points_mm.tolist()}
    categories = [{"id": 1, "name": "hand", "keypoints": list(names)}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}), "utf-8")
    return path


@pytest.fixture(scope="module")
def images(demo_clip, tmp_path_factory):
    """Return a folder with the labelled frames: a video would be decoded again for each crop."""
    _, frames, truth = demo_clip
    assert frames[0].shape[:2] == (480, 640)
    folder = tmp_path_factory.mktemp("images")
    for frame in truth[::30]:
        cv2.imwrite(str(folder / f"{frame['index']:06}.png"), frames[frame["index"]][..., ::-1])
    return str(folder)


@pytest.fixture(scope="module")
def coco(demo_clip, images, tmp_path_factory):
    file = write_coco(tmp_path_factory.mktemp("coco") / "hands.json", demo_clip[2])
    return open_dataset("folder", file, images=images)


@pytest.fixture(scope="module")
def crops(coco):
    return LandmarkCrops(coco, [NAIL])


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
@pytest.mark.slow
def test_augmented_keypoints_follow_the_image(crops, seed):
    """Check that a white spot at a keypoint stays at that keypoint."""
    hand = crops[0]
    wide = np.zeros_like(hand.wide)
    x, y = 150, 130
    wide[y - 2 : y + 2, x - 2 : x + 2] = 255  # centred at the corner between four pixels
    marked = replace(hand, wide=wide, keypoints=np.array([[x - 56, y - 56]], np.float32))
    turned = augment(marked, draw_augmentation(AUGMENTATION, np.random.default_rng(seed)))
    light = turned.image()[..., 0].astype(np.float32)
    light -= np.median(light)
    rows, columns = np.nonzero(light > light.max() / 2)
    np.testing.assert_allclose([columns.mean(), rows.mean()], turned.keypoints[0], atol=1)


@pytest.mark.slow
def test_hands_without_palm_are_left_out(demo_clip, images, tmp_path):
    path = write_coco(tmp_path / "hands.json", demo_clip[2])
    data = json.loads(path.read_text("utf-8"))
    for index, annotation in enumerate(data["annotations"]):
        joint = NAMES.index("wrist" if index else "ring_finger_tip")
        annotation["keypoints"][3 * joint : 3 * joint + 3] = [0, 0, 0]
    path.write_text(json.dumps(data), "utf-8")
    (kept,) = LandmarkCrops(open_dataset("folder", path, images=images))
    assert kept.known.sum() == 20
    del data["annotations"][0]
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(InputError, match="no hand with wrist, palm and first joints annotated"):
        LandmarkCrops(open_dataset("folder", path, images=images))


def test_missing_keypoints_are_named(coco):
    with pytest.raises(InputError, match=r"no hand with the keypoints wrist, .*little_nail"):
        LandmarkCrops(coco, [NAIL, "little_nail"])


@pytest.mark.nightly
@pytest.mark.slow
def test_one_command_adds_a_keypoint_and_detectors_find_it(weights, coco, images, demo_clip, tmp_path, capfd):
    del weights
    out = tmp_path / "run"
    command = ["train", "hand-lite", "--data", str(coco.annotations), "--images", images, "--out", str(out)]
    command += ["--extra-keypoints", NAIL, "--steps", "20", "--export", "onnx", "--set", "keep=0"]
    command += ["--set", "batch=4", "--set", "limit=4", "--set", "held_out=0", "--set", "augmentation=none"]
    assert main(command) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert float(results["error_px"]) < 0.7 * float(results["error_before_px"])
    _, frames, truth = demo_clip
    index = next(frame["index"] for frame in truth[::30] if len(frame["hands"]) == 1)
    with sonjit.create_detector("hands", landmark_model=results["export"], static_image=True) as detector:
        (hand,) = detector.detect(frames[index])
    assert (hand.keypoints.shape, hand.keypoints_3d.shape) == ((21, 3), (21, 3))
    (nail,) = hand.extra_keypoints
    expected = np.mean(np.array(truth[index]["hands"][0]["xy"])[[3, 4]], 0)
    palm = np.linalg.norm(hand.keypoints[0, :2] - hand.keypoints[9, :2])
    assert np.linalg.norm(nail - expected) < 0.2 * palm
    assert hand.to_dict()["extraKeypoints"] == [{"x": pytest.approx(nail[0]), "y": pytest.approx(nail[1])}]
    assert sonjit.Hand.from_dict(hand.to_dict(full=True)) == hand


def flat_hand(rng, size=64, **known):
    """Return a crop whose keypoints equal its metres, from a distant camera."""
    metres = rng.uniform(-0.08, 0.08, (21, 3)).astype(np.float32)
    points = (metres[:, :2] * 300 + size / 2).astype(np.float32)
    complete = size * 3 // 2
    return LandmarkCrop(np.zeros((complete, complete, 3), np.uint8), points, np.ones(21, np.bool_), metres, **known)


@pytest.mark.slow
def test_labels_have_the_terms_of_the_published_network(weights, demo_clip, images, tmp_path):
    """Check that the network is nearer to the labels in its own terms (depth, metres, side) than to others."""
    del weights
    file = write_coco(tmp_path / "hands.json", demo_clip[2], names=NAMES, sides=True)
    crops = LandmarkCrops(open_dataset("folder", file, images=images))
    network = create_network("hand-full", "published")
    batch = to_batch(crops)
    with torch.inference_mode():
        seen = network(batch.images)
        parts = landmark_losses(None, 0)(network, batch)
    depth = seen["keypoints"].unflatten(1, (-1, 3))[..., 2]
    assert torch.corrcoef(torch.stack([depth.flatten(), batch.depth.flatten()]))[0, 1] > 0.4
    metres = seen["keypoints_3d"].unflatten(1, (-1, 3))
    assert (metres - batch.metres).norm(dim=2).mean() < 0.5 * batch.metres.norm(dim=2).mean()
    assert parts["handedness"] < 0.1  # of 0.14 for a network that guesses
    metrics = landmark_metrics(network, crops)
    assert metrics["handedness"] > 85
    assert metrics["mnae"] < 20
    assert "presence" not in metrics


def test_unknown_labels_give_no_gradient():
    rng = np.random.default_rng(0)
    hand = flat_hand(rng)
    unknown = replace(hand, metres=np.full_like(hand.metres, np.nan), known=np.arange(21) < 5)
    network = create_network("hand-full", trunk="tiny")
    parts = landmark_losses(None, 0)(network, to_batch([unknown, unknown]))
    for name in ("depth", "metres", "presence", "handedness"):
        assert parts[name] == 0
    sum(parts.values()).backward()
    gradient = network.keypoints.weight.grad.unflatten(0, (21, 3))
    assert gradient.isfinite().all()
    assert gradient[:5, :2].any()
    assert not gradient[5:].any()
    assert not gradient[:, 2].any()


@pytest.mark.nightly
@pytest.mark.slow
def test_one_command_trains_a_new_network_from_several_sources(demo_clip, images, tmp_path, capfd):
    for name in ("real", "synthetic", "test"):
        write_coco(tmp_path / f"{name}.json", demo_clip[2], names=NAMES, every=60, sides=True)
    out = tmp_path / "run"
    command = ["train", "hand-lite", "--data", str(tmp_path), "--images", images, "--out", str(out)]
    command += ["--set", "mix=real.json=0.3,synthetic.json=0.7", "--set", "heads_from=real.json", "--steps", "3"]
    command += ["--set", "scratch=true", "--set", "width=0.25", "--set", "size=32", "--set", "negatives=0.3"]
    command += ["--set", "activation=elu", "--set", "dropout=0.1"]
    assert main([*command, "--set", "held_out=0.2", "--set", "timed=true"]) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert all(np.isfinite(float(results[name])) for name in ("mnae", "handedness", "presence", "error_px"))
    assert float(results["ms"]) > 0
    network = create_network("hand-lite", results["weights"])
    assert network.options.items() >= {"width": 0.25, "activation": "elu", "dropout": 0.1}.items()
    assert sum(map(torch.numel, network.parameters())) == int(float(results["parameters"]))


OWN = """
from sonjit_lab.networks import InputSpec, Network, NetworkEntry, register
from torch import nn

import torch


class Own(Network):
    def __init__(self, keypoints: int = 21, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, width, 8, 8)
        self.heads = nn.ModuleDict(
            {"keypoints": nn.Linear(width, 3 * keypoints), "keypoints_3d": nn.Linear(width, 3 * keypoints),
             "presence": nn.Linear(width, 1), "handedness": nn.Linear(width, 1)}
        )

    def forward(self, images):
        mean = self.body(images).mean((2, 3))
        return {name: head(mean) for name, head in self.heads.items()}


register(NetworkEntry("own-hand", Own, "hands", "nobody", "none", (InputSpec("images", (3, 32, 32)),)))


def losses(outputs, batch):
    points = outputs["keypoints"].unflatten(1, (-1, 3))[..., :2]
    return {"own": ((points - batch.keypoints).abs().mean(2) * batch.known).mean()}


class Wrong(Own):
    def forward(self, images):
        return {"keypoints": self.body(images).mean((2, 3))}


register(NetworkEntry("no-hand", Wrong, "nothing", "nobody", "none", (InputSpec("images", (3, 32, 32)),)))
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    list_networks()
    (tmp_path / "own_hand.py").write_text(OWN, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SONJIT_EXTENSIONS", "own_hand")
    import_module("own_hand")  # a new process imports it by the variable
    yield
    for name in ("own-hand", "no-hand"):
        registry._ENTRIES.pop(name, None)
    sys.modules.pop("own_hand", None)


def train_command(tmp_path, demo_clip, images, *sets):
    write_coco(tmp_path / "hands.json", demo_clip[2], names=NAMES, every=60, sides=True)
    command = ["train", "hand-full", "--data", str(tmp_path / "hands.json"), "--images", images, "--steps", "2"]
    sets = ("scratch=true", "size=32", "batch=2", *sets)
    return [*command, "--out", str(tmp_path / "run"), *(f"--set={value}" for value in sets)]


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.usefixtures("own_module")
def test_a_user_network_and_loss_have_the_same_data_and_metrics(demo_clip, images, tmp_path, capfd):
    command = train_command(
        tmp_path,
        demo_clip,
        images,
        "network=own-hand",
        "network_options=width=6",
        "loss=own_hand:losses",
        "held_out=0.5",
    )
    assert main(command) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert all(np.isfinite(float(results[name])) for name in ("mnae", "handedness", "error_px"))
    assert create_network("own-hand", results["weights"]).body.out_channels == 6
    (first, *_) = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines())
    assert "own" in json.dumps(first)


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("network=resnet50", "Unknown network 'resnet50'"),
        ("network=no-hand", "network=no-hand requires the output keypoints (B, 63); it has shape (1, 4)"),
        ("network=own-hand width=0.5", "width applies only to hand-full, hand-lite, hand-heavy, not to own-hand"),
        ("network_options=a=1", "network_options applies only to other networks"),
        ("network=timm-landmarks network_options=backbone=resnet19", "Unknown backbone 'resnet19'"),
        ("loss=wings", "Unknown loss 'wings'. Choose from l1, l2, smooth-l1, wing, distance, or a function as module:"),
        ("loss=os:getcwd", "'os:getcwd' must name a module of sonjit or of a registered extension"),
        ("size=100", "size=100: must be a multiple of 32"),
        ("scratch=false activation=elu", "activation=elu requires scratch=true; the published weights are for relu6"),
        ("mix=real=0", "mix: shares must be at least 0, and one must be above 0"),
        ("heads_from=other", "heads_from=other: not a source of mix"),
        ("negatives=1", "negatives=1.0: must be at least 0 and below 1"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(demo_clip, images, tmp_path, refusal, sets, message):
    assert message in refusal(*train_command(tmp_path, demo_clip, images, *sets.split()))


@pytest.mark.nightly
@pytest.mark.slow
def test_any_registered_data_set_is_learnt_from(coco, tmp_path):
    """Check that the same hands as a Parquet table give the same crops, and train on them."""
    few, table = coco[:6], tmp_path / "hands.parquet"
    convert_dataset(few, table)
    again = open_dataset("folder", table)
    for one, other in zip(LandmarkCrops(few, [NAIL]), LandmarkCrops(again, [NAIL]), strict=True):
        np.testing.assert_array_equal(one.wide, other.wide)
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-4)
    command = ["train", "hand-full", "--data", str(table), "--out", str(tmp_path / "run"), "--steps", "2"]
    command += ["--set", "scratch=true", "--set", "trunk=tiny", "--set", "size=64"]
    assert main([*command, "--set", "batch=2"]) == 0
    for recipe, more in (("palm", ["size=64", "depth=0"]), ("mask-rcnn", ["side=32", "depth=10", "width=8"])):
        command = ["train", recipe, "--data", str(table), "--out", str(tmp_path / recipe), "--steps", "1"]
        command += ["--set", "batch=1"]
        assert main([*command, *(part for one in more for part in ("--set", one))]) == 0
