"""Threads, asyncio and processes: each gives what one thread alone gives."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from sonjit import InputError, create_detector
from sonjit.detectors.options import DetectorOptions
from sonjit.detectors.pipeline import Detector
from sonjit.detectors.tracking import Tracker

from .fakes import Scene

PROCESSES = """
import json, multiprocessing, os, sys
import sonjit

def found(path):
    with sonjit.create_detector("hands", model="lite", static_image=True) as detector:
        return [hand.to_dict() for hand in detector.detect(path)]

if __name__ == "__main__":
    path, said = sys.argv[1], None
    with_fork = "fork" in multiprocessing.get_all_start_methods()
    results = []
    for way in ["spawn", "fork"] if with_fork else ["spawn"]:
        with multiprocessing.get_context(way).Pool(1) as pool:
            results.append(pool.apply(found, (path,)))
    results.append(found(path))
    if with_fork:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            try:
                pool.apply(found, (path,))
            except sonjit.InputError as error:
                said = str(error)
    print(json.dumps([results, said]))
"""


@pytest.mark.slow
def test_detectors_of_several_threads_do_not_disturb_each_other(weights, demo_clip):
    frames = demo_clip[1][100:120]

    def run(_):
        with create_detector("hands", model="lite") as detector:
            return [detector.detect(rgb) for rgb in frames]

    alone = run(0)
    assert any(alone)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(run, range(4)):
            assert together == alone


@pytest.mark.slow
def test_one_detector_of_stills_may_be_shared_by_threads_and_by_asyncio(weights, demo_clip):
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][100:108]]

    async def gathered():
        return await asyncio.gather(*(asyncio.wrap_future(detector.detect_async(rgb)) for rgb in frames))

    with create_detector("hands", model="lite", static_image=True, search="fast") as detector:
        alone = [detector.detect(rgb) for rgb in frames]
        assert any(alone)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(detector.detect, frames)) == alone
        assert asyncio.run(gathered()) == alone


def test_a_detector_that_threads_share_and_one_closes_refuses_the_rest():
    detector = Detector(Scene([100]), Tracker(), DetectorOptions("scene", "scene", max_instances=2))
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
        said = set(pool.map(detect, range(40)))
    assert said - {""} == {"this detector is closed; make a new one with create_detector"}


@pytest.mark.slow
def test_processes_find_the_same_and_one_forked_too_late_says_so(weights, demo_clip, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), demo_clip[1][100][..., ::-1])
    program = tmp_path / "program.py"
    program.write_text(PROCESSES)
    command = [sys.executable, str(program), str(tmp_path / "image.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results, said = json.loads(done.stdout)
    assert all(results)
    assert all(one == results[0] for one in results)
    assert said is None or "start processes by spawn" in said
