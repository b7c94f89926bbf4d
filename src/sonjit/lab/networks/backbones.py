"""Backbones of classifiers: the convolutions of published networks, without their heads.

They end as in section 3 of Zhou et al. 2016: AlexNet after conv5, VGG-16 after conv5-3, GoogLeNet after inception 4e.
The map is 13 x 13 or 14 x 14 at 224 px. Module names are those of torchvision, so that its checkpoints load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn
from torchvision.models import GoogLeNet, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import cfgs, make_layers

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Base class of networks that map images (B, 3, H, W) to features (B, channels, h, w).

    Attributes:
        channels: Channels of the features.
        mean, std: RGB mean and deviation, in 0..1, with which the official checkpoints normalise their input.
        left_out: Prefixes of official keys of layers that the backbone does not have.
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
        """Return features (B, channels, h, w)."""
        return self.features(images)


class GoogLeNetMaps(Backbone):
    """GoogLeNet (Szegedy et al. 2015) with batch norms: up to inception 4e, 832 channels at 1/16, or complete.

    Args:
        last: Name of the last module.
    """

    mean = std = (0.5, 0.5, 0.5)  # equivalent to torchvision's transform_input
    _LAYERS = (
        "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3",
        "inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4",
        "inception5a", "inception5b",
    )  # fmt: skip
    _CHANNELS: ClassVar[dict[str, int]] = {"inception3b": 480, "inception4e": 832, "inception5b": 1024}

    def __init__(self, last: str) -> None:
        super().__init__()
        complete = GoogLeNet(num_classes=1, aux_logits=False, init_weights=False)
        self.channels = self._CHANNELS[last]
        end = self._LAYERS.index(last) + 1
        self._names = self._LAYERS[:end]
        self.left_out = ("aux1.", "aux2.", *self._LAYERS[end:], *(() if last == "inception5b" else ("fc.",)))
        for name in self._names:
            self.add_module(name, complete.get_submodule(name))

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, channels, h, w)."""
        for name in self._names:
            images = self.get_submodule(name)(images)
        return images


class ResNetMaps(Backbone):
    """ResNet (He et al. 2016) without its head, which is a mean and one linear layer."""

    _LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], width: int = 64) -> None:
        super().__init__()
        # Blocks that are zero at the start (Goyal et al. 2017) train more evenly from scratch.
        complete = ResNet(block, list(layers), num_classes=1, zero_init_residual=True, width_per_group=width)
        for name in self._LAYERS:
            self.add_module(name, complete.get_submodule(name))
        self.channels = 512 * block.expansion

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, channels, H / 32, W / 32)."""
        for name in self._LAYERS:
            images = self.get_submodule(name)(images)
        return images


def vgg16(tiny: bool = False) -> Backbone:
    """Build VGG-16 (Simonyan and Zisserman 2015) up to conv5-3, without the pooling after it."""
    layers: list[str | int] = [size if isinstance(size, str) else _narrow(size, tiny) for size in cfgs["D"][:-1]]
    return Convolutions(make_layers(layers), int(layers[-1]))  # pyright: ignore[reportArgumentType]


def alexnet(tiny: bool = False) -> Backbone:
    """Build AlexNet (Krizhevsky et al. 2012, with torchvision's widths) up to conv5, without the pooling after it."""
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
    """Build GoogLeNet up to inception 4e; the tiny twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception4e")


def whole_googlenet(tiny: bool = False) -> Backbone:
    """Build GoogLeNet without its head, which is a mean and one linear layer; the tiny twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception5b")


def nin(tiny: bool = False) -> Backbone:
    """Build Network in Network (Lin et al. 2014) for ImageNet, up to the 1024 channels before the class maps.

    The published last layer is a 1 x 1 convolution to one map per class, followed by the mean. This equals a linear
    head over the mean of these features, except for a ReLU after it that is omitted here.
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
    """Build six convolutions with batch norms: 128 channels at 1/8, which train on a CPU in a minute.

    Each value of the features sees 43 px of the image. A larger receptive field moves an object's edges outside it.
    """
    layers: list[nn.Module] = []
    channels = 3
    for size, stride in ((16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (128, 1)):
        out = _narrow(size, tiny)
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return Convolutions(nn.Sequential(*layers), channels)


def resnet18(tiny: bool = False) -> Backbone:
    """Build ResNet-18."""
    return ResNetMaps(BasicBlock, (1, 1, 1, 1) if tiny else (2, 2, 2, 2))


def resnet50(tiny: bool = False) -> Backbone:
    """Build ResNet-50."""
    return ResNetMaps(Bottleneck, (1, 1, 1, 1), width=4) if tiny else ResNetMaps(Bottleneck, (3, 4, 6, 3))


def _mlpconv(channels: int, out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU(),
        nn.Conv2d(out, out, 1), nn.ReLU(),
        nn.Conv2d(out, out, 1), nn.ReLU(),
    ]  # fmt: skip


def _narrow(channels: int, tiny: bool) -> int:
    return channels // 16 if tiny else channels
