"""What the inbox says: columns, whose fault a failure is, what to do next. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from platint_tui.core import blame
from platint_tui.core.blame import whose_fault
from platint_tui.core.errors import ErrorClass
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import NATIVE, Attempt, DeadLetter, Issue, Json, Trigger
from platint_tui.core.rules import FixRule
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.services.deadletters import DeadLetterView, SeenQueue
from platint_tui.tui import glyphs, present
from platint_tui.tui.widgets.cells import Cell, Column

Pieces = list[tuple[str, str]]
_LONG = 400
"""Characters of a recorded request or answer under an attempt; the exchange has the whole."""


def what_next(
    error_class: ErrorClass, hint: str, state: DeadLetterState | None = None, code: str = ""
) -> str:
    """What a person can do about it; the platform's own hint where there is one."""
    return blame.what_next(error_class, code, hint, state=state)


def _hint(letter: DeadLetter) -> str:
    return letter.hint or (blame.NATIVE_NEXT if letter.direction == NATIVE else "")


def key_text(record_key: str) -> str:
    """The key of a record as people read it: `["cus_1", 7]` is `cus_1 · 7`."""
    try:
        parts = json.loads(record_key)
    except ValueError:
        return record_key
    if not isinstance(parts, list) or not parts:
        return record_key
    return " · ".join(part if isinstance(part, str) else json.dumps(part) for part in parts)


def issue_columns(now: Callable[[], int]) -> tuple[Column[Issue], ...]:
    """The list of issues."""
    return (
        Column("state", lambda issue: Cell(*present.state_cell(issue.state)), 14),
        Column("open", lambda issue: _open(issue), 6, align="right"),
        Column("fault", lambda issue: Cell(*bin_cell(issue.bin)), 8, priority=3),
        Column("last 24 h", lambda issue: Cell(day_line(issue.hours), "info"), 12, priority=4),
        Column("cause", lambda issue: Cell(issue.code or issue.error_class), 13, grow=1, most=24),
        Column(
            "field",
            lambda issue: Cell(issue.field or "-", "" if issue.field else "muted"),
            9,
            grow=1,
            most=18,
        ),
        Column("platform", lambda issue: Cell(issue.platform, "muted"), 10, grow=1, most=16, priority=6),
        Column("sync", lambda issue: Cell(issue.place), 14, grow=1, most=28, priority=1),
        Column("message", lambda issue: Cell(issue.message, "muted"), 20, grow=3, priority=5),
        Column("first", lambda issue: _age(issue.first_seen_ms, now()), 9, align="right", priority=7),
        Column("last", lambda issue: _age(issue.last_seen_ms, now()), 9, align="right", priority=2),
    )


def day_line(hours: Sequence[int]) -> str:
    """The failures of the last 24 hours as a line of 12 cells, two hours each; nothing where there was none."""
    pairs = [sum(hours[index : index + 2]) for index in range(0, len(hours), 2)]
    return present.sparkline([number or None for number in pairs], 12)


def bin_cell(bin: str) -> tuple[str, str]:
    """Which bin: one bad record, or something that will fail for every record."""
    return (bin, "muted") if bin == "record" else (f"{glyphs.current().bang} system", "warn")


def _open(issue: Issue) -> Cell:
    return Cell(present.count(issue.open), "bad" if issue.open else "muted")


def _age(at_ms: int, now_ms: int) -> Cell:
    # A date is too wide for a column; the facts have it.
    days = (now_ms - at_ms) // 86_400_000
    return Cell(f"{days} d ago" if days >= 1 else present.age(at_ms, now_ms), "muted")


def item_columns(now: Callable[[], int]) -> tuple[Column[DeadLetter], ...]:
    """The list of the dead letters of an issue."""
    return (
        Column("state", lambda letter: Cell(*present.state_cell(letter.state)), 12),
        Column("#", lambda letter: Cell(str(letter.number), "muted"), 8, align="right"),
        Column("record", lambda letter: Cell(key_text(letter.record_key)), 14, grow=2, most=40),
        Column("message", lambda letter: Cell(letter.message, "muted"), 16, grow=3, priority=1),
        Column("run", lambda letter: Cell(letter.place, "muted"), 18, priority=5),
        Column(
            "seen", lambda letter: Cell(f"{letter.occurrences:,}x", "muted"), 6, align="right", priority=4
        ),
        Column(
            "tries",
            lambda letter: Cell(present.count(letter.attempts), "muted"),
            5,
            align="right",
            priority=3,
        ),
        Column("size", lambda letter: Cell(present.size(letter.size), "muted"), 8, align="right", priority=4),
        Column("last", lambda letter: _age(letter.last_seen_ms, now()), 9, align="right", priority=2),
    )


