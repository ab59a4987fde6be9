"""A person signs in at HubSpot, Salesforce and Shopify, and the token that ends is renewed."""

from __future__ import annotations

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
    """What a platform has of its own; `addresses` are the profile fields that the server's address goes into."""

    platform: str
    addresses: tuple[str, ...]
    authorize: str
    token: str
    whoami: str
    answer: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    pkce: bool = False
    rotates: bool = False
    header: str = "authorization"
    prefix: str = "Bearer "
    form: Mapping[str, str] = field(default_factory=dict)


CASES = [
    Case(
        "hubspot",
        ("base_url", "login_url"),
        "/oauth/authorize",
        "/oauth/v1/token",
        "GET /account-info/v3/details",
        {"portalId": 123},
        scope="oauth crm.objects.contacts.read",
    ),
    Case(
        "salesforce",
        ("login_url",),
        "/services/oauth2/authorize",
        "/services/oauth2/token",
        "GET /services/oauth2/userinfo",
        {"preferred_username": "ada@example.com"},
        scope="api refresh_token",
        pkce=True,
    ),
    Case(
        "shopify",
        ("base_url",),
        "/admin/oauth/authorize",
        "/admin/oauth/access_token",
        "POST /admin/api/2026-10/graphql.json",
        {"data": {"shop": {"id": "gid://shopify/Shop/1", "name": "Example"}}},
        {"shop": "example", "sign_in": "browser"},
        scope="read_orders,write_orders",
        rotates=True,
        header="x-shopify-access-token",
        prefix="",
        form={"expiring": "1"},
    ),
]


class Issuer(Vendor):
    """Gives tokens for a code and for the refresh token, of which a rotating one works once."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.count = 0
        self.forms: list[dict[str, str]] = []
        self.on(f"POST {case.token}", self.grant)
        self.on(case.whoami, self.whoami)

    def grant(self, asked: Asked) -> Reply:
        form = asked.form
        self.forms.append(form)
        refresh = f"refresh-{self.count if self.case.rotates else 1}-xxxx"
        known = (form.get("client_id"), form.get("client_secret")) == ("client-1", "s3cret-s3cret")
        if not known or not (form.get("code") == "code-1" or form.get("refresh_token") == refresh):
            return Reply({"error": "invalid_grant"}, 400)
        self.count += 1
        answer: dict[str, Any] = {"access_token": f"access-{self.count}-xxxx", "token_type": "bearer"}
        if self.count == 1 or self.case.rotates:
            answer["refresh_token"] = f"refresh-{self.count}-xxxx"
        if self.case.platform == "salesforce":
            answer["instance_url"] = self.url
        else:
            answer["expires_in"] = 1800
        return Reply(answer)

    def whoami(self, asked: Asked) -> Reply:
        newest = asked.headers.get(self.case.header) == f"{self.case.prefix}access-{self.count}-xxxx"
        return Reply(self.case.answer) if newest else Reply({"message": "expired"}, 401)


@pytest.mark.parametrize("case", CASES, ids=[case.platform for case in CASES])
async def test_a_person_signs_in_and_the_token_is_renewed(case: Case) -> None:
    issuer, tokens = Issuer(case), MemoryTokens()
    async with running(issuer):
        connector = load_connector(FOLDER / f"{case.platform}.yaml")
        fields = {**case.fields, **dict.fromkeys(case.addresses, issuer.url), "client_id": "client-1"}
        secrets = {"client_secret": Secret("s3cret-s3cret")}
        checked = validate_fields(connector, fields, secrets=dict.fromkeys(secrets))
        origins = origins_of(connector, checked, secrets, "sandbox")
        profile = Profile("p", case.platform, Environment.SANDBOX, checked, {}, origins)
        context = DriverContext(connector, profile, secrets, Limits(), Notes(), Hurried(), tokens=tokens)
        login = open_login(context)
        try:
            started = login.authorize_url(REDIRECT)
            parts = urlsplit(started.url)
            asked = dict(parse_qsl(parts.query))
            assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{issuer.url}{case.authorize}"
            assert asked["client_id"] == "client-1" and asked["scope"].startswith(case.scope)
            assert ("code_challenge" in asked) == case.pkce
            answer = f"{REDIRECT}?code=code-1&state={asked['state']}"
            await login.save(await login.exchange_code(started, answer))
        finally:
            await login.close()
        assert issuer.forms[0]["grant_type"] == "authorization_code"
        assert case.form.items() <= issuer.forms[0].items()

        # The platform takes the token back before its time.
        await tokens.save({**dict(await tokens.load() or {}), "access_token": "access-0-old-old"})
        driver = HttpDriver(context)
        try:
            assert (await driver.check())[0].ok
        finally:
            await driver.close()
        assert issuer.forms[-1]["grant_type"] == "refresh_token" and issuer.count == 2
        kept = dict(await tokens.load() or {})
        assert kept["refresh_token"] == ("refresh-2-xxxx" if case.rotates else "refresh-1-xxxx")
