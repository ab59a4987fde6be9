"""The buffer between reading and writing holds little, whatever the pages were packed to on the wire."""

from __future__ import annotations

import asyncio

from platint_tui.core.model import Page, Record
from platint_tui.engine.buffer import PageBuffer


def page(size: int) -> Page:
    return Page([Record("x" * size, {})], {}, False, bytes=10)


async def test_only_one_large_page_is_held() -> None:
    buffer = PageBuffer()
    await buffer.put(page(5 * 1024 * 1024))
    waiting = asyncio.create_task(buffer.put(page(10)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert len(await buffer.take(1)) == 1
    await waiting
    late = asyncio.create_task(buffer.put(page(5 * 1024 * 1024)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not late.done()
    assert len(await buffer.take(1)) == 1
    await late