def issue_facts(issue: Issue, now_ms: int) -> Pieces:
    """The panel under the list of issues."""
    return [
        (f"{issue.message}\n", "strong"),
        *fact("whose fault", whose_fault(issue.error_class, issue.code, native=not issue.integration)),
        *fact(
            "what next",
            blame.NATIVE_NEXT
            if not issue.integration
            else what_next(issue.error_class, issue.hint, code=issue.code),
        ),
        *fact("where", f"{issue.platform} · profile {issue.profile} · {issue.place}"),
        *_lifecycle(issue, now_ms),
        *fact("seen", _seen(issue.first_seen_ms, issue.last_seen_ms, now_ms), end=""),
        (f" · {present.count(issue.open)} open of {present.count(issue.total)}", ""),
    ]


def _lifecycle(issue: Issue, now_ms: int) -> Pieces:
    """Until when an ignored issue stays so, and what a person wrote about it."""
    pieces: Pieces = []
    if issue.state == IssueState.IGNORED:
        ends = []
        if issue.ignored_until_ms is not None:
            ends.append(present.moment(issue.ignored_until_ms))
        if issue.ignored_until_total is not None:
            ends.append(f"it has had {present.count(issue.ignored_until_total)} failures")
        pieces += fact("ignored", f"until {' or '.join(ends)}" if ends else "for good; S opens it again")
    if issue.note:
        pieces += fact("note", issue.note)
    return pieces


def fact(name: str, text: str, tone: str = "", *, end: str = "\n") -> Pieces:
    """A name and what is known of it, aligned."""
    return [(f"{name:<13}", "muted"), (text.replace("\n", " ") + end, tone)]


def item_facts(view: DeadLetterView, now_ms: int) -> Pieces:
    """The head of one dead letter."""
    letter = view.letter
    state, tone = present.state_cell(letter.state)
    return [
        (f"{letter.message}\n".replace("\n", " ").rstrip() + "\n", "strong"),
        *fact("state", f"{state}{_tries(letter)}", tone),
        *fact("cause", f"{letter.code or letter.error_class}{f' in {letter.field}' if letter.field else ''}"),
        *fact("whose fault", whose_fault(letter.error_class, letter.code, native=letter.direction == NATIVE)),
        *fact("what next", what_next(letter.error_class, _hint(letter), letter.state, letter.code)),
        *fact("record", f"{key_text(letter.record_key)} · {letter.place}"),
        *_origin(letter, now_ms),
        *fact("seen", _seen(letter.first_seen_ms, letter.last_seen_ms, now_ms), end=""),
        (f" · {_times(letter.occurrences)} · {present.size(letter.size)}", ""),
    ]


def _origin(letter: DeadLetter, now_ms: int) -> Pieces:
    """Of one that a broker keeps: where it came from, when it died, how often it was delivered."""
    if letter.origin is None:
        return []
    said = [str(letter.origin.get("origin") or "an unknown place")]
    if letter.origin.get("died_ms"):
        said.append(f"dead since {present.age(letter.origin['died_ms'], now_ms)}")
    if letter.origin.get("deliveries"):
        said.append(f"delivered {_times(letter.origin['deliveries'])}")
    return fact("goes back to", " · ".join(said))


def rule_facts(rule: FixRule, open_letters: int) -> Pieces:
    """A fix rule of an issue, offered when there is something to apply it to."""
    offer = "f applies" if open_letters else "f lists"
    return [("\n", ""), *fact("fix rule", offer, "key", end=""), (f" #{rule.number}: {rule.words()}", "info")]


def queue_facts(queue: SeenQueue, now_ms: int) -> Pieces:
    """A broker's dead-letter queue in a line: how deep, how old, when that was seen."""
    depth = "depth unknown" if queue.queue.depth is None else f"{present.count(queue.queue.depth)} in it"
    oldest = queue.queue.oldest_ms
    age = f", the oldest {present.age(oldest, now_ms)}" if oldest is not None else ""
    return [
        ("\n", ""),
        *fact("its queue", f"{depth}{age}, seen {present.age(queue.seen_ms, now_ms)}", end=""),
    ]


