"""Detect and track hands, faces, bodies and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util.extensions import add_file_loader
from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from types import ModuleType

    from sonjit._util.extensions import load_extension as load_extension
    from sonjit.detectors.create import KindName as KindName
    from sonjit.detectors.create import create_detector as create_detector
    from sonjit.detectors.pipeline import Detector as Detector
    from sonjit.detectors.smoothing import Filter as Filter
    from sonjit.detectors.smoothing import OneEuro as OneEuro

add_lazy_names(globals(), {
    "KindName create_detector": "sonjit.detectors.create",
    "Detector": "sonjit.detectors.pipeline",
    "Filter OneEuro": "sonjit.detectors.smoothing",
    "load_extension": "sonjit._util.extensions",
})  # fmt: skip


def _load_network_file(path: str) -> ModuleType:
    """Register the network that a TOML file describes."""
    from sonjit.detectors import network_files

    network_files.register_network_file(Path(path))
    return network_files


add_file_loader(_load_network_file)
