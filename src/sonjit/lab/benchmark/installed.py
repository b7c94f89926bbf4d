"""Measure the disk space of a package and all its requirements.

The command `python installed.py NAME` prints the result as JSON. The script uses only the standard library and runs
under Python 3.9 or newer.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import TypedDict


class Distribution(TypedDict):
    """Installed distribution and its size on disk."""

    version: str
    bytes: int


class Closure(TypedDict):
    """Distribution with all its requirements, largest first; no distributions if it is not installed."""

    python: str
    bytes: int
    distributions: dict[str, Distribution]


def measure_closure(name: str) -> Closure:
    """Measure the installed distribution `name` and all that it requires without extras.

    Requirements for another platform or Python are not installed and do not count. Bytecode does not count: whether a
    RECORD lists it depends on the installer.
    """
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        key = _normal(waiting.pop())
        if key in found:
            continue
        try:
            distribution = importlib.metadata.distribution(key)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[key] = {"version": distribution.version, "bytes": _size(distribution, key)}
        waiting += [_requirement_name(line) for line in distribution.requires or () if not _is_extra(line)]
    return {
        "python": platform.python_version(),
        "bytes": sum(entry["bytes"] for entry in found.values()),
        "distributions": dict(sorted(found.items(), key=lambda item: -item[1]["bytes"])),
    }


def _size(distribution: importlib.metadata.Distribution, key: str) -> int:
    """Return the size of a distribution's files in bytes; for an editable install, that of the package folder."""
    paths = [Path(str(file.locate())) for file in distribution.files or ()]
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        spec = importlib.util.find_spec(key.replace("-", "_"))
        for folder in (spec and spec.submodule_search_locations) or ():
            paths += [Path(root, file) for root, _, files in os.walk(folder) for file in files]
    return sum(path.stat().st_size for path in set(paths) if path.suffix != ".pyc" and path.is_file())


def _is_extra(requirement: str) -> bool:
    return re.search(r";.*\bextra\b", requirement) is not None


def _requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return match.group() if match else requirement


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_closure(sys.argv[1])) + "\n")
