"""Many files in one call: one output per file, in several processes, and resumable.

A finished output is never made again, so a run that was stopped goes on where it stood. A single table for a whole
folder is made the same way: a table per file in a work folder beside it, joined at the end.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from sonjit.errors import InputError, JobError, SonjitError
from sonjit.media import (
    IMAGE_ENDINGS,
    TABLE_ENDINGS,
    VIDEO_ENDINGS,
    Header,
    load_frames,
    natural_key,
    open_source,
    open_writer,
)
from sonjit.runs import LISTS, Meaning, Summary, Task, run_task

Done = Callable[[Path, Summary | SonjitError | None], None]
"""Called for each file with what it came to: a summary, an error, or None where it was finished before."""


def media_files(named: str) -> list[Path] | None:
    """Images and videos of a folder or glob in natural order; None where one single input is named."""
    path = Path(named)
    if path.is_dir():
        found = list(path.iterdir())
    elif not path.exists() and any(mark in named for mark in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = list(anchor.glob(str(path.relative_to(anchor))))
    else:
        return None
    endings = (*IMAGE_ENDINGS, *VIDEO_ENDINGS)
    files = [f for f in found if f.is_file() and f.suffix.lower() in endings and not f.name.startswith(".")]
    if not files:
        raise InputError(f"{named} holds no images or videos: looked for names ending in {', '.join(endings)}")
    return sorted(files, key=lambda file: natural_key(str(file)))


def run_files(task: Task, files: Sequence[Path], *, jobs: int, done: Done) -> list[str]:
    """Do a task for each of many files.

    Args:
        task: its `save` and `draw` are a folder, a name with `{name}` in it, or None; `save` may be one table for all.
        files: the inputs.
        jobs: processes; 1 works in this one.
        done: told about each file.

    Returns:
        What went wrong, one line per file; the other files are finished.
    """
    names = _names(files)
    if task.save is not None and not is_many(task.save):
        return _run_into_one_table(task, files, names, jobs=jobs, done=done)
    tasks = [
        replace(
            task,
            source=str(file),
            save=_place(task.save, name, ".json"),
            draw=_place(task.draw, name, _drawn_ending(file)),
            mask=_place(task.mask, name, ".webm" if file.suffix.lower() in VIDEO_ENDINGS else ".png"),
        )
        for file, name in zip(files, names, strict=True)
    ]
    return _run_all(tasks, jobs=jobs, done=done)


def is_many(output: str) -> bool:
    """Whether an output names one file per input: a folder, or a name with `{name}` in it."""
    return "{name}" in output or output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


_DRAWN_AS_IS = (".jpg", ".jpeg", ".png", ".webp", ".mp4", ".mov", ".mkv", ".webm")


def _drawn_ending(file: Path) -> str:
    if file.suffix.lower() in _DRAWN_AS_IS:
        return file.suffix
    return ".mp4" if file.suffix.lower() in VIDEO_ENDINGS else ".png"


def _names(files: Sequence[Path]) -> list[str]:
    """A name per file for its outputs: without its ending where that is enough to tell it from the others."""
    stems, names = Counter(file.stem for file in files), Counter(file.name for file in files)
    ways = [(file.stem, file.name, "_".join(file.relative_to(file.anchor).parts)) for file in files]
    return [
        stem if stems[stem] == 1 else name if names[name] == 1 else path  # a glob may match several folders
        for stem, name, path in ways
    ]


def _place(output: str | None, name: str, ending: str) -> str | None:
    """Where one file's output goes."""
    if output is None:
        return None
    place = Path(output.replace("{name}", name)) if "{name}" in output else Path(output) / f"{name}{ending}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place.parent} cannot be made: {error.strerror}; choose another folder") from None
    return str(place)


def _run_into_one_table(task: Task, files: Sequence[Path], names: Sequence[str], *, jobs: int, done: Done) -> list[str]:
    """One table over a folder of stills, by way of one small table per file."""
    assert task.save is not None
    save = Path(task.save)
    if save.suffix.lower() not in TABLE_ENDINGS:
        raise InputError(f"{save}: unknown ending {save.suffix!r}; known: {', '.join(TABLE_ENDINGS)}")
    videos = [file.name for file in files if file.suffix.lower() in VIDEO_ENDINGS]
    if videos:
        raise InputError(f"{len(videos)} videos ({videos[0]}, ...) do not go into one table: give --save out/ instead")
    with open_source(task.source) as source:
        header = Header.from_source(source, task.model, LISTS[task.kind])
        sources = {file: source.frame_source(index) for index, file in enumerate(source.files)}
    meaning = Meaning(task.columns, None)  # repetitions take time, which stills have not
    with open_writer(save, header, task.columns) as table:  # refuses before any work
        key = hashlib.sha256(repr((task.source, task.kind, task.options)).encode()).hexdigest()[:12]
        work = save.with_name(f".{save.name}.{key}.work")
        try:
            failures = run_files(replace(task, save=f"{work}/{{name}}.jsonl"), files, jobs=jobs, done=done)
        finally:  # after Ctrl-C too: the table holds what was finished
            for index, (file, name) in enumerate(zip(files, names, strict=True)):
                part = work / f"{name}.jsonl"
                if part.is_file():
                    (frame,) = load_frames(part)[1]
                    frame = replace(frame, index=index, time=None, source=sources.get(file, file.name))
                    table.write(frame, meaning.of(frame).extras)
    shutil.rmtree(work, ignore_errors=True)
    return failures


def _run_all(tasks: Sequence[Task], *, jobs: int, done: Done) -> list[str]:
    failures: list[str] = []
    waiting: list[Task] = []
    for task in tasks:
        if _is_finished(task):
            done(Path(task.source), None)
        else:
            waiting.append(task)
    for task, result in _results(waiting, jobs):
        if isinstance(result, SonjitError):
            failures.append(str(result))
        elif result.problems:
            failures.extend(result.problems)
        done(Path(task.source), result)
    return failures


def _is_finished(task: Task) -> bool:
    """Whether every output is there and none is older than its input."""
    changed = Path(task.source).stat().st_mtime
    outputs = [Path(output) for output in task.outputs]
    return all(output.is_file() and output.stat().st_mtime >= changed for output in outputs)


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Summary | SonjitError]]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, _attempt(task)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy running threads half
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_ignore_interrupt)
    try:
        running: dict[Future[Summary | SonjitError], Task] = {pool.submit(_attempt, task): task for task in tasks}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool:
        raise JobError(
            "a worker process was ended from outside (out of memory?); run it again with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(task: Task) -> Summary | SonjitError:
    """One task; its failure is a result, so that the other files go on."""
    try:
        return run_task(task)
    except SonjitError as error:
        # A subclass with its own constructor would not come through the process border.
        return JobError(f"{task.source}: {error}" if task.source not in str(error) else str(error))


def _ignore_interrupt() -> None:
    """Ctrl-C is for the parent: it lets the files under way finish and starts no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
