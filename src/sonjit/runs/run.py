"""Runs: one worker over an input, or a task over many inputs, in several processes and resumable.

A run skips files that an earlier run has finished with the same options. One table for many files is written in the
same way: one table per file in a hidden work folder, joined at the end.
"""

import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import Any, Final, Self, TypeAlias

from sonjit._util.errors import OUT_OF_MEMORY, InputError, SonjitError, is_out_of_memory, pluralize
from sonjit._util.files import sole_writer
from sonjit._util.pools import Progress, check_workers, per_process, run_calls, unpickle
from sonjit.media import Source, SourceFrame
from sonjit.media.sources import Reading, base, file_kind
from sonjit.media.sources.base import SourceKind
from sonjit.media.sources.remote import File
from sonjit.media.tables import find_format
from sonjit.runs.frame_tables import FrameTable, RecordTable
from sonjit.runs.hiding import Hidden
from sonjit.runs.inputs import (
    FinishedFiles,
    Inputs,
    check_distinct,
    is_many,
    named_outputs,
    output_paths,
    remove_finished,
    shown_paths,
)
from sonjit.runs.task import Outputs, Summary, Task, Worker

_NO_OUTPUTS = Outputs()
_QUEUE_LENGTH = 4
"""Number of processed frames that wait to be written: enough to even out slow frames, few enough to save memory."""
_MAX_NOTES: Final = 10  # number of hints to print after a run over many files

_Call: TypeAlias = "tuple[File, Outputs, int | None, Reading]"  # file, its outputs, maximum of frames, which to read


def run_input(
    worker: Worker[Any],
    source: Source,
    outputs: Outputs = _NO_OUTPUTS,
    *,
    limit: int | None = None,
    progress: Progress = Progress(),
) -> Summary:
    """Process one input. The caller closes the source.

    Ctrl-C keeps the finished part; any other exception discards all outputs.
    """
    summary, start_s = Summary(), time.perf_counter()
    worker.reset()
    with ExitStack() as files:
        worker.start(source, outputs, files)
        if outputs.draw is not None:
            worker.hidden.scan(source, limit, progress)
        progress.start(source.count if limit is None else min(source.count or limit, limit))
        items = files.enter_context(closing(worker.process_frames(islice(source, limit))))
        with _WriteThread(worker, is_needed=source.count != 1) as writing:
            frame_start_s = time.perf_counter()
            for frame, item in items:
                worker.times["detect"] += time.perf_counter() - frame_start_s
                writing.put(frame, item)
                summary.frames += 1
                instances = worker.count(item)
                summary.instances += instances
                progress.advance(instances=instances)
                frame_start_s = time.perf_counter()
        summary.problems = list(source.problems)
        summary.notes = list(dict.fromkeys(source.notes))
        if limit == summary.frames != source.count:  # the header names it, and the closing line the number
            source.note(f"{source.name}: only the first {pluralize(summary.frames, 'frame')} read, --limit")
    summary.written = outputs.paths
    summary.times = worker.times.copy()
    summary.times["read"] += source.reading_s
    summary.hidden = worker.hidden.hidden if outputs.draw is not None else None
    worker.report(summary)
    worker.report_dropped(summary)
    summary.seconds = time.perf_counter() - start_s
    return summary


class _WriteThread:
    """Write items in another thread, a few frames behind the detection, until a write fails."""

    def __init__(self, worker: Worker[Any], *, is_needed: bool) -> None:
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sonjit-write") if is_needed else None
        self._waiting: deque[Future[None]] = deque()
        self._has_failed = False

    def put(self, frame: SourceFrame, item: object) -> None:
        """Queue an item. Raises the exception of an earlier write."""
        if self._thread is None:
            self._write(frame, item)
            return
        self._waiting.append(self._thread.submit(self._write, frame, item))  # detectors never change their results
        if len(self._waiting) > _QUEUE_LENGTH:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._thread is not None:
            is_discarded = error is not None and not isinstance(error, KeyboardInterrupt)
            self._thread.shutdown(cancel_futures=is_discarded)
        if error is None or isinstance(error, KeyboardInterrupt):  # without a frame, the outputs are not complete
            for written in self._waiting:
                written.result()

    def _write(self, frame: SourceFrame, item: object) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        start_s = time.perf_counter()
        self._worker.write(frame, item)
        self._worker.times["write"] += time.perf_counter() - start_s
        self._has_failed = False


