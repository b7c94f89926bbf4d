"""Draw a person's body, hands and face with a script for mediapipe.solutions that runs on Sonjit.

    python examples/mediapipe_holistic_image.py INPUT [OUTPUT]

The default OUTPUT is person.png.
"""

import sys

import cv2

from sonjit.compat import mediapipe as mp  # the only changed line

mp_holistic = mp.solutions.holistic
mp_drawing = mp.solutions.drawing_utils
mp_drawing_styles = mp.solutions.drawing_styles

if len(sys.argv) < 2:
    sys.exit("usage: python examples/mediapipe_holistic_image.py INPUT [OUTPUT]")
target = sys.argv[2] if len(sys.argv) > 2 else "person.png"
image = cv2.imread(sys.argv[1])
if image is None:
    sys.exit(f"{sys.argv[1]}: not an image that OpenCV can read")
with mp_holistic.Holistic(static_image_mode=True, refine_face_landmarks=True) as holistic:
    results = holistic.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
mp_drawing.draw_landmarks(
    image,
    results.face_landmarks,
    mp_holistic.FACEMESH_CONTOURS,
    landmark_drawing_spec=None,
    connection_drawing_spec=mp_drawing_styles.get_default_face_mesh_contours_style(),
)
mp_drawing.draw_landmarks(
    image,
    results.pose_landmarks,
    mp_holistic.POSE_CONNECTIONS,
    landmark_drawing_spec=mp_drawing_styles.get_default_pose_landmarks_style(),
)
for hand in (results.left_hand_landmarks, results.right_hand_landmarks):
    mp_drawing.draw_landmarks(
        image,
        hand,
        mp_holistic.HAND_CONNECTIONS,
        mp_drawing_styles.get_default_hand_landmarks_style(),
        mp_drawing_styles.get_default_hand_connections_style(),
    )
cv2.imwrite(target, image)
found = [name.removesuffix("_landmarks") for name, value in results._asdict().items() if value is not None]
print(f"{', '.join(found) or 'no person'} -> {target}")
