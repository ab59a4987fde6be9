"""The lives of a run, of a stream in a run, and of a dead letter, as explicit state machines."""

from __future__ import annotations

from enum import StrEnum

from platint_tui.core.errors import SystemicError


class RunState(StrEnum):
    """States of a run and of each stream in it."""

    QUEUED = "queued"
    RUNNING = "running"
    RATE_LIMITED = "rate_limited"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.FAILED, RunState.INTERRUPTED}),
    RunState.RUNNING: frozenset(
        {
            RunState.RATE_LIMITED,
            RunState.SUCCEEDED,
            RunState.PARTIAL,
            RunState.FAILED,
            RunState.CANCELLED,
            RunState.INTERRUPTED,
        }
    ),
    RunState.RATE_LIMITED: frozenset(
        {RunState.RUNNING, RunState.CANCELLED, RunState.FAILED, RunState.INTERRUPTED}
    ),
    RunState.INTERRUPTED: frozenset({RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.PARTIAL: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

ACTIVE_RUN_STATES = frozenset(
    {RunState.QUEUED, RunState.RUNNING, RunState.RATE_LIMITED, RunState.INTERRUPTED}
)
FINAL_RUN_STATES = frozenset(RunState) - ACTIVE_RUN_STATES


class DeadLetterState(StrEnum):
    """States of a dead letter.

    `unknown`: sent without an answer, waits for the operator. `edited`: replaced by a child that holds the
    edit. `superseded`: a later version of the same record was written, or the target holds a newer one. `gone`:
    the platform that kept it in a dead-letter queue of its own holds it no longer.
    """

    OPEN = "open"
    REPLAYING = "replaying"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    EDITED = "edited"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    GONE = "gone"


DEAD_LETTER_MOVES: dict[DeadLetterState, frozenset[DeadLetterState]] = {
    DeadLetterState.OPEN: frozenset(
        {
            DeadLetterState.REPLAYING,
            DeadLetterState.EDITED,
            DeadLetterState.SUPERSEDED,
            DeadLetterState.DISCARDED,
            DeadLetterState.GONE,
        }
    ),
    DeadLetterState.REPLAYING: frozenset(
        {
            DeadLetterState.OPEN,
            DeadLetterState.UNKNOWN,
            DeadLetterState.SUCCEEDED,
            DeadLetterState.SUPERSEDED,
            DeadLetterState.GONE,
        }
    ),
    DeadLetterState.UNKNOWN: frozenset(
        {
            DeadLetterState.REPLAYING,
            DeadLetterState.SUPERSEDED,
            DeadLetterState.DISCARDED,
            DeadLetterState.GONE,
        }
    ),
    DeadLetterState.SUCCEEDED: frozenset(),
    DeadLetterState.EDITED: frozenset({DeadLetterState.OPEN}),
    DeadLetterState.SUPERSEDED: frozenset(),
    DeadLetterState.DISCARDED: frozenset({DeadLetterState.OPEN}),
    DeadLetterState.GONE: frozenset({DeadLetterState.OPEN}),
}

UNRESOLVED_DEAD_LETTER_STATES = frozenset(
    {DeadLetterState.OPEN, DeadLetterState.REPLAYING, DeadLetterState.UNKNOWN}
)


class ReplayState(StrEnum):
    """States of a replay job.

    `planning`: its items are being written. `canary`: the first few are on their way, and `waiting` for an
    operator's word about the rest. `paused` by an operator, or because the target seems to be down. `cancelling`:
    what is in flight still settles.
    """

    PLANNING = "planning"
    CANARY = "canary"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"


REPLAY_MOVES: dict[ReplayState, frozenset[ReplayState]] = {
    ReplayState.PLANNING: frozenset(
        {ReplayState.CANARY, ReplayState.RUNNING, ReplayState.CANCELLING, ReplayState.DONE}
    ),
    ReplayState.CANARY: frozenset(
        {
            ReplayState.WAITING,
            ReplayState.RUNNING,
            ReplayState.PAUSED,
            ReplayState.CANCELLING,
            ReplayState.DONE,
        }
    ),
    ReplayState.WAITING: frozenset({ReplayState.RUNNING, ReplayState.CANCELLING, ReplayState.DONE}),
    ReplayState.RUNNING: frozenset({ReplayState.PAUSED, ReplayState.CANCELLING, ReplayState.DONE}),
    ReplayState.PAUSED: frozenset(
        {ReplayState.CANARY, ReplayState.RUNNING, ReplayState.CANCELLING, ReplayState.DONE}
    ),
    ReplayState.CANCELLING: frozenset({ReplayState.CANCELLED}),
    ReplayState.DONE: frozenset(),
    ReplayState.CANCELLED: frozenset(),
}
"""`done` comes by itself with the last item, also while a job waits or is paused: a sync may have written newer
versions of what is left."""

SENDING_REPLAY_STATES = frozenset({ReplayState.CANARY, ReplayState.RUNNING})
"""In which items are claimed."""
WORKED_REPLAY_STATES = SENDING_REPLAY_STATES | {ReplayState.CANCELLING}
"""In which an engine has something to do for a job."""


class IssueState(StrEnum):
    """States of an issue: the dead letters of one fingerprint."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    IGNORED = "ignored"


def check_run_move(old: RunState, new: RunState) -> None:
    """Raise SystemicError unless a run may go from `old` to `new`."""
    if new not in RUN_MOVES[old]:
        raise SystemicError(f"A run cannot go from {old} to {new}.", code="state")


def check_dead_letter_move(old: DeadLetterState, new: DeadLetterState) -> None:
    """Raise SystemicError unless a dead letter may go from `old` to `new`."""
    if new not in DEAD_LETTER_MOVES[old]:
        raise SystemicError(f"A dead letter cannot go from {old} to {new}.", code="state")


def check_replay_move(old: ReplayState, new: ReplayState) -> None:
    """Raise SystemicError unless a replay job may go from `old` to `new`."""
    if new not in REPLAY_MOVES[old]:
        raise SystemicError(f"A replay cannot go from {old} to {new}.", code="state")
