"""What changed between two catalogues, and how grave it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from platint_tui.core.diff import compare
from platint_tui.core.model import Catalogue, CatalogueChange, Field, Stream

FIELDS = (Field("id", "integer", True), Field("name", "string", False, 80), Field("at", "timestamp"))
STREAM = Stream("items", ("id",), "at", FIELDS, needs=("items.read",))


def changes(old: list[Stream], new: list[Stream]) -> list[CatalogueChange]:
    return compare(Catalogue("p", "x", "1.0.0", 1, tuple(old)), Catalogue("p", "x", "1.0.0", 2, tuple(new)))


def field(number: int, **more: object) -> Stream:
    fields = list(FIELDS)
    fields[number] = replace(fields[number], **more)  # type: ignore[arg-type] # members of a field
    return replace(STREAM, fields=tuple(fields))


@pytest.mark.parametrize(
    ("new", "kind", "grade"),
    [
        (None, "stream_removed", "breaking"),
        (replace(STREAM, fields=FIELDS[:2]), "field_removed", "breaking"),
        (replace(STREAM, fields=(*FIELDS, Field("new", "string", True))), "field_added", "additive"),
        (replace(STREAM, key=("name",)), "key_changed", "breaking"),
        (replace(STREAM, cursor="other"), "cursor_changed", "breaking"),
        (replace(STREAM, readable=False, refused="needs items.read"), "permission_lost", "breaking"),
        (replace(STREAM, writable=True), "write_gained", "additive"),
        (replace(STREAM, estimate=7), "estimate_changed", "informational"),
        (replace(STREAM, needs=("more",)), "needs_changed", "informational"),
        (field(1, type="integer"), "type_changed", "breaking"),
        (field(0, type="number"), "type_changed", "additive"),
        (field(1, type="any"), "type_changed", "additive"),
        (field(1, required=True), "became_required", "breaking"),
        (field(0, required=False), "relaxed", "additive"),
        (field(1, max_length=40), "length_changed", "additive"),
        (field(1, description="Words."), "description_changed", "informational"),
        (replace(STREAM, fields=FIELDS[:1], incomplete=True), "not_described", "informational"),
    ],
)
def test_each_change_has_a_grade(new: Stream | None, kind: str, grade: str) -> None:
    [found] = changes([STREAM], [new] if new is not None else [])
    assert (found.kind, found.grade) == (kind, grade)


def test_what_is_written_is_held_to_more() -> None:
    target = replace(STREAM, writable=True)
    shorter = replace(target, fields=(FIELDS[0], replace(FIELDS[1], max_length=10), FIELDS[2]))
    [found] = changes([target], [shorter])
    assert found.breaking
    [found] = changes([target], [replace(target, fields=(*FIELDS, Field("new", "string", True)))])
    assert found.breaking
    [found] = changes([target], [STREAM])
    assert (found.kind, found.grade) == ("write_lost", "breaking")


def test_nothing_and_new_things() -> None:
    assert changes([STREAM], [STREAM]) == []
    [found] = changes([], [STREAM])
    assert (found.kind, found.grade) == ("stream_added", "additive")
    [found] = changes([replace(STREAM, readable=False, refused="no")], [STREAM])
    assert (found.kind, found.grade) == ("permission_gained", "additive")


def test_what_could_not_be_listed_is_not_gone() -> None:
    one, two = replace(STREAM, name="tables.a"), replace(STREAM, name="views.a")
    gap = Stream("tables.*", (), None, (), False, notes=("Not listed.",), incomplete=True)
    found = {(item.kind, item.stream) for item in changes([one, two], [gap])}
    assert found == {("stream_removed", "views.a"), ("not_listed", "tables.*")}
    refused = replace(gap, refused="The scope tables.list is missing.")
    kinds = {item.kind: item for item in changes([one], [refused])}
    assert set(kinds) == {"permission_lost"} and "tables.list" in kinds["permission_lost"].detail
    [back] = changes([refused], [gap])
    assert back.kind == "permission_gained"


def test_breaking_changes_come_first() -> None:
    old = [STREAM, replace(STREAM, name="a")]
    new = [replace(STREAM, fields=(*FIELDS, Field("x", "any")), estimate=3)]
    assert [item.grade for item in changes(old, new)] == ["breaking", "additive", "informational"]
