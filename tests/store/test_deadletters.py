"""The inbox: occurrences, issues, edits, discards, filters, damage."""

from __future__ import annotations

import asyncio
from array import array

import pytest
from store.samples import commit, dead_letter, running

from platint_tui.core.errors import NotFound, StoreError, SystemicError
from platint_tui.core.model import DeadLetter, Trigger
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore

ANY = DeadLetterFilter()


async def one(store: SqliteStore, identity: str) -> DeadLetter:
    found = await store.dead_letters.get(identity)
    assert found is not None
    return found


async def all_of(store: SqliteStore) -> list[DeadLetter]:
    numbers = await store.dead_letters.numbers(ANY, newest_first=False)
    return list(await store.dead_letters.rows(numbers))


async def issue(store: SqliteStore, fingerprint: str = "f1") -> tuple[str, int, int]:
    found = {item.fingerprint: item for item in await store.dead_letters.issues()}
    return (found[fingerprint].state, found[fingerprint].open, found[fingerprint].total)


async def test_a_dead_letter_is_kept_whole(store: SqliteStore) -> None:
    run = await running(store)
    new = dead_letter(run.id, payload=bytes(range(256)))
    await commit(store, run, 1, new)
    (summary,) = await all_of(store)
    assert (summary.payload, summary.request, summary.response, summary.size) == (b"", None, None, 256)
    letter = await one(store, "1")
    assert letter == await one(store, letter.id)
    assert letter.payload == new.payload and letter.idempotency_key == new.idempotency_key
    assert (letter.request, letter.response) == ({"method": "POST"}, {"status": 422})
    assert (letter.error_class, letter.code, letter.field) == ("record", "missing_field", "email")
    assert (letter.state, letter.occurrences, letter.attempts) == (DeadLetterState.OPEN, 1, 0)
    assert await store.dead_letters.get("nope") is None and await store.dead_letters.get("9" * 30) is None
    (found,) = await store.dead_letters.issues()
    assert (found.error_class, found.message, found.open, found.total) == ("record", letter.message, 1, 1)


async def test_the_same_failure_again_is_one_more_occurrence(store: SqliteStore) -> None:
    run = await running(store)
    assert await commit(store, run, 1, dead_letter(run.id)) == 1
    assert await commit(store, run, 2, dead_letter(run.id), dead_letter(run.id)) == 0
    assert await commit(store, run, 3, dead_letter(run.id, content="other")) == 1, "another version"
    assert [item.occurrences for item in await all_of(store)] == [3, 1]
    assert await issue(store) == ("open", 2, 2)


async def test_a_failure_of_what_was_settled_is_new(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    await commit(store, run, 2, keys=('["a"]',))
    assert [item.state for item in await all_of(store)] == ["superseded"]
    assert await issue(store) == ("resolved", 0, 1)
    assert await commit(store, run, 3, dead_letter(run.id)) == 1
    assert [item.state for item in await all_of(store)] == ["superseded", "open"]
    assert await issue(store) == ("open", 1, 2), "a resolved issue is open again"


async def test_a_discarded_one_stays_discarded_when_it_fails_again(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    assert await store.dead_letters.discard([(await all_of(store))[0].id]) == 1
    assert await commit(store, run, 2, dead_letter(run.id)) == 0
    (letter,) = await all_of(store)
    assert (letter.state, letter.occurrences) == ("discarded", 2)


async def test_a_later_version_supersedes_only_open_ones_of_its_stream(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, *(dead_letter(run.id, f'["{n}"]') for n in range(3)))
    await commit(store, run, 1, dead_letter(run.id, '["0"]', stream="charges"), stream="charges")
    await store.dead_letters.discard([(await all_of(store))[1].id])
    await commit(store, run, 2, keys=tuple(f'["{n}"]' for n in range(2000)))
    assert [item.state for item in await all_of(store)] == ["superseded", "discarded", "superseded", "open"]
    assert await issue(store) == ("open", 1, 4)


async def test_a_later_version_in_the_same_page_comes_before_its_failures(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id, '["a"]', "v2"), keys=('["a"]',))
    assert [item.state for item in await all_of(store)] == ["open"]


async def test_issue_states(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id), dead_letter(run.id, '["b"]', fingerprint="f2"))
    await store.dead_letters.set_issue_state("f1", IssueState.ACKNOWLEDGED)
    await commit(store, run, 2, dead_letter(run.id, '["c"]'))
    assert await issue(store) == ("acknowledged", 2, 2)
    await store.dead_letters.set_issue_state("f1", IssueState.RESOLVED)
    await commit(store, run, 3, dead_letter(run.id, '["d"]'))
    assert await issue(store) == ("open", 3, 3)
    await store.dead_letters.set_issue_state("f1", IssueState.IGNORED)
    await commit(store, run, 4, dead_letter(run.id, '["e"]'))
    assert await issue(store) == ("ignored", 4, 4)
    assert [item.fingerprint for item in await store.dead_letters.issues()] == ["f1", "f2"]
    assert [item.fingerprint for item in await store.dead_letters.issues((IssueState.OPEN,))] == ["f2"]
    assert len(await store.dead_letters.issues(text="EMAIL")) == 2
    assert await store.dead_letters.issues(text="_") != [] and await store.dead_letters.issues(text="%") == []
    with pytest.raises(NotFound):
        await store.dead_letters.set_issue_state("nope", IssueState.OPEN)


