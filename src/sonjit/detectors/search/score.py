"""Scores and limits of the search, fitted to labelled photographs by `benchmarks/fit_search.py`."""

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

_FILE: Final = "search.json"
CONSTANTS: Final[dict[str, Any]] = json.loads((resources.files("sonjit.detectors.search") / _FILE).read_text("utf-8"))
LIMITS: Final[dict[str, float]] = CONSTANTS["limits"]
_LEAST_PROBABILITY = 1e-3


def probability(name: str, features: Mapping[str, float]) -> float:
    """Return the probability for the features of a candidate by a logistic regression of `search.json`."""
    fitted = CONSTANTS["scores"][name]
    value = fitted["bias"] + sum(weight * features[feature] for feature, weight in fitted["weights"].items())
    return 0.5 + 0.5 * math.tanh(value / 2)


def logit(probability: float) -> float:
    """Return log odds of a probability, which is first limited to 0.001..0.999."""
    p = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(p / (1 - p))
