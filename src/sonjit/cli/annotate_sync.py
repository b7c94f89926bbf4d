"""`sonjit annotate sync`: which pictures of several cameras are of one instant."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.cli.report import progress
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.multiview.sync import Sync

Views = Annotated[list[str], Parameter(negative="")]
Method = Literal["index", "time", "timecode", "flash"]


def sync(views: Views, /, *, by: Method = "time", out: Path | None = None, stamps: Path | None = None) -> int:
    """Say which pictures of several cameras are of one instant, how clocks differ, and what was dropped or doubled.

    Args:
        views: Videos or folders of pictures, called like their cameras; a folder that holds such; or CAMERA=PATH.
        by: index (their numbers), time (as of one clock), timecode (of their videos) or flash (a lamp switched on).
        out: JSON to write: offset_s, drift_ppm by camera and the pictures of every instant.
        stamps: Folder with CAMERA.txt, a time in seconds for each picture.
    """
    from sonjit.multiview.camera_records import write_text

    found = synchronised(named_views(views), by, stamps)
    for name, clock in found.clocks.items():
        sys.stderr.write(f"{name}: offset {clock.offset_s * 1000:+.1f} ms, drift {clock.drift_ppm:+.0f} ppm\n")
    for line in found.warnings:
        sys.stderr.write(f"sonjit: {line}\n")
    sys.stderr.write(f"{len(found.pictures)} instants of {len(found.names)} cameras\n")
    if out:
        clocks = {name: {"offset_s": c.offset_s, "drift_ppm": c.drift_ppm} for name, c in found.clocks.items()}
        pictures = {name: column.tolist() for name, column in zip(found.names, found.pictures.T, strict=True)}
        write_text(out, json.dumps({"clocks": clocks, "pictures": pictures, "warnings": list(found.warnings)}) + "\n")
    return 1 if found.warnings else 0


def named_views(views: list[str]) -> dict[str, Path]:
    """Each view's path by its camera's name."""
    found: dict[str, Path] = {}
    for text in views:
        camera, equals, where = text.partition("=")
        path = Path(where if equals else text)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        children = sorted(child for child in path.iterdir() if _is_view(child)) if path.is_dir() else []
        for one in [path] if equals or not children else children:
            name = camera if equals else one.name if one.is_dir() else one.stem
            if name in found:
                raise InputError(f"camera {name!r} has two views, {found[name]} and {one}: write CAMERA=PATH")
            found[name] = one
    return found


def _is_view(path: Path) -> bool:
    from sonjit.media import VIDEO_ENDINGS

    return path.name[0] != "." and (path.is_dir() or path.suffix.lower() in VIDEO_ENDINGS)


def synchronised(paths: Mapping[str, Path], by: Method, stamps: Path | None = None) -> Sync:
    """The pictures of all views, read once, put together."""
    from sonjit.multiview.sync import synchronise
    from sonjit.multiview.timeline import read_timeline

    with progress(None, "pictures") as advance:
        lines = {
            name: read_timeline(path, stamps / f"{name}.txt" if stamps else None, advance)
            for name, path in paths.items()
        }
    return synchronise(lines, by)
