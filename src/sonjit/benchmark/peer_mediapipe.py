"""MediaPipe Hands (`mediapipe.solutions`) as a library under test: run by an interpreter that has mediapipe.

`PEER_PYTHON peer_mediapipe.py JOB_JSON`; Python 3.9 or newer, nothing of Sonjit but the loop in the file beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = Any
_OTHER = {"Left": "Right", "Right": "Left"}


class MediaPipe:
    """MediaPipe Hands with its defaults."""

    def load(self) -> None:
        """Import it."""
        import mediapipe  # pyright: ignore[reportMissingImports]

        self._module: Any = mediapipe

    def create(self, job: dict[str, Any]) -> None:
        """Make a detector with the job's options."""
        self._hands = self._module.solutions.hands.Hands(
            static_image_mode=job["static_image"],
            max_num_hands=job["max_instances"],
            model_complexity={"lite": 0, "full": 1}[job["model"]],
        )

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """One frame."""
        return self._hands.process(rgb)

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Hands as plain JSON types; its label takes a selfie view for granted, so it is turned around."""
        height, width = rgb.shape[:2]
        labels = [_OTHER[sides.classification[0].label] for sides in result.multi_handedness or ()]
        points = [[[p.x * width, p.y * height] for p in hand.landmark] for hand in result.multi_hand_landmarks or ()]
        return [{"handedness": labels[i], "id": None, "xy": points[i]} for i in range(len(points))]

    def extras(self, job: dict[str, Any], rgb: NDArray[np.uint8]) -> dict[str, Any]:
        """XNNPACK runs in f32."""
        del job, rgb
        return {"precision": "f32"}


if __name__ == "__main__":
    from worker import main  # pyright: ignore  # the script's own folder is on the path

    main(MediaPipe())
