"""Detect the hands in an image and print the positions of their index finger tips.

python examples/hands_in_an_image.py photo.jpg
"""

import sys

import sonjit

if len(sys.argv) < 2:
    sys.exit(__doc__)

with sonjit.create_detector("hands", static_image=True) as detector:
    for hand in detector.detect(sys.argv[1]):
        tip = hand.keypoints[hand.skeleton.index("index_finger_tip")]
        print(f"{hand.handedness} hand ({hand.score:.2f}): index finger tip at {tip[0]:.0f}, {tip[1]:.0f} px")
