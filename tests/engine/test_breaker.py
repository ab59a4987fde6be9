"""The breaker of dead letters: by rate over the last records, by cause, and for what is no record's fault."""

from __future__ import annotations

import random

import pytest

from platint_tui.core.errors import ErrorClass, SystemicError
from platint_tui.core.model import Fault
from platint_tui.engine.breaker import AT_LEAST, AT_LEAST_SYSTEMIC, PROBE, WINDOW, FaultBreaker

BAD = Fault(ErrorClass.RECORD, "bad", "It is bad.", hint="Mend it")
DOWN = Fault(ErrorClass.TRANSIENT, "unknown_outcome", "The answer was lost.")


def failures(count: int, name: str = "one", fault: Fault = BAD) -> list[tuple[str, Fault]]:
    return [(name, fault)] * count


def test_200_records_and_one_cause_of_more_than_half() -> None:
    breaker = FaultBreaker()
    breaker.count(199, failures(199))
    breaker.check()
    breaker.count(201, failures(1, "two"))
    breaker.check()
    breaker.count(0, failures(2))
    with pytest.raises(SystemicError) as caught:
        breaker.check()
    assert caught.value.code == "too_many_dead_letters"
    assert caught.value.sentence() == (
        "201 of 400 records failed for one reason (bad: It is bad), so the stream was stopped. "
        "Mend it. Repair the cause, then run it again; the inbox keeps the failed."
    )


def test_an_outage_after_a_long_good_time_is_noticed_within_the_window() -> None:
    breaker, failed = FaultBreaker(), 0
    for _ in range(1000):
        breaker.count(100, failures(1))
        assert breaker.stop() is None
    while (error := breaker.stop()) is None:
        breaker.count(100, failures(100))
        failed += 100
    assert failed <= WINDOW // 2 + 100 and "of the last 1" in error.message


def test_different_causes_stop_it_when_nearly_all_fail() -> None:
    breaker = FaultBreaker()
    breaker.count(200, [(f"cause {number % 90}", BAD) for number in range(179)])
    assert breaker.stop() is None
    breaker.count(100, [(f"cause {number % 90}", BAD) for number in range(99)])
    error = breaker.stop()
    assert error is not None and "278 of 300 records failed for 90 reasons" in error.message


def test_what_is_no_records_fault_stops_it_sooner() -> None:
    breaker = FaultBreaker()
    breaker.count(AT_LEAST_SYSTEMIC - 1, failures(AT_LEAST_SYSTEMIC - 1, fault=DOWN))
    assert breaker.stop() is None
    breaker.count(1, failures(1, "two", DOWN))
    error = breaker.stop()
    assert error is not None and "50 of 50 records failed through no fault of theirs" in error.message


def test_a_new_try_after_a_stop_is_short_until_it_goes_well() -> None:
    breaker = FaultBreaker("nothing more is delivered for now", "It is tried again.")
    breaker.count(AT_LEAST, failures(AT_LEAST))
    error = breaker.stop()
    assert error is not None and error.message.endswith("so nothing more is delivered for now.")
    assert error.hint.endswith("It is tried again.")
    assert breaker.stop() is None
    breaker.count(PROBE - 1, failures(PROBE - 1))
    assert breaker.stop() is None
    breaker.count(1, failures(1))
    assert breaker.stop() is not None
    breaker.count(AT_LEAST, [])
    breaker.count(PROBE, failures(PROBE))
    assert breaker.stop() is None


def test_some_bad_records_never_stop_it() -> None:
    """Forty in a hundred of one cause and forty of others, in batches of any size."""
    rng, breaker = random.Random(1), FaultBreaker()
    for _ in range(2000):
        read = rng.choice((10, 20, 100, 500))
        breaker.count(read, failures(read * 4 // 10) + [(f"c{at}", BAD) for at in range(read * 4 // 10)])
        assert breaker.stop() is None
