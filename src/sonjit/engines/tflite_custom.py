"""Networks with operators that OpenVINO's reader of TFLite does not know, as one OpenVINO model.

The parts of the graph between those operators are read by OpenVINO; the operators themselves are written in its own
operations, and all is joined: one inference, with nothing carried in and out in between.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import openvino as ov

from sonjit.engines.attention_operators import EMITTERS
from sonjit.engines.tflite import TfliteFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.engines.tflite import Operator


def read_with_custom_operators(core: ov.Core, path: Path) -> ov.Model:
    """One model from a TFLite file that holds custom operators.

    Raises:
        ValueError: the file is damaged, or holds custom operators other than those known here.
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
    made: dict[int, ov.Output] = {}
    try:
        while waiting:
            part, rest = _ready(waiting, varying, {*made, *file.inputs}, custom=False)
            _add_part(core, file, part, rest, varying, made, parameters)
            custom, rest = _ready(rest, varying, set(made), custom=True)
            for name in dict.fromkeys(operator.custom for operator in custom):
                alike = [operator for operator in custom if operator.custom == name]
                values = EMITTERS[name](alike, [[made[t] for t in operator.inputs] for operator in alike])
                made.update(zip((operator.outputs[0] for operator in alike), values, strict=True))
            if len(rest) == len(waiting):
                raise ValueError("operators that wait for each other")
            waiting = rest
        return ov.Model([made[tensor] for tensor in file.outputs], parameters, path.stem)  # pyright: ignore
    except (KeyError, IndexError) as error:
        raise ValueError("a graph that does not hang together") from error


def _ready(
    waiting: Sequence[Operator], varying: set[int], made: set[int], *, custom: bool
) -> tuple[list[Operator], list[Operator]]:
    """Operators of one sort that can run, one after the other, on what is made; and the rest."""
    ready: list[Operator] = []
    rest: list[Operator] = []
    for operator in waiting:
        if bool(operator.custom) == custom and varying.intersection(operator.inputs) <= made:
            ready.append(operator)
            if not custom:  # those of one kind are written together
                made.update(operator.outputs)
        else:
            rest.append(operator)
    return ready, rest


def _add_part(
    core: ov.Core,
    file: TfliteFile,
    part: Sequence[Operator],
    rest: Sequence[Operator],
    varying: set[int],
    made: dict[int, ov.Output],
    parameters: list[ov.op.Parameter],
) -> None:
    """Let OpenVINO read some operators; what others need of them is then made."""
    own = {tensor for operator in part for tensor in operator.outputs}
    outputs = sorted(own & {*file.outputs, *(tensor for operator in rest for tensor in operator.inputs)})
    inputs = sorted(varying.intersection(tensor for operator in part for tensor in operator.inputs) - own)
    if not outputs:
        return
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads TFLite from files only
        (part_file := Path(folder) / "part.tflite").write_bytes(file.part(inputs, outputs))
        model = core.read_model(part_file)
    for tensor, parameter in zip(inputs, model.get_parameters(), strict=True):
        if tensor in made:
            parameter.output(0).replace(made[tensor])
        else:
            parameters.append(parameter)
    made.update(zip(outputs, (result.input_value(0) for result in model.get_results()), strict=True))
