"""Data for the tests of the console, put in through the store's own protocols."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from platint_tui.core.errors import ErrorClass
from platint_tui.core.histogram import Histogram
from platint_tui.core.ids import digest
from platint_tui.core.model import (
    Capability,
    Catalogue,
    Counters,
    Environment,
    Fault,
    Field,
    Integration,
    NewDeadLetter,
    Profile,
    Run,
    Stream,
    StreamMapping,
)
from platint_tui.core.paths import Paths
from platint_tui.core.states import RunState
from platint_tui.manifest.registry import Registry
from platint_tui.services.workspace import Workspace
from platint_tui.store import open_store
from platint_tui.store.ports import MetricRow
from platint_tui.vault import Vault

NOW_MS = 1_772_460_300_000
"""2026-03-02 14:05:00 UTC: what the clock of a test says."""
MINUTE = 60_000
CONNECTORS = Path(__file__).parents[2] / "connectors"


class FixedClock:
    """A wall clock that moves only when told to; waiting takes real time."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)


async def open_workspace(home: Path, clock: FixedClock, *, read_only: bool = False) -> Workspace:
    """A workspace over a real store under `home`, with the manifests of the repository."""
    paths = Paths(home / "config", home / "data", home / "state")
    for folder in (paths.config, paths.data, paths.state):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Workspace(
        paths=paths,
        store=await open_store(paths.database, clock=clock, role="console"),
        registry=Registry((CONNECTORS,)),
        vault=Vault(paths.config, {}, None),
        clock=clock,
        actor="tester",
        worker="con_test",
        environ={},
        read_only=read_only,
        started_ms=clock.now_ms(),
    )


def profile(name: str, platform: str, *, environment: str = "sandbox", **fields: str) -> Profile:
    """A profile with one secret by reference."""
    return Profile(
        name=name,
        platform=platform,
        environment=Environment(environment),
        fields=fields,
        secrets={"api_key": f"keyring:{name}/api_key"},
        origins=("http://127.0.0.1:4701",),
        created_ms=NOW_MS - 86_400_000,
        updated_ms=NOW_MS - 86_400_000,
    )


def integration(name: str, source: str, target: str, *streams: str) -> Integration:
    """An integration of the demo platforms."""
    return Integration(
        name=name,
        integration_type="replicate",
        source_profile=source,
        source_platform="demo-payments",
        target_profile=target,
        target_platform="demo-crm" if target == "crm" else "sqlite",
        sync_direction="one_way",
        sync_frequency="manual",
        error_strategy="dead_letter",
        monitoring=True,
        streams=tuple(StreamMapping(item, item, ("id",)) for item in streams),
        text=f"name: {name}\n",
    )


def fault(code: str, field: str, message: str, hint: str = "") -> Fault:
    """Why a record was refused."""
    return Fault(
        ErrorClass.RECORD,
        code,
        message,
        field,
        hint,
        request={"method": "POST", "url": "http://127.0.0.1:4702/v1/contacts"},
        response={"status": 422, "body": {"error": {"code": code, "field": field}}},
    )


FAULTS = (
    fault("missing_field", "email", "email is required", "Give the customer an e-mail address and replay."),
    fault("too_long", "name", "name has 212 characters, at most 80 are allowed"),
    fault("wrong_type", "country", "country must be a string"),
)


def letter(run: Run, stream: str, number: int, why: Fault) -> NewDeadLetter:
    """A refused record of a run."""
    payload = json.dumps({"id": f"cus_{number:04d}", "name": f"Customer {number}", "email": None}).encode()
    return NewDeadLetter(
        profile="crm",
        platform="demo-crm",
        integration=run.integration,
        stream=stream,
        run=run.id,
        manifest_version="0.1.0",
        record_key=json.dumps([f"cus_{number:04d}"]),
        payload=payload,
        content_hash=digest(payload.decode()),
        idempotency_key=digest(run.integration, stream, str(number)),
        fingerprint=digest("demo-crm", stream, why.code, why.field, length=16),
        fault=why,
    )


@dataclass
class Page:
    """One committed page of a seeded run."""

    stream: str
    read: int
    faults: tuple[tuple[Fault, int], ...] = ()


async def seed_run(
    workspace: Workspace,
    clock: FixedClock,
    of: Integration,
    pages: tuple[Page, ...],
    *,
    started_ms: int,
    seconds: float = 8.0,
    ends: RunState | None = RunState.SUCCEEDED,
    failed: tuple[str, str] = ("", ""),
    totals: dict[str, int] | None = None,
    parked_until_ms: int | None = None,
) -> Run:
    """A run that happened at `started_ms`; `ends=None` leaves it active. The clock is put back afterwards."""
    runs = workspace.store.runs
    kept, clock.at_ms = clock.at_ms, started_ms
    streams = [item.stream for item in of.streams]
    created = await runs.create(of, streams, "manual")
    claimed = await runs.claim("eng_test")
    assert claimed is not None and claimed.id == created.id
    for stream in streams:
        await runs.move_stream(
            claimed.id, claimed.epoch, stream, RunState.RUNNING, total=(totals or {}).get(stream)
        )
    seqs: dict[str, int] = {}
    number = 0
    for page in pages:
        clock.at_ms += int(seconds * 1000 / max(1, len(pages)))
        letters = []
        for why, times in page.faults:
            for _ in range(times):
                number += 1
                letters.append(letter(claimed, page.stream, number + claimed.number * 1000, why))
        state = await runs.sync_state(of.name, page.stream)
        seqs[page.stream] = (state.seq if state else 0) + 1
        await runs.commit_page(
            claimed.id,
            claimed.epoch,
            page.stream,
            seq=seqs[page.stream],
            confirmed={"v": 1, "kind": "cursor", "since": "2026-03-02T13:59:00Z", "high": None, "page": None},
            counters=Counters(
                read=page.read,
                written=page.read - len(letters),
                dead_lettered=len(letters),
                pages=1,
                requests=2,
                bytes=page.read * 600,
            ),
            dead_letters=letters,
            written_keys=[],
        )
    if parked_until_ms is not None:
        for stream in streams:
            await runs.move_stream(
                claimed.id, claimed.epoch, stream, RunState.RATE_LIMITED, resume_at_ms=parked_until_ms
            )
        await runs.finish(claimed.id, claimed.epoch, RunState.RATE_LIMITED)
    elif ends is not None:
        for stream in streams:
            dead = any(page.faults for page in pages if page.stream == stream)
            state_of = RunState.PARTIAL if dead else RunState.SUCCEEDED
            code, message = "", ""
            if failed[0] == stream:
                state_of, code, message = RunState.FAILED, "unreachable", failed[1]
            elif ends == RunState.CANCELLED:
                state_of = RunState.CANCELLED
            await runs.move_stream(
                claimed.id, claimed.epoch, stream, state_of, error_code=code, error=message
            )
        await runs.finish(claimed.id, claimed.epoch, ends, failed[1])
    clock.at_ms = kept
    found = await runs.get(claimed.id)
    assert found is not None
    return found


