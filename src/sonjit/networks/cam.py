"""Classifiers with class activation maps: features, global pooling, one linear layer.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization. The class score is
S_c = sum_k w_k^c F_k with F_k the pooled channel k, and the class activation map M_c = sum_k w_k^c f_k. With mean
pooling S_c is the mean of M_c plus the layer's bias; with max pooling the map only ranks places.

Backbones are cut as in section 3: AlexNet after conv5, VGG-16 after conv5-3, GoogLeNet after inception 4e, so that the
map stays 13 x 13 or 14 x 14 at 224 px. Module names are those of torchvision, whose checkpoints therefore load.

VGG-16 and AlexNet are also here as they were before, with their fully connected layers, and the small network with such
layers: these have no maps, and are what pooling and backprop are compared on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.models import GoogLeNet, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import cfgs, make_layers

from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.networks.registry import (
    DESCRIPTION,
    InputSpec,
    Network,
    NetworkEntry,
    create_network,
    load_checkpoint,
    load_description,
    network_entry,
    register,
    save_description,
    saved_network,
)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Images (B, 3, H, W) to features (B, channels, h, w).

    Attributes:
        channels: of the features.
        mean, std: RGB, in 0..1, with which the official checkpoints normalise their input.
        left_out: prefixes of official keys whose layers are not here.
    """

    channels: int
    mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, float, float]] = IMAGENET_STD
    left_out: tuple[str, ...] = ()

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor: ...


class Convolutions(Backbone):
    """A plain sequence, named `features` as in torchvision's VGG and AlexNet."""

    left_out = ("classifier.",)

    def __init__(self, features: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.features = features
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, channels, h, w)."""
        return self.features(images)


class GoogLeNetMaps(Backbone):
    """GoogLeNet (Szegedy et al. 2015) with batch norms: up to inception 4e, 832 channels at 1/16, or whole.

    Args:
        last: module after which it ends.
    """

    mean = std = (0.5, 0.5, 0.5)  # what torchvision's transform_input comes to
    _LAYERS = (
        "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3",
        "inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4",
        "inception5a", "inception5b",
    )  # fmt: skip
    _CHANNELS: ClassVar[dict[str, int]] = {"inception3b": 480, "inception4e": 832, "inception5b": 1024}

    def __init__(self, last: str) -> None:
        super().__init__()
        whole = GoogLeNet(num_classes=1, aux_logits=False, init_weights=False)
        self.channels = self._CHANNELS[last]
        end = self._LAYERS.index(last) + 1
        self._names = self._LAYERS[:end]
        self.left_out = ("aux1.", "aux2.", *self._LAYERS[end:], *(() if last == "inception5b" else ("fc.",)))
        for name in self._names:
            self.add_module(name, whole.get_submodule(name))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, channels, h, w)."""
        for name in self._names:
            images = self.get_submodule(name)(images)
        return images


class ResNetMaps(Backbone):
    """ResNet (He et al. 2016) without its head: it already ends in a mean and one linear layer."""

    _LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], width: int = 64) -> None:
        super().__init__()
        # Blocks that begin as nothing (Goyal et al. 2017) train more evenly from scratch.
        whole = ResNet(block, list(layers), num_classes=1, zero_init_residual=True, width_per_group=width)
        for name in self._LAYERS:
            self.add_module(name, whole.get_submodule(name))
        self.channels = 512 * block.expansion

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, channels, H / 32, W / 32)."""
        for name in self._LAYERS:
            images = self.get_submodule(name)(images)
        return images


def vgg16(tiny: bool = False) -> Backbone:
    """VGG-16 (Simonyan and Zisserman 2015) up to conv5-3, without the pooling after it."""
    layers: list[str | int] = [size if isinstance(size, str) else _narrow(size, tiny) for size in cfgs["D"][:-1]]
    return Convolutions(make_layers(layers), int(layers[-1]))  # pyright: ignore[reportArgumentType]


def alexnet(tiny: bool = False) -> Backbone:
    """AlexNet (Krizhevsky et al. 2012, with the widths of torchvision) up to conv5, without the pooling after it."""
    a, b, c, d, e = (_narrow(size, tiny) for size in (64, 192, 384, 256, 256))
    features = nn.Sequential(
        nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    return Convolutions(features, e)


def googlenet(tiny: bool = False) -> Backbone:
    """GoogLeNet up to inception 4e; its twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception4e")


