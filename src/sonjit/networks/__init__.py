"""The networks as PyTorch modules: published weights and official checkpoints load; needs the extra `train`.

A network is a `Network`: float32 images (B, 3, H, W) in, a mapping from name to tensor out. What is where:

* `registry`: `Network`, `NetworkEntry`, `register` and `create_network`; networks of other packages register here too;
* `checkpoints` reads and writes weight files; `export`: ONNX and OpenVINO, parameters, FLOPs, licences;
* `mediapipe`: palms, hands, faces, irises, bodies and selfies, with the published weights;
* `cam`: class activation maps, on `backbones`; `classifiers`: their weights and classes; `mask_rcnn`: instances;
* `keypoint_detector`: the annotation studio's detector;
* `hands3d`: InterNet, RootNet, HandOccNet and Deformer.
"""

from __future__ import annotations

from sonjit.extras import needed_for

with needed_for("sonjit.networks"):
    from sonjit.networks.checkpoints import load_checkpoint, save_checkpoint
    from sonjit.networks.registry import (
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
