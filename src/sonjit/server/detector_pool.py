"""Detectors for clients: checks for missing weights, and a pool of idle detectors."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sonjit._util.errors import SonjitError
from sonjit.detectors import Detector
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS
from sonjit.engines import shared_networks
from sonjit.server.errors import RefusedError
from sonjit.server.options import SessionOptions
from sonjit.weights import find_weight


def missing_models() -> list[str]:
    """Return the models (`<kind>-<model>`) whose weights are missing."""
    models = [(kind, model) for kind, entry in KINDS.items() for model in entry.models]
    return [f"{kind}-{model}" for kind, model in models if missing_weights(kind, model)]


def require_weights(kind: str, model: str) -> None:
    """Raise RefusedError `missing_weights` if a file is missing or damaged. Its message names the remedy."""
    if missing := missing_weights(kind, model):
        raise RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {' '.join(KINDS[kind].weight_groups)}",
        )


def missing_weights(kind: str, model: str) -> list[str]:
    """Return the catalogue names of missing files that a model and its search need."""
    required = (*KINDS[kind].models[model].weights.values(), *KINDS[kind].search_weights)
    return [name for name in required if not _has_weight(name)]


def _has_weight(name: str) -> bool:
    try:
        find_weight(name)
    except SonjitError:
        return False
    return True


class DetectorPool:
    """Detectors for clients. All detectors share their networks, so that another one needs only buffers.

    Args:
        max_idle: Maximum number of unused detectors. The one unused for the longest time is closed first.

    Attributes:
        in_use: Number of detectors that clients use.
    """

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._idle: OrderedDict[SessionOptions, Detector[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        self.in_use = 0

    def has(self, options: SessionOptions) -> bool:
        """Check whether `take` returns a detector without loading anything."""
        with self._lock:
            return options.key in self._idle

    async def take_async(self, options: SessionOptions) -> Detector[Any]:
        """Take a detector without blocking the event loop.

        If the task is cancelled while the detector is loading, the detector returns to the pool.
        """
        taking = asyncio.ensure_future(asyncio.to_thread(self.take, options))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(Exception):
                self.give_back(options, await taking)
            raise

    def take(self, options: SessionOptions) -> Detector[Any]:
        """Return a detector without tracked instances. Load its networks if none is idle.

        Raises:
            RefusedError: Weights are missing, or an option is not available.
        """
        with self._lock:
            detector = self._idle.pop(options.key, None)
        if detector is None:
            require_weights(options.kind, options.detector.model)
            try:
                with shared_networks():
                    detector = detector_from(replace(options.detector, shared=True))
            except SonjitError as error:
                raise RefusedError("bad_option", f"{options.name}: {error}") from error
        with self._lock:
            self.in_use += 1
        return detector

    def give_back(self, options: SessionOptions, detector: Detector[Any]) -> None:
        """Return a detector to the pool."""
        detector.reset()
        with self._lock:
            self.in_use -= 1
            replaced = self._idle.pop(options.key, None)
            surplus = [] if replaced is None else [replaced]
            self._idle[options.key] = detector
            while len(self._idle) > (0 if self._is_closed else self._max_idle):
                surplus.append(self._idle.popitem(last=False)[1])
        for detector in surplus:
            detector.close()

    def close(self) -> None:
        """Close all idle detectors. Detectors in use are closed when they return."""
        with self._lock:
            self._is_closed = True
            idle = list(self._idle.values())
            self._idle.clear()
        for detector in idle:
            detector.close()
