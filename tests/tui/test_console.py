"""The frame: sections, keys, palette, pause, undo, quit, small screens, errors."""

from __future__ import annotations

import asyncio

import pytest
from console_kit import Console, ready, text_of, wait_for
from seeding import FAULTS, NOW_MS, FixedClock, Page, integration, seed, seed_run
from textual.widgets import Button, Input, Static

from platint_tui.core.errors import StoreError
from platint_tui.services.workspace import Workspace
from platint_tui.tui.dialogs.choose import ChooseScreen
from platint_tui.tui.dialogs.help import HelpScreen
from platint_tui.tui.dialogs.jump import JumpScreen
from platint_tui.tui.dialogs.palette import PaletteScreen
from platint_tui.tui.listing import Listing
from platint_tui.tui.sections import SECTIONS


async def test_every_section_shows_real_data(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock, active=True)
    async with console() as (app, pilot):
        for info in SECTIONS.values():
            await pilot.press(info.key)
            await wait_for(pilot, lambda wanted=info.id: app.section == wanted)  # type: ignore[misc]
            await ready(pilot)
            assert info.title in text_of(app).splitlines()[1]
            assert "Failed to load" not in text_of(app)


async def test_an_empty_installation_welcomes(console: Console) -> None:
    async with console() as (app, pilot):
        shown = text_of(app)
        for line in ("see it at work on demo platforms", "add a profile", "a tour, and every key"):
            assert line in shown
        await pilot.press("d")
        assert "platint-tui demo" in text_of(app)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "Add an account on a platform." in text_of(app)


async def test_the_welcome_asks_the_command_line_for_the_demo(console: Console) -> None:
    async with console(demo_code=75) as (app, pilot):
        await pilot.press("d")
        await wait_for(pilot, lambda: app.return_code == 75)


