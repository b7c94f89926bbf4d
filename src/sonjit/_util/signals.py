"""Signals that stop a program, while it starts processes and in these processes."""

import signal
import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final

INTERRUPTS: Final = tuple(int(getattr(signal, name)) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))
"""Signals of Ctrl-C and of a closed terminal, which terminals send to all processes of a program."""
STOPS: Final = (*INTERRUPTS, int(signal.SIGTERM))
"""Also the signal of service managers, which may send it to all processes."""


@contextmanager
def hold(numbers: Collection[int]) -> Generator[None]:
    """Defer signals while processes start, so that these can first call `ignore`.

    The processes inherit that the signals are blocked. Windows sends no signals to processes.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # slow to import

    received = list[int]()
    handlers = {}
    if (
        threading.current_thread() is threading.main_thread()
    ):  # in which Python calls handlers, whichever thread gets one
        handlers = {
            number: signal.signal(number, lambda signal_number, _: received.append(signal_number)) for number in numbers
        }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        resource_tracker.ensure_running()  # a closed terminal would end it; its start unblocks signals
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def ignore(numbers: Collection[int]) -> None:
    """Ignore signals in this process, which leaves them to the process that started it."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
