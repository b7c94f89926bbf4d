"""The 2D detector: subcell heatmap peaks, crops with labels, and a run whose network is used."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.coco_files import write_coco

from sonjit import InputError
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.networks import create_network, network_entry
from sonjit_lab.networks.checkpoints import DESCRIPTION, save_checkpoint
from sonjit_lab.networks.keypoint_detector import KeypointDetector, area_of_box, read_heatmaps, sigma_of
from sonjit_lab.training.hands.samples import draw_examples
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

pytestmark = pytest.mark.slow

NAMES = load_skeleton("hand_mediapipe21").keypoints
SMALL = {
    "backbone": "test_efficientnet",
    "channels": 16,
    "side": 64,
    "batch": 8,
    "steps": 3,
    "held_out": 4,
    "workers": 1,
}


def coco(folder, count=8, side=120, hidden=(3, 7)):
    """Return dots on a moving grid in COCO's format, with two hidden dots and an unlabelled one."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5)), 2).reshape(-1, 2)[:21] * 10.0
    images, labels = {}, []
    for number in range(count):
        points = grid + rng.uniform(15, 60, 2)
        rgb = images[f"{number}.png"] = np.zeros((side, side, 3), np.uint8)
        for index, (x, y) in enumerate(points):
            cv2.circle(rgb, (round(x), round(y)), 2, (255, 255 - 8 * index, 80 + 8 * index), -1)
        flags = [0 if index == 20 else 1 if index in hidden else 2 for index in range(21)]
        labels.append((number, points, {"keypoints": np.column_stack([points, flags]).ravel().tolist()}))
    return write_coco(folder, images, labels, NAMES, file="hands.json", images_in=".")


@given(st.floats(2, 13), st.floats(2, 13), st.floats(0.5, 2))
def test_a_gaussian_is_read_at_its_position_between_cells(x, y, scale):
    line = np.arange(16)
    off = (line[:, None] - y) ** 2 + (line - x) ** 2
    logits = (-off / (2 * (scale * sigma_of(16)) ** 2)).astype(np.float32)
    places, confidence = read_heatmaps(logits[None, None])
    np.testing.assert_allclose(places[0, 0], (x, y), atol=0.05)
    assert 0 < confidence[0, 0] <= 1


def test_a_run_is_used_by_its_folder_and_as_an_exported_file(tmp_path):
    data = coco(tmp_path)
    results = run_recipe(TrainingRequest("keypoint-detector", tmp_path / "run", data, settings=SMALL, export="onnx"))
    assert set(results) >= {"weights", "error_px", "mean_pose_error_of_hand", "found", "visible_right", "export"}
    rgb = np.ascontiguousarray(cv2.imread(str(tmp_path / "0.png"))[..., ::-1])
    boxes = [(20.0, 20.0, 70.0, 80.0), (5.0, 5.0, 50.0, 50.0)]
    detector = KeypointDetector(tmp_path / "run")
    found = detector.detect(rgb, boxes)
    assert len(found) == 2
    assert detector.detect(rgb, []) == []
    for one in found:
        assert one.keypoints.shape == (21, 2)
        assert one.confidence.shape == one.visible.shape == (21,)
        assert min(one.confidence.min(), one.visible.min()) >= 0
        assert max(one.confidence.max(), one.visible.max()) <= 1
    for one, other in zip(found, KeypointDetector(results["export"]).detect(rgb, boxes), strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.05)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)


def test_held_out_images_without_hands_are_not_drawn(tmp_path):
    data = coco(tmp_path, count=10)
    content = json.loads(data.read_text())
    content["annotations"] = [
        label for label in content["annotations"] if label["image_id"] != content["images"][-2]["id"]
    ]
    data.write_text(json.dumps(content))
    results = run_recipe(TrainingRequest("keypoint-detector", tmp_path / "run", data, settings=SMALL | {"steps": 1}))
    assert results["error_px"] > 0


def test_a_refused_run_keeps_the_description_of_the_finished_one(tmp_path):
    data = coco(tmp_path)
    request = TrainingRequest("keypoint-detector", tmp_path / "run", data, settings=SMALL | {"steps": 1})
    run_recipe(request)
    before = (tmp_path / "run" / DESCRIPTION).read_bytes()
    with pytest.raises(InputError, match=r"contains a run with other settings \(settings.json: channels\)"):
        run_recipe(replace(request, settings={**request.settings, "channels": 8}))
    assert (tmp_path / "run" / DESCRIPTION).read_bytes() == before


def test_invalid_input_raises_one_line_errors(tmp_path):
    with pytest.raises(InputError, match=r"no such file; create it with sonjit train keypoint-detector"):
        KeypointDetector(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(InputError, match=f"not a run of sonjit train keypoint-detector: {DESCRIPTION} is missing"):
        KeypointDetector(tmp_path)
    (tmp_path / DESCRIPTION).write_text('{"network": "internet"}')
    with pytest.raises(InputError, match="it describes 'internet', not keypoint-detector"):
        KeypointDetector(tmp_path)
    with pytest.raises(InputError, match=r"box \(3, 3, 3, 9\)"):
        area_of_box((3, 3, 3, 9))
    with pytest.raises(
        InputError, match=r"Unknown backbone 'resnet1'. Choose from timm's networks, such as .*resnet18"
    ):
        create_network("keypoint-detector", backbone="resnet1")
    with pytest.raises(InputError, match=r"backbone=vit_tiny_patch16_224: must have feature maps at strides 4, 8, 16"):
        create_network("keypoint-detector", backbone="vit_tiny_patch16_224")
    with pytest.raises(InputError, match=r"none.pth: no such file; timm's weights are available"):
        create_network("keypoint-detector", backbone="test_efficientnet", backbone_weights="none.pth")
    with pytest.raises(InputError, match="side=40: must be a multiple of 32"):
        run_recipe(TrainingRequest("keypoint-detector", tmp_path / "run", settings={"side": 40}))
    with pytest.raises(InputError, match="None of 50 images has the required labels"):
        draw_examples([1], lambda *_: None, np.random.default_rng(0), 1)


def test_the_backbone_loads_the_weights_of_timm(tmp_path):
    tiny = network_entry("keypoint-detector").tiny
    weights = create_network("keypoint-detector", **tiny).backbone.state_dict()
    file = tmp_path / "timm.pt"
    torch.save({**weights, "classifier.weight": torch.zeros(3, 3)}, file)
    network = create_network("keypoint-detector", **tiny, backbone_weights=str(file))
    assert all(torch.equal(value, network.backbone.state_dict()[key]) for key, value in weights.items())
    save_checkpoint(network, tmp_path / "detector.safetensors")
    with pytest.raises(InputError, match=r"detector.safetensors contains all weights .* omit backbone_weights"):
        create_network("keypoint-detector", tmp_path / "detector.safetensors", backbone_weights=str(file))
    file.unlink()
    assert create_network("keypoint-detector", tmp_path / "detector.safetensors").options == network.options
    torch.save({"conv_stem.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not fit test_efficientnet: "):
        create_network("keypoint-detector", **tiny, backbone_weights=str(file))
