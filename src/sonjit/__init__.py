"""Sonjit: hands in images, video and a live camera, offline, on an ordinary CPU.

>>> import sonjit
>>> sorted(sonjit.__all__)[0]
'Body'
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit._util.errors import InputError as InputError
    from sonjit._util.errors import JobError as JobError
    from sonjit._util.errors import MissingExtraError as MissingExtraError
    from sonjit._util.errors import SonjitError as SonjitError
    from sonjit._util.extensions import load_extension as load_extension
    from sonjit._util.version import __version__ as __version__
    from sonjit.detectors import Detector as Detector
    from sonjit.detectors import Filter as Filter
    from sonjit.detectors import OneEuro as OneEuro
    from sonjit.detectors import create_detector as create_detector
    from sonjit.geometry.boxes import RotatedBox as RotatedBox
    from sonjit.media import Results as Results
    from sonjit.media import TrackedFrame as TrackedFrame
    from sonjit.media import draw as draw
    from sonjit.media import open_source as open_source
    from sonjit.media import to_dataframe as to_dataframe
    from sonjit.results import Body as Body
    from sonjit.results import Event as Event
    from sonjit.results import Face as Face
    from sonjit.results import Frame as Frame
    from sonjit.results import Hand as Hand
    from sonjit.results import Person as Person
    from sonjit.results.measures import fingers_up as fingers_up
    from sonjit.runs.tracked_frames import track as track

# Threads of OpenBLAS, in NumPy and OpenCV, wait busily for 2^26 cycles after their start and after each call, a quarter
# of the processor time of a start. OpenBLAS reads the exponent when NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
logging.getLogger("sonjit").addHandler(logging.NullHandler())
add_lazy_names(
    globals(),
    {
        **dict.fromkeys(("InputError", "JobError", "MissingExtraError", "SonjitError"), "sonjit._util.errors"),
        "load_extension": "sonjit._util.extensions",
        "__version__": "sonjit._util.version",
        **dict.fromkeys(("Detector", "Filter", "OneEuro", "create_detector"), "sonjit.detectors"),
        "RotatedBox": "sonjit.geometry.boxes",
        **dict.fromkeys(("Results", "TrackedFrame", "draw", "open_source", "to_dataframe"), "sonjit.media"),
        **dict.fromkeys(("Body", "Event", "Face", "Frame", "Hand", "Person"), "sonjit.results"),
        "fingers_up": "sonjit.results.measures",
        "track": "sonjit.runs.tracked_frames",
    },
)
