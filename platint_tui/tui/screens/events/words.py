"""What the section of events says: columns, facts, the check of a signature in steps. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from platint_tui.core.events import Delivery, DeliveryState, Event, Rejection, SourceState
from platint_tui.core.gaps import GapKind, GapState, StoredGap
from platint_tui.core.subscriptions import Subscription
from platint_tui.core.webhooks import Step, Verdict
from platint_tui.services.inbound import EventRow, EventView, SourceView
from platint_tui.tui import glyphs, present
from platint_tui.tui.screens.deadletters.words import key_text
from platint_tui.tui.widgets.cells import Cell, Column

Pieces = list[tuple[str, str]]
Lines = list[Pieces]
_SOON_MS = 3 * 86_400_000
"""A subscription that ends within this time is worth a colour."""

CAUSES = {
    "no_secret": "no secret is stored",
    "missing_header": "a header is missing",
    "malformed": "a header cannot be read",
    "bad_signature": "the signature is wrong",
    "too_old": "too old",
    "in_future": "from the future",
    "bad_certificate": "the certificate is wrong",
    "no_certificate": "no certificate to be had",
    "bad_token": "the token is wrong",
    "wrong_topic": "of another topic",
    "wrong_method": "another method",
    "too_large": "too large",
    "no_scheme": "no scheme is set up",
    "unknown_source": "no such source",
    "disabled": "the source is disabled",
}
GAP_KINDS = {
    GapKind.READING: "was not read",
    GapKind.RECEIVER_DOWN: "nobody listened",
    GapKind.DISABLED: "was disabled",
    GapKind.PAUSED: "was paused, all kept",
    GapKind.WEBHOOK_PAUSED: "webhook was paused",
    GapKind.MISSED: "events are missing",
}


def fact(name: str, text: str, tone: str = "") -> Pieces:
    """A name and what is known of it, aligned."""
    return [(f"{name:<13}", "muted"), (text.replace("\n", " "), tone)]


# --- sources ---------------------------------------------------------------------------------------------


def source_columns(now: Callable[[], int]) -> tuple[Column[SourceView], ...]:
    """The list of sources."""
    return (
        Column("state", lambda row: Cell(*state_of(row)), 12),
        Column("source", lambda row: Cell(row.name, "" if row.used else "muted"), 12, grow=2, most=28),
        Column("platform", lambda row: Cell(row.platform_name, "muted"), 10, grow=1, most=18, priority=4),
        Column("events", lambda row: _number(row.source.events), 9, align="right"),
        Column("rejected", lambda row: _number(row.source.rejected, "warn"), 8, align="right"),
        Column("waiting", lambda row: _number(row.row.waiting, "warn"), 7, align="right", priority=2),
        Column("gaps", lambda row: _number(len(row.gaps), "warn"), 4, align="right", priority=1),
        Column("last heard", lambda row: _heard(row, now()), 10, align="right"),
        Column("subscription", lambda row: Cell(*subscription_words(row, now())), 14, grow=2, most=34, priority=3),
        Column("address", lambda row: Cell(row.address or "-", "muted"), 24, grow=3, priority=5),
    )  # fmt: skip


def state_of(row: SourceView) -> tuple[str, str]:
    """A source's state; one at which nothing goes on is not used."""
    if not row.used:
        return f"{glyphs.current().ring} not used", "muted"
    return present.state_cell(row.source.state)


def _number(number: int, tone: str = "") -> Cell:
    return Cell(present.count(number) if number else "-", tone if number else "muted")


def _heard(row: SourceView, now_ms: int) -> Cell:
    last = row.source.last_ms
    if last is None:
        return Cell("never", "warn" if row.subscriptions else "muted")
    return Cell(ago(last, now_ms), "")


def ago(at_ms: int, now_ms: int) -> str:
    """An age that fits a column: `2 m ago`, `5 d ago`."""
    days = (now_ms - at_ms) // 86_400_000
    return f"{days} d ago" if days >= 1 else present.age(at_ms, now_ms)


def subscription_words(row: SourceView, now_ms: int) -> tuple[str, str]:
    """What is registered at the platform, and when it ends."""
    if not row.subscriptions:
        return ("by hand" if row.source.last_ms else "none"), "muted"
    if row.trouble:
        return row.trouble, "bad"
    states = sorted({str(item.state) for item in row.subscriptions})
    number = f"{len(row.subscriptions)}x " if len(row.subscriptions) > 1 else ""
    ends = row.expires_ms
    if ends is None:
        return f"{number}{', '.join(states)}", ""
    if ends <= now_ms:
        return f"{number}expired", "bad"
    left = present.duration((ends - now_ms) / 1000)
    return f"{number}ends in {left}", "warn" if ends - now_ms < _SOON_MS else ""


