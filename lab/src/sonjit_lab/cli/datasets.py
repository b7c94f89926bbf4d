"""`sonjit datasets`: list data sets, check that one is complete, draw a sheet of its samples, and convert it."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import App, Group, Parameter

from sonjit._util import InputError, data_files, files, json_from
from sonjit.cli.options import TO_EITHER, TO_FILE, TO_FOLDER
from sonjit.cli.progress import print_table, progress_bar
from sonjit.media.sources.images import encode_image
from sonjit_lab import datasets, redundant_facts
from sonjit_lab.datasets.checks import check_sample, decoder_warning
from sonjit_lab.datasets.convert import convert_dataset
from sonjit_lab.datasets.folder import ClassFolders
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.datasets.sheets import draw_contact_sheet, spread_indices

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
    """List the known data sets with parts, content, licence and source.

    Args:
        root: Folder to search for data sets, by name and content.
        as_json: Print a JSON array instead.
    """
    entries = [datasets.dataset_entry(name) for name in datasets.list_datasets()]
    if as_json:
        names = ("name", "title", "splits", "kinds", "licence", "where", "needs", "options")
        rows = [{name: getattr(entry, name) for name in names} for entry in entries]
        there = [{"there": _exists(entry, root)} if root else {} for entry in entries]
        sys.stdout.write(json_from([row | presence for row, presence in zip(rows, there, strict=True)], 2) + "\n")
        return
    headings = ("name", "contains", "exists") if root else ("name", "splits", "contains", "licence", "needs", "source")
    lines: list[tuple[str, ...]] = []
    for entry in entries:
        facts = ", ".join(entry.splits), ", ".join(entry.kinds), entry.licence, ", ".join(entry.needs), entry.where
        lines.append((entry.name, *((facts[1], _exists(entry, root)) if root else facts)))
    print_table(headings, lines, width=320, wrapped=headings[1:])


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
    """Check the files, sizes, keypoints and 3D projection of every sample.

    Args:
        name: Name of the data set, see `sonjit datasets list`.
        root: Folder of the unpacked data set.
        split: Name of the split. Default: the first in the list.
        option: Option of the data set as name=value. Can be repeated.
        skip_bad: Continue after a bad sample, and list all bad samples at the end.
        limit: Maximum number of samples to check.
        images: Also decode every image.
    """
    dataset = _open(name, root, split, option, limit, trust=False)
    good, bad = _select_samples(dataset, skip_bad=skip_bad, images=images)
    for item in bad:
        sys.stderr.write(f"sonjit: {item.reason}\n")
    if lines := list(_notes(dataset, good)):
        more = f" (and {len(lines) - 1} more samples)" if len(lines) > 1 else ""
        sys.stderr.write(f"sonjit: {lines[0]}{more}\n")
    if isinstance(dataset, ClassFolders):
        names = ", ".join(list(dataset.categories().values())[:5])
        sys.stderr.write(f"sonjit: no labels were read, each folder of images is a class: {names}\n")
    left_out = f", {len(dataset.skipped)} without labels" if dataset.skipped else ""
    empty = sum(not dataset[index].instances for index in good)
    left_out += f", {empty} without objects" if empty else ""
    sys.stderr.write(f"{name} {dataset.split}: {len(good)} samples are good, {len(bad)} bad{left_out}\n")
    return 1 if bad else 0


def _notes(dataset: datasets.Dataset, good: Sequence[int]) -> Iterator[str]:
    """Yield keypoints of unknown order, and contradictions of intrinsics and image sizes."""
    for index in good:
        sample = dataset[index]
        for instance in sample.instances:
            try:
                ordered_hand(instance, name_of(sample))
            except InputError as error:
                yield str(error)
        if sample.camera is not None:
            intrinsics = (
                sample.view or sample.dataset,
                np.asarray(sample.camera.K, np.float64),
                sample.width,
                sample.height,
            )
            yield from redundant_facts.intrinsics_notes([intrinsics])


@app.command
def show(
    name: str,
    /,
    *,
    root: Root,
    out: Annotated[Path, TO_FILE] = Path("sheet.png"),
    split: Split = None,
    option: Options = None,
    samples: int = 12,
    order: Literal["spread", "first", "random"] = "spread",
    zoom: bool = False,
) -> None:
    """Draw a contact sheet of samples with boxes, masks and keypoints.

    Args:
        name: Name of the data set, see `sonjit datasets list`.
        root: Folder of the unpacked data set.
        out: Image to write.
        split: Name of the split. Default: the first in the list.
        option: Option of the data set as name=value. Can be repeated.
        samples: Number of samples.
        order: Selection of samples: evenly spread, the first ones, or random with a fixed seed.
        zoom: Crop each image to its labels.
    """
    if samples < 1:
        raise InputError(f"--samples {samples}: show at least 1")
    dataset = _open(name, root, split, option, None, trust=False)
    indices = spread_indices(len(dataset), samples, order)
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"{out}: a contact sheet is a .png, .jpg or .webp image")
    with files.atomic_file(out) as draft:
        sheet = draw_contact_sheet(dataset.subset(indices), zoom=zoom)
        draft.write_bytes(encode_image(sheet, out.suffix.lower(), ()))
    sys.stderr.write(f"{len(indices)} of {len(dataset)} samples of {name} {dataset.split}; wrote {out}\n")


@app.command
def convert(
    name: str,
    /,
    *,
    root: Root,
    out: Annotated[Path, TO_EITHER],
    split: Split = None,
    option: Options = None,
    skip_bad: SkipBad = False,
    limit: int | None = None,
) -> int:
    """Write a data set as COCO keypoints (.json) or as a table (.parquet).

    The file refers to the images. Read it with the data set `folder`.

    Args:
        name: Name of the data set, see `sonjit datasets list`.
        root: Folder of the unpacked data set.
        out: File to write.
        split: Name of the split. Default: the first in the list.
        option: Option of the data set as name=value. Can be repeated.
        skip_bad: Omit bad samples and list them at the end.
        limit: Maximum number of samples to write.
    """
    dataset = _open(name, root, split, option, limit, trust=not skip_bad)
    bad: list[datasets.Skipped] = []
    if skip_bad:
        good, bad = _select_samples(dataset, skip_bad=True, images=True)
        dataset = dataset.subset(good)
    with progress_bar(len(dataset), "samples") as bar:
        convert_dataset(dataset, out, progress=bar)
    for item in bad:
        sys.stderr.write(f"sonjit: left out: {item.reason}\n")
    sys.stderr.write(f"{len(dataset)} samples of {name} {dataset.split}; wrote {out}\n")
    return 1 if bad else 0


@app.command(name="split")
def split_command(
    name: str,
    /,
    *,
    root: Root,
    out: Annotated[Path, TO_FOLDER],
    parts: str = "train=0.8,val=0.1,test=0.1",
    seed: int = 0,
    split: Split = None,
    option: Options = None,
    limit: int | None = None,
) -> None:
    """Split a data set by subject, or by recording or image if no subject is known.

    Writes one COCO keypoints file per part, which `sonjit train --data` reads, and split.json with the samples,
    subjects and hash of each part.

    Args:
        name: Name of the data set, see `sonjit datasets list`.
        root: Folder of the unpacked data set.
        out: Folder to write.
        parts: Share of the samples in each part.
        seed: Seed of the assignment; the same seed gives the same parts on every machine.
        split: Name of the split. Default: the first in the list.
        option: Option of the data set as name=value. Can be repeated.
        limit: Maximum number of samples to use.
    """
    try:
        shares = {part: float(share) for part, share in data_files.key_values(parts.split(","), option="--parts")}
    except ValueError:
        raise InputError(f"--parts {parts}: give name=share, such as train=0.8,test=0.2") from None
    dataset = _open(name, root, split, option, limit)
    splits = datasets.split_dataset(dataset, shares, seed=seed)
    record: dict[str, object] = {"dataset": name, "split": dataset.split, "seed": seed}
    for part in splits.values():
        chosen = dataset.subset(part.indices.tolist())
        convert_dataset(chosen, out / f"{part.name}.json")
        ids = [sample.id for sample in chosen]
        record[part.name] = {"sha256": part.sha256, "groups": part.groups, "samples": ids}
        sys.stderr.write(f"{part.name}: {len(ids)} samples of {len(part.groups)} groups\n")
    files.write_text(out / "split.json", json_from(record, 1) + "\n")


def _open(
    name: str, root: Path, split: str | None, options: list[str] | None, limit: int | None, *, trust: bool = True
) -> datasets.Dataset:
    """Open a data set and check its first sample, unless the command checks all or accepts bad ones."""
    fixed = data_files.json_values(options or [], option="--option")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: take at least 1")
    dataset = datasets.open_dataset(name, root, split, check="first" if trust else "none", **fixed)
    return dataset if limit is None else dataset[:limit]


def _select_samples(
    dataset: datasets.Dataset, *, skip_bad: bool, images: bool
) -> tuple[list[int], list[datasets.Skipped]]:
    """Return the indices of the valid samples, and the others; without `skip_bad` the first of them is an error."""
    good: list[int] = []
    bad: list[datasets.Skipped] = []
    with progress_bar(len(dataset), "samples") as bar:
        for index in range(len(dataset)):
            try:
                sample = dataset[index]
                check_sample(sample)
                if images:
                    sample.rgb()
                    if isinstance(sample.image, Path) and (warning := decoder_warning(sample.image)):
                        sys.stderr.write(f"sonjit: {sample.image}: {warning}\n")
                good.append(index)
            except InputError as error:
                if not skip_bad:
                    raise
                bad.append(datasets.Skipped(f"#{index}", str(error)))
            bar.advance()
    return good, bad


def _exists(entry: datasets.DatasetEntry, root: Path | None) -> str:
    """Return the number of samples, the split and the folder of a set below the root, or "no"."""
    for folder in _candidates(entry, root) if root else ():
        for split in entry.splits:
            try:
                count = len(datasets.open_dataset(entry.name, folder, split, check="none"))
            except InputError:
                continue
            if count:
                return f"{count} samples ({split}) in {folder}"
    return "no"


def _candidates(entry: datasets.DatasetEntry, root: Path) -> Iterator[Path]:
    """Yield folders that may contain a set: by its name, then by the files that it needs, then the root itself."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    named = [folder for folder in folders if _plain(folder.name).startswith(_plain(entry.name))]
    yield from named
    in_words = not entry.needs or any(" " in need for need in entry.needs)
    needs = [] if in_words else [[need.replace("{split}", split) for need in entry.needs] for split in entry.splits]
    for folder in folders:
        if folder not in named and any(all((folder / need).exists() for need in of_split) for of_split in needs):
            yield folder
    yield root


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
