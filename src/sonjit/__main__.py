"""`sonjit`, and `python -m sonjit`."""

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_STOPPED = 130


def run() -> None:
    """Run the command line and exit; Ctrl-C ends it in one line, while its modules load too."""
    is_stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopped
        is_stopped = True
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job has it switched off
        signal.signal(signal.SIGINT, stop)
    try:
        from sonjit.cli import main

        status = main()
    except BaseException as error:
        if not (is_stopped or isinstance(error, KeyboardInterrupt)):
            raise
        sys.stderr.write("sonjit: stopped\n")  # modules in C++ make other errors of it while they load
        status = _STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    if status == _STOPPED:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """Exit without the interpreter's own end, which a stop may spoil.

    A thread that still draws or decodes in C++ would abort there, and a module in C that met the Ctrl-C before
    everybody else would have the process end by the signal, whoever caught it since.
    """
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # as multiprocessing does in its own processes
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
