"""No credential in a position, a log, a telemetry name or a representation, whatever a server repeats."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth import Signed, Unsigned
from platint_tui.drivers.http.auth.kept import Kept
from platint_tui.drivers.http.auth.renewing import Token
from platint_tui.drivers.http.auth.sigv4 import Keys
from platint_tui.drivers.http.auth.token_endpoint import Grant
from platint_tui.drivers.http.driver import HttpDriver
from tests.auth.support import Peers, connector, context_of, read
from tests.http.hostile import Hostile, Seen, Whole, answer

CANARY = "canary-secret-0123456789"
LINKS = Whole(
    {
        "items": {
            "key": ["id"],
            "read": {
                "request": {"path": "/items", "query": {"limit": 2}},
                "records": "data",
                "page": {"type": "link_body", "path": "next"},
            },
        }
    }
)
WAYS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"type": "api_key", "secret": "key", "in": "query", "name": "api_key"}, {"key": CANARY}),
    ({"type": "azure_sas", "token": "key"}, {"key": f"sv=2022-11-02&se=2030-01-01&sig={CANARY}"}),
    (
        {"type": "oauth1", "consumer_key": "key", "consumer_secret": "secret"},
        {"key": "ck-canary", "secret": CANARY},
    ),
    (
        {
            "type": "aws_sigv4",
            "service": "s3",
            "region": "r",
            "access_key": "account",
            "secret_key": "key",
            "session_token": "session",
            "in": "query",
        },
        {"key": CANARY, "session": "session-canary"},
    ),
]


@pytest.mark.parametrize(("auth", "secrets"), WAYS, ids=lambda item: str(item.get("type", "")))
async def test_a_next_link_that_repeats_the_credential(
    hostile: Hostile, auth: dict[str, Any], secrets: Mapping[str, str]
) -> None:
    """The server's link is the address that it was asked for, the credential in it; it is signed anew."""

    def items(seen: Seen, writer: Any) -> None:
        second = "cursor=2" in seen.target
        more = None if second else f"{hostile.url}{seen.target}&cursor=2"
        writer.write(answer(200, {"data": [{"id": 2 if second else 1}], "next": more}))

    hostile.routes["/items"] = items
    found = connector(auth, tuple(secrets), resources=LINKS)
    driver = HttpDriver(context_of(found, {"base_url": hostile.url, "account": "AKIDEXAMPLE"}, secrets))
    pages = [page async for page in driver.read("items", None)]
    await driver.close()
    assert [record.value["id"] for page in pages for record in page.records] == [1, 2]
    kept = json.dumps([page.position for page in pages]).lower()
    for part in ("canary", "sig=", "oauth_", "x-amz-", "api_key"):
        assert part not in kept
    names = [pair.partition("=")[0] for pair in hostile.seen[1].target.partition("?")[2].split("&")]
    assert len(names) == len(set(names)) and "cursor" in names


async def test_logs_and_telemetry(hostile: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hostile.json("/token", {"access_token": "token-canary", "refresh_token": "refresh-canary"})
    hostile.json("/items", {"data": [{"id": 1}], "next": None})
    auth = {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": "${profile.base_url}/token",
        "client_id": "client",
        "client_secret": "key",
        "client_auth": "body",
    }
    peers = Peers()
    context = context_of(connector(auth, ("key",)), {"base_url": hostile.url}, {"key": CANARY}, peers=peers)
    driver = HttpDriver(context)
    assert await read(driver) == [{"id": 1}]
    await driver.close()
    assert "canary" not in caplog.text and "canary" not in str(peers.notes.seen)
    assert "canary" not in repr(context)


def test_representations() -> None:
    kept = Kept("access-canary", "refresh-canary")
    shown = [
        Signed("https://h/?sig=canary", {"authorization": "canary"}),
        Token(Secret("canary-token")),
        Keys("AKID", Secret("canary-key"), Secret("canary-session")),
        Grant("canary-access", "canary-refresh"),
        kept,
        [kept],
        kept.refused(),
    ]
    assert "canary" not in repr(shown) and "canary" not in str(shown)
    assert Unsigned("GET", "https://h/", {}).content is None
