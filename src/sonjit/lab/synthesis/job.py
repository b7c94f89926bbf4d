"""Render a run: scenes in chunks, in several processes, into a folder. A stopped run resumes to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

import cv2

from sonjit._util.errors import InputError
from sonjit._util.files import failing_as_job, has_settings, sole_writer, write_bytes, write_text
from sonjit._util.json_text import json_from
from sonjit._util.pools import Progress, run_calls
from sonjit._util.version import __version__
from sonjit.lab.datasets.registry import draw_contact_sheet
from sonjit.lab.synthesis.layouts import (
    TRUTH,
    CocoLayout,
    FolderLayout,
    InterHandLayout,
    RenderedImage,
    ShardLayout,
    SynthSettings,
    VideoLayout,
)
from sonjit.lab.synthesis.person import load_hand_mesh
from sonjit.lab.synthesis.renderer import Renderer
from sonjit.lab.synthesis.samples import render_samples
from sonjit.media.sources.images import encode_image

SHEET: Final = "sheet.jpg"

_LAYOUTS: Final[dict[str, type[FolderLayout]]] = {
    "coco": CocoLayout,
    "interhand": InterHandLayout,
    "shards": ShardLayout,
    "video": VideoLayout,
}

_SHEET_SAMPLES: Final = 24


@dataclass
class SynthSummary:
    """Result of a run."""

    images: int = 0  # images rendered by this call
    rendered: int = 0  # stills or sequences rendered by this call
    reused: int = 0  # stills or sequences rendered before


def synthesize(
    out: Path, settings: SynthSettings, *, jobs: int = 1, workers: str = "pool", progress: Progress = Progress()
) -> SynthSummary:
    """Render a folder of labelled images, or resume one.

    Args:
        out: Folder, created if needed.
        settings: What to render.
        jobs: Number of processes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`.
        progress: Receiver of the progress in stills or sequences.

    Raises:
        InputError: The settings are impossible, the folder has other content, or the rig is missing (the message
            explains how to fetch it).
        JobError: The disk is full, or a process was ended from outside or crashed.
    """
    settings.sampler()
    layout = _LAYOUTS[settings.format](out, settings)
    layout.check()
    for side in ("Right", "Left"):
        load_hand_mesh(side, settings.hands)
    with sole_writer(out):
        _open(out, settings)
        done = {number for number in range(layout.chunks) if layout.chunk_path(number).is_file()}
        summary = SynthSummary(reused=sum(len(layout.numbers(chunk)) for chunk in done))
        progress.advance(summary.reused)
        chunks = sorted(set(range(layout.chunks)) - done)
        try:
            calls = [(layout, chunk) for chunk in chunks]
            for number, images in run_calls(_render_chunk, calls, jobs=jobs, workers=workers):
                done.add(chunks[number])
                finished = len(layout.numbers(chunks[number]))
                summary.rendered += finished
                summary.images += images
                progress.advance(finished)
        finally:
            if done:
                layout.finish(sorted(done))
                sheet = draw_contact_sheet(layout.samples(sorted(done), _SHEET_SAMPLES))
                write_bytes(out / SHEET, encode_image(sheet, ".jpg"))
        return summary


def _open(out: Path, settings: SynthSettings) -> None:
    """Create the folder, unless it exists with the same settings."""
    name = f"{TRUTH}/settings.json"
    text = json_from({"version": __version__} | asdict(settings), 1) + "\n"
    if has_settings(out, name, text):
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: choose a new or empty folder")
    with failing_as_job(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(out / name, text)


def _render_chunk(layout: FolderLayout, chunk: int) -> int:
    """Render and write one chunk. Return the number of its images."""
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
    """Return the renderer of this process, whose shaders take long to compile."""
    cv2.setNumThreads(1)
    return Renderer()
