"""The options that every finding command shares."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

OUTPUT = Group("Output", sort_key=1)
_FINDING = Group("Finding", sort_key=2)
_RUNNING = Group("Running", sort_key=3)


Input = Annotated[str, Parameter(name="INPUT", allow_leading_hyphen=True)]  # - is standard input


@Parameter(name="*", group=_RUNNING)
@dataclass(frozen=True)
class Several:
    """How to go through the inputs.

    Attributes:
        limit: Stop after so many frames of each input file.
        jobs: Processes for several files, a folder or a glob.
    """

    limit: int | None = None
    jobs: int = 1


SEVERAL = Several()


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Output:
    """What becomes of an input.

    Attributes:
        save: Table to write: .json, .jsonl, .csv or .parquet, or - for JSON lines on standard output. For many files a
            folder, or a name with {name} in it such as 'tables/{name}.csv'.
        draw: Image or video to write with what was found drawn in; for many files a folder.
        count: Count repetitions of an angle, e.g. left_knee_angle_rad for squats, or with limits in degrees
            left_elbow_angle_rad:70:140; drawn, and a column of the table.
        measures: Add angles, distances and gestures to the table, and gestures to the drawing.
    """

    save: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None  # - is standard output
    draw: str | None = None
    count: str | None = None
    measures: Annotated[bool, Parameter(negative="")] = False


@Parameter(name="*", group=_FINDING)
@dataclass(frozen=True)
class Finding:
    """How to look.

    Attributes:
        max_instances: How many to hold at most: 2 hands, 1 face, 1 body where not given.
        mirrored: The input is a selfie view: left and right are exchanged in it.
        flip_horizontal: Flip the x of the output.
        static_image: Take every image on its own; by default so for images, not for videos.
        smoothing: Of keypoints over time; by default one_euro for hands and faces in videos, published for bodies.
        min_detection_score: Least score of what a search finds, 0 to 1; by default 0.5, of box-full 0.6.
        min_presence_score: Least score in its crop, 0 to 1.
        search_interval: Frames between searches for more while some are held; 1 finds them soonest.
    """

    max_instances: int | None = None
    mirrored: Annotated[bool, Parameter(negative="")] = False
    flip_horizontal: Annotated[bool, Parameter(negative="")] = False
    static_image: bool | None = None
    smoothing: Literal["none", "published", "one_euro"] | None = None
    min_detection_score: float | None = None
    min_presence_score: float = 0.5
    search_interval: int = 5


@Parameter(name="*", group=_RUNNING)
@dataclass(frozen=True)
class Running(Several):
    """What to run it with.

    Attributes:
        limit: Stop after so many frames of each input file.
        jobs: Processes for several files, a folder or a glob.
        models_dir: Folder with the published weight files.
        detector_model: Detector network of your own.
        landmark_model: Landmark network of your own.
        engine: Which runtime.
        device: CPU, GPU, NPU or AUTO.
        precision: auto takes bf16 where the CPU has it natively and the network bears it, else f32.
        threads: Per process; 0 for all cores.
    """

    models_dir: str | None = None
    detector_model: str | None = None
    landmark_model: str | None = None
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    device: str = "CPU"
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    threads: int | None = None


def detector_options(finding: Finding, running: Running) -> dict[str, Any]:
    """The options of `create_detector` in both; what was left open is absent."""
    given = {item.name: getattr(part, item.name) for part in (finding, running) for item in fields(part)}
    del given["jobs"], given["limit"]
    options = {name: value for name, value in given.items() if value is not None}
    if options.get("smoothing") == "none":
        options["smoothing"] = None
    return options
