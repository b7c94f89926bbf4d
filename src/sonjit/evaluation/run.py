"""One evaluation: samples through a model, evaluated by a protocol, to one record of everything."""

from __future__ import annotations

import math
import time
import typing
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.benchmark.cases import describe_machine
from sonjit.errors import InputError, SonjitError
from sonjit.evaluation.detection import DetectionEvaluator
from sonjit.evaluation.images import InstanceEvaluator, LocalizationEvaluator
from sonjit.evaluation.joints import JointEvaluator, TwoHandEvaluator
from sonjit.evaluation.keypoints import KeypointEvaluator
from sonjit.evaluation.landmarks import FaceEvaluator, LandmarkEvaluator
from sonjit.evaluation.metrics import Metric
from sonjit.evaluation.models import ModelChoice, describe_model, is_window_model, open_model
from sonjit.evaluation.palms import PalmEvaluator
from sonjit.evaluation.protocols import Protocol, ProtocolData, RecordedData, load_protocol
from sonjit.evaluation.published import load_table
from sonjit.evaluation.records import Journal, JournalLine, hash_of, hash_of_lines, library_versions
from sonjit.evaluation.scenes import SceneEvaluator
from sonjit.evaluation.schema import MetricRecord
from sonjit.evaluation.submissions import check_submission, save_submission, submitted
from sonjit.extensions import Registry
from sonjit.files import append_line
from sonjit.pools import check_workers, run_calls
from sonjit.runs import Summary

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.datasets import Sample
    from sonjit.evaluation.metrics import MetricSummary
    from sonjit.evaluation.models import Model
    from sonjit.evaluation.predictions import EvaluatedItem, Mode, Prediction
    from sonjit.evaluation.schema import EvaluationRecord, RunRecord, Units


class Evaluator(typing.Protocol):
    """What compares predictions with a data set's labels, as a protocol's task asks."""

    main: str
    """Name of the metric that stands for it."""

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """What came of each thing in a sample that is evaluated."""
        ...

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """The metrics of all of them; intervals draw whole clusters."""
        ...


EVALUATORS: Registry[Callable[[Protocol, ModelChoice], Evaluator]] = Registry("task")
"""By a protocol's task."""
EVALUATORS.update(
    {
        "landmarks_2d": lambda protocol, choice: LandmarkEvaluator(protocol, choice.kind),
        "face_landmarks": lambda protocol, _: FaceEvaluator(protocol),
        "keypoints": lambda protocol, _: KeypointEvaluator(protocol),
        "palms": lambda protocol, _: PalmEvaluator(protocol),
        "joints_3d": lambda protocol, choice: JointEvaluator(protocol, choice.mano, choice.mano_left),
        "two_hands": lambda protocol, _: TwoHandEvaluator(protocol),
        "localization": lambda protocol, _: LocalizationEvaluator(protocol),
        "instances": lambda protocol, _: InstanceEvaluator(protocol),
        "scenes": lambda protocol, _: SceneEvaluator(protocol),
        "detection": lambda protocol, choice: DetectionEvaluator(protocol, choice.kind),
    }
)

_FEWEST_SUBJECTS = 5
"""From so many on, intervals draw whole subjects: images of one person are alike."""

