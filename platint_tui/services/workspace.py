"""One opened installation: its files, store, manifests and vault, for the command line and the console."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platint_tui import __version__
from platint_tui.core.clock import Clock, SystemClock
from platint_tui.core.ids import new_id
from platint_tui.core.model import Worker
from platint_tui.core.paths import Paths, find_paths, make_private
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.store import open_store
from platint_tui.store.ports import Store
from platint_tui.vault import Vault, vault_file


@dataclass(frozen=True, slots=True)
class Workspace:
    """What every use case needs. `actor` is written into the audit, `worker` names this process."""

    paths: Paths
    store: Store
    registry: Registry
    vault: Vault
    clock: Clock
    actor: str
    worker: str
    environ: Mapping[str, str]
    connectors: Path | None = None
    read_only: bool = False
    passphrase: Callable[[], str] | None = None
    started_ms: int = field(default=0)

    async def changed(self) -> int:
        """A number that changes whenever any process committed something."""
        return await self.store.data_version()

    async def beat(self) -> None:
        """Tell the engine that a console is looking, so that it stays while one does."""
        host = os.uname().nodename
        await self.store.workers.beat(
            Worker(
                self.worker, "console", host, os.getpid(), __version__, self.started_ms, self.clock.now_ms()
            )
        )

    async def close(self) -> None:
        """Leave: the worker row goes, the database is closed."""
        await self.store.workers.gone(self.worker)
        await self.store.close()


async def open_workspace(
    *,
    environ: Mapping[str, str] | None = None,
    connectors: Path | None = None,
    read_only: bool = False,
    passphrase: Callable[[], str] | None = None,
    clock: Clock | None = None,
) -> Workspace:
    """Open the installation that the environment names, creating it when it is not there.

    Raises ConfigError or StoreError with the folder or file in the sentence.
    """
    environ = os.environ if environ is None else environ
    clock = clock or SystemClock()
    paths = find_paths(environ)
    for folder in (paths.config, paths.data, paths.state):
        make_private(folder)
    store = await open_store(paths.database, clock=clock, role="console")
    return Workspace(
        paths=paths,
        store=store,
        registry=Registry(default_dirs(connectors, paths.connectors, environ)),
        vault=Vault(paths.config, environ, passphrase),
        clock=clock,
        actor=_actor(),
        worker=new_id("con"),
        environ=environ,
        connectors=connectors,
        read_only=read_only,
        passphrase=passphrase if vault_file(paths.config).exists() else None,
        started_ms=clock.now_ms(),
    )


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
