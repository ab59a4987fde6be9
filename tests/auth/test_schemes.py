"""The other ways to sign in, over a real connection: what is sent, what is learnt from refusals, what is not shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.drivers.http.driver import HttpDriver
from tests.auth.support import Open, Peers, connector, context_of, read, refused
from tests.http.hostile import Hostile, Seen, answer

KEY = str(json.loads(Path(__file__).with_name("vectors").joinpath("sdk.json").read_text())["jwt"]["key"])
PAGE = {"data": [{"id": 1}], "next": None}
CANARY = "canary-secret-0123456789"


# --- Azure -------------------------------------------------------------------------------------------------


async def test_azure_shared_key(open_: Open, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    auth = {"type": "azure_shared_key", "account": "account", "key": "key"}
    key = base64.b64encode(CANARY.encode()).decode()
    await read(open_(auth, {"key": key}, {"account": "acct"}))
    headers = hostile.seen[0].headers
    assert headers["authorization"].startswith("SharedKey acct:") and "x-ms-date" in headers


async def test_azure_sas_is_in_no_error(open_: Open, hostile: Hostile) -> None:
    signature = "c2lnbmF0dXJl-canary"
    hostile.json("/items", {"message": f"sig={signature} is wrong"}, status=403)
    auth = {"type": "azure_sas", "token": "key"}
    await refused(open_(auth, {"key": f"?sv=2022-11-02&sig={signature}"}))
    assert hostile.seen[0].query["sig"] == signature


async def test_servicebus(open_: Open, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    auth = {"type": "servicebus_sas", "key_name": "account", "key": "key"}
    await read(open_(auth, {"key": CANARY}, {"account": "Root"}))
    token = hostile.seen[0].headers["authorization"]
    assert token.startswith("SharedAccessSignature sr=http%3A%2F%2F127.0.0.1") and "skn=Root" in token


# --- OAuth 1.0a over plain http ----------------------------------------------------------------------------

OAUTH1 = {"type": "oauth1", "consumer_key": "key", "consumer_secret": "secret"}
PAIR = {"key": "ck_canary-key", "secret": "cs_canary-secret"}


async def test_oauth1(open_: Open, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    await read(open_(OAUTH1, PAIR))
    query = hostile.seen[0].query
    assert query["oauth_consumer_key"] == PAIR["key"] and query["oauth_signature_method"] == "HMAC-SHA256"
    assert "oauth_token" not in query and query["limit"] == "2"


async def test_plain_http_only_where_the_manifest_allows_it(open_: Open) -> None:
    elsewhere = {"base_url": "http://shop.example"}
    with pytest.raises(ConfigError):
        open_({"type": "basic", "username": "key", "password": "secret"}, PAIR, elsewhere)
    transport = {"plain_http": True, "allowed_hosts": []}
    open_(OAUTH1, PAIR, elsewhere, transport=transport)


# --- HTTP Basic with a crumb -------------------------------------------------------------------------------

CRUMB = {
    "type": "basic",
    "username": "account",
    "password": "key",
    "crumb": {"path": "/crumb", "name": "crumbRequestField", "value": "crumb"},
}


class Crumbs:
    """A server that wants a crumb, and the session that it belongs to, for whatever is no read."""

    def __init__(self, hostile: Hostile, *, status: int = 200) -> None:
        self.issued = 0
        self.status = status
        hostile.routes["/crumb"] = self.issue
        hostile.routes["/make"] = self.make
        hostile.json("/items", PAGE)

    def issue(self, seen: Seen, writer: Any) -> None:
        self.issued += 1
        body = {"crumbRequestField": "Jenkins-Crumb", "crumb": f"crumb-canary-{self.issued}"}
        cookie = {"Set-Cookie": f"JSESSIONID=session-canary-{self.issued}; Path=/; HttpOnly"}
        writer.write(answer(self.status, body, cookie))

    def make(self, seen: Seen, writer: Any) -> None:
        good = (
            seen.headers.get("jenkins-crumb") == f"crumb-canary-{self.issued}"
            and seen.headers.get("cookie") == f"JSESSIONID=session-canary-{self.issued}"
        )
        writer.write(
            answer(201, {"id": 1}) if good else answer(403, {"message": "No valid crumb was included"})
        )


async def send(driver: HttpDriver, hostile: Hostile, method: str = "POST") -> Any:
    """One write, as the caller sends it."""
    from platint_tui.drivers.http.calls import Outgoing

    out = Outgoing(method, f"{hostile.url}/make", {"content-type": "application/json"}, b"{}", safe=False)
    return await driver._session.caller.call("write", "write", out)


async def test_crumb_only_for_writes(open_: Open, hostile: Hostile) -> None:
    crumbs = Crumbs(hostile)
    driver = open_(CRUMB, {"key": CANARY}, {"account": "me"})
    await read(driver)
    assert crumbs.issued == 0
    assert (await send(driver, hostile)).verdict is None and (await send(driver, hostile)).verdict is None
    assert crumbs.issued == 1
    header = "Basic " + base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert {seen.headers["authorization"] for seen in hostile.seen} == {header}


async def test_crumb_whose_session_has_ended(open_: Open, hostile: Hostile) -> None:
    crumbs = Crumbs(hostile)
    driver = open_(CRUMB, {"key": CANARY}, {"account": "me"})
    await send(driver, hostile)
    crumbs.issued += 1  # whatever was given out before is out of date
    assert (await send(driver, hostile)).verdict is None
    assert crumbs.issued == 3


async def test_crumb_that_the_server_does_not_want(open_: Open, hostile: Hostile) -> None:
    hostile.json("/make", {"id": 1}, status=201)
    driver = open_(CRUMB, {"key": CANARY}, {"account": "me"})
    assert (await send(driver, hostile)).verdict is None
    assert [seen.path for seen in hostile.seen] == ["/crumb", "/make"]
    assert "cookie" not in hostile.seen[1].headers


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401, {}), CredentialError),
        (answer(500, {}), TransientError),
        (answer(200, {}), SystemicError),
        (answer(200, b"<html>", {"Content-Type": "text/html"}), SystemicError),
    ],
)
async def test_crumb_that_cannot_be_had(
    open_: Open, hostile: Hostile, reply: bytes, kind: type[PlatintError]
) -> None:
    hostile.routes["/crumb"] = lambda seen, writer: writer.write(reply)
    driver = open_(CRUMB, {"key": CANARY}, {"account": "me"})
    with pytest.raises(kind) as caught:
        await send(driver, hostile)
    assert "canary" not in str(caught.value)
    assert "/make" not in [seen.path for seen in hostile.seen]


# --- assertions --------------------------------------------------------------------------------------------

APP = {
    "type": "jwt_exchange",
    "assertion": {"key": "key", "issuer": "${profile.client}", "ttl": "9m", "backdate": "60s"},
    "path": "/app/installations/${profile.account}/access_tokens",
    "expires": "expires_at",
}


def installation(hostile: Hostile, minutes: float = 60) -> None:
    end = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    count = iter(range(1, 100))

    def issue(seen: Seen, writer: Any) -> None:
        writer.write(answer(201, {"token": f"token-canary-{next(count)}", "expires_at": end}))

    hostile.routes["/app/installations/77/access_tokens"] = issue


async def test_an_app_exchanges_its_assertion(open_: Open, hostile: Hostile) -> None:
    installation(hostile)
    hostile.json("/items", PAGE)
    peers = Peers()
    driver = open_(APP, {"key": KEY}, {"account": "77"}, peers)
    await read(driver)
    await read(driver)
    assert [seen.method for seen in hostile.seen] == ["POST", "GET", "GET"]
    assert hostile.seen[2].headers["authorization"] == "Bearer token-canary-1"
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    given = hostile.seen[0].headers["authorization"].removeprefix("Bearer ")
    assert jwt.decode(given, RSAKey.import_key(KEY), algorithms=["RS256"]).claims["iss"] == "client-1"
    peers.clock.skip = 3599
    await read(driver)
    assert [seen.method for seen in hostile.seen[3:]] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("reply", "kind", "word"),
    [
        (
            answer(401, {"message": "A JSON web token could not be decoded"}),
            CredentialError,
            "could not be decoded",
        ),
        (answer(404, {"message": "Not Found"}), CredentialError, "404"),
        (answer(201, {"token": "canary", "expires_at": "soon"}), SystemicError, "when the token ends"),
        (answer(201, {"expires_at": "2030-01-01T00:00:00Z"}), SystemicError, "no usable access token"),
        (answer(502, {}), TransientError, "502"),
    ],
)
async def test_an_exchange_that_is_refused(
    open_: Open, hostile: Hostile, reply: bytes, kind: type[PlatintError], word: str
) -> None:
    hostile.routes["/app/installations/77/access_tokens"] = lambda seen, writer: writer.write(reply)
    error = await refused(open_(APP, {"key": KEY}, {"account": "77"}))
    assert isinstance(error, kind) and word in error.message


BEARER = {
    "type": "oauth2",
    "grant": "jwt_bearer",
    "token_url": "${profile.base_url}/token",
    "assertion": {"key": "key", "issuer": "${profile.client}", "subject": "me@example.com", "ttl": "3m"},
    "base_url_from": "instance_url",
}


async def test_jwt_bearer_and_the_address_of_the_answer(open_: Open, hostile: Hostile) -> None:
    named = {"access_token": "jwt-canary-token", "instance_url": f"{hostile.url}/there"}
    hostile.json("/token", named)
    hostile.json("/there/items", PAGE)
    driver = open_(BEARER, {"key": KEY})
    assert await read(driver) == [{"id": 1}]
    form = hostile.seen[0].form
    assert (
        form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        and form["assertion"].count(".") == 2
    )
    assert "client_id" not in form


@pytest.mark.parametrize("url", ["https://evil.example", "http://127.0.0.1:1", "javascript:alert(1)"])
async def test_an_address_of_the_answer_that_is_not_the_platforms(
    open_: Open, hostile: Hostile, url: str
) -> None:
    hostile.json("/token", {"access_token": "jwt-canary-token", "instance_url": url})
    await refused(open_(BEARER, {"key": KEY}))
    assert [seen.path for seen in hostile.seen] == ["/token"]


# --- which way ---------------------------------------------------------------------------------------------

WAYS = {
    "type": "first_of",
    "of": [
        {"auth": {"type": "bearer", "secret": "key", "label": "API token"}},
        {"auth": {"type": "basic", "username": "account", "password": "secret", "label": "Password"}},
    ],
}


async def test_the_first_way_that_the_profile_has(hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    found = connector(WAYS, ("key", "secret"))
    for secrets, fields, start in (
        ({"key": CANARY}, {}, "Bearer"),
        ({"secret": CANARY}, {"account": "me"}, "Basic"),
        ({"key": CANARY, "secret": CANARY}, {"account": "me"}, "Bearer"),
    ):
        driver = HttpDriver(context_of(found, {"base_url": hostile.url, **fields}, secrets))
        await read(driver)
        await driver.close()
        assert hostile.seen[-1].headers["authorization"].startswith(start)
    with pytest.raises(ConfigError) as caught:
        HttpDriver(context_of(found, {"base_url": hostile.url}, {}))
    assert "API token" in caught.value.hint and "Password" in caught.value.hint


async def test_an_endpoint_with_its_own_auth(hostile: Hostile) -> None:
    found = connector(
        {"type": "bearer", "secret": "key"},
        ("key",),
        transport={
            "endpoints": {
                "open": {"base_url": "${profile.base_url}", "auth": {"type": "none"}},
                "same": {"base_url": "${profile.base_url}"},
            }
        },
        check=[
            {"id": name or "own", "request": {"path": "/check", **({"endpoint": name} if name else {})}}
            for name in ("", "open", "same")
        ],
    )
    hostile.json("/check", {})
    driver = HttpDriver(context_of(found, {"base_url": hostile.url}, {"key": CANARY}))
    assert all(item.ok for item in await driver.check())
    await driver.close()
    assert [seen.headers.get("authorization") for seen in hostile.seen] == [
        f"Bearer {CANARY}",
        None,
        f"Bearer {CANARY}",
    ]
