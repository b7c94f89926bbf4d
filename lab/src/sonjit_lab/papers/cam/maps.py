"""Explain and localize the classes of an image with a classifier of `sonjit_lab.papers.cam.network`.

Saliency is the change of the class score with each pixel, the maximum absolute gradient over the channels.
Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3. Maps and saliency are weakly supervised:
training needs no boxes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonjit._util import Float32Array, Image, InputError, require, unknown_name
from sonjit.explanations.imagenet import ClassMap, box_of
from sonjit.explanations.maps import boxes_from_maps
from sonjit.media.drawing.heat_maps import enlarge
from sonjit.results import Box
from sonjit_lab.networks import Network
from sonjit_lab.networks.modes import eval_mode, unchanged
from sonjit_lab.papers.cam import network as classifiers
from sonjit_lab.papers.cam.layer_axes import axes_of_layers

LocalizeBy = Literal["cam", "heuristics", "backprop", "image"]
"""Origin of the boxes.

"cam" gives one box per class from its map, "heuristics" the paper's five boxes of three classes, "backprop" one box per
class from its saliency, and "image" the box of the image as a baseline.
"""


@dataclass(frozen=True, eq=False)
class ClassBox:
    """Class of an image and its box."""

    label: int  # index of the class
    probability: float  # by the softmax
    box: Box | None  # x_min, y_min, x_max, y_max in pixels; None without evidence for the class, or if not requested
    # (h, w) map or saliency of the box, which covers the part of the image that was classified
    values: Float32Array | None


def explain_classes(
    network: Network, rgb: Image, size: int, classes: Sequence[int] | None = None, top: int = 1
) -> list[ClassMap]:
    """Compute class activation maps of one image (H, W, 3) uint8 in a single forward pass of a `cam-*` network.

    The image is scaled to the square input without keeping its aspect ratio, so that maps cover it. `classes` are
    explained, or the `top` most probable ones.
    """
    cam = cam_network(network)
    with eval_mode(network), torch.inference_mode():
        out = network(image_tensor(rgb, size).to(network.device))
        scores = out["scores"][0]
        classes = _select_classes(network, scores, classes, top)
        maps = classifiers.class_activation_map(out["features"], cam.head.weight, classes)[0]  # (C', h, w)
        shares, biases = scores.softmax(0).tolist(), cam.head.bias.tolist()
    return [
        ClassMap(label, "", shares[label], float(scores[label]), biases[label], values, box_of(values, rgb))
        for label, values in zip(classes, maps.cpu().numpy(), strict=True)
    ]


def saliency_of_classes(
    network: Network, rgb: Image, size: int, classes: Sequence[int] | None = None, top: int = 1
) -> list[ClassMap]:
    """Compute saliency of an image (H, W, 3) from the gradient of each class score.

    Maps (size, size) are at least 0, of no fixed sum.
    """
    images = image_tensor(rgb, size).to(network.device)
    with eval_mode(network), torch.inference_mode():
        scores = network(images)["scores"][0]
    classes = _select_classes(network, scores, classes, top)
    values = backprop_saliency(network, images.repeat(len(classes), 1, 1, 1), classes).cpu().numpy()
    shares = scores.softmax(0).tolist()
    return [
        ClassMap(label, "", shares[label], float(scores[label]), float("nan"), saliency, box_of(saliency, rgb))
        for label, saliency in zip(classes, values, strict=True)
    ]


def _select_classes(network: Network, scores: Tensor, classes: Sequence[int] | None, top: int) -> list[int]:
    """Return the requested classes, or the most probable ones."""
    if classes is None:
        return cast("list[int]", scores.argsort(descending=True)[:top].tolist())
    wrong = [label for label in classes if not 0 <= label < len(scores)]
    if wrong:
        raise InputError(f"class {wrong[0]}: {network.name} has the classes 0 to {len(scores) - 1}")
    return list(classes)


def cam_network(network: Network) -> classifiers.CamNetwork:
    """Return the network if it ends in a pooled map and a linear layer. Raise InputError otherwise."""
    if not isinstance(network, classifiers.CamNetwork):
        raise InputError(f"{network.name} has no class activation maps. Use backprop or one of sonjit networks 'cam-*'")
    return network


def image_tensor(rgb: Image, size: int) -> torch.Tensor:
    """Convert an image (H, W, 3) to a network input (1, 3, size, size), float32 in 0..1."""
    import cv2

    scaled = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(scaled)).permute(2, 0, 1)[None].float() / 255


def localize_classes(
    classifier: classifiers.Classifier,
    rgb: Image,
    *,
    by: LocalizeBy = "cam",
    view: classifiers.View = "full",
    true_box: Box | None = None,
    top: int = 5,
) -> list[ClassBox]:
    """Return the most probable classes of an image (H, W, 3) uint8 and their boxes, best first.

    `by`: origin of the boxes. With "heuristics" the first five are those of the paper, of three classes, and the other
    classes follow without a box. `view`: part of the image to classify: the image, the crop of a map, or `true_box`.

    Sources: Zhou et al. 2016, sections 3.2 (boxes) and 4.1 (the crop that a map cuts out).
    """
    if by not in get_args(LocalizeBy):
        raise InputError(unknown_name("by", by, get_args(LocalizeBy)))
    area = _select_box(classifier, rgb, view, true_box)
    shown = _cut(rgb, area)
    height, width = shown.shape[:2]
    compute_maps = saliency_of_classes if by == "backprop" else explain_classes
    maps = compute_maps(classifier.network, shown, classifier.size, top=top)
    if by == "heuristics":
        boxes = boxes_from_maps([enlarge(class_map.values, width, height) for class_map in maps])
        indexed: list[tuple[int, Box | None]] = [*boxes, *((index, None) for index in range(3, len(maps)))]
        with_box = {index for index, _ in indexed}
        indexed += [(index, None) for index in range(min(3, len(maps))) if index not in with_box]
    else:
        image = (0.0, 0.0, float(width), float(height)) if by == "image" else None
        indexed = [(index, image or class_map.box) for index, class_map in enumerate(maps)]
    x, y = max(round(area[0]), 0), max(round(area[1]), 0)
    moved = [(maps[index], box and (box[0] + x, box[1] + y, box[2] + x, box[3] + y)) for index, box in indexed]
    return [ClassBox(candidate.label, candidate.probability, box, candidate.values) for candidate, box in moved]


def crop_box(classifier: classifiers.Classifier, rgb: Image) -> Box:
    """Return the box of the most probable class's map in an image (H, W, 3), or the image's box without evidence."""
    height, width = rgb.shape[:2]
    (best,) = explain_classes(classifier.network, rgb, classifier.size)
    return best.box or (0.0, 0.0, float(width), float(height))


def _select_box(classifier: classifiers.Classifier, rgb: Image, view: classifiers.View, true_box: Box | None) -> Box:
    height, width = rgb.shape[:2]
    if view == "full":
        return 0.0, 0.0, float(width), float(height)
    if view == "crop":
        return crop_box(classifier.cropper or classifier, rgb)
    if true_box is None:
        raise InputError("view=box requires a labelled box, which this image lacks")
    return true_box


def _cut(rgb: Image, area: Box) -> NDArray[np.uint8]:
    """Crop an upright box, rounded to pixels and at least one pixel large."""
    height, width = rgb.shape[:2]
    left, top = min(max(round(area[0]), 0), width - 1), min(max(round(area[1]), 0), height - 1)
    right, bottom = max(round(area[2]), left + 1), max(round(area[3]), top + 1)
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def backprop_saliency(network: Network, images: Tensor, classes: Sequence[int] | Tensor) -> Tensor:
    """Return saliency maps (B, H, W), at least 0, of images (B, 3, H, W) for the score of one class (B,) each."""
    images = images.detach().clone().requires_grad_()
    with eval_mode(network), torch.enable_grad():
        scores = network(images)["scores"]  # (B, C)
        chosen = scores.gather(1, torch.as_tensor(classes, device=scores.device)[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, images)
    return gradient.abs().amax(1)


def grad_cam(
    network: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    target: int | Callable[[Tensor], Tensor] | None = None,
    *,
    method: str = "GradCAM",
    output: str | None = None,
    reshape: Callable[[Tensor], Tensor] | None = None,
) -> Float32Array:
    """Compute Grad-CAM, or another method of the library `grad-cam`, for any torch module.

    Exact class activation maps need a network of `cam-*`, see `explain_classes`. Grad-CAM is an estimate for others: it
    weights the maps of a layer by the mean gradients of a score.

    Args:
        network: Module, which is evaluated in eval mode. Its modes and gradients, and all random generators, are
            restored.
        images: (B, C, H, W), or videos (B, C, T, H, W), in the network's input range.
        layers: Names of the layers whose maps are weighted, as in `network.named_modules()`; often the last one.
        target: Class of a classifier, None for the most probable one, or a function from the output for one image to
            the number that is explained, such as `lambda boxes: boxes[:, 4].max()`.
        method: Class of `pytorch_grad_cam`, such as `GradCAM`, `HiResCAM`, `GradCAMPlusPlus`, `LayerCAM` or `EigenCAM`.
        output: Name of the output, if the network returns a mapping, such as `scores`.
        reshape: Function from the output of a layer to (B, C, h, w). Without it, the axes are those in the ratio of the
            image's sides: (B, C, h, w), (B, h, w, C), or tokens (B, N, C) in rows. A warning states the layout of
            every layer that is not (B, C, h, w).

    Returns:
        (B, H, W) maps in 0..1 of each image, (B, T, H, W) of a video; 0 everywhere without evidence.

    Raises:
        InputError: A name is unknown, the axes of a layer are ambiguous, or the target does not fit the output.

    >>> import torchvision
    >>> network = torchvision.models.resnet18().eval()
    >>> maps = grad_cam(network, torch.rand(1, 3, 64, 64), ["layer4"], target=3)  # doctest: +SKIP
    """
    modules = dict(network.named_modules())
    if unknown := [name for name in layers if name not in modules]:
        shown = [name for name in modules if name][-20:]
        raise InputError(f"the network has no layer {unknown[0]!r}. Its last layers are {', '.join(shown)}")
    if images.ndim not in (4, 5):
        raise InputError(f"images have the shape {tuple(images.shape)}; expected (B, C, H, W) or (B, C, T, H, W)")
    selected = _SelectedOutput(network, output)
    images = images.detach().clone().requires_grad_()  # frozen networks have no gradients otherwise
    chosen = {name: modules[name] for name in layers}
    with unchanged(network), torch.enable_grad():
        compute, classifier_target = _method(method)  # importing the library draws random numbers
        scorer = classifier_target(target) if isinstance(target, int) else target
        convert = reshape or _converter(selected, images, chosen)
        try:
            cam = compute(selected, list(chosen.values()), reshape_transform=convert)
            try:
                maps = cam(images, None if scorer is None else [scorer] * len(images))
            finally:
                cam.activations_and_grads.release()
        except InputError:
            raise
        except (AssertionError, AttributeError, IndexError, RuntimeError, ValueError) as error:  # from the library
            reason = f"{method}: target={target} does not fit the output or {list(layers)}: {error}"
            raise InputError(reason) from None
    return np.asarray(maps, np.float32)


def _method(name: str) -> tuple[Callable[..., Any], Callable[[int], Callable[[Tensor], Tensor]]]:
    """Return a class of the library `grad-cam` and the class of its targets."""
    require("pytorch_grad_cam", "Grad-CAM")
    library = import_module("pytorch_grad_cam")
    methods = [name for name in dir(library) if name.endswith(("CAM", "CAMPlusPlus", "Grad")) and name != "BaseCAM"]
    if name not in methods:
        raise InputError(unknown_name("method", name, methods))
    return getattr(library, name), library.utils.model_targets.ClassifierOutputTarget


def _converter(network: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]) -> Callable[[Tensor], Tensor]:
    """Return the function from the outputs of layers, and their gradients, to channels first."""
    axes = axes_of_layers(network, images, layers)
    return lambda values: axes[tuple(values.shape[1:])].convert(values)


class _SelectedOutput(nn.Module):
    """A network that returns one of its outputs."""

    def __init__(self, network: nn.Module, output: str | None) -> None:
        super().__init__()
        self._network, self._output = network, output

    def forward(self, images: Tensor) -> Tensor:
        outputs = self._network(images)
        if not isinstance(outputs, Mapping):
            return outputs
        if self._output not in outputs:
            raise InputError(unknown_name("output", str(self._output), list(outputs)))
        return outputs[self._output]
