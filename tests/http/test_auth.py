"""Credentials (E): sent where they belong, renewed once, never shown."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError, TransientError
from tests.http.hostile import SECRET, Build, Hostile, Rig, Seen, Whole, answer

PAGE = {"data": [{"id": 1}], "next": None}


def oauth(**changes: Any) -> dict[str, Any]:
    """Client credentials at the hostile server."""
    auth = {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_secret": "key",
        "expiry_margin": "10s",
        **changes,
    }
    return {"auth": Whole(auth)}


class Issuer:
    """A token endpoint and an API that knows which tokens are good."""

    def __init__(self, hostile: Hostile, **token: Any) -> None:
        self.token = token
        self.issued = 0
        self.good: set[str] = set()
        hostile.routes["/token"] = self.issue
        hostile.routes["/items"] = self.items

    def issue(self, seen: Seen, writer: Any) -> None:
        self.issued += 1
        name = f"token-{self.issued}-canary"
        self.good = {f"Bearer {name}"}
        writer.write(answer(200, {"access_token": name, "token_type": "Bearer", **self.token}))

    def items(self, seen: Seen, writer: Any) -> None:
        good = seen.headers.get("authorization") in self.good
        writer.write(answer(200, PAGE) if good else answer(401, {"error": "invalid_token"}))


async def refused(rig: Rig) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    assert SECRET not in caught.value.sentence()
    return caught.value


# --- static credentials ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "bearer", "secret": "key"}, "authorization", f"Bearer {SECRET}"),
        ({"type": "api_key", "secret": "key", "in": "header", "name": "X-Key"}, "x-key", SECRET),
        (
            {"type": "api_key", "secret": "key", "in": "header", "name": "Authorization", "prefix": "Token "},
            "authorization",
            f"Token {SECRET}",
        ),
        (
            {"type": "basic", "username": "client", "password": "key"},
            "authorization",
            "Basic " + base64.b64encode(f"client-1:{SECRET}".encode()).decode(),
        ),
    ],
)
async def test_credentials_in_headers(
    build: Build, hostile: Hostile, auth: dict[str, Any], header: str, value: str
) -> None:
    hostile.json("/items", PAGE)
    await build({"auth": Whole(auth)}, fields={"client": "client-1"}).read()
    assert hostile.seen[0].headers[header] == value


async def test_credential_in_the_query_is_encoded(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    auth = Whole({"type": "api_key", "secret": "key", "in": "query", "name": "api key"})
    await build({"auth": auth}, secret="a&b=c d/é-canary").read()
    assert hostile.seen[0].query == {"limit": "2", "api key": "a&b=c d/é-canary"}


async def test_no_credential_where_none_is_asked_for(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    fields = [{"id": "base_url", "type": "url", "required": True}]
    await build({"auth": Whole({"type": "none"}), "profile": {"fields": fields}}).read()
    assert "authorization" not in hostile.seen[0].headers


@pytest.mark.parametrize("secret", ["line\nbreak-canary", "tab\tcanary", "ünïcödé-canary", "nul\0canary"])
async def test_a_secret_that_no_header_can_carry(build: Build, secret: str) -> None:
    with pytest.raises(CredentialError) as caught:
        build(secret=secret)
    assert secret not in caught.value.sentence()


async def test_a_missing_secret_names_the_command(build: Build) -> None:
    with pytest.raises(CredentialError) as caught:
        build(secret="")
    assert "no key" in caught.value.message and "profiles edit p" in caught.value.hint


async def test_E2_a_refused_key_is_not_tried_again(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": f"bad key {SECRET}"}, status=401)
    error = await refused(build())
    assert isinstance(error, CredentialError) and "•••" in error.message
    assert len(hostile.seen) == 1


# --- OAuth 2 client credentials --------------------------------------------------------------------------


async def test_a_token_is_fetched_once_with_basic(build: Build, hostile: Hostile) -> None:
    issuer = Issuer(hostile, expires_in=3600)
    rig = build(oauth(scopes=["read", "write"]), fields={"client": "client-1"})
    await rig.read()
    await rig.read()
    request = hostile.seen[0]
    assert issuer.issued == 1
    assert request.form == {"grant_type": "client_credentials", "scope": "read write"}
    assert (
        base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        == f"client-1:{SECRET}"
    )
    assert ("token", True) in rig.notes.seen


async def test_a_token_is_fetched_with_the_secret_in_the_body(build: Build, hostile: Hostile) -> None:
    Issuer(hostile)
    await build(oauth(client_auth="body"), fields={"client": "client-1"}).read()
    form = hostile.seen[0].form
    assert form["client_id"] == "client-1" and form["client_secret"] == SECRET
    assert "authorization" not in hostile.seen[0].headers


async def test_E1_an_expiring_token_is_renewed_before_its_end(build: Build, hostile: Hostile) -> None:
    issuer = Issuer(hostile, expires_in=60)
    rig = build(oauth())
    await rig.read()
    rig.clock.skip = 49
    await rig.read()
    assert issuer.issued == 1
    rig.clock.skip = 51
    await rig.read()
    assert issuer.issued == 2


async def test_a_token_that_lives_shorter_than_the_margin_is_still_used(
    build: Build, hostile: Hostile
) -> None:
    issuer = Issuer(hostile, expires_in=5)
    rig = build(oauth())
    await rig.read()
    await rig.read()
    assert issuer.issued == 1


async def test_E2_revoked_tokens_are_renewed_once(build: Build, hostile: Hostile) -> None:
    issuer = Issuer(hostile, expires_in=3600)
    rig = build(oauth())
    await rig.read()
    issuer.good.clear()
    await rig.read()
    assert issuer.issued == 2


async def test_E2_a_second_refusal_is_final(build: Build, hostile: Hostile) -> None:
    Issuer(hostile)
    hostile.json("/items", {"error": "invalid_token"}, status=401)
    error = await refused(build(oauth()))
    assert isinstance(error, CredentialError)
    assert [seen.path for seen in hostile.seen] == ["/token", "/items", "/token", "/items"]


async def test_E5_many_tasks_make_one_token_request(build: Build, hostile: Hostile) -> None:
    issuer = Issuer(hostile, expires_in=3600)
    rig = build(oauth())

    async def read() -> int:
        return sum([len(page.records) async for page in rig.driver.read("items", None)])

    assert await asyncio.gather(*[read() for _ in range(20)]) == [1] * 20
    assert issuer.issued == 1
    issuer.good.clear()
    assert await asyncio.gather(*[read() for _ in range(20)]) == [1] * 20
    assert issuer.issued == 2


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_E3_a_refused_client(build: Build, hostile: Hostile, status: int) -> None:
    hostile.json(
        "/token", {"error": "invalid_client", "error_description": "no\x1b[31m such client"}, status=status
    )
    error = await refused(build(oauth()))
    assert isinstance(error, CredentialError) and "invalid_client" in error.message
    assert "\x1b" not in error.message and len(hostile.seen) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(200, b"<html>login</html>", {"Content-Type": "text/html"}), SystemicError),
        (answer(200, b"<html>login</html>"), SystemicError),
        (answer(200, b"{}"), SystemicError),
        (answer(200, b"[]"), SystemicError),
        (answer(200, b""), SystemicError),
        (answer(200, b'{"access_token": 7}'), SystemicError),
        (answer(200, b'{"access_token": "a\\nb"}'), SystemicError),
        (answer(500, {"error": "oops"}), TransientError),
        (answer(302, b"", {"Location": "https://evil.example/"}), SystemicError),
    ],
)
async def test_E19_a_token_endpoint_that_talks_nonsense(
    build: Build, hostile: Hostile, reply: bytes, kind: type[PlatintError]
) -> None:
    hostile.routes["/token"] = lambda seen, writer: writer.write(reply)
    assert isinstance(await refused(build(oauth())), kind)
    assert "/items" not in [seen.path for seen in hostile.seen]


async def test_E19_a_slow_token_endpoint(build: Build, hostile: Hostile) -> None:
    async def handle(seen: Seen, writer: Any) -> None:
        await asyncio.sleep(3600)

    hostile.routes["/token"] = handle
    error = await refused(build({**oauth(), "transport": {"timeout": {"read": "50ms"}}}))
    assert isinstance(error, TransientError) and len(hostile.seen) == 3


async def test_E20_a_token_endpoint_without_tls(build: Build) -> None:
    with pytest.raises(ConfigError):
        build(oauth(token_url="http://api.example.com/token"))


async def test_E20_the_token_endpoint_of_the_manifest_is_spoken_to(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    Issuer(other)
    hostile.json("/items", PAGE)
    await build(oauth(token_url=f"{other.url}/token")).read()
    assert [seen.path for seen in other.seen] == ["/token"]
    assert [seen.path for seen in hostile.seen] == ["/items"]


async def test_E20_a_token_endpoint_that_the_credential_was_not_entered_for(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(oauth(token_url=f"{other.url}/token"), origins=(hostile.url,))
    assert caught.value.code == "origin" and other.seen == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_E20_a_token_endpoint_that_leads_elsewhere(
    build: Build, hostile: Hostile, other: Hostile, status: int
) -> None:
    target = {"Location": f"{other.url}/token"}
    hostile.routes["/token"] = lambda seen, writer: writer.write(answer(status, b"", target))
    assert isinstance(await refused(build(oauth())), SystemicError)
    assert other.seen == [] and "/items" not in [seen.path for seen in hostile.seen]


@pytest.mark.parametrize("lifetime", [None, -1, 0, "soon", "-5", True, 1e18, [1], "nan", "inf"])
async def test_E22_odd_lifetimes_mean_until_refused(build: Build, hostile: Hostile, lifetime: Any) -> None:
    issuer = Issuer(hostile, expires_in=lifetime)
    rig = build(oauth())
    await rig.read()
    rig.clock.skip = 10_000_000
    await rig.read()
    assert issuer.issued == 1


async def test_E22_a_lifetime_as_text(build: Build, hostile: Hostile) -> None:
    issuer = Issuer(hostile, expires_in="60")
    rig = build(oauth())
    await rig.read()
    rig.clock.skip = 55
    await rig.read()
    assert issuer.issued == 2


async def test_E22_another_token_type_is_refused(build: Build, hostile: Hostile) -> None:
    Issuer(hostile, token_type="mac")
    assert (await refused(build(oauth()))).code == "token_type"


async def test_E22_reduced_scopes_are_reported(build: Build, hostile: Hostile) -> None:
    Issuer(hostile, scope="read")
    hostile.json("/check", {})
    found = await build(oauth(scopes=["read", "write"])).driver.check()
    assert [item.id for item in found] == ["alive", "scopes"]
    assert "write is missing" in found[1].detail and not found[1].ok and found[1].optional


async def test_N4_tokens_do_not_show(build: Build, hostile: Hostile) -> None:
    Issuer(hostile)
    rig = build(oauth())
    await rig.read()
    hostile.json("/items", {"message": "you sent token-1-canary"}, status=400)
    error = await refused(rig)
    assert "token-1-canary" not in error.sentence() and "•••" in error.message


# --- probes ------------------------------------------------------------------------------------------------


async def test_probes_tell_what_works(build: Build, hostile: Hostile) -> None:
    checks = [
        {"id": "alive", "request": {"path": "/check"}},
        {"id": "extra", "request": {"path": "/extra"}, "optional": True},
        {"id": "must", "request": {"path": "/must"}},
        {"id": "late", "request": {"path": "/late"}},
    ]
    hostile.json("/check", {})
    hostile.json("/extra", {"message": "not in your plan"}, status=403)
    hostile.json("/must", {"message": "nope"}, status=403)
    found = await build({"check": checks}).driver.check()
    assert [(item.id, item.ok) for item in found] == [
        ("alive", True),
        ("extra", False),
        ("must", False),
        ("late", False),
    ]
    assert "not in your plan" in found[1].detail and found[0].latency_ms is not None
    assert [seen.path for seen in hostile.seen] == ["/check", "/extra", "/must"]


async def test_a_probe_of_an_unreachable_host_is_an_outcome(build: Build) -> None:
    found = await build(base_url="http://127.0.0.1:1").driver.check()
    assert not found[0].ok and "refuses the connection" in found[0].detail


async def test_a_probe_survives_a_hiccup(build: Build, hostile: Hostile) -> None:
    replies = [answer(500, {}), answer(429, {}, {"Retry-After": "1"}), answer(200, {})]
    hostile.routes["/check"] = lambda seen, writer: writer.write(replies.pop(0))
    rig = build()
    assert (await rig.driver.check())[0].ok and rig.limits.blocked == []
