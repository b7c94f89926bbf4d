"""`sonjit stream` and `sonjit control`: live results for other programs, and programs controlled with hands."""

import sys
import time
from contextlib import nullcontext, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit import track
from sonjit._util import InputError, json_from, pluralize
from sonjit._util.addresses import shown_name
from sonjit.cli.options import Count, FileName
from sonjit.detectors import KindName
from sonjit.detectors.kinds import KINDS, options_of
from sonjit.gestures import LearnedGestures
from sonjit.gestures.control import Command, Controller, examples_of, load_map
from sonjit.gestures.outlets import Outlets
from sonjit.media.sources import Reading
from sonjit.results import Body, Face
from sonjit.runs.live import LiveOutput
from sonjit.runs.session import Omitted


def stream(
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    to: str,
    kind: Literal["hands", "face", "body", "holistic"] | None = None,
    model: str | None = None,
    max_instances: int | None = None,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    gestures: str | None = None,
    landmark_model: Path | None = None,
    limit: Count = None,
) -> None:
    """Send live results to another program: keypoints by OSC, JSON by WebSocket, bones or blendshapes by VMC.

    A video is sent at its own speed. Ctrl-C ends the program.

    Example: `sonjit stream camera:0 --to osc://127.0.0.1:9000`

    Args:
        source: Camera or video.
        to: Address of the receiver, osc://HOST:PORT, vmc://HOST:PORT or ws://HOST:PORT/PATH. vmc sends the bones of one
            body, or the blendshapes and the head of one face; with holistic also the blendshapes of that person.
        kind: Kind of instance to find. By default hands, or face for vmc, which sends no hands.
        model: Model of the kind.
        max_instances: Maximum number of instances.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        gestures: Gestures to classify, such as canned, or a file of sonjit gestures train.
        landmark_model: Landmark network or task bundle to use in place of the published network.
        limit: Maximum number of frames.
    """
    is_vmc = to.startswith("vmc:")
    if is_vmc and kind is not None and {Body.kind, Face.kind}.isdisjoint(KINDS.find(kind).instances):
        raise InputError(f"--kind {kind}: vmc sends faces, bodies or people. Choose face, body or holistic.")
    if is_vmc and gestures is not None:
        raise InputError(f"--gestures {gestures} has no effect with vmc, which sends no gestures")
    kind = kind or ("face" if is_vmc else "hands")
    entry = KINDS.find(kind)
    has_mesh = entry.instances == (Face.kind,) and not (model or "").startswith("box")
    frames_of_source = track(
        str(source),
        KindName(kind),
        model=model,
        max_instances=max_instances,
        gestures=gestures,
        landmark_model=landmark_model,
        mirrored=mirrored,
        blendshapes=has_mesh or (is_vmc and entry.has_bodies and "blendshapes" in options_of(entry)),
        transform=has_mesh,
    )
    list_name = entry.list_name
    frames = instances = 0
    omitted = Omitted()
    try:
        with LiveOutput(to, list_name) as output:
            start_s = None
            for frame in islice(frames_of_source, limit and min(limit, sys.maxsize)):
                height, width = frame.image.shape[:2]
                now_s, frame_s = time.monotonic(), frame.time or 0.0
                start_s = now_s - frame_s if start_s is None else start_s
                time.sleep(max(0.0, start_s + frame_s - now_s))
                output.send(frame, (width, height))
                shown = len(frame.results(list_name))
                frames, instances = frames + 1, instances + shown
                omitted.add(shown, frame.total, frame_s)
    finally:  # Ctrl-C is the usual end of a camera
        if frames:
            sys.stderr.write(f"{pluralize(frames, 'frame')} with {instances} {list_name} sent to {shown_name(to)}\n")
        if omitted.text is not None:
            sys.stderr.write(f"{omitted.text}. Use --max-instances.\n")


def control(
    map_file: Annotated[Path, Parameter(name="MAP")],
    source: Annotated[FileName | None, Parameter(name="INPUT")] = None,
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    gestures: Path | None = None,
    reconnect: float = 0.0,
    each_rule: Annotated[bool, Parameter(negative="")] = False,
    limit: Count = None,
) -> None:
    """Control other programs with gestures, motions and measures of hands.

    A map contains the rules. Commands are sent only to addresses in the map. Ctrl-C ends the program.

    Example: `sonjit control slides.toml --dry-run`

    Args:
        map_file: TOML file of rules, as the guide on control describes.
        source: Camera or video. Default: camera:0.
        dry_run: Send nothing. Print each command as a line of JSON.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        gestures: File of sonjit gestures train with custom gestures for the rules.
        reconnect: Time in seconds for which a camera that ends is opened again.
        each_rule: Send the command of each rule once without an input, to check the map and its receivers.
        limit: Maximum number of frames.
    """
    custom = None if gestures is None else LearnedGestures.load(gestures)
    control_map = load_map(map_file, () if custom is None else custom.names)
    if custom is not None and not {control_map.pause, *(rule.on for rule in control_map.rules)} & set(custom.names):
        raise InputError(f"--gestures {gestures}: no rule of {map_file} uses {' or '.join(custom.names)}")
    idle = {"INPUT": source is not None, "--reconnect": reconnect > 0, "--limit": limit is not None}
    if each_rule and any(idle.values()):
        raise InputError(f"--each-rule reads no input. Leave out {next(name for name, given in idle.items() if given)}")
    with nullcontext() if dry_run else Outlets(control_map) as outlets:
        send = _print_command if outlets is None else outlets.send
        if each_rule:
            for command in chain.from_iterable(map(examples_of, control_map.rules)):
                send(command)
            return
        controller, noted = Controller(control_map, custom), 0
        with Reading(reconnect_s=reconnect).open(source or "camera:0") as opened:
            try:
                for frame in islice(track(opened, "hands", mirrored=mirrored), limit and min(limit, sys.maxsize)):
                    height, width = frame.image.shape[:2]
                    was_paused = controller.is_paused
                    for command in controller(frame.hands, frame.time, (width, height)):
                        send(command)
                    if controller.is_paused != was_paused:
                        state = "paused" if controller.is_paused else "resumed"
                        _write_line(f"{state} at {frame.time:.2f} s: {control_map.pause}")
                    for note in opened.notes[noted:]:  # also in a program that never ends
                        _write_line(note)
                    noted = len(opened.notes)
            finally:  # also at Ctrl-C and after a camera is lost, so that nothing stays pressed
                for command in controller.finish():
                    send(command)


def _write_line(text: str) -> None:
    """Write a line to standard error, whose disk may be full: the control goes on."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _print_command(command: Command) -> None:
    sys.stdout.write(json_from(command.to_dict()) + "\n")
    sys.stdout.flush()
