"""How a webhook's sender is known: the schemes that a manifest may name.

Vendors are data over these few: a keyed hash, a public key, a certificate, a token that is signed, a text that is
known. `secret` and the other lists of profile fields are all active: the present value, and the one before it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from platint_tui.manifest.fields import Bool, HeaderName, Identifier, Line, Model, Positive

Fields = Annotated[tuple[Identifier, ...], Field(min_length=1)]
"""Profile fields whose values are all active: the present one, and the one before it."""

HostPattern = Annotated[
    str, StringConstraints(pattern=r"^(?:\*\.)?[a-z0-9-]+(?:\.(?:[a-z0-9-]+|\*))*\.[a-z0-9-]+$")
]
"""A host: `*.` before it is any host below it, `*` between dots one label."""

HttpsAddress = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+/[!-~]*$", max_length=500)]
PLACES = ("body", "timestamp", "id", "method", "url")
_PLACE = re.compile(r"\{([^{}]*)\}")


class _Signed(Model):
    """What every signature over the request's bytes has.

    `signed` is a template over `{body}`, `{timestamp}`, `{id}`, `{method}` and `{url}` (the whole public address).
    The timestamp and the id are in the headers of these names. Refused is what is older than `tolerance` and, with
    `future`, what is newer than that by our clock; without `tolerance` the age does not count.
    """

    signed: Line = "{body}"
    timestamp: HeaderName | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    id: HeaderName | None = None
    tolerance: Positive | None = None
    future: Bool = True

    @model_validator(mode="after")
    def _is_whole(self) -> _Signed:
        places = _PLACE.findall(self.signed)
        unknown = [name for name in places if name not in PLACES]
        if unknown or "{" in _PLACE.sub("", self.signed):
            raise ValueError(f"`signed` may hold {', '.join(f'{{{name}}}' for name in PLACES)} only")
        if "body" not in places:
            raise ValueError("`signed` must hold {body}: without it anybody could change the events")
        if "id" in places and self.id is None:
            raise ValueError("`signed` has {id}: name the header in `id`")
        timed = self.timestamp is not None or self._pair_of_timestamp()
        if "timestamp" in places and not timed:
            raise ValueError("`signed` has {timestamp}: name the header in `timestamp`")
        if self.tolerance is not None and not ("timestamp" in places and timed):
            raise ValueError("`tolerance` needs a timestamp that is signed")
        return self

    def _pair_of_timestamp(self) -> bool:
        return False


class HmacScheme(_Signed):
    """A keyed hash.

    `format` is how the header has the digest: alone (plain), after `prefix` (prefixed), as pairs like `t=1,v1=…`
    (pairs; `pairs` names those of the timestamp and the signatures, others are ignored), or several after a space
    each with `prefix` (list). `key` is how the secret's text becomes the key: its bytes, base64, hex, or base64
    after `whsec_`.
    """

    scheme: Literal["hmac"]
    secret: Fields
    header: HeaderName
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    format: Literal["plain", "prefixed", "pairs", "list"] = "plain"
    prefix: Line | None = None
    pairs: dict[Literal["timestamp", "signature"], Line] = Field(default_factory=dict)
    key: Literal["text", "base64", "hex", "whsec"] = "text"

    def _pair_of_timestamp(self) -> bool:
        return "timestamp" in self.pairs

    @model_validator(mode="after")
    def _has_form(self) -> HmacScheme:
        if (self.format in ("prefixed", "list")) != (self.prefix is not None):
            raise ValueError("`prefix` goes with the formats prefixed and list")
        if (self.format == "pairs") != ("signature" in self.pairs):
            raise ValueError("the format pairs needs `pairs` with `signature`, and no other has them")
        return self


class Ed25519Scheme(_Signed):
    """An Ed25519 signature (RFC 8032), checked with a public key of the profile."""

    scheme: Literal["ed25519"]
    public_key: Fields
    header: HeaderName
    encoding: Literal["hex", "base64"] = "hex"
    key: Literal["hex", "base64"] = "hex"


class EcdsaScheme(_Signed):
    """An ECDSA signature with SHA-256 on P-256, DER in base64; the public key is a base64 SPKI, or PEM."""

    scheme: Literal["ecdsa"]
    public_key: Fields
    header: HeaderName


class TokenScheme(Model):
    """A text that is sent as it is configured, in a header (after `prefix`) or a query parameter."""

    scheme: Literal["token"]
    secret: Fields
    header: HeaderName | None = None
    query: Line | None = None
    prefix: Line | None = None

    @model_validator(mode="after")
    def _has_place(self) -> TokenScheme:
        if (self.header is None) == (self.query is None):
            raise ValueError("a token is in a `header` or in the `query`: name one of them")
        if self.prefix is not None and self.header is None:
            raise ValueError("`prefix` is for a header")
        return self


class BasicScheme(Model):
    """HTTP Basic (RFC 7617, UTF-8): a user name and a password of the profile."""

    scheme: Literal["basic"]
    username: Identifier
    secret: Fields


class StandardWebhooksScheme(Model):
    """Standard Webhooks, also with the names of Svix: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

    A value `whsec_…` is the key of `v1` (HMAC-SHA256), `whpk_…` that of `v1a` (Ed25519). Where a public key is
    configured, `v1` proves nothing.
    """

    scheme: Literal["standard_webhooks"]
    secret: Fields
    names: tuple[Literal["webhook", "svix"], ...] = ("webhook", "svix")
    tolerance: Positive = 300.0


class TwilioScheme(Model):
    """`X-Twilio-Signature`: HMAC-SHA1 over the public address and the sorted form, or over an address that has the
    hash of the body.
    """

    scheme: Literal["twilio"]
    secret: Fields


class HubspotScheme(Model):
    """`X-HubSpot-Signature-v3`, and `X-HubSpot-Signature` with its version. `versions` are those that are accepted;
    where 3 is one of them and its header is there, it decides.
    """

    scheme: Literal["hubspot"]
    secret: Fields
    versions: Annotated[tuple[Literal[1, 2, 3], ...], Field(min_length=1)] = (3,)
    tolerance: Positive = 300.0


class RsaCertScheme(Model):
    """PayPal's: RSA PKCS#1 v1.5 with SHA-256 over `id|time|webhook id|crc32`, by a certificate that the header names.

    The certificate is taken from https `hosts` only, must be valid now, lead to a known authority and be for a
    `common_name`. Where it comes without the one of its issuer, that is fetched from `issuers`.
    """

    scheme: Literal["rsa_cert"]
    webhook_id: Fields
    hosts: Annotated[tuple[HostPattern, ...], Field(min_length=1)]
    common_name: HostPattern
    issuers: tuple[HostPattern, ...] = ()


class SnsScheme(Model):
    """A message of Amazon SNS: the signature is over fields of the JSON body. `topic` are profile fields with the
    ARNs (of one, or of several with spaces between) that may send; anybody can make a topic of his own.
    """

    scheme: Literal["sns"]
    topic: Fields


class JwtScheme(Model):
    """A JSON Web Token in a header (after `prefix`) or a query parameter.

    HS256 with `secret`, or RS256 with the key that the token names in the key set at `keys`. `issuers` are the
    accepted `iss`, `claims` maps claims to profile fields that have their value (for `aud` one of a list is enough),
    `fixed` to values. `qsh`: the token is for this method, path and query (Atlassian Connect). Without `expires`
    a token may lack `exp`; `tolerance` is how far our clocks may differ where a token is not valid yet.
    """

    scheme: Literal["jwt"]
    algorithm: Literal["HS256", "RS256"]
    secret: tuple[Identifier, ...] = ()
    keys: HttpsAddress | None = None
    header: HeaderName = "Authorization"
    prefix: Line | None = None
    query: Line | None = None
    issuers: tuple[Line, ...] = ()
    claims: dict[Line, Identifier] = Field(default_factory=dict)
    fixed: dict[Line, Bool | str] = Field(default_factory=dict)
    qsh: Bool = False
    expires: Bool = True
    tolerance: Positive = 60.0

    @model_validator(mode="after")
    def _has_key(self) -> JwtScheme:
        if (self.algorithm == "HS256") != bool(self.secret) or (self.algorithm == "RS256") != bool(self.keys):
            raise ValueError("HS256 needs `secret`, RS256 needs `keys`, and neither has the other's")
        if self.algorithm == "RS256" and not ("aud" in self.claims and self.issuers):
            raise ValueError("RS256 needs `issuers` and `claims` with `aud`: the keys are those of everybody")
        return self


class OrganizationScheme(Model):
    """Salesforce's outbound messages have no signature: the `OrganizationId` of the SOAP body must be the one of the
    profile, and whoever knows it can send.
    """

    scheme: Literal["organization"]
    organization_id: Fields


class NoneScheme(Model):
    """Nothing is checked: whoever knows the address can send. `reason` says why that must be, for the operator."""

    scheme: Literal["none"]
    reason: Line


Verify: TypeAlias = Annotated[
    HmacScheme
    | Ed25519Scheme
    | EcdsaScheme
    | TokenScheme
    | BasicScheme
    | StandardWebhooksScheme
    | TwilioScheme
    | HubspotScheme
    | RsaCertScheme
    | SnsScheme
    | JwtScheme
    | OrganizationScheme
    | NoneScheme,
    Field(discriminator="scheme"),
]


def alternatives_of(scheme: Verify) -> tuple[str, ...]:
    """The profile fields of which one with a value is enough: secrets, keys, or what identifies the sender."""
    match scheme:
        case Ed25519Scheme() | EcdsaScheme():
            return scheme.public_key
        case RsaCertScheme():
            return scheme.webhook_id
        case SnsScheme():
            return scheme.topic
        case OrganizationScheme():
            return scheme.organization_id
        case NoneScheme():
            return ()
        case _:
            return scheme.secret


def required_of(scheme: Verify) -> tuple[str, ...]:
    """The profile fields that must all have a value besides."""
    match scheme:
        case BasicScheme():
            return (scheme.username,)
        case JwtScheme():
            return tuple(scheme.claims.values())
        case _:
            return ()
