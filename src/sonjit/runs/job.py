"""The one loop over an input: read, process, and write in a thread of its own.

One call of the command line: any number of inputs, in several processes, and resumable.

What was finished with the same options is not made again, so a run that was stopped goes on where it stood. A single
table for many stills is made the same way: a table per still in a work folder beside it, joined at the end.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from sonjit.errors import InputError, SonjitError
from sonjit.files import sole_writer
from sonjit.media import open_source
from sonjit.pools import check_workers, run_calls
from sonjit.runs.inputs import is_many, place_outputs
from sonjit.runs.processor import Outputs, Summary, is_still
from sonjit.runs.resume import FinishedLog, Keys, note_finished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from sonjit.media import Source, SourceFrame
    from sonjit.media.sources.remote import File
    from sonjit.runs.inputs import Inputs
    from sonjit.runs.processor import Pass, Processor, Session, Table

_NOTHING = Outputs()


def run_input(
    session: Session,
    source: Source,
    outputs: Outputs = _NOTHING,
    *,
    limit: int | None = None,
    opened: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Process one input. Ctrl-C keeps what was finished; any other failure leaves no half-written output.

    Args:
        session: what is done with it.
        source: open; it is closed by who opened it.
        outputs: where the results go.
        limit: stop after so many frames.
        opened: called with the expected number of images, or None, before the first of them.
        advance: called with what it came to so far after each image; what either raises ends the pass at once.
    """
    summary, start = Summary(), time.perf_counter()
    session.prepare(still=is_still(source))
    with session.begin(source, outputs) as work:
        opened(source.count if limit is None else min(source.count or limit, limit))
        with _Writing(work, beside=source.count != 1) as writing:
            for frame in source:
                with work.times.of("finding"):
                    result = work.process(frame)
                writing.put(frame, result)
                summary.frames += 1
                summary.instances += work.count(result)
                advance(summary)
                if limit is not None and summary.frames >= limit:
                    break
        summary.problems = list(source.problems)
    summary.written = outputs.paths
    summary.times = work.times
    summary.times.add("reading", source.reading_s)
    work.report(summary)
    work.report_dropped(summary)
    summary.seconds = time.perf_counter() - start
    return summary


class _Writing:
    """Writes in a thread of its own, a few frames behind.

    Args:
        work: whose frames.
        beside: false writes at once: a single frame has no other to be written beside.
    """

    def __init__(self, work: Pass[Any], *, beside: bool) -> None:
        self._work, self._beside = work, beside
        self._waiting: queue.Queue[tuple[SourceFrame, object] | None] = queue.Queue(maxsize=4)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sonjit-write", daemon=True)

    def put(self, frame: SourceFrame, result: object) -> None:
        """Hand over one frame; raises what went wrong with an earlier one."""
        if not self._beside:
            self._write((frame, result))
            return
        if self._failure is not None:
            raise self._failure
        self._waiting.put((frame, result))  # results are not changed after they are given out: no copy is needed

    def __enter__(self) -> Self:
        if self._beside:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._failure = error  # the outputs will be thrown away: what waits need not be drawn
        if self._beside:
            self._waiting.put(None)
            self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure is not None:
                continue  # keep emptying the queue, so that the other side never waits for ever
            try:
                self._write(item)
            except BaseException as failure:  # handed over to the main thread
                self._failure = failure

    def _write(self, item: tuple[SourceFrame, object]) -> None:
        with self._work.times.of("writing"):
            self._work.write(*item)


@dataclass(frozen=True)
class Job:
    """What goes in and what comes out.

    Attributes:
        inputs: to process.
        outputs: for many inputs folders, or names with `{name}` in them; `save` may be one table for all stills.
        limit: stop after so many frames of each input file.
        jobs: processes for many inputs; 1 works in this one.
        workers: `pool`, `ray` or `ray:ADDRESS` for many inputs, see `run_calls`.
    """

    inputs: Inputs
    outputs: Outputs = _NOTHING
    limit: int | None = None
    jobs: int = 1
    workers: str = "pool"

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        check_workers(self.workers, self.jobs)
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: give at least 1 frame")
        if self.outputs.json and (self.jobs > 1 or self.workers != "pool"):
            raise InputError("--json prints frames in their order, from one process: leave out --jobs and --workers")


