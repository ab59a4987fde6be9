"""Events as the rows of a VirtualTable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from platint_tui.services import events, inbound
from platint_tui.services.events import EventFilter
from platint_tui.services.inbound import EventRow
from platint_tui.services.workspace import Workspace


class EventRows:
    """The events that match a filter, newest first. `found` is told how many of how many."""

    def __init__(
        self, workspace: Workspace, where: EventFilter, found: Callable[[int, int | None], None]
    ) -> None:
        self._workspace = workspace
        self._where = where
        self._found = found

    async def ids(self) -> Sequence[int]:
        """The numbers of all that match."""
        numbers = await events.numbers(self._workspace, self._where)
        whole = None
        bare = EventFilter(profile=self._where.profile)
        if self._where != bare:
            whole = len(await events.numbers(self._workspace, bare))
        self._found(len(numbers), whole)
        return numbers

    async def rows(self, ids: Sequence[int]) -> Sequence[EventRow]:
        """The events with these numbers."""
        return await inbound.rows(self._workspace, ids)
