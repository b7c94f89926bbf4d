"""The recipe of the palm detector: boxes of the published detector, and perfect scores for a perfect network."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.coco_files import write_coco

from sonjit import InputError
from sonjit.cli import main
from sonjit.detectors.kinds.hands import palm_squares
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import open_dataset
from sonjit_lab.networks import create_network, load_checkpoint
from sonjit_lab.papers.mediapipe_hands.palms import PalmSample, PalmSamples, palm_anchors, palm_precision, palm_targets

NAMES = load_skeleton("hand_mediapipe21").keypoints
SIZE = 64
TINY = {"depth": 1, "channels": (8, 8, 12, 12, 16)}
NOTHING = np.zeros((0, 4), np.float32)


def sample(*palms, size=SIZE, unsure=NOTHING):
    return PalmSample(np.zeros((size, size, 3), np.uint8), np.array(palms, np.float32).reshape(-1, 7, 2), unsure)


def palm(cx, cy, side):
    """Return seven keypoints with this square."""
    half = side / 2
    around = [(0, half), (-half, 0), (-half, -half), (0, -half), (half, -half), (half, 0), (half, half)]
    return np.array(around, np.float32) + np.array([cx, cy], np.float32)


@pytest.mark.files("goldens/mediapipe/hands.*.json")
def test_squares_around_palms_are_the_published_detectors_boxes(file):
    """Check that boxes are learned as the squares around the keypoints."""
    golden = json.loads(file.read_text("utf-8"))
    size = np.array(golden["size"])
    found = [detection for frame in golden["frames"] for detection in frame.get("palm_detections") or []]
    if not found:
        return  # the detector did not run here, or found nothing
    keypoints = np.array([one["kps"] for one in found])[..., :2] * size
    boxes = np.array([one["box"] for one in found]) * np.tile(size, 2)  # corner and size
    squares = palm_squares(keypoints)
    off = np.concatenate([squares[:, :2] - boxes[:, :2] - boxes[:, 2:] / 2, squares[:, 2:] - boxes[:, 2:]], 1)
    off = np.abs(off) / boxes[:, [2]]
    assert np.median(off, axis=0).max() < 0.2
    assert off.max() < 0.3


class Fixed(torch.nn.Module):
    """Network that returns the given outputs for any images."""

    device = torch.device("cpu")

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, images):
        return self.outputs


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(8, 56), st.floats(8, 56), st.floats(6, 40)), max_size=1))
def test_a_network_that_outputs_its_targets_finds_every_palm(where):
    samples = [sample(*(palm(*one) for one in where)), sample(palm(20, 40, 16)), sample()]
    anchors = palm_anchors(SIZE)
    expected = palm_targets(anchors, samples)
    output = {"scores": expected.anchor_labels[..., None] * 20 - 10, "boxes": expected.boxes}
    metrics = palm_precision(Fixed(output), samples, anchors)
    assert metrics == {"ap": pytest.approx(100), "ap_strict": pytest.approx(100)}
    missed = {**output, "scores": torch.full_like(output["scores"], -10)}
    assert palm_precision(Fixed(missed), samples, anchors)["ap"] == pytest.approx(0)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Return images with different palms, or none, in COCO's format."""
    folder = tmp_path_factory.mktemp("painted")
    rng = np.random.default_rng(0)
    images, labels = {}, []
    for index in range(24):
        rgb = images[f"{index}.png"] = rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
        if index % 4:
            cx, cy, side = rng.uniform(20, 44), rng.uniform(20, 44), rng.uniform(14, 30)
            points = dict.fromkeys(NAMES, (cx, cy))
            names = ("wrist", "index_finger_mcp", "middle_finger_mcp", "ring_finger_mcp", "pinky_finger_mcp")
            points |= dict(zip((*names, "thumb_cmc", "thumb_mcp"), palm(cx, cy, side).tolist(), strict=True))
            corner = (int(cx - side / 2), int(cy - side / 2)), (int(cx + side / 2), int(cy + side / 2))
            cv2.rectangle(rgb, *corner, (230, 160, 120), -1)
            box = [cx - side / 2, cy - side / 2, side, side]
            labels.append((index, [points[name] for name in NAMES], {"bbox": box}))
    write_coco(folder, images, labels, NAMES, file="coco.json", images_in=".")
    return folder


def test_hands_without_a_complete_palm_are_unsure(painted):
    complete = PalmSamples(open_dataset("folder", painted), SIZE)
    assert [len(one.palms) for one in complete] == [int(index % 4 > 0) for index in range(24)]
    data = json.loads((painted / "coco.json").read_text("utf-8"))
    data["annotations"][0]["keypoints"][2] = 0
    (painted / "other.json").write_text(json.dumps(data), "utf-8")
    first = PalmSamples(open_dataset("folder", painted / "other.json"), SIZE)[1]
    (painted / "other.json").unlink()
    assert not len(first.palms)
    x, y, width, height = data["annotations"][0]["bbox"]
    np.testing.assert_allclose(first.ignored, [[x, y, x + width, y + height]], rtol=1e-5)


@pytest.mark.slow
def test_one_command_teaches_palms(painted, tmp_path, capfd):
    out = tmp_path / "run"
    sets = "size=64 depth=1 channels=8,8,12,12,16 batch=12 steps=120 learning_rate=0.01 warmup=5 test=."
    words = [f"--set={value}" for value in (*sets.split(), "augmentation=none")]
    assert main(["train", "palm", "--data", str(painted), "--out", str(out), *words]) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert float(results["ap"]) > 80
    network = create_network("palm-full", results["weights"], **TINY)
    samples = PalmSamples(open_dataset("folder", painted), SIZE)
    again = palm_precision(network.eval(), samples, palm_anchors(SIZE))
    assert again["ap"] == pytest.approx(float(results["ap"]), abs=0.1)
    assert all(torch.isfinite(value).all() for value in load_checkpoint(out / "weights.safetensors").values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "size=100"], "size=100: must be a multiple of 32"),
        (["--set", "channels=8,8"], "channels=8,8: must be 5 numbers from 1 to 16384 that do not decrease"),
        (["--set", "loss=hinge"], "Unknown loss 'hinge'. Choose from focal, cross-entropy"),
        (["--set", "test=elsewhere"], "elsewhere: no such file or folder"),
        (["--set", "gamma=-1"], "gamma=-1.0: must be at least 0"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(arguments, message, painted, tmp_path, refusal):
    assert message in refusal("train", "palm", "--data", painted, "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_data_without_palms_are_refused(painted, tmp_path):
    data = json.loads((painted / "coco.json").read_text("utf-8"))
    data["categories"][0]["keypoints"] = [f"point_{index}" for index in range(21)]
    (tmp_path / "coco.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(InputError, match="no hand has a palm's keypoints; required are wrist, "):
        PalmSamples(open_dataset("folder", tmp_path / "coco.json", images=str(painted)), SIZE)
