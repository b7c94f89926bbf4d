"""Decide whether two observations show the same instance."""

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.observations import Observation
from sonjit.detectors.search.geometry import is_same_instance, is_same_torso


def is_same(a: Observation, b: Observation) -> bool:
    """Check whether two observations of one image show the same instance."""
    if isinstance(a, BodyObservation) and isinstance(b, BodyObservation) and is_same_torso(a, b):
        return True
    return is_same_instance(a.keypoints, b.keypoints)
