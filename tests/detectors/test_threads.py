"""Threads, asyncio and processes give the results of a single thread."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from sonjit import InputError, create_detector
from sonjit.detectors import loop, options, pipeline, tracking

from .fakes import Scene

FORKED = """
import os, sys
import numpy as np
from sonjit import InputError, create_detector

detector = create_detector("hands", model="lite")
child = os.fork()
if not child:
    rgb = np.zeros((9, 9, 3), np.uint8)
    for call in (
        lambda: create_detector("hands", model="lite"),
        lambda: detector.detect(rgb),
        lambda: next(detector.detect_frames([(rgb, 0.0)])),
        lambda: next(detector.detect_frames([(rgb, 0.0)], roi=(0, 0, 4, 4))),
    ):
        try:
            call()
        except InputError as error:
            print(error, flush=True)
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
def test_detectors_of_several_threads_do_not_disturb_each_other(weights, demo_clip):
    frames = demo_clip[1][100:108]

    def run(_):
        with create_detector("hands", model="lite") as detector:
            return [detector.detect(rgb) for rgb in frames]

    separate = run(0)
    assert any(separate)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(run, range(4)):
            assert together == separate


@pytest.mark.slow
def test_one_detector_of_stills_may_be_shared_by_threads_and_by_asyncio(weights, demo_clip):
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][100:108]]

    async def gathered():
        return await asyncio.gather(*(asyncio.wrap_future(detector.detect_async(rgb)) for rgb in frames))

    with create_detector("hands", model="lite", static_image=True, search="fast") as detector:
        separate = [detector.detect(rgb) for rgb in frames]
        assert any(separate)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(detector.detect, frames)) == separate
        assert asyncio.run(gathered()) == separate


def test_a_detector_that_threads_share_and_one_closes_refuses_the_rest():
    detector = pipeline.Detector(loop.Loop(Scene([100]), tracking.Tracker(), options.CommonOptions(max_instances=2)))
    rgb = np.zeros((48, 64, 3), np.uint8)

    def detect(number):
        if number == 20:
            detector.close()
        try:
            detector.detect(rgb)
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        messages = set(pool.map(detect, range(40)))
    assert messages - {""} == {"this detector is closed. Create a new one with create_detector."}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_forked_after_networks_were_loaded_raises_instead_of_hanging(weights):
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert set(lines) == {lines[0]}
    assert "start processes by spawn" in lines[0]


OPTIONS = {
    "hands": [{}, {"gestures": "canned"}, {"distance": True, "hand_length": 0.2}],
    "face": [{"model": "box"}],
    "body": [{"model": "lite", "segmentation": True}],
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "given"), [(kind, given) for kind, all_ in OPTIONS.items() for given in all_])
def test_a_batch_has_the_results_of_single_images(weights, demo_clip, kind, given):
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][100:106:2]]
    first = {"model": "lite"} if kind == "hands" else {}
    with create_detector(kind, static_image=True, threads=2, **first | given) as detector:
        single = [detector.detect(rgb) for rgb in frames]
        batch = detector.detect_batch(frames)
    assert batch == single
    assert [(one.total, one.complete) for one in batch] == [(one.total, one.complete) for one in single]


@pytest.mark.slow
def test_a_batch_follows_the_gestures_that_are_set_between_batches(weights, demo_clip):
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][100:103]]

    def gestures(results):
        return [[hand.gesture and hand.gesture.name for hand in hands] for hands in results]

    with create_detector("hands", model="lite", static_image=True, search="fast", threads=2) as detector:
        for name in (None, "canned", "asl", None, "canned"):
            detector.set_gestures(name)
            single, batch = [detector.detect(rgb) for rgb in frames], detector.detect_batch(frames)
            assert gestures(batch) == gestures(single)
            assert any(any(each) for each in gestures(batch)) == (name is not None)
