"""Render hands in processes, and write them in a layout."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

import cv2

from sonjit._util import InputError, files, json_from, version
from sonjit._util.pools import Progress, run_calls
from sonjit.media.sources.images import encode_image
from sonjit_lab.datasets.sheets import draw_contact_sheet
from sonjit_lab.synthesis.hand_meshes import load_hand_mesh
from sonjit_lab.synthesis.layouts import (
    SHEET,
    TRUTH,
    CocoLayout,
    FolderLayout,
    InterHandLayout,
    RenderedImage,
    SynthSettings,
    VideoLayout,
)
from sonjit_lab.synthesis.renderer import Renderer
from sonjit_lab.synthesis.scenes import render_samples

_SHEET_SAMPLES: Final = 24
_LAYOUTS: Final[dict[str, type[FolderLayout]]] = {
    "coco": CocoLayout,
    "interhand": InterHandLayout,
    "video": VideoLayout,
}


@dataclass
class SynthSummary:
    """Result of a run."""

    images: int = 0  # images rendered by this call
    rendered: int = 0  # stills or sequences rendered by this call
    reused: int = 0  # stills or sequences rendered before


def synthesize(
    out: Path, settings: SynthSettings, *, jobs: int = 1, workers: str = "pool", progress: Progress = Progress()
) -> SynthSummary:
    """Render a folder of labelled images with `workers` as in `run_calls`, or resume one; progress is in scenes."""
    settings.sampler()
    layout = _LAYOUTS[settings.format](out, settings)
    layout.check()
    for side in ("Right", "Left"):
        load_hand_mesh(side, settings.hands)
    with files.sole_writer(out):
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
                files.write_bytes(out / SHEET, encode_image(sheet, ".jpg"))
        return summary


def _open(out: Path, settings: SynthSettings) -> None:
    """Create the folder, unless it exists with the same settings."""
    name = f"{TRUTH}/settings.json"
    inputs = {"poses_sha256": settings.poses and files.sha256_of_file(Path(settings.poses))}
    inputs["backgrounds_sha256"] = settings.backgrounds and files.sha256_of_folder(Path(settings.backgrounds))
    text = json_from({"version": version.__version__} | asdict(settings) | inputs, 1) + "\n"
    if files.has_settings(out, name, text):
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: choose a new or empty folder")
    with files.failing_as_job(out):
        out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / name, text)


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
