"""Run an evaluation: predict samples with a model, evaluate them by a protocol, and record the result."""

from __future__ import annotations

import math
import time
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from sonjit._util import InputError, RealArray, SonjitError, data_files, extensions, files, pools, version
from sonjit.engines.devices import describe_machine
from sonjit.runs import Summary
from sonjit_lab import redundant_facts
from sonjit_lab.datasets import Sample
from sonjit_lab.datasets.checks import check_labels
from sonjit_lab.datasets.dataset import identity_of
from sonjit_lab.datasets.splits import split_report
from sonjit_lab.evaluation import coco, detection, prediction_files
from sonjit_lab.evaluation.faces import FaceEvaluator
from sonjit_lab.evaluation.landmarks import JointEvaluator, LandmarkEvaluator
from sonjit_lab.evaluation.metrics import Metric, MetricSummary
from sonjit_lab.evaluation.models import ModelChoice, describe_model, open_model
from sonjit_lab.evaluation.predictions import (
    CurveRecord,
    EvaluatedItem,
    EvaluationRecord,
    Journal,
    JournalLine,
    Mode,
    Prediction,
    RunRecord,
    WindowModel,
    hash_of,
    hash_of_lines,
    match_predictions,
)
from sonjit_lab.evaluation.protocols import Protocol, ProtocolData, RecordedData, load_protocol
from sonjit_lab.evaluation.published import load_table

EVALUATORS: extensions.Registry[Callable[[Protocol, ModelChoice], Evaluator]] = extensions.Registry("task")
"""Evaluators by task of a protocol."""
_MIN_SUBJECTS = 5  # minimum number for resampling by subject or recording, since their images are similar
_MAX_CLUSTERS = 4096
_LIBRARIES = ("numpy", "openvino", "opencv-python-headless", "torch", "faster-coco-eval")
_SPEED_METRIC = "frames_per_second"
_SPEED_SAMPLES = 16  # images
_COMPARED_SAMPLES = 200  # samples whose predictions are compared with the labels in unit and side
_Call: typing.TypeAlias = "tuple[Path, Mode, tuple[int, ...]]"
_process_worker: _Worker | None = None  # worker of this process of a pool or a cluster, which ends with the process


class Evaluator(typing.Protocol):
    """Comparison of predictions with a data set's labels for a protocol's task."""

    main: str
    """Name of the main metric."""

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the evaluated items of a sample."""
        ...

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return the metrics of all items. Intervals resample clusters."""
        ...


