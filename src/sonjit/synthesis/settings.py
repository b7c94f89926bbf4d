"""What a run makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonjit.errors import InputError
from sonjit.synthesis.backgrounds import BackgroundFolder
from sonjit.synthesis.cameras import Rig, check_rig
from sonjit.synthesis.factor_table import FACTORS
from sonjit.synthesis.factors import Factors
from sonjit.synthesis.scenes import SceneMaker

Format = Literal["coco", "interhand", "shards", "video"]
Extra = Literal["depth", "normals", "masks"]


@dataclass(frozen=True)
class SynthSettings:
    """What to make.

    Attributes:
        count: scenes.
        seed: of everything random.
        factors: `name=value` each, see `factors.Factors`.
        rig: of cameras.
        views: cameras.
        size: width and height in pixels.
        format: of the folder.
        extras: further pictures beside each.
        backgrounds: folder of pictures to cut backgrounds from; None makes them up.
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

    @property
    def frames(self) -> int:
        """Scenes in each sequence; 1 for stills."""
        return 1

    @property
    def scenes(self) -> int:
        """In the whole run."""
        return self.count * self.frames

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
        return SceneMaker(Factors(FACTORS, self.factors), self.seed, self.rig, self.views, self.size, pictures)
