"""Scores and limits of the search, fitted to labelled photographs by `benchmarks/fit_search.py`."""

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, NamedTuple

_FILE: Final = "search.json"
CONSTANTS: Final[dict[str, Any]] = json.loads((resources.files("sonjit.detectors.search") / _FILE).read_text("utf-8"))
LIMITS: Final[dict[str, float]] = CONSTANTS["limits"]
_LEAST_PROBABILITY = 1e-3


class Score(NamedTuple):
    """Logistic regression on named features.

    Attributes:
        bias: Constant term.
        weights: Weight of each feature.
    """

    bias: float
    weights: Mapping[str, float]

    @classmethod
    def named(cls, name: str) -> "Score":
        """Return a fitted score by its name in `search.json`."""
        return cls(CONSTANTS["scores"][name]["bias"], CONSTANTS["scores"][name]["weights"])

    def __call__(self, features: Mapping[str, float]) -> float:
        """Return the probability for the features of a candidate."""
        value = self.bias + sum(weight * features[name] for name, weight in self.weights.items())
        return 0.5 + 0.5 * math.tanh(value / 2)


def logit(probability: float) -> float:
    """Return log odds of a probability, which is first limited to 0.001..0.999."""
    p = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(p / (1 - p))
