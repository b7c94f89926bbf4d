from sonjit.compat.mediapipe._solutions import *  # noqa: F403
