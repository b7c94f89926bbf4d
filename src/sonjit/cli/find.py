"""`sonjit hands|face|body|holistic`: one command per kind of detector, made from its options; and `sonjit demo`."""

import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit._util import InputError
from sonjit._util.data_files import ASSETS
from sonjit._util.files import check_local, write_bytes
from sonjit._util.settings import Option, OptionValue, declared_options, read_settings
from sonjit.cli import options as common
from sonjit.cli.progress import progress_bar, run_and_report
from sonjit.detectors.kinds import KINDS, KindEntry, check_options, make_options, options_for, options_of
from sonjit.detectors.options import CommonOptions
from sonjit.media import DrawingStyle, load_frames, open_writer
from sonjit.media.annotated import ANNOTATED_VIDEO_ENDINGS
from sonjit.media.annotated.writers import ANNOTATED_IMAGE_ENDINGS
from sonjit.media.tables import FORMATS, endings_of, find_format, is_in_degrees, joined
from sonjit.media.tables.base import TableRows
from sonjit.media.tables.characters import BoneNames
from sonjit.media.tables.formats import GROUPS
from sonjit.results import Hand
from sonjit.runs import AngleLimits, Detect, EventLimits, Inputs, Outputs, count_columns, run_job

_GROUPS = {"Finding": common.FINDING, "Output": common.OUTPUT, "Running": common.RUNNING}
_TYPES: dict[str, type] = {"boolean": bool, "integer": int, "number": float, "string": str, "path": str}
_STYLE_OPTIONS = {name: option for name, option in declared_options(DrawingStyle).items() if option.command_line}
STYLE_NAMES = {name if name == "anonymise" else f"draw_{name}": name for name in _STYLE_OPTIONS}
"""Settings of drawings by the names of their options."""
_DRAWN = (*ANNOTATED_IMAGE_ENDINGS, *ANNOTATED_VIDEO_ENDINGS)
_INPUT = (
    "Images, folders, globs and videos; or camera:0, or a network camera such as rtsp://host/stream, or - for standard "
    "input."
)
_MASK = "People cut out of the image: .png for an image, .webm for a video; for many files a folder."
_EXAMPLES = {"photo.jpg": "photo.jpg", "clip.mp4": "demo.mp4", "squats.mp4": "squats.mp4"}  # bundled file by name
_REQUIRED_FLAGS = {"segmentation": "--mask"}  # what sets options that the command line lacks
_KEEP = "Id of the person whose head --anonymise blur does not hide. A drawing of the video shows the ids."
_ROI = "Region x,y,width,height in pixels that is searched. Results are in coordinates of the complete image."


def _save_help() -> str:
    """Return the help of `--save`, with the endings of all formats in their groups."""
    texts = [
        f"{text}: {endings_of(lambda known, group=group: known.group == group)}"
        for group, text in GROUPS.items()
        if group != "others"
    ]
    others = [f"{ending} {known.summary}" for ending, known in FORMATS.items() if known.group == "others"]
    return (
        f"{'; '.join(texts)}; or {joined(others)}. For many files one table, a folder, or a name with {{name}} such as "
        "'tables/{name}.csv'. Repeat the option for several formats, such as --save a.csv --save a.bvh."
    )


_IN_DEGREES = f"A table that ends in {endings_of(lambda known: known.in_degrees)} always has them."
_ROWS = (
    f"What a row of a {endings_of(lambda known: known.rows)} table describes: a keypoint, an instance, or an instance "
    "with a column per keypoint and axis (wide). Default: keypoint; instance for "
    f"{endings_of(lambda known: known.rows == 'instance')}."
)
_CHARACTERS = endings_of(lambda known: known.has_bones)
_BONES = f"Bone names of a {_CHARACTERS} character. Default: vrm."
_ONTO = (
    "A .vrm or .glb model of your own that moves as the person. A .glb character is then a copy of the model with the "
    "motion; other characters have its proportions."
)
_MEASURES = f"Add angles, distances and gestures to the table, and gestures to the drawing. {_IN_DEGREES}"
_DEGREES = f"Write angles in degrees, in columns that end in _deg instead of _rad. {_IN_DEGREES}"


