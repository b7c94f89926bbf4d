"""Files of jobs: receive them, inspect them, and run detectors over them in a child process."""

import re
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from sonjit._util import InputError, JobError, Json, SonjitError, extensions, pools
from sonjit._util.files import UNFINISHED, atomic_file, folded_name, free_name
from sonjit._util.settings import OptionValue, read_settings
from sonjit.detectors.kinds import KINDS, options_for
from sonjit.media import IMAGE_ENDINGS, DrawingStyle, natural_key, open_source
from sonjit.media.sources import is_mp4, read_sequence
from sonjit.media.sources.animations import is_animated
from sonjit.media.sources.headers import SNIFF_BYTES, image_format, is_text
from sonjit.media.sources.images import image_size
from sonjit.media.sources.video import open_container, video_stream
from sonjit.runs import Detect, Outputs, run_input
from sonjit.server.curves import CURVES, recordings_of_job, use_report_angles, write_curves
from sonjit.server.errors import RefusedError
from sonjit.server.forms import FIELD, Form, Receive, is_form
from sonjit.server.options import LABELS, MEASURES, DetectorChoice, check_pixels
from sonjit.server.processes import DECODE_S, TooSlowError, Worker

_MAX_SKIPPED = 1000  # maximum number of parts of a form that are skipped
MAX_FILES = 20_000  # maximum number of files of a job; file systems become slow with more files in a folder
_MAX_NAME_BYTES = 150  # file systems accept 255; drafts and drawings add to the name
_PIXEL_BYTES = 8  # 16 bits and four channels without compression
_HEADER_BYTES = 10_000_000  # thumbnails and colour profiles
_FRAME_BYTES = 8_000_000  # size of an image of a motion JPEG, at most
NETWORK_BYTES = 4_000_000_000  # memory limit for networks and the frames of a video that are in flight
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_OUTER = re.compile(r"^[\s.]+|[\s.]+$")  # hidden files, and characters that Windows drops from the end of a name
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\.|$)", re.IGNORECASE)
"""Names that are devices on Windows, whatever their ending."""


@dataclass(frozen=True)
class JobInput:
    """Input of a job."""

    source: Path  # file or folder for `open_source`
    name: str  # name of the input in tables, pages and downloads
    drawing: str  # ending of the annotated copy: `.mp4` for a video, `.jpg` for an image, `.zip` for several images


@dataclass(frozen=True)
class JobEnd:
    """What a finished run tells the server."""

    problems: list[str]  # images that cannot be read, changes of what was read, and omitted instances
    length: float | None = None  # of the video in seconds
    summaries: list[Json] = field(default_factory=list[Json])  # a line about each person, see `write_curves`


