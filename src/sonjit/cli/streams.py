"""Standard streams of a program: those that its caller closed, and those that cannot encode every character."""

import codecs
import io
import json
import os
import sys
from pathlib import Path


def prepare_streams() -> None:
    """Open closed streams, and write characters that a terminal or pipe cannot encode as the escapes of JSON."""
    _open_closed_streams()
    codecs.register_error("sonjit-escape", _escape)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="sonjit-escape")


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
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
