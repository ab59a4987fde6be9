"""Replay from the console, through a real engine, to real servers and files."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from console_kit import text_of, wait_for
from live_kit import installation, open_console, sync
from textual.pilot import Pilot
from textual.widgets import Button, Input, TextArea

from platint_tui.core.model import Environment, Trigger
from platint_tui.core.replays import ReplayOptions
from platint_tui.core.states import DeadLetterState
from platint_tui.services import deadletters, profiles
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.dialogs.choose import ChooseScreen
from platint_tui.tui.dialogs.confirm import ConfirmScreen
from platint_tui.tui.screens.deadletters.bulk import BulkScreen
from platint_tui.tui.screens.deadletters.editing import EditScreen
from platint_tui.tui.screens.deadletters.section import DeadLettersSection
from platint_tui.tui.widgets.form import Form


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Workspace]:
    """The CRM refused more than a dozen customers for three reasons."""
    async with installation(tmp_path / "home", records=5_000) as workspace:
        await sync(workspace)
        yield workspace


def inbox(app: PlatintApp) -> DeadLettersSection:
    assert isinstance(app.view, DeadLettersSection)
    return app.view


async def wait_said(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    def came() -> bool:
        return any(text in report.text for report in app.log_book.reports())

    try:
        await wait_for(pilot, came)
    except AssertionError:
        raise AssertionError(f"'{text}' was not said: {app.log_book.reports()}\n{text_of(app)}") from None


async def asked(app: PlatintApp, pilot: Pilot[int]) -> None:
    await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))


async def planned(app: PlatintApp, pilot: Pilot[int]) -> BulkScreen:
    """The plan of a replay of several is on the screen."""
    await wait_for(pilot, lambda: isinstance(app.screen, BulkScreen) and app.screen.plan is not None)
    assert isinstance(app.screen, BulkScreen)
    return app.screen


async def states(workspace: Workspace) -> dict[str, int]:
    found: dict[str, int] = {}
    numbers = await deadletters.numbers(workspace, DeadLetterFilter())
    for letter in await deadletters.rows(workspace, list(numbers)):
        found[letter.state.value] = found.get(letter.state.value, 0) + 1
    return found


async def test_K5_edit_then_replay_ends_a_dead_letter(live: Workspace) -> None:
    before = (await states(live))["open"]
    assert before >= 2
    async with open_console(live, "deadletters", (80, 24)) as (app, pilot):
        issues = inbox(app).issues_pane.listing.rows
        wanted = next(issue for issue in issues if issue.code == "missing_field")
        app.go("deadletters", "issue", wanted.fingerprint)
        await wait_for(pilot, lambda: inbox(app).items_pane.table.cursor_row is not None)
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).item_pane.shown is not None)
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        area = app.screen.query_one(TextArea)
        lines = area.text.splitlines()
        kept = [line for line in lines if f'"{wanted.field}"' not in line]
        area.text = "\n".join([kept[0], f'  "{wanted.field}": "fixed@example.com",', *kept[1:]])
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "Nothing is known that would refuse it" in text_of(app))
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseScreen))
        assert f"{wanted.field} to" in text_of(app)
        await pilot.press("escape")
        await wait_said(app, pilot, "Saved as dead letter")
        await wait_for(pilot, lambda: "fixed@example.com" in text_of(app))
        await pilot.press("r")
        await asked(app, pilot)
        text = text_of(app)
        assert "Replay 1 dead letter to demo-crm" in text and "127.0.0.1" in text and "oldest" in text
        assert isinstance(app.focused, Button) and app.focused.id == "cancel"
        await pilot.press("y")
        await wait_said(app, pilot, "Replay ended: 1 arrived.")
        await wait_for(pilot, lambda: "succeeded" in text_of(app) or "✓ ok" in text_of(app))
        await pilot.press("v", "v", "v")
        assert "manual" in text_of(app)
    after = await states(live)
    assert after["open"] == before - 1 and after["edited"] == 1 and after["succeeded"] == 1


async def test_K8_a_record_that_is_refused_again_comes_back(live: Workspace) -> None:
    before = await states(live)
    async with open_console(live, "deadletters") as (app, pilot):
        await pilot.press("r")
        await planned(app, pilot)
        count = inbox(app).issues_pane.listing.rows[0].open
        await pilot.press("y")
        await wait_said(app, pilot, f"{count} refused")
        assert not inbox(app).has_class("-busy") and inbox(app).job is None
    assert await states(live) == before


async def test_K10_production_wants_the_name_and_cancel_sends_nothing(live: Workspace) -> None:
    crm = await profiles.get(live, "demo-crm")
    await live.store.profiles.put(replace(crm, environment=Environment.PRODUCTION))
    before = await states(live)
    async with open_console(live, "deadletters", (80, 24)) as (app, pilot):
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.cursor_row is not None)
        await pilot.press("R")
        await planned(app, pilot)
        text = text_of(app)
        assert "production" in text and "Type demo-crm to confirm" in text and "Cancel" in text
        await pilot.press("y")
        assert isinstance(app.screen, BulkScreen)
        await pilot.press("escape")
        await wait_said(app, pilot, "Nothing was sent.")
    assert await states(live) == before


async def test_K9_many_are_replayed_with_progress_and_end_in_the_target(
    live: Workspace, tmp_path: Path
) -> None:
    """A target that lost its table gets everything back: marked rows first, then the rest of the issue."""
    numbers = list(await deadletters.numbers(live, DeadLetterFilter()))
    letters = await deadletters.rows(live, numbers)
    integration = await live.store.integrations.get("demo-to-crm")
    assert integration is not None
    file = tmp_path / "rescue.sqlite"
    await profiles.add(
        live, name="rescue", platform="sqlite", environment="sandbox", values={"path": str(file)}, secrets={}
    )
    await live.store.integrations.put(
        replace(integration, target_profile="rescue", target_platform="sqlite", text=integration.text + "\n")
    )
    async with open_console(live, "deadletters") as (app, pilot):
        wanted = next(issue for issue in inbox(app).issues_pane.listing.rows if issue.code == "too_long")
        app.go("deadletters", "issue", wanted.fingerprint)
        table = inbox(app).items_pane.table
        await wait_for(pilot, lambda: table.cursor_row is not None)
        whole = table.count
        await pilot.press("space", "space", "r")
        await planned(app, pilot)
        assert "Replay 2 dead letters" in text_of(app) and "rescue" in text_of(app)
        await pilot.press("y")
        await wait_said(app, pilot, "Replay ended: 2 arrived.")
        await wait_for(pilot, lambda: table.count == whole - 2)
        assert not table.marked
        await pilot.press("R")
        await planned(app, pilot)
        await pilot.press("y")
        await wait_said(app, pilot, f"{whole - 2} arrived.")
        await wait_for(pilot, lambda: table.count == 0)
        assert "Nothing is left to do here" in text_of(app)
    db = sqlite3.connect(file)
    assert db.execute("SELECT COUNT(*) FROM contacts").fetchone() == (whole,)
    db.close()
    assert (await states(live)).get("open", 0) == len(letters) - whole


async def test_a_running_replay_is_cancelled_and_loses_nothing(live: Workspace) -> None:
    before = await states(live)
    async with open_console(live, "deadletters") as (app, pilot):
        view = inbox(app)
        await pilot.press("r")
        await planned(app, pilot)
        await pilot.press("y")
        await wait_for(
            pilot,
            lambda: view.job is not None or any("Replay" in item.text for item in app.log_book.reports()),
        )
        await pilot.press("x")
        await wait_for(pilot, lambda: view.job is None and not view.has_class("-busy"))
    after = await states(live)
    assert after.get(DeadLetterState.REPLAYING.value, 0) == 0
    assert sum(after.values()) == sum(before.values())


async def test_dead_letters_of_two_targets_are_not_mixed(live: Workspace) -> None:
    """What cannot be planned is one sentence, nothing is asked and nothing sent."""
    await profiles.add(
        live,
        name="gone",
        platform="sqlite",
        environment="sandbox",
        values={"path": "/tmp/x.sqlite"},
        secrets={},
    )
    integration = await live.store.integrations.get("demo-to-crm")
    assert integration is not None
    await live.store.integrations.put(
        replace(integration, target_profile="gone", text=integration.text + "\n")
    )
    await live.store.profiles.remove("gone")
    async with open_console(live, "deadletters") as (app, pilot):
        await pilot.press("r")
        await wait_for(pilot, lambda: isinstance(app.screen, BulkScreen) and "gone" in text_of(app))
        assert app.screen.query_one("#confirm", Button).disabled
        await pilot.press("y")
        assert isinstance(app.screen, BulkScreen)


async def test_a_canary_goes_first_and_the_others_at_a_word(live: Workspace, tmp_path: Path) -> None:
    """A paused replay of another console is shown and cancelled; then one is simulated, planned with a canary, which
    arrives, and everything else goes at one key, with a report."""
    numbers = list(await deadletters.numbers(live, DeadLetterFilter()))
    ids = [letter.id for letter in await deadletters.rows(live, numbers)]
    job = await live.store.replays.plan(ids, Trigger.BULK, options=ReplayOptions(canary=1), operator="anna")
    await live.store.replays.pause(job.id)
    integration = await live.store.integrations.get("demo-to-crm")
    assert integration is not None
    await profiles.add(
        live,
        name="rescue",
        platform="sqlite",
        environment="sandbox",
        values={"path": str(tmp_path / "rescue.sqlite")},
        secrets={},
    )
    await live.store.integrations.put(
        replace(integration, target_profile="rescue", target_platform="sqlite", text=integration.text + "\n")
    )
    async with open_console(live, "deadletters") as (app, pilot):
        await wait_for(pilot, lambda: "anna: paused" in text_of(app) and "P goes on" in text_of(app))
        await pilot.press("x")
        await wait_said(app, pilot, "The replay is being cancelled")
        await wait_for(pilot, lambda: not inbox(app).has_class("-busy"))
        issue = inbox(app).issues_pane.listing.rows[0]
        await pilot.press("t")
        await wait_for(pilot, lambda: f"{issue.open} of {issue.open} would pass" in text_of(app))
        assert "Nothing was sent" in text_of(app)
        await pilot.press("r")
        screen = await planned(app, pilot)
        form = screen.query_one(Form)
        form.query_one("#input-canary", Input).value = "two"
        await wait_for(pilot, lambda: "A whole number from 0" in text_of(app))
        assert screen.query_one("#confirm", Button).disabled
        form.query_one("#input-canary", Input).value = "2"
        await wait_for(pilot, lambda: screen.plan is not None)
        screen.query_one("#confirm", Button).press()
        await wait_said(app, pilot, f"The canary is back: 2 arrived. {issue.open - 2} wait for your word.")
        await wait_for(pilot, lambda: "P sends the other" in text_of(app))
        await pilot.press("P")
        await wait_said(app, pilot, f"Replay ended: {issue.open} arrived.")
        await pilot.press("J")
        await wait_for(pilot, lambda: "canary of 2" in text_of(app))
        assert "Replay ended" in text_of(app)


async def test_an_edit_becomes_a_rule_for_all_that_fail_alike(live: Workspace) -> None:
    async with open_console(live, "deadletters") as (app, pilot):
        wanted = next(issue for issue in inbox(app).issues_pane.listing.rows if issue.code == "missing_field")
        app.go("deadletters", "issue", wanted.fingerprint)
        await wait_for(pilot, lambda: inbox(app).items_pane.table.cursor_row is not None)
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        area = app.screen.query_one(TextArea)
        lines = [line for line in area.text.splitlines() if f'"{wanted.field}"' not in line]
        area.text = "\n".join([lines[0], f'  "{wanted.field}": "fixed@example.com",', *lines[1:]])
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "Nothing is known that would refuse it" in text_of(app))
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("f")
        await planned(app, pilot)
        others = wanted.open - 1
        await wait_said(app, pilot, f"edited {others} dead letters")
        assert f"Replay {others} edits of rule 1" in text_of(app)
        await pilot.press("y")
        await wait_said(app, pilot, f"Replay ended: {others} arrived.")
        await pilot.press("f")
        await wait_for(pilot, lambda: inbox(app).level == "rules" and "fixed@example.com" in text_of(app))
        await pilot.press("d")
        await wait_said(app, pilot, "Fix rule 1 is revoked")
        await pilot.press("z")
        await wait_said(app, pilot, "The rule is in force again")
    after = await states(live)
    assert after["edited"] == wanted.open and after["succeeded"] == others
