"""Record what MediaPipe finds in the bundled clip and photograph: numbers only, one file per run.

    PYTHON-WITH-MEDIAPIPE tests/goldens/record_mediapipe.py

It needs `pip install mediapipe==0.10.21` (Python 3.10 to 3.12) and nothing of Sonjit. The OpenCV of that package
decodes the files to the same pixels as Sonjit. Record again only when MediaPipe, the files or this script change.
`tests/detectors/test_bundled_goldens.py` reads the results. The clip shows hands. A window that moves over the
photograph gives frames with a body and a face.

A file is gzipped JSON with `kind`, `source`, `peer`, `config` (options of MediaPipe), `size` (width, height in pixels),
`windows` (left and top in the source by frame, for the photograph), `rgb_sha256` (of all frames, which separates a
difference of decoders from one of networks) and `frames`, each with

    frame      index in the clip or in `windows`
    boxes      input of the landmark network: cx, cy, width, height as fractions of the image, rotation in radians
    instances  `handedness` and its `score` in MediaPipe's selfie view; `keypoints` (K, 3) in pixels with z in the scale
               of x, for a body with visibility as fourth value; `world` (K, 3) in metres (hands and bodies)
"""

import gzip
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIP, PHOTOGRAPH = "src/sonjit/_util/assets/demo.mp4", "src/sonjit/_util/assets/photo.jpg"
STILLS = 15  # minimum number of frames that are also processed as stills
WINDOW = 480  # width and height of the part of the photograph that a frame shows
WINDOWS = [(0, step) for step in range(0, 161, 4)]
"""Left and top of each window."""
PIXEL_DIGITS, METRE_DIGITS, PART_DIGITS = 3, 5, 7


def main():
    import mediapipe
    from mediapipe.python.solutions.face_mesh import FaceMesh
    from mediapipe.python.solutions.hands import Hands
    from mediapipe.python.solutions.pose import Pose

    peer = f"mediapipe {mediapipe.__version__}, python solutions on the CPU"
    clip, photograph = list(read_frames(ROOT / CLIP)), list(read_windows(ROOT / PHOTOGRAPH))
    for is_static, mode in ((False, "tracked"), (True, "stills")):
        options = {"static_image_mode": is_static}
        for complexity, model in enumerate(("lite", "full")):
            config = options | {"max_num_hands": 2, "model_complexity": complexity}
            solution = with_boxes(Hands, "hand_rects")(**config)
            record = {"kind": "hands", "source": CLIP, "peer": peer, "config": config}
            save(f"demo.hands.{model}.{mode}", record, clip, solution, hands_from)
        runs = {
            "face.attention": (FaceMesh, "face_rects", {"max_num_faces": 1, "refine_landmarks": True}, faces_from),
            "body.full": (Pose, "pose_rect", {"model_complexity": 1, "smooth_landmarks": False}, bodies_from),
        }
        for name, (solution, boxes, config, instances_from) in runs.items():
            config = options | config
            kind = name.partition(".")[0]
            record = {"kind": kind, "source": PHOTOGRAPH, "peer": peer, "config": config, "windows": WINDOWS}
            save(f"photo.{name}.{mode}", record, photograph, with_boxes(solution, boxes)(**config), instances_from)


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


def read_windows(path):
    """Yield the windows (H, W, 3) RGB uint8 of a photograph."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    for left, top in WINDOWS:
        yield np.ascontiguousarray(rgb[top : top + WINDOW, left : left + WINDOW])


def save(stem, record, frames, solution, instances_from):
    """Process frames in order, or some of them as stills, and write the results with the members of `record`."""
    step = len(frames) // STILLS if record["config"]["static_image_mode"] else 1
    digest, results = hashlib.sha256(), []
    with solution:
        for index in range(0, len(frames), step):
            rgb = frames[index]
            digest.update(rgb)
            height, width = rgb.shape[:2]
            found = solution.process(rgb)
            boxes = [rounded_box(rect) for rect in rects_from(getattr(found, solution.boxes))]
            results.append({"frame": index, "boxes": boxes, "instances": instances_from(found, width, height)})
    record |= {"size": [width, height], "rgb_sha256": digest.hexdigest(), "frames": results}
    path = HERE / f"{stem}.json.gz"
    text = json.dumps(record, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    count = sum(len(frame["instances"]) for frame in results)
    print(f"{path.name}: {len(results)} frames, {count} instances, {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


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
