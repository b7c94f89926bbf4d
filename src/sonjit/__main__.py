"""`sonjit`, and `python -m sonjit`."""

import atexit
import gc
import os
import signal
import sys
from types import FrameType

_STOPPED = 130  # exit status of `main` after Ctrl-C
_PAUSE_S, _PAUSES = 0.02, 500  # pause before a signal is handled again while modules load, and maximum number of pauses
_AGAIN = getattr(signal, "SIGALRM", None)  # None on Windows


def run() -> None:
    """Run the command line and exit. Ctrl-C, SIGTERM and SIGHUP end it in one line, also while its modules load."""
    gc.disable()  # modules that load leave nothing to collect; `main` enables it
    status, stop_status, is_stopped, pauses_left = 1, _STOPPED, False, _PAUSES

    def stop(_number: int, frame: FrameType | None) -> None:
        nonlocal is_stopped, pauses_left
        if _AGAIN is not None and pauses_left and _is_loading(frame):
            pauses_left -= 1
            signal.signal(_AGAIN, stop)
            signal.setitimer(signal.ITIMER_REAL, _PAUSE_S)
        else:
            is_stopped = True
            raise KeyboardInterrupt

    def terminate(number: int, _frame: FrameType | None) -> None:
        """Stop in the same way as Ctrl-C, which the server handles itself, so that outputs are completed or removed."""
        nonlocal stop_status
        stop_status = 128 + number
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, stop)
        signal.raise_signal(signal.SIGINT)

    def leave() -> None:
        """End the process without freeing each object: it takes a sixth of a short run, and aborts threads in C++."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):  # the reader has closed it; the interpreter reports it
                return
        os._exit(status)

    if not _is_watched():
        atexit.register(leave)  # before others, so that it is called after them
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # the latter by a terminal that closes
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job has it switched off
        signal.signal(signal.SIGINT, stop)
    try:
        from sonjit.cli import main
        from sonjit.cli.streams import prepare_streams

        prepare_streams()
        status = main()
    except BaseException as error:
        if not (is_stopped or isinstance(error, KeyboardInterrupt)):
            atexit.unregister(leave)
            raise
        sys.stderr.write("sonjit: stopped\n")  # what is written in C++ may make another error of it
        status = _STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if status == _STOPPED:
        status = stop_status
    sys.exit(status)


def _is_loading(frame: FrameType | None) -> bool:
    """Check whether a module is being loaded. Some modules in C++ fail or abort when their loading is interrupted."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _is_watched() -> bool:
    """Check whether a tracer, profiler or debugger runs, which writes its data at the interpreter's own end."""
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    tools = [] if monitoring is None else [monitoring.get_tool(number) for number in range(6)]
    return any((sys.gettrace(), sys.getprofile(), *tools))


if __name__ == "__main__":
    run()
