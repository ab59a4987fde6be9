"""History: open, filter, compare, page, run again."""

from __future__ import annotations

from console_kit import Console, text_of, wait_for
from seeding import NOW_MS, FixedClock, Page, integration, seed, seed_run

from platint_tui.core.states import RunState
from platint_tui.services.workspace import Workspace
from platint_tui.tui.listing import Listing


async def test_a_run_shows_streams_errors_positions_and_configuration(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="history") as (app, pilot):
        await pilot.press("enter")
        await wait_for(pilot, lambda: "History › archive › run 3" in text_of(app))
        shown = text_of(app)
        for words in (
            "127.0.0.1:4701 refused the connection.",
            "code       unreachable",
            "now at     2026-03-02T13:59:00Z",
            "Configuration, version 1",
            "name: archive",
            "12 read   12 written",
        ):
            assert words in shown, words
        await pilot.press("escape")
        await wait_for(pilot, lambda: "run 3" not in text_of(app).splitlines()[1])


async def test_filter_as_you_type_by_integration_and_state(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="history") as (app, pilot):
        listing = app.query_one("#runs-list", Listing)

        def numbers() -> list[int]:
            return [run.number for run in listing.rows]

        await pilot.press("slash", *"bill")
        await wait_for(pilot, lambda: numbers() == [2])
        await pilot.press("escape")
        await wait_for(pilot, lambda: numbers() == [3, 2, 1])
        await pilot.press("slash", *"succ", "enter")
        await wait_for(pilot, lambda: numbers() == [1])
        assert app.focused is listing
        await pilot.press("slash", *"xyz")
        await wait_for(pilot, lambda: "No run matches" in text_of(app))
        await pilot.press("escape", "escape")
        await wait_for(pilot, lambda: numbers() == [3, 2, 1])


async def test_two_runs_beside_each_other(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    made = await workspace.store.integrations.put(integration("archive", "payments", "books", "customers"))
    assert made.version == 2
    await seed_run(workspace, clock, made, (Page("customers", 4),), started_ms=NOW_MS - 5_000)
    async with console(section="history") as (app, pilot):
        await pilot.press("c")
        assert "Mark another run with space first." in text_of(app)
        await pilot.press("j", "space", "k", "c")
        await wait_for(pilot, lambda: "run 4 › against run 3" in text_of(app))
        shown = text_of(app)
        assert "version 1" in shown and "version 2" in shown
        assert "charges" in shown


async def test_history_pages(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    made = await workspace.store.integrations.put(integration("billing", "payments", "crm", "customers"))
    for _ in range(203):
        run = await workspace.store.runs.create(made, ["customers"], "manual")
        await workspace.store.runs.request_cancel(run.id)
    async with console(section="history") as (app, pilot):
        listing = app.query_one("#runs-list", Listing)
        assert len(listing.rows) == 200
        assert "runs 203 to 4   l older" in text_of(app)
        await pilot.press("l")
        await wait_for(pilot, lambda: [run.number for run in listing.rows] == [3, 2, 1])
        assert "h newer" in text_of(app)
        await pilot.press("l", "h")
        await wait_for(pilot, lambda: len(listing.rows) == 200)


async def test_run_again_and_cancel_tell_the_truth(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock, active=True)
    async with console(section="history") as (app, pilot):
        await pilot.press("r")
        assert "It is still active." in text_of(app)
        await pilot.press("x")
        await wait_for(pilot, lambda: "stops at its next page border" in text_of(app))
        run = await workspace.store.runs.get("4")
        assert run is not None and run.cancel_requested and run.state == RunState.RUNNING
        await pilot.press("j", "x")
        assert "It has ended." in text_of(app)
        await pilot.press("r")
        await wait_for(pilot, lambda: app.is_running)
        pending = []
        while not pending:
            await pilot.pause(0.02)
            pending = list(await workspace.store.commands.pending())
        assert pending[0].kind == "run" and pending[0].args["integration"] == "archive"
        await workspace.store.commands.finish(
            pending[0].id, error={"message": "The profile 'payments' is locked.", "exit_code": 5}
        )
        await wait_for(pilot, lambda: "The profile 'payments' is locked." in text_of(app))
        await pilot.press("y")
        assert '"number": 3' in app.clipboard
