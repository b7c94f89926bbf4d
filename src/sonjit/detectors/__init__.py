"""Detect and track hands, faces, bodies and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util.extensions import add_file_loader
from sonjit._util.lazy_names import names_from_stub

if TYPE_CHECKING:
    from types import ModuleType

__getattr__, __dir__, __all__ = names_from_stub(__name__, __file__)


def _load_network_file(path: str) -> ModuleType:
    """Register the network that a TOML file describes."""
    from sonjit.detectors import network_files

    network_files.register_network_file(Path(path))
    return network_files


add_file_loader(_load_network_file)
