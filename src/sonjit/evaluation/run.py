"""One evaluation: samples through a model, evaluated by a protocol, to one record of everything."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.benchmark.cases import describe_machine
from sonjit.errors import InputError, SonjitError
from sonjit.evaluation.images import InstanceEvaluator, LocalizationEvaluator
from sonjit.evaluation.joints import JointEvaluator, TwoHandEvaluator
from sonjit.evaluation.landmarks import LandmarkEvaluator
from sonjit.evaluation.models import ModelChoice, describe_model, open_model
from sonjit.evaluation.protocols import Protocol, ProtocolData, load_protocol
from sonjit.evaluation.records import Journal, JournalLine, hash_of, hash_of_lines, library_versions
from sonjit.extensions import Registry

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
        "joints_3d": lambda protocol, _: JointEvaluator(protocol),
        "two_hands": lambda protocol, _: TwoHandEvaluator(protocol),
        "localization": lambda protocol, _: LocalizationEvaluator(protocol),
        "instances": lambda protocol, _: InstanceEvaluator(protocol),
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


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        record: what is in eval.json; NaN where there is not a number.
        data: the samples, to draw the worst of them.
        lines: what was evaluated, by mode.
        stopped: Ctrl-C came before the end.
    """

    record: EvaluationRecord
    data: ProtocolData
    lines: dict[Mode, list[JournalLine]]
    stopped: bool


def evaluate(
    request: EvaluationRequest,
    out: Path,
    *,
    expect: Callable[[int], None] = lambda count: None,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model by a protocol.

    Args:
        request: what.
        out: folder for the journals; it is there.
        expect: called with the number of inferences there will be.
        advance: called after each.

    Raises:
        InputError: an unknown name; data or predictions that are missing or do not fit.
    """
    protocol = load_protocol(request.protocol)
    data = ProtocolData(
        protocol,
        request.root,
        chosen=request.data,
        split=request.split,
        skip_bad=request.skip_bad,
        limit=request.limit,
    )
    described = describe_model(request.model)
    model = open_model(request.model)
    modes = _modes(model, request.modes)
    about = {"protocol": asdict(protocol), "data": data.describe(), "samples": len(data), "model": described}
    expect(len(data) * len(modes))
    evaluator = evaluator_of(protocol, request.model)
    lines: dict[Mode, list[JournalLine]] = {}
    stopped = False
    try:
        for mode in modes:
            path = out / f"evaluated-{mode.replace(' ', '-')}.jsonl"
            with Journal(path, about | {"mode": mode}, resume=request.resume) as journal:
                lines[mode] = journal.lines
                _evaluate_all(journal, data, model, evaluator, mode, skip_bad=request.skip_bad, advance=advance)
        model.close()
    except KeyboardInterrupt:
        stopped = True
    record: EvaluationRecord = {
        "protocol": asdict(protocol),
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
        "runs": [run_record(evaluator, mode, evaluated) for mode, evaluated in lines.items()],
    }
    return Evaluation(record, data, lines, stopped)


def _modes(model: Model, wanted: Sequence[Mode] | None) -> tuple[Mode, ...]:
    modes: tuple[Mode, ...] = tuple(mode for mode in model.modes if wanted is None or mode in wanted)
    if not modes:
        raise InputError(f"--mode {', '.join(wanted or ())}: this model supports {', '.join(model.modes)}")
    return modes


def _evaluate_all(
    journal: Journal,
    data: ProtocolData,
    model: Model,
    evaluator: Evaluator,
    mode: Mode,
    *,
    skip_bad: bool,
    advance: Callable[[], None],
) -> None:
    """Evaluate what the journal does not hold yet."""
    model.begin(mode)
    order = data.by_recording() if mode == "tracking" else list(range(len(data)))
    done = len(journal.lines)
    while (
        mode == "tracking"
        and 0 < done < len(order)
        and _recording(data[order[done]]) == _recording(data[order[done - 1]]) is not None
    ):
        done -= 1  # a recording is tracked from its start, so that a run that was stopped comes to the same metrics
    journal.keep(done)
    for _ in range(done):
        advance()
    for place in order[done:]:
        try:
            sample = data[place]
            predictions = model.find(sample, sample.rgb(), mode)
            evaluated = tuple(evaluator.evaluate(sample, predictions))
            line = JournalLine(place, sample.dataset, sample.id, sample.subject, hash_of(sample), evaluated)
        except SonjitError as error:
            if not skip_bad:
                raise
            line = JournalLine(place, "", f"#{place}", None, "", (), str(error))
        journal.add(line)
        advance()


def _recording(sample: Sample) -> tuple[str, str, str | None] | None:
    return None if sample.sequence is None else (sample.dataset, sample.sequence, sample.view)


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
        "found": [not math.isinf(value) for value in values],
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
