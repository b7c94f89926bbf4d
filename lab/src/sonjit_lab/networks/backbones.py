"""Backbones: the convolutions of published networks, without their heads.

Those of classifiers end as in section 3 of Zhou et al. 2016: AlexNet after conv5, VGG-16 after conv5-3, GoogLeNet after
inception 4e. The map is 13 x 13 or 14 x 14 at 224 px. `ResNet` gives the maps of all four stages to Mask R-CNN,
InterNet and RootNet. Module names are those of torchvision, so that its checkpoints load.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import cfgs, make_layers
from torchvision.ops import FrozenBatchNorm2d

from sonjit._util import InputError
from sonjit.weights import find_weight
from sonjit_lab.networks.checkpoints import load_checkpoint

Norm = Literal["frozen", "batch", "group"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
"""Types of blocks and their numbers in the four stages, by the number of all layers."""
PRETRAINED = {"mobilenet_v2": "mobilenetv2_100", "efficientnet_lite0": "tf_efficientnet_lite0"}
"""Backbones with weights of ImageNet in the catalogue: name in the catalogue and in timm."""


class Backbone(nn.Module):
    """Base class of networks that map images (B, 3, H, W) to features (B, channels, h, w)."""

    channels: int  # channels of the features
    # RGB mean and deviation, in 0..1, with which the official checkpoints normalise their input
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    left_out: tuple[str, ...] = ()  # prefixes of official keys of layers that the backbone does not have

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
        """Return features (B, channels, h, w) of images (B, 3, H, W)."""
        return self.features(images)


class GoogLeNetMaps(Backbone):
    """GoogLeNet (Szegedy et al. 2015) with batch norms, up to the module `last`: 832 channels at 1/16, or complete."""

    mean = std = (0.5, 0.5, 0.5)  # equivalent to torchvision's transform_input
    _LAYERS = (
        "conv1",
        "maxpool1",
        "conv2",
        "conv3",
        "maxpool2",
        "inception3a",
        "inception3b",
        "maxpool3",
        "inception4a",
        "inception4b",
        "inception4c",
        "inception4d",
        "inception4e",
        "maxpool4",
        "inception5a",
        "inception5b",
    )
    _CHANNELS: ClassVar[dict[str, int]] = {"inception3b": 480, "inception4e": 832, "inception5b": 1024}

    def __init__(self, last: str) -> None:
        super().__init__()
        complete = models.GoogLeNet(num_classes=1, aux_logits=False, init_weights=False)
        self.channels = self._CHANNELS[last]
        end = self._LAYERS.index(last) + 1
        self._names = self._LAYERS[:end]
        self.left_out = ("aux1.", "aux2.", *self._LAYERS[end:], *(() if last == "inception5b" else ("fc.",)))
        for name in self._names:
            self.add_module(name, complete.get_submodule(name))

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, channels, h, w) of images (B, 3, H, W)."""
        for name in self._names:
            images = self.get_submodule(name)(images)
        return images


class ResNetMaps(Backbone):
    """ResNet (He et al. 2016) without its head, which is a mean and one linear layer."""

    _LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], width: int = 64) -> None:
        super().__init__()
        # Blocks that are zero at the start (Goyal et al. 2017) train more evenly from scratch.
        complete = models.ResNet(block, list(layers), num_classes=1, zero_init_residual=True, width_per_group=width)
        for name in self._LAYERS:
            self.add_module(name, complete.get_submodule(name))
        self.channels = 512 * block.expansion

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, channels, H / 32, W / 32) of images (B, 3, H, W)."""
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
        nn.Conv2d(3, a, 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1),
        nn.ReLU(),
    )
    return Convolutions(features, e)


def googlenet(tiny: bool = False) -> Backbone:
    """Build GoogLeNet up to inception 4e; the tiny twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception4e")


def whole_googlenet(tiny: bool = False) -> Backbone:
    """Build GoogLeNet without its head, which is a mean and one linear layer; the tiny twin ends with 3b."""
    return GoogLeNetMaps("inception3b" if tiny else "inception5b")


