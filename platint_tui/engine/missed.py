"""What a platform sent and we have not: compared with its list, shown as gaps, fetched or sent once more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from platint_tui.core.errors import ConfigError, NotFound, PlatintError, RateLimited, StoreError
from platint_tui.core.events import FETCHED, NewEvent
from platint_tui.core.gaps import GapKind, MissedEvent, MissedState, SentEvent, StoredGap
from platint_tui.core.model import JsonObject, Profile
from platint_tui.core.ports import HasWebhooks, ListsSent
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.subscriptions import Subscription, SubscriptionState, WantedWebhook
from platint_tui.core.webhooks import WebhookRequest
from platint_tui.drivers.http.webhooks import events_of
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.planner import find_profile
from platint_tui.engine.webhookaccounts import LIVING, wanted_of
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.subscribing import Missed, can_compare, missed_way, why_not
from platint_tui.store.ports import Compared
from platint_tui.store.retention import Ages

DAY_MS = 86_400_000
UNDER_WAY_MS = 60_000
"""An event that the platform sent less than this ago may still arrive by itself."""
ASK_AGAIN_MS = 600_000
"""A redelivery that has not come after this time is asked for again."""
MOST = 50_000
"""Events of one comparison; a longer list is compared in shorter spans."""
BY_API = "fetched over the account's API"
_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class _Question:
    """One list that is asked for: of a webhook, or of the whole account. `types` are those that were sent."""

    way: Missed
    webhook: WantedWebhook | None
    types: tuple[str, ...]
    only_failed: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """A profile while its platform is asked."""

    context: Context
    profile: Profile
    connector: Connector
    sent: ListsSent
    questions: Sequence[_Question]
    since_ms: int
    """Nothing was sent to us before."""

    async def events(self, since_ms: int, until_ms: int) -> AsyncIterator[Sequence[SentEvent]]:
        """All that was sent to us in this span, page by page."""
        for question in self.questions:
            pages = self.sent.sent(question.webhook, since_ms, until_ms, only_failed=question.only_failed)
            async for page in pages:
                yield [item for item in page if item.event_id and _is_ours(question, item)]


async def missed(context: Context, args: JsonObject) -> dict[str, Any]:
    """`missed {profile, since_ms}`: compare what the platform sent since then with what is here; what is not
    becomes a gap. The result has the counts and the gaps."""
    profile = await find_profile(context, str(args.get("profile") or ""))
    now = context.clock.now_ms()
    since = int(args.get("since_ms") or now - DAY_MS)
    seen, since, until = await compare(context, profile, since, now)
    gaps = [item for item in await context.store.gaps.list(profile=profile.name) if item.missing]
    return {
        "profile": profile.name,
        "since_ms": since,
        "until_ms": until,
        "sent": seen.sent,
        "here": seen.here,
        "new": seen.new,
        "filled": list(seen.filled),
        "gaps": [item.number for item in gaps],
    }


async def compare(
    context: Context, profile: Profile, since_ms: int, until_ms: int
) -> tuple[Compared, int, int]:
    """Compare a span of the platform's list with what is here; the outcome, and the span that it was.

    What was sent a moment ago counts as under way. Raises ConfigError (code `no_missed`) when the platform has
    no list, and what asking it raises.
    """
    async with _opened(context, profile) as asked:
        # What retention removed here is not missing, and what the platform removed cannot be known.
        keeps = [int(item.way.keeps * 1000) for item in asked.questions if item.way.keeps]
        since_ms = max(since_ms, context.clock.now_ms() - min([*keeps, await _kept_ms(context)]))
        settled = min(until_ms, context.clock.now_ms() - UNDER_WAY_MS)
        found: list[SentEvent] = []
        async for page in asked.events(max(since_ms, asked.since_ms), until_ms):
            for item in page:
                if item.failed or item.time_ms is None or item.time_ms <= settled:
                    found.append(replace(item, body=None, headers=()))
            if len(found) > MOST:
                raise ConfigError(
                    f"{asked.connector.name} sent more than {MOST:,} events in this time.",
                    hint="Compare a shorter span with --since.",
                    code="too_many",
                )
        seen = await context.store.gaps.compare(profile.name, found, since_ms, max(settled, since_ms))
    return seen, since_ms, settled


def _ways(connector: Connector) -> Sequence[Missed]:
    return connector.webhooks.missed if connector.webhooks is not None else ()


@asynccontextmanager
async def _opened(context: Context, profile: Profile) -> AsyncIterator[_Asked]:
    connector = context.registry.get(profile.platform)
    if not can_compare(_ways(connector)):
        raise ConfigError(
            why_not(_ways(connector), connector.name),
            hint=await _otherwise(context, profile),
            code="no_missed",
        )
    known = await context.store.subscriptions.list(profile.name)
    rows = [item for item in known if item.remote_id and item.state in (*LIVING, SubscriptionState.DISABLED)]
    questions = _questions(_ways(connector), rows)
    if not questions:
        raise ConfigError(
            f"{connector.name} lists what it sent by webhook, and no webhook of '{profile.name}' is known here.",
            hint=f"`platint-tui events subscribe {profile.name} --adopt` takes over the one that is there.",
            code="no_subscription",
        )
    driver = await context.open_driver(profile)
    try:
        if not isinstance(driver, HasWebhooks):
            raise ConfigError(why_not(_ways(connector), connector.name), code="no_missed")
        first = min((item.created_ms for item in rows), default=0)
        yield _Asked(context, profile, connector, driver.sent_list(), questions, first)
    finally:
        await driver.close()


async def _kept_ms(context: Context) -> int:
    """How long events are kept here, less a day."""
    setting = await context.store.settings.get("retention")
    days = setting.get("events_days") if isinstance(setting, Mapping) else None
    return max((days if isinstance(days, int) and days > 0 else Ages().events_days) - 1, 1) * DAY_MS


async def _otherwise(context: Context, profile: Profile) -> str:
    """What else brings what was missed: integrations that read the same account."""
    names = [
        item.name
        for item in await context.store.integrations.list()
        if item.source_profile == profile.name and item.integration_type != "webhook_automation"
    ]
    if names:
        commands = " and ".join(f"`platint-tui syncs run {name}`" for name in names)
        return f"{commands} reads what changed meanwhile; what was deleted stays unknown."
    return (
        "An integration of the type full reads too, and brings what changed; what was deleted stays unknown."
    )


def _questions(ways: Sequence[Missed], rows: Sequence[Subscription]) -> list[_Question]:
    types = tuple(dict.fromkeys(name for row in rows for name in row.types))
    made: list[_Question] = []
    for row in rows:
        way = missed_way(ways, row.scope)
        if way is not None and way.per == "subscription":
            made.append(_Question(way, wanted_of(row), row.types, only_failed=False))
    whole = next((way for way in ways if way.request is not None and way.per == "profile"), None)
    if whole is not None:
        # Without a subscription nobody knows which of all events were to be sent: those that failed were.
        only_failed = whole.lists == "events" and not rows
        if not only_failed or whole.only_failed:
            made.append(_Question(whole, None, types, only_failed))
    return made


def _is_ours(question: _Question, item: SentEvent) -> bool:
    """Whether an event was for our webhook: a list of all events has those of other types too."""
    if question.way.lists == "deliveries" or question.only_failed or not question.types:
        return True
    return any(fnmatchcase(item.type, name) for name in question.types)


# --- filling -----------------------------------------------------------------------------------------------


async def backfill(context: Context, args: JsonObject) -> dict[str, Any]:
    """`backfill {gap}`: fetch what is missing in a gap, or have the platform send it again.

    The result says how much was missing, fetched, asked for and lost; what was asked for comes as webhooks, and the
    gap is filled when it is here.
    """
    number = int(args.get("gap") or 0)
    gap = await context.store.gaps.get(number)
    if gap is None:
        raise NotFound(f"There is no gap {number}.", hint="`platint-tui events gaps` lists them.")
    if gap.kind is GapKind.READING:
        raise ConfigError(
            f"Gap {number} is of what {gap.integration}/{gap.stream} can no longer read: {gap.reason}",
            hint=f"`platint-tui syncs reset {gap.integration} {gap.stream}` has the next run read everything that "
            f"there is; `platint-tui events accept-gap {number}` leaves it as it is.",
            code="not_fillable",
        )
    profile = await find_profile(context, gap.profile)
    await context.store.gaps.fill(number)
    try:
        return await _fill(context, profile, gap)
    except StoreError:
        raise
    except PlatintError as error:
        await context.store.gaps.reopen(number, REDACTOR.redact(error.sentence()))
        raise


async def _fill(context: Context, profile: Profile, gap: StoredGap) -> dict[str, Any]:
    gaps = context.store.gaps
    now = context.clock.now_ms()
    start, end = gap.start_ms or 0, gap.end_ms or now
    _, since, _ = await compare(context, profile, start, end)
    missing = {item.event_id: item for item in await gaps.missed(gap.number, _WANTED, limit=MOST)}
    count = len(missing)
    fetched = asked_for = 0
    async with _opened(context, profile) as asked:
        if missing and any(item.way.body for item in asked.questions):
            fetched = await _fetch(asked, missing, since, end)
        rows = {item.remote_id: item for item in await context.store.subscriptions.list(profile.name)}
        for item in missing.values():
            if _may_ask(item, now) and await _redeliver(asked, item, rows.get(item.subscription)):
                asked_for += 1
    filled = gap.number in await gaps.settle(profile.name)
    left = await gaps.missed(gap.number, limit=MOST)
    states = [item.state for item in left]
    result = {
        "gap": gap.number,
        "missing": count,
        "fetched": fetched,
        "asked": asked_for,
        "lost": states.count(MissedState.LOST),
        "left": states.count(MissedState.MISSING) + states.count(MissedState.ASKED),
        "filled": filled or (await gaps.get(gap.number) or gap).ended_ms is not None,
    }
    if not result["filled"]:
        await gaps.reopen(gap.number, _note(result, since > start))
    return result


_WANTED = (MissedState.MISSING, MissedState.ASKED)


def _note(result: dict[str, Any], too_old: bool) -> str:
    parts = []
    if result["asked"]:
        parts.append(f"{result['asked']} are asked for and come by webhook.")
    if result["lost"]:
        parts.append(f"{result['lost']} cannot be had any more.")
    if too_old:
        parts.append("Its beginning is older than what the platform keeps.")
    return " ".join(parts) or "Nothing is known to be missing, and its end is not compared yet."


async def _fetch(asked: _Asked, missing: dict[str, MissedEvent], since_ms: int, until_ms: int) -> int:
    """Take the missing events from the platform's list, in batches; how many came. They leave `missing`."""
    batch: list[NewEvent] = []
    count = 0

    async def store() -> None:
        nonlocal count
        if batch:
            await asked.context.store.events.ingest(batch)
            failpoint("backfill.after_ingest")
            count += len(batch)
            batch.clear()

    # A platform's list is newest first: what is taken from it is stored in the order in which it happened.
    found: list[tuple[int, SentEvent]] = []
    async for page in asked.events(since_ms, until_ms):
        found += [
            (item.time_ms or 0, item) for item in page if item.event_id in missing and item.body is not None
        ]
    for _, item in sorted(found, key=lambda pair: pair[0]):
        if missing.pop(item.event_id, None) is not None:
            batch += _as_events(asked, item)
            if len(batch) >= _TOGETHER:
                await store()
    await store()
    asked.context.wake.set()
    return count