def run_job(
    task: Task,
    inputs: Inputs,
    outputs: Outputs = _NO_OUTPUTS,
    *,
    limit: int | None = None,
    jobs: int = 1,
    workers: str = "pool",
    progress: Progress = Progress(),
) -> Summary:
    """Process every input. Ctrl-C keeps the finished files. A file that fails does not stop the others.

    For many inputs, output paths are folders or names with `{name}`, and `save` may be one table. Paths of one input
    may have `{name}`, too. `limit` is the maximum number of frames of each file. `jobs` processes, or the `workers` of
    `run_calls`, process many files. Raise InputError, JobError if the task cannot be opened, an output cannot be
    written, or the only input fails.
    """
    check_workers(workers, jobs)
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: must be at least 1")
    if outputs.json and (jobs > 1 or workers != "pool"):
        raise InputError("--json prints frames in order and cannot be combined with --jobs or --workers")
    task.check_inputs([inputs.name] if inputs.files is None else [str(file) for file in inputs.files])
    if inputs.files is None:
        outputs = named_outputs(outputs, inputs.name)
        check_distinct([outputs], task)
    else:
        run_files = partial(_run_files, task, inputs, limit=limit, jobs=jobs, workers=workers, progress=progress)
        if outputs.also and not all(map(is_many, (outputs.save or "", *outputs.also))):
            raise InputError("several --save for several inputs: give names with {name}, such as 'out/{name}.csv'")
        if outputs.save is None or is_many(outputs.save):
            return run_files(outputs)
        with inputs.open_all(videos=task.joins_videos) as source:
            table = task.open_table(outputs.save, source)
        if table is not None:
            return _run_into_table(table, run_files, inputs, outputs)
    if workers != "pool":
        raise InputError(f"--workers {workers} applies only to several files with one output per file")
    opened = inputs.open_one() if inputs.files is None else inputs.open_all(videos=False)
    with opened as source, task.open(source.kind) as worker:
        source.notes += [note for note in inputs.notes if note not in source.notes]
        return run_input(worker, source, outputs, limit=limit, progress=progress)


def _run_files(
    task: Task,
    inputs: Inputs,
    outputs: Outputs,
    *,
    limit: int | None,
    jobs: int,
    workers: str,
    progress: Progress,
    finished: Callable[[int, Outputs], None] = lambda _, __: None,
) -> Summary:
    """Process each of many files."""
    start_s, total = time.perf_counter(), Summary(files=0, notes=[*inputs.notes])
    files = inputs.files or ()
    placed = output_paths(outputs, files, task)
    check_distinct(placed, task)
    log = FinishedFiles(task, [limit, *inputs.reading])
    progress.start(len(files))
    with sole_writer(*{Path(path).parent for item in placed for path in item.paths}):
        unfinished = list[int]()
        written = set[str]()
        places = [os.path.realpath(str(file)) for file in files]
        taken = set(places)
        keys = [log.key(file, item) if item.paths else None for file, item in zip(files, placed, strict=True)]
        for index, (key, item) in enumerate(zip(keys, placed, strict=True)):
            if key is not None and not item.json and log.is_finished(key, item):
                total.skipped += 1
                finished(index, item)
                written.update(map(os.path.realpath, item.paths))
                progress.advance()
            elif clash := taken.intersection(map(os.path.realpath, item.paths)) - {places[index]}:
                problem = f"its output {clash.pop()} is another input. Choose another name or folder"
                total.problems.append(f"{files[index]}: {problem}")
            else:
                unfinished.append(index)
        if copies := [index for index in unfinished if places[index] in written]:
            total.notes.append(f"left out {pluralize(len(copies), 'file')} that this command wrote before")
            unfinished = [index for index in unfinished if index not in copies]
        results: dict[int, Summary | str] = {}
        calls = [(files[index], placed[index], limit, inputs.reading) for index in unfinished]
        with closing(_results(task, calls, jobs=jobs, workers=workers)) as running:
            for number, result in running:
                index = unfinished[number]
                results[index] = result
                key = keys[index]
                if key is not None and isinstance(result, Summary) and not result.problems:
                    log.add(key, placed[index], result.written)  # only this process: a cluster shares no log
                    finished(index, placed[index])
                progress.advance()
    for index in unfinished:
        _add(total, files[index], results[index])
    notes = list(dict.fromkeys(total.notes))
    total.notes = notes[:_MAX_NOTES]
    if len(notes) > _MAX_NOTES:
        total.notes.append(f"{pluralize(len(notes) - _MAX_NOTES, 'more note')} omitted")
    total.written, total.seconds = shown_paths(outputs, task), time.perf_counter() - start_s
    return total


def _add(total: Summary, file: File, result: Summary | str) -> None:
    """Add the result of a file to the summary of all files."""
    if isinstance(result, str):
        total.problems.append(result)
        return
    assert total.files is not None
    total.files += 1
    total.frames += result.frames
    total.notes += result.notes
    total.instances += result.instances
    total.lines += [line if line.startswith(str(file)) else f"{file}: {line}" for line in result.lines]
    if result.hidden is not None:
        total.hidden = total.hidden or Hidden()
        total.hidden.add(result.hidden)
    for part, seconds in result.times.items():
        total.times[part] += seconds
    total.problems += result.problems


