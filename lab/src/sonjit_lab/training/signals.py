"""Signals that request a checkpoint: SIGUSR1 to save and continue, SIGTERM and SIGINT to save and end."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Self

from sonjit._util import signals

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    Handler = signal.Handlers | int | None

_LOG = logging.getLogger(__name__)
_NAMES = ("SIGUSR1", "SIGTERM", "SIGINT")
_NUMBERS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
_SAVE = 1  # request to save and continue. Requests to end have the number of their signal, which is larger.


class SaveRequests:
    """Context in which signals, in the main thread, request a checkpoint instead of ending the process at once.

    A second SIGTERM or SIGINT has its former effect.
    """

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in list(self._before):
            self._restore(number)

    def take(self) -> int:
        """Return the request since the last call: 0 for none, 1 to save, or the number of the signal that ends."""
        number, self._number = self._number, 0
        return number

    def _request(self, number: int, frame: FrameType | None) -> None:
        ends = signal.Signals(number).name != "SIGUSR1"
        self._number = max(self._number, number if ends else _SAVE)
        if ends:
            self._restore(number)
            _LOG.warning("%s: saving a checkpoint at the end of this step", signal.Signals(number).name)

    def _restore(self, number: int) -> None:
        before = self._before.pop(number)
        signal.signal(number, before if callable(before) or isinstance(before, int) else signal.SIG_DFL)


def ignore_early_saves() -> None:
    """Ignore SIGUSR1, which would end the process, until `SaveRequests` handles it: there is nothing to save yet."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGUSR1"):
        return
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, _do_nothing)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal, unlike SIG_IGN, which `SaveRequests` keeps."""


def ends_training(request: int) -> bool:
    """Check whether a request ends the training after its checkpoint."""
    return request > _SAVE


def end_process(number: int) -> None:
    """Raise the exception that ends the process with the usual exit status of the signal."""
    if number == signal.SIGINT:
        signal.raise_signal(number)
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def ignore_signals(_: int) -> None:
    """Ignore the signals in a worker process: the main process ends its workers after it saved a checkpoint."""
    signals.ignore(_NUMBERS)