def whole_googlenet(tiny: bool = False) -> Backbone:
    """GoogLeNet without its head: it already ends in a mean and one linear layer; its twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception5b")


def nin(tiny: bool = False) -> Backbone:
    """Network in Network (Lin et al. 2014) in its ImageNet form, up to the 1024 channels before the class maps.

    There the last layer is a 1 x 1 convolution to one map per class, then the mean: a linear head over the mean of
    these features, but for a ReLU after it that is left out here.
    """
    a, b, c, d = (_narrow(size, tiny) for size in (96, 256, 384, 1024))
    features = nn.Sequential(
        *_mlpconv(3, a, 11, 4, 0), nn.MaxPool2d(3, 2, ceil_mode=True),
        *_mlpconv(a, b, 5, 1, 2), nn.MaxPool2d(3, 2, ceil_mode=True),
        *_mlpconv(b, c, 3, 1, 1), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(c, d, 3, padding=1), nn.ReLU(), nn.Conv2d(d, d, 1), nn.ReLU(),
    )  # fmt: skip
    return Convolutions(features, d)


def small(tiny: bool = False) -> Backbone:
    """Six convolutions with batch norms: 128 channels at 1/8, to train on a CPU in a minute.

    Each value of the features sees 43 px of the image: what sees much more puts an object's edges far outside it.
    """
    layers: list[nn.Module] = []
    channels = 3
    for size, stride in ((16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (128, 1)):
        out = _narrow(size, tiny)
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return Convolutions(nn.Sequential(*layers), channels)


def resnet18(tiny: bool = False) -> Backbone:
    """ResNet-18."""
    return ResNetMaps(BasicBlock, (1, 1, 1, 1) if tiny else (2, 2, 2, 2))


def resnet50(tiny: bool = False) -> Backbone:
    """ResNet-50."""
    return ResNetMaps(Bottleneck, (1, 1, 1, 1), width=4) if tiny else ResNetMaps(Bottleneck, (3, 4, 6, 3))


def _mlpconv(channels: int, out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU(),
        nn.Conv2d(out, out, 1), nn.ReLU(),
        nn.Conv2d(out, out, 1), nn.ReLU(),
    ]  # fmt: skip


def _narrow(channels: int, tiny: bool) -> int:
    return channels // 16 if tiny else channels


Pooling = Literal["gap", "gmp"]


def class_activation_map(features: Tensor, weights: Tensor, classes: Sequence[int] | None = None) -> Tensor:
    """Class activation maps: the evidence for each class by place.

    Args:
        features: (B, K, h, w), what is pooled.
        weights: (C, K) of the linear layer after the pooling.
        classes: which of the C; all of them where None.

    Returns:
        (B, C', h, w). Its sum over a map is S_c where F_k is a sum, its mean plus the bias where F_k is a mean.

    >>> import torch
    >>> f = torch.arange(48.0).reshape(1, 3, 4, 4)  # the last convolution's output, k = 3
    >>> w = torch.tensor([[0.3, 0.5, 0.1], [0.4, 0.6, 0.8]])
    >>> [round(float(one), 2) for one in f.sum((2, 3))[0]]  # F_1, F_2, F_3
    [120.0, 376.0, 632.0]
    >>> maps = class_activation_map(f, w)
    >>> [round(float(one), 2) for one in maps.sum((2, 3))[0]]  # S_1 = 0.3 F_1 + 0.5 F_2 + 0.1 F_3, and S_2
    [287.2, 779.2]
    """
    chosen = weights if classes is None else weights[list(classes)]
    return torch.einsum("bkhw,ck->bchw", features, chosen)


class CamNetwork(Network):
    """CNN-GAP and CNN-GMP.

    Args:
        backbone: images to features.
        classes: how many scores.
        pooling: "gap", the mean, which rewards finding all of an object; "gmp", the maximum, which needs only its most
            distinctive part.
        units: of the 3 x 3 convolutions with ReLU between backbone and pooling, one number each; the paper has one of
            1024.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, classes: int = 1000, pooling: Pooling = "gap", units: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise InputError(f"pooling={pooling!r}: give 'gap' (mean) or 'gmp' (maximum)")
        if classes < 1:
            raise InputError(f"classes={classes}: give at least 1")
        self.pooling: Pooling = pooling
        self.backbone = backbone
        layers: list[nn.Module] = []
        channels = backbone.channels
        for size in units:
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
            channels = size
        self.extra = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Class scores and what they are pooled from.

        Args:
            images: (B, 3, H, W) RGB in 0..1.

        Returns:
            scores (B, classes), before the softmax, and features (B, K, h, w).
        """
        features = self.extra(self.backbone((images - self.mean) / self.std))
        pooled = features.mean((2, 3)) if self.pooling == "gap" else features.amax((2, 3))  # (B, K)
        return {"scores": self.head(pooled), "features": features}

    def forget_classes(self, classes: int) -> None:
        """Begin the layer of classes anew, for so many."""
        self.head = nn.Linear(self.head.in_features, classes)
        self.options = {**self.options, "classes": classes}

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Torchvision's keys; the layers that only this network has keep what they hold, to be trained."""
        given, own = super().from_official(state_dict), self.state_dict()
        if not any(f"backbone.{key}" in own for key in given):
            return given  # another network's: its names are the better hint
        named = {
            key.replace("fc.", "head.", 1) if key.startswith("fc.") else f"backbone.{key}": value
            for key, value in given.items()
            if not key.startswith(self.backbone.left_out)
        }
        kept = {key: value for key, value in own.items() if key.startswith(("extra.", "head."))}
        return kept | named


class FullyConnected(Network):
    """A classifier with fully connected layers over all places: it has no maps, for its last layers see no place.

    Args:
        backbone: images to features, whose pooling follows here.
        side: of the features after pooling.
        hidden: width of both layers before the classes.
        classes: how many scores.
        dropout_first: dropout goes before each layer, as in AlexNet, not after it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Convolutions, side: int, hidden: int, classes: int, *, dropout_first: bool = False
    ) -> None:
        super().__init__()
        if classes < 1:
            raise InputError(f"classes={classes}: give at least 1")
        window = (3, 2) if dropout_first else (2, 2)
        self.features = nn.Sequential(*backbone.features, nn.MaxPool2d(*window))
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        layers: list[nn.Module] = []
        channels = backbone.channels * side * side
        for _ in range(2):
            layer = [nn.Linear(channels, hidden), nn.ReLU()]
            layers += [nn.Dropout(), *layer] if dropout_first else [*layer, nn.Dropout()]
            channels = hidden
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden, classes))
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Class scores (B, classes), before the softmax, of images (B, 3, H, W) RGB in 0..1."""
        pooled = self.avgpool(self.features((images - self.mean) / self.std))
        return {"scores": self.classifier(pooled.flatten(1))}

    def forget_classes(self, classes: int) -> None:
        """Begin the layer of classes anew, for so many."""
        last = self.classifier[-1]
        assert isinstance(last, nn.Linear)
        self.classifier[-1] = nn.Linear(last.in_features, classes)
        self.options = {**self.options, "classes": classes}


def _register(
    name: str,
    make: Callable[[bool], Backbone],
    source: str,
    units: Sequence[int] = (),
    *,
    size: int = 224,
    tiny_size: int = 64,
    where: str = "torchvision's checkpoint by path: its backbone loads, the rest is to be trained",
) -> None:
    def build(
        classes: int = 1000, pooling: Pooling = "gap", units: Sequence[int] = tuple(units), tiny: bool = False
    ) -> Network:
        return CamNetwork(make(tiny), classes, pooling, units)

    register(
        NetworkEntry(
            name=f"cam-{name}",
            build=build,
            summary="classes and where they are, by class activation maps",
            source=source,
            licence="the checkpoint's own",
            inputs=(InputSpec("images", (3, size, size)),),
            where=where,
            tiny={"classes": 3, "units": (16,) * len(units), "tiny": True},
            tiny_inputs=(InputSpec("images", (3, tiny_size, tiny_size)),),
        )
    )


_PAPER = "Zhou et al. 2016, section 3: "

_register("vgg16", vgg16, _PAPER + "VGGnet-GAP", (1024,))

_register("googlenet", googlenet, _PAPER + "GoogLeNet-GAP", (1024,))

_register("alexnet", alexnet, _PAPER + "AlexNet-GAP", (1024,), tiny_size=96)

# Two convolutions before the pooling, as in the paper, which does not state the width of the first.
_register("alexnet-plus", alexnet, _PAPER + "AlexNet*-GAP", (512, 1024), tiny_size=96)

_register("nin", nin, _PAPER + "NIN", tiny_size=96, where="train it: torchvision has none")

_RESNET = "torchvision's checkpoint by path: all of it loads, and its maps are exact without training"

_register("resnet18", resnet18, "He et al. 2016", where=_RESNET)

_register("resnet50", resnet50, "He et al. 2016", where=_RESNET)

_register(
    "googlenet-whole", whole_googlenet, "Szegedy et al. 2015; Zhou et al. 2016, GoogLeNet", where=_RESNET, tiny_size=96
)

_register("small", small, "Sonjit", size=96, tiny_size=32, where="sonjit train cam")


def _register_fully_connected(
    name: str,
    make: Callable[[bool], Backbone],
    side: int,
    source: str,
    *,
    hidden: int = 4096,
    size: int = 224,
    where: str = "torchvision's checkpoint by path: all of it loads; or train it",
) -> None:
    def build(classes: int = 1000, tiny: bool = False) -> Network:
        backbone = make(tiny)
        assert isinstance(backbone, Convolutions)
        return FullyConnected(backbone, side, 32 if tiny else hidden, classes, dropout_first=name == "fc-alexnet")

    register(
        NetworkEntry(
            name=name,
            build=build,
            summary="classes; where they are by backprop alone",
            source=source,
            licence="the checkpoint's own",
            inputs=(InputSpec("images", (3, size, size)),),
            where=where,
            tiny={"classes": 3, "tiny": True},
            tiny_inputs=(InputSpec("images", (3, 96, 96)),),
        )
    )


_register_fully_connected("fc-vgg16", vgg16, 7, "Simonyan and Zisserman 2015")

_register_fully_connected("fc-alexnet", alexnet, 6, "Krizhevsky et al. 2012, with the widths of torchvision")

_register_fully_connected("fc-small", small, 6, "Sonjit", hidden=256, size=96, where="sonjit train cam")


View = Literal["full", "crop", "box"]
"""What a classifier is shown: the whole image, what a map cuts out of it, or the true box."""

_OFFICIAL_HEADS = {"cam-resnet18": "fc.weight", "cam-resnet50": "fc.weight", "cam-googlenet-whole": "fc.weight"}
_CROPPER = "cropper"
"""Folder in a run, of the run whose maps cut out what the classifier is shown."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and what its outputs mean.

    Attributes:
        network: in eval mode.
        size: side of its square input in pixels.
        names: of its classes; empty where nobody says.
        ids: of its classes in the data set that it was trained on.
        view: what it was trained on.
        cropper: whose map cuts out what it is shown; None where that is its own.
    """

    network: Network
    size: int
    names: tuple[str, ...]
    ids: tuple[int, ...]
    view: View = "full"
    cropper: Classifier | None = None

    @property
    def pooling(self) -> Pooling | None:
        """Gap or gmp; None of a network without maps."""
        return self.network.pooling if isinstance(self.network, CamNetwork) else None


def is_classifier(name: str) -> bool:
    """Whether `load_classifier` knows networks of this name."""
    return name.startswith(("cam-", "fc-"))


def load_classifier(
    name: str, weights: str | Path | None, pooling: str | None = None, classes: int | None = None
) -> Classifier:
    """A classifier with its weights and classes.

    Args:
        name: one of `list_networks("cam-*")` or `list_networks("fc-*")`.
        weights: the folder of a run of `sonjit train cam` or the weights in it; or a checkpoint of torchvision; or
            another one with the same keys, whose pooling has to be said; or "demo" for placeholder weights.
        pooling: gap or gmp, of weights beside which nothing says it.
        classes: of placeholder weights.

    Raises:
        InputError: nothing is there, it is another network, or its pooling is unknown or another one.
    """
    entry = network_entry(name)
    size = entry.inputs[0].shape[-1]
    if weights is None:
        raise InputError(f"{name}: name its checkpoint with --weights: {entry.where} ({entry.licence})")
    if not is_classifier(name):
        raise InputError(f"{name} is not a classifier; take one of sonjit networks 'cam-*' or 'fc-*'")
    options: dict[str, Any] = {} if pooling is None or name.startswith("fc-") else {"pooling": pooling}
    if pooling is not None and not name.startswith("cam-"):
        raise InputError(f"pooling={pooling}: {name} has no pooling before its classes; leave it out")
    path = Path(weights)
    if weights == "demo":
        count = 1000 if classes is None else classes
        network = create_network(name, "demo", classes=count, **options).eval()
        return Classifier(network, size, (), tuple(range(count)))
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (folder / DESCRIPTION).is_file():
        return _classifier_of_run(name, folder, folder / _WEIGHTS if path.is_dir() else path, options)
    if saved_network(path):
        network = create_network(name, path, **options).eval()
        count = int(str(network.options["classes"]))
        return Classifier(network, size, (), tuple(range(count)))
    held = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    official = "classifier.6.weight" if name.startswith("fc-") else _OFFICIAL_HEADS.get(name, "")
    head = held.get("head.weight", held.get(official))
    if head is None:
        raise InputError(f"{path}: holds no layer of classes for {name}; train it first")
    if "head.weight" in held and pooling is None:
        raise InputError(f"{path} does not say its pooling: give --pooling gap (mean) or gmp (maximum)")
    network = create_network(name, path, classes=len(head), **options).eval()
    return Classifier(network, size, (), tuple(range(len(head))))


def save_classifier_description(folder: Path, classifier: Classifier, cropper: Path | None = None) -> None:
    """Write beside the weights what `load_classifier` needs, and copy the run whose maps cut images out."""
    rows = zip(classifier.ids, classifier.names, strict=True)
    categories = [{"id": number, "name": name} for number, name in rows]
    about = {"network": classifier.network.name, "size": classifier.size, "view": classifier.view}
    save_description(folder, {**about, "categories": categories})
    if cropper is not None:
        for file in (DESCRIPTION, _WEIGHTS):
            with atomic_file(folder / _CROPPER / file) as draft:
                shutil.copyfile(cropper / file, draft)


def _classifier_of_run(name: str, folder: Path, weights: Path, options: Mapping[str, object]) -> Classifier:
    own, size, view, categories = load_description(folder, "cam", _described)
    if own != name:
        raise InputError(f"{folder} is a run of {own}, not of {name}: give --model {own}")
    network = create_network(name, weights, **options).eval()
    inner = folder / _CROPPER
    cropper = None
    if (inner / DESCRIPTION).is_file():
        cropper = _classifier_of_run(load_description(inner, "cam", _described)[0], inner, inner / _WEIGHTS, {})
    ids, names = (tuple(one[key] for one in categories) for key in ("id", "name"))
    return Classifier(network, size, names, ids, view, cropper)


def _described(description: Any) -> tuple[str, int, View, list[dict[str, Any]]]:  # noqa: ANN401  # JSON
    if "answers" in description:
        raise InputError("a run of sonjit train vqa has answers and no classes: ask it with sonjit explain --ask")
    categories = list(description["categories"])
    return str(description["network"]), int(description["size"]), description["view"], categories


_WEIGHTS = "weights.safetensors"
