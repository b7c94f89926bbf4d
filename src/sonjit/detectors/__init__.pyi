"""Public names of `sonjit.detectors`. `names_from_stub` reads this file."""

from sonjit._util.extensions import load_extension as load_extension
from sonjit.detectors.create import KindName as KindName
from sonjit.detectors.create import create_detector as create_detector
from sonjit.detectors.pipeline import Detector as Detector
from sonjit.detectors.smoothing import Filter as Filter
from sonjit.detectors.smoothing import OneEuro as OneEuro
