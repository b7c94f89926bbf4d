"""Networks as PyTorch modules that load published weights and official checkpoints.

A network is a `Network`: it takes float32 images (B, 3, H, W) and returns a mapping from name to tensor. The package
has these modules:

* `registry`: `Network`, `NetworkEntry`, `register` and `create_network`. Other packages also register networks here.
* `checkpoints` reads and writes weight files. `export` writes ONNX and OpenVINO.
* `mediapipe_faces`, `mediapipe_bodies`: MediaPipe's networks with the published weights.
* `backbones`: Networks of images. `keypoint_detector`: The detector of the annotation studio.

Networks of the literature are in `sonjit_lab.papers`.
"""

from sonjit_lab.networks.checkpoints import load_checkpoint, save_checkpoint
from sonjit_lab.networks.registry import (
    InputSpec,
    Network,
    NetworkEntry,
    create_network,
    list_networks,
    network_entry,
    register,
)

__all__ = [
    "InputSpec",
    "Network",
    "NetworkEntry",
    "create_network",
    "list_networks",
    "load_checkpoint",
    "network_entry",
    "register",
    "save_checkpoint",
]
