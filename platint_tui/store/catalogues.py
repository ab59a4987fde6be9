"""What discovery found, newest first, so that two can be compared."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from platint_tui.core.errors import NotFound
from platint_tui.core.model import Catalogue, Field, Stream
from platint_tui.store.codec import dump, load
from platint_tui.store.noun import Noun


class Catalogues(Noun):
    """ports.Catalogues in SQLite."""

    async def save(self, catalogue: Catalogue) -> None:
        """Keep a catalogue. Raises NotFound when its profile is gone."""
        # A large account has a hundred thousand fields: their text is made beside everything else.
        streams = await asyncio.to_thread(_text, catalogue.streams)
        values = (
            catalogue.profile,
            catalogue.platform,
            catalogue.manifest_version,
            catalogue.discovered_ms,
            streams,
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

    async def numbers(self, profile: str, count: int = 2) -> Sequence[int]:
        """The numbers of the newest `count` catalogues of a profile, newest first: they change with them."""

        def task(connection: sqlite3.Connection) -> list[int]:
            rows = connection.execute(
                "SELECT number FROM catalogues WHERE profile = ? ORDER BY number DESC LIMIT ?",
                (profile, count),
            )
            return [int(row["number"]) for row in rows]

        return await self._database.read(task)

    async def known(self, profile: str, streams: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The names of the fields that these streams had in any kept catalogue; streams of none are left out."""

        def task(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
            # Taken out of the text by the database: a large catalogue takes a second to be made into objects.
            rows = connection.execute(
                "SELECT json_extract(stream.value, '$.name') AS name, json_extract(stream.value, '$.fields') AS fields"
                " FROM catalogues, json_each(catalogues.streams) AS stream WHERE profile = ?"
                " AND json_extract(stream.value, '$.name') IN (SELECT value FROM json_each(?))",
                (profile, dump(list(streams))),
            )
            found: dict[str, frozenset[str]] = {}
            for row in rows:
                names = {field["name"] for field in load(row["fields"])}
                found[row["name"]] = found.get(row["name"], frozenset()) | names
            return found

        return await self._database.read(task)


_OF_STREAM = {item.name: item.default for item in fields(Stream)}
_OF_FIELD = {item.name: item.default for item in fields(Field)}


def _text(streams: Sequence[Stream]) -> str:
    """Streams as JSON; what a member is without being said is left out."""
    return dump([{**_said(item, _OF_STREAM), "fields": _fields(item)} for item in streams])


def _fields(stream: Stream) -> list[dict[str, Any]]:
    return [_said(field, _OF_FIELD) for field in stream.fields]


def _said(item: Stream | Field, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, default in defaults.items() if (value := getattr(item, name)) != default}


def _catalogue(row: sqlite3.Row) -> Catalogue:
    return Catalogue(
        profile=row["profile"],
        platform=row["platform"],
        manifest_version=row["manifest_version"],
        discovered_ms=row["discovered_ms"],
        streams=tuple(_stream(item) for item in load(row["streams"])),
    )


def _stream(item: Mapping[str, Any]) -> Stream:
    lists = {name: tuple(value) for name, value in item.items() if isinstance(value, list)}
    lists["facts"] = tuple((name, value) for name, value in item.get("facts", ()))
    return Stream(**{**item, **lists, "fields": tuple(Field(**field) for field in item["fields"])})
