"""Read networks with custom operators, which OpenVINO's reader of TFLite does not know, as one OpenVINO model.

OpenVINO reads the parts of the graph between those operators. The operators themselves are written in OpenVINO's
operations and joined with the parts, so that one inference runs the network without copies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import openvino as ov

from sonjit._util.files import WorkFolder
from sonjit.engines.attention_operators import matrices_from_landmarks, sampled_maps, transformed_landmarks
from sonjit.engines.tflite import Operator, TfliteFile

Emitter: TypeAlias = Callable[[Sequence[Operator], Sequence[list[ov.Output]]], list[ov.Output]]
"""Function from nodes of one kind and their inputs to their outputs."""

EMITTERS: dict[str, Emitter] = {
    "Landmarks2TransformMatrix": matrices_from_landmarks,
    "TransformTensorBilinear": sampled_maps,
    "TransformLandmarks": transformed_landmarks,
}


def read_with_custom_operators(core: ov.Core, path: Path) -> ov.Model:
    """Return one model of a TFLite file with custom operators.

    Raises:
        ValueError: The file is damaged or has unknown custom operators.
    """
    file = TfliteFile(path.read_bytes())
    unknown = {operator.custom for operator in file.operators} - {"", *EMITTERS}
    if unknown:
        raise ValueError(f"custom operators {', '.join(sorted(unknown))}")
    varying = set(file.inputs)  # tensors that depend on the input; constants go along with every part
    for operator in file.operators:
        if varying.intersection(operator.inputs):
            varying.update(operator.outputs)
    waiting = [operator for operator in file.operators if varying.intersection(operator.inputs)]
    parameters: list[ov.op.Parameter] = []
    tensors: dict[int, ov.Output] = {}
    try:
        while waiting:
            part, remaining = _ready(waiting, varying, {*tensors, *file.inputs}, custom=False)
            _add_part(
                core, file, part=part, remaining=remaining, varying=varying, tensors=tensors, parameters=parameters
            )
            custom, remaining = _ready(remaining, varying, set(tensors), custom=True)
            for name in dict.fromkeys(operator.custom for operator in custom):
                alike = [operator for operator in custom if operator.custom == name]
                values = EMITTERS[name](alike, [[tensors[t] for t in operator.inputs] for operator in alike])
                tensors.update(zip((operator.outputs[0] for operator in alike), values, strict=True))
            if len(remaining) == len(waiting):
                raise ValueError("operators that wait for each other")
            waiting = remaining
        return ov.Model([tensors[tensor] for tensor in file.outputs], parameters, path.stem)  # pyright: ignore
    except (KeyError, IndexError) as error:
        raise ValueError("a graph that does not hang together") from error


def _ready(
    waiting: Sequence[Operator], varying: set[int], tensors: set[int], *, custom: bool
) -> tuple[list[Operator], list[Operator]]:
    """Split operators into those that can run now and the rest."""
    ready: list[Operator] = []
    remaining: list[Operator] = []
    for operator in waiting:
        if bool(operator.custom) == custom and varying.intersection(operator.inputs) <= tensors:
            ready.append(operator)
            if not custom:  # those of one kind are written together
                tensors.update(operator.outputs)
        else:
            remaining.append(operator)
    return ready, remaining


def _add_part(
    core: ov.Core,
    file: TfliteFile,
    *,
    part: Sequence[Operator],
    remaining: Sequence[Operator],
    varying: set[int],
    tensors: dict[int, ov.Output],
    parameters: list[ov.op.Parameter],
) -> None:
    """Read some operators with OpenVINO and store the tensors that others need."""
    produced = {tensor for operator in part for tensor in operator.outputs}
    outputs = sorted(produced & {*file.outputs, *(tensor for operator in remaining for tensor in operator.inputs)})
    inputs = sorted(varying.intersection(tensor for operator in part for tensor in operator.inputs) - produced)
    if not outputs:
        return
    with WorkFolder() as folder:  # OpenVINO reads TFLite from files only
        (part_file := Path(folder) / "part.tflite").write_bytes(file.part(inputs, outputs))
        model = core.read_model(part_file)
    for tensor, parameter in zip(inputs, model.get_parameters(), strict=True):
        if tensor in tensors:
            parameter.output(0).replace(tensors[tensor])
        else:
            parameters.append(parameter)
    tensors.update(zip(outputs, (result.input_value(0) for result in model.get_results()), strict=True))
