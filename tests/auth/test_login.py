"""A person signs in at a strict OAuth server of another maker: in the browser, and with a code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from peers.oidc import CLIENT_SECRET, Browser, OidcProvider

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.drivers.http.auth.kept import MemoryTokens
from platint_tui.drivers.http.auth.login import Login, Started, open_login
from platint_tui.drivers.http.auth.loopback import Listener, listening
from platint_tui.drivers.http.driver import HttpDriver
from tests.auth.support import connector, context_of, read
from tests.http.hostile import Whole

ME = Whole(
    {
        "items": {
            "key": ["sub"],
            "read": {"request": {"path": "/me"}, "single": True, "records": "", "page": {"type": "none"}},
        }
    }
)
Make = Callable[..., Login]


def person(grant: str = "authorization_code", **changes: Any) -> dict[str, Any]:
    """A sign-in at the provider."""
    return {
        "type": "oauth2",
        "grant": grant,
        "authorize_url": "${profile.base_url}/auth",
        "device_url": "${profile.base_url}/device/auth",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_auth": "none",
        "scopes": ["openid", "offline_access"],
        "authorize_params": {"prompt": "consent"},
        "rotates": True,
        **changes,
    }


def profile_of(
    oidc: OidcProvider, auth: dict[str, Any], client: str = "tui", tokens: MemoryTokens | None = None
) -> Any:
    secrets = ("secret",) if "client_secret" in auth else ()
    return context_of(
        connector(auth, secrets, resources=ME),
        {"base_url": oidc.url, "client": client},
        {"secret": CLIENT_SECRET} if secrets else {},
        tokens=tokens or MemoryTokens(),
    )


@pytest.fixture
async def login(oidc: OidcProvider) -> AsyncIterator[Make]:
    made: list[Login] = []

    def make(
        auth: dict[str, Any] | None = None, client: str = "tui", tokens: MemoryTokens | None = None
    ) -> Login:
        made.append(open_login(profile_of(oidc, auth or person(), client, tokens)))
        return made[-1]

    yield make
    for item in made:
        await item.close()


async def browse(url: str, *, deny: bool = False) -> httpx.Response:
    """What the person sees at the end."""
    browser = Browser(deny=deny)
    try:
        return await asyncio.to_thread(browser.open, url)
    finally:
        browser.close()


async def in_the_browser(found: Login, *, deny: bool = False) -> tuple[Started, str, httpx.Response]:
    """A sign-in as far as the answer in the listener."""
    async with listening() as listener:
        started = found.authorize_url(listener.uri)
        page, answer = await asyncio.gather(
            browse(started.url, deny=deny), listener.answer(started.state, 20)
        )
    return started, answer, page


async def test_code_with_pkce(oidc: OidcProvider, login: Make) -> None:
    store = MemoryTokens()
    found = login(tokens=store)
    started, answer, page = await in_the_browser(found)
    assert page.status_code == 200 and "close this page" in page.text
    tokens = await found.exchange_code(started, answer)
    await found.save(tokens)
    assert {"access_token", "refresh_token", "expires_at", "scope"} <= set(tokens)
    assert found.missing_scopes(tokens) == []
    driver = HttpDriver(profile_of(oidc, person(), tokens=store))
    assert await read(driver) == [{"sub": "alice"}]
    await driver.close()


async def test_a_client_with_a_secret(oidc: OidcProvider, login: Make) -> None:
    found = login(person(client_auth="basic", client_secret="secret"), "web")
    started, answer, _ = await in_the_browser(found)
    assert (await found.exchange_code(started, answer))["access_token"]


async def test_a_code_is_worth_nothing_without_its_verifier(login: Make) -> None:
    found = login()
    started, answer, _ = await in_the_browser(found)
    other = found.authorize_url(started.redirect_uri)
    stolen = Started(started.url, started.state, started.redirect_uri, other.verifier)
    with pytest.raises(CredentialError) as caught:
        await found.exchange_code(stolen, answer)
    assert "invalid_grant" in caught.value.message


async def test_a_wrong_state_sends_nothing(oidc: OidcProvider, login: Make) -> None:
    found = login()
    _, answer, _ = await in_the_browser(found)
    other = found.authorize_url("http://127.0.0.1:1/callback")
    before = len(oidc.seen())
    with pytest.raises(CredentialError) as caught:
        await found.exchange_code(other, answer)
    assert caught.value.code == "login_state" and len(oidc.seen()) == before


@pytest.mark.parametrize("issuer", ["https://evil.example", "http://127.0.0.1:1", "", "nonsense"])
async def test_a_wrong_issuer_sends_nothing(oidc: OidcProvider, login: Make, issuer: str) -> None:
    """RFC 9207: the provider names itself, and the answer of another one is not taken."""
    found = login()
    started, answer, _ = await in_the_browser(found)
    assert "iss=" in answer
    head = answer.partition("&iss=")[0]
    before = len(oidc.seen())
    with pytest.raises(CredentialError) as caught:
        await found.exchange_code(started, f"{head}&iss={issuer}")
    assert caught.value.code == "login_iss" and len(oidc.seen()) == before


async def test_denied_in_the_browser(login: Make) -> None:
    found = login()
    started, answer, page = await in_the_browser(found, deny=True)
    assert "did not give access" in page.text
    with pytest.raises(CredentialError) as caught:
        await found.exchange_code(started, answer)
    assert "refused in the browser" in caught.value.message and caught.value.code == "login_access_denied"


async def test_an_answer_without_a_code(login: Make) -> None:
    found = login()
    started = found.authorize_url("http://127.0.0.1:1/callback")
    with pytest.raises(CredentialError):
        await found.exchange_code(started, f"/callback?state={started.state}")


async def test_nobody_answers(login: Make) -> None:
    found = login()
    async with listening() as listener:
        started = found.authorize_url(listener.uri)
        with pytest.raises(CredentialError) as caught:
            await listener.answer(started.state, 0.05)
    assert caught.value.code == "login_timeout" and started.state not in caught.value.sentence()


async def test_what_a_sign_in_shows_of_itself(login: Make) -> None:
    found = login()
    started = found.authorize_url("http://127.0.0.1:1/callback")
    assert started.verifier not in repr(started) and started.verifier not in started.url
    assert "code_challenge_method=S256" in started.url


async def test_a_profile_that_signs_in_by_itself() -> None:
    found = connector({"type": "bearer", "secret": "key"}, ("key",))
    with pytest.raises(ConfigError) as caught:
        open_login(context_of(found, {"base_url": "http://127.0.0.1:1"}, {"key": "canary"}))
    assert caught.value.code == "no_login"


# --- the listener ------------------------------------------------------------------------------------------


async def ask(listener: Listener, target: str, *, host: str = "", method: str = "GET") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{listener.port}'}\r\n\r\n".encode()
    )
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("//[x?code=canary", {}),
        ("/callback?" + "a=1&" * 200 + "code=canary&state=right", {}),
        ("/", {}),
        ("/favicon.ico", {}),
        ("/callback", {}),
        ("/callback?code=canary&state=right", {"host": "evil.example"}),
        ("/callback?code=canary&state=right", {"method": "POST"}),
        ("/callback?code=canary&state=wrong", {}),
        ("/callback?code=canary", {}),
    ],
)
async def test_the_listener_takes_no_other_answer(target: str, changes: dict[str, str]) -> None:
    async with listening() as listener:
        waiting = asyncio.create_task(listener.answer("right", 20))
        await asyncio.sleep(0)
        page = await ask(listener, target, **changes)
        assert not page.startswith(b"HTTP/1.1 200") and b"canary" not in page
        good = await ask(listener, "/callback?code=canary-code&state=right")
        assert good.startswith(b"HTTP/1.1 200") and b"canary" not in good
        assert await waiting == "/callback?code=canary-code&state=right"


async def test_a_listener_is_not_held_up_by_a_silent_one() -> None:
    async with listening() as listener:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await ask(listener, "/callback?code=c&state=s")
        assert await listener.answer("s", 20)
        writer.close()


async def test_a_port_that_is_taken() -> None:
    async with listening() as listener:
        with pytest.raises(ConfigError) as caught:
            async with listening(listener.port):
                pass
    assert caught.value.code == "redirect_port"


async def test_the_port_that_a_platform_has_on_record(login: Make) -> None:
    auth = person()
    made = context_of(connector(auth), {"base_url": "http://127.0.0.1:1", "redirect_port": "18999"})
    found = open_login(made)
    assert found.redirect_port == 18999 and login().redirect_port == 0
    await found.close()


# --- device code -------------------------------------------------------------------------------------------


async def test_device_code(oidc: OidcProvider, login: Make) -> None:
    store = MemoryTokens()
    found = login(person("device_code"), tokens=store)
    device = await found.start_device()
    assert device.user_code and device.verification_uri.startswith(oidc.url)
    told: list[float] = []

    def approve(left: float) -> None:
        told.append(left)
        if len(told) == 3:
            assert device.verification_uri_complete
            browser = Browser()
            browser.open(device.verification_uri_complete)
            browser.close()

    tokens = await found.poll_device(device, approve)
    assert tokens["refresh_token"] and len(told) >= 3
    pending = [item["status"] for item in oidc.seen() if "device_code" in str(item["grant"])]
    assert pending[:2] == [400, 400] and pending[-1] == 200
    await found.save(tokens)
    driver = HttpDriver(profile_of(oidc, person("device_code"), tokens=store))
    assert await read(driver) == [{"sub": "alice"}]
    await driver.close()


async def test_device_code_denied(login: Make) -> None:
    found = login(person("device_code"))
    device = await found.start_device()
    assert device.verification_uri_complete
    await browse(device.verification_uri_complete, deny=True)
    with pytest.raises(CredentialError) as caught:
        await found.poll_device(device)
    assert "refused on the other device" in caught.value.message


async def test_device_code_too_late(login: Make) -> None:
    """The codes of this client live one second; the server says so."""
    found = login(person("device_code"), "brief")
    device = await found.start_device()
    with pytest.raises(CredentialError) as caught:
        await asyncio.wait_for(found.poll_device(device), 20)
    assert caught.value.code == "login_expired_token"
    assert device.device_code.reveal() not in caught.value.sentence() + repr(device)