def _seen(first_ms: int, last_ms: int, now_ms: int) -> str:
    return f"first {present.age(first_ms, now_ms)}, last {present.age(last_ms, now_ms)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _tries(letter: DeadLetter) -> str:
    return f" · {present.plural(letter.attempts, 'replay')}" if letter.attempts else " · not replayed yet"


def attempts_text(view: DeadLetterView, now_ms: int) -> Pieces:
    """Attempts and lineage of one dead letter."""
    letter = view.letter
    pieces: Pieces = [("attempts, the newest first\n", "strong")]
    for attempt in reversed(view.attempts):
        pieces += _attempt(attempt)
    pieces += [
        (f"  {present.moment(letter.first_seen_ms, seconds=True)}  ", "muted"),
        (f"{Trigger.INITIAL:<11} ", ""),
        (f"{present.state_cell('failed')[0]:<12}{'':>10}", "bad"),
        (f"{letter.code}  {letter.message}\n".replace("\n", " ").rstrip() + "\n", "muted"),
    ]
    if letter.request:
        pieces += _under("sent", request_words(letter.request))
    if letter.response:
        pieces += _under("answer", answer_words(letter.response))
    pieces += [
        ("\nlineage\n", "strong"),
        *indented("run", _run(letter)),
        *indented("config", _version(letter)),
        *indented("edit of", letter.parent or "nothing: this is the original"),
        *indented("manifest", letter.manifest_version),
        *indented("fingerprint", letter.fingerprint),
        *indented("payload hash", letter.content_hash),
        *indented("sent under", f"{letter.idempotency_key} (idempotency key)"),
    ]
    return pieces


def _run(letter: DeadLetter) -> str:
    if letter.run:
        return f"{letter.run} of {letter.integration}"
    return "none: its platform keeps it" if letter.direction == NATIVE else "none: it came by a webhook"


def _version(letter: DeadLetter) -> str:
    """The version of the integration that it failed with: what a replay with the mapping of that time uses."""
    if letter.integration_version is None:
        return "not known"
    return f"version {letter.integration_version} of {letter.integration}"


def indented(name: str, text: str) -> Pieces:
    """A fact inside a titled part."""
    return [("  ", ""), *fact(name, text)]


def _attempt(attempt: Attempt) -> Pieces:
    outcome, tone = present.state_cell(attempt.outcome)
    took = (
        "" if attempt.ended_ms is None else present.duration((attempt.ended_ms - attempt.started_ms) / 1000)
    )
    said = " ".join(part for part in (attempt.code, attempt.message) if part).replace("\n", " ")
    pieces: Pieces = [
        (f"  {present.moment(attempt.started_ms, seconds=True)}  ", "muted"),
        (f"{attempt.trigger:<11} ", ""),
        (f"{outcome:<12}", tone),
        (f"{took:>8}  {said}".rstrip() + "\n", "muted"),
    ]
    whose = [part for part in (f"by {attempt.operator}" if attempt.operator else "",
                               f"to {attempt.target}" if attempt.target else "") if part]  # fmt: skip
    if whose:
        pieces += _under("", " ".join(whose))
    if attempt.request:
        pieces += _under("sent", request_words(attempt.request))
    if attempt.response:
        pieces += _under("answer", answer_words(attempt.response))
    return pieces


def _under(name: str, text: str) -> Pieces:
    """A line under an attempt."""
    return [(f"{'':<23}{name:<12}", "muted"), (text[:_LONG].replace("\n", " ") + "\n", "")]


def request_words(request: Mapping[str, Json]) -> str:
    """A request that was recorded: `POST https://…` and its body, or the document as it is."""
    head = " ".join(str(request[name]) for name in ("method", "url") if request.get(name))
    rest = {name: value for name, value in request.items() if name not in ("method", "url", "headers")}
    body = rest.get("body") if set(rest) <= {"body"} else rest
    said = body if isinstance(body, str) else dumps(body) if body else ""
    return f"{head}  {said}".strip()


def answer_words(response: Mapping[str, Json]) -> str:
    """An answer that was recorded: its status and its body."""
    body = response.get("body")
    said = body if isinstance(body, str) else dumps(body) if body is not None else ""
    return f"{response.get('status') or ''}  {said}".strip() or dumps(dict(response))