async def seed_metrics(workspace: Workspace) -> None:
    """An hour of requests on two platforms."""
    rows = []
    for minute in range(60):
        for platform, operation, base in (
            ("demo-payments", "read customers", 0.012),
            ("demo-payments", "read charges", 0.02),
            ("demo-crm", "write contacts", 0.045),
        ):
            histogram = Histogram()
            for index in range(20):
                histogram.add(base * (1 + (minute % 7) / 5) * (1 + index / 8))
            start = (NOW_MS - (60 - minute) * MINUTE) // MINUTE * MINUTE
            errors = 3 if minute % 20 == 3 and platform == "demo-crm" else 0
            rows.append(
                MetricRow(
                    start,
                    platform,
                    platform.removeprefix("demo-"),
                    operation,
                    histogram.count,
                    errors,
                    histogram.to_bytes(),
                )
            )
    await workspace.store.metrics.save("eng_test", rows)


async def seed_profiles(workspace: Workspace) -> None:
    """Four profiles; three have been tested, one of them without luck."""
    profiles = workspace.store.profiles
    await profiles.put(profile("payments", "demo-payments", base_url="http://127.0.0.1:4701"))
    await profiles.put(profile("crm", "demo-crm", base_url="http://127.0.0.1:4702", client_id="crm-1"))
    await profiles.put(profile("books", "sqlite", environment="development", path="/srv/books.sqlite"))
    await profiles.put(
        profile("chat", "demo-chat", environment="production", base_url="http://127.0.0.1:4703")
    )
    good = (Capability("me", True, False, "The key is accepted", 11.0),)
    await profiles.save_check("payments", True, good)
    await profiles.save_check("crm", True, good)
    bad = (Capability("me", False, False, "The token was refused (401)", 9.0),)
    await profiles.save_check("chat", False, bad)


async def seed_catalogue(workspace: Workspace) -> None:
    """What discovery found for payments."""
    customers = Stream(
        "customers",
        ("id",),
        "updated_at",
        (
            Field("id", "string", True),
            Field("name", "string", False, 80),
            Field("email", "string"),
            Field("updated_at", "timestamp", True),
        ),
        estimate=2000,
    )
    charges = Stream(
        "charges",
        ("id",),
        "created",
        (Field("id", "string", True), Field("amount", "integer")),
        estimate=5200,
    )
    await workspace.store.catalogues.save(
        Catalogue("payments", "demo-payments", "0.1.0", NOW_MS - 40 * MINUTE, (customers, charges))
    )


async def seed(workspace: Workspace, clock: FixedClock, *, active: bool = False) -> None:
    """An installation that has been in use: profiles, integrations, runs, dead letters, metrics."""
    await seed_profiles(workspace)
    await seed_catalogue(workspace)
    store = workspace.store
    billing = await store.integrations.put(integration("billing", "payments", "crm", "customers"))
    archive = await store.integrations.put(
        integration("archive", "payments", "books", "customers", "charges")
    )
    await seed_run(
        workspace,
        clock,
        archive,
        (Page("customers", 1000), Page("customers", 1000), Page("charges", 5200)),
        started_ms=NOW_MS - 55 * MINUTE,
        seconds=14.2,
    )
    await seed_run(
        workspace,
        clock,
        billing,
        (
            Page("customers", 1000, ((FAULTS[0], 7), (FAULTS[1], 3))),
            Page("customers", 1000, ((FAULTS[0], 5), (FAULTS[2], 2))),
        ),
        started_ms=NOW_MS - 41 * MINUTE,
        seconds=22,
        ends=RunState.PARTIAL,
    )
    await seed_run(
        workspace,
        clock,
        archive,
        (Page("customers", 12),),
        started_ms=NOW_MS - 12 * MINUTE,
        seconds=0.6,
        ends=RunState.PARTIAL,
        failed=("charges", "127.0.0.1:4701 refused the connection."),
    )
    await seed_metrics(workspace)
    if active:
        await seed_run(
            workspace,
            clock,
            billing,
            (Page("customers", 400, ((FAULTS[0], 1),)), Page("customers", 800)),
            started_ms=NOW_MS - 6_000,
            seconds=5,
            ends=None,
            totals={"customers": 2000},
        )
