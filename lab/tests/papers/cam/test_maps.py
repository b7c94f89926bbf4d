"""Explanations of classifiers: class maps, saliency, the crop from a map, and the command line."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.networks import create_network, save_checkpoint
from sonjit_lab.papers.cam.layer_axes import axes_of_layers
from sonjit_lab.papers.cam.maps import backprop_saliency, explain_classes, grad_cam, image_tensor
from sonjit_lab.papers.cam.network import CamNetwork, Classifier, save_classifier_description

RNG = np.random.default_rng(4)
IMAGE = RNG.integers(0, 255, (48, 64, 3), np.uint8)


class Bright(torch.nn.Module):
    """Backbone with two features: bright and dark squares of 8 px."""

    channels, left_out = 2, ()
    mean = std = (0.5, 0.5, 0.5)

    def forward(self, images):
        light = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)
        return torch.cat([light.clamp(min=0), (-light).clamp(min=0)], 1)


@pytest.fixture
def network():
    """Return a classifier of bright and dark images with exact maps."""
    made = CamNetwork(Bright(), classes=2).eval()
    made.name = "cam-bright"
    with torch.no_grad():
        made.head.weight.copy_(torch.eye(2))
        made.head.bias.zero_()
    return made


@pytest.fixture
def spot():
    """Return a dark image with a bright square, and its box."""
    image = np.full((64, 96, 3), 100, np.uint8)
    image[16:32, 48:72] = 255
    return image, (48, 16, 72, 32)


@pytest.fixture
def trained(tmp_path):
    """Return the checkpoint of a tiny classifier with the other files of a training run."""
    torch.manual_seed(1)
    made = create_network("cam-small", classes=3)
    save_checkpoint(made, tmp_path / "weights.safetensors")
    save_classifier_description(tmp_path, Classifier(made, 48, ("Left", "Right", "none"), (0, 1, 2)))
    cv2.imwrite(str(tmp_path / "image.png"), IMAGE)
    return tmp_path


def test_each_class_has_its_map_score_and_probability():
    network = create_network("cam-small", "demo", classes=4).eval()
    maps = explain_classes(network, IMAGE, 48, [2, 0])
    assert [one.label for one in maps] == [2, 0]
    best = explain_classes(network, IMAGE, 48, top=4)
    assert sum(one.probability for one in best) == pytest.approx(1, rel=1e-5)
    assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
    for target_map in (*maps, *best):
        assert target_map.values.mean(dtype=float) + target_map.bias == pytest.approx(
            target_map.score, rel=1e-5, abs=1e-5
        )
    with pytest.raises(InputError, match="class 4: cam-small has the classes 0 to 3"):
        explain_classes(network, IMAGE, 48, [4])


def test_saliency_is_the_gradient_of_the_class(network):
    images = image_tensor(IMAGE, 32).repeat(2, 1, 1, 1)
    saliency = backprop_saliency(network, images, [0, 1])
    assert saliency.shape == (2, 32, 32)
    assert (saliency >= 0).all()
    step = torch.zeros_like(images)
    step[0, 1, 5, 7] = 1e-2
    with torch.no_grad():
        slope = (network(images + step)["scores"][0, 0] - network(images - step)["scores"][0, 0]) / 2e-2
    assert saliency[0, 5, 7] == pytest.approx(float(slope), abs=1e-4)
    assert not images.requires_grad


def test_grad_cam_of_any_module_is_the_map_where_that_is_exact(network, spot):
    pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed; type: pip install sonjit-lab[grad-cam]")
    image, _ = spot
    images = image_tensor(image, 64)
    with pytest.raises(InputError, match=r"Unknown method 'NoCAM'\. Choose from .*GradCAM"):
        grad_cam(network, images, ["backbone"], method="NoCAM")
    with pytest.raises(InputError, match=r"has no layer 'head2'. Its last layers are .*head"):
        grad_cam(network, images, ["head2"], output="scores")
    with pytest.raises(InputError, match=r"Unknown output 'None'\. Choose from scores, features"):
        grad_cam(network, images, ["backbone"])
    for target in (0, lambda scores: scores[0]):
        (found,) = grad_cam(network, images, ["backbone"], target, output="scores")
        assert found.shape == (64, 64)
        (exact,) = explain_classes(network, image, 64, [0])
        large = cv2.resize(np.maximum(exact.values, 0), (64, 64))
        np.testing.assert_allclose(found, large / large.max(), atol=1e-3)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(5))
    maps = grad_cam(plain.eval(), torch.rand(2, 3, 16, 16), ["1"], method="LayerCAM")
    assert maps.shape == (2, 16, 16)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_the_command_explains_what_training_wrote(trained, capsys):
    arguments = ["explain", trained / "image.png", "--model", "cam-small", "--weights", trained / "weights.safetensors"]
    options = ["--of", "Right,0", "--boxes", "--backprop"]
    outputs = ["--save", trained / "maps.json", "--draw", trained / "maps.png"]
    assert main([str(argument) for argument in (*arguments, *options, *outputs)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["Right", "Left"]
    (frame,) = json.loads((trained / "maps.json").read_text("utf-8"))["frames"]
    assert [label["class"] for label in frame["classes"]] == ["Right", "Left"]
    assert np.array(frame["classes"][0]["map"]).shape == (6, 6)
    height, width = IMAGE.shape[:2]
    assert cv2.imread(str(trained / "maps.png")).shape == (height, 4 * width, 3)
    assert main([str(one) for one in (*arguments, "--top", "2", *outputs)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.slow
def test_networks_stand_side_by_side_with_the_true_boxes(trained, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    torch.save(create_network("cam-resnet18", "demo", classes=3).state_dict(), other / "resnet.pt")
    truth = {
        "images": [{"id": 1, "file_name": "image.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 30, 24, 12]}],
        "categories": [{"id": 1, "name": "Left"}],
    }
    (other / "labels.json").write_text(json.dumps(truth), "utf-8")
    models = ["--model", "cam-small,cam-resnet18", "--weights", f"{trained},{other / 'resnet.pt'}", "--pooling", "gap"]
    more = ["--of", "0", "--backprop", "--truth", other / "labels.json", "--draw", tmp_path / "grid.png"]
    assert main(["explain", *map(str, [trained / "image.png", *models, *more])]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["small", "resnet18"]
    drawn = cv2.imread(str(tmp_path / "grid.png"))[..., ::-1]
    height, width = IMAGE.shape[:2]
    assert drawn.shape == (2 * height, 2 * width, 3)
    for row in range(2):
        for column in range(2):
            assert drawn[row * height + 41, column * width + 30].tolist() == [40, 200, 80]  # the true box's lower edge


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "requires its checkpoint as --weights FILE (train it: sonjit train cam)"),
        (["--top", "5000", "--draw", "x.png"], "--top 5000: a picture shows at most 24 maps. Use --save without"),
        (["--model", "cam-resnet18"], "FILE (download https://download.pytorch.org/models/resnet18-"),
        (["--weights", "published"], "cam-small has no published weights. It requires its checkpoint"),
        (["--weights", "none.safetensors"], "no such checkpoint"),
        (["--weights", "weights.safetensors", "--of", "dome"], "Unknown class 'dome'. Choose from Left, Right, none"),
        (["--weights", "weights.safetensors", "--names", "none.txt"], "none.txt: no such file"),
        (["--model", "cam-vgg16", "--weights", "weights.safetensors"], "is a run of cam-small, not of cam-vgg16"),
        (["--weights", "weights.safetensors", "--pooling", "gmp"], "was written with pooling='gap', not 'gmp'"),
        (["--weights", "other/headless.pt"], "has no output layer"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, words, trained, refusal, monkeypatch):
    monkeypatch.chdir(trained)
    (trained / "other").mkdir()
    torch.save({"features.0.weight": torch.zeros(2)}, "other/headless.pt")
    model = [] if "--model" in arguments else ["--model", "cam-small"]
    assert words in refusal("explain", "image.png", *model, *arguments)


def test_grad_cam_is_that_of_the_library():
    reason = "grad-cam is not installed; type: pip install sonjit-lab[grad-cam]"
    library = pytest.importorskip("pytorch_grad_cam", reason=reason)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    images = torch.rand(2, 3, 20, 24)
    targets = [library.utils.model_targets.ClassifierOutputTarget(2)] * 2
    expected = library.GradCAM(network, [network[0]])(images, targets)
    np.testing.assert_array_equal(grad_cam(network, images, ["0"], target=2), expected)
    with pytest.raises(InputError, match=r"\(3, 20, 24\); expected \(B, C, H, W\)"):
        grad_cam(network, images[0], ["0"], 2)
    for layers, target in ((["0"], 4), ([], 2), (["0"], lambda scores: scores)):
        with pytest.raises(InputError, match=r"^GradCAM: target=.* does not fit the output or \["):
            grad_cam(network, images, layers, target)
    with pytest.raises(InputError, match=r"axes \(1, 4\) of layer '3' are not in the ratio of the image"):
        grad_cam(network, images, ["3"], 2)


@pytest.mark.parametrize("layout", ["last", "tokens"])
def test_grad_cam_recognises_axes_and_restores_the_network(layout):
    pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed; type: pip install sonjit-lab[grad-cam]")

    class Moved(torch.nn.Module):
        def forward(self, values):
            moved = values.permute(0, 2, 3, 1)
            return moved if layout == "last" else moved.flatten(1, 2)

    class Mean(torch.nn.Module):
        def forward(self, values):
            return values.flatten(1, -2).mean(1)

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 20, 4, 4), Moved(), Mean(), torch.nn.Linear(20, 4)).train()
    network(torch.rand(1, 3, 16, 24)).sum().backward()
    before = [parameter.grad.clone() for parameter in network.parameters()]
    images = torch.rand(2, 3, 16, 24)
    maps = grad_cam(network, images, ["1"], 2)
    np.testing.assert_allclose(maps, grad_cam(network, images, ["0"], 2), atol=1e-6)
    assert all(module.training for module in network.modules())
    for parameter, gradient in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)


class Head(nn.Module):
    """Four scores, the means of the first channels."""

    def forward(self, values):
        return values.flatten(2).mean(2)[:, :4]


class FixedSize(nn.Sequential):
    """Network of one image size."""

    def forward(self, images):
        assert images.shape[-1] == images.shape[-2]
        return super().forward(images)


@pytest.mark.parametrize(
    ("network", "layer", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 4, 4), Head()), "0", (16, 16)),  # as many channels as rows: by the parameters
        (nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), Head()), "1", (16, 17)),  # by an image of double height
        (nn.Sequential(nn.Conv2d(3, 5, 4, (2, 4)), nn.ReLU(), Head()), "1", (16, 16)),  # stride of text recognition
        (FixedSize(nn.Conv2d(3, 4, 4, 4), Head()), "0", (16, 16)),
        (nn.Sequential(nn.Conv3d(3, 5, 4, 4), nn.ReLU(), Head()), "1", (8, 16, 24)),  # a video
    ],
)
def test_axes_of_channels_first_are_never_confused(network, layer, shape):
    torch.manual_seed(0)
    images = torch.rand(2, 3, *shape)
    (axes,) = axes_of_layers(network, images, {layer: network.get_submodule(layer)}).values()
    assert axes.name.startswith("(B, C, ")
    library = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed; type: pip install grad-cam")
    expected = library.GradCAM(network, [network.get_submodule(layer)])(images, None)
    np.testing.assert_array_equal(grad_cam(network, images, [layer]), expected)
    assert expected.shape == (2, *shape)
    assert expected.max() > 0.9


class Windows(nn.Module):
    """Four windows of each image in the batch."""

    def forward(self, values):
        return values.unflatten(2, (2, -1)).unflatten(4, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


@pytest.mark.parametrize(
    ("network", "layer", "words"),
    [
        (
            FixedSize(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), Head()),
            "1",
            r"\(1, 4, 4, 4\) of layer '1' are ambiguous",
        ),
        (nn.Sequential(nn.Conv2d(3, 5, 4, 4), Windows(), Head()), "1", "returns 4 parts for one image"),
        (nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Flatten(1), nn.Linear(80, 4)), "1", "not in the ratio of the image"),
    ],
)
def test_other_axes_are_refused(network, layer, words):
    with pytest.raises(InputError, match=words):
        axes_of_layers(network, torch.rand(2, 3, 16, 16), {layer: network.get_submodule(layer)})


def test_axes_that_are_not_usual_are_stated(caplog):
    class Last(nn.Module):
        def forward(self, values):
            return values.movedim(1, -1)

    network = nn.Sequential(
        nn.Conv2d(3, 20, 4, 4), Last(), nn.Flatten(1, 2), nn.Linear(20, 4), nn.AdaptiveAvgPool2d((1, 4))
    )
    network.append(nn.Flatten())
    axes_of_layers(network, torch.rand(1, 3, 16, 16), {name: network.get_submodule(name) for name in "12"})
    assert [record.getMessage() for record in caplog.records] == [
        "layer 1 of shape (1, 4, 4, 20) is read as (B, h, w, C)",
        "layer 2 of shape (1, 16, 20) is read as (B, 4 x 4 tokens, C)",
    ]
