"""`sonjit bench`: speed, memory, start and size on this machine, alone or beside MediaPipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal


def bench(
    *,
    peer: str | None = None,
    media: str | None = None,
    model: Literal["full", "lite"] | None = None,
    precision: Literal["auto", "f32", "bf16"] = "auto",
    threads: int | None = None,
    repeat: int = 3,
    save: str | None = None,
) -> None:
    """Measure time per frame, processor time, memory, cold start and installed size.

    Every configuration runs in fresh processes on frames that were decoded before; with a peer, both sides take turns
    on the same frames. Ratios below 1 say that Sonjit needs less. Give it a quiet machine.

    Example: `sonjit bench --peer other-venv/bin/python --save bench.json`

    Args:
        peer: A Python interpreter that has mediapipe with mediapipe.solutions; without it, only Sonjit is measured.
        media: A video instead of the bundled clip.
        model: Only this model; both where not given.
        precision: What Sonjit's networks run in; auto takes bf16 where the processor has it, else f32.
        threads: For Sonjit, 0 for all cores; SONJIT_THREADS where not given.
        repeat: Fresh processes per case and side; the median of each figure counts.
        save: A JSON file for all figures of all processes.
    """
    from rich.console import Console

    from sonjit.benchmark import CASES, benchmark
    from sonjit.benchmark.report import draw_report
    from sonjit.media.outputs import Draft, failing_as_job

    draft = Draft(Path(save)) if save else None  # a path that cannot be written is said before the long part
    try:
        report = benchmark(
            peer=peer,
            media=media,
            cases=[case for case in CASES if model in (None, case.model)],
            precision=precision,
            threads=threads,
            repeat=repeat,
            progress=lambda line: Console(stderr=True).print(line, markup=False, highlight=False),
        )
        Console(width=None if sys.stdout.isatty() else 160).print(draw_report(report))
        if draft:
            with failing_as_job(draft.final):
                draft.draft.write_text(json.dumps(report, indent=1) + "\n")
            draft.keep()
    finally:
        if draft:
            draft.drop()
