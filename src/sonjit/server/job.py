"""A job of the server: its state, its files, and what clients see of it."""

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel

from sonjit._util import Json, JsonObject, is_installed
from sonjit.media import convert_table, load_frames
from sonjit.media.tables import FORMATS
from sonjit.media.tables.formats import Download, TableFormat
from sonjit.report import joint_angles, motion_files
from sonjit.report.joint_angles import REPORT_ENDINGS
from sonjit.report.recording import recording_of
from sonjit.report.texts import Language
from sonjit.report.workbook import summary_of
from sonjit.runs import convert_events, convert_motions
from sonjit.server.curves import CURVES, OVERVIEW, recordings_of_job, write_curves
from sonjit.server.job_files import JobInput, reported_model, task_of
from sonjit.server.options import DetectorChoice
from sonjit.server.processes import Worker

State = Literal["uploading", "waiting", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
_INPUT = "input"  # name of the folder of the uploaded files in a job's folder
_NO_OVERVIEW: Mapping[str, Json] = {"ended": None, "length": None, "summaries": []}
_MOTION_FILES = ("angles.mot", "points.trc")  # of the person in most frames, for OpenSim


class JobSummary(BaseModel):
    """One line about a person of a finished job in each language, and the angle that it names."""

    id: int | None
    measure: str | None
    texts: dict[str, str]


class JobState(BaseModel):
    """State of a job, as clients see it."""

    id: str
    kind: str
    model: str
    name: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    frames: int
    of: int | None
    instances: int
    seconds: float
    message: str | None
    problems: list[str]
    ended: str | None
    length: float | None
    summaries: list[JobSummary]
    downloads: dict[str, str]


def _tables() -> dict[str, tuple[TableFormat, Download]]:
    """Return the format and the description of each table that jobs may offer, by its file."""
    return {
        f"result{'.' * bool(download.prefix)}{download.prefix}{ending}": (table_format, download)
        for ending, table_format in FORMATS.items()
        for download in table_format.downloads
    }


def _in_languages() -> dict[str, Language]:
    """Return the languages of the reports of a job, and of tables that begin with a summary, by file."""
    stems = dict.fromkeys(REPORT_ENDINGS, "report")
    stems |= {ending: "result" for ending, table_format in FORMATS.items() if table_format.has_summary}
    return {
        f"{stem}{ending}" if language == "en" else f"{stem}.{language}{ending}": language
        for ending, stem in stems.items()
        for language in get_args(Language)
    }


def downloads_answer() -> list[JsonObject]:
    """Return the downloads that pages show in their order: name, group, and name and description by language.

    Texts of reports, of events and of drawings are those of the page.
    """
    answer: list[JsonObject] = []
    for name, (table_format, download) in sorted(
        _tables().items(), key=lambda item: (not item[1][0].has_summary, item[1][0].rows is None)
    ):  # those for most readers first
        texts: JsonObject = {language: list(both) for language, both in download.texts.items()}
        group = "tables" if table_format.group == "tables" else "formats"
        answer.append({"name": name.removeprefix("result."), "group": group, "texts": texts})
    further = {
        "tables": ("events.csv", "motions.csv"),
        "formats": tuple(reversed(_MOTION_FILES)),
        "report": (*(f"report{ending}" for ending in REPORT_ENDINGS), "drawn"),
    }
    for group, names in further.items():
        answer += [JsonObject(name=name, group=group, texts={}) for name in names]
    return answer


@dataclass(eq=False)
class UploadJob:
    """Detectors that run over one upload."""

    detectors: tuple[DetectorChoice, ...]  # kind and options of each, as returned by `read_options`
    draw: bool = True  # if True, make an annotated copy of the input
    # Settings of the annotated copy, of `DrawingStyle`
    style: JsonObject = field(default_factory=JsonObject)
    id: str = field(default_factory=lambda: secrets.token_hex(16))  # part of the job's URLs
    folder: Path = field(init=False)  # folder of the job's files. The store creates and removes it.
    input: JobInput = field(init=False)  # uploaded files; known when the upload is complete
    state: State = "uploading"  # changes only under the store's lock
    frames: int = 0
    of: int | None = None  # expected number of images; None if unknown
    instances: int = 0
    message: str | None = None
    problems: list[str] = field(default_factory=list[str])  # unreadable images, and changes of what was read
    disk_bytes: int = 0
    is_suspended: bool = False  # True if the server stops and the next server restarts the job
    worker: Worker | None = None
    ran_s: float = 0.0  # run time before the server restarted
    started_s: float | None = None  # on the clock of `time.monotonic`
    ended_s: float | None = None
    _converting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def input_folder(self) -> Path:
        """Folder of the uploaded files."""
        return self.folder / _INPUT

    @property
    def drawing(self) -> Path | None:
        """Path of the annotated copy; None if the client requested none."""
        return self.folder / f"drawn{self.input.drawing}" if self.draw else None

    @property
    def _reported_model(self) -> str | None:
        """Model of the body whose angles a report describes; None if the job has no report."""
        return reported_model(self.input, self.detectors)

    @property
    def files(self) -> list[str]:
        """Names of the files that clients can download: tables, curves, reports, characters and the drawing."""
        is_video, has_report = self.input.drawing == ".mp4", self._reported_model is not None
        suits = {
            "all": True,
            "one detector": len(self.detectors) == 1,  # wide tables have the columns of one detector
            "videos": is_video,
            "bodies": has_report and self.detectors[0][0] in ("body", "holistic"),  # the first kind makes characters
        }
        names = [
            name
            for name, (table_format, download) in _tables().items()
            if suits[download.of] and (not table_format.extra or is_installed(table_format.extra))
        ]
        names.append(CURVES)
        if is_video and task_of(self.detectors).has_gestures:
            separate = [ending for ending, table_format in FORMATS.items() if table_format.separates_events]
            names += [f"{table}{ending}" for table in ("motions", "events") for ending in separate]
        if has_report:
            names += [*(name for name in _in_languages() if name not in names), *_MOTION_FILES]
        if self.drawing is not None and self.drawing.exists():  # otherwise `problems` contains the encoder's message
            names.append(self.drawing.name)
        return names

    @property
    def seconds(self) -> float:
        """Run time in seconds."""
        if self.started_s is None:
            return self.ran_s
        return (self.ended_s or time.monotonic()) - self.started_s

    def to_dict(self, root: str = "") -> JsonObject:
        """Return the `JobState` of the job, below the path of a proxy."""
        state = self.state  # read first: the files of a finished job exist before its state changes
        names = self.files if state == "done" else []
        keys = ["drawn" if name.startswith("drawn") else name.removeprefix("result.") for name in names]
        return {
            "id": self.id,
            "kind": "+".join(kind for kind, _ in self.detectors),
            "model": "+".join(f"{kind}-{options['model']}" for kind, options in self.detectors),
            "name": self.input.name,
            "state": state,
            "frames": self.frames,
            "of": self.of,
            "instances": self.instances,
            "seconds": round(self.seconds, 2),
            "message": self.message,
            "problems": list(self.problems),
            **(self._overview() if state == "done" else _NO_OVERVIEW),
            "downloads": {key: f"{root}/v1/jobs/{self.id}/{name}" for key, name in zip(keys, names, strict=True)},
        }

    def _overview(self) -> Mapping[str, Json]:
        """Return when the job ended, the length of its video in seconds, and a line about each person."""
        try:
            read: JsonObject = json.loads((self.folder / OVERVIEW).read_bytes())
        except (OSError, ValueError):  # of an older server, or removed just now
            return _NO_OVERVIEW
        return {name: read.get(name, nothing) for name, nothing in _NO_OVERVIEW.items()}

    def measure(self) -> None:
        """Update `disk_bytes`."""
        sizes: list[int] = []
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # another thread removed it
                    sizes.append(Path(parent, name).lstat().st_size)
        self.disk_bytes = sum(sizes)

    def file(self, name: str) -> Path:
        """Return one of `files`. The first call writes most of them, which may raise an error of Sonjit's."""
        path = self.folder / name
        with self._converting:
            if not path.exists():
                self._write(path)
                self.measure()
        return path

    def _write(self, path: Path) -> None:
        lines, model = self.folder / "result.jsonl", self._reported_model
        table = path.name.partition(".")[0]
        if table == "result":
            summary = None
            if (language := _in_languages().get(path.name)) is not None:  # a table that begins with a summary
                recordings = [] if model is None else recordings_of_job(lines, self.input.name, model)
                in_language = [replace(recording, language=language) for recording in recordings]
                summary = summary_of(in_language) if in_language else None
            rows = _tables()[path.name][1].rows if path.name in _tables() else None
            convert_table(lines, path, task_of(self.detectors).columns, rows=rows, summary=summary)
        elif path.name == CURVES:
            recordings = [] if model is None else recordings_of_job(lines, self.input.name, model)
            write_curves(path, lines, self.input.name, recordings, self.drawing)
        elif path.name in _MOTION_FILES:
            recording = recording_of(self.input.name, model or "full", load_frames(lines)[1], ())
            motion_files.write_motion(path, recording, recording.bodies)
        elif table == "report":
            joint_angles.write_report(
                path,
                lines,
                self.drawing,
                self.input.name,
                model or "full",
                language=_in_languages()[path.name],
                anonymise=task_of(self.detectors, self.style).style.anonymise,
            )
        else:
            (convert_motions if table == "motions" else convert_events)(lines, path)

    def redacted(self, line: str) -> str:
        """Return a message without the paths of the server."""
        folder = str(self.input_folder)
        for path, shown in ((folder + os.sep, ""), (folder, self.input.name), (str(self.folder) + os.sep, "")):
            line = line.replace(path, shown)
        return line

    def clean(self) -> None:
        """Remove the output of a waiting job, the input of a finished one, and all of a failed or cancelled one."""
        with suppress(OSError):  # the job was deleted meanwhile
            for path in self.folder.iterdir():
                is_input = path.name == _INPUT
                is_needed = is_input if self.state == "waiting" else self.state == "done" and not is_input
                if not is_needed:
                    with suppress(OSError):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()  # only if it is empty
        self.measure()
