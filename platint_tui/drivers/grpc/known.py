"""Messages that every server may send, described here: health (`grpc.health.v1`) and details of errors
(`google.rpc`, https://google.aip.dev/193). No file is generated for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.message import DecodeError

_Type = descriptor_pb2.FieldDescriptorProto
_INT, _TEXT, _MESSAGE = _Type.TYPE_INT32, _Type.TYPE_STRING, _Type.TYPE_MESSAGE
_MESSAGES: Mapping[str, tuple[tuple[str, int, _Type.Type.ValueType, str, bool], ...]] = {
    "Status": (
        ("code", 1, _INT, "", False),
        ("message", 2, _TEXT, "", False),
        ("details", 3, _MESSAGE, ".google.protobuf.Any", True),
    ),
    "RetryInfo": (("retry_delay", 1, _MESSAGE, ".google.protobuf.Duration", False),),
    "FieldViolation": (("field", 1, _TEXT, "", False), ("description", 2, _TEXT, "", False)),
    "BadRequest": (("field_violations", 1, _MESSAGE, ".platint.known.FieldViolation", True),),
    "Health": (("status", 1, _INT, "", False),),
}
HEALTH = "/grpc.health.v1.Health/Check"
HEALTH_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for used in (any_pb2, duration_pb2):
        pool.AddSerializedFile(used.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="platint/known.proto", package="platint.known", syntax="proto3"
    )
    file.dependency.extend(used.DESCRIPTOR.name for used in (any_pb2, duration_pb2))
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of, many in fields:
            label = _Type.LABEL_REPEATED if many else _Type.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                made.type_name = of
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"platint.known.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()


def parsed(name: str, data: bytes) -> Any:
    """The message `name` in these bytes; an empty one when they are something else."""
    message = _CLASSES[name]()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return _CLASSES[name]()
    return message


def detail_of(status: bytes, name: str) -> Any:
    """The detail `google.rpc.<name>` of the trailing metadata `grpc-status-details-bin`, None without one."""
    for item in parsed("Status", status).details:
        if item.type_url.rpartition("/")[2] == f"google.rpc.{name}":
            return parsed(name, item.value)
    return None
