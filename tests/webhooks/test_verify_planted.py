"""Verifiers that are wrong in ways that have been seen: the same probes that ours passes find each of them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from nacl.bindings import crypto_core_ed25519_scalar_add
from webhooks.senders import NOW, SENDERS, Sender, Sending, changed, connector_of

from platint_tui.core.secret import Secret
from platint_tui.core.webhooks import Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import verify
from platint_tui.manifest.schema import Connector

BODY = b'{"id": 1,  "name": "Zo\\u00eb"}'
Verify = Callable[[Connector, WebhookRequest, Mapping[str, Secret | str], float], Verdict]
GITHUB = next(item for item in SENDERS if item.vendor == "github")
STRIPE = next(item for item in SENDERS if item.vendor == "stripe")
SLACK = next(item for item in SENDERS if item.vendor == "slack")
DISCORD = next(item for item in SENDERS if item.vendor == "discord")
SIGNED, TOKEN = (item for item in SENDERS if item.vendor == "gitlab")


def faults(check: Verify) -> set[str]:
    """What a verifier does wrong."""

    def accepts(
        sender: Sender, request: WebhookRequest, profile: Mapping[str, Secret | str] | None = None
    ) -> bool:
        values = sender.profile() if profile is None else profile
        return check(connector_of(sender.vendor), request, values, NOW).accepted

    github = GITHUB.request(Sending(BODY))
    digest = github.header(GITHUB.header) or ""
    gitlab = changed(
        SIGNED.request(Sending(BODY)), webhook_signature="v1,AAAA", x_gitlab_token=TOKEN.values[0]
    )
    discord = DISCORD.request(Sending(BODY))
    found = {
        "refuses what is right": not accepts(GITHUB, github),
        "takes capitals for the same digest": accepts(
            GITHUB, changed(github, x_hub_signature_256=digest.upper())
        )
        or accepts(GITHUB, changed(github, x_hub_signature_256=f"sha256={digest[7:].upper()}")),
        "takes the first of two headers": accepts(
            GITHUB, replace(github, headers=(*github.headers, (GITHUB.header, "sha256=00")))
        ),
        "takes the last of two headers": accepts(
            GITHUB, replace(github, headers=((GITHUB.header, "sha256=00"), *github.headers))
        ),
        "takes a beginning for the whole": accepts(GITHUB, changed(github, x_hub_signature_256=digest[:20])),
        "takes blanks away": accepts(GITHUB, changed(github, x_hub_signature_256=f" {digest} ")),
        "accepts without a secret": accepts(GITHUB, github, {})
        or accepts(GITHUB, github, {GITHUB.fields[0]: ""}),
        "accepts without a signature": accepts(GITHUB, changed(github, x_hub_signature_256=None)),
        "signs the JSON, not the bytes": accepts(
            GITHUB, replace(github, body=json.dumps(json.loads(BODY)).encode())
        ),
        "does not look at the age": accepts(STRIPE, STRIPE.request(Sending(BODY, time=NOW - 301))),
        "does not look at the future": accepts(SLACK, SLACK.request(Sending(BODY, time=NOW + 301))),
        "falls back to the token": accepts(SIGNED, gitlab, {**SIGNED.profile(), **TOKEN.profile()}),
        "takes a second form of a signature": accepts(
            DISCORD, changed(discord, x_signature_ed25519=_second_form(discord.header(DISCORD.header) or ""))
        ),
    }
    return {name for name, wrong in found.items() if wrong}


ORDER = 2**252 + 27742317777372353535851937790883648493


def _second_form(signature: str) -> str:
    """The same Ed25519 signature with S + L, which RFC 8032 (5.1.7) refuses and some libraries take."""
    data = bytes.fromhex(signature)
    number = int.from_bytes(data[32:], "little") + ORDER
    assert crypto_core_ed25519_scalar_add(data[32:], bytes(32)) == data[32:]
    return (data[:32] + number.to_bytes(32, "little")).hex()


def ours(
    connector: Connector, request: WebhookRequest, secrets: Mapping[str, Secret | str], now: float
) -> Verdict:
    return verify(connector, request, secrets, now)


def _altered(change: Callable[[WebhookRequest], WebhookRequest]) -> Verify:
    return lambda connector, request, secrets, now: verify(connector, change(request), secrets, now)


def _each(change: Callable[[str], str]) -> Verify:
    return _altered(
        lambda request: replace(
            request, headers=tuple((name, change(value)) for name, value in request.headers)
        )
    )


def _timeless(
    connector: Connector, request: WebhookRequest, secrets: Mapping[str, Secret | str], now: float
) -> Verdict:
    verdict = verify(connector, request, secrets, now)
    return Verdict(True) if verdict.cause in ("too_old", "in_future") else verdict


def _rescued(
    connector: Connector, request: WebhookRequest, secrets: Mapping[str, Secret | str], now: float
) -> Verdict:
    verdict = verify(connector, request, secrets, now)
    bare = changed(request, webhook_signature=None)
    return verdict if verdict.accepted else verify(connector, bare, secrets, now)


def _trusting(
    connector: Connector, request: WebhookRequest, secrets: Mapping[str, Secret | str], now: float
) -> Verdict:
    verdict = verify(connector, request, secrets, now)
    return Verdict(True) if verdict.cause in ("no_secret", "missing_header") else verdict


def _normal(request: WebhookRequest) -> WebhookRequest:
    """What a framework hands on that has read the JSON already: the same document, written anew."""
    if json.loads(request.body) == json.loads(BODY):
        return replace(request, body=BODY)
    return request


PLANTED: dict[str, tuple[Verify, set[str]]] = {
    "capitals": (_each(str.lower), {"takes capitals for the same digest"}),
    "first of two": (
        _altered(lambda request: replace(request, headers=tuple(dict(reversed(request.headers)).items()))),
        {"takes the first of two headers"},
    ),
    "last of two": (
        _altered(lambda request: replace(request, headers=tuple(dict(request.headers).items()))),
        {"takes the last of two headers"},
    ),
    "blanks": (_each(str.strip), {"takes blanks away"}),
    "written anew": (_altered(_normal), {"signs the JSON, not the bytes"}),
    "no clock": (_timeless, {"does not look at the age", "does not look at the future"}),
    "fallback": (_rescued, {"falls back to the token"}),
    "open": (_trusting, {"accepts without a secret", "accepts without a signature"}),
    "closed": (lambda *_: Verdict(False), {"refuses what is right"}),
}


def test_ours_does_nothing_of_that() -> None:
    assert faults(ours) == set()


@pytest.mark.parametrize("name", PLANTED)
def test_a_verifier_that_is_wrong_is_found_out(name: str) -> None:
    check, expected = PLANTED[name]
    assert faults(check) == expected
