"""Which models' weights are on this machine.

Detectors for those who come: made when first asked for, kept for a while when their client has left.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from sonjit.detectors import create_detector
from sonjit.detectors.kinds import KINDS
from sonjit.engines import shared_networks
from sonjit.errors import SonjitError
from sonjit.server.errors import RefusedError
from sonjit.server.options import detector_arguments
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from sonjit.detectors import Detector
    from sonjit.server.options import Spec


def needed_weights(kind: str, model: str) -> list[str]:
    """Names in the catalogue of the files that a model is made of."""
    return list(KINDS[kind].models[model].weights.values())


def missing_models() -> list[str]:
    """Models (`<kind>-<model>`) that cannot run here, for want of weights."""
    models = [(kind, model) for kind, entry in KINDS.items() for model in entry.models]
    return [f"{kind}-{model}" for kind, model in models if _missing(kind, model)]


def require_weights(kind: str, model: str) -> None:
    """RefusedError `missing_weights` that says what to type, where a file is missing or damaged."""
    if missing := _missing(kind, model):
        raise RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {' '.join(KINDS[kind].weight_groups)}",
        )


def _missing(kind: str, model: str) -> list[str]:
    return [name for name in needed_weights(kind, model) if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        find_weight(name)
    except SonjitError:
        return False
    return True


class Stock:
    """Lends detectors; all of them share their networks, so that one more costs its buffers only.

    Args:
        most: how many to keep that nobody uses, the longest unused ones going first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: OrderedDict[Spec, Detector[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        self.lent = 0

    def has(self, spec: Spec) -> bool:
        """Whether `take` gives one without loading anything."""
        with self._lock:
            return spec.detector in self._idle

    def take(self, spec: Spec) -> Detector[Any]:
        """A detector that has seen nothing yet; loads its networks where need be.

        Raises:
            RefusedError: weights are missing, or an option cannot be had.
        """
        with self._lock:
            detector = self._idle.pop(spec.detector, None)
        if detector is None:
            require_weights(spec.kind, spec.model)
            try:
                with shared_networks():
                    detector = create_detector(**spec_arguments(spec))
            except SonjitError as error:
                raise RefusedError("bad_option", f"{spec.name}: {error}") from error
        with self._lock:
            self.lent += 1
        return detector

    def give_back(self, spec: Spec, detector: Detector[Any]) -> None:
        """What `take` gave."""
        detector.reset()
        with self._lock:
            self.lent -= 1
            old = self._idle.pop(spec.detector, None)
            gone = [] if old is None else [old]
            self._idle[spec.detector] = detector
            while len(self._idle) > (0 if self._is_closed else self._most):
                gone.append(self._idle.popitem(last=False)[1])
        for one in gone:
            one.close()

    def close(self) -> None:
        """Free every detector; those lent go when they come back."""
        with self._lock:
            self._is_closed = True
            gone = list(self._idle.values())
            self._idle.clear()
        for one in gone:
            one.close()


def spec_arguments(spec: Spec) -> dict[str, Any]:
    """A spec as `create_detector` takes it."""
    return {"kind": spec.kind} | detector_arguments(spec.to_dict())