def _run_into_table(
    table: FrameTable | RecordTable, run_files: Callable[..., Summary], inputs: Inputs, outputs: Outputs
) -> Summary:
    """Write one table for many files by joining a small table per file."""
    assert outputs.save is not None
    save = Path(outputs.save)
    folder = save.with_name(f".{save.name}.work")
    with table:
        with _JoinThread(table, inputs.labels) as joining:
            total = run_files(replace(outputs, save=f"{folder}/{{name}}.jsonl"), finished=joining.add)
        table.add_notes(base.renamed(total.problems, inputs.files or (), inputs.labels))
    remove_finished(folder)
    total.written = [*outputs.paths, *table.more_paths]
    return total


class _JoinThread:
    """Append the tables of finished files to a table in another thread, while further files are processed.

    The order is that of the files. At the end, or at Ctrl-C, all finished files are in the table. Ctrl-C only reaches
    the main thread, so that no file is appended partly.
    """

    def __init__(self, table: FrameTable | RecordTable, labels: Sequence[str]) -> None:
        self._table, self._labels = table, labels
        self._waiting: dict[int, Path] = {}
        self._next = 0
        self._failure: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sonjit-join")

    def add(self, index: int, part: Outputs) -> None:
        """Append the table of a file as soon as those of all earlier files are appended."""
        assert part.save is not None
        self._waiting[index] = Path(part.save)
        while self._next in self._waiting:
            self._thread.submit(self._append, self._next, self._waiting.pop(self._next))
            self._next += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for index, path in sorted(self._waiting.items()):  # an earlier file failed, or the run was stopped
            self._thread.submit(self._append, index, path)
        self._thread.shutdown()
        if self._failure is not None:
            raise self._failure

    def _append(self, index: int, path: Path) -> None:
        if self._failure is None:
            try:
                self._table.append_part(path, index, self._labels[index])
            except BaseException as failure:  # raised in the main thread
                self._failure = failure


def _results(task: Task, calls: Sequence[_Call], *, jobs: int, workers: str) -> Generator[tuple[int, Summary | str]]:
    """Yield the index of each call with its summary or error message, in the order in which they finish."""
    if calls and (workers != "pool" or (jobs > 1 and len(calls) > 1)):
        sent = pickle.dumps(task)  # once, not with each file
        yield from run_calls(_process_file_in_worker, [(sent, call) for call in calls], jobs=jobs, workers=workers)
    elif calls:
        task, threads = task.for_threads() if _are_independent(calls) else (task, 1)
        with closing(_Workers(task)) as opened:
            yield from run_calls(partial(_process_file, opened), [(call,) for call in calls], threads=threads)


def _are_independent(calls: Sequence[_Call]) -> bool:
    """Check whether several calls can run at once in this process: stills with tables that need no order."""
    saves = (path for _, outputs, _, _ in calls for path in (outputs.save, *outputs.also))
    formats = [find_format(path) for path in saves if path is not None]
    return (
        len(calls) > 1
        and not any(outputs.json for _, outputs, _, _ in calls)
        and all(table_format is not None and table_format.in_threads for table_format in formats)
        and all(file_kind(file) == "image" for file, _, _, _ in calls)
    )


class _Workers:
    """Workers of a task, one for each kind of source and each thread, opened on first use."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._opened: dict[tuple[SourceKind, int], Worker[Any]] = {}

    def find(self, source: Source) -> Worker[Any]:
        """Return the worker of this thread for the images of a source."""
        key = source.kind, get_ident()
        if key not in self._opened:
            self._opened[key] = self.task.open(source.kind)
        return self._opened[key]

    def close(self) -> None:
        """Free the networks."""
        for worker in self._opened.values():
            worker.close()


@per_process  # processes of a cluster outlast a run
def _workers_of_process(task: bytes) -> _Workers:
    return _Workers(unpickle(task))


def _process_file_in_worker(task: bytes, call: _Call) -> Summary | str:
    return _process_file(_workers_of_process(task), call)


def _process_file(workers: _Workers, call: _Call) -> Summary | str:
    """Process one file. If it fails, return an error message, so that the run continues with other files."""
    (file, outputs, limit, reading), start_s = call, time.perf_counter()
    try:
        source = reading.open(file)
    except SonjitError as error:
        return _problem(file, error)
    except MemoryError:  # other files may be smaller
        return f"{file}: {OUT_OF_MEMORY}"
    with source:
        opening_s = time.perf_counter() - start_s  # opening an image decodes it
        worker = workers.find(source)
        try:
            summary = run_input(worker, source, outputs, limit=limit)
        except SonjitError as error:
            return _problem(file, error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return f"{file}: {OUT_OF_MEMORY}"
    summary.times["read"] += opening_s
    summary.last = None  # is not sent between processes
    return summary


def _problem(file: File, error: SonjitError) -> str:
    return str(error) if str(file) in str(error) else f"{file}: {error}"
