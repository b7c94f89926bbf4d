"""Detectors for clients: which have their weights here; made when first asked for, kept for the next client."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.options import filter_from_name
from sonjit.engines import shared_networks
from sonjit.errors import SonjitError
from sonjit.server.errors import RefusedError
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from sonjit.detectors import Detector
    from sonjit.server.options import SessionOptions


def missing_models() -> list[str]:
    """Models (`<kind>-<model>`) that cannot run here, for want of weights."""
    models = [(kind, model) for kind, entry in KINDS.items() for model in entry.models]
    return [f"{kind}-{model}" for kind, model in models if missing_weights(kind, model)]


def require_weights(kind: str, model: str) -> None:
    """RefusedError `missing_weights` that says what to type, where a file is missing or damaged."""
    if missing := missing_weights(kind, model):
        raise RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {' '.join(KINDS[kind].weight_groups)}",
        )


def missing_weights(kind: str, model: str) -> list[str]:
    """Names in the catalogue of the files that a model needs and that are not on this machine, or damaged."""
    return [name for name in KINDS[kind].models[model].weights.values() if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        find_weight(name)
    except SonjitError:
        return False
    return True


class DetectorPool:
    """Lends detectors; all of them share their networks, so that one more costs its buffers only.

    Args:
        most: how many to keep that nobody uses, the longest unused ones going first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: OrderedDict[SessionOptions, Detector[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        self.lent = 0

    def has(self, options: SessionOptions) -> bool:
        """Whether `take` gives one without loading anything."""
        with self._lock:
            return options.key in self._idle

    def take(self, options: SessionOptions) -> Detector[Any]:
        """A detector that has seen nothing yet; loads its networks where need be.

        Raises:
            RefusedError: weights are missing, or an option cannot be had.
        """
        with self._lock:
            detector = self._idle.pop(options.key, None)
        if detector is None:
            require_weights(options.kind, options.detector.model)
            try:
                with shared_networks():
                    detector = detector_from(replace(options.detector, smoothing=filter_from_name(options.smoothing)))
            except SonjitError as error:
                raise RefusedError("bad_option", f"{options.name}: {error}") from error
        with self._lock:
            self.lent += 1
        return detector

    def give_back(self, options: SessionOptions, detector: Detector[Any]) -> None:
        """What `take` gave."""
        detector.reset()
        with self._lock:
            self.lent -= 1
            old = self._idle.pop(options.key, None)
            gone = [] if old is None else [old]
            self._idle[options.key] = detector
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
