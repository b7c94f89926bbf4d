"""Track hands in front of the camera until Ctrl-C. Every hand keeps its id.

python examples/hands_from_a_camera.py
"""

import contextlib

import sonjit

with contextlib.suppress(KeyboardInterrupt):
    for frame in sonjit.track("camera:0", "hands", mirrored=True, smoothing="one_euro"):
        seen = ", ".join(f"{hand.handedness} #{hand.id}" for hand in frame.hands)
        print(f"frame {frame.index} at {frame.time:.2f} s: {seen or 'no hands'}")
