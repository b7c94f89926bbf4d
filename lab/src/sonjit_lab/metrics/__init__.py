"""Metrics of keypoints, meshes, boxes and masks against the truth, in plain NumPy.

Lengths are returned in the unit of the arguments. Keypoints and meshes are compared through a matrix of errors: NaN
where there is nothing to compare with, inf where nothing was predicted. Align, compare, then summarise:
`mean_error(joint_errors(*root_relative(predicted, truth, valid, root=0)))`.
"""

from sonjit.geometry.boxes import box_iou
from sonjit_lab.metrics import alignment, detection, keypoints, sequences, sizes, statistics, surfaces, two_hands
from sonjit_lab.metrics.alignment import *  # noqa: F403
from sonjit_lab.metrics.detection import *  # noqa: F403
from sonjit_lab.metrics.keypoints import *  # noqa: F403
from sonjit_lab.metrics.sequences import *  # noqa: F403
from sonjit_lab.metrics.sizes import *  # noqa: F403
from sonjit_lab.metrics.statistics import *  # noqa: F403
from sonjit_lab.metrics.surfaces import *  # noqa: F403
from sonjit_lab.metrics.two_hands import *  # noqa: F403

__all__ = ["box_iou"]
__all__ += alignment.__all__
__all__ += detection.__all__
__all__ += keypoints.__all__
__all__ += sequences.__all__
__all__ += sizes.__all__
__all__ += statistics.__all__
__all__ += surfaces.__all__
__all__ += two_hands.__all__
