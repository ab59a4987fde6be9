"""How a source record becomes what is written: chosen, renamed and lightly changed fields.

Without `select` and `map` a record goes as it is. Otherwise exactly what is listed goes: `select` names
fields that keep their name (`'*'` is all of them), `map` gives `target field: expression`. An expression is
a field path (`address.city`) or one of `lower(path)`, `upper(path)`, `trim(path)`, `string(path)`. A field
that a record does not have is left out, a null stays null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.core.model import Json, StreamMapping
from platint_tui.manifest.problems import did_you_mean, listing, shown

Mapper: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
FUNCTIONS = ("lower", "upper", "trim", "string")
_PATH = re.compile(r"[^\s.(){}$|]+(?:\.[^\s.(){}$|]+)*")
_CALL = re.compile(r"([A-Za-z_]+)\(\s*(.*?)\s*\)")
_MISSING = object()


def parse_expression(text: str) -> tuple[str, tuple[str, ...]]:
    """(function or '', path) of a map expression. Raises ConfigError."""
    call = _CALL.fullmatch(text.strip())
    function, path = (call.group(1), call.group(2)) if call else ("", text.strip())
    if function and function not in FUNCTIONS:
        suggestion = did_you_mean(function, FUNCTIONS) or f"; there are {listing(FUNCTIONS)}"
        raise ConfigError(f"There is no function {shown(function)}{suggestion}")
    if not _PATH.fullmatch(path):
        raise ConfigError(
            f"{shown(text)} is no field path.", hint="Write a path like address.city, or lower(email)."
        )
    return function, tuple(path.split("."))


def apply_mapping(mapping: StreamMapping, value: dict[str, Any]) -> dict[str, Any]:
    """What `mapping` makes of one record; `value` is not changed.

    Raises RecordError naming the field when a text function meets a value that is no text.
    """
    return _compiled(mapping.select, tuple(mapping.map.items()))(value)


def compile_mapping(mapping: StreamMapping) -> Mapper:
    """`apply_mapping` for many records. Raises ConfigError for an expression that is not allowed."""
    return _compiled(tuple(mapping.select), tuple(mapping.map.items()))


@lru_cache(maxsize=256)
def _compiled(select: tuple[str, ...], items: tuple[tuple[str, str], ...]) -> Mapper:
    if not items and (not select or "*" in select):
        return _identity
    everything = "*" in select
    getters = [(name, *parse_expression(expression)) for name, expression in items]

    def apply(value: dict[str, Any]) -> dict[str, Any]:
        result = dict(value) if everything else {name: value[name] for name in select if name in value}
        for name, function, path in getters:
            found = value.get(path[0], _MISSING) if len(path) == 1 else _find(value, path)
            if found is _MISSING:
                # A renamed-over field must not keep another field's value.
                result.pop(name, None)
            else:
                result[name] = _call(function, found, path) if function else found
        return result

    return apply


def _identity(value: dict[str, Any]) -> dict[str, Any]:
    return value


def _find(value: Json, path: tuple[str, ...]) -> Json:
    dotted = ".".join(path)
    if dotted in value:
        return value[dotted]
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _MISSING
    return value


def _call(function: str, value: Json, path: tuple[str, ...]) -> Json:
    if value is None:
        return None
    if function == "string":
        return _string(value)
    if not isinstance(value, str):
        field = ".".join(path)
        raise RecordError(
            f"{function}({field}) needs a text, the record has {_kind(value)}.", code="mapping", where=field
        )
    return value.lower() if function == "lower" else value.upper() if function == "upper" else value.strip()


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float, Decimal)) else "an object or a list"