async def test_the_last_one_resolves_its_issue_and_a_reopened_one_opens_it(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id), dead_letter(run.id, '["b"]'))
    ids = [item.id for item in await all_of(store)]
    assert await store.dead_letters.discard(ids[:1]) == 1
    assert await issue(store) == ("open", 1, 2)
    assert await store.dead_letters.discard([*ids, "nope"]) == 1
    assert await issue(store) == ("resolved", 0, 2)
    assert await store.dead_letters.reopen(ids) == 2
    assert await store.dead_letters.reopen(ids) == 0
    assert await issue(store) == ("open", 2, 2)


async def test_K5_an_edit_is_a_child_with_another_key(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    original = await one(store, "1")
    child = await store.dead_letters.edit("1", b'{"id": "a", "email": "x"}', '["a"]', "new hash")
    assert child.parent == original.id and child.idempotency_key != original.idempotency_key
    assert child.payload == b'{"id": "a", "email": "x"}' and child.size == 25
    assert child.fingerprint == original.fingerprint and child.state == "open"
    kept = await one(store, "1")
    assert kept.state == "edited" and kept.payload == original.payload
    assert await issue(store) == ("open", 1, 1), "one record, though it has two rows"
    with pytest.raises(SystemicError):
        await store.dead_letters.edit(original.id, b"{}", "k", "h")
    # An edit of the edit, back to the text of the original: still a key of its own.
    grandchild = await store.dead_letters.edit(child.id, original.payload, '["a"]', original.content_hash)
    assert len({original.idempotency_key, child.idempotency_key, grandchild.idempotency_key}) == 3
    assert await commit(store, run, 2, dead_letter(run.id)) == 0, "the record is in work"
    with pytest.raises(NotFound):
        await store.dead_letters.edit("nope", b"{}", "k", "h")


async def test_K5_an_edit_is_undone(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    child = await store.dead_letters.edit("1", b"{}", '["a"]', "h")
    back = await store.dead_letters.undo_edit(child.id)
    assert (back.number, back.state) == (1, "open")
    assert (await one(store, child.id)).state == "discarded"
    assert await store.dead_letters.reopen([child.id]) == 0, "the record would be in the inbox twice"
    with pytest.raises(SystemicError):
        await store.dead_letters.undo_edit(child.id)
    with pytest.raises(SystemicError, match="not an edit"):
        await store.dead_letters.undo_edit(back.id)
    second = await store.dead_letters.edit("1", b"{}", '["a"]', "h")
    assert second.idempotency_key != child.idempotency_key
    assert await store.dead_letters.reopen([child.id]) == 0, "another edit is open"
    job = await store.replays.plan([second.id], Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    await store.replays.settle(job.id, second.id, "failed")
    with pytest.raises(SystemicError, match="sent already"):
        await store.dead_letters.undo_edit(second.id)
    assert await issue(store) == ("open", 1, 1)


async def test_an_edit_that_arrived_settles_its_original(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    child = await store.dead_letters.edit("1", b"{}", '["a"]', "h")
    job = await store.replays.plan([child.id], Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    await store.replays.settle(job.id, child.id, "succeeded")
    assert await issue(store) == ("resolved", 0, 1)
    assert await commit(store, run, 2, dead_letter(run.id)) == 1, "read again, failed again: that is news"
    assert await issue(store) == ("open", 1, 2)


async def test_a_later_version_supersedes_an_open_edit(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    child = await store.dead_letters.edit("1", b"{}", '["a"]', "h")
    await commit(store, run, 2, keys=('["a"]',))
    assert (await one(store, child.id)).state == "superseded"
    assert await issue(store) == ("resolved", 0, 1)


async def test_numbers_rows_and_count_by_filter(store: SqliteStore) -> None:
    run = await running(store)
    await commit(
        store,
        run,
        1,
        *(
            dead_letter(
                run.id,
                f'["cus_{n}"]',
                fingerprint=f"f{n % 2}",
                platform=("a", "b", "c")[n % 3],
                message=f"100% of {n}",
            )
            for n in range(30)
        ),
    )
    other = await running(store, "other")
    await commit(
        store, other, 1, dead_letter(other.id, integration="other", stream="charges"), stream="charges"
    )
    numbers = await store.dead_letters.numbers(ANY)
    assert isinstance(numbers, array) and numbers.typecode == "q"
    assert list(numbers) == list(range(31, 0, -1))
    assert list(await store.dead_letters.numbers(ANY, newest_first=False)) == list(range(1, 32))
    expected = {
        DeadLetterFilter(fingerprint="f1"): 16,
        DeadLetterFilter(platform="a"): 10,
        DeadLetterFilter(integration="other"): 1,
        DeadLetterFilter(stream="customers"): 30,
        DeadLetterFilter(run=run.id): 30,
        DeadLetterFilter(states=(DeadLetterState.OPEN, DeadLetterState.DISCARDED)): 31,
        DeadLetterFilter(states=(DeadLetterState.DISCARDED,)): 0,
        DeadLetterFilter(text="100% OF 7"): 1,
        DeadLetterFilter(text="cus_7"): 1,
        DeadLetterFilter(text="missing_field"): 31,
        DeadLetterFilter(
            platform="a", fingerprint="f0", run=run.id, integration="billing", stream="customers"
        ): 5,
    }
    for where, count in expected.items():
        assert await store.dead_letters.count(where) == count, where
        assert len(await store.dead_letters.numbers(where)) == count, where
    rows = await store.dead_letters.rows([7, 3, 99, 3])
    assert [item.number for item in rows] == [7, 3, 3], "in the order asked for, those that are gone left out"


@pytest.mark.parametrize("column", ["payload", "request", "response"])
async def test_B13_a_flipped_bit_is_noticed_and_not_sent(store: SqliteStore, column: str) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id), dead_letter(run.id, '["b"]'))
    first = (await all_of(store))[0].id
    job = await store.replays.plan([item.id for item in await all_of(store)], Trigger.BULK)

    def flip(connection: object) -> None:
        value = connection.execute(f"SELECT {column} FROM dead_letter_bodies WHERE number = 1").fetchone()[0]  # type: ignore[attr-defined]
        data = bytearray(value if isinstance(value, bytes) else value.encode())
        data[3] ^= 1
        flipped = bytes(data) if column == "payload" else data.decode()
        connection.execute(f"UPDATE dead_letter_bodies SET {column} = ? WHERE number = 1", (flipped,))  # type: ignore[attr-defined]

    await store.database.write(flip)
    with pytest.raises(StoreError) as caught:
        await store.dead_letters.get(first)
    assert caught.value.code == "damaged" and "Dead letter 1" in caught.value.message
    claimed = await store.replays.claim(job.id, "w1", 10)
    assert [item.number for item in claimed] == [2]
    await store.replays.settle(job.id, claimed[0].id, "succeeded")
    done = await store.replays.get(job.id)
    assert done is not None and (done.succeeded, done.failed, done.ended_ms is None) == (1, 1, False)


async def test_a_large_selection_is_discarded_in_parts(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, *(dead_letter(run.id, f'["{n}"]') for n in range(1200)))
    ids = [item.id for item in await all_of(store)]
    discarded, pages = await asyncio.gather(
        store.dead_letters.discard(ids), asyncio.gather(*(commit(store, run, 2 + n) for n in range(5)))
    )
    assert discarded == 1200 and pages == [0] * 5
    assert await issue(store) == ("resolved", 0, 1200)