@Parameter(name="*", group=common.OUTPUT)
@dataclass(frozen=True)
class Output:
    """What to write.

    Attributes:
        save: Tables to write, see `_save_help`.
        rows: What a row of a table describes.
        bones: Bone names of a character.
        onto: Model that moves as the person.
        draw: Image, video, or looping GIF or WebP to write with the results drawn in. For many files a folder.
        count: Count repetitions of an angle, e.g. left_knee_angle_rad for squats, or with limits in degrees
            left_elbow_angle_rad:70:140. left_knee is short for left_knee_angle_rad. The count is in labels of drawings
            and in the column repetitions. Repeat the option for further angles.
        events: Report when a measure crosses two limits, as NAME:BEGIN:END with limits of angles in degrees, e.g.
            left_elbow_angle_rad:60:120. Repeat the option for further measures. Events are in JSON and in .events.csv.
        measures: Add the measures to the table.
        degrees: Write angles in degrees.
        json: Print a line of JSON for each frame on standard output, for other programs.
    """

    save: Annotated[
        tuple[common.FileName, ...],
        common.TO_MANY,
        Parameter(help=_save_help(), negative="", allow_leading_hyphen=True),
    ] = ()  # - has a message
    rows: Annotated[TableRows | None, Parameter(help=_ROWS)] = None
    bones: Annotated[BoneNames | None, Parameter(help=_BONES)] = None
    onto: Annotated[common.FileName | None, Parameter(help=_ONTO)] = None
    draw: Annotated[common.FileName | None, common.TO_MANY] = None
    count: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    events: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    measures: Annotated[bool, Parameter(help=_MEASURES, negative="")] = False
    degrees: Annotated[bool, Parameter(help=_DEGREES, negative="")] = False
    json: Annotated[bool, Parameter(negative="")] = False


def detect_command(kind: str) -> Callable[..., int]:
    """Return the command of a kind, with the options of the kind."""
    entry = KINDS.find(kind)

    def command(
        *sources: common.FileName,
        output: Output | None = None,
        batch: common.BatchOptions | None = None,
        lifting: common.Lifting | None = None,
        mask: common.FileName | None = None,
        roi: str | None = None,
        keep: int | None = None,
        **chosen: OptionValue,
    ) -> int:
        output, lifting = output or Output(), lifting or common.Lifting()
        values = {name: value for name, value in chosen.items() if value is not None}
        drawn = {name: values.pop(option) for option, name in STYLE_NAMES.items() if option in values}
        style = read_settings(DrawingStyle, drawn)
        if mask is not None:
            values["segmentation"] = True
        if lifting.camera is not None and values.get("distance"):
            values["camera"] = lifting.camera
        options = make_options(entry, values)
        is_box = entry.models[options.model].is_box
        _check(output, options, lifting, style, given=values.keys(), has_mask=mask is not None, is_box=is_box)
        check_options(options, values)
        saves = tuple(map(str, output.save))
        has_angles = not is_box and any(map(is_in_degrees, saves))
        count = tuple(AngleLimits.from_text(text, kind) for text in output.count)
        count_columns(count)
        independent = ("camera",) if getattr(options, "distance", False) else ()
        task = Detect(
            options,
            lift=common.lift_from(lifting, mirrored=getattr(options, "mirrored", False), independent=independent),
            measures=output.measures or has_angles,
            count=count,
            events=tuple(EventLimits.from_text(text, kind) for text in output.events),
            rows=output.rows,
            bones=output.bones,
            onto=None if output.onto is None else str(output.onto),
            degrees=output.degrees,
            roi=None if roi is None else common.pixel_box(roi, "--roi", int),
            keep=_checked_keep(keep, options, style),
            style=replace(style, gestures=output.measures or "gestures" in values),
        )
        draw, mask = (None if path is None else str(path) for path in (output.draw, mask))
        outputs = Outputs(saves[0] if saves else None, draw, mask, json=output.json, also=saves[1:])
        status = run_and_report(task, Inputs.find(map(str, sources)), outputs, batch or common.BatchOptions())
        common.print_notes(task.lift)
        return status

    parameters = _parameters(entry)
    command.__name__ = kind
    command.__doc__ = "\n\n".join([entry.summary, *(f"`{call}` {effect}" for call, effect in entry.examples)])
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return command


