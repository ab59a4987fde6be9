"""The edge between model and view: values become words, and text from outside becomes harmless.

Everything that came from a platform, a file or a person passes `clean` here and reaches a widget as `Content`
or as (text, tone) cells, never as a markup string.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from textual.content import Content

from platint_tui.core.text import clean
from platint_tui.tui import glyphs

if TYPE_CHECKING:
    from platint_tui.services.console import Status

TONE_STYLES: dict[str, str] = {
    "": "$foreground",
    "muted": "$foreground 60%",
    "strong": "bold $foreground",
    "ok": "$text-success",
    "warn": "$text-warning",
    "bad": "$text-error",
    "info": "$text-primary",
    "accent": "$text-accent",
    "key": "$text-primary",
    "match": "reverse",
    "faint": "$foreground 30%",
}
"""The restrained palette: tone to Textual style."""

_LOOKS: dict[str, tuple[str, str, str]] = {
    "queued": ("ring", "muted", "queued"),
    "running": ("dot", "info", "running"),
    "rate_limited": ("pause", "warn", "parked"),
    "succeeded": ("tick", "ok", "ok"),
    "partial": ("half", "warn", "partial"),
    "failed": ("cross", "bad", "failed"),
    "cancelled": ("slash", "muted", "cancelled"),
    "interrupted": ("bang", "warn", "interrupted"),
    "ok": ("tick", "ok", "ok"),
    "failing": ("bang", "warn", "failing"),
    "errors": ("bang", "warn", "errors"),
    "unknown": ("ring", "muted", "unknown"),
    "open": ("dot", "bad", "open"),
    "replaying": ("dot", "info", "replaying"),
    "edited": ("half", "muted", "edited"),
    "superseded": ("tick", "muted", "superseded"),
    "discarded": ("slash", "muted", "discarded"),
    "gone": ("slash", "muted", "gone"),
    "acknowledged": ("half", "warn", "acknowledged"),
    "resolved": ("tick", "ok", "resolved"),
    "ignored": ("slash", "muted", "ignored"),
    "sending": ("dot", "info", "sending"),
    "pending": ("ring", "muted", "pending"),
    "paused": ("pause", "warn", "paused"),
    "done": ("tick", "ok", "done"),
    "planning": ("ring", "muted", "planning"),
    "canary": ("dot", "info", "canary"),
    "waiting": ("pause", "warn", "waiting"),
    "cancelling": ("slash", "muted", "cancelling"),
    "active": ("dot", "ok", "active"),
    "disabled": ("slash", "bad", "disabled"),
    "new": ("ring", "info", "new"),
    "routed": ("tick", "ok", "routed"),
    "unwanted": ("slash", "muted", "unwanted"),
    "handshake": ("tick", "muted", "handshake"),
    "dead": ("cross", "bad", "dead"),
    "skipped": ("slash", "muted", "skipped"),
    "fallback": ("half", "warn", "fallback"),
    "creating": ("ring", "info", "creating"),
    "filling": ("dot", "info", "filling"),
    "filled": ("tick", "ok", "filled"),
    "accepted": ("slash", "muted", "accepted"),
    "half_open": ("half", "warn", "trying"),
    "rejected": ("cross", "bad", "rejected"),
}


def toned(text: object, tone: str = "", *, lines: bool = False) -> Content:
    """`text` cleaned, in a tone. The only way for text from outside into a widget."""
    return Content.styled(clean(str(text), lines=lines), TONE_STYLES[tone])


def joined(pieces: Iterable[tuple[object, str]], *, lines: bool = False) -> Content:
    """Content from (text, tone) pieces, each cleaned."""
    return Content.assemble(*(toned(text, tone, lines=lines) for text, tone in pieces))


def lined(lines: Iterable[Iterable[tuple[object, str]]]) -> Content:
    """Content from lines of (text, tone) pieces, each piece cleaned."""
    return Content("\n").join(joined(pieces) for pieces in lines)


def state_cell(state: str) -> tuple[str, str]:
    """Glyph plus word, and the tone, of any state of a run, an issue, a dead letter or a platform."""
    glyph, tone, word = _LOOKS.get(str(state), ("ring", "muted", str(state)))
    return f"{getattr(glyphs.current(), glyph)} {clean(word)}", tone


def state_text(state: str) -> Content:
    """A state as content: glyph and word, coloured."""
    return toned(*state_cell(state))


def count(number: int | float | None) -> str:
    """`12,480`; a dash for nothing known."""
    return "-" if number is None else f"{number:,.0f}"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """`1 run`, `12,480 runs`."""
    return f"{count(number)} {noun if number == 1 else nouns or noun + 's'}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 m 20 s`, `5 h 02 m`, `3 d 4 h`."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def age(then_ms: int | None, now_ms: int) -> str:
    """`now`, `12 s ago`, `3 m ago`, `5 h ago`; from a day on the local date and time."""
    if then_ms is None:
        return "never"
    seconds = (now_ms - then_ms) / 1000
    if seconds >= 86400 or seconds < -60:
        return moment(then_ms)
    if seconds < 2:
        return "now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3600:
        return f"{seconds // 60:.0f} m ago"
    return f"{seconds // 3600:.0f} h ago"


def countdown(until_ms: int | None, now_ms: int) -> str:
    """`in 3 m 20 s`, `now` when it has come."""
    if until_ms is None:
        return ""
    left = (until_ms - now_ms) / 1000
    return "now" if left <= 0 else f"in {duration(max(1.0, float(int(left))))}"


def moment(at_ms: int | None, *, seconds: bool = False) -> str:
    """Local date and time: `2026-11-23 14:05`; a dash for none, the number itself when it is no date."""
    if at_ms is None:
        return "-"
    try:
        local = datetime.fromtimestamp(at_ms / 1000)
    except (OverflowError, OSError, ValueError):
        return str(at_ms)
    return local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def size(number: int | None) -> str:
    """`512 B`, `16.2 kB`, `1.5 MB`."""
    if number is None:
        return "-"
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return str(number)


def milliseconds(value: float | None) -> str:
    """A latency: `0.8 ms`, `38 ms`, `1.24 s`; a dash for none."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"


