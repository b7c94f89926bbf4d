"""Metrics of keypoints, meshes, boxes and masks against the truth, in plain NumPy.

Lengths are returned in the unit of the arguments. Keypoints and meshes are compared through a matrix of errors: NaN
where there is nothing to compare with, inf where nothing was predicted. Align, compare, then summarise:
`mean_error(joint_errors(*root_relative(predicted, truth, valid, root=0)))`.
"""

from sonjit.geometry.boxes import box_iou
from sonjit.lab.metrics.detection import (
    COCO_SIGMAS,
    FACE_SIGMAS,
    FOOT_SIGMAS,
    HAND_SIGMAS,
    box_from_map,
    boxes_from_maps,
    classification_error,
    coco_precision,
    localization_error,
    object_keypoint_similarity,
)
from sonjit.lab.metrics.hands import (
    acceleration_error,
    acceleration_errors,
    average_precision,
    f_score,
    f_scores,
    fused_poses,
    handedness_accuracy,
    handedness_hits,
    id_switches,
    jitter,
    mrrpe,
    root_offset_errors,
    two_hand_errors,
    two_hand_mpjpe,
)
from sonjit.lab.metrics.keypoints import (
    ErrorStream,
    Kept,
    bone_aligned,
    end_point_error,
    found,
    joint_errors,
    joint_means,
    joint_medians,
    max_mse,
    mean_error,
    missing_count,
    mpjpe,
    pa_mpjpe,
    pck,
    pck_auc,
    pck_curve,
    root_relative,
    scale_translation_aligned,
    similarity_aligned,
)
from sonjit.lab.metrics.normalised import (
    eye_distances,
    iod_mae,
    mnae,
    nme_300w,
    normalised_error,
    normalised_errors,
    outer_corner_distances,
    palm_sizes,
    pdj,
    pdj_hits,
    pupil_distances,
    torso_sizes,
)
from sonjit.lab.metrics.statistics import (
    OCCLUSION_EDGES,
    Part,
    Points,
    by_bin,
    by_class,
    by_joint,
    by_joints,
    group_report,
    mean_interval,
)

__all__ = [
    "COCO_SIGMAS", "FACE_SIGMAS", "FOOT_SIGMAS", "HAND_SIGMAS", "OCCLUSION_EDGES", "ErrorStream", "Kept", "Part",
    "Points", "acceleration_error", "acceleration_errors", "average_precision", "bone_aligned", "box_from_map",
    "box_iou", "boxes_from_maps", "by_bin", "by_class", "by_joint", "by_joints", "classification_error",
    "coco_precision", "end_point_error", "eye_distances", "f_score", "f_scores", "found", "fused_poses",
    "group_report", "handedness_accuracy", "handedness_hits", "id_switches", "iod_mae", "jitter", "joint_errors",
    "joint_means", "joint_medians", "localization_error", "max_mse", "mean_error", "mean_interval", "missing_count",
    "mnae", "mpjpe", "mrrpe", "nme_300w", "normalised_error", "normalised_errors", "object_keypoint_similarity",
    "outer_corner_distances", "pa_mpjpe", "palm_sizes", "pck", "pck_auc", "pck_curve", "pdj", "pdj_hits",
    "pupil_distances", "root_offset_errors", "root_relative", "scale_translation_aligned", "similarity_aligned",
    "torso_sizes", "two_hand_errors", "two_hand_mpjpe",
]  # fmt: skip
