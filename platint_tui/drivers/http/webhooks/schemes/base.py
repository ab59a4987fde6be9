"""What all checks share: the request as they look at it, how they refuse it, and how they tell what they did."""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from platint_tui.core.text import clean
from platint_tui.core.webhooks import Cause, Step, WebhookRequest
from platint_tui.manifest.verifying import Verify, alternatives_of, required_of

CertificateSource: TypeAlias = Callable[[str], bytes | None]
"""What is found at an address, None when it could not be had."""

MAX_SIGNATURES = 16
"""Signatures that are looked at in one header; a platform sends two while a secret is changed."""
SHOWN_DIGEST = 6
"""Characters that are told of a digest, so that nobody can forge one from what is shown."""
_SHOWN_TEXT = 80
_LATEST = 253_402_300_800  # seconds, the year 10000


class Refused(Exception):
    """The request is not accepted: `cause`, the sentence for the operator, and the name of the step."""

    def __init__(self, cause: Cause, message: str, step: str = "Header") -> None:
        super().__init__(message)
        self.cause, self.message, self.step = cause, message, step


@dataclass(slots=True)
class Call:
    """One request that is checked. `trace` collects the steps, None when nobody asks for them."""

    request: WebhookRequest
    headers: Mapping[str, str]
    repeated: frozenset[str]
    now: float
    certificates: CertificateSource
    authorities: bytes
    trace: list[Step] | None = None

    def one(self, name: str) -> str:
        """The value of a header that must be there once. Raises Refused."""
        value = self.headers.get(name)
        if not value:
            what = "is missing" if value is None else "is empty"
            raise Refused(Cause.MISSING_HEADER, f"The header {name} {what}.")
        if name in self.repeated:
            raise Refused(
                Cause.MALFORMED, f"The header {name} was sent more than once; which one counts is not clear."
            )
        return value

    def note(self, name: str, detail: str, ok: bool | None = True) -> None:
        """Tell of a step; called only where `trace` is asked for, because its text costs time."""
        if self.trace is not None:
            self.trace.append(Step(name, ok, detail))


Keys: TypeAlias = Sequence[tuple[str, Any]]
"""(profile field, key made of its value) of every active secret."""


class Check(ABC):
    """One configured scheme. `label` is what it is called, `wanted` what a request must have to be checked by it."""

    label: str
    wanted: str
    hosts: tuple[str, ...] = ()
    """Where certificates and key sets may be."""
    issuers: tuple[str, ...] = ()
    """Where the certificate of an issuer may be."""

    def __init__(self, scheme: Verify) -> None:
        self.alternatives = alternatives_of(scheme)
        self.required = required_of(scheme)

    @abstractmethod
    def named_by(self, call: Call) -> bool:
        """Whether the request has what this scheme is about, right or wrong."""

    def key_of(self, text: str) -> Any:
        """The key that a profile's value is. Raises ValueError with what it must be."""
        return text

    @abstractmethod
    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        """The profile field whose key fits. Raises Refused. `values` has the `required` fields."""

    def addresses(self, call: Call) -> tuple[str, ...]:
        """The addresses whose content `matching` will ask for."""
        return ()


def raw(text: str) -> bytes:
    """The bytes of a header's value as they came: what was no UTF-8 is kept as surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def exact_base64(text: str) -> bytes | None:
    """The bytes of standard base64 in the one form that an encoder gives; None for everything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if base64.b64encode(data).decode() == text else None


def exact_hex(text: str) -> bytes | None:
    """The bytes of lower-case hex; None for everything else."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if data.hex() == text else None


def query_values(target: str, name: str) -> list[bytes]:
    """The values of a parameter of an address, decoded, in their order."""
    _, _, query = target.partition("?")
    wanted = name.encode()
    return [value for key, value in form_pairs(raw(query.partition("#")[0])) if key == wanted]


def form_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a form, decoded, blank ones included; the bytes need not be UTF-8."""
    pairs = []
    for item in data.split(b"&"):
        if item:
            name, _, value = item.replace(b"+", b" ").partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def seconds_of(text: str, unit: str, header: str) -> float:
    """The epoch seconds of a timestamp as it was sent. Raises Refused when it is no whole number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(
            Cause.MALFORMED, f"The timestamp in {header} is {quoted(text)}, which is no time.", "Clock"
        )
    number = int(text)
    return number / 1000 if unit == "ms" else float(number)


def check_clock(call: Call, seconds: float, tolerance: float, future: bool) -> None:
    """Whether a timestamp is within the window. Raises Refused."""
    age = call.now - seconds
    if call.trace is None and (0 <= age <= tolerance or (age < 0 and not future)):
        return
    text = f"The timestamp is {_moment(seconds)}, our clock says {_moment(call.now)}"
    window = f"{tolerance:g} s are allowed"
    if age > tolerance:
        raise Refused(Cause.TOO_OLD, f"{text}: it is {age:.0f} s old, and {window}.", "Clock")
    if future and -age > tolerance:
        raise Refused(Cause.IN_FUTURE, f"{text}: it is {-age:.0f} s ahead, and {window}.", "Clock")
    distance = f"{age:.0f} s old" if age >= 0 else f"{-age:.0f} s ahead"
    call.note("Clock", f"{text}: it is {distance}, and {window}.")


def _moment(seconds: float) -> str:
    if not 0 <= seconds < _LATEST:
        return f"{seconds:.0f}"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def quoted(value: str | bytes, limit: int = _SHOWN_TEXT) -> str:
    """The first part of a text of the request, harmless and in quotes."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return f"“{clean(text[:limit])}{'…' if len(text) > limit else ''}”"


def started(digest: str) -> str:
    """The beginning of a digest, which is all that is told of it."""
    return f"{clean(digest[:SHOWN_DIGEST])}…" if len(digest) > SHOWN_DIGEST else clean(digest)


def counted(number: int, noun: str) -> str:
    """`1 secret`, `2 secrets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def no_match(keys: Keys, what: str = "signature") -> Refused:
    """None of the keys fits."""
    names = ", ".join(field for field, _ in keys)
    of = f"with {names}" if len(keys) == 1 else f"with any of {names}"
    return Refused(
        Cause.BAD_SIGNATURE,
        f"The {what} does not match {of}: the sender uses another value, or the request was changed on its way.",
        "Signature",
    )


def same_address(host: str, pattern: str) -> bool:
    """Whether a host is one of the pattern: `*.` before it is any host below, `*` elsewhere one label."""
    mine, theirs = host.lower().split("."), pattern.lower().split(".")
    if theirs[0] == "*":
        theirs = theirs[1:]
        if len(mine) <= len(theirs) or not all(mine):
            return False
        mine = mine[-len(theirs) :]
    return len(mine) == len(theirs) and all(
        label == wanted or (wanted == "*" and label != "") for label, wanted in zip(mine, theirs, strict=True)
    )
