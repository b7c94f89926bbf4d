"""One evaluation: samples through a model, judged by a protocol, to one record of everything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sonjit._version import __version__
from sonjit.benchmark.cases import describe_machine
from sonjit.errors import InputError, SonjitError
from sonjit.evaluation.evaluators import judge_of
from sonjit.evaluation.models import describe_model, open_model
from sonjit.evaluation.protocols import ProtocolData, load_protocol
from sonjit.evaluation.records import Journal, Line, hash_of, hash_of_lines, library_versions, run_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sonjit.datasets import Sample
    from sonjit.evaluation.evaluators import Judge
    from sonjit.evaluation.models import Model, ModelChoice
    from sonjit.evaluation.predictions import Mode


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        protocol: its name.
        model: which, with which files.
        root: folder of the data.
        data: other sets than the protocol's, "NAME" or "NAME:SPLIT".
        split: instead of the protocol's.
        modes: of the model's; all of them by default.
        limit: only so many samples of each set.
        skip_bad: leave bad samples out and list them.
        resume: go on from what an earlier run has judged.
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
class Outcome:
    """What came of it.

    Attributes:
        record: what stands in eval.json; NaN where there is no number.
        data: the samples, to draw the worst of them.
        lines: what was judged, by mode.
        stopped: Ctrl-C came before the end.
    """

    record: dict[str, Any]
    data: ProtocolData
    lines: dict[Mode, list[Line]]
    stopped: bool


def evaluate(
    request: Request,
    out: Path,
    *,
    expect: Callable[[int], None] = lambda count: None,
    advance: Callable[[], None] = lambda: None,
) -> Outcome:
    """Judge a model by a protocol.

    Args:
        request: what.
        out: folder for the journals; it is there.
        expect: told how many looks there will be.
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
    judge = judge_of(protocol, request.model)
    lines: dict[Mode, list[Line]] = {}
    stopped = False
    try:
        for mode in modes:
            path = out / f"judged-{mode.replace(' ', '-')}.jsonl"
            with Journal(path, about | {"mode": mode}, resume=request.resume) as journal:
                lines[mode] = journal.lines
                _judge_all(journal, data, model, judge, mode, skip_bad=request.skip_bad, advance=advance)
        model.close()
    except KeyboardInterrupt:
        stopped = True
    record = about | {
        "sonjit": __version__,
        "command": request.command,
        "complete": not stopped,
        "data_sha256": hash_of_lines(next(iter(lines.values()), [])),
        "machine": describe_machine(),
        "versions": library_versions(),
        "skipped": data.skipped,
        "runs": [run_record(judge, mode, judged) for mode, judged in lines.items()],
    }
    return Outcome(record, data, lines, stopped)


def _modes(model: Model, wanted: Sequence[Mode] | None) -> tuple[Mode, ...]:
    modes: tuple[Mode, ...] = tuple(mode for mode in model.modes if wanted is None or mode in wanted)
    if not modes:
        raise InputError(f"--mode {', '.join(wanted or ())}: this model is asked by {', '.join(model.modes)}")
    return modes


def _judge_all(
    journal: Journal,
    data: ProtocolData,
    model: Model,
    judge: Judge,
    mode: Mode,
    *,
    skip_bad: bool,
    advance: Callable[[], None],
) -> None:
    """Judge what the journal does not hold yet."""
    model.begin(mode)
    order = data.by_recording() if mode == "tracking" else list(range(len(data)))
    done = len(journal.lines)
    while (
        mode == "tracking"
        and 0 < done < len(order)
        and _recording(data[order[done]]) == _recording(data[order[done - 1]]) is not None
    ):
        done -= 1  # a recording is tracked from its start, so that a run that was stopped comes to the same figures
    journal.keep(done)
    for _ in range(done):
        advance()
    for place in order[done:]:
        try:
            sample = data[place]
            guesses = model.find(sample, sample.rgb(), mode)
            judged = tuple(judge.judge(sample, guesses))
            line = Line(place, sample.dataset, sample.id, sample.subject, hash_of(sample), judged)
        except SonjitError as error:
            if not skip_bad:
                raise
            line = Line(place, "", f"#{place}", None, "", (), str(error))
        journal.add(line)
        advance()


def _recording(sample: Sample) -> tuple[str, str, str | None] | None:
    return None if sample.sequence is None else (sample.dataset, sample.sequence, sample.view)
