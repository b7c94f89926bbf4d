"""Checkpoints of torchvision's Mask R-CNN under the names of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_BATCH_NORM_EPSILON = 1e-5
_OFFICIAL = (
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.inner_blocks\.(\d+)\.(?=[wb])", r"pyramid.lateral.\1.0."),  # files from before torchvision 0.13
    (r"^backbone\.fpn\.layer_blocks\.(\d+)\.(?=[wb])", r"pyramid.output.\1.0."),
    (r"^backbone\.fpn\.inner_blocks\.", "pyramid.lateral."),
    (r"^backbone\.fpn\.layer_blocks\.", "pyramid.output."),
    (r"^rpn\.head\.conv\.(?=[wb])", "rpn.convs.0.0."),
    (r"^rpn\.head\.conv\.", "rpn.convs."),
    (r"^rpn\.head\.cls_logits\.", "rpn.objectness."),
    (r"^rpn\.head\.bbox_pred\.", "rpn.deltas."),
    (r"^roi_heads\.box_head\.(?:fc6|5)\.", "box_head.hidden.0."),
    (r"^roi_heads\.box_head\.fc7\.", "box_head.hidden.1."),
    (r"^roi_heads\.box_head\.", "box_head.convs."),
    (r"^roi_heads\.box_predictor\.cls_score\.", "box_head.scores."),
    (r"^roi_heads\.box_predictor\.bbox_pred\.", "box_head.deltas."),
    (r"^roi_heads\.mask_head\.mask_fcn1\.", "mask_head.convs.0.0."),
    (r"^roi_heads\.mask_head\.mask_fcn2\.", "mask_head.convs.1.0."),
    (r"^roi_heads\.mask_head\.mask_fcn3\.", "mask_head.convs.2.0."),
    (r"^roi_heads\.mask_head\.mask_fcn4\.", "mask_head.convs.3.0."),
    (r"^roi_heads\.mask_head\.", "mask_head.convs."),
    (r"^roi_heads\.mask_predictor\.conv5_mask\.", "mask_head.upsample."),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits\.", "mask_head.logits."),
)
"""torchvision's keys -> ours; the first pattern that fits holds."""


def weights_from_torchvision(weights: Mapping[str, Tensor], *, frozen: bool) -> dict[str, Tensor]:
    """The keys of torchvision as ours.

    Its published first version runs with nothing added to the variance, as our frozen norm does; a file with the
    counters of a live batch norm comes from one that adds 1e-5, which goes into the variance itself.

    Args:
        weights: under the keys of torchvision.
        frozen: whether our residual network's norms are.
    """
    live = any(key.startswith("backbone.body.") and key.endswith("num_batches_tracked") for key in weights)
    ours: dict[str, Tensor] = {}
    for key, value in weights.items():
        if frozen and key.startswith("backbone.body."):
            if key.endswith("num_batches_tracked"):
                continue
            if live and key.endswith("running_var"):
                value = value + _BATCH_NORM_EPSILON
        ours[_own_key(key)] = value
    return ours


def _own_key(key: str) -> str:
    return next((re.sub(old, new, key) for old, new in _OFFICIAL if re.search(old, key)), key)
