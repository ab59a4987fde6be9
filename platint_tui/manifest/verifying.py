"""How a webhook's sender is known: the schemes that a manifest may name."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from platint_tui.manifest.fields import Bool, HeaderName, Identifier, Line, Model, Positive

Secrets = Annotated[tuple[Identifier, ...], Field(min_length=1)]
"""Profile fields whose values are all active: the present secret, and the one before it."""


class HmacScheme(Model):
    """A keyed hash of `signed`, a template over `{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`.

    `format` is how the header has it: the digest alone, after `prefix`, or pairs like `t=1,v1=…` (`pairs` names
    those of the timestamp and the signatures). `key` is how the secret's text becomes the key.
    """

    scheme: Literal["hmac"]
    secret: Secrets
    header: HeaderName
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    format: Literal["plain", "prefixed", "pairs", "list"] = "plain"
    prefix: Line | None = None
    pairs: dict[Literal["timestamp", "signature"], Line] = Field(default_factory=dict)
    key: Literal["text", "base64", "whsec"] = "text"
    signed: Line = "{body}"
    timestamp: HeaderName | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    id: HeaderName | None = None
    tolerance: Positive | None = None
    future: Bool = True


class TokenScheme(Model):
    """A text that is sent as it is configured, in a header or a query parameter."""

    scheme: Literal["token"]
    secret: Secrets
    header: HeaderName | None = None
    query: Line | None = None
    prefix: Line | None = None


Verify: TypeAlias = Annotated[HmacScheme | TokenScheme, Field(discriminator="scheme")]
