"""What discovery found, newest first, so that two can be compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from platint_tui.core.errors import NotFound
from platint_tui.core.model import Catalogue, Field, Stream
from platint_tui.store.codec import dump, load
from platint_tui.store.noun import Noun


class Catalogues(Noun):
    """ports.Catalogues in SQLite."""

    async def save(self, catalogue: Catalogue) -> None:
        """Keep a catalogue. Raises NotFound when its profile is gone."""
        values = (
            catalogue.profile,
            catalogue.platform,
            catalogue.manifest_version,
            catalogue.discovered_ms,
            dump([asdict(stream) for stream in catalogue.streams]),
        )

        def task(connection: sqlite3.Connection) -> None:
            known = connection.execute("SELECT 1 FROM profiles WHERE name = ?", (catalogue.profile,))
            if known.fetchone() is None:
                raise NotFound(f"There is no profile '{catalogue.profile}' any more.")
            connection.execute(
                "INSERT INTO catalogues (profile, platform, manifest_version, discovered_ms, streams)"
                " VALUES (?, ?, ?, ?, ?)",
                values,
            )

        await self._database.write(task)

    async def latest(self, profile: str, count: int = 1) -> Sequence[Catalogue]:
        """The newest `count` catalogues of a profile, newest first."""

        def task(connection: sqlite3.Connection) -> list[Catalogue]:
            rows = connection.execute(
                "SELECT * FROM catalogues WHERE profile = ? ORDER BY number DESC LIMIT ?", (profile, count)
            )
            return [_catalogue(row) for row in rows]

        return await self._database.read(task)


def _catalogue(row: sqlite3.Row) -> Catalogue:
    return Catalogue(
        profile=row["profile"],
        platform=row["platform"],
        manifest_version=row["manifest_version"],
        discovered_ms=row["discovered_ms"],
        streams=tuple(_stream(item) for item in load(row["streams"])),
    )


def _stream(item: Mapping[str, Any]) -> Stream:
    return Stream(
        **{
            **item,
            "key": tuple(item["key"]),
            "fields": tuple(Field(**field) for field in item["fields"]),
            "notes": tuple(item["notes"]),
        }
    )
