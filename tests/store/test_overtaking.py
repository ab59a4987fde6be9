"""Events of one record that arrive in another order than they happened in."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from store.samples import FakeClock
from store.test_deliveries import claim

from platint_tui.core.errors import ErrorClass
from platint_tui.core.events import (
    FALLBACK,
    PRIMARY,
    DeliveryOutcome,
    DeliveryState,
    Event,
    EventState,
    NewDelivery,
    NewEvent,
)
from platint_tui.core.jsontext import canonical_key, content_hash
from platint_tui.core.model import Fault, NewDeadLetter, Op
from platint_tui.core.states import DeadLetterState
from platint_tui.store.deliveries import _claimable
from platint_tui.store.ports import DeadLetterFilter, DeliveryFilter, RoutedEvent
from platint_tui.store.sqlite import SqliteStore

DONE, PENDING, SUPERSEDED = DeliveryState.DONE, DeliveryState.PENDING, DeliveryState.SUPERSEDED


async def arrive(store: SqliteStore, clock: FakeClock, name: str, occurred: int | None) -> Event:
    clock.ms += 1
    event = NewEvent("shop", "stripe", name, "t", "", occurred, clock.ms, "POST", "/", (), name.encode())
    await store.events.ingest([event])
    (found,) = [item for item in await store.deliveries.unrouted(1_000) if item.event_id == name]
    return found


async def route(
    store: SqliteStore, event: Event, key: str = "k", op: Op = Op.UPSERT, raw: bytes = b""
) -> None:
    made = NewDelivery("i", 1, "s", key, event.event_id, raw or event.body, op)
    await store.deliveries.route([RoutedEvent(event, EventState.ROUTED, [made])])


async def happen(
    store: SqliteStore, clock: FakeClock, name: str, occurred: int | None, op: Op = Op.UPSERT
) -> None:
    await route(store, await arrive(store, clock, name, occurred), op=op)


async def send(
    store: SqliteStore, state: DeliveryState = DONE, place: str = PRIMARY, **more: object
) -> list[str]:
    """Claim what may be sent and have it end like this; the names of its events."""
    found = await store.deliveries.claim("i", "s", "me", 10, place, all_of_it=place == FALLBACK)
    await store.deliveries.settle(
        [DeliveryOutcome(item.delivery.number, state, place=place, **more) for item in found]  # type: ignore[arg-type]
    )
    return [item.delivery.idempotency_key for item in found]


async def states(store: SqliteStore) -> dict[str, DeliveryState]:
    found = await store.deliveries.list(DeliveryFilter())
    return {item.idempotency_key: item.state for item in reversed(found)}


@pytest.mark.parametrize("late", [Op.UPSERT, Op.DELETE])
@pytest.mark.parametrize("first", [Op.UPSERT, Op.DELETE])
async def test_what_happened_earlier_and_comes_later_does_not_follow(
    store: SqliteStore, clock: FakeClock, first: Op, late: Op
) -> None:
    await happen(store, clock, "new", 200, first)
    assert await send(store) == ["new"]
    await happen(store, clock, "old", 100, late)
    assert await send(store) == []
    assert await states(store) == {"new": DONE, "old": SUPERSEDED}
    (old,) = await store.deliveries.list(DeliveryFilter(states=(SUPERSEDED,)))
    assert "later event of this record" in old.message and old.ended_ms is not None


async def test_it_does_not_follow_either_when_it_waited_behind_the_later_one(
    store: SqliteStore, clock: FakeClock
) -> None:
    await happen(store, clock, "new", 200)
    await happen(store, clock, "old", 100)
    await happen(store, clock, "newest", 300)
    assert await send(store) == ["new"]
    assert await states(store) == {"new": DONE, "old": SUPERSEDED, "newest": PENDING}
    assert await send(store) == ["newest"]


@pytest.mark.parametrize("times", [(200, 200), (None, None), (200, None), (None, 200), (100, 200)])
async def test_equal_and_unknown_times_go_by_arrival(
    store: SqliteStore, clock: FakeClock, times: tuple[int | None, int | None]
) -> None:
    await happen(store, clock, "one", times[0])
    assert await send(store) == ["one"]
    await happen(store, clock, "two", times[1])
    assert await send(store) == ["two"]


async def test_a_time_of_a_wrong_clock_does_not_hold_up_a_record_for_years(
    store: SqliteStore, clock: FakeClock
) -> None:
    await happen(store, clock, "of 2077", clock.ms + 50 * 365 * 86_400_000)
    assert await send(store) == ["of 2077"]
    await happen(store, clock, "today", clock.ms)
    assert await send(store) == ["today"]
    await happen(store, clock, "a little ahead", clock.ms + 60_000)
    assert await send(store) == ["a little ahead"]
    await happen(store, clock, "late", clock.ms)
    assert await send(store) == []


async def test_the_fallback_keeps_the_later_one_too(store: SqliteStore, clock: FakeClock) -> None:
    await happen(store, clock, "first", 100)
    await happen(store, clock, "new", 300)
    await happen(store, clock, "old", 200)
    assert await send(store, DeliveryState.FALLBACK, FALLBACK) == ["first"]
    assert await send(store, DeliveryState.FALLBACK, FALLBACK) == ["new"]
    assert await send(store, DeliveryState.FALLBACK, FALLBACK) == []
    await happen(store, clock, "older", 150)
    # Whatever lies in the fallback goes to the target in its turn, the earlier one as well.
    assert [await send(store), await send(store), await send(store)] == [["first"], ["new"], []]
    assert set((await states(store)).values()) == {DONE, SUPERSEDED}


async def test_records_without_a_key_are_all_delivered(store: SqliteStore, clock: FakeClock) -> None:
    """Equal content twice is two records: there is nothing that the second could overwrite."""
    raw = b'{"said":"yes"}'
    key = canonical_key([content_hash(raw.decode())])
    await route(store, await arrive(store, clock, "new", 200), key, raw=raw)
    await route(store, await arrive(store, clock, "waits", 150), key, raw=raw)
    assert await send(store) == ["new"]
    assert await send(store) == ["waits"]
    await route(store, await arrive(store, clock, "old", 100), key, raw=raw)
    assert await send(store) == ["old"]


def letter(name: str) -> NewDeadLetter:
    return NewDeadLetter(
        profile="shop", platform="stripe", integration="i", stream="s", run="", manifest_version="1",
        record_key="k", payload=name.encode(), content_hash=name, idempotency_key=name, fingerprint="f",
        fault=Fault(ErrorClass.RECORD, "odd", "It is odd."), direction="event",
    )  # fmt: skip


async def test_a_dead_letter_of_a_later_event_is_not_superseded_by_an_earlier_one(
    store: SqliteStore, clock: FakeClock
) -> None:
    """The newest version failed; a version from before it, which came late, is no reason to forget it."""
    await happen(store, clock, "before", 50)
    assert await send(store, DeliveryState.DEAD, letter=letter("before")) == ["before"]
    await happen(store, clock, "new", 200)
    assert await send(store, DeliveryState.DEAD, letter=letter("new")) == ["new"]
    await happen(store, clock, "old", 100)
    assert await send(store) == ["old"]
    numbers = await store.dead_letters.numbers(DeadLetterFilter())
    found = {item.idempotency_key: item.state for item in await store.dead_letters.rows(numbers)}
    assert found == {"before": DeadLetterState.SUPERSEDED, "new": DeadLetterState.OPEN}


async def test_claiming_looks_at_what_waits_of_a_record_and_not_at_its_past(
    store: SqliteStore, clock: FakeClock, database: Path
) -> None:
    await happen(store, clock, "one", 1)
    assert len(await claim(store)) == 1
    for place in (PRIMARY, FALLBACK):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            query = f"EXPLAIN QUERY PLAN {_claimable(place, False)}"
            steps = [row[3] for row in connection.execute(query, (0, "i", "s", 1))]
        own = [step for step in steps if step.startswith("SEARCH e ")]
        assert own and all("deliveries_before" in step for step in own), steps
