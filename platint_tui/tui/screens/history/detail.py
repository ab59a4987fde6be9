"""One run as a text, and two runs beside each other."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from textual.content import Content

from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.states import RunState
from platint_tui.tui import present
from platint_tui.tui.progress import settled

if TYPE_CHECKING:
    from platint_tui.services.runs import RunDetail

Pieces = list[tuple[str, str]]


def describe(detail: RunDetail, now_ms: int) -> Content:
    """Everything that is known of a run."""
    run = detail.run
    lines = [*_head(run, now_ms), []]
    for stream in run.streams:
        lines += _stream(stream, now_ms)
        position = detail.positions.get(stream.stream)
        if position is not None:
            lines.append([("    now at     ", "muted"), (present.position(position.confirmed), "")])
            if position.run not in (None, run.id):
                lines.append([("               as another run left it", "muted")])
        lines.append([])
    lines.append([(f"Configuration, version {run.version}", "strong")])
    text = detail.integration.text if detail.integration is not None else ""
    if text:
        lines += [[("    " + line, "muted")] for line in text.splitlines()]
    else:
        lines.append([("    It is no longer stored.", "muted")])
    return _content(lines)


def _head(run: Run, now_ms: int) -> list[Pieces]:
    begun = run.started_ms or run.created_ms
    ended = present.moment(run.ended_ms, seconds=True) if run.ended_ms else "not ended"
    took = present.duration(((run.ended_ms or now_ms) - begun) / 1000)
    lines: list[Pieces] = [
        [present.state_cell(run.state), (f"   run {run.number} of {run.integration}", "strong")],
        [
            ("    started    ", "muted"),
            (f"{present.moment(begun, seconds=True)}, {present.age(begun, now_ms)}", ""),
        ],
        [("    ended      ", "muted"), (ended, ""), (f"   took {took}", "muted")],
        [("    trigger    ", "muted"), (run.trigger, ""), (f"   {run.id}", "muted")],
    ]
    if run.error:
        lines.append([("    error      ", "muted"), (run.error, "bad")])
    return lines


def _stream(stream: StreamProgress, now_ms: int) -> list[Pieces]:
    lines: list[Pieces] = [
        [present.state_cell(stream.state), (f"   {stream.stream}", "strong")],
        [
            ("    records    ", "muted"),
            (f"{present.count(stream.read)} read   {present.count(stream.written)} written", ""),
            *_others(stream),
        ],
        [
            ("    traffic    ", "muted"),
            (
                f"{present.plural(stream.pages, 'page')}   {present.plural(stream.requests, 'request')}"
                f"   {present.size(stream.bytes)}",
                "",
            ),
            (f"   {_speed(stream, now_ms)}", "muted"),
        ],
    ]
    if stream.state == RunState.RATE_LIMITED:
        lines.append(
            [("    goes on    ", "muted"), (present.countdown(stream.resume_at_ms, now_ms) or "now", "warn")]
        )
    if stream.error:
        lines.append([("    error      ", "muted"), (stream.error, "bad")])
        lines.append([("    code       ", "muted"), (stream.error_code or "-", "")])
    return lines


def _others(stream: StreamProgress) -> Pieces:
    pieces: Pieces = []
    if stream.dead_lettered:
        pieces.append((f"   {present.plural(stream.dead_lettered, 'dead letter')}", "bad"))
    if stream.superseded:
        pieces.append((f"   {present.count(stream.superseded)} superseded", "muted"))
    missing = stream.read - settled(stream)
    if missing > 0:
        pieces.append((f"   {present.count(missing)} read but not committed", "warn"))
    return pieces


def _speed(stream: StreamProgress, now_ms: int) -> str:
    if stream.started_ms is None:
        return ""
    seconds = ((stream.ended_ms or now_ms) - stream.started_ms) / 1000
    if seconds <= 0:
        return ""
    return f"{present.duration(seconds)}   {present.rate(stream.written / seconds)}"


def compare(first: RunDetail, second: RunDetail, now_ms: int) -> Content:
    """What differs between two runs: times, counts, errors, configuration."""
    one, two = first.run, second.run
    lines: list[Pieces] = [
        [("", ""), (f"{'':<28}{f'run {one.number}':>20}{f'run {two.number}':>20}", "strong")],
        _pair("state", str(one.state), str(two.state)),
        _pair("started", present.age(one.started_ms, now_ms), present.age(two.started_ms, now_ms)),
        _pair("took", _took(one, now_ms), _took(two, now_ms)),
        _pair("configuration", f"version {one.version}", f"version {two.version}"),
        [],
    ]
    ours = {stream.stream: stream for stream in one.streams}
    theirs = {stream.stream: stream for stream in two.streams}
    for name in dict.fromkeys([*ours, *theirs]):
        lines.append([(name, "strong")])
        for label in ("state", "read", "written", "dead_lettered", "requests", "error"):
            left, right = _value(ours.get(name), label), _value(theirs.get(name), label)
            if label != "error" or left != "-" or right != "-":
                lines.append(_pair(f"  {label.replace('_', ' ')}", left, right))
        lines.append([])
    lines += _config_diff(first, second)
    return _content(lines)


def _pair(label: str, left: str, right: str) -> Pieces:
    tone = "" if left == right else "warn"
    return [(f"{label:<28}", "muted"), (f"{left[:60]:>20}", tone), (f"{right[:60]:>20}", tone)]


def _value(stream: StreamProgress | None, label: str) -> str:
    if stream is None:
        return "-"
    value = getattr(stream, label)
    if isinstance(value, int):
        return present.count(value)
    return str(value) or "-"


def _took(run: Run, now_ms: int) -> str:
    if run.started_ms is None:
        return "-"
    return present.duration(((run.ended_ms or now_ms) - run.started_ms) / 1000)


def _config_diff(first: RunDetail, second: RunDetail) -> list[Pieces]:
    old = first.integration.text.splitlines() if first.integration else []
    new = second.integration.text.splitlines() if second.integration else []
    changed = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
    if not changed:
        return [[("The configuration is the same.", "muted")]]
    tones = {"+": "ok", "-": "bad"}
    return [[("Configuration", "strong")], *([(line, tones.get(line[:1], "muted"))] for line in changed)]


def _content(lines: list[Pieces]) -> Content:
    return Content("\n").join(present.joined([("  ", ""), *pieces]) for pieces in lines)
