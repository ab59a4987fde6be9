"""A real installation and real demo platforms for every test of the engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.peer import Peer, write_manifest
from engine.support import SECRETS, Demo, Installation

from platint_tui.core.clock import SystemClock
from platint_tui.core.paths import find_paths
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.store import open_store


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """`demo(records=400)`: well-behaved demo platforms without latency unless told otherwise."""
    servers: list[Demo] = []

    def start(**settings: Any) -> Demo:
        servers.append(Demo(tmp_path, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
async def installation(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    """An empty installation."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    environ = dict(os.environ)
    paths = find_paths(environ)
    clock = SystemClock()
    store = await open_store(paths.database, clock=clock, role="console")
    registry = Registry(default_dirs(None, paths.connectors, environ))
    made = Installation(home, store, registry, environ)
    try:
        yield made
    finally:
        made.close()
        await store.close()


@pytest.fixture
async def peer(installation: Installation) -> AsyncIterator[Peer]:
    """A platform that does what the test says, with profiles `source`, `sink` and `warehouse`."""
    write_manifest(installation.paths.connectors)
    server = Peer()
    await server.start()
    for name in ("source", "sink"):
        await installation.profile(name, "peer", {"base_url": server.url})
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    yield server
    await server.stop()
