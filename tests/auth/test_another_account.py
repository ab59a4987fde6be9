"""Signing in to another account: what was read of the one before says nothing about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import SyncState
from platint_tui.services import login, profiles, syncs
from platint_tui.services.login import SignedIn
from platint_tui.services.workspace import Workspace, open_workspace
from tests.auth.test_login import person
from tests.auth.test_signing_in_by_command import manifest
from tests.http.hostile import Hostile

FILE = """
integration: people
integration_type: data_sync
platforms:
  - {name: hostile, profile: me, type: api, endpoints: [items]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
streams:
  items: {target: items, key: [sub]}
"""


@pytest.fixture
async def workspace(tmp_path: Path, hostile: Hostile) -> AsyncIterator[Workspace]:
    """An installation with the profile `me`, and a sync that reads from it."""
    manifests = tmp_path / "connectors"
    manifests.mkdir()
    auth = person(base_url_from="instance_url")
    (manifests / "hostile.yaml").write_text(manifest(auth))
    environ = {
        "PLATINT_HOME": str(tmp_path / "home"),
        "PLATINT_CONNECTORS": str(manifests),
        "PATH": "/usr/bin:/bin",
    }
    opened = await open_workspace(environ=environ, passphrase=lambda: "a passphrase for this test")
    await opened.vault.init_file("a passphrase for this test")
    await profiles.add(
        opened,
        name="me",
        platform="hostile",
        environment="development",
        values={"base_url": hostile.url, "client": "tui"},
        secrets={},
    )
    path = tmp_path / "people.yaml"
    path.write_text(FILE)
    await syncs.import_file(opened, path)
    yield opened
    await opened.close()


async def sign_in(workspace: Workspace, hostile: Hostile, address: str) -> SignedIn:
    """Sign in to the account at this address."""
    tokens = {"access_token": "access-canary", "refresh_token": "refresh-canary", "token_type": "bearer"}
    hostile.json("/token", {**tokens, "instance_url": address, "scope": "openid offline_access"})
    async with login.start(workspace, "me") as started:
        query = parse_qs(urlsplit(started.url).query)
        return await started.finish(f"{query['redirect_uri'][0]}?code=canary-code&state={query['state'][0]}")


async def read_to(workspace: Workspace, version: int) -> None:
    state = SyncState("people", "items", version, {"v": 1}, None, None, 1)
    await workspace.store.runs.restore_position(state)


async def test_another_address_is_another_account(workspace: Workspace, hostile: Hostile) -> None:
    assert (await sign_in(workspace, hostile, "https://one.example.com")).restarted == ()
    await read_to(workspace, 7)
    assert (await sign_in(workspace, hostile, "https://one.example.com")).restarted == ()
    assert await workspace.store.runs.sync_state("people", "items") is not None
    done = await sign_in(workspace, hostile, "https://two.example.com")
    assert done.restarted == ("'people/items' is read from the beginning: 'me' is another account now.",)
    assert await workspace.store.runs.sync_states() == []


async def test_not_while_the_account_before_is_read(workspace: Workspace, hostile: Hostile) -> None:
    await sign_in(workspace, hostile, "https://one.example.com")
    await read_to(workspace, 7)
    integration = await workspace.store.integrations.get("people")
    assert integration is not None
    await workspace.store.runs.create(integration, ["items"], "manual")
    with pytest.raises(ConfigError, match="Run 1 of 'people' is queued"):
        await sign_in(workspace, hostile, "https://two.example.com")
    assert await workspace.store.runs.sync_state("people", "items") is not None
    assert (await sign_in(workspace, hostile, "https://one.example.com")).restarted == ()
