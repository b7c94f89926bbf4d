"""Mask R-CNN on the command line: training on generated shapes, COCO evaluation, continuation, segmentation."""

import json

import cv2
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.extensions import FUNCTIONS
from sonjit.cli import main
from sonjit.segmentation import task as segment
from sonjit.segmentation.instances import Instances
from sonjit_lab.datasets import Instance, Sample, mask_from_segmentation, rle_from_mask
from sonjit_lab.networks import create_network
from sonjit_lab.papers.mask_rcnn import finders as mask_networks
from sonjit_lab.papers.mask_rcnn.files import load_mask_rcnn
from sonjit_lab.papers.mask_rcnn.network import paste_masks
from sonjit_lab.papers.mask_rcnn.recipe import augment, example_from_sample, mirrored_labels, tensors_from_example
from sonjit_lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit_lab.training.recipes import load_recipe, settings_from

pytestmark = pytest.mark.slow
NAMES = ["left_disc", "right_disc"]
EXPORTED_SIDE = 96  # 4/3 of the side of the training, in steps of 32
AUGMENTATION = settings_from(AugmentationSettings, load_recipe("mask-rcnn").settings["augmentation"])
SMALL = {
    "batch": 2, "side": 64, "depth": 10, "width": 8, "channels": 16, "hidden": 32, "samples": 64, "save_every": 2,
    "held_out": 4, "learning_rate": 0.01,
}  # fmt: skip


def shapes(folder, count=10, size=(64, 96)):
    """Return bright discs on the left and dark ones on the right of a noisy background, in COCO's format."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        rgb = rng.integers(100, 140, (*size, 3), dtype=np.uint8)
        images.append({"id": f"picture {i + 10}", "file_name": f"{i:03}.png", "width": size[1], "height": size[0]})
        for category, centre, shade in ((1, (24, 32), 240), (2, (70, 32), 10)):
            mask = np.zeros(size, np.uint8)
            place = tuple(int(value) for value in np.add(centre, rng.integers(-6, 7, 2)))
            cv2.circle(mask, place, int(rng.integers(10, 16)), 1, -1)
            rgb[mask > 0] = shade
            x, y, wide, high = cv2.boundingRect(mask)
            annotations.append({
                "id": len(annotations) + 1, "image_id": f"picture {i + 10}", "category_id": category, "iscrowd": 0,
                "bbox": [x, y, wide, high], "area": int(mask.sum()), "segmentation": rle_from_mask(mask > 0),
            })  # fmt: skip
        cv2.imwrite(str(folder / "images" / f"{i:03}.png"), rgb)
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(data), "utf-8")
    return folder


def train(data, out, steps, *more, **settings):
    given = [f"--set={key}={value}" for key, value in (SMALL | settings).items()]
    return main(["train", "mask-rcnn", "--data", str(data), "--out", str(out), "--steps", str(steps), *given, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a data set and a successful run on it."""
    folder = tmp_path_factory.mktemp("instances")
    data = shapes(folder / "data")
    assert train(data, folder / "run", 50) == 0
    return data, folder / "run"


@pytest.mark.nightly
def test_a_run_begins_with_the_weights_of_another(run, tmp_path):
    data, trained = run
    assert train(data, tmp_path / "run", 1, "--weights", str(trained), learning_rate=1e-12) == 0
    given, kept = (dict(load_mask_rcnn(path).network.named_parameters()) for path in (trained, tmp_path / "run"))
    for name, value in given.items():
        torch.testing.assert_close(kept[name], value, rtol=0, atol=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["classifier", "mask-rcnn"])
