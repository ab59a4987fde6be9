"""What token endpoints answer in their own ways, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError
from platint_tui.drivers.http.auth.kept import MemoryTokens
from platint_tui.drivers.http.auth.login import Login, open_login
from platint_tui.drivers.http.driver import HttpDriver
from tests.auth.support import connector, context_of, read
from tests.auth.test_login import person
from tests.http.hostile import Hostile, Seen, answer

PAGE = {"data": [{"id": 1}], "next": None}
TOKEN = {"access_token": "token-canary", "refresh_token": "refresh-canary", "expires_in": 3600}
DEVICE = {
    "device_code": "device-canary",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://example.com/device",
    "expires_in": 60,
}


@pytest.fixture
async def login(hostile: Hostile) -> AsyncIterator[Callable[..., Login]]:
    """`login(**changes to the auth)`: a sign-in at the hostile server."""
    made: list[Login] = []

    def make(**changes: Any) -> Login:
        auth = person(**{"grant": "device_code", **changes})
        made.append(open_login(context_of(connector(auth), {"base_url": hostile.url}, tokens=MemoryTokens())))
        return made[-1]

    yield make
    for item in made:
        await item.close()


Make = Callable[..., Login]


def replies(hostile: Hostile, path: str, *bodies: dict[str, Any]) -> None:
    """Answers in turn; those with `error` have the status 400."""
    queue = list(bodies)

    def handle(seen: Seen, writer: Any) -> None:
        body = queue.pop(0) if len(queue) > 1 else queue[0]
        writer.write(answer(400 if "error" in body else 200, body))

    hostile.routes[path] = handle


async def test_a_device_that_is_told_to_slow_down(hostile: Hostile, login: Make) -> None:
    hostile.json("/device/auth", {**DEVICE, "interval": 2})
    replies(
        hostile,
        "/token",
        {"error": "authorization_pending"},
        {"error": "slow_down"},
        {"error": "slow_down"},
        TOKEN,
    )
    found = login()
    waits: list[float] = []
    device = await found.start_device()
    clock = found._context.clock
    tokens = await found.poll_device(device)
    waits = clock.slept  # type: ignore[attr-defined]
    assert waits == [2, 2, 7, 12] and tokens["access_token"] == TOKEN["access_token"]
    assert hostile.seen[0].form == {"client_id": "client-1", "scope": "openid offline_access"}


async def test_a_device_whose_polling_meets_a_hiccup(hostile: Hostile, login: Make) -> None:
    hostile.json("/device/auth", {**DEVICE, "interval": 2})
    replied = [answer(503, {}), answer(200, TOKEN)]
    hostile.routes["/token"] = lambda seen, writer: writer.write(replied.pop(0))
    found = login()
    assert (await found.poll_device(await found.start_device()))["refresh_token"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("expired_token", "login_expired_token"),
        ("access_denied", "login_access_denied"),
        ("invalid_client", "token_refused"),
    ],
)
async def test_a_device_that_is_refused(hostile: Hostile, login: Make, error: str, code: str) -> None:
    hostile.json("/device/auth", DEVICE)
    replies(hostile, "/token", {"error": error})
    found = login()
    with pytest.raises(CredentialError) as caught:
        await found.poll_device(await found.start_device())
    assert caught.value.code == code and "canary" not in caught.value.sentence()


@pytest.mark.parametrize(
    "change",
    [
        {"verification_uri": "http://example.com/device"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://example.com/\x1b[2J"},
        {"user_code": 7},
        {"device_code": None},
    ],
)
async def test_a_device_answer_that_is_none(hostile: Hostile, login: Make, change: dict[str, Any]) -> None:
    hostile.json("/device/auth", {**DEVICE, **change})
    with pytest.raises(SystemicError):
        await login().start_device()


async def test_a_user_code_cannot_draw_on_the_terminal(hostile: Hostile, login: Make) -> None:
    hostile.json("/device/auth", {**DEVICE, "user_code": "\x1b[31mAB\u202eCD"})
    code = (await login().start_device()).user_code
    assert "\x1b" not in code and "\u202e" not in code


@pytest.mark.parametrize("error", ["invalid_grant", "server_error"])
async def test_a_code_that_is_refused(hostile: Hostile, login: Make, error: str) -> None:
    replies(hostile, "/token", {"error": error, "error_description": "no such code: code-canary"})
    found = login(grant="authorization_code")
    started = found.authorize_url("http://127.0.0.1:1/callback")
    with pytest.raises(CredentialError) as caught:
        await found.exchange_code(started, f"/callback?code=code-canary&state={started.state}")
    text = caught.value.sentence()
    assert error in text and "canary" not in text and started.verifier not in text


async def test_without_pkce_where_a_manifest_says_so(hostile: Hostile, login: Make) -> None:
    hostile.json("/token", TOKEN)
    found = login(grant="authorization_code", pkce=False)
    started = found.authorize_url("http://127.0.0.1:1/callback")
    assert "code_challenge" not in started.url
    await found.exchange_code(started, f"/callback?code=c&state={started.state}")
    assert "code_verifier" not in hostile.seen[0].form


async def test_there_is_no_place_for_the_tokens(hostile: Hostile) -> None:
    found = open_login(context_of(connector(person()), {"base_url": hostile.url}))
    with pytest.raises(ConfigError):
        await found.save(TOKEN)
    await found.close()


# --- forms of answers --------------------------------------------------------------------------------------

CLIENT = {
    "type": "oauth2",
    "grant": "client_credentials",
    "token_url": "${profile.base_url}/token",
    "client_id": "client",
    "client_secret": "secret",
}


def driver_of(hostile: Hostile, auth: dict[str, Any], **changes: Any) -> HttpDriver:
    found = connector(auth, ("secret",), **changes)
    return HttpDriver(context_of(found, {"base_url": hostile.url}, {"secret": "client-canary"}))


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "bot", "user"])
async def test_names_of_bearer_tokens(hostile: Hostile, kind: str) -> None:
    hostile.json("/token", {**TOKEN, "token_type": kind})
    hostile.json("/items", PAGE)
    driver = driver_of(hostile, CLIENT)
    assert await read(driver) == [{"id": 1}]
    await driver.close()


@pytest.mark.parametrize("kind", ["mac", "DPoP", "pop", 7])
async def test_tokens_that_need_a_proof(hostile: Hostile, kind: Any) -> None:
    hostile.json("/token", {**TOKEN, "token_type": kind})
    driver = driver_of(hostile, CLIENT)
    with pytest.raises(SystemicError) as caught:
        await read(driver)
    assert caught.value.code == "token_type"
    await driver.close()


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("read write", []),
        ("read,write", []),
        (["read", "write"], []),
        ("read", ["write"]),
        (None, []),
        ("", []),
        (7, []),
    ],
)
async def test_scopes_as_servers_list_them(hostile: Hostile, granted: Any, missing: list[str]) -> None:
    hostile.json("/token", {**TOKEN, "scope": granted})
    hostile.json("/check", {})
    driver = driver_of(hostile, {**CLIENT, "scopes": ["read", "write"], "scope_separator": ","})
    notes = [item.detail for item in await driver.check() if item.id == "scopes"]
    assert len(notes) == len(missing) and all(name in notes[0] for name in missing)
    assert hostile.seen[0].form["scope"] == "read,write"
    await driver.close()


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (["read_orders", "write_orders"], "write_orders"),
        (["https://management.example.com/.default"], "https://management.example.com/user_impersonation"),
        (["read", "offline_access"], "read"),
    ],
)
async def test_scopes_that_another_one_stands_for(hostile: Hostile, asked: list[str], granted: str) -> None:
    hostile.json("/token", {**TOKEN, "scope": granted})
    hostile.json("/check", {})
    driver = driver_of(hostile, {**CLIENT, "scopes": asked})
    assert [item.id for item in await driver.check()] == ["alive"]
    await driver.close()


async def test_a_token_that_lies_deeper_and_another_header(hostile: Hostile) -> None:
    hostile.json("/token", {"ok": True, "access_token": "wrong", "inner": {"access_token": "deep-canary"}})
    hostile.json("/items", PAGE)
    auth = {**CLIENT, "token": "inner.access_token", "header": "X-Token", "prefix": ""}
    driver = driver_of(hostile, auth)
    await read(driver)
    assert hostile.seen[1].headers["x-token"] == "deep-canary"
    assert "authorization" not in hostile.seen[1].headers
    await driver.close()


@pytest.mark.parametrize(
    "body",
    [
        {"ok": False, "error": "invalid_client"},
        {"error": {"code": 401, "message": "no"}},
        {"error": "bad", "error_description": "client-canary is wrong"},
    ],
)
async def test_refusals_with_status_200(hostile: Hostile, body: dict[str, Any]) -> None:
    hostile.json("/token", body)
    driver = driver_of(hostile, CLIENT)
    with pytest.raises(CredentialError) as caught:
        await read(driver)
    assert "canary" not in caught.value.sentence() and len(hostile.seen) == 1
    await driver.close()


async def test_a_refresh_token_that_works_again_is_kept_nowhere(hostile: Hostile) -> None:
    """A run without any place to keep secrets can use it."""

    class Nowhere(MemoryTokens):
        async def save(self, tokens: Any) -> None:
            raise CredentialError("There is no place.")

    hostile.json("/token", TOKEN)
    hostile.json("/items", PAGE)
    auth = {
        "type": "oauth2",
        "grant": "refresh_token",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_secret": "secret",
        "refresh_token": "refresh",
    }
    secrets = {"secret": "client-canary", "refresh": "refresh-canary"}
    for rotates, fine in ((False, True), (True, False)):
        found = connector({**auth, "rotates": rotates}, tuple(secrets))
        driver = HttpDriver(context_of(found, {"base_url": hostile.url}, secrets, tokens=Nowhere()))
        if fine:
            assert await read(driver) == [{"id": 1}]
            assert hostile.seen[0].form["refresh_token"] == "refresh-canary"
        else:
            with pytest.raises(PlatintError):
                await read(driver)
        await driver.close()