def _parameters(entry: KindEntry) -> list[inspect.Parameter]:
    """Return the parameters of a kind's command. None means that an option is not given."""
    annotations: dict[str, object] = {"output": Output | None}
    annotations |= {name: _annotation(_STYLE_OPTIONS[setting]) for name, setting in STYLE_NAMES.items()}
    annotations |= {option.name: _annotation(option) for option in options_of(entry).values() if option.command_line}
    annotations["roi"] = Annotated[str | None, Parameter(group=common.FINDING, help=_ROI, allow_leading_hyphen=True)]
    annotations["batch"] = common.BatchOptions | None
    if entry.result is Hand:
        annotations["lifting"] = common.Lifting | None
    else:
        annotations["keep"] = Annotated[int | None, Parameter(group=common.OUTPUT, help=_KEEP)]
    if "segmentation" in options_of(entry):
        annotations["mask"] = Annotated[
            common.FileName | None, common.TO_MANY, Parameter(group=common.OUTPUT, help=_MASK)
        ]
    source_type = Annotated[common.Input, Parameter(help=_INPUT)]
    option = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default=None)
    options = [option(name, annotation=annotation) for name, annotation in annotations.items()]
    return [inspect.Parameter("sources", inspect.Parameter.VAR_POSITIONAL, annotation=source_type), *options]


def _checked_keep(keep: int | None, options: CommonOptions, style: DrawingStyle) -> int | None:
    """Return the id of the person whose head stays visible. Raise InputError where nobody is hidden or has an id."""
    if keep is None:
        return None
    if keep < 1:
        raise InputError(f"--keep {keep}: give the id of a person, from 1")
    if style.anonymise != "blur":
        raise InputError("--keep requires --anonymise blur")
    if options.static_image:
        raise InputError("--keep has no effect with --static-image")
    return keep


def _annotation(option: Option) -> object:
    value_type: object = Literal[option.choices] if option.choices else _TYPES[option.type]
    parameter = Parameter(
        group=_GROUPS[option.group],
        help=option.help,
        negative="" if option.default is False else None,
        show_default=lambda _: common.shown_default(option.default),
    )
    return Annotated[value_type | None, parameter]  # pyright: ignore[reportOperatorIssue]


def _check(
    output: Output,
    options: CommonOptions,
    lifting: common.Lifting,
    style: DrawingStyle,
    *,
    given: Collection[str],
    has_mask: bool,
    is_box: bool,
) -> None:
    """Check that every option has an effect. `given` has the names of the detector's options in the call."""
    used = {"count": bool(output.count), "events": bool(output.events)}
    of_streams = dict(used)
    for name, option in declared_options(type(options)).items():
        if option.of_streams:
            of_streams[name.replace("_", "-")] = name in given and getattr(options, name) not in ("auto", "none")
    requirements = _output_requirements(output, style, options, has_mask=has_mask)
    if options.static_image:  # stills have neither tracks nor times
        requirements += [
            (is_used, f"--{name} has no effect with --static-image") for name, is_used in of_streams.items()
        ]
    for name, option in declared_options(type(options)).items():
        is_idle = bool(option.requires) and name in given and not getattr(options, option.requires)
        flag = name.replace("_", "-")
        named = f"--{flag} and --no-{flag} require" if option.default is True else f"--{flag} requires"
        needed = _REQUIRED_FLAGS.get(option.requires, f"--{option.requires}")
        requirements.append((is_idle, f"{named} {needed}"))
    if is_box:  # boxes have no measures
        used["measures"] = output.measures
        effect = f"has no effect with --model {options.model}"
        requirements += [(is_used, f"--{name} {effect}") for name, is_used in used.items()]
    has_idle_camera = lifting.camera is not None and not getattr(options, "distance", False) and lifting.lift is None
    requirements += [
        (has_idle_camera, "--camera requires --distance or --lift internet"),
        (options.flip_horizontal and lifting.lift is not None, "--flip-horizontal cannot be combined with --lift"),
    ]
    for is_wrong, message in requirements:
        if is_wrong:
            raise InputError(message)


