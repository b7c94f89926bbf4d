"""`sonjit datasets`: which data sets are known, whether one is whole, a sheet of its samples, and other forms of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter

from sonjit.cli.report import progress
from sonjit.errors import InputError
from sonjit.key_values import json_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.datasets import Dataset, DatasetEntry, Skipped

app = App(
    name="datasets",
    help="""Read data sets of hands, faces and bodies: list, check, show and convert them.

    Nothing is downloaded: get a set from its owners, unpack it, and name that folder with --root.

    Example: `sonjit datasets check freihand --root ~/data/freihand && sonjit datasets show freihand --root ...`
    """,
)

_CHOICE = Group("Choice", sort_key=1)
Root = Annotated[Path, Parameter(group=_CHOICE)]
Split = Annotated[str | None, Parameter(group=_CHOICE)]
Options = Annotated[list[str] | None, Parameter(name="--option", negative="", group=_CHOICE)]
SkipBad = Annotated[bool, Parameter(negative="", group=_CHOICE)]


@app.command(name="list")
def list_command(
    *, root: Path | None = None, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> None:
    """List the known data sets: parts, what is in them, licence, where to get them and what they need.

    Args:
        root: Folder to look in, itself and its folders by the sets' names; shows which sets are there.
        as_json: Print a JSON array instead.
    """
    from sonjit.datasets import dataset_entry, list_datasets

    entries = [dataset_entry(name) for name in list_datasets()]
    if as_json:
        sys.stdout.write(json.dumps([_to_dict(entry, root) for entry in entries], indent=2) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 320)  # a pipe has no width: leave no name cut off
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "parts", "holds", "licence", "needs", "from", *(["there"] if root else [])):
        table.add_column(heading, no_wrap=heading == "name")
    for entry in entries:
        cells = [entry.name, ", ".join(entry.splits), ", ".join(entry.kinds), entry.licence, ", ".join(entry.needs)]
        table.add_row(*cells, entry.where, *([_there(entry, root)] if root else []))
    console.print(table)


@app.command
def check(
    name: str,
    /,
    *,
    root: Root,
    split: Split = None,
    option: Options = None,
    skip_bad: SkipBad = False,
    limit: int | None = None,
    images: bool = True,
) -> int:
    """Check every sample: its files, sizes and numbers of keypoints, and whether its 3D falls onto its 2D.

    Args:
        name: Of the set, see `sonjit datasets list`.
        root: Folder that it was unpacked into.
        split: Which part; by default the first that the list shows.
        option: Further options of the set, as name=value; may be repeated.
        skip_bad: Go on after a bad sample, and list them all at the end.
        limit: Check so many samples.
        images: Decode every image too.
    """
    dataset = _open(name, root, split, option, limit, trust=False)
    good, bad = _looked_at(dataset, skip_bad=skip_bad, images=images)
    for one in bad:
        sys.stderr.write(f"sonjit: {one.reason}\n")
    left_out = f", {len(dataset.skipped)} without labels" if dataset.skipped else ""
    sys.stderr.write(f"{name} {dataset.split}: {len(good)} samples are good, {len(bad)} bad{left_out}\n")
    return 1 if bad else 0


@app.command
def show(
    name: str,
    /,
    *,
    root: Root,
    out: Path = Path("sheet.png"),
    split: Split = None,
    option: Options = None,
    samples: int = 12,
    order: Literal["spread", "first", "random"] = "spread",
    zoom: bool = False,
) -> None:
    """Draw a contact sheet: samples with boxes, masks, keypoints, and projected 3D keypoints as small white rings.

    Args:
        name: Of the set, see `sonjit datasets list`.
        root: Folder that it was unpacked into.
        out: Image to write.
        split: Which part; by default the first that the list shows.
        option: Further options of the set, as name=value; may be repeated.
        samples: How many.
        order: Spread over the set, its first ones, or at random (the same ones every time).
        zoom: Cut each image around what is labelled in it.
    """
    import cv2

    from sonjit.datasets.checks import chosen_places, draw_contact_sheet
    from sonjit.files import Draft

    if samples < 1:
        raise InputError(f"--samples {samples}: show at least 1")
    dataset = _open(name, root, split, option, None, trust=False)
    places = chosen_places(len(dataset), samples, order)
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"{out}: a contact sheet is a .png, .jpg or .webp image")
    with Draft(out) as draft:
        sheet = draw_contact_sheet(dataset.subset(places), zoom=zoom)
        cv2.imwrite(str(draft.path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    sys.stderr.write(f"{len(places)} of {len(dataset)} samples of {name} {dataset.split}; wrote {out}\n")


@app.command
def convert(
    name: str,
    /,
    *,
    root: Root,
    out: Path,
    split: Split = None,
    option: Options = None,
    skip_bad: SkipBad = False,
    limit: int | None = None,
    per_shard: int = 1000,
) -> int:
    """Write a data set as COCO keypoints (.json), as a table (.parquet) or as WebDataset shards (a folder).

    The first two point to the images where they lie, shards hold them. Shards of a run that was stopped are kept, and
    the next run goes on. Read it back with the data set `folder` or `shards`.

    Args:
        name: Of the set, see `sonjit datasets list`.
        root: Folder that it was unpacked into.
        out: File or folder to write.
        split: Which part; by default the first that the list shows.
        option: Further options of the set, as name=value; may be repeated.
        skip_bad: Leave bad samples out and list them at the end, instead of stopping at the first.
        limit: Write so many samples.
        per_shard: Samples in each shard.
    """
    from sonjit.datasets.formats.convert import convert_dataset

    dataset = _open(name, root, split, option, limit, trust=not skip_bad)
    bad: list[Skipped] = []
    if skip_bad:
        good, bad = _looked_at(dataset, skip_bad=True, images=True)
        dataset = dataset.subset(good)
    with progress(len(dataset), "samples") as advance:
        convert_dataset(dataset, out, per_shard=per_shard, advance=advance)
    for one in bad:
        sys.stderr.write(f"sonjit: left out: {one.reason}\n")
    sys.stderr.write(f"{len(dataset)} samples of {name} {dataset.split}; wrote {out}\n")
    return 1 if bad else 0


def _open(
    name: str, root: Path, split: str | None, options: list[str] | None, limit: int | None, *, trust: bool = True
) -> Dataset:
    """A data set; its first sample is checked unless all are going to be, or bad ones are wanted too."""
    from sonjit.datasets import open_dataset

    given = json_values(options or [], option="--option")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: take at least 1")
    dataset = open_dataset(name, root, split, check="first" if trust else "none", **given)
    return dataset if limit is None else dataset[:limit]


def _looked_at(dataset: Dataset, *, skip_bad: bool, images: bool) -> tuple[list[int], list[Skipped]]:
    """Places of the good samples, and the bad ones; the first bad one is an error where they are not to be skipped."""
    from sonjit.datasets import Skipped
    from sonjit.datasets.checks import check_sample

    good: list[int] = []
    bad: list[Skipped] = []
    with progress(len(dataset), "samples") as advance:
        for place in range(len(dataset)):
            try:
                sample = dataset[place]
                check_sample(sample)
                if images:
                    sample.rgb()
                good.append(place)
            except InputError as error:
                if not skip_bad:
                    raise
                bad.append(Skipped(f"#{place}", str(error)))
            advance()
    return good, bad


def _there(entry: DatasetEntry, root: Path | None) -> str:
    """Whether what a set needs is below the root, or below the folder of its name."""
    from sonjit.datasets import open_dataset

    for folder in (root, root / entry.name) if root else ():
        for split in entry.splits:
            try:
                count = len(open_dataset(entry.name, folder, split, check="none"))
            except InputError:
                continue
            return f"{count} samples ({split}) in {folder}"
    return "no"


def _to_dict(entry: DatasetEntry, root: Path | None) -> Mapping[str, object]:
    fields = ("name", "title", "splits", "kinds", "licence", "where", "needs", "options")
    return {name: getattr(entry, name) for name in fields} | ({"there": _there(entry, root)} if root else {})
