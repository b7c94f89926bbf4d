"""Follow hands in front of the camera until Ctrl-C; every hand keeps its id.

python examples/hands_from_a_camera.py
"""

import contextlib

import sonjit
from sonjit.media import open_source

with (
    contextlib.suppress(KeyboardInterrupt),
    open_source("camera:0") as camera,
    sonjit.create_detector("hands", mirrored=True, smoothing="one_euro") as detector,
):
    for index, time, rgb in camera:
        seen = ", ".join(f"{hand.handedness} #{hand.id}" for hand in detector.detect(rgb, time=time))
        print(f"frame {index} at {time:.2f} s: {seen or 'no hands'}")