_MOST_CLUSTERS = 4096


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate.

    Attributes:
        protocol: its name, or a TOML file.
        model: which, with which files.
        root: folder of the data.
        data: other sets than the protocol's, "NAME" or "NAME:SPLIT".
        split: instead of the protocol's.
        modes: of the model's; all of them by default.
        limit: only so many samples of each set.
        skip_bad: leave bad samples out and list them.
        resume: go on from what an earlier run has evaluated.
        command: as it was typed, for the record.
        jobs: processes; 1 works in this one. They come to the same bytes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`; to the same bytes too.
        submission: write the predictions for the challenge's server there too.
    """

    protocol: str
    model: ModelChoice
    root: Path
    data: tuple[str, ...] = ()
    split: str | None = None
    modes: tuple[Mode, ...] | None = None
    limit: int | None = None
    skip_bad: bool = False
    resume: bool = False
    command: str = ""
    jobs: int = 1
    workers: str = "pool"
    submission: Path | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        check_workers(self.workers, self.jobs)
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: give at least 1")


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        record: what is in eval.json; NaN where there is not a number.
        data: the samples, to draw the worst of them.
        lines: what was evaluated, by mode.
        stopped: Ctrl-C came before the end.
        summary: what it came to.
    """

    record: EvaluationRecord
    data: ProtocolData
    lines: dict[Mode, list[JournalLine]]
    stopped: bool
    summary: Summary


def evaluate(
    request: EvaluationRequest,
    out: Path,
    *,
    expect: Callable[[int], None] = lambda count: None,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model by a protocol. Ctrl-C keeps what was evaluated until then.

    Args:
        request: what.
        out: folder for the journals; it is there.
        expect: called with the number of inferences there will be.
        advance: called after each.

    Raises:
        InputError: an unknown name; data or predictions that are missing or do not fit.
        JobError: the disk is full, or a process was ended from outside.
    """
    start = time.perf_counter()
    session = _Session(request)
    data = session.data
    modes = _modes(session.model, request.modes or session.protocol.modes)
    if request.submission is not None:
        check_submission(session.protocol, request.submission, modes)
    session.model.check(data.readable())
    expect(len(data) * len(modes))
    described = describe_model(session.choice, session.model)
    about = {
        "protocol": asdict(session.protocol), "data": data.describe(), "samples": len(data), "model": described,
        "sonjit": __version__, "submission": request.submission is not None,
    }  # fmt: skip
    journals: dict[Mode, Journal] = {}
    for mode in modes:
        whole = mode == "tracking" or is_window_model(session.model)
        groups = data.recordings() if whole else [(place,) for place in range(len(data))]
        path = out / f"evaluated-{mode.replace(' ', '-')}.jsonl"
        journals[mode] = Journal(
            path, about | {"mode": mode}, groups, resume=request.resume, is_current=session.is_current
        )
    calls: list[_Call] = [(journal.path, mode, group) for mode, journal in journals.items() for group in journal.left]
    skipped = len(data) * len(modes) - sum(len(group) for *_, group in calls)
    for _ in range(skipped):
        advance()
    stopped, speed = False, _speed(session, modes) if _wants_speed(session.protocol) else {}
    try:
        _evaluate_all(session, calls, advance)
    except KeyboardInterrupt:
        stopped = True
    lines: dict[Mode, list[JournalLine]] = {}
    for mode, journal in journals.items():
        if (evaluated := journal.close()) or not stopped:
            lines[mode] = evaluated
    zeros = 0
    if request.submission is not None and not stopped:
        in_order = sorted((line for one in lines.values() for line in one), key=lambda line: line.place)
        zeros = save_submission(session.protocol, request.submission, in_order)
    record: EvaluationRecord = {
        "protocol": asdict(session.protocol),
        "data": data.describe(),
        "samples": len(data),
        "model": described,
        "sonjit": __version__,
        "command": request.command,
        "complete": not stopped,
        "data_sha256": hash_of_lines(next(iter(lines.values()), [])),
        "machine": describe_machine(),
        "versions": library_versions(),
        "skipped": data.skipped,
        "runs": [run_record(session.evaluator, mode, evaluated) for mode, evaluated in lines.items()],
    }
    for run in record["runs"]:
        run["metrics"] += [MetricRecord(**asdict(one)) for one in speed.get(run["mode"], ())]
    summary = Summary(
        frames=sum(map(len, lines.values())) - skipped,
        instances=sum(run["evaluated"] for run in record["runs"]),
        seconds=time.perf_counter() - start,
        skipped=skipped,
    )
    if zeros:
        summary.notes.append(f"{request.submission}: {zeros} images are zeros, for nothing was found in them")
    return Evaluation(record, data, lines, stopped, summary)


def _wants_speed(protocol: Protocol) -> bool:
    """Whether a published table beside it tells a speed."""
    columns = (column.metric for name in protocol.tables for column in load_table(name).columns)
    return _SPEED in columns


def _speed(session: _Session, modes: Sequence[Mode]) -> dict[Mode, list[Metric]]:
    """Images a second of a model over the first few images, one at a time and read before; none of predictions."""
    if session.choice.predictions is not None:
        return {}
    found: dict[Mode, list[Metric]] = {}
    samples = [sample for sample, _ in zip(session.data.readable(), range(_TIMED), strict=False)]
    images = [sample.rgb() for sample in samples]
    for mode in modes:
        session.model.begin(mode)
        session.model.find(samples[0], images[0], mode)  # warms up
        start = time.perf_counter()
        for sample, rgb in zip(samples, images, strict=True):
            session.model.find(sample, rgb, mode)
        speed = len(samples) / (time.perf_counter() - start)
        found[mode] = [Metric(_SPEED, "speed here", speed, "frames/s", "higher", counted=len(samples))]
    return found


_SPEED = "frames_per_second"
_TIMED = 16  # images


def _modes(model: Model, wanted: Sequence[Mode]) -> tuple[Mode, ...]:
    modes: tuple[Mode, ...] = tuple(mode for mode in model.modes if not wanted or mode in wanted)
    if not modes:
        raise InputError(f"--mode {', '.join(wanted)}: this model supports {', '.join(model.modes)}")
    return modes


_Call: typing.TypeAlias = "tuple[Path, Mode, tuple[int, ...]]"


class _Session:
    """What one process evaluates with."""

    def __init__(self, request: EvaluationRequest) -> None:
        self.request = request
        self.protocol = load_protocol(request.protocol)
        self.data = ProtocolData(
            self.protocol,
            request.root,
            chosen=request.data,
            split=request.split,
            skip_bad=request.skip_bad,
            limit=request.limit,
        )
        self.choice = replace(
            request.model,
            search=request.model.search or self.protocol.search,
            max_instances=request.model.max_instances or self.protocol.max_instances,
            labels=self.data.labels() if request.model.predictions else "hand",
        )
        self.evaluator = evaluator_of(self.protocol, self.choice)
        self.model = open_model(self.choice)

    @cached_property
    def _recorded(self) -> RecordedData:
        return self.data.in_recordings()

    def is_current(self, line: JournalLine) -> bool:
        """Whether labels and image of a sample are those that a line was written for."""
        try:
            return hash_of(self.data[line.place]) == line.sha256
        except SonjitError:
            return False

    def evaluate(self, mode: Mode, places: tuple[int, ...]) -> Iterator[str]:
        """Evaluate samples that belong together; gives the journal's line of each."""
        self.model.begin(mode)
        for place in places:
            yield self._evaluate(mode, place).to_json()

    def _evaluate(self, mode: Mode, place: int) -> JournalLine:
        try:
            sample = self.data[place]
            if is_window_model(self.model):
                predictions = self.model.find_among(self._recorded, self._recorded.at[place])
            else:
                predictions = self.model.find(sample, sample.rgb(), mode)
            evaluated = tuple(self.evaluator.evaluate(sample, predictions))
            wanted = self.request.submission is not None
            text = submitted(self.protocol, sample, predictions) if wanted else ""
            return JournalLine(
                place, sample.dataset, sample.id, sample.subject, hash_of(sample), evaluated, submission=text
            )
        except SonjitError as error:
            if not self.request.skip_bad:
                raise
            return JournalLine(place, "", f"#{place}", None, "", (), str(error))


def _evaluate_all(session: _Session, calls: Sequence[_Call], advance: Callable[[], None]) -> None:
    request = session.request
    if request.workers == "pool" and (request.jobs == 1 or len(calls) < 2):
        with closing(session.model):
            for journal, mode, places in calls:
                for line in session.evaluate(mode, places):
                    append_line(journal, line)
                    advance()
        return
    session.model.close()  # each worker opens its own
    tasks: list[tuple[EvaluationRequest, Mode, tuple[int, ...]]] = [
        (request, mode, places) for _, mode, places in calls
    ]
    coming = run_calls(_evaluate_in_worker, tasks, jobs=request.jobs, workers=request.workers)
    with closing(coming) as results:
        for number, lines in results:
            for line in lines:
                append_line(calls[number][0], line)
                advance()


_session: _Session | None = None
"""Of a worker process, which ends with it."""


def _evaluate_in_worker(request: EvaluationRequest, mode: Mode, places: tuple[int, ...]) -> list[str]:
    global _session
    if _session is None or _session.request != request:  # Ray's processes outlast a run
        _session = _Session(request)
    return list(_session.evaluate(mode, places))


def evaluator_of(protocol: Protocol, choice: ModelChoice) -> Evaluator:
    """What evaluates by a protocol.

    Raises:
        InputError: nothing is registered for its task.
    """
    return EVALUATORS.find(protocol.task)(protocol, choice)


def register_evaluator(task: str, make: Callable[[Protocol, ModelChoice], Evaluator]) -> None:
    """Let protocols name a task of your own, with metrics of its own.

    Raises:
        InputError: the name is taken.
    """
    EVALUATORS.add(task, make)


def run_record(evaluator: Evaluator, mode: Mode, lines: Sequence[JournalLine]) -> RunRecord:
    """Metrics of one mode, and one row per thing that was evaluated."""
    pairs = [(line, one) for line in lines for one in line.evaluated]
    clusters, drawn = clusters_of([(line.dataset, line.id, line.subject) for line, _ in pairs])
    summary: MetricSummary = evaluator.summary([one for _, one in pairs], clusters)
    return {
        "mode": mode,
        "main": evaluator.main,
        "samples": len(lines),
        "evaluated": len(pairs),
        "left_out": [f"{line.id}: {line.problem}" for line in lines if line.problem],
        "intervals_draw": drawn,
        "units": _units(pairs, summary.values),
        **summary.to_dict(),
    }


def _units(pairs: Sequence[tuple[JournalLine, EvaluatedItem]], values: Sequence[float]) -> Units:
    return {
        "place": [line.place for line, _ in pairs],
        "dataset": [line.dataset for line, _ in pairs],
        "sample": [line.id for line, _ in pairs],
        "instance": [one.instance for _, one in pairs],
        "subject": [line.subject for line, _ in pairs],
        "side": [one.side for _, one in pairs],
        "group": [dict(one.group) for _, one in pairs],
        "value": [value if math.isfinite(value) else math.nan for value in values],
        "found": [
            not math.isinf(value) and one.numbers.get("found") != 0
            for (_, one), value in zip(pairs, values, strict=True)
        ],
    }


def clusters_of(keys: Sequence[tuple[str, str, str | None]]) -> tuple[list[int], str]:
    """What intervals draw as one, and its name: subjects where enough are known, else images.

    Of very many, some go together at random places: that changes an interval's width by a hundredth, not by more.

    Args:
        keys: data set, sample and subject of each thing that was evaluated.
    """
    subjects = {subject for *_, subject in keys}
    by_subject = None not in subjects and len(subjects) >= _FEWEST_SUBJECTS
    numbers: dict[tuple[str, str | None], int] = {}
    labels = [(dataset, subject if by_subject else sample) for dataset, sample, subject in keys]
    for label in labels:
        numbers.setdefault(label, len(numbers) % _MOST_CLUSTERS)
    return [numbers[label] for label in labels], "subjects" if by_subject else "images"
