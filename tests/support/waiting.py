"""The polling helper of the tests, for conditions that depend on other threads and processes."""

import time

import pytest

MAX_PAUSE_S = 0.04


def wait_until(condition, seconds=60, describe=lambda: "the condition did not become true", every_s=0.005):
    """Poll until a condition is true and return its value; fail with `describe()` after the time limit.

    Pauses get longer up to `MAX_PAUSE_S`, because what takes seconds needs the processor that polls would take.
    """
    end_s = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end_s:
            pytest.fail(describe())
        time.sleep(every_s)
        every_s = min(1.1 * every_s, MAX_PAUSE_S)
    return value
