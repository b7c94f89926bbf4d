"""Detect and track hands, faces, bodies and people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names
from sonjit.detectors import registered as _registered  # noqa: F401  # pyright: ignore[reportUnusedImport]

if TYPE_CHECKING:
    from sonjit.detectors.create import KindName as KindName
    from sonjit.detectors.create import create_detector as create_detector
    from sonjit.detectors.pipeline import Detector as Detector
    from sonjit.detectors.smoothing import Filter as Filter
    from sonjit.detectors.smoothing import OneEuro as OneEuro

add_lazy_names(globals(), {
    "KindName create_detector": "sonjit.detectors.create",
    "Detector": "sonjit.detectors.pipeline",
    "Filter OneEuro": "sonjit.detectors.smoothing",
})  # fmt: skip
