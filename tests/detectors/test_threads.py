"""One detector per thread: each gives what it gives alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sonjit import create_detector


@pytest.mark.slow
def test_detectors_of_several_threads_do_not_disturb_each_other(weights, demo_clip):
    frames = demo_clip[1][100:140]

    def run(_):
        with create_detector("hands", model="lite") as detector:
            return [detector.detect(rgb) for rgb in frames]

    alone = run(0)
    assert any(alone)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(run, range(4)):
            assert together == alone
