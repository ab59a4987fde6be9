"""Gaps: what is missing in them, and when they count as filled."""

from __future__ import annotations

import pytest

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.gaps import GapKind, GapState, MissedState, SentEvent
from platint_tui.store.sqlite import SqliteStore

NOW = 1_800_000_000_000


async def arrives(store: SqliteStore, event_id: str, profile: str = "shop") -> None:
    """An event as the receiver stores it."""
    await store.database.write(
        lambda connection: connection.execute(
            "INSERT INTO events (id, profile, platform, event_id, type, order_key, received_ms, state, origin,"
            " verified_by, last_seen_ms, method, target, headers, size, row_hash, body)"
            " VALUES (?1, ?2, 'demo', ?3, 't', '', 1, 'new', 'webhook', '', 1, 'POST', '/', '[]', 0, '', X'')",
            (f"evt_{profile}_{event_id}", profile, event_id),
        )
    )


def sent(number: int, at: int = NOW, **values: object) -> SentEvent:
    return SentEvent(f"e{number}", "order.made", at, **values)  # type: ignore[arg-type] # a test's values


async def test_a_gap_that_goes_on_is_one_however_often_it_is_begun(store: SqliteStore) -> None:
    first = await store.gaps.begin("shop", GapKind.DISABLED, "The source is disabled.", NOW)
    assert await store.gaps.begin("shop", GapKind.DISABLED, "again", NOW + 5) == first
    other = await store.gaps.begin("crm", GapKind.DISABLED, "The source is disabled.", NOW)
    assert other != first
    await store.gaps.end("shop", GapKind.DISABLED, NOW + 10)
    [gap] = await store.gaps.list(profile="shop")
    assert (gap.state, gap.start_ms, gap.end_ms, gap.missing) == (GapState.OPEN, NOW, NOW + 10, 0)
    assert await store.gaps.begin("shop", GapKind.DISABLED, "once more", NOW + 20) != first


async def test_missed_events_are_in_the_gap_in_whose_span_they_are_or_in_one_of_their_own(
    store: SqliteStore,
) -> None:
    await arrives(store, "e1")
    down = await store.gaps.begin("shop", GapKind.RECEIVER_DOWN, "Nobody listened.", NOW, NOW + 100)
    seen = await store.gaps.compare(
        "shop", [sent(1), sent(2, NOW + 50), sent(3, NOW + 500), sent(4, NOW - 500)], NOW - 1_000, NOW + 1_000
    )
    assert (seen.sent, seen.here, seen.new, seen.filled) == (4, 1, 3, ())
    assert [item.event_id for item in await store.gaps.missed(down)] == ["e2"]
    [own] = await store.gaps.list(kinds=(GapKind.MISSED,))
    assert [item.event_id for item in await store.gaps.missed(own.number)] == ["e4", "e3"]
    assert (own.start_ms, own.end_ms, own.missing) == (NOW - 500, NOW + 500, 2)


async def test_a_gap_is_filled_when_everything_came_and_the_whole_span_was_compared(
    store: SqliteStore,
) -> None:
    down = await store.gaps.begin("shop", GapKind.RECEIVER_DOWN, "Nobody listened.", NOW, NOW + 100)
    await store.gaps.compare("shop", [sent(2, NOW + 50)], NOW, NOW + 60)
    await arrives(store, "e2")
    assert await store.gaps.settle("shop") == []  # what came between NOW + 60 and its end is not known
    seen = await store.gaps.compare("shop", [], NOW + 60, NOW + 200)
    assert seen.filled == (down,)
    gap = await store.gaps.get(down)
    assert gap is not None and (gap.state, gap.missing, gap.events) == (GapState.FILLED, 0, 1)


async def test_a_comparison_that_began_later_says_nothing_of_the_beginning(store: SqliteStore) -> None:
    await store.gaps.begin("shop", GapKind.RECEIVER_DOWN, "Nobody listened.", NOW, NOW + 100)
    seen = await store.gaps.compare("shop", [], NOW + 50, NOW + 200)
    assert seen.filled == ()


async def test_what_was_asked_for_and_failed_again_is_missing_again(store: SqliteStore) -> None:
    await store.gaps.compare("shop", [sent(1, delivery_id="10", failed=True)], NOW - 1, NOW + 1)
    await store.gaps.asked("shop", "e1")
    [gap] = await store.gaps.list()
    assert [item.state for item in await store.gaps.missed(gap.number)] == [MissedState.ASKED]
    await store.gaps.compare("shop", [sent(1, delivery_id="10", failed=True)], NOW - 1, NOW + 2)
    assert [item.state for item in await store.gaps.missed(gap.number)] == [MissedState.ASKED]
    await store.gaps.compare("shop", [sent(1, delivery_id="11", failed=True)], NOW - 1, NOW + 3)
    [item] = await store.gaps.missed(gap.number)
    assert (item.state, item.delivery_id) == (MissedState.MISSING, "11")


async def test_what_is_lost_keeps_the_gap_open_until_somebody_accepts_it(store: SqliteStore) -> None:
    await store.gaps.compare("shop", [sent(1)], NOW - 1, NOW + 1)
    [gap] = await store.gaps.list()
    await store.gaps.lost("shop", "e1", "It is older than three days.")
    assert await store.gaps.settle("shop") == []
    await store.gaps.accept(gap.number, "known")
    with pytest.raises(ConfigError):
        await store.gaps.fill(gap.number)
    with pytest.raises(NotFound):
        await store.gaps.accept(99)
    # What was accepted is not found again by the next comparison.
    seen = await store.gaps.compare("shop", [sent(1)], NOW - 1, NOW + 1)
    assert seen.new == 0 and len(await store.gaps.list()) == 1


async def test_events_of_another_profile_fill_nothing(store: SqliteStore) -> None:
    await store.gaps.compare("shop", [sent(1)], NOW - 1, NOW + 1)
    await arrives(store, "e1", "crm")
    assert await store.gaps.settle("shop") == []
    await arrives(store, "e1")
    assert len(await store.gaps.settle("shop")) == 1
