"""Filters of the inbox: each finds what it says, alone and together with others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.samples import FakeClock, commit, dead_letter, running

from platint_tui.core.errors import ErrorClass
from platint_tui.core.model import Fault
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.store import search
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore

HOUR = 3_600_000
DOWN = Fault(ErrorClass.TRANSIENT, "connect", "The host answers nothing.", "", "Wait.")


async def found(store: SqliteStore, **wanted: object) -> list[int]:
    return list(await store.dead_letters.numbers(DeadLetterFilter(**wanted), newest_first=False))  # type: ignore[arg-type] - as each case says


@pytest.fixture
async def three(store: SqliteStore, clock: FakeClock) -> SqliteStore:
    """Two records at fault, and one whose target was away an hour later."""
    run = await running(store)
    first = dead_letter(
        run.id, '["cus_77"]', payload='{"id":"cus_77","email":"Jörg.Müller@example.com"}'.encode()
    )
    second = dead_letter(run.id, "[1234]", payload=b'{"note": "paid late", "id": 1234}')
    await commit(store, run, 1, first, second)
    clock.ms += HOUR
    third = replace(
        dead_letter(run.id, '["cus_779","eu"]', fingerprint="f2", payload=b"\xff\x00 not text"),
        fault=DOWN,
        direction="event",
        profile="other",
    )
    await commit(store, run, 2, third)
    return store


async def test_words_of_the_payload_are_found_by_their_beginning(three: SqliteStore) -> None:
    assert await found(three, text="müller") == [1] == await found(three, text="jorg.MÜLLER@exam")
    assert await found(three, text="late paid") == [2] and await found(three, text="paid never") == []
    assert await found(three, text="cus_77") == [1, 3] and await found(three, text="us_77") == []
    assert await found(three, text="missing_field") == [1, 2] and await found(three, text='"; --') == []


async def test_each_field_narrows(three: SqliteStore) -> None:
    assert await found(three, bin="record") == [1, 2] and await found(three, bin="systemic") == [3]
    assert await found(three, error_class="transient") == [3] and await found(three, code="connect") == [3]
    assert await found(three, direction="event") == [3] and await found(three, profile="shop") == [1, 2]
    assert await found(three, field="email", text="paid") == [2]
    assert await found(three, bin="record", platform="payments", text="example") == [1]


async def test_keys_exact_and_by_their_beginning(three: SqliteStore) -> None:
    assert await found(three, key="cus_77") == [1] and await found(three, key="cus_77*") == [1, 3]
    assert await found(three, key="1234") == [2] and await found(three, key='["cus_779","eu"]') == [3]
    assert await found(three, key="cus_7_*") == [] and await found(three, key='"*') == []


async def test_times(three: SqliteStore, clock: FakeClock) -> None:
    assert await found(three, since_ms=clock.ms - HOUR // 2) == [3]
    assert await found(three, until_ms=clock.ms - HOUR // 2) == [1, 2]


async def test_an_edit_is_found_by_its_own_words(three: SqliteStore) -> None:
    letter = await three.dead_letters.get("2")
    assert letter is not None
    await three.dead_letters.edit(letter.id, b'{"note": "corrected"}', letter.record_key, "h")
    assert await found(three, text="corrected") == [4] and await found(three, text="late") == [2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30), key=st.text(st.characters(exclude_categories=("Cs",)), max_size=10))
async def test_any_text_is_a_filter(three: SqliteStore, text: str, key: str) -> None:
    assert set(await found(three, text=text, key=key)) <= {1, 2, 3}


async def test_an_issue_counts_its_hours(three: SqliteStore, clock: FakeClock) -> None:
    one, two = sorted(await three.dead_letters.issues(), key=lambda issue: issue.fingerprint)
    assert one.hours[-2:] == (2, 0) and two.hours[-2:] == (0, 1) and len(one.hours) == 24
    assert (one.bin, two.bin) == ("record", "systemic")
    clock.ms += 30 * HOUR
    assert (await three.dead_letters.issues())[0].hours == (0,) * 24


async def test_an_ignored_issue_comes_back_when_it_was_agreed(store: SqliteStore, clock: FakeClock) -> None:
    run = await running(store)
    inbox = store.dead_letters

    async def fail(number: int) -> IssueState:
        await commit(store, run, number, dead_letter(run.id, f'["{number}"]'))
        found = await inbox.issue("f1")
        assert found is not None
        return found.state

    await fail(1)
    await inbox.set_issue_state("f1", IssueState.IGNORED, until_total=3)
    assert [await fail(2), await fail(3)] == [IssueState.IGNORED, IssueState.OPEN]
    await inbox.set_issue_state("f1", IssueState.IGNORED, until_ms=clock.ms + HOUR)
    assert await fail(4) is IssueState.IGNORED
    clock.ms += HOUR
    assert await fail(5) is IssueState.OPEN
    await inbox.set_issue_state("f1", IssueState.IGNORED)
    clock.ms += 1000 * HOUR
    assert await fail(6) is IssueState.IGNORED
    await inbox.note_issue("f1", "ask Kim")
    issue = await inbox.issue("f1")
    assert issue is not None and issue.note == "ask Kim"


async def test_the_newest_are_the_first_of_all_that_match(three: SqliteStore) -> None:
    where = DeadLetterFilter(bin="record")
    assert list(await three.dead_letters.newest(where, 1)) == [2]
    for wanted in (where, DeadLetterFilter(), DeadLetterFilter(key="cus_77*"), DeadLetterFilter(text="paid")):
        assert list(await three.dead_letters.newest(wanted, 9)) == list(
            await three.dead_letters.numbers(wanted)
        )


@pytest.mark.parametrize("looked_at", [0, 5_000])
async def test_words_with_other_fields_find_the_same_either_way(
    three: SqliteStore, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the rows of the words are read one by one, or the numbers of both are compared."""
    monkeypatch.setattr(search, "_LOOKED_AT", looked_at)
    assert await found(three, text="cus_77", bin="systemic") == [3]
    assert await found(three, text="cus_77", states=(DeadLetterState.OPEN,)) == [1, 3]
    assert await found(three, text="cus_77", key="cus_779*") == [3]
    assert await found(three, text="late", key="cus_77*") == []
    assert await three.dead_letters.count(DeadLetterFilter(text="cus_77", code="connect")) == 1
    newest = await three.dead_letters.numbers(DeadLetterFilter(text="cus_77", integration="billing"))
    assert list(newest) == [3, 1]


async def test_the_records_that_wait_in_an_issue(three: SqliteStore) -> None:
    assert await three.dead_letters.keys("f1") == 2 and await three.dead_letters.keys("f1", most=1) == 1
    (letter,) = await three.dead_letters.rows([1])
    await three.dead_letters.discard([letter.id])
    assert await three.dead_letters.keys("f1") == 1 and await three.dead_letters.keys("none") == 0
