"""Run a task of `mediapipe.tasks` as a library under test: MediaPipe's own, or Sonjit's under the same names.

`PYTHON tasks.py JOB_JSON` reads the module's name from the job, and runs the same lines for both sides under Python 3.9
or newer.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.lab.benchmark.worker import Extras, Instance, Job

Result = Any
_FRAME_MS = 33


class Tasks:
    """Tasks of one module, run frame by frame as a video.

    Args:
        module: Name of the module: `mediapipe` or `sonjit.compat.mediapipe`.
    """

    def __init__(self, module: str) -> None:
        self._name, self._time_ms = module, 0

    def load(self) -> None:
        """Import the library."""
        self._module: Any = import_module(self._name)

    def create(self, job: Job) -> None:
        """Create the task of the job's kind with its bundle; faces also output blendshapes and matrices."""
        vision, count = self._module.tasks.vision, job["max_instances"]
        data = Path(job.get("bundle", "")).read_bytes()
        shared: dict[str, Any] = {
            "base_options": self._module.tasks.BaseOptions(model_asset_buffer=data),
            "running_mode": vision.RunningMode.VIDEO,
        }
        if job["kind"] == "hands":
            options = vision.HandLandmarkerOptions(num_hands=count, **shared)
            self._task = vision.HandLandmarker.create_from_options(options)
        else:
            further = {"output_face_blendshapes": True, "output_facial_transformation_matrixes": True}
            options = vision.FaceLandmarkerOptions(num_faces=count, **further, **shared)
            self._task = vision.FaceLandmarker.create_from_options(options)

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """Process one frame."""
        self._time_ms += _FRAME_MS
        image = self._module.Image(image_format=self._module.ImageFormat.SRGB, data=rgb)
        return self._task.detect_for_video(image, self._time_ms)

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return hands or faces as plain JSON types."""
        height, width = rgb.shape[:2]
        faces = getattr(result, "face_landmarks", [])
        sides = [item[0].category_name for item in getattr(result, "handedness", [])] or [None] * len(faces)
        return [
            {"handedness": side, "id": None, "xy": [[mark.x * width, mark.y * height] for mark in marks]}
            for side, marks in zip(sides, getattr(result, "hand_landmarks", faces))  # noqa: B905  # Python 3.9
        ]

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """Report the precision: XNNPACK runs in f32."""
        del job, rgb
        if self._name == "mediapipe":
            return {"precision": "f32"}
        from worker import engines_of  # pyright: ignore  # the script's own folder is on the path

        engines = engines_of(self._task._loading.result())
        return {"precision": "+".join(sorted({engine.precision for engine in engines}))}


if __name__ == "__main__":
    from worker import main  # pyright: ignore

    main(Tasks(json.loads(sys.argv[1])["module"]))
