"""What the classes for the nouns have in common."""

from __future__ import annotations

from platint_tui.core.clock import Clock
from platint_tui.store.database import Database


class Noun:
    """Rows of one kind in one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
