"""A job of the server: its state, its files, and what clients see of it."""

import os
import secrets
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from pydantic import BaseModel, Field

from sonjit._util import Json, JsonObject, is_installed
from sonjit._util.extras import without_command
from sonjit.detectors.kinds import KINDS
from sonjit.media import convert_table, load_frames
from sonjit.media.tables import FORMATS
from sonjit.media.tables.formats import Download, TableFormat
from sonjit.report import joint_angles, motion_files
from sonjit.report.contents import Labels
from sonjit.report.joint_angles import REPORT_ENDINGS
from sonjit.report.recording import recording_of
from sonjit.report.texts import Language
from sonjit.report.workbook import summary_of
from sonjit.runs import convert_events, convert_motions
from sonjit.server.curves import CURVES, recordings_of_job, write_curves
from sonjit.server.job_files import JobInput, reported_model, task_of
from sonjit.server.options import DetectorChoice, read_detector
from sonjit.server.processes import Worker

State = Literal["uploading", "waiting", "running", "done", "failed", "cancelled"]
TRANSITIONS: Mapping[State, tuple[State, ...]] = {
    "uploading": ("waiting", "cancelled"),
    "waiting": ("running", "cancelled"),
    "running": ("waiting", "done", "failed", "cancelled"),  # waiting: the server stops, and the next one repeats it
    "done": (),
    "failed": ("waiting",),  # it runs again
    "cancelled": ("waiting",),
}
"""States that may follow each state."""
ENDED = ("done", "failed", "cancelled")
_INPUT = "input"  # name of the folder of the uploaded files in a job's folder
_NO_INPUT = JobInput(Path(), "", "")
_MAX_TITLE, _MAX_NOTE = 200, 5000  # characters
_MOTION_FILES = ("angles.mot", "points.trc")  # of the person in most frames, for OpenSim


class JobSummary(BaseModel):
    """One line about a person of a finished job in each language, and the angle that it names."""

    id: int | None
    measure: str | None
    texts: dict[str, str]


class JobTexts(BaseModel, extra="forbid"):
    """What users write about a job. Absent texts stay as they are."""

    title: str = Field("", max_length=_MAX_TITLE)
    client: str = Field("", max_length=_MAX_TITLE)
    note: str = Field("", max_length=_MAX_NOTE)


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
    title: str
    client: str
    note: str
    repeatable: bool
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
class JobRecord:
    """What the next server knows of a job. Each further field requires a default."""

    detectors: tuple[DetectorChoice, ...]  # kind and options of each, as returned by `read_options`
    draw: bool = True  # if True, make an annotated copy of the input
    style: JsonObject = field(default_factory=JsonObject)  # settings of the annotated copy, of `DrawingStyle`
    input: JobInput = _NO_INPUT  # uploaded files; known when the upload is complete
    title: str = ""  # name that the user gave to the result; "" for that of the input
    client: str = ""  # name of the person who was recorded
    note: str = ""
    frames: int = 0
    of: int | None = None  # expected number of images; None if unknown
    instances: int = 0
    seconds: float = 0.0  # run time
    message: str | None = None
    problems: list[str] = field(default_factory=list[str])  # unreadable images, and changes of what was read
    ended: str | None = None  # ISO 8601
    length: float | None = None  # of the video in seconds
    summaries: list[Json] = field(default_factory=list[Json])  # a `JobSummary` of each person


