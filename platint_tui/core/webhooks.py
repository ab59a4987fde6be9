"""A request that a platform sent us, and what was found out about it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a request was not accepted."""

    NO_SECRET = "no_secret"  # noqa: S105 - a cause, no password
    MISSING_HEADER = "missing_header"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"
    BAD_CERTIFICATE = "bad_certificate"
    NO_CERTIFICATE = "no_certificate"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a cause, no password
    WRONG_TOPIC = "wrong_topic"
    WRONG_METHOD = "wrong_method"
    WRONG_HOST = "wrong_host"
    TOO_LARGE = "too_large"
    NO_SCHEME = "no_scheme"
    UNKNOWN_SOURCE = "unknown_source"
    HANDSHAKE = "handshake"  # answered, but not known to be from whom it says
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request as it arrived.

    `headers` are (name in lower case, value) in their order, `body` the bytes on which signatures are made,
    `target` the path and query of the request line, `url` the whole public address that the sender called.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str

    def header(self, name: str) -> str | None:
        """The value of the first header called `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of every header called `name` (lower case)."""
        return tuple(value for key, value in self.headers if key == name)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a check, in words for a person; `ok` is None for one that only says something. No secret."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is from whom it says. `cause` is "" when it was accepted.

    `message` is the sentence for the operator, `steps` the check as it went, `secret` the profile field whose
    value matched. None of this is told to the sender.
    """

    accepted: bool
    cause: str = ""
    message: str = ""
    steps: tuple[Step, ...] = ()
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
