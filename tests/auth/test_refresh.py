"""Refresh tokens that work once, at a strict OAuth server: one request however many want a new token."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.oidc import CLIENT_SECRET, OidcProvider

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import CredentialError, PlatintError, TransientError
from platint_tui.core.model import Environment, JsonObject, Profile
from platint_tui.core.paths import Paths, find_paths, make_private
from platint_tui.drivers.http.auth.kept import MemoryTokens
from platint_tui.drivers.http.auth.login import open_login
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.store import open_store
from platint_tui.store.ports import Store
from platint_tui.vault import Vault, VaultTokens
from tests.auth.support import Peers, connector, context_of, read
from tests.auth.test_login import ME, in_the_browser, person
from tests.http.hostile import MANIFEST, Hostile, Whole, answer, merged

ROOT = Path(__file__).resolve().parents[2]
REFRESH = "refresh_token"


async def signed_in(oidc: OidcProvider) -> dict[str, Any]:
    """Tokens of a person who has signed in just now."""
    login = open_login(context_of(connector(person(), resources=ME), {"base_url": oidc.url, "client": "tui"}))
    started, answered, _ = await in_the_browser(login)
    tokens = await login.exchange_code(started, answered)
    await login.close()
    return tokens


def refreshes(oidc: OidcProvider) -> list[int]:
    """The statuses of the refresh requests that the server has seen."""
    return [item["status"] for item in oidc.seen() if item["grant"] == REFRESH]


def expired(tokens: dict[str, Any]) -> dict[str, Any]:
    return {**tokens, "expires_at": time.time() - 1}


class Recorder(MemoryTokens):
    """A token store that notes what is saved."""

    def __init__(self, tokens: dict[str, Any]) -> None:
        super().__init__()
        self._document = tokens
        self.saved: list[dict[str, Any]] = []

    async def save(self, tokens: JsonObject) -> None:
        self.saved.append(dict(tokens))
        await super().save(tokens)


@pytest.fixture
async def opened(oidc: OidcProvider) -> AsyncIterator[Callable[..., HttpDriver]]:
    """`opened(store)`: a driver at the provider with the tokens of the store."""
    made: list[HttpDriver] = []

    def make(store: MemoryTokens, peers: Peers | None = None, **changes: Any) -> HttpDriver:
        found = connector(person(**changes), resources=ME)
        made.append(
            HttpDriver(context_of(found, {"base_url": oidc.url, "client": "tui"}, tokens=store, peers=peers))
        )
        return made[-1]

    yield make
    for item in made:
        await item.close()


Opened = Callable[..., HttpDriver]


async def test_a_new_refresh_token_is_kept_before_it_is_used(oidc: OidcProvider, opened: Opened) -> None:
    tokens = await signed_in(oidc)
    store = Recorder(expired(tokens))
    before = refreshes(oidc)
    driver = opened(store)
    assert await read(driver) == [{"sub": "alice"}] == await read(driver)
    assert refreshes(oidc)[len(before) :] == [200]
    assert len(store.saved) == 1 and store.saved[0][REFRESH] != tokens[REFRESH]
    # A process that starts later uses what was kept, without another request.
    assert await read(opened(store)) == [{"sub": "alice"}]
    assert refreshes(oidc)[len(before) :] == [200]


async def test_reuse_is_detected_and_ends_the_sign_in(oidc: OidcProvider, opened: Opened) -> None:
    """A copy of the old token is used elsewhere: the server revokes the family, and says so once."""
    tokens = await signed_in(oidc)
    ours = Recorder(expired(tokens))
    await read(opened(ours))
    copy = Recorder(expired(tokens))
    with pytest.raises(CredentialError) as caught:
        await read(opened(copy))
    error = caught.value
    assert error.code == "sign_in_needed" and "profiles login p" in error.hint
    assert tokens[REFRESH] not in error.sentence()
    # The family is gone, so the rightful one is asked to sign in too.
    ours.saved.clear()
    await ours.save(expired(dict(await ours.load() or {})))
    with pytest.raises(CredentialError):
        await read(opened(ours))
    # What has ended is not asked again, by whoever comes.
    count = len(refreshes(oidc))
    for store in (ours, copy):
        with pytest.raises(CredentialError) as again:
            await read(opened(store))
        assert again.value.code == "sign_in_needed"
    assert len(refreshes(oidc)) == count


async def test_twenty_tasks_make_one_request(oidc: OidcProvider, opened: Opened) -> None:
    store = Recorder(expired(await signed_in(oidc)))
    before = len(refreshes(oidc))
    driver = opened(store)
    assert await asyncio.gather(*[read(driver) for _ in range(20)]) == [[{"sub": "alice"}]] * 20
    assert len(refreshes(oidc)) - before == 1


async def test_a_revoked_access_token_is_renewed(oidc: OidcProvider, opened: Opened) -> None:
    """The platform refuses a token before its time."""
    tokens = await signed_in(oidc)
    store = Recorder({**tokens, "access_token": "revoked-canary-token"})
    before = len(refreshes(oidc))
    driver = opened(store)
    assert await asyncio.gather(*[read(driver) for _ in range(5)]) == [[{"sub": "alice"}]] * 5
    assert len(refreshes(oidc)) - before == 1


async def test_nobody_has_signed_in(opened: Opened) -> None:
    with pytest.raises(CredentialError) as caught:
        await read(opened(MemoryTokens()))
    assert caught.value.code == "sign_in_needed" and "profiles login p" in caught.value.hint


async def test_check_tells_how_long_the_sign_in_lasts(oidc: OidcProvider, opened: Opened) -> None:
    driver = opened(Recorder(await signed_in(oidc)))
    found = {item.id: item for item in await driver.check()}
    assert "renewed by itself" in found["sign_in"].detail and found["sign_in"].ok


async def test_a_token_that_cannot_be_kept_is_not_lost(oidc: OidcProvider, opened: Opened) -> None:
    """The vault is locked for a moment: the new token is kept as soon as it can be, and then used."""

    class Locked(Recorder):
        broken = True

        async def save(self, tokens: JsonObject) -> None:
            if self.broken:
                raise CredentialError("The vault is locked.")
            await super().save(tokens)

    store = Locked(expired(await signed_in(oidc)))
    before = len(refreshes(oidc))
    driver = opened(store)
    with pytest.raises(CredentialError):
        await read(driver)
    store.broken = False
    assert await read(driver) == [{"sub": "alice"}]
    assert len(refreshes(oidc)) - before == 1 and len(store.saved) == 1


# --- client credentials at the same server -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "way"), [("basic", "basic"), ("post", "body"), ("jwt", "private_key_jwt")]
)
async def test_client_credentials(
    oidc: OidcProvider, client_key: tuple[str, Any], client: str, way: str
) -> None:
    auth: dict[str, Any] = {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_auth": way,
        "scopes": ["read"],
    }
    secrets = {"secret": CLIENT_SECRET}
    if way == "private_key_jwt":
        secrets = {"key": client_key[0]}
        auth["assertion"] = {
            "key": "key",
            "issuer": "${profile.client}",
            "subject": "${profile.client}",
            "key_id": "k1",
        }
    else:
        auth["client_secret"] = "secret"
    found = connector(auth, tuple(secrets), resources=ME)
    driver = HttpDriver(context_of(found, {"base_url": oidc.url, "client": client}, secrets))
    before = len(oidc.seen())
    # This server's only resource is for people: the token is got, and refused there for what it is.
    with pytest.raises(PlatintError) as caught:
        await read(driver)
    assert {item["status"] for item in oidc.seen()[before:]} == {200}
    assert CLIENT_SECRET not in caught.value.sentence()
    await driver.close()


async def test_a_wrong_client_secret(oidc: OidcProvider) -> None:
    auth = {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_secret": "secret",
    }
    found = connector(auth, ("secret",), resources=ME)
    fields = {"base_url": oidc.url, "client": "basic"}
    driver = HttpDriver(context_of(found, fields, {"secret": "wrong-canary-secret"}))
    with pytest.raises(CredentialError) as caught:
        await read(driver)
    assert "invalid_client" in caught.value.message and "canary" not in caught.value.sentence()
    await driver.close()


# --- a refresh token that was made elsewhere ---------------------------------------------------------------

ELSEWHERE = {
    "type": "oauth2",
    "grant": "refresh_token",
    "token_url": "${profile.base_url}/token",
    "client_id": "client",
    "client_auth": "none",
    "refresh_token": "refresh",
    "rotates": True,
}


async def test_a_refresh_token_of_the_profile(oidc: OidcProvider) -> None:
    tokens = await signed_in(oidc)
    store = Recorder({})
    found = connector(ELSEWHERE, ("refresh",), resources=ME)
    fields = {"base_url": oidc.url, "client": "tui"}
    driver = HttpDriver(context_of(found, fields, {"refresh": tokens[REFRESH]}, tokens=store))
    assert await read(driver) == [{"sub": "alice"}]
    await driver.close()
    assert store.saved[0][REFRESH] != tokens[REFRESH]
    # The profile still has the first one, which is worth nothing now; the one that was kept is used.
    await store.save(expired(store.saved[0]))
    driver = HttpDriver(context_of(found, fields, {"refresh": tokens[REFRESH]}, tokens=store))
    assert await read(driver) == [{"sub": "alice"}]
    await driver.close()


async def test_a_new_refresh_token_in_the_profile_is_used(oidc: OidcProvider) -> None:
    first, second = await signed_in(oidc), await signed_in(oidc)
    found = connector(ELSEWHERE, ("refresh",), resources=ME)
    fields = {"base_url": oidc.url, "client": "tui"}
    store = Recorder({})
    driver = HttpDriver(context_of(found, fields, {"refresh": first[REFRESH]}, tokens=store))
    await read(driver)
    await driver.close()
    await store.save({**store.saved[-1], "ended": True})
    driver = HttpDriver(context_of(found, fields, {"refresh": first[REFRESH]}, tokens=store))
    with pytest.raises(CredentialError) as caught:
        await read(driver)
    assert "profiles edit p" in caught.value.hint
    await driver.close()
    driver = HttpDriver(context_of(found, fields, {"refresh": second[REFRESH]}, tokens=store))
    assert await read(driver) == [{"sub": "alice"}]
    await driver.close()


# --- the vault, and several processes ----------------------------------------------------------------------


@pytest.fixture
def installation(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """An installation with a vault file."""
    passphrase = home / "passphrase"
    passphrase.write_text("a long passphrase of the test")
    passphrase.chmod(0o600)
    monkeypatch.setenv("PLATINT_VAULT_PASSPHRASE_FILE", str(passphrase))
    paths = find_paths(os.environ)
    for folder in (paths.config, paths.data, paths.state):
        make_private(folder)
    yield paths


async def prepared(paths: Paths, base_url: str) -> tuple[Store, Vault]:
    """The store with the profile `p`, and the vault."""
    vault = Vault(paths.config, os.environ)
    await vault.init_file("a long passphrase of the test")
    store = await open_store(paths.database, clock=SystemClock(), role="console")
    fields = {"base_url": base_url, "client": "tui"}
    await store.profiles.put(Profile("p", "hostile", Environment.DEVELOPMENT, fields, {}))
    return store, vault


async def test_tokens_in_the_vault(installation: Paths, find_leaks: Callable[..., list[Path]]) -> None:
    store, vault = await prepared(installation, "http://127.0.0.1:1")
    tokens = VaultTokens(vault, store.profiles, "p", vault.locks)
    assert await tokens.load() is None
    await tokens.save({"access_token": "access-canary-1", REFRESH: "refresh-canary-1"})
    profile = await store.profiles.get("p")
    assert profile is not None
    reference = profile.secrets["oauth_token"]
    await tokens.save({"access_token": "access-canary-2", REFRESH: "refresh-canary-2"})
    # Whoever read the profile before finds the new ones under the same reference.
    again = VaultTokens(Vault(installation.config, os.environ), store.profiles, "p", vault.locks)
    assert await again.load() == {"access_token": "access-canary-2", REFRESH: "refresh-canary-2"}
    profile = await store.profiles.get("p")
    assert profile is not None and profile.secrets["oauth_token"] == reference
    await store.close()
    for canary in ("access-canary-2", "refresh-canary-2", "refresh-canary-1"):
        assert find_leaks(canary, [installation.config.parent]) == []


async def test_tokens_that_cannot_be_renewed_where_they_are(installation: Paths) -> None:
    store, vault = await prepared(installation, "http://127.0.0.1:1")
    profile = await store.profiles.get("p")
    assert profile is not None
    await store.profiles.put(
        Profile("p", "hostile", Environment.DEVELOPMENT, profile.fields, {"oauth_token": "env:NOWHERE"})
    )
    tokens = VaultTokens(vault, store.profiles, "p", vault.locks)
    with pytest.raises(CredentialError) as caught:
        await tokens.save({"access_token": "canary"})
    assert caught.value.code == "token_place"
    await store.close()


async def test_the_lock_keeps_others_out(installation: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    store, vault = await prepared(installation, "http://127.0.0.1:1")
    one, two = (VaultTokens(vault, store.profiles, "p", vault.locks) for _ in range(2))
    order: list[str] = []

    async def second() -> None:
        async with two.locked():
            order.append("second")

    async with one.locked():
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.1)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    monkeypatch.setattr("platint_tui.vault.tokens.LOCK_SECONDS", 0.05)
    async with one.locked():
        with pytest.raises(TransientError):
            async with two.locked():
                pass
    async with VaultTokens(vault, store.profiles, "other", vault.locks).locked(), one.locked():
        pass
    await store.close()


async def test_six_processes_make_one_request(
    oidc: OidcProvider, installation: Paths, tmp_path: Path, find_leaks: Callable[..., list[Path]]
) -> None:
    tokens = await signed_in(oidc)
    store, vault = await prepared(installation, oidc.url)
    await VaultTokens(vault, store.profiles, "p", vault.locks).save(expired(tokens))
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "hostile.yaml").write_text(json.dumps(_document()))
    before = len(refreshes(oidc))
    command = [sys.executable, str(Path(__file__).with_name("refresher.py")), str(manifests)]
    processes = [
        await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        for _ in range(6)
    ]
    async with asyncio.timeout(120):
        for process in processes:
            assert process.stdout and (await process.stdout.readline()) == b"ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(b"go\n")
        outcomes = [(await process.communicate())[0].decode().strip() for process in processes]
    assert outcomes == ["read 1"] * 6
    assert refreshes(oidc)[before:] == [200]
    await store.close()
    assert find_leaks(tokens[REFRESH], [installation.config.parent]) == []


def _document() -> dict[str, Any]:
    fields = [{"id": "base_url", "type": "url", "required": True}, {"id": "client", "default": "tui"}]
    return dict(merged(MANIFEST, {"auth": Whole(person()), "profile": {"fields": fields}, "resources": ME}))


# --- a server that fails -----------------------------------------------------------------------------------


async def test_a_token_that_works_again_and_again_is_sent_again(hostile: Hostile) -> None:
    """Tokens that work once are another matter: see test_interrupted_refresh."""
    replies = [b"", answer(503, {}), answer(200, {"access_token": "fresh-canary", "expires_in": 60})]

    def token(seen: Any, writer: Any) -> None:
        reply = replies.pop(0)
        if reply:
            writer.write(reply)
        else:
            writer.close()

    hostile.routes["/token"] = token
    hostile.json("/me", {"sub": "a"})
    store = Recorder(expired({"access_token": "old-canary", REFRESH: "refresh-canary"}))
    found = connector(person(rotates=False), resources=ME)
    driver = HttpDriver(context_of(found, {"base_url": hostile.url}, tokens=store))
    assert await read(driver) == [{"sub": "a"}]
    assert store.saved[-1][REFRESH] == "refresh-canary"
    await driver.close()


async def test_an_error_that_is_not_the_end(hostile: Hostile) -> None:
    """invalid_client is no reason to throw the sign-in away."""
    hostile.json("/token", {"error": "invalid_client"}, status=401)
    store = Recorder(expired({"access_token": "old-canary", REFRESH: "refresh-canary"}))
    driver = HttpDriver(
        context_of(connector(person(), resources=ME), {"base_url": hostile.url}, tokens=store)
    )
    with pytest.raises(CredentialError) as caught:
        await read(driver)
    assert caught.value.code == "token_refused" and store.saved == []
    await driver.close()


@pytest.mark.parametrize(
    "kept", [{}, {"access_token": 7}, {"access_token": "x", "refresh_token": []}, {"other": 1}]
)
async def test_kept_tokens_that_are_none(hostile: Hostile, kept: dict[str, Any]) -> None:
    driver = HttpDriver(
        context_of(connector(person(), resources=ME), {"base_url": hostile.url}, tokens=Recorder(kept))
    )
    with pytest.raises(CredentialError) as caught:
        await read(driver)
    assert caught.value.code == "sign_in_needed" and hostile.seen == []
    await driver.close()
