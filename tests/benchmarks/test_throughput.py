"""The shortest possible time of stills, with which runs are compared."""

import cv2
import numpy as np
from throughput import still_steps

from sonjit.engines.openvino import OpenVinoEngine


def test_the_floor_of_stills_is_decoding_and_networks(weights, tmp_path, monkeypatch):
    now, read, run = [0.0], cv2.imread, OpenVinoEngine.run

    def spend(seconds, function, *arguments):
        now[0] += seconds
        return function(*arguments)

    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        cv2.imwrite(str(file), np.zeros((32, 32, 3), np.uint8))
    monkeypatch.setattr(cv2, "imread", lambda *arguments: spend(1.0, read, *arguments))
    monkeypatch.setattr(OpenVinoEngine, "run", lambda self: spend(10.0, run, self))
    options = {"search": "fast", "static_image": True, "threads": 1}
    assert still_steps(files, options, lambda: now[0]) == (2.0, 20.0)  # one palm network per image
