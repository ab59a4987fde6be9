"""Whose fault a failure is, and what to do about it, in words. Pure.

The class of a failure decides; where a class has several causes, its code does.
"""

from __future__ import annotations

from enum import StrEnum

from platint_tui.core.errors import ErrorClass, UnknownOutcome
from platint_tui.core.states import DeadLetterState


class Blame(StrEnum):
    """Who has to act: whoever makes the data or its mapping, whoever configures this program, the platform, or
    nobody but the network between them."""

    DATA = "data"
    CONFIG = "config"
    PLATFORM = "platform"
    NETWORK = "network"


_BY_CLASS: dict[ErrorClass, Blame] = {
    ErrorClass.RECORD: Blame.DATA,
    ErrorClass.CONFIG: Blame.CONFIG,
    ErrorClass.AUTH: Blame.CONFIG,
    ErrorClass.RATE_LIMITED: Blame.PLATFORM,
    ErrorClass.TRANSIENT: Blame.PLATFORM,
    ErrorClass.SYSTEMIC: Blame.PLATFORM,
}
_NETWORK = frozenset(
    {
        "unreachable",
        "deadline",
        "stale_connection",
        "closed",
        "dns",
        "proxy",
        "truncated",
        UnknownOutcome.code,
    }
)
_HERE = frozenset(
    {"tls", "not_tls", "certificate", "ca_file", "handshake", "target_shape", "target_name", "missing_extra"}
)
"""Codes that are of this side's configuration, whatever their class."""
_UNREAD = frozenset({"key", "not_a_record"})
"""Codes of what was never sent to a target."""

_WHOSE: dict[ErrorClass, str] = {
    ErrorClass.RECORD: "the record: the target refused its data",
    ErrorClass.CONFIG: "the configuration of this sync",
    ErrorClass.AUTH: "the credential of the target",
    ErrorClass.RATE_LIMITED: "the platform's rate limit",
    ErrorClass.TRANSIENT: "the network or the platform, for a while",
    ErrorClass.SYSTEMIC: "the target: it did not answer as agreed",
}
_NEXT: dict[ErrorClass, str] = {
    ErrorClass.RECORD: "Edit the record, or fix it at its source, then replay it.",
    ErrorClass.CONFIG: "Correct the integration or the manifest, then replay the issue.",
    ErrorClass.AUTH: "Test the target's profile, give it a good credential, then replay.",
    ErrorClass.RATE_LIMITED: "Wait until the platform takes requests again, then replay.",
    ErrorClass.TRANSIENT: "Replay it when the platform is well; nothing has to be changed.",
    ErrorClass.SYSTEMIC: "Look at the answer of the target before replaying.",
}
_NEXT_BY_CODE: dict[str, str] = {
    UnknownOutcome.code: "Its answer was lost: look at the target, then replay it or discard it.",
}
_NEXT_BY_STATE: dict[DeadLetterState, str] = {
    DeadLetterState.UNKNOWN: "Its answer was lost: look at the target, then replay it or discard it.",
    DeadLetterState.REPLAYING: "It is on its way.",
    DeadLetterState.SUCCEEDED: "Nothing: the target took it.",
    DeadLetterState.EDITED: "Nothing: an edited copy took its place.",
    DeadLetterState.SUPERSEDED: "Nothing: the target has a newer version of this record.",
    DeadLetterState.DISCARDED: "Nothing: it was discarded.",
    DeadLetterState.GONE: "Nothing: its platform holds it no longer.",
}
NATIVE_NEXT = "Mend what reads the queue, or the message; a replay sends it back to where it came from."


def blame(error_class: ErrorClass, code: str = "") -> Blame:
    """Who has to act on a failure of this class and code."""
    if error_class is ErrorClass.RECORD:
        return Blame.DATA
    if code in _HERE:
        return Blame.CONFIG
    if error_class in (ErrorClass.TRANSIENT, ErrorClass.SYSTEMIC) and _of_the_network(code):
        return Blame.NETWORK
    return _BY_CLASS[error_class]


def _of_the_network(code: str) -> bool:
    return code in _NETWORK or code.startswith("connect") or code.endswith("timeout")


def whose_fault(error_class: ErrorClass, code: str = "", *, native: bool = False) -> str:
    """Who has to act, in words. `native`: its platform keeps the dead letter itself."""
    if native:
        return "whoever reads that queue: its platform gave the message up"
    if code in _UNREAD:
        return "the record: the source sent none that can be told apart by its key"
    if blame(error_class, code) is Blame.NETWORK:
        return "the network between here and the platform"
    return _WHOSE[error_class]


def what_next(
    error_class: ErrorClass,
    code: str = "",
    hint: str = "",
    *,
    native: bool = False,
    state: DeadLetterState | None = None,
) -> str:
    """What a person can do about it: what the state of a dead letter that is not open asks for, the connector's
    hint where there is one, else what the class asks for."""
    if state in _NEXT_BY_STATE:
        return _NEXT_BY_STATE[state]
    if hint:
        return hint
    if native:
        return NATIVE_NEXT
    return _NEXT_BY_CODE.get(code, _NEXT[error_class])
