"""The pace of a job: never faster than asked for, whatever the moments at which it is looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from platint_tui.engine.pace import Pace

MOMENTS = st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=40)


@given(st.floats(0.5, 500), st.floats(0, 10), MOMENTS, st.integers(1, 200))
def test_never_more_than_the_rate_allows(rate: float, ramp: float, pauses: list[float], most: int) -> None:
    pace, now, gone = Pace(rate, ramp), 100.0, list[tuple[float, int]]()
    for pause in pauses:
        now += pause
        gone.append((now, pace.take(now, most)))
    for at, (start, _) in enumerate(gone):
        sent = 0
        for moment, count in gone[at:]:
            sent += count
            # A second's worth may have been saved up, and the first one need not wait.
            assert sent <= rate * (moment - start) + max(1.0, rate) + 1 + 1e-6


def test_the_ramp_is_slow_at_first_and_then_reaches_the_rate() -> None:
    pace = Pace(100.0, 10.0)
    counts = [sum(pace.take(second + part / 20, 1000) for part in range(20)) for second in range(15)]
    assert counts[0] <= 8 and counts[4] < counts[8] and 95 <= counts[-1] <= 105


def test_without_a_rate_everything_may_go_and_what_did_not_go_is_not_counted() -> None:
    assert Pace(0.0).take(1.0, 500) == 500
    pace = Pace(10.0)
    assert pace.take(0.0, 5) == 1
    assert pace.take(1.0, 5) == 5
    pace.give_back(5)
    assert pace.take(1.0, 50) == 10
