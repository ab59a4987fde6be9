"""Where demo platforms keep what was written to them: a SQLite file in the state folder, or memory."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from platint_tui.core.errors import ConfigError


def open_database(folder: Path | None, name: str, schema: str) -> sqlite3.Connection:
    """Open `name`.sqlite3 in `folder` (memory without one) with `schema` applied. Raises ConfigError.

    The connection is in autocommit mode. A commit survives the end of the process, not a power cut.
    """
    path = ":memory:" if folder is None else str(folder / f"{name}.sqlite3")
    try:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(schema)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"The demo platform '{name}' cannot keep its data: {error}.",
            where=path,
            hint="Give a state folder that can be written, or none.",
        ) from None
    return connection