def test_a_run_begins_with_the_residual_network_of_torchvisions_files(kind, run, tmp_path):
    """Compare the maps of the last stage with those of torchvision's classifier, whose norms have statistics."""
    torch.manual_seed(0)
    official = torchvision.models.resnet18().eval()
    for module in official.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(1e-4, 1)
    weights = official.state_dict()
    if kind == "mask-rcnn":
        whole = create_network("mask-rcnn", depth=18, channels=16, hidden=32, classes=7)
        whole.load_official(weights, strict=False)
        weights = whole.state_dict()
    torch.save(weights, tmp_path / "resnet.pth")
    layers = {"depth": 18, "width": 64, "learning_rate": 1e-12, "trunk_weights": tmp_path / "resnet.pth"}
    assert train(run[0], tmp_path / "run", 1, **layers) == 0
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = torch.nn.Sequential(*list(official.children())[:-2])(images)
        *_, found = load_mask_rcnn(tmp_path / "run").network.backbone.body(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set=depth=34", "--set=width=64"], "does not fit a residual network with depth=34 and width=64"),
        (["--weights", "demo"], "has no effect with --weights"),
    ],
)
def test_a_residual_network_that_does_not_fit_is_refused(arguments, message, tmp_path, refusal):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    data = shapes(tmp_path / "data")
    paths = ["--data", str(data), "--out", str(tmp_path / "run"), f"--set=trunk_weights={tmp_path / 'resnet18.pth'}"]
    assert message in refusal("train", "mask-rcnn", *paths, *arguments)


def test_a_run_learns_and_reports_its_metrics(run):
    _, out = run
    log = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    parts = ("rpn_objectness", "rpn_boxes", "classes", "boxes", "masks")
    totals = [sum(line["losses"][part] for part in parts) for line in log]
    assert np.mean(totals[-10:]) < 0.6 * np.mean(totals[:10])
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    assert metrics["box_ap50"] > 0.3
    assert metrics["mask_ap50"] > 0.3
    assert metrics["held_out"] == 2


def test_a_run_segments_images(run, tmp_path):
    data, out = run
    files = {"--save": "found.json", "--draw": "drawn", "--steps": "steps"}
    outputs = [word for option, name in files.items() for word in (option, str(tmp_path / name))]
    outputs += ["--ids", str(data / "set.json")]
    assert main(["segment", str(data / "images"), "--weights", str(out), "--min-score", "0.05", *outputs]) == 0
    records = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert {record["image_id"] for record in records} <= {f"picture {number}" for number in range(10, 20)}
    assert {record["category_id"] for record in records} <= {1, 2}
    for record in records:
        mask = mask_from_segmentation(record["segmentation"], 64, 96)
        x, y, wide, high = record["bbox"]
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert x - 4 <= columns.min() <= columns.max() <= x + wide + 4
            assert y - 4 <= rows.min() <= rows.max() <= y + high + 4
    assert len(list((tmp_path / "drawn").iterdir())) == 10
    folders = list((tmp_path / "steps").iterdir())
    assert len(folders) == 10
    steps = sorted(folders[0].iterdir())
    assert [path.stem[0] for path in steps] == list("123456789")
    assert all(cv2.imread(str(path)) is not None for path in steps)


