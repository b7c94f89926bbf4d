"""Download one package through its registry's own client: `pip` for PyPI, `npm` for npm."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from sonjit.errors import InputError, JobError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sonjit.weights.catalog import Package

_NO_NETWORK = re.compile(
    r"NewConnectionError|Connect(?:ion)?Timeout|ReadTimeout|ProxyError|Connection(?:Reset|Refused)|NameResolution"
    r"|E(?:NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH)"
)


def download_package(package: Package, folder: Path) -> Path:
    """Fetch a package's archive (wheel or tgz) into an empty folder and return its path.

    Raises:
        InputError: the registry's client is not installed or does not start.
        JobError: the client failed; the line says why as far as the client tells.
    """
    command, ending = _pip_command(package, folder) if package.registry == "pypi" else _npm_command(package, folder)
    try:
        done = run_client(command, folder)
    except OSError as error:
        raise InputError(f"{package} cannot be fetched: {command[0]} does not start ({error.strerror})") from error
    if done.returncode:
        raise JobError(f"{package} cannot be fetched: {_reason(done.stderr, command[0])}")
    archives = sorted(folder.glob(f"*{ending}"))
    if len(archives) != 1:
        raise JobError(f"{package} cannot be fetched: the client left {len(archives)} {ending} files, not one")
    return archives[0]


def run_client(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder` with its scratch files there too, so that they go when the folder goes."""
    scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **scratch},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _pip_command(package: Package, folder: Path) -> tuple[list[str], str]:
    if importlib.util.find_spec("pip") is None:
        raise InputError(f"{package} comes by pip, which {sys.executable} lacks: run {sys.executable} -m ensurepip")
    tags = [
        *("--platform", package.platform or "any"),
        *("--python-version", package.python or "3"),
        *("--implementation", package.implementation or "py"),
    ]
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "download"]
    return [*pip, *options, *tags, "-d", str(folder), f"{package.name}=={package.version}"], ".whl"


def _npm_command(package: Package, folder: Path) -> tuple[list[str], str]:
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"{package} comes by npm, which is not on the PATH: install Node.js")
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    return [
        npm,
        "pack",
        *options,
        "--pack-destination",
        str(folder),
        f"{package.name}@{package.version}",
    ], ".tgz"


def _reason(stderr: str, client: str) -> str:
    if _NO_NETWORK.search(stderr):
        return "its registry cannot be reached; check the network and the proxy settings"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    if not errors:
        return f"{client} failed and gave no reason"
    # pip announces a crash with `ERROR: Exception:`; the cause ends the traceback that follows.
    return lines[-1] if errors[0].endswith(":") else errors[0]
