"""Print the distance between the tips of thumb and index finger in centimetres.

python examples/pinch_in_cm.py clip.mp4
"""

import sys

import sonjit
from sonjit.results.measures import measures

if len(sys.argv) < 2:
    sys.exit(__doc__)

for frame in sonjit.track(sys.argv[1], "hands", max_instances=1, smoothing="one_euro"):
    for hand in frame.hands:
        apart_cm = 100 * measures(hand)["pinch_index_m"]
        print(f"{frame.time:.2f} s  {apart_cm:4.1f} cm{'  pinched' if apart_cm < 2 else ''}")
