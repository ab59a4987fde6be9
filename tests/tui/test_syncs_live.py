"""Syncs from the keyboard over demo platforms as real servers and a real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from console_kit import text_of, wait_for
from live_kit import installation, open_console, sync

from platint_tui.core.model import Run
from platint_tui.core.states import FINAL_RUN_STATES, RunState
from platint_tui.services import runs
from platint_tui.services.workspace import Workspace
from platint_tui.tui.dialogs.choose import ChooseScreen
from platint_tui.tui.dialogs.confirm import ConfirmScreen
from platint_tui.tui.screens.syncs.section import SyncsSection


async def ended(workspace: Workspace, number: str) -> Run:
    """The run, once it has ended."""
    async with asyncio.timeout(60):
        async for run in runs.watch(workspace, number, start_engine=False):
            if run.state in FINAL_RUN_STATES:
                return run
    raise AssertionError("it did not end")


async def test_run_run_again_reset_and_undo(tmp_path: Path) -> None:
    async with (
        installation(tmp_path / "home", records=300) as workspace,
        open_console(workspace, "syncs") as (app, pilot),
    ):
        view = app.view
        assert isinstance(view, SyncsSection)
        assert view.listing.go_to("demo-to-sqlite")
        await pilot.press("r")
        await wait_for(pilot, lambda: "Run 1 of demo-to-sqlite" in text_of(app))
        first = await ended(workspace, "1")
        assert (
            first.state in (RunState.SUCCEEDED, RunState.PARTIAL)
            and sum(item.read for item in first.streams) > 0
        )
        await wait_for(pilot, lambda: not view.active and "run 1" in text_of(app))
        await pilot.press("r")
        await wait_for(pilot, lambda: "Run 2 of demo-to-sqlite" in text_of(app))
        second = await ended(workspace, "2")
        assert sum(item.read for item in second.streams) == 0, "incremental: nothing new"
        await wait_for(pilot, lambda: not view.active)
        await pilot.press("j")
        stream = view.current.stream.stream  # type: ignore[union-attr]
        before = await workspace.store.runs.sync_state("demo-to-sqlite", stream)
        await pilot.press("d")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: "is read from its beginning next time" in text_of(app))
        await pilot.press("z")
        await wait_for(pilot, lambda: "goes on where it was" in text_of(app))
        after = await workspace.store.runs.sync_state("demo-to-sqlite", stream)
        assert before is not None and after is not None and after.confirmed == before.confirmed


async def test_a_run_outlives_the_console(tmp_path: Path) -> None:
    async with installation(tmp_path / "home", records=6_000) as workspace:
        async with open_console(workspace, "syncs") as (app, pilot):
            view = app.view
            assert isinstance(view, SyncsSection)
            assert view.listing.go_to("demo-to-crm")
            await pilot.press("r")
            await wait_for(pilot, lambda: bool(app.status and app.status.active))
            await pilot.press("ctrl+q")
            await wait_for(pilot, lambda: isinstance(app.screen, ChooseScreen) or not app.is_running)
            if app.is_running:
                await pilot.press("k")
            await wait_for(pilot, lambda: not app.is_running)
        run = await ended(workspace, "1")
        assert run.state in (RunState.SUCCEEDED, RunState.PARTIAL)
        assert sum(item.read for item in run.streams) >= 1_500


async def test_a_run_is_cancelled_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with installation(tmp_path / "home", records=24_000) as workspace:
        async with open_console(workspace, "syncs") as (app, pilot):
            view = app.view
            assert isinstance(view, SyncsSection)
            assert view.listing.go_to("demo-to-crm")
            await pilot.press("r")
            await wait_for(pilot, lambda: view.active)
            await wait_for(pilot, lambda: "committed" in text_of(app))
            await pilot.press("x")
            run = await ended(workspace, "1")
            assert run.state == RunState.CANCELLED
            await wait_for(pilot, lambda: not view.active and "cancelled" in text_of(app))
        await sync(workspace, "demo-to-crm")
        second = await ended(workspace, "2")
        read = sum(item.read for item in (*run.streams, *second.streams))
        assert second.state in (RunState.SUCCEEDED, RunState.PARTIAL)
        assert 6_000 <= read <= 6_000 + 4 * 200, "what was committed is not read again"
