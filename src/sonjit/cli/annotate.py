"""`sonjit annotate`: from calibrated cameras to labelled hands in space."""

from __future__ import annotations

from cyclopts import App

from sonjit.cli.annotate_cameras import board, calibrate, cameras, sync, triangulate
from sonjit.cli.annotate_project import agreement, auto, new, open_page, rank, release, train

app = App(
    name="annotate",
    help="""Annotate hands in many views at once: projects, the page to work on them, and what comes of it.

    Example: `sonjit annotate new desk --cameras rig.json --views recordings/ && sonjit annotate open desk`
    """,
)
app.command(board)
app.command(calibrate)
app.command(cameras)
app.command(sync)
app.command(triangulate)
app.command(new)
app.command(open_page, name="open")
app.command(agreement)
app.command(auto)
app.command(train)
app.command(rank)
app.command(release)
