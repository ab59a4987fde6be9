"""OAuth as manifests describe it: the address that a browser opens, the code for tokens, a refresh that rotates."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from platforms.vendor import FOLDER, Asked, Reply, Vendor, running

from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.kept import MemoryTokens
from platint_tui.drivers.http.auth.login import open_login
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector
from tests.http.hostile import Hurried, Limits, Notes

REDIRECT = "http://127.0.0.1:7777/callback"


@dataclass(frozen=True)
class Case:
    """What differs between the platforms: the field of the sign-in address, paths, how the client says who it is, what
    the browser's address holds, and how an old token is refused.
    """

    platform: str
    web: str
    authorize: str
    token: str
    whoami: str
    answer: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    basic: bool = False
    pkce: bool = True
    method: str = "GET"
    extra: Mapping[str, str] = field(default_factory=dict)
    old: Reply = field(default_factory=lambda: Reply({"message": "Unauthorized"}, 401))


CASES = [
    Case(
        "github",
        "web_url",
        "/login/oauth/authorize",
        "/login/oauth/access_token",
        "/rate_limit",
        {"resources": {"core": {"limit": 5000}}},
        scope="repo read:org read:project",
    ),
    Case(
        "gitlab",
        "web_url",
        "/oauth/authorize",
        "/oauth/token",
        "/user",
        {"username": "ada"},
        scope="api read_api read_user",
    ),
    Case(
        "jira",
        "auth_url",
        "/authorize",
        "/oauth/token",
        "/rest/api/3/myself",
        {"displayName": "Ada"},
        {"site": "acme", "cloud_id": "11-22"},
        extra={"audience": "api.atlassian.com", "prompt": "consent"},
    ),
    Case(
        "slack",
        "web_url",
        "/oauth/v2/authorize",
        "/oauth.v2.access",
        "/auth.test",
        {"ok": True, "team": "Acme"},
        pkce=False,
        method="POST",
        old=Reply({"ok": False, "error": "token_expired"}),
    ),
    Case(
        "discord",
        "web_url",
        "/oauth2/authorize",
        "/api/oauth2/token",
        "/users/@me",
        {"username": "ada"},
        scope="identify guilds",
        basic=True,
    ),
]


class Issuer(Vendor):
    """Gives access and refresh tokens; each refresh token works once, and only the newest access token does."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.count = 0
        self.forms: list[dict[str, str]] = []
        self.on(f"POST {case.token}", self.grant)
        self.on(f"{case.method} {case.whoami}", self.whoami)

    def grant(self, asked: Asked) -> Reply:
        form = asked.form
        self.forms.append(form)
        client = base64.b64encode(b"client-1:s3cret-s3cret").decode()
        if self.case.basic:
            known = asked.headers.get("authorization") == f"Basic {client}" and "client_secret" not in form
        else:
            known = (form.get("client_id"), form.get("client_secret")) == ("client-1", "s3cret-s3cret")
        good = form.get("code") == "code-1" or form.get("refresh_token") == f"refresh-{self.count}-xxxx"
        if not known or not good:
            return Reply({"ok": False, "error": "invalid_grant"}, 400)
        self.count += 1
        tokens = {"access_token": f"access-{self.count}-xxxx", "refresh_token": f"refresh-{self.count}-xxxx"}
        return Reply({"ok": True, "token_type": "bearer", "expires_in": 3600, **tokens})

    def whoami(self, asked: Asked) -> Reply:
        newest = asked.headers.get("authorization") == f"Bearer access-{self.count}-xxxx"
        return Reply(self.case.answer) if newest else self.case.old


def context_of(case: Case, url: str, tokens: MemoryTokens, secret: str = "s3cret-s3cret") -> DriverContext:
    connector = load_connector(FOLDER / f"{case.platform}.yaml")
    secrets = {"client_secret": secret} if secret else {}
    fields = {**case.fields, "base_url": url, case.web: url, "client_id": "client-1"}
    checked = validate_fields(connector, fields, secrets=dict.fromkeys(secrets))
    origins = origins_of(connector, checked, secrets, "sandbox")
    profile = Profile("p", case.platform, Environment.SANDBOX, checked, {}, origins)
    held = {name: Secret(value) for name, value in secrets.items()}
    return DriverContext(connector, profile, held, Limits(), Notes(), Hurried(), tokens=tokens)


@pytest.mark.parametrize("case", CASES, ids=[case.platform for case in CASES])
async def test_a_person_signs_in_and_the_token_is_renewed(case: Case) -> None:
    issuer, tokens = Issuer(case), MemoryTokens()
    async with running(issuer):
        context = context_of(case, issuer.url, tokens)
        login = open_login(context)
        try:
            started = login.authorize_url(REDIRECT)
            parts = urlsplit(started.url)
            asked = dict(parse_qsl(parts.query))
            assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{issuer.url}{case.authorize}"
            assert asked["client_id"] == "client-1" and asked["redirect_uri"] == REDIRECT
            assert ("code_challenge" in asked) == case.pkce
            assert case.scope in ("", asked["scope"]) and case.extra.items() <= asked.items()
            answer = f"{REDIRECT}?code=code-1&state={asked['state']}"
            await login.save(await login.exchange_code(started, answer))
        finally:
            await login.close()
        assert issuer.forms[0]["grant_type"] == "authorization_code"
        assert ("code_verifier" in issuer.forms[0]) == case.pkce

        driver = HttpDriver(context)
        try:
            assert (await driver.check())[0].ok
            # The platform takes the token back before its time.
            await tokens.save({**dict(await tokens.load() or {}), "access_token": "access-0-old-old"})
        finally:
            await driver.close()
        driver = HttpDriver(context)
        try:
            assert (await driver.check())[0].ok
        finally:
            await driver.close()
        assert issuer.forms[-1]["grant_type"] == "refresh_token" and issuer.count == 2
        kept = dict(await tokens.load() or {})
        assert kept["refresh_token"] == "refresh-2-xxxx"


async def test_a_person_signs_in_at_github_with_a_code() -> None:
    """GitHub says with status 200 that nobody has entered the code yet; the client has no secret."""
    issuer, tokens = Issuer(CASES[0]), MemoryTokens()
    page = "https://github.com/login/device"
    device = {"device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": page}
    issuer.on("POST /login/device/code", {**device, "expires_in": 899, "interval": 5})
    polls = [{"error": "authorization_pending"}, {"error": "slow_down"}, {"access_token": "access-1-xxxx"}]

    def poll(asked: Asked) -> Any:
        issuer.forms.append(asked.form)
        issuer.count = 1
        return polls.pop(0)

    issuer.on("POST /login/oauth/access_token", poll)
    async with running(issuer):
        context = context_of(CASES[0], issuer.url, tokens, secret="")
        login = open_login(context)
        try:
            shown = await login.start_device()
            assert (shown.user_code, shown.verification_uri) == ("WDJB-MJHT", page)
            await login.save(await login.poll_device(shown))
        finally:
            await login.close()
        assert issuer.seen[0].form == {"client_id": "client-1", "scope": "repo read:org read:project"}
        assert issuer.forms[0]["device_code"] == "device-code-1" and "client_secret" not in issuer.forms[0]
        assert isinstance(context.clock, Hurried) and context.clock.slept == [5.0, 5.0, 10.0]
        driver = HttpDriver(context)
        try:
            assert (await driver.check())[0].ok
        finally:
            await driver.close()
