"""Run MediaPipe (`mediapipe.solutions`) as a library under test in an interpreter that has mediapipe.

`PEER_PYTHON peer_mediapipe.py JOB_JSON` runs under Python 3.9 or newer and needs nothing of Sonjit except the loop in
`worker.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.lab.benchmark.worker import Extras, Instance, Job

Result = Any
_OTHER = {"Left": "Right", "Right": "Left"}
_OWN = {
    "pose_landmarks": None,
    "left_hand_landmarks": "Left",
    "right_hand_landmarks": "Right",
    "face_landmarks": None,
}


_COMPLEXITY = {"lite": 0, "full": 1, "heavy": 2}


class MediaPipe:
    """MediaPipe's solutions with their defaults."""

    def load(self) -> None:
        """Import the library."""
        import mediapipe  # pyright: ignore[reportMissingImports]

        self._module: Any = mediapipe

    def create(self, job: Job) -> None:
        """Create a detector with the job's options."""
        solutions, model = self._module.solutions, job["model"]
        shared: dict[str, Any] = {"static_image_mode": job["static_image"]}
        if job["kind"] == "hands":
            shared.update(max_num_hands=job["max_instances"], model_complexity=_COMPLEXITY[model])
            self._solution = solutions.hands.Hands(**shared)
        elif job["kind"] == "body":
            shared.update(model_complexity=_COMPLEXITY[model], enable_segmentation=job.get("segmentation", False))
            self._solution = solutions.pose.Pose(**shared)
        elif job["kind"] == "holistic":
            shared.update(model_complexity=_COMPLEXITY[model], refine_face_landmarks=True)
            self._solution = solutions.holistic.Holistic(**shared)
        elif model in ("mesh", "attention"):
            shared.update(max_num_faces=job["max_instances"], refine_landmarks=model == "attention")
            self._solution = solutions.face_mesh.FaceMesh(**shared)
        else:
            number = {"box": 0, "box-full": 1}[model]
            self._solution = solutions.face_detection.FaceDetection(model_selection=number)

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """Process one frame."""
        return self._solution.process(rgb)

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return the instances as plain JSON types. A hand's label assumes a selfie view and is therefore exchanged."""
        height, width = rgb.shape[:2]
        return [
            {"handedness": side, "id": None, "xy": [[p.x * width, p.y * height] for p in points]}
            for side, points in _parts(result)
        ]

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """Report the precision: XNNPACK runs in f32."""
        del job, rgb
        return {"precision": "f32"}


def _parts(result: Result) -> Iterator[tuple[str | None, Any]]:
    """Yield handedness, or None, and the points of everything a solution found."""
    labels = getattr(result, "multi_handedness", None) or ()
    hands = getattr(result, "multi_hand_landmarks", None) or ()
    for sides, hand in zip(labels, hands):  # noqa: B905  # Python 3.9 has no `strict`
        yield _OTHER[sides.classification[0].label], hand.landmark
    for face in getattr(result, "multi_face_landmarks", None) or ():
        yield None, face.landmark
    for face in getattr(result, "detections", None) or ():
        yield None, face.location_data.relative_keypoints
    for name, side in _OWN.items():
        part = getattr(result, name, None)
        if part is not None:
            yield side, part.landmark


if __name__ == "__main__":
    from worker import main  # pyright: ignore  # the script's own folder is on the path

    main(MediaPipe())
