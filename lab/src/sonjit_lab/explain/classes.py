"""Explain classifiers in PyTorch with class activation maps, Grad-CAM or saliency; see `sonjit_lab.papers.cam.maps`."""

from sonjit_lab.papers.cam.maps import (
    backprop_saliency,
    explain_classes,
    grad_cam,
    image_tensor,
    localize_classes,
    saliency_of_classes,
)

__all__ = [
    "backprop_saliency",
    "explain_classes",
    "grad_cam",
    "image_tensor",
    "localize_classes",
    "saliency_of_classes",
]