def run_job(
    job: Job,
    processor: Processor,
    *,
    expect: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> Summary:
    """Process every input. Ctrl-C keeps what was finished; of many files one that fails does not hold up the others.

    Args:
        job: what goes in and what comes out.
        processor: what is done in between.
        expect: called with the expected number of files (of one input: frames), or None where it is not known.
        advance: called after each of them.

    Raises:
        InputError, JobError: the processor cannot be loaded, or nothing can be written; one single input fails.
    """
    files, save = job.inputs.files, job.outputs.save
    if files is None:
        return _run_together(job, processor, job.inputs.open_one, expect, advance)
    if save is None or is_many(save):
        return _run_files(job, processor, files, expect, advance)
    with job.inputs.open_all(videos=processor.tables_take_videos) as source:
        table = processor.open_table(save, source)
    if table is not None:
        return _run_into_one(job, processor, files, table, expect, advance)
    return _run_together(job, processor, partial(job.inputs.open_all, videos=False), expect, advance)


def _run_together(
    job: Job,
    processor: Processor,
    open_inputs: Callable[[], Source],
    expect: Callable[[int | None], None],
    advance: Callable[[], None],
) -> Summary:
    """One single input, or many stills as one."""
    if job.workers != "pool":
        raise InputError(f"--workers {job.workers}: for several files that are saved or drawn one by one; leave it out")
    with processor.load() as session, open_inputs() as source:
        return run_input(session, source, job.outputs, limit=job.limit, opened=expect, advance=lambda _: advance())


def _run_files(
    job: Job,
    processor: Processor,
    files: Sequence[File],
    expect: Callable[[int | None], None],
    advance: Callable[[], None],
    finished: Callable[[int, Outputs], None] = lambda _, __: None,
) -> Summary:
    """Each of many files by itself; `finished` is told which are, now or before, with what was written."""
    placed = list(place_outputs(job.outputs, files, processor))
    with sole_writer(*{Path(outputs.paths[0]).parent for outputs in placed if outputs.paths}):
        return _run_placed(job, processor, list(zip(files, placed, strict=True)), expect, advance, finished)


def _run_placed(
    job: Job,
    processor: Processor,
    files: Sequence[tuple[File, Outputs]],
    expect: Callable[[int | None], None],
    advance: Callable[[], None],
    finished: Callable[[int, Outputs], None],
) -> Summary:
    start, total = time.perf_counter(), Summary(files=0)
    expect(len(files))
    tasks: list[_Task] = []
    keys: list[tuple[int, str | None]] = []
    log, all_keys = FinishedLog(), Keys(processor, job.limit)
    for index, (file, outputs) in enumerate(files):
        key = all_keys.of(file, outputs) if outputs.paths else None
        if key is not None and not outputs.json and log.holds(key, outputs):
            total.skipped += 1
            finished(index, outputs)
            advance()
        else:
            tasks.append((file, outputs, job.limit))
            keys.append((index, key))
    results: dict[int, Summary | str] = {}
    with closing(_results(processor, tasks, job)) as coming:
        for number, result in coming:
            results[number] = result
            (index, key), outputs = keys[number], tasks[number][1]
            if key is not None and isinstance(result, Summary) and not result.problems:
                note_finished(key, outputs, result.written)  # here, as machines that share a disk cannot share a log
                finished(index, outputs)
            advance()
    for number, (file, *_) in enumerate(tasks):
        _add(total, file, results[number])
    total.notes = list(dict.fromkeys(total.notes))
    total.written, total.seconds = job.outputs.paths, time.perf_counter() - start
    return total


def _add(total: Summary, file: File, result: Summary | str) -> None:
    if isinstance(result, str):
        total.problems.append(result)
        return
    assert total.files is not None
    total.files += 1
    total.frames += result.frames
    total.instances += result.instances
    total.lines += [line if line.startswith(str(file)) else f"{file}: {line}" for line in result.lines]
    total.notes += result.notes
    for part, seconds in result.times.items():
        total.times.add(part, seconds)
    total.problems += result.problems


def _run_into_one(
    job: Job,
    processor: Processor,
    files: Sequence[File],
    table: Table,
    expect: Callable[[int | None], None],
    advance: Callable[[], None],
) -> Summary:
    """One table over many files, by way of one small table per file."""
    assert job.outputs.save is not None
    save = Path(job.outputs.save)
    work = save.with_name(f".{save.name}.work")
    parts = replace(job, outputs=replace(job.outputs, save=f"{work}/{{name}}.jsonl"))
    finished: dict[int, Outputs] = {}
    with table:
        try:
            total = _run_files(parts, processor, files, expect, advance, finished.__setitem__)
        finally:  # after Ctrl-C too: the table holds what was finished
            for index, outputs in sorted(finished.items()):
                assert outputs.save is not None
                table.append_part(Path(outputs.save), index, job.inputs.labels[index])
    shutil.rmtree(work, ignore_errors=True)
    total.written = job.outputs.paths
    return total


_Task: TypeAlias = "tuple[File, Outputs, int | None]"


def _results(processor: Processor, tasks: Sequence[_Task], job: Job) -> Generator[tuple[int, Summary | str]]:
    """What came of each file, or why nothing did, as soon as it is there."""
    if tasks and (job.workers != "pool" or (job.jobs > 1 and len(tasks) > 1)):
        calls = [(processor, *task) for task in tasks]
        yield from run_calls(_process_in_worker, calls, jobs=job.jobs, workers=job.workers)
    elif tasks:
        with processor.load() as session:
            yield from run_calls(partial(_process, session), tasks)


_loaded: tuple[Processor, Session] | None = None

"""Of a worker process, which ends with it."""


def _process_in_worker(processor: Processor, file: File, outputs: Outputs, limit: int | None) -> Summary | str:
    global _loaded
    if _loaded is None or _loaded[0] != processor:  # Ray's processes outlast a run
        _loaded = processor, processor.load()
    return _process(_loaded[1], file, outputs, limit)


def _process(session: Session, file: File, outputs: Outputs, limit: int | None) -> Summary | str:
    """One file; its failure is a result, so that the other files go on. A network that does not load ends the run."""
    start = time.perf_counter()
    try:
        with open_source(file) as source:
            opening_s = time.perf_counter() - start  # a still is decoded by it
            try:
                session.prepare(still=is_still(source))
            except SonjitError as error:
                raise _UnreadyError(error) from error
            summary = run_input(session, source, outputs, limit=limit)
            summary.times.add("reading", opening_s)
    except _UnreadyError as unready:
        raise unready.cause from None
    except SonjitError as error:
        return str(error) if str(file) in str(error) else f"{file}: {error}"
    summary.last = None
    return summary


class _UnreadyError(Exception):
    """What no input can be processed for."""

    def __init__(self, cause: SonjitError) -> None:
        super().__init__(cause)
        self.cause = cause
