"""InterNet as `sonjit export` wrote it, on OpenVINO: PyTorch's numbers in less than half its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from sonjit.engines import EngineOptions
from sonjit.engines.openvino import compile_settings, core, read_model
from sonjit.engines.quiet_openvino import ov
from sonjit.errors import InputError
from sonjit.networks.hands3d.internet import INPUT_SIZE, LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

EXPORTED: Final = (".xml", ".onnx")
_OUTPUTS: Final = {"joint_coord": [1, 42, 3], "rel_root_depth": [1, 1], "hand_type": [1, 2]}
"""What lifting reads; the volume, 44 MB a crop, is never handed over."""


class ExportedInterNet(nn.Module):
    """Runs on crops one after the other.

    Args:
        path: `.xml` or `.onnx` of an InterNet.
        layout: the data set that it was trained on; see `LAYOUTS`.

    Raises:
        InputError: the file is missing, cannot be read, or is not an InterNet.
    """

    def __init__(self, path: Path, layout: str) -> None:
        super().__init__()
        if not path.is_file():
            raise InputError(f"{path}: no such model file")
        self.layout = LAYOUTS[layout]
        model = read_model(path)
        results = {result.output(0).get_any_name(): result for result in model.get_results()}
        try:
            model.reshape([1, 3, INPUT_SIZE, INPUT_SIZE])
            shapes = {name: list(results[name].get_output_shape(0)) for name in _OUTPUTS}
        except (KeyError, RuntimeError):
            shapes = {}
        if shapes != _OUTPUTS:
            raise InputError(
                f"{path}: not an InterNet; write one with sonjit export internet --weights FILE --out {path}"
            )
        wanted = ov.Model([results[name] for name in _OUTPUTS], model.get_parameters())  # pyright: ignore
        self._network = core().compile_model(wanted, "CPU", compile_settings(EngineOptions(), "f32"))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """`joint_coord`, `rel_root_depth` and `hand_type` of crops (B, 3, 256, 256), as `InterNet` gives them."""
        seen = [self._network(crop[None]) for crop in images.numpy()]
        return {
            name: torch.from_numpy(np.concatenate([outputs[number] for outputs in seen]))
            for number, name in enumerate(_OUTPUTS)
        }
