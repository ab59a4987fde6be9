"""Senders of webhooks as the platforms are: signed by their own SDK where there is one, and else with the standard
library and `cryptography` by what their documents say. None of our code signs here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import discord_interactions
import standardwebhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hubspot.utils.signature import Signature
from nacl.signing import SigningKey
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from webhooks.schemes import SCHEMES

from platint_tui.core.secret import Secret
from platint_tui.core.webhooks import Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import verify
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.webhooks import Webhooks

NOW = 1_760_000_000
ORIGIN = "https://hooks.example.com"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_ROOT = Path(__file__).parents[2]


@cache
def _base() -> Connector:
    return load_connector(_ROOT / "connectors" / "stripe.yaml")


def connector_with(verify_section: list[dict[str, Any]]) -> Connector:
    """A connector whose webhooks are verified like this."""
    webhooks = Webhooks.model_validate({"verify": verify_section})
    return _base().model_copy(update={"webhooks": webhooks})


@cache
def connector_of(vendor: str) -> Connector:
    """A connector that verifies as the catalogue says of a vendor."""
    return connector_with(SCHEMES[vendor])


@dataclass(frozen=True)
class Sending:
    """What is signed. `target` may be changed by the sender, who then signs and calls another address."""

    body: bytes
    time: float = NOW
    content_type: str = JSON
    method: str = "POST"
    target: str = "/webhooks/main?from=test"

    @property
    def url(self) -> str:
        return ORIGIN + self.target

    @property
    def text(self) -> str:
        """The body for the SDKs, which take text."""
        return self.body.decode()


Headers = dict[str, str]
Sign = Callable[[Sending, int], Headers | tuple[Headers, str]]


@dataclass(frozen=True)
class Sender:
    """A platform. `values` are what a profile has of its first, second and third key, `sign` makes the headers (and
    another target); `header` is the one of the signature, `digest` where its value has the digest.
    `past` and `future`: whether the age is limited.
    """

    vendor: str
    header: str
    fields: tuple[str, str]
    values: tuple[str, str, str]
    sign: Sign
    past: bool = False
    future: bool = False
    signed_headers: tuple[str, ...] = ()
    body_is_signed: bool = True

    @property
    def name(self) -> str:
        return f"{self.vendor}-{self.header}"

    def request(self, sending: Sending, key: int = 0) -> WebhookRequest:
        """The request with which it arrives, signed with one of the three keys."""
        made = self.sign(sending, key)
        headers, target = made if isinstance(made, tuple) else (made, sending.target)
        return WebhookRequest(
            sending.method,
            target,
            (
                ("host", "hooks.example.com"),
                ("content-type", sending.content_type),
                *((name.lower(), value) for name, value in headers.items()),
            ),
            sending.body,
            ORIGIN + target,
        )

    def profile(self, present: int | None = 0, previous: int | None = None) -> dict[str, Secret | str]:
        """What a profile has: the keys by number, None for an empty field."""
        result: dict[str, Secret | str] = {}
        for field, key in zip(self.fields, (present, previous), strict=True):
            if key is not None:
                result[field] = Secret(self.values[key])
        return result

    def verdict(
        self,
        request: WebhookRequest,
        profile: Mapping[str, Secret | str] | None = None,
        now: float = NOW,
        *,
        explain: bool = False,
    ) -> Verdict:
        """What we say of a request."""
        values = self.profile() if profile is None else profile
        return verify(connector_of(self.vendor), request, values, now, explain=explain)


def changed(request: WebhookRequest, **headers: str | None) -> WebhookRequest:
    """The request with other headers (names with `_` for `-`); None takes one away."""
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = tuple((name, value) for name, value in request.headers if name not in wanted)
    return replace(
        request, headers=kept + tuple((name, value) for name, value in wanted.items() if value is not None)
    )


# --- keyed hashes, by the documents ---------------------------------------------------------------------


_TEXTS = ("first-secret-of-the-test", "another-secret-é-of-the-test", "third-secret-of-the-test")


def _hex(key: str, data: bytes) -> str:
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest()


def _b64(key: str, data: bytes) -> str:
    return base64.b64encode(hmac.new(key.encode(), data, hashlib.sha256).digest()).decode()


def _plain(
    vendor: str, header: str, make: Callable[[str, bytes], str], fields: tuple[str, str] | None = None
) -> Sender:
    def sign(sending: Sending, key: int) -> Headers:
        return {header: make(_TEXTS[key], sending.body)}

    return Sender(vendor, header.lower(), fields or SECRET_FIELDS, _TEXTS, sign)


SECRET_FIELDS = ("webhook_secret", "webhook_secret_previous")


def _square(sending: Sending, key: int) -> Headers:
    return {"x-square-hmacsha256-signature": _b64(_TEXTS[key], sending.url.encode() + sending.body)}


# --- by the SDKs ----------------------------------------------------------------------------------------


def _stripe(sending: Sending, key: int) -> Headers:
    header = stripe.WebhookSignature.generate_signature_header(
        sending.text, f"whsec_{_TEXTS[key]}", int(sending.time)
    )
    return {"Stripe-Signature": header}


def _slack(sending: Sending, key: int) -> Headers:
    time = str(int(sending.time))
    signature = SignatureVerifier(_TEXTS[key]).generate_signature(timestamp=time, body=sending.body)
    assert signature is not None
    return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": time}


def _twilio(sending: Sending, key: int) -> tuple[Headers, str]:
    validator = RequestValidator(_TEXTS[key])
    target, params = sending.target, {}
    if sending.content_type == FORM:
        params = MultiDict(parse_qs(sending.text, keep_blank_values=True))
    elif sending.body:
        target += f"&bodySHA256={validator.compute_hash(sending.text)}"
    return {"X-Twilio-Signature": validator.compute_signature(ORIGIN + target, params)}, target


class MultiDict(dict[str, list[str]]):
    """The parameters of a form as the frameworks have them that the SDK knows."""

    def getall(self, name: str) -> list[str]:
        return self[name]


_EC_KEYS = [ec.derive_private_key(number, ec.SECP256R1()) for number in (1001, 1002, 1003)]
_EC_PUBLIC = tuple(
    base64.b64encode(item.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    for item in _EC_KEYS
)


def _sendgrid(sending: Sending, key: int) -> Headers:
    """Their SDK has the check only, so what is made here must pass it."""
    time = str(int(sending.time))
    signature = base64.b64encode(
        _EC_KEYS[key].sign(time.encode() + sending.body, ec.ECDSA(SHA256()))
    ).decode()
    assert EventWebhook(_EC_PUBLIC[key]).verify_signature(sending.text, signature, time)
    return {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": time,
    }


_ED_KEYS = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
_ED_HEX = tuple(bytes(item.verify_key).hex() for item in _ED_KEYS)
_ED_WHPK = tuple(f"whpk_{base64.b64encode(bytes(item.verify_key)).decode()}" for item in _ED_KEYS)


def _discord(sending: Sending, key: int) -> Headers:
    time = str(int(sending.time))
    signature = _ED_KEYS[key].sign(time.encode() + sending.body).signature.hex()
    assert discord_interactions.verify_key(sending.body, signature, time, _ED_HEX[key])
    return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": time}


_WHSEC = tuple(f"whsec_{base64.b64encode(text.encode()).decode()}" for text in _TEXTS)


def _standard(prefix: str, library: Any) -> Sign:
    def sign(sending: Sending, key: int) -> Headers:
        moment = datetime.fromtimestamp(int(sending.time), UTC)
        return {
            f"{prefix}-id": "msg_2b6c",
            f"{prefix}-timestamp": str(int(sending.time)),
            f"{prefix}-signature": library(_WHSEC[key]).sign("msg_2b6c", moment, sending.text),
        }

    return sign


def _standard_public(sending: Sending, key: int) -> Headers:
    time = str(int(sending.time))
    data = f"msg_2b6c.{time}.".encode() + sending.body
    signature = base64.b64encode(_ED_KEYS[key].sign(data).signature).decode()
    return {"webhook-id": "msg_2b6c", "webhook-timestamp": time, "webhook-signature": f"v1a,{signature}"}


def _hubspot(version: str) -> Sign:
    """Their SDK takes the address as version 3 has it: with some characters decoded."""

    def sign(sending: Sending, key: int) -> Headers:
        time = str(int(sending.time * 1000)) if version == "v3" else None
        url = sending.url
        if version == "v3":
            for character in ":/?@!$'()*,;":
                url = url.replace(f"%{ord(character):02X}", character)
        signature = Signature.get_signature(_TEXTS[key], sending.text, version, url, sending.method, time)
        if version == "v3":
            return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": time or ""}
        return {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}

    return sign


_SFMC = ("webhook_signature_key", "webhook_signature_key_previous")
_STANDARD_HEADERS = ("webhook-id", "webhook-timestamp")
_HUBSPOT = ("client_secret", "client_secret_previous")

SENDERS = (
    Sender(
        "stripe",
        "stripe-signature",
        SECRET_FIELDS,
        tuple(f"whsec_{text}" for text in _TEXTS),
        _stripe,
        past=True,
    ),
    _plain("github", "X-Hub-Signature-256", lambda key, data: f"sha256={_hex(key, data)}"),
    Sender(
        "gitlab",
        "webhook-signature",
        ("webhook_signing_token", "webhook_signing_token_previous"),
        _WHSEC,
        _standard("webhook", standardwebhooks.Webhook),
        past=True,
        future=True,
        signed_headers=_STANDARD_HEADERS,
    ),
    Sender(
        "gitlab",
        "x-gitlab-token",
        SECRET_FIELDS,
        _TEXTS,
        lambda _, key: {"X-Gitlab-Token": _TEXTS[key]},
        body_is_signed=False,
    ),
    Sender(
        "slack",
        "x-slack-signature",
        ("signing_secret", "signing_secret_previous"),
        _TEXTS,
        _slack,
        past=True,
        future=True,
        signed_headers=("x-slack-request-timestamp",),
    ),
    Sender(
        "discord",
        "x-signature-ed25519",
        ("public_key", "public_key_previous"),
        _ED_HEX,
        _discord,
        signed_headers=("x-signature-timestamp",),
    ),
    Sender("twilio", "x-twilio-signature", ("auth_token", "auth_token_secondary"), _TEXTS, _twilio),
    Sender(
        "sendgrid",
        "x-twilio-email-event-webhook-signature",
        ("webhook_public_key", "webhook_public_key_previous"),
        _EC_PUBLIC,
        _sendgrid,
        signed_headers=("x-twilio-email-event-webhook-timestamp",),
    ),
    _plain("shopify", "X-Shopify-Hmac-Sha256", _b64),
    _plain("shopify", "Shopify-Hmac-Sha256", _b64),
    _plain("woocommerce", "X-WC-Webhook-Signature", _b64),
    Sender("hubspot", "x-hubspot-signature", _HUBSPOT, _TEXTS, _hubspot("v1")),
    Sender("hubspot", "x-hubspot-signature", _HUBSPOT, _TEXTS, _hubspot("v2")),
    Sender(
        "hubspot",
        "x-hubspot-signature-v3",
        _HUBSPOT,
        _TEXTS,
        _hubspot("v3"),
        past=True,
        signed_headers=("x-hubspot-request-timestamp",),
    ),
    _plain("jira", "X-Hub-Signature", lambda key, data: f"sha256={_hex(key, data)}"),
    _plain("circleci", "circleci-signature", lambda key, data: f"v2=00,v1={_hex(key, data)}"),
    _plain("salesforce", "x-sfmc-ens-signature", _b64, _SFMC),
    Sender("square", "x-square-hmacsha256-signature", SECRET_FIELDS, _TEXTS, _square),
    Sender(
        "standard_webhooks",
        "webhook-signature",
        SECRET_FIELDS,
        _WHSEC,
        _standard("webhook", standardwebhooks.Webhook),
        past=True,
        future=True,
        signed_headers=_STANDARD_HEADERS,
    ),
    Sender(
        "standard_webhooks",
        "svix-signature",
        SECRET_FIELDS,
        _WHSEC,
        _standard("svix", svix.webhooks.Webhook),
        past=True,
        future=True,
        signed_headers=("svix-id", "svix-timestamp"),
    ),
    Sender(
        "standard_webhooks",
        "webhook-signature",
        SECRET_FIELDS,
        _ED_WHPK,
        _standard_public,
        past=True,
        future=True,
        signed_headers=_STANDARD_HEADERS,
    ),
)
"""Every platform that signs with a key of the profile, once for each way in which it does."""


def ids(sender: Sender) -> str:
    """A name for a test."""
    return f"{sender.name}-{sender.values[0][:5]}"
