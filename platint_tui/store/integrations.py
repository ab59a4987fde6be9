"""Integrations as imported. A version is never changed: a run keeps the one that it ran with."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from platint_tui.core.model import Contract, Evolution, Integration, StreamMapping
from platint_tui.store import positions
from platint_tui.store.codec import dump, load, text
from platint_tui.store.deliveries import REMOVED, cancel_waiting
from platint_tui.store.noun import Noun
from platint_tui.store.runrows import refuse_second


class Integrations(Noun):
    """ports.Integrations in SQLite."""

    async def put(self, integration: Integration, restart: Sequence[str] = ()) -> Integration:
        """Store; returns it with its version (a new one only when the text or content changed).

        The positions of the streams in `restart` are forgotten in the same transaction. Raises ConfigError (code
        `already_running`) when there are such streams and a run of the integration is active.
        """
        content = asdict(integration)
        del content["version"], content["text"]
        document, source = dump(content), text(integration.text)
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> int:
            if restart:
                refuse_second(connection, integration.name)
            for stream in restart:
                positions.reset(connection, integration.name, stream)
            newest = connection.execute(
                "SELECT version, content, text FROM integrations WHERE name = ?"
                " ORDER BY version DESC LIMIT 1",
                (integration.name,),
            ).fetchone()
            if newest is not None and (newest["content"], newest["text"]) == (document, source):
                return int(newest["version"])
            version = int(newest["version"]) + 1 if newest is not None else 1
            connection.execute(
                "INSERT INTO integrations (name, version, content, text, created_ms) VALUES (?, ?, ?, ?, ?)",
                (integration.name, version, document, source, now),
            )
            return version

        return replace(integration, version=await self._database.write(task))

    async def get(self, name: str, version: int | None = None) -> Integration | None:
        """This version of an integration, the newest one without `version`."""

        def task(connection: sqlite3.Connection) -> Integration | None:
            row = connection.execute(
                "SELECT * FROM integrations WHERE name = ? AND (? IS NULL OR version = ?)"
                " ORDER BY version DESC LIMIT 1",
                (name, version, version),
            ).fetchone()
            return None if row is None else _integration(row)

        return await self._database.read(task)

    async def list(self) -> Sequence[Integration]:
        """The newest version of each, by name."""

        def task(connection: sqlite3.Connection) -> builtins.list[Integration]:
            rows = connection.execute(
                "SELECT * FROM integrations AS i WHERE version ="
                " (SELECT MAX(version) FROM integrations AS n WHERE n.name = i.name) ORDER BY name"
            )
            return [_integration(row) for row in rows]

        return await self._database.read(task)

    async def remove(self, name: str) -> bool:
        """Remove every version, and forget the positions; runs and dead letters stay. False without one.

        Events that wait to be delivered for it are skipped, with this as the reason.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> bool:
            cancel_waiting(connection, name, REMOVED, now)
            found = connection.execute("SELECT stream FROM positions WHERE integration = ?", (name,))
            for row in found.fetchall():
                positions.reset(connection, name, row["stream"])
            return connection.execute("DELETE FROM integrations WHERE name = ?", (name,)).rowcount > 0

        return await self._database.write(task)


def _integration(row: sqlite3.Row) -> Integration:
    content = load(row["content"])
    streams = tuple(_mapping(item) for item in content.pop("streams"))
    return Integration(**content, streams=streams, version=row["version"], text=row["text"])


def _mapping(item: Mapping[str, Any]) -> StreamMapping:
    said = {**item, "key": tuple(item["key"]), "select": tuple(item["select"])}
    contract = {name: Evolution(value) for name, value in item.get("contract", {}).items()}
    return StreamMapping(**{**said, "contract": Contract(**contract)})
