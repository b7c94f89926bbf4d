"""Compare the ranges of motion of two reports of one person, with the error in mind."""

import json
import math
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import InputError
from sonjit.report import errors
from sonjit.report.recording import Recording

CHANGE_HEADINGS: Final = ("range of", "before °", "now °", "change °", "95 % error °", "in words")
_ID: Final = "sonjit-ranges"
_RANGES_IN_PAGE = re.compile(rf'<script type="application/json" id="{_ID}">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class Earlier:
    """Ranges of motion of an earlier report."""

    title: str
    model: str
    ranges_deg: dict[str, float]  # by name of the angle


def ranges_script(title: str, recording: Recording) -> str:
    """Return the ranges of a report as an element of its page, from which `earlier_report` reads them."""
    content = json.dumps({"title": title, "model": recording.model, "ranges_deg": recording.spans}).replace(
        "<", "\\u003c"
    )
    return f'<script type="application/json" id="{_ID}">{content}</script>'


def earlier_report(path: Path) -> Earlier:
    """Read the ranges of a report from its page.

    Raises:
        InputError: The file cannot be read, or is no page of a report.
    """
    try:
        match = _RANGES_IN_PAGE.search(path.read_text("utf-8"))
        content = json.loads(match[1]) if match else {}
        ranges = {str(name): float(value) for name, value in content["ranges_deg"].items()}
        earlier = Earlier(str(content["title"]), str(content["model"]), ranges)
    except OSError as error:
        raise InputError(f"--before {path}: not readable: {error.strerror}") from None
    except (KeyError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        raise InputError(f"--before {path}: this is no .html page of sonjit report") from None
    if earlier.model not in errors.models():
        raise InputError(f"--before {path}: unknown model {escape(earlier.model)}")
    return earlier


def rows_against(earlier: Earlier, recording: Recording) -> list[tuple[str, ...]]:
    """Return rows of angle, range before, range now, change, its 95 % error, and the verdict in words."""
    rows: list[tuple[str, ...]] = []
    for name, now in recording.spans.items():
        before = earlier.ranges_deg.get(name)
        error = errors.difference_error_deg(errors.joint_of(name), earlier.model, recording.model)
        if before is None or not math.isfinite(error):
            continue
        verdict = "changed by more than the 95 % error" if abs(now - before) > error else "within the error"
        numbers = [f"{np.round(value) + 0.0:.0f}" for value in (before, now)]
        rows.append(
            (
                recording.name_of(name),
                *numbers,
                f"{change:+.0f}" if (change := np.round(now) - np.round(before)) else "0",
                f"{error:.0f}",
                recording.text(verdict),
            )
        )
    return rows
