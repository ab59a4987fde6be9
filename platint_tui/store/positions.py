# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Where each sync stands, and where it stood: functions on an open transaction."""

from __future__ import annotations

import sqlite3

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import SyncState
from platint_tui.store.codec import dump_optional, load_optional

_COLUMNS = "integration, stream, seq, confirmed, read, run, updated_ms"
_KEEP = (
    f"INSERT INTO position_history ({_COLUMNS}) SELECT {_COLUMNS} FROM positions"
    " WHERE integration = ? AND stream = ? AND confirmed IS NOT NULL"
)


def confirm(
    connection: sqlite3.Connection,
    integration: str,
    stream: str,
    seq: int,
    confirmed: str,
    run: str,
    now: int,
) -> None:
    """Mirror the position after a committed page. The one that an earlier run left goes to the history.

    Raises SystemicError (code `seq`) when this page, or a later one, is committed already.
    """
    before = connection.execute(
        "SELECT seq, run FROM positions WHERE integration = ? AND stream = ?", (integration, stream)
    ).fetchone()
    if before is not None and before["run"] not in (run, None):
        connection.execute(_KEEP, (integration, stream))
    stored = connection.execute(
        "INSERT INTO positions (integration, stream, seq, confirmed, run, updated_ms)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (integration, stream) DO UPDATE SET seq = excluded.seq,"
        " confirmed = excluded.confirmed, run = excluded.run, updated_ms = excluded.updated_ms"
        " WHERE positions.seq < excluded.seq",
        (integration, stream, seq, confirmed, run, now),
    )
    if stored.rowcount != 1:
        raise SystemicError(
            f"Page {seq} of '{integration}/{stream}' was committed before, it is at {before['seq']}.",
            hint="Nothing was written twice; run the sync again.",
            code="seq",
        )


def save_read(
    connection: sqlite3.Connection, integration: str, stream: str, read: str, run: str, now: int
) -> None:
    """Keep where reading has come to."""
    connection.execute(
        "INSERT INTO positions (integration, stream, seq, read, run, updated_ms) VALUES (?, ?, 0, ?, ?, ?)"
        " ON CONFLICT (integration, stream) DO UPDATE SET read = excluded.read,"
        " updated_ms = excluded.updated_ms",
        (integration, stream, read, run, now),
    )


def get(connection: sqlite3.Connection, integration: str, stream: str) -> SyncState | None:
    """The position of one sync."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM positions WHERE integration = ? AND stream = ?", (integration, stream)
    ).fetchone()
    return None if row is None else _state(row)


def get_all(connection: sqlite3.Connection) -> list[SyncState]:
    """The positions of all syncs."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM positions ORDER BY integration, stream")
    return [_state(row) for row in rows]


def reset(connection: sqlite3.Connection, integration: str, stream: str) -> SyncState | None:
    """Forget a position; returns it."""
    before = get(connection, integration, stream)
    connection.execute(_KEEP, (integration, stream))
    connection.execute("DELETE FROM positions WHERE integration = ? AND stream = ?", (integration, stream))
    return before


def restore(connection: sqlite3.Connection, state: SyncState, now: int) -> None:
    """Set a position as it was, at the highest page number that the sync has had."""
    reset(connection, state.integration, state.stream)
    connection.execute(
        f"INSERT INTO positions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            state.integration,
            state.stream,
            max(state.seq, _highest(connection, state.integration, state.stream)),
            dump_optional(state.confirmed),
            dump_optional(state.read),
            state.run,
            now,
        ),
    )


def _highest(connection: sqlite3.Connection, integration: str, stream: str) -> int:
    row = connection.execute(
        "SELECT COALESCE(MAX(seq), 0) FROM position_history WHERE integration = ? AND stream = ?",
        (integration, stream),
    ).fetchone()
    return int(row[0])


def history(connection: sqlite3.Connection, integration: str, stream: str, limit: int) -> list[SyncState]:
    """The position and earlier ones, newest first."""
    current = get(connection, integration, stream)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM position_history WHERE integration = ? AND stream = ?"
        " ORDER BY number DESC LIMIT ?",
        (integration, stream, limit),
    )
    earlier = [_state(row) for row in rows]
    return [*([current] if current is not None and current.confirmed is not None else []), *earlier][:limit]


def _state(row: sqlite3.Row) -> SyncState:
    return SyncState(
        integration=row["integration"],
        stream=row["stream"],
        seq=row["seq"],
        confirmed=load_optional(row["confirmed"]),
        read=load_optional(row["read"]),
        run=row["run"],
        updated_ms=row["updated_ms"],
    )
