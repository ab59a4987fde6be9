"""Patches: a correction of one record as a few steps that apply to others like it.

A step names one field by its dotted path (`customer.address.0.city`; a dot or a backslash within a name is
written after a backslash). What a patch does depends on the record alone, and fields that no step names are never
touched. Every step may be applied again to what it made without a further change, but for a `rename` whose old
name a later step fills again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from platint_tui.core.errors import ConfigError, RecordError, SystemicError
from platint_tui.core.jsontext import dumps, loads

SET, RENAME, CAST, DROP, DEFAULT = "set", "rename", "cast", "drop", "default"
OPERATIONS = (SET, RENAME, CAST, DROP, DEFAULT)
CASTS = ("string", "integer", "number", "boolean")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One change at `path`.

    `set` puts `value` there, `default` only where nothing or null is, `rename` moves what is there to `to`, `cast`
    makes it the type in `to` (string, integer, number, boolean), `drop` removes it. Where nothing is to be renamed,
    cast or dropped, nothing happens.
    """

    op: str
    path: Path
    value: Any = None
    to: str = ""

    def words(self) -> str:
        """The step for a person: `cast amount to integer`."""
        name = write_path(self.path)
        if self.op in (SET, DEFAULT):
            return f"{self.op} {name} to {dumps(self.value)}"
        return f"{self.op} {name}" + (f" to {self.to}" if self.to else "")


Patch = tuple[Step, ...]


def read_path(text: str) -> Path:
    """A dotted path as its names."""
    names, name, escaped = [], "", False
    for character in text:
        if escaped or character not in "\\.":
            name += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            names.append(name)
            name = ""
    return (*names, name + ("\\" if escaped else ""))


def write_path(path: Sequence[str]) -> str:
    """The dotted text of a path; `read_path` gives the path back."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def patch_of(documents: Iterable[Mapping[str, Any]]) -> Patch:
    """A patch from its stored form (see `documents`). Raises ConfigError naming the step that is wrong."""
    return tuple(_step_of(document, number) for number, document in enumerate(documents, 1))


def _step_of(document: Mapping[str, Any], number: int) -> Step:
    op, path, to = document.get("op"), document.get("path"), document.get("to", "")
    if op not in OPERATIONS:
        raise ConfigError(
            f"Step {number} of the patch has no operation that is known.",
            hint=f"There are {', '.join(OPERATIONS)}.",
        )
    if not isinstance(path, str) or not isinstance(to, str):
        raise ConfigError(f"Step {number} of the patch ({op}) needs the path of a field.")
    step = Step(op, read_path(path), document.get("value"), to)
    if op in (SET, DEFAULT) and "value" not in document:
        raise ConfigError(f"Step {number} of the patch ({op} {path}) needs a value.")
    if op == CAST and to not in CASTS:
        raise ConfigError(
            f"Step {number} of the patch casts '{path}' to no type that is known.",
            hint=f"There are {', '.join(CASTS)}.",
        )
    if op == RENAME:
        new = read_path(to)
        shorter = min(len(new), len(step.path))
        if not to or new[:shorter] == step.path[:shorter]:
            raise ConfigError(
                f"Step {number} of the patch cannot rename '{path}' to '{to}'.",
                hint="Neither name may be empty, nor lie within the other.",
            )
    return step


def documents(patch: Patch) -> list[dict[str, Any]]:
    """The patch as it is stored: plain JSON, a step an object."""
    found: list[dict[str, Any]] = []
    for step in patch:
        document: dict[str, Any] = {"op": step.op, "path": write_path(step.path)}
        if step.op in (SET, DEFAULT):
            document["value"] = step.value
        if step.to:
            document["to"] = step.to
        found.append(document)
    return found


def apply(record: Mapping[str, Any], patch: Patch) -> dict[str, Any]:
    """What the patch makes of a record, which itself is not changed.

    Raises RecordError (code `patch`, `where` the path) when a step does not fit the record: a text that is no
    number, a field within something that is no object.
    """
    result: Any = dict(record)
    for step in patch:
        if step.op == SET:
            result = _put(result, step.path, step.value, step.path)
        elif step.op == DEFAULT:
            if _at(result, step.path) in (None, _ABSENT):
                result = _put(result, step.path, step.value, step.path)
        elif step.op == DROP:
            result = _without(result, step.path)
        elif (found := _at(result, step.path)) is not _ABSENT:
            if step.op == CAST:
                result = _put(result, step.path, _cast(found, step), step.path)
            else:
                to = read_path(step.to)
                result = _put(_without(result, step.path), to, found, to)
    made: dict[str, Any] = result
    return made


class _Absent:
    """There is nothing at a path, not even null."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


