"""Crop boxes into the input of networks, and check the shapes of networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sonjit._util import Image, InputError
from sonjit.engines import Engine
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid


def crop_for(network: Engine, rgb: Image, box: RotatedBox) -> None:
    """Crop a box of an image (H, W, 3) into a network's input, as exactly as the network runs.

    In f32 the crop is that of MediaPipe. In a lower precision the faster warp differs by less than the rounding of the
    network.
    """
    out = network.input[0]
    if network.precision == "f32":
        crop_on_grid(rgb, box, out)
    else:
        crop(rgb, box, out.shape[1], out.shape[0], out=out)


def check_shapes(engine: Engine, path: Path, role: str, *, size: int | None, outputs: Sequence[int]) -> None:
    """Check that an engine has the shapes of the expected network, such as a "palm detector".

    `size`: side of its square input in pixels; None for any. `outputs`: numbers of values in its outputs, in any order.
    """
    height, width = engine.input.shape[1:3]
    if height != width or size not in (None, height) or sorted(engine.output_sizes) != sorted(outputs):
        raise InputError(
            f"{path} is not a {role}: it takes {width} x {height} px and gives {_listed(engine.output_sizes)} numbers, "
            f"not {'any square' if size is None else f'{size} x {size} px'} and {_listed(outputs)}"
        )


def _listed(sizes: Sequence[int]) -> str:
    return " + ".join(str(size) for size in sizes)
