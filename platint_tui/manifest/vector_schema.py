"""The typed form of a file of recorded exchanges, and of one of a webhook request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.manifest.fields import HeaderName, Identifier, Int, Line, Model, Scalar, Text


class RequestPart(Model):
    """What must be asked. Without `query` or `body` those are not compared, of the headers only the named ones.

    `path` follows the base URL (of any endpoint of the manifest), or is a whole address. `body` is the exact text,
    or what it says: a form as an object of texts, lines of JSON as a list, XML as its tree.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "GET"
    path: Annotated[str, Field(pattern=r"^(?:https?://[!-~]+|/[!-~]*)$")]
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    query: dict[Line, Scalar] | None = None
    body: Any = None


class ResponsePart(Model):
    """What is answered; `body` is exact text, `json` the same as YAML."""

    status: Annotated[Int, Field(ge=100, le=599)]
    headers: dict[HeaderName, Line] = Field(default_factory=dict)
    body: str | None = None
    json_: Any = Field(None, alias="json")


class ExchangePart(Model):
    """One request and its answer."""

    request: RequestPart
    response: ResponsePart


class VectorFile(Model):
    """A file of recorded exchanges."""

    description: Text = ""
    profile: dict[Identifier, Scalar] = Field(default_factory=dict)
    exchanges: tuple[ExchangePart, ...] = Field(min_length=1)


class HookPart(Model):
    """A request as a platform sends it: `target` is path and query, `body` exact text, or `base64` of it."""

    method: Literal["GET", "POST", "PUT", "OPTIONS", "HEAD"] = "POST"
    target: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/webhooks/test"
    headers: dict[HeaderName, Annotated[str, Field(pattern=r"^[^\r\n]*$", max_length=8192)]] = Field(
        default_factory=dict
    )
    body: str | None = None
    base64: str | None = None


class HookFile(Model):
    """A file of one webhook request. `secrets` and `profile` are what the profile has, `now` is our clock, `origin`
    the public address before `target`, `certificates` what is found at the addresses that the request names (or the
    manifest), `authorities` those that a certificate must lead to, PEM.
    """

    description: Text = ""
    profile: dict[Identifier, Scalar] = Field(default_factory=dict)
    secrets: dict[Identifier, Line] = Field(default_factory=dict)
    now: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    origin: Annotated[str, Field(pattern=r"^https?://[!-~]+$")] = "https://hooks.example.com"
    certificates: dict[Line, str] = Field(default_factory=dict)
    authorities: str = ""
    request: HookPart
