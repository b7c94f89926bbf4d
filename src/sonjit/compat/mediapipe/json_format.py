"""Convert messages to JSON and back under the names of google.protobuf.json_format."""
# ruff: noqa: N802 - protobuf's function names

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.json_text import Json, JsonObject
from sonjit.compat.mediapipe.messages import FieldDescriptor, Message, Repeated

AnyMessage = TypeVar("AnyMessage", bound=Message)
_NUMBERS = (float, int)


class ParseError(InputError):
    """JSON that does not fit a message."""


def MessageToJson(
    message: Message,
    including_default_value_fields: bool = False,
    preserving_proto_field_name: bool = False,
    indent: int | None = 2,
    sort_keys: bool = False,
    use_integers_for_enums: bool = False,
    ensure_ascii: bool = True,
) -> str:
    """Return the fields that are set as JSON text.

    Args:
        message: Landmark, classification, detection, or a list of them.
        including_default_value_fields: If True, write numbers, texts and lists that are not set, too.
        preserving_proto_field_name: If True, write `display_name` instead of `displayName`.
        indent: Spaces of indentation, or None for one line.
        sort_keys: If True, sort the fields by name.
        use_integers_for_enums: If True, write enumerators as numbers.
        ensure_ascii: If True, escape characters outside ASCII.
    """
    content = MessageToDict(
        message, including_default_value_fields, preserving_proto_field_name, use_integers_for_enums
    )
    return json.dumps(content, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii)


def MessageToDict(
    message: Message,
    including_default_value_fields: bool = False,
    preserving_proto_field_name: bool = False,
    use_integers_for_enums: bool = False,
) -> JsonObject:
    """Return the fields that are set as plain JSON types.

    Args:
        message: Landmark, classification, detection, or a list of them.
        including_default_value_fields: If True, add numbers, texts and lists that are not set.
        preserving_proto_field_name: If True, write `display_name` instead of `displayName`.
        use_integers_for_enums: If True, return enumerators as numbers.
    """

    def plain(value: Any, field: FieldDescriptor) -> Json:  # noqa: ANN401  # a field's value
        if isinstance(value, Repeated):
            return [plain(item, field) for item in value]
        if isinstance(value, Message):
            return MessageToDict(
                value, including_default_value_fields, preserving_proto_field_name, use_integers_for_enums
            )
        if isinstance(value, IntEnum):
            return int(value) if use_integers_for_enums else value.name
        if isinstance(value, float):
            return float(str(np.float32(value)))  # as few decimals as distinguish 32 bits
        return str(value) if field.is_int64 else value

    pairs = message.ListFields()
    if including_default_value_fields:
        fields = [field for field in message.DESCRIPTOR.fields if field.is_repeated or not field.is_message]
        pairs += [(field, getattr(message, field)) for field in fields if field not in dict(pairs)]
    return {field if preserving_proto_field_name else _camel_case(field): plain(value, field) for field, value in pairs}


def Parse(text: str | bytes, message: AnyMessage, ignore_unknown_fields: bool = False) -> AnyMessage:
    """Merge JSON text into a message and return the message.

    Args:
        text: What `MessageToJson` returns.
        message: Message that receives the fields.
        ignore_unknown_fields: If True, skip fields that the message lacks.

    Raises:
        ParseError: The text is not JSON, or does not fit the message; it is a ValueError.
    """
    try:
        content: JsonObject = json.loads(text)
    except ValueError as error:
        raise ParseError(f"Failed to load JSON: {error}.") from None
    return ParseDict(content, message, ignore_unknown_fields)


def ParseDict(js_dict: JsonObject, message: AnyMessage, ignore_unknown_fields: bool = False) -> AnyMessage:
    """Merge a dictionary into a message and return the message.

    Args:
        js_dict: What `MessageToDict` returns, with field names of either style.
        message: Message that receives the fields.
        ignore_unknown_fields: If True, skip fields that the message lacks.

    Raises:
        ParseError: The dictionary does not fit the message; it is a ValueError.
    """
    fields = message.DESCRIPTOR.fields_by_name
    fields |= {_camel_case(field): field for field in fields.values()}
    for key, value in js_dict.items():
        if value is None or (key not in fields and ignore_unknown_fields):
            continue
        if key not in fields:
            names = ", ".join(message.DESCRIPTOR.fields)
            raise ParseError(
                f'Message type "{message.DESCRIPTOR.full_name}" has no field named "{key}". Fields: {names}'
            )
        field = fields[key]
        items: Any = value if field.is_repeated else [value]
        try:
            for item in items:
                _put(message, field, item, ignore_unknown_fields)
        except (TypeError, ValueError, AttributeError) as error:
            raise ParseError(f"Failed to parse {key} field: {error}") from None
    return message


def _put(message: Message, field: FieldDescriptor, value: Any, ignore_unknown_fields: bool) -> None:  # noqa: ANN401
    """Set one value of a field."""
    place = getattr(message, field)
    if field.is_message:
        ParseDict(value, place.add() if field.is_repeated else place, ignore_unknown_fields)
        return
    kind = place.kind if field.is_repeated else type(place)
    if kind in _NUMBERS and isinstance(value, str):
        value = kind(value)
    if field.is_repeated:
        place.append(value)
    else:
        setattr(message, field, value)


def _camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))
