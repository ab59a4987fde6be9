"""The inbox from the keyboard: in and out, filter, edit, discard, acknowledge, copy, save."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from console_kit import Console, ready, text_of, wait_for
from seeding import FixedClock, seed
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.services import deadletters
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.dialogs.choose import ChooseScreen
from platint_tui.tui.screens.deadletters.editing import EditScreen
from platint_tui.tui.screens.deadletters.section import DeadLettersSection


def inbox(app: PlatintApp) -> DeadLettersSection:
    assert isinstance(app.view, DeadLettersSection)
    return app.view


def said(app: PlatintApp) -> list[str]:
    return [report.text for report in app.log_book.reports()]


async def wait_said(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    await wait_for(pilot, lambda: any(text in line for line in said(app)))


async def open_items(app: PlatintApp, pilot: Pilot[int]) -> None:
    await wait_for(pilot, lambda: inbox(app).issues_pane.listing.current is not None)
    await pilot.press("enter")
    await wait_for(
        pilot, lambda: inbox(app).level == "items" and inbox(app).items_pane.table.cursor_row is not None
    )


async def open_item(app: PlatintApp, pilot: Pilot[int]) -> None:
    await open_items(app, pilot)
    await pilot.press("enter")
    await wait_for(pilot, lambda: inbox(app).item_pane.shown is not None)


async def test_in_and_out(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(size=(80, 24), section="deadletters") as (app, pilot):
        text = text_of(app)
        assert "missing_field" in text and "email is required" in text and "the record: the target" in text
        await pilot.press("down")
        await wait_for(pilot, lambda: "name has 212 characters" in text_of(app))
        await pilot.press("up")
        await open_items(app, pilot)
        assert "missing_field in email" in text_of(app) and "12 unresolved" in text_of(app)
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: "◂ missing_field" in text_of(app))
        text = text_of(app)
        assert "#14" in text and "not replayed yet" in text and '"Customer 2014"' in text
        await pilot.press("v")
        assert inbox(app).item_pane.face == "raw"
        await pilot.press("v")
        assert "422" in text_of(app) and "POST" in text_of(app)
        await pilot.press("v")
        assert "initial" in text_of(app) and "answer      422" in text_of(app)
        await pilot.press("end")
        assert "fingerprint" in text_of(app)
        await pilot.press("v", "escape")
        await wait_for(pilot, lambda: inbox(app).level == "items")
        assert inbox(app).items_pane.table.cursor == 1
        await pilot.press("escape")
        assert inbox(app).level == "issues" and app.focused is inbox(app).issues_pane.listing


async def test_filter_as_you_type_is_done_in_sql(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await pilot.press("slash", *"too_")
        await wait_for(pilot, lambda: len(inbox(app).issues_pane.listing.rows) == 1)
        assert "1 of 3" in text_of(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(inbox(app).issues_pane.listing.rows) == 3)
        await pilot.press("g")
        await open_items(app, pilot)
        await pilot.press("slash", *"cus_201")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 5)
        assert "5 of 12" in text_of(app)
        await pilot.press("enter")
        assert app.focused is inbox(app).items_pane.table
        await pilot.press("slash", *"zzz")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 0)
        assert "Nothing matches" in text_of(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 12)
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).item_pane.shown is not None)
        await pilot.press("slash", *"customer")
        await wait_for(pilot, lambda: "1 of 1" in text_of(app))


async def test_K12_an_edit_is_checked_shown_stored_and_undone(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await open_item(app, pilot)
        number = inbox(app).number
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        area = app.screen.query_one(TextArea)
        original = area.text
        assert json.loads(original)["email"] is None
        area.text = original.replace("null", "nul")
        await wait_for(pilot, lambda: "Line 4, column 12" in text_of(app))
        await pilot.press("ctrl+s")
        assert not app.screen.has_class("-review")
        area.text = "[1]"
        await wait_for(pilot, lambda: "A record is an object" in text_of(app))
        area.text = original
        await pilot.press("ctrl+s")
        assert "Nothing was changed" in text_of(app)
        area.text = original.replace("null", '"a@example.com"')
        await wait_for(pilot, lambda: "Valid JSON" in text_of(app))
        await pilot.press("escape")
        assert "Escape again drops them" in text_of(app)
        await pilot.press("ctrl+s")
        text = text_of(app)
        assert '-   "email": null' in text and '+   "email": "a@example.com"' in text
        await pilot.press("escape")
        assert not app.screen.has_class("-review")
        await pilot.press("ctrl+s", "ctrl+s")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("escape")
        await wait_said(app, pilot, "Saved as dead letter")
        await wait_for(pilot, lambda: '"a@example.com"' in text_of(app))
        child = (await deadletters.show(workspace, inbox(app).number)).letter
        kept = (await deadletters.show(workspace, number)).letter
        assert child.parent == kept.id and kept.state == DeadLetterState.EDITED
        assert child.idempotency_key != kept.idempotency_key
        await pilot.press("z")
        await wait_said(app, pilot, "is open again")
        assert (await deadletters.show(workspace, number)).letter.state == DeadLetterState.OPEN
        await wait_for(pilot, lambda: inbox(app).number == number)


async def test_an_edit_that_is_left_changes_nothing(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(size=(80, 24), section="deadletters") as (app, pilot):
        await open_items(app, pilot)
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        await pilot.press("x", "escape", "escape")
        await wait_said(app, pilot, "Nothing was changed")
        assert await deadletters.count(workspace, DeadLetterFilter()) == 17


async def test_discard_and_undo(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await open_items(app, pilot)
        await pilot.press("space", "space", "d")
        await wait_said(app, pilot, "Discarded 2 dead letters")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 10)
        assert not inbox(app).items_pane.table.marked
        await pilot.press("v")
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 12)
        assert "discarded" in text_of(app)
        await pilot.press("z")
        await wait_said(app, pilot, "Opened again: 2")
        where = DeadLetterFilter(states=(DeadLetterState.DISCARDED,))
        assert await deadletters.count(workspace, where) == 0


async def test_acknowledge_and_ignore_an_issue(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await pilot.press("c")
        await wait_for(pilot, lambda: "acknowledged" in text_of(app))
        await pilot.press("c")
        await wait_said(app, pilot, "is open now")
        await pilot.press("d")
        await wait_for(pilot, lambda: len(inbox(app).issues_pane.listing.rows) == 2)
        await pilot.press("v")
        await wait_for(pilot, lambda: "ignored" in text_of(app))
        await pilot.press("z")
        await wait_said(app, pilot, "The issue is open again")
        assert {issue.state for issue in await deadletters.issues(workspace)} == {IssueState.OPEN}


async def test_M12_copies_hold_no_secret_and_no_escape(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await pilot.press("y")
        await wait_said(app, pilot, "Copied the issue")
        assert json.loads(app.clipboard)["code"] == "missing_field"
        await open_items(app, pilot)
        await pilot.press("space", "space", "y")
        await wait_said(app, pilot, "Copied 2 dead letters")
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).item_pane.shown is not None)
        await pilot.press("y")
        await wait_said(app, pilot, "Copied the dead letter")
        copied = json.loads(app.clipboard)
        assert json.loads(copied["payload"])["id"].startswith("cus_")
        await pilot.press("Y")
        await wait_said(app, pilot, "Copied the request as curl")
        line = "curl --globoff --request POST --url http://127.0.0.1:4702/v1/contacts"
        assert app.clipboard == f"{line} --header 'Authorization: Bearer '\"${{ACCESS_TOKEN}}\""


async def test_M10_a_file_is_new_private_and_whole(
    workspace: Workspace, clock: FixedClock, console: Console, tmp_path: Path
) -> None:
    await seed(workspace, clock)
    path = tmp_path / "out.jsonl"
    async with console(section="deadletters") as (app, pilot):
        await open_items(app, pilot)
        await pilot.press("o")
        await wait_for(pilot, lambda: bool(app.screen.query("#answer")))
        app.screen.query_one("#answer", Input).value = str(path)
        await pilot.press("enter")
        await wait_said(app, pilot, "Saved 12 dead letters")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == 12 and json.loads(rows[0]["payload"])["email"] is None
        before = path.read_bytes()
        for target in (path, tmp_path / "link.jsonl"):
            if target != path:
                target.symlink_to(path)
            await pilot.press("o")
            await wait_for(pilot, lambda: bool(app.screen.query("#answer")))
            app.screen.query_one("#answer", Input).value = str(target)
            await pilot.press("enter")
            await wait_said(app, pilot, f"Cannot write {target}: File exists")
        assert path.read_bytes() == before


async def test_objects_are_opened_from_elsewhere(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="dashboard") as (app, pilot):
        app.go("deadletters", "dead", "3")
        await wait_for(pilot, lambda: app.section == "deadletters" and "cus_2003" in text_of(app))
        assert inbox(app).issue is not None
        await pilot.press("escape")
        await wait_for(pilot, lambda: inbox(app).level == "items" and inbox(app).items_pane.table.count == 12)
        issue = (await deadletters.issues(workspace))[1]
        app.go("deadletters", "issue", issue.fingerprint)
        await wait_for(pilot, lambda: inbox(app).items_pane.table.count == 3)
        app.go("deadletters", "search", "country")
        await wait_for(pilot, lambda: len(inbox(app).issues_pane.listing.rows) == 1)
        app.go("deadletters", "dead", "999")
        await wait_for(pilot, lambda: "There is no dead letter '999'" in text_of(app))
        await pilot.press("escape", "escape")


async def test_read_only_looks_and_does_not_touch(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters", read_only=True) as (app, pilot):
        for key in ("r", "d", "c"):
            await pilot.press(key)
            assert "This console is read-only" in text_of(app)
        assert len(await deadletters.issues(workspace, (IssueState.OPEN,))) == 3


async def test_the_editor_needs_a_terminal(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await open_items(app, pilot)
        await pilot.press("E")
        await wait_said(app, pilot, "cannot be handed to an editor")


async def test_an_empty_inbox_says_what_it_is(console: Console) -> None:
    async with console(size=(80, 24), section="deadletters") as (app, pilot):
        await ready(pilot)
        assert "No dead letters." in text_of(app)
        await pilot.press("r")
        assert "There is nothing here to choose" in text_of(app)
        await pilot.press("enter", "slash", "escape", "v")
        await wait_for(pilot, lambda: "No dead letters were ever kept" in text_of(app))


async def test_the_filter_finds_a_key_in_every_issue_and_says_what_it_does_not_know(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="deadletters") as (app, pilot):
        await pilot.press("slash")
        field = inbox(app).query_one("#filter-issues Input", Input)
        field.value = "cod:too_long"
        await wait_for(pilot, lambda: "Did you mean code:?" in text_of(app))
        field.value = "code:too_long"
        await wait_for(
            pilot, lambda: {row.code for row in inbox(app).issues_pane.listing.rows} == {"too_long"}
        )
        field.value = "key:cus_2003"
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).every_issue and inbox(app).items_pane.table.count == 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: inbox(app).item_pane.shown is not None)
        assert "cus_2003" in text_of(app)
        await pilot.press("escape")
        assert inbox(app).level == "items" and "every issue" in text_of(app)


async def test_an_issue_is_ignored_for_a_day_and_keeps_a_note(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    fingerprint = (await deadletters.issues(workspace))[0].fingerprint
    async with console(section="deadletters") as (app, pilot):
        await pilot.press("S")
        await wait_for(pilot, lambda: "What becomes of this issue?" in text_of(app))
        await pilot.press("n")
        await wait_for(pilot, lambda: "A note to this issue" in text_of(app))
        await pilot.press(*"anna", "enter")
        await wait_for(pilot, lambda: "note         anna" in text_of(app))
        await pilot.press("S", "d")
        await wait_said(app, pilot, "The issue is ignored now")
        issue = await workspace.store.dead_letters.issue(fingerprint)
        assert (
            issue is not None and issue.ignored_until_ms == clock.at_ms + 86_400_000 and issue.note == "anna"
        )
        await pilot.press("z")
        await wait_said(app, pilot, "The issue is open again")
        await pilot.press("i")
        await wait_for(pilot, lambda: "of records" in text_of(app))
        await pilot.press("i")
        await wait_for(pilot, lambda: "No issue of this kind" in text_of(app))
