"""`sonjit annotate new`, `open`, `agreement`: annotation projects and the page to work on them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.cli.serve import log_to_stderr, tell_address

if TYPE_CHECKING:
    from sonjit.multiview.project import Project


def new(
    project: Path,
    /,
    *,
    cameras: Path,
    views: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    name: str | None = None,
    unit: Literal["m", "cm", "mm"] | None = None,
    capture: str | None = None,
) -> None:
    """Make an annotation project: which cameras, and where each one's pictures are. Nothing is copied.

    Example: `sonjit annotate new desk --cameras rig.json --views recordings/ && sonjit annotate open desk`

    Args:
        project: Folder to make.
        cameras: The calibrated rig, in any format that `sonjit annotate cameras` reads.
        views: Folders or videos that are called like the cameras, a folder that holds such, or CAMERA=PATH.
        name: For people; by default the folder's.
        unit: Of the cameras' lengths, where their file does not say.
        capture: Which of InterHand2.6M's captures.
    """
    from sonjit.multiview.camera_files import load_cameras
    from sonjit.multiview.project import create_project, find_views

    rig = load_cameras(cameras, unit=unit, capture=capture)
    made = create_project(project, rig, find_views(rig, views), name=name)
    try:
        for line in _summary(made, len(rig)):
            sys.stderr.write(f"{line}\n")
    finally:
        made.close()


def open_page(
    project: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: Annotated[bool, Parameter(name="--open", negative="")] = False,
    token: str | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Serve the annotation page of a project until Ctrl-C; several people may work on it at once.

    Args:
        project: Folder made by `sonjit annotate new`.
        host: Name or address to listen on.
        port: 0 takes any that is free.
        open_browser: Open the page in the browser.
        token: What every call must show; needed on a host that other machines reach.
        verbose: Log every request.
    """
    from sonjit.server.run import serve
    from sonjit.server.settings import Settings

    log_to_stderr(verbose=verbose)
    tell = tell_address(open_page=open_browser, page="annotate/")
    serve(Settings(host=host, token=token), port, verbose=verbose, started=tell, project=project)
    return 0


def agreement(project: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Say how well annotators agree: distances between their marks of the same joint in the same view, in pixels.

    Args:
        project: Folder made by `sonjit annotate new`.
        as_json: Print a JSON object instead.
    """
    from sonjit.multiview.agreement import agreement as measured
    from sonjit.multiview.project import open_project

    opened = open_project(project)
    try:
        said = measured(opened.store.marks())
    finally:
        opened.close()
    if as_json:
        sys.stdout.write(json.dumps(said, indent=2, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    within = [f"within {threshold:g} px" for threshold in said["thresholds_px"]]
    for heading in ("of", "pairs", "mean px", "median px", "95 % px", *within):
        table.add_column(heading, justify="left" if heading == "of" else "right", no_wrap=True)
    for head, numbers in [("all", said["all"]), *said["annotators"].items(), *said["joints"].items()]:
        shares = [f"{100 * share:.0f} %" for share in numbers["within"].values()] or ["–"] * len(within)
        lengths = [numbers[key] for key in ("mean_px", "median_px", "p95_px")]
        table.add_row(head, str(numbers["pairs"]), *("–" if px is None else f"{px:.2f}" for px in lengths), *shares)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _summary(project: Project, cameras: int) -> list[str]:
    lines = [f"{project.folder}: {len(project.views)} of {cameras} cameras, {len(project.frames)} instants"]
    for view, numbers in project.missing().items():
        some = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
        lines.append(f"view {view} lacks {len(numbers)} of them: {some}")
    return lines
