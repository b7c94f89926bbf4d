"""A whole run: scenes in chunks, over processes, into a folder; stopped at any moment it goes on to the same bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sonjit._version import __version__
from sonjit.errors import InputError, JobError, SonjitError
from sonjit.media.outputs import failing_as_job
from sonjit.synthesis.cameras import Rig, check_rig
from sonjit.synthesis.factor_table import FACTORS
from sonjit.synthesis.factors import Factors
from sonjit.synthesis.layouts import TRUTH, Layout, Made, write_whole
from sonjit.synthesis.samples import render_samples
from sonjit.synthesis.scenes import SceneMaker
from sonjit.synthesis.write_coco import CocoLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonjit.synthesis.renderer import Renderer

Format = Literal["coco"]
LAYOUTS: Final[dict[str, type[Layout]]] = {"coco": CocoLayout}
_CHUNK: Final = 32
"""Pictures that are finished together."""


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
        extras: further pictures: depth, normals, masks.
        models_dir: where the rig's files lie.
    """

    count: int
    seed: int = 0
    factors: tuple[str, ...] = ()
    rig: Rig = "webcam"
    views: int = 1
    size: tuple[int, int] = (256, 256)
    format: Format = "coco"
    extras: tuple[str, ...] = ()

    @property
    def per_chunk(self) -> int:
        """Scenes in each chunk."""
        return max(1, _CHUNK // self.views)

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.count // self.per_chunk)

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
        return SceneMaker(Factors(FACTORS, self.factors), self.seed, self.rig, self.views, self.size)


@dataclass
class SynthSummary:
    """What a run did.

    Attributes:
        pictures: that were made now.
        kept: that were there before.
    """

    pictures: int = 0
    kept: int = 0


def synthesize(
    out: Path, settings: SynthSettings, *, jobs: int = 1, advance: Callable[[int], None] = lambda _: None
) -> SynthSummary:
    """Make a folder of pictures with truth, or go on with one.

    Args:
        out: the folder, made if need be.
        settings: what to make.
        jobs: processes.
        advance: called with how many more pictures are there.

    Raises:
        InputError: settings that cannot be, or a folder of something else.
        JobError: the disk is full, or a process was ended from outside.
    """
    settings.maker()
    layout = _opened(out, settings)
    done = {number for number in range(settings.chunks) if layout.chunk_path(number).is_file()}
    summary = SynthSummary(kept=sum(_pictures(settings, number) for number in done))
    advance(summary.kept)
    try:
        for number in _run(out, settings, sorted(set(range(settings.chunks)) - done), jobs):
            done.add(number)
            summary.pictures += _pictures(settings, number)
            advance(_pictures(settings, number))
    finally:
        if done:
            layout.finish(sorted(done))
    return summary


def _pictures(settings: SynthSettings, number: int) -> int:
    return min(settings.per_chunk, settings.count - number * settings.per_chunk) * settings.views


def _layout(out: Path, settings: SynthSettings) -> Layout:
    about = {"description": "Hands rendered by Sonjit", "version": __version__, "settings": asdict(settings)}
    return LAYOUTS[settings.format](out, settings.extras, about)


def _opened(out: Path, settings: SynthSettings) -> Layout:
    """The layout of a folder that is new, empty or of the same settings."""
    kept = out / TRUTH / "settings.json"
    text = json.dumps({"version": __version__} | asdict(settings), indent=1) + "\n"
    if kept.is_file():
        if kept.read_text("utf-8") != text:
            raise InputError(f"{out} was made with other settings ({kept}): choose another folder or delete it")
    else:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} holds something else: choose a new folder, or an empty one")
        with failing_as_job(out):
            out.mkdir(parents=True, exist_ok=True)
        write_whole(kept, text.encode())
    return _layout(out, settings)


def _run(out: Path, settings: SynthSettings, numbers: list[int], jobs: int) -> Iterator[int]:
    """Make chunks; gives the number of each when it is finished."""
    if jobs == 1 or len(numbers) < 2:
        for number in numbers:
            yield _make_chunk(out, settings, number)
        return
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's OpenGL
    pool = ProcessPoolExecutor(min(jobs, len(numbers)), mp_context=context, initializer=_begin_worker)
    try:
        running = [pool.submit(_attempt, out, settings, number) for number in numbers]
        for future in as_completed(running):
            result = future.result()
            if isinstance(result, str):
                raise JobError(result)
            yield result
    except BrokenProcessPool:
        raise JobError("a worker process was ended from outside (out of memory?); run it again to go on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C is for the parent; where the parent is gone, nobody waits for this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["LP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _attempt(out: Path, settings: SynthSettings, number: int) -> int | str:
    """One chunk; what failed comes through the process border as text."""
    try:
        return _make_chunk(out, settings, number)
    except SonjitError as error:
        return str(error)


def _make_chunk(out: Path, settings: SynthSettings, number: int) -> int:
    maker, renderer = settings.maker(), _renderer()
    first = number * settings.per_chunk
    scenes = range(first, min(first + settings.per_chunk, settings.count))

    def made() -> Iterator[Made]:
        for scene in scenes:
            for view, (sample, buffers) in enumerate(render_samples(renderer, maker.make(scene))):
                yield Made(scene, view, sample, buffers)

    _layout(out, settings).write(number, made())
    return number


@cache
def _renderer() -> Renderer:
    """One for each process, for its shaders take long to compile."""
    import cv2

    from sonjit.synthesis.renderer import Renderer

    os.environ.setdefault("LP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    return Renderer()
