"""A whole run: scenes in chunks, over processes, into a folder; stopped at any moment it goes on to the same bytes.

What a run makes.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sonjit._version import __version__
from sonjit.datasets.contact_sheet import draw_contact_sheet
from sonjit.errors import InputError
from sonjit.files import failing_as_job, write_bytes, write_text
from sonjit.pools import run_calls
from sonjit.synthesis.hands.mesh import load_hand_mesh
from sonjit.synthesis.output.layouts import TRUTH, Layout, Made, jpeg_bytes
from sonjit.synthesis.output.samples import render_samples
from sonjit.synthesis.output.video_writer import VideoLayout
from sonjit.synthesis.output.writers import CocoLayout, InterHandLayout, ShardLayout
from sonjit.synthesis.scene.backgrounds import BackgroundFolder
from sonjit.synthesis.scene.cameras import Rig, check_rig
from sonjit.synthesis.scene.factors import FACTORS, SEQUENCE_FACTORS, Factors
from sonjit.synthesis.scene.motions import NamedMotions, SeenMotion, load_motion
from sonjit.synthesis.scene.sampling import SceneMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonjit.synthesis.hands.mesh import HandFiles
    from sonjit.synthesis.render.renderer import Renderer
    from sonjit.synthesis.scene.motions import Motions

SHEET: Final = "sheet.jpg"

_LAYOUTS: Final[dict[str, type[Layout]]] = {
    "coco": CocoLayout,
    "interhand": InterHandLayout,
    "shards": ShardLayout,
    "video": VideoLayout,
}

_ON_SHEET: Final = 24


@dataclass
class SynthSummary:
    """What a run did.

    Attributes:
        images: that were made now.
        made: stills or sequences that were made now.
        kept: that were there before.
    """

    images: int = 0
    made: int = 0
    kept: int = 0


def synthesize(
    out: Path, settings: SynthSettings, *, jobs: int = 1, advance: Callable[[int], None] = lambda _: None
) -> SynthSummary:
    """Make a folder of images with truth, or go on with one.

    Args:
        out: the folder, made if need be.
        settings: what to make.
        jobs: processes.
        advance: called with how many more stills or sequences are there.

    Raises:
        InputError: settings that cannot be, a folder of something else, or no rig (the line says how to fetch it).
        JobError: the disk is full, or a process was ended from outside.
    """
    settings.maker()
    layout = _layout(out, settings)
    layout.check()
    for side in ("Right", "Left"):
        load_hand_mesh(side, settings.hands)
    _open(out, settings)
    done = {number for number in range(layout.chunks) if layout.chunk_path(number).is_file()}
    summary = SynthSummary(kept=sum(len(layout.numbers(chunk)) for chunk in done))
    advance(summary.kept)
    try:
        for chunk, images in _run(layout, sorted(set(range(layout.chunks)) - done), jobs):
            done.add(chunk)
            numbers = len(layout.numbers(chunk))
            summary.made += numbers
            summary.images += images
            advance(numbers)
    finally:
        if done:
            _finish(layout, sorted(done))
    return summary


def _layout(out: Path, settings: SynthSettings) -> Layout:
    return _LAYOUTS[settings.format](out, settings)


def _open(out: Path, settings: SynthSettings) -> None:
    """Make the folder, unless it is one of the same settings."""
    kept = out / TRUTH / "settings.json"
    text = json.dumps({"version": __version__} | asdict(settings), indent=1) + "\n"
    if kept.is_file():
        if kept.read_text("utf-8") != text:
            raise InputError(f"{out} was made with other settings ({kept}): choose another folder or delete it")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something else: choose a new folder, or an empty one")
    with failing_as_job(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(kept, text, of_run=True)


def _finish(layout: Layout, done: list[int]) -> None:
    layout.finish(done)
    sheet = draw_contact_sheet(layout.samples(done, _ON_SHEET))
    write_bytes(layout.root / SHEET, jpeg_bytes(sheet), of_run=True)


def _run(layout: Layout, chunks: list[int], jobs: int) -> Iterator[tuple[int, int]]:
    """Make chunks; gives each when it is finished, with how many images it holds."""
    threads = 1 if len(chunks) > 1 else jobs  # many views of one scene: the renderer shares them out
    os.environ.setdefault("LP_NUM_THREADS", str(threads))
    for number, images in run_calls(_make_chunk, [(layout, chunk) for chunk in chunks], jobs=jobs):
        yield chunks[number], images


def _make_chunk(layout: Layout, chunk: int) -> int:
    """Make and write one chunk; gives how many images it holds."""
    renderer, maker, rows = _renderer(), layout.settings.maker(), count()

    def made() -> Iterator[Made]:
        for number in layout.numbers(chunk):
            for scene in maker.make(number):
                for sample, buffers in render_samples(renderer, scene):
                    yield Made(number, next(rows), scene.time_s, sample, buffers)

    layout.write(chunk, made())
    return next(rows)


@cache
def _renderer() -> Renderer:
    """One for each process, for its shaders take long to compile."""
    import cv2

    from sonjit.synthesis.render.renderer import Renderer

    cv2.setNumThreads(1)
    return Renderer()


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
        extras: further images beside each.
        backgrounds: folder of images to cut backgrounds from; None makes them up.
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
        images = None if self.backgrounds is None else BackgroundFolder(Path(self.backgrounds))
        motions = self._motions()
        factors = Factors(FACTORS if motions is None else SEQUENCE_FACTORS, self.factors)
        return SceneMaker(factors, self.seed, self.rig, self.views, self.size, images, motions, self.hands)

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
