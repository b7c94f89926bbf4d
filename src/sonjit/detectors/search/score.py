"""Scores and limits of the search, fitted to labelled photographs by `research/fit_search.py`."""

import math
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final

import numpy as np

from sonjit._util import Float32Array
from sonjit._util.data_files import read_json

CONSTANTS: Final[dict[str, Any]] = read_json(resources.files("sonjit.detectors.search") / "search.json")
LIMITS: Final[dict[str, float]] = CONSTANTS["limits"]
_LEAST_PROBABILITY = 1e-3
_MAP_WEIGHTS: Final = np.array(CONSTANTS["hand_maps"]["weights"], np.float32)


def probability(name: str, features: Mapping[str, float]) -> float:
    """Return the probability for the features of a candidate by a logistic regression of `search.json`."""
    fitted = CONSTANTS["scores"][name]
    value = fitted["bias"] + sum(weight * features[feature] for feature, weight in fitted["weights"].items())
    return 0.5 + 0.5 * math.tanh(value / 2)


def logit(probability: float) -> float:
    """Return log odds of a probability, which is first limited to 0.001..0.999."""
    p = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(p / (1 - p))


def map_odds(views: Iterable[Float32Array | None]) -> float | None:
    """Return the log odds of a hand by the maps of the full network at the keypoints.

    `views` has the maps (21, L) of each view. Return None without them, and for other networks.
    """
    odds: list[float] = []
    for maps in views:
        if maps is None or maps.shape[1] != len(_MAP_WEIGHTS):
            return None
        odds.append(float((maps @ _MAP_WEIGHTS).mean()))
    return CONSTANTS["hand_maps"]["bias"] + sum(odds) / len(odds)
