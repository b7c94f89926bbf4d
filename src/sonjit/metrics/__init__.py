"""Numbers one can trust: how far predictions are from the truth. Pure numpy; lengths come in the unit that goes in.

Keypoints and meshes go through a matrix of errors: NaN where there is nothing to compare with, inf where nothing was
predicted. Align, compare, then ask: `mean_error(joint_errors(*root_relative(predicted, truth, valid, root=0)))`.
"""

from sonjit.metrics.alignment import bone_aligned, root_relative, scale_translation_aligned, similarity_aligned
from sonjit.metrics.arrays import Points
from sonjit.metrics.bootstrap import Interval, mean_interval
from sonjit.metrics.breakdown import OCCLUSION_EDGES, Part, by_bin, by_joint, by_joints
from sonjit.metrics.detection import (
    COCO_SIGMAS,
    HAND_SIGMAS,
    CocoPrecision,
    coco_precision,
    object_keypoint_similarity,
)
from sonjit.metrics.fusion import fused_poses
from sonjit.metrics.groups import GroupReport, group_report
from sonjit.metrics.handedness import average_precision, handedness_accuracy, handedness_hits
from sonjit.metrics.keypoints import (
    Average,
    EndPointError,
    end_point_error,
    found,
    joint_errors,
    joint_means,
    joint_medians,
    mean_error,
    missing_count,
    mpjpe,
    pa_mpjpe,
    pck,
    pck_auc,
    pck_curve,
)
from sonjit.metrics.localization import box_from_map, box_iou, boxes_from_maps, classification_error, localization_error
from sonjit.metrics.max_mse import max_mse
from sonjit.metrics.meshes import FScore, f_score, f_scores
from sonjit.metrics.normalised import (
    NormalisedError,
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
    torso_sizes,
)
from sonjit.metrics.sequences import acceleration_error, acceleration_errors, id_switches, jitter
from sonjit.metrics.streaming import ErrorStream, Kept, StreamedErrors
from sonjit.metrics.two_hands import TwoHandError, mrrpe, root_offset_errors, two_hand_errors, two_hand_mpjpe

__all__ = [
    "COCO_SIGMAS",
    "HAND_SIGMAS",
    "OCCLUSION_EDGES",
    "Average",
    "CocoPrecision",
    "EndPointError",
    "ErrorStream",
    "FScore",
    "GroupReport",
    "Interval",
    "Kept",
    "NormalisedError",
    "Part",
    "Points",
    "StreamedErrors",
    "TwoHandError",
    "acceleration_error",
    "acceleration_errors",
    "average_precision",
    "bone_aligned",
    "box_from_map",
    "box_iou",
    "boxes_from_maps",
    "by_bin",
    "by_joint",
    "by_joints",
    "classification_error",
    "coco_precision",
    "end_point_error",
    "eye_distances",
    "f_score",
    "f_scores",
    "found",
    "fused_poses",
    "group_report",
    "handedness_accuracy",
    "handedness_hits",
    "id_switches",
    "iod_mae",
    "jitter",
    "joint_errors",
    "joint_means",
    "joint_medians",
    "localization_error",
    "max_mse",
    "mean_error",
    "mean_interval",
    "missing_count",
    "mnae",
    "mpjpe",
    "mrrpe",
    "nme_300w",
    "normalised_error",
    "normalised_errors",
    "object_keypoint_similarity",
    "outer_corner_distances",
    "pa_mpjpe",
    "palm_sizes",
    "pck",
    "pck_auc",
    "pck_curve",
    "pdj",
    "pdj_hits",
    "root_offset_errors",
    "root_relative",
    "scale_translation_aligned",
    "similarity_aligned",
    "torso_sizes",
    "two_hand_errors",
    "two_hand_mpjpe",
]
