"""Syncs: run, cancel, reset with undo, import, and the truth about progress."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from console_kit import Console, text_of, wait_for
from seeding import NOW_MS, FixedClock, Page, fault, integration, profile, seed, seed_run

from platint_tui.core.model import Command
from platint_tui.core.states import RunState
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.dialogs.confirm import ConfirmScreen
from platint_tui.tui.pace import Pace
from platint_tui.tui.screens.syncs.rows import columns
from platint_tui.tui.screens.syncs.section import SyncsSection

INTEGRATION = """\
integration_type: replicate
name: crm-copy
source: {profile: payments}
"""


async def answer(workspace: Workspace, kind: str) -> Command:
    """Do what the engine does with one command of this kind."""
    while True:
        for command in await workspace.store.commands.pending():
            if command.kind != kind:
                continue
            store = workspace.store
            if kind == "run":
                made = await store.integrations.get(str(command.args["integration"]))
                assert made is not None
                streams = list(command.args["streams"]) or [item.stream for item in made.streams]
                run = await store.runs.create(made, streams, "manual")
                await store.commands.finish(command.id, result={"run": run.id, "number": run.number})
            else:
                before = await store.runs.reset_position(
                    str(command.args["integration"]), str(command.args["stream"])
                )
                await store.commands.finish(command.id, result={"before": before and before.seq})
            return command
        await asyncio.sleep(0.01)


def syncs(app: PlatintApp) -> SyncsSection:
    view = app.view
    assert isinstance(view, SyncsSection)
    return view


async def test_run_queues_the_integration_or_one_stream(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="syncs") as (app, pilot):
        await pilot.press("r")
        command = await answer(workspace, "run")
        assert command.args == {"integration": "archive", "streams": []}
        await wait_for(pilot, lambda: "Run 4 of archive is queued." in text_of(app))
        await wait_for(pilot, lambda: syncs(app).active)
        await pilot.press("r")
        assert "A run is active; x cancels it." in text_of(app)
        await pilot.press("x")
        await wait_for(pilot, lambda: "its position is kept" in text_of(app))
        await wait_for(pilot, lambda: not syncs(app).active)
        await pilot.press("j", "j")
        await wait_for(pilot, lambda: "Syncs › archive/charges" in text_of(app))
        await pilot.press("r")
        command = await answer(workspace, "run")
        assert command.args == {"integration": "archive", "streams": ["charges"]}


async def test_a_run_into_production_wants_the_name_typed(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    await workspace.store.profiles.put(profile("crm", "demo-crm", environment="production"))
    async with console(section="syncs") as (app, pilot):
        assert syncs(app).listing.go_to("billing")
        await pilot.press("r")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        shown = text_of(app)
        assert "Run billing into production" in shown
        assert "http://127.0.0.1:4701" in shown and "Type crm to confirm." in shown
        await pilot.press("escape")
        await wait_for(pilot, lambda: "Nothing was started." in text_of(app))
        assert not await workspace.store.commands.pending()
        await pilot.press("r")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        app.screen.query_one("#name").focus()
        await pilot.press(*"crm", "enter")
        command = await answer(workspace, "run")
        assert command.args["integration"] == "billing"


async def test_a_run_that_deletes_says_so_and_wants_the_name_typed(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    made = await workspace.store.integrations.get("billing")
    assert made is not None
    streams = (replace(made.streams[0], operation="delete"), *made.streams[1:])
    await workspace.store.integrations.put(replace(made, streams=streams))
    for environment, title in (
        ("sandbox", "Run billing: it deletes"),
        ("production", "Run billing into production"),
    ):
        await workspace.store.profiles.put(profile("crm", "demo-crm", environment=environment))
        async with console(section="syncs") as (app, pilot):
            assert syncs(app).listing.go_to("billing")
            await pilot.press("r")
            await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            shown = text_of(app)
            assert title in shown and "delete records" in shown and "Type crm to confirm." in shown
            assert made.streams[0].stream in shown


async def test_reset_asks_first_and_can_be_undone(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    before = await workspace.store.runs.sync_state("archive", "customers")
    assert before is not None and before.confirmed
    async with console(section="syncs") as (app, pilot):
        await pilot.press("d")
        assert "Choose one of the streams." in text_of(app)
        await pilot.press("j", "d")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Forgotten: 2026-03-02T13:59:00Z" in text_of(app)
        await pilot.press("n")
        await wait_for(pilot, lambda: "The position is kept." in text_of(app))
        await pilot.press("d")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await answer(workspace, "reset")
        await wait_for(pilot, lambda: "is read from its beginning next time" in text_of(app))
        await wait_for(pilot, lambda: "from the beginning" in text_of(app))
        await pilot.press("z")
        await wait_for(pilot, lambda: "goes on where it was" in text_of(app))
        after = await workspace.store.runs.sync_state("archive", "customers")
        assert after is not None and after.confirmed == before.confirmed and after.seq == before.seq


async def test_an_undo_after_another_run_is_refused(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    made = await workspace.store.integrations.get("archive")
    assert made is not None
    async with console(section="syncs") as (app, pilot):
        await pilot.press("j", "d")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await answer(workspace, "reset")
        await wait_for(pilot, lambda: "next time" in text_of(app))
        await seed_run(workspace, clock, made, (Page("customers", 3),), started_ms=NOW_MS - 500)
        await pilot.press("z")
        await wait_for(pilot, lambda: "its new position is kept" in text_of(app))


async def test_import_by_path_says_what_is_wrong_and_where(
    workspace: Workspace, clock: FixedClock, console: Console, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("nmae: x\n")
    async with console(section="syncs") as (app, pilot):
        await pilot.press("a")
        await pilot.pause()
        await pilot.press(*"/nowhere.yaml", "enter")
        assert "There is no file /nowhere.yaml." in text_of(app)
        app.screen.query_one("#answer").value = str(wrong)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for(pilot, lambda: bool(app.log_book.reports()))
        report = app.log_book.reports()[0]
        assert not report.ok and "wrong.yaml" in report.text


async def test_enter_opens_the_last_run(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(section="syncs") as (app, pilot):
        await pilot.press("enter")
        await wait_for(pilot, lambda: "History › archive › run 3" in text_of(app))


async def test_progress_is_what_is_committed_and_an_eta_needs_a_total(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    put = workspace.store.integrations.put
    known = await put(integration("known", "payments", "crm", "customers"))
    blind = await put(integration("blind", "payments", "crm", "customers"))
    lying = await put(integration("lying", "payments", "crm", "customers"))
    for made, totals in ((known, {"customers": 500}), (blind, {}), (lying, {"customers": 50})):
        await seed_run(
            workspace,
            clock,
            made,
            (Page("customers", 100),),
            started_ms=NOW_MS - 10_000,
            ends=None,
            totals=totals,
        )
    async with console(section="syncs", size=(140, 40)) as (app, pilot):
        await pilot.press("end")
        assert syncs(app).listing.go_to("known")
        await pilot.pause()
        assert "100 of 500 committed   10/s   40 s left" in text_of(app)
        for name in ("blind", "lying"):
            assert syncs(app).listing.go_to(name)
            await pilot.pause()
            shown = text_of(app)
            assert "100 committed   10/s" in shown and " left" not in shown


async def test_a_parked_run_counts_down(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    made = await workspace.store.integrations.put(integration("billing", "payments", "crm", "customers"))
    await seed_run(
        workspace,
        clock,
        made,
        (Page("customers", 10),),
        started_ms=NOW_MS - 60_000,
        parked_until_ms=NOW_MS + 90_500,
    )
    async with console(section="syncs") as (app, pilot):
        assert "goes on in 1 m 30 s" in text_of(app)
        assert "parked in 1 m 30 s" in text_of(app).splitlines()[1]
        clock.at_ms += 60_000
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: "goes on in 30 s" in text_of(app))


@pytest.mark.parametrize("steps", [1, 5])
def test_a_rate_is_of_the_last_ten_seconds(steps: int) -> None:
    pace = Pace()
    assert pace.note("x", NOW_MS, 0, NOW_MS) is None
    assert pace.note("x", NOW_MS + 500, 50, NOW_MS) is None, "too early to say"
    assert pace.note("x", NOW_MS + 2_000, 200, NOW_MS) == 100
    for second in range(3, 60):
        rate = pace.note("x", NOW_MS + second * 1_000, 200 + (second - 2) * steps, NOW_MS)
    assert rate is not None and abs(rate - steps) < 0.5
    assert pace.note("late", NOW_MS, 600, NOW_MS - 60_000) == 10, "since the start, before there is more"
    pace.keep({"late"})
    assert pace.note("x", NOW_MS, 5, None) is None


async def test_written_is_what_was_written_and_dead_is_what_is_open_of_each_stream(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    made = await workspace.store.integrations.put(
        integration("two", "payments", "crm", "customers", "charges")
    )
    why = fault("missing_field", "email", "email is required")
    pages = (Page("customers", 500, ((why, 8),)), Page("charges", 40))
    await seed_run(workspace, clock, made, pages, started_ms=NOW_MS - 90_000, ends=RunState.PARTIAL)
    one = replace(made, streams=made.streams[1:])
    await seed_run(workspace, clock, one, (Page("charges", 3),), started_ms=NOW_MS - 30_000)
    async with console(section="syncs", size=(120, 30)) as (app, pilot):
        rows = {row.key: row for row in syncs(app).listing.rows}
        customers, charges = rows["two/customers"], rows["two/charges"]
        assert customers.progress is not None and customers.progress.state == RunState.PARTIAL
        assert customers.progress.written == 492 and customers.view.open["customers"] == 8
        assert charges.progress is not None and charges.progress.written == 3
        assert "charges" not in charges.view.open
        cells = {column.title: column for column in columns(NOW_MS)}
        assert cells["open"].render(rows["two"])[0] == "8" == cells["open"].render(customers)[0]
        assert cells["written"].render(customers)[0] == "492"
        await seed_run(workspace, clock, made, pages, started_ms=NOW_MS - 9_000, ends=RunState.PARTIAL)
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: "492 committed   8 dead letters" in text_of(app))
