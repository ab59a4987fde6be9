"""A real installation: store, manifests, demo platforms in a process of their own, and engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import platint_tui
from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Command, DeadLetter, Environment, Profile, Run
from platint_tui.core.paths import Paths, find_paths
from platint_tui.core.states import FINAL_RUN_STATES
from platint_tui.engine.context import Context
from platint_tui.engine.engine import Engine
from platint_tui.engine.serve import make_context
from platint_tui.manifest.integration import load_integration
from platint_tui.manifest.registry import Registry
from platint_tui.store import open_store
from platint_tui.store.ports import DeadLetterFilter, Store
from platint_tui.vault import Vault

SECRETS = {
    "DEMO_PAYMENTS_KEY": "pk_demo_0123456789",
    "DEMO_CRM_SECRET": "cs_demo_0123456789",
    "DEMO_CHAT_TOKEN": "xoxb-demo-0123456789",
}
DEADLINE = 60.0
ROOT = str(Path(platint_tui.__file__).parents[1])

TO_SQLITE = """
integration: to-sqlite
integration_type: data_sync
platforms:
  - {name: demo-payments, profile: payments, type: api, endpoints: [customers, charges]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
"""
TO_CRM = """
integration: to-crm
integration_type: data_sync
platforms:
  - {name: demo-payments, profile: payments, type: api, endpoints: [customers]}
  - {name: demo-crm, profile: crm, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
streams:
  customers:
    target: contacts
    key: [id]
    select: [name, email, country, balance, updated_at]
    map: {external_id: id}
"""


async def until(what: Callable[[], Awaitable[Any]], seconds: float = DEADLINE) -> Any:
    """Wait for a condition; returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = await what()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        await asyncio.sleep(0.02)


class Demo:
    """`python -m platint_tui.demo`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        document = {
            "misbehave": False,
            "latency": [0, 0],
            "state": str(folder / "demo"),
            **settings,
            "credentials": {
                "payments_key": SECRETS["DEMO_PAYMENTS_KEY"],
                "crm_client_id": "client-demo-1",
                "crm_client_secret": SECRETS["DEMO_CRM_SECRET"],
                "chat_token": SECRETS["DEMO_CHAT_TOKEN"],
            },
        }
        self.crm_file = folder / "demo" / "crm.sqlite3"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "platint_tui.demo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()
        self.urls: dict[str, str] = json.loads(self.process.stdout.readline())

    def crm_rows(self) -> dict[str, int]:
        """external_id -> how often it was written."""
        with contextlib.closing(sqlite3.connect(self.crm_file)) as connection:
            return dict(connection.execute("SELECT external_id, writes FROM contacts").fetchall())

    def stop(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(10)
        assert self.process.stdout
        self.process.stdout.close()


class ShiftClock(SystemClock):
    """The machine's clock; a test may move its wall time forward by `shift_ms`."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.shift_ms


class Installation:
    """One PLATINT_HOME with its store open as a console has it."""

    def __init__(self, home: Path, store: Store, registry: Registry, environ: Mapping[str, str]) -> None:
        self.home = home
        self.paths: Paths = find_paths(environ)
        self.store = store
        self.registry = registry
        self.environ = dict(environ)
        self.clock = ShiftClock()
        self.warehouse = home / "warehouse.sqlite"
        self._children: list[subprocess.Popen[bytes]] = []

    async def profile(
        self, name: str, platform: str, fields: Mapping[str, str], secrets: Mapping[str, str] | None = None
    ) -> None:
        origins = tuple(value for value in fields.values() if value.startswith("http"))
        await self.store.profiles.put(
            Profile(name, platform, Environment.SANDBOX, dict(fields), dict(secrets or {}), origins)
        )

    async def demo_profiles(self, demo: Demo) -> None:
        await self.profile(
            "payments",
            "demo-payments",
            {"base_url": demo.urls["payments"]},
            {"api_key": "env:DEMO_PAYMENTS_KEY"},
        )
        await self.profile(
            "crm",
            "demo-crm",
            {"base_url": demo.urls["crm"], "client_id": "client-demo-1"},
            {"client_secret": "env:DEMO_CRM_SECRET"},
        )
        await self.profile("warehouse", "sqlite", {"path": str(self.warehouse)})

    async def integrate(self, text: str) -> str:
        return (await self.store.integrations.put(load_integration(text, self.registry))).name

    async def call(self, kind: str, **args: Any) -> Command:
        """Submit a command and wait for its end; some engine must run."""
        command = await self.store.commands.submit(kind, args, "test")

        async def ended() -> Command | None:
            found = await self.store.commands.get(command.id)
            return found if found and found.state != "pending" else None

        found: Command = await until(ended)
        return found

    async def submit(self, kind: str, **args: Any) -> str:
        return (await self.store.commands.submit(kind, args, "test")).id

    async def run(self, integration: str, *streams: str) -> Run:
        """Run to an end, with an engine that somebody else provides."""
        answer = await self.call("run", integration=integration, streams=list(streams))
        assert answer.state == "done", answer.error
        return await self.ended(str((answer.result or {})["run"]))

    async def ended(self, run: str) -> Run:
        async def final() -> Run | None:
            found = await self.store.runs.get(run)
            return found if found and found.state in FINAL_RUN_STATES else None

        found: Run = await until(final)
        return found

    async def letters(self, **where: Any) -> list[DeadLetter]:
        inbox = self.store.dead_letters
        return list(await inbox.rows(await inbox.numbers(DeadLetterFilter(**where), newest_first=False)))

    def table(self, name: str) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.warehouse)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]

    def context(self) -> Context:
        vault = Vault(self.paths.config, self.environ)
        return make_context(self.store, self.registry, vault, clock=self.clock)

    @contextlib.asynccontextmanager
    async def engine(self, **changes: Any) -> AsyncIterator[Engine]:
        """An engine inside the test, over a store of its own."""
        store = await open_store(self.paths.database, clock=self.clock, role="engine")
        vault = Vault(self.paths.config, self.environ)
        engine = Engine(make_context(store, self.registry, vault, clock=self.clock, **changes))
        stop = asyncio.Event()
        task = asyncio.create_task(engine.run(stop))
        try:
            yield engine
        finally:
            stop.set()
            try:
                await task
            finally:
                await store.close()

    def spawn(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """An engine process."""
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("engine_process.py")), *arguments],
            env={**self.environ, "PYTHONPATH": ROOT, **environ},
            stderr=subprocess.PIPE,
        )
        self._children.append(process)
        return process

    def finish(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Let an engine process work until idle or dead: (exit code, what it said)."""
        process = self.spawn(*arguments, **environ)
        try:
            _, said = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
            pytest.fail(f"the engine does not end: {said.decode()[-3000:]}")
        return process.returncode, said.decode()

    def close(self) -> None:
        for process in self._children:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()
