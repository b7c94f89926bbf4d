"""HandOccNet: a hand's mesh from one image in which much of it may be hidden.

A gate predicts the visible share of the hand at each cell of the feature map. Visible features (primary) are injected
into hidden ones (secondary) where they correlate: FIT. Self-attention over the result follows: SET. An hourglass
locates the joints in the crop, an encoder predicts pose and shape from both, and MANO makes the mesh.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from sonjit._util import InputError
from sonjit_lab.hand_models import Mano
from sonjit_lab.hand_models.mano import axis_angle_from_matrix, matrix_from_6d, remove_mano
from sonjit_lab.hand_models.placeholders import mano_by_name
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, register

BLOCKS = (3, 4, 6, 3)  # number of blocks of ResNet-50's four stages
HEADS = 4
KEYPOINTS = 21
_MANO_KEYS = "regressor.mano_regHead.mano_layer."
_NOT_WEIGHTS = ("fitting_loss.", "regressor.hand_regHead.uu", "regressor.hand_regHead.vv")
"""Prefixes of published checkpoints that this network does not have: a demo's fitting loss and heatmap cells."""
FITS = ("full", "softmax", "gate", "none")  # handling of hidden regions, see `HandOccNetwork`


@dataclass(frozen=True)
class HandOccSize:
    """Dimensions: side of the crop, the trunk's width and blocks, channels of maps, widths before pose and shape."""

    image: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    widths: tuple[int, int]


