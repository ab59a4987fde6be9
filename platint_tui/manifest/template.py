"""Interpolation in manifests: `${name.path | filter | filter:argument}`.

Spaces around an argument do not count. Only lookups in plain data and a closed list of filters: no
conditions, no arithmetic, no calls, no attributes. `$${` is a literal `${`. Every value is put in its slot
so that it cannot break out of it:

- `path`: percent-encoded as one segment (after the filter `segments`: several, its slashes stay); an empty
  value, `.` and `..` are refused;
- `query`: the plain value of one parameter; the caller encodes the whole query once, literals included;
- `header`: visible ASCII, spaces and tabs only; CR, LF and NUL are refused;
- `url`: put in as it is, then the whole must be an absolute http(s) address without credentials;
- `body`: as it is; a template that is one expression alone yields the value itself (an object, a number),
  not text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal, TypeAlias, overload
from urllib.parse import quote

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Json
from platint_tui.manifest.hosts import check_url
from platint_tui.manifest.problems import did_you_mean, listing, shown

Slot: TypeAlias = Literal["path", "query", "header", "url", "body"]
TextSlot: TypeAlias = Literal["path", "query", "header", "url"]

ROOTS = (
    "profile",
    "cursor",
    "parent",
    "page",
    "record",
    "run",
    "resource",
    "job",
    "item",
    "items",
    "bundle",
    "subscription",
)
FILTERS = (
    "epoch_s",
    "epoch_ms",
    "iso8601",
    "date",
    "format",
    "urlencode",
    "base64",
    "lower",
    "text",
    "json",
    "segments",
    "default",
    "join",
    "without",
)
_WITH_ARGUMENT = ("default", "join", "format", "without")
MAX_OUTPUT = 64 * 1024
SPREAD = "..."

_NAME = re.compile(r"[@#]?[A-Za-z_][A-Za-z0-9_-]*|[0-9]{1,4}")  # @name and #text: parts of XML elements
_BAD_HEADER = re.compile(r"[^\x20-\x7e\t]")
_MISSING = object()


class _Segments(str):
    """A path of several segments: its slashes are kept."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One `${…}`: the path to look up and the filters to apply, in order."""

    path: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The dotted path as written."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: literal texts and expressions in order."""

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions, in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def sole(self) -> Expression | None:
        """The expression when the template is nothing else."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Expression) else None


@lru_cache(maxsize=2048)
def compile_template(text: str) -> Template:
    """Parse a template. Raises ConfigError when a `${` is not closed or its content is not allowed."""
    parts: list[str | Expression] = []
    literal = ""
    at = 0
    while (start := text.find("${", at)) >= 0:
        literal += text[at:start]
        if start > 0 and text[start - 1] == "$" and start - 1 >= at:
            literal = literal[:-1] + "${"
            at = start + 2
            continue
        end = text.find("}", start)
        if end < 0:
            raise ConfigError(
                f"'${{' is not closed in {shown(text)}.", hint="Write $${ for the characters themselves."
            )
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_expression(text[start + 2 : end]))
        at = end + 1
    literal += text[at:]
    if literal:
        parts.append(literal)
    return Template(text, tuple(parts))


def _expression(source: str) -> Expression:
    head, *rest = source.split("|")
    names = tuple(head.strip().split("."))
    if not all(_NAME.fullmatch(name) for name in names) or names[0][0].isdigit():
        raise ConfigError(
            f"{shown('${' + source + '}')} is no lookup.", hint="Write it like ${profile.account}."
        )
    if names[0] not in ROOTS:
        suggestion = did_you_mean(names[0], ROOTS)
        raise ConfigError(f"{shown(names[0])} cannot be looked up, only {listing(ROOTS)}{suggestion or '.'}")
    filters = []
    for item in rest:
        name, colon, argument = item.strip(" ").partition(":")
        name = name.strip()
        if name not in FILTERS:
            raise ConfigError(
                f"{shown(name)} is no filter, only {listing(FILTERS)}{did_you_mean(name, FILTERS) or '.'}"
            )
        if bool(colon) != (name in _WITH_ARGUMENT):
            raise ConfigError(f"The filter '{name}' {'takes no argument' if colon else 'needs an argument'}.")
        filters.append((name, argument.strip(" ")))
    return Expression(names, tuple(filters))


@overload
def render(template: str, scope: Mapping[str, Json], slot: TextSlot) -> str: ...
@overload
def render(template: str, scope: Mapping[str, Json], slot: Literal["body"]) -> Json: ...
def render(template: str, scope: Mapping[str, Json], slot: Slot) -> Json:
    """Put values of `scope` into a template, encoded for `slot` (see the module).

    Raises ConfigError when a value is missing or does not fit its slot, and RecordError when that value comes
    from a record (`record`, `parent`): then only that record is bad.
    """
    compiled = compile_template(template)
    sole = compiled.sole
    if slot == "body" and sole is not None:
        value = _evaluate(sole, scope)
        if value is _MISSING:
            raise _missing(sole)
        return value
    text = "".join(
        part if isinstance(part, str) else _fit(part, _evaluate(part, scope), slot) for part in compiled.parts
    )
    if len(text) > MAX_OUTPUT:
        raise _blame(compiled, f"{shown(template)} gives more than 64 kB of text.")
    if slot == "header" and _BAD_HEADER.search(text):
        raise _blame(compiled, "A header value holds a character that is not allowed in headers.")
    if slot == "path":
        _check_path(text, compiled)
    if slot == "url":
        check_url(text)
    return text


def render_map(
    templates: Mapping[str, str | int | float | bool], scope: Mapping[str, Json], slot: TextSlot
) -> dict[str, str]:
    """Render the values of headers or of a query; entries whose template yields '' are left out."""
    rendered = {}
    for name, template in templates.items():
        if isinstance(template, str):
            text = render(template, scope, slot)
            if text == "" and compile_template(template).expressions:
                continue
            rendered[name] = text
        else:
            rendered[name] = _plain(template)
    return rendered


def render_body(template: Json, scope: Mapping[str, Json]) -> Json:
    """Render a body: every text in it is a template.

    A member of an object whose value is one expression alone is left out when that has no value, so that an
    optional field of a record is simply not sent; null is sent as null. The members of the value of a member
    called `...` are put into the object itself; what is written after it wins. Raises as `render` does.
    """
    if isinstance(template, str):
        return render(template, scope, "body")
    if isinstance(template, Mapping):
        result: dict[str, Json] = {}
        for name, item in template.items():
            sole = compile_template(item).sole if isinstance(item, str) else None
            if sole is not None:
                value = _evaluate(sole, scope)
                if name == SPREAD:
                    if not isinstance(value, Mapping):
                        raise _failure(sole, "is no object whose members could be put here")
                    result.update(value)
                elif value is not _MISSING:
                    result[name] = value
            else:
                result[name] = render_body(item, scope)
        return result
    if isinstance(template, (list, tuple)):
        return [render_body(item, scope) for item in template]
    return template


def lookup(data: Json, path: tuple[str, ...] | str, default: Json = None) -> Json:
    """The value at a dotted path in decoded JSON: members of objects by name, of lists by number."""
    for name in path.split(".") if isinstance(path, str) else path:
        # What JSON gives is a dict; asking for a Mapping costs ten times as much.
        if type(data) is dict or isinstance(data, Mapping):
            if name not in data:
                return default
            data = data[name]
        elif isinstance(data, (list, tuple)) and name.isascii() and name.isdigit() and int(name) < len(data):
            data = data[int(name)]
        else:
            return default
    return data


def _evaluate(expression: Expression, scope: Mapping[str, Json]) -> Json:
    value = lookup(scope, expression.path, _MISSING)
    for name, argument in expression.filters:
        if name == "default":
            if value is _MISSING or value is None or value == "":
                value = argument
        elif value is not _MISSING and value is not None:
            try:
                value = _apply(name, argument, value)
            except (ValueError, TypeError, ArithmeticError, OSError) as error:
                raise _failure(expression, f"cannot be passed to the filter '{name}'") from error
    return value


def _apply(name: str, argument: str, value: Json) -> Json:
    if name == "join":
        if not isinstance(value, (list, tuple)):
            raise TypeError("not a list")
        return argument.join(_plain(item) for item in value)
    if name == "without":
        if not isinstance(value, Mapping):
            raise TypeError("not an object")
        left_out = {item.strip() for item in argument.split(",")}
        return {key: item for key, item in value.items() if key not in left_out}
    if name == "lower":
        return _plain(value).lower()
    if name == "urlencode":
        return quote(_plain(value), safe="")
    if name == "text":
        return _plain(value)
    if name == "json":
        return dumps(value)
    if name == "segments":
        return _Segments(_plain(value))
    if name == "base64":
        return base64.b64encode(_plain(value).encode()).decode()
    seconds = _seconds(value)
    if name == "epoch_s":
        return int(seconds // 1)
    if name == "epoch_ms":
        return int((seconds * 1000) // 1)
    moment = datetime.fromtimestamp(float(seconds), UTC)
    if name == "date":
        return moment.strftime("%Y-%m-%d")
    if name == "format":
        return moment.strftime(argument)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )


def _seconds(value: Json) -> Decimal:
    """Epoch seconds of an ISO 8601 text (UTC unless it says otherwise) or of a number.

    A number from 10^11 on is taken as milliseconds: as seconds it would be the year 5138.
    """
    if isinstance(value, bool):
        raise TypeError("no time")
    if isinstance(value, (int, float, Decimal)):
        number = Decimal(str(value))
        if not number.is_finite():
            raise ValueError("no time")
        return number / 1000 if abs(number) >= 100_000_000_000 else number
    moment = datetime.fromisoformat(str(value))
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Decimal(since.days * 86400 + since.seconds) + Decimal(since.microseconds) / 1_000_000


def _plain(value: Json) -> str:
    """A scalar as text. Raises TypeError for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    raise TypeError("not a single value")