async def test_disabled_keys_say_why(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    async with console(section="syncs") as (app, pilot):
        await pilot.press("r")
        assert "There is no integration; a imports one." in text_of(app)
        await pilot.press("z")
        assert "There is nothing to undo." in text_of(app)


async def test_a_read_only_console_refuses_to_write(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="syncs", read_only=True) as (app, pilot):
        assert "read-only" in text_of(app).splitlines()[1]
        await pilot.press("r")
        assert "This console is read-only." in text_of(app)
        assert not await workspace.store.commands.pending()


async def test_the_palette_finds_actions_and_objects(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console() as (app, pilot):
        await pilot.press("colon", *"run", "space", "2")
        assert isinstance(app.screen, PaletteScreen)
        await wait_for(pilot, lambda: "billing partial" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: "billing › run 2" in text_of(app))
        await pilot.press("ctrl+p", *"theme light")
        await wait_for(pilot, lambda: "theme light" in text_of(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.theme == "platint-light")
        await wait_for(pilot, lambda: "Theme: light." in text_of(app))
        assert await workspace.store.settings.get("theme") == "platint-light"


async def test_the_theme_is_remembered(workspace: Workspace, console: Console) -> None:
    await workspace.store.settings.put("theme", "platint-tritanopia")
    async with console() as (app, _):
        assert app.theme == "platint-tritanopia"


async def test_dead_letters_are_addressed_by_words(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console() as (app, pilot):
        await pilot.press("colon", *"dead email")
        await wait_for(pilot, lambda: "dead letters with 'email'" in text_of(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, PaletteScreen)


async def test_back_and_previous(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(section="history") as (app, pilot):
        await pilot.press("enter")
        await wait_for(pilot, lambda: "archive › run 3" in text_of(app))
        await pilot.press("4")
        await wait_for(pilot, lambda: app.section == "syncs")
        await pilot.press("minus")
        await wait_for(pilot, lambda: app.section == "history")
        assert "archive › run 3" in text_of(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: "run 3" not in text_of(app).splitlines()[1])


async def test_jump_by_letter(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console() as (app, pilot):
        await pilot.press("ctrl+o")
        assert isinstance(app.screen, JumpScreen)
        assert "Open issues" in text_of(app)
        await pilot.press("c")
        assert app.focused is not None and app.focused.id == "issues"


async def test_a_paused_view_stands_still_and_says_how_much_is_new(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    made = await workspace.store.integrations.get("archive")
    assert made is not None
    async with console(section="history") as (app, pilot):
        await pilot.press("p")
        await seed_run(workspace, clock, made, (Page("customers", 5),), started_ms=NOW_MS - 1000)
        await wait_for(pilot, lambda: "paused, 1 new" in text_of(app))
        listing = app.query_one("#runs-list", Listing)
        assert [run.number for run in listing.rows] == [3, 2, 1]
        await pilot.press("p")
        await wait_for(pilot, lambda: [run.number for run in listing.rows] == [4, 3, 2, 1])
        assert "paused" not in text_of(app)


async def test_live_changes_arrive(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    made = await workspace.store.integrations.put(integration("billing", "payments", "crm", "customers"))
    async with console(section="syncs") as (app, pilot):
        assert "never run" in text_of(app)
        pages = (Page("customers", 7, ((FAULTS[0], 2),)),)
        await seed_run(
            workspace,
            clock,
            made,
            pages,
            started_ms=NOW_MS - 4_000,
            seconds=3,
            ends=None,
            totals={"customers": 70},
        )
        await wait_for(pilot, lambda: "5 of 70 committed" in text_of(app))
        assert "2 dead letters" in text_of(app)
        assert "● 1 run" in text_of(app)


async def test_a_store_that_cannot_be_read_is_said_and_comes_back(
    workspace: Workspace, clock: FixedClock, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(workspace, clock)
    async with console(section="history") as (app, pilot):
        broken = True
        real = type(workspace.store.runs).list

        async def failing(self: object, **wanted: object) -> object:
            if broken:
                raise StoreError("The database is locked by another program.")
            return await real(self, **wanted)  # type: ignore[arg-type]

        monkeypatch.setattr(type(workspace.store.runs), "list", failing)
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: "locked by another program" in text_of(app))
        assert app.view is not None and "archive" in text_of(app), "what was shown stays"
        broken = False
        await wait_for(pilot, lambda: app.view is not None and app.view.state == "ready")
        await wait_for(pilot, lambda: "locked by another program" not in text_of(app))


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_quitting_without_work_just_quits(console: Console, key: str) -> None:
    async with console() as (app, pilot):
        await pilot.press(key)
        await wait_for(pilot, lambda: not app.is_running)
    assert app.return_value == 0


@pytest.mark.parametrize(
    ("key", "stays", "cancelled"), [("escape", True, False), ("k", False, False), ("s", False, True)]
)
async def test_quitting_with_active_runs_asks(
    workspace: Workspace, clock: FixedClock, console: Console, key: str, stays: bool, cancelled: bool
) -> None:
    await seed(workspace, clock, active=True)
    async with console() as (app, pilot):
        await wait_for(pilot, lambda: bool(app.status and app.status.active))
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseScreen))
        assert "run 4 of billing" in text_of(app)
        assert isinstance(app.focused, Button) and app.focused.id == "stay"
        await pilot.press("ctrl+q")
        assert len(app.screen_stack) == 2, "it asks once"
        await pilot.press(key)
        if stays:
            await wait_for(pilot, lambda: len(app.screen_stack) == 1)
            assert app.is_running
        else:
            await wait_for(pilot, lambda: not app.is_running)
    run = await workspace.store.runs.get("4")
    assert run is not None and run.cancel_requested is cancelled


async def test_an_engine_is_started_only_when_there_is_work(
    workspace: Workspace, clock: FixedClock, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Workspace] = []
    monkeypatch.setattr("platint_tui.services.console.ensure_engine", started.append)
    monkeypatch.setattr("platint_tui.services.console.engine_is_running", lambda workspace: False)
    await seed(workspace, clock)
    async with console() as (app, pilot):
        await wait_for(pilot, lambda: app.status is not None)
        assert not started
        await workspace.store.commands.submit("check", {"profile": "crm"}, "tester")
        await wait_for(pilot, lambda: bool(started))


async def test_the_console_tells_the_engine_that_it_looks(workspace: Workspace, console: Console) -> None:
    async with console():
        kinds = [worker.kind for worker in await workspace.store.workers.list()]
    assert kinds == ["console"]


@pytest.mark.parametrize("size", [(59, 16), (60, 15), (20, 5), (1, 1)])
async def test_M7_a_small_screen_says_what_it_needs_and_keeps_its_state(
    workspace: Workspace, clock: FixedClock, console: Console, size: tuple[int, int]
) -> None:
    await seed(workspace, clock)
    async with console(section="history") as (app, pilot):
        await pilot.press("down")
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert app.screen.query_one("#too-small", Static).display
        if size[0] > 30:
            assert "The console needs 60x16." in text_of(app)
        await pilot.resize_terminal(100, 30)
        await wait_for(pilot, lambda: "archive" in text_of(app))
        view = app.view
        assert view is not None and view.query_one("#runs-list").current.number == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (99, 29), (100, 30), (140, 40), (220, 60)])
async def test_no_section_overflows_its_screen(
    workspace: Workspace, clock: FixedClock, console: Console, size: tuple[int, int]
) -> None:
    await seed(workspace, clock, active=True)
    async with console(size=size) as (app, pilot):
        for info in SECTIONS.values():
            await pilot.press(info.key)
            await wait_for(pilot, lambda wanted=info.id: app.section == wanted)  # type: ignore[misc]
            await ready(pilot)
            lines = text_of(app).splitlines()
            assert len(lines) == size[1]
            assert "quit" in lines[-1] and "help" in lines[-1]
            assert info.title in lines[0]


async def test_a_click_on_the_rail_goes_there(console: Console) -> None:
    async with console(size=(120, 40)) as (app, pilot):
        x = text_of(app).splitlines()[0].index("History")
        await pilot.click(offset=(x + 1, 0))
        await wait_for(pilot, lambda: app.section == "history")


async def test_every_action_reports_and_is_kept(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(section="syncs") as (app, pilot):
        await pilot.press("y")
        assert "Copied archive." in text_of(app)
        assert '"integration": "archive"' in app.clipboard
        await pilot.press("9")
        await wait_for(pilot, lambda: app.section == "settings")
        # The sentence belongs to the view that it was said in; the action log keeps it.
        await wait_for(pilot, lambda: text_of(app).count("Copied archive.") == 1)


async def test_confirmations_start_on_cancel_and_want_the_name(console: Console) -> None:
    from platint_tui.tui.dialogs.confirm import Confirmation, ConfirmScreen, needs_name

    assert needs_name(environment="production") and needs_name(count=51) and needs_name(deletes=True)
    assert not needs_name(environment="sandbox", count=50)
    async with console() as (app, pilot):
        answers: list[bool | None] = []
        asked = Confirmation(
            "Replay 120 dead letters",
            "Replay",
            host="https://crm.example",
            method="POST",
            count=120,
            typed="crm",
        )
        app.push_screen(ConfirmScreen(asked), answers.append)
        await pilot.pause()
        shown = text_of(app)
        assert "https://crm.example" in shown and "POST" in shown and "120 records" in shown
        assert isinstance(app.focused, Button) and app.focused.id == "cancel"
        await pilot.press("y")
        assert not answers, "the name has not been typed"
        app.screen.query_one(Input).focus()
        await pilot.press(*"crx", "enter")
        assert not answers
        await pilot.press("backspace", "m", "enter")
        await wait_for(pilot, lambda: answers == [True])

        app.push_screen(ConfirmScreen(Confirmation("Reset", "Reset")), answers.append)
        await pilot.pause()
        await pilot.press("enter")
        await wait_for(pilot, lambda: answers == [True, False])
        app.push_screen(ConfirmScreen(Confirmation("Reset", "Reset")), answers.append)
        await pilot.pause()
        await pilot.press("y")
        await wait_for(pilot, lambda: answers == [True, False, True])
        app.push_screen(ConfirmScreen(Confirmation("Reset", "Reset")), answers.append)
        await pilot.pause()
        await pilot.press("escape")
        await wait_for(pilot, lambda: answers == [True, False, True, False])


async def test_snapshots_come_at_most_eight_times_a_second(
    workspace: Workspace, clock: FixedClock, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    from platint_tui.tui.bridge import FRAME_SECONDS
    from platint_tui.tui.screens.history.section import HistorySection

    loads = 0
    real = HistorySection.load

    async def counted(self: HistorySection, given: Workspace) -> object:
        nonlocal loads
        loads += 1
        return await real(self, given)

    monkeypatch.setattr(HistorySection, "load", counted)
    async with console(section="history"):
        loop = asyncio.get_running_loop()
        begun, loads = loop.time(), 0
        for number in range(60):
            await workspace.store.settings.put("noise", number)
        took = loop.time() - begun
        assert loads <= took / FRAME_SECONDS + 2
