"""`sonjit`, and `python -m sonjit`."""

import _thread
import atexit
import codecs
import gc
import io
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

_STOPPED = 130  # exit status after Ctrl-C
_PAUSE_S, _PAUSES = 0.02, 500  # pause before a signal is raised again while modules load, and maximum number of pauses


def run() -> None:
    """Run the command line and exit. Ctrl-C, SIGTERM and SIGHUP end it in one line, also while its modules load."""
    gc.disable()  # modules that load leave nothing to collect; `main` enables it
    _open_closed_streams()
    is_stopped = False
    stop_status = _STOPPED
    pauses_left = _PAUSES

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopped, pauses_left
        if pauses_left and _is_loading(frame):
            pauses_left -= 1
            _thread.start_new_thread(stop_again, (_thread.get_ident(), pauses_left))
        else:
            is_stopped = True
            signal.default_int_handler(number, frame)

    def stop_again(main_thread: int, left: int) -> None:
        time.sleep(_PAUSE_S)
        while pauses_left == left and not is_stopped:  # one signal just before a call that waits would not end it
            if sys.platform == "win32":
                _thread.interrupt_main()
            else:
                signal.pthread_kill(main_thread, signal.SIGINT)
            time.sleep(_PAUSE_S)

    def terminate(number: int, _frame: FrameType | None) -> None:
        """Stop in the same way as Ctrl-C, so that outputs are completed or removed."""
        nonlocal stop_status
        stop_status = 128 + number
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, stop)
        signal.raise_signal(signal.SIGINT)

    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # the latter by a terminal that closes
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job has it switched off
        signal.signal(signal.SIGINT, stop)
    codecs.register_error("sonjit-escape", _escape)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="sonjit-escape")
    try:
        from sonjit.cli import main

        status = main()
    except BaseException as error:
        if not (is_stopped or isinstance(error, KeyboardInterrupt)):
            raise
        sys.stderr.write("sonjit: stopped\n")  # what is written in C++ may make another error of it
        status = _STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if status == _STOPPED:
        _leave(stop_status)
    if _has_ended():
        _leave(status)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Open standard streams that the caller has closed on the null device.

    Otherwise the next file would get the number of the stream, and libraries in C++ would print into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # gets the lowest free number  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a terminal or pipe cannot encode by the escapes of JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _is_loading(frame: FrameType | None) -> bool:
    """Check whether a module is being loaded. Some modules in C++ abort when their loading is interrupted."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _has_ended() -> bool:
    """Check whether nothing waits for the interpreter's own end: no thread, output, profiler or debugger."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the interpreter reports it
        return False
    return threading.active_count() == 1 and sys.getprofile() is None and sys.gettrace() is None


def _leave(status: int) -> None:
    """Exit without the interpreter's own end, which frees each object and takes a tenth of the time of a short run.

    A thread that still draws or decodes in C++ would abort there.
    """
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # as multiprocessing does in its own processes
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has closed it
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
