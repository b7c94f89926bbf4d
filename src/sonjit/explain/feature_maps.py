"""What a network makes of a picture on its way, as a picture: one panel per named map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.explain.overlay import enlarge, grid, overlay
from sonjit.media.drawing.labels import draw_captions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

_COLUMNS = 4
_BLANK = 24


def draw_feature_maps(
    maps: Mapping[str, NDArray[np.floating]], rgb: NDArray[np.uint8], columns: int = _COLUMNS
) -> NDArray[np.uint8]:
    """A new picture: the network's input, then each map over it with its name; blue is a map's least, red its greatest.

    Args:
        maps: name -> (h, w), or (C, h, w) of which the mean size of the channels is shown. Each is enlarged to the
            input.
        rgb: (H, W, 3) uint8: what the network saw.
        columns: of panels.

    Raises:
        InputError: a map of another shape, or with values that are no numbers.
    """
    height, width = rgb.shape[:2]
    panels = [_captioned(rgb.copy(), "input")]
    for name, values in maps.items():
        if values.ndim not in (2, 3) or not values.size or not np.isfinite(values).all():
            raise InputError(f"map {name} of shape {values.shape}: give finite numbers, (h, w) or (C, h, w)")
        flat = values if values.ndim == 2 else np.abs(values).mean(0)
        shown = overlay(rgb, enlarge(np.ascontiguousarray(flat, np.float32), width, height))
        panels.append(_captioned(shown, name))
    panels += [np.full_like(rgb, _BLANK)] * (-len(panels) % columns)
    return grid([panels[start : start + columns] for start in range(0, len(panels), columns)])


def occlusion_maps(outputs: Mapping[str, Tensor], index: int = 0) -> dict[str, NDArray[np.float32]]:
    """HandOccNet's maps of one picture of a batch, ready to draw.

    Args:
        outputs: of the network with `features=True`.
        index: which picture.

    Returns:
        `gate`, `primary`, `secondary`, `FIT` and `SET`; of FIT's last block where its attention looks without
        (`looks`) and with (`looks, weighed`) the sigmoid that keeps places from looking where nothing belongs to them,
        and that sigmoid itself (`takes`); of SET's last block where it looks.
    """
    if "primary" not in outputs:
        raise InputError("there are no maps in these outputs: call the network with features=True")
    found = {name: values[index].detach().cpu().numpy() for name, values in outputs.items()}
    injecting, refining = (max(name for name in found if name.startswith(part) and name.endswith(".soft"))
                           for part in ("FIT.", "SET."))  # fmt: skip
    takes = found[injecting.replace(".soft", ".sigmoid")]  # (heads, H, W)
    shape = takes.shape[1:]
    weighed = found[injecting] * takes.reshape(len(takes), -1, 1)
    return {
        "gate": found["gate"],
        "primary": found["primary"],
        "secondary": found["secondary"],
        "FIT looks": found[injecting].mean((0, 1)).reshape(shape),
        "FIT takes": takes.mean(0),
        "FIT looks, weighed": weighed.mean((0, 1)).reshape(shape),
        "FIT": found["FIT"],
        "SET looks": found[refining].mean((0, 1)).reshape(shape),
        "SET": found["SET"],
    }


def attention_to(
    attention: NDArray[np.floating], place: tuple[int, int], shape: tuple[int, int]
) -> NDArray[np.floating]:
    """Which places look at one: a map (H, W), as in the paper's comparison of attention with and without the sigmoid.

    Args:
        attention: (heads, H * W, H * W), rows are the places that look.
        place: row and column of the one that is looked at.
        shape: H and W.
    """
    return attention.mean(0)[:, place[0] * shape[1] + place[1]].reshape(shape)


def _captioned(canvas: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    draw_captions(canvas, [title])
    return canvas
