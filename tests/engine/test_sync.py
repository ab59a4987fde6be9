"""Syncs of real demo platforms into real targets."""

from __future__ import annotations

from collections.abc import Callable

from engine.support import TO_CRM, TO_SQLITE, Demo, Installation

from platint_tui.core.states import RunState


async def test_charges_and_customers_arrive_in_sqlite(
    installation: Installation, demo: Callable[..., Demo]
) -> None:
    await installation.demo_profiles(demo(records=800))
    name = await installation.integrate(TO_SQLITE)
    async with installation.engine():
        await installation.call("discover", profile="payments")
        run = await installation.run(name)
        assert run.state == RunState.PARTIAL
        streams = {item.stream: item for item in run.streams}
        letters = await installation.letters()
        for stream, total in (("charges", 800), ("customers", 200)):
            item = streams[stream]
            assert item.total == total
            assert item.read == total == item.written + item.dead_lettered + item.superseded
            assert len(installation.table(stream)) == item.written
            assert len([x for x in letters if x.stream == stream]) == item.dead_lettered
        again = await installation.run(name)
    assert again.state == RunState.SUCCEEDED, again
    assert sum(item.read for item in again.streams) == 0
    assert {item.total for item in again.streams} == {None}


async def test_customers_arrive_in_the_crm(installation: Installation, demo: Callable[..., Demo]) -> None:
    platforms = demo(records=1600)
    await installation.demo_profiles(platforms)
    name = await installation.integrate(TO_CRM)
    async with installation.engine():
        run = await installation.run(name)
    (stream,) = run.streams
    assert run.state == RunState.PARTIAL
    assert (stream.read, stream.superseded) == (400, 0)
    rows = platforms.crm_rows()
    letters = await installation.letters()
    assert len(rows) == stream.written
    assert len(letters) == stream.dead_lettered == 400 - stream.written > 0
    assert {letter.code for letter in letters} == {"missing_field", "wrong_type", "too_long"}
