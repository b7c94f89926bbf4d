"""One configuration to measure."""

from __future__ import annotations

from dataclasses import dataclass

from sonjit.detectors.kinds import KINDS


@dataclass(frozen=True)
class Case:
    """One configuration to measure.

    Attributes:
        name: Name in the table.
        kind, model, max_instances, static_image, segmentation: Options of `create_detector`.
        clip_frames: Number of frames of the bundled clip, played forwards and backwards; None for all.
        copies: Number of copies of each image in the frame, placed in a row.
        peer: True if MediaPipe can run the case: its wheel contains only the full body model and finds one body.
        against: Name of an earlier case whose cost is compared with this one's.
        bundle: Name of the task bundle if both sides run `mediapipe.tasks`; None compares Sonjit's own interface with
            `mediapipe.solutions`.
    """

    name: str
    kind: str
    model: str
    max_instances: int
    static_image: bool
    clip_frames: int | None = None
    segmentation: bool = False
    copies: int = 1
    peer: bool = True
    against: str | None = None
    bundle: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Return the names of the published files that the case loads."""
        if self.kind == "face" and self.bundle is not None:
            return ()  # a face landmarker's are in no package
        return tuple(KINDS[self.kind].models[self.model].weights.values())

    @property
    def subject(self) -> str:
        """Return the subject of the images: "hands", "face" or "body"."""
        return "body" if self.kind == "holistic" else self.kind
