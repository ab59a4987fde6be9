"""The store: everything that must survive, in one SQLite file. The only package that writes SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from platint_tui.core.clock import Clock
    from platint_tui.store.ports import Store

Role = Literal["engine", "console", "reader"]
"""`engine` writes and checkpoints, `console` writes small rows, `reader` only looks."""


async def open_store(path: Path, *, clock: Clock, role: Role) -> Store:
    """Open the database at `path`; `engine` and `console` create it when nothing is there, and migrate it.

    Close the store when done. Raises ConfigError (`path` is not a database of this program, is of a newer
    version, is a symlink, cannot be created) or StoreError (cannot be read, is damaged, is locked).
    """
    # Imported here so that commands that need no database do not load one.
    from platint_tui.store.sqlite import SqliteStore

    return await SqliteStore.open(path, clock=clock, role=role)
