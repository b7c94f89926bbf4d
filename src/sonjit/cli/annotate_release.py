"""`sonjit annotate release`: a data set to give away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def release(
    project: Path,
    out: Path,
    /,
    *,
    card: Path,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    fps: float = 30.0,
) -> None:
    """Write a data set: small pictures without faces, InterHand2.6M's files, COCO, checksums, statistics, a data card.

    The card is TOML: title, licence, consent and contact, and [captures.PROJECT] with subject, maybe split (train, val,
    test), and sequences = [{name = "0001_fist", type = "PP", first = 0, last = 120}].

    Example: `sonjit annotate release desk hands-2026 --card card.toml --fps 30`

    Args:
        project: Annotated project: its newest labels by `sonjit annotate auto`.
        out: Folder to make.
        card: What the makers say; nothing is released without licence and consent.
        also: More projects, of other people or of the same.
        fps: Instants a second, by their numbers; five a second are released.
    """
    from sonjit.cli.report import progress
    from sonjit.multiview.data_card import load_card
    from sonjit.multiview.project import open_project
    from sonjit.multiview.release import release as write

    said = load_card(card)
    opened = [open_project(one) for one in (project, *(also or []))]
    try:
        with progress(None, "instants") as advance:
            done = write(opened, said, out, fps=fps, expect=advance.expect, advance=advance)
    finally:
        for one in opened:
            one.close()
    finest = max(done.views.values(), key=lambda one: one.px_per_mm)
    sys.stderr.write(
        f"{done.pictures} pictures of {done.instants} instants, {done.faces.blurred} faces blurred, "
        f"{done.faces.withheld} pictures left out where a face may lie over a hand; at most "
        f"{finest.px_per_mm:.2f} px/mm ({finest.ridge_px:.2f} px a ridge); wrote {out}\n"
    )
