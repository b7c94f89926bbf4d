"""Draw hands into a video with a script for mediapipe.solutions that runs on Sonjit.

    python examples/mediapipe_hands_video.py [INPUT] [OUTPUT]

Without arguments it reads Sonjit's demo clip and writes hands.mp4.
"""

import sys
from importlib import resources

import cv2

from sonjit.compat import mediapipe as mp  # the only changed line

mp_hands = mp.solutions.hands
mp_drawing = mp.solutions.drawing_utils
mp_drawing_styles = mp.solutions.drawing_styles

source = sys.argv[1] if len(sys.argv) > 1 else str(resources.files("sonjit") / "_util" / "assets" / "demo.mp4")
target = sys.argv[2] if len(sys.argv) > 2 else "hands.mp4"
capture = cv2.VideoCapture(source)
size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
frames = 0
with mp_hands.Hands(max_num_hands=2) as hands:
    while True:
        ok, image = capture.read()
        if not ok:
            break
        results = hands.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for landmarks in results.multi_hand_landmarks or []:
            mp_drawing.draw_landmarks(
                image,
                landmarks,
                mp_hands.HAND_CONNECTIONS,
                mp_drawing_styles.get_default_hand_landmarks_style(),
                mp_drawing_styles.get_default_hand_connections_style(),
            )
        writer.write(image)
        frames += 1
writer.release()
capture.release()
print(f"{frames} frames -> {target}")