def _fit(expression: Expression, value: Json, slot: Slot) -> str:
    if value is _MISSING or value is None:
        raise _missing(expression)
    try:
        text = _plain(value)
        encoded = quote(
            text, safe="/" if isinstance(value, _Segments) else ""
        )  # also fails for lone surrogates, which no slot can send
    except (TypeError, ValueError) as error:
        raise _failure(expression, "is not a single value that fits here") from error
    if slot != "path":
        return text
    if not encoded:
        if expression.path[0] == "profile":
            raise _missing(expression)
        raise _failure(expression, "is empty, which a path cannot hold")
    return encoded


def _check_path(text: str, template: Template) -> None:
    """Refuse dot segments, which a server or a proxy would resolve to another path."""
    segments = text.partition("?")[0].lower().replace("%2e", ".").split("/")
    if "." in segments or ".." in segments:
        raise _blame(template, "A value would turn a part of the path into '.' or '..'.")


def _missing(expression: Expression) -> PlatintError:
    """No value: what a profile lacks is told in the words of its form."""
    if expression.path[0] != "profile" or len(expression.path) < 2:
        return _failure(expression, "has no value")
    name = expression.path[1]
    return ConfigError(
        f"The profile has no value for '{name}'.",
        hint=f"Fill it in: `platint-tui profiles edit NAME --field {name}=…`.",
    )


def _failure(expression: Expression, what: str) -> PlatintError:
    message = f"${{{expression.name}}} {what}."
    return RecordError(message) if expression.path[0] in ("record", "parent") else ConfigError(message)


def _blame(template: Template, message: str) -> PlatintError:
    from_record = any(part.path[0] in ("record", "parent") for part in template.expressions)
    return RecordError(message) if from_record else ConfigError(message)
