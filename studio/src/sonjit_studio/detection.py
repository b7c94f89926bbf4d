"""Detect hands in all views of a chunk of frame sets: detect, associate, and detect again at the projections.

A second pass may use a network trained on the project's marks. It only sees right hands, left ones in mirrored images,
as in its training: where two hands overlap, it knows which one is meant. Any machine can process a chunk.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, IndexArray, InputError, RealArray, SonjitError
from sonjit._util.pools import per_process
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.detectors.pipeline import Detector
from sonjit.results import Hand
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_studio import association, labelling, learning, run_folder, triangulation
from sonjit_studio.project import Project, open_project
from sonjit_studio.rig import CameraRig, RigCamera

# Chosen on recording A of `python research/annotator.py`; research/annotator.md has the errors on B, C and D.
CANDIDATES: Final = 4  # detections per image: two hands and two false positives
MIN_SCORE: Final = 0.3  # least score of a detection and least presence in a crop
_THRESHOLD_PX: Final = 10.0  # largest error of a view that agrees in the triangulation
_SWAP_MARGIN: Final = 0.25  # mean vote per view by which crops must contradict the sides of the hands
MAX_OUTSIDE: Final = 0.25  # fraction of a hand that may lie outside an image
PASSES: Final = 2  # number of passes. The second one crops hands at the positions of the project's network.
InferHand = Callable[[Image, FloatArray, int], tuple[RealArray, RealArray] | None]
"""Function that returns keypoints (21, 2) and confidences (21,) of a hand, or None if it is not found.

