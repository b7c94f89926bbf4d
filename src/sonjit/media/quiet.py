"""Keep OpenCV's own log lines off standard error while Sonjit handles the failure itself."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = threading.Lock()
_inside = 0
_level_before = 0


@contextmanager
def quiet_opencv() -> Generator[None]:
    """Silence OpenCV's logger inside the block; the last thread to leave restores the caller's level."""
    global _inside, _level_before
    from cv2.utils import logging

    with _lock:
        if _inside == 0:
            _level_before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                logging.setLogLevel(_level_before)
