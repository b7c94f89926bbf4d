"""Classifiers with class activation maps: features, global pooling, one linear layer; and their saved runs.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization. The class score is S_c = sum_k w_k^c
F_k with F_k the pooled channel k, and the class activation map M_c = sum_k w_k^c f_k. With mean pooling S_c is the mean
of M_c plus the layer's bias; with max pooling the map only ranks cells. VGG-16, AlexNet and the small network also
exist with fully connected layers, without maps, as a comparison for pooling and backprop.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sonjit._util import InputError, files
from sonjit.weights import catalog, find_weight
from sonjit_lab.networks import backbones, checkpoints, registry

Pooling = Literal["gap", "gmp"]


_PAPER = "Zhou et al. 2016, section 3: "
_TORCHVISION = "https://download.pytorch.org/models/"
_VGG16, _GOOGLENET, _ALEXNET = "vgg16-397923af.pth", "googlenet-1378be20.pth", "alexnet-owt-7be5be79.pth"
_RESNET18, _RESNET50 = "resnet18-f37072fd.pth", "resnet50-0676ba61.pth"
_BSD, _OWN = "BSD-3-Clause (torchvision)", "your own"
View = Literal["full", "crop", "box"]  # what a classifier sees: all, the crop by a map, the labelled box
_OFFICIAL_HEADS = {
    "cam-resnet18": "fc.weight",
    "cam-resnet50": "fc.weight",
    "cam-googlenet-whole": "fc.weight",
    "cam-mobilenet_v2": "classifier.1.weight",
    "cam-efficientnet_lite0": "_fc.weight",
}
_CROPPER = "cropper"  # subfolder of a run with the run whose maps crop its images


def class_activation_map(features: Tensor, weights: Tensor, classes: Sequence[int] | None = None) -> Tensor:
    """Return class activation maps: the evidence for each class at each cell.

    Args:
        features: (B, K, h, w) features before the pooling.
        weights: (C, K) weights of the linear layer after the pooling.
        classes: Indices of the classes; None for all.

    Returns:
        (B, C', h, w) maps. The sum over a map is S_c if F_k is a sum; its mean plus the bias if F_k is a mean.

    >>> import torch
    >>> f = torch.arange(48.0).reshape(1, 3, 4, 4)  # the last convolution's output, k = 3
    >>> w = torch.tensor([[0.3, 0.5, 0.1], [0.4, 0.6, 0.8]])
    >>> [round(float(value), 2) for value in f.sum((2, 3))[0]]  # F_1, F_2, F_3
    [120.0, 376.0, 632.0]
    >>> maps = class_activation_map(f, w)
    >>> [round(float(value), 2) for value in maps.sum((2, 3))[0]]  # S_1 = 0.3 F_1 + 0.5 F_2 + 0.1 F_3, and S_2
    [287.2, 779.2]
    """
    chosen = weights if classes is None else weights[list(classes)]
    return torch.einsum("bkhw,ck->bchw", features, chosen)


class CamNetwork(registry.Network):
    """CNN-GAP and CNN-GMP: a classifier with class activation maps.

    `pooling`: "gap", the mean, rewards finding all of an object, "gmp", the maximum, only its most distinctive part;
    `units`: channels of the 3 x 3 convolutions between backbone and pooling; the paper has one with 1024.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: backbones.Backbone, classes: int = 1000, pooling: Pooling = "gap", units: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise InputError(f"Unknown pooling {pooling!r}. Choose from gap (mean), gmp (maximum)")
        if classes < 1:
            raise InputError(f"classes={classes}: must be at least 1")
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
        """Return `scores` (B, classes) before the softmax and `features` (B, K, h, w) of images (B, 3, H, W) RGB in
        0..1.
        """
        features = self.extra(self.backbone((images - self.mean) / self.std))
        pooled = features.mean((2, 3)) if self.pooling == "gap" else features.amax((2, 3))  # (B, K)
        return {"scores": self.head(pooled), "features": features}

    def forget_classes(self, classes: int) -> None:
        """Replace the output layer by a new one for the given number of classes."""
        self.head = nn.Linear(self.head.in_features, classes)
        self.options = {**self.options, "classes": classes}

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert torchvision's keys; layers that only this network has keep their weights, to be trained."""
        official, weights = super().from_official(state_dict), self.state_dict()
        if isinstance(self.backbone, backbones.TimmMaps) and len(official) == len(weights):
            official = self.backbone.from_published(official)
        if not any(f"backbone.{key}" in weights for key in official):
            return official  # another network: its names give the better error message
        renamed = {
            key.replace("fc.", "head.", 1) if key.startswith("fc.") else f"backbone.{key}": value
            for key, value in official.items()
            if not key.startswith(self.backbone.left_out)
        }
        added = {key: value for key, value in weights.items() if key.startswith(("extra.", "head."))}
        return added | renamed


class FullyConnected(registry.Network):
    """A classifier with fully connected layers over all cells of a backbone, which has no class activation maps.

    `side`: side of the features after pooling; `hidden`: width of both layers before the classes; `dropout_first`: True
    for dropout before each layer, as in AlexNet, False for dropout after it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: backbones.Convolutions, side: int, hidden: int, classes: int, *, dropout_first: bool = False
    ) -> None:
        super().__init__()
        if classes < 1:
            raise InputError(f"classes={classes}: must be at least 1")
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
        """Return class scores (B, classes), before the softmax, of images (B, 3, H, W) RGB in 0..1."""
        pooled = self.avgpool(self.features((images - self.mean) / self.std))
        return {"scores": self.classifier(pooled.flatten(1))}

    def forget_classes(self, classes: int) -> None:
        """Replace the output layer by a new one for the given number of classes."""
        last = self.classifier[-1]
        assert isinstance(last, nn.Linear)
        self.classifier[-1] = nn.Linear(last.in_features, classes)
        self.options = {**self.options, "classes": classes}


def _register(
    name: str,
    make: Callable[[bool], backbones.Backbone],
    source: str,
    units: Sequence[int] = (),
    *,
    size: int = 224,
    tiny_size: int = 64,
    least: int = 1,
    file: str = "",
    where: str = "",
    weight: str | None = None,
) -> None:
    def build(
        classes: int = 1000, pooling: Pooling = "gap", units: Sequence[int] = tuple(units), tiny: bool = False
    ) -> registry.Network:
        return CamNetwork(make(tiny), classes, pooling, units)

    registry.register(
        registry.NetworkEntry(
            name=f"cam-{name}",
            evaluate="sonjit_lab.papers.cam.model:open_classifier",
            is_classifier=True,
            build=build,
            summary="classes and where they are, by class activation maps",
            source=source,
            licence=catalog.find_record(weight).licence if weight else _BSD if file else _OWN,
            inputs=(registry.InputSpec("images", (3, size, size), least=least),),
            weight=weight,
            where=where
            or f"train it: sonjit train cam --set network=cam-{name} --weights {file}, from {_TORCHVISION}{file}",
            tiny={"classes": 3, "units": (16,) * len(units), "tiny": True},
            tiny_inputs=(registry.InputSpec("images", (3, tiny_size, tiny_size), least=least),),
        )
    )


_register("vgg16", backbones.vgg16, _PAPER + "VGGnet-GAP", (1024,), file=_VGG16, least=16)

_register("googlenet", backbones.googlenet, _PAPER + "GoogLeNet-GAP", (1024,), file=_GOOGLENET, least=7)

_register("alexnet", backbones.alexnet, _PAPER + "AlexNet-GAP", (1024,), tiny_size=96, file=_ALEXNET, least=31)

# Two convolutions before the pooling, as in the paper, which does not state the width of the first.
_register(
    "alexnet-plus", backbones.alexnet, _PAPER + "AlexNet*-GAP", (512, 1024), tiny_size=96, file=_ALEXNET, least=31
)

_register(
    "nin",
    backbones.nin,
    _PAPER + "NIN",
    tiny_size=96,
    least=39,
    where="train it: sonjit train cam --set network=cam-nin",
)

_register("resnet18", backbones.resnet18, "He et al. 2016", file=_RESNET18, where=f"download {_TORCHVISION}{_RESNET18}")

_register("resnet50", backbones.resnet50, "He et al. 2016", file=_RESNET50, where=f"download {_TORCHVISION}{_RESNET50}")

_register(
    "googlenet-whole",
    backbones.whole_googlenet,
    "Szegedy et al. 2015; Zhou et al. 2016, GoogLeNet",
    file=_GOOGLENET,
    where=f"download {_TORCHVISION}{_GOOGLENET}",
    tiny_size=96,
    least=7,
)

for _name, _source in (("mobilenet_v2", "Sandler et al. 2018"), ("efficientnet_lite0", "Tan and Le 2019")):
    _make = partial(backbones.pretrained_maps, _name)
    _register(_name, _make, _source, where="sonjit models pull classifiers", weight=_name)

_register("small", backbones.small, "Sonjit", size=96, tiny_size=32, where="train it: sonjit train cam")


def _register_fully_connected(
    name: str,
    make: Callable[[bool], backbones.Backbone],
    side: int,
    source: str,
    *,
    hidden: int = 4096,
    size: int = 224,
    least: int = 1,
    file: str = "",
) -> None:
    def build(classes: int = 1000, tiny: bool = False) -> registry.Network:
        backbone = make(tiny)
        assert isinstance(backbone, backbones.Convolutions)
        return FullyConnected(backbone, side, 32 if tiny else hidden, classes, dropout_first=name == "fc-alexnet")

    registry.register(
        registry.NetworkEntry(
            name=name,
            evaluate="sonjit_lab.papers.cam.model:open_classifier",
            is_classifier=True,
            build=build,
            summary="classes; where they are by backprop alone",
            source=source,
            licence=_BSD if file else _OWN,
            inputs=(registry.InputSpec("images", (3, size, size), least=least),),
            where=f"download {_TORCHVISION}{file}" if file else f"train it: sonjit train cam --set network=fc-{name}",
            tiny={"classes": 3, "tiny": True},
            tiny_inputs=(registry.InputSpec("images", (3, 96, 96), least=least),),
        )
    )


_register_fully_connected("fc-vgg16", backbones.vgg16, 7, "Simonyan and Zisserman 2015", file=_VGG16, least=32)

_register_fully_connected(
    "fc-alexnet",
    backbones.alexnet,
    6,
    "Krizhevsky et al. 2012, with the widths of torchvision",
    file=_ALEXNET,
    least=63,
)

_register_fully_connected("fc-small", backbones.small, 6, "Sonjit", hidden=256, size=96, least=9)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its classes."""

    network: registry.Network  # network in eval mode
    size: int  # side of its square input in pixels
    names: tuple[str, ...]  # names of its classes; empty if they are not known
    ids: tuple[int, ...]  # ids of its classes in the data set of its training
    view: View = "full"  # part of an image that it was trained on
    cropper: "Classifier | None" = None  # classifier whose map crops its images; None for its own map

    @property
    def pooling(self) -> Pooling | None:
        """Pooling `gap` or `gmp`; None for a network without maps."""
        return self.network.pooling if isinstance(self.network, CamNetwork) else None


def is_classifier(name: str) -> bool:
    """Check whether `load_classifier` supports networks of this name."""
    return name.startswith(("cam-", "fc-"))


def load_classifier(name: str, weights: str | Path | None, pooling: str | None = None) -> Classifier:
    """Load a classifier of `list_networks("cam-*")` or `"fc-*"` with its weights and classes.

    `weights`: folder of a run of `sonjit train cam` or the weights in it; a checkpoint of torchvision; another one with
    the same keys, which requires `pooling` gap or gmp; or "demo" for placeholder weights.
    """
    entry = registry.network_entry(name)
    size = entry.inputs[0].shape[-1]
    if not is_classifier(name):
        raise InputError(f"{name} is not a classifier. Choose from sonjit networks 'cam-*' or 'fc-*'")
    options = {} if pooling is None or name.startswith("fc-") else {"pooling": pooling}
    if pooling is not None and not name.startswith("cam-"):
        raise InputError(f"pooling={pooling} applies only to cam-* networks, not to {name}")
    if weights in (None, "published") and entry.weight is not None:
        weights = find_weight(entry.weight)
    path = Path(registry.required_checkpoint(name, weights))
    if weights == "demo":
        return Classifier(registry.create_network(name, "demo", **options).eval(), size, (), tuple(range(1000)))
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (folder / checkpoints.DESCRIPTION).is_file():
        return _classifier_of_run(name, folder, path, options)
    if checkpoints.saved_network(path):
        network = registry.create_network(name, path, **options).eval()
        count = int(str(network.options["classes"]))
        return Classifier(network, network.side or size, (), tuple(range(count)))
    official = "classifier.6.weight" if name.startswith("fc-") else _OFFICIAL_HEADS.get(name, "")
    state = checkpoints.without_prefixes(checkpoints.load_checkpoint(path), ("head.weight", official))
    head = state.get("head.weight", state.get(official))
    if head is None:
        raise InputError(f"{path}: has no output layer for {name}; train it first")
    if "head.weight" in state and pooling is None:
        raise InputError(f"{path} does not define its pooling; set --pooling gap (mean) or gmp (maximum)")
    network = registry.create_network(name, path, classes=len(head), **options).eval()
    return Classifier(network, size, (), tuple(range(len(head))))


def save_classifier_description(folder: Path, classifier: Classifier, cropper: Path | None = None) -> None:
    """Write the description for `load_classifier` next to the weights, and copy the run whose maps crop images."""
    rows = zip(classifier.ids, classifier.names, strict=True)
    categories = [{"id": number, "name": name} for number, name in rows]
    description = {"network": classifier.network.name, "size": classifier.size, "view": classifier.view}
    checkpoints.save_description(folder, {**description, "categories": categories})
    if cropper is not None:
        for file in (checkpoints.DESCRIPTION, checkpoints.WEIGHTS):
            with files.atomic_file(folder / _CROPPER / file) as draft:
                shutil.copyfile(cropper / file, draft)


def _classifier_of_run(name: str, folder: Path, weights: Path, options: Mapping[str, object]) -> Classifier:
    run_name, size, view, categories = checkpoints.load_description(folder, "cam", _parse_options)
    if run_name != name:
        raise InputError(f"{folder} is a run of {run_name}, not of {name}; use --model {run_name}")
    network = registry.create_network(name, weights, **options).eval()
    inner = folder / _CROPPER
    cropper = None
    if (inner / checkpoints.DESCRIPTION).is_file():
        cropper = _classifier_of_run(checkpoints.load_description(inner, "cam", _parse_options)[0], inner, inner, {})
    ids, names = (tuple(category[key] for category in categories) for key in ("id", "name"))
    return Classifier(network=network, size=size, names=names, ids=ids, view=view, cropper=cropper)


def _parse_options(description: Any) -> tuple[str, int, View, list[dict[str, Any]]]:  # noqa: ANN401  # JSON
    if "answers" in description:
        raise InputError("a run of sonjit train vqa has answers instead of classes; use sonjit explain --ask")
    categories = list(description["categories"])
    return str(description["network"]), int(description["size"]), description["view"], categories