def source_facts(row: SourceView, now_ms: int) -> Lines:
    """What is known of the source under the cursor, and what to do next."""
    lines: Lines = []
    if row.address:
        lines.append([*fact("address", row.address, "key"), ("   y copies it", "muted")])
    else:
        text = "none yet: tell the public URL in Settings (9), or with serve --public-url"
        lines.append(fact("address", text, "warn"))
    feeds = ", ".join(row.feeds) or "no integration wants its events: they are kept, and go nowhere"
    lines.append(fact("goes to", feeds, "" if row.feeds else "warn"))
    lines.append([*fact("deliveries", ""), *delivery_words(row)])
    since = present.duration((now_ms - row.source.changed_ms) / 1000)
    if row.source.state is SourceState.PAUSED:
        lines.append(fact("paused", f"for {since}: events are kept, P delivers them in their order", "warn"))
    elif row.source.state is SourceState.DISABLED:
        lines.append(fact("disabled", f"for {since}: requests are refused, D takes them again", "bad"))
    for item in row.subscriptions:
        lines.append(_subscription(item, now_ms))
    for gap in row.gaps[:3]:
        lines.append([*fact("gap", gap_words(gap), "warn"), ("   b lists it", "muted")])
    if not row.used:
        lines += [[], _how_to_begin(row)]
    return lines


def delivery_words(row: SourceView) -> Pieces:
    """What became of the deliveries of a source within the last hour, and what waits."""
    share = row.row.success_rate
    pieces: Pieces = [(f"{present.count(row.row.waiting)} waiting", "warn" if row.row.waiting else "muted")]
    if share is not None:
        pieces += [
            (f", last hour {present.count(row.row.delivered)} arrived", ""),
            (f", {present.count(row.row.given_up)} given up", "bad" if row.row.given_up else "muted"),
            (f" ({present.percent(share)} well)", "muted"),
        ]
    return pieces


def _subscription(item: Subscription, now_ms: int) -> Pieces:
    scope = " ".join(item.scope.values())
    types = ", ".join(item.types[:6]) or "every type"
    more = f" and {len(item.types) - 6} more" if len(item.types) > 6 else ""
    ends = f", ends {present.moment(item.expires_ms)}" if item.expires_ms else ""
    text = " ".join(part for part in (scope, f"{types}{more}{ends}") if part)
    return [
        (f"{'webhook':<13}", "muted"),
        present.state_cell(item.state),
        (f"  {text}", ""),
        (f"  {item.error}" if item.error else "", "bad"),
    ]


def _how_to_begin(row: SourceView) -> Pieces:
    return [
        ("a", "key"),
        (f" registers a webhook at {row.platform_name}, or tells how to do it there by hand.", "muted"),
    ]


# --- events ----------------------------------------------------------------------------------------------


def event_columns(now: Callable[[], int], *, every: bool) -> tuple[Column[EventRow], ...]:
    """The list of events; with `every`, those of all sources."""
    source: list[Column[EventRow]] = (
        [Column("source", lambda row: Cell(row.event.profile, "muted"), 12, grow=1, most=20, priority=3)]
        if every
        else []
    )
    return (
        Column("#", lambda row: Cell(str(row.event.number), "muted"), 9, align="right"),
        Column("when", lambda row: Cell(ago(row.event.received_ms, now())), 9, align="right"),
        *source,
        Column("type", lambda row: Cell(row.event.type or "-"), 16, grow=2, most=40),
        Column("id", lambda row: Cell(row.event.event_id, "muted"), 12, grow=2, most=36, priority=2),
        Column("state", lambda row: Cell(*present.state_cell(row.event.state)), 11, priority=1),
        Column("deliveries", lambda row: Cell(*deliveries_words(row.deliveries)), 12, grow=1, most=24),
        Column("seen", lambda row: _seen(row.event), 5, align="right", priority=4),
        Column("size", lambda row: Cell(present.size(row.event.size), "muted"), 8, align="right", priority=5),
    )


def _seen(event: Event) -> Cell:
    return Cell(f"{event.seen:,}x", "warn" if event.seen > 1 else "muted")


_ORDER = (
    (DeliveryState.DEAD, "bad"),
    (DeliveryState.FALLBACK, "warn"),
    (DeliveryState.SENDING, "info"),
    (DeliveryState.PENDING, "info"),
    (DeliveryState.SKIPPED, "muted"),
    (DeliveryState.SUPERSEDED, "muted"),
    (DeliveryState.DONE, "ok"),
)


def deliveries_words(states: Mapping[DeliveryState, int]) -> tuple[str, str]:
    """How many deliveries are in each state, the worst first."""
    if not states:
        return "-", "muted"
    worst = next(tone for state, tone in _ORDER if states.get(state))
    parts = []
    for state, _ in _ORDER:
        number = states.get(state)
        if number:
            word = present.state_cell(state)[0]
            parts.append(f"{word} {number}" if number > 1 else word)
    return ", ".join(parts), worst