@dataclass(frozen=True)
class EvaluationRequest:
    """Settings of an evaluation.

    Attributes:
        protocol: Name of a protocol, or TOML file.
        model: Model with its files.
        root: Folder of the data.
        data: Sets to use in place of the protocol's, "NAME" or "NAME:SPLIT".
        split: Split to use in place of the protocol's.
        options: Options of the sets by name, such as `{"order": "mano"}`.
        modes: Modes of the model; by default all.
        limit: Maximum number of samples of each set.
        skip_bad: Exclude bad samples and list them.
        resume: Resume from the journals of an earlier run.
        command: Command line, for the record.
        jobs: Number of processes; 1 uses the current one. The result has the same bytes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`. The result has the same bytes.
        submission: File of predictions to write for the challenge's server.
    """

    protocol: str
    model: ModelChoice
    root: Path
    data: tuple[str, ...] = ()
    split: str | None = None
    options: Mapping[str, typing.Any] = field(default_factory=dict[str, typing.Any])
    modes: tuple[Mode, ...] | None = None
    limit: int | None = None
    skip_bad: bool = False
    resume: bool = False
    command: str = ""
    jobs: int = 1
    workers: str = "pool"
    submission: Path | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        pools.check_workers(self.workers, self.jobs)
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: must be at least 1")


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        record: Content of eval.json; NaN where there is no number.
        data: Samples, needed to draw the worst cases.
        lines: Journal lines by mode.
        stopped: True if Ctrl-C ended the run early.
        summary: Summary by mode.
    """

    record: EvaluationRecord
    data: ProtocolData
    lines: dict[Mode, list[JournalLine]]
    stopped: bool
    summary: Summary


def evaluate(request: EvaluationRequest, out: Path, *, progress: pools.Progress = pools.Progress()) -> Evaluation:
    """Evaluate a model by a protocol. Ctrl-C keeps the finished samples.

    Args:
        request: Settings of the evaluation.
        out: Existing folder for the journals.
        progress: Receiver of the progress in inferences.

    Raises:
        InputError: A name is unknown, or data or predictions are missing or do not fit.
        JobError: The disk is full, or a process was ended from outside or crashed.
    """
    start = time.perf_counter()
    worker = _Worker(request)
    data = worker.data
    requested = request.modes or worker.protocol.modes
    modes: tuple[Mode, ...] = tuple(mode for mode in worker.model.modes if not requested or mode in requested)
    if not modes:
        raise InputError(f"--mode {', '.join(requested)}: this model supports {', '.join(worker.model.modes)}")
    if request.submission is not None:
        prediction_files.check_submission(worker.protocol, request.submission, modes, data.skipped)
    worker.model.check(data.readable(), data.categories)
    progress.start(len(data) * len(modes))
    about = {
        "protocol": asdict(worker.protocol),
        "data": data.describe(),
        "samples": len(data),
        "model": describe_model(worker.choice, worker.model),
        "sonjit": version.__version__,
        "submission": request.submission is not None,
    }
    journals: dict[Mode, Journal] = {mode: _open_journal(worker, mode, out, about) for mode in modes}
    calls: list[_Call] = [(journal.path, mode, group) for mode, journal in journals.items() for group in journal.left]
    if skipped := len(data) * len(modes) - sum(len(group) for *_, group in calls):
        progress.advance(skipped)
    published = (column.metric for name in worker.protocol.tables for column in load_table(name).columns)
    stopped, speed = False, _measure_speed(worker, modes) if _SPEED_METRIC in published else {}
    try:
        _evaluate_all(worker, calls, progress)
    except KeyboardInterrupt:
        stopped = True
    closed: dict[Mode, list[JournalLine]] = {mode: journal.close() for mode, journal in journals.items()}
    lines: dict[Mode, list[JournalLine]] = {
        mode: evaluated for mode, evaluated in closed.items() if evaluated or not stopped
    }
    zeros = 0
    if request.submission is not None and not stopped:
        in_order = sorted((line for value in lines.values() for line in value), key=lambda line: line.place)
        zeros = prediction_files.save_submission(worker.protocol, request.submission, in_order)
    record = _record(worker, lines, is_complete=not stopped)
    for run in record["runs"]:
        run["metrics"] += [item.to_dict() for item in speed.get(run["mode"], ())]
    summary = Summary(
        frames=sum(map(len, lines.values())) - skipped,
        instances=sum(run["evaluated"] for run in record["runs"]),
        seconds=time.perf_counter() - start,
        skipped=skipped,
    )
    summary.notes += [*worker.model.notes, *_prediction_notes(worker, modes[0]), *_training_notes(worker)]
    if doubts := list(dict.fromkeys(line.doubt for value in lines.values() for line in value if line.doubt)):
        summary.notes.append(
            f"{len(doubts)} of {len(data)} samples have labels that contradict each other, such as {doubts[0]}; "
            "--skip-bad leaves them out"
        )
    if not stopped and not summary.instances:
        summary.notes.append(
            f"nothing was evaluated: no label in {len(data)} images is one that {worker.protocol.name} requires; "
            "the notes of the report name the files with labels"
        )
    if zeros:
        summary.notes.append(f"{request.submission}: {zeros} images are zeros, for nothing was found in them")
    return Evaluation(record, data, lines, stopped, summary)


def _prediction_notes(worker: _Worker, mode: Mode) -> list[str]:
    """Return contradictions of a file of predictions with the labels in unit and side, from some of the samples."""
    if worker.choice.predictions is None:
        return []
    pairs: list[tuple[RealArray, RealArray]] = []
    step = -(-len(worker.data) // _COMPARED_SAMPLES)
    for index in range(0, len(worker.data), max(step, 1)):
        try:
            sample = worker.data[index]
            labelled = [
                (number, hand)
                for number, hand in enumerate(sample.instances)
                if hand.kind == "hand" and hand.keypoints_m is not None
            ]
            if labelled:
                matches = match_predictions(labelled, worker.model.find(sample, sample.rgb(), mode))
                keypoint_pairs = (
                    (matches[number].keypoints_m, hand.keypoints_m) for number, hand in labelled if number in matches
                )
                pairs += [
                    (predicted, truth)
                    for predicted, truth in keypoint_pairs
                    if predicted is not None and truth is not None
                ]
        except SonjitError:  # reported by the evaluation
            continue
    return redundant_facts.hand_notes(pairs)


def _training_notes(worker: _Worker) -> Iterator[str]:
    """Yield a line if the weights are of a run on the same data, and the samples are not those that it held out."""
    choice, root = worker.choice, worker.request.root.resolve()
    for file in (choice.weights, choice.landmark_model):
        folder = Path(file or "")
        run = next((place for place in (folder, folder.parent) if file and (place / "settings.json").is_file()), None)
        if run is None:
            continue
        settings = data_files.read_json(run / "settings.json")
        held_out = split_report((), [identity_of(sample) for sample in worker.data.readable()]).sha256
        same_hash = settings.get("data_sha256") == files.sha256_of_folder(root, without=run.resolve())
        is_named = str(settings.get("data", "")).endswith((f" in {root}", f" in {worker.request.root}"))
        same_split = settings.get("split", "") in ("", *(item["split"] for item in worker.data.describe()))
        if (same_hash or is_named) and same_split and settings.get("held_out_sha256") != held_out:
            yield f"{run} was trained on these data, apart from those that it held out: evaluate on others, or a split"


def _record(worker: _Worker, lines: Mapping[Mode, list[JournalLine]], *, is_complete: bool) -> EvaluationRecord:
    """Return the results of an evaluation as they are saved."""
    return {
        "protocol": asdict(worker.protocol),
        "data": worker.data.describe(),
        "samples": len(worker.data),
        "model": describe_model(worker.choice, worker.model),
        "sonjit": version.__version__,
        "command": worker.request.command,
        "complete": is_complete,
        "data_sha256": hash_of_lines(next(iter(lines.values()), [])),
        "machine": describe_machine(),
        "versions": version.installed_versions(_LIBRARIES),
        "skipped": [*worker.data.skipped, *worker.model.notes],
        "runs": [run_record(worker.evaluator, mode, evaluated) for mode, evaluated in lines.items()],
    }


def _open_journal(worker: _Worker, mode: Mode, out: Path, about: Mapping[str, object]) -> Journal:
    """Open the journal of a mode, whose calls are recordings if the model uses the preceding frames, else images."""
    by_recording = mode == "tracking" or isinstance(worker.model, WindowModel)
    groups = worker.data.recordings() if by_recording else [(index,) for index in range(len(worker.data))]
    path = out / f"evaluated-{mode.replace(' ', '-')}.jsonl"
    header = {**about, "mode": mode}
    return Journal(path, header, groups, resume=worker.request.resume, is_current=worker.is_current)


def _measure_speed(worker: _Worker, modes: Sequence[Mode]) -> dict[Mode, list[Metric]]:
    """Return a model's images per second over a few preloaded images, one at a time; empty for predictions."""
    if worker.choice.predictions is not None:
        return {}
    speeds: dict[Mode, list[Metric]] = {}
    samples = [sample for sample, _ in zip(worker.data.readable(), range(_SPEED_SAMPLES), strict=False)]
    images = [sample.rgb() for sample in samples]
    for mode in modes:
        worker.model.begin(mode)
        worker.model.find(samples[0], images[0], mode)  # warms up
        start = time.perf_counter()
        for sample, rgb in zip(samples, images, strict=True):
            worker.model.find(sample, rgb, mode)
        speed = len(samples) / (time.perf_counter() - start)
        speeds[mode] = [Metric(_SPEED_METRIC, "speed here", speed, "frames/s", "higher", counted=len(samples))]
    return speeds


