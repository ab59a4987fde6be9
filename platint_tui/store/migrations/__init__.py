"""Numbered steps from one shape of the database to the next, each in one transaction with its number.

`NNNN_name.sql` beside this file: plain statements, no BEGIN or COMMIT. A step that was released is never
changed; the next shape is a new step.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

from platint_tui.core.errors import ConfigError, StoreError
from platint_tui.store.connection import APPLICATION_ID

_NAME = re.compile(r"(\d{4})_\w+\.sql")


@cache
def steps() -> tuple[str, ...]:
    """The SQL of each step; the first one makes version 1."""
    found: dict[int, str] = {}
    for item in resources.files(__name__).iterdir():
        match = _NAME.fullmatch(item.name)
        if match:
            found[int(match.group(1))] = item.read_text("utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise StoreError(
            "The installation is incomplete: database migrations are missing.", hint="Reinstall."
        )
    return tuple(found[number] for number in sorted(found))


def statements(sql: str) -> Iterator[str]:
    """The single statements of a script."""
    gathered = ""
    for line in sql.splitlines(keepends=True):
        if not gathered and (not line.strip() or line.lstrip().startswith("--")):
            continue
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered.strip()
            gathered = ""
    if gathered.strip():
        raise StoreError("A database migration ends in the middle of a statement.", hint="Reinstall.")


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of this database, 0 for a new one.

    Raises ConfigError when it belongs to another program or to a newer version of this one.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application != APPLICATION_ID:
        raise ConfigError(
            "The file is a database of another program; it was left as it is.",
            where=str(path),
            hint="Move it away, or point PLATINT_HOME at another folder.",
            code="not_a_database",
        )
    if version > len(steps()):
        raise ConfigError(
            f"The database has version {version}, made by a newer platint-tui; "
            f"this one knows versions up to {len(steps())}.",
            where=str(path),
            hint="Upgrade platint-tui (pip install --upgrade platint-tui).",
            code="newer_version",
        )
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest version, step by step, each whole or not at all."""
    for number, sql in enumerate(steps(), start=1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again inside: another process may have done this step while we waited for the lock.
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in statements(sql):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def refuse_other_version(connection: sqlite3.Connection) -> None:
    """Raise StoreError when another process migrated the database meanwhile."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != len(steps()):
        raise StoreError(
            "The database was upgraded by another version of platint-tui; this one no longer writes to it.",
            hint="Restart it with the new version.",
            code="upgraded",
        )
