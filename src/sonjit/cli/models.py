"""`sonjit models`: list, download, add, verify and find the weight files."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sonjit import weights
from sonjit._util import InputError, json_from
from sonjit.cli.progress import print_table
from sonjit.weights.catalog import has_weight

_ABOVE_0 = Parameter(validator=validators.Number(gt=0))
app = App(
    name="models",
    help="""List, download and verify the published weight files.

    Only `pull` uses the network. For a machine without network, pull on another machine and copy the folder that
    `sonjit models path` prints. SONJIT_HOME changes the folder. SONJIT_OFFLINE=1 forbids every download.

    Example: `sonjit models pull && sonjit models verify`
    """,
)


@app.command(name="list")
def list_models(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the weight files and every added bundle.

    The list has the size, licence and source of each file, and whether the cache contains it. Only `--json` lists
    MediaPipe's npm releases of the same networks.

    Example: `sonjit models list --json`

    Args:
        as_json: Print a JSON array for programs, with hashes, tensors and paths.
    """
    files, bundles = list(weights.load_catalog().values()), weights.list_bundles()
    if as_json:
        records = [*map(_to_dict, files)]
        records += [_bundle_to_dict(path, bundle) for path, bundle in bundles.items()]
        sys.stdout.write(json_from(records, 2) + "\n")
        return
    rows: list[tuple[str, ...]] = []
    for weight in (file for file in files if file.group != "npm"):
        size, cached = f"{weight.bytes / 1e6:.1f} MB", "yes" if has_weight(weight.name) else "no"
        source = str(weight.sources[0].package)
        rows.append((weight.name, weight.file, size, weight.licence, source, weight.group, cached))
    for path, bundle in bundles.items():
        content = str(bundle) if isinstance(bundle, InputError) else ", ".join(bundle.members)
        rows.append((path.stem, path.name, f"{path.stat().st_size / 1e6:.1f} MB", "", content, "bundles", "yes"))
    headings = ("name", "file", "size", "licence", "source", "group", "cached")
    print_table(headings, rows, right=("size",), wrapped=("source",))
    sys.stderr.write("Networks whose weights cannot be downloaded: sonjit networks\n")


@app.command
def add(*files: Path) -> None:
    """Add MediaPipe's task bundles (.task) to the cache.

    `face_landmarker.task` contains the network for 52 blendshapes, which no package contains.

    Example: `sonjit models add face_landmarker.task && sonjit face photo.jpg --blendshapes --save face.json`

    Args:
        files: Paths of the bundles.
    """
    if not files:
        raise InputError("sonjit models add: name a .task file")
    for file in files:
        path, bundle = weights.add_bundle(file)
        sys.stdout.write(f"{path}: {bundle.task} with {', '.join(bundle.members)}\n")


@app.command
def pull(*names: str) -> None:
    """Download files into the cache with pip and npm, and verify them.

    Intact files in the cache are not downloaded again.

    Example: `sonjit models pull hands body-lite`

    Args:
        names: Names or groups from `sonjit models list`, or all. Default: hands.
    """
    names = names or ("hands",)
    with _show_progress() as progress:
        paths = weights.pull_weights(names, progress=progress)
    for name in names:
        if others := [record.name for record in weights.select_weights([name]) if name in record.also]:
            sys.stderr.write(f"the search for {name} also uses {', '.join(others)}\n")
    sys.stdout.write("".join(f"{path}\n" for path in paths))


@app.command
def verify(*names: str) -> int:
    """Compare cached files with their published sha256.

    The exit status is 1 if a file must be pulled again.

    Example: `sonjit models verify hands`

    Args:
        names: Names or groups to verify. Default: all files in the cache.
    """
    problems = weights.verify_weights(names)
    if problems:
        lines = (f"{problem.path} is {problem.kind}: {problem.reason}" for problem in problems)
        again = " ".join(problem.name for problem in problems)
        sys.stderr.write("\n".join((*lines, f"run: sonjit models pull {again}")) + "\n")
        return 1
    checked = len(weights.select_weights(names)) if names else sum(map(has_weight, weights.load_catalog()))
    sys.stdout.write(f"{checked} files checked, all intact\n")
    return 0


@app.command
def path(name: str | None = None, /) -> None:
    """Print the folder of the weight files, or the path of one file.

    Example: `cp "$(sonjit models path hand-full)" assets/`

    Args:
        name: Name from `sonjit models list`. The cache must contain the file.
    """
    sys.stdout.write(f"{weights.models_folder() if name is None else weights.find_weight(name)}\n")


@app.command
def quantize(*names: str, images: Path | None = None, shift: Annotated[float, _ABOVE_0] = 0.3) -> None:
    """Convert networks to int8 for `--precision int8`.

    As many layers become int8 as possible without moving the keypoints by more than --shift on the images. The other
    half of the images measures the result, which is printed and written to NAME.int8.json. Detectors of faces and
    bodies stay in f32. The palm detector is converted by its own name.

    Example: `sonjit models quantize hand-full --images photographs/`

    Args:
        names: palm-full, palm-lite, hand-full, hand-lite, body-full, body-lite, body-heavy, face-mesh. Default:
            hand-full.
        images: Folder or video that shows hands, bodies or faces. Default: the bundled clip, which shows hands.
        shift: Maximum mean shift of the keypoints, in pixels of the network's input (192 to 256 wide).
    """
    from sonjit.detectors.quantization import quantize_networks

    headings = ("network", "f32 layers", "shift px", "95 %", "presence", "f32 ms", "int8 ms", "speed-up", "size")
    rows: list[tuple[str, ...]] = []
    try:
        with _show_progress() as progress:
            steps = quantize_networks(names or ("hand-full",), images, shift_px=shift, progress=progress)
            for name, result in steps:
                rows.append(
                    (
                        name,
                        f"{result.f32} of {result.layers}",
                        f"{result.shift_px:.2f}",
                        f"{result.shift_p95_px:.2f}",
                        f"{result.presence:.3f}",
                        f"{result.f32_ms:.2f}",
                        f"{result.int8_ms:.2f}",
                        f"{result.f32_ms / result.int8_ms:.2f} x",
                        f"{result.bytes / 1e6:.1f} MB",
                    )
                )
    finally:  # prints the networks that were written before a failure
        if rows:
            print_table(headings, rows, width=160, right=headings[1:])


@contextmanager
def _show_progress() -> Generator[Callable[[str], None]]:
    """Provide a function that shows a step: next to a bar on a terminal, otherwise as a line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: console.print(line, highlight=False, soft_wrap=True)
        return
    columns = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading the cache", total=None)
        yield lambda line: bar.update(task, description=line)


def _to_dict(weight: weights.Weight) -> Mapping[str, object]:
    names = ("name", "file", "bytes", "sha256", "licence", "group", "also", "inputs", "outputs")
    return {name: getattr(weight, name) for name in names} | {
        "sources": [
            {"registry": package.registry, "package": package.name, "version": package.version, "member": source.member}
            for source in weight.sources
            if (package := source.package)
        ],
        "path": str(weights.models_folder() / weight.file),
        "cached": has_weight(weight.name),
    }


def _bundle_to_dict(path: Path, bundle: weights.TaskBundle | InputError) -> dict[str, object]:
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
