"""`sonjit demo`: hands in the bundled clip."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.cli.report import progress_bar
from sonjit.media import load_frames, open_writer
from sonjit.runs import Detect, Inputs, Outputs, run_job


def demo(*, out: Annotated[str, Parameter(name="--out")] = "sonjit-demo") -> int:
    """Run on the bundled clip: a table, JSON and a drawn video.

    Example: `sonjit models pull && sonjit demo`

    Args:
        out: Folder for the results. Created if it does not exist.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}; choose another folder with --out") from None
    results = {
        "hands.json": "21 keypoints per hand and frame, in pixels and metres",
        "hands.csv": "the same as a table",
        "hands.mp4": "the clip with the hands drawn in",
    }
    with resources.as_file(resources.files("sonjit") / "_util" / "assets" / "demo.mp4") as clip:
        task = Detect("hands", {"model": "full", "max_instances": 2})
        outputs = Outputs(str(folder / "hands.json"), str(folder / "hands.mp4"))
        with progress_bar(None, "frames") as bar:
            inputs = Inputs.find([str(clip)])
            summary = run_job(task, inputs, outputs, progress=bar)
    header, frames = load_frames(folder / "hands.json")
    with open_writer(folder / "hands.csv", header) as table:
        for frame in frames:
            table.write(frame)
    sys.stdout.write(
        f"{summary.frames} frames, {summary.instances} hands in {summary.seconds:.1f} s "
        f"({summary.frames / summary.seconds:.0f} frames/s, with reading, drawing and writing)\n"
    )
    for name, description in results.items():
        sys.stdout.write(f"  {folder / name}  {description}\n")
    return 0
