"""Count the squats of each of two people in a video.

python examples/squats_of_two.py gym.mp4
"""

import math
import sys
from collections import defaultdict

import sonjit
from sonjit.results.measures import RepetitionCounter, measures

if len(sys.argv) < 2:
    sys.exit(__doc__)

counters = defaultdict[int, RepetitionCounter](lambda: RepetitionCounter(math.radians(110), math.radians(150)))
for frame in sonjit.track(sys.argv[1], "body", max_instances=2):
    for body in frame.bodies:
        angles = measures(body)
        knee = (angles["left_knee_angle_rad"] + angles["right_knee_angle_rad"]) / 2  # NaN if a knee is not visible
        counters[body.id or 0].update(knee, frame.time or 0.0)
for number, counter in sorted(counters.items()):
    print(f"person {number}: {counter.count} squats")
