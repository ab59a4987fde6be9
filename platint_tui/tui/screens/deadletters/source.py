"""Dead letters as the rows of a VirtualTable, and what a selection of them stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from platint_tui.core.model import DeadLetter
from platint_tui.services import deadletters
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.services.workspace import Workspace

_CHUNK = 500
_SCREEN = 200


class Letters:
    """The dead letters that match a filter, newest first. `found` is told how many of how many."""

    def __init__(
        self, workspace: Workspace, where: DeadLetterFilter, found: Callable[[int, int | None], None]
    ) -> None:
        self._workspace = workspace
        self._found = found
        self.where = where

    async def ids(self) -> Sequence[int]:
        """The numbers of all that match."""
        numbers = await deadletters.numbers(self._workspace, self.where)
        whole = None
        unfiltered = DeadLetterFilter(fingerprint=self.where.fingerprint, states=self.where.states)
        if self.where != unfiltered:
            whole = await deadletters.count(self._workspace, unfiltered)
        self._found(len(numbers), whole)
        return numbers

    async def first(self) -> Sequence[int]:
        """The numbers of the newest, for the first screen; with words to look for all is found as soon."""
        return () if self.where.text else await deadletters.newest(self._workspace, self.where, _SCREEN)

    async def rows(self, ids: Sequence[int]) -> Sequence[DeadLetter]:
        """The dead letters with these numbers."""
        return await deadletters.rows(self._workspace, ids)


async def chosen(workspace: Workspace, numbers: Sequence[int]) -> list[DeadLetter]:
    """The dead letters with these numbers, oldest first."""
    wanted = sorted(numbers)
    found: list[DeadLetter] = []
    for start in range(0, len(wanted), _CHUNK):
        found += await deadletters.rows(workspace, wanted[start : start + _CHUNK])
    return found