def rejection_columns(now: Callable[[], int], *, every: bool) -> tuple[Column[Rejection], ...]:
    """The list of refused requests."""
    source: list[Column[Rejection]] = (
        [
            Column(
                "source", lambda row: Cell(row.profile or "(none)", "muted"), 12, grow=1, most=20, priority=2
            )
        ]
        if every
        else []
    )
    return (
        Column("#", lambda row: Cell(str(row.number), "muted"), 7, align="right"),
        Column("when", lambda row: Cell(ago(row.last_ms, now())), 9, align="right"),
        *source,
        Column("cause", lambda row: Cell(f"{glyphs.current().cross} {cause_words(row.cause)}", "bad"), 26, most=30,
               grow=1),
        Column("times", lambda row: Cell(f"{row.times:,}x", "warn" if row.times > 1 else "muted"), 7,
               align="right", priority=1),
        Column("why", lambda row: Cell(row.message, "muted"), 20, grow=4, priority=3),
    )  # fmt: skip


def cause_words(cause: str) -> str:
    """A cause in a few words."""
    return CAUSES.get(cause, cause)


def event_facts(view: EventView, now_ms: int) -> Lines:
    """The head of one event."""
    event = view.event
    states: dict[DeliveryState, int] = {}
    for item in view.deliveries:
        states[item.state] = states.get(item.state, 0) + 1
    seen = (
        "once" if event.seen == 1 else f"{event.seen:,} times, last {present.age(event.last_seen_ms, now_ms)}"
    )
    happened = f", happened {present.moment(event.occurred_ms, seconds=True)}" if event.occurred_ms else ""
    verified = (
        f"{event.verified_by}, v shows the check" if event.verified_by else "nothing is known of its check"
    )
    origin = "" if event.origin == "webhook" else f" ({event.origin})"
    state, tone = present.state_cell(event.state)
    lines: Lines = [
        [(event.type or "an event without a type", "strong"), (f"   {event.event_id}", "muted")],
        [*fact("state", state, tone), ("   deliveries ", "muted"), deliveries_words(states)],
        fact("arrived", f"{present.moment(event.received_ms, seconds=True)}{origin}{happened}"),
        fact("seen", f"{seen} · {present.size(event.size)} · {event.method} {event.target}"),
        fact("verified by", verified, "" if event.verified_by else "muted"),
    ]
    if event.order_key:
        lines.append(fact("about", event.order_key))
    return lines


def rejection_facts(item: Rejection, now_ms: int) -> Lines:
    """The head of one refused request."""
    times = "once" if item.times == 1 else f"{item.times:,} times, last {present.age(item.last_ms, now_ms)}"
    cut = ", cut" if item.truncated else ""
    return [
        [(f"{glyphs.current().cross} Refused: {cause_words(item.cause)}", "bad")],
        fact("why", item.message),
        fact("arrived", f"{present.moment(item.received_ms, seconds=True)}, {times}"),
        fact("request", f"{item.method} {item.target} · {present.size(len(item.body))}{cut}"),
        fact("source", item.profile or "none: nobody has this address"),
    ]


def headers_lines(headers: Sequence[tuple[str, str]]) -> Lines:
    """The headers that are kept, aligned."""
    if not headers:
        return [[("No headers are kept.", "muted")]]
    wide = min(36, max(len(name) for name, _ in headers) + 2)
    return [[(f"{name:<{wide}}", "key"), (value, "")] for name, value in headers]


def deliveries_lines(deliveries: Sequence[Delivery], now_ms: int) -> Lines:
    """Where an event went, how often that was tried, and what comes next."""
    if not deliveries:
        return [
            [("It went nowhere: no integration wants events of this type.", "warn")],
            [("An integration that lists this profile with ", "muted"), ("type: webhook", "key"),
             (" gets the next ones; r sends this one then.", "muted")],
        ]  # fmt: skip
    lines: Lines = []
    for item in sorted(deliveries, key=lambda one: one.number):
        ended = item.ended_ms
        lines += [
            [
                present.state_cell(item.state),
                (f"  {item.integration}/{item.stream}", "strong"),
                (f"  {item.op.value or 'upsert'} {key_text(item.record_key)}", ""),
                (f"  {item.place}" if item.place != "primary" else "", "warn"),
            ],
            fact("  tried", f"{present.plural(item.attempts, 'time')}{_next(item, now_ms)}"),
        ]
        if ended is not None:
            took = present.duration((ended - item.received_ms) / 1000)
            lines.append(fact("  ended", f"{present.moment(ended, seconds=True)}, {took} after it arrived"))
        if item.code or item.message:
            said = " ".join(part for part in (item.code, item.message) if part)
            lines.append(fact("  because", said, "bad" if item.state is DeliveryState.DEAD else "warn"))
        if item.dead_letter:
            lines.append([*fact("  inbox", f"dead letter {item.dead_letter}"), ("   enter opens it", "key")])
        lines += [fact("  sent under", f"{item.idempotency_key} (idempotency key)", "muted"), []]
    return lines[:-1]


