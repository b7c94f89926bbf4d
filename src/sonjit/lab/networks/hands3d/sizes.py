"""Dimensions of the networks and variants of Deformer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeformerSize:
    """Dimensions of the network.

    Attributes:
        image: Side of the crop in pixels.
        frames: Number of frames of a window, odd.
        width: Channels of the trunk's first stage.
        blocks: Number of blocks of its four stages.
        channels: Channels of the maps and tokens.
        side: Side of a hand's map.
        heads: Number of heads of all attention layers.
        hidden: Width of the feed-forward parts.
        layers: Number of layers of each encoder and decoder.
        widths: Widths of the two layers before the pose.
    """

    image: int
    frames: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    side: int
    heads: int
    hidden: int
    layers: int
    widths: tuple[int, int]


@dataclass(frozen=True)
class Variant:
    """How the networks of one data set use MANO, and which frames they see.

    Attributes:
        tips: Layout of the joints, a key of `hand_models.mano_files.LAYOUTS`.
        pca: True if the fingers' 45 numbers are coefficients of MANO's principal components, three of which at a time
            go through six numbers and a rotation matrix as if they were an axis-angle.
        flat_hand_mean: True if MANO's mean pose is not added.
        stops_at_gap: True if frames beyond a missing frame are not searched.
        opengl: True for poses in OpenGL's axes, y up and z backward, as in HO-3D's files; False for the camera's axes.
    """

    tips: str
    pca: bool
    flat_hand_mean: bool
    stops_at_gap: bool
    opengl: bool


@dataclass(frozen=True)
class HandOccSize:
    """Dimensions of the network.

    Attributes:
        image: Side of the crop in pixels.
        width: Channels of the trunk's first stage.
        blocks: Number of blocks of its four stages.
        channels: Channels of the maps.
        widths: Widths of the two layers before pose and shape.
    """

    image: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    widths: tuple[int, int]
