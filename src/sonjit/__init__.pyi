"""Public names of `sonjit`. `names_from_stub` reads this file."""

from sonjit._util.errors import InputError as InputError
from sonjit._util.errors import JobError as JobError
from sonjit._util.errors import SonjitError as SonjitError
from sonjit._util.extras import MissingExtraError as MissingExtraError
from sonjit._util.version import __version__ as __version__
from sonjit.detectors import Detector as Detector
from sonjit.detectors import Filter as Filter
from sonjit.detectors import OneEuro as OneEuro
from sonjit.detectors import create_detector as create_detector
from sonjit.detectors import load_extension as load_extension
from sonjit.explanations.imagenet import explain as explain
from sonjit.geometry.boxes import RotatedBox as RotatedBox
from sonjit.media import DrawingStyle as DrawingStyle
from sonjit.media import draw as draw
from sonjit.media import open_source as open_source
from sonjit.media import to_dataframe as to_dataframe
from sonjit.results import Body as Body
from sonjit.results import Event as Event
from sonjit.results import Face as Face
from sonjit.results import Frame as Frame
from sonjit.results import Hand as Hand
from sonjit.results import Person as Person
from sonjit.results import Results as Results
from sonjit.results import TrackedFrame as TrackedFrame
from sonjit.results.measures import fingers_up as fingers_up
from sonjit.runs.tracked_frames import track as track