class LeakyBottleneck(Bottleneck):
    """ResNet's bottleneck block with leaky units."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.relu = nn.LeakyReLU(inplace=True)
        outputs = width * self.expansion
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))


class LeakyPyramid(nn.Module):
    """The finest map of a feature pyramid on a ResNet-50 with leaky units, a quarter of the images' size.

    With `smooth2` it has the convolution of the second finest map, which HandOccNet's code computes and drops: its
    weights are in the published checkpoints.
    """

    def __init__(
        self, channels: int = 256, width: int = 64, blocks: tuple[int, int, int, int] = BLOCKS, *, smooth2: bool = False
    ) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        wide = [width * 2**stage for stage in range(4)]
        outputs = [planes * Bottleneck.expansion for planes in wide]
        # The published names have an additional container around each stage.
        self.layer1 = nn.Sequential(_stage(width, wide[0], blocks[0], 1))
        self.layer2 = nn.Sequential(_stage(outputs[0], wide[1], blocks[1], 2))
        self.layer3 = nn.Sequential(_stage(outputs[1], wide[2], blocks[2], 2))
        self.layer4 = nn.Sequential(_stage(outputs[2], wide[3], blocks[3], 2))
        self.toplayer = nn.Conv2d(outputs[3], channels, 1)
        self.latlayer1 = nn.Conv2d(outputs[2], channels, 1)
        self.latlayer2 = nn.Conv2d(outputs[1], channels, 1)
        self.latlayer3 = nn.Conv2d(outputs[0], channels, 1)
        if smooth2:
            self.smooth2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.smooth3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in 0..1, H and W multiples of 32, to (B, channels, H / 4, W / 4)."""
        stage1 = self.layer1(self.layer0(images))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        top = self.toplayer(self.layer4(stage3))
        for lateral, stage in ((self.latlayer1, stage3), (self.latlayer2, stage2), (self.latlayer3, stage1)):
            top = F.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False) + lateral(stage)
        return self.smooth3(top)

    def load_imagenet(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load torchvision's ResNet-50, as for the published networks; the pyramid keeps its weights."""
        # conv1 and bn1 are in layer0, and each stage has an additional container.
        first = {"conv1": "layer0.0", "bn1": "layer0.1"}
        split_keys = {key: key.partition(".") for key in state_dict}
        renamed = {f"{first.get(a, f'{a}.0')}.{rest}": state_dict[key] for key, (a, _, rest) in split_keys.items()}
        encoder_weights = {name: value for name, value in self.state_dict().items() if name.startswith("layer")}
        for name, value in encoder_weights.items():
            if name not in renamed or renamed[name].shape != value.shape:
                raise InputError(
                    f"these weights are not torchvision's ResNet-50: {name} is missing or has another shape"
                )
        self.load_state_dict({name: renamed[name] for name in encoder_weights}, strict=False)


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (LeakyBottleneck(width * Bottleneck.expansion, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(LeakyBottleneck(inputs, width, stride), *rest)


class Attention(nn.Module):
    """One block: each cell of the query map attends to the cells of the key map.

    With `injecting`, the block of FIT, the query is not added to the output. With `sigmoid`, FIT's output is multiplied
    by a sigmoid of the correlation of a second query with the sum of all second keys, the paper's pooling.
    """

    def __init__(self, channels: int, side: int, *, injecting: bool, sigmoid: bool = True) -> None:
        super().__init__()
        self.q_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.k_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.encode_value = nn.Conv2d(channels, channels, 1)
        self.encode_query = nn.Conv2d(channels, channels, 1)
        self.encode_key = nn.Conv2d(channels, channels, 1)
        self.injecting = injecting
        self.weighs = injecting and sigmoid
        if self.weighs:
            self.encode_query2 = nn.Conv2d(channels, channels, 1)
            self.encode_key2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.LayerNorm(channels)
        layers = {"fc1": nn.Linear(channels, 4 * channels), "act": nn.GELU(), "fc2": nn.Linear(4 * channels, channels)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(
        self, query: Tensor, key: Tensor, maps: MutableMapping[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """Return the updated query map (B, C, H, W), from a key map of the same shape.

        `maps` receives the attention, `<name>.soft` (B, heads, H * W, H * W), whose rows sum to 1, and for FIT the
        factor of each cell, `<name>.sigmoid` (B, heads, H, W).
        """
        placed_query, placed_key = query + self.q_embedding, key + self.k_embedding
        q, k = _heads(self.encode_query(placed_query)), _heads(self.encode_key(placed_key))
        v = _heads(self.encode_value(key))
        scale = q.shape[-1] ** -0.5
        if maps is not None:
            maps[f"{name}.soft"] = torch.softmax(q @ k.transpose(2, 3) * scale, -1)
        gathered = F.scaled_dot_product_attention(q, k, v)  # (B, heads, H * W, C / heads)
        if self.weighs:
            # The sum of products over keys is the product with the sum of keys, which needs no map of all pairs.
            # Weighting the rows of the softmax is equal to weighting its output.
            q2, k2 = _heads(self.encode_query2(placed_query)), _heads(self.encode_key2(placed_key))
            share = torch.sigmoid(q2 @ k2.sum(2).unsqueeze(3) * scale)  # (B, heads, H * W, 1)
            if maps is not None:
                maps[f"{name}.sigmoid"] = share.squeeze(3).unflatten(2, query.shape[2:])
            gathered = gathered * share
        tokens = gathered.transpose(1, 2).flatten(2)  # (B, H * W, C)
        if not self.injecting:
            tokens = tokens + query.flatten(2).transpose(1, 2)
        tokens = tokens + self.mlp(self.norm2(tokens))
        updated = tokens.transpose(1, 2).unflatten(2, query.shape[2:])
        if maps is not None:
            maps[name] = updated
        return updated


class FeatureTransformer(nn.Module):
    """Two attention blocks with the same key map: FIT if they inject, SET for self-attention."""

    def __init__(self, channels: int, side: int, *, injecting: bool, sigmoid: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attention(channels, side, injecting=injecting, sigmoid=sigmoid) for _ in range(2))
        self.injecting = injecting
        if injecting:
            self.conv1 = nn.Sequential(
                nn.Conv2d(2 * channels, channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            self.conv2 = nn.Sequential(nn.Conv2d(2 * channels, channels, 1))

    def forward(
        self, query: Tensor, key: Tensor, maps: MutableMapping[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """Map query and key (B, C, H, W) to (B, C, H, W); in `maps`, the blocks are `<name>.block0` and so on."""
        for number, layer in enumerate(self.layers):
            query = layer(query, key, maps, f"{name}.block{number}")
        if self.injecting:
            both = torch.cat([key, query], 1)
            query = self.conv1(both) + self.conv2(both)
        if maps is not None:
            maps[name] = query
        return query


def _heads(values: Tensor) -> Tensor:
    """Convert (B, C, H, W) to (B, heads, H * W, C / heads); attention is fast with contiguous channels."""
    return values.flatten(2).transpose(1, 2).contiguous().unflatten(2, (HEADS, -1)).transpose(1, 2)


class PreActivation(nn.Module):
    """Three times norm, leaky unit and convolution (1x1, 3x3, 1x1), with a residual connection; norms as published."""

    def __init__(self, channels: int, norms: tuple[str, str, str] = ("bn1", "bn2", "bn3")) -> None:
        super().__init__()
        half = channels // 2
        self._norms = norms
        for name, width in zip(norms, (channels, half, half), strict=True):
            self.add_module(name, nn.BatchNorm2d(width))
        self.conv1 = nn.Conv2d(channels, half, 1)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1)
        self.conv3 = nn.Conv2d(half, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        inner = values
        for norm, conv in zip(self._norms, (self.conv1, self.conv2, self.conv3), strict=True):
            inner = conv(F.leaky_relu(self.get_submodule(norm)(inner)))
        return values + inner


class Hourglass(nn.Module):
    """Halve the map `depth` times and add it up again on the way back. Source: Newell et al. 2016.

    The first block of a level is the skip connection, the second follows the halving, the third precedes the doubling.
    The innermost level has a fourth block in the middle.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(nn.Sequential(PreActivation(channels)) for _ in range(3 if level else 4))
            for level in range(depth)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; H and W must be multiples of 2 ** depth."""
        return self._level(len(self.hg) - 1, values)

    def _level(self, level: int, values: Tensor) -> Tensor:
        skip, down, up, *middle = cast("nn.ModuleList", self.hg[level])
        low = down(F.max_pool2d(values, 2))
        low = self._level(level - 1, low) if level else middle[0](low)
        return skip(values) + F.interpolate(up(low), scale_factor=2, mode="nearest")


class SpatialSoftmax(nn.Module):
    """Joint positions in a map of `side` x `side` cells: the mean position of each heatmap."""

    uu: Tensor
    vv: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.betas = nn.Parameter(torch.ones(KEYPOINTS, 1))  # sharpness of each joint's heatmap
        centres = (torch.arange(side, dtype=torch.get_default_dtype()) + 0.5) / side
        self.register_buffer("uu", centres.repeat(side, 1), persistent=False)
        self.register_buffer("vv", centres[:, None].repeat(1, side), persistent=False)

    def positions(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores (B, 21, H * W) to joints (B, 21, 2) as x, y in 0..1, and heatmaps (B, 21, H * W) of sum 1."""
        heatmaps = torch.softmax(scores * self.betas, -1)
        grid = torch.stack([self.uu.flatten(), self.vv.flatten()], -1)  # (H * W, 2)
        return heatmaps @ grid, heatmaps


class SpatialSoftmaxHead(SpatialSoftmax):
    """Joint positions in the crop, after an hourglass."""

    def __init__(self, channels: int, side: int, depth: int) -> None:
        super().__init__(side)
        self.hg = nn.ModuleList([Hourglass(channels, depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivation(channels))])
        block = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU())
        self.fc = nn.ModuleList([nn.Sequential(OrderedDict(block=block))])
        self.score = nn.ModuleList([nn.Conv2d(channels, KEYPOINTS, 1)])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return joints (B, 21, 2) in 0..1, heatmaps (B, 21, H, W), the encoding (B, C, H, W), and scores like
        heatmaps.
        """
        encoding = self.fc[0](self.res[0](self.hg[0](features)))
        scores = self.score[0](encoding)
        joints, heatmaps = self.positions(scores.flatten(2))
        return joints, heatmaps.unflatten(2, scores.shape[2:]), encoding, scores


class HandEncoder(nn.Module):
    """Encode heatmaps and features as one vector, by halving `depth` times to 2 x 2."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.heatmap_conv = nn.Conv2d(KEYPOINTS, channels, 1)
        self.encoding_conv = nn.Conv2d(channels, channels, 1)
        self.reg = nn.ModuleList(PreActivation(channels, ("bn", "bn1", "bn2")) for _ in range(2 * depth))

    def forward(self, heatmaps: Tensor, encoding: Tensor) -> Tensor:
        """Map heatmaps (B, 21, H, W) and features (B, C, H, W) to (B, 4 * C)."""
        values = self.heatmap_conv(heatmaps) + self.encoding_conv(encoding)
        for index, block in enumerate(self.reg):
            values = F.max_pool2d(block(values), 2) if index % 2 else block(values)
        return values.flatten(1)


def mano_base(inputs: int, widths: tuple[int, int]) -> nn.Sequential:
    """Return the two layers before pose and shape."""
    first, second = widths
    return nn.Sequential(nn.Linear(inputs, first), nn.LeakyReLU(), nn.Linear(first, second), nn.LeakyReLU())


def rotations_from_6d(six: Tensor) -> tuple[Tensor, Tensor]:
    """Convert poses (N, 96) to matrices (N, 16, 3, 3) and axis-angles (N, 48), radians, 0 where it is none."""
    matrices = matrix_from_6d(six.unflatten(1, (-1, 6)))
    return matrices, axis_angle_from_matrix(matrices).flatten(1).nan_to_num(nan=0.0)


def check_options(**options: tuple[str, Collection[str]]) -> None:
    """Refuse an unknown value of an option. Each option is a pair of its value and its choices."""
    for option, (value, choices) in options.items():
        if value not in choices:
            raise InputError(f"Unknown {option} {value!r}. Choose from {', '.join(choices)}")


class ManoHead(nn.Module):
    """Predict six numbers for each joint's rotation, and the shape."""

    def __init__(self, inputs: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.mano_base_layer = mano_base(inputs, widths)
        self.pose_reg = nn.Linear(widths[1], 96)
        self.shape_reg = nn.Linear(widths[1], 10)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inputs) to the pose (B, 96) and the shape (B, 10)."""
        base = self.mano_base_layer(values)
        return self.pose_reg(base), self.shape_reg(base)


class Regressor(nn.Module):
    """Joints, encoder and MANO head, with their published names."""

    def __init__(self, channels: int, side: int, widths: tuple[int, int]) -> None:
        super().__init__()
        depth = side.bit_length() - 2  # number of halvings to 2 x 2
        self.hand_regHead = SpatialSoftmaxHead(channels, side, depth)
        self.hand_Encoder = HandEncoder(channels, depth)
        self.mano_regHead = ManoHead(4 * channels, widths)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map (B, C, H, W) to joints (B, 21, 2) in 0..1, scores (B, 21, H, W), pose (B, 96) and shape (B, 10)."""
        joints, heatmaps, encoding, scores = self.hand_regHead(features)
        pose, shape = self.mano_regHead(self.hand_Encoder(heatmaps, encoding))
        return joints, scores, pose, shape


class SpatialGate(nn.Module):
    """Visible share of the hand at each cell, from the channels' maximum and mean. Source: Woo et al. 2018, CBAM."""

    def __init__(self) -> None:
        super().__init__()
        conv, norm = nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1, momentum=0.01)
        self.spatial = nn.Sequential(OrderedDict(conv=conv, bn=norm))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 1, H, W) in 0..1."""
        pooled = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        return torch.sigmoid(self.spatial(pooled))


class HandOccBackbone(LeakyPyramid):
    """The trunk with the gate, with their published names."""

    def __init__(self, size: HandOccSize) -> None:
        super().__init__(size.channels, size.width, size.blocks, smooth2=True)
        self.attention_module = SpatialGate()

    def apply_gate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, S, S) to features (B, C, S / 8, S / 8) and the gate (B, 1, S / 8, S / 8)."""
        features = F.avg_pool2d(self(images), 2)
        return features, self.attention_module(features)


SIZES = {
    "full": HandOccSize(256, 64, BLOCKS, 256, (1024, 512)),
    "small": HandOccSize(64, 16, (1, 1, 1, 1), 48, (128, 64)),
    "tiny": HandOccSize(64, 4, (1, 1, 1, 1), 16, (32, 16)),
}


class HandOccNetwork(Network):
    """HandOccNet: mesh and joints of one hand that may be hidden.

    `mano`: MANO's right hand from `load_mano`, which is not part of the weights; None to predict only pose and shape;
    `"demo"` or `"stand-in"` for placeholders; `size`: `full`, `small` for a trial on a CPU, or `tiny` for tests; `fit`:
    `full`, as published; `softmax`, injection without the sigmoid; `gate`, lower weights as in spatial attention,
    without injection; `none`; `refine`: True for a network with SET.

    Source: Park et al. 2022, HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network.
    """

    def __init__(
        self, mano: Mano | str | None = None, size: str = "full", fit: str = "full", refine: bool = True
    ) -> None:
        super().__init__()
        check_options(size=(size, SIZES), fit=(fit, FITS))
        if isinstance(mano, str):
            model = mano_by_name(mano)
            if model is None:
                raise InputError(f"mano={mano!r} is not a MANO model; pass load_mano({mano!r})")
            mano = model
        if mano is not None and mano.side != "right":
            raise InputError("handoccnet requires MANO's right hand; pass mirror images of left hands")
        numbers = SIZES[size]
        self.backbone = HandOccBackbone(numbers)
        side = numbers.image // 8
        self.fit = fit
        if fit in ("full", "softmax"):
            self.FIT = FeatureTransformer(numbers.channels, side, injecting=True, sigmoid=fit == "full")
        if refine:
            self.SET = FeatureTransformer(numbers.channels, side, injecting=False)
        self.refine = refine
        self.regressor = Regressor(numbers.channels, side, numbers.widths)
        self.mano = mano
        self.size = numbers
        self.side = numbers.image
        for name, part in self.named_children():
            if name not in ("backbone", "mano"):
                part.apply(_initialise)

    def forward(self, images: Tensor, features: bool = False) -> dict[str, Tensor]:
        """Predict the hands in crops (B, 3, 256, 256), RGB in 0..1, of right hands or of mirrored left hands.

        Returns:
            `gate` (B, 32, 32): visible share of the hand, 0..1; `pose6d` (B, 96); `joints_coord_img` (B, 21, 2): x,
            y in 0..1 of the crop; `mano_pose` (B, 48): axis-angles without MANO's mean pose; `mano_shape` (B, 10).
            With a MANO model `joints_coord_cam` (B, 21, 3) and `mesh_coord_cam` (B, 778, 3), metres in MANO's axes,
            neither centred nor in camera space, and `manojoints2cam` (B, 16, 4, 4). Joints are MediaPipe's 21. With
            `features` also `primary`, `secondary`, `FIT` and `SET` (B, 256, 32, 32), `score` (B, 21, 32, 32), and
            for each block `FIT.block0` (B, 256, 32, 32), `FIT.block0.soft` (B, 4, 1024, 1024): the attention,
            `FIT.block0.sigmoid` (B, 4, 32, 32): the factor of its output; `SET.block0`, `SET.block0.soft`.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.size.image, self.size.image):
            expected = f"(B, 3, {self.size.image}, {self.size.image})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; expected {expected}")
        maps: dict[str, Tensor] | None = {} if features else None
        trunk, gate = self.backbone.apply_gate(images)
        primary, secondary = trunk * gate, trunk * (1 - gate)
        hand = trunk if self.fit == "none" else primary
        if self.fit in ("full", "softmax"):
            hand = self.FIT(secondary, primary, maps, "FIT")
        if self.refine:
            hand = self.SET(hand, hand, maps, "SET")
        joints, scores, pose6d, shape = self.regressor(hand)
        pose = rotations_from_6d(pose6d)[1]
        out = {
            "gate": gate.squeeze(1),
            "pose6d": pose6d,
            "joints_coord_img": joints,
            "mano_pose": pose,
            "mano_shape": shape,
        }
        if self.mano is not None:
            posed = self.mano.posed(pose, shape, flat_hand_mean=False, tips="handoccnet")
            out |= {
                "joints_coord_cam": posed.joints,
                "mesh_coord_cam": posed.vertices,
                "manojoints2cam": posed.transforms,
            }
        if maps is not None:
            out |= {"primary": primary, "secondary": secondary, "score": scores, **maps}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a published checkpoint, without its MANO model, which must be the given one."""
        weights = remove_mano(super().from_official(state_dict), _MANO_KEYS, self.mano)
        return {key: value for key, value in weights.items() if not key.startswith(_NOT_WEIGHTS)}


def _initialise(module: nn.Module) -> None:
    """Initialise with small weights, as published."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


register(
    NetworkEntry(
        name="handoccnet",
        evaluate="sonjit_lab.papers.handoccnet.model:open_handoccnet",
        build=HandOccNetwork,
        summary="mesh and joints of one hand, much of which may be hidden, through MANO",
        source="Park et al. 2022, HandOccNet",
        licence="none stated in its repository; MANO's own for the mesh",
        inputs=(InputSpec("images", (3, SIZES["full"].image, SIZES["full"].image)),),
        where="snapshot_demo.pth.tar, from the links at https://github.com/namepllet/HandOccNet",
        tiny={"mano": "demo", "size": "tiny"},
        tiny_inputs=(InputSpec("images", (3, SIZES["tiny"].image, SIZES["tiny"].image)),),
    )
)
