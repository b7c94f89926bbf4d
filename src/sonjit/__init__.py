"""Sonjit: hands, faces and bodies in images, video and live cameras, offline, on an ordinary CPU.

>>> import sonjit
>>> sorted(sonjit.__all__)[0]
'Body'
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit._util.errors import InputError, JobError, MissingExtraError, SonjitError
    from sonjit._util.version import __version__
    from sonjit.detectors import Detector, Filter, OneEuro, create_detector, load_extension
    from sonjit.explanations.imagenet import explain
    from sonjit.geometry.boxes import RotatedBox
    from sonjit.media import DrawingStyle, Results, TrackedFrame, draw, open_source, to_dataframe
    from sonjit.results import Body, Event, Face, Frame, Hand, Person
    from sonjit.results.measures import fingers_up
    from sonjit.runs.tracked_frames import track

__all__ = [
    "Body", "Detector", "DrawingStyle", "Event", "Face", "Filter", "Frame", "Hand", "InputError", "JobError",
    "MissingExtraError", "OneEuro", "Person", "Results", "RotatedBox", "SonjitError", "TrackedFrame", "__version__",
    "create_detector", "draw", "explain", "fingers_up", "load_extension", "open_source", "to_dataframe", "track",
]  # fmt: skip

if not os.path.isdir(__path__[0]):  # noqa: PTH112  # pathlib is slow to import
    raise ImportError(
        f"sonjit cannot be imported from {os.path.dirname(__path__[0])}: it reads files and native libraries of its "  # noqa: PTH120
        "folder. Unpack the zip file, or install sonjit with pip"
    )

# Threads of OpenBLAS, in NumPy and OpenCV, wait busily for 2^26 cycles after their start and after each call, a quarter
# of the processor time of a start. OpenBLAS reads the exponent when NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
add_lazy_names(globals(), {
    "InputError JobError MissingExtraError SonjitError": "sonjit._util.errors",
    "__version__": "sonjit._util.version",
    "Detector Filter OneEuro create_detector load_extension": "sonjit.detectors",
    "RotatedBox": "sonjit.geometry.boxes",
    "explain": "sonjit.explanations.imagenet",
    "DrawingStyle Results TrackedFrame draw open_source to_dataframe": "sonjit.media",
    "Body Event Face Frame Hand Person": "sonjit.results",
    "fingers_up": "sonjit.results.measures",
    "track": "sonjit.runs.tracked_frames",
})  # fmt: skip