def _output_requirements(
    output: Output, style: DrawingStyle, options: CommonOptions, *, has_mask: bool
) -> list[tuple[object, str]]:
    """Return conditions under which options of outputs have no effect, each with its message."""
    saves = tuple(map(str, output.save))
    tables = {save: find_format(save) for save in saves if Path(save).suffix and not save.endswith("/")}
    has_folder = len(tables) < len(saves)
    drawn = [
        save for save, table_format in tables.items() if table_format is None and Path(save).suffix.lower() in _DRAWN
    ]
    is_refined = getattr(options, "distance", False) or getattr(options, "keypoints", None) == "refined"
    has_choice = any(table_format is None or table_format.rows for table_format in tables.values())
    has_bones = any(table_format is not None and table_format.has_bones for table_format in tables.values())
    bones = endings_of(lambda known: known.has_bones)
    is_styled = replace(style, anonymise="none") != DrawingStyle()
    has_angles = output.measures or output.count or output.events or any(map(is_in_degrees, saves))
    has_events = has_folder or any(table_format is None or table_format.has_events for table_format in tables.values())
    return [
        *((True, f"--save {save}: a table has no images. Use --draw {save}") for save in drawn),
        (
            output.draw is not None and find_format(str(output.draw)) is not None,
            f"--draw {output.draw}: a drawing is no table. Use --save {output.draw}",
        ),
        ("-" in saves, "--save - is not supported. For lines on standard output use --json"),
        (
            output.rows and not has_choice,
            f"--rows {output.rows} requires --save with a {endings_of(lambda known: known.rows)} table",
        ),
        (
            output.bones and not has_bones,
            f"--bones {output.bones} requires --save with a {bones} character",
        ),
        (
            output.onto is not None and not has_bones,
            f"--onto {output.onto} requires --save with a {bones} character",
        ),
        (style.errors and output.draw is None, "--draw-errors requires --draw"),
        (output.draw is None and is_styled, "--draw-colour and other settings of drawings require --draw"),
        (style.anonymise != "none" and output.draw is None and not has_mask, "--anonymise requires --draw or --mask"),
        (style.errors and not is_refined, "--draw-errors requires --keypoints refined"),
        (output.degrees and not has_angles, "--degrees requires --measures, --count or --events"),
        (output.events and not saves and not output.json, "--events requires --save or --json"),
        (
            output.events and not output.json and saves and not has_events,
            f"--events has no effect with --save {', '.join(saves)}",
        ),
    ]


def demo(*, out: str | None = None, copy: str | None = None) -> int:
    """Run on the bundled clip: a table, JSON and a drawn video.

    Example: `sonjit models pull && sonjit demo`

    Args:
        out: Folder for the results. Created if it does not exist. Default: sonjit-demo.
        copy: Folder into which photo.jpg, clip.mp4 and squats.mp4 are copied instead, to try other commands on.
    """
    if copy is not None:
        if out is not None:
            raise InputError("--out has no effect with --copy")
        return _copy_examples(_made_folder(copy, "--copy"))
    folder = _made_folder("sonjit-demo" if out is None else out, "--out")
    results = {
        "hands.json": "21 keypoints per hand and frame, in pixels and metres",
        "hands.csv": "the same as a table",
        "hands.mp4": "the clip with the hands drawn in",
    }
    task = Detect(options_for("hands", model="full", max_instances=2))
    outputs = Outputs(str(folder / "hands.json"), str(folder / "hands.mp4"))
    with progress_bar(None, "frames") as bar:
        inputs = Inputs.find([str(ASSETS / "demo.mp4")])
        summary = run_job(task, inputs, outputs, progress=bar)
    header, frames = load_frames(folder / "hands.json")
    with open_writer(folder / "hands.csv", header) as table:
        for frame in frames:
            table.write(frame)
    sys.stdout.write(
        f"{summary.frames} frames, {summary.instances} hands in {summary.seconds:.1f} s "
        f"({summary.frames / summary.seconds:.0f} frames/s, with reading, drawing and writing)\n"
    )
    for name, description in results.items():
        sys.stdout.write(f"  {folder / name}  {description}\n")
    return 0


def _made_folder(path: str, option: str) -> Path:
    """Create a folder that an option names."""
    folder = Path(path)
    check_local(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}; choose another folder with {option}") from None
    return folder


def _copy_examples(folder: Path) -> int:
    """Copy the bundled files into a folder; other files of their names are kept."""
    contents = {folder / name: (ASSETS / bundled).read_bytes() for name, bundled in _EXAMPLES.items()}
    for path, content in contents.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise InputError(f"{path} exists and is another file; choose another folder with --copy")
    for path, content in contents.items():
        write_bytes(path, content)
        sys.stdout.write(f"{path}\n")
    return 0
