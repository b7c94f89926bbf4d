"""The functions of `google.protobuf.json_format` with the options of the version that MediaPipe 0.10.21 requires."""
# ruff: noqa: N802 - protobuf's function names

import copy
import json

from sonjit._util import JsonObject, optional_import

with optional_import("sonjit.compat.mediapipe.json_format"):
    from google.protobuf import json_format
    from google.protobuf.json_format import Parse, ParseDict, ParseError
    from google.protobuf.message import Message


__all__ = ["MessageToDict", "MessageToJson", "Parse", "ParseDict", "ParseError"]


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
    """Return the fields that are set as plain JSON types. The arguments are those of `MessageToJson`."""
    if including_default_value_fields:
        message = copy.deepcopy(message)
        _set_defaults(message)
    return json_format.MessageToDict(
        message,
        always_print_fields_with_no_presence=including_default_value_fields,
        preserving_proto_field_name=preserving_proto_field_name,
        use_integers_for_enums=use_integers_for_enums,
    )


def _set_defaults(message: Message) -> None:
    """Set the numbers and texts of a message that are not set, also in its parts."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, str | int | float):
            setattr(message, field.name, value)
        elif field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                _set_defaults(part)
