"""The recipe of the palm detector: boxes of the published detector, and perfect scores for a perfect network."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit import InputError
from sonjit.cli import main
from sonjit.detectors.kinds.hands import palm_squares
from sonjit.lab.datasets import open_dataset
from sonjit.lab.networks import create_network, load_checkpoint
from sonjit.lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit.lab.training.hands.palms import (
    PalmSample,
    PalmSamples,
    PalmSettings,
    augment,
    fit_palms,
    palm_anchors,
    palm_losses,
    palm_network,
    palm_precision,
    palm_targets,
)
from sonjit.lab.training.loop import add_batch_norms, fold, scale_head
from sonjit.lab.training.recipes import TrainingRequest, load_recipe, settings_from
from sonjit.results.skeletons import load_skeleton

NAMES = load_skeleton("hand_mediapipe21").keypoints
SIZE = 64
TINY = {"depth": 1, "channels": (8, 8, 12, 12, 16)}
NOTHING = np.zeros((0, 4), np.float32)
AUGMENTATION = settings_from(AugmentationSettings, load_recipe("palm").settings["augmentation"])


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


@pytest.mark.slow
@given(arrays(np.float32, (7, 2), elements=st.floats(-20, 80, width=16)))
def test_a_square_contains_its_palm_and_no_more(points):
    ((cx, cy, width, height),) = palm_squares(points[None])
    assert width == height
    reach = np.abs(points - (cx, cy)).max()
    assert reach == pytest.approx(width / 2, abs=1e-3)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(8, 56), st.floats(8, 56), st.floats(6, 40)), max_size=1))
def test_a_network_that_outputs_its_targets_finds_every_palm(where):
    samples = [sample(*(palm(*one) for one in where)), sample(palm(20, 40, 16)), sample()]
    anchors = palm_anchors(SIZE)
    expected = palm_targets(anchors, samples)
    output = {"scores": expected.found[..., None] * 20 - 10, "boxes": expected.boxes}
    metrics = palm_precision(lambda images: output, samples, anchors)
    assert metrics == {"ap": pytest.approx(100), "ap_strict": pytest.approx(100)}
    missed = {**output, "scores": torch.full_like(output["scores"], -10)}
    assert palm_precision(lambda images: missed, samples, anchors)["ap"] == pytest.approx(0)


def test_unknown_labels_are_neither_trained_nor_evaluated():
    anchors = palm_anchors(SIZE)
    unsure = sample(palm(14, 14, 16), unsure=np.array([[30, 30, 64, 64]], np.float32))
    expected = palm_targets(anchors, [unsure])
    inside = (anchors[:, :2] > 30).all(1)
    assert (expected.found[0, inside] == -1).all()
    output = {"scores": torch.zeros(1, len(anchors), 1), "boxes": torch.zeros_like(expected.boxes)}
    other = {**output, "scores": output["scores"].clone()}
    other["scores"][0, inside] = 7.0
    for loss in ("focal", "cross-entropy"):
        assert palm_losses(output, expected, loss) == palm_losses(other, expected, loss)
    found = {"scores": torch.where(expected.found[..., None] > 0, 9.0, -9.0), "boxes": expected.boxes.clone()}
    wrong = int(np.flatnonzero(inside)[0])
    found["scores"][0, wrong], found["boxes"][0, wrong] = 9.5, torch.tensor([0.0, 0.0, 8.0, 8.0] + [0.0] * 14)
    assert palm_precision(lambda images: found, [unsure], anchors)["ap"] == pytest.approx(100)


def test_an_anchor_near_a_palm_learns_where_it_is_even_if_it_is_not_the_palms():
    anchors = palm_anchors(SIZE)
    expected = palm_targets(anchors, [sample(palm(30, 30, 20))])
    nearby = expected.placed & (expected.found <= 0)
    assert nearby.any()
    assert (expected.placed | (expected.found <= 0)).all()
    output = {"scores": torch.zeros(1, len(anchors), 1), "boxes": expected.boxes.clone().requires_grad_()}
    torch.testing.assert_close(
        expected.boxes[expected.placed][:, :2] + torch.from_numpy(anchors[expected.placed[0].numpy(), :2]).float(),
        torch.full((int(expected.placed.sum()), 2), 30.0),
    )
    moved = {**output, "boxes": output["boxes"] + 1}
    palm_losses(moved, expected, "focal")["boxes"].backward()
    assert torch.equal(output["boxes"].grad.abs().sum(2) > 0, expected.placed)


def test_focal_loss_forgives_what_is_nearly_right():
    """Check that many nearly certain anchors weigh less than under cross entropy, relative to one mistake."""
    expected = palm_targets(palm_anchors(SIZE), [sample(palm(30, 30, 20))])
    near = torch.full((1, expected.found.shape[1], 1), -3.0)
    far = near.clone()
    far[0, int((expected.found[0] == 0).nonzero()[0])] = 4.0
    share = {}
    for loss, gamma in (("focal", 2.0), ("focal", 1.0), ("cross-entropy", 0.0)):
        easy, hard = (
            palm_losses({"scores": one, "boxes": expected.boxes}, expected, loss, gamma) for one in (near, far)
        )
        assert easy["boxes"] == easy["keypoints"] == 0
        share[gamma] = float(easy["scores"] / hard["scores"])
    assert share[2.0] < share[1.0] < share[0.0]
    assert share[2.0] < 0.7 * share[0.0]


@given(st.integers(0, 2**32 - 1))
def test_keypoints_follow_the_image(seed):
    """Check that white spots at the keypoints of a palm stay there."""
    points = palm(48, 48, 30)
    image = np.full((96, 96, 3), 20, np.uint8)
    for x, y in points:
        image[int(y) - 1 : int(y) + 1, int(x) - 1 : int(x) + 1] = 255  # centred at the corner between four pixels
    turned = augment(
        PalmSample(image, points[None], NOTHING), draw_augmentation(AUGMENTATION, np.random.default_rng(seed))
    )
    light = turned.image.max(2)
    for x, y in turned.palms.reshape(-1, 2):
        if 3 < x < 93 and 3 < y < 93:
            column, row = int(x), int(y)
            assert light[row - 2 : row + 3, column - 2 : column + 3].max() > 2 * np.median(light)


def test_without_its_decoder_the_network_has_the_same_anchors_and_fewer_weights():
    images = torch.rand(2, 3, SIZE, SIZE)
    complete, plain = (create_network("palm-full", decoder=decoder, **TINY) for decoder in (True, False))
    assert sum(map(torch.numel, plain.parameters())) < sum(map(torch.numel, complete.parameters()))
    for name, shape in (("boxes", (2, len(palm_anchors(SIZE)), 18)), ("scores", (2, len(palm_anchors(SIZE)), 1))):
        assert complete(images)[name].shape == plain(images)[name].shape == shape
    assert set(plain.state_dict()) < set(complete.state_dict())


@pytest.mark.parametrize("name", ["palm-full", "hand-full"])
def test_what_training_needs_folds_away(name):
    network = create_network(name, **(TINY if name == "palm-full" else {"trunk": "tiny"})).eval()
    keys = list(network.state_dict())
    images = torch.rand(4, 3, SIZE, SIZE)
    plain = network(images)
    heads = [(network.fine_head, "boxes")] if name == "palm-full" else [(network, "keypoints")]
    for parent, head in heads:
        scale_head(parent, head, 16.0)
    for key, value in network(images).items():
        torch.testing.assert_close(value, plain[key], rtol=1e-4, atol=1e-4)
    add_batch_norms(network, without=[getattr(parent, head) for parent, head in heads])
    network.train()(images)  # means and spreads move
    trained = network.eval()(images)
    assert any((trained[key] - plain[key]).abs().max() > 1e-3 for key in plain)
    fold(network)
    assert list(network.state_dict()) == keys
    for key, value in network(images).items():
        torch.testing.assert_close(value, trained[key], rtol=1e-4, atol=1e-4)


def test_a_new_network_sees_boxes_of_its_anchors_sizes_and_hardly_a_palm():
    anchors = palm_anchors(SIZE)
    network = palm_network(PalmSettings(size=SIZE, **TINY), anchors).eval()
    fold(network)
    for head in (network.fine_head, network.coarse_head):
        for layer in (head.scores, head.boxes):
            torch.nn.init.zeros_(layer.weight)
    output = network(torch.rand(1, 3, SIZE, SIZE))
    np.testing.assert_allclose(output["boxes"][0, :, 2:4].detach(), anchors[:, 2:], rtol=1e-5)
    torch.testing.assert_close(output["scores"].sigmoid(), torch.full_like(output["scores"], 0.01))


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Return images with different palms, or none, in COCO's format."""
    folder = tmp_path_factory.mktemp("painted")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(24):
        rgb = rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
        images.append({"id": index, "file_name": f"{index}.png", "width": SIZE, "height": SIZE})
        if index % 4:
            cx, cy, side = rng.uniform(20, 44), rng.uniform(20, 44), rng.uniform(14, 30)
            points = dict.fromkeys(NAMES, (cx, cy))
            names = ("wrist", "index_finger_mcp", "middle_finger_mcp", "ring_finger_mcp", "pinky_finger_mcp")
            points |= dict(zip((*names, "thumb_cmc", "thumb_mcp"), palm(cx, cy, side).tolist(), strict=True))
            corner = (int(cx - side / 2), int(cy - side / 2)), (int(cx + side / 2), int(cy + side / 2))
            cv2.rectangle(rgb, *corner, (230, 160, 120), -1)
            keypoints = [value for name in NAMES for value in (*points[name], 2)]
            box = [cx - side / 2, cy - side / 2, side, side]
            annotations.append({"id": index, "image_id": index, "category_id": 1, "bbox": box, "keypoints": keypoints})
        cv2.imwrite(str(folder / f"{index}.png"), rgb[..., ::-1])
    categories = [{"id": 1, "name": "hand", "keypoints": list(NAMES)}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(data), "utf-8")
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
    command = ["train", "palm", "--data", str(painted), "--out", str(out), "--set", "size=64", "--set", "depth=1"]
    command += [
        "--set",
        "channels=8,8,12,12,16",
        "--set",
        "batch=12",
        "--set",
        "steps=120",
        "--set",
        "learning_rate=0.01",
    ]
    command += ["--set", "warmup=5", "--set", "test=.", "--set", "augmentation=none"]
    assert main(command) == 0
    results = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert float(results["ap"]) > 80
    network = create_network("palm-full", results["weights"], **TINY)
    samples = PalmSamples(open_dataset("folder", painted), SIZE)
    again = palm_precision(network.eval(), samples, palm_anchors(SIZE))
    assert again["ap"] == pytest.approx(float(results["ap"]), abs=0.1)
    assert all(torch.isfinite(value).all() for value in load_checkpoint(out / "weights.safetensors").values())


