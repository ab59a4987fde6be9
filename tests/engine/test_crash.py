"""kill -9 at every step of a run and a replay: after a restart nothing is lost, nothing done twice."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from engine.support import TO_CRM, TO_SQLITE, Demo, Installation

from platint_tui.core.model import Run
from platint_tui.core.states import DeadLetterState, RunState
from platint_tui.engine.failpoints import POINTS

RUN_POINTS = [name for name in POINTS if "." not in name]
CHARGES = 1000
KILLED = -signal.SIGKILL


async def queue(installation: Installation, integration: str, *streams: str) -> None:
    await installation.submit("run", integration=integration, streams=list(streams))


async def only_run(installation: Installation) -> Run:
    (run,) = await installation.store.runs.list()
    return run


def source_keys(stream: str, total: int) -> set[str]:
    from platint_tui.demo.records import Dataset

    data = Dataset(1, CHARGES)
    return {f'["{data.identifier(stream, n)}"]' for n in range(total)}


@pytest.mark.parametrize("hit", [1, 3])
@pytest.mark.parametrize("point", RUN_POINTS)
async def test_A2_A3_A4_A5_killed_while_writing_sqlite(
    installation: Installation, demo: Callable[..., Demo], point: str, hit: int
) -> None:
    # Several batches: the reader is slower than the writer, which then takes single pages.
    await installation.demo_profiles(demo(records=CHARGES, latency=[3, 6]))
    await installation.integrate(TO_SQLITE)
    await queue(installation, "to-sqlite", "charges")
    code, said = installation.finish(PLATINT_FAILPOINT=f"{point}:{hit}")
    assert code == KILLED, said
    assert (await only_run(installation)).state == RunState.RUNNING
    code, said = installation.finish()
    assert code == 0, said
    run = await only_run(installation)
    assert run.state == RunState.PARTIAL
    (stream,) = run.streams
    rows = installation.table("charges")
    letters = await installation.letters()
    assert {row["_key"] for row in rows} | {item.record_key for item in letters} == source_keys(
        "charges", CHARGES
    )
    assert len(rows) + len(letters) == CHARGES
    # Counters are of committed pages: a page that was committed is counted once, whenever the engine died.
    assert stream.read == stream.written + stream.dead_lettered + stream.superseded == CHARGES
    assert stream.dead_lettered == len(letters) == sum(item.occurrences for item in letters)


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", RUN_POINTS)
async def test_A2_A4_A5_killed_while_writing_the_crm(
    installation: Installation, demo: Callable[..., Demo], point: str, hit: int
) -> None:
    platforms = demo(records=CHARGES)
    await installation.demo_profiles(platforms)
    await installation.integrate(TO_CRM)
    await queue(installation, "to-crm")
    code, said = installation.finish(PLATINT_FAILPOINT=f"{point}:{hit}")
    assert code == KILLED, said
    code, said = installation.finish()
    assert code == 0, said
    run = await only_run(installation)
    (stream,) = run.streams
    rows = platforms.crm_rows()
    letters = await installation.letters()
    assert {f'["{key}"]' for key in rows} | {item.record_key for item in letters} == source_keys(
        "customers", CHARGES // 4
    )
    # The repeated page carried the same idempotency keys: every contact was written exactly once.
    assert set(rows.values()) == {1}
    assert stream.read == stream.written + stream.dead_lettered == CHARGES // 4
    assert stream.dead_lettered == len(letters)


@pytest.mark.parametrize("point", ["replay.after_intent", "replay.after_send"])
async def test_A9_A10_K2_killed_while_replaying(
    installation: Installation, demo: Callable[..., Demo], point: str
) -> None:
    platforms = demo(records=CHARGES)
    await installation.demo_profiles(platforms)
    await installation.integrate(TO_CRM)
    async with installation.engine():
        await installation.run("to-crm")
        letter = (await installation.letters(text="missing_field"))[0]
        child = await _give_email(installation, letter.id)
    await installation.submit("replay", dead_letters=[child])
    code, said = installation.finish(PLATINT_FAILPOINT=point)
    assert code == KILLED, said
    before = await installation.store.dead_letters.get(child)
    assert before is not None
    assert before.state == DeadLetterState.REPLAYING
    code, said = installation.finish()
    assert code == 0, said
    after = await installation.store.dead_letters.get(child)
    assert after is not None
    assert after.state == DeadLetterState.SUCCEEDED
    attempts = await installation.store.dead_letters.attempts(child)
    assert [item.outcome for item in attempts] == ["unknown", "succeeded"]
    assert {item.idempotency_key for item in attempts} == {before.idempotency_key}
    key = letter.record_key[2:-2]
    assert platforms.crm_rows()[key] == 1


async def _give_email(installation: Installation, letter: str) -> str:
    from platint_tui.core.jsontext import content_hash, dumps, loads

    whole = await installation.store.dead_letters.get(letter)
    assert whole is not None
    value = loads(whole.payload)
    value["email"] = "found@example.org"
    text = dumps(value)
    edited = await installation.store.dead_letters.edit(
        letter, text.encode(), whole.record_key, content_hash(text)
    )
    return edited.id


async def test_A4_a_wrong_design_is_caught(installation: Installation, demo: Callable[..., Demo]) -> None:
    """The position is stored before the page is written: the harness sees the lost records."""
    platforms = demo(records=CHARGES)
    await installation.demo_profiles(platforms)
    await installation.integrate(TO_CRM)
    await queue(installation, "to-crm")
    code, said = installation.finish(PLATINT_FAILPOINT="before_write:2", TEST_PLANTED="position_first")
    assert code == KILLED, said
    code, said = installation.finish(TEST_PLANTED="position_first")
    assert code == 0, said
    found = {f'["{key}"]' for key in platforms.crm_rows()}
    found |= {item.record_key for item in await installation.letters()}
    assert len(source_keys("customers", CHARGES // 4) - found) > 50


async def test_A10_a_fresh_key_is_caught(installation: Installation, demo: Callable[..., Demo]) -> None:
    """A replay that invents a key after a crash acts twice: the harness sees it."""
    platforms = demo(records=CHARGES)
    await installation.demo_profiles(platforms)
    await installation.integrate(TO_CRM)
    async with installation.engine():
        await installation.run("to-crm")
        letter = (await installation.letters(text="missing_field"))[0]
        child = await _give_email(installation, letter.id)
    await installation.submit("replay", dead_letters=[child])
    code, said = installation.finish(PLATINT_FAILPOINT="replay.after_send", TEST_PLANTED="fresh_key")
    assert code == KILLED, said
    code, said = installation.finish(TEST_PLANTED="fresh_key")
    assert code == 0, said
    assert platforms.crm_rows()[letter.record_key[2:-2]] == 2
