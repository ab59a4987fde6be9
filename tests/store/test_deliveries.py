"""Deliveries in the store: routed once, claimed in order, settled by who sends them, removed when old."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.samples import FakeClock
from store.test_retention import later, settle_clock

from platint_tui.core.events import (
    FALLBACK,
    DeliveryOutcome,
    DeliveryState,
    Event,
    EventState,
    NewDelivery,
    NewEvent,
    SourceState,
    TargetHealth,
)
from platint_tui.core.gaps import GapKind, GapState
from platint_tui.store import open_store
from platint_tui.store.ports import DeliveryFilter, EventFilter, RoutedEvent
from platint_tui.store.sqlite import SqliteStore

DONE, PENDING = DeliveryState.DONE, DeliveryState.PENDING


async def arrive(store: SqliteStore, clock: FakeClock, *names: str, profile: str = "shop") -> list[Event]:
    """Events as they come, whole."""
    await store.events.ingest(
        [
            NewEvent(profile, "stripe", name, "t", "", None, clock.ms, "POST", "/", (), name.encode())
            for name in names
        ]
    )
    return [item for item in await store.deliveries.unrouted(1_000) if item.event_id in names]


def to(event: Event, key: str = "k", integration: str = "i", raw: bytes = b"{}") -> NewDelivery:
    return NewDelivery(integration, 1, "s", key, f"{integration}:{event.event_id}:{key}", raw)


async def route(store: SqliteStore, *deliveries: tuple[Event, NewDelivery]) -> None:
    await store.deliveries.route(
        [RoutedEvent(event, EventState.ROUTED, [made]) for event, made in deliveries]
    )


async def claim(store: SqliteStore, count: int = 10, **more: object) -> list[str]:
    found = await store.deliveries.claim("i", "s", "me", count, **more)  # type: ignore[arg-type]
    return [item.delivery.idempotency_key for item in found]


async def settle(store: SqliteStore, state: DeliveryState, worker: str = "me", **more: object) -> None:
    """Everything that is on its way ends like this."""
    on_the_way = await store.deliveries.sending("i", "s")
    outcomes = [DeliveryOutcome(item.delivery.number, state, **more) for item in on_the_way]  # type: ignore[arg-type]
    await store.deliveries.settle(outcomes, worker)


async def test_an_event_is_routed_once(store: SqliteStore, clock: FakeClock) -> None:
    (event,) = await arrive(store, clock, "a")
    assert await store.deliveries.route([RoutedEvent(event, EventState.ROUTED, [to(event)])]) == 1
    assert await store.deliveries.route([RoutedEvent(event, EventState.ROUTED, [to(event, "other")])]) == 0
    assert not await store.deliveries.unrouted(10)
    assert len(await store.deliveries.list(DeliveryFilter())) == 1


async def test_of_one_record_only_the_oldest_is_claimed(store: SqliteStore, clock: FakeClock) -> None:
    first, second, other = await arrive(store, clock, "a", "b", "c")
    await route(store, (first, to(first)), (second, to(second)), (other, to(other, "z")))
    assert await claim(store) == ["i:a:k", "i:c:z"]
    assert await claim(store) == []
    await settle(store, PENDING, next_ms=clock.ms + 1_000)
    assert await claim(store) == [], "the second waits for the first, which waits"
    clock.ms += 1_000
    assert await claim(store) == ["i:a:k", "i:c:z"]
    await settle(store, DONE)
    assert await claim(store) == ["i:b:k"]


async def test_C2_a_wait_that_a_clock_put_far_ahead_means_nothing(
    store: SqliteStore, clock: FakeClock
) -> None:
    (event,) = await arrive(store, clock, "a")
    await route(store, (event, to(event)))
    await claim(store)
    await settle(store, PENDING, next_ms=clock.ms + 60_000)
    assert await claim(store) == []
    clock.ms -= 400 * 86_400_000
    assert await claim(store) == ["i:a:k"]


async def test_only_who_sends_a_delivery_settles_it(store: SqliteStore, clock: FakeClock) -> None:
    (event,) = await arrive(store, clock, "a")
    await route(store, (event, to(event)))
    await claim(store)
    await settle(store, DONE, worker="an engine that was suspended")
    assert len(await store.deliveries.sending("i", "s")) == 1
    await settle(store, DONE)
    (made,) = await store.deliveries.list(DeliveryFilter())
    assert (made.state, made.attempts) == (DONE, 1)


async def test_what_was_not_sent_is_no_attempt(store: SqliteStore, clock: FakeClock) -> None:
    (event,) = await arrive(store, clock, "a")
    await route(store, (event, to(event)))
    await claim(store)
    await settle(store, PENDING, tried=False)
    (made,) = await store.deliveries.list(DeliveryFilter())
    assert (made.state, made.attempts) == (PENDING, 0)


async def test_what_lies_in_the_fallback_goes_to_the_target_before_anything_later(
    store: SqliteStore, clock: FakeClock
) -> None:
    first, second = await arrive(store, clock, "a", "b")
    await route(store, (first, to(first)), (second, to(second)))
    assert await claim(store, place=FALLBACK) == [], "nothing is meant for it yet"
    assert await claim(store, place=FALLBACK, all_of_it=True) == ["i:a:k"]
    await settle(store, DeliveryState.FALLBACK)
    assert await claim(store, place=FALLBACK) == ["i:b:k"], "in order there as well"
    await settle(store, DeliveryState.FALLBACK)
    assert await claim(store) == ["i:a:k"]
    await settle(store, PENDING)
    lies = {item.event: item.state for item in await store.deliveries.list(DeliveryFilter())}
    assert set(lies.values()) == {DeliveryState.FALLBACK}, "it lies there still"
    assert await claim(store) == ["i:a:k"]
    await settle(store, DONE)
    assert await claim(store) == ["i:b:k"]


async def test_an_older_event_does_not_follow_a_later_one_unless_it_is_asked_to(
    store: SqliteStore, clock: FakeClock
) -> None:
    older, newer = await arrive(store, clock, "a", "b")
    await store.deliveries.route([RoutedEvent(older, EventState.UNWANTED, [])])
    await route(store, (newer, to(newer)))
    await claim(store)
    await settle(store, DONE)
    assert await store.deliveries.overtaken(older, [to(older)])
    await store.deliveries.resend(older, [to(older)])
    assert await claim(store) == []
    found = {item.event: item for item in await store.deliveries.list(DeliveryFilter())}
    assert found[older.id].state is DeliveryState.SUPERSEDED
    assert "later event" in found[older.id].message
    assert await store.deliveries.resend(older, [to(older)], again=True) == 1
    (key,) = await claim(store)
    assert key != "i:a:k", "what is meant to happen once more has a key of its own"
    assert (await store.events.rows([older.number]))[0].state is EventState.ROUTED


async def test_a_paused_source_is_left_alone_and_its_gap_ends_filled(
    store: SqliteStore, clock: FakeClock
) -> None:
    (event,) = await arrive(store, clock, "a")
    await route(store, (event, to(event)))
    await arrive(store, clock, "b")
    await arrive(store, clock, "c", profile="other")
    assert await store.sources.set_state("shop", SourceState.PAUSED)
    assert not await store.sources.set_state("shop", SourceState.PAUSED)
    assert [item.event_id for item in await store.deliveries.unrouted(10)] == ["c"]
    assert not await store.deliveries.waiting()
    assert await claim(store) == []
    clock.ms += 5_000
    await store.sources.set_state("shop", SourceState.DISABLED)
    assert await store.deliveries.waiting() == [("i", "s")], "what was taken before is delivered"
    clock.ms += 7_000
    await store.sources.set_state("shop", SourceState.ACTIVE)
    disabled, paused = await store.gaps.list(profile="shop")
    assert (paused.kind, paused.state) == (GapKind.PAUSED, GapState.FILLED)
    assert (disabled.kind, disabled.state) == (GapKind.DISABLED, GapState.OPEN)
    lengths = [(item.end_ms or 0) - (item.start_ms or 0) for item in (paused, disabled)]
    assert [length // 100 for length in lengths] == [50, 70]


async def test_B13_an_event_that_the_disk_changed_is_known(
    store: SqliteStore, clock: FakeClock, tmp_path: Path
) -> None:
    await arrive(store, clock, "a", "b")
    with contextlib.closing(sqlite3.connect(store.database.path)) as connection, connection:
        connection.execute("UPDATE events SET body = X'00' WHERE event_id = 'a'")
    assert [item.intact for item in await store.deliveries.unrouted(10)] == [False, True]


async def test_a_hold_and_a_breaker_are_shown_until_they_are_over(
    store: SqliteStore, clock: FakeClock
) -> None:
    await store.deliveries.hold("i", "s", "auth", "No key.", clock.ms + 5)
    clock.ms += 10
    await store.deliveries.hold("i", "s", "auth", "Still no key.", clock.ms + 5)
    (hold,) = await store.deliveries.holds()
    assert (hold.message, hold.until_ms - hold.since_ms) == ("Still no key.", 15)
    await store.deliveries.release("i", "s")
    assert not await store.deliveries.holds()
    await store.deliveries.save_health(TargetHealth("sink", "open", 5, clock.ms, clock.ms + 9, "503"))
    assert [item.profile for item in await store.deliveries.health()] == ["sink"]
    await store.deliveries.save_health(TargetHealth("sink", "closed", 0, clock.ms, clock.ms, ""))
    assert not await store.deliveries.health()


async def test_old_events_go_with_their_deliveries_but_not_what_waits(
    store: SqliteStore, clock: FakeClock
) -> None:
    await settle_clock(store, clock)
    first, second, third = await arrive(store, clock, "done", "waits", "unwanted")
    await route(store, (first, to(first)), (second, to(second, "z")))
    await store.deliveries.route([RoutedEvent(third, EventState.UNWANTED, [])])
    await arrive(store, clock, "new")
    await claim(store, 1)
    await settle(store, DONE)
    await later(store, clock, 40)
    left = await store.events.rows(await store.events.numbers(EventFilter(), newest_first=False))
    assert [item.event_id for item in left] == ["waits", "new"]
    assert [item.state for item in await store.deliveries.list(DeliveryFilter())] == [PENDING]


@settings(max_examples=12, deadline=None)
@given(
    keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    steps=st.lists(st.sampled_from(["done", "again", "fallback", "dead", "resend"]), max_size=40),
)
async def test_versions_of_a_record_are_delivered_in_the_order_in_which_they_came(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], steps: list[str]
) -> None:
    """Whatever becomes of single tries, nothing of a record is done after something later of it."""
    clock = FakeClock()
    store = await open_store(tmp_path_factory.mktemp("s") / "db.sqlite", clock=clock, role="engine")
    try:
        events = await arrive(store, clock, *(f"e{number}" for number in range(len(keys))))  # type: ignore[arg-type]
        await route(store, *((event, to(event, key)) for event, key in zip(events, keys, strict=True)))  # type: ignore[arg-type]
        done: defaultdict[str, list[int]] = defaultdict(list)
        states = {
            "done": DONE,
            "again": PENDING,
            "fallback": DeliveryState.FALLBACK,
            "dead": DeliveryState.DEAD,
        }
        for step in steps:
            state = states.get(step, DONE)
            place = FALLBACK if step == "fallback" else "primary"
            claimed = await store.deliveries.claim("i", "s", "me", 2, place, all_of_it=True)
            assert len({item.delivery.record_key for item in claimed}) == len(claimed)
            for item in claimed:
                if state is DONE:
                    done[item.delivery.record_key].append(item.delivery.event_number)
                await store.deliveries.settle([DeliveryOutcome(item.delivery.number, state)], "me")
        for numbers in done.values():
            assert numbers == sorted(numbers)
            assert len(set(numbers)) == len(numbers)
    finally:
        await store.close()