class Upload:
    """The files of a request body, written in pieces: one file, or those in the field `file` of a multipart form."""

    def __init__(self, folder: Path, content_type: str, name: str) -> None:
        self.files: list[Path] = []  # written files in order
        self.folder: str | None = None  # name of the folder that the client selected
        self.problems: list[str] = []  # one line for each part with a file that was skipped
        self._target = folder
        self._used: set[str] = set()
        self._file: BinaryIO | None = None
        self._form = Form(content_type, self._begin_part) if is_form(content_type) else None
        if self._form is None:
            self._begin(name)

    def feed(self, data: bytes) -> None:
        """Write the next piece of the body. Raise InputError if a form is damaged."""
        if self._form is not None:
            self._form.feed(data)
        elif self._file is not None:
            self._file.write(data)

    def finish(self) -> None:
        """End the body. Raise InputError if the closing boundary of a form is missing."""
        self.close()
        if self._form is not None:
            self._form.finish()

    def close(self) -> None:
        """Close the open file; may be called at any time."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin_part(self, field: str, sent_name: str | None) -> Receive | None:
        reason = ""
        if field != FIELD and sent_name is not None:
            reason = f"its field is {field[:40]!r}, not {FIELD!r}"
        elif field == FIELD and sent_name is None:
            reason = "it has no file name"
        elif sent_name is not None and re.split(r"[/\\]", sent_name)[-1].startswith("."):  # such as .DS_Store
            reason = "it is hidden"
        if reason:
            self._skip(sent_name, reason)
        return None if reason or sent_name is None else self._begin(sent_name).write

    def _skip(self, sent_name: str | None, reason: str) -> None:
        if len(self.problems) >= _MAX_SKIPPED:
            raise InputError(
                f"more than {_MAX_SKIPPED} parts of the form would be skipped: send only files as {FIELD!r}"
            )
        what = f"a part {FIELD!r}" if sent_name is None else repr(sent_name[-60:])
        self.problems.append(f"{what} was skipped: {reason}")

    def _begin(self, sent_name: str) -> BinaryIO:
        self.close()
        if len(self.files) >= MAX_FILES:
            raise InputError(f"more than {MAX_FILES} files in one job: send them as several jobs")
        folder, name = split_name(sent_name)
        self.folder = self.folder or folder
        path = self._target / free_name(name, self._used)
        self._file = path.open("xb")
        self.files.append(path)
        return self._file


def input_from_files(files: Sequence[Path], folder: str | None, *, max_pixels: int) -> JobInput:
    """Inspect uploaded files without decoding them."""
    if not files:
        raise RefusedError("bad_image", f"no file came: send one as the body, or as {FIELD!r} of a multipart form")
    first, *others = files
    with Worker(max_pixels, NETWORK_BYTES) as process:  # starts only if a file may be a video
        if not others:
            return JobInput(first, first.name, ".mp4" if _is_video(first, process, max_pixels) else ".jpg")
        for file in files:
            if _is_video(file, process, max_pixels, accept_broken_image=True):
                raise RefusedError(
                    "bad_image", f"{file.name} is a video among other files: send it as a job of its own"
                )
    used = {folded_name(file.name) for file in files}
    for file in files:
        if file.suffix.lower() not in IMAGE_ENDINGS:  # a folder source skips other endings
            file.rename(file.with_name(free_name(f"{file.name}.jpg", used)))
    return JobInput(first.parent, folder or "images", ".zip")


def check_beginning(head: bytes, sent_name: str, *, max_pixels: int) -> None:
    """Raise RefusedError if the first bytes show that a file is neither a video nor an image.

    The index of an MP4 may be at its end, so the file is checked when it is complete.
    """
    if is_mp4(head):
        return
    with TemporaryDirectory() as folder, Worker(max_pixels, NETWORK_BYTES) as process:
        file = Path(folder, split_name(sent_name)[1])
        file.write_bytes(head)
        _is_video(file, process, max_pixels)


def _is_video(file: Path, process: Worker, max_pixels: int, *, accept_broken_image: bool = False) -> bool:
    """Check whether a file is a video. Other files are images, of which only the header is read."""
    with file.open("rb") as opened:
        is_sequence, head = read_sequence(opened.read(SNIFF_BYTES), BytesIO(opened.read(_FRAME_BYTES)))
    if is_animated(head):
        _check_image(file, max_pixels)
        return True
    known_format = image_format(head)
    if known_format not in (None, "gif") and not is_sequence:
        _check_image(file, max_pixels)
        return False
    try:
        if not head or is_text(head):
            raise InputError(f"{file.name} {'contains text' if head else 'is empty'}")
        check_pixels(*_video_size(file, process), max_pixels, file.name)
    except InputError as error:
        if accept_broken_image and file.suffix.lower() in IMAGE_ENDINGS:
            return False
        cut = "; an MP4 without its index was cut or never finished" if is_mp4(head) else ""
        raise RefusedError("bad_image", f"{error}{cut}: send a video, or images (JPEG, PNG, WebP, ...)") from None
    return True


def _check_image(file: Path, max_pixels: int) -> None:
    """Refuse an image that takes too much memory. The decoder refuses damaged images before they take any."""
    largest = _PIXEL_BYTES * max_pixels + _HEADER_BYTES
    if file.stat().st_size > largest:
        raise RefusedError("too_large", f"{file.name} is larger than any image of {max_pixels / 1e6:g} megapixels")
    with file.open("rb") as opened:
        size = image_size(opened)
    if size is not None:
        check_pixels(*size, max_pixels, file.name)


def _video_size(file: Path, process: Worker) -> tuple[int, int]:
    """Return width and height of a video. Raise InputError if it is none, or opening it crashes or takes too long."""
    try:
        width, height = process.call(open_video, file, seconds=DECODE_S)
    except TooSlowError as error:
        raise InputError(f"{file.name} {error} to open") from None
    except JobError as error:
        raise InputError(f"{file.name} cannot be read: it {error}; export it again") from None
    return int(width), int(height)


def open_video(file: Path) -> list[int]:
    """Return width and height of a video file, in a child process."""
    with open_container(file, file.name) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{file.name} contains no video stream")
        return [stream.width, stream.height]


def split_name(sent: str) -> tuple[str | None, str]:
    r"""Split a client's file name into the selected folder, or None, and a safe file name.

    The folders between them become part of the file name.

    >>> split_name("shots/day 1/9.jpg")
    ('shots', 'day 1_9.jpg')
    >>> split_name(r"..\..\boot.ini")
    (None, 'boot.ini')
    """
    parts = [part for part in map(_clean, re.split(r"[/\\]", sent)) if part]
    if len(parts) < 2:
        return None, parts[0] if parts else "upload"
    return parts[0], _clean("_".join(parts[1:]))


def _clean(part: str) -> str:
    """Return one part of a path as the name of a visible file of any system; empty if no character is allowed."""
    text = _OUTER.sub("", _FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)))
    text = f"_{text}" if _DEVICE.match(text) else text
    path = PurePosixPath(text)
    ending = path.suffix if len(path.suffix) < 10 else ""
    max_bytes = _MAX_NAME_BYTES - len(ending.encode())
    return _OUTER.sub("", text.removesuffix(ending).encode()[:max_bytes].decode(errors="ignore") + ending)


def task_of(detectors: Sequence[DetectorChoice], style: Mapping[str, object] | None = None) -> Detect:
    """Return what a job does with each image; `style`: settings of the drawing."""
    labels = [settings.get(LABELS.name, True) for _, settings in detectors]
    first, *others = (_detect(kind, values) for kind, values in detectors)
    drawing = read_settings(DrawingStyle, {"gestures": all(labels), **(style or {})})
    return replace(first, also=tuple(others), style=drawing)


def _detect(kind: str, values: Mapping[str, OptionValue]) -> Detect:
    """Return the task of one detector. It has one thread: streams use the other cores."""
    options = {name: value for name, value in values.items() if name not in (LABELS.name, MEASURES.name)}
    if options.get("gestures") == "none":
        del options["gestures"]
    return Detect(options_for(kind, **options, threads=1), measures=bool(values.get(MEASURES.name)))


def reported_model(given: JobInput, detectors: Sequence[DetectorChoice]) -> str | None:
    """Return the model of the body whose angles a report describes; None if there is no video with bodies."""
    models = [str(options["model"]) for kind, options in detectors if KINDS[kind].has_bodies]
    return models[0] if models and given.drawing == ".mp4" else None


def run_detectors(
    kinds: extensions.LoadedExtensions,
    given: JobInput,
    folder: Path,
    drawing: Path | None,
    detectors: Sequence[DetectorChoice],
    style: Mapping[str, object],
    report_progress: Callable[[Mapping[str, object]], None],
) -> Mapping[str, object]:
    """Run detectors over the input of a job in a child process. Write `result.jsonl`, the drawing and the curves.

    `report_progress` receives `of`, the expected number of images, and then `frames` and `instances`. Return the fields
    of a `JobEnd`. The result is complete before its last step, whose errors lose only curves and smoothed angles.
    """
    kinds.load()
    # images are drawn into a folder
    outputs = Outputs(str(folder / "result.jsonl"), drawing and str(drawing).removesuffix(".zip"))
    task = task_of(detectors, style)
    with open_source(given.source) as source, task.open(source.kind) as worker:
        source.name = given.name
        summary = run_input(worker, source, outputs, progress=_SentProgress(report_progress))
        hidden = [] if summary.hidden is None else [str(summary.hidden)]
        omitted = [] if summary.omitted is None else [f"{summary.omitted}. Use max_instances."]
        problems = [*dict.fromkeys(source.notes), *omitted, *hidden, *summary.problems]
    if drawing is not None and drawing.suffix == ".zip":  # stored without further compression
        images = drawing.with_suffix("")
        with atomic_file(drawing) as draft, zipfile.ZipFile(draft, "w") as archive:
            for file in sorted(images.iterdir(), key=lambda file: natural_key(file.name)):
                archive.write(file, file.name)
        shutil.rmtree(images, ignore_errors=True)
    end = JobEnd(problems)
    lines, model = folder / "result.jsonl", reported_model(given, detectors)
    try:
        recordings = [] if model is None else recordings_of_job(lines, given.name, model)
        use_report_angles(lines, recordings)
        overview = write_curves(folder / CURVES, lines, given.name, recordings, drawing)
        end = JobEnd(problems, overview["length"], overview["summaries"])
    except (SonjitError, MemoryError) as error:  # the first request tries again to write the curves
        Path(f"{lines}{UNFINISHED}").unlink(missing_ok=True)
        reason = "it needs too much memory" if isinstance(error, MemoryError) else str(error)
        problems.append(f"The table is complete, but its curves and smoothed angles are not: {reason}")
    return asdict(end)


class _SentProgress(pools.Progress):
    def __init__(self, send: Callable[[Mapping[str, object]], None]) -> None:
        self._send = send
        self._frames = 0
        self._instances = 0

    def start(self, total: int | None) -> None:
        """Send the expected number of frames."""
        self._frames = self._instances = 0  # a second start after a search of the video
        self._send({"of": total, "frames": 0, "instances": 0})

    def advance(self, count: int = 1, *, instances: int = 0) -> None:
        """Send the number of finished frames and of their instances."""
        self._frames, self._instances = self._frames + count, self._instances + instances
        self._send({"frames": self._frames, "instances": self._instances})
