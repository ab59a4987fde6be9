"""Dashboard, events and settings."""

from __future__ import annotations

from console_kit import Console, ready, text_of, wait_for
from seeding import NOW_MS, FixedClock, Page, integration, seed, seed_run

from platint_tui.services.workspace import Workspace
from platint_tui.tui.listing import Listing


async def test_the_dashboard_shows_health_work_issues_and_runs(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock, active=True)
    async with console(size=(120, 45)) as (app, _):
        shown = text_of(app)
        for words in (
            "3,600 requests",
            "✗ failed    chat",
            "The token was refused (401)",
            "not tested yet",
            "1 in trouble",
            "1,199 of 2,000  ",
            "email is required",
            "18 dead letters",
            "● running",
        ):
            assert words in shown, words


async def test_every_row_of_the_dashboard_is_a_door(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock, active=True)
    async with console() as (app, pilot):
        for pane, section in (
            ("health", "profiles"),
            ("work", "syncs"),
            ("issues", "deadletters"),
            ("runs", "history"),
        ):
            await pilot.press("1")
            await wait_for(pilot, lambda: app.section == "dashboard")
            await ready(pilot)
            app.query_one(f"#{pane}", Listing).focus()
            await pilot.press("enter")
            await wait_for(pilot, lambda wanted=section: app.section == wanted)  # type: ignore[misc]
            await ready(pilot)
        assert "run 4" in text_of(app).splitlines()[1]


async def test_the_cursor_goes_from_list_to_list(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console() as (app, pilot):
        assert app.focused is not None and app.focused.id == "health"
        await pilot.press("j", "j", "j", "j", "j")
        assert app.focused.id == "issues"
        await pilot.press("k", "k")
        assert app.focused.id in ("work", "health")


async def test_the_selected_row_stays_selected(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    made = await workspace.store.integrations.put(integration("new", "payments", "crm", "customers"))
    async with console(section="history") as (app, pilot):
        listing = app.query_one("#runs-list", Listing)
        await pilot.press("j")
        assert listing.current is not None and listing.current.number == 2
        await seed_run(workspace, clock, made, (Page("customers", 1),), started_ms=NOW_MS)
        await wait_for(pilot, lambda: len(listing.rows) == 4)
        assert listing.current.number == 2


async def test_settings_show_places_and_no_secret(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await workspace.store.settings.put("retention", {"runs_days": 7, "nonsense": 1, "commands_days": "x"})
    async with console(section="settings", size=(160, 48)) as (app, pilot):
        shown = text_of(app)
        assert str(workspace.paths.database) in shown
        assert "7 days" in shown and "30 days" in shown and "nonsense" not in shown
        assert "SQLite" in shown and "keyring" in shown
        for name in ("light", "high contrast", "deuteranopia", "tritanopia", "dark"):
            await pilot.press("w")
            await wait_for(pilot, lambda wanted=name: f"Theme: {wanted}." in text_of(app))  # type: ignore[misc]
        assert await workspace.store.settings.get("theme") == "platint-dark"
