"""The settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonjit.errors import InputError
from sonjit.synthesis.hands.mesh import HandFiles
from sonjit.synthesis.scene.backgrounds import BackgroundFolder
from sonjit.synthesis.scene.factors import FACTORS, SEQUENCE_FACTORS, Factors
from sonjit.synthesis.scene.motions import MotionSource, NamedMotions, SeenMotion, load_motion
from sonjit.synthesis.scene.sampling import SceneSampler
from sonjit.synthesis.scene.scene import RigKind, check_rig

FolderFormat = Literal["coco", "interhand", "shards", "video"]


Extra = Literal["depth", "normals", "masks"]


@dataclass(frozen=True)
class SynthSettings:
    """What to render.

    Attributes:
        count: stills, or sequences.
        seed: of everything random.
        factors: `name=value` each, see `factors.Factors`.
        rig: of cameras.
        views: cameras.
        size: width and height in pixels.
        format: of the folder.
        extras: further images beside each.
        backgrounds: folder of images to cut backgrounds from; None for procedural ones.
        sequence: which, see `motions.NamedMotions.chosen`; None for stills.
        fps: frames a second of a sequence.
        poses: a table of hands seen in a video, whose motion is taken instead.
        hands: the user's own, instead of the catalog's.
    """

    count: int
    seed: int = 0
    factors: tuple[str, ...] = ()
    rig: RigKind = "webcam"
    views: int = 1
    size: tuple[int, int] = (256, 256)
    format: FolderFormat = "coco"
    extras: tuple[Extra, ...] = ()
    backgrounds: str | None = None
    sequence: str | None = None
    fps: float = 30.0
    poses: str | None = None
    hands: HandFiles | None = None

    def sampler(self) -> SceneSampler:
        """Samples the scenes.

        Raises:
            InputError: impossible settings.
        """
        for name, value, least in (("--count", self.count, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise InputError(f"{name} {value}: give at least {least}")
        if not all(32 <= side <= 8192 for side in self.size):
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: give 32 to 8192 pixels each way")
        check_rig(self.rig, self.views)
        images = None if self.backgrounds is None else BackgroundFolder(Path(self.backgrounds))
        motions = self._motions()
        factors = Factors(FACTORS if motions is None else SEQUENCE_FACTORS, self.factors)
        return SceneSampler(factors, self.seed, self.rig, self.views, self.size, images, motions, self.hands)

    @property
    def moves(self) -> bool:
        """Sequences are rendered, not stills."""
        return self.sequence is not None or self.poses is not None

    def _motions(self) -> MotionSource | None:
        if self.poses is not None:
            if self.sequence is not None:
                raise InputError(f"--poses {self.poses} with --sequence {self.sequence}: give one of them")
            load_motion(self.poses, self.hands)
            return SeenMotion(self.poses, self.hands)
        return None if self.sequence is None else NamedMotions.chosen(self.sequence, self.fps, self.hands)
