"""What a network says on the way: maps before its end, beside its outputs, for heads of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.engines.quiet_openvino import ov
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def with_taps(model: ov.Model, path: Path, sides: Sequence[int]) -> ov.Model:
    """The same network with further outputs behind its own.

    Args:
        model: as it was read; it is used up.
        path: from where, for the message.
        sides: of the maps that are wanted, in their pixels: for each the last residual sum (1, C, side, side).

    Returns:
        The network, with an output for each side and one (1, C) for the mean of its last map.

    Raises:
        InputError: it has no such map, or takes no mean.
    """
    sums: dict[int, ov.Output] = {}
    mean: ov.Output | None = None
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "ReduceMean":
            mean = node.output(0)
        elif kind == "Add" and len({port.get_partial_shape().to_string() for port in node.inputs()}) == 1:
            shape = node.output(0).get_partial_shape()  # two maps of one size: no bias
            if shape.rank.get_length() == 4 and shape[2].is_static and shape[2] == shape[3]:
                sums[shape[2].get_length()] = node.output(0)
    lacking = [str(side) for side in sides if side not in sums]
    if lacking or mean is None:
        what = f"residual map of {lacking[0]} x {lacking[0]}" if lacking else "mean of a map"
        raise InputError(f"{path}: has no {what}; heads were taught on the published networks")
    ends = [ov.op.Result(port) for port in [*(sums[side] for side in sides), mean]]
    return ov.Model([*model.get_results(), *ends], model.get_parameters())  # pyright: ignore
