"""Send messages to receivers in threads, so that a receiver that is slow or stops delays nothing else."""

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from sonjit._util import pluralize
from sonjit._util.addresses import hide_secrets
from sonjit._util.files import Closing

T = TypeVar("T")

TIMEOUT_S: Final = 1.0  # time limit of a connection and of an answer, after which a receiver counts as stopped
_GIVE_UP_S: Final = 10.0  # time limit of a message, after which its connection is opened again
_RETRY_S: Final = 2.0  # minimum time between a failure and the next message
_WAIT_S: Final = 0.1  # maximum time to wait for a receiver that is usually fast, and whose thread may only be late
_LOG = logging.getLogger(__name__)


class Target(Closing, Generic[T]):
    """Send messages to one receiver in a thread. At most one message waits; a newer one replaces it.

    A message whose connection fails waits for the receiver as long as it is valid, unless a newer one replaces it. A
    receiver that stops, and one that returns, are each reported once as a warning.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[T], object],
        abort: Callable[[], object] = lambda: None,
        *,
        slot: Callable[[T], Hashable] = lambda _: None,
        end: Callable[[], object] = lambda: None,
        valid_s: Callable[[T], float] = lambda _: 0.0,
    ) -> None:
        """Start the thread.

        Args:
            name: Name of the receiver in warnings.
            send: Function that sends a message. OSError means that the receiver did not get it, and that it can be sent
                again. After any other exception it is left out.
            abort: Function that lets a `send` that takes too long fail. It is called from another thread.
            slot: Function that returns what a message replaces: a waiting message of the same slot.
            end: Function that closes the connection. It is called in the thread after the last message.
            valid_s: Function that returns for how long a message may be sent again, in seconds.
        """
        self._name = hide_secrets(name)
        self._send = send
        self._abort = abort
        self._slot = slot
        self._end = end
        self._valid_s = valid_s
        self._waiting: dict[Hashable, tuple[T, float]] = {}  # messages and their times, oldest first
        self._changed = threading.Condition()
        self._busy_since_s = math.inf  # start of the message that is being sent
        self._last_s = 0.0  # duration of the last message
        self._again_s = -math.inf  # time of the next message after a failure
        self._has_stopped = self._is_closed = False
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="sonjit-target", daemon=True)
        self._thread.start()

    def put(self, message: T) -> None:
        """Send a message as soon as the receiver is free, in place of one that still waits."""
        slot = self._slot(message)
        with self._changed:
            busy_s = time.monotonic() - self._busy_since_s
            if slot in self._waiting and max(busy_s, self._last_s) < _WAIT_S and not self._has_stopped:
                self._changed.wait_for(lambda: slot not in self._waiting, _WAIT_S)
            if slot in self._waiting:
                del self._waiting[slot]
                self._left_out += 1
            self._waiting[slot] = message, time.monotonic()
            self._changed.notify_all()
            busy_s = time.monotonic() - self._busy_since_s
            if busy_s > TIMEOUT_S:
                self._report_stop("it does not receive")
        if busy_s > _GIVE_UP_S:
            self._abort()

    def close(self) -> None:
        """Send the last message if the receiver takes it within the time limit, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(TIMEOUT_S)
        if self._thread.is_alive():
            with self._changed:
                self._report_stop("it does not receive")
            self._abort()
            self._thread.join(TIMEOUT_S)
        elif self._left_out and not self._has_stopped:
            _LOG.warning("%s: slow; left out %s", self._name, pluralize(self._left_out, "message"))

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            message, put_s = entry
            try:
                self._send(message)
            except Exception as error:  # a receiver must not end the program
                with self._changed:
                    self._again_s = time.monotonic() + _RETRY_S
                    is_valid = isinstance(error, OSError) and self._again_s < put_s + self._valid_s(message)
                    if is_valid and self._slot(message) not in self._waiting:
                        self._waiting = {self._slot(message): entry, **self._waiting}
                    else:
                        self._left_out += 1
                    self._report_stop(str(error) or type(error).__name__)
            else:
                with self._changed:
                    self._report_return()
        try:
            self._end()
        except Exception as error:
            with self._changed:
                self._report_stop(str(error) or type(error).__name__)

    def _next(self) -> tuple[T, float] | None:
        """Wait for the next message, and return it with its time; None at the end."""
        with self._changed:
            self._last_s = max(0.0, time.monotonic() - self._busy_since_s)
            self._busy_since_s = math.inf
            while True:
                pause_s = self._again_s - time.monotonic()
                if self._waiting and pause_s <= 0:
                    self._busy_since_s = time.monotonic()
                    self._changed.notify_all()
                    return self._waiting.pop(next(iter(self._waiting)))
                if self._is_closed:
                    return None
                self._changed.wait(pause_s if self._waiting else None)

    def _report_stop(self, reason: str) -> None:
        if not self._has_stopped:
            self._has_stopped = True
            _LOG.warning("%s: %s", self._name, hide_secrets(reason))

    def _report_return(self) -> None:
        if self._has_stopped and not self._is_closed:
            self._has_stopped = False
            _LOG.warning("%s: receives again; left out %s", self._name, pluralize(self._left_out, "message"))
            self._left_out = 0
