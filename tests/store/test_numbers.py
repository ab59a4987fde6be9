"""The numbers of events go up one by one: a number that is missing is one that was removed."""

from __future__ import annotations

from store.samples import FakeClock

from platint_tui.core.events import IngestOutcome, NewEvent
from platint_tui.store.ports import EventFilter
from platint_tui.store.sqlite import SqliteStore


def event(name: str, body: bytes = b"{}", profile: str = "shop") -> NewEvent:
    return NewEvent(profile, "stripe", name, "t", "", None, 1, "POST", "/", (), body)


async def test_what_comes_again_uses_up_no_number(store: SqliteStore, clock: FakeClock) -> None:
    """In a batch of its own, among new ones, and twice in one batch; the same id of another source is new."""
    for names in (["a"], ["a"], ["b", "a", "b", "c", "c"], [f"n{n % 100}" for n in range(200)], ["a", "d"]):
        await store.events.ingest([event(name) for name in names])
    outcomes = await store.events.ingest([event("a", profile="other"), event("a", b"[]"), event("a", b"[]")])
    assert [item.outcome for item in outcomes] == [
        IngestOutcome.STORED,
        IngestOutcome.CONFLICT,
        IngestOutcome.DUPLICATE,
    ]
    numbers = await store.events.numbers(EventFilter(), newest_first=False)
    assert list(numbers) == list(range(1, 107))
    found = {item.event_id: item.seen for item in await store.events.rows(numbers) if item.profile == "shop"}
    assert (found["a"], found["b"], found["c"], found["d"]) == (4, 2, 2, 1)
    assert all(found[f"n{n}"] == 2 for n in range(100))
