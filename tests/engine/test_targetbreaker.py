"""The circuit breaker of a target: pure, with the clock in the test's hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.backoff import RetryPolicy
from platint_tui.engine.targetbreaker import OPENS_AFTER, BreakerState, TargetBreaker

POLICY = RetryPolicy(attempts=5, base=1.0, cap=8.0)


def opened() -> TargetBreaker:
    breaker = TargetBreaker(POLICY)
    for _ in range(OPENS_AFTER):
        breaker.failed(0.0, "down")
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = TargetBreaker(POLICY)
    for _ in range(3):
        for _ in range(OPENS_AFTER - 1):
            assert not breaker.failed(0.0, "down")
        assert not breaker.succeeded()
    assert breaker.view(0.0).state is BreakerState.CLOSED
    assert breaker.admit(0.0) is None


def test_an_open_one_lets_nothing_through_then_one_try() -> None:
    breaker = opened()
    assert breaker.view(0.5).state is BreakerState.OPEN
    assert (breaker.admit(0.5), breaker.view(0.5).wait) == (0, 0.5)
    assert breaker.admit(1.0) == 1
    assert breaker.view(1.0).state is BreakerState.HALF_OPEN
    assert breaker.admit(1.0) == 0
    breaker.give_back()
    assert breaker.admit(1.1) == 1
    assert breaker.succeeded()
    assert breaker.admit(1.1) is None


def test_each_try_that_fails_doubles_the_pause_up_to_the_cap() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        pauses.append(breaker.view(now).wait)
        now += pauses[-1]
        assert breaker.admit(now) == 1
        assert breaker.failed(now, "down")
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause() -> None:
    breaker = opened()
    for _ in range(10):
        assert not breaker.failed(0.9, "down")
    assert breaker.admit(1.0) == 1


@given(st.lists(st.sampled_from(["fail", "succeed", "admit", "give_back", "wait"]), max_size=60))
def test_no_two_tries_at_once_and_it_always_opens_up_again(steps: list[str]) -> None:
    breaker, now, trying = TargetBreaker(POLICY), 0.0, False
    for step in steps:
        if step == "wait":
            now += 3.0
        elif step == "admit":
            admitted = breaker.admit(now)
            assert not (trying and admitted == 1)
            trying = trying or admitted == 1
        elif step == "give_back":
            breaker.give_back()
            trying = False
        elif step == "fail":
            breaker.failed(now, "down")
            trying = False
        else:
            breaker.succeeded()
            trying = False
    breaker.give_back()
    assert breaker.admit(now + POLICY.cap) in (None, 1)
