"""A job as a file in its own folder: what it needs to be done anew, and what is known of it when it has ended."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sonjit.errors import SonjitError
from sonjit.files import write_text
from sonjit.json_text import json_from
from sonjit.server.job import ENDED, INPUT, UploadJob
from sonjit.server.options import read_detector
from sonjit.server.settings import Settings
from sonjit.server.uploads import JobInput

_LOG = logging.getLogger(__name__)
_RECORD = "job.json"
_KNOWN = ("id", "number", "state", "frames", "of", "instances", "message", "problems", "disk_bytes", "address")
"""Attributes of a job that are kept as they are."""


def write_record(job: UploadJob) -> None:
    """Keep what is known of a job; where the disk refuses, the job is not there after a restart."""
    known = {name: getattr(job, name) for name in _KNOWN}
    given = {"source": job.given.source.relative_to(job.folder).as_posix(), "name": job.given.name}
    record = {
        **known,
        "state": job.state if job.state in ENDED else "waiting",  # a job that is stopped begins anew
        "seconds": round(job.seconds, 2),
        "given": {**given, "drawing": job.given.drawing},
        "detectors": [{"kind": kind, **options} for kind, options in job.detectors],
        "draw": job.draw,
        "owner": job.owner,
        "is_private": job.is_private,
    }
    try:
        write_text(job.folder / _RECORD, json_from(record))
    except SonjitError as error:
        _LOG.warning("%s", error)


def read_records(root: Path, settings: Settings) -> list[UploadJob]:
    """The jobs below a folder in their order; what else lies there is removed: uploads that never ended.

    Args:
        root: with a folder for each job.
        settings: their limits.
    """
    jobs: list[UploadJob] = []
    for folder in root.iterdir():
        try:
            jobs.append(_read(folder, settings))
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, SonjitError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s: this job cannot be read (%s); remove its folder", folder, error)
    return sorted(jobs, key=lambda job: job.number)


def _read(folder: Path, settings: Settings) -> UploadJob:
    record: dict[str, Any] = json.loads((folder / _RECORD).read_text("utf-8"))
    given: dict[str, str] = record["given"]
    job = UploadJob(
        folder,
        JobInput(folder / given["source"], given["name"], given["drawing"]),
        tuple(read_detector(one, job=True) for one in record["detectors"]),
        bool(record["draw"]),
        settings.max_job_minutes,
        settings.max_pixels,
        owner=str(record["owner"]),
        is_private=bool(record["is_private"]),
    )
    for name in _KNOWN:
        setattr(job, name, record[name])
    if job.state == "waiting":
        _remove_all_but(folder, INPUT, _RECORD)  # what it had made
        job.frames = job.instances = 0
    else:
        job.ran_s = float(record["seconds"])
    return job


def _remove_all_but(folder: Path, *names: str) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
