"""Profiles from the keyboard: add by a form made from the manifest, test, edit, remove."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from console_kit import Console, ready, text_of, wait_for
from live_kit import installation, open_console
from seeding import NOW_MS, FixedClock, profile, seed, seed_profiles
from textual.pilot import Pilot
from textual.widgets import Button, Input

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Capability, Environment, ProfileCheck
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.services import profiles
from platint_tui.services.profiles import ProfileView
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.dialogs.confirm import ConfirmScreen
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.profiles import words
from platint_tui.tui.screens.profiles.adding import AddScreen, EditScreen, PlatformScreen, WayScreen
from platint_tui.tui.screens.profiles.section import ProfilesSection
from platint_tui.tui.widgets.form import Choice, Line


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Workspace]:
    async with installation(tmp_path / "home", records=40) as workspace:
        yield workspace


def view(app: PlatintApp) -> ProfilesSection:
    assert isinstance(app.view, ProfilesSection)
    return app.view


async def wait_said(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    await wait_for(pilot, lambda: any(text in report.text for report in app.log_book.reports()))


async def open_form(app: PlatintApp, pilot: Pilot[int], platform: str) -> AddScreen:
    await pilot.press("a")
    await wait_for(pilot, lambda: isinstance(app.screen, PlatformScreen))
    assert app.screen.query_one(Listing).go_to(platform)
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(app.screen, AddScreen))
    await pilot.pause()
    assert isinstance(app.screen, AddScreen)
    return app.screen


def enter(screen: AddScreen | EditScreen, **values: str) -> None:
    for line in screen.query(Line):
        for name, value in values.items():
            if line.id == f"input-{name.replace('_', '_5f_')}":
                line.value = value


async def test_the_list_says_where_secrets_live_and_what_is_production(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(size=(80, 24), section="profiles") as (app, pilot):
        text = text_of(app)
        assert "production" in text and "keyring" in text and "○ untested" in text and "✗ failed" in text
        await pilot.press("down")
        await wait_for(pilot, lambda: "The token was refused (401)" in text_of(app))
        assert "sent only to" in text_of(app)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.section == "discovery")
        await pilot.press("2", "y")
        assert json.loads(app.clipboard)["environment"] == "production"


async def test_add_by_the_manifests_form_and_test_it(live: Workspace) -> None:
    crm = await profiles.get(live, "demo-crm")
    async with open_console(live, "profiles", (80, 24)) as (app, pilot):
        screen = await open_form(app, pilot, "demo-crm")
        form = screen.form.values()
        assert form[words.NAME] == "demo-crm-2" and form["environment"] == "sandbox"
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "Address is missing" in text_of(app))
        assert app.focused is not None and app.focused.id == "input-base_5f_url"
        enter(screen, base_url=crm.fields["base_url"], client_id="platint-demo", client_secret="nonsense")
        place = next(choice for choice in screen.query(Choice) if len(choice._options) == 4)
        place.chosen = 3
        await pilot.pause()
        secret = screen.query_one("#input-client_5f_secret", Line)
        assert secret.value == "" and not secret.password
        secret.value = "no reference"
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "This is no reference" in text_of(app))
        secret.value = "env:PLATINT_SECRET__DEMO_CRM__CLIENT_SECRET"
        await pilot.press("ctrl+t")
        await wait_said(app, pilot, "demo-crm-2: 2 of 2 probes passed.")
        await wait_for(pilot, lambda: "Contacts" in text_of(app) or "read_contacts" in text_of(app))
        current = view(app).current
        assert current is not None and current.view.profile.name == "demo-crm-2"
        assert current.view.secret_places == {"client_secret": "env"}
        assert "env:PLATINT_SECRET__DEMO_CRM__CLIENT_SECRET" in text_of(app)


async def test_a_refused_credential_is_one_sentence_in_place(live: Workspace, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-key")
    wrong.chmod(0o600)
    payments = await profiles.get(live, "demo-payments")
    await profiles.add(
        live,
        name="wrong",
        platform="demo-payments",
        environment="sandbox",
        values={"base_url": payments.fields["base_url"]},
        secrets={"api_key": f"file:{wrong}"},
    )
    async with open_console(live, "profiles", (80, 24)) as (app, pilot):
        await wait_for(pilot, lambda: view(app).listing.go_to("wrong"))
        await pilot.press("t")
        await wait_said(app, pilot, "wrong failed")
        await wait_for(pilot, lambda: "✗ failed" in text_of(app))
        assert "not-the-key" not in text_of(app) and not app.crashed


async def test_a_name_that_is_taken_or_none_is_said_at_the_form(live: Workspace) -> None:
    async with open_console(live, "profiles") as (app, pilot):
        screen = await open_form(app, pilot, "sqlite")
        name = next(iter(screen.query(Line)))
        name.value = "demo-crm"
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "is there already" in text_of(app))
        name.value = "Not A Name!"
        enter(screen, path="/tmp/x.sqlite")
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "is not a profile name" in text_of(app))
        name.value = "[/foo]"
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "'[/foo]' is not a profile name" in text_of(app))
        await pilot.press("escape")
        await wait_said(app, pilot, "Nothing was changed.")
    assert len(await profiles.list_profiles(live)) == 4


async def test_edit_changes_plain_fields_and_guards_the_credential(live: Workspace, tmp_path: Path) -> None:
    async with open_console(live, "profiles") as (app, pilot):
        await wait_for(pilot, lambda: view(app).listing.go_to("demo-crm"))
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        await pilot.pause()
        assert isinstance(app.screen, EditScreen) and not app.screen.query("#input-client_5f_secret")
        enter(app.screen, base_url="http://127.0.0.1:9")
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "would send the credentials" in text_of(app))
        await pilot.press("escape")
        await wait_for(pilot, lambda: view(app).listing.go_to("demo-warehouse"))
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(app.screen, EditScreen))
        await pilot.pause()
        assert isinstance(app.screen, EditScreen)
        enter(app.screen, path=str(tmp_path / "other.sqlite"))
        await pilot.press("ctrl+s")
        await wait_said(app, pilot, "Profile demo-warehouse changed")
    assert (await profiles.get(live, "demo-warehouse")).fields["path"].endswith("other.sqlite")


async def test_remove_wants_the_name_and_refuses_what_is_in_use(live: Workspace) -> None:
    async with open_console(live, "profiles") as (app, pilot):
        for name, typed, said in (
            ("demo-chat", "demo-cha", ""),
            ("demo-chat", "demo-chat", "Profile demo-chat was removed."),
            ("demo-crm", "demo-crm", "is used by demo-to-crm"),
        ):
            await wait_for(pilot, lambda name=name: view(app).listing.go_to(name))  # type: ignore[misc]
            await pilot.press("d")
            await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            await pilot.pause()
            assert isinstance(app.focused, Button) and app.focused.id == "cancel"
            app.screen.query_one("#name", Input).value = typed
            await pilot.pause()
            assert app.screen.query_one("#confirm", Button).disabled == (not said)
            if not said:
                await pilot.press("escape")
                await wait_said(app, pilot, "Nothing was removed.")
                continue
            app.screen.query_one("#confirm", Button).press()
            await wait_said(app, pilot, said)
    assert {item.profile.name for item in await profiles.list_profiles(live)} == {
        "demo-crm",
        "demo-payments",
        "demo-warehouse",
    }


async def test_an_empty_list_leads_to_the_form(console: Console) -> None:
    async with console(size=(80, 24), section="profiles") as (app, pilot):
        await ready(pilot)
        assert "a adds one" in text_of(app)
        await pilot.press("t")
        assert "Add a profile first" in text_of(app)
        app.go("profiles", "new")
        await wait_for(pilot, lambda: isinstance(app.screen, PlatformScreen))
        assert "GitHub" in text_of(app) and "/ filters" in text_of(app)
        await pilot.press("escape")


async def test_the_chooser_takes_the_keys_of_every_list_and_a_filter(console: Console) -> None:
    async with console(size=(80, 24), section="profiles") as (app, pilot):
        await ready(pilot)
        app.go("profiles", "new")
        await wait_for(pilot, lambda: isinstance(app.screen, PlatformScreen))
        screen = app.screen
        assert isinstance(screen, PlatformScreen)
        everything = [item.platform for item in screen.listing.rows]

        def here() -> int:
            assert isinstance(screen, PlatformScreen) and screen.listing.current is not None
            return everything.index(screen.listing.current.platform)

        await pilot.press("k")
        assert here() == 0
        await pilot.press("j", "j", "k")
        assert here() == 1
        await pilot.press("G", "j")
        assert here() == len(everything) - 1
        await pilot.press("g")
        assert here() == 0
        await pilot.press("slash", *"jir")
        assert [item.platform for item in screen.listing.rows] == ["jira"]
        await pilot.press("escape")
        assert len(screen.listing.rows) == len(everything)
        await pilot.press("slash", *"hub", "down")
        assert [item.platform for item in screen.listing.rows] == ["github", "hubspot"]
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, WayScreen))
        assert "HubSpot" in text_of(app)
        await pilot.press("j", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, AddScreen))


async def test_a_form_begins_with_what_its_way_needs_and_names_what_is_missing(console: Console) -> None:
    async with console(size=(100, 40), section="profiles") as (app, pilot):
        await ready(pilot)
        app.go("profiles", "new")
        await wait_for(pilot, lambda: isinstance(app.screen, PlatformScreen))
        await pilot.press("slash", *"github", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, WayScreen))
        await pilot.press("j", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, AddScreen))
        await pilot.pause()
        assert "A profile for GitHub: GitHub App" in text_of(app)
        lines = [line.id for line in app.screen.query(Line)]
        assert set(lines[1:4]) == {"input-app_5f_id", "input-installation_5f_id", "input-app_5f_key"}
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "App ID or client ID is missing." in text_of(app))
        assert "app_id" not in text_of(app)


async def test_read_only_does_not_add(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed_profiles(workspace)
    async with console(section="profiles", read_only=True) as (app, pilot):
        for key in ("a", "t", "e", "d"):
            await pilot.press(key)
            assert "This console is read-only" in text_of(app) and len(app.screen_stack) == 1


def test_a_filled_form_becomes_what_the_service_wants(workspace: Workspace) -> None:
    form = profiles.form(workspace, "demo-payments")
    fields = words.form_fields(form, {"demo-payments"})
    assert [field.id for field in fields] == [words.NAME, "environment", "base_url", "api_key", "place"]
    assert [field.secret for field in fields] == [False, False, False, True, False]
    answers = {field.id: field.value for field in fields} | {
        "api_key": " sk_1234567 ",
        "base_url": "http://x",
    }
    wanted = words.wanted_of(form, answers)
    assert wanted.name == "demo-payments-2" and wanted.place is None and wanted.environment == "sandbox"
    secret = wanted.secrets["api_key"]
    assert isinstance(secret, Secret) and secret.reveal() == "sk_1234567" and "sk_1234567" not in repr(wanted)
    assert words.wanted_of(form, answers | {"place": "vault"}).place == "vault"
    assert words.wanted_of(form, answers | {"api_key": ""}).secrets == {}
    assert words.wanted_of(form, answers | {"place": "reference", "api_key": "file:/x"}).secrets == {
        "api_key": "file:/x"
    }
    with pytest.raises(ConfigError) as caught:
        words.wanted_of(form, answers | {"place": "reference"})
    assert caught.value.where == "api_key"


def test_facts_are_aligned_and_clean_of_line_breaks() -> None:
    shown = profile("a", "demo-crm", environment="production", base_url="http://x\ny")
    check = ProfileCheck("a", NOW_MS - 60_000, False, (
        Capability("me", False, False, "refused\nhere", 12.0),
        Capability("extra", False, True, "not allowed", None),
    ))  # fmt: skip
    entry = words.Entry(ProfileView(shown, "Demo CRM", {"api_key": "keyring"}, check), False, "a\nproblem")
    text = "".join(part for part, _ in words.facts(entry, NOW_MS))
    assert (
        "http://x y" in text and "in the keyring" in text and "refused here" in text and "! without" in text
    )
    assert words.state_of(entry)[1] == "bad"
    assert words.environment_cell(Environment.PRODUCTION).tone == "warn"
    assert clean(text, lines=True) == text


async def test_a_platform_with_several_ways_to_sign_in_asks_which(live: Workspace) -> None:
    form = profiles.form(live, "github")
    assert len(form.ways) >= 2
    wanted = form.ways[1]
    async with open_console(live, size=(80, 24), section="profiles") as (app, pilot):
        await pilot.press("a")
        await wait_for(pilot, lambda: isinstance(app.screen, PlatformScreen))
        assert app.screen.query_one(Listing).go_to("github")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, WayScreen))
        await wait_for(pilot, lambda: all(way.label in text_of(app) for way in form.ways))
        assert app.screen.query_one(Listing).go_to(wanted.label)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, AddScreen))
        shown = {line.id for line in app.screen.query(Line)}
        for item in form.fields:
            line = f"input-{item.id.replace('_', '_5f_')}"
            assert (line in shown) == (item.id not in wanted.hidden), item.id
