"""A bounded buffer between reading and writing, so that pages are fetched while earlier ones are written."""

from __future__ import annotations

import asyncio
from collections import deque

from platint_tui.core.model import Block, Page

_PAGES = 4
_MOST_PAGES = 32
_RECORDS = 3_000
_BYTES = 4 * 1024 * 1024


def page_size(page: Page) -> int:
    """Characters of the texts of a page: what it weighs in memory, whatever it was packed to on the wire."""
    if isinstance(page.records, Block):
        return page.records.size
    return sum(len(item.raw) for item in page.records) + sum(len(item.raw) for item in page.bad)


def _is_position(page: Page) -> bool:
    return not page.records and not page.bad


class PageBuffer:
    """Holds up to 4 pages, or more of them while they are small (3,000 records together), and never more
    than 4 MiB of text, or one page that is larger by itself.

    The reader puts pages and then closes the buffer, with the error that ended reading if there was one; the
    writer takes what is there.
    """

    def __init__(self) -> None:
        self._pages: deque[tuple[Page, int]] = deque()
        self._records = 0
        self._bytes = 0
        self._changed = asyncio.Condition()
        self._closed = False
        self._error: BaseException | None = None

    def _full(self, size: int) -> bool:
        """Whether a page of `size` must wait."""
        count = len(self._pages)
        if count and self._bytes + size > _BYTES:
            return True
        if count < _PAGES:
            return False
        return count >= _MOST_PAGES or self._records >= _RECORDS

    async def put(self, page: Page) -> None:
        """Add a page; waits while the buffer is full."""
        size = page_size(page)
        async with self._changed:
            await self._changed.wait_for(lambda: not self._full(size))
            self._pages.append((page, size))
            self._records += len(page.records)
            self._bytes += size
            self._changed.notify_all()

    async def close(self, error: BaseException | None = None) -> None:
        """No page comes any more; `error` is raised to the writer after the pages that are there."""
        async with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()

    async def take(self, records: int) -> list[Page]:
        """The next page, and further ones that are there already up to about `records` records.

        A page that only moves the position ends them: what follows may rely on its being stored. Empty when reading
        has ended well. Raises what ended reading otherwise.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._pages) or self._closed)
            if not self._pages:
                if self._error is not None:
                    raise self._error
                return []
            taken = [self._pop()]
            count = len(taken[0].records)
            while (
                self._pages
                and not _is_position(taken[-1])
                and count + len(self._pages[0][0].records) <= records
            ):
                taken.append(self._pop())
                count += len(taken[-1].records)
            self._changed.notify_all()
            return taken

    def _pop(self) -> Page:
        page, size = self._pages.popleft()
        self._records -= len(page.records)
        self._bytes -= size
        return page
