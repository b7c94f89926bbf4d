"""The networks as PyTorch modules: published weights and official checkpoints load; needs the extra `train`.

A network is a `Network`: float32 images (B, 3, H, W) in, a mapping from name to tensor out. What is where:

* `registry`: `Network`, `NetworkEntry`, `register` and `create_network`; networks of other packages register here too;
* `registry` reads and writes weight files too; `export`: ONNX and OpenVINO, parameters, FLOPs, licences;
* `mediapipe`: palms, hands, faces, irises, bodies and selfies, with the published weights;
* `cam`: classifiers with class activation maps; `mask_rcnn`: instances;
* `keypoint_detector`: the annotation studio's detector;
* `hands3d`: InterNet, RootNet, HandOccNet and Deformer.
"""

from __future__ import annotations

from sonjit.extras import needed_for

with needed_for("sonjit.networks"):
    from sonjit.networks.registry import (
        InputSpec,
        Network,
        NetworkEntry,
        create_network,
        list_networks,
        load_checkpoint,
        network_entry,
        register,
        save_checkpoint,
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
