"""Find the axes of a layer's output: channels, rows and columns, in any order, or tokens."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sonjit._util import InputError

EXTRA_TOKENS = (0, 1, 2, 5)
"""Tokens before those of the patches: none, a class, a class and distillation (DeiT), a class and four registers."""
_USUAL = "(B, C, h, w)"
_CHANNELS = ("out_channels", "num_features", "num_channels")  # of convolutions, batch norms and group norms
_ADVICE = "Pass reshape=, a function to (B, C, h, w)"
_Shape = tuple[int, ...]


@dataclass(frozen=True)
class Axes:
    """One reading of an output."""

    name: str  # such as "(B, h, w, C)"
    channel: int  # axis of the channels
    convert: Callable[[Tensor], Tensor]  # to (B, C, h, w), or (B, C, t, h, w) of a video


def axes_of_layers(network: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]) -> dict[_Shape, Axes]:
    """Return the axes of the outputs of layers by their shapes without the batch, for a network in eval mode.

    Rows and columns have the ratio of the sides of `images`, (B, C, H, W) or (B, C, T, H, W). If several readings have
    it, or none, the numbers of channels of the layer's parameters decide, and then the axes that follow the image's
    height. Other readings than (B, C, h, w) are logged as warnings.

    Raises:
        InputError: The axes of a layer are ambiguous or unknown.
    """
    axes_by_shape: dict[_Shape, Axes] = {}
    taller: dict[str, list[_Shape]] | None = None
    for name, shapes in _shapes(network, images[:1], layers).items():
        if not shapes:
            raise InputError(f"layer {name!r} takes no part in the output, or returns no tensor")
        for number, shape in enumerate(shapes):
            height, width = images.shape[-2:]
            by_ratio = _by_ratio(shape, height, width, images.ndim)
            chosen = by_ratio if len(by_ratio) == 1 else _by_parameters(layers[name], shape, by_ratio)
            if len(chosen) != 1 and shape[0] == 1:
                if taller is None:
                    taller = _shapes(network, torch.cat([images[:1], images[:1]], -2), layers)
                other = taller[name][number] if number < len(taller[name]) else ()
                chosen = _by_height(shape, other, by_ratio)
            if len(chosen) != 1:
                raise InputError(_refusal(name, shape, width, height, ambiguous=len(by_ratio) > 1))
            (axes,) = chosen
            if axes_by_shape.setdefault(shape[1:], axes).name != axes.name:
                raise InputError(f"layers of the shape {shape} have different axes; explain one layer at a time")
            level = logging.INFO if axes.name.startswith("(B, C,") else logging.WARNING
            logging.getLogger(__name__).log(level, "layer %s of shape %s is read as %s", name, shape, axes.name)
    return axes_by_shape


def _refusal(name: str, shape: _Shape, width: int, height: int, *, ambiguous: bool) -> str:
    if shape[0] != 1:
        return f"layer {name!r} returns {shape[0]} parts for one image. {_ADVICE} of each image"
    reason = "ambiguous" if ambiguous else "not in the ratio of the image"
    return f"the axes {shape} of layer {name!r} are {reason}, for images of {width} x {height} pixels. {_ADVICE}"


def _shapes(network: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, list[_Shape]]:
    """Return the shapes of all outputs of layers, up to where a network fails with images of another size."""
    shapes: dict[str, list[_Shape]] = {name: [] for name in layers}

    def record(name: str) -> RemovableHandle:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes[name].append(tuple(output.shape))

        return layers[name].register_forward_hook(hook)

    handles = [record(name) for name in layers]
    try:
        with torch.no_grad():
            network(images)
    except (AssertionError, RuntimeError, ValueError):  # the caller's own pass reports the reason
        pass
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _by_ratio(shape: _Shape, height: int, width: int, image_axes: int) -> list[Axes]:
    """Return the readings whose rows and columns are in the ratio of the image's sides."""
    if shape[0] != 1:
        return []
    if len(shape) == image_axes:
        pairs = ((_first(len(shape)), shape[-2:]), (_last(len(shape)), shape[-3:-1]))
        # a side may be rounded by less than one cell
        return [axes for axes, (rows, columns) in pairs if abs(rows * width - columns * height) < max(height, width)]
    if len(shape) == 3 and image_axes == 4:
        return [axes for axis in (1, 2) for axes in _tokens(shape, axis, height, width)]
    return []


def _first(dimensions: int) -> Axes:
    return Axes(_USUAL if dimensions == 4 else "(B, C, t, h, w)", 1, lambda values: values)


def _last(dimensions: int) -> Axes:
    return Axes("(B, h, w, C)" if dimensions == 4 else "(B, t, h, w, C)", -1, lambda values: values.movedim(-1, 1))


def _tokens(shape: _Shape, axis: int, height: int, width: int) -> list[Axes]:
    """Return the readings of outputs (1, N, C), or (1, C, N) for axis 2, as tokens in rows."""
    readings: list[Axes] = []
    for extra in EXTRA_TOKENS if axis == 1 else (0,):
        count = shape[axis] - extra
        rows = round(max(count * height / width, 0) ** 0.5)
        columns = count // max(rows, 1)
        if rows and rows * columns == count and rows * width == columns * height:
            readings.append(_token_axes(extra, rows, columns, axis))
    return readings


def _token_axes(extra: int, rows: int, columns: int, axis: int) -> Axes:
    def convert(values: Tensor) -> Tensor:
        by_channel = values if axis == 2 else values.movedim(1, 2)
        return by_channel[:, :, extra:].unflatten(2, (rows, columns))

    name = f"({rows} x {columns} tokens" + (f" after {extra}" if extra else "")
    return Axes(f"(B, C, {name[1:]})" if axis == 2 else f"(B, {name[1:]}, C)", 3 - axis, convert)


def _by_parameters(layer: nn.Module, shape: _Shape, candidates: list[Axes]) -> list[Axes]:
    """Return the candidates whose channels are as many as those of the layer's parameters."""
    first: set[int] = set()
    last: set[int] = set()
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            last.add(module.out_features)
        elif isinstance(module, nn.LayerNorm):
            last.add(module.normalized_shape[-1])
        first.update(size for name in _CHANNELS if isinstance(size := vars(module).get(name), int))
    fits = {1: shape[1] in first, -1: shape[-1] in last, 2: shape[-1] in last}
    return [axes for axes in candidates if fits[axes.channel]]


def _by_height(shape: _Shape, taller: _Shape, candidates: list[Axes]) -> list[Axes]:
    """Return the reading whose rows or tokens are more in an image of double height."""
    if len(taller) != len(shape):
        return []
    changed = [axis for axis, (before, after) in enumerate(zip(shape, taller, strict=True)) if before != after]
    if len(shape) == 3:
        return [axes for axes in candidates if changed == [3 - axes.channel]]
    pairs = ((_first(len(shape)), len(shape) - 2), (_last(len(shape)), len(shape) - 3))
    return [axes for axes, rows in pairs if changed == [rows]]
