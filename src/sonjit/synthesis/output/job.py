"""A whole run: scenes in chunks, over processes, into a folder; a stopped run resumes to the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from sonjit._version import __version__
from sonjit.datasets.checks import draw_contact_sheet
from sonjit.errors import InputError
from sonjit.files import failing_as_job, sole_writer, write_bytes, write_text
from sonjit.media.annotated.writers import encode_image
from sonjit.pools import run_calls
from sonjit.synthesis.hands.mesh import load_hand_mesh
from sonjit.synthesis.output.layouts import TRUTH, FolderLayout, RenderedImage, SynthSettings
from sonjit.synthesis.output.samples import render_samples
from sonjit.synthesis.output.writers import CocoLayout, InterHandLayout, ShardLayout, VideoLayout
from sonjit.synthesis.render.renderer import Renderer

SHEET: Final = "sheet.jpg"

_LAYOUTS: Final[dict[str, type[FolderLayout]]] = {
    "coco": CocoLayout,
    "interhand": InterHandLayout,
    "shards": ShardLayout,
    "video": VideoLayout,
}

_ON_SHEET: Final = 24


@dataclass
class SynthSummary:
    """The result of a run.

    Attributes:
        images: rendered now.
        made: stills or sequences rendered now.
        kept: rendered before.
    """

    images: int = 0
    made: int = 0
    kept: int = 0


def synthesize(
    out: Path,
    settings: SynthSettings,
    *,
    jobs: int = 1,
    workers: str = "pool",
    advance: Callable[[int], None] = lambda _: None,
) -> SynthSummary:
    """Render a folder of labelled images, or resume one.

    Args:
        out: the folder, created if need be.
        settings: what to render.
        jobs: processes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`.
        advance: called with how many more stills or sequences are there.

    Raises:
        InputError: impossible settings, a folder of something else, or no rig (the message says how to fetch it).
        JobError: the disk is full, or a process was ended from outside.
    """
    settings.sampler()
    layout = _LAYOUTS[settings.format](out, settings)
    layout.check()
    for side in ("Right", "Left"):
        load_hand_mesh(side, settings.hands)
    with sole_writer(out):
        _open(out, settings)
        done = {number for number in range(layout.chunks) if layout.chunk_path(number).is_file()}
        summary = SynthSummary(kept=sum(len(layout.numbers(chunk)) for chunk in done))
        advance(summary.kept)
        try:
            for chunk, images in _run(layout, sorted(set(range(layout.chunks)) - done), jobs, workers):
                done.add(chunk)
                numbers = len(layout.numbers(chunk))
                summary.made += numbers
                summary.images += images
                advance(numbers)
        finally:
            if done:
                _finish(layout, sorted(done))
        return summary


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
    write_text(kept, text)


def _finish(layout: FolderLayout, done: list[int]) -> None:
    layout.finish(done)
    sheet = draw_contact_sheet(layout.samples(done, _ON_SHEET))
    write_bytes(layout.root / SHEET, encode_image(sheet, ".jpg"))


def _run(layout: FolderLayout, chunks: list[int], jobs: int, workers: str) -> Iterator[tuple[int, int]]:
    """Make chunks; gives each when it is finished, with how many images it holds."""
    threads = 1 if len(chunks) > 1 else jobs  # many views of one scene: the renderer shares them out
    calls = [(layout, chunk, threads) for chunk in chunks]
    for number, images in run_calls(_make_chunk, calls, jobs=jobs, workers=workers):
        yield chunks[number], images


def _make_chunk(layout: FolderLayout, chunk: int, threads: int) -> int:
    """Make and write one chunk; gives how many images it holds."""
    os.environ.setdefault("LP_NUM_THREADS", str(threads))  # which the renderer reads once
    renderer, sampler, rows = _renderer(), layout.settings.sampler(), count()

    def images() -> Iterator[RenderedImage]:
        for number in layout.numbers(chunk):
            for scene in sampler.make(number):
                for sample, buffers in render_samples(renderer, scene):
                    yield RenderedImage(number, next(rows), scene.time_s, sample, buffers)

    layout.write(chunk, images())
    return next(rows)


@cache
def _renderer() -> Renderer:
    """One for each process, for its shaders take long to compile."""
    import cv2

    from sonjit.synthesis.render.renderer import Renderer

    cv2.setNumThreads(1)
    return Renderer()
