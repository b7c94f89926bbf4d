"""Sonjit: hands in images, video and a live camera, offline, on an ordinary CPU.

>>> import sonjit
>>> sorted(sonjit.__all__)[0]
'Body'
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.lazy_names import add_lazy_names

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

logging.getLogger("sonjit").addHandler(logging.NullHandler())

add_lazy_names(
    globals(),
    {
        ".detectors": "Detector Filter OneEuro create_detector track",
        ".errors": "InputError JobError MissingExtraError SonjitError",
        ".geometry.boxes": "RotatedBox",
        ".measures": "fingers_up",
        ".media": "Results TrackedFrame draw open_source to_dataframe",
        ".results": "Body Face Frame Hand Person",
    },
)
