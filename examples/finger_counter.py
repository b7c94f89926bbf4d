"""Count the raised fingers of every hand.

python examples/finger_counter.py camera:0
"""

import sys

import sonjit

if len(sys.argv) < 2:
    sys.exit(__doc__)

for frame in sonjit.track(sys.argv[1], "hands"):
    raised = [sum(sonjit.fingers_up(hand).values()) for hand in frame.hands]
    print(f"frame {frame.index}: {' + '.join(map(str, raised)) or 'no hands'} = {sum(raised)}")
