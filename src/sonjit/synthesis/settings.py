"""What a run makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sonjit.errors import InputError
from sonjit.synthesis.backgrounds import BackgroundFolder
from sonjit.synthesis.cameras import Rig, check_rig
from sonjit.synthesis.factor_table import FACTORS, SEQUENCE_FACTORS
from sonjit.synthesis.factors import Factors
from sonjit.synthesis.motions import NamedMotions, SeenMotion, load_motion
from sonjit.synthesis.scenes import SceneMaker

if TYPE_CHECKING:
    from sonjit.synthesis.hand_files import HandFiles
    from sonjit.synthesis.motions import Motions

Format = Literal["coco", "interhand", "shards", "video"]
Extra = Literal["depth", "normals", "masks"]


@dataclass(frozen=True)
class SynthSettings:
    """What to make.

    Attributes:
        count: stills, or sequences.
        seed: of everything random.
        factors: `name=value` each, see `factors.Factors`.
        rig: of cameras.
        views: cameras.
        size: width and height in pixels.
        format: of the folder.
        extras: further pictures beside each.
        backgrounds: folder of pictures to cut backgrounds from; None makes them up.
        sequence: which, see `motions.NamedMotions.chosen`; None makes stills.
        fps: frames a second of a sequence.
        poses: a table of hands seen in a video, whose motion is taken instead.
        hands: the user's own, in place of the catalog's.
    """

    count: int
    seed: int = 0
    factors: tuple[str, ...] = ()
    rig: Rig = "webcam"
    views: int = 1
    size: tuple[int, int] = (256, 256)
    format: Format = "coco"
    extras: tuple[Extra, ...] = ()
    backgrounds: str | None = None
    sequence: str | None = None
    fps: float = 30.0
    poses: str | None = None
    hands: HandFiles | None = None

    def maker(self) -> SceneMaker:
        """What makes the scenes.

        Raises:
            InputError: settings that cannot be.
        """
        for name, value, least in (("--count", self.count, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise InputError(f"{name} {value}: give at least {least}")
        if not all(32 <= side <= 8192 for side in self.size):
            raise InputError(f"--size {self.size[0]}x{self.size[1]}: give 32 to 8192 pixels each way")
        check_rig(self.rig, self.views)
        pictures = None if self.backgrounds is None else BackgroundFolder(Path(self.backgrounds))
        motions = self._motions()
        factors = Factors(FACTORS if motions is None else SEQUENCE_FACTORS, self.factors)
        return SceneMaker(factors, self.seed, self.rig, self.views, self.size, pictures, motions, self.hands)

    @property
    def moves(self) -> bool:
        """Sequences are made, not stills."""
        return self.sequence is not None or self.poses is not None

    def _motions(self) -> Motions | None:
        if self.poses is not None:
            if self.sequence is not None:
                raise InputError(f"--poses {self.poses} with --sequence {self.sequence}: give one of them")
            load_motion(self.poses, self.hands)
            return SeenMotion(self.poses, self.hands)
        return None if self.sequence is None else NamedMotions.chosen(self.sequence, self.fps, self.hands)
