"""Events are stored once and whole, refused requests are counted, and both are found again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from store.samples import FakeClock

from platint_tui.core.errors import StoreError
from platint_tui.core.events import EventState, Ingested, IngestOutcome, NewEvent, Rejection, SourceState
from platint_tui.core.webhooks import Step
from platint_tui.store.eventrows import new_row
from platint_tui.store.ports import EventFilter
from platint_tui.store.sqlite import SqliteStore


def event(number: int = 1, **changes: Any) -> NewEvent:
    made = NewEvent(
        profile="shop",
        platform="payments",
        event_id=f"evt_{number}",
        type="charge.paid",
        order_key=f"ch_{number}",
        occurred_ms=1_700_000_000_000 + number,
        received_ms=1_700_000_000_500 + number,
        method="POST",
        target="/webhooks/shop?a=1",
        headers=(("content-type", "application/json"), ("x-note", 'a "b" ü \ud800')),
        body=b'{"id": "ch_%d", "text": "\xff\x00"}' % number,
        verified_by="webhook_secret",
    )
    return replace(made, **changes)


def rejection(**changes: Any) -> Rejection:
    made = Rejection(
        number=0,
        profile="shop",
        cause="bad_signature",
        message="The signature does not match.",
        received_ms=1_000_000,
        last_ms=1_000_000,
        times=1,
        method="POST",
        target="/webhooks/shop",
        headers=(("content-type", "application/json"),),
        body=b"\xff{}",
        truncated=False,
        steps=(Step("Signature", False, "no match"), Step("Clock", None, "not looked at")),
    )
    return replace(made, **changes)


def outcomes(found: Sequence[Ingested]) -> list[str]:
    return [item.outcome for item in found]


async def test_an_event_comes_back_as_it_was_given(store: SqliteStore) -> None:
    (made,) = await store.events.ingest([event(7, part=3)])
    assert made == Ingested(IngestOutcome.STORED, "evt_7")
    (number,) = await store.events.numbers(EventFilter())
    found = await store.events.get(str(number))
    assert found is not None
    assert found.body == event(7).body
    assert found.headers == event(7).headers
    for name in (
        "profile",
        "type",
        "order_key",
        "occurred_ms",
        "received_ms",
        "method",
        "target",
        "verified_by",
    ):
        assert getattr(found, name) == getattr(event(7), name)
    assert (found.state, found.seen, found.size) == (EventState.NEW, 1, len(found.body))
    assert await store.events.get(found.id) == found
    (row,) = await store.events.rows([number, 99])
    assert row == replace(found, body=b"")


async def test_batches_with_duplicates_and_conflicts_are_sorted_out(
    store: SqliteStore, clock: FakeClock
) -> None:
    assert outcomes(await store.events.ingest([event(n) for n in range(150)])) == ["stored"] * 150
    mixed = [
        event(149),  # again
        event(200),
        event(200),  # twice in one batch
        event(3, body=b"other"),  # the same id, other bytes
        event(3, body=b"other"),
        event(3, profile="another"),  # the same id of another source
        event(201),
    ]
    assert outcomes(await store.events.ingest(mixed)) == [
        *("duplicate", "stored", "duplicate", "conflict", "duplicate", "stored", "stored")
    ]
    assert outcomes(await store.events.ingest(mixed)) == ["duplicate"] * 7
    rows = await store.events.rows(await store.events.numbers(EventFilter(), newest_first=False))
    seen = {(row.profile, row.event_id): row.seen for row in rows}
    assert len(seen) == len(rows) == 154
    assert seen["shop", "evt_149"] == 3
    assert seen["shop", "evt_200"] == 4
    assert seen["shop", "evt_3"] == 1
    (other,) = [name for _, name in seen if name.startswith("evt_3~")]
    assert seen["shop", other] == 4
    assert [row.number for row in rows] == sorted(row.number for row in rows)
    sources = {item.profile: item for item in await store.events.sources()}
    assert (sources["shop"].events, sources["another"].events) == (153, 1)
    assert sources["shop"].state is SourceState.ACTIVE
    (alert,) = await store.alerts.list()
    assert (alert.subject, alert.times) == ("events of shop", 1)


async def test_what_arrives_until_the_writer_begins_is_in_the_batch(store: SqliteStore) -> None:
    waiting = [event(1)]
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    taken = 0

    def take() -> list[NewEvent]:
        nonlocal taken
        taken += 1
        return list(waiting)

    store.events.ingest_soon(take, done.set_result)
    waiting.append(event(2))
    assert outcomes(await done) == ["stored", "stored"]
    assert taken == 1


async def test_a_batch_that_fails_leaves_nothing(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="stored"):
        await store.events.ingest([event(1), event(2, received_ms=1 << 80)])
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    store.events.ingest_soon(lambda: [event(1, occurred_ms=1 << 80)], done.set_result)
    assert isinstance(await done, StoreError)
    assert list(await store.events.numbers(EventFilter())) == []
    assert await store.events.sources() == []


@pytest.mark.parametrize("column", ["body", "headers", "event_id", "order_key", "verified_by"])
async def test_B13_a_flipped_bit_is_noticed(store: SqliteStore, column: str) -> None:
    await store.events.ingest([event(1)])

    def flip(connection: sqlite3.Connection) -> None:
        value = connection.execute(f"SELECT {column} FROM events").fetchone()[0]
        data = bytearray(value if isinstance(value, bytes) else value.encode())
        data[2] ^= 1
        flipped = bytes(data) if isinstance(value, bytes) else data.decode()
        connection.execute(f"UPDATE events SET {column} = ?", (flipped,))

    await store.database.write(flip)
    with pytest.raises(StoreError, match="the disk changed it"):
        await store.events.get("1")
    (found,) = await store.deliveries.unrouted(10)
    assert not found.intact


async def test_events_are_found_by_what_is_asked(store: SqliteStore) -> None:
    await store.events.ingest(
        [event(1), event(2, type="charge.failed"), event(3, profile="other", body=b'{"customer": "cus_%_9"}')]
    )

    async def found(**where: Any) -> list[int]:
        return list(await store.events.numbers(EventFilter(**where), newest_first=False))

    assert await found() == [1, 2, 3]
    assert await found(profile="shop") == [1, 2]
    assert await found(type="charge.failed") == [2]
    assert await found(type="charge.*") == [1, 2, 3]
    assert await found(states=(EventState.NEW,)) == [1, 2, 3]
    assert await found(states=(EventState.ROUTED,)) == []
    assert await found(text="cus_%_9") == [3]
    assert await found(text="ch_2") == [2]
    assert await found(since_ms=1_700_000_000_502) == [2, 3]
    assert list(await store.events.numbers(EventFilter(), limit=2)) == [3, 2]
    assert await store.events.known("shop", ["evt_1", "evt_2", "evt_3"]) == {"evt_1", "evt_2"}
    counts = await store.events.counts()
    assert counts == {("shop", EventState.NEW): 2, ("other", EventState.NEW): 1}
    assert await store.events.counts(1_700_000_000_503) == {("other", EventState.NEW): 1}
    assert await store.events.get("evt_none") is None


async def test_refused_requests_are_counted_by_the_minute(store: SqliteStore) -> None:
    await store.events.reject([rejection(times=3)])
    await store.events.reject(
        [
            rejection(received_ms=1_050_000, last_ms=1_050_000, times=5, body=b"later"),
            rejection(cause="too_old"),
            rejection(profile="", cause="unknown_source"),
        ]
    )
    await store.events.reject([rejection(received_ms=1_070_000, last_ms=1_070_000)])
    rows = await store.events.rejections("shop")
    assert [(row.cause, row.times, row.last_ms) for row in rows] == [
        ("bad_signature", 1, 1_070_000),
        ("too_old", 1, 1_000_000),
        ("bad_signature", 8, 1_050_000),
    ]
    whole = await store.events.rejection(rows[-1].number)
    assert whole is not None
    assert (whole.body, whole.steps) == (rejection().body, rejection().steps)
    assert rows[-1].body == b""
    assert [row.cause for row in await store.events.rejections(cause="too_old")] == ["too_old"]
    assert [row.cause for row in await store.events.rejections("")] == ["unknown_source"]
    (source,) = await store.events.sources()
    assert (source.profile, source.rejected) == ("shop", 10)


async def test_old_refusals_go(store: SqliteStore, clock: FakeClock) -> None:
    day = 86_400_000
    await store.events.reject(
        [rejection(last_ms=clock.ms - 31 * day), rejection(cause="too_old", last_ms=clock.ms - 29 * day)]
    )
    await store.settings.put("retention.clock", {"trusted_ms": clock.ms})
    await store.purge()
    assert [row.cause for row in await store.events.rejections()] == ["too_old"]


def test_rows_have_ids_in_the_order_in_which_they_were_made() -> None:
    rows = [new_row(event(n)) for n in range(3)]
    assert len({row.id for row in rows}) == 3
    assert all(len(row.id) == len("evt_") + 16 for row in rows)


async def test_what_only_a_retry_changes_makes_no_other_event(store: SqliteStore) -> None:
    varies = (("attempt",), ("meta", "try"))
    first = event(1, body=b'{"id": 1, "attempt": 0, "meta": {"try": 1, "x": 2}}', varies=varies)
    again = event(1, body=b'{"id":1,"meta":{"x":2,"try":9},"attempt":3}', varies=varies)
    other = event(1, body=b'{"id": 1, "attempt": 0, "meta": {"try": 1, "x": 3}}', varies=varies)
    no_json = event(1, body=b"attempt", varies=varies)
    found = [outcomes(await store.events.ingest([item])) for item in (first, again, other, no_json)]
    assert found == [["stored"], ["duplicate"], ["conflict"], ["conflict"]]
    kept = await store.events.get("1")
    assert kept is not None and kept.seen == 2 and kept.body == first.body