_ABSENT = _Absent()


def _at(value: Any, path: Path) -> Any:
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name, _ABSENT)
        elif isinstance(value, list) and (at := _index(name, value)) is not None:
            value = value[at]
        else:
            return _ABSENT
    return value


def _index(name: str, items: Sequence[Any]) -> int | None:
    """The place in a list that a name means, None for none that is there."""
    if name.isascii() and name.isdigit() and len(name) < 8 and int(name) < len(items):
        return int(name)
    return None


def _put(value: Any, path: Path, new: Any, whole: Path) -> Any:
    """A copy with `new` at `path`; objects on the way are made, elements of lists are not."""
    name, *rest = path
    if isinstance(value, Mapping):
        inner = _put(value.get(name, {}), tuple(rest), new, whole) if rest else new
        return {**value, name: inner}
    if isinstance(value, list) and (at := _index(name, value)) is not None:
        items = list(value)
        items[at] = _put(items[at], tuple(rest), new, whole) if rest else new
        return items
    raise RecordError(
        f"'{write_path(whole)}' cannot be set: what holds '{name}' is not an object.",
        code="patch",
        where=write_path(whole),
    )


def _without(value: Any, path: Path) -> Any:
    """A copy without what is at `path`; elements of lists are not taken out, others would move."""
    name, *rest = path
    if isinstance(value, Mapping) and name in value:
        if not rest:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: _without(value[name], tuple(rest))}
    if rest and isinstance(value, list) and (at := _index(name, value)) is not None:
        items = list(value)
        items[at] = _without(items[at], tuple(rest))
        return items
    return value


def _cast(value: Any, step: Step) -> Any:
    if value is None:
        return None
    made = _ABSENT if isinstance(value, (dict, list)) else _converted(value, step.to)
    if made is _ABSENT:
        raise RecordError(
            f"'{write_path(step.path)}' holds {_shown(value)}, which is no {step.to}.",
            code="patch",
            where=write_path(step.path),
        )
    return made


def _converted(value: Any, kind: str) -> Any:
    """A text, number or boolean as another type without loss; _ABSENT when that cannot be."""
    if kind == "string":
        return value if isinstance(value, str) else dumps(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        return _BOOLEANS.get(str(value).strip().lower(), _ABSENT)
    number = _number(value)
    if number is None:
        return _ABSENT
    if kind == "integer" and not isinstance(number, int):
        return int(number) if number == int(number) else _ABSENT
    return number


def _number(value: Any) -> int | float | Decimal | None:
    if isinstance(value, str):
        try:
            value = loads(value.strip())
        except SystemicError:
            return None
    return value if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    text = dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def derive(before: Mapping[str, Any], after: Mapping[str, Any]) -> Patch:
    """The patch that says what an edit did: `apply(before, derive(before, after))` equals `after`.

    Of the patches that do, it gives the one that is likely to fit others too: a value of another type with the
    same content is a cast, a value under a new name a rename, a value where none was a default.
    """
    return tuple(_changes(before, after, ()))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], above: Path) -> Iterable[Step]:
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    for name in list(new):
        # An empty value under a new name is likelier a new field than a renamed one.
        telling = name != "" and after[name] not in (None, "")
        source = next((old for old in gone if telling and same(before[old], after[name])), None)
        if source is not None:
            yield Step(RENAME, (*above, source), to=write_path((*above, name)))
            gone.remove(source)
            new.remove(name)
    for name in gone:
        yield Step(DROP, (*above, name))
    for name in new:
        # A null is put there: a default of null would be the same, and say less.
        yield Step(DEFAULT if after[name] is not None else SET, (*above, name), after[name])
    for name, old in before.items():
        if name in after and not same(old, after[name]):
            yield from _change(old, after[name], (*above, name))


def _change(old: Any, new: Any, path: Path) -> Iterable[Step]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _changes(old, new, path)
        return
    if old is None:
        yield Step(DEFAULT, path, new)
        return
    if not isinstance(old, (dict, list)):
        for kind in CASTS:
            if same(_converted(old, kind), new):
                yield Step(CAST, path, to=kind)
                return
    yield Step(SET, path, new)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same value of the same type; the order of members does not count."""
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same(item, other[name]) for name, item in one.items())
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(item, its) for item, its in zip(one, other, strict=True))
        )
    return type(one) is type(other) and bool(one == other)
