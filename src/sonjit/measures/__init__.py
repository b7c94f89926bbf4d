"""From results to meaning: angles, curl, palm and head pose, gestures, repetitions. Pure numpy, units in names."""

from sonjit.measures.bodies import (
    BODY_ANGLES,
    LIMBS,
    body_angles_rad,
    limb_lengths_m,
    measure_body,
    torso_lean_rad,
    torso_side_lean_rad,
)
from sonjit.measures.faces import eye_openness, head_pose_rad, head_rotation, measure_face, mouth_openness
from sonjit.measures.gestures import GESTURE_KINDS, GESTURES, Gesture, GestureSmoother, gesture_of, gesture_scores
from sonjit.measures.hands import (
    FINGERS,
    finger_bends_rad,
    finger_curl_rad,
    finger_curls,
    finger_reach,
    finger_spread_rad,
    hand_length_m,
    measure_hand,
    palm_facing,
    palm_normal,
    pinch_distance_m,
    thumb_spread_rad,
)
from sonjit.measures.instances import MEASURE_NAMES, measures, register_measures
from sonjit.measures.joints import joint_angles_rad, joint_triples
from sonjit.measures.repetitions import RepetitionCounter, count_repetitions

__all__ = [
    "BODY_ANGLES",
    "FINGERS",
    "GESTURES",
    "GESTURE_KINDS",
    "LIMBS",
    "MEASURE_NAMES",
    "Gesture",
    "GestureSmoother",
    "RepetitionCounter",
    "body_angles_rad",
    "count_repetitions",
    "eye_openness",
    "finger_bends_rad",
    "finger_curl_rad",
    "finger_curls",
    "finger_reach",
    "finger_spread_rad",
    "gesture_of",
    "gesture_scores",
    "hand_length_m",
    "head_pose_rad",
    "head_rotation",
    "joint_angles_rad",
    "joint_triples",
    "limb_lengths_m",
    "measure_body",
    "measure_face",
    "measure_hand",
    "measures",
    "mouth_openness",
    "palm_facing",
    "palm_normal",
    "pinch_distance_m",
    "register_measures",
    "thumb_spread_rad",
    "torso_lean_rad",
    "torso_side_lean_rad",
]