def _next(item: Delivery, now_ms: int) -> str:
    if item.state is DeliveryState.PENDING and item.next_ms > now_ms:
        return f", again {present.countdown(item.next_ms, now_ms)}"
    return ", next in its turn" if item.state is DeliveryState.PENDING else ""


def check_lines(steps: Sequence[Step], verdict: Verdict | None = None, note: str = "") -> Lines:
    """The check of a request step by step: what was looked at, what was expected, how it came out."""
    signs = glyphs.current()
    lines: Lines = []
    if verdict is not None:
        text = f"Accepted with {verdict.secret}." if verdict.accepted and verdict.secret else "Accepted."
        good = verdict.accepted
        lines.append([(f"{signs.tick if good else signs.cross} ", "ok" if good else "bad"),
                      (text if good else verdict.message or cause_words(verdict.cause), "strong")])  # fmt: skip
    if note:
        lines.append([(note, "muted")])
    if lines:
        lines.append([])
    wide = min(24, max((len(step.name) for step in steps), default=0)) + 2
    for step in steps:
        sign, tone = {
            None: (signs.separator, "muted"),
            True: (signs.tick, "ok"),
            False: (signs.cross, "bad"),
        }[step.ok]
        lines.append(
            [
                (f"{sign} ", tone),
                (f"{step.name:<{wide}}", ""),
                (step.detail, "bad" if step.ok is False else ""),
            ]
        )
    if not steps:
        lines.append([("No step of the check is kept.", "muted")])
    return lines


# --- gaps ------------------------------------------------------------------------------------------------


def gap_columns(now: Callable[[], int]) -> tuple[Column[StoredGap], ...]:
    """The list of gaps."""
    return (
        Column("state", lambda gap: Cell(*gap_state(gap)), 11),
        Column("gap", lambda gap: Cell(f"#{gap.number}", "muted"), 6, align="right"),
        Column("source", lambda gap: Cell(gap.profile or gap.integration), 12, grow=1, most=24),
        Column("what", lambda gap: Cell(GAP_KINDS.get(gap.kind, str(gap.kind))), 18, grow=1, most=24),
        Column("from", lambda gap: Cell(present.moment(gap.start_ms), "muted"), 16, priority=1),
        Column("until", lambda gap: Cell(_until(gap), "muted"), 16, priority=2),
        Column("missing", lambda gap: _missing(gap), 12, align="right"),
        Column("note", lambda gap: Cell(gap.note or gap.reason, "muted"), 16, grow=4, priority=3),
    )


def gap_state(gap: StoredGap) -> tuple[str, str]:
    """A gap's state in a word; an open one that is not over goes on."""
    if gap.state is GapState.OPEN:
        goes_on = gap.end_ms is None and gap.start_ms is not None
        return f"{glyphs.current().bang} {'goes on' if goes_on else 'open'}", "warn"
    return present.state_cell(gap.state)


def _until(gap: StoredGap) -> str:
    if gap.start_ms is None:
        return gap.end
    return "it goes on" if gap.end_ms is None else present.moment(gap.end_ms)


def _missing(gap: StoredGap) -> Cell:
    if gap.compared_ms is None:
        return Cell("not compared", "warn")
    if not gap.events:
        return Cell("none", "ok")
    return Cell(
        f"{present.count(gap.missing)} of {present.count(gap.events)}", "bad" if gap.missing else "ok"
    )


def gap_words(gap: StoredGap) -> str:
    """A gap in a line."""
    span = present.moment(gap.start_ms) if gap.start_ms is not None else gap.start
    what = GAP_KINDS.get(gap.kind, str(gap.kind))
    missing = f", {present.plural(gap.missing, 'event')} missing" if gap.missing else ""
    until = "and it goes on" if gap.start_ms is not None and gap.end_ms is None else f"until {_until(gap)}"
    return f"#{gap.number} {what} from {span} {until}{missing}"


def gap_facts(gap: StoredGap, now_ms: int) -> Lines:
    """What is known of the gap under the cursor."""
    lines: Lines = [
        [(gap_words(gap), "strong")],
        fact("why", gap.reason),
        fact("noticed", present.age(gap.noticed_ms, now_ms)),
    ]
    if gap.note:
        lines.append(fact("last look", gap.note))
    lines += [
        [],
        [("b", "key"), (" fills exactly this gap, ", "muted"), ("d", "key"),
         (" leaves it as it is, with your word", "muted")],
    ]  # fmt: skip
    return lines
