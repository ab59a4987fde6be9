"""Named places in the engine where a test can kill the process, to prove that a crash there loses nothing.

`PLATINT_FAILPOINT=name:hit` kills this process with SIGKILL when `name` is reached for the `hit`-th time.
Without the variable a failpoint is one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "after_fetch",
    "before_write",
    "after_target_commit",
    "before_store_commit",
    "after_store_commit",
    "ingest.before_commit",
    "ingest.after_commit",
    "ingest.before_answer",
    "route.after_commit",
    "deliver.after_intent",
    "deliver.after_fetch",
    "deliver.after_send",
    "deliver.before_settle",
    "subscribe.after_intent",
    "subscribe.after_create",
    "subscribe.after_secret",
    "backfill.after_ingest",
    "replay.planned",
    "replay.after_intent",
    "replay.after_send",
    "replay.after_settle",
    "replay.paused",
)
"""Every failpoint of the engine, in the order in which what it does passes them: a run, an event, a subscription, a
backfill, a replay."""

_name, _, _hit = os.environ.get("PLATINT_FAILPOINT", "").partition(":")
_left = int(_hit) if _hit.isdigit() else 1


def failpoint(name: str) -> None:
    """Die here, as if by kill -9, when the environment asks for it."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
