"""What discovery says: streams with their fields, and what changed. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from platint_tui.core.model import CatalogueChange, Field, Stream
from platint_tui.services.profiles import ProfileView
from platint_tui.tui import present
from platint_tui.tui.widgets.cells import Cell, Column, fit, tame
from platint_tui.tui.widgets.outline import Branch, Leaf

Pieces = list[tuple[str, str]]
_WIDE = 70
NAME, TYPE = 26, 11
_NOTE = 54
_CANDIDATES = 4
_BODY_LINES = 40


def profile_columns() -> tuple[Column[ProfileView], ...]:
    """The list of profiles at the left."""
    return (
        Column("profile", lambda view: Cell(view.profile.name, "strong"), 10, grow=2, most=24),
        Column(
            "platform", lambda view: Cell(view.profile.platform, "muted"), 10, grow=1, most=16, priority=1
        ),
    )


def matching(streams: Sequence[Stream], text: str) -> Sequence[Stream]:
    """The streams whose name, or the name of one of their fields, contains `text`, any case."""
    wanted = text.strip().casefold()
    if not wanted:
        return streams
    return [
        stream
        for stream in streams
        if wanted in stream.name.casefold() or any(wanted in field.name.casefold() for field in stream.fields)
    ]


def branches(streams: Sequence[Stream], changes: Sequence[CatalogueChange]) -> list[Branch]:
    """The tree of streams; what is new or changed is marked. The lines of a stream are made when it opens."""
    by_stream: dict[str, list[CatalogueChange]] = {}
    for change in changes:
        if change.kind != "stream_removed" and not change.minor:
            by_stream.setdefault(change.stream, []).append(change)
    widest = min(NAME, max((len(stream.name) for stream in streams), default=8))
    return [_branch(stream, widest, by_stream.get(stream.name, ())) for stream in streams]


def _branch(stream: Stream, widest: int, changes: Sequence[CatalogueChange]) -> Branch:
    mark = ""
    if changes:
        added = any(change.kind == "stream_added" for change in changes)
        mark = "breaking" if any(change.breaking for change in changes) else "new" if added else "changed"

    def leaves() -> tuple[Leaf, ...]:
        changed = {change.field for change in changes if change.field}
        longest = min(NAME, max((len(field.name) for field in stream.fields), default=8))
        lines = [leaf for number, line in enumerate(_about(stream)) for leaf in _note(number, *line)]
        lines += [_leaf(field, stream, field.name in changed, longest) for field in stream.fields]
        if not stream.fields and not stream.incomplete:
            lines += _note(-1, "The fields become known when records are read.", "muted")
        return tuple(lines)

    return Branch(stream.name, lambda width: stream_line(stream, mark, widest, width), leaves)


def _about(stream: Stream) -> list[tuple[str, str]]:
    """What is said of a stream before its fields: (text, tone)."""
    said = []
    if stream.refused:
        said.append((f"x not permitted: {stream.refused}", "bad"))
    if stream.needs:
        said.append((f"needs {', '.join(stream.needs)}", "warn" if stream.refused else "muted"))
    state = [value if not name else f"{name} {value}" for name, value in stream.facts]
    if stream.kind or state:
        said.append((" · ".join([stream.kind, *state] if stream.kind else state), "info"))
    if len(stream.modes) > 1:
        said.append((f"can be read by {', '.join(stream.modes)}", "muted"))
    others = [name for name in stream.cursors if name != stream.cursor]
    if others and not stream.cursor:
        said.append((f"could be read by what is new in: {', '.join(others[:_CANDIDATES])}", "info"))
    return said + [(note, "muted") for note in stream.notes]


def stream_line(stream: Stream, mark: str, widest: int, width: int) -> Pieces:
    """A stream in a line: name, what can be done, size, key, cursor; the right part goes first."""
    pieces: Pieces = [(fit(stream.name, widest), "strong"), ("  ", "")]
    pieces.append((fit(_abilities(stream), 10), "bad" if stream.refused else "muted"))
    pieces.append((fit(_estimate(stream), 10, "right"), "" if stream.estimate is not None else "muted"))
    used = widest + 22
    parts = []
    if stream.key or stream.readable or stream.refused:
        parts.append(("key", ", ".join(stream.key) or "none", "" if stream.key else "warn"))
    if stream.incomplete and stream.name.endswith("*"):
        return [*pieces, ("   not all are known: open for why", "warn")]
    if stream.modes:
        parts.append(("by", stream.modes[0], ""))
    elif stream.readable or stream.refused:
        cursor = stream.cursor or "none: read whole every time"
        parts.append(("cursor", cursor, "" if stream.cursor else "muted"))
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
    if stream.refused:
        return "x refused"
    able = [word for word, can in (("read", stream.readable), ("write", stream.writable)) if can]
    return " ".join(able) or "listed"


def _estimate(stream: Stream) -> str:
    return "-" if stream.estimate is None else f"~{present.count(stream.estimate)}"


def _leaf(field: Field, stream: Stream, changed: bool, longest: int) -> Leaf:
    return Leaf(f"field {field.name}", lambda width: field_line(field, stream, changed, longest, width))


def field_line(field: Field, stream: Stream, changed: bool, longest: int, width: int) -> Pieces:
    """A field in a line: name, type, what is demanded of it, what it is."""
    roles = []
    if field.name in stream.key or any(name.startswith(f"{field.name}.") for name in stream.key):
        roles.append("key")
    if field.name == stream.cursor:
        roles.append("cursor")
    elif field.name in stream.cursors:
        roles.append("cursor?")
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


def _note(number: int, text: str, tone: str) -> list[Leaf]:
    """A text on as many lines as it needs where there is little room."""
    lines = wrap(" ".join(text.split()), _NOTE) or [""]
    return [_note_line(f"note {number}.{part}", line, tone) for part, line in enumerate(lines)]


def _note_line(key: str, text: str, tone: str) -> Leaf:
    return Leaf(key, lambda width: [(fit(text, max(8, width)).rstrip(), tone)])


SIGNS = {
    "breaking": ("! breaking", "bad"),
    "additive": ("+ additive", "ok"),
    "informational": (". informational", "muted"),
}


def change_counts(changes: Sequence[CatalogueChange]) -> Pieces:
    """How many changes there are, breaking ones apart; nothing without any."""
    if not changes:
        return []
    breaking = sum(change.breaking for change in changes)
    pieces: Pieces = [(f"   {present.plural(len(changes), 'change')}", "strong")]
    return [*pieces, (f"   ! {breaking} breaking", "bad") if breaking else ("   none breaking", "ok")]


def change_lines(changes: Sequence[CatalogueChange], most: int) -> Pieces:
    """What changed against the discovery before: breaking first, at most `most` lines."""
    if not changes:
        return [("No changes are known.", "muted")]
    breaking = sum(1 for change in changes if change.breaking)
    pieces: Pieces = [
        (f"{present.plural(len(changes), 'change')} against the discovery before", "strong"),
        (f"   {breaking} breaking" if breaking else "   none breaking", "bad" if breaking else "ok"),
        ("   c: all", "muted"),
    ]
    shown = changes[: max(1, most - 1)]
    for change in shown:
        pieces += [("\n", ""), *change_line(change)]
    if len(shown) < len(changes):
        pieces.append((f"\nand {present.count(len(changes) - len(shown))} more", "muted"))
    return pieces


def change_line(change: CatalogueChange) -> Pieces:
    """A change in a line: how grave, where, what, and who is concerned."""
    sign, tone = SIGNS[change.grade]
    place = f"{change.stream}.{change.field}" if change.field else change.stream
    pieces: Pieces = [(f"{sign}  ", tone), (f"{tame(place)}  ", ""), (tame(change.detail), "muted")]
    if change.used_by:
        pieces.append((f"  used by {tame(', '.join(change.used_by))}", "warn"))
    return pieces


def all_changes(changes: Sequence[CatalogueChange]) -> list[Pieces]:
    """Every change, by how grave it is, a stream at a time; as lines."""
    lines: list[Pieces] = []
    for grade, (sign, tone) in SIGNS.items():
        found = [change for change in changes if change.grade == grade]
        if not found:
            continue
        lines += [[], [(f"{sign}  {present.plural(len(found), 'change')}", tone)]]
        stream = None
        for change in found:
            if change.stream != stream:
                stream = change.stream
                lines.append([(f"  {tame(stream)}", "strong")])
            place = f"{fit(change.field, min(NAME, len(change.field)))}  " if change.field else ""
            detail = wrap(tame(f"{place}{change.detail}"), _NOTE) or [""]
            lines += [[(f"    {text}", "")] for text in detail]
            if change.used_by:
                lines.append([(f"      used by {tame(', '.join(change.used_by))}", "warn")])
    return lines[1:]


def request_lines(requests: Sequence[Mapping[str, Any]], width: int) -> list[Pieces]:
    """Requests as they were sent, secrets masked, with what came of each."""
    lines: list[Pieces] = []
    for item in requests:
        ended = str(item["status"]) if item["status"] is not None else f"no answer: {item['error']}"
        good = item["status"] is not None and item["status"] < 400
        url = tame(f"{item['method']} {item['url']}")
        lines += [[(part, "key" if number == 0 else "")] for number, part in enumerate(_cut(url, width))]
        for name, value in item["headers"].items():
            lines += [[(part, "muted")] for part in _cut(f"  {tame(name)}: {tame(value)}", width)]
        if item["body"] is not None:
            lines += [[(part, "")] for part in _cut(f"  {tame(item['body'])}", width)[:_BODY_LINES]]
        lines += [
            [(f"  -> {tame(ended)}", "ok" if good else "bad"), (f"   {item['ms']:.0f} ms", "muted")],
            [],
        ]
    return lines


def bad_lines(bad: Sequence[Mapping[str, Any]], width: int) -> list[Pieces]:
    """Elements that are no records, and why."""
    lines: list[Pieces] = []
    for item in bad:
        lines += [[(part, "bad")] for part in _cut(tame(f"! no record: {item['reason']}"), width)]
        lines += [[(part, "muted")] for part in _cut(f"  {tame(item['raw'])}", width)[:_BODY_LINES]]
    return lines


def _cut(text: str, width: int) -> list[str]:
    step = max(20, width)
    return [text[at : at + step] for at in range(0, len(text), step)] or [""]
