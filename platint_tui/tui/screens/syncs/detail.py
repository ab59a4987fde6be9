"""What the chosen integration does now, or how its last run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from platint_tui.core.states import RunState
from platint_tui.tui import present
from platint_tui.tui.pace import Pace
from platint_tui.tui.progress import Progress, committed_words, progress_of
from platint_tui.tui.screens.syncs.rows import fed_words

if TYPE_CHECKING:
    from platint_tui.core.model import Run, StreamMapping
    from platint_tui.services.syncs import SyncView

Pieces = list[tuple[str, str]]
LOST = "position_lost"
STALE_S = 60.0
"""Seconds after which a source that is followed counts as silent; the drivers say something every few."""


def describe(view: SyncView, chosen: StreamMapping | None, pace: Pace, now_ms: int, width: int) -> Content:
    """The text of the detail pane."""
    run = view.last_run
    lines: list[Pieces] = []
    if run is None and view.fed:
        lines.append([("Webhooks feed it: events go to the target as they arrive.", "muted")])
    elif run is None:
        lines.append([("It has not run yet.  ", "muted"), ("r", "key"), (" runs it.", "muted")])
    if run is not None:
        lines += _run_lines(run, pace, now_ms, width)
        if view.in_real_time and run.state == RunState.RUNNING:
            lines += _live_lines(view, run, now_ms)
    lines += _fed_lines(view, now_ms)
    if view.unresolved:
        noun = present.plural(view.unresolved, "dead letter")
        waits = "waits" if view.unresolved == 1 else "wait"
        lines += [[], [(f"{noun} {waits} for you.  ", "bad"), ("5", "key"), (" shows them.", "muted")]]
    if chosen is not None:
        lines += [[], *_mapping_lines(view, chosen)]
    return Content("\n").join(present.joined([("  ", ""), *pieces]) for pieces in lines)


def _fed_lines(view: SyncView, now_ms: int) -> list[Pieces]:
    """What webhooks bring: per stream what arrived and waits, and why it waits."""
    lines: list[Pieces] = []
    wide = max((len(name) for name in view.fed), default=0) + 2
    for name, fed in view.fed.items():
        lines.append([(f"{name:<{wide}}", ""), (f"last hour {fed_words(fed)}", "muted")])
        if fed.held:
            lines.append([(f"{'':<{wide}}held: {fed.held}", "warn")])
    if view.breaker is not None and view.breaker.state != "closed":
        again = present.countdown(view.breaker.until_ms, now_ms)
        text = (
            f"Nothing is sent to {view.breaker.profile} at present, it failed {view.breaker.failures} times: "
        )
        lines.append([(text, "bad"), (f"{view.breaker.message} Tried again {again}.", "bad")])
    if view.fed:
        lines.append([("6", "key"), (f" shows the events of {view.integration.source_profile}", "muted")])
    return lines


def _run_lines(run: Run, pace: Pace, now_ms: int, width: int) -> list[Pieces]:
    begun = run.started_ms or run.created_ms
    took = ((run.ended_ms or now_ms) - begun) / 1000
    when = f"for {present.duration(took)}" if run.ended_ms is None else f"took {present.duration(took)}"
    head: Pieces = [
        (f"run {run.number}  ", "muted"),
        present.state_cell(run.state),
        (f"  {when}, started {present.age(begun, now_ms)}", "muted"),
    ]
    if run.cancel_requested and run.ended_ms is None:
        head.append(("  stopping at the next page border", "warn"))
    lines = [head]
    if run.error and all(stream.error != run.error for stream in run.streams):
        lines.append([(run.error, "bad")])
    rows = progress_of((run,), pace, now_ms)
    wide = max((len(row.stream.stream) for row in rows), default=0)
    for row in rows:
        lines.append(_stream_line(row, min(wide, 24), now_ms, width))
        if row.stream.error:
            lines.append([("  " + row.stream.error, "bad")])
    return lines


def _live_lines(view: SyncView, run: Run, now_ms: int) -> list[Pieces]:
    """In real time: when each source was last heard, and how old records are when they are stored."""
    lines: list[Pieces] = []
    for stream in run.streams:
        pieces: Pieces = [(f"{stream.stream}  ", "muted"), *heard_words(stream.heard_ms, now_ms)]
        lag = view.lags.get(stream.stream)
        if lag is not None:
            values = (("p50", lag.p50_ms), ("p95", lag.p95_ms), ("p99", lag.p99_ms))
            pieces.append(("   lag", "muted"))
            pieces += [(f"  {name} {present.milliseconds(value)}", "") for name, value in values]
        lines.append(pieces)
    return lines


def heard_words(heard_ms: int | None, now_ms: int) -> Pieces:
    """Since when nothing was heard of a source that should say something all the time."""
    if heard_ms is None:
        return [("not heard yet", "muted")]
    silent = (now_ms - heard_ms) / 1000
    if silent > STALE_S:
        return [(f"! stale: nothing heard for {present.duration(silent)}", "warn")]
    return [(f"heard {present.age(heard_ms, now_ms)}", "ok")]


def _stream_line(row: Progress, wide: int, now_ms: int, width: int) -> Pieces:
    """State, name and what is committed; then as much of the rest as fits."""
    stream = row.stream
    glyph, tone = present.state_cell(stream.state)
    pieces: Pieces = [
        (f"{glyph:<14}", tone),
        (f"{stream.stream[:wide]:<{wide}}  ", ""),
        (f"{committed_words(row)} committed", ""),
    ]
    rest: Pieces = []
    if stream.superseded:
        rest.append((f"   {present.count(stream.superseded)} superseded", "muted"))
    if stream.dead_lettered:
        rest.append((f"   {present.plural(stream.dead_lettered, 'dead letter')}", "bad"))
    if stream.state == RunState.RATE_LIMITED:
        rest.append((f"   goes on {present.countdown(stream.resume_at_ms, now_ms)}", "warn"))
    if row.rate is not None:
        rest.append((f"   {present.rate(row.rate)}", "muted"))
    if row.left_s is not None:
        rest.append((f"   {present.duration(row.left_s)} left", "muted"))
    if row.share is not None and stream.ended_ms is None:
        rest.append(("   " + present.bar(row.share, 20 if width >= 120 else 10), "info"))
    if row.requests is not None:
        rest.append((f"   {present.rate(row.requests)} requests", "muted"))
    room = width - 6 - sum(len(text) for text, _ in pieces)
    for text, style in rest:
        if len(text) <= room:
            pieces.append((text, style))
            room -= len(text)
    return pieces


def _lost(view: SyncView, chosen: StreamMapping) -> bool:
    progress = view.progress.get(chosen.stream)
    return progress is not None and progress.error_code == LOST


def _mapping_lines(view: SyncView, chosen: StreamMapping) -> list[Pieces]:
    state = next((item for item in view.states if item.stream == chosen.stream), None)
    lines: list[Pieces] = [
        [("key       ", "muted"), (", ".join(chosen.key) or "as the source says", "")],
        [("into      ", "muted"), (chosen.target, "")],
        [("position  ", "muted"), (present.position(state.confirmed if state else None), "")],
    ]
    if chosen.mode:
        lines.append([("read by   ", "muted"), (f"{chosen.mode} {chosen.cursor}".rstrip(), "")])
    holes = view.gaps.get(chosen.stream, 0)
    if holes:
        text = f"{present.plural(holes, 'span')} of it could not be read (syncs gaps lists them)"
        lines.append([("gaps      ", "muted"), (text, "warn")])
    if _lost(view, chosen):
        lines.append([("lost      ", "bad"), ("e", "key"), (" decides how it goes on", "muted")])
    if chosen.select:
        lines.append([("fields    ", "muted"), (", ".join(chosen.select), "")])
    if chosen.map:
        renamed = ", ".join(f"{old} as {new}" for new, old in chosen.map.items())
        lines.append([("renamed   ", "muted"), (renamed, "")])
    return lines
