"""Move an avatar with a face: send blendshapes with ARKit's names and the head pose as VMC messages (OSC).

python examples/face_to_avatar.py camera:0 127.0.0.1 39539 [face_landmarker.task]
"""

import sys

import sonjit
from sonjit.runs.live import LiveOutput

if len(sys.argv) < 4:
    sys.exit(__doc__)

source, host, port, *bundle = sys.argv[1:]
try:
    model = bundle[0] if bundle else None
    detector = sonjit.create_detector("face", blendshapes=True, transform=True, landmark_model=model)
    with detector, LiveOutput(f"vmc://{host}:{port}", "faces") as avatar:
        for frame in sonjit.track(source, detector):
            avatar.send(frame, (frame.image.shape[1], frame.image.shape[0]))
except sonjit.SonjitError as error:
    sys.exit(f"face_to_avatar: {error}")
