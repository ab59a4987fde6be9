"""Things to store: small, valid, and different where a test asks for it."""

from __future__ import annotations

import os
from pathlib import Path

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ErrorClass
from platint_tui.core.ids import digest
from platint_tui.core.model import (
    Counters,
    Environment,
    Fault,
    Integration,
    NewDeadLetter,
    Profile,
    Run,
    StreamMapping,
)
from platint_tui.core.states import RunState
from platint_tui.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]


class FakeClock(SystemClock):
    """A wall clock that a test sets; it moves by itself by a millisecond a look."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        self.ms += 1
        return self.ms


def integration(name: str = "billing", streams: tuple[str, ...] = ("customers", "charges")) -> Integration:
    return Integration(
        name=name,
        integration_type="data_sync",
        source_profile="shop",
        source_platform="payments",
        target_profile="warehouse",
        target_platform="sqlite",
        sync_direction="source_to_target",
        sync_frequency="on_demand",
        error_strategy="dead_letter",
        monitoring=True,
        streams=tuple(StreamMapping(stream, stream, ("id",), (), {"a": "b"}) for stream in streams),
        text=f"integration: {name}\n",
    )


def profile(name: str = "shop") -> Profile:
    return Profile(
        name,
        "payments",
        Environment.SANDBOX,
        {"base_url": "http://127.0.0.1:1"},
        {"api_key": f"keyring:{name}/api_key"},
        ("http://127.0.0.1:1",),
    )


def dead_letter(
    run: str = "run_x",
    key: str = '["a"]',
    content: str = "",
    *,
    fingerprint: str = "f1",
    platform: str = "payments",
    stream: str = "customers",
    integration: str = "billing",
    message: str = "The field 'email' is missing.",
    payload: bytes = b'{"id": "a"}',
) -> NewDeadLetter:
    content = digest(content or key)
    return NewDeadLetter(
        profile="shop",
        platform=platform,
        integration=integration,
        stream=stream,
        run=run,
        manifest_version="1.0.0",
        record_key=key,
        payload=payload,
        content_hash=content,
        idempotency_key=digest(key, content),
        fingerprint=fingerprint,
        fault=Fault(
            ErrorClass.RECORD,
            "missing_field",
            message,
            "email",
            "Add it.",
            {"method": "POST"},
            {"status": 422},
        ),
    )


async def running(store: SqliteStore, name: str = "billing", worker: str = "w1") -> Run:
    """A claimed run of two running streams."""
    known = await store.integrations.put(integration(name))
    await store.runs.create(known, (), "manual")
    run = await store.runs.claim(worker)
    assert run is not None
    for stream in run.streams:
        await store.runs.move_stream(run.id, run.epoch, stream.stream, RunState.RUNNING)
    return run


async def commit(
    store: SqliteStore,
    run: Run,
    seq: int,
    *letters: NewDeadLetter,
    stream: str = "customers",
    keys: tuple[str, ...] = (),
) -> int:
    """One page of ten records."""
    bad = len(letters)
    return await store.runs.commit_page(
        run.id,
        run.epoch,
        stream,
        seq=seq,
        confirmed={"v": 1, "since": seq},
        counters=Counters(read=10, written=10 - bad, dead_lettered=bad, pages=1, requests=1, bytes=100),
        dead_letters=letters,
        written_keys=keys,
    )


def process_environment(**more: str) -> dict[str, str]:
    """For a helper process that imports the program from this tree."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **more}