def test_weights_of_torchvision_have_their_version_and_classes(tmp_path):
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    official = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    torch.save(official.state_dict(), tmp_path / "weights.pth")
    saved = load_mask_rcnn(tmp_path / "weights.pth", min_side=64)
    assert saved.name == "mask-rcnn"
    assert [category.name for category in saved.categories] == ["class 1", "class 2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "absent.pth"], "no such checkpoint"),
        (["--weights", "."], "network.json is missing"),
        (["--weights", "hand.safetensors"], "is no run of sonjit train mask-rcnn nor"),
        (["--weights", "demo", "--min-score", "2"], "must be between 0 and 1"),
        (["--weights", "demo", "--limit", "0"], "at least 1"),
    ],
)
def test_segment_refuses_in_one_line(tmp_path, monkeypatch, refusal, arguments, message):
    from sonjit_lab.networks import save_checkpoint

    monkeypatch.chdir(tmp_path)
    save_checkpoint(torch.nn.Linear(2, 2), tmp_path / "hand.safetensors")
    cv2.imwrite("a.png", np.zeros((40, 40, 3), np.uint8))
    assert message in refusal("segment", "a.png", *arguments)


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.files("real/wild*/people.json")
def test_the_bundled_network_finds_people_and_hands_in_photographs(file, capsys):
    """Check that most photographs with clear hands have both."""
    hands, people = (json.loads(part.read_text("utf-8")) for part in (file.with_name("hands.json"), file))
    names = [name for name in people if name in hands and name[0] != "_"]
    paths = [str(file.with_name(name)) for name in names if any(hand["clear"] for hand in hands[name]["hands"])][:4]
    assert main(["segment", *paths]) == 0
    out = capsys.readouterr().out
    assert sum(f"{path}: 0: person" in out and f"{path}: 0: hand" in out for path in paths) >= len(paths) / 2


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("size", [(480, 640), (640, 360), (300, 900)], ids=str)
def test_the_bundled_file_equals_the_network_in_pytorch(size, photo):
    rgb = cv2.resize(photo, size[::-1])
    network, *_ = load_mask_rcnn(None, min_side=640, max_side=640)
    scale = 640 / max(size)
    resized = cv2.resize(rgb, (round(size[1] * scale), round(size[0] * scale)), interpolation=cv2.INTER_AREA)
    padded = torch.tensor([0.485, 0.456, 0.406])[:, None, None].repeat(1, 640, 640)
    padded[:, : resized.shape[0], : resized.shape[1]] = torch.from_numpy(resized).permute(2, 0, 1) / 255
    with torch.no_grad():
        expected = mask_networks.instances_from(network.find([padded])[0])
    boxes = expected.boxes * np.tile(np.divide(size, resized.shape[:2])[::-1], 2)
    expected = expected._replace(boxes=np.clip(boxes, 0, (*size[::-1], *size[::-1])))
    expected = expected.without_repeats()
    found = segment.ExportedFinder(0.05).find(rgb)
    assert len(found.boxes), "no instances compare nothing"
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    np.testing.assert_allclose(found.masks, expected.masks, atol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
def test_masks_in_images_equal_those_of_torchvision(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 120, (12, 2, 2)).clip(0, (110, 90))
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    boxes[0, 2:] = boxes[0, :2]
    masks = rng.random((12, 28, 28), np.float32)
    pasted = Instances(boxes, masks[:, 0, 0], np.ones(12, int), masks).in_image((90, 110))
    expected = paste_masks(torch.from_numpy(masks), torch.from_numpy(boxes), (90, 110)).numpy()
    np.testing.assert_allclose(pasted, expected, atol=1e-5)


def test_instances_whose_masks_repeat_a_better_one_of_their_class_are_left_out():
    boxes = np.array([[0, 0, 50, 50], [5, 5, 45, 45], [5, 5, 45, 45], [40, 0, 90, 50]], np.float32)
    found = Instances(
        boxes, np.linspace(0.9, 0.6, 4, dtype=np.float32), np.array([1, 1, 2, 1]), np.ones((4, 28, 28), np.float32)
    )
    assert found.without_repeats().scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert len(found.select([]).without_repeats().boxes) == 0


def example():
    masks = np.zeros((40, 60), bool)
    masks[10:30, 5:25] = True
    instances = tuple(
        Instance(kind="object", category_id=i + 1, read_mask=lambda one=one: one)
        for i, one in enumerate((masks, masks[:, ::-1]))
    )
    rgb = np.full((40, 60, 3), 50, np.uint8)
    rgb[masks], rgb[masks[:, ::-1]] = (250, 0, 0), (0, 0, 250)
    sample = Sample(dataset="made", id="a", image=rgb, width=60, height=40, instances=instances)
    return example_from_sample(sample, dict(enumerate(NAMES, 1)))


@given(st.integers(0, 10_000))
def test_masks_move_with_the_image(seed):
    """Check that the rest of an instance has its colour, and that mirroring exchanges the classes."""
    moved = augment(example(), mirrored_labels(NAMES), draw_augmentation(AUGMENTATION, np.random.default_rng(seed)))
    image, target = tensors_from_example(moved)
    assert image.shape == (3, 40, 60)
    assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
    means = [image[:, mask > 0].mean(1) for mask in target.masks]
    seen = [(label, mean) for label, mean in zip(target.labels.tolist(), means, strict=True) if label]
    reds = [label for label, mean in seen if mean[0] > mean[2]]
    blues = [label for label, mean in seen if mean[2] > mean[0]]
    assert len(reds) <= 1
    assert len(blues) <= 1
    assert set(reds) != set(blues) or not reds
    if len(reds) == len(blues) == 1:
        of_red, of_blue = (target.boxes[target.labels == label][0] for label in (reds[0], blues[0]))
        flipped = of_red[0] > of_blue[0]
        assert reds == ([2] if flipped else [1])


@pytest.mark.nightly
def test_evaluation_has_the_speed_and_shows_the_worst(run, tmp_path):
    data, weights = run
    options = ["--data", "folder", "--root", data, "--model", "mask-rcnn", "--weights", weights, "--out", tmp_path]
    assert main(["eval", "--protocol", "coco-instances", *map(str, options)]) == 0
    record = json.loads((tmp_path / "eval.json").read_text("utf-8"))
    metrics = {metric["name"]: metric["value"] for metric in record["runs"][0]["metrics"]}
    assert 0 < metrics["mask_ap"] < 100
    assert 0 < metrics["box_ap"] < 100
    assert metrics["frames_per_second"] > 0
    assert "| Mask R-CNN, ResNet-101, test | 35.70 | 5.00 |" in (tmp_path / "report.md").read_text("utf-8")
    assert cv2.imread(str(tmp_path / record["runs"][0]["worst"][0]["file"])).shape[1] == 720


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("setting", "used"),
    [
        ({"roi": "pool"}, ("pool", "MaskRCNNHeads", True)),
        ({"mask_head": "skip"}, ("align", "SkipMaskHead", True)),
        ({"masks": "false"}, ("align", "NoneType", False)),
    ],
)
def test_parts_of_the_network_are_chosen(setting, used, run, tmp_path):
    assert train(run[0], tmp_path, 1, **setting) == 0
    network = load_mask_rcnn(tmp_path).network
    metrics = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert metrics["frames_per_second"] > 0
    assert "box_ap" in metrics
    assert (network.roi, type(network.roi_heads.mask_head).__name__, "mask_ap" in metrics) == used


