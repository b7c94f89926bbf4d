"""Sonjit: hands in images, video and a live camera, offline, on an ordinary CPU.

>>> import sonjit
>>> sorted(sonjit.__all__)[0]
'Body'
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from sonjit._version import __version__

if TYPE_CHECKING:
    from sonjit.detectors import Detector, Filter, OneEuro, create_detector, track
    from sonjit.errors import InputError, JobError, MissingExtraError, SonjitError
    from sonjit.geometry.boxes import RotatedBox
    from sonjit.measures import fingers_up
    from sonjit.media import Results, TrackedFrame, draw, open_source, to_dataframe
    from sonjit.results import Body, Face, Frame, Hand, Person

__all__ = [
    "Body",
    "Detector",
    "Face",
    "Filter",
    "Frame",
    "Hand",
    "InputError",
    "JobError",
    "MissingExtraError",
    "OneEuro",
    "Person",
    "Results",
    "RotatedBox",
    "SonjitError",
    "TrackedFrame",
    "__version__",
    "create_detector",
    "draw",
    "fingers_up",
    "open_source",
    "to_dataframe",
    "track",
]

_HOMES = {
    "Detector": "detectors",
    "Filter": "detectors",
    "OneEuro": "detectors",
    "create_detector": "detectors",
    "track": "detectors",
    "InputError": "errors",
    "JobError": "errors",
    "MissingExtraError": "errors",
    "SonjitError": "errors",
    "RotatedBox": "geometry.boxes",
    "fingers_up": "measures",
    "Results": "media",
    "TrackedFrame": "media",
    "draw": "media",
    "open_source": "media",
    "to_dataframe": "media",
    "Body": "results",
    "Face": "results",
    "Frame": "results",
    "Hand": "results",
    "Person": "results",
}

logging.getLogger("sonjit").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: `import sonjit` stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sonjit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sonjit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