def test_the_weight_of_scores_applies_only_to_them(painted, tmp_path):
    samples, anchors = PalmSamples(open_dataset("folder", painted), SIZE), palm_anchors(SIZE)
    reported = []
    for weight in (1.0, 0.25):
        once = PalmSettings(size=SIZE, steps=1, batch=8, score_weight=weight, evaluate_first=False, **TINY)
        out = tmp_path / str(weight)
        request = TrainingRequest(recipe="palm", out=out, progress=lambda done, steps, losses: reported.append(losses))
        fit_palms(palm_network(once, anchors), samples, samples, anchors=anchors, settings=once, request=request)
    complete, quarter = reported
    assert quarter.pop("images/s") > 0
    assert complete.pop("images/s") > 0
    assert quarter == {**complete, "scores": pytest.approx(complete["scores"] / 4)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "size=100"], "size=100: must be a multiple of 32"),
        (["--set", "channels=8,8"], "channels=8,8: must be 5 numbers from 1 to 16384 that do not decrease"),
        (["--set", "loss=hinge"], "Unknown loss 'hinge'. Choose from focal, cross-entropy"),
        (["--set", "test=elsewhere"], "elsewhere: no such file or folder"),
        (["--set", "sources=., elsewhere"], "elsewhere: no such file or folder"),
        (["--set", "gamma=-1"], "gamma=-1.0: must be at least 0"),
        (["--set", "batch=0"], "batch=0: must be at least 1"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(arguments, message, painted, tmp_path, capfd):
    assert main(["train", "palm", "--data", str(painted), "--out", str(tmp_path / "run"), *arguments]) == 2
    _, err = capfd.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_data_without_palms_are_refused(painted, tmp_path):
    data = json.loads((painted / "coco.json").read_text("utf-8"))
    data["categories"][0]["keypoints"] = [f"point_{index}" for index in range(21)]
    (tmp_path / "coco.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(InputError, match="no hand has a palm's keypoints; required are wrist, "):
        PalmSamples(open_dataset("folder", tmp_path / "coco.json", images=str(painted)), SIZE)