@pytest.mark.nightly
def test_one_image_as_each_of_the_four_tasks(run, tmp_path, capsys):
    data, weights = run
    image = data / "images" / "000.png"
    options = ["segment", str(image), "--weights", str(weights), "--tasks"]
    assert main([*options, "--draw", str(tmp_path / "four.png")]) == 0
    rgb, drawn = cv2.imread(str(image)), cv2.imread(str(tmp_path / "four.png"))
    height, width = rgb.shape[:2]
    assert drawn.shape == (2 * height, 2 * width, 3)
    assert main(options) == 2
    assert "--tasks requires --draw" in capsys.readouterr().err


@pytest.mark.nightly  # the export takes half a minute; the bundled file is compared above
def test_an_exported_run_segments_without_pytorch(tmp_path, refusal, monkeypatch, capsys):
    """Compare both runtimes with PyTorch."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; type: pip install sonjit[onnx]")
    data, out = shapes(tmp_path / "data"), tmp_path / "run"
    assert train(data, out, 50, "--export", "onnx") == 0
    file, rgb = out / "mask-rcnn.onnx", cv2.imread(str(data / "images" / "003.png"))[..., ::-1]
    assert str(file) in capsys.readouterr().out
    finder = segment.ExportedFinder(0.05, file)
    assert [name for _, name in finder.categories] == NAMES
    padded = torch.tensor([0.485, 0.456, 0.406])[:, None, None].repeat(1, EXPORTED_SIDE, EXPORTED_SIDE)
    padded[:, :64] = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1) / 255
    network, *_ = load_mask_rcnn(out, min_side=EXPORTED_SIDE, max_side=EXPORTED_SIDE, min_score=0.05)
    with torch.no_grad():
        expected = mask_networks.instances_from(network.find([padded])[0])
        outputs = network(padded[None])
    found = finder.find(np.ascontiguousarray(rgb))
    assert len(found.boxes), "no instances compare nothing"
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, np.clip(expected.boxes, 0, (96, 64) * 2), atol=0.05)
    np.testing.assert_allclose(found.masks, expected.masks, atol=1e-3)
    values = ort.InferenceSession(str(file)).run(list(outputs), {"images": padded[None].numpy()})
    for (name, value), other in zip(outputs.items(), values, strict=True):
        np.testing.assert_allclose(other, value.numpy(), atol=1e-3, rtol=1e-5, err_msg=name)
    monkeypatch.setitem(FUNCTIONS, "open_finder", lambda task: pytest.fail("PyTorch is not needed"))
    saved = tmp_path / "found.json"
    assert main(["segment", str(data / "images"), "--weights", str(file), "--save", str(saved)]) == 0
    assert {record["category_id"] for record in json.loads(saved.read_text("utf-8"))} <= {1, 2}
    capsys.readouterr()
    words = refusal("segment", str(data / "images"), "--weights", str(file), "--min-side", "64")
    assert "--min-side, --device and --steps do not apply to" in words
