"""`MessageToDict` for scripts that import it from google.protobuf.json_format."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from sonjit.compat.mediapipe.messages import Message, Repeated
from sonjit.json_text import Json, JsonObject


def MessageToDict(message: Message, *, preserving_proto_field_name: bool = False) -> JsonObject:  # noqa: N802
    """The fields that are set, as plain JSON types; the name is protobuf's.

    Args:
        message: a landmark, a classification, a detection or a list of them.
        preserving_proto_field_name: `display_name` instead of `displayName`.
    """

    def plain(value: Any) -> Json:  # noqa: ANN401  # a field's value
        if isinstance(value, Repeated):
            return [plain(item) for item in value]
        if isinstance(value, Message):
            return MessageToDict(value, preserving_proto_field_name=preserving_proto_field_name)
        if isinstance(value, IntEnum):
            return value.name
        if isinstance(value, float):
            return float(str(np.float32(value)))  # as few decimals as distinguish 32 bits
        return value

    result: JsonObject = {}
    for name, value in message.ListFields():
        head, *tail = name.split("_")
        key = name if preserving_proto_field_name else head + "".join(map(str.capitalize, tail))
        result[key] = plain(value)
    return result
