"""Differences between two catalogues: breaking, additive or informational."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from platint_tui.core.model import Catalogue, CatalogueChange, Field, Stream

_WIDER = {
    ("integer", "number"),
    ("timestamp", "string"),
    ("string", "timestamp"),
}
"""Types that change only in how much is known of the values: what was taken before is taken still."""
_SHOWN = 160


def compare(old: Catalogue, new: Catalogue) -> list[CatalogueChange]:
    """What changed from `old` to `new`: breaking changes first, then additive, then informational ones.

    What a discovery could not ask for (`incomplete`) is not taken for gone.
    """
    before = {stream.name: stream for stream in old.streams}
    after = {stream.name: stream for stream in new.streams}
    changes: list[CatalogueChange] = []
    for name, stream in before.items():
        if name in after:
            changes += _stream_changes(stream, after[name])
        elif _is_family(name):
            if stream.refused:
                changes.append(_change("permission_gained", name, "These streams can be listed again."))
        elif not hidden(name, after):
            changes.append(_breaking("stream_removed", name, "", "The stream is gone."))
    for name, stream in after.items():
        if name in before:
            continue
        if not _is_family(name):
            changes.append(_change("stream_added", name, "A new stream."))
        elif stream.refused:
            changes.append(_breaking("permission_lost", name, "", stream.refused))
        elif stream.incomplete:
            changes.append(_minor("not_listed", name, "", "; ".join(stream.notes)))
    return by_grade(changes)


def by_grade(changes: Iterable[CatalogueChange]) -> list[CatalogueChange]:
    """Breaking changes first, then additive, then informational ones; a stream at a time."""
    return sorted(changes, key=_order)


def _order(change: CatalogueChange) -> tuple[int, str, str, str]:
    grade = 0 if change.breaking else 2 if change.minor else 1
    return grade, change.stream, change.field, change.kind


def _change(kind: str, stream: str, detail: str, field: str = "") -> CatalogueChange:
    return CatalogueChange(kind, stream, field, False, detail)


def _breaking(kind: str, stream: str, field: str, detail: str) -> CatalogueChange:
    return CatalogueChange(kind, stream, field, True, detail)


def _minor(kind: str, stream: str, field: str, detail: str) -> CatalogueChange:
    return CatalogueChange(kind, stream, field, False, detail, True)


def _is_family(name: str) -> bool:
    return name.endswith("*")


def hidden(name: str, after: Mapping[str, Stream]) -> bool:
    """Whether a stream may still be there: its family was not listed to the end."""
    head, dot, _ = name.partition(".")
    families = ("*", f"{head}.*") if dot else ("*",)
    return any(family in after and after[family].incomplete for family in families)


def _stream_changes(old: Stream, new: Stream) -> Iterator[CatalogueChange]:
    name = new.name
    if old.key != new.key:
        detail = f"The key went from {', '.join(old.key) or 'none'} to {', '.join(new.key) or 'none'}."
        yield _breaking("key_changed", name, "", detail)
    if old.cursor != new.cursor:
        detail = f"The cursor went from {old.cursor or 'none'} to {new.cursor or 'none'}."
        if old.cursor is None:
            yield _change("cursor_changed", name, detail)
        else:
            yield _breaking("cursor_changed", name, "", detail)
    yield from _permissions(old, new)
    if old.needs != new.needs:
        yield _minor("needs_changed", name, "", f"Reading needs {', '.join(new.needs) or 'nothing special'}.")
    if old.estimate != new.estimate and new.estimate is not None:
        was = "not known" if old.estimate is None else f"{old.estimate:,}"
        yield _minor(
            "estimate_changed", name, "", f"The number of records went from {was} to {new.estimate:,}."
        )
    before = {field.name: field for field in old.fields}
    after = {field.name: field for field in new.fields}
    for field in before:
        if field not in after and not new.incomplete:
            yield _breaking("field_removed", name, field, "The field is gone.")
    for field, found in after.items():
        if field in before:
            yield from _field_changes(before[field], found, new)
        elif found.required and new.writable:
            yield _breaking("field_added", name, field, "A new field that every record must have.")
        else:
            yield _change("field_added", name, "A new field.", field)
    if new.incomplete and not old.incomplete and not _is_family(name):
        yield _minor("not_described", name, "", "Its fields could not be asked for this time.")


def _permissions(old: Stream, new: Stream) -> Iterator[CatalogueChange]:
    name = new.name
    if new.refused and not old.refused:
        yield _breaking("permission_lost", name, "", new.refused)
    elif old.refused and not new.refused:
        yield _change("permission_gained", name, "It may be read now.")
    elif old.readable and not new.readable and not _is_family(name):
        yield _breaking("permission_lost", name, "", "It can no longer be read.")
    elif new.readable and not old.readable:
        yield _change("permission_gained", name, "It can be read now.")
    if old.writable and not new.writable:
        yield _breaking("write_lost", name, "", "It can no longer be written.")
    elif new.writable and not old.writable:
        yield _change("write_gained", name, "It can be written now.")


def _field_changes(old: Field, new: Field, stream: Stream) -> Iterator[CatalogueChange]:
    name, field = stream.name, new.name
    if old.type != new.type:
        detail = f"The type went from {old.type} to {new.type}."
        if "any" in (old.type, new.type) or (old.type, new.type) in _WIDER:
            yield _change("type_changed", name, detail, field)
        else:
            yield _breaking("type_changed", name, field, detail)
    if new.required and not old.required:
        yield _breaking("became_required", name, field, "Every record must have it now.")
    elif old.required and not new.required:
        yield _change("relaxed", name, "It may be missing now.", field)
    if old.max_length != new.max_length:
        was = "any length" if old.max_length is None else f"at most {old.max_length:,}"
        now = "any length" if new.max_length is None else f"at most {new.max_length:,}"
        shorter = new.max_length is not None and (old.max_length is None or new.max_length < old.max_length)
        detail = f"The length went from {was} to {now}."
        if shorter and stream.writable:
            yield _breaking("length_changed", name, field, detail)
        else:
            yield _change("length_changed", name, detail, field)
    if old.description != new.description:
        yield _minor(
            "description_changed", name, field, new.description[:_SHOWN] or "No description any more."
        )
