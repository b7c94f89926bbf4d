from sonjit.compat.mediapipe._connections import *  # noqa: F403
