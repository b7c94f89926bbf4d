"""Measure speed, memory, start and size on this machine, with or without MediaPipe next to it.

python benchmarks/bench.py --kind all --peer PYTHON --save bench.json
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from speed import CASES, TASK_CASES, Case, benchmark, check_media, measure_layers, run

from sonjit._util import InputError, files, json_from, unknown_name
from sonjit.cli import main
from sonjit.cli.commands import COMMANDS, Command


def bench(
    *,
    kind: Literal["hands", "face", "body", "holistic", "all"] = "hands",
    peer: str | None = None,
    peer_api: Literal["solutions", "tasks"] = "solutions",
    media: str | None = None,
    face_media: str | None = None,
    body_media: str | None = None,
    model: str | None = None,
    search: Literal["fast", "auto"] = "fast",
    precision: Literal["auto", "f32", "bf16", "int8"] = "auto",
    threads: int | None = None,
    repeat: int = 3,
    save: str | None = None,
    layers: bool = False,
) -> None:
    """Measure time per frame, memory, cold start and installed size.

    Every configuration runs in new processes on frames that are decoded in advance. With a peer, both sides run in
    alternation on the same frames. Ratios below 1 mean that Sonjit takes less. Use an idle machine.

    Example: `python benchmarks/bench.py --kind all --face-media face.jpg --body-media squats.mp4 --save bench.json`

    Args:
        kind: Kind of detector. all skips kinds without media.
        peer: Python interpreter that has mediapipe. Default: measure only Sonjit.
        peer_api: Sonjit's own interface and mediapipe.solutions; or tasks of either, in VIDEO mode: hands, and faces
            with blendshapes and matrices, for which face_landmarker.task must be registered.
        media: A video or image for the kind, with all for hands; hands have a bundled clip. An image is made to
            drift.
        face_media: A video or image for face.
        body_media: A video or image for body and holistic.
        model: Model to measure. Default: all models of the kind.
        search: Search of Sonjit. fast searches as the peer does, auto is the default of detectors.
        precision: Number format of Sonjit's networks. auto uses bf16 if CPU and network allow it, otherwise f32.
        threads: Threads of Sonjit. 0 uses all cores. Default: SONJIT_THREADS.
        repeat: Number of processes per case and side. The median of each metric is reported.
        save: A JSON file for all metrics of all processes. A run that is stopped leaves the cases that it measured.
        layers: Print the time of the networks' layers instead: the shortest wall times of 20 runs, times --repeat.
    """
    console = Console(stderr=True)
    subject = {"all": "hands", "holistic": "body"}.get(kind, kind)
    given = {subject: media, **{name: path for name, path in (("face", face_media), ("body", body_media)) if path}}
    images = {name: path for name, path in given.items() if path}
    for other in images.keys() - {subject} if kind != "all" else ():
        raise InputError(f"--{other}-media has no effect with --kind {kind}")

    def print_line(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    cases = _choose(peer_api, kind, model, images, print_line)
    if layers:
        if repeat < 1:
            raise InputError(f"--repeat {repeat}: give at least 1")
        for name, given_value in (("--peer", peer), ("--save", save)):
            if given_value is not None:
                raise InputError(f"--layers cannot be combined with {name}")
        if peer_api != "solutions":
            raise InputError("--layers cannot be combined with --peer-api tasks")
        if search != "fast":
            raise InputError(f"--layers cannot be combined with --search {search}")
        networks = measure_layers(cases, media=images, precision=precision, threads=threads, repeat=repeat)
        Console(width=None if sys.stdout.isatty() else 180).print(run.draw_layers(networks))
        return
    with _open_report(Path(save)) if save else nullcontext() as draft:  # an unwritable path fails before the long part
        report = benchmark(
            cases=cases, peer=peer, media=images, search=search, precision=precision, threads=threads, repeat=repeat,
            progress=print_line, measured_case=partial(_write, draft) if draft else lambda _: None,
        )  # fmt: skip
        Console(width=None if sys.stdout.isatty() else 180).print(run.draw_report(report))


@contextmanager
def _open_report(path: Path) -> Generator[files.Draft]:
    """Open a draft that is kept with the cases that were measured, also if the run is stopped."""
    draft = files.Draft(path)
    try:
        yield draft
    finally:
        if draft.path.stat().st_size:
            draft.keep()
        else:
            draft.drop()


def _write(draft: files.Draft, report: run.BenchmarkReport) -> None:
    with files.failing_as_job(draft.final):
        draft.path.write_text(json_from(report, 1) + "\n", "utf-8")


def _choose(
    api: str, kind: str, model: str | None, media: dict[str, str], print_line: Callable[[str], None]
) -> list[Case]:
    """Return the requested cases. For all kinds, return those with media."""
    every = TASK_CASES if api == "tasks" else CASES
    cases = [case for case in every if kind in (case.kind, "all")]
    if not cases:
        raise InputError(
            f"--kind {kind} cannot be combined with --peer-api {api}. "
            f"Choose from {', '.join(dict.fromkeys(case.kind for case in every))}"
        )
    known = dict.fromkeys(case.model for case in cases)
    cases = [case for case in cases if model in (None, case.model)]
    if not cases:
        raise InputError(f"--kind {kind}: {unknown_name('model', model or '', known)}")
    left_out: dict[str, str] = {}
    for case in cases if kind == "all" else ():
        try:
            check_media(case, media)
        except InputError as error:
            left_out[case.kind] = str(error)
    if len(left_out) == len({case.kind for case in cases}):
        raise InputError("; ".join(left_out.values()))
    for reason in left_out.values():
        print_line(f"skipped {reason}")
    return [case for case in cases if case.kind not in left_out]


def register() -> None:
    """Add the command `bench`, so that it reports errors and signals as other commands do."""
    summary = "Measure time per frame, memory, cold start and installed size."
    COMMANDS.add("bench", Command(bench, summary), replace=True)


if __name__ == "__main__":
    register()
    sys.exit(main(["bench", *sys.argv[1:]]))
