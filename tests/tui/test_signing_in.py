# ruff: noqa: F811 - fixtures are used by their names
"""A person signs in from the console: the page opens in the browser, the answer closes the dialog."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from console_kit import text_of, wait_for
from live_kit import open_console
from peers.oidc import Browser, OidcProvider
from textual.widgets import Input

from platint_tui.services import login, profiles
from platint_tui.services.engine import local_engine
from platint_tui.services.workspace import Workspace, open_workspace
from platint_tui.tui.screens.profiles.signing import SignInScreen
from tests.auth.conftest import client_key, oidc  # noqa: F401 - fixtures
from tests.auth.test_login import person
from tests.auth.test_signing_in_by_command import ended_at, manifest


async def prepared(home: Path, provider: OidcProvider, grant: str) -> Workspace:
    """An installation with a profile that waits for a person."""
    manifests = home / "connectors"
    manifests.mkdir(parents=True)
    (manifests / "hostile.yaml").write_text(manifest(person(grant)))
    environ = {
        "PLATINT_HOME": str(home / "home"),
        "PLATINT_CONNECTORS": str(manifests),
        "PATH": "/usr/bin:/bin",
    }
    workspace = await open_workspace(environ=environ, passphrase=lambda: "a passphrase for this test")
    await workspace.vault.init_file("a passphrase for this test")
    await profiles.add(
        workspace,
        name="me",
        platform="hostile",
        environment="development",
        values={"base_url": provider.url, "client": "tui"},
        secrets={},
    )
    return workspace


@pytest.mark.parametrize("grant", ["authorization_code", "device_code"])
async def test_the_dialog_closes_with_the_answer(
    tmp_path: Path,
    oidc: OidcProvider,
    grant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(login, "open_browser", lambda url, environ: bool(opened.append(url)) or True)
    workspace = await prepared(tmp_path, oidc, grant)
    async with local_engine(workspace), open_console(workspace, "profiles", (80, 24)) as (app, pilot):
        assert "○ sign in" in text_of(app) and "Nobody has signed in yet" in text_of(app)
        await pilot.press("o")
        await wait_for(pilot, lambda: isinstance(app.screen, SignInScreen) and bool(opened))
        if grant == "device_code":
            await wait_for(pilot, lambda: "Enter the code there" in text_of(app))
        browser = Browser()
        await asyncio.to_thread(browser.open, opened[0])
        browser.close()
        await wait_for(pilot, lambda: not isinstance(app.screen, SignInScreen))
        await wait_for(pilot, lambda: "renewed by itself" in text_of(app))
        assert "✓ ok" in text_of(app) or "ok" in text_of(app)
    stored = await workspace.store.profiles.get("me")
    assert stored is not None and "oauth_token" in stored.secrets
    await workspace.close()


async def test_without_a_browser_the_last_address_is_pasted(
    tmp_path: Path,
    oidc: OidcProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "open_browser", lambda url, environ: False)
    workspace = await prepared(tmp_path, oidc, "authorization_code")
    async with local_engine(workspace), open_console(workspace, "profiles", (80, 24)) as (app, pilot):
        await pilot.press("o")
        await wait_for(pilot, lambda: "There is no browser here" in text_of(app))
        screen = app.screen
        assert isinstance(screen, SignInScreen)
        line = screen.query_one("#pasted", Input)
        line.value = "http://elsewhere.example/callback?code=1"
        line.focus()
        await pilot.press("enter")
        await wait_for(
            pilot, lambda: "is not the address that the browser ends at" in " ".join(text_of(app).split())
        )
        url = str(screen.query_one("#page").render())
        ended = await asyncio.to_thread(ended_at, url)
        line.value = ended
        await pilot.press("enter")
        await wait_for(pilot, lambda: not isinstance(app.screen, SignInScreen))
        await wait_for(pilot, lambda: "renewed by itself" in text_of(app))
    await workspace.close()


async def test_leaving_gives_up_and_nothing_listens(
    tmp_path: Path,
    oidc: OidcProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "open_browser", lambda url, environ: True)
    workspace = await prepared(tmp_path, oidc, "authorization_code")
    async with local_engine(workspace), open_console(workspace, "profiles", (80, 24)) as (app, pilot):
        await pilot.press("o")
        await wait_for(pilot, lambda: "Waiting for its answer" in text_of(app))
        await pilot.press("escape")
        await wait_for(pilot, lambda: "Nobody signed in to me" in text_of(app))
    stored = await workspace.store.profiles.get("me")
    assert stored is not None and "oauth_token" not in stored.secrets
    await workspace.close()