class _Worker:
    """Data, model and evaluator of one process."""

    def __init__(self, request: EvaluationRequest) -> None:
        self.request = request
        self.protocol = load_protocol(request.protocol)
        self.data = ProtocolData(
            self.protocol,
            request.root,
            chosen=request.data,
            split=request.split,
            options=request.options,
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
        self.model.use_orders(self.data.keypoint_orders())

    @cached_property
    def _ordered_samples(self) -> RecordedData:
        return self.data.order_by_recording()

    def is_current(self, line: JournalLine) -> bool:
        """Check whether labels and image of a sample are those of a journal line."""
        try:
            return hash_of(self.data[line.place]) == line.sha256
        except SonjitError:
            return False

    def evaluate(self, mode: Mode, indices: tuple[int, ...]) -> Iterator[str]:
        """Evaluate samples that belong together and yield the journal line of each."""
        self.model.begin(mode)
        for index in indices:
            yield self._evaluate(mode, index).to_json()

    def _evaluate(self, mode: Mode, index: int) -> JournalLine:
        try:
            sample = self.data[index]
            if isinstance(self.model, WindowModel):
                predictions = self.model.predict_window(self._ordered_samples, self._ordered_samples.at[index])
            else:
                predictions = self.model.find(sample, sample.rgb(), mode)
            evaluated = tuple(self.evaluator.evaluate(sample, predictions))
            is_requested = self.request.submission is not None
            text = prediction_files.encode_submission(self.protocol, sample, predictions) if is_requested else ""
            name, subject = sample.id, sample.subject
            line = JournalLine(index, sample.dataset, name, subject, hash_of(sample), evaluated, submission=text)
            return replace(line, sequence=sample.sequence, doubt=_contradiction(sample))
        except SonjitError as error:
            if not self.request.skip_bad:
                raise
            return JournalLine(index, "", f"#{index}", None, "", (), problem=str(error))


def _contradiction(sample: Sample) -> str | None:
    """Return what contradicts itself in the labels of a sample, or None."""
    try:
        check_labels(sample)
    except InputError as error:
        return str(error)
    return None


def _evaluate_all(worker: _Worker, calls: Sequence[_Call], progress: pools.Progress) -> None:
    request = worker.request
    if request.workers == "pool" and (request.jobs == 1 or len(calls) < 2):
        with closing(worker.model):
            for journal, mode, indices in calls:
                for line in worker.evaluate(mode, indices):
                    files.append_line(journal, line)
                    progress.advance()
        return
    worker.model.close()  # each worker opens its own
    tasks: list[tuple[EvaluationRequest, Mode, tuple[int, ...]]] = [
        (request, mode, indices) for _, mode, indices in calls
    ]
    coming = pools.run_calls(_evaluate_in_worker, tasks, jobs=request.jobs, workers=request.workers)
    with closing(coming) as results:
        for number, lines in results:
            for line in lines:
                files.append_line(calls[number][0], line)
                progress.advance()


def _evaluate_in_worker(request: EvaluationRequest, mode: Mode, indices: tuple[int, ...]) -> list[str]:
    global _process_worker
    if _process_worker is None or _process_worker.request != request:  # Ray's processes outlast a run
        _process_worker = _Worker(request)
    return list(_process_worker.evaluate(mode, indices))


def evaluator_of(protocol: Protocol, choice: ModelChoice) -> Evaluator:
    """Return the evaluator of a protocol."""
    return EVALUATORS.find(protocol.task)(protocol, choice)


def register_evaluator(task: str, make: Callable[[Protocol, ModelChoice], Evaluator]) -> None:
    """Register an evaluator for a new task of protocols.

    Raises:
        InputError: The name is already registered.
    """
    EVALUATORS.add(task, make)


register_evaluator("landmarks_2d", lambda protocol, choice: LandmarkEvaluator(protocol, choice.kind))
register_evaluator("face_landmarks", lambda protocol, _: FaceEvaluator(protocol))
register_evaluator("keypoints", lambda protocol, _: coco.KeypointEvaluator(protocol))
register_evaluator("palms", lambda protocol, _: coco.PalmEvaluator(protocol))
register_evaluator("joints_3d", lambda protocol, choice: JointEvaluator(protocol, choice.mano, choice.mano_left))
EVALUATORS.add("two_hands", "sonjit_lab.papers.interhand.evaluator:open_evaluator")
register_evaluator("localization", lambda protocol, _: coco.LocalizationEvaluator(protocol))
register_evaluator("instances", lambda protocol, _: coco.InstanceEvaluator(protocol))
register_evaluator("scenes", lambda protocol, _: detection.SceneEvaluator(protocol))
register_evaluator("detection", lambda protocol, choice: detection.DetectionEvaluator(protocol, choice.kind))


def run_record(evaluator: Evaluator, mode: Mode, lines: Sequence[JournalLine]) -> RunRecord:
    """Return the metrics of one mode, with one row per evaluated item."""
    pairs = [(line, item) for line in lines for item in line.evaluated]
    clusters, drawn = clusters_of([(line.dataset, line.subject, line.sequence, line.id) for line, _ in pairs])
    summary: MetricSummary = evaluator.summary([item for _, item in pairs], clusters)
    return {
        "mode": mode,
        "main": evaluator.main,
        "samples": len(lines),
        "evaluated": len(pairs),
        "left_out": [f"{line.id}: {line.problem}" for line in lines if line.problem],
        "doubtful": [line.doubt for line in lines if line.doubt],
        "intervals_draw": drawn,
        "units": {
            "place": [line.place for line, _ in pairs],
            "dataset": [line.dataset for line, _ in pairs],
            "sample": [line.id for line, _ in pairs],
            "instance": [item.instance for _, item in pairs],
            "subject": [line.subject for line, _ in pairs],
            "side": [item.side for _, item in pairs],
            "group": [dict(item.group) for _, item in pairs],
            "value": [value if math.isfinite(value) else math.nan for value in summary.values],
            "found": [
                not math.isinf(value) and item.numbers.get("found") != 0
                for (_, item), value in zip(pairs, summary.values, strict=True)
            ],
        },
        "metrics": [metric.to_dict() for metric in summary.metrics],
        "parts": summary.parts_to_dict(),
        "curves": [CurveRecord(title=item.title, x=item.x, y=[*item.y], unit=item.unit) for item in summary.curves],
    }


def clusters_of(keys: Sequence[tuple[str, str | None, str | None, str]]) -> tuple[list[int], str]:
    """Return the units of resampling and their name, of data set, subject, recording and id of each image: subjects if
    enough are known, else recordings, else images; many are grouped.
    """
    columns = {"subjects": 1, "recordings": 2}
    units = {name: {key[column] for key in keys} for name, column in columns.items()}
    name = next(
        (name for name, members in units.items() if None not in members and len(members) >= _MIN_SUBJECTS), "images"
    )
    labels = [(key[0], key[columns.get(name, 3)]) for key in keys]
    numbers = {label: number % _MAX_CLUSTERS for number, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels], name