def _as_events(asked: _Asked, item: SentEvent) -> list[NewEvent]:
    """An event of the platform's list as its webhook would have brought it."""
    name = asked.profile.name
    request = WebhookRequest(
        "POST",
        f"/webhooks/{name}",
        (("content-type", "application/json"), *((key.lower(), value) for key, value in item.headers)),
        item.body or b"",
        "",
    )
    made = events_of(asked.connector, name, request, asked.context.clock.now_ms())
    return [
        replace(
            event,
            event_id=item.event_id if len(made) == 1 else event.event_id,
            occurred_ms=event.occurred_ms or item.time_ms,
            verified_by=BY_API,
            origin=FETCHED,
        )
        for event in made
    ]


def _may_ask(item: MissedEvent, now: int) -> bool:
    return item.state is MissedState.MISSING or now - (item.asked_ms or 0) >= ASK_AGAIN_MS


async def _redeliver(asked: _Asked, item: MissedEvent, row: Subscription | None) -> bool:
    """Ask the platform to send one again; whether it was asked. Raises RateLimited and StoreError."""
    gaps = asked.context.store.gaps
    question = next(
        (
            one
            for one in asked.questions
            if row is None or one.webhook is None or one.webhook.remote_id == row.remote_id
        ),
        None,
    )
    if question is None or question.way.redeliver is None:
        await gaps.refused(item.profile, item.event_id, "It is not in the platform's list any more.")
        return False
    sent = SentEvent(item.event_id, item.type, item.time_ms, item.delivery_id, item.subscription)
    # Noted before it is asked: an event that comes twice is stored once, one that is never asked for is lost.
    await gaps.asked(item.profile, item.event_id)
    try:
        await asked.sent.redeliver(sent, question.webhook or (wanted_of(row) if row is not None else None))
    except (RateLimited, StoreError):
        await gaps.refused(item.profile, item.event_id, "")
        raise
    except PlatintError as error:
        mark = gaps.lost if error.code == "gone" else gaps.refused
        await mark(item.profile, item.event_id, REDACTOR.redact(error.sentence()))
        return False
    return True


async def accept(context: Context, args: JsonObject) -> dict[str, Any]:
    """`accept_gap {gap, note}`: leave a gap as it is."""
    number = int(args.get("gap") or 0)
    await context.store.gaps.accept(number, str(args.get("note") or ""))
    return {"gap": number}
