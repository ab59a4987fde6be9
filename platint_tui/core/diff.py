"""Differences between two catalogues, classified as breaking or additive."""

from __future__ import annotations

from platint_tui.core.model import Catalogue, CatalogueChange, Stream

_WIDER = {
    ("integer", "number"),
    ("integer", "any"),
    ("number", "any"),
    ("string", "any"),
    ("timestamp", "string"),
}


def compare(old: Catalogue, new: Catalogue) -> list[CatalogueChange]:
    """What changed from `old` to `new`, breaking changes first."""
    before = {stream.name: stream for stream in old.streams}
    after = {stream.name: stream for stream in new.streams}
    changes = [
        CatalogueChange("stream_removed", name, "", True, "The stream is gone.")
        for name in before.keys() - after.keys()
    ]
    changes += [
        CatalogueChange("stream_added", name, "", False, "A new stream.")
        for name in after.keys() - before.keys()
    ]
    for name in before.keys() & after.keys():
        changes += _stream_changes(before[name], after[name])
    return sorted(changes, key=lambda change: (not change.breaking, change.stream, change.field, change.kind))


def _stream_changes(old: Stream, new: Stream) -> list[CatalogueChange]:
    changes = []
    if old.key != new.key:
        detail = f"The key went from {', '.join(old.key) or 'none'} to {', '.join(new.key) or 'none'}."
        changes.append(CatalogueChange("key_changed", new.name, "", True, detail))
    if old.cursor != new.cursor:
        detail = f"The cursor went from {old.cursor or 'none'} to {new.cursor or 'none'}."
        changes.append(CatalogueChange("cursor_changed", new.name, "", True, detail))
    before = {field.name: field for field in old.fields}
    after = {field.name: field for field in new.fields}
    changes += [
        CatalogueChange("field_removed", new.name, name, True, "The field is gone.")
        for name in before.keys() - after.keys()
    ]
    changes += [
        CatalogueChange("field_added", new.name, name, after[name].required, "A new field.")
        for name in after.keys() - before.keys()
    ]
    for name in before.keys() & after.keys():
        if before[name].type != after[name].type:
            breaking = (before[name].type, after[name].type) not in _WIDER
            detail = f"The type went from {before[name].type} to {after[name].type}."
            changes.append(CatalogueChange("type_changed", new.name, name, breaking, detail))
    return changes