@dataclass(eq=False)
class UploadJob(JobRecord):
    """Detectors that run over one upload."""

    id: str = field(default_factory=lambda: secrets.token_hex(16))  # part of the job's URLs
    folder: Path = field(init=False)  # folder of the job's files. The store creates and removes it.
    state: State = "uploading"  # changes only in `move`, under the store's lock
    has_input: bool = False  # whether the uploaded files are still there
    disk_bytes: int = 0
    is_suspended: bool = False  # True if the server stops and the next server restarts the job
    worker: Worker | None = None
    started_s: float = 0.0  # on the clock of `time.monotonic`
    _converting: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], job_id: str, folder: Path, state: str) -> Self:
        """Return the job of a record. Raise SonjitError, ValueError, KeyError or TypeError for others."""
        if state not in TRANSITIONS:
            raise ValueError(f"Unknown state {state!r}")
        known = {item.name: record[item.name] for item in fields(JobRecord) if item.name in record}
        given = record["input"]
        known["detectors"] = tuple(read_detector(detector, job=True) for detector in record["detectors"])
        known["input"] = JobInput(folder / given["source"], given["name"], given["drawing"])
        job = cls(**known, id=job_id, state=cast("State", state))
        job.folder = folder
        if state == "waiting":  # it starts again
            job.begin()
        return job

    def record(self) -> JsonObject:
        """Return the fields of `JobRecord` as JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(JobRecord)}
        source = os.path.relpath(self.input.source, self.folder) if self.input.name else ""
        given: JsonObject = {
            "source": Path(source).as_posix(),
            "name": self.input.name,
            "drawing": self.input.drawing,
        }
        detectors = [{"kind": kind, **options} for kind, options in self.detectors]
        return {**values, "detectors": cast("Json", detectors), "input": given}

    def move(self, state: State) -> None:
        """Change the state. Raise ValueError if the job may not change to it."""
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"a job that is {self.state} cannot become {state}")
        self.state = state

    def begin(self) -> None:
        """Forget the progress and the end of an earlier run."""
        self.frames = self.instances = 0
        self.seconds, self.message, self.is_suspended = 0.0, None, False

    @property
    def kind(self) -> str:
        """Kinds of the detectors, joined by "+"."""
        return "+".join(kind for kind, _ in self.detectors)

    @property
    def model(self) -> str:
        """Models of the detectors, joined by "+"."""
        return "+".join(f"{kind}-{options['model']}" for kind, options in self.detectors)

    @property
    def name(self) -> str:
        """Name of the input."""
        return self.input.name

    @property
    def repeatable(self) -> bool:
        """Whether the job can run again."""
        return self.state in ("failed", "cancelled") and self.has_input

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
            "bodies": has_report and KINDS[self.detectors[0][0]].has_bodies,  # the first kind makes characters
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

    def to_dict(self, root: str = "") -> JsonObject:
        """Return the `JobState` of the job, below the path of a proxy."""
        state = self.state  # read first: the files of a finished job exist before its state changes
        names = self.files if state == "done" else []
        keys = ["drawn" if name.startswith("drawn") else name.removeprefix("result.") for name in names]
        links = {key: f"{root}/v1/jobs/{self.id}/{name}" for key, name in zip(keys, names, strict=True)}
        shown = {name: getattr(self, name) for name in JobState.model_fields if name != "downloads"}
        return {**shown, "state": state, "seconds": round(self.seconds, 2), "downloads": {**links}}

    def measure(self) -> None:
        """Update `disk_bytes` and `has_input`."""
        sizes: list[int] = []
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # another thread removed it
                    sizes.append(Path(parent, name).lstat().st_size)
        self.disk_bytes = sum(sizes)
        self.has_input = self.input_folder.is_dir()

    def file(self, name: str) -> Path:
        """Return one of `files`. The first call writes most of them, which may raise an error of Sonjit's."""
        path = self.folder / name
        with self._converting:
            if not path.exists():
                self._write(path)
                self.measure()
        return path

    def describe(self, texts: Mapping[str, str]) -> None:
        """Change texts of `JobTexts`. Reports contain them and are written again at the next request."""
        with self._converting:
            for name, value in texts.items():
                setattr(self, name, value)
            for path in self.folder.glob("report.*"):
                path.unlink(missing_ok=True)

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
            self.summarise(write_curves(path, lines, self.input.name, recordings, self.drawing))
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
                labels=Labels(self.title, self.client, self.note),
            )
        else:
            (convert_motions if table == "motions" else convert_events)(lines, path)

    def redacted(self, line: str) -> str:
        """Return a message without the paths of the server."""
        folder = str(self.input_folder)
        for path, shown in ((folder + os.sep, ""), (folder, self.input.name), (str(self.folder) + os.sep, "")):
            line = line.replace(path, shown)
        return without_command(line)

    def summarise(self, overview: Mapping[str, Any]) -> None:
        """Take what a list of jobs shows of a finished one, as `write_curves` returns it."""
        self.ended, self.length, self.summaries = overview["ended"], overview["length"], overview["summaries"]

    def clean(self) -> None:
        """Remove the input of a finished job, and the output of any other one, whose input can run again."""
        with suppress(OSError):  # the job was deleted meanwhile
            for path in self.folder.iterdir():
                if (path.name == _INPUT) == (self.state == "done"):
                    with suppress(OSError):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()  # only if it is empty
        self.measure()
