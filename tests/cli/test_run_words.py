"""What a person reads of a run: when it began, how long it took, and when a parked one goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from platint_tui.cli.runs import print_run, state_words
from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.states import RunState


def made(state: RunState, resume_at_ms: int | None = None) -> Run:
    stream = StreamProgress(
        "r", "items", state, 1, 1, 0, 0, 1, 3, 9, None, 1, None, error="Wait.", resume_at_ms=resume_at_ms
    )
    return Run("r", 7, "bills", 1, "manual", state, 1, None, 1_000, 1_000, 4_200, False, (stream,))


def test_begin_and_length_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(made(RunState.SUCCEEDED))
    shown = capsys.readouterr().out
    assert "run 7  bills version 1  ok" in shown and "took 3.2 s" in shown and "started 19" in shown
    print_run(replace(made(RunState.QUEUED), started_ms=None, ended_ms=None))
    assert "started" not in capsys.readouterr().out.lower().replace("restarted", "")


def test_a_parked_run_says_when_it_goes_on() -> None:
    now = SystemClock().now_ms()
    run = made(RunState.RATE_LIMITED, now + 7_500_000)
    assert "rate limited, goes on in 2 h" in state_words(run) == state_words(run.streams[0])
    assert state_words(made(RunState.RATE_LIMITED, now - 1)).endswith("goes on now")
    assert state_words(made(RunState.RATE_LIMITED)) == "|| rate limited"
