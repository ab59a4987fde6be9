"""What discovery says: streams with their fields, and what changed. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.core.model import CatalogueChange, Field, Stream
from platint_tui.services.profiles import ProfileView
from platint_tui.tui import present
from platint_tui.tui.widgets.cells import Cell, Column, fit
from platint_tui.tui.widgets.outline import Branch, Leaf

Pieces = list[tuple[str, str]]
_WIDE = 70
NAME, TYPE = 26, 11


def profile_columns() -> tuple[Column[ProfileView], ...]:
    """The list of profiles at the left."""
    return (
        Column("profile", lambda view: Cell(view.profile.name, "strong"), 10, grow=2, most=24),
        Column(
            "platform", lambda view: Cell(view.profile.platform, "muted"), 10, grow=1, most=16, priority=1
        ),
    )


def branches(streams: Sequence[Stream], changes: Sequence[CatalogueChange]) -> list[Branch]:
    """The tree of streams; what is new or changed is marked."""
    marks: dict[str, str] = {}
    for change in changes:
        if change.kind != "stream_removed":
            worse = change.breaking or marks.get(change.stream) == "breaking"
            marks[change.stream] = (
                "breaking" if worse else "new" if change.kind == "stream_added" else "changed"
            )
    widest = min(NAME, max((len(stream.name) for stream in streams), default=8))
    return [_branch(stream, marks.get(stream.name, ""), widest, changes) for stream in streams]


def _branch(stream: Stream, mark: str, widest: int, changes: Sequence[CatalogueChange]) -> Branch:
    changed = {change.field for change in changes if change.stream == stream.name and change.field}
    longest = min(NAME, max((len(field.name) for field in stream.fields), default=8))
    leaves = [_leaf(field, stream, field.name in changed, longest) for field in stream.fields]
    leaves += [_note(index, note) for index, note in enumerate(stream.notes)]
    if not leaves:
        leaves.append(_note(-1, "The fields become known when records are read."))
    return Branch(stream.name, lambda width: stream_line(stream, mark, widest, width), tuple(leaves))


def stream_line(stream: Stream, mark: str, widest: int, width: int) -> Pieces:
    """A stream in a line: name, what can be done, size, key, cursor; the right part goes first."""
    pieces: Pieces = [(fit(stream.name, widest), "strong"), ("  ", "")]
    pieces.append((fit(_abilities(stream), 10), "muted"))
    pieces.append((fit(_estimate(stream), 10, "right"), "" if stream.estimate is not None else "muted"))
    used = widest + 22
    parts = [("key", ", ".join(stream.key) or "none", "" if stream.key else "warn")]
    parts.append(("cursor", stream.cursor or "none: read whole every time", "" if stream.cursor else "muted"))
    if stream.parent:
        parts.append(("under", stream.parent, ""))
    if mark:
        tone = "bad" if mark == "breaking" else "ok"
        pieces.append((f"  {'!' if mark == 'breaking' else '+'} {mark}", tone))
        used += len(mark) + 4
    for name, value, tone in parts:
        text = fit(value, min(28, len(value) + 2)).rstrip()
        if used + len(name) + len(text) + 4 > width:
            break
        pieces += [(f"   {name} ", "muted"), (text, tone)]
        used += len(name) + len(text) + 4
    return pieces


def _abilities(stream: Stream) -> str:
    able = [word for word, can in (("read", stream.readable), ("write", stream.writable)) if can]
    return " ".join(able) or "listed"


def _estimate(stream: Stream) -> str:
    return "-" if stream.estimate is None else f"~{present.count(stream.estimate)}"


def _leaf(field: Field, stream: Stream, changed: bool, longest: int) -> Leaf:
    return Leaf(f"field {field.name}", lambda width: field_line(field, stream, changed, longest, width))


def field_line(field: Field, stream: Stream, changed: bool, longest: int, width: int) -> Pieces:
    """A field in a line: name, type, what is demanded of it, what it is."""
    roles = []
    if field.name in stream.key:
        roles.append("key")
    if field.name == stream.cursor:
        roles.append("cursor")
    if field.required:
        roles.append("required")
    if field.max_length is not None:
        roles.append(f"at most {present.count(field.max_length)}")
    if changed:
        roles.append("changed")
    name = longest if width >= _WIDE else min(longest, NAME - 8)
    said = ", ".join(roles)
    pieces: Pieces = [(fit(field.name, name), "key" if roles[:1] in (["key"], ["cursor"]) else "")]
    pieces += [("  ", ""), (fit(field.type, TYPE), "muted"), (fit(said, 24), "warn" if changed else "muted")]
    room = width - name - TYPE - 28
    if field.description and room > 8:
        pieces.append(("  " + fit(" ".join(field.description.split()), room).rstrip(), "muted"))
    return pieces


def _note(index: int, text: str) -> Leaf:
    return Leaf(
        f"note {index}", lambda width: [(fit(" ".join(text.split()), max(8, width)).rstrip(), "muted")]
    )


def change_lines(changes: Sequence[CatalogueChange], most: int) -> Pieces:
    """What changed against the discovery before: breaking first, at most `most` lines."""
    if not changes:
        return [("No changes are known.", "muted")]
    breaking = sum(1 for change in changes if change.breaking)
    pieces: Pieces = [
        (f"{present.plural(len(changes), 'change')} against the discovery before", "strong"),
        (f"   {breaking} breaking" if breaking else "   none breaking", "bad" if breaking else "ok"),
    ]
    shown = changes[: max(1, most - 1)]
    for change in shown:
        place = f"{change.stream}.{change.field}" if change.field else change.stream
        sign, tone = ("! breaking", "bad") if change.breaking else ("+ additive", "ok")
        pieces += [("\n", ""), (f"{sign}  ", tone), (f"{place}  ", ""), (change.detail, "muted")]
    if len(shown) < len(changes):
        pieces.append((f"\nand {present.count(len(changes) - len(shown))} more", "muted"))
    return pieces
