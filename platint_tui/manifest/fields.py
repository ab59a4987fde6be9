"""The scalar types of manifests: strict, with messages that say how to write the value."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints, WithJsonSchema

from platint_tui.core.errors import ConfigError
from platint_tui.core.units import parse_duration, parse_rate, parse_size
from platint_tui.manifest.problems import shown

Int = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Bool = Annotated[bool, Strict()]
Scalar = Annotated[str, Strict()] | Bool | Int | Number

FieldType = Literal["string", "integer", "number", "boolean", "timestamp", "object", "array", "any"]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
PlatformName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
ResourceName = Annotated[str, StringConstraints(pattern=r"^(?:\*|[A-Za-z][A-Za-z0-9_.-]{0,127}(?:\.\*)?)$")]
"""A resource, `*` (every stream without an own one) or a family `items.*` (streams `items.<name>`)."""
StreamName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,253}[^\x00-\x20\x7f])?$")
]
"""A stream or target of an account: tables, topics, exchanges and key families are called as they like."""
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
DataPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_$@#-]+(?:\.[A-Za-z0-9_$@#-]+)*$", max_length=256)
]
Text = Annotated[str, StringConstraints(max_length=4096)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
SemVer = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=128)]


class Model(BaseModel):
    """Base of every part of a manifest: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, defer_build=True)


def _duration(value: Any) -> float:
    seconds: float = _by_text(value, parse_duration, "a duration like 30s, 5m, 1h30m or P7D")
    return seconds


def _positive(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("must be a duration above zero")
    return seconds


def _size(value: Any) -> int:
    size: int = _by_text(value, parse_size, "a size like 512kB or 1MiB")
    if size <= 0:
        raise ValueError("must be a size above zero")
    return size


def _by_text(value: Any, parse: Any, form: str) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"{value!r} has no unit; write {form}")
    if not isinstance(value, str):
        raise ValueError(f"must be {form}")
    try:
        return parse(value)
    except (ConfigError, ValueError, OverflowError):
        raise ValueError(f"{shown(value)} is not {form}") from None


_AS_TEXT = WithJsonSchema({"type": "string"})
Duration = Annotated[float, BeforeValidator(_duration), _AS_TEXT]
"""Seconds, written like `30s`, `5m` or `-P365D`; may be negative."""
Positive = Annotated[float, BeforeValidator(_positive), _AS_TEXT]
"""Seconds above zero."""
Size = Annotated[int, BeforeValidator(_size), _AS_TEXT]
"""Bytes, written like `16MiB`."""


def _rate(value: Any) -> Any:
    return _by_text(value, parse_rate, "a rate like 100/1s or 500/10m")


RateText = Annotated[tuple[int, float], BeforeValidator(_rate), _AS_TEXT]
"""(calls, seconds), written like `100/1s`."""

_RANGE = re.compile(r"(!?)([1-5]\d\d)(?:-([1-5]\d\d))?")


class Statuses(NamedTuple):
    """HTTP status codes as inclusive ranges: any of `include` (all when empty) and none of `exclude`."""

    include: tuple[tuple[int, int], ...]
    exclude: tuple[tuple[int, int], ...]

    def matches(self, status: int) -> bool:
        """Whether `status` is meant."""
        if any(low <= status <= high for low, high in self.exclude):
            return False
        return not self.include or any(low <= status <= high for low, high in self.include)


def _statuses(value: Any) -> Statuses:
    items = value if isinstance(value, (list, tuple)) else [value]
    include: list[tuple[int, int]] = []
    exclude: list[tuple[int, int]] = []
    for item in items:
        match = None if isinstance(item, bool) else _RANGE.fullmatch(str(item))
        low = int(match.group(2)) if match else 0
        high = int(match.group(3) or low) if match else 0
        if not match or low > high:
            raise ValueError(f"{shown(item)} is no HTTP status; write 429, '500-599' or '!404'")
        (exclude if match.group(1) else include).append((low, high))
    if not items:
        raise ValueError("name at least one HTTP status")
    return Statuses(tuple(include), tuple(exclude))


_STATUS_ITEM: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": r"^!?[1-5]\d\d(-[1-5]\d\d)?$"},
    ]
}
StatusList = Annotated[
    Statuses,
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _STATUS_ITEM, "minItems": 1}, _STATUS_ITEM]}),
]
"""A list of statuses: `[429, '500-599', '!501']`."""


AddressItem: TypeAlias = (
    Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    | dict[Literal["production", "sandbox", "development"], str]
)


def _address(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Address = Annotated[
    tuple[AddressItem, ...],
    BeforeValidator(_address),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": "string"}},
                {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "object", "additionalProperties": {"type": "string"}},
                        ]
                    },
                },
            ]
        }
    ),
]
"""A template of an address, a map from environment to template, or a list of these: the first whose values are
all there is used."""
