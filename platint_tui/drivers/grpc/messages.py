"""Messages of Protocol Buffers as JSON and back.

The form is the JSON mapping of Protocol Buffers (https://protobuf.dev/programming-guides/json/) with the names of
the .proto file, and with numbers of 64 bits as numbers instead of texts. A field without presence is always there,
with its default; one with presence is left out while it is not set.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Field, Record
from platint_tui.core.text import clean

_LONG = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
_WELL_KNOWN = "google.protobuf."
_WRAPPED_LONG = frozenset({"google.protobuf.Int64Value", "google.protobuf.UInt64Value"})
_TYPE_NAMES = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}
_FIELD_TYPES = {
    **dict.fromkeys(("double", "float"), "number"),
    **dict.fromkeys(("string", "bytes", "enum"), "string"),
    "bool": "boolean",
}
_MESSAGE_TYPES = {
    "Timestamp": "timestamp",
    "Duration": "string",
    "FieldMask": "string",
    "Struct": "object",
    "ListValue": "array",
    "Value": "any",
    "StringValue": "string",
    "BytesValue": "string",
    "BoolValue": "boolean",
    "DoubleValue": "number",
    "FloatValue": "number",
    "Int32Value": "integer",
    "Int64Value": "integer",
    "UInt32Value": "integer",
    "UInt64Value": "integer",
}
_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]*)"(?: at "([^"]*)")?')
_FAILED_FIELD = re.compile(r"Failed to parse ([A-Za-z0-9_.]+) field")


def message_class(descriptor: Descriptor) -> type[Message]:
    """The class of a described message."""
    return message_factory.GetMessageClass(descriptor)


def decoded(descriptor: Descriptor, data: bytes) -> Message:
    """The message in these bytes. Raises DecodeError."""
    message = message_class(descriptor)()
    message.ParseFromString(data)
    return message


def record_of(message: Message, pool: DescriptorPool) -> Record | BadElement:
    """A message as a record, or why it cannot be one."""
    try:
        value = as_json(message, pool)
        raw = dumps(value)
        raw.encode()
    except (TypeError, ValueError, RecordError, UnicodeEncodeError, json_format.Error) as error:
        text = base64.b64encode(message.SerializeToString()).decode()
        return BadElement(dumps({"message": text}), f"it has no form in JSON: {clean(str(error))[:200]}")
    return Record(raw, value)


def bad_bytes(data: bytes, error: DecodeError) -> BadElement:
    """An answer that is no message of the type that was described."""
    text = base64.b64encode(data).decode()
    return BadElement(dumps({"message": text}), f"it is not what the server described: {clean(str(error))}")


def as_json(message: Message, pool: DescriptorPool) -> dict[str, Any]:
    """The JSON object of a message; `pool` knows what an Any in it may hold."""
    value: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        descriptor_pool=pool,
    )
    _numbers(value, message_descriptor(message))
    return value


def message_descriptor(message: Message) -> Any:
    """The description of a message; the type stubs know two classes of them."""
    return message.DESCRIPTOR


def _numbers(value: dict[str, Any], descriptor: Any) -> None:
    """Make numbers of 64 bits, which come as texts, numbers."""
    for name, item in value.items():
        field = descriptor.fields_by_name.get(name)
        if field is None:
            continue
        if is_map(field):
            of = _described(field).fields_by_name["value"]
            value[name] = {key: _number(entry, of) for key, entry in item.items()}
        elif field.is_repeated:
            value[name] = [_number(entry, field) for entry in item]
        else:
            value[name] = _number(item, field)


def _number(item: Any, field: FieldDescriptor) -> Any:
    if field.type in _LONG:
        return int(item)
    of = field.message_type
    if of is None or item is None:
        return item
    if of.full_name in _WRAPPED_LONG:
        return int(item)
    if isinstance(item, dict) and not of.full_name.startswith(_WELL_KNOWN):
        _numbers(item, of)
    return item


def _described(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None, "a map is a message"
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    of = field.message_type
    return of is not None and of.GetOptions().map_entry


def fill(message: Message, value: Mapping[str, Any], pool: DescriptorPool) -> None:
    """Put a JSON object into a message. Raises RecordError whose `where` is the field that does not fit."""
    try:
        json_format.ParseDict(_plain(value), message, descriptor_pool=pool)
    except (json_format.ParseError, TypeError, ValueError, RecursionError) as error:
        text = clean(str(error))[:300]
        raise RecordError(
            f"The row does not fit the message {message.DESCRIPTOR.full_name}: {text}",
            where=_field_of(str(error)),
            hint="Map the row to the fields of the message in the integration file.",
            code="wrong_type" if _UNKNOWN_FIELD.search(str(error)) is None else "unknown_field",
        ) from None


def _field_of(text: str) -> str:
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown is not None:
        above = (unknown.group(2) or "").partition(".")[2]
        return f"{above}.{unknown.group(1)}" if above else unknown.group(1)
    return ".".join(name.rpartition(".")[2] for name in _FAILED_FIELD.findall(text))


def _plain(value: Any) -> Any:
    """The value without Decimals, which the library does not know; one that no double holds stays a text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        number = float(value)
        if Decimal(repr(number)) != value:
            raise ValueError(f"the number {value} has more digits than a double can hold")
        return number
    return value


def field_of(field: FieldDescriptor) -> Field:
    """A field of a message as a field of a stream."""
    of = field.message_type
    kind = _TYPE_NAMES.get(field.type, "")
    native = f"protobuf:{of.full_name if of is not None else kind}"
    if is_map(field):
        type_ = "object"
    elif field.is_repeated:
        type_, native = "array", f"{native}[]"
    elif of is not None:
        name = of.full_name.removeprefix(_WELL_KNOWN) if of.full_name.startswith(_WELL_KNOWN) else ""
        type_ = _MESSAGE_TYPES.get(name, "object")
    else:
        type_ = _FIELD_TYPES.get(kind, "integer")
    return Field(field.name, type_, native=native)
