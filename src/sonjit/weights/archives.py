"""Read members out of downloaded packages: wheels, npm tarballs, and emscripten assets packed in those."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

from sonjit.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)
_PACKED_FILES = re.compile(rb'loadPackage\(\{\s*"files":\s*(\[.*?\])', re.DOTALL)


def read_members(archive: Path, members: Iterable[str]) -> dict[str, bytes]:
    """The contents of the members of a wheel or tgz; `data!inner` reaches into packed assets.

    Raises:
        JobError: the archive is damaged or cut short, or a member is not in it.
    """
    wanted = list(members)
    plain = {name for member in wanted for name in _plain_members(member)}
    try:
        contents = _read_zip(archive, plain) if archive.suffix == ".whl" else _read_tar(archive, plain)
    except KeyError as error:
        raise JobError(f"{archive.name} has no member {error.args[0]}") from error
    except _DAMAGED as error:
        raise JobError(f"{archive.name} came damaged ({error}); pull again") from error
    return {member: _unpack(member, contents) for member in wanted}


def _plain_members(member: str) -> list[str]:
    data, _, inner = member.partition("!")
    return [data, _loader_of(data)] if inner else [data]


def _loader_of(data: str) -> str:
    return f"{data.removesuffix('.data')}_loader.js"


def _read_zip(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        known = set(opened.namelist())
        for name in names:
            if name not in known:
                raise KeyError(name)
        return {name: opened.read(name) for name in names}


def _read_tar(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    missing = set(names)
    contents: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as opened:
        for entry in opened:
            stream = opened.extractfile(entry) if entry.name in missing else None
            if stream is not None:
                contents[entry.name] = stream.read()
                missing.discard(entry.name)
            if not missing:
                return contents
    raise KeyError(min(missing))


def _unpack(member: str, contents: dict[str, bytes]) -> bytes:
    """The bytes of one member; for packed assets, the slice that the loader's table of files gives."""
    data, _, inner = member.partition("!")
    if not inner:
        return contents[data]
    table = _PACKED_FILES.search(contents[_loader_of(data)])
    try:
        entries = json.loads(table[1]) if table else []
        spans = {entry["filename"].rpartition("/")[2]: (entry["start"], entry["end"]) for entry in entries}
        start, end = spans[inner]
    except (ValueError, KeyError) as error:
        raise JobError(f"{data} holds no {inner} by the table in {_loader_of(data)}") from error
    return contents[data][start:end]
