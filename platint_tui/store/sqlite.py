"""The store in one SQLite file: opening, checking, closing."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, StoreError
from platint_tui.store import Role, files, migrations, ports
from platint_tui.store.alerts import Alerts
from platint_tui.store.catalogues import Catalogues
from platint_tui.store.commands import Commands
from platint_tui.store.connection import APPLICATION_ID, connect
from platint_tui.store.database import Database
from platint_tui.store.deadletters import DeadLetters
from platint_tui.store.deliveries import Deliveries
from platint_tui.store.events import Events
from platint_tui.store.gaps import Gaps
from platint_tui.store.integrations import Integrations
from platint_tui.store.limits import Limits
from platint_tui.store.metrics import Metrics
from platint_tui.store.profiles import Profiles
from platint_tui.store.replays import Replays
from platint_tui.store.retention import Retention
from platint_tui.store.rules import Rules
from platint_tui.store.runs import Runs
from platint_tui.store.settings import Settings
from platint_tui.store.sources import Sources
from platint_tui.store.sqlite_errors import translate
from platint_tui.store.subscriptions import Subscriptions
from platint_tui.store.workers import Workers

QUICK_CHECK_SECONDS = 1.0
"""How long the start may look for damage after an unclean end."""


class SqliteStore:
    """ports.Store over one SQLite file. Made by `open_store`."""

    def __init__(self, database: Database, clock: Clock, role: Role) -> None:
        self.database = database
        self.role = role
        self.profiles: ports.Profiles = Profiles(database, clock)
        self.catalogues: ports.Catalogues = Catalogues(database, clock)
        self.integrations: ports.Integrations = Integrations(database, clock)
        self.runs: ports.Runs = Runs(database, clock)
        self.dead_letters: ports.DeadLetters = DeadLetters(database, clock)
        self.replays: ports.Replays = Replays(database, clock)
        self.rules: ports.Rules = Rules(database, clock)
        self.events: ports.Events = Events(database, clock)
        self.deliveries: ports.Deliveries = Deliveries(database, clock)
        self.gaps: ports.Gaps = Gaps(database, clock)
        self.subscriptions: ports.Subscriptions = Subscriptions(database, clock)
        self.sources: ports.Sources = Sources(database, clock)
        self.alerts: ports.Alerts = Alerts(database, clock)
        self.commands: ports.Commands = Commands(database, clock)
        self.workers: ports.Workers = Workers(database, clock)
        self.metrics: ports.Metrics = Metrics(database, clock)
        self.limits: ports.Limits = Limits(database, clock)
        self.settings: ports.Settings = Settings(database, clock)
        self._retention = Retention(database, clock)

    @classmethod
    async def open(cls, path: Path, *, clock: Clock, role: Role, busy_timeout_ms: int = 5000) -> SqliteStore:
        """Open the database at `path` as `open_store` says."""
        path = files.absolute(path)
        writes = role != "reader"
        if not files.exists(path):
            if not writes:
                raise ConfigError(
                    "There is no database here yet.",
                    where=str(path),
                    hint="Start platint-tui once to create it.",
                    code="no_database",
                )
            await _create(path)
        unclean = files.unclean(path)
        database = await Database.open(
            path, writes=writes, checkpoints=role == "engine", busy_timeout_ms=busy_timeout_ms
        )
        try:
            await _bring_up_to_date(database, path, writes=writes)
            if unclean and role == "engine":
                await _refuse_damage(database, path)
        except BaseException:
            await database.close()
            raise
        return cls(database, clock, role)

    async def data_version(self) -> int:
        """Changes whenever any process committed something; cheap enough to poll."""
        return await self.database.data_version()

    async def purge(self) -> int:
        """Apply retention; returns how many rows went."""
        return await self._retention.purge()

    async def close(self) -> None:
        """Let waiting writes finish and close the file. Calling it again does nothing."""
        await self.database.close()


async def _create(path: Path) -> None:
    """Make a new database under another name and give it its own when it is complete.

    So a database is there whole or not at all, and an empty file is always something that went wrong.
    """
    files.prepare_folder(path.parent)
    made = path.with_name(f".{path.name}.new-{secrets.token_hex(6)}")
    files.create_empty(made)
    try:
        connection = await connect(made, writes=True, checkpoints=True)
        try:
            await connection.run(_mark_as_ours)
            await connection.run(migrations.migrate)
        finally:
            await connection.close()
    except sqlite3.Error as error:
        for name in (made, Path(f"{made}-wal"), Path(f"{made}-shm")):
            name.unlink(missing_ok=True)
        raise translate(error, path) from error
    files.publish(made, path)


def _mark_as_ours(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


async def _bring_up_to_date(database: Database, path: Path, *, writes: bool) -> None:
    def check(connection: sqlite3.Connection) -> int:
        return migrations.check_version(connection, path)

    version = await database.alone(check)
    if version == len(migrations.steps()):
        return
    if not writes:
        raise ConfigError(
            f"The database has version {version}; this platint-tui needs {len(migrations.steps())}.",
            where=str(path),
            hint="Start platint-tui once without --read-only: it upgrades the database.",
            code="older_version",
        )
    await database.alone(migrations.migrate)


async def _refuse_damage(database: Database, path: Path) -> None:
    found = await database.quick_check(QUICK_CHECK_SECONDS)
    if found not in {"ok", ""}:
        raise StoreError(
            f"The database file is damaged ({found}).",
            where=str(path),
            hint="Stop the program, copy the file somewhere safe, and restore a backup.",
            code="damaged",
        )
