"""Whose fault a failure is: by its class, and by its code where the class says too little."""

from __future__ import annotations

import pytest

from platint_tui.core.blame import Blame, blame, what_next, whose_fault
from platint_tui.core.errors import ErrorClass
from platint_tui.core.states import DeadLetterState


@pytest.mark.parametrize(
    ("error_class", "code", "meant"),
    [
        (ErrorClass.RECORD, "too_long", Blame.DATA),
        # A record that a target refuses is its own fault, whatever the target calls it.
        (ErrorClass.RECORD, "timeout", Blame.DATA),
        (ErrorClass.CONFIG, "target_shape", Blame.CONFIG),
        (ErrorClass.AUTH, "credentials", Blame.CONFIG),
        (ErrorClass.RATE_LIMITED, "rate_limited", Blame.PLATFORM),
        (ErrorClass.TRANSIENT, "http_503", Blame.PLATFORM),
        (ErrorClass.TRANSIENT, "dns", Blame.NETWORK),
        (ErrorClass.TRANSIENT, "connection_refused", Blame.NETWORK),
        (ErrorClass.TRANSIENT, "read_timeout", Blame.NETWORK),
        (ErrorClass.TRANSIENT, "unknown_outcome", Blame.NETWORK),
        (ErrorClass.TRANSIENT, "tls", Blame.CONFIG),
        (ErrorClass.SYSTEMIC, "json", Blame.PLATFORM),
    ],
)
def test_whose(error_class: ErrorClass, code: str, meant: Blame) -> None:
    assert blame(error_class, code) is meant


def test_every_class_says_whose_fault_and_what_next() -> None:
    for error_class in ErrorClass:
        for native in (False, True):
            assert whose_fault(error_class, native=native)
            assert what_next(error_class, native=native).endswith(".")
            assert what_next(error_class, "x", "Do this.", native=native) == "Do this."
    assert "the source" in whose_fault(ErrorClass.RECORD, "key")
    assert "network" in whose_fault(ErrorClass.TRANSIENT, "dns")
    assert "answer was lost" in what_next(ErrorClass.TRANSIENT, "unknown_outcome")


def test_what_was_sent_and_not_answered_is_looked_at_before_anything_else() -> None:
    said = what_next(ErrorClass.RECORD, "invalid_email", "Correct it.", state=DeadLetterState.UNKNOWN)
    assert said.startswith("Its answer was lost: look at the target")
    assert what_next(ErrorClass.RECORD, "", "Correct it.", state=DeadLetterState.OPEN) == "Correct it."
