"""Move the mouse with the index finger and click with a pinch. Ctrl-C stops. Requires `pip install pyautogui`.

python examples/virtual_mouse.py camera:0
"""

import sys

import pyautogui

import sonjit
from sonjit.results.measures import measures

if len(sys.argv) < 2:
    sys.exit(__doc__)

screen_width, screen_height = pyautogui.size()
is_down = False
for frame in sonjit.track(sys.argv[1], "hands", max_instances=1, mirrored=True, smoothing="one_euro"):
    for hand in frame.hands:
        height, width = frame.image.shape[:2]
        x, y, _ = hand["index_finger_tip"]
        pyautogui.moveTo(x / width * screen_width, y / height * screen_height)
        was_down, is_down = is_down, measures(hand)["pinch_index_m"] < (0.05 if is_down else 0.03)
        if is_down and not was_down:
            pyautogui.click()
