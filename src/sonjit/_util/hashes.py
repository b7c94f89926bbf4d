"""Hashes of files and folders."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

_LABEL_ENDINGS = {
    *(".json", ".jsonl", ".csv", ".txt", ".toml", ".yaml", ".yml", ".xml", ".parquet"),
    *(".mat", ".pkl", ".npz", ".npy", ".pts", ".xyz", ".safetensors"),
}


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_folder(folder: Path, *, without: Path | None = None) -> str:
    """Return a SHA-256 of the relative paths and sizes of all files, and of the content of label files.

    The content of images and videos is not read, because a data set may contain millions of them.

    Args:
        folder: Folder of a data set.
        without: Subfolder to leave out, such as the folder of a run.
    """
    digest = hashlib.sha256()
    excluded = None if without is None else without.resolve()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(parent, name).resolve() != excluded)
        for name in sorted(files):
            file = Path(parent, name)
            with suppress(OSError):  # a link without its file
                digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
                if file.suffix.lower() in _LABEL_ENDINGS:
                    digest.update(sha256_of_file(file).encode())
    return digest.hexdigest()
