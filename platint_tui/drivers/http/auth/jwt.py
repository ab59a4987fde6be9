"""Signed assertions (RFC 7523): a JWT that says who asks, signed with the profile's key."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from platint_tui.core.errors import CredentialError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import secret
from platint_tui.manifest import schema
from platint_tui.manifest.template import render


class Assertions:
    """Makes the assertions that a manifest describes."""

    def __init__(
        self, context: DriverContext, spec: schema.Assertion, scope: Mapping[str, Json], audience: str = ""
    ) -> None:
        """`audience` is used where the manifest names none. Raises CredentialError for an unusable key."""
        self._context = context
        self._spec = spec
        bundle = _bundle(context, spec)
        self._scope = {**scope, "bundle": bundle} if bundle is not None else scope
        text = str(bundle.get(spec.key, "")) if bundle is not None else secret(context, spec.key).reveal()
        if not text:
            raise CredentialError(f"The key file has no '{spec.key}'.", code="key_form")
        Secret(text)
        self._key = _key(text, spec.alg)
        self._header: dict[str, Any] = {"alg": spec.alg, "typ": "JWT"}
        if spec.key_id:
            self._header["kid"] = render(spec.key_id, self._scope, "query")
        if spec.certificate:
            self._header["x5t#S256"] = thumbprint(secret(context, spec.certificate).reveal())
        self._audience = render(spec.audience, self._scope, "query") if spec.audience else audience
        # Rendered now: a value that is missing is told before anything is sent.
        self.claims(0, unique=False)

    def claims(self, now: int, *, unique: bool) -> dict[str, Json]:
        """What the assertion says at `now` (epoch seconds); `unique` adds an id that is used once."""
        spec = self._spec
        issued = now - round(spec.backdate or 0)
        claims: dict[str, Json] = {
            "iss": render(spec.issuer, self._scope, "query"),
            "aud": self._audience,
            "iat": issued,
            "exp": now + round(spec.ttl),
        }
        if spec.subject:
            claims["sub"] = render(spec.subject, self._scope, "query")
        if unique:
            claims |= {"jti": secrets.token_urlsafe(24), "nbf": issued}
        claims |= {name: render(text, self._scope, "query") for name, text in spec.claims.items()}
        return {name: item for name, item in claims.items() if item != ""}

    def make(self, *, unique: bool = False) -> str:
        """A signed assertion, good from now on for the manifest's `ttl`."""
        from joserfc import jwt

        now = self._context.clock.now_ms() // 1000
        claims = self.claims(now, unique=unique)
        text = jwt.encode(self._header, claims, self._key, algorithms=[self._spec.alg])
        Secret(text)
        return text


def thumbprint(certificate: str) -> str:
    """`x5t#S256` of a PEM certificate (RFC 7515, 4.1.8). Raises CredentialError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificate(_pem(certificate).encode())
    except ValueError:
        raise CredentialError(
            "The certificate of the profile cannot be read.",
            hint="Enter it as PEM, with its BEGIN and END lines.",
            code="certificate_form",
        ) from None
    digest = hashlib.sha256(found.public_bytes(Encoding.DER)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _bundle(context: DriverContext, spec: schema.Assertion) -> Mapping[str, Json] | None:
    if not spec.bundle:
        return None
    text = secret(context, spec.bundle).reveal()
    try:
        document = loads(text, "the key file")
    except SystemicError:
        document = None
    if not isinstance(document, Mapping):
        raise CredentialError(
            f"The value of {spec.bundle} is not the JSON document of a key file.",
            hint="Enter the whole content of the file.",
            code="key_form",
        )
    return document


def _pem(text: str) -> str:
    """A PEM text that lost its line ends on the way (`\\n` written out, as in JSON and in variables)."""
    text = text.strip()
    return text.replace("\\n", "\n") if "\\n" in text and "-----BEGIN" in text else text


def _key(text: str, alg: str) -> Any:
    """The key for `alg`. Raises CredentialError without any part of it."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OctKey, RSAKey

    kind: Any = OctKey if alg == "HS256" else ECKey if alg == "ES256" else RSAKey
    try:
        key = kind.import_key(text if kind is OctKey else _pem(text))
        if kind is not OctKey and not key.is_private:
            raise ValueError("a public key")
    except (ValueError, TypeError, JoseError):
        raise CredentialError(
            f"The private key of the profile cannot be used for {alg}.",
            hint="Enter the key as PEM without a passphrase, with its BEGIN and END lines.",
            code="key_form",
        ) from None
    return key