def nin(tiny: bool = False) -> Backbone:
    """Build Network in Network (Lin et al. 2014) for ImageNet, up to the 1024 channels before the class maps.

    The published 1 x 1 convolution to one map per class, and the mean, equal a linear head over the mean of these
    features, except for a ReLU after it that is omitted here.
    """
    a, b, c, d = (_narrow(size, tiny) for size in (96, 256, 384, 1024))
    features = nn.Sequential(
        *_mlpconv(3, a, 11, 4, 0),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *_mlpconv(a, b, 5, 1, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *_mlpconv(b, c, 3, 1, 1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(d, d, 1),
        nn.ReLU(),
    )
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
        nn.Conv2d(channels, out, kernel, stride, padding),
        nn.ReLU(),
        nn.Conv2d(out, out, 1),
        nn.ReLU(),
        nn.Conv2d(out, out, 1),
        nn.ReLU(),
    ]


def _narrow(channels: int, tiny: bool) -> int:
    return channels // 16 if tiny else channels


class _FrozenNorm(FrozenBatchNorm2d):
    """torchvision's frozen norm, rounded as a batch norm: deep networks amplify the difference to 0.05 px in boxes."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return a normalization: frozen statistics without an epsilon, batch norm, or group norm for small batches."""
    if norm == "frozen":
        return _FrozenNorm(channels, eps=0.0)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(gcd(32, channels), channels)


class ResNet(nn.Module):
    """The four stages of a residual network, C2..C5, with 10, 18, 34, 50 or 101 layers and torchvision's keys.

    `width`: channels of the first stage's 3x3 convolutions; `norm`: "frozen" keeps trained statistics, "batch" learns
    them, "group" has none. Source: He et al., Deep Residual Learning (2015), with the stride in the 3x3 convolution of
    a bottleneck as in torchvision; Wu and He, Group Normalization (2018).
    """

    def __init__(self, depth: int = 50, width: int = 64, norm: Norm = "frozen") -> None:
        super().__init__()
        if depth not in _DEPTHS:
            raise InputError(f"Unknown depth {depth}. Choose from {', '.join(map(str, _DEPTHS))}")
        kind, blocks = _DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm_layer(norm, width)
        channels = width
        self.channels: list[int] = []  # of C2..C5
        for stage, count in enumerate(blocks):
            layer = nn.Sequential()
            outputs = (width << stage) * kind.expansion
            for i in range(count):
                stride = 2 if stage and not i else 1
                block = kind(channels, width << stage, stride, norm_layer=partial(norm_layer, norm))
                if stride > 1 or channels != outputs:
                    shortcut = nn.Conv2d(channels, outputs, 1, stride, bias=False)
                    block.downsample = nn.Sequential(shortcut, norm_layer(norm, outputs))
                channels = outputs
                layer.append(block)
            self.add_module(f"layer{stage + 1}", layer)
            self.channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to C2..C5 with strides 4, 8, 16, 32."""
        x = F.max_pool2d(self.bn1(self.conv1(images)).relu_(), 3, 2, 1)
        maps: list[Tensor] = []
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps


class MobileNetMaps(nn.Module):
    """The maps of MobileNetV2 (Sandler et al. 2018) with strides 4, 8, 16, 32, padded as TensorFlow pads even sides."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = [24, 32, 96, 160]
        self.features = models.mobilenet_v2().features[:17]
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.padding = (0, 0)
                module.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], (0, 1, 0, 1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W), whose sides are multiples of 32, to four maps."""
        maps: list[Tensor] = []
        for i, block in enumerate(self.features):
            images = block(images)
            if i in (3, 6, 13, 16):
                maps.append(images)
        return maps


class TimmMaps(Backbone):
    """A network of timm without its head, which is a mean and one linear layer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        self.features: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
        self.channels = self.features.num_features
        self.mean, self.std = self.features.pretrained_cfg["mean"], self.features.pretrained_cfg["std"]

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, channels, H / 32, W / 32) of images (B, 3, H, W)."""
        return self.features(images)

    def from_published(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the catalogue's checkpoint, in this module's order, by the names here and `fc`."""
        return dict(zip([*self.state_dict(), "fc.weight", "fc.bias"], tensors.values(), strict=True))


def timm_name(backbone: str, *, pretrained: bool) -> str:
    """Return timm's name of a backbone, which may be `mobilenet_v2`, or one in `PRETRAINED` with its weights."""
    if pretrained and backbone not in PRETRAINED:
        raise InputError(f"pretrained=true requires backbone={' or '.join(PRETRAINED)}, not {backbone!r}")
    return PRETRAINED[backbone] if pretrained or backbone == "mobilenet_v2" else backbone


def start_pretrained(trunk: nn.Module, backbone: str) -> None:
    """Load the catalogue's weights of a backbone into a network of timm, for inputs with ImageNet's mean and deviation.

    Another normalization of the published network becomes part of the first convolution and its norm.
    """
    published = TimmMaps(PRETRAINED[backbone])
    tensors = published.from_published(load_checkpoint(find_weight(backbone)))
    state = {key.removeprefix("features."): value for key, value in tensors.items()}
    mean, std, own_mean, own_std = (
        torch.tensor(values)[None, :, None, None]
        for values in (published.mean, published.std, IMAGENET_MEAN, IMAGENET_STD)
    )
    filters = state["conv_stem.weight"]
    state["conv_stem.weight"] = filters * own_std / std
    state["bn1.running_mean"] = state["bn1.running_mean"] - (filters * (own_mean - mean) / std).sum((1, 2, 3))
    trunk.load_state_dict({key: state[key] for key in trunk.state_dict()})


def pretrained_maps(backbone: str, tiny: bool = False) -> Backbone:
    """Build a backbone in `PRETRAINED`: MobileNetV2, or EfficientNet-Lite0 with the padding of TensorFlow."""
    return TimmMaps("test_efficientnet" if tiny else PRETRAINED[backbone])
