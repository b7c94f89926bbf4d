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
from typing import TYPE_CHECKING, Final

from sonjit._version import __version__
from sonjit.datasets.contact_sheet import draw_contact_sheet
from sonjit.errors import InputError, JobError, SonjitError
from sonjit.media.outputs import failing_as_job
from sonjit.synthesis.layouts import TRUTH, Layout, Made, jpeg_bytes, write_whole
from sonjit.synthesis.samples import render_samples
from sonjit.synthesis.write_coco import CocoLayout
from sonjit.synthesis.write_interhand import InterHandLayout
from sonjit.synthesis.write_shards import ShardLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonjit.synthesis.renderer import Renderer
    from sonjit.synthesis.settings import SynthSettings

SHEET: Final = "sheet.jpg"
_LAYOUTS: Final[dict[str, type[Layout]]] = {"coco": CocoLayout, "interhand": InterHandLayout, "shards": ShardLayout}
_ON_SHEET: Final = 24


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
    layout = _layout(out, settings)
    layout.check()
    _open(out, settings)
    done = {number for number in range(layout.chunks) if layout.chunk_path(number).is_file()}
    summary = SynthSummary(kept=layout.pictures(done))
    advance(summary.kept)
    try:
        for number in _run(layout, sorted(set(range(layout.chunks)) - done), jobs):
            done.add(number)
            summary.pictures += layout.pictures([number])
            advance(layout.pictures([number]))
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


def _run(layout: Layout, numbers: list[int], jobs: int) -> Iterator[int]:
    """Make chunks; gives the number of each when it is finished."""
    if jobs == 1 or len(numbers) < 2:
        for number in numbers:
            yield _make_chunk(layout, number)
        return
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's OpenGL
    pool = ProcessPoolExecutor(min(jobs, len(numbers)), mp_context=context, initializer=_begin_worker)
    try:
        running = [pool.submit(_attempt, layout, number) for number in numbers]
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


def _attempt(layout: Layout, number: int) -> int | str:
    """One chunk; what failed comes through the process border as text."""
    try:
        return _make_chunk(layout, number)
    except SonjitError as error:
        return str(error)


def _make_chunk(layout: Layout, number: int) -> int:
    settings, renderer = layout.settings, _renderer()
    maker = settings.maker()

    def made() -> Iterator[Made]:
        for number_of_scene in layout.scenes(number):
            rendered = render_samples(renderer, maker.make(number_of_scene))
            for view, (sample, buffers) in enumerate(rendered):
                yield Made(number_of_scene * settings.views + view, number_of_scene, sample, buffers)

    layout.write(number, made())
    return number


@cache
def _renderer() -> Renderer:
    """One for each process, for its shaders take long to compile."""
    import cv2

    from sonjit.synthesis.renderer import Renderer

    os.environ.setdefault("LP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    return Renderer()