Its arguments are an image (H, W, 3), the expected points (21, 2), and the side: 0 for right, 1 for left."""


def detect_chunk(settings: run_folder.DetectionSettings, frames: Sequence[int], out: str) -> str:
    """Detect the hands of some frame sets, write them to a file, and return its path."""
    detect_frames(settings, frames).save(Path(out))
    return out


def detect_frames(
    settings: run_folder.DetectionSettings, frames: Sequence[int], *, again: bool = True
) -> run_folder.ChunkDetections:
    """Detect the hands of some frame sets, if `again` a second time at the projections into each view."""
    project, hands = _open_once(settings)
    rig = project.rig.subset(settings.views)
    points = np.full((len(frames), len(rig), 2, 21, 2), np.nan, np.float32)
    confidence = np.zeros(points.shape[:-1], np.float32)
    problems: list[str] = []
    before = np.full((2, 21, 3), np.nan)  # last known joints
    for row, images in enumerate(read_usable_images(project, settings.views, frames, problems)):
        seen = _detect_candidates(hands, images)
        chosen = association.associate_hands(rig, seen, before)
        _assign_hands(points[row], confidence[row], seen, chosen, unassociated=not again)
        if not again:
            continue
        triangulated = triangulation.triangulate(
            rig, points[row], confidence=confidence[row], method="ransac", threshold_px=_THRESHOLD_PX
        )
        hands_m = triangulated.points_m
        votes = np.zeros(2)
        for camera, rgb, view_points, scores in zip(rig, images, points[row], confidence[row], strict=True):
            if rgb is not None:
                votes += _detect_at_projections(hands, rgb, camera, hands_m, view_points, scores)
        if votes[1] - votes[0] > _SWAP_MARGIN * len(rig):  # the left hand looks more like a right one
            hands_m = hands_m[::-1]
            points[row] = points[row, :, ::-1]
            confidence[row] = confidence[row, :, ::-1]
        before = np.where(np.isfinite(hands_m), hands_m, before)
    return run_folder.ChunkDetections(np.array(frames, np.int64), points, confidence, tuple(problems))


def read_usable_images(
    project: Project, views: Sequence[str], frames: Sequence[int], problems: list[str]
) -> Iterator[list[NDArray[np.uint8] | None]]:
    """Iterate over the images of consecutive frame sets. Unusable ones are None and added to the problems."""
    hashes: dict[str, bytes] = {}  # of the previous image of each view
    first_index = project.frames.index(frames[0])
    if first_index:  # a chunk's first images may repeat the last ones of the previous chunk
        _read_frame_set(project, views, project.frames[first_index - 1], hashes, [])
    for frame in frames:
        yield _read_frame_set(project, views, frame, hashes, problems)


@per_process
def _open_once(settings: run_folder.DetectionSettings) -> tuple[Project, Detector[Hand]]:
    hands: Any = create_detector(
        "hands",
        model=cast("Any", settings.model),
        static_image=True,
        search="fast",
        max_instances=CANDIDATES,
        min_detection_score=MIN_SCORE,
        min_presence_score=MIN_SCORE,
        threads=1,
    )
    return open_project(Path(settings.project)), hands


def _read_frame_set(
    project: Project, views: Sequence[str], frame: int, hashes: dict[str, bytes], problems: list[str]
) -> list[NDArray[np.uint8] | None]:
    """Read the images of one frame set, and update the hashes of each view's previous image.

    Unusable images are None and added to the problems, and also repeated ones while other views change.
    """
    read: dict[str, NDArray[np.uint8]] = {}
    for name in views:
        if frame not in project.view(name).numbers:
            problems.append(f"view {name} has no image {frame}")
            continue
        try:
            rgb = project.view(name).read(frame)
        except SonjitError as error:
            problems.append(f"view {name}: {error}")
            continue
        height, width = rgb.shape[:2]
        camera = project.rig[name]
        if (width, height) == (camera.width, camera.height):
            read[name] = rgb
        else:
            expected = f"its camera {camera.width} x {camera.height}"
            problems.append(f"view {name}, image {frame} has {width} x {height} pixels, {expected}")
    digests = {name: hashlib.blake2b(rgb.tobytes(), digest_size=16).digest() for name, rgb in read.items()}
    repeats = {name for name, digest in digests.items() if hashes.get(name) == digest}
    hashes |= digests
    for name in repeats if len(repeats) < len(digests) else ():
        problems.append(f"view {name}, image {frame} repeats the previous one: it is not used")
        del read[name]
    return [read.get(name) for name in views]


def _detect_candidates(hands: Detector[Hand], images: Sequence[NDArray[np.uint8] | None]) -> association.ViewDetections:
    shape = len(images), CANDIDATES
    detections = association.ViewDetections(np.full((*shape, 21, 2), np.nan), np.zeros(shape), np.full(shape, 0.5))
    for view, rgb in enumerate(images):
        for index, hand in enumerate([] if rgb is None else hands.detect(rgb)[:CANDIDATES]):
            detections.points_px[view, index], detections.score[view, index] = hand.keypoints[:, :2], hand.score
            detections.right[view, index] = _right_probability(hand)
    return detections


def _right_probability(hand: Hand) -> float:
    probability = hand.handedness_score or 0.5
    return probability if hand.handedness == "Right" else 1 - probability


def _assign_hands(
    points: Float32Array,
    scores: Float32Array,
    detections: association.ViewDetections,
    chosen: IndexArray,
    *,
    unassociated: bool,
) -> None:
    """Write the chosen hands (2, C), -1 for none, to points (C, 2, 21, 2) and scores (C, 2, 21).

    `unassociated`: use other hands by their handedness if none is associated, for the check of the cameras.
    """
    for view, side in np.ndindex(len(points), 2):
        index = int(chosen[side, view])
        if index < 0 and unassociated:
            score = np.where((detections.right[view] >= 0.5) == (side == 0), detections.score[view], 0)
            score[[k for k in chosen[:, view] if k >= 0]] = 0
            index = int(score.argmax()) if score.any() else -1
        if index >= 0:
            points[view, side] = detections.points_px[view, index]
            scores[view, side] = detections.score[view, index]


def _detect_at_projections(
    hands: Detector[Hand], rgb: Image, camera: RigCamera, hands_m: FloatArray, points: Float32Array, score: Float32Array
) -> FloatArray:
    """Replace points (2, 21, 2) and scores by detections at the projections of hands (2, 21, 3).

    Return the scores (2,) as a right hand, from -1 to 1, 0 if not found.
    """
    votes = np.zeros(2)
    for side in range(2):
        expected = camera.project(hands_m[side])
        if not _is_shown(camera, expected):
            continue
        detections = hands.detect(rgb, boxes=[box_around_hand(expected)])
        if detections and np.linalg.norm(
            detections[0].keypoints[:, :2] - expected, axis=1
        ).mean() < association.tolerance_px(expected):
            points[side], score[side] = detections[0].keypoints[:, :2], detections[0].score
            votes[side] = detections[0].score * (2 * _right_probability(detections[0]) - 1)
    return votes


def load_hand_network(file: Path) -> InferHand:
    """Load the exported landmark network of `sonjit annotate train --network hand-full`."""
    hands = create_detector(
        "hands",
        landmark_model=file,
        static_image=True,
        search="fast",
        max_instances=1,
        min_presence_score=MIN_SCORE,
        threads=1,
    )

    def infer(rgb: Image, expected_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        width, left = rgb.shape[1], side == 1
        shown = np.ascontiguousarray(rgb[:, ::-1]) if left else rgb
        box = box_around_hand(learning.mirror_points(expected_px, width) if left else expected_px)
        detections = hands.detect(shown, boxes=[box])
        if not detections:
            return None
        points = detections[0].keypoints[:, :2] + CORNER_PIXEL  # the network learned pixels that count from the centre
        return learning.mirror_points(points, width) if left else points, np.full(21, detections[0].score)

    return infer


def load_keypoint_detector(folder: str) -> InferHand:
    """Load the network of `sonjit annotate train --network keypoint-detector`. It does not distinguish the sides."""
    from sonjit_lab.networks.keypoint_detector import KeypointDetector  # torch is imported only where it is needed

    network = KeypointDetector(folder)

    def infer(rgb: Image, expected_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        del side
        low, high = (edge - CORNER_PIXEL for edge in (expected_px.min(0), expected_px.max(0)))
        (detection,) = network.detect(rgb, [(*low.tolist(), *high.tolist())])
        return detection.keypoints + CORNER_PIXEL, np.maximum(detection.confidence, 1e-3)

    return infer


def refine_chunk(settings: run_folder.DetectionSettings, first: str, out: str) -> str:
    """Refine a file of `detect_chunk`, write the result, and return its path."""
    refine_detections(settings, run_folder.load_detections(Path(first))).save(Path(out))
    return out


def refine_detections(
    settings: run_folder.DetectionSettings, first: run_folder.ChunkDetections
) -> run_folder.ChunkDetections:
    """Detect all hands of a chunk again with `settings.network`; views without a detection are ignored.

    The first pass stays for hands that it did not triangulate completely, and for those in fewer than two views now.
    """
    project, infer = _open_for_second_pass(settings)
    rig = project.rig.subset(settings.views)
    people = [learning.human_joints(project.rig, project.store.marks(int(frame))) for frame in first.frames]
    first = labelling.correct_swaps(rig, first, people)  # the network needs the right side of each hand
    points, confidence = first.points_px.copy(), first.confidence.copy()
    problems: list[str] = []
    frames = first.frames.tolist()
    for row, images in enumerate(read_usable_images(project, settings.views, frames, problems)):
        for _ in range(PASSES):
            refined = replace(first, points_px=points, confidence=confidence).part(slice(row, row + 1))
            hands = learning.triangulate_detections(rig, refined).points_m[0]  # (2, 21, 3)
            for side in range(2):
                new_points, new_confidence = _detect_hand(infer, rig, images, hands[side], side)
                if (new_confidence > 0).any(-1).sum() > 1:
                    points[row, :, side], confidence[row, :, side] = new_points, new_confidence
    return run_folder.ChunkDetections(first.frames, points, confidence, tuple(problems))


def _detect_hand(
    infer: InferHand, rig: CameraRig, images: Sequence[NDArray[np.uint8] | None], points_m: FloatArray, side: int
) -> tuple[FloatArray, FloatArray]:
    """Return pixels (C, 21, 2) and confidences (C, 21) of the hand at points (21, 3) in C views."""
    points, confidence = np.full((len(rig), 21, 2), np.nan), np.zeros((len(rig), 21))
    for view, (camera, rgb) in enumerate(zip(rig, images, strict=True)):
        expected = camera.project(points_m)
        if rgb is None or not _is_shown(camera, expected):
            continue
        detection = infer(rgb, expected, side)
        if detection and np.linalg.norm(detection[0] - expected, axis=1).mean() < association.tolerance_px(expected):
            points[view], confidence[view] = detection
    return points, confidence


def _is_shown(camera: RigCamera, expected_px: FloatArray) -> bool:
    """Check whether enough of a hand (21, 2) lies in a camera's image."""
    return bool(np.isfinite(expected_px).all() and camera.inside(expected_px).mean() >= 1 - MAX_OUTSIDE)


@per_process
def _open_for_second_pass(settings: run_folder.DetectionSettings) -> tuple[Project, InferHand]:
    folder = Path(settings.network)
    exported = folder / f"{learning.HAND_NETWORK}.xml"
    if folder.name.startswith(learning.HAND_NETWORK) and not exported.is_file():
        raise InputError(f"{folder}: its training did not finish; run the same sonjit annotate train --network again")
    infer = load_hand_network(exported) if exported.is_file() else load_keypoint_detector(settings.network)
    return open_project(Path(settings.project)), infer
