"""A target whose records follow those of the source to the end: what is deleted there is deleted here too."""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Batch, Confirmed, Fault, Op, Row, WriteResult
from platint_tui.drivers.http.writer import HttpTarget


class DeletingTarget:
    """Two targets in one: rows are written by the first, and by the second when their record was deleted.

    A batch has each record once, so the two do not wait for each other's order.
    """

    transactional = False
    applies = frozenset({Op.UPSERT, Op.DELETE})

    def __init__(self, writing: HttpTarget, deleting: HttpTarget) -> None:
        self._writing = writing
        self._deleting = deleting

    @property
    def failure(self) -> PlatintError | None:
        """What ended the last batch early."""
        return self._writing.failure or self._deleting.failure

    def stop_soon(self) -> None:
        """The run is to stop."""
        self._writing.stop_soon()
        self._deleting.stop_soon()

    async def confirmed(self) -> Confirmed | None:
        """An HTTP platform keeps no position for us."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Write and delete. Raises as HttpTarget; a batch is repeated as a whole then, which does no harm: deletes
        and writes by key do no more when they are repeated."""
        numbered = list(enumerate(batch.rows))
        kept = [item for item in numbered if item[1].op is Op.UPSERT]
        gone = [item for item in numbered if item[1].op is not Op.UPSERT]
        results = [
            (some, await target.write(Batch([row for _, row in some], None)))
            for target, some in ((self._writing, kept), (self._deleting, gone))
            if some
        ]
        return WriteResult(
            sum(result.written for _, result in results),
            sum(result.superseded for _, result in results),
            sorted((fault for some, result in results for fault in _faults(some, result)), key=_place),
            {some[at][0]: answer for some, result in results for at, answer in result.responses.items()},
        )

    async def close(self) -> None:
        """Nothing is held; the connections are the driver's."""


def _faults(rows: Sequence[tuple[int, Row]], result: WriteResult) -> list[tuple[int, Fault]]:
    return [(rows[at][0], fault) for at, fault in result.faults]


def _place(item: tuple[int, Fault]) -> int:
    return item[0]
