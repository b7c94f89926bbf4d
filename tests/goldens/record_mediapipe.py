"""Write down what MediaPipe finds in the bundled clip: numbers only, one file per run.

    PYTHON-WITH-MEDIAPIPE tests/goldens/record_mediapipe.py

Needs `pip install mediapipe==0.10.21` (Python 3.10 to 3.12) and nothing of Sonjit; the clip is decoded by the OpenCV
that comes with it, whose frames are Sonjit's to the byte. The files, gzipped JSON, are written anew only when
MediaPipe, the clip or this script changes; `tests/detectors/test_bundled_goldens.py` reads them.

A file holds `kind`, `source`, `peer`, `config` (the options that MediaPipe was given), `size` (width, height in
pixels), `rgb_sha256` (of all frames that were shown, one after the other: it tells another decoder from another
network) and `frames`, each with

    frame      its index in the clip
    boxes      what the landmark network looked into: cx, cy, width, height in parts of the image, rotation in radians
    instances  what was found: `handedness` as MediaPipe says it (it takes every image for a selfie view) and the
               `score` of that; `keypoints` (K, 3) in pixels with z in the scale of x, a body's with its visibility as
               a fourth; `world` (K, 3) in metres (hands and bodies)

The clip shows hands alone. What FaceMesh and Pose take for a face or a body is a mistake, but it is the same mistake
in every program that runs their networks in the same boxes, and that is what these numbers are for.
"""

import gzip
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
CLIP = HERE.parents[1] / "src" / "sonjit" / "_util" / "assets" / "demo.mp4"
STILLS = range(0, 360, 24)
"""Frames that are also taken each on its own."""
PIXEL_DIGITS, METRE_DIGITS, PART_DIGITS = 3, 5, 7


def main():
    import mediapipe
    from mediapipe.python.solutions.face_mesh import FaceMesh
    from mediapipe.python.solutions.hands import Hands
    from mediapipe.python.solutions.pose import Pose

    peer = f"mediapipe {mediapipe.__version__}, python solutions on the CPU"
    frames = list(read_frames(CLIP))
    for static, mode, indices in ((False, "tracked", range(len(frames))), (True, "stills", STILLS)):
        shown = {index: frames[index] for index in indices}
        options = {"static_image_mode": static}
        for complexity, model in enumerate(("lite", "full")):
            config = options | {"max_num_hands": 2, "model_complexity": complexity}
            solution = with_boxes(Hands, "hand_rects")(**config)
            save(f"demo.hands.{model}.{mode}", peer, "hands", config, shown, solution, hands_from)
        config = options | {"max_num_faces": 1, "refine_landmarks": True}
        solution = with_boxes(FaceMesh, "face_rects")(**config)
        save(f"demo.face.attention.{mode}", peer, "face", config, shown, solution, faces_from)
        config = options | {"model_complexity": 1, "smooth_landmarks": False}
        solution = with_boxes(Pose, "pose_rect")(**config)
        save(f"demo.body.full.{mode}", peer, "body", config, shown, solution, bodies_from)


def with_boxes(solution, stream):
    """Create a solution that also returns the boxes of its landmark network, which MediaPipe does not expose.

    `stream` is the name that its graph has for them.
    """

    class WithBoxes(solution):
        boxes = stream

        def _initialize_graph_interface(self, graph, side_inputs=None, outputs=None, stream_type_hints=None):
            return super()._initialize_graph_interface(graph, side_inputs, [*outputs, stream], stream_type_hints)

    return WithBoxes


def read_frames(path):
    """Yield the frames (H, W, 3) RGB uint8 of a video."""
    capture = cv2.VideoCapture(str(path))
    while True:
        is_there, bgr = capture.read()
        if not is_there:
            return
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def save(stem, peer, kind, config, shown, solution, instances_from):
    """Show frames (by index) to a solution in order, and write its results."""
    digest, frames = hashlib.sha256(), []
    with solution:
        for index, rgb in shown.items():
            digest.update(rgb)
            height, width = rgb.shape[:2]
            found = solution.process(rgb)
            boxes = [rounded_box(rect) for rect in rects_from(getattr(found, solution.boxes))]
            frames.append({"frame": index, "boxes": boxes, "instances": instances_from(found, width, height)})
    record = {
        "kind": kind,
        "source": CLIP.relative_to(HERE.parents[1]).as_posix(),
        "peer": peer,
        "config": config,
        "size": [width, height],
        "rgb_sha256": digest.hexdigest(),
        "frames": frames,
    }
    path = HERE / f"{stem}.json.gz"
    text = json.dumps(record, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    count = sum(len(frame["instances"]) for frame in frames)
    print(f"{path.name}: {len(frames)} frames, {count} instances, {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


def hands_from(found, width, height):
    return [
        {
            "handedness": side.classification[0].label,
            "score": round(side.classification[0].score, 5),
            "keypoints": pixels_from(keypoints, width, height),
            "world": metres_from(world),
        }
        for keypoints, world, side in zip(
            found.multi_hand_landmarks or [],
            found.multi_hand_world_landmarks or [],
            found.multi_handedness or [],
            strict=True,
        )
    ]


def faces_from(found, width, height):
    return [{"keypoints": pixels_from(keypoints, width, height)} for keypoints in found.multi_face_landmarks or []]


def bodies_from(found, width, height):
    if not found.pose_landmarks:
        return []
    keypoints = pixels_from(found.pose_landmarks, width, height)
    visible = [round(keypoint.visibility, PART_DIGITS) for keypoint in found.pose_landmarks.landmark]
    both = [[*xyz, v] for xyz, v in zip(keypoints, visible, strict=True)]
    return [{"keypoints": both, "world": metres_from(found.pose_world_landmarks)}]


def rects_from(packet):
    """Return a list of rectangles for a stream that contains several, one or none."""
    return [] if packet is None else packet if isinstance(packet, list) else [packet]


def rounded_box(rect):
    return [round(v, PART_DIGITS) for v in (rect.x_center, rect.y_center, rect.width, rect.height, rect.rotation)]


def pixels_from(landmarks, width, height):
    xyz = np.array([(p.x, p.y, p.z) for p in landmarks.landmark]) * (width, height, width)
    return xyz.round(PIXEL_DIGITS).tolist()


def metres_from(landmarks):
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark]).round(METRE_DIGITS).tolist()


if __name__ == "__main__":
    main()
