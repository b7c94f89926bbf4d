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
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sonjit._version import __version__
from sonjit.datasets.contact_sheet import draw_contact_sheet
from sonjit.errors import InputError, JobError, SonjitError
from sonjit.media.outputs import failing_as_job
from sonjit.synthesis.hand_mesh import load_hand_mesh
from sonjit.synthesis.layouts import TRUTH, Layout, Made, jpeg_bytes, write_whole
from sonjit.synthesis.samples import render_samples
from sonjit.synthesis.write_coco import CocoLayout
from sonjit.synthesis.write_interhand import InterHandLayout
from sonjit.synthesis.write_shards import ShardLayout
from sonjit.synthesis.write_video import VideoLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonjit.synthesis.renderer import Renderer
    from sonjit.synthesis.settings import SynthSettings

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
        pictures: that were made now.
        made: stills or sequences that were made now.
        kept: that were there before.
    """

    pictures: int = 0
    made: int = 0
    kept: int = 0


def synthesize(
    out: Path, settings: SynthSettings, *, jobs: int = 1, advance: Callable[[int], None] = lambda _: None
) -> SynthSummary:
    """Make a folder of pictures with truth, or go on with one.

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
        for chunk, pictures in _run(layout, sorted(set(range(layout.chunks)) - done), jobs):
            done.add(chunk)
            numbers = len(layout.numbers(chunk))
            summary.made += numbers
            summary.pictures += pictures
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
    write_whole(kept, text.encode())


def _finish(layout: Layout, done: list[int]) -> None:
    layout.finish(done)
    sheet = draw_contact_sheet(layout.samples(done, _ON_SHEET))
    write_whole(layout.root / SHEET, jpeg_bytes(sheet))


def _run(layout: Layout, chunks: list[int], jobs: int) -> Iterator[tuple[int, int]]:
    """Make chunks; gives each when it is finished, with how many pictures it holds."""
    if jobs == 1 or len(chunks) < 2:
        os.environ.setdefault("LP_NUM_THREADS", str(jobs))  # many views of one scene: the renderer shares them out
        for chunk in chunks:
            yield chunk, _make_chunk(layout, chunk)
        return
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's OpenGL
    pool = ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=context, initializer=_begin_worker)
    try:
        running = {pool.submit(_attempt, layout, chunk): chunk for chunk in chunks}
        for future in as_completed(running):
            result = future.result()
            if isinstance(result, SonjitError):
                raise result
            yield running[future], result
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


def _attempt(layout: Layout, chunk: int) -> int | SonjitError:
    """One chunk; what failed is a result, of a kind that comes through the process border."""
    try:
        return _make_chunk(layout, chunk)
    except InputError as error:
        return InputError(str(error))
    except SonjitError as error:
        return JobError(str(error))


def _make_chunk(layout: Layout, chunk: int) -> int:
    """Make and write one chunk; gives how many pictures it holds."""
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

    from sonjit.synthesis.renderer import Renderer

    cv2.setNumThreads(1)
    return Renderer()
