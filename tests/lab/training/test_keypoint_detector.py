"""The 2D detector: subcell heatmap peaks, crops with labels, and a run whose network is used."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.checkpoints import DESCRIPTION
from sonjit.lab.networks.keypoint_detector import (
    STRIDE,
    KeypointDetector,
    area_of_box,
    cell_from_px,
    read_heatmaps,
    sigma_of,
)
from sonjit.lab.training.augment import AugmentationSettings
from sonjit.lab.training.hands.keypoint_detector import (
    HeatmapTargets,
    example_from_hand,
    example_from_sample,
    heatmap_losses,
    labelled_hands,
)
from sonjit.lab.training.hands.samples import draw_examples
from sonjit.lab.training.recipes import TrainingRequest, load_recipe, run_recipe, settings_from
from sonjit.results.skeletons import load_skeleton

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
    images, annotations = [], []
    for number in range(count):
        points = grid + rng.uniform(15, 60, 2)
        rgb = np.zeros((side, side, 3), np.uint8)
        for index, (x, y) in enumerate(points):
            cv2.circle(rgb, (round(x), round(y)), 2, (80 + 8 * index, 255 - 8 * index, 255), -1)
        cv2.imwrite(str(folder / f"{number}.png"), rgb)
        flags = [0 if index == 20 else 1 if index in hidden else 2 for index in range(21)]
        low, size = points.min(0), np.ptp(points, 0)
        images.append({"id": number, "file_name": f"{number}.png", "width": side, "height": side})
        annotations.append({
            "id": number, "image_id": number, "category_id": 1, "bbox": [*low.tolist(), *size.tolist()],
            "keypoints": np.column_stack([points, flags]).ravel().tolist(),
        })  # fmt: skip
    file = folder / "hands.json"
    categories = [{"id": 1, "name": "hand", "keypoints": NAMES}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


@given(st.floats(2, 13), st.floats(2, 13), st.floats(0.5, 2))
def test_a_gaussian_is_read_at_its_position_between_cells(x, y, scale):
    line = np.arange(16)
    off = (line[:, None] - y) ** 2 + (line - x) ** 2
    logits = (-off / (2 * (scale * sigma_of(16)) ** 2)).astype(np.float32)
    places, confidence = read_heatmaps(logits[None, None])
    np.testing.assert_allclose(places[0, 0], (x, y), atol=0.05)
    assert 0 < confidence[0, 0] <= 1


def test_a_sure_map_is_surer_than_a_flat_one():
    flat = np.zeros((1, 1, 16, 16), np.float32)
    peak = flat.copy()
    peak[0, 0, 8, 4] = 50
    assert read_heatmaps(peak)[1][0, 0] > 0.999
    assert read_heatmaps(flat)[1][0, 0] < 0.2
    assert np.isfinite(read_heatmaps(flat)[0]).all()


def test_the_losses_are_least_at_the_truth_and_leave_out_what_is_unknown():
    keypoints = torch.rand(2, 21, 2) * 40 + 10
    known = torch.ones(2, 21)
    known[0, 5] = 0
    targets = HeatmapTargets(keypoints, known, torch.ones(2, 21), torch.zeros(2, 21))
    line = torch.arange(16)
    places = cell_from_px(keypoints)
    off = ((line - places[..., None]) ** 2).unbind(2)
    logits = -(off[1][..., :, None] + off[0][..., None, :]) / 2
    outputs = {"heatmaps": logits, "visible_logits": torch.full((2, 21), -9.0)}
    right = heatmap_losses(outputs, targets)
    assert right["heatmaps"].item() == pytest.approx(0, abs=1e-4)
    assert right["visible"] == 0
    moved = {**outputs, "heatmaps": logits.roll(3, 3)}
    assert heatmap_losses(moved, targets)["heatmaps"] > 1
    broken = logits.clone()
    broken[0, 5] = 99 * torch.rand(16, 16)
    assert heatmap_losses({**outputs, "heatmaps": broken}, targets)["heatmaps"].item() == pytest.approx(0, abs=1e-4)
    assert heatmap_losses(outputs, targets._replace(labelled=known))["visible"] > 1


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_labels_move_with_the_crop(seed):
    rng = np.random.default_rng(seed)
    augmentation = settings_from(AugmentationSettings, load_recipe("keypoint-detector").settings["augmentation"])
    points = np.stack([np.arange(21) % 5, np.arange(21) // 5], 1) * 14.0 + rng.uniform(20, 40, 2)
    rgb = np.zeros((130, 130, 3), np.uint8)
    for x, y in points.round().astype(int):
        rgb[y - 2 : y + 3, x - 2 : x + 3] = 255
    hand = Instance(kind="hand", keypoints_px=points, visible=np.arange(21) % 2 == 0)
    example = example_from_sample(
        Sample(dataset="t", id="t", image=rgb, width=130, height=130, instances=(hand,)), rng, 128, augmentation
    )
    assert np.array_equal(example.visible > 0, np.arange(21) % 2 == 0)
    inside = (example.known > 0) & ((example.keypoints > 1) & (example.keypoints < 126)).all(1)
    for x, y in example.keypoints[inside].round().astype(int):
        assert example.image[y, x].min() > 60
    away = example_from_hand(rgb, hand, area_of_box((500, 500, 600, 600)), 64)
    assert not away.known.any()
    assert not away.labelled.any()


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


def test_it_learns(tmp_path):
    results = run_recipe(
        TrainingRequest(
            "keypoint-detector",
            tmp_path / "run",
            coco(tmp_path, 20),
            settings=SMALL | {"steps": 80, "learning_rate": 5e-3},
        )
    )
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["losses"]["heatmaps"] < 0.7 * lines[0]["losses"]["heatmaps"]
    assert results["error_px"] > 0


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
    torch.save({"conv_stem.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not fit test_efficientnet: "):
        create_network("keypoint-detector", **tiny, backbone_weights=str(file))


def test_cells_and_boxes():
    assert cell_from_px(torch.tensor(STRIDE * 3.0 + 1.5)) == 3
    points = np.full((21, 2), np.nan)
    hand = Instance(kind="hand", keypoints_px=points)
    sample = Sample(dataset="t", id="t", image=np.zeros((9, 9, 3), np.uint8), width=9, height=9, instances=(hand,))
    assert labelled_hands(sample) == []
    points[:2] = (3, 4), (9, 20)
    assert labelled_hands(sample) == [(hand, (3, 4, 9, 20))]
