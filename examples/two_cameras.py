"""Triangulate hands in metres from two calibrated, synchronised cameras.

python examples/two_cameras.py rig.json left.mp4 right.mp4
"""

import sys

import numpy as np

import sonjit
from sonjit_studio import load_cameras, triangulate

if len(sys.argv) < 4:
    sys.exit(__doc__)
rig = load_cameras(sys.argv[1])
for frames in zip(*(sonjit.track(video, "hands") for video in sys.argv[2:]), strict=False):
    for side in ("Left", "Right"):
        seen = np.full((len(rig), 21, 2), np.nan)
        for view, frame in enumerate(frames):
            for hand in frame.hands:
                if hand.side == side:
                    seen[view] = hand.keypoints[:, :2]
        found = triangulate(rig, seen)
        if found.ok.all():
            print(f"frame {frames[0].index} {side}: wrist at {found.points_m[0].round(3)} m")