def percent(share: float | None) -> str:
    """A rate in 0..1: `0 %`, `0.4 %`, `12 %`."""
    if share is None:
        return "-"
    value = share * 100
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def rate(per_second: float | None, noun: str = "") -> str:
    """`340/s`, `2.5/s`."""
    if per_second is None:
        return "-"
    text = f"{per_second:.1f}/s" if per_second < 9.95 else f"{per_second:,.0f}/s"
    return f"{text} {noun}".strip()


def sparkline(values: Sequence[float | None], width: int) -> str:
    """A line of block characters, the newest value at the right; blanks where nothing was measured."""
    if width <= 0:
        return ""
    shown = list(values)[-width:]
    top = max((value for value in shown if value is not None), default=0.0)
    steps = glyphs.current().spark
    cells = []
    for value in shown:
        if value is None:
            cells.append(" ")
        else:
            cells.append(steps[round(value / top * (len(steps) - 1))] if top > 0 else steps[0])
    return "".join(cells).rjust(width)


def bar(done: float, width: int) -> str:
    """A progress bar of `width` cells; `done` in 0..1 is clamped."""
    full = round(max(0.0, min(1.0, done)) * width)
    cells = glyphs.current().bar
    return cells[0] * full + cells[1] * (width - full)


def engine_words(status: Status, now_ms: int) -> list[tuple[str, str]]:
    """What the engine does, as pieces: running with how many runs, parked until when, ready, or idle."""
    sign = glyphs.current()
    running = [run for run in status.active if run.state != "rate_limited"]
    if running:
        doing = plural(len(running), "run") if status.engine_running else "waiting for the engine"
        return [(f"{sign.dot} {doing}", "info")]
    if status.active:
        return [(f"{sign.pause} parked {countdown(status.parked_until_ms, now_ms)}".rstrip(), "warn")]
    if status.engine_running:
        return [(f"{sign.dot} engine ready", "muted")]
    return [(f"{sign.ring} engine idle", "muted")]


def position(document: object) -> str:
    """Where a sync stands, short: the cursor's value when there is one, else the document as JSON."""
    if document is None:
        return "from the beginning"
    if isinstance(document, Mapping):
        for name in ("high", "since"):
            if isinstance(document.get(name), str | int | float) and document[name] != "":
                return str(document[name])
        partitions = document.get("partitions")
        if isinstance(partitions, Mapping):
            return plural(len(partitions), "partition")
        if document.get("kind") == "cursor":
            if document.get("page"):
                return "in the middle of a scan"
            return "nothing read yet" if document.get("cursor") else "read whole every time"
    text = json.dumps(document, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:199] + glyphs.current().ellipsis
